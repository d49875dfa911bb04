//! Users lately found, a bounded number of them for a bounded time. Only what was found: who is not there is asked for
//! again.

use signin::directory::User;
use signin::name::Aor;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Asked {
    Address(Aor),
    /// Domain and user, in lower case.
    Account(String, String),
}

#[derive(Debug)]
pub(super) struct Cache {
    lifetime: Duration,
    capacity: usize,
    users: Mutex<HashMap<Asked, (Arc<User>, Instant)>>,
}

impl Cache {
    pub(super) fn new(lifetime: Duration, capacity: usize) -> Cache {
        Cache { lifetime, capacity, users: Mutex::default() }
    }

    pub(super) fn get(&self, asked: &Asked) -> Option<Arc<User>> {
        let users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let (user, until) = users.get(asked)?;
        (*until > Instant::now()).then(|| user.clone())
    }

    pub(super) fn put(&self, asked: Asked, user: &Arc<User>) {
        let now = Instant::now();
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if users.len() >= self.capacity && !users.contains_key(&asked) {
            users.retain(|_, (_, until)| *until > now);
            if users.len() >= self.capacity {
                // Which one goes hardly matters: a miss costs one search.
                let Some(victim) = users.keys().next().cloned() else { return };
                users.remove(&victim);
            }
        }
        users.insert(asked, (user.clone(), now + self.lifetime));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(number: usize) -> Asked {
        Asked::Account("contoso".to_owned(), format!("user{number}"))
    }

    fn user() -> Arc<User> {
        Arc::new(User::new("alice@contoso.test".parse().expect("an address")))
    }

    #[tokio::test(start_paused = true)]
    async fn users_are_forgotten_in_time() {
        let cache = Cache::new(Duration::from_secs(60), 10);
        cache.put(asked(1), &user());
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(cache.get(&asked(1)), Some(user()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(cache.get(&asked(1)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn it_never_holds_more_than_it_may() {
        for capacity in [0, 3] {
            let cache = Cache::new(Duration::from_secs(60), capacity);
            (0..20).for_each(|number| cache.put(asked(number), &user()));
            let held = (0..20).filter(|number| cache.get(&asked(*number)).is_some()).count();
            assert_eq!(held, capacity);
        }
    }
}
