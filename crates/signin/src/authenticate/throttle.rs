//! Guessing of passwords, slowed down: what was wrong is counted for each account, and who is wrong too often waits.
//!
//! Shared by all who check passwords, in whatever way. Pure: the time comes in.

use std::collections::BTreeMap;
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
    /// Accounts with wrong answers that are remembered; beyond that the one that began first is forgotten.
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

/// Wrong answers by account, whatever an account is known by. Times are those since the server began. A change of the
/// password does not end a pause: whoever guesses does not know of it.
#[derive(Debug)]
pub struct Failures<K> {
    throttle: Throttle,
    accounts: BTreeMap<K, Record>,
}

#[derive(Debug)]
struct Record {
    count: u32,
    first: Duration,
    paused_until: Option<Duration>,
}

impl<K: Ord + Clone> Failures<K> {
    /// None so far.
    pub fn new(throttle: Throttle) -> Failures<K> {
        Failures { throttle, accounts: BTreeMap::new() }
    }

    /// How many accounts are remembered.
    pub fn remembered(&self) -> usize {
        self.accounts.len()
    }

    /// How much longer the account is paused, if it is.
    pub fn paused(&mut self, account: &K, now: Duration) -> Option<Duration> {
        let until = self.accounts.get(account)?.paused_until?;
        match until.checked_sub(now) {
            Some(rest) if !rest.is_zero() => Some(rest),
            _ => {
                self.accounts.remove(account);
                None
            }
        }
    }

    /// An answer for the account was wrong.
    pub fn note(&mut self, account: K, now: Duration) {
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

    /// An answer for the account was right.
    pub fn forget(&mut self, account: &K) {
        self.accounts.remove(account);
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
            let oldest =
                self.accounts.iter().min_by_key(|(_, record)| record.first).map(|(account, _)| account.clone());
            oldest.map(|account| self.accounts.remove(&account));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn failures(accounts: usize) -> Failures<&'static str> {
        Failures::new(Throttle { failures: 3, window: 60 * SECOND, pause: 30 * SECOND, accounts })
    }

    #[test]
    fn the_last_wrong_answer_begins_a_pause_and_time_ends_it() {
        let mut failures = failures(10);
        (0..2).for_each(|second| failures.note("alice", second * SECOND));
        assert_eq!(failures.paused(&"alice", 2 * SECOND), None);
        failures.note("alice", 2 * SECOND);
        assert_eq!(failures.paused(&"alice", 12 * SECOND), Some(20 * SECOND));
        assert_eq!(failures.paused(&"bob", 12 * SECOND), None);
        assert_eq!(failures.paused(&"alice", 32 * SECOND), None);
        failures.note("alice", 33 * SECOND);
        assert_eq!(failures.paused(&"alice", 33 * SECOND), None, "counted anew");
    }

    #[test]
    fn what_is_long_ago_or_was_followed_by_a_right_answer_does_not_count() {
        let mut failures = failures(10);
        failures.note("alice", SECOND);
        failures.note("alice", 2 * SECOND);
        failures.forget(&"alice");
        failures.note("alice", 3 * SECOND);
        failures.note("alice", 64 * SECOND);
        failures.note("alice", 65 * SECOND);
        assert_eq!(failures.paused(&"alice", 65 * SECOND), None);
    }

    #[test]
    fn a_bounded_number_is_remembered() {
        let mut failures = failures(2);
        (0..3).for_each(|second| failures.note("alice", second * SECOND));
        failures.note("bob", 3 * SECOND);
        failures.note("carol", 4 * SECOND);
        assert_eq!(failures.remembered(), 2);
        assert_eq!(failures.paused(&"alice", 4 * SECOND), None, "hers began first");
    }
}
