//! What passes between two servers of a deployment for the sake of a conversation, and which requests are part of one.

use crate::name::Aor;
use crate::outgoing::Hop;
use crate::register::endpoint::InstanceId;
use sip::{CSeq, Message, Name, NameAddr, Uri};
use std::sync::Arc;

/// One endpoint of one user, wherever it is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// The user.
    pub aor: Aor,
    /// The device.
    pub instance: InstanceId,
}

/// An endpoint, and the server that holds its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// FQDN of the server.
    pub server: Arc<str>,
    /// The endpoint.
    pub endpoint: Endpoint,
}

/// What one server asks of another. Nothing in it refers to memory of either: bytes, names, and the branch by which both know
/// the transaction (RFC 3261 §17.1.3).
#[derive(Debug, Clone)]
pub enum Errand {
    /// Send this request to an endpoint of yours. What it answers is wanted, unless the request is an ACK.
    Request {
        /// Branch of the topmost Via.
        branch: Box<str>,
        /// FQDN of the server that wants the answers.
        origin: Arc<str>,
        /// Who sent it, proven.
        from: Endpoint,
        /// Whom it is for.
        to: Endpoint,
        /// The request, unsigned; the Request-URI is still the sender's.
        bytes: Vec<u8>,
    },
    /// Call that INVITE off, if it has not been answered.
    Cancel {
        /// Branch of the INVITE.
        branch: Box<str>,
        /// The CANCEL, unsigned.
        bytes: Vec<u8>,
    },
    /// What the endpoint answered.
    Response {
        /// Branch of the request.
        branch: Box<str>,
        /// The connection it came over.
        hop: Hop,
        /// The response as received.
        bytes: Vec<u8>,
    },
    /// The endpoint cannot be reached, or not any more.
    Lost {
        /// Branch of the request.
        branch: Box<str>,
    },
}

/// Methods that servers carry from one endpoint to another.
const CARRIED: [&str; 7] = ["INVITE", "ACK", "BYE", "CANCEL", "MESSAGE", "INFO", "UPDATE"];

/// `Allow` of whoever carries conversations.
pub const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, MESSAGE, INFO, UPDATE, OPTIONS";

/// Whether a request of `sender` is part of a conversation. OPTIONS is when it is for somebody else, or in a dialog.
pub fn is_conversational(request: &Message<'_>, sender: &Aor) -> bool {
    match request.method() {
        Some("OPTIONS") => {
            let uri = request.request_uri().and_then(|uri| Uri::parse(uri).ok());
            let names_somebody =
                uri.is_some_and(|uri| uri.user.is_some() || uri.params.get("ms-received-cid").is_some());
            names_somebody && request.request_uri().and_then(|uri| Aor::from_uri(uri).ok()).as_ref() != Some(sender)
                || tag(request, Name::To).is_some()
        }
        Some(method) => CARRIED.contains(&method) || method == "REFER",
        None => false,
    }
}

/// The tag of From or To.
pub(super) fn tag<'a>(message: &Message<'a>, name: Name) -> Option<&'a str> {
    NameAddr::parse(message.header(name)?).ok()?.params.get("tag")
}

/// The number in CSeq; 1 where there is none that can be read.
pub(super) fn number_of(message: &Message<'_>) -> u32 {
    message.header(Name::CSeq).and_then(|value| CSeq::parse(value).ok()).map_or(1, |cseq| cseq.number)
}
