//! What is remembered for a while of those who left: the latest few of each owner, so many in all, and nothing for
//! longer than its time. What makes room, or is over, is the oldest; finding it walks through nothing.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

/// How much is remembered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Of one owner.
    pub(crate) of_one: usize,
    /// Of all owners.
    pub(crate) of_all: usize,
    /// For how long.
    pub(crate) time: Duration,
}

/// Keys in the order in which they came, each with its owner.
#[derive(Debug)]
pub(crate) struct Recent<O, K> {
    limits: Limits,
    /// By the number of their coming.
    order: BTreeMap<u64, Entry<O, K>>,
    of: HashMap<O, VecDeque<(u64, K)>>,
    next: u64,
}

#[derive(Debug)]
struct Entry<O, K> {
    owner: O,
    key: K,
    until: Duration,
}

impl<O: Eq + Hash + Clone, K: Eq + Clone> Recent<O, K> {
    /// Nothing yet.
    pub(crate) fn new(limits: Limits) -> Recent<O, K> {
        Recent { limits, order: BTreeMap::new(), of: HashMap::new(), next: 0 }
    }

    /// Remembers a key from now on, as the latest one; gives what has to make room.
    pub(crate) fn put(&mut self, owner: &O, key: K, now: Duration) -> Vec<(O, K)> {
        self.take(owner, &key);
        let number = self.next;
        self.next += 1;
        let own = self.of.entry(owner.clone()).or_default();
        own.push_back((number, key.clone()));
        let mut superfluous = Vec::new();
        if own.len() > self.limits.of_one {
            superfluous.extend(own.front().map(|(number, _)| *number));
        }
        self.order.insert(number, Entry { owner: owner.clone(), key, until: now + self.limits.time });
        if superfluous.is_empty() && self.order.len() > self.limits.of_all {
            superfluous.extend(self.order.keys().next().copied());
        }
        superfluous.into_iter().filter_map(|number| self.remove(number)).collect()
    }

    /// Forgets a key; whether it was remembered.
    pub(crate) fn take(&mut self, owner: &O, key: &K) -> bool {
        let own = self.of.get(owner);
        let number = own.and_then(|own| own.iter().find(|(_, known)| known == key)).map(|(number, _)| *number);
        number.and_then(|number| self.remove(number)).is_some()
    }

    /// Forgets what is over, and gives it.
    pub(crate) fn expire(&mut self, now: Duration) -> Vec<(O, K)> {
        let mut over = Vec::new();
        while let Some(number) = self.order.iter().next().filter(|(_, e)| e.until <= now).map(|(number, _)| *number) {
            over.extend(self.remove(number));
        }
        over
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    fn remove(&mut self, number: u64) -> Option<(O, K)> {
        let Entry { owner, key, .. } = self.order.remove(&number)?;
        if let Some(own) = self.of.get_mut(&owner) {
            own.retain(|(other, _)| *other != number);
            if own.is_empty() {
                self.of.remove(&owner);
            }
        }
        Some((owner, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_oldest_makes_room_first_the_owners_own_then_anybodys() {
        let mut recent = Recent::new(Limits { of_one: 2, of_all: 3, time: seconds(60) });
        for (owner, key, gone) in [
            ("a", 1, None),
            ("a", 2, None),
            ("a", 1, None),
            ("a", 3, Some(("a", 2))),
            ("b", 4, None),
            ("b", 5, Some(("a", 1))),
            ("b", 6, Some(("b", 4))),
        ] {
            assert_eq!(recent.put(&owner, key, seconds(0)), Vec::from_iter(gone), "{owner} {key}");
        }
        assert!(recent.take(&"b", &5) && !recent.take(&"b", &5) && !recent.take(&"a", &6));
        assert_eq!((recent.len(), recent.of.len()), (2, 2));
    }

    #[test]
    fn each_has_its_time_and_then_leaves_nothing() {
        let mut recent = Recent::new(Limits { of_one: 9, of_all: 9, time: seconds(60) });
        recent.put(&"a", 1, seconds(0));
        recent.put(&"a", 2, seconds(30));
        recent.put(&"a", 1, seconds(40));
        assert!(recent.expire(seconds(89)).is_empty());
        assert_eq!(recent.expire(seconds(90)), [("a", 2)]);
        assert_eq!(recent.expire(seconds(100)), [("a", 1)]);
        assert!(recent.of.is_empty() && recent.order.is_empty());
    }
}
