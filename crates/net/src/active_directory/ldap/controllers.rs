//! Which domain controller is asked, and which is left alone for a while.

use super::settings::Limits;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How each controller did, in the order of the settings.
#[derive(Debug)]
pub(super) struct Controllers {
    health: Mutex<Vec<Health>>,
}

#[derive(Debug, Clone, Default)]
struct Health {
    /// Since it last answered.
    failures: u32,
    alone_until: Option<Instant>,
    /// What went wrong last.
    why: String,
}

impl Controllers {
    pub(super) fn new(count: usize) -> Controllers {
        Controllers { health: Mutex::new(vec![Health::default(); count]) }
    }

    /// Those to be tried, best first: those that work in the order of the settings, then those that failed and were
    /// left alone long enough. Who works goes first, so that no question waits for one that may still be down.
    pub(super) fn in_order(&self) -> Vec<usize> {
        let now = Instant::now();
        let health = self.health();
        let mut order: Vec<usize> = (0..health.len()).collect();
        order.retain(|index| health.get(*index).and_then(|health| health.alone_until).is_none_or(|until| until <= now));
        order.sort_by_key(|index| health.get(*index).is_some_and(|health| health.failures > 0));
        order
    }

    /// It answered.
    pub(super) fn works(&self, index: usize) {
        if let Some(health) = self.health().get_mut(index) {
            *health = Health::default();
        }
    }

    /// It did not, and is left alone.
    pub(super) fn failed(&self, index: usize, why: &str, wrong_password: bool, limits: &Limits) {
        if let Some(health) = self.health().get_mut(index) {
            let doubled = limits.retry_first.saturating_mul(1 << health.failures.min(16));
            let alone = if wrong_password { limits.retry_account } else { doubled.min(limits.retry_last) };
            health.failures = health.failures.saturating_add(1);
            health.alone_until = Some(Instant::now() + alone);
            health.why = why.to_owned();
        }
    }

    /// What went wrong last, and for how long it is still left alone.
    pub(super) fn complaint(&self, index: usize) -> Option<(String, Duration)> {
        let health = self.health();
        let health = health.get(index).filter(|health| health.failures > 0)?;
        let rest = health.alone_until.map(|until| until.saturating_duration_since(Instant::now()));
        Some((health.why.clone(), rest.unwrap_or_default()))
    }

    fn health(&self) -> MutexGuard<'_, Vec<Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_fails_is_left_alone_longer_and_longer_and_goes_last() {
        let limits = Limits::default();
        let controllers = Controllers::new(2);
        assert_eq!(controllers.in_order(), [0, 1]);
        controllers.failed(0, "down", false, &limits);
        assert_eq!(controllers.in_order(), [1]);
        tokio::time::advance(limits.retry_first).await;
        assert_eq!(controllers.in_order(), [1, 0], "the one that works goes first");
        controllers.failed(0, "down", false, &limits);
        tokio::time::advance(limits.retry_first).await;
        assert_eq!(controllers.in_order(), [1], "twice as long");
        for _ in 0..40 {
            controllers.failed(0, "down", false, &limits);
        }
        tokio::time::advance(limits.retry_last).await;
        assert_eq!(controllers.in_order(), [1, 0], "but not for ever");
        controllers.works(0);
        assert_eq!(controllers.in_order(), [0, 1]);
        assert_eq!(controllers.complaint(0), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_refuses_the_service_account_is_left_alone_for_long() {
        let limits = Limits::default();
        let controllers = Controllers::new(1);
        controllers.failed(0, "wrong password", true, &limits);
        tokio::time::advance(limits.retry_last).await;
        assert_eq!(controllers.in_order(), [0usize; 0]);
        tokio::time::advance(limits.retry_account).await;
        assert_eq!(controllers.in_order(), [0]);
    }
}
