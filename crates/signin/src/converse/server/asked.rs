//! The server of whoever is asked: it sends requests to its endpoints, for other servers or for itself, and hands back what
//! they answer. Of each it keeps where it went and for whom. RFC 3261 §17.1.

use super::dialogs::DialogId;
use super::forward;
use super::{Act, LINGER, Proxy};
use crate::converse::message::{Endpoint, Errand, number_of, tag};
use crate::io::ConnId;
use crate::outgoing::Hop;
use crate::register::location::Binding;
use sip::{CSeq, Message, Name};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// A request that went to an endpoint of this server, for another server or this one.
#[derive(Debug)]
struct Asked {
    conn: ConnId,
    opaque: Box<str>,
    /// Where it went: Request-URI of what follows it.
    contact: Box<str>,
    origin: Arc<str>,
    from: Endpoint,
    to: Endpoint,
    call_id: String,
    from_tag: String,
    number: u32,
    method: String,
    until: Duration,
}

impl Asked {
    /// Whether a response answers this: same transaction, same connection. RFC 3261 §17.1.3.
    fn is_answered_by(&self, conn: ConnId, response: &Message<'_>) -> bool {
        let cseq = response.header(Name::CSeq).and_then(|value| CSeq::parse(value).ok());
        self.conn == conn
            && cseq.is_some_and(|cseq| cseq.number == self.number && cseq.method == self.method)
            && response.header(Name::CallId) == Some(&self.call_id)
            && tag(response, Name::From).unwrap_or_default() == self.from_tag
    }
}

/// Every request that an endpoint of this server has not answered, by its branch.
#[derive(Debug, Default)]
pub(super) struct AskedRequests {
    by_branch: HashMap<Box<str>, Asked>,
    by_conn: HashMap<ConnId, BTreeSet<Box<str>>>,
}

impl AskedRequests {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_branch.len()
    }

    fn get(&self, branch: &str) -> Option<&Asked> {
        self.by_branch.get(branch)
    }

    /// How many wait for the answer of this connection, and how many of them are of this sender.
    fn waiting(&self, conn: ConnId, sender: &Endpoint) -> (usize, usize) {
        let waiting = self.by_conn.get(&conn).into_iter().flatten();
        waiting.fold((0, 0), |(all, of_sender), branch| {
            let is_his = self.get(branch).is_some_and(|asked| asked.from.aor == sender.aor);
            (all + 1, of_sender + usize::from(is_his))
        })
    }

    fn keep(&mut self, branch: Box<str>, asked: Asked) {
        self.by_conn.entry(asked.conn).or_default().insert(branch.clone());
        self.by_branch.insert(branch, asked);
    }

    fn forget(&mut self, branch: &str) -> Option<Asked> {
        let asked = self.by_branch.remove(branch)?;
        if let Some(branches) = self.by_conn.get_mut(&asked.conn) {
            branches.remove(branch);
            if branches.is_empty() {
                self.by_conn.remove(&asked.conn);
            }
        }
        Some(asked)
    }

    /// A connection is gone: whoever waits for its answers is told so.
    pub(super) fn closed(&mut self, conn: ConnId) -> Vec<Act> {
        let branches = self.by_conn.get(&conn).cloned().unwrap_or_default();
        let ended = branches.into_iter().filter_map(|branch| self.forget(&branch).map(|asked| (branch, asked)));
        ended.map(|(branch, asked)| lost(branch, asked.origin)).collect()
    }

    /// Forgets what has waited long enough.
    pub(super) fn sweep(&mut self, now: Duration) {
        let over = self.by_branch.iter().filter(|(_, asked)| asked.until <= now);
        let over: Vec<Box<str>> = over.map(|(branch, _)| branch.clone()).collect();
        for branch in over {
            self.forget(&branch);
        }
    }
}

/// Tells the sender's server that there will be no answer.
fn lost(branch: Box<str>, server: Arc<str>) -> Act {
    Act::HandOver { server, errand: Errand::Lost { branch } }
}

impl Proxy {
    /// Sends a request to an endpoint of this server.
    pub(super) fn ask(
        &self,
        branch: Box<str>,
        origin: Arc<str>,
        from: Endpoint,
        to: Endpoint,
        bytes: &[u8],
        binding: Option<&Binding>,
    ) -> Vec<Act> {
        let Ok(request) = Message::parse(bytes) else { return Vec::new() };
        let method = request.method().unwrap_or_default();
        let Some(binding) = binding else { return vec![lost(branch, origin)] };
        let now = self.now();
        let mut state = self.lock();
        if let Some(id) = DialogId::of_receiver(&request) {
            match method {
                "BYE" => state.dialogs.end(&to, &id),
                _ => drop(state.dialogs.peer(&to, &id, now)),
            }
        }
        let record_route = (*origin != *self.fqdn).then(|| Proxy::record_route(&self.fqdn));
        let draft = forward::towards(&request, &binding.contact, record_route.as_deref());
        let (conn, opaque) = (binding.conn, binding.opaque.clone());
        if method == "ACK" {
            return vec![Act::Send { conn, opaque, draft, branch: None }];
        }
        let (all, of_sender) = state.asked.waiting(conn, &from);
        if all >= self.limits.awaited || of_sender >= self.limits.awaited_of_sender {
            return vec![lost(branch, origin)];
        }
        let asked = Asked {
            conn,
            opaque: opaque.clone(),
            contact: binding.contact.clone(),
            origin,
            from,
            to,
            call_id: request.header(Name::CallId).unwrap_or_default().to_owned(),
            from_tag: tag(&request, Name::From).unwrap_or_default().to_owned(),
            number: number_of(&request),
            method: method.to_owned(),
            until: now + self.limits.invite.max(self.limits.other) + 2 * LINGER,
        };
        state.asked.keep(branch.clone(), asked);
        vec![Act::Send { conn, opaque, draft, branch: Some(branch) }]
    }

    pub(super) fn cancel_asked(&self, branch: &str, bytes: &[u8]) -> Vec<Act> {
        let state = self.lock();
        let Some(asked) = state.asked.get(branch).filter(|asked| asked.method == "INVITE") else { return Vec::new() };
        let Ok(cancel) = Message::parse(bytes) else { return Vec::new() };
        let draft = forward::towards(&cancel, &asked.contact, None);
        vec![Act::Send { conn: asked.conn, opaque: asked.opaque.clone(), draft, branch: None }]
    }

    /// The endpoint that was asked what this response answers; `None`: nobody was, over this connection.
    pub fn awaited(&self, conn: ConnId, response: &Message<'_>) -> Option<Endpoint> {
        let state = self.lock();
        let asked = state.asked.get(branch_of(response)?)?;
        asked.is_answered_by(conn, response).then(|| asked.to.clone())
    }

    /// An endpoint of this server has answered. Responses to nothing that was asked are dropped.
    pub fn response(&self, hop: &Hop, response: &Message<'_>, bytes: &[u8]) -> Vec<Act> {
        let Some(code) = response.status().filter(|code| *code > 100) else { return Vec::new() };
        let Some(branch) = branch_of(response) else { return Vec::new() };
        let now = self.now();
        let mut state = self.lock();
        let Some(asked) = state.asked.get(branch).filter(|asked| asked.is_answered_by(hop.conn, response)) else {
            return Vec::new();
        };
        let begun = (asked.method == "INVITE" && (200..300).contains(&code)).then(|| DialogId::of_receiver(response));
        if matches!(begun, Some(None)) {
            return Vec::new(); // a dialog without a name
        }
        let errand = Errand::Response { branch: branch.into(), hop: hop.clone(), bytes: bytes.to_vec() };
        let mut acts = vec![Act::HandOver { server: asked.origin.clone(), errand }];
        if code < 200 {
            return acts;
        }
        let Some(asked) = state.asked.forget(branch) else { return acts };
        if let Some(Some(id)) = begun {
            state.dialogs.begin(&asked.to, id, &asked.from, now, self.limits.dialogs);
        }
        if code >= 300 && asked.method == "INVITE" {
            let draft = forward::ack_of_refusal(response, &asked.contact, asked.number);
            acts.insert(0, Act::Send { conn: asked.conn, opaque: asked.opaque, draft, branch: None });
        }
        acts
    }

    /// An endpoint of this server could not be sent a request: there is no association that would sign it.
    pub fn undeliverable(&self, branch: &str) -> Vec<Act> {
        let asked = self.lock().asked.forget(branch);
        asked.map(|asked| lost(branch.into(), asked.origin)).into_iter().collect()
    }
}

/// The branch of the topmost Via.
fn branch_of<'a>(message: &Message<'a>) -> Option<&'a str> {
    let topmost = sip::header::split_list(message.header(Name::Via)?).next()?;
    sip::Via::parse(topmost).ok()?.params.get("branch")
}
