//! Single header values, understood: name-addr, parameters, CSeq, Via. RFC 3261 §20, §25.
//!
//! Values are taken as received, folds included: white space is skipped wherever the grammar allows it.

use crate::scan::{find, find2, find3, trimmed};
use crate::token::{is_method, is_token};
use crate::uri::Uri;

/// A value that was read and made no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{header} cannot be understood: {why}")]
pub struct HeaderError {
    /// Which header, in its usual spelling.
    pub header: &'static str,
    /// What is wrong with it.
    pub why: &'static str,
}

/// `"display" <uri>;params` or `uri;params`: From, To, Contact, Route, P-Asserted-Identity. RFC 3261 §20.10.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// Display name without its quotes (escapes kept), or `None`.
    pub display: Option<&'a str>,
    /// The URI as written, without the brackets.
    pub uri: &'a str,
    /// The parameters after the brackets (of the header, not of the URI).
    pub params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Reads one name-addr or addr-spec. Of a comma list use [`split_list`] first.
    pub fn parse(value: &'a str) -> Result<NameAddr<'a>, HeaderError> {
        let error = |why| HeaderError { header: "name-addr", why };
        let value = trimmed(value);
        let (display, rest) = match value.as_bytes() {
            [b'<', ..] => (None, value),
            _ => display_name(value).map_err(error)?,
        };
        if let Some(inside) = rest.strip_prefix('<') {
            let end = find(inside.as_bytes(), b'>').ok_or(error("a bracket does not close"))?;
            let uri = &inside[..end];
            if uri.is_empty() {
                return Err(error("the URI is empty"));
            }
            // Further inside, `Uri::parse` finds it.
            if trimmed(uri).len() < uri.len() {
                return Err(error("white space inside the brackets"));
            }
            let params = Params::whole(&inside[end + 1..]).ok_or(error("text after the bracket is no parameters"))?;
            return Ok(NameAddr { display, uri, params });
        }
        if display.is_some() {
            return Err(error("a name without a bracketed URI"));
        }
        let (uri, params) = find(rest.as_bytes(), b';').map_or((rest, ""), |at| rest.split_at(at));
        let uri = uri.trim_ascii();
        if uri.is_empty() {
            return Err(error("the URI is empty"));
        }
        // Whose headers or which list would these be? RFC 3261 §20.10 asks for brackets.
        if find2(uri.as_bytes(), b'?', b',').is_some() {
            return Err(error("a URI with a question mark or a comma needs brackets"));
        }
        Ok(NameAddr { display, uri, params: Params::whole(params).ok_or(error("bad parameters"))? })
    }

    /// The URI, understood.
    pub fn uri(&self) -> Result<Uri<'a>, HeaderError> {
        Uri::parse(self.uri)
    }
}

/// `;name=value;flag;name="quoted"`: parameters in order, values as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Params<'a>(&'a str);

impl<'a> Params<'a> {
    /// Parameters from text that is empty or begins with `;`; `None` for anything else.
    pub fn after(text: &'a str) -> Option<Params<'a>> {
        let text = trimmed(text);
        (text.is_empty() || text.starts_with(';')).then_some(Params(text))
    }

    /// The same, but nothing may be missing at its end: separators that separate nothing are an error (RFC 4475 §3.1.2.1).
    fn whole(text: &'a str) -> Option<Params<'a>> {
        Params::after(text).filter(|params| !params.0.ends_with(';'))
    }

    /// The text as written, with the leading `;`.
    pub fn as_str(&self) -> &'a str {
        self.0
    }

    /// Every parameter, in order; a flag has no value; quotes are kept.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            loop {
                rest = rest.strip_prefix(';')?;
                let bytes = rest.as_bytes();
                // Up to its `=` a parameter is a token: no quote can stand there.
                let name_end = find3(bytes, b'=', b';', b'"').unwrap_or(bytes.len());
                if bytes.get(name_end) == Some(&b'=') {
                    let (name, value) = rest.split_at(name_end);
                    let (value, after) = split_value(&value[1..]);
                    rest = after;
                    return Some((trimmed(name), Some(trimmed(value))));
                }
                let end = match bytes.get(name_end) {
                    Some(b'"') => outside_quotes(rest, b';').unwrap_or(rest.len()),
                    _ => name_end,
                };
                let (flag, after) = rest.split_at(end);
                rest = after;
                let flag = trimmed(flag);
                if !flag.is_empty() {
                    return Some((flag, None));
                }
            }
        })
    }

    /// The value of a parameter (case of the name aside), without surrounding quotes; a flag is an empty text.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| unquoted(value.unwrap_or("")))
    }
}

/// `1 REGISTER`. RFC 3261 §20.16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// The sequence number, below 2^31.
    pub number: u32,
    /// The method, as written.
    pub method: &'a str,
}

impl<'a> CSeq<'a> {
    /// Reads a CSeq value.
    pub fn parse(value: &'a str) -> Result<CSeq<'a>, HeaderError> {
        let error = |why| HeaderError { header: "CSeq", why };
        let value = trimmed(value);
        let space = value.bytes().position(|byte| byte.is_ascii_whitespace()).ok_or(error("no method"))?;
        let (number, method) = value.split_at(space);
        let number = digits(number).ok_or(error("the number is not a number, or too large"))?;
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let method = method.trim_ascii_start();
        if number >= 1 << 31 {
            return Err(error("the number is 2^31 or more"));
        }
        if !is_method(method) {
            return Err(error("the method is not a token"));
        }
        Ok(CSeq { number, method })
    }
}

/// `SIP/2.0/TLS host:port;branch=…`, the first one of a value. RFC 3261 §20.42.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Via<'a> {
    /// `TLS`, `TCP`, `UDP`, in the case received.
    pub transport: &'a str,
    /// Host name or address (IPv6 in brackets).
    pub host: &'a str,
    /// Port, when given.
    pub port: Option<u16>,
    /// `branch`, `received`, … Microsoft clients send no branch.
    pub params: Params<'a>,
}

impl<'a> Via<'a> {
    /// Reads one Via value.
    pub fn parse(value: &'a str) -> Result<Via<'a>, HeaderError> {
        let error = |why| HeaderError { header: "Via", why };
        let unknown = || error("the protocol is not SIP/2.0/transport");
        let (name, rest) = value.split_once('/').ok_or_else(unknown)?;
        let (version, rest) = rest.split_once('/').ok_or_else(unknown)?;
        if !name.trim_ascii().eq_ignore_ascii_case("SIP") || version.trim_ascii() != "2.0" {
            return Err(unknown());
        }
        let rest = rest.trim_ascii();
        let space = rest.find(|c: char| c.is_ascii_whitespace()).ok_or(error("no sent-by"))?;
        let (transport, rest) = rest.split_at(space);
        if transport.is_empty() || !transport.bytes().all(is_token) {
            return Err(unknown());
        }
        let rest = rest.trim_ascii_start();
        let (sent_by, params) = find(rest.as_bytes(), b';').map_or((rest, ""), |at| rest.split_at(at));
        let (host, port) =
            crate::uri::host_and_port(sent_by.trim_ascii()).ok_or(error("sent-by is not host[:port]"))?;
        Ok(Via { transport, host, port, params: Params::whole(params).ok_or(error("bad parameters"))? })
    }
}

/// The items of a comma list; commas inside quotes or brackets do not count.
pub fn split_list(value: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        loop {
            let text = rest?;
            let (item, after) = match outside_quotes(text, b',') {
                Some(at) => (&text[..at], Some(&text[at + 1..])),
                None => (text, None),
            };
            rest = after;
            let item = trimmed(item);
            if !item.is_empty() {
                return Some(item);
            }
        }
    })
}

/// The tokens of a comma list in which there are no quotes and no brackets, as in Supported.
pub fn split_tokens(value: &str) -> impl Iterator<Item = &str> {
    let mut rest = value;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let (token, after) = match find(rest.as_bytes(), b',') {
                Some(at) => (&rest[..at], &rest[at + 1..]),
                None => (rest, ""),
            };
            rest = after;
            let token = trimmed(token);
            if !token.is_empty() {
                return Some(token);
            }
        }
        None
    })
}

/// A value without the quotes around it, if it has them.
pub fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value)
}

/// A number of decimal digits and nothing else; `None` also when it is too large for the machine.
pub(crate) fn digits(text: &str) -> Option<usize> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return None;
    }
    text.bytes().try_fold(0_usize, |sum, byte| match byte {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(usize::from(byte - b'0')),
        _ => None,
    })
}

/// Seconds as `Expires` and `expires=` have them: digits, and more than 2^32-1 is 2^32-1 (RFC 3261 §20.19, RFC 4475
/// §3.1.2.4). `None` when it is no number.
pub fn delta_seconds(text: &str) -> Option<u32> {
    let text = text.trim_ascii();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits(text).and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(u32::MAX))
}

/// Splits the display name off a value without white space around it. What is left begins with `<`, or the value had no
/// display name.
fn display_name(value: &str) -> Result<(Option<&str>, &str), &'static str> {
    if value.starts_with('"') {
        let end = quoted_end(value.as_bytes()).ok_or("a quoted name does not end")?;
        return Ok((Some(&value[1..end]), value[end + 1..].trim_ascii_start()));
    }
    match find2(value.as_bytes(), b'<', b';') {
        Some(at) if at > 0 && value.as_bytes()[at] == b'<' => {
            let name = value[..at].trim_ascii_end();
            // Without quotes only tokens may stand here. Letters beyond ASCII are let pass, since nothing is
            // ambiguous about them; a comma or a quote would be (RFC 4475 §3.1.2.15).
            if find3(name.as_bytes(), b',', b'"', b'>').is_some() {
                return Err("a name with a comma or a quote in it needs quotes");
            }
            Ok((Some(name), &value[at..]))
        }
        _ => Ok((None, value)),
    }
}

/// Offset of the quote that ends the quoted string `bytes` begin with.
fn quoted_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += find2(bytes.get(at..)?, b'"', b'\\')?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// Splits a parameter value from what follows it: the next `;` outside quotes.
#[inline]
fn split_value(text: &str) -> (&str, &str) {
    let bytes = text.as_bytes();
    let quoted = match bytes.first() {
        Some(b'"') => quoted_end(bytes).map_or(bytes.len(), |end| end + 1),
        _ => 0,
    };
    match bytes.get(quoted) {
        None | Some(b';') => text.split_at(quoted),
        Some(_) => match outside_quotes(&text[quoted..], b';') {
            Some(end) => text.split_at(quoted + end),
            None => (text, ""),
        },
    }
}

/// Offset of the first `wanted` outside quotes and angle brackets. Of a quote or bracket that does not end, the rest
/// of the text is part.
fn outside_quotes(text: &str, wanted: u8) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        at += find3(bytes.get(at..)?, wanted, b'"', b'<')?;
        at += match bytes[at] {
            b'"' => quoted_end(&bytes[at..])? + 1,
            b'<' => find(&bytes[at..], b'>')? + 1,
            _ => return Some(at),
        };
    }
}

#[cfg(test)]
mod tests;
