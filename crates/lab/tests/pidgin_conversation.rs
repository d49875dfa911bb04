//! Two pidgin-sipe clients, as Debian ships them, talk to each other through the lab.

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

const NEEDS: &str = "needs pidgin-sipe, libpurple-dev and root; run by make test";

/// One signed-in client that takes commands.
struct Client {
    child: Child,
    input: ChildStdin,
    events: UnboundedReceiver<Value>,
    /// What has been said so far.
    said: Vec<Value>,
    log: tempfile::NamedTempFile,
}

impl Client {
    /// Starts a client and waits until it has settled.
    async fn sign_in(lab: &Lab, user: &str) -> Client {
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

    fn command(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("it listens");
    }

    /// Waits for an event with this text somewhere in it.
    async fn hears(&mut self, event: &str, text: &str) -> Value {
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
    fn account(&self) -> String {
        let said: Vec<String> = self.said.iter().map(Value::to_string).collect();
        let log = std::fs::read(self.log.path()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log[log.len().saturating_sub(20_000)..]).into_owned();
        format!("{}\nend of the client's log:\n{log}", said.join("\n"))
    }

    async fn quit(mut self) {
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

async fn lab(block: u8) -> Lab {
    let address = Some(Ipv4Addr::new(127, 79, block, 10));
    let config = LabConfig { address, standard_ports: true, ..LabConfig::default() };
    Lab::start(&config).await.unwrap_or_else(|error| panic!("{NEEDS}: {error}; {}", error.remedy()))
}

/// Waits until no server knows of a dialog: a message that crosses the BYE would be refused.
async fn no_dialogs(lab: &Lab) {
    let open = || FRONT_ENDS.iter().any(|fqdn| lab.front_end(fqdn).is_some_and(|server| server.conversations().2 > 0));
    for _ in 0..100 {
        if !open() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the conversation did not end");
}

const FRONT_ENDS: [&str; 3] = ["fe01.contoso.test", "fe02.contoso.test", "fe03.contoso.test"];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs pidgin-sipe, libpurple-dev and root; run by make test"]
async fn a_message_each_way_between_two_pools() {
    let lab = lab(1).await;
    let (mut alice, mut frank) = tokio::join!(Client::sign_in(&lab, "alice"), Client::sign_in(&lab, "frank"));

    alice.command("im frank@contoso.test Hello, Frank & co");
    let got = frank.hears("im-received", "Hello").await;
    assert_eq!(got["from"], "sip:alice@contoso.test", "{}", frank.account());
    assert!(got["text"].as_str().unwrap_or_default().contains("Hello, Frank &amp; co"), "{got}");

    frank.command("im alice@contoso.test Hi Alice");
    let got = alice.hears("im-received", "Hi Alice").await;
    assert_eq!(got["from"], "sip:frank@contoso.test");

    frank.command("typing alice@contoso.test");
    alice.hears("typing", "sip:frank@contoso.test").await;

    // The same conversation goes on, and another one begins after it was closed.
    alice.command("im frank@contoso.test second");
    frank.hears("im-received", "second").await;
    alice.command("close frank@contoso.test");
    no_dialogs(&lab).await;
    frank.command("im alice@contoso.test third");
    alice.hears("im-received", "third").await;

    frank.quit().await;
    alice.command("im frank@contoso.test are you there?");
    let error = alice.hears("im-error", "are you there?").await;
    assert_eq!(error["with"], "sip:frank@contoso.test", "{}", alice.account());
    alice.quit().await;
}
