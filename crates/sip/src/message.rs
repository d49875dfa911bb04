//! One received message, cut but not changed. RFC 3261 §7.
//!
//! The parser makes one pass over the head, from line end to line end, records where each header begins and ends, and copies
//! nothing. Values stay exactly as received, because signatures of a layer above cover them as sent.

use crate::header;
use crate::scan::{LineEnds, find, is_bare};
use crate::spelling;
use memchr::{memchr, memchr2};
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

macro_rules! names {
    ($($variant:ident $long:literal $($compact:literal)?),+ $(,)?) => {
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

        /// Every spelling, long and compact.
        pub(crate) const SPELLINGS: &[(&str, Name)] = &[$(($long, Name::$variant), $(($compact, Name::$variant),)?)+];
    };
}

names! {
    Via "Via" "v",
    From "From" "f",
    To "To" "t",
    CallId "Call-ID" "i",
    CSeq "CSeq",
    Contact "Contact" "m",
    MaxForwards "Max-Forwards",
    ContentLength "Content-Length" "l",
    ContentType "Content-Type" "c",
    Supported "Supported" "k",
    Require "Require",
    ProxyRequire "Proxy-Require",
    Expires "Expires",
    Event "Event" "o",
    Authorization "Authorization",
    ProxyAuthorization "Proxy-Authorization",
    WwwAuthenticate "WWW-Authenticate",
    ProxyAuthenticate "Proxy-Authenticate",
    AuthenticationInfo "Authentication-Info",
    ProxyAuthenticationInfo "Proxy-Authentication-Info",
    UserAgent "User-Agent",
    Server "Server",
    Accept "Accept",
    AllowEvents "Allow-Events" "u",
    RecordRoute "Record-Route",
    Route "Route",
    SubscriptionState "Subscription-State",
    PAssertedIdentity "P-Asserted-Identity",
    PPreferredIdentity "P-Preferred-Identity",
    RetryAfter "Retry-After",
    Warning "Warning",
    Date "Date",
    ContentEncoding "Content-Encoding" "e",
    Subject "Subject" "s",
    ReferTo "Refer-To" "r",
}

/// How many names there are besides [`Name::Other`], which is the last one.
const NAMES: usize = Name::Other as usize;

/// [`SPELLINGS`] by [`slot`], collisions in the next free place; made by the compiler. At most one third is filled.
static TABLE: [Option<(&str, Name)>; SLOTS] = {
    let mut table = [None; SLOTS];
    let mut next = 0;
    while next < SPELLINGS.len() {
        let mut at = slot(SPELLINGS[next].0.as_bytes());
        while table[at].is_some() {
            at = (at + 1) % SLOTS;
        }
        table[at] = Some(SPELLINGS[next]);
        next += 1;
    }
    table
};

const SLOTS: usize = 256;

/// Where a spelling belongs in [`TABLE`]: its length and first letter tell nearly all of them apart.
const fn slot(spelling: &[u8]) -> usize {
    match spelling {
        [] => 0,
        [first, ..] => ((*first | 0x20) as usize * 8 + spelling.len()) % SLOTS,
    }
}

impl Name {
    /// Which header this spelling means; case does not matter, compact forms are understood.
    pub fn from_spelling(spelling: &str) -> Name {
        let mut at = slot(spelling.as_bytes());
        while let Some((known, name)) = TABLE[at] {
            if known.eq_ignore_ascii_case(spelling) {
                return name;
            }
            at = (at + 1) % SLOTS;
        }
        Name::Other
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
        let text = text_of(bytes)?;
        let mut ends = LineEnds::of(text.as_bytes());
        let first_end = ends.next().ok_or(ParseError::HeadIncomplete)?;
        let start = start_line(without_cr(&text[..first_end]))?;
        let mut lines = Lines { text, ends, from: first_end + 1 };
        let headers = lines.headers()?;
        let mut message = Message { start, headers, first: [ABSENT; NAMES], body: &bytes[lines.from..] };
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

/// The lines of a head that were not read yet, folds joined.
struct Lines<'a> {
    text: &'a str,
    ends: LineEnds<'a>,
    /// Where the next line begins.
    from: usize,
}

impl<'a> Lines<'a> {
    /// Cuts header after header, and the empty line.
    fn headers(&mut self) -> Result<Vec<Header<'a>>, ParseError> {
        let mut headers = Vec::with_capacity(24);
        loop {
            self.usual_headers(&mut headers);
            let at = self.from;
            let empty = match self.text.as_bytes()[at..] {
                [b'\r', b'\n', ..] => 2,
                [b'\n', ..] => 1,
                _ => {
                    let line = self.next().ok_or(ParseError::HeadIncomplete)?;
                    headers.push(header_line(line).ok_or(ParseError::BadHeader { at })?);
                    continue;
                }
            };
            self.from += empty;
            return Ok(headers);
        }
    }

    /// Cuts the next headers as long as there is room and they are written as nearly all are: a name of letters and
    /// hyphens, a colon, one blank, a value without white space around it, CR LF. Other lines are left to
    /// [`header_line`], which would cut these alike.
    // Nothing is called in this loop: what it knows stays in registers, and that is a third of its time.
    #[inline(never)]
    fn usual_headers(&mut self, headers: &mut Vec<Header<'a>>) {
        let Lines { text, mut ends, from } = *self;
        let mut rest = &text[from..];
        while headers.len() < headers.capacity() {
            let mut later_ends = ends;
            let Some(end) = later_ends.next() else { break };
            let Some((name, colon)) = spelling::usual(rest.as_bytes()) else { break };
            let Some((line, later)) = rest.split_at_checked(end + 1 - (text.len() - rest.len())) else { break };
            if let [] | [b' ' | b'\t', ..] = later.as_bytes() {
                break;
            }
            let Some((spelling, value)) = line.split_at_checked(colon) else { break };
            let Some(value) = value.strip_prefix(": ").and_then(|value| value.strip_suffix("\r\n")) else { break };
            if !is_bare(value) {
                break;
            }
            headers.push(Header { name, spelling, value });
            (ends, rest) = (later_ends, later);
        }
        *self = Lines { text, ends, from: text.len() - rest.len() };
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let mut end = self.ends.next()?;
        while let Some(b' ' | b'\t') = self.text.as_bytes().get(end + 1) {
            end = self.ends.next()?;
        }
        let line = &self.text[self.from..=end];
        self.from = end + 1;
        Some(line)
    }
}

/// Length of the head including the empty line that ends it, or `None` while that has not arrived. Looks for line ends
/// from `from` on; before it there must be no end of the head.
pub(crate) fn head_length(bytes: &[u8], from: usize) -> Option<usize> {
    let mut from = from;
    while let Some(found) = memchr(b'\n', bytes.get(from..)?) {
        let after = from + found + 1;
        match bytes.get(after..) {
            Some([b'\r', b'\n', ..]) => return Some(after + 2),
            Some([b'\n', ..]) => return Some(after + 1),
            _ => from = after,
        }
    }
    None
}

/// The head as text; of a short message all of it, if it is text: one pass without looking for the end of the head
/// first is the fastest there is.
fn text_of(bytes: &[u8]) -> Result<&str, ParseError> {
    if bytes.len() <= FIRST_LOOK
        && let Ok(text) = simdutf8::basic::from_utf8(bytes)
    {
        return Ok(text);
    }
    let head_end = head_length(bytes, 0).ok_or(ParseError::HeadIncomplete)?;
    std::str::from_utf8(&bytes[..head_end]).map_err(|e| ParseError::NotUtf8 { at: e.valid_up_to() })
}

/// Messages up to this many bytes are taken for text before it is known where their head ends.
const FIRST_LOOK: usize = 4096;

fn without_cr(line: &str) -> &str {
    line.strip_suffix('\r').unwrap_or(line)
}

/// Reads a first line. Exactly one space stands between its parts, and nothing after them: whoever writes otherwise
/// would be understood differently by the next server.
fn start_line(line: &str) -> Result<StartLine<'_>, ParseError> {
    if line.get(..4).is_some_and(|begin| begin.eq_ignore_ascii_case("SIP/")) {
        return status_line(line);
    }
    let (method, rest) = word(line).ok_or(ParseError::BadStartLine)?;
    let (uri, version) = word(rest).ok_or(ParseError::BadStartLine)?;
    // A control character could not be written again: it would become the space that splits this line anew.
    let controlled = uri.bytes().fold(false, |controlled, byte| controlled | byte.is_ascii_control());
    if controlled || !is_method(method) {
        return Err(ParseError::BadStartLine);
    }
    if version != "SIP/2.0" && !version.eq_ignore_ascii_case("SIP/2.0") {
        let more = find(version.as_bytes(), b' ').is_some();
        return Err(if more { ParseError::BadStartLine } else { ParseError::BadVersion });
    }
    Ok(StartLine::Request { method, uri })
}

fn status_line(line: &str) -> Result<StartLine<'_>, ParseError> {
    let (version, rest) = word(line).ok_or(ParseError::BadStartLine)?;
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        return Err(ParseError::BadVersion);
    }
    // Many leave out the space before an empty reason.
    let (code, reason) = word(rest).unwrap_or((rest, ""));
    match code.as_bytes() {
        [b'1'..=b'6', b'0'..=b'9', b'0'..=b'9'] => {
            let code = code.parse().map_err(|_| ParseError::BadStartLine)?;
            Ok(StartLine::Response { code, reason })
        }
        _ => Err(ParseError::BadStartLine),
    }
}

/// What stands before the first space, which has to be something, and what after it.
fn word(text: &str) -> Option<(&str, &str)> {
    let end = find(text.as_bytes(), b' ').filter(|end| *end > 0)?;
    Some((&text[..end], &text[end + 1..]))
}

/// Cuts `Name: value`, folds and the line end included.
pub(crate) fn header_line(line: &str) -> Option<Header<'_>> {
    let (spelling, value) = line.split_at(find(line.as_bytes(), b':')?);
    let spelling = spelling.trim_end_matches([' ', '\t']);
    if spelling.is_empty() || !spelling.bytes().all(is_token) {
        return None;
    }
    Some(Header { name: Name::from_spelling(spelling), spelling, value: value[1..].trim_ascii() })
}

/// Whether a text is a `token`, as every method is: most often one of these. RFC 3261 §25.1.
pub(crate) fn is_method(text: &str) -> bool {
    let usual = matches!(text, "REGISTER" | "SUBSCRIBE" | "SERVICE" | "NOTIFY" | "BENOTIFY" | "INVITE" | "ACK" | "BYE");
    usual || !text.is_empty() && text.bytes().all(is_token)
}

/// The `token` characters of RFC 3261 §25.1.
pub(crate) fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(byte as u8, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9'
            | b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~');
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests;
