//! What was taken once and must not be taken again, for as long as it could be; in bounded memory.

use std::collections::HashMap;

/// What was taken, by a name of 32 bytes that no two things have.
#[derive(Debug)]
pub struct Once {
    limit: usize,
    /// Until when each would be taken if it came again, in seconds since 1970.
    until: HashMap<[u8; 32], i64>,
}

impl Once {
    /// Remembers so many, at least one; beyond that the one that could come again for the shortest time is forgotten.
    pub fn new(limit: usize) -> Once {
        Once { limit: limit.max(1), until: HashMap::new() }
    }

    /// Takes something that could come again until then; `false` when it was taken before. Times are seconds since 1970.
    pub fn take(&mut self, name: [u8; 32], until: i64, now: i64) -> bool {
        if self.until.contains_key(&name) {
            return false;
        }
        if self.until.len() >= self.limit {
            self.until.retain(|_, until| *until > now);
        }
        if self.until.len() >= self.limit {
            let first = self.until.iter().min_by_key(|(_, until)| **until).map(|(name, _)| *name);
            first.map(|name| self.until.remove(&name));
        }
        self.until.insert(name, until).is_none()
    }

    /// It was not taken after all.
    pub fn give_back(&mut self, name: &[u8; 32]) {
        self.until.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::Once;

    #[test]
    fn once_and_within_bounds() {
        let mut once = Once::new(2);
        assert!(once.take([1; 32], 10, 0) && once.take([2; 32], 20, 0));
        assert!(!once.take([1; 32], 10, 0) && !once.take([2; 32], 20, 9));
        assert!(once.take([3; 32], 30, 0), "there is always room");
        assert!(!once.take([2; 32], 20, 0), "the one that ends first was forgotten, not this");
        assert!(once.take([4; 32], 40, 25), "what is over makes room");
        assert!(!once.take([3; 32], 30, 25));
        once.give_back(&[3; 32]);
        assert!(once.take([3; 32], 30, 25));
    }
}
