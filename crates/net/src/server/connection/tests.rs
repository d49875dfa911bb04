//! What cannot be seen from the other end of a socket: how often we write, and what stays allocated.

use super::{BATCH, Connection, kept};
use crate::server::sip::{Desk, SipLimits};
use crate::server::tls::Security;
use crate::server::wires::Wires;
use signin::io::{ConnId, Pending};
use signin::service::{SipService, Wire};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};

/// Answers each message at once, `ok` after `ok`.
struct Agreeing(Arc<Wires>);

impl SipService for Agreeing {
    fn opened(&self, _: ConnId, _: SocketAddr, _: SocketAddr) {}

    fn received(self: Arc<Self>, conn: ConnId, _: &[u8]) -> Option<Pending<'static, ()>> {
        self.0.send(conn, b"ok".to_vec());
        None
    }

    fn garbled(&self, _: ConnId, _: sip::framing::FramingError) {}

    fn kept_alive(&self, _: ConnId) {}

    fn closed(self: Arc<Self>, _: ConnId) -> Option<Pending<'static, ()>> {
        None
    }

    fn tick(self: Arc<Self>) -> Option<Pending<'static, ()>> {
        None
    }
}

/// Counts what is written.
struct Counted {
    stream: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A served connection: the peer's end, the wires, the count of writes.
fn served() -> (DuplexStream, Arc<Wires>, Arc<AtomicUsize>) {
    let wires = Arc::new(Wires::new());
    let service = Arc::new(Agreeing(wires.clone()));
    let desk = Arc::new(Desk::new(Security::Plain, service, wires.clone(), SipLimits::default()));
    let (peer, stream) = tokio::io::duplex(2 * BATCH);
    let writes = Arc::<AtomicUsize>::default();
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let connection = Connection::new(desk, Counted { stream, writes: writes.clone() }, nowhere, nowhere);
    tokio::spawn(connection.serve());
    (peer, wires, writes)
}

async fn answers(peer: &mut DuplexStream, count: usize) {
    let mut answers = vec![0; 2 * count];
    peer.read_exact(&mut answers).await.expect("it answers");
    assert_eq!(answers, b"ok".repeat(count));
}

#[tokio::test]
async fn eight_requests_that_arrive_together_are_answered_by_one_write() {
    let (mut peer, wires, writes) = served();
    let message = format!("REGISTER sip:contoso.test SIP/2.0\r\nX: {}\r\n\r\n", "x".repeat(911 - 42));
    assert_eq!(message.len(), 911);
    peer.write_all(message.repeat(8).as_bytes()).await.expect("open");
    answers(&mut peer, 8).await;
    assert_eq!(writes.load(Ordering::Relaxed), 1);
    // As many as fit into one batch, which is larger for who has proven something: still one.
    wires.proven(ConnId(1));
    peer.write_all(message.repeat(64).as_bytes()).await.expect("open");
    answers(&mut peer, 64).await;
    assert_eq!(writes.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn what_others_send_together_is_one_write() {
    let (mut peer, wires, writes) = served();
    tokio::task::yield_now().await;
    (0..10).for_each(|_| wires.send(ConnId(1), b"ok".to_vec()));
    answers(&mut peer, 10).await;
    assert_eq!(writes.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_last_request_is_answered_though_its_sender_has_stopped_sending() {
    let (mut peer, wires, _) = served();
    peer.write_all(b"BYE a SIP/2.0\r\n\r\nBYE b SIP/2.0\r\n\r\nhalf of").await.expect("open");
    peer.shutdown().await.expect("open");
    let mut all = String::new();
    peer.read_to_string(&mut all).await.expect("it answers");
    assert_eq!(all, "okok");
    tokio::task::yield_now().await;
    assert_eq!(wires.open_connections(), 0);
}

#[test]
fn nothing_stays_allocated_between_messages() {
    assert_eq!(kept(vec![1; 1000], 1000).capacity(), 0);
    let rest = kept(vec![1; 60_000], 59_990);
    assert_eq!(rest.len(), 10);
    assert!(rest.capacity() <= 4096, "{}", rest.capacity());
    assert_eq!(kept(vec![1, 2, 3], 1), [2, 3]);
}

#[tokio::test]
async fn an_idle_connection_is_small() {
    let wires = Arc::new(Wires::new());
    let service = Arc::new(Agreeing(wires.clone()));
    let desk = Arc::new(Desk::new(Security::Plain, service, wires.clone(), SipLimits::default()));
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let (_, stream) = tokio::io::duplex(16);
    let served = Connection::new(desk, Box::new(stream), nowhere, nowhere).serve();
    let size = size_of_val(&served);
    assert!(size <= 512, "{size} bytes");
}
