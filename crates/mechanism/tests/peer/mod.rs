//! gss-ntlmssp as the other end of a handshake: `tests/counterparts/ntlm/gss_ntlmssp_peer.c`, compiled once and spoken to
//! line by line.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// A running counterpart. It ends when its input does.
pub(crate) struct Peer {
    child: Child,
    commands: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
    users: PathBuf,
}

/// What became of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// The handshake goes on; the token may be empty.
    Continue(Vec<u8>),
    /// The handshake is complete on this side.
    Done(Vec<u8>),
    /// The library's own words.
    Refused(String),
}

impl Step {
    /// The token of a handshake that goes on.
    #[track_caller]
    pub(crate) fn going_on(self) -> Vec<u8> {
        match self {
            Step::Continue(token) => token,
            other => panic!("should go on: {other:?}"),
        }
    }

    /// The token of a complete handshake.
    #[track_caller]
    pub(crate) fn done(self) -> Vec<u8> {
        match self {
            Step::Done(token) => token,
            other => panic!("should be complete: {other:?}"),
        }
    }

    /// The words of a refusal.
    #[track_caller]
    pub(crate) fn refused(self) -> String {
        match self {
            Step::Refused(words) => words,
            other => panic!("should be refused: {other:?}"),
        }
    }
}

impl Peer {
    /// Starts a counterpart that knows one account, by its own rules (`LM_COMPAT_LEVEL`, 0 to 5; 3 is what it takes by
    /// itself: version 2 only).
    pub(crate) fn start(account: &str, compatibility_level: u8) -> Peer {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let users = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("users-{}-{number}", std::process::id()));
        fs::write(&users, format!("{account}\n")).expect("writes the accounts");
        let mut child = Command::new(program())
            .env_clear()
            // Without a locale of UTF-8 it does not find names outside ASCII.
            .env("LC_ALL", "C.UTF-8")
            .env("NTLM_USER_FILE", &users)
            .env("LM_COMPAT_LEVEL", compatibility_level.to_string())
            .env("NETBIOS_COMPUTER_NAME", "FE01")
            .env("NETBIOS_DOMAIN_NAME", "CONTOSO")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts the counterpart");
        let commands = child.stdin.take();
        let replies = BufReader::new(child.stdout.take().expect("piped"));
        Peer { child, commands, replies, users }
    }

    /// Begins as initiator towards `sip/fe01.contoso.test`. `form` is `datagram`, `connection`, or `unsigned` (connection
    /// oriented without signatures, so without key exchange).
    pub(crate) fn initiate(&mut self, form: &str) -> Step {
        self.step(&format!("initiate {form} sip@fe01.contoso.test"))
    }

    /// Begins as acceptor: `datagram` or `connection`.
    pub(crate) fn accept(&mut self, form: &str) -> Step {
        self.step(&format!("accept {form}"))
    }

    /// Hands over a token.
    pub(crate) fn token(&mut self, token: &[u8]) -> Step {
        self.step(&format!("token {}", digits(token)))
    }

    /// Has a text signed.
    pub(crate) fn mic(&mut self, text: &[u8]) -> Vec<u8> {
        self.bytes("mic", &format!("mic {}", digits(text)))
    }

    /// Has a signature checked.
    pub(crate) fn verifies(&mut self, text: &[u8], signature: &[u8]) -> bool {
        let reply = self.command(&format!("verify {} {}", digits(text), digits(signature)));
        assert!(reply == "good" || reply.starts_with("refused "), "{reply}");
        reply == "good"
    }

    /// The session key it arrived at.
    pub(crate) fn session_key(&mut self) -> [u8; 16] {
        self.bytes("key", "key").try_into().expect("16 bytes")
    }

    /// The user it accepted, `DOMAIN\user`.
    pub(crate) fn user(&mut self) -> String {
        let name = self.bytes("user", "user");
        String::from_utf8(name).expect("UTF-8").trim_end_matches('\0').to_owned()
    }

    fn step(&mut self, command: &str) -> Step {
        let reply = self.command(command);
        match reply.split_once(' ') {
            Some(("continue", token)) => Step::Continue(bytes(token)),
            Some(("done", token)) => Step::Done(bytes(token)),
            Some(("refused", words)) => Step::Refused(words.to_owned()),
            _ => panic!("`{command}` was answered `{reply}`"),
        }
    }

    fn bytes(&mut self, word: &str, command: &str) -> Vec<u8> {
        let reply = self.command(command);
        match reply.split_once(' ') {
            Some((first, rest)) if first == word => bytes(rest),
            _ => panic!("`{command}` was answered `{reply}`"),
        }
    }

    fn command(&mut self, command: &str) -> String {
        let commands = self.commands.as_mut().expect("open until dropped");
        writeln!(commands, "{command}").expect("the counterpart listens");
        let mut reply = String::new();
        self.replies.read_line(&mut reply).expect("the counterpart answers");
        reply.trim_end().to_owned()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.users);
    }
}

/// Compiles the program, once for all tests.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let counterpart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/counterparts/ntlm");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gss_ntlmssp_peer");
        let build = Command::new("sh").arg(counterpart.join("build.sh")).arg(&program).status().expect("runs sh");
        assert!(build.success(), "install gcc, libkrb5-dev and gss-ntlmssp: {build}");
        program
    })
}

fn digits(bytes: &[u8]) -> String {
    if bytes.is_empty() { "-".to_owned() } else { hex::encode(bytes) }
}

fn bytes(digits: &str) -> Vec<u8> {
    if digits == "-" { Vec::new() } else { hex::decode(digits).expect("the counterpart writes hexadecimal") }
}
