//! Where services send: a queue of bytes per connection, emptied by the connection's own task.
//!
//! Everything queued while a task handles what it read goes out in one write. So eight requests that arrive together
//! are answered by one write, and a notification caused by another connection wakes the task exactly once.

use futures_util::task::AtomicWaker;
use signin::io::ConnId;
use signin::service::Wire;
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

/// The table of connections is split by number, so that threads rarely wait for one another.
const SHARDS: usize = 16;

/// Bytes of answers that are written before the next request is looked at: a peer that asks and does not read shall
/// wait, not pile up answers.
const HEAVY: usize = 32 * 1024;

/// The open connections of a server, over all its listeners. Cheap to share: `Arc<Wires>`.
#[derive(Debug, Default)]
pub struct Wires {
    next: AtomicU64,
    shards: [Mutex<HashMap<ConnId, Arc<Outbox>>>; SHARDS],
}

impl Wires {
    /// No connections yet.
    pub fn new() -> Wires {
        Wires::default()
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Enters a new connection, of which at most `limit` bytes may be queued.
    pub(super) fn enter(&self, limit: usize) -> (ConnId, Arc<Outbox>) {
        let conn = ConnId(self.next.fetch_add(1, Ordering::Relaxed) + 1);
        let outbox = Arc::new(Outbox::new(limit));
        lock(self.shard(conn)).insert(conn, outbox.clone());
        (conn, outbox)
    }

    /// Forgets a connection that is gone.
    pub(super) fn remove(&self, conn: ConnId) {
        lock(self.shard(conn)).remove(&conn);
    }

    fn outbox(&self, conn: ConnId) -> Option<Arc<Outbox>> {
        lock(self.shard(conn)).get(&conn).cloned()
    }

    fn shard(&self, conn: ConnId) -> &Mutex<HashMap<ConnId, Arc<Outbox>>> {
        &self.shards[conn.0 as usize % SHARDS]
    }
}

impl Wire for Wires {
    fn send(&self, conn: ConnId, bytes: Vec<u8>) {
        if let Some(outbox) = self.outbox(conn) {
            outbox.push(bytes);
        }
    }

    fn close(&self, conn: ConnId) {
        if let Some(outbox) = self.outbox(conn) {
            outbox.close();
        }
    }

    fn proven(&self, conn: ConnId) {
        if let Some(outbox) = self.outbox(conn) {
            outbox.proven.store(true, Ordering::Relaxed);
        }
    }
}

/// What waits to be written on one connection.
#[derive(Debug)]
pub(super) struct Outbox {
    limit: usize,
    queue: Mutex<Queue>,
    task: AtomicWaker,
    /// Who is at the other end has proven who they are.
    proven: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Bytes taken out and not yet written.
    writing: usize,
    /// The task is awake and will look here before it sleeps: nobody needs to wake it.
    attended: bool,
    closing: bool,
    overflowed: bool,
}

/// What the task has to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Write these bytes.
    Write(Vec<u8>),
    /// Nothing; the next [`Outbox::push`] wakes the task.
    Rest,
    /// Everything is written and the service wants the connection closed.
    Close,
    /// The peer does not read.
    Overflow,
}

impl Outbox {
    fn new(limit: usize) -> Outbox {
        Outbox {
            limit,
            queue: Mutex::new(Queue { attended: true, ..Queue::default() }),
            task: AtomicWaker::new(),
            proven: AtomicBool::new(false),
        }
    }

    fn push(&self, bytes: Vec<u8>) {
        let mut queue = lock(&self.queue);
        if queue.closing || queue.overflowed {
            return;
        }
        if queue.writing + queue.bytes.len() + bytes.len() > self.limit {
            queue.overflowed = true;
            queue.bytes = Vec::new();
            drop(queue);
            self.task.wake();
            return;
        }
        if queue.bytes.is_empty() {
            queue.bytes = bytes;
        } else {
            queue.bytes.extend_from_slice(&bytes);
        }
        self.wake_unless_attended(queue);
    }

    /// What is queued is still written; nothing more is accepted.
    pub(super) fn close(&self) {
        let mut queue = lock(&self.queue);
        queue.closing = true;
        self.wake_unless_attended(queue);
    }

    fn wake_unless_attended(&self, mut queue: MutexGuard<'_, Queue>) {
        let asleep = !std::mem::replace(&mut queue.attended, true);
        drop(queue);
        if asleep {
            self.task.wake();
        }
    }

    /// Says that the task is awake and will ask for [`Outbox::next`] before it sleeps.
    pub(super) fn attend(&self) {
        lock(&self.queue).attended = true;
    }

    /// What to do next; what was taken before counts as written now.
    pub(super) fn next(&self) -> Next {
        let mut queue = lock(&self.queue);
        queue.writing = 0;
        if queue.overflowed {
            return Next::Overflow;
        }
        if queue.bytes.is_empty() {
            queue.attended = queue.closing;
            return if queue.closing { Next::Close } else { Next::Rest };
        }
        queue.writing = queue.bytes.len();
        Next::Write(std::mem::take(&mut queue.bytes))
    }

    /// Whether the peer has proven who it is.
    pub(super) fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }

    /// Whether so much is queued that it should be written before more is made.
    pub(super) fn is_heavy(&self) -> bool {
        lock(&self.queue).bytes.len() >= HEAVY
    }

    pub(super) fn is_closing(&self) -> bool {
        let queue = lock(&self.queue);
        queue.closing || queue.overflowed
    }

    /// Resolves when something was queued or closed since [`Outbox::next`] said [`Next::Rest`].
    pub(super) async fn woken(&self) {
        self.until(|queue| queue.attended || queue.overflowed).await;
    }

    /// Resolves when more was queued than the peer may leave unread.
    pub(super) async fn overflow(&self) {
        self.until(|queue| queue.overflowed).await;
    }

    async fn until(&self, happened: impl Fn(&Queue) -> bool) {
        poll_fn(|cx| {
            self.task.register(cx.waker());
            if happened(&lock(&self.queue)) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_together_is_written_together() {
        let wires = Wires::new();
        let (conn, outbox) = wires.enter(100);
        wires.send(conn, b"one ".to_vec());
        wires.send(conn, b"two".to_vec());
        assert_eq!(outbox.next(), Next::Write(b"one two".to_vec()));
        assert_eq!(outbox.next(), Next::Rest);
    }

    #[test]
    fn closing_writes_first_and_accepts_no_more() {
        let wires = Wires::new();
        let (conn, outbox) = wires.enter(100);
        wires.send(conn, b"bye".to_vec());
        wires.close(conn);
        wires.send(conn, b"too late".to_vec());
        assert_eq!(outbox.next(), Next::Write(b"bye".to_vec()));
        assert_eq!(outbox.next(), Next::Close);
    }

    #[test]
    fn bytes_being_written_count_against_the_limit() {
        let wires = Wires::new();
        let (conn, outbox) = wires.enter(10);
        wires.send(conn, vec![b'x'; 6]);
        assert!(matches!(outbox.next(), Next::Write(_)));
        wires.send(conn, vec![b'x'; 5]);
        assert_eq!(outbox.next(), Next::Overflow);
    }

    #[test]
    fn a_connection_that_is_gone_is_no_error() {
        let wires = Wires::new();
        let (conn, _) = wires.enter(10);
        wires.remove(conn);
        wires.send(conn, vec![1]);
        wires.close(conn);
        assert_eq!(wires.open_connections(), 0);
    }

    #[tokio::test]
    async fn a_sleeping_task_is_woken_once() {
        let wires = Wires::new();
        let (conn, outbox) = wires.enter(100);
        assert_eq!(outbox.next(), Next::Rest);
        wires.send(conn, b"a".to_vec());
        wires.send(conn, b"b".to_vec());
        outbox.woken().await;
        assert_eq!(outbox.next(), Next::Write(b"ab".to_vec()));
        assert_eq!(outbox.next(), Next::Rest);
        let again = tokio::time::timeout(std::time::Duration::from_millis(20), outbox.woken()).await;
        assert!(again.is_err(), "nothing was sent since");
    }
}
