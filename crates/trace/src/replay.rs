//! An [`Io`] that answers from a record, and an executor that needs no runtime.
//!
//! The program under replay has to ask the same questions; it gets the same outcomes, in the order in which they were
//! taken then, also where several questions were open at once. Questions, draws of randomness and words may come
//! earlier than in the record: how far a task gets before it yields depends on the scheduler of the day. What the
//! program does differently beyond that is never answered, and told as a [`Difference`].

use crate::record::{Record, What, without_passwords};
use signin::io::{Io, Now, Operation, Outcome, Pending};
use signin::report::Event;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::mem::discriminant;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Plays a record back.
#[derive(Debug)]
pub struct Replay {
    record: Record,
    /// Where each question ended or was given up.
    endings: HashMap<u64, usize>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The first entry that is not over yet.
    next: usize,
    /// Entries that were played, some of them ahead of `next`.
    played: Vec<bool>,
    /// Questions before `next` that can still be asked: they were passed over, or given up ahead of their end.
    open: Vec<usize>,
    /// Microseconds since the start.
    now: u64,
    /// Who waits for the outcome of which question.
    waiting: HashMap<u64, Waker>,
    /// What the program did and the record does not have, and where the record stood.
    strays: Vec<(usize, String)>,
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
        let endings = record.entries.iter().enumerate().filter_map(|(at, entry)| match entry.what {
            What::Ended { id, .. } | What::GaveUp { id } => Some((id, at)),
            _ => None,
        });
        let endings = endings.collect();
        let played = vec![false; record.entries.len()];
        let state = State { next: 0, played, open: Vec::new(), now: 0, waiting: HashMap::new(), strays: Vec::new() };
        let replay = Replay { record, endings, state: Mutex::new(state) };
        replay.advance(&mut replay.state());
        replay
    }

    /// Whether the program did everything that the record has. To be asked when the program is over.
    pub fn finished(&self) -> bool {
        self.state().next >= self.record.entries.len()
    }

    /// What the program did differently, when it is over or [`Stuck`]; `None` when it did everything as recorded.
    pub fn difference(&self) -> Option<Difference> {
        let state = self.state();
        let end = self.record.entries.len();
        // Strays before the end of a record that was played to its end did no harm.
        let mut strays = state.strays.iter().filter(|(at, _)| state.next < end || *at == end);
        let found = match strays.next() {
            Some((_, stray)) => stray.clone(),
            None if state.next < end => "never comes to that".to_owned(),
            None => return None,
        };
        let expected = match self.record.entries.get(state.next).map(|entry| &entry.what) {
            Some(What::Asked { operation, .. }) => format!("the question {operation:?}"),
            Some(What::Ended { id, .. }) => format!("the outcome of question {id}"),
            Some(What::Random { bytes }) => format!("a draw of {} random bytes", bytes.len()),
            Some(other) => format!("{other:?}"),
            None => "not there (the record ends)".to_owned(),
        };
        Some(Difference { entry: state.next, expected, found })
    }

    /// The part of the record that was played; all of it when [`Replay::finished`]. A ladder drawn from it is that of the
    /// replayed program.
    pub fn played(&self) -> Record {
        let entries = self.record.entries.iter().take(self.state().next).cloned().collect();
        Record { header: self.record.header.clone(), entries, truncated: self.record.truncated }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plays the first entry that fits and was not played: of those to come, and of the questions passed over whose end
    /// is still to come.
    fn play<T>(&self, fits: impl Fn(&What) -> Option<T>, stray: impl FnOnce() -> String) -> Option<(usize, T)> {
        let mut state = self.state();
        let State { next, played, open, .. } = &mut *state;
        let ends_later = |at: &usize| match self.record.entries.get(*at).map(|entry| &entry.what) {
            Some(What::Asked { id, .. }) => self.endings.get(id).is_none_or(|end| *end >= *next),
            _ => false,
        };
        open.retain(ends_later);
        let to_come = (*next..played.len()).filter(|at| !played[*at]);
        let mut possible = open.iter().copied().chain(to_come);
        let fitting = possible.find_map(|at| Some((at, fits(&self.record.entries.get(at)?.what)?)));
        match &fitting {
            Some((at, _)) => {
                state.open.retain(|open| open != at);
                state.mark(*at, true);
                self.advance(&mut state);
            }
            None => {
                let at = state.next;
                state.strays.push((at, stray()));
            }
        }
        fitting
    }

    /// Whether a question of the record was given up; then it need not be asked, as that depends on the scheduler.
    fn was_given_up(&self, id: u64) -> bool {
        let end = self.endings.get(&id).and_then(|at| self.record.entries.get(*at));
        end.is_some_and(|entry| matches!(entry.what, What::GaveUp { .. }))
    }

    /// Moves on over what was played and what need not be, and wakes who waits for the outcome that comes then.
    fn advance(&self, state: &mut State) {
        while let Some(entry) = self.record.entries.get(state.next) {
            let over = state.is_played(state.next)
                || match &entry.what {
                    What::GaveUp { .. } | What::Full {} => true,
                    What::Asked { id, .. } => self.was_given_up(*id),
                    What::Ended { .. } | What::Random { .. } | What::Told(_) => false,
                };
            if !over {
                if let What::Ended { id, .. } = &entry.what
                    && let Some(waker) = state.waiting.remove(id)
                {
                    waker.wake();
                }
                return;
            }
            if matches!(entry.what, What::Asked { .. }) && !state.is_played(state.next) {
                state.open.push(state.next);
            }
            state.now = state.now.max(entry.t);
            state.next += 1;
        }
    }
}

impl State {
    fn is_played(&self, at: usize) -> bool {
        self.played.get(at).copied().unwrap_or(false)
    }

    fn mark(&mut self, at: usize, played: bool) {
        if let Some(mark) = self.played.get_mut(at) {
            *mark = played;
        }
    }
}

impl Io for Replay {
    fn perform(&self, operation: Operation) -> Pending<'_, Outcome> {
        let asked = without_passwords(operation);
        let same = |what: &What| match what {
            What::Asked { id, operation } if *operation == asked => Some(*id),
            _ => None,
        };
        let question = self.play(same, || format!("asks {asked:?}"));
        Box::pin(Played { replay: self, question })
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
            Some((_, recorded)) => bytes.copy_from_slice(&recorded),
            None => bytes.fill(0),
        }
    }

    /// Words need not be the same, as they may contain times; but it must be the same kind of event.
    fn note(&self, event: Event) {
        let same =
            |what: &What| matches!(what, What::Told(told) if discriminant(told) == discriminant(&event)).then_some(());
        self.play(same, || format!("says {event:?}"));
    }
}

/// A question under way: its place in the record and its number. `None` when the record does not have it; then it is
/// never answered.
struct Played<'a> {
    replay: &'a Replay,
    question: Option<(usize, u64)>,
}

impl Future for Played<'_> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let Some((_, wanted)) = self.question else { return Poll::Pending };
        let replay = self.replay;
        let mut state = replay.state();
        let at = state.next;
        match replay.record.entries.get(at).map(|entry| &entry.what) {
            Some(What::Ended { id, outcome }) if *id == wanted => {
                state.mark(at, true);
                replay.advance(&mut state);
                drop(state);
                self.question = None;
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
    /// A question that is given up although the record has its outcome can be asked again: it may have come ahead of
    /// its time. When it is not, the replay stops before that outcome.
    fn drop(&mut self) {
        let Some((at, given_up)) = self.question else { return };
        let mut state = self.replay.state();
        state.waiting.remove(&given_up);
        state.mark(at, false);
        if at < state.next {
            state.open.push(at);
        }
        if !self.replay.was_given_up(given_up) {
            let next = state.next;
            state.strays.push((next, format!("gives up question {given_up}")));
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
