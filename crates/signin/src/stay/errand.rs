//! Work beside the endpoint's own connection that may be called off: a certificate's renewal, an attempt to sign in again.

use crate::io::{ConnId, Io, Now, Operation, Outcome, Pending};
use crate::report::Event;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The door for such work: it knows which connections were opened through it, for whoever drops the work's future drops
/// the knowledge of them with it.
pub(super) struct Errand<'a> {
    io: &'a dyn Io,
    open: Mutex<BTreeSet<ConnId>>,
}

impl<'a> Errand<'a> {
    pub(super) fn new(io: &'a dyn Io) -> Errand<'a> {
        Errand { io, open: Mutex::default() }
    }

    /// Closes what the work has left open. Its future is gone already.
    pub(super) async fn call_off(&self) {
        let open = std::mem::take(&mut *self.open());
        for conn in open {
            self.io.close(conn).await;
        }
    }

    fn open(&self) -> MutexGuard<'_, BTreeSet<ConnId>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Io for Errand<'_> {
    fn perform(&self, operation: Operation) -> Pending<'_, Outcome> {
        let closing = match &operation {
            Operation::Close { conn } => Some(*conn),
            _ => None,
        };
        Box::pin(async move {
            let outcome = self.io.perform(operation).await;
            if let Outcome::Connected(Ok(connected)) = &outcome {
                self.open().insert(connected.conn);
            }
            // Only now: a close that is given up half way is made again.
            if let Some(conn) = closing {
                self.open().remove(&conn);
            }
            outcome
        })
    }

    fn now(&self) -> Now {
        self.io.now()
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        self.io.fill_random(bytes);
    }

    fn note(&self, event: Event) {
        self.io.note(event);
    }
}
