//! The servers' doors: what `net` calls when bytes arrive, and what the servers ask of it. The mirror image of
//! [`crate::io`]. Implementations make every protocol decision; `net` makes none.

use crate::io::{ConnId, HttpRequest, HttpResponse, Now, Pending};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What counts as one address where somebody's share is limited: with IPv6 everybody has a network of 64 bits to choose
/// from, and an IPv4 address may come as an IPv6 one.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        address => address,
    }
}

/// Time and randomness of a server.
pub trait Surroundings: Send + Sync {
    /// What time it is.
    fn now(&self) -> Now;

    /// Fills `bytes` with randomness fit for keys.
    fn fill_random(&self, bytes: &mut [u8]);
}

/// Where a server's bytes go. Sending never waits: a peer that does not read is closed when too much is queued.
pub trait Wire: Send + Sync {
    /// Queues bytes for a connection; a connection that is gone is no error.
    fn send(&self, conn: ConnId, bytes: Vec<u8>);

    /// Closes a connection after what is queued has been written.
    fn close(&self, conn: ConnId);

    /// Who is at the other end has proven who they are: from now on the connection may cost more.
    fn proven(&self, _conn: ConnId) {}
}

/// A server that speaks SIP over connections it is told about.
pub trait SipService: Send + Sync {
    /// A connection was accepted and its TLS handshake is done.
    fn opened(&self, conn: ConnId, remote: SocketAddr, local: SocketAddr);

    /// One whole message arrived. What cannot be answered at once is returned as a future; the messages of one
    /// connection are handled in order, so the next one waits for it.
    fn received(self: Arc<Self>, conn: ConnId, message: &[u8]) -> Option<Pending<'static, ()>>;

    /// The stream cannot be cut into messages. The connection is closed after this call.
    fn garbled(&self, conn: ConnId, error: sip::framing::FramingError);

    /// A keep-alive arrived (CR LF between messages).
    fn kept_alive(&self, conn: ConnId);

    /// The connection is gone. Telling others about it may take a future.
    fn closed(self: Arc<Self>, conn: ConnId) -> Option<Pending<'static, ()>>;

    /// Called about every second: time for closing idle connections and for waking whoever has waited too long. The future
    /// is a sweep; while one is under way the next is not begun.
    fn tick(self: Arc<Self>) -> Option<Pending<'static, ()>>;
}

/// Web services, as one listener offers them.
pub trait HttpService: Send + Sync {
    /// A connection was accepted. NTLM authenticates connections, so each has its own conversation.
    fn conversation(self: Arc<Self>, remote: SocketAddr) -> Box<dyn HttpConversation>;
}

/// The requests of one HTTP connection, in order.
pub trait HttpConversation: Send {
    /// Answers one request. The body is at most as long as the listener allows.
    fn answer(&mut self, request: HttpRequest) -> Pending<'_, HttpResponse>;
}

/// A service that answers each request by itself, over UDP and TCP: a KDC. RFC 4120 §7.2.
pub trait RequestService: Send + Sync {
    /// Answers one request. `limit` is the most bytes the answer may have: that of a datagram.
    fn answer(&self, request: &[u8], limit: Option<usize>) -> Vec<u8>;
}
