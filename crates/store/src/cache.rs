//! Contact lists lately used, a bounded number of them.

use signin::name::Aor;
use signin::provision::contacts::ContactList;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Lists as committed. Readers fill it; only the writer changes what is in it.
#[derive(Debug)]
pub(crate) struct ListCache {
    capacity: usize,
    lists: Mutex<Lists>,
}

#[derive(Debug, Default)]
struct Lists {
    /// Counts what the writer did, so that a reader who began before does not put an older list in.
    generation: u64,
    known: HashMap<Aor, Arc<ContactList>>,
}

/// When a reader began to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generation(u64);

impl ListCache {
    /// A cache of at most so many lists.
    pub(crate) fn new(capacity: usize) -> ListCache {
        ListCache { capacity, lists: Mutex::default() }
    }

    /// The list if it is here; else since when it is known not to be.
    pub(crate) fn get(&self, aor: &Aor) -> Result<Arc<ContactList>, Generation> {
        let lists = self.lock();
        lists.known.get(aor).cloned().ok_or(Generation(lists.generation))
    }

    /// Keeps what a reader found, unless the writer changed anything since it began.
    pub(crate) fn fill(&self, aor: &Aor, list: Arc<ContactList>, since: Generation) {
        let mut lists = self.lock();
        if lists.generation == since.0 {
            lists.insert(self.capacity, aor, list);
        }
    }

    /// What the writer committed: a list, or `None` where it is no longer known.
    pub(crate) fn committed(&self, changes: impl IntoIterator<Item = (Aor, Option<Arc<ContactList>>)>) {
        let mut lists = self.lock();
        for (aor, list) in changes {
            lists.generation += 1;
            match list {
                Some(list) => lists.insert(self.capacity, &aor, list),
                None => drop(lists.known.remove(&aor)),
            }
        }
    }

    /// Forgets everything, because another process changed the file.
    pub(crate) fn clear(&self) {
        let mut lists = self.lock();
        lists.generation += 1;
        lists.known.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lists {
    fn insert(&mut self, capacity: usize, aor: &Aor, list: Arc<ContactList>) {
        if let Some(known) = self.known.get_mut(aor) {
            *known = list;
            return;
        }
        if self.known.len() >= capacity {
            // Which one goes hardly matters: a miss costs one read of a file the system keeps in memory.
            let Some(victim) = self.known.keys().next().cloned() else { return };
            self.known.remove(&victim);
        }
        self.known.insert(aor.clone(), list);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aor(text: &str) -> Aor {
        text.parse().expect("a test address")
    }

    fn list(delta_num: u32) -> Arc<ContactList> {
        Arc::new(ContactList { delta_num, ..ContactList::empty() })
    }

    #[test]
    fn a_reader_that_began_before_a_commit_does_not_bring_the_old_list_back() {
        let cache = ListCache::new(8);
        let alice = aor("alice@contoso.test");
        let since = cache.get(&alice).expect_err("nothing is there yet");
        cache.committed([(alice.clone(), None)]);
        cache.fill(&alice, list(1), since);
        let since = cache.get(&alice).expect_err("the old list was not kept");
        cache.fill(&alice, list(2), since);
        assert_eq!(cache.get(&alice), Ok(list(2)));
    }

    #[test]
    fn it_never_holds_more_than_it_may() {
        let cache = ListCache::new(2);
        for number in 0..10 {
            cache.committed([(aor(&format!("user{number}@contoso.test")), Some(list(1)))]);
        }
        let held = (0..10).filter(|number| cache.get(&aor(&format!("user{number}@contoso.test"))).is_ok()).count();
        assert_eq!(held, 2);
    }
}
