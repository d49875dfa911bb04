//! One conversation with one peer: it begins with an INVITE that carries the first text, and then each text is a MESSAGE in
//! its dialog. RFC 3261 §12, §13.

use super::{Event, Failure, Moment, Myself, Outcome, TextId};
use crate::converse::content::{Text, session_description, text_format};
use crate::converse::message::number_of;
use crate::name::Aor;
use sip::dialog::{Dialog, DialogError};
use sip::{Draft, Message, Name};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How long an answer is waited for. Servers give up on an INVITE after 60 s and on anything else after 32.
const ANSWER: Duration = Duration::from_secs(65);

/// A text on its way.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) id: TextId,
    pub(super) text: Text,
    /// It was sent in a conversation that turned out to be gone, and is not sent a third time.
    pub(super) again: bool,
}

/// What is said between this endpoint and one peer.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) peer: Aor,
    pub(super) call_id: String,
    pub(super) state: State,
    /// What waits for the conversation to begin.
    pub(super) waiting: VecDeque<Written>,
    /// MESSAGEs without an answer, by CSeq number.
    pub(super) sent: BTreeMap<u32, (Written, Duration)>,
}

/// How far it has come.
#[derive(Debug)]
pub(super) enum State {
    /// The INVITE has no answer.
    Inviting { invite: Vec<u8>, carried: Option<Written>, ended: bool, until: Duration },
    /// It was accepted.
    Open(Box<Dialog>),
}

impl Conversation {
    /// A conversation that begins with this text.
    pub(super) fn invite(me: &Myself, moment: &Moment<'_>, peer: &Aor, first: Written) -> (Conversation, Draft) {
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
    pub(super) fn answered(
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
    pub(super) fn flush(&mut self, me: &Myself, moment: &Moment<'_>, outcome: &mut Outcome) {
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

    pub(super) fn dialog(&mut self) -> Option<&mut Dialog> {
        match &mut self.state {
            State::Open(dialog) => Some(dialog),
            State::Inviting { .. } => None,
        }
    }

    /// Every text without an answer has failed.
    pub(super) fn fail(&mut self, why: &Failure, outcome: &mut Outcome) {
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
    pub(super) fn inside(&self, dialog: &mut Dialog, method: &str, moment: &Moment<'_>) -> Result<Draft, DialogError> {
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
pub(super) fn follow(invite: &Message<'_>, refusal: Option<&Message<'_>>, method: &str) -> Draft {
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
