//! One received message, cut but not changed. RFC 3261 §7. Values stay exactly as received, because signatures of a layer
//! above cover them as sent.

use crate::head::Head;
use crate::header;
use crate::name::{NAMES, Name};
use memchr::memchr2;
use std::borrow::Cow;

/// A request or a response, borrowed from the bytes it came in.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    start: StartLine<'a>,
    headers: Vec<Header<'a>>,
    /// Place of the first header of each name, or [`ABSENT`].
    first: [u16; NAMES],
    body: &'a [u8],
}

/// No header of that name before this place: with fewer headers, none at all.
const ABSENT: u16 = u16::MAX;

/// The first line. RFC 3261 §7.1, §7.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartLine<'a> {
    /// `METHOD uri SIP/2.0`; methods are case-sensitive tokens and unknown ones are kept.
    Request {
        /// The method, as written.
        method: &'a str,
        /// The Request-URI, as written.
        uri: &'a str,
    },
    /// `SIP/2.0 code reason`.
    Response {
        /// 100 to 699.
        code: u16,
        /// The reason phrase, possibly empty.
        reason: &'a str,
    },
}

/// One header line (or several, when folded), in the place and spelling it was received.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a> {
    /// Which header it is; compact forms have their long name here.
    pub name: Name,
    /// The name as written.
    pub spelling: &'a str,
    /// The value as written, without the white space around it; may contain folds (CR LF and white space).
    pub value: &'a str,
}

impl<'a> Header<'a> {
    /// The value on one line: every fold becomes one space (RFC 3261 §7.3.1).
    pub fn unfolded(&self) -> Cow<'a, str> {
        if memchr2(b'\r', b'\n', self.value.as_bytes()).is_none() {
            return Cow::Borrowed(self.value);
        }
        let mut line = String::with_capacity(self.value.len());
        for part in self.value.split(['\r', '\n']).filter(|part| !part.is_empty()) {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(part.trim_matches([' ', '\t']));
        }
        Cow::Owned(line)
    }
}

/// Why bytes are not a SIP message. Every variant names the offset (bytes from the start) where it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The head is not UTF-8.
    #[error("the head is not UTF-8 at byte {at}")]
    NotUtf8 {
        /// Offset of the first bad byte.
        at: usize,
    },
    /// The head does not end with an empty line.
    #[error("the head does not end")]
    HeadIncomplete,
    /// The first line is neither a request line nor a status line.
    #[error("the first line is neither a request line nor a status line")]
    BadStartLine,
    /// Another version than `SIP/2.0`.
    #[error("the version is not SIP/2.0")]
    BadVersion,
    /// A header line without a colon or with a bad name.
    #[error("no header name and colon in the line at byte {at}")]
    BadHeader {
        /// Offset of the line.
        at: usize,
    },
    /// `Content-Length` is not a number, or several disagree.
    #[error("Content-Length is not one number")]
    BadContentLength,
    /// `Content-Length` promises more bytes than there are.
    #[error("the body has {have} of {promised} bytes")]
    BodyIncomplete {
        /// Bytes present.
        have: usize,
        /// Bytes promised.
        promised: usize,
    },
}

impl<'a> Message<'a> {
    /// Cuts one whole message. Bytes after the body (as `Content-Length` has it) are not part of it; without
    /// `Content-Length` everything after the head is the body.
    pub fn parse(bytes: &'a [u8]) -> Result<Message<'a>, ParseError> {
        let Head { start, headers, length } = Head::read(bytes)?;
        let mut message = Message { start, headers, first: [ABSENT; NAMES], body: &bytes[length..] };
        for (place, header) in message.headers.iter().enumerate() {
            if let Some(first) = message.first.get_mut(header.name as usize)
                && *first == ABSENT
            {
                *first = u16::try_from(place).unwrap_or(ABSENT);
            }
        }
        if let Some(promised) = message.content_length()? {
            let have = message.body.len();
            message.body = message.body.get(..promised).ok_or(ParseError::BodyIncomplete { have, promised })?;
        }
        Ok(message)
    }

    /// What the `Content-Length` headers agree on.
    fn content_length(&self) -> Result<Option<usize>, ParseError> {
        let mut found = None;
        for value in self.all(Name::ContentLength) {
            let length = header::digits(value).ok_or(ParseError::BadContentLength)?;
            if found.replace(length).is_some_and(|before| before != length) {
                return Err(ParseError::BadContentLength);
            }
        }
        Ok(found)
    }

    /// The first line.
    pub fn start(&self) -> StartLine<'a> {
        self.start
    }

    /// The method of a request; of a response, `None`.
    pub fn method(&self) -> Option<&'a str> {
        match self.start {
            StartLine::Request { method, .. } => Some(method),
            StartLine::Response { .. } => None,
        }
    }

    /// The Request-URI of a request, as written.
    pub fn request_uri(&self) -> Option<&'a str> {
        match self.start {
            StartLine::Request { uri, .. } => Some(uri),
            StartLine::Response { .. } => None,
        }
    }

    /// The status code of a response; of a request, `None`.
    pub fn status(&self) -> Option<u16> {
        match self.start {
            StartLine::Response { code, .. } => Some(code),
            StartLine::Request { .. } => None,
        }
    }

    /// Every header, in order.
    pub fn headers(&self) -> &[Header<'a>] {
        &self.headers
    }

    /// The body, as `Content-Length` cut it.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The value of the first header of that name, as written.
    pub fn header(&self, name: Name) -> Option<&'a str> {
        self.all(name).next()
    }

    /// The values of every header of that name, in order.
    pub fn all(&self, name: Name) -> impl Iterator<Item = &'a str> + '_ {
        let first = self.first.get(name as usize).map_or(0, |first| usize::from(*first));
        let from = self.headers.get(first..).unwrap_or_default();
        from.iter().filter(move |h| h.name == name).map(|h| h.value)
    }

    /// The value of the first header with that spelling, case aside: for headers [`Name`] does not list.
    pub fn named(&self, spelling: &str) -> Option<&'a str> {
        let spelled = |h: &&Header<'_>| h.spelling == spelling || h.spelling.eq_ignore_ascii_case(spelling);
        self.headers.iter().find(spelled).map(|h| h.value)
    }

    /// Whether a comma list spread over any number of headers of that name has this token, case aside.
    pub fn lists(&self, name: Name, token: &str) -> bool {
        self.all(name).any(|value| header::split_tokens(value).any(|item| item.eq_ignore_ascii_case(token)))
    }
}

#[cfg(test)]
mod tests;
