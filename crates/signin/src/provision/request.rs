//! One request after the sign-in, understood as far as every answer here needs it. RFC 3261 §8, RFC 6665 §3.1,
//! `[MS-SIP]` §2.2.1.

use crate::name::Aor;
use crate::reply::{Diagnostics, Reply};
use sip::{CSeq, Message, Name, NameAddr};

/// No document of an honest client is longer. The same holds for what clients read.
const LONGEST_BODY: usize = 1024 * 1024;

/// An owned request: the bytes it came in may go before the answer is ready.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) uri: String,
    /// From as received, on one line.
    pub(super) from: String,
    pub(super) from_aor: Option<Aor>,
    pub(super) from_tag: String,
    /// The URI in To, as written.
    pub(super) to_uri: String,
    /// Tag of To: there when the request is inside a dialog.
    pub(super) to_tag: Option<String>,
    /// Tag that the answer has in To: the dialog's own, or the one made for this answer.
    pub(super) local_tag: String,
    pub(super) call_id: String,
    /// Event package, lower case.
    pub(super) event: Option<String>,
    /// Media types of Accept, lower case, in order.
    pub(super) accept: Vec<String>,
    /// `Supported: ms-piggyback-first-notify`.
    pub(super) piggyback: bool,
    /// `Supported: ms-benotify`.
    pub(super) benotify: bool,
    /// `Supported: com.microsoft.autoextend`.
    pub(super) autoextend: bool,
    /// Seconds asked for.
    pub(super) expires: Option<u32>,
    /// Media type of the body, lower case, without parameters.
    pub(super) content_type: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Request {
    /// Reads a request. `new_tag` is the To tag the answer gets when the request has none. The error is the answer.
    pub(super) fn read(message: &Message<'_>, new_tag: &str) -> Result<Request, Box<Reply>> {
        if message.body().len() > LONGEST_BODY {
            let reason = format!("A body of more than {LONGEST_BODY} bytes.");
            let reply = Reply::new(413, "Request Entity Too Large").because(Diagnostics::internal(4008, reason));
            return Err(Box::new(reply));
        }
        let bad = |what: &str| Box::new(Reply::new(400, "Bad Request").because(Diagnostics::internal(17001, what)));
        let (Some(method), Some(uri)) = (message.method(), message.request_uri()) else {
            return Err(bad("Not a request."));
        };
        let line = |name: Name| message.headers().iter().find(|h| h.name == name).map(|h| h.unfolded().into_owned());
        let from = line(Name::From).ok_or_else(|| bad("No From."))?;
        let to = line(Name::To).ok_or_else(|| bad("No To."))?;
        let call_id = line(Name::CallId).filter(|id| !id.is_empty()).ok_or_else(|| bad("No Call-ID."))?;
        let cseq = line(Name::CSeq).ok_or_else(|| bad("No CSeq."))?;
        let cseq = CSeq::parse(&cseq).map_err(|_| bad("CSeq cannot be understood."))?;
        if cseq.method != method {
            return Err(bad("CSeq has another method than the request."));
        }
        let from_addr = NameAddr::parse(&from).map_err(|_| bad("From cannot be understood."))?;
        let to_addr = NameAddr::parse(&to).map_err(|_| bad("To cannot be understood."))?;
        let from_tag = from_addr.params.get("tag").unwrap_or_default().to_owned();
        let to_tag = to_addr.params.get("tag").map(str::to_owned);
        Ok(Request {
            method: method.to_owned(),
            uri: uri.to_owned(),
            from_aor: Aor::from_uri(from_addr.uri).ok(),
            from_tag,
            to_uri: to_addr.uri.to_owned(),
            local_tag: to_tag.clone().unwrap_or_else(|| new_tag.to_owned()),
            to_tag,
            call_id,
            event: line(Name::Event).map(|event| media_type(&event)),
            accept: message.all(Name::Accept).flat_map(sip::header::split_list).map(media_type).collect(),
            piggyback: message.lists(Name::Supported, "ms-piggyback-first-notify"),
            benotify: message.lists(Name::Supported, "ms-benotify"),
            autoextend: message.lists(Name::Supported, "com.microsoft.autoextend"),
            expires: line(Name::Expires).and_then(|value| value.trim().parse().ok()),
            content_type: line(Name::ContentType).map(|value| media_type(&value)),
            body: message.body().to_vec(),
            from,
        })
    }

    /// The address of record in To.
    pub(super) fn to_aor(&self) -> Option<Aor> {
        Aor::from_uri(&self.to_uri).ok()
    }

    /// Whether Accept lets this media type through. An absent Accept lets everything through.
    pub(super) fn accepts(&self, media_type: &str) -> bool {
        let family = media_type.split('/').next().unwrap_or_default();
        self.accept.is_empty()
            || self.accept.iter().any(|accepted| {
                accepted == media_type
                    || accepted == "*/*"
                    || accepted.strip_suffix("/*").is_some_and(|accepted| accepted == family)
            })
    }

    /// Whether the body has this media type.
    pub(super) fn carries(&self, media_type: &str) -> bool {
        self.content_type.as_deref() == Some(media_type)
    }
}

/// A media type or event package without its parameters, in lower case.
pub(super) fn media_type(value: &str) -> String {
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
