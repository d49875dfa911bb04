//! What a server tells of itself, for its log, its metrics or a record. Peers never see any of it.

use crate::io::ConnId;
use crate::name::Aor;
use crate::register::endpoint::InstanceId;
use crate::register::message::RegisterAction;
use crate::reply::Diagnostics;
use crate::topology::HostPort;
use std::fmt;
use std::net::SocketAddr;

/// Takes note of what a server does: its log, its metrics, a record.
pub trait Journal: Send + Sync {
    /// One thing that happened at the server of this name.
    fn note(&self, fqdn: &str, event: &ServerEvent);
}

/// Something that happened. What peers must not learn (why credentials were refused) is only here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerEvent {
    /// A request was answered with a challenge or a refusal for a reason that stays here.
    Refused {
        /// Where the request came from.
        remote: SocketAddr,
        /// Why.
        why: String,
    },
    /// An endpoint was bound.
    Registered {
        /// Whose.
        aor: Aor,
        /// Which.
        instance: InstanceId,
        /// New, refreshed or fixed.
        action: RegisterAction,
    },
    /// A user was sent to another server.
    Redirected {
        /// Who.
        aor: Aor,
        /// Where to, best first.
        to: Vec<HostPort>,
    },
    /// A proven user was turned away.
    TurnedAway {
        /// Who.
        aor: Aor,
        /// Status code.
        code: u16,
        /// Error id and reason.
        diagnostics: Option<Diagnostics>,
    },
    /// An endpoint is no longer bound: un-registered, expired, put out, or its connection is gone.
    Gone {
        /// Whose.
        aor: Aor,
        /// Which.
        instance: InstanceId,
    },
    /// A stream that is not SIP was closed.
    Garbled {
        /// Which connection.
        conn: ConnId,
        /// What was wrong.
        why: String,
    },
    /// The directory or the verifier did not answer.
    Unavailable {
        /// What it said.
        why: String,
    },
}

impl fmt::Display for ServerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerEvent::Refused { remote, why } => write!(f, "refused {remote}: {why}"),
            ServerEvent::Registered { aor, instance, action } => {
                write!(f, "registered {aor} ({instance}): {}", action.as_str())
            }
            ServerEvent::Redirected { aor, to } => {
                let to: Vec<String> = to.iter().map(ToString::to_string).collect();
                write!(f, "redirected {aor} to {}", to.join(", then "))
            }
            ServerEvent::TurnedAway { aor, code, diagnostics } => {
                write!(f, "turned {aor} away with {code}")?;
                match diagnostics {
                    Some(why) => write!(f, " ({} {})", why.id, why.reason),
                    None => Ok(()),
                }
            }
            ServerEvent::Gone { aor, instance } => write!(f, "{aor} ({instance}) is gone"),
            ServerEvent::Garbled { conn, why } => write!(f, "connection {} is not SIP: {why}", conn.0),
            ServerEvent::Unavailable { why } => write!(f, "{why}"),
        }
    }
}
