//! What others ask of this endpoint, and what it answers. RFC 3261 §8.2, §13.3.

use super::conversation::{Conversation, State};
use super::{Conversations, Event, Failure, MOST, Moment, Outcome};
use crate::converse::content::{ACCEPTED, Content, offers_text, read_text_format, session_description};
use crate::converse::message::{ALLOW, tag};
use crate::name::Aor;
use sip::dialog::{Dialog, DialogError};
use sip::{Draft, Message, Name, NameAddr};
use std::collections::{BTreeMap, VecDeque};

const NO_DIALOG: &str = "Call Leg/Transaction Does Not Exist";

impl Conversations {
    /// A request of the server. `None`: it is no part of a conversation (a notification, say) and somebody else answers it.
    pub fn request(&mut self, moment: &Moment<'_>, request: &Message<'_>) -> Option<Outcome> {
        let method = request.method()?;
        if matches!(method, "NOTIFY" | "BENOTIFY") {
            return None;
        }
        let mut outcome = Outcome::default();
        let in_dialog = tag(request, Name::To).is_some();
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
