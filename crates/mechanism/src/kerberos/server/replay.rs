//! The authenticators of the last minutes, so that none is taken twice. RFC 4120 §3.2.3.

use super::refusal::Refusal;
use crate::kerberos::name::Principal;
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};

/// What was seen, for as long as the clock check would let it pass again: at most twice the permitted skew.
///
/// One for the whole server, whatever the listener and the mechanism around Kerberos. It only takes what came with a valid
/// ticket, and when it is full it refuses rather than forgets; of one client it takes a sixteenth, so that nobody with a
/// ticket keeps the others out. It does not outlive the process: within the skew after a
/// start, an AP-REQ from before it can be repeated once, by somebody who reads inside TLS.
#[derive(Debug)]
pub struct ReplayCache {
    /// By the client's clock, so that the oldest come first; then client and authenticator.
    seen: BTreeSet<(i64, [u8; 32], [u8; 32])>,
    /// How many are of each client.
    of_client: HashMap<[u8; 32], usize>,
    capacity: usize,
    longest_skew: i64,
}

impl ReplayCache {
    /// Entries by default: some 400 sign-ins a second for ten minutes, about 25 MB when full.
    pub const DEFAULT_CAPACITY: usize = 1 << 18;

    /// One that holds so many.
    pub fn new(capacity: usize) -> ReplayCache {
        ReplayCache { seen: BTreeSet::new(), of_client: HashMap::new(), capacity, longest_skew: 0 }
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
        let client = seen.client_digest();
        let entry = (seen.seconds, client, seen.digest());
        if self.seen.contains(&entry) {
            return Err(Refusal::Replayed { client: seen.client.clone() });
        }
        if self.seen.len() >= self.capacity {
            return Err(Refusal::ReplayCacheFull { capacity: self.capacity });
        }
        let share = (self.capacity / 16).max(1);
        let of_client = self.of_client.entry(client).or_default();
        if *of_client >= share {
            return Err(Refusal::TooOften { client: seen.client.clone(), share });
        }
        *of_client = of_client.saturating_add(1);
        self.seen.insert(entry);
        Ok(())
    }

    /// Forgets what the clock check refuses by now.
    fn sweep(&mut self, now: i64) {
        let oldest = now.saturating_sub(self.longest_skew);
        while self.seen.first().is_some_and(|(seconds, ..)| *seconds < oldest) {
            let Some((_, client, _)) = self.seen.pop_first() else { break };
            if let Some(count) = self.of_client.get_mut(&client) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.of_client.remove(&client);
                }
            }
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
    fn client_digest(&self) -> [u8; 32] {
        Sha256::digest(self.client.to_string()).into()
    }

    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.seconds.to_be_bytes());
        hash.update(self.microseconds.to_be_bytes());
        hash.update(self.authenticator);
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(
        cache: &mut ReplayCache,
        client: &str,
        now: i64,
        (seconds, authenticator): (i64, u8),
    ) -> Result<usize, Refusal> {
        let client = Principal::parse(client).unwrap();
        let seen = Seen { client: &client, seconds, microseconds: 0, authenticator: &[authenticator] };
        cache.admit(&seen, now, 300).map(|()| cache.len())
    }

    #[test]
    fn bounded_and_swept() {
        let again = Err(Refusal::Replayed { client: Principal::parse("alice@R").unwrap() });
        let mut cache = ReplayCache::new(2);
        assert_eq!(admit(&mut cache, "alice@R", 1000, (1000, 1)), Ok(1));
        assert_eq!(admit(&mut cache, "alice@R", 1000, (1000, 1)), again);
        assert_eq!(admit(&mut cache, "alice@R", 1300, (1000, 1)), again, "as long as the clock check lets it pass");
        assert_eq!(admit(&mut cache, "bob@R", 1300, (1000, 1)), Ok(2), "another of the same second");
        let full = Err(Refusal::ReplayCacheFull { capacity: 2 });
        assert_eq!(admit(&mut cache, "carol@R", 1300, (1300, 3)), full, "not forgotten");
        assert_eq!(admit(&mut cache, "carol@R", 1301, (1600, 3)), Ok(1), "the old ones are gone");
        assert_eq!(cache.of_client.len(), 1);
    }

    #[test]
    fn nobody_fills_it_alone() {
        let mut cache = ReplayCache::new(32);
        let mut taken = |client: &str, number| admit(&mut cache, client, 1000, (1000, number)).is_ok();
        let alice: Vec<bool> = (0..4).map(|number| taken("alice@R", number)).collect();
        assert_eq!(alice, [true, true, false, false]);
        assert!(taken("bob@R", 0), "there is room for others");
        let client = Principal::parse("alice@R").unwrap();
        assert_eq!(admit(&mut cache, "alice@R", 1000, (1000, 9)), Err(Refusal::TooOften { client, share: 2 }));
        assert!(admit(&mut cache, "alice@R", 1301, (1301, 9)).is_ok(), "in time there is room again");
    }
}
