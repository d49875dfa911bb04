//! The program as a person runs it: `demo`, `lab`, `signin`, `ladder`, their output and exit status.

mod running;

use running::{Lab, json, signpost, text};
use serde_json::Value;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

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
