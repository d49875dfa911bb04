//! One received message, cut but not changed. RFC 3261 §7.
//!
//! The parser makes one pass over the head with `memchr`, records where each header begins and ends, and copies
//! nothing. Values stay exactly as received, because signatures of a layer above cover them as sent.

use memchr::{memchr, memchr2};
use std::borrow::Cow;

/// A request or a response, borrowed from the bytes it came in.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    start: StartLine<'a>,
    headers: Vec<Header<'a>>,
    body: &'a [u8],
}

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

macro_rules! names {
    ($($variant:ident $long:literal),+ $(,)?) => {
        /// The headers this crate knows by name; every other one is [`Name::Other`], with its spelling kept.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Name {
            $(
                #[doc = concat!("`", $long, "`")]
                $variant,
            )+
            /// A header this crate has no use for; find it by its spelling.
            Other,
        }

        impl Name {
            /// The usual spelling, or an empty text for [`Name::Other`].
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Name::$variant => $long,)+
                    Name::Other => "",
                }
            }

        }
    };
}

names! {
    Via "Via",
    From "From",
    To "To",
    CallId "Call-ID",
    CSeq "CSeq",
    Contact "Contact",
    MaxForwards "Max-Forwards",
    ContentLength "Content-Length",
    ContentType "Content-Type",
    Supported "Supported",
    Require "Require",
    ProxyRequire "Proxy-Require",
    Expires "Expires",
    Event "Event",
    Authorization "Authorization",
    ProxyAuthorization "Proxy-Authorization",
    WwwAuthenticate "WWW-Authenticate",
    ProxyAuthenticate "Proxy-Authenticate",
    AuthenticationInfo "Authentication-Info",
    ProxyAuthenticationInfo "Proxy-Authentication-Info",
    UserAgent "User-Agent",
    Server "Server",
    Accept "Accept",
    AllowEvents "Allow-Events",
    RecordRoute "Record-Route",
    Route "Route",
    SubscriptionState "Subscription-State",
    PAssertedIdentity "P-Asserted-Identity",
    PPreferredIdentity "P-Preferred-Identity",
    RetryAfter "Retry-After",
    Warning "Warning",
    Date "Date",
    ContentEncoding "Content-Encoding",
    Subject "Subject",
    ReferTo "Refer-To",
}

impl Name {
    /// Which header this spelling means; case does not matter, compact forms are understood. RFC 3261 §7.3.3, §20.
    pub fn from_spelling(spelling: &str) -> Name {
        let bytes = spelling.as_bytes();
        let at = |place: usize| bytes.get(place).map_or(0, u8::to_ascii_lowercase);
        // Length and first letter leave one candidate, or two that differ in their third letter.
        let candidate = match (bytes.len(), at(0)) {
            (1, compact) => return Name::from_compact(compact),
            (2, b't') => Name::To,
            (3, b'v') => Name::Via,
            (4, b'f') => Name::From,
            (4, b'c') => Name::CSeq,
            (4, b'd') => Name::Date,
            (5, b'e') => Name::Event,
            (5, b'r') => Name::Route,
            (6, b's') => Name::Server,
            (6, b'a') => Name::Accept,
            (7, b'c') if at(2) == b'l' => Name::CallId,
            (7, b'c') => Name::Contact,
            (7, b'e') => Name::Expires,
            (7, b'r') => Name::Require,
            (7, b's') => Name::Subject,
            (7, b'w') => Name::Warning,
            (8, b'r') => Name::ReferTo,
            (9, b's') => Name::Supported,
            (10, b'u') => Name::UserAgent,
            (11, b'r') => Name::RetryAfter,
            (12, b'm') => Name::MaxForwards,
            (12, b'c') => Name::ContentType,
            (12, b'a') => Name::AllowEvents,
            (12, b'r') => Name::RecordRoute,
            (13, b'p') => Name::ProxyRequire,
            (13, b'a') => Name::Authorization,
            (14, b'c') => Name::ContentLength,
            (16, b'w') => Name::WwwAuthenticate,
            (16, b'c') => Name::ContentEncoding,
            (18, b'p') => Name::ProxyAuthenticate,
            (18, b's') => Name::SubscriptionState,
            (19, b'a') => Name::AuthenticationInfo,
            (19, b'p') if at(2) == b'o' => Name::ProxyAuthorization,
            (19, b'p') => Name::PAssertedIdentity,
            (20, b'p') => Name::PPreferredIdentity,
            (25, b'p') => Name::ProxyAuthenticationInfo,
            _ => return Name::Other,
        };
        if bytes.eq_ignore_ascii_case(candidate.as_str().as_bytes()) { candidate } else { Name::Other }
    }

    fn from_compact(letter: u8) -> Name {
        match letter {
            b'v' => Name::Via,
            b'f' => Name::From,
            b't' => Name::To,
            b'i' => Name::CallId,
            b'm' => Name::Contact,
            b'l' => Name::ContentLength,
            b'c' => Name::ContentType,
            b'k' => Name::Supported,
            b'o' => Name::Event,
            b'u' => Name::AllowEvents,
            b'e' => Name::ContentEncoding,
            b's' => Name::Subject,
            b'r' => Name::ReferTo,
            _ => Name::Other,
        }
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
        let lines = Lines::find(bytes).ok_or(ParseError::HeadIncomplete)?;
        let head =
            std::str::from_utf8(&bytes[..lines.head]).map_err(|e| ParseError::NotUtf8 { at: e.valid_up_to() })?;
        let ends = lines.ends.as_slice();
        let mut from = ends.first().map_or(0, |end| end + 1);
        let start = start_line(without_cr(&head[..from.saturating_sub(1)]))?;
        let mut headers = Vec::with_capacity(ends.len());
        let mut content_length = None;
        let mut line = 1;
        while let Some(end) = ends.get(line) {
            let mut end = *end;
            line += 1;
            // A line that begins with white space continues the one before.
            while matches!(bytes.get(end + 1), Some(b' ' | b'\t'))
                && let Some(next) = ends.get(line)
            {
                end = *next;
                line += 1;
            }
            let header = header_line(&head[from..end]).ok_or(ParseError::BadHeader { at: from })?;
            if header.name == Name::ContentLength {
                let length: usize = header.value.parse().map_err(|_| ParseError::BadContentLength)?;
                if content_length.replace(length).is_some_and(|before| before != length) {
                    return Err(ParseError::BadContentLength);
                }
            }
            headers.push(header);
            from = end + 1;
        }
        let rest = &bytes[lines.head..];
        let body = match content_length {
            None => rest,
            Some(promised) => rest.get(..promised).ok_or(ParseError::BodyIncomplete { have: rest.len(), promised })?,
        };
        Ok(Message { start, headers, body })
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
        self.headers.iter().find(|h| h.name == name).map(|h| h.value)
    }

    /// The values of every header of that name, in order.
    pub fn all(&self, name: Name) -> impl Iterator<Item = &'a str> + '_ {
        self.headers.iter().filter(move |h| h.name == name).map(|h| h.value)
    }

    /// The value of the first header with that spelling, case aside: for headers [`Name`] does not list.
    pub fn named(&self, spelling: &str) -> Option<&'a str> {
        self.headers.iter().find(|h| h.spelling.eq_ignore_ascii_case(spelling)).map(|h| h.value)
    }

    /// Whether a comma list spread over any number of headers of that name has this token, case aside.
    pub fn lists(&self, name: Name, token: &str) -> bool {
        self.all(name).flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
    }
}

/// Length of the head including the empty line that ends it, or `None` while that has not arrived.
pub(crate) fn head_length(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(found) = memchr(b'\n', &bytes[from..]) {
        let after = from + found + 1;
        match bytes.get(after..) {
            Some([b'\r', b'\n', ..]) => return Some(after + 2),
            Some([b'\n', ..]) => return Some(after + 1),
            _ => from = after,
        }
    }
    None
}

/// The lines of a head, found in one pass.
struct Lines {
    /// Offset of the line feed that ends each line; the empty line is not among them.
    ends: Vec<usize>,
    /// Length of the head, the empty line included.
    head: usize,
}

impl Lines {
    fn find(bytes: &[u8]) -> Option<Lines> {
        let mut ends = Vec::with_capacity(32);
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            let length = end - from;
            if from > 0 && (length == 0 || length == 1 && bytes[from] == b'\r') {
                return Some(Lines { ends, head: end + 1 });
            }
            ends.push(end);
            from = end + 1;
        }
        None
    }
}

fn without_cr(line: &str) -> &str {
    line.strip_suffix('\r').unwrap_or(line)
}

fn start_line(line: &str) -> Result<StartLine<'_>, ParseError> {
    if let Some(rest) = line.strip_prefix("SIP/2.0 ") {
        let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        let code: u16 = code.parse().map_err(|_| ParseError::BadStartLine)?;
        if !(100..700).contains(&code) {
            return Err(ParseError::BadStartLine);
        }
        return Ok(StartLine::Response { code, reason });
    }
    let mut parts = line.split(' ');
    let (Some(method), Some(uri), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(ParseError::BadStartLine);
    };
    if method.is_empty() || !method.bytes().all(is_token) || uri.is_empty() {
        return Err(ParseError::BadStartLine);
    }
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        return Err(ParseError::BadVersion);
    }
    Ok(StartLine::Request { method, uri })
}

fn header_line(line: &str) -> Option<Header<'_>> {
    let bytes = line.as_bytes();
    let name_end = bytes.iter().position(|byte| !is_token(*byte))?;
    let blank = bytes[name_end..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let colon = name_end + blank;
    if name_end == 0 || bytes.get(colon) != Some(&b':') {
        return None;
    }
    let spelling = &line[..name_end];
    Some(Header { name: Name::from_spelling(spelling), spelling, value: line[colon + 1..].trim_ascii() })
}

/// The `token` characters of RFC 3261 §25.1.
pub(crate) fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        let other = matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~');
        table[byte as usize] = byte.is_ascii_alphanumeric() || other;
        byte += 1;
    }
    table
};
