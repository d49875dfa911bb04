//! A program that is the other end of a handshake, spoken to line by line: `tests/counterparts/*/README.md` list the
//! commands.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A running counterpart. It ends when its input does.
pub(crate) struct Peer {
    child: Child,
    commands: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
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
    /// Starts a program with the surroundings it was given and no others.
    pub(crate) fn spawn(command: &mut Command) -> Peer {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts the counterpart");
        let commands = child.stdin.take();
        let replies = BufReader::new(child.stdout.take().expect("piped"));
        Peer { child, commands, replies }
    }

    /// The handshake that follows is for the TLS connection of which both ends know these data.
    #[allow(dead_code)] // for tests of this crate
    pub(crate) fn bind(&mut self, data: &[u8]) {
        assert_eq!(self.step(&format!("bind {}", digits(data))).done(), b"");
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

    /// The user it accepted.
    pub(crate) fn user(&mut self) -> String {
        let name = self.bytes("user", "user");
        String::from_utf8(name).expect("UTF-8").trim_end_matches('\0').to_owned()
    }

    /// A command that is answered by a step of the handshake.
    pub(crate) fn step(&mut self, command: &str) -> Step {
        let reply = self.command(command);
        match reply.split_once(' ') {
            Some(("continue", token)) => Step::Continue(bytes(token)),
            Some(("done", token)) => Step::Done(bytes(token)),
            Some(("refused", words)) => Step::Refused(words.to_owned()),
            _ => panic!("`{command}` was answered `{reply}`"),
        }
    }

    /// A command that is answered by a word and bytes.
    pub(crate) fn bytes(&mut self, word: &str, command: &str) -> Vec<u8> {
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
    }
}

/// Compiles the counterpart in a folder of `tests/counterparts`; who calls it keeps the path.
pub(crate) fn build(folder: &str, packages: &str) -> PathBuf {
    let folder_of_it = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/counterparts").join(folder);
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{folder}_peer"));
    let build = Command::new("sh").arg(folder_of_it.join("build.sh")).arg(&program).status().expect("runs sh");
    assert!(build.success(), "install {packages}: {build}");
    program
}

pub(crate) fn digits(bytes: &[u8]) -> String {
    if bytes.is_empty() { "-".to_owned() } else { hex::encode(bytes) }
}

fn bytes(digits: &str) -> Vec<u8> {
    if digits == "-" { Vec::new() } else { hex::decode(digits).expect("the counterpart writes hexadecimal") }
}
