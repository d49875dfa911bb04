//! `signin --stay`: commands in, lines or documents out, for as long as somebody stays.

mod running;

use running::{Lab, signpost, text};
use serde_json::Value;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

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
