//! Contact lists to files and back, files of other programs, and files that are none.

use super::*;
use crate::{ContactLimits, NewUser, Store, users::Account};
use proptest::prelude::*;
use signin::directory::{Directory, User};
use signin::provision::contacts::Group;

fn aor(text: &str) -> Aor {
    text.parse().expect("a test address")
}

fn read(text: &str) -> ContactFile {
    read_contacts(text.as_bytes(), None)
}

/// Address, name and groups of every contact.
fn told(file: &ContactFile) -> Vec<(&str, &str, String)> {
    file.contacts.iter().map(|c| (c.address.as_str(), c.name.as_str(), c.groups.join("|"))).collect()
}

fn remarks(file: &ContactFile) -> Vec<String> {
    file.remarks.iter().map(|r| format!("{}{r}", if r.lost { "LOST " } else { "" })).collect()
}

fn store() -> Store {
    let store = Store::in_memory().expect("a store");
    let user = User::new(aor("alice@contoso.test"));
    let new = NewUser { account: Account { user, logins: Vec::new() }, password: None };
    store.add_user(new).wait().expect("a new user");
    store
}

fn list(store: &Store) -> ContactList {
    use futures_util::FutureExt;
    store.contacts(&aor("alice@contoso.test")).now_or_never().expect("at once").expect("a list")
}

fn import(store: &Store, file: ContactFile, mode: ImportMode) -> ImportedContacts {
    store.import_contacts(&aor("alice@contoso.test"), file, mode).wait().expect("alice is there")
}

fn small_list() -> ContactList {
    let mut list = ContactList::empty();
    list.groups.push(Group { id: 2, name: "Team; \"A\"".to_owned(), external_uri: String::new() });
    list.groups.push(Group { id: 3, name: "Nobody".to_owned(), external_uri: "urn:x".to_owned() });
    let contact = |address: &str, name: &str, groups: &[u32]| Contact {
        name: name.to_owned(),
        groups: groups.to_vec(),
        ..Contact::new(aor(address))
    };
    list.contacts = vec![contact("bob@contoso.test", "", &[2, 1]), contact("carol@contoso.test", "Carol, desk", &[1])];
    list.contacts[1].subscribed = false;
    list
}

#[test]
fn a_table_as_it_is_written() {
    assert_eq!(
        write_contacts(&small_list(), ContactFormat::Csv),
        "address,name,groups,subscribed,external_uri,extension\r\n\
         ,,\"Team\\; \"\"A\"\"\",,,\r\n\
         ,,Nobody,,urn:x,\r\n\
         bob@contoso.test,,\"Team\\; \"\"A\"\";~\",true,,\r\n\
         carol@contoso.test,\"Carol, desk\",,false,,\r\n"
    );
}

#[test]
fn cards_as_they_are_written() {
    let four = write_contacts(&small_list(), ContactFormat::VCard4);
    assert_eq!(
        four,
        "BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Team\\; \"A\"\r\nKIND:group\r\nEND:VCARD\r\n\
         BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Nobody\r\nKIND:group\r\nX-SIGNPOST-EXTERNAL-URI:urn:x\r\nEND:VCARD\r\n\
         BEGIN:VCARD\r\nVERSION:4.0\r\nFN:bob@contoso.test\r\nIMPP:sip:bob@contoso.test\r\n\
         CATEGORIES:Team\\; \"A\",~\r\nEND:VCARD\r\n\
         BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Carol\\, desk\r\nIMPP:sip:carol@contoso.test\r\n\
         X-SIGNPOST-SUBSCRIBED:false\r\nEND:VCARD\r\n"
    );
    let three = write_contacts(&small_list(), ContactFormat::VCard3);
    assert!(three.contains("VERSION:3.0\r\nN:Carol\\, desk;;;;\r\nFN:Carol\\, desk\r\n"), "{three}");
    assert!(three.contains("FN:Nobody\r\nX-ADDRESSBOOKSERVER-KIND:group\r\n"), "{three}");
}

#[test]
fn long_lines_are_folded_between_characters() {
    let mut list = small_list();
    list.contacts[0].name = "ä€😀".repeat(30);
    let text = write_contacts(&list, ContactFormat::VCard4);
    assert!(text.split("\r\n").all(|line| line.len() <= 75), "{text}");
    assert_eq!(read(&text).contacts[0].name, list.contacts[0].name);
}

#[test]
fn tables_of_other_programs() {
    let outlook = "First Name;E-mail Address;Categories;Display Name\r\nBob;Bob@Contoso.test;Team;Bob Baker\r\n";
    let file = read(outlook);
    assert_eq!(told(&file), [("bob@contoso.test", "Bob Baker", "Team".to_owned())]);
    assert_eq!(remarks(&file), ["line 1: the column \"First Name\" is not used"]);
    for text in [
        "bob@contoso.test,Bob,Team; Friends\n",
        "sip:bob@contoso.test , \"Bob\" , Team;Friends",
        "sep=;\nname;address;groups\nBob;bob@contoso.test;\"Team;Friends\"\n",
        "groups\taddress\tname\nTeam;;Friends\tbob@contoso.test\tBob\n\n\t\t\n",
    ] {
        let file = read(text);
        assert_eq!(told(&file), [("bob@contoso.test", "Bob", "Team|Friends".to_owned())], "{text}");
        assert!(!file.lost_anything(), "{text}: {file:?}");
    }
    let utf16: Vec<u8> =
        "\u{feff}address,name\r\nbob@contoso.test,Böb\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(read_contacts(&utf16, None).contacts[0].name, "Böb");
    let windows = read_contacts(b"address,name\nbob@contoso.test,B\xf6b \x80\n", None);
    assert_eq!(windows.contacts[0].name, "Böb €");
    assert_eq!(remarks(&windows), ["line 2: is not UTF-8; it was read as Windows-1252"]);
}

#[test]
fn a_bad_row_is_named_and_costs_no_other() {
    let file = read(
        "address,name\nbob@contoso.test,Bob\nnobody,Nobody\n,No Address\ncarol@contoso.test,\"Carol\ndave@contoso.test,Dave,more\n\"two\nlines\",x\nerin@contoso.test,\"Er\"\"in\"\n",
    );
    assert_eq!(
        remarks(&file),
        [
            "LOST line 3: \"nobody\": a sign-in address looks like alice@contoso.com",
            "LOST line 4: has no address",
            "LOST line 5: a quote is not closed where its cell ends: \"carol@contoso.test,\\\"Carol\"",
            "LOST line 6: has more columns than there are: \"more\"",
            "LOST line 7: \"two\\nlines\": a sign-in address looks like alice@contoso.com",
        ]
    );
    let names: Vec<_> = told(&file).into_iter().map(|(_, name, _)| name.to_owned()).collect();
    assert_eq!(names, ["Bob", "Dave", "Er\"in"]);
}

#[test]
fn cards_of_other_programs() {
    let file = read(
        "BEGIN:VCARD\nVERSION:3.0\nN:Baker;Bob;;;\nFN:Bob \n Baker\nitem1.IMPP;X-SERVICE-TYPE=Skype;type=HOME;type=pref:sip:Bob@Contoso.test\n\
         item1.X-ABLabel:x\nUID:1-2\nTEL:1\nEND:VCARD\n\
         begin:vcard\nversion:4.0\nfn:Carol\nIMPP;PREF=2:sip:old@contoso.test\nIMPP;PREF=1:sip:carol@contoso.test;transport=tls\nend:vcard\n\
         BEGIN:VCARD\nFN:Dave\nX-MS-IMADDRESS:dave@contoso.test\nEMAIL:d@fabrikam.test\nEND:VCARD\n\
         BEGIN:VCARD\nFN:Erin\nIMPP:xmpp:e@x.test\nEMAIL;TYPE=work:erin@contoso.test\nEND:VCARD\n\
         BEGIN:VCARD\nKIND:group\nFN:Team\nMEMBER:urn:uuid:1-2\nMEMBER:sip:carol@contoso.test\nMEMBER:urn:uuid:9\nEND:VCARD\n",
    );
    assert_eq!(
        told(&file),
        [
            ("bob@contoso.test", "Bob Baker", "Team".to_owned()),
            ("carol@contoso.test", "Carol", "Team".to_owned()),
            ("dave@contoso.test", "Dave", String::new()),
            ("erin@contoso.test", "Erin", String::new()),
        ]
    );
    assert_eq!(
        remarks(&file),
        [
            "LOST line 14: old@contoso.test: a contact has one address, carol@contoso.test was taken",
            "line 25: the mail address erin@contoso.test was taken, because there is no other",
            "LOST line 32: \"urn:uuid:9\": no card of this file is that member",
        ]
    );
}

#[test]
fn a_bad_card_is_named_and_costs_no_other() {
    let file = read(
        "BEGIN:VCARD\nFN:Nobody\nEND:VCARD\nstray\nBEGIN:VCARD\nFN:Bob\nno property\nIMPP:sip:bob@contoso.test\n\
         BEGIN:VCARD\nFN:Wrong\nIMPP:sip:wrong\nEND:VCARD\nEND:VCARD\n\
         BEGIN:VCARD\nVERSION:2.1\nFN;ENCODING=QUOTED-PRINTABLE:B=C3=B6b\nEMAIL:b@contoso.test\nEND:VCARD\n\
         BEGIN:VCARD\nFN:Carol\nIMPP:sip:carol@contoso.test\n",
    );
    assert_eq!(told(&file).into_iter().map(|(_, name, _)| name).collect::<Vec<_>>(), ["Bob", "Carol"]);
    assert_eq!(
        remarks(&file),
        [
            "LOST line 1: \"Nobody\" has no address (IMPP with sip:)",
            "LOST line 4: stands outside every card: \"stray\"",
            "line 5: the card has no END:VCARD",
            "LOST line 7: is no property: \"no property\"",
            "LOST line 11: \"sip:wrong\": a sign-in address looks like alice@contoso.com",
            "LOST line 13: END:VCARD without BEGIN:VCARD",
            "LOST line 16: FN is in quoted-printable, as vCard 2.1 has it; save the file as 3.0 or 4.0",
            "line 19: the card has no END:VCARD",
        ]
    );
}

#[test]
fn a_file_that_is_something_else_is_given_up() {
    let file = read(&"no address here\n".repeat(5_000));
    assert_eq!(file.remarks.len(), MOST_LOST + 1);
    assert!(file.remarks.last().is_some_and(|r| r.what.starts_with("nothing after this line was read")));
    let quotes = read(&"\"\n".repeat(200_000));
    assert!(quotes.remarks.len() <= MOST_LOST + 1);
    let stray = read(&format!("BEGIN:VCARD\nEND:VCARD\n{}", "x\n".repeat(5_000)));
    assert!(stray.remarks.len() <= MOST_LOST + 2);
}

#[test]
fn an_import_merges_or_replaces() {
    let store = store();
    let file = read("address,name,groups\nbob@contoso.test,Bob,Team\ncarol@contoso.test,Carol,\n,,Empty\n");
    let done = import(&store, file.clone(), ImportMode::Merge);
    assert_eq!((done.added, done.groups_added, done.remarks.len()), (2, 2, 0));
    let first = list(&store);
    assert_eq!(first.delta_num, 2, "one change");
    let again = import(&store, file, ImportMode::Merge);
    assert_eq!((again.added, again.unchanged), (0, 2));
    assert_eq!(list(&store), first, "nothing has changed");

    let more = "address,name,groups,subscribed,extension\n\
        bob@contoso.test,,Team;New,no,<contactExtension><x/></contactExtension>\n\
        bob@contoso.test,Robert,Third,,\nbob@contoso.test,Rob,,,\ndave@contoso.test,,,maybe,<x\n";
    let done = import(&store, read(more), ImportMode::Merge);
    assert_eq!((done.added, done.changed, done.removed), (0, 1, 0));
    let lines: Vec<_> = done.remarks.iter().map(|remark| (remark.line, remark.lost)).collect();
    assert_eq!(lines, [(4, true), (5, false), (5, true)], "{:?}", done.remarks);
    let bob = list(&store).contact(&aor("bob@contoso.test")).cloned().expect("bob");
    assert_eq!((bob.name.as_str(), bob.groups.as_slice(), bob.subscribed), ("Robert", &[3, 4, 5][..], false));
    let done = import(&store, read("bob@contoso.test"), ImportMode::Merge);
    assert_eq!(done.unchanged, 1, "what the file does not say stays");

    let done = import(&store, read("erin@contoso.test\n"), ImportMode::Replace);
    assert_eq!((done.added, done.removed), (1, 2));
    let replaced = list(&store);
    assert_eq!((replaced.contacts.len(), replaced.groups.len(), replaced.delta_num), (1, 1, 4));
    let nobody = store.import_contacts(&aor("nobody@contoso.test"), ContactFile::default(), ImportMode::Merge).wait();
    assert!(nobody.is_err());
}

#[test]
fn what_is_over_a_limit_is_named_with_its_line() {
    let store = store();
    let groups: String = (0..70).map(|n| format!(",,Group {n}\n")).collect();
    let people: String = (0..1_005).map(|n| format!("user{n}@contoso.test,,\n")).collect();
    let long = format!("long@contoso.test,{},\n", "x".repeat(300));
    let done = import(&store, read(&format!("address,name,groups\n{groups}{long}{people}")), ImportMode::Merge);
    assert_eq!((done.groups_added, done.added), (63, 1_000));
    let lost: Vec<usize> = done.remarks.iter().map(|remark| remark.line).collect();
    assert_eq!(lost.len(), 7 + 1 + 5);
    assert_eq!((lost[0], lost[7], lost[12]), (65, 72, 1_077));
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[ -~äé€\u{1f600}\t\n]{0,24}", "[,;\"\\\\: \n]{0,6}"]
}

fn group_name() -> impl Strategy<Value = String> {
    text().prop_map(|name| name.trim().to_owned()).prop_filter("a name", |name| !name.is_empty() && name != "~")
}

/// As the server writes what a client stores.
const EXTENSION: &str = "<contactExtension xmlns=\"u\"><a b=\"1,2;3\">\\n, &quot;x&quot;\n</a></contactExtension>";

prop_compose! {
    fn lists()(
        names in proptest::collection::btree_map(group_name(), text(), 0..5),
        people in proptest::collection::btree_map("[a-z0-9,;.]{1,12}@[a-z]{1,8}\\.test", (text(), any::<u8>(), any::<bool>(), text()), 0..8),
    ) -> ContactList {
        let mut list = ContactList::empty();
        for ((name, external_uri), id) in names.into_iter().zip(2..) {
            list.groups.push(Group { id, name, external_uri });
        }
        let ids: Vec<u32> = list.groups.iter().map(|group| group.id).filter(|id| *id != DEFAULT_GROUP).collect();
        for (address, (name, mask, subscribed, external_uri)) in people {
            let mut groups: Vec<u32> = ids.iter().copied().filter(|id| mask & (1 << id) != 0).collect();
            if groups.is_empty() || mask & 1 != 0 {
                groups.push(DEFAULT_GROUP);
            }
            let extension = if mask & 2 == 0 { String::new() } else { EXTENSION.to_owned() };
            list.contacts.push(Contact { aor: address.parse().expect("an address"), name, groups, subscribed, external_uri, extension });
        }
        list
    }
}

proptest! {
    /// Through a file of any format and an import, a list is what it was.
    #[test]
    fn a_list_survives_a_file(list in lists()) {
        for format in [ContactFormat::Csv, ContactFormat::VCard3, ContactFormat::VCard4] {
            let text = write_contacts(&list, format);
            let file = read(&text);
            prop_assert_eq!(&file.remarks, &Vec::new(), "{}", text);
            let (mut back, done) =
                import::merged(&ContactList::empty(), file, ImportMode::Replace, &ContactLimits::default());
            prop_assert_eq!(&done.remarks, &Vec::new());
            back.delta_num = list.delta_num;
            prop_assert_eq!(&back, &list, "{}", text);
        }
    }

    /// Whatever the bytes are: nothing panics, and every line that is not blank was taken or named.
    #[test]
    fn no_line_of_a_table_is_lost_in_silence(rows in proptest::collection::vec(
        prop_oneof!["[a-c]{1,3}@x\\.test", "[a-c\"@,; ]{0,12}"], 0..20,
    )) {
        let file = read_contacts(rows.join("\n").as_bytes(), Some(ContactFormat::Csv));
        let named = |line: usize| file.remarks.iter().any(|r| r.line == line)
            || file.contacts.iter().any(|c| c.line == line) || file.groups.iter().any(|g| g.line == line);
        for (row, line) in rows.iter().zip(1..) {
            if row.contains("@x.test") && !row.contains('"') && !rows.iter().any(|row| row.contains('"')) {
                prop_assert!(named(line), "line {line} of {rows:?}: {file:?}");
            }
        }
    }

    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..300), format in 0..3_u8) {
        let format = [None, Some(ContactFormat::Csv), Some(ContactFormat::VCard4)][usize::from(format)];
        let _ = read_contacts(&bytes, format);
    }

    #[test]
    fn anything_like_a_card_is_read(lines in proptest::collection::vec(
        "BEGIN:VCARD|END:VCARD|[ \t]?(FN|IMPP|CATEGORIES|MEMBER|KIND|UID|EMAIL)(;[A-Z=\"]{0,6})?:(sip:|group)?[a-c@.,;\\\\]{0,9}", 0..24,
    )) {
        let file = read_contacts(lines.join("\r\n").as_bytes(), Some(ContactFormat::VCard3));
        let cards = lines.iter().filter(|line| *line == "BEGIN:VCARD").count();
        let named = |line: usize| file.remarks.iter().any(|r| r.line >= line);
        prop_assert!(file.contacts.len() + file.groups.len() == cards || named(1), "{file:?}");
    }
}
