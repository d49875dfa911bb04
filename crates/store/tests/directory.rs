//! The store seen through its doors: the directory's trait, administration, import, and another process at the file.

mod support;

use futures_util::FutureExt;
use signin::directory::{ChangeError, DialPlan, Directory, NormalizationRule, Properties, User};
use signin::io::Pending;
use signin::name::AccountName;
use signin::provision::contacts::{ContactChange, ContactList, Edit};
use signin::secret::Password;
use std::time::{Duration, Instant};
use store::{AdminError, Imported, OpenError, PlanUse, Scope, Seed, Settings, Store, Users};
use support::{add, always, aor, block_on, contact, user};

/// The answer of a read, which has to be there without waiting.
fn now<T, E: std::fmt::Debug>(pending: Pending<'_, Result<T, E>>) -> T {
    pending.now_or_never().expect("reads are answered at once").expect("an answer")
}

fn temporary() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("users.db");
    (folder, path)
}

#[test]
fn a_user_is_found_by_address_and_by_every_login_name() {
    let store = Store::in_memory().expect("a store");
    let alice = User { display_name: "Alice A".to_owned(), ..user("alice@contoso.test") };
    add(&store, alice.clone(), &["CONTOSO\\alice", "a.adams@corp.contoso.test"]);
    add(&store, user("bob@contoso.test"), &["CONTOSO\\bob"]);

    assert_eq!(now(store.user(&aor("sip:Alice@Contoso.test"))).as_deref(), Some(&alice));
    assert_eq!(now(store.user(&aor("carol@contoso.test"))), None);
    for login in ["CONTOSO\\alice", "contoso/ALICE", "a.adams@corp.contoso.test", "A.Adams@CORP.contoso.test", "alice"]
    {
        let found = now(store.user_of_account(&AccountName::parse(login)));
        assert_eq!(found.as_deref(), Some(&alice), "{login}");
    }
    for login in ["FABRIKAM\\alice", "a.adams", "alice@contoso.test", "", "\\"] {
        assert_eq!(now(store.user_of_account(&AccountName::parse(login))), None, "{login}");
    }
}

#[test]
fn administration_changes_what_the_directory_says_at_once() {
    let store = Store::in_memory().expect("a store");
    let alice = aor("alice@contoso.test");
    add(&store, user("alice@contoso.test"), &["CONTOSO\\alice"]);

    store.set_home(&alice, Some("Pool2.Contoso.test"), Some("pool1.contoso.test")).wait().expect("alice is there");
    store.disable(&alice).wait().expect("alice is there");
    let seen = now(store.user(&alice)).expect("alice");
    assert_eq!(seen.home_pool.as_deref(), Some("pool2.contoso.test"));
    assert_eq!(seen.backup_pool.as_deref(), Some("pool1.contoso.test"));
    assert!(!seen.enabled);
    store.enable(&alice).wait().expect("alice is there");
    assert!(now(store.user(&alice)).expect("alice").enabled);

    let renamed = store.modify_user(&alice, |account| account.logins = vec![AccountName::parse("CONTOSO\\a.adams")]);
    renamed.wait().expect("a free name");
    assert_eq!(now(store.user_of_account(&AccountName::parse("CONTOSO\\alice"))), None);
    assert!(now(store.user_of_account(&AccountName::parse("CONTOSO\\a.adams"))).is_some());

    block_on(store.change_contacts(&alice, always(Edit::SetContact(contact("bob@contoso.test", &[]))))).expect("alice");
    store.remove_user(&alice).wait().expect("alice is there");
    assert_eq!(now(store.user(&alice)), None);
    assert_eq!(now(store.user_of_account(&AccountName::parse("CONTOSO\\a.adams"))), None);
    add(&store, user("alice@contoso.test"), &["CONTOSO\\alice"]);
    assert_eq!(now(store.contacts(&alice)), ContactList::empty(), "the new alice does not inherit the old one's list");
}

#[test]
fn a_refused_change_of_a_user_says_why_and_changes_nothing() {
    let store = Store::in_memory().expect("a store");
    add(&store, user("alice@contoso.test"), &["CONTOSO\\alice"]);
    add(&store, user("bob@contoso.test"), &["CONTOSO\\bob"]);
    let (alice, nobody) = (aor("alice@contoso.test"), aor("nobody@contoso.test"));
    let before = store.list_users();

    assert_eq!(store.disable(&nobody).wait(), Err(AdminError::UnknownUser(nobody.clone())));
    assert_eq!(store.remove_user(&nobody).wait(), Err(AdminError::UnknownUser(nobody.clone())));
    let password = Password::new("Wonderland!1".to_owned());
    assert_eq!(store.set_password(&nobody, &password).wait(), Err(AdminError::UnknownUser(nobody)));
    assert_eq!(
        store.modify_user(&alice, |account| account.logins.push(AccountName::parse("contoso\\BOB"))).wait(),
        Err(AdminError::LoginTaken { login: AccountName::parse("contoso\\BOB"), owner: "bob@contoso.test".to_owned() })
    );
    let invalid: [fn(&mut store::Account); 3] = [
        |account| account.user.aor = aor("alice@fabrikam.test"),
        |account| account.logins.push(AccountName::parse("CONTOSO\\")),
        |account| {
            account.user.home_pool = Some("pool1.contoso.test".to_owned());
            account.user.backup_pool = Some("POOL1.contoso.test".to_owned());
        },
    ];
    for change in invalid {
        assert!(matches!(store.modify_user(&alice, change).wait(), Err(AdminError::Invalid(_))));
    }
    let again = store::NewUser { account: before[0].clone(), password: None };
    assert_eq!(store.add_user(again).wait(), Err(AdminError::UserExists(alice)));
    assert_eq!(store.list_users(), before);
}

#[test]
fn contact_changes_are_answered_with_the_list_after_them() {
    let store = Store::in_memory().expect("a store");
    let alice = aor("alice@contoso.test");
    add(&store, user("alice@contoso.test"), &[]);
    assert_eq!(now(store.contacts(&alice)), ContactList::empty());

    // A client that does not wait sends consecutive versions; the order of the calls is the order of the changes.
    let group = Edit::AddGroup { name: "Team".to_owned(), external_uri: String::new() };
    let first = store.change_contacts(&alice, ContactChange { delta_num: Some(1), edit: group });
    let bob = Edit::SetContact(contact("bob@contoso.test", &[2]));
    let second = store.change_contacts(&alice, ContactChange { delta_num: Some(2), edit: bob.clone() });
    let after_second = block_on(second).expect("the second change");
    let after_first = block_on(first).expect("the first change");
    assert_eq!((after_first.delta_num, after_first.contacts.len()), (2, 0));
    assert_eq!((after_second.delta_num, after_second.contacts.len()), (3, 1));
    assert_eq!(now(store.contacts(&alice)), after_second);

    let late = block_on(store.change_contacts(&alice, ContactChange { delta_num: Some(2), edit: bob.clone() }));
    assert_eq!(late, Err(ChangeError::WrongDelta { current: 3 }));
    let nobody = block_on(store.change_contacts(&aor("nobody@contoso.test"), always(bob)));
    assert!(matches!(nobody, Err(ChangeError::Invalid(_))), "{nobody:?}");
    assert_eq!(now(store.contacts(&aor("nobody@contoso.test"))), ContactList::empty());
}

#[test]
fn a_policy_value_is_the_one_set_nearest_to_the_user() {
    let store = Store::in_memory().expect("a store");
    let (alice, bob, nobody) = (aor("alice@contoso.test"), aor("bob@contoso.test"), aor("nobody@contoso.test"));
    add(&store, User { home_pool: Some("pool1.contoso.test".to_owned()), ..user("alice@contoso.test") }, &[]);
    add(&store, User { home_pool: Some("pool2.contoso.test".to_owned()), ..user("bob@contoso.test") }, &[]);
    store.set_site("Pool1.contoso.test", Some("Redmond")).wait().expect("a site");
    let set = |scope, name: &str, value| store.set_policy(scope, "ucPolicy", name, value).wait();
    let redmond = || Scope::Site("Redmond".to_owned());
    for (scope, name, value) in [
        (Scope::Global, "AllowCallForwarding", "true"),
        (Scope::Global, "EnableCallPark", "false"),
        (Scope::Global, "EnableTeamCall", "false"),
        (redmond(), "EnableCallPark", "true"),
        (redmond(), "EnableTeamCall", "true"),
        (Scope::User(alice.clone()), "EnableTeamCall", "false"),
    ] {
        set(scope, name, Some(value)).expect("a policy");
    }
    let of = |aor, group| now(store.policy(aor, group));
    let properties = |values: [&str; 3]| {
        let names = ["AllowCallForwarding", "EnableCallPark", "EnableTeamCall"];
        names.into_iter().zip(values).map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Properties>()
    };
    assert_eq!(of(&alice, "ucPolicy"), properties(["true", "true", "false"]));
    assert_eq!(of(&bob, "ucPolicy"), properties(["true", "false", "false"]));
    assert_eq!(of(&nobody, "ucPolicy"), properties(["true", "false", "false"]));
    assert_eq!(of(&alice, "ucpolicy"), Properties::new(), "groups are compared exactly");

    set(Scope::User(alice.clone()), "EnableTeamCall", None).expect("taken away");
    assert_eq!(of(&alice, "ucPolicy"), properties(["true", "true", "true"]));
    store.set_site("pool1.contoso.test", None).wait().expect("no site");
    assert_eq!(of(&alice, "ucPolicy"), properties(["true", "false", "false"]));
    assert!(matches!(
        set(Scope::User(nobody.clone()), "EnableTeamCall", Some("true")),
        Err(AdminError::UnknownUser(_))
    ));
}

#[test]
fn dial_plans_keep_their_rules_in_order_and_one_is_global() {
    let store = Store::in_memory().expect("a store");
    let rule = |pattern: &str, translation: &str, internal_extension| NormalizationRule {
        pattern: pattern.to_owned(),
        translation: translation.to_owned(),
        internal_extension,
        device_dialing: internal_extension,
    };
    let seattle = DialPlan {
        name: "Seattle.contoso.test".to_owned(),
        rules: vec![rule(r"^(\d{4})$", "+1425555$1", true), rule(r"^9?011(\d+)$", "+$1", false)],
        external_access_prefix: Some("9".to_owned()),
        optimize_device_dialing: true,
    };
    let plain = DialPlan {
        name: "contoso.test".to_owned(),
        rules: vec![rule(r"^\+(\d+)$", "+$1", false)],
        external_access_prefix: None,
        optimize_device_dialing: false,
    };
    assert_eq!(now(store.dial_plan(None)), None);
    store.put_dial_plan(seattle.clone(), PlanUse::Global).wait().expect("a plan");
    assert_eq!(now(store.dial_plan(None)), Some(seattle.clone()));
    store.put_dial_plan(plain.clone(), PlanUse::Global).wait().expect("another plan");
    assert_eq!(now(store.dial_plan(None)), Some(plain.clone()));
    assert_eq!(now(store.dial_plan(Some("seattle.CONTOSO.test"))), Some(seattle.clone()));
    assert_eq!(now(store.dial_plan(Some("Tokyo"))), None);

    let shorter = DialPlan { rules: seattle.rules[..1].to_vec(), ..seattle };
    store.put_dial_plan(shorter.clone(), PlanUse::Named).wait().expect("replaced");
    assert_eq!(now(store.dial_plan(Some("Seattle.contoso.test"))), Some(shorter));
    assert_eq!(now(store.dial_plan(None)), Some(plain));
    store.remove_dial_plan("CONTOSO.test").wait().expect("it was there");
    assert_eq!(now(store.dial_plan(None)), None);
    assert!(matches!(store.remove_dial_plan("contoso.test").wait(), Err(AdminError::UnknownDialPlan(_))));
    let nameless = DialPlan {
        name: " ".to_owned(),
        rules: Vec::new(),
        external_access_prefix: None,
        optimize_device_dialing: false,
    };
    assert!(matches!(store.put_dial_plan(nameless, PlanUse::Named).wait(), Err(AdminError::Invalid(_))));
}

#[test]
fn a_policy_value_is_checked_and_the_error_names_it() {
    let store = Store::in_memory().expect("a store");
    let refused = |group: &str, name: &str, value: &str| {
        let error = store.set_policy(Scope::Global, group, name, Some(value)).wait().expect_err(name);
        error.to_string()
    };
    for (group, name, value, told) in [
        (
            "ucPolicy",
            "EnableTeamCall",
            "yes",
            "ucPolicy/EnableTeamCall: \"yes\" cannot be its value; allowed: true or false",
        ),
        ("ucpolicy", "EnableTeamCall", "true", "no provisioning group ucpolicy (did you mean ucPolicy?)"),
        (
            "ucPolicy",
            "enableTeamCall",
            "true",
            "ucPolicy has no property enableTeamCall (did you mean EnableTeamCall?)",
        ),
        ("meetingPolicy", "MeetingSize", "1", "allowed: a whole number from 2 to 1000"),
        ("ServerConfiguration", "mrasUri", "edge", "allowed: a SIP URI"),
        ("ServerConfiguration", "absInternalServerUrl", "ftp://x", "allowed: a URL"),
        ("ServerConfiguration", "loggingLevel", "Loud", "allowed: Off, Low, Medium, High"),
        ("endpointConfiguration", "a b", "x", "is no name for a property"),
        ("endpointConfiguration", "Own", "\u{1}", "text without control characters"),
        ("publicationGrammar", "containerManifestList", "<x/>", "an XML document whose root element has this name"),
    ] {
        let error = refused(group, name, value);
        assert!(error.contains(told), "{error}");
    }
    let site = Scope::Site("Atlantis".to_owned());
    let error = store.set_policy(site, "ucPolicy", "EnableTeamCall", Some("true")).wait().expect_err("no such site");
    assert_eq!(error, AdminError::UnknownSite("Atlantis".to_owned()));
    assert_eq!(store.list_policies(), []);

    let alice = aor("alice@contoso.test");
    for (group, name, value, kept) in [
        ("ucPolicy", "EnableTeamCall", "TRUE", "true"),
        ("ServerConfiguration", "loggingLevel", "high", "High"),
        ("meetingPolicy", "MeetingSize", " 0100 ", "100"),
        ("endpointConfiguration", "OurOwnSwitch", "anything", "anything"),
    ] {
        store.set_policy(Scope::Global, group, name, Some(value)).wait().expect(name);
        assert_eq!(now(store.policy(&alice, group))[name], kept);
    }
}

#[test]
fn what_cannot_be_used_is_passed_over_and_told() {
    let (_folder, path) = temporary();
    drop(Store::open(&path).expect("a new store"));
    let other = rusqlite::Connection::open(&path).expect("the same file");
    other
        .execute_batch(
            "INSERT INTO policies VALUES ('global', '', 'ucPolicy', 'EnableTeamCall', 'sometimes');
             INSERT INTO policies VALUES ('global', '', 'ucPolicy', 'EnableCallPark', 'true');",
        )
        .expect("rows of a program that checked less");
    let store = Store::open(&path).expect("the store");
    let kept = now(store.policy(&aor("alice@contoso.test"), "ucPolicy"));
    assert_eq!(kept.into_iter().collect::<Vec<_>>(), [("EnableCallPark".to_owned(), "true".to_owned())]);

    let rule = |pattern: &str| NormalizationRule {
        pattern: pattern.to_owned(),
        translation: "+1".to_owned(),
        internal_extension: false,
        device_dialing: false,
    };
    let plan = |pattern: &str| DialPlan {
        name: "Odd".to_owned(),
        rules: vec![rule("^1$"), rule(pattern)],
        external_access_prefix: None,
        optimize_device_dialing: false,
    };
    let error = store.put_dial_plan(plan("(1"), PlanUse::Named).wait().expect_err("no expression").to_string();
    assert!(error.starts_with("dial plan Odd: rule 2 ((1): not a regular expression"), "{error}");
    store.put_dial_plan(plan("(?(1)2|3)"), PlanUse::Named).wait().expect("an expression, though not one of ours");
    assert_eq!(
        store.findings(),
        [
            "policy for everyone: ucPolicy/EnableTeamCall: \"sometimes\" cannot be its value; allowed: true or false; it is \
             passed over",
            "dial plan Odd: rule 2 ((?(1)2|3)): a conditional at character 0 cannot be applied here, though .NET can",
        ]
    );
}

#[test]
fn the_dial_plan_is_the_users_else_the_sites_else_the_global_one() {
    let store = Store::in_memory().expect("a store");
    let (alice, bob) = (aor("alice@contoso.test"), aor("bob@contoso.test"));
    add(&store, User { home_pool: Some("pool1.contoso.test".to_owned()), ..user("alice@contoso.test") }, &[]);
    add(&store, User { home_pool: Some("pool2.contoso.test".to_owned()), ..user("bob@contoso.test") }, &[]);
    let plan = |name: &str| DialPlan {
        name: name.to_owned(),
        rules: Vec::new(),
        external_access_prefix: None,
        optimize_device_dialing: false,
    };
    store.put_dial_plan(plan("Everyone"), PlanUse::Global).wait().expect("a plan");
    store.put_dial_plan(plan("Redmond"), PlanUse::Named).wait().expect("a plan");
    store.put_dial_plan(plan("Alices-own"), PlanUse::Named).wait().expect("a plan");
    store.set_site("pool1.contoso.test", Some("Redmond")).wait().expect("a site");
    store.set_site_dial_plan("Redmond", Some("redmond")).wait().expect("its plan");
    let pool = |aor: &signin::name::Aor| now(store.pool_dial_plan(aor)).map(|plan| plan.name);
    assert_eq!((pool(&alice).as_deref(), pool(&bob).as_deref()), (Some("Redmond"), Some("Everyone")));
    store.put_dial_plan(plan("REDMOND"), PlanUse::Named).wait().expect("replaced");
    assert_eq!(pool(&alice).as_deref(), Some("REDMOND"), "a site keeps its plan when that is replaced");

    store.set_dial_plan(&alice, Some("alices-OWN")).wait().expect("a plan of her own");
    assert_eq!(now(store.user(&alice)).expect("alice").dial_plan.as_deref(), Some("Alices-own"));
    assert!(matches!(store.set_dial_plan(&alice, Some("None")).wait(), Err(AdminError::UnknownDialPlan(_))));
    assert!(matches!(store.set_site_dial_plan("Redmond", Some("None")).wait(), Err(AdminError::UnknownDialPlan(_))));
    assert!(matches!(store.set_site_dial_plan("Paris", Some("Redmond")).wait(), Err(AdminError::UnknownSite(_))));
    let listed = store.list_dial_plans();
    let shown: Vec<_> = listed.iter().map(|p| (p.plan.name.as_str(), p.is_global, p.sites.len())).collect();
    assert_eq!(shown, [("Alices-own", false, 0), ("Everyone", true, 0), ("REDMOND", false, 1)]);

    store.remove_dial_plan("Redmond").wait().expect("it was there");
    assert_eq!(pool(&alice).as_deref(), Some("Everyone"));
}

const SEED: &str = r#"{
  "users": [
    { "address": "sip:Alice@contoso.test", "display_name": "Alice A", "logins": ["CONTOSO\\alice", "alice@contoso.test"],
      "password": "Wonderland!1", "home_pool": "pool1.contoso.test", "line": "tel:+14255550100",
      "groups": [{ "name": "Project team" }, { "name": "Vendors", "external_uri": "urn:v" }],
      "contacts": [
        { "address": "bob@contoso.test", "groups": ["Project team", "~"] },
        { "address": "carol@contoso.test", "name": "Carol (desk)", "subscribed": false }
      ] },
    { "address": "bob@contoso.test", "display_name": "Bob B", "logins": ["CONTOSO\\bob"], "remote_access": false }
  ],
  "sites": [{ "name": "Redmond", "pools": ["pool1.contoso.test"] }],
  "policies": [
    { "group": "ucPolicy", "properties": { "EnableCallPark": "false" } },
    { "site": "Redmond", "group": "ucPolicy", "properties": { "EnableCallPark": "true" } },
    { "user": "bob@contoso.test", "group": "userSetting", "properties": { "disableFileTransfer": "true" } }
  ],
  "dial_plans": [
    { "name": "contoso.test", "global": true, "external_access_prefix": null,
      "rules": [{ "pattern": "^(\\d{4})$", "translation": "+1425555$1", "internal_extension": true }] }
  ]
}"#;

fn seed() -> Seed {
    serde_json::from_str(SEED).expect("the test's document")
}

#[test]
fn a_deployment_is_imported_whole() {
    let store = Store::in_memory().expect("a store");
    assert_eq!(store.import(seed()).wait(), Ok(Imported { added: 2, replaced: 0 }));
    let (alice, bob) = (aor("alice@contoso.test"), aor("bob@contoso.test"));

    let list = now(store.contacts(&alice));
    let groups: Vec<_> = list.groups.iter().map(|group| (group.id, group.name.as_str())).collect();
    assert_eq!(groups, [(1, "~"), (2, "Project team"), (3, "Vendors")]);
    assert_eq!(list.contacts[0].groups, [2, 1]);
    assert_eq!((list.contacts[1].groups.as_slice(), list.contacts[1].subscribed), (&[1][..], false));
    assert!(!now(store.user(&bob)).expect("bob").remote_access);
    assert_eq!(now(store.policy(&alice, "ucPolicy"))["EnableCallPark"], "true");
    assert_eq!(now(store.policy(&bob, "ucPolicy"))["EnableCallPark"], "false");
    assert_eq!(now(store.policy(&bob, "userSetting"))["disableFileTransfer"], "true");
    assert_eq!(now(store.dial_plan(None)).expect("a plan").rules.len(), 1);
    assert_eq!(store.user_count(), 2);

    // Again: users are replaced, and whoever knew a list before sees that it is another one.
    assert_eq!(store.import(seed()).wait(), Ok(Imported { added: 0, replaced: 2 }));
    let again = now(store.contacts(&alice));
    assert_eq!(again.delta_num, list.delta_num + 1);
    assert_eq!(ContactList { delta_num: list.delta_num, ..again }, list);
}

#[test]
fn an_import_with_a_mistake_changes_nothing_and_names_it() {
    let store = Store::in_memory().expect("a store");
    type Mistake = (fn(&mut Seed), &'static str);
    let mistakes: [Mistake; 5] = [
        (|seed| seed.users[0].contacts[0].groups.push("Friends".to_owned()), "Friends"),
        (|seed| seed.users[1].logins.push("contoso\\Alice".to_owned()), "contoso\\Alice"),
        (|seed| seed.policies[2].user = Some("nobody@contoso.test".to_owned()), "nobody@contoso.test"),
        (|seed| seed.policies[2].site = Some("Redmond".to_owned()), "Redmond"),
        (|seed| seed.users[0].groups[0].name = "g".repeat(257), "256"),
    ];
    for (make, named) in mistakes {
        let mut seed = seed();
        make(&mut seed);
        let error = store.import(seed).wait().expect_err(named).to_string();
        assert!(error.contains(named), "{error}");
        assert_eq!(store.user_count(), 0);
        assert_eq!(now(store.dial_plan(None)), None);
    }
    assert!(serde_json::from_str::<Seed>(r#"{ "user": [] }"#).is_err(), "a misspelt name is not overlooked");
    assert!(serde_json::from_str::<Seed>(r#"{ "users": [{ "address": "alice", "display_name": "" }] }"#).is_err());
}

#[test]
fn everything_is_there_when_the_file_is_opened_again() {
    let (_folder, path) = temporary();
    let alice = aor("alice@contoso.test");
    let (users, list);
    {
        let store = Store::open(&path).expect("a new store");
        store.import(seed()).wait().expect("an import");
        block_on(store.change_contacts(&alice, always(Edit::DeleteContact(aor("bob@contoso.test")))))
            .expect("a change");
        users = store.list_users();
        list = now(store.contacts(&alice));
    }
    let store = Store::open(&path).expect("the same store");
    assert_eq!(store.list_users(), users);
    assert_eq!(now(store.contacts(&alice)), list);
    assert_eq!(now(store.policy(&alice, "ucPolicy"))["EnableCallPark"], "true");
    assert!(now(store.dial_plan(None)).is_some());
}

#[test]
fn changes_of_another_process_are_noticed() {
    let (_folder, path) = temporary();
    let server = Store::open(&path).expect("the server's");
    let admin = Store::open(&path).expect("the administrator's");
    let alice = aor("alice@contoso.test");

    add(&admin, user("alice@contoso.test"), &["CONTOSO\\alice"]);
    assert_eq!(now(server.user(&alice)), None, "it was not told");
    server.refresh().wait().expect("a look at the file");
    assert!(now(server.user(&alice)).is_some());

    // A list that the server has in memory, changed elsewhere.
    assert_eq!(now(server.contacts(&alice)), ContactList::empty());
    let bob = Edit::SetContact(contact("bob@contoso.test", &[]));
    let changed = block_on(admin.change_contacts(&alice, always(bob))).expect("a change");
    // A change of the server's own is based on what is in the file, refreshed or not.
    let stale = ContactChange { delta_num: Some(1), edit: Edit::DeleteContact(aor("bob@contoso.test")) };
    assert_eq!(block_on(server.change_contacts(&alice, stale)), Err(ChangeError::WrongDelta { current: 2 }));
    assert_eq!(now(server.contacts(&alice)), changed);

    // Nobody asks: the writer looks by itself.
    admin.disable(&alice).wait().expect("alice is there");
    let began = Instant::now();
    while now(server.user(&alice)).expect("alice").enabled {
        assert!(began.elapsed() < Duration::from_secs(10), "it never looked");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_file_is_for_its_owner_only_and_holds_no_password() {
    let (folder, path) = temporary();
    let canary = "Canary-7f3a!";
    let store = Store::open(&path).expect("a new store");
    add(&store, user("alice@contoso.test"), &["CONTOSO\\alice"]);
    let password = Password::new(canary.to_owned());
    store.set_password(&aor("alice@contoso.test"), &password).wait().expect("alice is there");
    let printed = format!("{:?} {:?}", store.list_users(), store.account(&aor("alice@contoso.test")));
    let hash = mechanism::ntlm::NtHash::of_password(canary).to_hex();
    assert!(!printed.contains(canary) && !printed.contains(hash.as_str()));
    let mut seed = seed();
    seed.users[0].password = Some(password);
    assert!(!format!("{seed:?}").contains(canary));

    let mut hash_seen = false;
    for file in std::fs::read_dir(folder.path()).expect("the folder") {
        let file = file.expect("a file").path();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&file).expect("its mode").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", file.display());
        }
        let bytes = std::fs::read(&file).expect("its bytes");
        let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(!holds(canary), "{}", file.display());
        hash_seen |= holds(&hash);
    }
    assert!(hash_seen, "the test looks into the right files");
}

#[test]
fn a_file_that_cannot_be_used_is_refused_with_its_reason() {
    let (folder, path) = temporary();
    assert!(matches!(Store::open(&folder.path().join("nowhere/users.db")), Err(OpenError::Io { .. })));

    std::fs::write(&path, "This is a letter and no database. ".repeat(100)).expect("a file");
    assert!(matches!(Store::open(&path), Err(OpenError::Sqlite { .. })));

    let later = folder.path().join("later.db");
    drop(Store::open(&later).expect("a new store"));
    let direct = rusqlite::Connection::open(&later).expect("the file");
    direct.execute("INSERT INTO schema_version (version) VALUES (1000)", []).expect("a row");
    assert!(matches!(Store::open(&later), Err(OpenError::NewerSchema { found: 1000, .. })));

    let damaged = folder.path().join("damaged.db");
    let store = Store::open(&damaged).expect("a new store");
    add(&store, user("alice@contoso.test"), &[]);
    drop(store);
    let direct = rusqlite::Connection::open(&damaged).expect("the file");
    direct.execute("UPDATE users SET nt_hash = 'secret-but-no-hash'", []).expect("a row");
    let Err(error) = Store::open(&damaged) else { panic!("a damaged record was not noticed") };
    assert!(matches!(error, OpenError::Damaged { .. }));
    assert!(!error.to_string().contains("secret"));
}

#[test]
fn with_users_elsewhere_whoever_has_something_to_keep_is_somebody() {
    let (_folder, path) = temporary();
    let settings = || Settings { users: Users::Elsewhere, ..Settings::default() };
    let store = Store::open_with(&path, settings()).expect("a new file");
    let alice = aor("alice@contoso.test");
    assert_eq!(now(store.contacts(&alice)), ContactList::empty());
    let change = || always(Edit::SetContact(contact("bob@contoso.test", &[1])));
    let list = block_on(store.change_contacts(&alice, change())).expect("she is somebody");
    let scope = || Scope::User(aor("carol@contoso.test"));
    store.set_policy(scope(), "endpointConfiguration", "a", Some("1")).wait().expect("so is she");
    drop(store);

    let store = Store::open_with(&path, settings()).expect("the same file");
    assert_eq!(now(store.contacts(&alice)), list);
    let carol = now(store.policy(&aor("carol@contoso.test"), "endpointConfiguration"));
    assert_eq!(carol.get("a").map(String::as_str), Some("1"));
    for name in ["alice@contoso.test", "carol@contoso.test"] {
        let stand_in = now(store.user(&aor(name))).expect("there is one");
        assert!(!stand_in.enabled && !stand_in.sip_enabled && !stand_in.remote_access);
    }
    assert_eq!(store.user_count(), 2, "nobody was made by being asked for");
    drop(store);

    let store = Store::open(&path).expect("the same file");
    let refused = block_on(store.change_contacts(&aor("dave@contoso.test"), change()));
    assert!(matches!(refused, Err(ChangeError::Invalid(_))), "{refused:?}");
}
