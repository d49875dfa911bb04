//! Requests for tickets that were answered: none is granted twice.
//!
//! An authenticator holds for one request, whose body it signs; who sends it again sends the same question. That is an
//! attacker, or a client that heard nothing, or one that was told to come over TCP. All of them get the answer that was
//! given (it is of use only to who has the session key) for as long as it is kept, and a refusal after that.

use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, VecDeque};

/// Answers kept. Clients ask again within seconds.
const MAX_ANSWERS: usize = 512;

/// What was answered, for as long as the clock check would let it pass again.
#[derive(Debug)]
pub(super) struct Answered {
    capacity: usize,
    seen: BTreeSet<[u8; 32]>,
    /// When each may be forgotten.
    by_time: BTreeSet<(i64, [u8; 32])>,
    /// The last ones, with their answers.
    recent: VecDeque<([u8; 32], Vec<u8>)>,
}

/// What is known of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing.
    New,
    /// It was answered with this.
    Answer(Vec<u8>),
    /// It was answered, some while ago.
    Seen,
    /// There are too many to remember another.
    Full,
}

impl Answered {
    /// Remembers so many.
    pub(super) fn new(capacity: usize) -> Answered {
        Answered { capacity, seen: BTreeSet::new(), by_time: BTreeSet::new(), recent: VecDeque::new() }
    }

    /// Looks a request up by the ciphertext of its authenticator, which begins with random bytes and cannot be altered.
    pub(super) fn look_up(&mut self, authenticator: &[u8], now: i64) -> Known {
        self.sweep(now);
        let name = digest(authenticator);
        if self.seen.contains(&name) {
            let answer = self.recent.iter().find(|(answered, _)| *answered == name);
            return answer.map_or(Known::Seen, |(_, answer)| Known::Answer(answer.clone()));
        }
        if self.seen.len() >= self.capacity { Known::Full } else { Known::New }
    }

    /// Keeps an answer; `until` is when its request may be forgotten.
    pub(super) fn keep(&mut self, authenticator: &[u8], answer: &[u8], until: i64) {
        let name = digest(authenticator);
        // Who came twice at the same moment is remembered once.
        if self.seen.insert(name) {
            self.by_time.insert((until, name));
            if self.recent.len() == MAX_ANSWERS {
                self.recent.pop_front();
            }
            self.recent.push_back((name, answer.to_vec()));
        }
    }

    fn sweep(&mut self, now: i64) {
        while let Some((until, name)) = self.by_time.first().copied()
            && until < now
        {
            self.by_time.pop_first();
            self.seen.remove(&name);
        }
    }
}

fn digest(authenticator: &[u8]) -> [u8; 32] {
    Sha256::digest(authenticator).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answered_again_then_refused_then_forgotten() {
        let mut answered = Answered::new(MAX_ANSWERS + 2);
        assert_eq!(answered.look_up(b"first", 0), Known::New);
        answered.keep(b"first", b"answer", 10);
        assert_eq!(answered.look_up(b"first", 10), Known::Answer(b"answer".to_vec()));
        for number in 0..=MAX_ANSWERS {
            answered.keep(&number.to_be_bytes(), b"", 20);
        }
        assert_eq!(answered.recent.len(), MAX_ANSWERS);
        assert_eq!(answered.look_up(b"first", 10), Known::Seen);
        assert_eq!(answered.look_up(b"other", 10), Known::Full);
        assert_eq!(answered.look_up(b"first", 11), Known::New);
        assert_eq!(answered.look_up(b"other", 21), Known::New);
        assert!(answered.seen.is_empty() && answered.by_time.is_empty());
    }
}
