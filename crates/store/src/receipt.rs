//! The promise of an answer: what a caller holds while its write waits for the commit.
//!
//! It can be awaited by a server on any runtime, or waited for by a plain program, so that administration needs none.

use signin::directory::DirectoryError;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The outcome of a write, once it is durable. Dropping it does not call the write back.
#[must_use = "the write is not known to be durable before its receipt was awaited"]
pub struct Receipt<T, E> {
    slot: Arc<Slot<T, E>>,
}

/// The other end: answers exactly one [`Receipt`].
pub(crate) struct Reply<T, E> {
    slot: Arc<Slot<T, E>>,
}

struct Slot<T, E> {
    state: Mutex<State<T, E>>,
    changed: Condvar,
}

enum State<T, E> {
    Waiting(Option<Waker>),
    Answered(Result<T, E>),
    /// The writer went away without an answer, or the answer was already taken.
    Closed,
}

/// A reply and the receipt it answers.
pub(crate) fn pair<T, E>() -> (Reply<T, E>, Receipt<T, E>) {
    let slot = Arc::new(Slot { state: Mutex::new(State::Waiting(None)), changed: Condvar::new() });
    (Reply { slot: slot.clone() }, Receipt { slot })
}

impl<T, E> Slot<T, E> {
    fn lock(&self) -> MutexGuard<'_, State<T, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, state: State<T, E>) {
        let before = std::mem::replace(&mut *self.lock(), state);
        self.changed.notify_all();
        if let State::Waiting(Some(waker)) = before {
            waker.wake();
        }
    }
}

impl<T, E> Reply<T, E> {
    pub(crate) fn send(self, answer: Result<T, E>) {
        self.slot.change(State::Answered(answer));
    }
}

impl<T, E> Drop for Reply<T, E> {
    fn drop(&mut self) {
        let waiting = matches!(*self.slot.lock(), State::Waiting(_));
        if waiting {
            self.slot.change(State::Closed);
        }
    }
}

impl<T, E: From<DirectoryError>> Receipt<T, E> {
    /// Blocks this thread until the write is durable or refused. Not for use on a runtime's threads.
    pub fn wait(self) -> Result<T, E> {
        let mut state = self.slot.lock();
        loop {
            match std::mem::replace(&mut *state, State::Closed) {
                State::Answered(answer) => return answer,
                State::Closed => return Err(closed()),
                waiting @ State::Waiting(_) => *state = waiting,
            }
            state = self.slot.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T, E: From<DirectoryError>> Future for Receipt<T, E> {
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, E>> {
        let mut state = self.slot.lock();
        match std::mem::replace(&mut *state, State::Closed) {
            State::Answered(answer) => Poll::Ready(answer),
            State::Closed => Poll::Ready(Err(closed())),
            State::Waiting(_) => {
                *state = State::Waiting(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

fn closed<E: From<DirectoryError>>() -> E {
    DirectoryError::failed("the store was closed before the change was made".to_owned()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn an_answer_wakes_the_task_that_awaits_it() {
        let (reply, receipt) = pair::<u32, DirectoryError>();
        let mut receipt = Box::pin(receipt);
        let counter = Arc::new(Counter::default());
        let waker = Waker::from(counter.clone());
        let mut context = Context::from_waker(&waker);
        assert_eq!(receipt.as_mut().poll(&mut context), Poll::Pending);
        reply.send(Ok(7));
        assert_eq!(counter.0.load(Ordering::SeqCst), 1);
        assert_eq!(receipt.as_mut().poll(&mut context), Poll::Ready(Ok(7)));
        assert!(matches!(receipt.as_mut().poll(&mut context), Poll::Ready(Err(_))));
    }

    #[test]
    fn an_answer_ends_the_wait_of_a_thread() {
        let (reply, receipt) = pair::<u32, DirectoryError>();
        let waiter = std::thread::spawn(move || receipt.wait());
        reply.send(Ok(7));
        assert_eq!(waiter.join().expect("no panic"), Ok(7));
    }

    #[test]
    fn a_reply_that_is_dropped_is_an_error_and_not_silence() {
        let (reply, receipt) = pair::<u32, DirectoryError>();
        drop(reply);
        assert!(receipt.wait().is_err());
    }
}
