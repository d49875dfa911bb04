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
//! Omitted: conversations with more than one peer; waiting for somebody to accept an invitation: it is accepted at once, or
//! refused when this side is busy.

use super::content::{ACCEPTED, Content, Text};
use super::content::{keyboard_activity, offers_text, read_text_format, session_description, text_format};
use super::message::ALLOW;
use crate::name::Aor;
use sip::dialog::{Dialog, DialogError};
use sip::{CSeq, Draft, Message, Name, NameAddr};
use std::collections::{BTreeMap, VecDeque};
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

/// How long an answer is waited for. Servers give up on an INVITE after 60 s and on anything else after 32.
const ANSWER: Duration = Duration::from_secs(65);

/// Conversations at a time; more are refused as busy.
const MOST: usize = 100;

/// Texts that wait for one conversation to begin.
const WAITING: usize = 100;

/// A text on its way.
#[derive(Debug, Clone)]
struct Written {
    id: TextId,
    text: Text,
    /// It was sent in a conversation that turned out to be gone, and is not sent a third time.
    again: bool,
}

#[derive(Debug)]
struct Conversation {
    peer: Aor,
    call_id: String,
    state: State,
    /// What waits for the conversation to begin.
    waiting: VecDeque<Written>,
    /// MESSAGEs without an answer, by CSeq number.
    sent: BTreeMap<u32, (Written, Duration)>,
}

#[derive(Debug)]
enum State {
    /// The INVITE has no answer.
    Inviting {
        invite: Vec<u8>,
        carried: Option<Written>,
        ended: bool,
        until: Duration,
    },
    Open(Box<Dialog>),
}

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
        let call_id = response.header(Name::CallId)?;
        let place = self.open.iter().position(|conversation| conversation.call_id == call_id)?;
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

    /// A request of the server. `None`: it is no part of a conversation (a notification, say) and somebody else answers it.
    pub fn request(&mut self, moment: &Moment<'_>, request: &Message<'_>) -> Option<Outcome> {
        let method = request.method()?;
        if matches!(method, "NOTIFY" | "BENOTIFY") {
            return None;
        }
        let mut outcome = Outcome::default();
        let in_dialog = super::message::tag(request, Name::To).is_some();
        let answer = match (method, in_dialog) {
            ("ACK", _) => return Some(outcome),
            ("OPTIONS", _) => self.reply(request, 200, "OK", moment).map(|mut draft| {
                draft.header("Allow", ALLOW).header("Accept", ACCEPTED.join(", "));
                draft
            }),
            // Invitations are answered at once: what is to be called off has been accepted or refused.
            ("CANCEL", _) => match self.find(request) {
                Some(_) => self.reply(request, 200, "OK", moment),
                None => self.reply(request, 481, NO_DIALOG, moment),
            },
            ("INVITE", false) => self.invited(moment, request, &mut outcome.events),
            ("MESSAGE", false) => {
                let said = content_of(request);
                self.take(moment, request, sender(request), said, &mut outcome.events)
            }
            (_, true) => self.inside(moment, request, method, &mut outcome.events),
            _ => self.reply(request, 481, NO_DIALOG, moment),
        };
        outcome.send.extend(answer);
        Some(outcome)
    }

    /// An invitation to a new conversation.
    fn invited(&mut self, moment: &Moment<'_>, request: &Message<'_>, events: &mut Vec<Event>) -> Option<Draft> {
        let content_type = request.header(Name::ContentType).unwrap_or_default();
        if !offers_text(content_type, request.body()) {
            return self.reply(request, 488, "Not Acceptable Here", moment);
        }
        if self.busy || self.open.len() >= MOST {
            return self.reply(request, 486, "Busy Here", moment);
        }
        let Some(peer) = sender(request) else { return self.reply(request, 400, "Bad Request", moment) };
        let first = request.named("ms-text-format").and_then(read_text_format);
        let mut draft = self.accepting(request, moment)?;
        if first.is_some() {
            draft.header("Supported", "ms-text-format");
        }
        let dialog = draft.read_back(|response| Dialog::of_server(request, response)).ok()?;
        let Ok(dialog) = dialog else { return self.reply(request, 400, "Bad Request", moment) };
        self.open.push(Conversation {
            peer: peer.clone(),
            call_id: dialog.id().call_id.clone(),
            state: State::Open(Box::new(dialog)),
            waiting: VecDeque::new(),
            sent: BTreeMap::new(),
        });
        events.extend(first.map(|text| Event::Said { peer, text }));
        Some(draft)
    }

    /// A request in a conversation.
    fn inside(
        &mut self,
        moment: &Moment<'_>,
        request: &Message<'_>,
        method: &str,
        events: &mut Vec<Event>,
    ) -> Option<Draft> {
        let judged = self.find(request).map(|place| {
            let conversation = &mut self.open[place];
            let judged = conversation.dialog().map(|dialog| dialog.receive(request));
            (place, conversation.peer.clone(), judged)
        });
        let Some((place, peer, Some(judged))) = judged else { return self.reply(request, 481, NO_DIALOG, moment) };
        match judged {
            Ok(()) => {}
            Err(DialogError::OutOfOrder { .. }) => return self.reply(request, 500, "Server Internal Error", moment),
            Err(DialogError::Header(_)) => return self.reply(request, 400, "Bad Request", moment),
            Err(_) => return self.reply(request, 481, NO_DIALOG, moment),
        }
        match method {
            "MESSAGE" | "INFO" => {
                let said = content_of(request);
                self.take(moment, request, Some(peer), said, events)
            }
            "BYE" => {
                let mut outcome = Outcome::default();
                self.open.remove(place).fail(&Failure::own(481, "The peer has ended the conversation"), &mut outcome);
                events.append(&mut outcome.events);
                events.push(Event::Ended { peer });
                self.reply(request, 200, "OK", moment)
            }
            "INVITE" => self.accepting(request, moment),
            "UPDATE" => self.reply(request, 200, "OK", moment),
            _ => self.reply(request, 405, "Method Not Allowed", moment).map(|mut draft| {
                draft.header("Allow", ALLOW);
                draft
            }),
        }
    }

    /// Answers what somebody said; only what is understood is taken.
    fn take(
        &self,
        moment: &Moment<'_>,
        request: &Message<'_>,
        peer: Option<Aor>,
        said: Option<Content>,
        events: &mut Vec<Event>,
    ) -> Option<Draft> {
        let Some(peer) = peer else { return self.reply(request, 400, "Bad Request", moment) };
        match said {
            Some(Content::Text(text)) => events.push(Event::Said { peer, text }),
            Some(Content::Typing(typing)) => events.push(Event::Typing { peer, typing }),
            // Which text it is about only whoever numbered it knows; our own are accounted for by their answers.
            Some(Content::Report(_)) => {}
            None => {
                let mut draft = self.reply(request, 415, "Unsupported Media Type", moment)?;
                draft.header("Accept", ACCEPTED.join(", "));
                return Some(draft);
            }
        }
        self.reply(request, 200, "OK", moment)
    }

    fn find(&self, request: &Message<'_>) -> Option<usize> {
        let call_id = request.header(Name::CallId)?;
        self.open.iter().position(|conversation| conversation.call_id == call_id)
    }

    /// An answer; To gets the tag of this endpoint when it has none.
    fn reply(&self, request: &Message<'_>, code: u16, reason: &str, moment: &Moment<'_>) -> Option<Draft> {
        let tag = format!("{};epid={}", moment.token(), self.me.epid);
        let mut draft = Draft::answer(request, code, reason, &tag);
        draft.header("Contact", &self.me.contact).header("User-Agent", &self.me.user_agent);
        Some(draft)
    }

    /// The 200 to an INVITE, with our side's description.
    fn accepting(&self, request: &Message<'_>, moment: &Moment<'_>) -> Option<Draft> {
        let mut draft = self.reply(request, 200, "OK", moment)?;
        for header in request.headers().iter().filter(|header| header.name == Name::RecordRoute) {
            draft.header("Record-Route", header.unfolded());
        }
        draft.header("Allow", ALLOW).body("application/sdp", session_description(self.me.local.ip()));
        Some(draft)
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

impl Conversation {
    /// A conversation that begins with this text.
    fn invite(me: &Myself, moment: &Moment<'_>, peer: &Aor, first: Written) -> (Conversation, Draft) {
        let call_id = format!("{}{}", moment.token(), moment.token());
        let uri = peer.to_uri();
        let mut draft = Draft::request("INVITE", &uri);
        draft
            .header("Via", me.via(moment))
            .header("Max-Forwards", 70)
            .header("From", format_args!("<{}>;tag={};epid={}", me.aor.to_uri(), moment.token(), me.epid))
            .header("To", format_args!("<{uri}>"))
            .header("Call-ID", &call_id)
            .header("CSeq", "1 INVITE")
            .header("Contact", &me.contact)
            .header("User-Agent", &me.user_agent)
            .header("Supported", "ms-sender");
        let in_header = text_format(&first.text);
        if let Some(value) = &in_header {
            draft.header("ms-text-format", value);
        }
        draft.body("application/sdp", session_description(me.local.ip()));
        let (carried, waiting) = match in_header {
            Some(_) => (Some(first), VecDeque::new()),
            None => (None, VecDeque::from([first])),
        };
        let invite = draft.clone().finish();
        let state = State::Inviting { invite, carried, ended: false, until: moment.now + ANSWER };
        let conversation = Conversation { peer: peer.clone(), call_id, state, waiting, sent: BTreeMap::new() };
        (conversation, draft)
    }

    /// The final answer to the INVITE. Gives whether there is a conversation now.
    fn answered(
        &mut self,
        me: &Myself,
        moment: &Moment<'_>,
        invite: &[u8],
        response: &Message<'_>,
        outcome: &mut Outcome,
    ) -> bool {
        let Ok(invite) = Message::parse(invite) else { return false };
        let State::Inviting { carried, ended, .. } = &mut self.state else { return true };
        let (carried, ended) = (carried.take(), *ended);
        let mut dialog = match Dialog::of_client(&invite, response) {
            Ok(dialog) => dialog,
            Err(error) => {
                let why = match error {
                    DialogError::NotAccepted(_) => Failure::of(response),
                    error => Failure::own(400, &error.to_string()),
                };
                outcome.send.push(follow(&invite, Some(response), "ACK"));
                carried.into_iter().for_each(|first| self.waiting.push_front(first));
                self.fail(&why, outcome);
                return false;
            }
        };
        outcome.send.push(me.ack(&dialog, &invite, moment));
        if ended {
            outcome.send.extend(me.inside(&mut dialog, "BYE", moment));
            return false;
        }
        self.state = State::Open(Box::new(dialog));
        if let Some(carried) = carried {
            if response.lists(Name::Supported, "ms-text-format") {
                outcome.events.push(Event::Delivered { peer: self.peer.clone(), text: carried.id });
            } else {
                self.waiting.push_front(carried);
            }
        }
        self.flush(me, moment, outcome);
        true
    }

    /// Sends what waits, once there is a dialog.
    fn flush(&mut self, me: &Myself, moment: &Moment<'_>, outcome: &mut Outcome) {
        let State::Open(dialog) = &mut self.state else { return };
        while let Some(written) = self.waiting.pop_front() {
            let Ok(mut draft) = me.inside(dialog, "MESSAGE", moment) else { return };
            draft.body(written.text.content_type(), written.text.as_str());
            if let Ok(number) = draft.read_back(number_of) {
                self.sent.insert(number, (written, moment.now + ANSWER));
            }
            outcome.send.push(draft);
        }
    }

    fn dialog(&mut self) -> Option<&mut Dialog> {
        match &mut self.state {
            State::Open(dialog) => Some(dialog),
            State::Inviting { .. } => None,
        }
    }

    /// Every text without an answer has failed.
    fn fail(&mut self, why: &Failure, outcome: &mut Outcome) {
        let carried = match &mut self.state {
            State::Inviting { carried, .. } => carried.take(),
            State::Open(_) => None,
        };
        let sent = std::mem::take(&mut self.sent).into_values().map(|(written, _)| written);
        for written in sent.chain(carried).chain(self.waiting.drain(..)) {
            outcome.events.push(Event::Failed { peer: self.peer.clone(), text: written.id, why: why.clone() });
        }
    }
}

impl Myself {
    fn via(&self, moment: &Moment<'_>) -> String {
        format!("SIP/2.0/TLS {};branch=z9hG4bK{}", self.local, moment.token())
    }

    /// The next request in a dialog.
    fn inside(&self, dialog: &mut Dialog, method: &str, moment: &Moment<'_>) -> Result<Draft, DialogError> {
        let mut draft = dialog.request(method, &self.via(moment))?;
        draft.header("Contact", &self.contact).header("User-Agent", &self.user_agent);
        Ok(draft)
    }

    /// The ACK for the 2xx: in the dialog, with the number of the INVITE. RFC 3261 §13.2.2.4.
    fn ack(&self, dialog: &Dialog, invite: &Message<'_>, moment: &Moment<'_>) -> Draft {
        let mut draft = Draft::request("ACK", dialog.remote_target());
        draft.header("Via", self.via(moment)).header("Max-Forwards", 70);
        for route in dialog.route_set() {
            draft.header("Route", route);
        }
        let line = |name| invite.header(name).unwrap_or_default();
        draft
            .header("From", line(Name::From))
            .header("To", format_args!("{};tag={}", line(Name::To), dialog.id().remote_tag))
            .header("Call-ID", line(Name::CallId))
            .header("CSeq", format_args!("{} ACK", number_of(invite)))
            .header("User-Agent", &self.user_agent);
        draft
    }
}

/// CANCEL of an INVITE, or the ACK of its refusal: the same transaction, from hop to hop. RFC 3261 §9.1, §17.1.1.3.
fn follow(invite: &Message<'_>, refusal: Option<&Message<'_>>, method: &str) -> Draft {
    let line = |name| invite.header(name).unwrap_or_default();
    let to = refusal.and_then(|refusal| refusal.header(Name::To)).unwrap_or_else(|| line(Name::To));
    let mut draft = Draft::request(method, invite.request_uri().unwrap_or_default());
    draft
        .header("Via", line(Name::Via))
        .header("Max-Forwards", 70)
        .header("From", line(Name::From))
        .header("To", to)
        .header("Call-ID", line(Name::CallId))
        .header("CSeq", format_args!("{} {method}", number_of(invite)));
    draft
}

fn number_of(request: &Message<'_>) -> u32 {
    request.header(Name::CSeq).and_then(|value| CSeq::parse(value).ok()).map_or(1, |cseq| cseq.number)
}

/// Who sent a request: as the server asserts, else as it says itself.
fn sender(request: &Message<'_>) -> Option<Aor> {
    let asserted = request.all(Name::PAssertedIdentity).flat_map(sip::header::split_list);
    let from = request.header(Name::From);
    let named = asserted.chain(from).filter_map(|value| NameAddr::parse(value).ok());
    named.into_iter().find_map(|address| Aor::from_uri(address.uri).ok())
}

fn content_of(request: &Message<'_>) -> Option<Content> {
    Content::read(request.header(Name::ContentType)?, request.body())
}

const NO_DIALOG: &str = "Call Leg/Transaction Does Not Exist";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn me() -> Myself {
        Myself {
            aor: "alice@contoso.test".parse().expect("an address"),
            epid: "a1".to_owned(),
            user_agent: "test".to_owned(),
            contact: "<sip:alice@contoso.test;gruu>".to_owned(),
            local: SocketAddr::from(([192, 0, 2, 7], 50_000)),
        }
    }

    /// Messages with the right names in them, and anything else.
    fn message() -> impl Strategy<Value = String> {
        let methods =
            ["INVITE", "ACK", "BYE", "CANCEL", "MESSAGE", "INFO", "OPTIONS", "UPDATE", "REFER", "NOTIFY", "X"];
        let types = [
            "text/plain",
            "text/html",
            "text/rtf",
            "application/sdp",
            "application/xml",
            "multipart/mixed; boundary=b",
        ];
        let start = (0..methods.len(), 0..12_u16).prop_map(move |(method, code)| match code {
            0..6 => (format!("{} sip:alice@contoso.test SIP/2.0", methods[method]), methods[method]),
            code => (format!("SIP/2.0 {} OK", [180, 200, 408, 480, 481, 486][usize::from(code) - 6]), methods[method]),
        });
        let dialog = (0..3_u8, 0..3_u8, 0..4_u32, 0..types.len(), any::<bool>(), "[ -~]{0,40}", "[ -~]{0,30}");
        (start, dialog).prop_map(move |((start, method), (call, tag, number, kind, first, body, odd))| {
            let tag = ["", ";tag=", ";tag=t"][usize::from(tag)];
            let body = if kind == 3 { "v=0\r\nm=message 5060 sip null\r\n".to_owned() } else { body };
            let first = if first { "ms-text-format: text/plain;ms-body=aGk=\r\n" } else { "" };
            format!(
                "{start}\r\nVia: SIP/2.0/TLS x;branch=z9hG4bK1\r\nFrom: <sip:bob@contoso.test>;tag=f\r\n\
                 To: <sip:alice@contoso.test>{tag}\r\nCall-ID: 0707070707070707{call}\r\nCSeq: {number} {method}\r\n\
                 Contact: <sip:bob@contoso.test;gruu>\r\nContent-Type: {}\r\nX-Odd: {odd}\r\n{first}\r\n{body}",
                types[kind]
            )
        })
    }

    proptest! {
        /// Whatever the server sends: nothing panics, what goes out can be read, nothing grows without limit.
        #[test]
        fn any_messages_in_any_order(messages in proptest::collection::vec(message(), 0..40), busy: bool) {
            let mut conversations = Conversations::new(me());
            conversations.set_busy(busy);
            let bob = "bob@contoso.test".parse().expect("an address");
            let random = |bytes: &mut [u8]| bytes.fill(7);
            for (second, text) in messages.iter().enumerate() {
                let moment = Moment { now: Duration::from_secs(10 * second as u64), random: &random };
                let message = Message::parse(text.as_bytes()).expect("written above");
                let outcome = match message.method() {
                    Some(_) => conversations.request(&moment, &message),
                    None => conversations.response(&moment, &message),
                };
                let (_, said) = conversations.say(&moment, &bob, Text::plain("x"));
                let expired = conversations.expire(moment.now);
                for draft in outcome.into_iter().chain([said, expired]).flat_map(|outcome| outcome.send) {
                    let bytes = draft.finish();
                    prop_assert!(Message::parse(&bytes).is_ok(), "{}", String::from_utf8_lossy(&bytes));
                }
                prop_assert!(conversations.open.len() <= MOST);
            }
        }

        /// Every text ends once.
        #[test]
        fn every_text_ends_once(messages in proptest::collection::vec(message(), 0..40)) {
            let mut conversations = Conversations::new(me());
            let bob = "bob@contoso.test".parse().expect("an address");
            let random = |bytes: &mut [u8]| bytes.fill(7);
            let mut open = std::collections::BTreeSet::new();
            let mut ended = Vec::new();
            for text in &messages {
                let moment = Moment { now: Duration::ZERO, random: &random };
                let message = Message::parse(text.as_bytes()).expect("written above");
                let outcome = match message.method() {
                    Some(_) => conversations.request(&moment, &message),
                    None => conversations.response(&moment, &message),
                };
                let (id, said) = conversations.say(&moment, &bob, Text::plain("x"));
                open.insert(id);
                ended.extend(outcome.into_iter().chain([said]).flat_map(|outcome| outcome.events));
            }
            ended.extend(conversations.expire(Duration::from_secs(3600)).events);
            for event in ended {
                if let Event::Delivered { text, .. } | Event::Failed { text, .. } = event {
                    prop_assert!(open.remove(&text), "{text:?} ended twice");
                }
            }
            prop_assert!(open.is_empty(), "{open:?} did not end");
        }
    }
}
