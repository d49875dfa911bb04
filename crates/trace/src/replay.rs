//! An [`Io`] that answers from a record, and an executor that needs no runtime.
//!
//! The program under replay has to ask the same questions; it then gets the same outcomes in the same order, also where
//! several questions were open at once. Whatever it does differently is told as a [`Difference`], and nothing is
//! answered any more.

use crate::record::{Record, What, without_passwords};
use signin::io::{Io, Now, Operation, Outcome, Pending};
use signin::report::Event;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Plays a record back.
#[derive(Debug)]
pub struct Replay {
    record: Record,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The first entry that was not played yet.
    next: usize,
    /// Entries after `next` that were played ahead of it.
    ahead: Vec<bool>,
    /// Microseconds since the start.
    now: u64,
    /// Who waits for the outcome of which question.
    waiting: HashMap<u64, Waker>,
    difference: Option<Difference>,
}

/// Where the program did something else than the record says.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Index of the entry that should have come next.
    pub entry: usize,
    /// What the record says, or that it ends.
    pub expected: String,
    /// What the program did.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {} of the record is {}, but the program {}", self.entry, self.expected, self.found)
    }
}

impl Replay {
    /// Gets ready to play a record.
    pub fn new(record: Record) -> Replay {
        let ahead = vec![false; record.entries.len()];
        let mut state = State { next: 0, ahead, now: 0, waiting: HashMap::new(), difference: None };
        state.advance(&record);
        Replay { record, state: Mutex::new(state) }
    }

    /// The first thing the program did differently.
    pub fn difference(&self) -> Option<Difference> {
        self.state().difference.clone()
    }

    /// Whether the program asked everything and took every outcome that the record has.
    pub fn finished(&self) -> bool {
        self.state().next >= self.record.entries.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plays the first entry that fits, of those that may come now: everything up to the next outcome. Questions asked
    /// at once may come in another order than they were recorded.
    fn play<T>(&self, fits: impl Fn(&What) -> Option<T>, found: impl FnOnce() -> String) -> Option<T> {
        let mut state = self.state();
        if state.difference.is_some() {
            return None;
        }
        let entries = self.record.entries.iter().enumerate().skip(state.next);
        let possible = entries.take_while(|(_, entry)| !matches!(entry.what, What::Ended { .. }));
        let fitting = possible.filter(|(at, _)| !state.ahead[*at]).find_map(|(at, e)| Some((at, fits(&e.what)?)));
        match fitting {
            Some((at, played)) => {
                state.take(at, &self.record);
                Some(played)
            }
            None => {
                state.differ(&self.record, found());
                None
            }
        }
    }
}

impl State {
    /// Entry `at` has been played.
    fn take(&mut self, at: usize, record: &Record) {
        if let Some(entry) = record.entries.get(at) {
            self.ahead[at] = true;
            self.now = self.now.max(entry.t);
        }
        self.advance(record);
    }

    /// Moves on over what was played and what the program need not do, and wakes who waits for what comes then.
    fn advance(&mut self, record: &Record) {
        while let Some(entry) = record.entries.get(self.next) {
            match &entry.what {
                What::Told(_) | What::GaveUp { .. } | What::Full {} => {}
                _ if self.ahead[self.next] => {}
                What::Ended { id, .. } => {
                    if let Some(waker) = self.waiting.remove(id) {
                        waker.wake();
                    }
                    return;
                }
                What::Asked { .. } | What::Random { .. } => return,
            }
            self.next += 1;
        }
    }

    fn differ(&mut self, record: &Record, found: String) {
        let expected = match record.entries.get(self.next).map(|entry| &entry.what) {
            Some(What::Asked { operation, .. }) => format!("the question {operation:?}"),
            Some(What::Ended { id, .. }) => format!("the outcome of question {id}"),
            Some(What::Random { bytes }) => format!("{} random bytes", bytes.len()),
            Some(other) => format!("{other:?}"),
            None => "not there (the record ends)".to_owned(),
        };
        self.difference.get_or_insert(Difference { entry: self.next, expected, found });
    }
}

impl Io for Replay {
    fn perform(&self, operation: Operation) -> Pending<'_, Outcome> {
        let asked = without_passwords(operation);
        let same = |what: &What| match what {
            What::Asked { id, operation } if *operation == asked => Some(*id),
            _ => None,
        };
        let id = self.play(same, || format!("asks {asked:?}"));
        Box::pin(Played { replay: self, id })
    }

    fn now(&self) -> Now {
        let since_start = Duration::from_micros(self.state().now);
        let seconds = i64::try_from(since_start.as_secs()).unwrap_or(i64::MAX);
        Now { since_start, unix_seconds: self.record.header.started.saturating_add(seconds) }
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        let wanted = bytes.len();
        let same = |what: &What| match what {
            What::Random { bytes } if bytes.len() == wanted => Some(bytes.clone()),
            _ => None,
        };
        match self.play(same, || format!("draws {wanted} random bytes")) {
            Some(recorded) => bytes.copy_from_slice(&recorded),
            None => bytes.fill(0),
        }
    }

    fn tell(&self, _: Event) {}
}

/// A question under way; `None` when the record does not have it, and then it is never answered.
struct Played<'a> {
    replay: &'a Replay,
    id: Option<u64>,
}

impl Future for Played<'_> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let Some(wanted) = self.id else { return Poll::Pending };
        let record = &self.replay.record;
        let mut state = self.replay.state();
        match record.entries.get(state.next).map(|entry| &entry.what) {
            Some(What::Ended { id, outcome }) if *id == wanted && state.difference.is_none() => {
                let at = state.next;
                state.take(at, record);
                drop(state);
                self.id = None;
                Poll::Ready(outcome.clone())
            }
            _ => {
                state.waiting.insert(wanted, context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Played<'_> {
    /// Giving up a question whose outcome the record has is a difference; it would block everything after it.
    fn drop(&mut self) {
        let Some(given_up) = self.id else { return };
        let record = &self.replay.record;
        let mut state = self.replay.state();
        state.waiting.remove(&given_up);
        let ends = |what: &What| matches!(what, What::Ended { id, .. } if *id == given_up);
        if record.entries.iter().skip(state.next).any(|entry| ends(&entry.what)) {
            state.differ(record, format!("gives up question {given_up}"));
        }
    }
}

/// A future that waits for something that never comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the program waits for an outcome that never comes")]
pub struct Stuck;

/// Runs a future to its end on this thread, without a runtime. It must not wait for anything but what is woken by its
/// own progress: a [`Replay`], or an `Io` that answers at once.
pub fn run<F: Future>(future: F) -> Result<F::Output, Stuck> {
    let progress = Arc::new(Progress(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&progress));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Ok(output);
        }
        if !progress.0.swap(false, Ordering::AcqRel) {
            return Err(Stuck);
        }
    }
}

struct Progress(AtomicBool);

impl Wake for Progress {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}
