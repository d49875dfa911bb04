//! The handshakes under way at one server: what each waits for, how many there may be, and when they are over.
//! `[MS-SIPAE]` §3.3.2.
//!
//! Nobody who takes part in one is proven yet. So each belongs to the connection it was begun on, has its time, and counts
//! against three limits: of its connection, of the network it comes from, and of all.

use super::claim::Claim;
use super::message::Version;
use super::offer::Keys;
use crate::io::ConnId;
use crate::service::network_of;
use mechanism::ntlm::Acceptor;
use mechanism::tls_dsk::ServerHandshake;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

/// The far end of the connection that a request came over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The connection.
    pub conn: ConnId,
    /// Its address.
    pub address: IpAddr,
}

impl Peer {
    fn network(&self) -> IpAddr {
        network_of(self.address)
    }
}

/// A handshake under way.
pub(super) struct Handshake {
    pub(super) peer: Peer,
    pub(super) claim: Claim,
    pub(super) awaits: Awaits,
    /// When it has to be over.
    pub(super) until: Duration,
}

/// What a handshake waits for.
pub(super) enum Awaits {
    /// NTLM: the AUTHENTICATE to this CHALLENGE.
    Answer(Box<Acceptor>),
    /// TLS-DSK: the next flight.
    Flight(Box<ServerHandshake>),
    /// TLS-DSK: a message signed with these keys.
    Signature { keys: Box<Keys>, version: Option<Version> },
}

/// How many there may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct HandshakeLimits {
    pub(super) of_connection: usize,
    pub(super) of_network: usize,
    pub(super) of_all: usize,
}

/// All of them.
pub(super) struct Handshakes {
    limits: HandshakeLimits,
    by_opaque: HashMap<String, Handshake>,
    of_connection: HashMap<ConnId, Vec<String>>,
    of_network: HashMap<IpAddr, usize>,
    /// When they end, soonest first.
    due: BTreeSet<(Duration, String)>,
}

impl Handshakes {
    pub(super) fn new(limits: HandshakeLimits) -> Handshakes {
        Handshakes {
            limits,
            by_opaque: HashMap::new(),
            of_connection: HashMap::new(),
            of_network: HashMap::new(),
            due: BTreeSet::new(),
        }
    }

    /// Whether this peer has to wait before it begins another.
    pub(super) fn is_full(&self, peer: Peer) -> bool {
        let here = self.of_connection.get(&peer.conn).map_or(0, Vec::len);
        let from_there = self.of_network.get(&peer.network()).copied().unwrap_or(0);
        here >= self.limits.of_connection
            || from_there >= self.limits.of_network
            || self.by_opaque.len() >= self.limits.of_all
    }

    pub(super) fn contains(&self, opaque: &str) -> bool {
        self.by_opaque.contains_key(opaque)
    }

    pub(super) fn awaits_signature(&self, opaque: &str) -> bool {
        self.by_opaque.get(opaque).is_some_and(|handshake| matches!(handshake.awaits, Awaits::Signature { .. }))
    }

    pub(super) fn keep(&mut self, opaque: String, handshake: Handshake) {
        self.of_connection.entry(handshake.peer.conn).or_default().push(opaque.clone());
        *self.of_network.entry(handshake.peer.network()).or_default() += 1;
        self.due.insert((handshake.until, opaque.clone()));
        self.by_opaque.insert(opaque, handshake);
    }

    /// Takes one out, over the connection it was begun on alone: nobody else can go on with it, or end it.
    pub(super) fn take(&mut self, peer: Peer, opaque: &str) -> Option<Handshake> {
        self.by_opaque.get(opaque).filter(|handshake| handshake.peer.conn == peer.conn)?;
        self.forget(opaque)
    }

    fn forget(&mut self, opaque: &str) -> Option<Handshake> {
        let handshake = self.by_opaque.remove(opaque)?;
        self.due.remove(&(handshake.until, opaque.to_owned()));
        let Peer { conn, .. } = handshake.peer;
        if let Some(list) = self.of_connection.get_mut(&conn) {
            list.retain(|other| other != opaque);
            if list.is_empty() {
                self.of_connection.remove(&conn);
            }
        }
        let network = handshake.peer.network();
        if let Some(count) = self.of_network.get_mut(&network) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.of_network.remove(&network);
            }
        }
        Some(handshake)
    }

    /// Ends those of a closed connection.
    pub(super) fn closed(&mut self, conn: ConnId) {
        for opaque in self.of_connection.get(&conn).cloned().unwrap_or_default() {
            self.forget(&opaque);
        }
    }

    /// Ends those whose time is over.
    pub(super) fn sweep(&mut self, now: Duration) {
        while self.due.first().is_some_and(|(until, _)| *until <= now) {
            let Some((_, opaque)) = self.due.pop_first() else { break };
            self.forget(&opaque);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_opaque.len()
    }

    /// Whether nothing at all is remembered, of connections and networks neither.
    #[cfg(test)]
    pub(super) fn nothing_is_left(&self) -> bool {
        self.by_opaque.is_empty() && self.of_connection.is_empty() && self.of_network.is_empty() && self.due.is_empty()
    }
}
