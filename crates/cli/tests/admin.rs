//! `admin` on the store of a lab that runs: what it changes, what the clients are told then, and what it says when something is
//! wrong.

mod running;

use running::{Lab, json, signpost, text, told};
use serde_json::Value;
use std::time::{Duration, Instant};

#[test]
fn admin_changes_what_a_running_lab_tells_its_clients() {
    let lab = Lab::start();
    let signed_in = || {
        // The servers look for changes of others once a second.
        std::thread::sleep(Duration::from_millis(1200));
        json(&lab.signin("carol@contoso.test", "Carol-in-the-lab-3", &["--view", "internal", "--json"]))
    };
    let before = signed_in();
    let value = |report: &Value, group: &str, name: &str| report["settings"]["provisioning"][group][name].clone();
    assert_eq!(value(&before, "userSetting", "disableFileTransfer"), "true", "set for carol");
    assert_eq!(value(&before, "ucPolicy", "EnableCallPark"), "true", "set for Redmond");
    assert_eq!(value(&before, "ServerConfiguration", "organization"), "Contoso", "set for everyone");
    assert_eq!(value(&before, "ServerConfiguration", "ucLocationProfile"), "Redmond.contoso.test");
    assert_eq!(before["settings"]["known"]["messages"]["no_files"], true);
    assert_eq!(before["settings"]["known"]["problems"], serde_json::json!([]));
    assert_eq!(before["settings"]["dial_plan"]["name"], "Redmond.contoso.test");

    for arguments in [
        &["policy", "set", "ucPolicy", "EnableCallPark", "FALSE", "--user", "carol@contoso.test"][..],
        &["policy", "clear", "userSetting", "disableFileTransfer", "--user", "carol@contoso.test"],
        &["policy", "set", "ServerConfiguration", "organization", "Contoso & Sons"],
        &["dialplan", "assign", "munich-sales.contoso.test", "--user", "carol@contoso.test"],
    ] {
        let output = lab.admin(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", told(&output));
    }
    let after = signed_in();
    assert_eq!(value(&after, "ucPolicy", "EnableCallPark"), "false");
    assert_eq!(value(&after, "userSetting", "disableFileTransfer"), "false");
    assert_eq!(value(&after, "userSetting", "ucUserLocationProfile"), "Munich-Sales.contoso.test");
    assert_eq!(value(&after, "ServerConfiguration", "organization"), "Contoso & Sons");
    assert_eq!(after["settings"]["dial_plan"]["name"], "Munich-Sales.contoso.test");
    assert_eq!(after["settings"]["known"]["dial_plan"], "Munich-Sales.contoso.test");

    let barred = lab.admin(&["user", "disable", "carol@contoso.test"]);
    assert!(text(&barred.stdout).contains("may not log on"), "{}", told(&barred));
    assert_eq!(signed_in()["verdict"]["id"], "user-disabled");
    let shown = json(&lab.admin(&["user", "show", "carol@contoso.test", "--json"]));
    assert_eq!((&shown["schema"], &shown["user"]["enabled"]), (&1.into(), &false.into()));
}

#[test]
fn a_password_that_was_set_counts_for_kerberos_and_ntlm_and_the_old_one_does_not() {
    let mut lab = Lab::start();
    let outcome = |lab: &Lab, mechanism: &str, password: &str| {
        let more = ["--view", "internal", "--json", "--no-certificates", "--auth", mechanism];
        let report = json(&lab.signin("alice@contoso.test", password, &more));
        match report["signed_in"] == true {
            true => report["mechanism"].as_str().expect("a mechanism").to_lowercase(),
            false => report["verdict"]["id"].as_str().expect("a verdict").to_owned(),
        }
    };
    let file = lab.folder.path().join("password");
    std::fs::write(&file, "Alice-has-another-7\n").expect("written");
    let file = file.to_str().expect("a path").to_owned();
    let set = lab.admin(&["user", "set-password", "alice@contoso.test", "--password-file", &file]);
    assert!(text(&set.stdout).contains("has a new password"), "{}", told(&set));
    // The servers look for changes of others once a second.
    std::thread::sleep(Duration::from_millis(1200));
    let check = |lab: &Lab| {
        for mechanism in ["kerberos", "ntlm"] {
            assert_eq!(
                outcome(lab, mechanism, "Alice-in-the-lab-1"),
                "ntlm-wrong-password",
                "{mechanism}, the old one"
            );
            assert_eq!(outcome(lab, mechanism, "Alice-has-another-7"), mechanism, "the new one");
        }
    };
    check(&lab);
    let told = |lab: &Lab, name: &str| {
        let ready: Value = serde_json::from_slice(&std::fs::read(lab.ready()).expect("a file")).expect("JSON");
        let users = ready["users"].as_array().expect("users");
        users.iter().find(|user| user["address"] == format!("{name}@contoso.test")).expect("lives there").clone()
    };
    let began = Instant::now();
    while told(&lab, "alice")["password"] != Value::Null {
        assert!(began.elapsed() < Duration::from_secs(10), "the ready-file still tells alice's first password");
        std::thread::sleep(Duration::from_millis(50));
    }
    lab.kill();
    lab.start_again(&[]);
    check(&lab);
    assert_eq!(told(&lab, "alice")["password"], Value::Null);
    assert_eq!(told(&lab, "bob")["password"], "Bob-in-the-lab-2");

    for (verb, expected) in [("disable", "krb-account-state"), ("enable", "kerberos")] {
        assert!(lab.admin(&["user", verb, "alice@contoso.test"]).status.success());
        std::thread::sleep(Duration::from_millis(1200));
        assert_eq!(outcome(&lab, "kerberos", "Alice-has-another-7"), expected, "{verb}");
    }

    // A user who was not there when the lab began.
    let add = ["user", "add", "greta@contoso.test", "--pool", "pool1.contoso.test", "--password-file", &file];
    assert!(lab.admin(&add).status.success());
    std::thread::sleep(Duration::from_millis(1200));
    let mut greta = signpost();
    greta.args(["signin", "greta@contoso.test", "--view", "internal", "--auth", "kerberos", "--json", "--lab"]);
    let output = greta.arg(lab.ready()).env("SIGNPOST_PASSWORD", "Alice-has-another-7").output().expect("runs");
    assert_eq!(json(&output)["signed_in"], true, "{}", text(&output.stdout));
}

#[test]
fn a_certificate_is_kept_used_listed_and_revoked() {
    let lab = Lab::start();
    let signin = |more: &[&str]| lab.signin("alice@contoso.test", "Alice-in-the-lab-1", more);
    let first = json(&signin(&["--auth", "tls-dsk", "--json"]));
    assert_eq!((&first["signed_in"], &first["mechanism"]), (&true.into(), &"TLS-DSK".into()), "{first}");
    let later = json(&signin(&["--no-password", "--json"]));
    assert_eq!((&later["signed_in"], &later["mechanism"]), (&true.into(), &"TLS-DSK".into()), "{later}");

    let listed = json(&lab.admin(&["certificate", "list", "alice@contoso.test", "--json"]));
    let device = listed["certificates"][0]["device"].as_str().expect("a device").to_owned();
    assert_eq!(listed["certificates"][0]["revoked"], Value::Null);
    let unknown = "00000000-0000-0000-0000-000000000000";
    assert!(!lab.admin(&["certificate", "revoke", "alice@contoso.test", "--device", unknown]).status.success());
    let revoked = lab.admin(&["certificate", "revoke", "alice@contoso.test", "--device", &device]);
    assert!(text(&revoked.stdout).contains("1 certificates"), "{}", told(&revoked));
    let refused = json(&signin(&["--no-password", "--json"]));
    assert_eq!(refused["verdict"]["id"], "dsk-cert-revoked", "{refused}");
}

#[test]
fn a_dial_plan_is_written_tried_and_removed() {
    let lab = Lab::start();
    let tested = |arguments: &[&str]| {
        let mut all = vec!["dialplan", "test", "--json"];
        all.extend(arguments);
        json(&lab.admin(&all))
    };
    let alice = tested(&["(425) 555-0100", "--user", "alice@contoso.test"]);
    assert_eq!((&alice["plan"], &alice["rule"]), (&"Redmond.contoso.test".into(), &4.into()));
    assert_eq!(alice["uri"], "sip:+14255550100@contoso.test;user=phone");
    assert_eq!(alice["tried"].as_array().expect("attempts").len(), 4);
    assert_eq!(
        tested(&["101", "--user", "bob@contoso.test"])["plan"],
        "contoso.test",
        "no plan of his own or the site"
    );
    assert_eq!(tested(&["4711"])["rule"], Value::Null);
    assert_eq!(tested(&["+49 89 1"])["tried"], serde_json::json!([]));

    let text_of = |arguments: &[&str]| text(&lab.admin(arguments).stdout);
    let shown = text_of(&["dialplan", "test", "5550100", "--plan", "redmond.CONTOSO.test"]);
    assert!(shown.contains("rule 5") && shown.contains("fires: +1425$1 gives +14255550100"), "{shown}");

    // What is shown can be changed and set again.
    let mut plan = json(&lab.admin(&["dialplan", "show", "Redmond.contoso.test", "--json"]));
    plan["rules"][0]["pattern"] = "(?(1)2|3)".into();
    let file = lab.folder.path().join("plan.json");
    std::fs::write(&file, plan.to_string()).expect("written");
    let set = lab.admin(&["dialplan", "set", file.to_str().expect("a path")]);
    assert!(text(&set.stdout).contains("! rule 1 ((?(1)2|3)): a conditional"), "{} {}", text(&set.stdout), told(&set));
    let list = text_of(&["dialplan", "list"]);
    assert!(list.contains("5 (1 cannot be applied)") && list.contains("site Redmond"), "{list}");
    let skipped = tested(&["5550100", "--user", "alice@contoso.test"]);
    assert_eq!((&skipped["tried"][0]["result"], &skipped["rule"]), (&"unusable".into(), &5.into()));

    assert!(lab.admin(&["dialplan", "remove", "Redmond.contoso.test"]).status.success());
    assert_eq!(tested(&["101", "--user", "alice@contoso.test"])["plan"], "contoso.test");
}

#[test]
fn admin_says_what_is_wrong_and_what_to_write() {
    let lab = Lab::start();
    let plan = lab.folder.path().join("plan.json");
    std::fs::write(&plan, r#"{"name": "Bad", "rules": [{"pattern": "(1", "translation": "+1"}]}"#).expect("written");
    let plan = plan.to_str().expect("a path");
    for (arguments, words) in [
        (
            &["policy", "set", "ucPolicy", "EnableCallPark", "maybe"][..],
            "ucPolicy/EnableCallPark: \"maybe\" cannot be its value; allowed: true or false",
        ),
        (&["policy", "set", "ucpolicy", "EnableCallPark", "true"], "did you mean ucPolicy?"),
        (&["policy", "set", "ucPolicy", "enablecallpark", "true"], "did you mean EnableCallPark?"),
        (
            &["policy", "set", "ucPolicy", "EnableCallPark", "true", "--site", "Paris"],
            "`signpost admin site set POOL Paris`",
        ),
        (&["policy", "show", "nobody@contoso.test"], "`signpost admin user list`"),
        (&["policy", "groups", "none"], "ServerConfiguration"),
        (&["user", "enable", "nobody@contoso.test"], "there is no user nobody@contoso.test"),
        (&["dialplan", "show", "None"], "Redmond.contoso.test"),
        (&["dialplan", "set", plan], "dial plan Bad: rule 1 ((1): not a regular expression: a group is not closed"),
        (&["dialplan", "test", "--", "-"], "write a number, for example 1234"),
        (&["dialplan", "assign", "None", "--user", "bob@contoso.test"], "`signpost admin dialplan list`"),
    ] {
        let output = lab.admin(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(told(&output).contains(words), "{arguments:?}: {}", told(&output));
    }
    let nowhere = signpost().args(["admin", "--state", "/nonexistent", "user", "list"]).output().expect("runs");
    assert!(told(&nowhere).contains("signpost lab --state DIR"), "{}", told(&nowhere));
    let without = signpost().args(["admin", "user", "list"]).env_remove("SIGNPOST_STATE").output().expect("runs");
    assert!(told(&without).contains("there is no --state") || told(&without).contains("There is no --state"));
}

#[test]
fn contacts_go_out_and_come_in_as_files() {
    let lab = Lab::start();
    let file = |name: &str| lab.folder.path().join(name);
    let at = |name: &str| file(name).to_str().expect("text").to_owned();
    for name in ["list.csv", "list.vcf"] {
        let path = at(name);
        assert_eq!(lab.admin(&["contacts", "export", "alice@contoso.test", &path]).status.code(), Some(0));
        let done = lab.admin(&["contacts", "import", "dave@contoso.test", &path, "--replace", "--json"]);
        assert_eq!(done.status.code(), Some(0), "{}", text(&done.stdout));
        assert_eq!(json(&done)["remarks"], serde_json::json!([]));
        let shown = |whose: &str| json(&lab.admin(&["contacts", "show", whose, "--json"]))["contacts"].clone();
        assert_eq!(shown("dave@contoso.test"), shown("alice@contoso.test"), "{name}");
    }
    std::fs::write(file("bad.csv"), "address,name\nbob@contoso.test,Bobby\nnobody,x\n").expect("a file");
    let done = lab.admin(&["contacts", "import", "alice@contoso.test", &at("bad.csv")]);
    assert_eq!(done.status.code(), Some(20), "something was not taken");
    let said = text(&done.stdout);
    assert!(said.contains("not taken: line 3: \"nobody\"") && said.contains("1 changed"), "{said}");
    // The servers look for changes of others once a second.
    std::thread::sleep(Duration::from_millis(1200));
    let signed_in = json(&lab.signin("alice@contoso.test", "Alice-in-the-lab-1", &["--json"]));
    let list = signed_in["settings"]["contacts"]["list"].as_array().expect("a list");
    assert!(list.iter().any(|contact| contact["name"] == "Bobby"), "the running lab tells it");
    std::fs::write(file("none.csv"), "hello\n").expect("a file");
    assert_eq!(lab.admin(&["contacts", "import", "alice@contoso.test", &at("none.csv")]).status.code(), Some(1));
}
