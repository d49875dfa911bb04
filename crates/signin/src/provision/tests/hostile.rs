//! Bodies and requests that mean harm, and the limits they meet.

use super::super::contacts::message::SoapRequest;
use super::super::contacts::message::{ContactDocument, read_document, read_soap, write_delta, write_list, write_soap};
use super::super::presence::batch::{Action, Verb, read_batch, read_parts, read_presence, write_batch, write_parts};
use super::super::presence::message::{
    read_categories, read_conflicts, read_own_presence, read_publish, read_set_containers, read_set_subscriber,
};
use super::super::settings::{location_profile, message};
use super::*;
use proptest::prelude::*;

/// Documents no honest client sends, for every request that has a body.
fn documents() -> Vec<String> {
    let deep = |n: usize| "<a>".repeat(n) + &"</a>".repeat(n);
    vec![
        String::new(),
        "<".to_owned(),
        "\u{0}".to_owned(),
        deep(100),
        format!("<publish><publications uri='sip:alice@contoso.test'>{}</publications></publish>", deep(100)),
        "<!DOCTYPE a [<!ENTITY x 'y'>]><publish>&x;</publish>".to_owned(),
        "<publish/>".to_owned(),
        "<batchSub><action name='explode'/></batchSub>".to_owned(),
        "<Envelope><Body/></Envelope>".to_owned(),
        "<setContainerMembers><container id='99999' version='0'/></setContainerMembers>".to_owned(),
        "<setContainerMembers><container id='1' version='x'/></setContainerMembers>".to_owned(),
        "<setSubscribers/>".to_owned(),
        "<roamingData/>".to_owned(),
        format!("<provisioningGroupList>{}</provisioningGroupList>", "<x/>".repeat(60_000)),
    ]
}

#[test]
fn hostile_documents_are_refused_and_the_server_goes_on() {
    let house = House::new();
    let who = endpoint("alice", "1");
    let services = [
        "application/SOAP+xml",
        "application/msrtc-category-publish+xml",
        "application/msrtc-setcontainermembers+xml",
        "application/msrtc-presence-setsubscriber+xml",
    ];
    let subscriptions = [
        ("vnd-microsoft-provisioning-v2", "application/vnd-microsoft-roaming-provisioning-v2+xml"),
        ("vnd-microsoft-roaming-self", "application/vnd-microsoft-roaming-self+xml"),
        ("presence", "application/msrtc-adrl-categorylist+xml"),
    ];
    for document in documents() {
        for content_type in services {
            let head = format!("Content-Type: {content_type}");
            let (reply, notices) = house.send(&who, "SERVICE", &who.aor.to_uri(), &head, &document);
            assert_eq!((reply.code, notices.len()), (400, 0), "{content_type}: {document:.60}");
            assert!(reply.diagnostics.is_some());
        }
        for (event, content_type) in subscriptions {
            if document.is_empty() && event == "presence" {
                continue;
            }
            let head = format!("Event: {event}\nAccept: */*\nContent-Type: {content_type}");
            let (reply, _) = house.send(&who, "SUBSCRIBE", &who.aor.to_uri(), &head, &document);
            assert_eq!(reply.code, 400, "{event}: {document:.60}");
        }
    }
    let options = house.send(&who, "OPTIONS", &who.aor.to_uri(), "", "");
    assert_eq!(options.0.code, 200);
}

#[test]
fn ten_megabytes_are_refused_before_they_are_read() {
    let house = House::new();
    let who = endpoint("alice", "1");
    let contact = "<contact uri='x@y.z' groups='1'/>";
    let list = format!("<contactList deltaNum='1'>{}</contactList>", contact.repeat(10 * 1024 * 1024 / contact.len()));
    for content_type in ["application/SOAP+xml", "application/msrtc-category-publish+xml"] {
        let head = format!("Content-Type: {content_type}");
        let (reply, notices) = house.send(&who, "SERVICE", &who.aor.to_uri(), &head, &list);
        assert_eq!((reply.code, reply.diagnostics.map(|d| d.id), notices.len()), (413, Some(4008), 0));
    }
    let head = "Event: presence\nContent-Type: application/msrtc-adrl-categorylist+xml";
    assert_eq!(house.send(&who, "SUBSCRIBE", &who.aor.to_uri(), head, &list).0.code, 413);
    assert!(house.server.live.lock().presentities.is_empty(), "nothing is kept of it");
    assert_eq!(house.send(&endpoint("bob", "1"), "OPTIONS", "sip:bob@contoso.test", "", "").0.code, 200);
}

#[test]
fn what_belongs_to_others_stays_theirs() {
    let house = House::new();
    let (alice, bob) = (endpoint("alice", "1"), endpoint("bob", "1"));
    let note = |owner: &str| {
        format!(
            "<publish><publications uri='sip:{owner}@contoso.test'><publication categoryName='note' instance='0' \
             container='200' version='0' expireType='static'><n/></publication></publications></publish>"
        )
    };
    let publish = "Content-Type: application/msrtc-category-publish+xml";
    let contacts = "<Envelope><Body><deleteContact><URI>sip:bob@contoso.test</URI><deltaNum>12</deltaNum>\
        </deleteContact></Body></Envelope>";
    let cases = [
        (&alice, "sip:alice@contoso.test", publish, note("bob"), 403),
        (&alice, "sip:bob@contoso.test", publish, note("bob"), 403),
        (&bob, "sip:alice@contoso.test", "Content-Type: application/SOAP+xml", contacts.to_owned(), 403),
        (&bob, "sip:alice@contoso.test", "Content-Type: application/msrtc-setcontainermembers+xml", String::new(), 403),
        (&alice, "sip:alice@contoso.test", publish, note("alice"), 200),
    ];
    for (who, uri, head, body, code) in cases {
        let (reply, notices) = house.send(who, "SERVICE", uri, head, &body);
        assert_eq!((reply.code, notices.len()), (code, 0), "{uri} {body}");
        assert_eq!(reply.diagnostics.is_some(), code != 200);
    }
}

#[test]
fn containers_that_do_not_exist() {
    let house = House::new();
    let who = endpoint("alice", "1");
    let set = |id: &str, version: u32| {
        let body = format!(
            "<setContainerMembers><container id='{id}' version='{version}'><member action='add' type='everyone'/>\
             </container></setContainerMembers>"
        );
        let head = "Content-Type: application/msrtc-setcontainermembers+xml";
        house.send(&who, "SERVICE", &who.aor.to_uri(), head, &body).0
    };
    let answers = [("777", 3, 409), ("777", 0, 200), ("777", 1, 200), ("40000", 0, 400), ("-1", 0, 400), ("0", 0, 403)];
    for (id, version, code) in answers {
        let reply = set(id, version);
        assert_eq!(reply.code, code, "{id} {version}");
        assert_eq!(reply.diagnostics.is_some(), code != 200);
    }
    let publish = |container: u32| {
        let body = format!(
            "<publish><publications uri='sip:alice@contoso.test'><publication categoryName='note' instance='0' \
             container='{container}' version='0' expireType='static'><n/></publication></publications></publish>"
        );
        let head = "Content-Type: application/msrtc-category-publish+xml";
        house.send(&who, "SERVICE", &who.aor.to_uri(), head, &body).0.code
    };
    assert_eq!((publish(778), publish(32_768)), (200, 400), "one nobody listed is empty; more there are not");
}

#[test]
fn requests_without_their_headers_are_refused() {
    let house = House::new();
    let who = endpoint("alice", "1");
    let whole = "SUBSCRIBE sip:alice@contoso.test SIP/2.0\r\nFrom: <sip:alice@contoso.test>;tag=1\r\n\
        To: <sip:alice@contoso.test>\r\nCall-ID: c\r\nCSeq: 1 SUBSCRIBE\r\nEvent: presence\r\n\r\n";
    assert_eq!(house.put(&who, whole.as_bytes(), "t").0.map(|r| r.code), Some(200));
    for (from, to) in [
        ("From: <sip:alice@contoso.test>;tag=1\r\n", ""),
        ("To: <sip:alice@contoso.test>\r\n", ""),
        ("Call-ID: c\r\n", ""),
        ("CSeq: 1 SUBSCRIBE\r\n", ""),
        ("CSeq: 1 SUBSCRIBE", "CSeq: 1 SERVICE"),
        ("To: <sip:alice@contoso.test>", "To: <sip:alice@contoso.test"),
    ] {
        let broken = whole.replace(from, to);
        assert_eq!(house.put(&who, broken.as_bytes(), "t").0.map(|r| r.code), Some(400), "{broken}");
    }
}

#[test]
fn a_published_value_cannot_break_out_of_the_documents_of_others() {
    let house = House::new();
    let who = endpoint("bob", "1");
    let publish = |value: &str| {
        let body = format!(
            "<publish><publications uri='sip:bob@contoso.test'><publication categoryName='note' instance='0' \
             container='200' version='0' expireType='static'>{value}</publication></publications></publish>"
        );
        house.send(&who, "SERVICE", &who.aor.to_uri(), "Content-Type: application/msrtc-category-publish+xml", &body).0
    };
    assert_eq!(publish("<note><b:x/></note>").code, 400, "a prefix declared nowhere");
    assert_eq!(publish("</publication></publications><note/>").code, 400);
    assert_eq!(publish("<note>a &amp; b <!-- \r\n--b --> &lt;/categories&gt;</note>").code, 200);
    let own = "<publish><publications uri='sip:bob@contoso.test'><publication categoryName='state' instance='1' \
        container='200' version='0' expireType='static'><state/></publication></publications></publish>";
    let head = "Content-Type: application/msrtc-category-publish+xml";
    assert_eq!(house.send(&who, "SERVICE", &who.aor.to_uri(), head, own).0.code, 403, "the aggregate is the server's");
}

#[test]
fn parts_are_cut_where_rfc_2046_says() {
    let kind = "multipart/related; type=\"application/rlmi+xml\";start=resourceList; boundary=\"b\"";
    let texts = |body: &str| -> Option<Vec<(String, String)>> {
        let parts = read_parts(kind, body.as_bytes())?;
        Some(parts.iter().map(|p| (p.content_type.clone(), String::from_utf8_lossy(p.content).into_owned())).collect())
    };
    let part = |kind: &str, text: &str| (kind.to_owned(), text.to_owned());
    assert_eq!(
        texts("preamble\r\n--b\r\nContent-Type: A/b;x=y\r\n\r\none\r\n--bb\r\n\r\n--b\r\n\r\ntwo\r\n--b--\r\nend"),
        Some(vec![part("a/b", "one\r\n--bb"), part("", "two")])
    );
    assert_eq!(texts("--b\ncontent-type:x/y\n\none\n--b--"), Some(vec![part("x/y", "one")]));
    assert_eq!(texts("--b\r\nX: y\r\n\r\nunfinished"), Some(vec![part("", "unfinished")]));
    assert_eq!(texts("no delimiter"), None);
    assert_eq!(read_parts("multipart/related", b"--b\r\n"), None);
    assert_eq!(read_parts("text/xml; boundary=b", b"--b\r\n"), None);
}

fn address() -> impl Strategy<Value = Aor> {
    "[a-z0-9'&.]{1,12}@[a-z]{1,8}\\.test".prop_map(|text| text.parse().expect("an address"))
}

fn text() -> impl Strategy<Value = String> {
    "[ -~äé€\u{1f600}]{0,24}"
}

prop_compose! {
    fn contact_list()(
        delta_num in 1..u32::MAX,
        names in proptest::collection::vec((text(), text()), 0..5),
        contacts in proptest::collection::btree_map(address(), (text(), text(), any::<bool>()), 0..8),
    ) -> ContactList {
        let mut list = ContactList { delta_num, ..ContactList::empty() };
        for (at, (name, external_uri)) in names.into_iter().enumerate() {
            list.groups.push(Group { id: u32::try_from(at).expect("few") + 2, name, external_uri });
        }
        let groups: Vec<u32> = list.groups.iter().map(|group| group.id).collect();
        list.contacts = contacts
            .into_iter()
            .map(|(aor, (name, external_uri, subscribed))| Contact {
                aor, name, groups: groups.clone(), subscribed, external_uri, extension: String::new(),
            })
            .collect();
        list
    }
}

proptest! {
    #[test]
    fn a_contact_list_survives_the_wire(list in contact_list()) {
        prop_assert_eq!(read_document(write_list(&list).as_bytes()), Ok(ContactDocument::List(list)));
    }

    #[test]
    fn a_delta_leads_from_one_list_to_the_next(mut before in contact_list(), mut after in contact_list()) {
        before.delta_num = 7;
        after.delta_num = 8;
        let Ok(ContactDocument::Delta(delta)) = read_document(write_delta(&before, &after).as_bytes()) else {
            return Err(TestCaseError::fail("no delta"));
        };
        let mut followed = before;
        prop_assert!(followed.follow(delta));
        followed.contacts.sort_by(|a, b| a.aor.cmp(&b.aor));
        prop_assert_eq!(followed, after);
    }

    #[test]
    fn a_soap_request_survives_the_wire(list in contact_list(), name in text(), id in 1..64u32) {
        let mut edits: Vec<Edit> = list.contacts.iter().cloned().map(|mut contact| {
            contact.external_uri = contact.external_uri.trim().to_owned();
            Edit::SetContact(contact)
        }).collect();
        edits.extend(list.contacts.iter().map(|contact| Edit::DeleteContact(contact.aor.clone())));
        edits.push(Edit::AddGroup { name: name.clone(), external_uri: String::new() });
        edits.push(Edit::ModifyGroup(Group { id, name, external_uri: String::new() }));
        edits.push(Edit::DeleteGroup(id));
        for edit in edits {
            let change = ContactChange { delta_num: Some(list.delta_num), edit };
            prop_assert_eq!(read_soap(write_soap(&change).as_bytes()), Ok(SoapRequest::Change(change)));
        }
    }

    #[test]
    fn a_batch_and_its_answer_survive_the_wire(
        users in proptest::collection::btree_set(address(), 1..6), owner in address(), state in text(),
    ) {
        let actions = read_batch(write_batch(&owner, &Action::with(Verb::Subscribe, &users, &["state"])).as_bytes()).expect("our own batch");
        prop_assert!(actions[0].resources.iter().map(|r| &r.aor).eq(users.iter()));
        let document = |aor: &Aor| format!(
            "<categories uri=\"{}\"><category name=\"{}\"/></categories>",
            crate::xml::escape(&aor.to_uri()), crate::xml::escape(&state),
        );
        let parts: Vec<(&Aor, String)> = users.iter().map(|aor| (aor, document(aor))).collect();
        let (content_type, body) = write_parts(&owner, 3, true, &parts, "0123456789abcdef");
        let read = read_presence(&content_type, body.as_bytes()).expect("our own answer");
        prop_assert!(read.list.iter().map(|entry| &entry.aor).eq(users.iter()));
        prop_assert!(read.users.iter().map(|user| &user.aor).eq(users.iter()));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        read_anything(&bytes);
    }

    #[test]
    fn anything_like_xml_is_read_or_refused(
        names in proptest::collection::vec("contactList|group|contact|publish|publications|publication|state|list|a:b", 0..12),
        attributes in "( (uri|id|deltaNum|instance|container|type|groups)='[-0-9a-z:@.]{0,12}'){0,4}",
    ) {
        let open: String = names.iter().map(|name| format!("<{name}{attributes}>")).collect();
        let close: String = names.iter().rev().map(|name| format!("</{name}>")).collect();
        read_anything(format!("{open}{close}").as_bytes());
    }
}

/// Honest documents, to be damaged.
fn honest() -> Vec<String> {
    let state = "<state xmlns='s' xmlns:xsi='x' xsi:type='userState' manual='true'><availability>6500</availability>\
        <activity token='in-a-meeting' minAvailability='6500'/><meetingSubject>A &amp; B &#228;</meetingSubject></state>";
    vec![
        format!(
            "<publish xmlns='r' xmlns:q='z'><publications uri='sip:alice@contoso.test'><publication \
             categoryName='state' instance='1' container='2' version='0' expireType='static'>{state}</publication>\
             <publication categoryName='note' instance='0' container='200' version='3' expireType='time' expires='60'>\
             <q:note a='b'><![CDATA[<]]><!-- c --></q:note></publication></publications></publish>"
        ),
        "<contactList xmlns:e='u' deltaNum='3'><group id='1' name='~' externalURI=''/><contact uri='bob@contoso.test' \
         name='B &lt; C' groups='1' subscribed='true'><contactExtension><e:x y='1'/></contactExtension></contact>\
         </contactList>"
            .to_owned(),
        "<s:Envelope xmlns:s='e' xmlns:m='w'><s:Body><m:setContact><m:displayName>B</m:displayName><m:groups>1 2\
         </m:groups><m:subscribed>true</m:subscribed><m:URI>sip:b@c.d</m:URI><m:contactExtension><m:z/>\
         </m:contactExtension><m:deltaNum>12</m:deltaNum></m:setContact></s:Body></s:Envelope>"
            .to_owned(),
    ]
}

/// What was read is fit to be written and read again; above all, what goes to others stands alone.
fn assert_fit(bytes: &[u8]) {
    if let Ok(ContactDocument::List(list)) = read_document(bytes) {
        assert!(read_document(write_list(&list).as_bytes()).is_ok(), "{list:?}");
    }
    if let Ok(SoapRequest::Change(change)) = read_soap(bytes) {
        assert!(read_soap(write_soap(&change).as_bytes()).is_ok(), "{change:?}");
    }
    if let Ok((_, operations)) = read_publish(bytes) {
        for value in operations.into_iter().filter_map(|operation| operation.value).filter(|v| !v.is_empty()) {
            assert!(crate::xml::Element::parse(value.as_bytes()).is_ok(), "{value}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn damaged_documents_are_read_whole_or_refused(
        which in 0..3_usize,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), 0..3_u8, "[<>/&;:='\"! \u{1}a-cx1]{0,4}"), 1..4),
    ) {
        let mut text = honest().swap_remove(which);
        for (at, kind, inserted) in damage {
            let at = at.index(text.len());
            let end = if kind == 0 { at } else { (at + usize::from(kind) * 3).min(text.len()) };
            text.replace_range(at..end, &inserted);
        }
        read_anything(text.as_bytes());
        assert_fit(text.as_bytes());
    }
}

#[test]
fn the_honest_documents_are_read() {
    for document in honest() {
        let bytes = document.as_bytes();
        assert!(read_publish(bytes).is_ok() || read_document(bytes).is_ok() || read_soap(bytes).is_ok(), "{document}");
        assert_fit(bytes);
    }
}

/// Every reader of this room; none may panic.
fn read_anything(bytes: &[u8]) {
    let _ = read_document(bytes);
    let _ = read_soap(bytes);
    let _ = read_batch(bytes);
    let _ = read_publish(bytes);
    let _ = read_categories(bytes);
    let _ = read_own_presence(bytes);
    let _ = read_set_containers(bytes);
    let _ = read_set_subscriber(bytes);
    let _ = read_conflicts(bytes);
    let _ = message::read_request(bytes);
    let _ = message::read_answer(bytes);
    let _ = location_profile::read(bytes);
    let _ = read_presence("multipart/related; boundary=b", bytes);
    let _ = read_presence("application/msrtc-event-categories+xml", bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = location_profile::ProfileUri::from_uri(text);
        let _ = read_parts(text, bytes);
    }
}
