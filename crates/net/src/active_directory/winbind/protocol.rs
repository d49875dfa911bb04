//! What is said to `ntlm_auth --helper-protocol=ntlm-server-1`, and what it says. Samba, `ntlm_auth(1)`.
//!
//! Lines of text. A question is a block of `Name: value`, or `Name:: value` with the value in base64, that ends with a
//! line `.`; so is an answer. Two things to know, seen with Samba 4.17:
//!
//! - A refusal ends with *two* lines `.`, anything else with one. Whoever takes the second for the answer to the next
//!   question gives each answer to the wrong question from then on. So every question is led by an empty one, whose
//!   answer is an error that nothing else looks like, and all that comes before that error is thrown away.
//! - A value is stripped of leading blanks, so that names that begin with one have to be sent in base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use signin::authenticate::verifier::NtlmQuestion;
use std::fmt::Write;
use zeroize::Zeroizing;

/// Longest line of an answer. Bytes.
pub const LONGEST_LINE: usize = 4096;

/// Most lines read between a question and the end of its answer.
const MOST_LINES: usize = 64;

/// Longest response of a client that is passed on. Bytes; what Windows sends has some hundred.
pub(super) const LONGEST_RESPONSE: usize = 16 * 1024;

/// What the helper said about a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The answer was right; this is the session base key.
    Right(Zeroizing<[u8; 16]>),
    /// The answer was right, but what it takes to sign messages was not given.
    RightWithoutKey,
    /// It was not, in the words of Samba.
    Wrong(String),
}

/// The helper said something that is no answer. It is not to be used again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unintelligible {
    /// A line longer than any should be, or more lines than should be.
    #[error("it talks without end")]
    Endless,
    /// An error of its own instead of an answer.
    #[error("it says: {0}")]
    Complaint(String),
    /// An answer without verdict, or with two, or with a key that is none.
    #[error("its answer is none")]
    NoVerdict,
}

/// The question as lines, led by the empty one.
pub(super) fn question(question: &NtlmQuestion) -> String {
    let mut lines = String::from(".\n");
    put(&mut lines, "Username", &question.account.user);
    if !question.account.domain.is_empty() {
        put(&mut lines, "NT-Domain", &question.account.domain);
    }
    let (challenge, response) = (hex::encode(question.server_challenge), hex::encode(&question.nt_response));
    // Writing into a string cannot fail.
    let _ = write!(lines, "LANMAN-Challenge: {challenge}\nNT-Response: {response}\nRequest-User-Session-Key: Yes\n.\n");
    lines
}

fn put(lines: &mut String, name: &str, value: &str) {
    let simple = value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.@$".contains(&b));
    let _ = if simple {
        writeln!(lines, "{name}: {value}")
    } else {
        writeln!(lines, "{name}:: {}", STANDARD.encode(value))
    };
}

/// Reads the lines after a question, one by one.
#[derive(Debug, Default)]
pub struct AnswerReader {
    lines: usize,
    /// The answer to the empty question was seen, and whether all of it.
    led: Led,
    verdict: Option<bool>,
    key: Option<Zeroizing<[u8; 16]>>,
    error: Option<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Led {
    #[default]
    Not,
    Begun,
    Done,
}

impl AnswerReader {
    /// Takes a line, without its end; `Some` when it was the last.
    pub fn take(&mut self, line: &str) -> Option<Result<Verdict, Unintelligible>> {
        self.lines += 1;
        if self.lines > MOST_LINES || line.len() > LONGEST_LINE {
            return Some(Err(Unintelligible::Endless));
        }
        match self.led {
            Led::Not if line.starts_with("Error: ") => self.led = Led::Begun,
            Led::Not => {} // what an earlier question left behind
            Led::Begun if line == "." => self.led = Led::Done,
            Led::Begun => return Some(Err(Unintelligible::NoVerdict)),
            Led::Done if line == "." => return Some(self.finish()),
            Led::Done => return self.note(line).err().map(Err),
        }
        None
    }

    fn note(&mut self, line: &str) -> Result<(), Unintelligible> {
        let (name, value) = line.split_once(": ").ok_or(Unintelligible::NoVerdict)?;
        match name {
            "Authenticated" if self.verdict.is_none() => {
                self.verdict = Some(match value {
                    "Yes" => true,
                    "No" => false,
                    _ => return Err(Unintelligible::NoVerdict),
                });
            }
            "Authenticated" => return Err(Unintelligible::NoVerdict),
            "User-Session-Key" => {
                let mut key = Zeroizing::new([0; 16]);
                hex::decode_to_slice(value, &mut *key).map_err(|_| Unintelligible::NoVerdict)?;
                self.key = Some(key);
            }
            "Authentication-Error" => self.error = Some(value.to_owned()),
            "Error" => return Err(Unintelligible::Complaint(value.to_owned())),
            _ => {} // later versions may say more
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Verdict, Unintelligible> {
        match (self.verdict, self.key.take(), self.error.take()) {
            (Some(true), Some(key), None) => Ok(Verdict::Right(key)),
            (Some(true), None, None) => Ok(Verdict::RightWithoutKey),
            (Some(false), None, error) => Ok(Verdict::Wrong(error.unwrap_or_else(|| "no reason given".to_owned()))),
            _ => Err(Unintelligible::NoVerdict),
        }
    }
}

/// What of Samba's words for a refusal is about something else than the account: nobody could tell. Everything not known
/// to be so counts as a refusal, so that no word of Samba's tells a peer about an account.
const NOT_ABOUT_THE_ACCOUNT: [&str; 20] = [
    "winbind",
    "access denied",
    "access_denied",
    "logon server",
    "logon_server",
    "domain controller",
    "domain_controller",
    "domain_info",
    "trust relationship",
    "trusted_relationship",
    "timeout",
    "timed out",
    "unreachable",
    "network name",
    "connection",
    "rpc",
    "pipe",
    "internal error",
    "internal_error",
    "insufficient",
];

/// Whether a refusal says that no domain controller could be asked.
pub(super) fn could_not_tell(words: &str) -> bool {
    let words = words.to_lowercase();
    NOT_ABOUT_THE_ACCOUNT.iter().any(|known| words.contains(known))
}

#[cfg(test)]
mod tests;
