//! Clock and randomness of this machine.

use signin::io::Now;
use signin::service::Surroundings;
use std::cell::RefCell;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use zeroize::{Zeroize, Zeroizing};

/// Bytes drawn at a time for those who want few: every message has two identifiers of some bytes, and a call of the system
/// for each is a thirtieth of what a message costs.
const AHEAD: usize = 256;

/// Who wants more than this has a call of their own: no key is as short, so none was ever kept ahead. Challenges are, and
/// are sent in the clear anyway.
const FEW: usize = 8;

thread_local! {
    static DRAWN: RefCell<Drawn> = RefCell::new(Drawn { bytes: Zeroizing::new([0; AHEAD]), left: 0 });
}

/// Randomness that nobody has had yet: the first `left` bytes.
struct Drawn {
    bytes: Zeroizing<[u8; AHEAD]>,
    left: usize,
}

impl Drawn {
    /// Gives each byte once, and keeps nothing of it.
    fn give(&mut self, into: &mut [u8]) {
        if self.left < into.len() {
            draw(&mut self.bytes[..]);
            self.left = AHEAD;
        }
        let given = &mut self.bytes[self.left - into.len()..self.left];
        into.copy_from_slice(given);
        given.zeroize();
        self.left -= into.len();
    }
}

fn draw(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system gives randomness");
}

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
        if bytes.len() > FEW {
            return draw(bytes);
        }
        DRAWN.with_borrow_mut(|drawn| drawn.give(bytes));
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

    #[test]
    fn no_byte_is_given_twice() {
        let surroundings = SystemSurroundings::new();
        let mut seen = std::collections::BTreeSet::new();
        for round in 0..2_000 {
            let mut bytes = [0; FEW];
            let length = 5 + round % (FEW - 4);
            surroundings.fill_random(&mut bytes[..length]);
            assert!(seen.insert(bytes[..length].to_vec()), "in round {round}");
            DRAWN.with_borrow(|drawn| assert!(drawn.bytes[drawn.left..].iter().all(|byte| *byte == 0)));
        }
    }
}
