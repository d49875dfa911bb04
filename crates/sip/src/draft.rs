//! Writing a message. A [`Draft`] is text from the first call on, so what is signed and what is sent cannot differ.

use crate::message::{Message, ParseError};
use crate::name::Name;
use std::fmt::{Display, Write};

/// A message being written: the head so far, and the body. `Content-Length` is added by [`Draft::finish`].
#[derive(Debug, Clone)]
pub struct Draft {
    head: String,
    body: Vec<u8>,
}

impl Draft {
    /// Begins a request.
    pub fn request(method: &str, uri: &str) -> Draft {
        let mut draft = Draft { head: String::with_capacity(1024), body: Vec::new() };
        let _ = write!(Clean(&mut draft.head), "{method} {uri} SIP/2.0");
        draft.head.push_str("\r\n");
        draft
    }

    /// Begins a response with nothing but its status line.
    pub fn response(code: u16, reason: &str) -> Draft {
        let mut draft = Draft { head: String::with_capacity(1024), body: Vec::new() };
        let _ = write!(Clean(&mut draft.head), "SIP/2.0 {code} {reason}");
        draft.head.push_str("\r\n");
        draft
    }

    /// Begins the response to `request`: Via (all, in order), From, To, Call-ID and CSeq are copied as received
    /// (RFC 3261 §8.2.6.2). `to_tag` is added to To when the request had none there.
    pub fn answer(request: &Message<'_>, code: u16, reason: &str, to_tag: &str) -> Draft {
        let mut draft = Draft::response(code, reason);
        for header in request.headers() {
            match header.name {
                Name::Via | Name::From | Name::CallId | Name::CSeq => {
                    draft.header(header.name.as_str(), header.unfolded());
                }
                Name::To => {
                    let value = header.unfolded();
                    let tagged = crate::NameAddr::parse(&value).is_ok_and(|to| to.params.get("tag").is_some());
                    if tagged || to_tag.is_empty() {
                        draft.header("To", value);
                    } else {
                        draft.header("To", format_args!("{value};tag={to_tag}"));
                    }
                }
                _ => {}
            }
        }
        draft
    }

    /// Adds one header line. Control characters in `value` become spaces: a value can never end its own line.
    pub fn header(&mut self, name: &str, value: impl Display) -> &mut Draft {
        let _ = write!(Clean(&mut self.head), "{name}: {value}");
        self.head.push_str("\r\n");
        self
    }

    /// Sets the body and writes its `Content-Type`.
    pub fn body(&mut self, content_type: &str, body: impl Into<Vec<u8>>) -> &mut Draft {
        self.header("Content-Type", content_type);
        self.body = body.into();
        self
    }

    /// The headers written so far, read back with the parser that the other side uses.
    pub fn read_back<T>(&self, read: impl FnOnce(&Message<'_>) -> T) -> Result<T, ParseError> {
        let mut text = String::with_capacity(self.head.len() + 2);
        text.push_str(&self.head);
        text.push_str("\r\n");
        Ok(read(&Message::parse(text.as_bytes())?))
    }

    /// The finished bytes: head, `Content-Length`, empty line, body.
    pub fn finish(self) -> Vec<u8> {
        let mut head = self.head;
        head.reserve_exact(LAST_LINE + self.body.len());
        let _ = write!(head, "Content-Length: {}\r\n\r\n", self.body.len());
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// Most bytes of `Content-Length` and the empty line after it.
const LAST_LINE: usize = 40;

/// Writes text with every control character replaced by a space.
struct Clean<'a>(&'a mut String);

impl Write for Clean<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        // To the end in any case: a loop that may stop early looks at one byte at a time.
        if text.bytes().fold(false, |found, b| found | (b < b' ') | (b == 0x7f)) {
            self.0.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }));
        } else {
            self.0.push_str(text);
        }
        Ok(())
    }
}
