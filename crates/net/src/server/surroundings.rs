//! Clock and randomness of this machine.

use signin::io::Now;
use signin::service::Surroundings;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The machine's clocks, counted from when this was made, and the operating system's randomness.
#[derive(Debug, Clone, Copy)]
pub struct SystemSurroundings {
    start: Instant,
}

impl SystemSurroundings {
    /// Starts counting.
    #[allow(clippy::new_without_default)] // a clock that starts as a "default" would hide when it starts
    pub fn new() -> SystemSurroundings {
        SystemSurroundings { start: Instant::now() }
    }
}

impl Surroundings for SystemSurroundings {
    fn now(&self) -> Now {
        let unix_seconds = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
        };
        Now { since_start: self.start.elapsed(), unix_seconds }
    }

    /// # Panics
    /// When the operating system has no randomness to give: nothing safe can be done without.
    fn fill_random(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system gives randomness");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_runs_and_randomness_differs() {
        let surroundings = SystemSurroundings::new();
        let before = surroundings.now();
        std::thread::sleep(std::time::Duration::from_millis(2));
        let after = surroundings.now();
        assert!(after.since_start > before.since_start);
        assert!(after.unix_seconds > 1_700_000_000);
        let (mut one, mut other) = ([0u8; 32], [0u8; 32]);
        surroundings.fill_random(&mut one);
        surroundings.fill_random(&mut other);
        assert_ne!(one, other);
    }
}
