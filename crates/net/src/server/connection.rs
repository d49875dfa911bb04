//! One SIP connection: read what is there, hand over each message in order, write all answers at once, sleep.
//!
//! While it sleeps, a connection holds no buffer: bytes are read into a scratch area of the thread, and kept only when
//! a message is not whole yet.

use crate::server::sip::Desk;
use crate::server::strangers::Share;
use crate::server::wires::{Next, Outbox};
use ::sip::framing::{Cut, Framer};
use futures_util::poll;
use signin::io::{ConnId, Pending};
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

/// Size of a thread's scratch area: one full TLS record.
const SCRATCH: usize = 16 * 1024;

/// Reading pauses for handling after this many bytes, so that one busy peer does not keep others waiting.
const BATCH: usize = 64 * 1024;

/// What a connection may keep allocated for the rest of a message when most of it has been handled.
const KEPT: usize = 4 * 1024;

/// Longest goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

thread_local! {
    static AREA: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// The connection is over; the reason was told where it was found.
struct Over;

/// A connection whose handshake is done.
pub(super) struct Connection<S> {
    stream: S,
    presence: Presence,
    /// Received and not yet handled: nothing, or the beginning of a message.
    received: Vec<u8>,
    /// What is known of that beginning, so that a slow sender does not have it searched again with every byte.
    framer: Framer,
    /// What is held of it, until the peer has proven who it is.
    share: Share,
}

/// The connection as service and wires know it; they are told when it is gone, however it goes.
struct Presence {
    desk: Arc<Desk>,
    conn: ConnId,
    outbox: Arc<Outbox>,
}

impl Presence {
    /// Waits for the peer to take something. Nearly always the kernel takes everything at once: a timer, and memory
    /// for waiting, are only spent when it does not.
    async fn soon<T>(&self, writing: impl Future<Output = io::Result<T>>) -> Result<T, Over> {
        let mut writing = pin!(writing);
        let written = match poll!(&mut writing) {
            Poll::Ready(written) => written,
            Poll::Pending => Box::pin(self.patiently(writing)).await?,
        };
        written.map_err(|_| Over)
    }

    async fn patiently<T>(&self, writing: impl Future<Output = T>) -> Result<T, Over> {
        tokio::select! {
            biased;
            written = timeout(self.desk.limits.stalled, writing) => {
                written.map_err(|_| self.unread("its peer has not read for too long"))
            }
            () = self.outbox.overflow() => Err(self.unread("too much waits for a peer that does not read")),
        }
    }

    fn unread(&self, reason: &str) -> Over {
        tracing::info!(conn = self.conn.0, "closed: {reason}");
        Over
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.desk.wires.remove(self.conn);
        self.desk.left(self.conn);
        let telling = self.desk.service.clone().closed(self.conn);
        // Without a runtime the whole program is ending, and with it whoever could be told.
        if let (Some(telling), Ok(runtime)) = (telling, tokio::runtime::Handle::try_current()) {
            runtime.spawn(telling);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(desk: Arc<Desk>, stream: S, remote: SocketAddr, local: SocketAddr) -> Connection<S> {
        let (conn, outbox) = desk.wires.enter(desk.limits.queued);
        desk.entered(conn);
        desk.service.opened(conn, remote, local);
        let share = desk.strangers.share(remote.ip());
        Connection {
            stream,
            presence: Presence { desk, conn, outbox },
            received: Vec::new(),
            framer: Framer::default(),
            share,
        }
    }

    /// Serves until either side has enough.
    pub(super) async fn serve(mut self) {
        // `Over` says only that there is nothing more to do.
        let _: Result<(), Over> = self.converse().await;
        let _ = timeout(GOODBYE, self.stream.shutdown()).await;
    }

    async fn converse(&mut self) -> Result<(), Over> {
        loop {
            self.flush().await?;
            let Connection { stream, presence, received, .. } = self;
            let arrival = poll_fn(|cx| {
                let batch = if presence.outbox.is_proven() { BATCH } else { SCRATCH };
                poll_arrival(Pin::new(&mut *stream), cx, received, batch)
            });
            let ended = tokio::select! {
                biased;
                ended = arrival => ended,
                () = presence.outbox.woken() => continue,
            };
            self.presence.outbox.attend();
            self.handle().await?;
            if ended {
                return self.flush().await;
            }
        }
    }

    /// Hands over every whole message received.
    async fn handle(&mut self) -> Result<(), Over> {
        let (desk, conn) = (self.presence.desk.clone(), self.presence.conn);
        let received = std::mem::take(&mut self.received);
        let mut rest = received.as_slice();
        while !rest.is_empty() && !self.presence.outbox.is_closing() {
            let proven = self.presence.outbox.is_proven();
            let limits = if proven { &desk.limits.framing } else { &desk.limits.strangers };
            match self.framer.cut(rest, limits) {
                Ok(Cut::Message { length }) => {
                    let (message, after) = rest.split_at(length);
                    rest = after;
                    if let Some(mut answering) = desk.service.clone().received(conn, message)
                        && poll!(&mut answering).is_pending()
                    {
                        Box::pin(self.wait_for(answering)).await?;
                    }
                    if self.presence.outbox.is_heavy() {
                        Box::pin(self.flush()).await?;
                        self.presence.outbox.attend();
                    }
                }
                Ok(Cut::KeepAlive { length }) => {
                    rest = &rest[length..];
                    desk.service.kept_alive(conn);
                }
                Ok(Cut::Incomplete) => break,
                Err(error) => {
                    desk.service.garbled(conn, error);
                    self.presence.outbox.close();
                }
            }
        }
        let handled = received.len() - rest.len();
        self.received = kept(received, handled);
        let held = if self.presence.outbox.is_proven() { 0 } else { self.received.capacity() };
        if !self.share.hold(held) {
            tracing::info!(conn = self.presence.conn.0, "closed: too much of strangers' messages is held already");
            return Err(Over);
        }
        Ok(())
    }

    /// Waits for an answer that takes time; what others send on this connection meanwhile is written at once. The
    /// service's work is finished even when the connection ends first.
    async fn wait_for(&mut self, mut answering: Pending<'static, ()>) -> Result<(), Over> {
        loop {
            if let Err(over) = self.flush().await {
                answering.await;
                return Err(over);
            }
            tokio::select! {
                biased;
                () = &mut answering => break,
                () = self.presence.outbox.woken() => {}
            }
        }
        self.presence.outbox.attend();
        Ok(())
    }

    /// Writes what is queued, until nothing is.
    async fn flush(&mut self) -> Result<(), Over> {
        loop {
            match self.presence.outbox.next() {
                Next::Write(bytes) => self.write(&bytes).await?,
                Next::Rest => return Ok(()),
                Next::Close => return Err(Over),
                Next::Overflow => return Err(self.presence.unread("too much waits for a peer that does not read")),
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Over> {
        let Connection { stream, presence, .. } = self;
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = presence.soon(stream.write(rest)).await?;
            rest = rest.get(written..).filter(|_| written > 0).ok_or(Over)?;
        }
        presence.soon(stream.flush()).await
    }
}

/// Reads all there is, up to about `batch` bytes; ready with whether the stream has ended. What was read before the end counts.
fn poll_arrival<S: AsyncRead>(
    mut stream: Pin<&mut S>,
    cx: &mut Context<'_>,
    into: &mut Vec<u8>,
    batch: usize,
) -> Poll<bool> {
    AREA.with_borrow_mut(|area| {
        let before = into.len();
        loop {
            let mut buffer = ReadBuf::new(area);
            match stream.as_mut().poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => into.extend_from_slice(buffer.filled()),
                // An error is an end too: nobody could do more about it than to forget the connection.
                Poll::Ready(_) => return Poll::Ready(true),
                Poll::Pending if into.len() > before => return Poll::Ready(false),
                Poll::Pending => return Poll::Pending,
            }
            if into.len() - before >= batch {
                return Poll::Ready(false);
            }
        }
    })
}

/// The beginning of a message that is not whole yet; nothing stays allocated when there is none.
fn kept(mut received: Vec<u8>, handled: usize) -> Vec<u8> {
    if handled == received.len() {
        return Vec::new();
    }
    if handled > 0 {
        received.drain(..handled);
        received.shrink_to(KEPT);
    }
    received
}

#[cfg(test)]
mod tests;
