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
    /// Accounts with wrong answers that are remembered, and as many that are paused; beyond that the one of its kind that
    /// began first is forgotten. Of two kinds, so that a flood of names that do not exist ends no pause.
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

#[derive(Debug, Clone, Copy)]
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

    /// An answer for the account was wrong. One that is paused stays paused for as long as it was to be.
    pub fn note(&mut self, account: K, now: Duration) {
        if self.paused(&account, now).is_some() {
            return;
        }
        if !self.accounts.contains_key(&account) {
            self.make_room(false, now);
        }
        let Throttle { failures, window, pause, .. } = self.throttle;
        let begun = Record { count: 0, first: now, paused_until: None };
        let record = self.accounts.entry(account.clone()).or_insert(begun);
        if now.saturating_sub(record.first) > window {
            *record = begun;
        }
        record.count = record.count.saturating_add(1);
        if record.count >= failures {
            let paused = Record { paused_until: Some(now.saturating_add(pause)), ..*record };
            self.accounts.remove(&account);
            self.make_room(true, now);
            self.accounts.insert(account, paused);
        }
    }

    /// An answer for the account was right.
    pub fn forget(&mut self, account: &K) {
        self.accounts.remove(account);
    }

    /// Makes room for one more that is paused, or one more that is not.
    fn make_room(&mut self, paused: bool, now: Duration) {
        let room = self.throttle.accounts.max(1);
        let is_alike = |record: &Record| record.paused_until.is_some() == paused;
        let is_full = |accounts: &BTreeMap<K, Record>| accounts.values().filter(|r| is_alike(r)).count() >= room;
        if !is_full(&self.accounts) {
            return;
        }
        let window = self.throttle.window;
        self.accounts.retain(|_, record| match record.paused_until {
            Some(until) => until > now,
            None => now.saturating_sub(record.first) <= window,
        });
        if is_full(&self.accounts) {
            let alike = self.accounts.iter().filter(|(_, record)| is_alike(record));
            let oldest = alike.min_by_key(|(_, record)| record.first).map(|(account, _)| account.clone());
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
        for name in ["bob", "carol", "dave", "erin"] {
            failures.note(name, 3 * SECOND);
        }
        assert_eq!(failures.remembered(), 3, "one that is paused, two that are not");
        assert!(failures.paused(&"alice", 4 * SECOND).is_some(), "a flood of other names does not end it");
        for name in ["bob", "carol"] {
            (0..3).for_each(|_| failures.note(name, 5 * SECOND));
        }
        assert_eq!(failures.paused(&"alice", 6 * SECOND), None, "hers began first of too many");
        assert!(failures.remembered() <= 4);
    }
}
