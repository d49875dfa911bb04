//! Cutting a TCP or TLS stream into messages by `Content-Length`. RFC 3261 §18.3; keep-alive of RFC 5626 §3.5.1.
//!
//! The caller keeps the buffer; [`cut`] only says how many of its first bytes are one thing.

use crate::message::{Name, head_length};

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
    let blank = buffer.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    if blank > 0 {
        return Ok(Cut::KeepAlive { length: blank });
    }
    if buffer.first().is_some_and(|b| !b.is_ascii_graphic()) {
        return Err(FramingError::NotSip);
    }
    let Some(head) = head_length(&buffer[..buffer.len().min(limits.head + 1)]) else {
        return if buffer.len() > limits.head {
            Err(FramingError::HeadTooLong { limit: limits.head })
        } else {
            Ok(Cut::Incomplete)
        };
    };
    let promised = content_length(&buffer[..head])?;
    if promised > limits.body {
        return Err(FramingError::BodyTooLong { promised, limit: limits.body });
    }
    let length = head + promised;
    Ok(if buffer.len() < length { Cut::Incomplete } else { Cut::Message { length } })
}

fn content_length(head: &[u8]) -> Result<usize, FramingError> {
    let mut found = None;
    let mut at = 0;
    for end in memchr::memchr_iter(b'\n', head) {
        let line = &head[at..end];
        at = end + 1;
        if !matches!(line.first(), Some(b'l' | b'L' | b'c' | b'C')) {
            continue;
        }
        let Some(colon) = memchr::memchr(b':', &line[..line.len().min(20)]) else { continue };
        let Ok(name) = std::str::from_utf8(&line[..colon]) else { continue };
        if Name::from_spelling(name.trim_end()) == Name::ContentLength {
            let text = std::str::from_utf8(&line[colon + 1..]).map_err(|_| FramingError::BadContentLength)?;
            let value: usize = text.trim().parse().map_err(|_| FramingError::BadContentLength)?;
            if found.replace(value).is_some_and(|before| before != value) {
                return Err(FramingError::BadContentLength);
            }
        }
    }
    Ok(found.unwrap_or(0))
}
