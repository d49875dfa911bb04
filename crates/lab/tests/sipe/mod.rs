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
            .env("PW", &known.password)
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
        let mut client = Client { child, input, events, said: Vec::new(), log };
        client.hears("settled", "").await;
        client
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
        let log = std::fs::read(self.log.path()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log[log.len().saturating_sub(20_000)..]).into_owned();
        format!("{}\nend of the client's log:\n{log}", said.join("\n"))
    }

    /// The contacts it settled with, each as `name in group: status`.
    pub(crate) fn contacts(&self) -> Vec<String> {
        let text = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
        let contacts = self.said.iter().filter(|event| event["event"] == "contact");
        let mut lines: Vec<String> =
            contacts.map(|c| format!("{} in {}: {}", text(c, "name"), text(c, "group"), text(c, "status"))).collect();
        lines.sort();
        lines
    }

    pub(crate) async fn quit(mut self) {
        self.command("quit");
        let ended = tokio::task::spawn_blocking(move || self.child.wait());
        timeout(Duration::from_secs(20), ended).await.expect("it leaves").expect("joined").expect("waited for");
    }
}

fn counterpart(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/counterparts/pidgin").join(file)
}

/// The headless client, built once.
fn program() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sipe_talk-{}", std::process::id()));
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
