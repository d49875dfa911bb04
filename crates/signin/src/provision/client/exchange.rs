//! How requests after the sign-in go out, and their answers come back: the session sends them, this room writes and reads.

use crate::io::Pending;

/// Sends requests of the signed-in endpoint. Whoever implements it adds what every request has (Via, From, To, Call-ID,
/// CSeq, Contact, Max-Forwards), signs, checks signatures and authenticates again when asked to.
pub trait Session: Send {
    /// Sends all of them without waiting in between, each outside a dialog, and gives their final answers in the same
    /// order.
    fn exchange(&mut self, requests: Vec<Request>) -> Pending<'_, Vec<Result<Response, SessionError>>>;
}

/// A request to be sent. To is the same as the Request-URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `SUBSCRIBE` or `SERVICE`.
    pub method: &'static str,
    /// Request-URI.
    pub uri: String,
    /// Further headers, in order.
    pub headers: Vec<(&'static str, String)>,
    /// Content type and body.
    pub body: Option<(&'static str, String)>,
    /// Call-ID of the subscription it belongs to, as the answer that began it has it; `None`: it stands alone.
    pub within: Option<String>,
}

/// A final answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub code: u16,
    /// Reason phrase.
    pub reason: String,
    /// Headers, in order.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Response {
    /// Copies an answer out of the bytes it came in. A request is none.
    pub fn of(message: &sip::Message<'_>) -> Option<Response> {
        let sip::StartLine::Response { code, reason } = message.start() else { return None };
        let headers = message.headers().iter().map(|h| (h.spelling.to_owned(), h.unfolded().into_owned())).collect();
        Some(Response { code, reason: reason.to_owned(), headers, body: message.body().to_vec() })
    }

    /// The first value of a header, its name compared without case and in its long form.
    pub fn header(&self, name: &str) -> Option<&str> {
        let wanted = sip::Name::from_spelling(name);
        let is = |spelling: &str| {
            spelling.eq_ignore_ascii_case(name)
                || (wanted != sip::Name::Other && sip::Name::from_spelling(spelling) == wanted)
        };
        self.headers.iter().find(|(spelling, _)| is(spelling)).map(|(_, value)| value.as_str())
    }

    /// Whether it is a 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// Status, reason phrase, and what the server says about it.
    pub fn in_words(&self) -> String {
        let said = self.header("ms-diagnostics").or_else(|| self.header("ms-diagnostics-public"));
        match said {
            Some(said) => format!("{} {} ({said})", self.code, self.reason),
            None => format!("{} {}", self.code, self.reason),
        }
    }
}

/// A request had no final answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SessionError(pub String);
