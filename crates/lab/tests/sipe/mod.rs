//! pidgin-sipe as Debian ships it, signed in and driven by commands.

#![allow(dead_code)] // each test program uses its own part

use lab::{Lab, LabConfig};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

pub(crate) const NEEDS: &str = "needs pidgin-sipe, libpurple-dev and root; run by make test";

/// One signed-in client that takes commands.
pub(crate) struct Client {
    user: String,
    child: Child,
    input: ChildStdin,
    events: UnboundedReceiver<Value>,
    /// What has been said so far.
    said: Vec<Value>,
    log: tempfile::NamedTempFile,
}

impl Client {
    /// Starts a client and waits until it has settled.
    pub(crate) async fn sign_in(lab: &Lab, user: &str) -> Client {
        Client::sign_in_at(lab, user, "first").await
    }

    /// The same on a machine of that name: what endpoints of one user are told apart by.
    pub(crate) async fn sign_in_at(lab: &Lab, user: &str, machine: &str) -> Client {
        let ready = lab.ready();
        let address = format!("{user}@{}", ready.sip_domain);
        let known = ready.users.iter().find(|user| user.address == address).expect("a user of the lab");
        let log = tempfile::NamedTempFile::new().expect("a file for the client's log");
        let mut child = Command::new("bash")
            .arg(counterpart("in_namespace.sh"))
            .arg(ready.dns.internal.ip().to_string())
            .arg(&ready.ca)
            .arg("--")
            .arg(program())
            .args(["--user", &address, "--login", user, "--password-env", "PW", "--auth", "ntlm"])
            .args(["--seconds", "60", "--server", "", "--transport", "auto", "--stay", "--debug"])
            .arg(log.path())
            .env("PW", known.password.as_ref().expect("the first one"))
            .env("MACHINE", machine)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("bash runs");
        let (input, output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let (said, events) = unbounded_channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or(Value::Null);
                if said.send(event).is_err() {
                    break;
                }
            }
        });
        let mut client = Client { user: user.to_owned(), child, input, events, said: Vec::new(), log };
        client.hears("settled", "").await;
        client
    }

    /// Name of its user, without the domain.
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    pub(crate) fn command(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("it listens");
    }

    /// Waits for an event with this text somewhere in it.
    pub(crate) async fn hears(&mut self, event: &str, text: &str) -> Value {
        loop {
            let Ok(Some(next)) = timeout(Duration::from_secs(90), self.events.recv()).await else {
                panic!("{NEEDS}: no {event} with {text:?}:\n{}", self.account())
            };
            self.said.push(next.clone());
            if next["event"] == event && next.to_string().contains(text) {
                return next;
            }
        }
    }

    /// Everything it said, and the end of its log.
    pub(crate) fn account(&self) -> String {
        let said: Vec<String> = self.said.iter().map(Value::to_string).collect();
        let log = self.log();
        let tail = log.char_indices().rev().nth(20_000).map_or(0, |(at, _)| at);
        format!("{}\nend of the client's log:\n{}", said.join("\n"), &log[tail..])
    }

    /// Its log, with every message whole; lines begin with seconds of the clock that `clock_us` shows too.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log.path()).unwrap_or_default()).into_owned()
    }

    /// The contacts it settled with, or was last asked for, each as `name in group: status`.
    pub(crate) fn contacts(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.last_contacts().map(|c| format!("{}: {}", place(c), text(c, "status"))).collect();
        lines.sort();
        lines
    }

    fn last_contacts(&self) -> impl Iterator<Item = &Value> {
        let is_end = |event: &&Value| event["event"] == "settled" || event["event"] == "listed";
        let contacts = self.said.iter().rev().skip_while(move |event| !is_end(event)).skip(1);
        contacts.take_while(move |event| !is_end(event)).filter(|event| event["event"] == "contact")
    }

    /// Waits until its contact list is this, each contact as `name (alias) in group`, in order.
    pub(crate) async fn shows(&mut self, expected: &[&str]) {
        let mut lines = Vec::new();
        for _ in 0..300 {
            self.command("list");
            self.hears("listed", "").await;
            lines = self.last_contacts().map(place_and_alias).collect();
            lines.sort();
            if lines == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("it shows {lines:#?}, not {expected:#?}:\n{}", self.account());
    }

    /// Waits until a contact of the lab is seen with this status; gives that event.
    pub(crate) async fn sees(&mut self, name: &str, status: &str) -> Value {
        loop {
            let event = self.hears("buddy-status", &format!("sip:{name}@contoso.test")).await;
            if event["status"] == status {
                return event;
            }
        }
    }

    /// The messages it has sent, oldest first: seconds of the clock that all processes share, and the text.
    pub(crate) fn sent(&self) -> Vec<(f64, String)> {
        let log = self.log();
        let mut sent = Vec::new();
        let mut pieces = log.split("MESSAGE START ");
        let mut before = pieces.next().unwrap_or_default();
        for piece in pieces {
            // The time stands at the beginning of the line before.
            let stamp = before.trim_end().lines().next_back().and_then(|line| line.split_whitespace().next());
            let message = piece.split("MESSAGE END").next().unwrap_or_default();
            if let Some(Ok(stamp)) = stamp.map(str::parse).filter(|_| piece.starts_with(">>>>")) {
                sent.push((stamp, message.to_owned()));
            }
            before = piece;
        }
        sent
    }

    /// Loses the process, as in a power failure.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }

    pub(crate) async fn quit(mut self) {
        self.command("quit");
        let ended = tokio::task::spawn_blocking(move || self.child.wait());
        timeout(Duration::from_secs(20), ended).await.expect("it leaves").expect("joined").expect("waited for");
    }
}

fn text<'a>(event: &'a Value, field: &str) -> &'a str {
    event[field].as_str().unwrap_or_default()
}

fn place(contact: &Value) -> String {
    format!("{} in {}", text(contact, "name"), text(contact, "group"))
}

fn place_and_alias(contact: &Value) -> String {
    let name = text(contact, "name");
    let user = name.strip_prefix("sip:").and_then(|name| name.strip_suffix("@contoso.test")).unwrap_or(name);
    // Once it was sent to the server, the name of somebody without one is the address.
    let alias = Some(text(contact, "alias")).filter(|alias| *alias != name).unwrap_or_default();
    format!("{user} ({alias}) in {}", text(contact, "group"))
}

/// A file beside the client's source.
pub(crate) fn counterpart(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/counterparts/pidgin").join(file)
}

/// The headless client, built once.
pub(crate) fn program() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sipe_signin-{}", std::process::id()));
        let output = Command::new("bash").arg(counterpart("build.sh")).arg(&path).output().expect("bash runs");
        assert!(output.status.success(), "{NEEDS}:\n{}", String::from_utf8_lossy(&output.stderr));
        path
    })
}

/// A lab where foreign clients find it.
pub(crate) async fn lab(block: u8) -> Lab {
    let address = Some(Ipv4Addr::new(127, 79, block, 10));
    let config = LabConfig { address, standard_ports: true, ..LabConfig::default() };
    Lab::start(&config).await.unwrap_or_else(|error| panic!("{NEEDS}: {error}; {}", error.remedy()))
}
