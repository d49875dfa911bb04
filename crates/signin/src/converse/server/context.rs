//! Requests on their way: who asked, which endpoints were asked, and the best answer so far. RFC 3261 §16.2, §16.7.

use super::Caller;
use crate::converse::message::Place;
use crate::io::ConnId;
use crate::outgoing::Hop;
use crate::reply::{Diagnostics, Reply};
use sip::transaction::ServerKey;
use std::collections::{BTreeSet, HashMap};
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

/// The response contexts of one server. Each has a number, and is found by the branches it was sent on under, by the
/// transaction it came in, and by the connection it came over.
#[derive(Debug, Default)]
pub(super) struct ResponseContexts {
    contexts: HashMap<u64, ResponseContext>,
    last: u64,
    by_branch: HashMap<Box<str>, u64>,
    by_key: HashMap<(ConnId, ServerKey), u64>,
    by_conn: HashMap<ConnId, BTreeSet<u64>>,
}

impl ResponseContexts {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.contexts.len()
    }

    /// How many of one connection there are.
    pub(super) fn len_of_connection(&self, conn: ConnId) -> usize {
        self.by_conn.get(&conn).map_or(0, BTreeSet::len)
    }

    /// Takes a new one in.
    pub(super) fn begin(&mut self, context: ResponseContext) {
        self.last += 1;
        let number = self.last;
        self.by_key.insert(context.key.clone(), number);
        self.by_conn.entry(context.key.0).or_default().insert(number);
        self.by_branch.extend(context.branches.iter().map(|branch| (branch.id.clone(), number)));
        self.contexts.insert(number, context);
    }

    /// The one that was sent on under this branch.
    pub(super) fn of_branch(&self, id: &str) -> Option<u64> {
        self.by_branch.get(id).copied()
    }

    /// The one that came in this transaction.
    pub(super) fn of_key(&self, key: &(ConnId, ServerKey)) -> Option<u64> {
        self.by_key.get(key).copied()
    }

    /// Those that came over this connection.
    pub(super) fn of_connection(&self, conn: ConnId) -> BTreeSet<u64> {
        self.by_conn.get(&conn).cloned().unwrap_or_default()
    }

    /// Those that have waited long enough, the oldest first.
    pub(super) fn late(&self, now: Duration) -> Vec<u64> {
        let late = self.contexts.iter().filter(|(_, context)| context.until <= now);
        let mut late: Vec<u64> = late.map(|(number, _)| *number).collect();
        late.sort_unstable();
        late
    }

    /// The one of that number.
    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut ResponseContext> {
        self.contexts.get_mut(&number)
    }

    /// Forgets one.
    pub(super) fn forget(&mut self, number: u64) {
        let Some(context) = self.contexts.remove(&number) else { return };
        for branch in &context.branches {
            self.by_branch.remove(&branch.id);
        }
        let conn = context.key.0;
        self.by_key.remove(&context.key);
        if let Some(numbers) = self.by_conn.get_mut(&conn) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_conn.remove(&conn);
            }
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
