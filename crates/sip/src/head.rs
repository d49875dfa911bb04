//! The head of a message: where it ends, its first line, its header lines. RFC 3261 §7.1 to §7.3.
//!
//! One pass, from line end to line end; where each header begins and ends is kept, and nothing is copied.

use crate::message::{Header, ParseError, StartLine};
use crate::name::Name;
use crate::scan::{LineEnds, find, is_bare};
use crate::spelling;
use crate::token::{is_method, is_token};
use memchr::memchr;

/// A head, cut into its lines.
pub(crate) struct Head<'a> {
    pub(crate) start: StartLine<'a>,
    pub(crate) headers: Vec<Header<'a>>,
    /// Bytes of it, with the empty line that ends it.
    pub(crate) length: usize,
}

impl<'a> Head<'a> {
    /// Reads the head that `bytes` begin with.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Head<'a>, ParseError> {
        let text = text_of(bytes)?;
        let mut ends = LineEnds::of(text.as_bytes());
        let first_end = ends.next().ok_or(ParseError::HeadIncomplete)?;
        let start = start_line(without_cr(&text[..first_end]))?;
        let mut lines = Lines { text, ends, from: first_end + 1 };
        let headers = lines.headers()?;
        Ok(Head { start, headers, length: lines.from })
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

#[cfg(test)]
mod tests;
