//! One running `ntlm_auth`.

use super::protocol::{self, AnswerReader, LONGEST_LINE, Unintelligible, Verdict};
use signin::authenticate::verifier::NtlmQuestion;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;
use zeroize::Zeroizing;

/// How much of what a dying helper complains of is kept. Bytes.
const LAST_WORDS: u64 = 512;

/// Why a helper did not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HelperError {
    #[error("{path} cannot be started: {error}. It comes with Samba (package winbind)", path = path.display())]
    NotStarted { path: PathBuf, error: io::Error },
    #[error("ntlm_auth ended{}", after(.0))]
    Ended(String),
    #[error("ntlm_auth did not answer within {0:?}")]
    Late(Duration),
    #[error("ntlm_auth is not understood: {0}")]
    Unintelligible(#[from] Unintelligible),
}

fn after(last_words: &str) -> String {
    if last_words.is_empty() { String::new() } else { format!(" after saying: {last_words}") }
}

/// A child process. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Helper {
    /// Held to be killed with this value.
    _child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    complaints: ChildStderr,
}

impl Helper {
    pub(super) fn start(program: &Path) -> Result<Helper, HelperError> {
        let refuse = |error| HelperError::NotStarted { path: program.to_owned(), error };
        let mut child = Command::new(program)
            .arg("--helper-protocol=ntlm-server-1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(refuse)?;
        let (Some(questions), Some(answers), Some(complaints)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(refuse(io::Error::other("it has no standard streams")));
        };
        Ok(Helper { _child: child, questions, answers: BufReader::new(answers), complaints })
    }

    /// What it says to a question. After an error it is not to be used again.
    pub(super) async fn ask(&mut self, question: &NtlmQuestion, limit: Duration) -> Result<Verdict, HelperError> {
        timeout(limit, self.ask_patiently(question)).await.map_err(|_| HelperError::Late(limit))?
    }

    async fn ask_patiently(&mut self, question: &NtlmQuestion) -> Result<Verdict, HelperError> {
        let lines = protocol::question(question);
        let written = async {
            self.questions.write_all(lines.as_bytes()).await?;
            self.questions.flush().await
        };
        if written.await.is_err() {
            return Err(self.ended().await);
        }
        let mut reader = AnswerReader::default();
        loop {
            // The line may hold the key.
            let mut line = Zeroizing::new(Vec::with_capacity(128));
            let longest = LONGEST_LINE as u64 + 2;
            let read = (&mut self.answers).take(longest).read_until(b'\n', &mut line).await;
            if !matches!(read, Ok(1..)) {
                return Err(self.ended().await);
            }
            let line = String::from_utf8_lossy(&line);
            if let Some(verdict) = reader.take(line.trim_end_matches(['\r', '\n'])) {
                return Ok(verdict?);
            }
        }
    }

    /// With what it complained of, for the log.
    async fn ended(&mut self) -> HelperError {
        let mut words = Vec::new();
        let mut complaints = (&mut self.complaints).take(LAST_WORDS);
        let _ = timeout(Duration::from_millis(100), complaints.read_to_end(&mut words)).await;
        let words = String::from_utf8_lossy(&words);
        HelperError::Ended(words.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}
