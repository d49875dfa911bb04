//! The client's half: the conversations of one endpoint. RFC 3261 §12, §13; RFC 3428.
//!
//! Pure: words and messages of the server go in, drafts to be signed and sent and events to be shown come out.
//!
//! ```text
//!  say ──► no conversation with the peer ──► INVITE, first text in its header ──► 200: ACK ──► the text, unless it was taken
//!      └─► one is open ──► MESSAGE ──► 2xx: delivered
//!                                 ├──► 408, 481: the conversation is gone; a new one, once, with the same text
//!                                 └──► anything else: failed
//! ```
//!
//! A text is never lost in silence: each has an id, and ends as [`Event::Delivered`] or [`Event::Failed`].
//!
//! | file | tells |
//! |---|---|
//! | this one | what this side says, and what becomes of it |
//! | `conversation` | how one conversation begins and goes on |
//! | `answering` | what others say, and what they are answered |
//!
//! Omitted: conversations with more than one peer; waiting for somebody to accept an invitation: it is accepted at once, or
//! refused when this side is busy.

mod answering;
mod conversation;

use self::conversation::{Conversation, State, Written, follow};
use super::content::{Text, keyboard_activity};
use crate::name::Aor;
use sip::{CSeq, Draft, Message, Name};
use std::net::SocketAddr;
use std::time::Duration;

/// The endpoint that converses, as its messages name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Myself {
    /// The user.
    pub aor: Aor,
    /// The endpoint.
    pub epid: String,
    /// `User-Agent`.
    pub user_agent: String,
    /// Value of Contact: the GRUU.
    pub contact: String,
    /// Its end of the connection, for Via and session descriptions.
    pub local: SocketAddr,
}

/// Names one text this side has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TextId(pub u64);

/// Why a text did not reach its reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Status code; 408 when there was no answer at all.
    pub code: u16,
    /// Reason phrase.
    pub reason: String,
    /// Id and reason of `ms-diagnostics`.
    pub diagnostics: (Option<u32>, Option<String>),
}

impl Failure {
    fn of(response: &Message<'_>) -> Failure {
        let reason = match response.start() {
            sip::StartLine::Response { reason, .. } => reason.to_owned(),
            sip::StartLine::Request { .. } => String::new(),
        };
        Failure { code: response.status().unwrap_or(0), reason, diagnostics: crate::reply::diagnostics(response) }
    }

    fn own(code: u16, reason: &str) -> Failure {
        Failure { code, reason: reason.to_owned(), diagnostics: (None, None) }
    }
}

/// Something to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Somebody said something.
    Said {
        /// Who, as the server has proven.
        peer: Aor,
        /// What.
        text: Text,
    },
    /// Somebody is typing, or not any more.
    Typing {
        /// Who.
        peer: Aor,
        /// Whether.
        typing: bool,
    },
    /// A text of this side was taken by an endpoint of the peer.
    Delivered {
        /// Whose.
        peer: Aor,
        /// Which.
        text: TextId,
    },
    /// A text of this side was not.
    Failed {
        /// Whose it would have been.
        peer: Aor,
        /// Which.
        text: TextId,
        /// Why.
        why: Failure,
    },
    /// The peer has ended the conversation.
    Ended {
        /// Who.
        peer: Aor,
    },
}

/// What a step leads to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// To be signed and sent, in this order.
    pub send: Vec<Draft>,
    /// To be shown, in this order.
    pub events: Vec<Event>,
}

/// Time and randomness of one step, handed in.
pub struct Moment<'a> {
    /// Since any moment, the same one throughout.
    pub now: Duration,
    /// Fills bytes with randomness.
    pub random: &'a dyn Fn(&mut [u8]),
}

impl Moment<'_> {
    fn token(&self) -> String {
        let mut bytes = [0; 8];
        (self.random)(&mut bytes);
        hex::encode(bytes)
    }
}

/// Conversations at a time; more are refused as busy.
const MOST: usize = 100;

/// Texts that wait for one conversation to begin.
const WAITING: usize = 100;

/// The conversations of one endpoint.
#[derive(Debug)]
pub struct Conversations {
    me: Myself,
    busy: bool,
    /// The latest comes last.
    open: Vec<Conversation>,
    last: u64,
}

impl Conversations {
    /// Nobody has said anything.
    pub fn new(me: Myself) -> Conversations {
        Conversations { me, busy: false, open: Vec::new(), last: 0 }
    }

    /// Whether new conversations of others are refused: do not disturb. 486.
    pub fn set_busy(&mut self, busy: bool) {
        self.busy = busy;
    }

    /// With whom there are conversations, latest last.
    pub fn peers(&self) -> impl Iterator<Item = &Aor> {
        self.open.iter().map(|conversation| &conversation.peer)
    }

    /// Says something to somebody.
    pub fn say(&mut self, moment: &Moment<'_>, peer: &Aor, text: Text) -> (TextId, Outcome) {
        self.last += 1;
        let id = TextId(self.last);
        let mut outcome = Outcome::default();
        self.send(moment, peer, Written { id, text, again: false }, &mut outcome);
        (id, outcome)
    }

    /// In the latest conversation with the peer, else in a new one.
    fn send(&mut self, moment: &Moment<'_>, peer: &Aor, written: Written, outcome: &mut Outcome) {
        let Conversations { me, open, .. } = self;
        let usable = |c: &&mut Conversation| c.peer == *peer && !matches!(c.state, State::Inviting { ended: true, .. });
        match open.iter_mut().rev().find(usable) {
            Some(Conversation { state: State::Inviting { .. }, waiting, .. }) if waiting.len() >= WAITING => {
                let why = Failure::own(503, "Too many texts wait for an answer to the first");
                outcome.events.push(Event::Failed { peer: peer.clone(), text: written.id, why });
            }
            Some(conversation) => {
                conversation.waiting.push_back(written);
                conversation.flush(me, moment, outcome);
            }
            None => {
                let (conversation, invite) = Conversation::invite(me, moment, peer, written);
                outcome.send.push(invite);
                open.push(conversation);
            }
        }
    }

    /// Tells somebody that this side is typing, or not any more; nothing when no conversation is open.
    pub fn typing(&mut self, moment: &Moment<'_>, peer: &Aor, typing: bool) -> Outcome {
        let mut outcome = Outcome::default();
        let open = self.open.iter_mut().rev().filter(|c| c.peer == *peer).find_map(Conversation::dialog);
        if let Some(dialog) = open
            && let Ok(mut draft) = self.me.inside(dialog, "INFO", moment)
        {
            let (content_type, body) = keyboard_activity(typing);
            draft.body(content_type, body);
            outcome.send.push(draft);
        }
        outcome
    }

    /// Ends every conversation with somebody. Texts that have no answer fail.
    pub fn end(&mut self, moment: &Moment<'_>, peer: &Aor) -> Outcome {
        let mut outcome = Outcome::default();
        let (ending, open): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.open).into_iter().partition(|conversation| conversation.peer == *peer);
        self.open = open;
        for mut conversation in ending {
            conversation.fail(&Failure::own(487, "The conversation was ended"), &mut outcome);
            match &mut conversation.state {
                State::Open(dialog) => outcome.send.extend(self.me.inside(dialog, "BYE", moment)),
                State::Inviting { invite, ended, .. } => {
                    if !std::mem::replace(ended, true) {
                        outcome.send.extend(Message::parse(invite).ok().map(|invite| follow(&invite, None, "CANCEL")));
                    }
                    // The 200 may be under way: then there is a dialog to be ended.
                    self.open.push(conversation);
                }
            }
        }
        outcome
    }

    /// A response of the server. `None`: it answers nothing of a conversation.
    pub fn response(&mut self, moment: &Moment<'_>, response: &Message<'_>) -> Option<Outcome> {
        let place = self.find(response)?;
        let cseq = CSeq::parse(response.header(Name::CSeq)?).ok()?;
        let code = response.status()?;
        let mut outcome = Outcome::default();
        if code < 200 {
            return Some(outcome);
        }
        let conversation = self.open.get_mut(place)?;
        match (&mut conversation.state, cseq.method) {
            (State::Inviting { invite, .. }, "INVITE") => {
                let invite = std::mem::take(invite);
                if !conversation.answered(&self.me, moment, &invite, response, &mut outcome) {
                    self.open.remove(place);
                }
            }
            (State::Open(dialog), "MESSAGE") => {
                let _ = dialog.answered(response);
                let (written, _) = conversation.sent.remove(&cseq.number)?;
                let peer = conversation.peer.clone();
                match code {
                    200..300 => outcome.events.push(Event::Delivered { peer, text: written.id }),
                    408 | 481 => self.begin_anew(moment, place, written, Failure::of(response), &mut outcome),
                    _ => {
                        let why = Failure::of(response);
                        outcome.events.push(Event::Failed { peer, text: written.id, why });
                        // 480: nobody is there; whoever comes back knows nothing of this dialog.
                        if code == 480 {
                            self.open.remove(place).fail(&Failure::of(response), &mut outcome);
                        }
                    }
                }
            }
            _ => {}
        }
        Some(outcome)
    }

    /// The peer knows nothing of the conversation: whatever was said in it and not taken is said in a new one, once.
    fn begin_anew(&mut self, moment: &Moment<'_>, place: usize, written: Written, why: Failure, outcome: &mut Outcome) {
        let lost = self.open.remove(place);
        let unanswered = lost.sent.into_values().map(|(written, _)| written);
        for written in std::iter::once(written).chain(unanswered).chain(lost.waiting) {
            if written.again {
                outcome.events.push(Event::Failed { peer: lost.peer.clone(), text: written.id, why: why.clone() });
            } else {
                self.send(moment, &lost.peer, Written { again: true, ..written }, outcome);
            }
        }
    }

    /// Where the conversation is that a message belongs to.
    fn find(&self, message: &Message<'_>) -> Option<usize> {
        let call_id = message.header(Name::CallId)?;
        self.open.iter().position(|conversation| conversation.call_id == call_id)
    }

    /// Gives up what has waited too long.
    pub fn expire(&mut self, now: Duration) -> Outcome {
        let mut outcome = Outcome::default();
        let why = Failure::own(408, "No answer");
        for conversation in &mut self.open {
            let late: Vec<u32> =
                conversation.sent.iter().filter(|(_, (_, until))| *until <= now).map(|(number, _)| *number).collect();
            for (written, _) in late.into_iter().filter_map(|number| conversation.sent.remove(&number)) {
                let peer = conversation.peer.clone();
                outcome.events.push(Event::Failed { peer, text: written.id, why: why.clone() });
            }
        }
        self.open.retain_mut(|conversation| {
            let over = matches!(conversation.state, State::Inviting { until, .. } if until <= now);
            if over {
                conversation.fail(&why, &mut outcome);
            }
            !over
        });
        outcome
    }
}

#[cfg(test)]
mod tests;
