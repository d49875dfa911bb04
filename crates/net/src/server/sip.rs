//! SIP listeners. Which messages mean what, whom to answer and when to hang up is the service's business.

use crate::server::accept::{ListenerLimits, Serving, Visitor, start};
use crate::server::connection::Connection;
use crate::server::strangers::{HeldLimits, Strangers};
use crate::server::tls::{Secured, Security};
use crate::server::wires::Wires;
use signin::io::ConnId;
use signin::service::{SipService, Wire};
use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;

/// How much one SIP connection may cost.
#[derive(Debug, Clone, Copy)]
pub struct SipLimits {
    /// Of the listener.
    pub listener: ListenerLimits,
    /// Of one message, once somebody on the connection has proven who they are.
    pub framing: ::sip::framing::Limits,
    /// Of one message before that. Tokens stand in the head; bodies are hardly needed.
    pub strangers: ::sip::framing::Limits,
    /// What is held of such messages while they are not whole.
    pub held: HeldLimits,
    /// Bytes that may wait for a peer that does not read.
    pub queued: usize,
    /// Longest time a peer may take nothing of what waits for it.
    pub stalled: Duration,
}

impl Default for SipLimits {
    /// Messages as [`sip::framing::Limits`] has them, of strangers with bodies of 64 KiB; 4 MiB queued, 30 s stalled.
    fn default() -> SipLimits {
        SipLimits {
            listener: ListenerLimits::default(),
            framing: ::sip::framing::Limits::default(),
            strangers: ::sip::framing::Limits { body: 64 * 1024, ..::sip::framing::Limits::default() },
            held: HeldLimits::default(),
            queued: 4 * 1024 * 1024,
            stalled: Duration::from_secs(30),
        }
    }
}

/// Serves SIP on `listener` until the [`Serving`] is stopped or dropped. Several listeners may share a service and its
/// `wires`; the service's `tick` is called each second by each of them.
pub fn serve_sip(
    listener: TcpListener,
    security: impl Into<Security>,
    service: Arc<dyn SipService>,
    wires: Arc<Wires>,
    limits: SipLimits,
) -> io::Result<Serving> {
    let desk = Arc::new(Desk::new(security.into(), service.clone(), wires, limits));
    let closing = desk.clone();
    let receive = move |visitor| welcome(desk.clone(), visitor);
    start(listener, limits.listener, receive, move || service.clone().tick(), move || closing.close())
}

/// What the connections of one listener share.
pub(super) struct Desk {
    security: Security,
    pub(super) service: Arc<dyn SipService>,
    pub(super) wires: Arc<Wires>,
    pub(super) limits: SipLimits,
    pub(super) strangers: Arc<Strangers>,
    open: Mutex<Open>,
}

/// The connections of this listener, so that stopping costs them nothing while they run.
#[derive(Default)]
struct Open {
    connections: HashSet<ConnId>,
    closed: bool,
}

impl Desk {
    pub(super) fn new(security: Security, service: Arc<dyn SipService>, wires: Arc<Wires>, limits: SipLimits) -> Desk {
        Desk { security, service, wires, limits, strangers: Strangers::new(limits.held), open: Mutex::default() }
    }

    /// A connection begins; when the listener has stopped meanwhile, it ends at once.
    pub(super) fn entered(&self, conn: ConnId) {
        let mut open = self.open();
        open.connections.insert(conn);
        if open.closed {
            self.wires.close(conn);
        }
    }

    /// A connection is gone.
    pub(super) fn left(&self, conn: ConnId) {
        self.open().connections.remove(&conn);
    }

    /// Closes all connections once what is queued for them has been written.
    fn close(&self) {
        let mut open = self.open();
        open.closed = true;
        for conn in &open.connections {
            self.wires.close(*conn);
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shakes hands and serves. Both parts are boxed: the handshake's state is freed before an idle connection is kept.
async fn welcome(desk: Arc<Desk>, visitor: Visitor) {
    let Visitor { stream, remote, local, mut stop, admission } = visitor;
    let shaken = tokio::select! {
        shaken = Box::pin(desk.security.accept(stream, desk.limits.listener.handshake)) => shaken,
        () = Box::pin(stop.requested()) => return,
    };
    match shaken {
        Ok(Secured::Plain(stream)) => Box::pin(Connection::new(desk, stream, remote, local).serve()).await,
        Ok(Secured::Modern(stream)) => Box::pin(Connection::new(desk, stream, remote, local).serve()).await,
        Ok(Secured::Legacy(stream)) => Box::pin(Connection::new(desk, stream, remote, local).serve()).await,
        Err(error) => tracing::debug!(%remote, %error, "TLS handshake failed"),
    }
    drop(admission);
}
