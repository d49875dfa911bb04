//! The authenticators of the last minutes, so that none is taken twice. RFC 4120 §3.2.3.

use super::refusal::Refusal;
use crate::kerberos::name::Principal;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// What was seen, for as long as the clock check would let it pass again: at most twice the permitted skew.
///
/// One for the whole server, whatever the listener and the mechanism around Kerberos. It only takes what came with a valid
/// ticket, and when it is full it refuses rather than forgets. It does not outlive the process: within the skew after a
/// start, an AP-REQ from before it can be repeated once, by somebody who reads inside TLS.
#[derive(Debug)]
pub struct ReplayCache {
    /// By the client's clock, so that the oldest come first.
    seen: BTreeSet<(i64, [u8; 32])>,
    capacity: usize,
    longest_skew: i64,
}

impl ReplayCache {
    /// Entries by default: some 400 sign-ins a second for ten minutes, about 16 MB when full.
    pub const DEFAULT_CAPACITY: usize = 1 << 18;

    /// One that holds so many.
    pub fn new(capacity: usize) -> ReplayCache {
        ReplayCache { seen: BTreeSet::new(), capacity, longest_skew: 0 }
    }

    /// How many it holds.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// It holds none.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Takes an authenticator, if it is new. `now` and `client_time` in seconds since 1970, no further apart than `skew`.
    pub(super) fn admit(&mut self, seen: &Seen<'_>, now: i64, skew: i64) -> Result<(), Refusal> {
        self.longest_skew = self.longest_skew.max(skew);
        self.sweep(now);
        let entry = (seen.seconds, seen.digest());
        if self.seen.contains(&entry) {
            return Err(Refusal::Replayed { client: seen.client.clone() });
        }
        if self.seen.len() >= self.capacity {
            return Err(Refusal::ReplayCacheFull { capacity: self.capacity });
        }
        self.seen.insert(entry);
        Ok(())
    }

    /// Forgets what the clock check refuses by now.
    fn sweep(&mut self, now: i64) {
        let oldest = now.saturating_sub(self.longest_skew);
        while self.seen.first().is_some_and(|(seconds, _)| *seconds < oldest) {
            self.seen.pop_first();
        }
    }
}

impl Default for ReplayCache {
    fn default() -> ReplayCache {
        ReplayCache::new(ReplayCache::DEFAULT_CAPACITY)
    }
}

/// What makes an authenticator this one.
pub(super) struct Seen<'a> {
    pub(super) client: &'a Principal,
    pub(super) seconds: i64,
    pub(super) microseconds: u32,
    /// As it was sent; its encryption begins with random bytes.
    pub(super) authenticator: &'a [u8],
}

impl Seen<'_> {
    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(Sha256::digest(self.client.to_string()));
        hash.update(self.seconds.to_be_bytes());
        hash.update(self.microseconds.to_be_bytes());
        hash.update(self.authenticator);
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_and_swept() {
        let client = Principal::parse("alice@R").unwrap();
        let at = |seconds, number: u8| {
            let authenticator = [number];
            (seconds, authenticator)
        };
        let mut cache = ReplayCache::new(2);
        let mut admit = |now, (seconds, authenticator): (i64, [u8; 1])| {
            let seen = Seen { client: &client, seconds, microseconds: 0, authenticator: &authenticator };
            cache.admit(&seen, now, 300).map(|()| cache.len())
        };
        let again = Err(Refusal::Replayed { client: client.clone() });
        assert_eq!(admit(1000, at(1000, 1)), Ok(1));
        assert_eq!(admit(1000, at(1000, 1)), again);
        assert_eq!(admit(1300, at(1000, 1)), again, "as long as the clock check lets it pass");
        assert_eq!(admit(1300, at(1000, 2)), Ok(2), "another of the same second");
        assert_eq!(admit(1300, at(1300, 3)), Err(Refusal::ReplayCacheFull { capacity: 2 }), "not forgotten");
        assert_eq!(admit(1301, at(1600, 3)), Ok(1), "the old ones are gone");
    }
}
