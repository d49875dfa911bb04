//! A server's plain answer, before it is signed and sent: rooms return it, [`crate::server`] turns it into bytes.

use crate::authenticate::cause::Cause;
use std::fmt::Write;

/// `ms-diagnostics`: which error, for programs (the id) and people (the reason). `[MS-OCER]` §2.2.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    /// Error id.
    pub id: u32,
    /// Reason in words; shown verbatim by clients.
    pub reason: String,
    /// May be told to peers that are unauthenticated or outside: sent as `ms-diagnostics-public` too.
    pub public: bool,
    /// Id of the failure catalogue, when one id stands for several causes: a parameter of our own, `cause`.
    pub cause: Option<&'static str>,
    /// What peers outside are told in place of reason and cause.
    pub outside: Option<&'static str>,
}

impl Diagnostics {
    /// For peers inside the enterprise only.
    pub fn internal(id: u32, reason: impl Into<String>) -> Diagnostics {
        Diagnostics { id, reason: reason.into(), public: false, cause: None, outside: None }
    }

    /// For everybody.
    pub fn public(id: u32, reason: impl Into<String>) -> Diagnostics {
        Diagnostics { id, reason: reason.into(), public: true, cause: None, outside: None }
    }

    /// Names the cause.
    #[must_use]
    pub fn caused_by(self, cause: &'static str) -> Diagnostics {
        debug_assert!(Cause::named(cause).is_some(), "clients take {cause} for words");
        Diagnostics { cause: Some(cause), ..self }
    }

    /// Has peers outside told this alone.
    #[must_use]
    pub fn outside(self, reason: &'static str) -> Diagnostics {
        Diagnostics { outside: Some(reason), ..self }
    }

    /// As peers outside are told it.
    pub fn for_outside(&self) -> String {
        match self.outside {
            Some(reason) => Diagnostics::public(self.id, reason).value(None),
            None => self.value(None),
        }
    }

    /// The header value; `source` is left out of the public form.
    pub fn value(&self, source: Option<&str>) -> String {
        let quoted = |text: &str| text.replace(['"', '\\'], "'");
        let mut value = format!("{};reason=\"{}\"", self.id, quoted(&self.reason));
        if let Some(source) = source {
            let _ = write!(value, ";source=\"{}\"", quoted(source));
        }
        if let Some(cause) = self.cause {
            let _ = write!(value, ";cause=\"{cause}\"");
        }
        value
    }
}

/// What a response says of its cause: of `ms-diagnostics`, else of its public twin. Each may be missing or unreadable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Error id.
    pub id: Option<u32>,
    /// Reason in words.
    pub reason: Option<String>,
    /// What is said to be the cause; only servers like ours tell it. It is an id if [`Cause::named`] knows it.
    pub cause: Option<String>,
}

impl Told {
    /// Reads it.
    pub fn by(message: &sip::Message<'_>) -> Told {
        let Some(value) = message.named("ms-diagnostics").or_else(|| message.named("ms-diagnostics-public")) else {
            return Told::default();
        };
        let (id, params) = value.find(';').map_or((value, ""), |at| value.split_at(at));
        let params = sip::Params::after(params);
        let text = |name: &str| params.as_ref().and_then(|p| p.get(name)).map(str::to_owned);
        Told { id: id.trim().parse().ok(), reason: text("reason"), cause: text("cause") }
    }
}

impl Told {
    /// The reason, with what is said to be the cause when that is no id that we know.
    pub fn words(&self) -> Option<String> {
        let cause = self.cause.as_deref().filter(|cause| Cause::named(cause).is_none());
        match (&self.reason, cause) {
            (Some(reason), Some(cause)) => Some(format!("{reason} (cause: {cause})")),
            (None, Some(cause)) => Some(format!("cause: {cause}")),
            (reason, None) => reason.clone(),
        }
    }
}

/// Error id and reason of a response.
pub fn diagnostics(message: &sip::Message<'_>) -> (Option<u32>, Option<String>) {
    let told = Told::by(message);
    (told.id, told.reason)
}

/// An answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Status code.
    pub code: u16,
    /// Reason phrase.
    pub reason: &'static str,
    /// Headers beyond those every response has (Via, From, To, Call-ID, CSeq, Content-Length), in order.
    pub headers: Vec<(&'static str, String)>,
    /// Content type and body.
    pub body: Option<(String, Vec<u8>)>,
    /// Why, when it is an error.
    pub diagnostics: Option<Diagnostics>,
    /// For the server's log, never for the peer: the whole cause.
    pub log: Option<String>,
}

impl Reply {
    /// An answer with nothing further.
    pub fn new(code: u16, reason: &'static str) -> Reply {
        Reply { code, reason, headers: Vec::new(), body: None, diagnostics: None, log: None }
    }

    /// `200 OK`.
    pub fn ok() -> Reply {
        Reply::new(200, "OK")
    }

    /// Adds a header line.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, content_type: impl Into<String>, body: impl Into<Vec<u8>>) -> Reply {
        self.body = Some((content_type.into(), body.into()));
        self
    }

    /// Says why.
    #[must_use]
    pub fn because(mut self, diagnostics: Diagnostics) -> Reply {
        self.diagnostics = Some(diagnostics);
        self
    }

    /// Tells the log why.
    #[must_use]
    pub fn logged(mut self, why: impl Into<String>) -> Reply {
        self.log = Some(why.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diagnostics_are_read_as_they_are_written() {
        let written = Diagnostics::internal(1013, "Significant time skew; really").value(Some("fe"));
        let text = format!("SIP/2.0 401 No\r\nms-diagnostics: {written}\r\n\r\n");
        let message = sip::Message::parse(text.as_bytes()).expect("parses");
        assert_eq!(diagnostics(&message), (Some(1013), Some("Significant time skew; really".to_owned())));
        let none = sip::Message::parse(b"SIP/2.0 401 No\r\n\r\n").expect("parses");
        assert_eq!(diagnostics(&none), (None, None));
    }
}
