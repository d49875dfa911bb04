//! Nobody waits for ever. Directory, store and verifier have limits of time of their own; should they fail, this one holds.
//!
//! A server has no clock that wakes it: it is called every second, and then wakes those who have waited too long.

use super::FrontEnd;
use crate::directory::DirectoryError;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

/// Who waits until when.
#[derive(Default)]
pub(super) struct Waiting(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    wakers: BTreeMap<(Duration, u64), Waker>,
    next: u64,
}

impl Waiting {
    fn with<T>(&self, act: impl FnOnce(&mut Queue) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Wakes those whose time is over.
    pub(super) fn wake(&self, now: Duration) {
        let late = self.with(|queue| {
            let later = queue.wakers.split_off(&(now, u64::MAX));
            std::mem::replace(&mut queue.wakers, later)
        });
        late.into_values().for_each(Waker::wake);
    }
}

/// A place in the queue, left when it is dropped.
struct Place<'a> {
    waiting: &'a Waiting,
    key: (Duration, u64),
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.with(|queue| queue.wakers.remove(&self.key));
    }
}

impl FrontEnd {
    /// The answer, unless it takes too long.
    pub(super) async fn in_time<T>(&self, answering: impl Future<Output = T>) -> Option<T> {
        let mut answering = pin!(answering);
        let mut place = None;
        poll_fn(|context| {
            if let Poll::Ready(answer) = answering.as_mut().poll(context) {
                return Poll::Ready(Some(answer));
            }
            let now = self.now();
            let place = place.get_or_insert_with(|| {
                let key = self.waiting.with(|queue| {
                    queue.next += 1;
                    (now + self.settings.answer_limit, queue.next)
                });
                Place { waiting: &self.waiting, key }
            });
            if place.key.0 <= now {
                return Poll::Ready(None);
            }
            self.waiting.with(|queue| queue.wakers.insert(place.key, context.waker().clone()));
            Poll::Pending
        })
        .await
    }

    /// What the directory says, or that it says nothing.
    pub(super) async fn answered_in_time<T, E: From<DirectoryError>>(
        &self,
        answering: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        match self.in_time(answering).await {
            Some(answer) => answer,
            None => Err(self.too_late().into()),
        }
    }

    /// The trouble of a directory that says nothing.
    pub(super) fn too_late(&self) -> DirectoryError {
        DirectoryError::unreachable(format!("not a word within {:?}", self.settings.answer_limit))
    }
}
