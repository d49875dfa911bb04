//! NTLM answers checked against the hashes of the own directory.
//!
//! Every refusal costs the same: an account that does not exist, has no password, or is paused is checked against a
//! decoy, and what comes of that never counts. Whether an account is
//! disabled is not asked here: who proved the password may be told so, and the doors tell it.

use crate::store::Store;
use crate::users::Entry;
use mechanism::ntlm::NtHash;
use signin::authenticate::throttle::{Failures, Throttle};
use signin::authenticate::verifier::{NtlmProof, NtlmQuestion, NtlmVerifier, Refusal};
use signin::io::Pending;
use signin::service::Surroundings;
use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};

/// Checks NTLM answers against the [`Store`]. Wrong ones are counted for accounts that exist. One for all doors of a server, so that failures at all of them add up.
pub struct OwnDirectoryVerifier {
    store: Arc<Store>,
    surroundings: Arc<dyn Surroundings>,
    failures: Mutex<Failures<i64>>,
}

impl OwnDirectoryVerifier {
    /// A verifier of this store's accounts.
    pub fn new(store: Arc<Store>, surroundings: Arc<dyn Surroundings>, throttle: Throttle) -> OwnDirectoryVerifier {
        let failures = Mutex::new(Failures::new(throttle));
        OwnDirectoryVerifier { store, surroundings, failures }
    }

    fn check(&self, question: &NtlmQuestion) -> Result<NtlmProof, String> {
        let now = self.surroundings.now().since_start;
        let entry = self.store.memory.index().by_login(&question.account).cloned();
        let paused = entry.as_ref().and_then(|entry| self.failures(|failures| failures.paused(&entry.id, now)));
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
        self.failures(|failures| failures.forget(&entry.id));
        Ok(NtlmProof { account: known_as(&entry, question), session_base_key })
    }

    fn failures<T>(&self, act: impl FnOnce(&mut Failures<i64>) -> T) -> T {
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

#[cfg(test)]
mod tests;
