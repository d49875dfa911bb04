//! Which response belongs to which request, and which requests are being served, over reliable transports. RFC 3261 §17.
//!
//! A client's table holds the requests that wait for their final response, each with a deadline. Its key is the Call-ID and the whole CSeq, because clients of the Microsoft family write no branch
//! and their servers match as they do; a branch that *is* there has to agree (§17.1.3).
//!
//! A server names a request by branch, sent-by and method when the branch has the magic cookie, and otherwise by Call-ID,
//! CSeq and From tag (§17.2.3): so ACK and CANCEL find their INVITE.
//!
//! Time is the caller's: a [`Duration`] since any moment it likes, the same moment throughout.
//!
//! Omitted: sending again (TCP and TLS deliver), and with it timers A, D, E, G, H, I, J and K and answers kept for requests
//! that come again; ACK for a 2xx is no part of a transaction.

use crate::header::{CSeq, HeaderError, NameAddr, Via};
use crate::message::Message;
use crate::name::Name;
use std::collections::HashMap;
use std::time::Duration;

/// How long a client waits for a final response unless it knows better: timers B and F, 64 · T1 (§17.1.1.2, §17.1.2.2).
pub const RESPONSE_LIMIT: Duration = Duration::from_secs(32);

/// What a branch begins with when it names a transaction. §8.1.1.7.
pub const MAGIC_COOKIE: &str = "z9hG4bK";

/// Names a client transaction the way its responses do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientKey {
    /// Call-ID as written; it is compared byte by byte (§20.8).
    pub call_id: String,
    /// CSeq with one space and no leading zeros: `3 REGISTER`.
    pub cseq: String,
}

impl ClientKey {
    /// The key of a request, or of the request that a response answers.
    pub fn of(message: &Message<'_>) -> Result<ClientKey, HeaderError> {
        let cseq = value(message, Name::CSeq)?;
        let CSeq { number, method } = CSeq::parse(&cseq)?;
        Ok(ClientKey { call_id: value(message, Name::CallId)?, cseq: format!("{number} {method}") })
    }
}

/// The requests of a client that wait for their final response.
#[derive(Debug)]
pub struct ClientTransactions {
    pending: HashMap<ClientKey, Pending>,
    limit: usize,
}

#[derive(Debug)]
struct Pending {
    branch: Option<String>,
    deadline: Duration,
}

/// Why a request was not taken into the table; it must not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotBegun {
    /// It cannot be told which responses would be its own.
    #[error(transparent)]
    Unnamed(#[from] HeaderError),
    /// A request with this Call-ID and CSeq waits already.
    #[error("a request with the same Call-ID and CSeq waits for its response")]
    AlreadyPending,
    /// So many wait that something must be wrong.
    #[error("{limit} requests wait for their responses already")]
    TooMany {
        /// The limit the table was made with.
        limit: usize,
    },
}

/// What a response is to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 1xx: the request still waits.
    Provisional(ClientKey),
    /// 2xx to 6xx: the request has ended.
    Final(ClientKey),
}

impl ClientTransactions {
    /// An empty table for at most `limit` requests at a time.
    pub fn new(limit: usize) -> ClientTransactions {
        ClientTransactions { pending: HashMap::new(), limit }
    }

    /// Takes in a request that is about to be sent. What answers it after `deadline` is a stray.
    pub fn begin(&mut self, request: &Message<'_>, deadline: Duration) -> Result<(), NotBegun> {
        let key = ClientKey::of(request)?;
        if self.pending.contains_key(&key) {
            return Err(NotBegun::AlreadyPending);
        }
        if self.pending.len() >= self.limit {
            return Err(NotBegun::TooMany { limit: self.limit });
        }
        let pending = Pending { branch: top_branch(request)?, deadline };
        self.pending.insert(key, pending);
        Ok(())
    }

    /// Finds the request that a response answers. `None` for a stray: late, repeated, or never asked for. §17.1.3, §18.1.2.
    pub fn answered(&mut self, response: &Message<'_>) -> Option<Answer> {
        let status = response.status()?;
        let key = ClientKey::of(response).ok()?;
        let sent = self.pending.get(&key)?.branch.as_deref();
        // Either side may leave the branch out; two that differ are two transactions.
        let returned = top_branch(response).ok()?;
        if let (Some(sent), Some(returned)) = (sent, &returned)
            && sent != returned
        {
            return None;
        }
        if status < 200 {
            return Some(Answer::Provisional(key));
        }
        self.pending.remove(&key);
        Some(Answer::Final(key))
    }

    /// Forgets every request whose deadline is over (§8.1.3.1).
    pub fn expire(&mut self, now: Duration) {
        self.pending.retain(|_, pending| pending.deadline > now);
    }
}

/// Names a server transaction. Of one connection: keys of several connections may be equal when there is no branch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerKey(Identity);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Identity {
    /// The topmost Via names the transaction.
    Branch { branch: String, sent_by: String, method: String },
    /// The request names itself.
    Headers { call_id: String, number: u32, method: String, from_tag: String },
}

impl ServerKey {
    /// The key of a request. An ACK has the key of its INVITE.
    pub fn of(request: &Message<'_>) -> Result<ServerKey, HeaderError> {
        match request.method() {
            Some("ACK") => identity(request, Some("INVITE")),
            _ => identity(request, None),
        }
    }

    /// The key of the INVITE that a CANCEL is meant for. §9.2.
    pub fn cancelled_by(cancel: &Message<'_>) -> Result<ServerKey, HeaderError> {
        identity(cancel, Some("INVITE"))
    }
}

fn identity(request: &Message<'_>, method: Option<&str>) -> Result<ServerKey, HeaderError> {
    let cseq = value(request, Name::CSeq)?;
    let cseq = CSeq::parse(&cseq)?;
    let method = method.unwrap_or(cseq.method).to_owned();
    let via = value(request, Name::Via)?;
    let via = topmost(&via)?;
    let identity = match branch_of(&via) {
        Some(branch) => {
            // A sent-by without a port means the transport's own; hosts are compared without regard to case.
            let port = via.port.unwrap_or(if via.transport.eq_ignore_ascii_case("TLS") { 5061 } else { 5060 });
            Identity::Branch { branch, sent_by: format!("{}:{port}", via.host.to_ascii_lowercase()), method }
        }
        None => {
            let from = value(request, Name::From)?;
            let from_tag = NameAddr::parse(&from)?.params.get("tag").unwrap_or_default().to_owned();
            Identity::Headers { call_id: value(request, Name::CallId)?, number: cseq.number, method, from_tag }
        }
    };
    Ok(ServerKey(identity))
}

/// The first header of that name on one line.
fn value(message: &Message<'_>, name: Name) -> Result<String, HeaderError> {
    let header = message.headers().iter().find(|header| header.name == name);
    header
        .map(|header| header.unfolded().into_owned())
        .ok_or(HeaderError { header: name.as_str(), why: "it is missing" })
}

fn topmost(value: &str) -> Result<Via<'_>, HeaderError> {
    Via::parse(crate::header::split_list(value).next().unwrap_or_default())
}

/// The branch of the topmost Via, when it names a transaction.
fn top_branch(message: &Message<'_>) -> Result<Option<String>, HeaderError> {
    Ok(branch_of(&topmost(&value(message, Name::Via)?)?))
}

/// A branch that is the cookie alone names nothing (RFC 4475 §3.2.1).
fn branch_of(via: &Via<'_>) -> Option<String> {
    let branch = via.params.get("branch")?;
    let cookie = branch.get(..MAGIC_COOKIE.len())?.eq_ignore_ascii_case(MAGIC_COOKIE);
    (cookie && branch.len() > MAGIC_COOKIE.len()).then(|| branch.to_owned())
}

#[cfg(test)]
mod tests;
