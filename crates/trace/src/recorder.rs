//! An [`Io`] that lets everything pass to another one and writes it down.

use crate::record::{Entry, Header, Record, SCHEMA, What, without_passwords};
use signin::io::{Io, Now, Operation, Outcome, Pending};
use signin::report::Event;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

/// Stands between a sign-in and its world.
///
/// Time stands still between two questions or outcomes: [`Io::now`] gives the time of the latest one. A replay can then
/// give the same times, however fast it runs.
#[derive(Debug)]
pub struct Recorder<I> {
    world: I,
    began: Duration,
    /// Bytes, about; `None` without bound.
    bound: Option<usize>,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    record: Record,
    asked: u64,
    /// Microseconds since the start, of the latest question or outcome.
    now: u64,
    size: usize,
    full: bool,
}

impl<I: Io> Recorder<I> {
    /// Begins a record. `program` is name and version of this program.
    pub fn new(world: I, address: &str, program: &str) -> Recorder<I> {
        let now = world.now();
        let header = Header {
            schema: SCHEMA,
            address: address.to_owned(),
            started: now.unix_seconds,
            program: program.to_owned(),
        };
        let record = Record { header, entries: Vec::new(), truncated: false };
        let written = Written { record, asked: 0, now: 0, size: 0, full: false };
        Recorder { world, began: now.since_start, bound: None, written: Mutex::new(written) }
    }

    /// Stops writing (not the sign-in) when the record has about this many bytes.
    pub fn bounded(self, bytes: usize) -> Recorder<I> {
        Recorder { bound: Some(bytes), ..self }
    }

    /// What was written so far.
    pub fn record(&self) -> Record {
        self.written().record.clone()
    }

    /// Ends the record.
    pub fn finish(self) -> Record {
        self.written.into_inner().unwrap_or_else(PoisonError::into_inner).record
    }

    /// The world behind it.
    pub fn world(&self) -> &I {
        &self.world
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        // A record whose writer panicked half-way through one entry is still a record.
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down a question or an outcome, which move the time on.
    fn write_now(&self, what: impl FnOnce(&mut Written) -> What) {
        let now = self.world.now().since_start.saturating_sub(self.began);
        let mut written = self.written();
        written.now = written.now.max(u64::try_from(now.as_micros()).unwrap_or(u64::MAX));
        let what = what(&mut written);
        written.push(what, self.bound);
    }

    /// Writes down what happens between two of them.
    fn write(&self, what: What) {
        self.written().push(what, self.bound);
    }
}

impl Written {
    fn push(&mut self, what: What, bound: Option<usize>) {
        if self.full {
            return;
        }
        self.size += size(&what);
        self.full = bound.is_some_and(|bound| self.size > bound);
        let what = if self.full { What::Full {} } else { what };
        self.record.entries.push(Entry { t: self.now, what });
    }
}

impl<I: Io> Io for Recorder<I> {
    fn perform(&self, operation: Operation) -> Pending<'_, Outcome> {
        let noted = without_passwords(operation.clone());
        // The world is asked first: it may do its work right here, and that belongs before the time of the question.
        let answer = self.world.perform(operation);
        let mut number = 0;
        self.write_now(|written| {
            number = written.asked;
            written.asked += 1;
            What::Asked { id: number, operation: noted }
        });
        Box::pin(Watched { recorder: self, id: number, answer, ended: false })
    }

    fn now(&self) -> Now {
        let written = self.written();
        let since_start = Duration::from_micros(written.now);
        let seconds = i64::try_from(since_start.as_secs()).unwrap_or(i64::MAX);
        Now { since_start, unix_seconds: written.record.header.started.saturating_add(seconds) }
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        self.world.fill_random(bytes);
        self.write(What::Random { bytes: bytes.to_vec() });
    }

    fn note(&self, event: Event) {
        self.write(What::Told(event.clone()));
        self.world.note(event);
    }
}

/// An operation under way; its outcome is written down when the sign-in takes it.
struct Watched<'a, I: Io> {
    recorder: &'a Recorder<I>,
    id: u64,
    answer: Pending<'a, Outcome>,
    ended: bool,
}

impl<I: Io> Future for Watched<'_, I> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let polled = self.answer.as_mut().poll(context);
        if let Poll::Ready(outcome) = &polled {
            self.ended = true;
            let (id, outcome) = (self.id, outcome.clone());
            self.recorder.write_now(|_| What::Ended { id, outcome });
        }
        polled
    }
}

impl<I: Io> Drop for Watched<'_, I> {
    fn drop(&mut self) {
        if !self.ended {
            self.recorder.write(What::GaveUp { id: self.id });
        }
    }
}

/// Bytes an entry takes in the file, about: its payload and something for the rest.
fn size(what: &What) -> usize {
    let headers = |headers: &[(String, String)]| headers.iter().map(|(n, v)| n.len() + v.len() + 8).sum::<usize>();
    let payload = match what {
        What::Asked { operation: Operation::Send { bytes, .. }, .. } => bytes.len(),
        What::Asked { operation: Operation::Exchange { request, .. }, .. } => {
            request.path.len() + headers(&request.headers) + request.body.len()
        }
        What::Ended { outcome: Outcome::Received(Ok(bytes)), .. } => bytes.0.len(),
        What::Ended { outcome: Outcome::Answered(Ok(response)), .. } => {
            headers(&response.headers) + response.body.len()
        }
        What::Ended { outcome: Outcome::Secured(Ok(session)), .. } => {
            session.chain.iter().map(|der| der.len() * 4 / 3).sum()
        }
        What::Random { bytes } => bytes.len() * 4 / 3,
        _ => 0,
    };
    payload + 160
}
