//! What a server tells of itself, for its log, its metrics or a record. Peers never see any of it.

use crate::io::ConnId;
use crate::legible::steers;
use crate::name::Aor;
use crate::register::endpoint::InstanceId;
use crate::register::message::{Deregistration, RegisterAction};
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
    /// A user's registrations were ended, since he is not to stay.
    PutOut {
        /// Who.
        aor: Aor,
        /// Why.
        why: Deregistration,
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
            ServerEvent::Refused { remote, why } => write!(f, "refused {remote}: {}", Harmless(why)),
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
            ServerEvent::PutOut { aor, why } => write!(f, "put {aor} out: {}", why.body()),
            ServerEvent::Garbled { conn, why } => write!(f, "connection {} is not SIP: {}", conn.0, Harmless(why)),
            ServerEvent::Unavailable { why } => Harmless(why).fmt(f),
        }
    }
}

/// Longest text of a peer in one event, in characters.
const LONGEST: usize = 500;

/// Words that may hold what a peer wrote, names of accounts above all: they cannot begin a line of their own in a log, steer
/// a terminal, or fill a disk.
struct Harmless<'a>(&'a str);

impl fmt::Display for Harmless<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars().take(LONGEST) {
            if steers(c) { write!(f, "{}", c.escape_unicode())? } else { write!(f, "{c}")? }
        }
        if self.0.chars().nth(LONGEST).is_some() { f.write_str("…") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_peers_write_cannot_pass_for_something_else() {
        let remote = SocketAddr::from(([192, 0, 2, 1], 5061));
        let told = |why: &str| ServerEvent::Refused { remote, why: why.to_owned() }.to_string();
        assert_eq!(
            told("no account is called CONTOSO\\zoë"),
            "refused 192.0.2.1:5061: no account is called CONTOSO\\zoë"
        );
        assert_eq!(
            told("no account is called x\r\nregistered boss\u{1b}[2J\u{202e}"),
            "refused 192.0.2.1:5061: no account is called x\\u{d}\\u{a}registered boss\\u{1b}[2J\\u{202e}"
        );
        assert!(told(&"x".repeat(70_000)).chars().count() < 600);
        let why = "a\nb".to_owned();
        assert_eq!(ServerEvent::Unavailable { why: why.clone() }.to_string(), "a\\u{a}b");
        assert!(!ServerEvent::Garbled { conn: ConnId(1), why }.to_string().contains('\n'));
    }
}
