//! Cutting a TCP or TLS stream into messages by `Content-Length`. RFC 3261 §18.3; keep-alive of RFC 5626 §3.5.1.
//!
//! The caller keeps the buffer; [`Framer`] says how many of its first bytes are one thing, and remembers what it has
//! looked at, so that a peer that sends byte by byte costs no more than one that sends at once. [`cut`] is for a buffer
//! that is looked at once.
//!
//! Where a message ends is decided as [`crate::Message::parse`] decides it: two readers that disagree about
//! `Content-Length` are how one message is smuggled inside another.

use crate::head::{head_length, header_line};
use crate::header::digits;
use crate::name::Name;
use crate::scan::LineEnds;

/// How much one peer may make us hold. Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest head, start line to empty line.
    pub head: usize,
    /// Longest body.
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { head: 64 * 1024, body: 1024 * 1024 }
    }
}

/// What the first bytes of a buffer are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// One whole message.
    Message {
        /// Bytes of head and body together.
        length: usize,
    },
    /// CR and LF between messages: a keep-alive, to be skipped.
    KeepAlive {
        /// Bytes of it.
        length: usize,
    },
    /// More has to arrive first.
    Incomplete,
}

/// Why a stream cannot be cut further; the connection has to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// The head is longer than allowed.
    #[error("the head is longer than {limit} bytes")]
    HeadTooLong {
        /// The limit that was passed.
        limit: usize,
    },
    /// The body would be longer than allowed.
    #[error("the body of {promised} bytes is longer than {limit} bytes")]
    BodyTooLong {
        /// What `Content-Length` says.
        promised: usize,
        /// The limit that was passed.
        limit: usize,
    },
    /// `Content-Length` is not one number.
    #[error("Content-Length is not one number")]
    BadContentLength,
    /// The first bytes cannot begin a SIP message (TLS or HTTP on the wrong port, or garbage).
    #[error("the stream does not carry SIP")]
    NotSip,
}

/// Says what the first bytes of `buffer` are. A message without `Content-Length` has no body on a stream.
pub fn cut(buffer: &[u8], limits: &Limits) -> Result<Cut, FramingError> {
    Framer::default().cut(buffer, limits)
}

/// What is known of the beginning of one stream's buffer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Framer {
    /// Bytes in which no head ends.
    searched: usize,
    /// Length of the whole message, once its head is there.
    length: Option<usize>,
}

impl Framer {
    /// Says what the first bytes of `buffer` are, as [`cut`] does.
    ///
    /// After [`Cut::Incomplete`] the next buffer has to begin with the same bytes; after anything else the bytes that
    /// were cut have to be gone from it. After an error there is nothing more to ask.
    pub fn cut(&mut self, buffer: &[u8], limits: &Limits) -> Result<Cut, FramingError> {
        if self.searched == 0 && self.length.is_none() {
            let blank = buffer.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
            if blank > 0 {
                return Ok(Cut::KeepAlive { length: blank });
            }
            if buffer.first().is_some_and(|b| !b.is_ascii_graphic()) {
                return Err(FramingError::NotSip);
            }
        }
        let length = match self.length {
            Some(length) => length,
            None => match self.whole_length(buffer, limits)? {
                Some(length) => length,
                None => return Ok(Cut::Incomplete),
            },
        };
        if buffer.len() < length {
            self.length = Some(length);
            return Ok(Cut::Incomplete);
        }
        *self = Framer::default();
        Ok(Cut::Message { length })
    }

    /// Length of head and body together, once the head is there.
    fn whole_length(&mut self, buffer: &[u8], limits: &Limits) -> Result<Option<usize>, FramingError> {
        let allowed = &buffer[..buffer.len().min(limits.head)];
        let Some(head) = head_length(allowed, self.searched) else {
            if buffer.len() > limits.head {
                return Err(FramingError::HeadTooLong { limit: limits.head });
            }
            // The line end that begins the end of the head may be the last bytes seen: LF, or LF CR.
            self.searched = buffer.len().saturating_sub(2);
            return Ok(None);
        };
        let promised = content_length(&buffer[..head])?;
        match head.checked_add(promised) {
            Some(length) if promised <= limits.body => Ok(Some(length)),
            _ => Err(FramingError::BodyTooLong { promised, limit: limits.body }),
        }
    }
}

/// What the `Content-Length` headers of a head agree on. Folds are undone as the parser undoes them; lines it would not
/// accept are its business, since the message is handed to it next.
fn content_length(head: &[u8]) -> Result<usize, FramingError> {
    let mut found = None;
    let mut ends = LineEnds::of(head);
    let mut next_end = || ends.next().unwrap_or(head.len());
    let mut at = next_end() + 1;
    while at < head.len() {
        let mut end = next_end();
        while let Some(b' ' | b'\t') = head.get(end + 1) {
            end = next_end();
        }
        let line = &head[at..end];
        at = end + 1;
        if !matches!(line.first(), Some(b'c' | b'C' | b'l' | b'L')) {
            continue;
        }
        let Some(header) = std::str::from_utf8(line).ok().and_then(header_line) else { continue };
        if header.name == Name::ContentLength {
            let value = digits(header.value).ok_or(FramingError::BadContentLength)?;
            if found.replace(value).is_some_and(|before| before != value) {
                return Err(FramingError::BadContentLength);
            }
        }
    }
    Ok(found.unwrap_or(0))
}

#[cfg(test)]
mod tests;
