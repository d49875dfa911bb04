//! The program as a person runs it: `demo`, `lab`, `signin`, `ladder`, `admin`, their output and exit status.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn signpost() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signpost"));
    command.env_remove("SIGNPOST_PASSWORD").env_remove("RUST_LOG").env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// A running lab, stopped when dropped.
struct Lab {
    child: Child,
    folder: tempfile::TempDir,
}

impl Lab {
    fn start() -> Lab {
        Lab::start_with(&[])
    }

    fn start_with(more: &[&str]) -> Lab {
        let folder = tempfile::tempdir().expect("a folder");
        let lab = Lab { child: Lab::child(&folder, more), folder };
        lab.wait();
        lab
    }

    fn child(folder: &tempfile::TempDir, more: &[&str]) -> Child {
        let mut command = signpost();
        command.args(["lab", "--seconds", "120", "--ready-file"]).arg(folder.path().join("ready.json"));
        command.arg("--state").arg(folder.path().join("state")).args(more);
        command.stdout(Stdio::null()).spawn().expect("the lab starts")
    }

    fn wait(&self) {
        let began = Instant::now();
        while !self.ready().exists() {
            assert!(began.elapsed() < Duration::from_secs(20), "the lab is not ready after 20 s");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it as a power failure does.
    fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
        std::fs::remove_file(self.ready()).expect("it was ready");
    }

    /// The same deployment once more.
    fn start_again(&mut self, more: &[&str]) {
        self.child = Lab::child(&self.folder, more);
        self.wait();
    }

    fn ready(&self) -> PathBuf {
        self.folder.path().join("ready.json")
    }

    fn signin(&self, address: &str, password: &str, more: &[&str]) -> Output {
        let name = address.split('@').next().expect("a name");
        let mut command = signpost();
        command.args(["signin", address, "--user", &format!("CONTOSO\\{name}"), "--lab"]).arg(self.ready());
        command.args(more).env("SIGNPOST_PASSWORD", password).output().expect("runs")
    }
}

impl Lab {
    /// Runs `admin` on the lab's store, while the lab runs.
    fn admin(&self, arguments: &[&str]) -> Output {
        let state = self.folder.path().join("state");
        signpost().args(["admin", "--state"]).arg(state).args(arguments).output().expect("runs")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", text(&output.stdout), text(&output.stderr)))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn demo_shows_every_kind_of_sign_in_with_its_count_of_registers() {
    let began = Instant::now();
    let output = signpost().args(["demo", "--json"]).output().expect("runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(began.elapsed() < Duration::from_secs(15), "the demo took {:?}", began.elapsed());
    let document = json(&output);
    assert_eq!(document["schema"], 1);
    let sign_ins = document["sign_ins"].as_array().expect("a list");
    let sentence = |sign_in: &Value| -> String {
        let registers = sign_in["registers"].as_array().expect("a list");
        let counts: Vec<_> = registers.iter().map(|server| server["requests"].to_string()).collect();
        let mechanisms: Vec<_> = registers.iter().map(|server| server["mechanism"].as_str().expect("a name")).collect();
        assert!(mechanisms.windows(2).all(|pair| pair[0] == pair[1]), "one mechanism at every server: {sign_in}");
        assert_eq!(registers.len(), sign_in["redirects"].as_array().expect("a list").len() + 1);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let result =
            if sign_in["signed_in"] == true { "signed in".to_owned() } else { text(&sign_in["verdict"]["id"]) };
        let user = text(&sign_in["address"]).replace("@contoso.test", "");
        let home = text(&sign_in["home"]).replace(".contoso.test", "");
        let counts = counts.join("+");
        format!("{user}, {}: {} {counts}, {home}, {result}", text(&sign_in["view"]), mechanisms[0])
    };
    assert_eq!(
        sign_ins.iter().map(sentence).collect::<Vec<_>>(),
        [
            "alice, internal: Kerberos 2, fe02, signed in",
            "alice, internal: NTLM 3, fe02, signed in",
            "alice, internal: TLS-DSK 4, fe02, signed in",
            "alice, internal: TLS-DSK 4+4, fe02, signed in",
            "alice, external: TLS-DSK 4, sip, signed in",
            "bob, internal: Kerberos 2, pool2, signed in",
            "bob, internal: Kerberos 2+2, pool2, signed in",
            "frank, internal: NTLM 3+3, pool2, signed in",
            "frank, internal: TLS-DSK 4+4, pool2, signed in",
            "bob, external: NTLM 3, sip, signed in",
            "carol, external: NTLM 3, , user-no-remote-access",
            "dave, internal: Kerberos 1, , krb-account-state",
        ]
    );
    for sign_in in sign_ins.iter().filter(|s| s["signed_in"] == true) {
        assert!(sign_in["contacts"].as_u64() > Some(1), "{sign_in}");
        let ladder = sign_in["ladder"].as_str().expect("a ladder");
        let proof = match (sign_in["mechanism"].as_str(), sign_in["first"] == true) {
            (Some("Kerberos"), _) => &["AS-REQ", "TGS-REQ", "AP-REQ"][..],
            (Some("NTLM"), _) => &["AUTHENTICATE signed"],
            (_, true) => &["POST /WebTicket/", "POST /CertProv/", "ClientHello"],
            (_, false) => &["ClientHello"],
        };
        assert!(proof.iter().all(|words| ladder.contains(words)), "{proof:?}: {ladder}");
        assert!(sign_in["steps"].as_array().expect("steps").iter().all(|s| s["result"] != "fail"), "{sign_in}");
    }
}

#[test]
fn signin_tells_the_step_by_its_exit_status_and_the_cause_in_words() {
    let lab = Lab::start();
    let right = lab.signin("alice@contoso.test", "Alice-in-the-lab-1", &[]);
    assert_eq!(right.status.code(), Some(0), "{}", text(&right.stdout));
    assert!(text(&right.stdout).contains("signed in: alice@contoso.test"), "{}", text(&right.stdout));

    // With the certificate of the first sign-in nobody looks at a password.
    for mechanism in ["kerberos", "ntlm"] {
        let wrong = lab.signin("alice@contoso.test", "not it", &["--json", "--no-certificates", "--auth", mechanism]);
        assert_eq!(wrong.status.code(), Some(13), "authentication");
        let report = json(&wrong);
        assert_eq!((&report["verdict"]["id"], &report["failed_step"]), (&"ntlm-wrong-password".into(), &3.into()));
        assert!(!text(&wrong.stdout).contains("not it"), "the password is nowhere in the output");
    }

    let nowhere = lab.signin("alice@elsewhere.test", "x", &[]);
    assert_eq!(nowhere.status.code(), Some(11), "discovery: {}", text(&nowhere.stdout));

    let refused = lab.signin("alice@contoso.test", "Alice-in-the-lab-1", &["--server", "fe01.contoso.test:4444"]);
    assert_eq!(refused.status.code(), Some(12), "connectivity: {}", text(&refused.stdout));
    let told = text(&refused.stdout);
    assert!(told.contains("tcp-refused"), "{told}");
    // There is no other candidate: nothing begins anew, and the failure is told once.
    assert_eq!(told.matches("1 Discovery").count(), 1, "{told}");
    assert_eq!(told.matches("step 2 FAILED").count(), 1, "{told}");
    assert_eq!(told.matches("  ! ").count(), 1, "{told}");
}

#[test]
fn usage_errors_say_what_to_write() {
    for (arguments, words) in [
        (&["signin", "alice", "--no-password"][..], "alice@contoso.com"),
        (&["signin", "a@b.test", "--no-password", "--dns", "nonsense"], "192.0.2.53"),
        (&["signin", "a@b.test", "--no-password", "--server", "host:port"], "fe01.contoso.com:5061"),
        (&["signin", "a@b.test", "--no-password", "--lab", "/nonexistent"], "is the lab running?"),
        (&["signin", "a@b.test", "--no-password", "--dns-limit", "0"], "above 0"),
        (&["ladder", "/nonexistent"], "/nonexistent"),
        (&["lab", "--address", "192.0.2.1"], "from 127.0.0.1 on"),
        (&["signin"], "<ADDRESS>"),
        (&["signin", "a@b.test", "--plain"], "--stay"),
        (&["sigin"], "signin"),
        (&[], "Usage: signpost"),
    ] {
        let output = signpost().args(arguments).output().expect("runs");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let told = text(&output.stderr).replace('\n', " ");
        assert!(told.split_whitespace().collect::<Vec<_>>().join(" ").contains(words), "{arguments:?}: {told}");
    }
    let help = signpost().args(["lab", "--help"]).output().expect("runs");
    assert_eq!(help.status.code(), Some(0), "help that was asked for is no error");
    assert!(text(&help.stdout).contains("--standard-ports"));
}

#[test]
fn a_saved_record_draws_the_same_ladder_and_belongs_to_its_owner() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::start();
    let record = lab.folder.path().join("record.jsonl");
    let saved = record.to_str().expect("a path");
    let output = lab.signin("bob@contoso.test", "Bob-in-the-lab-2", &["--ladder", "text", "--save", saved]);
    assert_eq!(output.status.code(), Some(0));
    let again = signpost().arg("ladder").arg(&record).output().expect("runs");
    assert!(again.status.success());
    let ladder = text(&again.stdout);
    assert!(ladder.lines().count() > 20 && text(&output.stdout).contains(&ladder), "{ladder}");
    assert_eq!(mode(&record), 0o600);
    let kept = std::fs::read_to_string(&record).expect("text");
    assert!(!kept.contains("Bob-in-the-lab-2"), "no password in a record");
    assert!(!kept.contains("\"random\""), "and nothing that keys are made of");
    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("there").permissions().mode() & 0o777
    }
}

#[test]
fn no_password_is_printed_whatever_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = std::fs::File::create(folder.path().join("log")).expect("a file");
    let mut command = signpost();
    command.args(["lab", "--seconds", "120", "--ready-file"]).arg(folder.path().join("ready.json"));
    command.arg("--state").arg(folder.path().join("state")).env("RUST_LOG", "trace");
    let child = command.stdout(Stdio::null()).stderr(log).spawn().expect("the lab starts");
    let lab = Lab { child, folder };
    lab.wait();
    let mut printed = Vec::new();
    for password in ["Alice-in-the-lab-1", "Canary-in-the-mine-7"] {
        for auth in ["ntlm", "kerberos", "tls-dsk"] {
            for form in [&["--json"][..], &["--verbose", "--ladder", "text", "--show", "settings"]] {
                let mut command = signpost();
                command.args(["signin", "alice@contoso.test", "--user", "CONTOSO\\alice", "--auth", auth, "--lab"]);
                command.arg(lab.ready()).args(form).arg("--certificates").arg(lab.folder.path().join(password));
                let output =
                    command.env("SIGNPOST_PASSWORD", password).env("RUST_LOG", "trace").output().expect("runs");
                assert_eq!(output.status.success(), password.starts_with("Alice"), "{auth}: {}", text(&output.stderr));
                printed.extend([output.stdout, output.stderr]);
            }
        }
    }
    let log = std::fs::read(lab.folder.path().join("log")).expect("a log");
    assert!(text(&log).contains("registered alice@contoso.test"), "the lab logs");
    printed.push(log);
    for password in ["Alice-in-the-lab-1", "Canary-in-the-mine-7"] {
        let utf16: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let hex: String = utf16.iter().map(|byte| format!("{byte:02x}")).collect();
        for secret in [password.as_bytes(), &utf16, hex.as_bytes()] {
            assert!(!printed.iter().any(|text| text.windows(secret.len()).any(|shown| shown == secret)), "{password}");
        }
    }
}

#[test]
fn the_server_of_the_last_sign_in_is_tried_first() {
    let lab = Lab::start();
    let cache = lab.folder.path().join("cache.json");
    let cache = cache.to_str().expect("a path");
    let first = json(&lab.signin("frank@contoso.test", "Frank-in-the-lab-6", &["--json", "--cache", cache]));
    let second = json(&lab.signin("frank@contoso.test", "Frank-in-the-lab-6", &["--json", "--cache", cache]));
    assert_eq!((&first["signed_in"], &second["signed_in"]), (&true.into(), &true.into()));
    assert_eq!(first["home"], second["home"]);
    let evidence = |report: &Value| report["steps"][0]["evidence"].to_string();
    assert!(evidence(&first).contains("lyncdiscoverinternal"), "{first}");
    assert!(!evidence(&second).contains("lyncdiscoverinternal"), "{second}");
}

/// Standard error on one line, without the box it is drawn in.
fn told(output: &Output) -> String {
    text(&output.stderr).replace(['\n', '│', '×', '╰', '─', '▶'], " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

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
fn after_a_ticket_or_a_password_the_next_sign_in_uses_a_certificate() {
    let lab = Lab::start();
    let lines = |output: &Output| {
        let text = text(&output.stdout);
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for (name, password, view, mechanism, reason) in [
        (
            "alice",
            "Alice-in-the-lab-1",
            "internal",
            "Kerberos",
            "using Kerberos of TLS-DSK, Kerberos, NTLM: it is offered, so this is the inside",
        ),
        ("bob", "Bob-in-the-lab-2", "external", "NTLM", "using NTLM of TLS-DSK, NTLM: it needs nothing but a password"),
    ] {
        let signin = |more: &[&str]| {
            let view = ["--view", view];
            lab.signin(&format!("{name}@contoso.test"), password, &[&view[..], more].concat())
        };
        let kept = lab.folder.path().join(format!("state/certificates/{name}@contoso.test.pem"));
        assert!(!kept.exists(), "there is none yet");
        let first = lines(&signin(&[]));
        assert!(first.contains(reason), "{first}");
        assert!(first.contains(&format!("with {mechanism} in ")), "{first}");
        assert!(first.contains("a certificate was obtained, valid until"), "{first}");
        assert!(kept.exists());
        let second = signin(&[]);
        let said = lines(&second);
        assert!(said.contains("the certificate of an earlier sign-in is at hand, and no password is sent"), "{said}");
        assert!(!said.contains("a certificate was obtained"), "it is good for long: {said}");
        let third = json(&signin(&["--json"]));
        let last = third["registers"].as_array().and_then(|registers| registers.last()).expect("a server");
        assert_eq!((&last["mechanism"], &last["requests"]), (&"TLS-DSK".into(), &4.into()), "{third}");
    }
}

#[test]
fn signin_shows_settings_and_what_a_number_calls() {
    let lab = Lab::start();
    let output =
        lab.signin("frank@contoso.test", "Frank-in-the-lab-6", &["--show", "settings", "--dial", "089 123456"]);
    let shown = text(&output.stdout);
    let lines: Vec<String> = shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        "meetingPolicy",
        "MeetingSize 1000",
        "AllowRecording true",
        "EnablePrivacyMode true",
        "dial plan Munich-Sales.contoso.test",
        r"^0([1-9]\d{5,11})$ +49$1",
        "089 123456 calls +4989123456 (rule 5 of Munich-Sales.contoso.test) as sip:+4989123456@contoso.test;user=phone",
    ] {
        assert!(lines.iter().any(|shown| shown == line), "{line}: {shown}");
    }
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

/// `signin --stay --json`: commands in, events out.
struct Staying {
    child: Child,
    events: std::sync::mpsc::Receiver<Value>,
}

impl Staying {
    fn begin(lab: &Lab, name: &str, password: &str) -> Staying {
        use std::io::BufRead;
        let mut command = signpost();
        command.args(["signin", &format!("{name}@contoso.test"), "--user", &format!("CONTOSO\\{name}"), "--lab"]);
        command.arg(lab.ready()).args(["--stay", "--json"]).env("SIGNPOST_PASSWORD", password);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("runs");
        let output = std::io::BufReader::new(child.stdout.take().expect("piped"));
        let (send, events) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if send.send(serde_json::from_str(&line).expect("a document a line")).is_err() {
                    return;
                }
            }
        });
        let staying = Staying { child, events };
        let report = staying.events.recv_timeout(Duration::from_secs(20)).expect("the sign-in");
        assert_eq!(report["signed_in"], true, "{report}");
        staying.until("signed_in", |_| true);
        staying
    }

    fn type_line(&mut self, line: &str) {
        use std::io::Write;
        writeln!(self.child.stdin.as_mut().expect("piped"), "{line}").expect("it reads");
    }

    /// The next event of that name that is meant; others before it are passed over.
    fn until(&self, name: &str, meant: impl Fn(&Value) -> bool) -> Value {
        let mut others = Vec::new();
        loop {
            match self.events.recv_timeout(Duration::from_secs(20)) {
                Ok(event) if event["event"] == name && meant(&event) => return event,
                Ok(event) => others.push(event),
                Err(error) => panic!("no {name}: {error}; seen: {others:#?}"),
            }
        }
    }

    fn exit_code(mut self) -> Option<i32> {
        self.child.wait().expect("ends").code()
    }
}

impl Drop for Staying {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn whoever_stays_sees_what_the_others_do() {
    let lab = Lab::start();
    let mut bob = Staying::begin(&lab, "bob", "Bob-in-the-lab-2");
    let mut carol = Staying::begin(&lab, "carol", "Carol-in-the-lab-3");
    carol.type_line("remove bob");
    carol.until("contact_removed", |event| event["address"] == "bob@contoso.test");
    bob.type_line("add carol as Carol C. in Work Friends");
    let added = bob.until("contact_added", |_| true);
    assert_eq!((&added["name"], &added["groups"][0]), (&"Carol C.".into(), &"Work Friends".into()));
    bob.until("presence", |event| event["address"] == "carol@contoso.test" && event["status"] == "available");
    assert_eq!(carol.until("wanted", |_| true)["address"], "bob@contoso.test");
    for (word, status) in [
        ("busy", "busy"),
        ("dnd", "do not disturb"),
        ("brb", "be right back"),
        ("away", "away"),
        ("offline", "offline"),
    ] {
        carol.type_line(&format!("status {word}"));
        bob.until("presence", |event| event["address"] == "carol@contoso.test" && event["status"] == status);
    }
    carol.type_line("status auto");
    carol.type_line("note \u{1b}[31mred");
    let note = bob.until("presence", |event| event["note"].is_string());
    assert_eq!(note["status"], "available");
    bob.type_line("say carol Hello");
    assert_eq!(carol.until("said", |_| true)["text"], "Hello");
    bob.until("delivered", |_| true);
    bob.type_line("status bored");
    assert!(bob.until("told", |_| true)["text"].as_str().is_some_and(|text| text.contains("status takes one of")));
    bob.type_line("remove carol");
    bob.until("contact_removed", |event| event["address"] == "carol@contoso.test");
    carol.type_line("quit");
    carol.until("signed_out", |_| true);
    assert_eq!(carol.exit_code(), Some(0));
    // The administrator ends it: told, and an exit status that says so.
    let ended = Command::new("kill").arg(bob.child.id().to_string()).status().expect("runs");
    assert!(ended.success());
    bob.until("signed_out", |_| true);
    assert_eq!(bob.exit_code(), Some(0), "a signal signs out");
}

#[test]
fn whoever_stays_is_there_again_after_a_power_failure() {
    let place = ["--address", "127.81.1.10"];
    let mut lab = Lab::start_with(&place);
    let mut bob = Staying::begin(&lab, "bob", "Bob-in-the-lab-2");
    bob.type_line("add carol as Carol C.");
    bob.until("done", |event| event["wish"] == "add");
    bob.type_line("status busy");
    bob.until("done", |event| event["wish"] == "status");
    lab.kill();
    bob.until("lost", |_| true);
    bob.until("waiting", |event| event["attempt"] == 1);
    bob.type_line("status away");
    bob.until("refused", |event| event["wish"] == "status");
    lab.start_again(&place);
    let again = bob.until("signed_in", |event| event["again"] == true);
    assert_eq!(again["own"]["status"], "busy", "as before: {again}");
    let contacts = again["contacts"].as_array().expect("a list");
    assert!(contacts.iter().any(|contact| contact["name"] == "Carol C."), "acknowledged is kept: {again}");
    bob.type_line("quit");
    bob.until("signed_out", |_| true);
    assert_eq!(bob.exit_code(), Some(0));
}

#[test]
fn whoever_stays_in_words_keeps_terminals_safe() {
    use std::io::Write;
    let lab = Lab::start();
    let mut carol = Staying::begin(&lab, "carol", "Carol-in-the-lab-3");
    let mut command = signpost();
    command.args(["signin", "bob@contoso.test", "--user", "CONTOSO\\bob", "--stay", "--lab"]).arg(lab.ready());
    command.env("SIGNPOST_PASSWORD", "Bob-in-the-lab-2");
    let mut bob = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("runs");
    let mut input = bob.stdin.take().expect("piped");
    writeln!(input, "add carol").expect("it reads");
    carol.until("presence", |event| event["address"] == "bob@contoso.test" && event["status"] == "available");
    carol.type_line("say bob \u{1b}[31mHello\u{7}");
    carol.until("delivered", |_| true);
    writeln!(input, "list\nquit").expect("it reads");
    let output = bob.wait_with_output().expect("ends");
    assert_eq!(output.status.code(), Some(0));
    let shown = text(&output.stdout);
    assert!(!shown.contains('\u{1b}') && !shown.contains('\u{7}'), "{shown}");
    for words in ["is in your contact list", "[31mHello", "signed out"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}
