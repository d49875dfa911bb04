//! How answers leave a server: signed by the association that verified the request; and, to those who have proven nothing, not
//! signed at all.

use super::{Arrived, FrontEnd};
use crate::authenticate::server::Verified;
use crate::directory::DirectoryError;
use crate::io::ConnId;
use crate::journal::ServerEvent;
use crate::outgoing::{self, Hop};
use crate::reply::{Diagnostics, Reply};
use sip::framing::FramingError;
use sip::{Draft, Message};

impl FrontEnd {
    /// The 401 with these challenges.
    pub(super) fn unauthorized(&self, challenges: &[String], diagnostics: Option<Diagnostics>) -> Reply {
        let date = http_date(self.foundations.surroundings.now().unix_seconds);
        let mut reply = Reply::new(401, "Unauthorized").with("Date", date);
        for challenge in challenges {
            reply = reply.with("WWW-Authenticate", challenge.clone());
        }
        reply.diagnostics = diagnostics;
        reply
    }

    /// The answer to a request that no association can sign: there is none yet.
    pub(super) fn answer_unsigned(&self, hop: &Hop, request: &Message<'_>, reply: &Reply) {
        self.note_trouble(reply);
        let draft = outgoing::response(request, reply, &self.new_tag(), hop, &self.here.fqdn);
        self.send_unsigned(hop.conn, draft);
    }

    /// The answer to what could not be read: it names neither its sender nor an association to sign with.
    pub(super) fn answer_garbled(&self, conn: ConnId, error: &FramingError) {
        let (mut reply, id) = match error {
            FramingError::BodyTooLong { .. } | FramingError::HeadTooLong { .. } => {
                (Draft::response(513, "Message Too Large"), 4008)
            }
            _ => (Draft::response(400, "Bad Request"), 4000),
        };
        reply.header("ms-diagnostics-public", Diagnostics::public(id, error.to_string()).value(None));
        self.send_unsigned(conn, reply);
    }

    /// The only way out for what is not signed: answers to those who have proven nothing, and to what could not be read.
    fn send_unsigned(&self, conn: ConnId, draft: Draft) {
        self.foundations.wire.send(conn, draft.finish());
    }

    /// Every other response: signed by the association that verified the request. An ACK is never answered.
    pub(super) fn answer(&self, arrived: &Arrived<'_>, verified: &Verified, reply: &Reply) {
        self.note_trouble(reply);
        if arrived.request.method() == Some("ACK") {
            return;
        }
        let draft = outgoing::response(&arrived.request, reply, &arrived.to_tag, &arrived.hop, &self.here.fqdn);
        let signed = self.with_associations(|a, moment| a.sign(moment, verified.opaque(), draft));
        if let Some(bytes) = signed {
            self.foundations.wire.send(arrived.hop.conn, bytes);
        }
    }

    /// What a reply says to the log alone.
    pub(super) fn note_trouble(&self, reply: &Reply) {
        if let Some(why) = &reply.log {
            self.note(&ServerEvent::Unavailable { why: why.clone() });
        }
    }

    /// To tag of a new answer.
    pub(super) fn new_tag(&self) -> String {
        let mut bytes = [0; 16];
        self.foundations.surroundings.fill_random(&mut bytes);
        hex::encode_upper(bytes)
    }
}

/// What everybody may know of a directory or verifier that does not answer.
const CANNOT_ROUTE: &str = "Temporarily cannot route";

/// The directory or the verifier could not answer: the user is told that it is not his fault, the log has the whole text.
/// Who has proven who he is, inside, is told in fixed words what is wrong too. The cause is told inside to all, for with
/// no domain controller nobody can prove anything; outside it is not told.
pub(super) fn unavailable(error: &DirectoryError, proven: bool) -> Reply {
    let fault = error.fault;
    let reason = if proven { format!("{CANNOT_ROUTE}: {fault}") } else { CANNOT_ROUTE.to_owned() };
    let why = Diagnostics { cause: fault.id(), ..Diagnostics::internal(1007, reason).outside(CANNOT_ROUTE) };
    Reply::new(504, "Server time-out").because(why).logged(error.to_string())
}

/// `Sun, 22 Nov 2026 13:00:00 GMT`: RFC 3261 §20.17.
fn http_date(unix_seconds: i64) -> String {
    let format = time::macros::format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    time::OffsetDateTime::from_unix_timestamp(unix_seconds)
        .ok()
        .and_then(|date| date.format(&format).ok())
        .unwrap_or_else(|| "Thu, 01 Jan 1970 00:00:00 GMT".to_owned())
}
