//! `signin --sso` with the system's Kerberos library (MIT Kerberos here), against a lab and its KDC: from a folder of ticket
//! caches, which nothing else in this program can read, to a registered endpoint; and what is said when there is no ticket.
#![cfg(feature = "gssapi")]
#![allow(dead_code)] // MIT Kerberos, as the tests of `mechanism` have it, has more than is needed here

#[path = "../../mechanism/tests/peer/kerberos.rs"]
mod kerberos;
#[path = "../../mechanism/tests/peer/line.rs"]
mod line;
#[path = "../../mechanism/tests/peer/mit.rs"]
mod mit;

use kerberos::Realm;
use mit::{PASSWORD, typed};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The step that fails, as the exit status tells it.
const AUTHENTICATION: i32 = 13;

fn signpost() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signpost"));
    for name in ["SIGNPOST_PASSWORD", "RUST_LOG", "KRB5CCNAME", "KRB5_CONFIG"] {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// A running lab, and a folder for the tickets of its people. It ends when this is dropped.
struct Lab {
    child: Child,
    folder: tempfile::TempDir,
    ready: Value,
}

impl Lab {
    fn start() -> Lab {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ready.json");
        let mut command = signpost();
        command.args(["lab", "--seconds", "120", "--ready-file"]).arg(&file).stdout(Stdio::null());
        let mut lab = Lab { child: command.spawn().expect("the lab starts"), folder, ready: Value::Null };
        let began = Instant::now();
        while !file.exists() {
            assert!(began.elapsed() < Duration::from_secs(20), "the lab is not ready after 20 s");
            std::thread::sleep(Duration::from_millis(20));
        }
        lab.ready = serde_json::from_str(&std::fs::read_to_string(&file).expect("text")).expect("JSON");
        lab
    }

    fn conf(&self) -> PathBuf {
        self.ready["krb5_conf"].as_str().expect("the lab has a realm").into()
    }

    /// A cache of that kind for one user, without tickets so far.
    fn cache(&self, kind: &str, user: &str) -> String {
        let place = self.folder.path().join(user);
        if kind == "DIR" {
            std::fs::create_dir_all(&place).expect("made");
        }
        format!("{kind}:{}", place.display())
    }

    fn kinit(&self, user: &str, cache: &str, more: &[&str]) {
        let users = self.ready["users"].as_array().expect("a list");
        let known = users.iter().find(|known| known["address"] == format!("{user}@contoso.test")).expect("a user");
        let mut kinit = Command::new("kinit");
        kinit.args(more).arg(user).env("KRB5_CONFIG", self.conf()).env("KRB5CCNAME", cache);
        let output = typed(&mut kinit, known["password"].as_str().expect("text"));
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    /// `signin --sso --json` with that cache, and the realm that `conf` knows.
    fn sign_in(&self, user: &str, cache: &str, conf: &Path, more: &[&str]) -> (Option<i32>, Value) {
        Lab::outcome(self.command(user, more).env("KRB5CCNAME", cache).env("KRB5_CONFIG", conf))
    }

    fn outcome(command: &mut Command) -> (Option<i32>, Value) {
        let output = command.output().expect("runs");
        let report = serde_json::from_slice(&output.stdout);
        let report = report.unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
        (output.status.code(), report)
    }

    fn command(&self, user: &str, more: &[&str]) -> Command {
        let mut command = signpost();
        command.args(["signin", &format!("{user}@contoso.test"), "--sso", "--json", "--lab"]);
        command.arg(self.folder.path().join("ready.json")).args(more);
        command
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Standard error on one line, without the box it is drawn in.
fn told(output: &Output) -> String {
    text(&output.stderr).replace(['\n', '│', '×', '╰', '─', '▶'], " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn counts(report: &Value) -> Vec<u64> {
    let registers = report["registers"].as_array().expect("a list");
    registers.iter().map(|server| server["requests"].as_u64().expect("a number")).collect()
}

fn by_the_library(report: &Value) -> bool {
    report.to_string().contains("the system's Kerberos library has a ticket")
}

#[test]
#[ignore = "needs MIT Kerberos; run by make test"]
fn a_folder_of_caches_signs_in_at_home_and_by_the_director() {
    let lab = Lab::start();
    let (alice, bob) = (lab.cache("DIR", "alice"), lab.cache("DIR", "bob"));
    lab.kinit("alice", &alice, &[]);
    lab.kinit("bob", &bob, &[]);
    let record = lab.folder.path().join("record.jsonl");
    let save = ["--save", record.to_str().expect("text")];

    // Found by Autodiscover: web tickets by Negotiate, and a certificate for the next time with one of them.
    let (code, report) = lab.sign_in("alice", &alice, &lab.conf(), &save);
    assert_eq!(
        (code, &report["signed_in"], &report["mechanism"]),
        (Some(0), &true.into(), &"Kerberos".into()),
        "{report}"
    );
    assert_eq!(counts(&report).last(), Some(&2), "{report}");
    assert!(by_the_library(&report), "{report}");
    assert!(report.to_string().contains("a ticket of alice@CONTOSO.TEST for http/"), "{report}");
    let kept = std::fs::read_to_string(&record).expect("text");
    assert!(kept.contains("InitSecContext") && kept.contains("Negotiate YI"), "SPNEGO over HTTP");
    assert!(!kept.contains("NTLM TlRM"), "nothing but tickets");
    let ladder = signpost().arg("ladder").arg(&record).output().expect("runs");
    let ladder = text(&ladder.stdout);
    assert!(ladder.contains("REGISTER Kerberos AP-REQ signed") && ladder.contains("200 REGISTER"), "{ladder}");

    let (code, report) = lab.sign_in("bob", &bob, &lab.conf(), &["--server", "dir.contoso.test", "--no-certificates"]);
    assert_eq!((code, counts(&report)), (Some(0), vec![2, 2]), "{report}");
    assert!(by_the_library(&report) && report["contacts"].as_u64() > Some(1), "{report}");
    assert_eq!(report["redirects"].as_array().map(Vec::len), Some(1), "{report}");

    // The default of krb5.conf.
    let conf = std::fs::read_to_string(lab.conf()).expect("text");
    let conf = conf.replacen("[libdefaults]", &format!("[libdefaults]\n default_ccache_name = {bob}"), 1);
    let with_default = lab.folder.path().join("default.conf");
    std::fs::write(&with_default, conf).expect("written");
    let (code, report) = Lab::outcome(lab.command("bob", &["--no-certificates"]).env("KRB5_CONFIG", &with_default));
    assert_eq!((code, by_the_library(&report)), (Some(0), true), "{report}");

    // The tickets of somebody else.
    let (code, report) =
        lab.sign_in("alice", &bob, &lab.conf(), &["--server", "fe01.contoso.test", "--no-certificates"]);
    assert_eq!((code, &report["verdict"]["id"]), (Some(AUTHENTICATION), &"user-wrong-identity".into()), "{report}");

    // A file is read by this program itself.
    let file = lab.cache("FILE", "file");
    lab.kinit("alice", &file, &[]);
    let (code, report) = lab.sign_in("alice", &file, &lab.conf(), &["--no-certificates"]);
    assert_eq!((code, by_the_library(&report)), (Some(0), false), "{report}");
}

#[test]
#[ignore = "needs MIT Kerberos; run by make test"]
fn without_a_ticket_the_verdict_says_why() {
    let lab = Lab::start();
    let cache = lab.cache("DIR", "alice");
    let verdict = |cache: &str, conf: &Path, id: &str, words: &str| {
        let more = ["--server", "fe01.contoso.test", "--no-certificates"];
        let (code, report) = lab.sign_in("alice", cache, conf, &more);
        let (found, sentence) = (&report["verdict"]["id"], report["verdict"]["sentence"].to_string());
        assert_eq!((code, found), (Some(AUTHENTICATION), &id.into()), "{report}");
        assert!(sentence.contains(words), "{sentence}");
    };
    verdict(&cache, &lab.conf(), "krb-no-tgt", "neither a password nor a ticket");

    lab.kinit("alice", &cache, &["-l", "2s"]);
    std::thread::sleep(Duration::from_secs(3));
    verdict(&cache, &lab.conf(), "krb-no-tgt", "expired");

    // The KDC of another realm of that name: it has no service of the lab.
    let other = Realm::start();
    let foreign = lab.cache("DIR", "foreign");
    let kinit = typed(other.surround("kinit").arg("alice").env("KRB5CCNAME", &foreign), PASSWORD);
    assert!(kinit.status.success(), "{}", text(&kinit.stderr));
    verdict(&foreign, &other.conf(), "krb-no-spn", "sip/fe01.contoso.test");

    lab.kinit("alice", &cache, &[]);
    let gone = lab.folder.path().join("gone.conf");
    let conf = "[libdefaults]\n default_realm = CONTOSO.TEST\n dns_lookup_kdc = false\n[realms]\n CONTOSO.TEST = {\n  \
                kdc = 127.0.0.1:1\n }\n";
    std::fs::write(&gone, conf).expect("written");
    verdict(&cache, &gone, "krb-kdc-unreachable", "CONTOSO.TEST");
}

#[test]
#[ignore = "needs MIT Kerberos; run by make test"]
fn what_the_library_would_not_hear_is_refused_before_anything_is_asked() {
    let lab = Lab::start();
    let cache = lab.cache("DIR", "alice");
    let refused = |conf: Option<PathBuf>, more: &[&str]| {
        let mut command = lab.command("alice", more);
        command.env("KRB5CCNAME", &cache).envs(conf.map(|conf| ("KRB5_CONFIG", conf)));
        let output = command.output().expect("runs");
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
        told(&output)
    };
    let said = refused(None, &[]);
    assert!(said.contains("set KRB5_CONFIG=") && said.contains("krb5.conf"), "{said}");
    let said = refused(Some(lab.conf()), &["--kdc", "127.0.0.1"]);
    assert!(said.contains("--kdc has no effect"), "{said}");
    let said = refused(Some(lab.conf()), &["--realm", "OTHER.TEST"]);
    assert!(said.contains("--realm has no effect"), "{said}");
}
