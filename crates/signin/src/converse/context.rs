//! One request on its way: who asked, which endpoints were asked, and the best answer so far. RFC 3261 §16.2, §16.7.

use super::message::Place;
use super::server::Caller;
use crate::io::ConnId;
use crate::outgoing::Hop;
use crate::reply::{Diagnostics, Reply};
use sip::transaction::ServerKey;
use std::time::Duration;

/// What RFC 3261 §16.2 calls a response context.
#[derive(Debug)]
pub(super) struct ResponseContext {
    /// Who gets the answer.
    pub(super) caller: Caller,
    /// Which of his transactions it is.
    pub(super) key: (ConnId, ServerKey),
    /// Via, From, To, Call-ID and CSeq of the request, as a message.
    pub(super) asked: Vec<u8>,
    /// It is an INVITE: it can be called off, and a 200 that comes too late has to be ended.
    pub(super) is_invite: bool,
    /// `P-Asserted-Identity` of whoever is asked.
    pub(super) callee: String,
    /// The same of the caller.
    pub(super) identity: String,
    pub(super) branches: Vec<Branch>,
    /// The best refusal so far.
    pub(super) best: Option<Refusal>,
    /// The caller has the final answer, or is gone.
    pub(super) answered: bool,
    /// The caller has called it off.
    pub(super) cancelled: bool,
    /// When waiting ends.
    pub(super) until: Duration,
}

/// One endpoint asked.
#[derive(Debug, Clone)]
pub(super) struct Branch {
    pub(super) id: Box<str>,
    pub(super) place: Place,
    /// No final response has come.
    pub(super) pending: bool,
    /// A CANCEL went there.
    pub(super) cancelled: bool,
    /// Provisional responses passed on.
    pub(super) provisional: u8,
}

/// Why somebody did not accept.
#[derive(Debug)]
pub(super) enum Refusal {
    /// An endpoint said so.
    Endpoint { code: u16, bytes: Vec<u8>, hop: Hop, place: Place },
    /// This server says so.
    Own(Reply),
}

impl Refusal {
    fn code(&self) -> u16 {
        match self {
            Refusal::Endpoint { code, .. } => *code,
            Refusal::Own(reply) => reply.code,
        }
    }

    /// Lower is better: 6xx first, then the lower class; and in a class, who decided before who was not there.
    fn rank(&self) -> (u16, bool, u16) {
        let code = self.code();
        let class = if code >= 600 { 0 } else { code / 100 };
        (class, matches!(code, 408 | 480 | 487), code)
    }
}

impl ResponseContext {
    /// The branch of that name, if it is one of these.
    pub(super) fn branch(&mut self, id: &str) -> Option<&mut Branch> {
        self.branches.iter_mut().find(|branch| &*branch.id == id)
    }

    /// Whether every endpoint has answered.
    pub(super) fn is_complete(&self) -> bool {
        self.branches.iter().all(|branch| !branch.pending)
    }

    /// Takes a refusal in; the best one stays.
    pub(super) fn refused(&mut self, refusal: Refusal) {
        if self.best.as_ref().is_none_or(|best| refusal.rank() < best.rank()) {
            self.best = Some(refusal);
        }
    }
}

/// The one refusal for every user who cannot be reached, whatever the reason: signed out, connection lost, or the sender is
/// blocked. `[MS-OCER]` has 1006 for connections; for users who are signed out it has nothing, and telling blocked senders
/// apart would tell them.
pub(super) fn nobody_there() -> Reply {
    let why = Diagnostics::internal(1006, "No endpoint of the user can be reached");
    Reply::new(480, "Temporarily Unavailable").because(why)
}

/// Nobody answered in time.
pub(super) fn timed_out() -> Reply {
    Reply::new(408, "Request Timeout").because(Diagnostics::internal(1006, "No endpoint answered in time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_decided_counts_more_than_who_was_not_there() {
        let refusal = |code| Refusal::Own(Reply::new(code, "x"));
        let best = |codes: &[u16]| {
            let refusals: Vec<Refusal> = codes.iter().copied().map(refusal).collect();
            refusals.iter().min_by_key(|refusal| refusal.rank()).map(Refusal::code)
        };
        assert_eq!(best(&[480, 486]), Some(486));
        assert_eq!(best(&[486, 603]), Some(603));
        assert_eq!(best(&[500, 408]), Some(408));
        assert_eq!(best(&[415, 302]), Some(302));
        assert_eq!(best(&[488, 415]), Some(415));
    }
}
