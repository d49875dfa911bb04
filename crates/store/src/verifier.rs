//! NTLM answers checked against the hashes of the own directory.
//!
//! Every refusal costs the same: an account that does not exist, has no password, or is paused is checked against a
//! decoy, and what comes of that never counts. Whether an account is
//! disabled is not asked here: who proved the password may be told so, and the doors tell it.

use crate::store::Store;
use crate::users::Entry;
use mechanism::ntlm::NtHash;
use signin::authenticate::verifier::{NtlmProof, NtlmQuestion, NtlmVerifier, Refusal};
use signin::io::Pending;
use signin::service::Surroundings;
use std::collections::HashMap;
use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// When guessing is slowed down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Throttle {
    /// So many wrong answers for one account …
    pub failures: u32,
    /// … within this time …
    pub window: Duration,
    /// … and for so long every answer for it is refused, the right one too. Longer protects better against guessing, but
    /// also lets somebody who only knows a name keep its owner out.
    pub pause: Duration,
    /// Accounts with wrong answers that are remembered; beyond that the one that began first is forgotten. Only accounts
    /// that exist are counted.
    pub accounts: usize,
}

impl Default for Throttle {
    fn default() -> Throttle {
        Throttle {
            failures: 10,
            window: Duration::from_secs(10 * 60),
            pause: Duration::from_secs(5 * 60),
            accounts: 10_000,
        }
    }
}

/// Checks NTLM answers against the [`Store`]. One for all doors of a server, so that failures at all of them add up.
pub struct OwnDirectoryVerifier {
    store: Arc<Store>,
    surroundings: Arc<dyn Surroundings>,
    failures: Mutex<Failures>,
}

impl OwnDirectoryVerifier {
    /// A verifier of this store's accounts.
    pub fn new(store: Arc<Store>, surroundings: Arc<dyn Surroundings>, throttle: Throttle) -> OwnDirectoryVerifier {
        let failures = Mutex::new(Failures { throttle, accounts: HashMap::new() });
        OwnDirectoryVerifier { store, surroundings, failures }
    }

    fn check(&self, question: &NtlmQuestion) -> Result<NtlmProof, String> {
        let now = self.surroundings.now().since_start;
        let entry = self.store.memory.index().by_login(&question.account).cloned();
        let paused = entry.as_ref().and_then(|entry| self.failures(|failures| failures.paused(entry.id, now)));
        let own_hash = entry.as_ref().filter(|_| paused.is_none()).and_then(|entry| entry.nt_hash.clone());
        let countable = own_hash.is_some();

        let name = &question.account;
        let answer = own_hash.unwrap_or_else(NtHash::decoy).session_base_key(
            &name.user,
            &name.domain,
            &question.server_challenge,
            &question.nt_response,
        );

        // The decoy is no secret: an answer that fits it proves nothing.
        let Some(entry) = entry else { return Err(format!("no account is called {name}")) };
        let who = &entry.user.aor;
        if let Some(rest) = paused {
            return Err(format!(
                "too many wrong passwords for {who}; not checked for another {} s",
                rest.as_secs() + 1
            ));
        }
        if !countable {
            return Err(format!("{who} has no password"));
        }
        let Ok(session_base_key) = answer else {
            self.failures(|failures| failures.note(entry.id, now));
            return Err(format!("wrong password for {who}"));
        };
        self.failures(|failures| failures.forget(entry.id));
        Ok(NtlmProof { account: known_as(&entry, question), session_base_key })
    }

    fn failures<T>(&self, act: impl FnOnce(&mut Failures) -> T) -> T {
        act(&mut self.failures.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl NtlmVerifier for OwnDirectoryVerifier {
    fn verify(&self, question: NtlmQuestion) -> Pending<'_, Result<NtlmProof, Refusal>> {
        let answer = self.check(&question).map_err(|why| Refusal::Credentials { why });
        Box::pin(ready(answer))
    }
}

/// The first of the account's names, whichever of them was used.
fn known_as(entry: &Entry, question: &NtlmQuestion) -> signin::name::AccountName {
    entry.logins.first().unwrap_or(&question.account).clone()
}

/// Wrong answers by account. A change of the password does not end a pause: whoever guesses does not know of it.
struct Failures {
    throttle: Throttle,
    accounts: HashMap<i64, Record>,
}

/// Times are those since the server began.
struct Record {
    count: u32,
    first: Duration,
    paused_until: Option<Duration>,
}

impl Failures {
    /// How much longer the account is paused, if it is.
    fn paused(&mut self, account: i64, now: Duration) -> Option<Duration> {
        let until = self.accounts.get(&account)?.paused_until?;
        match until.checked_sub(now) {
            Some(rest) if !rest.is_zero() => Some(rest),
            _ => {
                self.accounts.remove(&account);
                None
            }
        }
    }

    fn note(&mut self, account: i64, now: Duration) {
        if !self.accounts.contains_key(&account) {
            self.make_room(now);
        }
        let Throttle { failures, window, pause, .. } = self.throttle;
        let record = self.accounts.entry(account).or_insert(Record { count: 0, first: now, paused_until: None });
        if now.saturating_sub(record.first) > window {
            *record = Record { count: 0, first: now, paused_until: None };
        }
        record.count += 1;
        if record.count >= failures {
            record.paused_until = Some(now.saturating_add(pause));
        }
    }

    fn forget(&mut self, account: i64) {
        self.accounts.remove(&account);
    }

    fn make_room(&mut self, now: Duration) {
        if self.accounts.len() < self.throttle.accounts.max(1) {
            return;
        }
        let window = self.throttle.window;
        self.accounts.retain(|_, record| match record.paused_until {
            Some(until) => until > now,
            None => now.saturating_sub(record.first) <= window,
        });
        if self.accounts.len() >= self.throttle.accounts.max(1) {
            let oldest = self.accounts.iter().min_by_key(|(_, record)| record.first).map(|(account, _)| *account);
            oldest.map(|account| self.accounts.remove(&account));
        }
    }
}

#[cfg(test)]
mod tests;
