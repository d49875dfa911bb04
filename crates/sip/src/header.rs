//! Single header values, understood: name-addr, parameters, CSeq, Via. RFC 3261 §20, §25.

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
        let value = value.trim_ascii();
        let (display, rest) = if value.starts_with('"') {
            let end = quoted_end(value).ok_or(error("a quoted name does not end"))?;
            (Some(&value[1..end]), value[end + 1..].trim_ascii_start())
        } else {
            match memchr::memchr2(b'<', b';', value.as_bytes()) {
                Some(at) if value.as_bytes()[at] == b'<' && at > 0 => (Some(value[..at].trim_ascii()), &value[at..]),
                _ => (None, value),
            }
        };
        if let Some(inside) = rest.strip_prefix('<') {
            let close = memchr::memchr(b'>', inside.as_bytes()).ok_or(error("a bracket does not close"))?;
            let (uri, after) = (&inside[..close], &inside[close + 1..]);
            if uri.is_empty() {
                return Err(error("the URI is empty"));
            }
            return Ok(NameAddr { display, uri, params: Params::after(after).ok_or(error("text after the bracket"))? });
        }
        if display.is_some() {
            return Err(error("a name without a bracketed URI"));
        }
        let (uri, params) = rest.find(';').map_or((rest, ""), |at| rest.split_at(at));
        if uri.trim().is_empty() {
            return Err(error("the URI is empty"));
        }
        Ok(NameAddr { display, uri: uri.trim(), params: Params::after(params).ok_or(error("bad parameters"))? })
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
        let text = text.trim_ascii();
        (text.is_empty() || text.starts_with(';')).then_some(Params(text))
    }

    /// The text as written, with the leading `;`.
    pub fn as_str(&self) -> &'a str {
        self.0
    }

    /// Every parameter, in order; a flag has no value; quotes are kept.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            loop {
                rest = rest.trim_ascii_start().strip_prefix(';')?.trim_ascii_start();
                let end = outside_quotes(rest, b';').unwrap_or(rest.len());
                let (param, after) = rest.split_at(end);
                rest = after;
                let param = param.trim_ascii();
                if param.is_empty() {
                    continue;
                }
                return Some(match memchr::memchr(b'=', param.as_bytes()) {
                    Some(at) => (param[..at].trim_ascii_end(), Some(param[at + 1..].trim_ascii_start())),
                    None => (param, None),
                });
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
        let (number, method) = value.split_once([' ', '\t']).ok_or(error("no method"))?;
        let number: u32 = number.parse().map_err(|_| error("the number is not a number"))?;
        let method = method.trim();
        if number >= 1 << 31 {
            return Err(error("the number is 2^31 or more"));
        }
        if method.is_empty() || !method.bytes().all(crate::message::is_token) {
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
        let value = value.trim();
        // White space may stand around both slashes: `SIP / 2.0 / TCP host`.
        let mut parts = value.splitn(3, '/').map(str::trim);
        let (Some(name), Some(version), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(error("the protocol is not SIP/2.0/transport"));
        };
        let (transport, rest) = rest.split_once([' ', '\t']).ok_or(error("no sent-by"))?;
        if !name.eq_ignore_ascii_case("SIP") || version != "2.0" || transport.is_empty() {
            return Err(error("the protocol is not SIP/2.0/transport"));
        }
        let rest = rest.trim_start();
        let (sent_by, params) = rest.find(';').map_or((rest, ""), |at| rest.split_at(at));
        let (host, port) = crate::uri::host_and_port(sent_by.trim()).ok_or(error("sent-by is not host[:port]"))?;
        Ok(Via { transport, host, port, params: Params::after(params).ok_or(error("bad parameters"))? })
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
            let item = item.trim_ascii();
            if !item.is_empty() {
                return Some(item);
            }
        }
    })
}

/// A value without the quotes around it, if it has them.
pub fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value)
}

/// Offset of the quote that ends the quoted string `text` begins with.
fn quoted_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 1;
    loop {
        let found = at + memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        match bytes[found] {
            b'"' => return Some(found),
            _ => at = found + 2,
        }
    }
}

/// Offset of the first `wanted` outside quotes and angle brackets.
fn outside_quotes(text: &str, wanted: u8) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        let found = at + memchr::memchr3(wanted, b'"', b'<', bytes.get(at..)?)?;
        at = match bytes[found] {
            b'"' => found + quoted_end(&text[found..])? + 1,
            b'<' => found + memchr::memchr(b'>', &bytes[found..])? + 1,
            _ => return Some(found),
        };
    }
}
