//! NTLM answers checked by a domain controller, through Samba's winbind.
//!
//! This machine is a member of the domain (`net ads join`) and runs `winbindd`; its program `ntlm_auth` passes the
//! question on and brings the session base key back. The account this server runs under has to be in the group
//! `winbindd_priv`. `[MS-NLMP]` §3.3.2, `[MS-NRPC]` §3.5.4.5.1.
//!
//! A few helpers run, each with one question at a time. One that is late, dies, or is not understood is killed and
//! replaced by the next question. A refusal is answered no sooner than a fixed time, so that it does not tell whether
//! the account exists. Guessing is slowed down here, before the domain locks the account out: a stranger outside shall
//! not be able to do that to somebody inside. Whatever domain is named with it, a name counts as one: the same account
//! has several, and a namesake elsewhere waits too.

mod helper;
pub mod protocol;

use super::places::Places;
use helper::{Helper, HelperError};
use protocol::{LONGEST_RESPONSE, Verdict, could_not_tell};
use signin::authenticate::throttle::{Failures, Throttle};
use signin::authenticate::verifier::{NtlmProof, NtlmQuestion, NtlmVerifier, Refusal};
use signin::directory::DirectoryError;
use signin::io::Pending;
use signin::name::AccountName;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use zeroize::Zeroizing;

/// Longest names passed on. Characters; a UPN has up to 256.
const LONGEST_NAME: usize = 256;
/// An NTLMv2 response: proof (16 bytes) and at least the head of what it proves (28). `[MS-NLMP]` §2.2.2.7, §2.2.2.8.
const SHORTEST_RESPONSE: usize = 44;

/// How winbind is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WinbindSettings {
    /// The program, with its path when it is not in `PATH`.
    pub program: PathBuf,
    /// How many of it run at most.
    pub helpers: usize,
    /// Questions that may wait for one; one more is refused at once.
    pub waiting: usize,
    /// Longest time for a question, once waiting and once being answered.
    pub limit: Duration,
    /// A refusal takes at least so long.
    pub refusal: Duration,
    /// When guessing is slowed down. Fewer failures than the domain's lock-out threshold.
    pub throttle: Throttle,
}

impl Default for WinbindSettings {
    fn default() -> WinbindSettings {
        WinbindSettings {
            program: PathBuf::from("ntlm_auth"),
            helpers: 8,
            waiting: 256,
            limit: Duration::from_secs(5),
            refusal: Duration::from_millis(100),
            throttle: Throttle { failures: 4, ..Throttle::default() },
        }
    }
}

/// Asks a domain controller whether an NTLM answer is right.
#[derive(Debug)]
pub struct WinbindVerifier {
    settings: WinbindSettings,
    places: Places,
    idle: Mutex<Vec<Helper>>,
    start: Instant,
    failures: Mutex<Failures<String>>,
}

impl WinbindVerifier {
    /// Starts no helper yet.
    pub fn new(settings: WinbindSettings) -> WinbindVerifier {
        WinbindVerifier {
            places: Places::new(settings.helpers, settings.waiting),
            idle: Mutex::default(),
            start: Instant::now(),
            failures: Mutex::new(Failures::new(settings.throttle.clone())),
            settings,
        }
    }

    async fn check(&self, question: NtlmQuestion) -> Result<NtlmProof, Refusal> {
        let earliest_refusal = Instant::now() + self.settings.refusal;
        let answer = match presentable(&question) {
            Ok(()) => self.pass_on_slowly(&question).await,
            Err(why) => Err(refused(why.to_owned())),
        };
        if matches!(answer, Err(Refusal::Credentials { .. })) {
            sleep_until(earliest_refusal).await;
        }
        answer.map(|session_base_key| NtlmProof { account: question.account, session_base_key })
    }

    /// Unless too many were wrong of late; looked at when it is this question's turn, so that a crowd of guesses does
    /// not pass before the first is known to be wrong.
    async fn pass_on_slowly(&self, question: &NtlmQuestion) -> Result<Zeroizing<[u8; 16]>, Refusal> {
        let place = self.places.take(self.settings.limit).await;
        let _place =
            place.map_err(|full| Refusal::Unavailable(full.of_directory(format!("winbind is not asked: {full}"))))?;
        let account = bare_name(&question.account);
        if let Some(rest) = self.failures(|failures| failures.paused(&account, self.start.elapsed())) {
            let (who, seconds) = (&question.account, rest.as_secs() + 1);
            return Err(refused(format!(
                "too many wrong passwords for {who}; not asked about for another {seconds} s"
            )));
        }
        let answer = self.pass_on(question).await;
        match &answer {
            Ok(_) => self.failures(|failures| failures.forget(&account)),
            Err(Refusal::Credentials { .. }) => self.failures(|failures| failures.note(account, self.start.elapsed())),
            Err(_) => {}
        }
        answer
    }

    async fn pass_on(&self, question: &NtlmQuestion) -> Result<Zeroizing<[u8; 16]>, Refusal> {
        match self.ask(question).await.map_err(|error| unasked(&error))? {
            Verdict::Right(key) => Ok(key),
            Verdict::RightWithoutKey => {
                let why = "winbind gives no session key, without which nothing is signed";
                Err(Refusal::Unavailable(DirectoryError::failed(why)))
            }
            Verdict::Wrong(words) if could_not_tell(&words) => {
                let why = format!("winbind could not ask a domain controller: {words}");
                Err(Refusal::Unavailable(DirectoryError::unreachable(why)))
            }
            Verdict::Wrong(words) => Err(refused(format!("{} is refused by its domain: {words}", question.account))),
        }
    }

    async fn ask(&self, question: &NtlmQuestion) -> Result<Verdict, HelperError> {
        // A helper that died while nobody looked is no reason to refuse: a fresh one is asked, once.
        let idle = self.idle().pop();
        if let Some(helper) = idle {
            match self.ask_helper(helper, question).await {
                Err(HelperError::Ended(words)) => tracing::debug!(%words, "an idle ntlm_auth had ended"),
                answer => return answer,
            }
        }
        self.ask_helper(Helper::start(&self.settings.program)?, question).await
    }

    async fn ask_helper(&self, mut helper: Helper, question: &NtlmQuestion) -> Result<Verdict, HelperError> {
        let verdict = helper.ask(question, self.settings.limit).await?;
        self.idle().push(helper);
        Ok(verdict)
    }

    fn failures<T>(&self, act: impl FnOnce(&mut Failures<String>) -> T) -> T {
        act(&mut self.failures.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Helper>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NtlmVerifier for WinbindVerifier {
    fn verify(&self, question: NtlmQuestion) -> Pending<'_, Result<NtlmProof, Refusal>> {
        Box::pin(self.check(question))
    }
}

/// `alice` of `CONTOSO\alice`, `contoso.test\Alice`, `alice@contoso.test` and `alice`.
fn bare_name(account: &AccountName) -> String {
    account.user.split('@').next().unwrap_or_default().trim().to_lowercase()
}

/// Whether a question is one that could have a right answer. A NUL, after which C reads no further, would let one name
/// be checked and another be believed.
fn presentable(question: &NtlmQuestion) -> Result<(), &'static str> {
    let NtlmQuestion { account, nt_response, .. } = question;
    let bad = |name: &str| name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control);
    if account.user.is_empty() || bad(&account.user) || bad(&account.domain) {
        return Err("the name is empty, too long, or has control characters");
    }
    if !(SHORTEST_RESPONSE..=LONGEST_RESPONSE).contains(&nt_response.len()) {
        return Err("the response is none of NTLM version 2");
    }
    Ok(())
}

fn refused(why: String) -> Refusal {
    Refusal::Credentials { why }
}

/// A program that is late waits for a domain controller; anything else is the matter of this machine.
fn unasked(error: &HelperError) -> Refusal {
    Refusal::Unavailable(match error {
        HelperError::Late(_) => DirectoryError::unreachable(error.to_string()),
        HelperError::NotStarted { .. } | HelperError::Ended(_) | HelperError::Unintelligible(_) => {
            DirectoryError::failed(error.to_string())
        }
    })
}

#[cfg(test)]
mod tests;
