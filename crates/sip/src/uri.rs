//! SIP and SIPS URIs. RFC 3261 §19.1.

use crate::header::{HeaderError, Params};
use std::net::Ipv6Addr;

/// A `sip:` or `sips:` URI, borrowed; parts are as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uri<'a> {
    /// `sip` or `sips`, in the case received.
    pub scheme: &'a str,
    /// The part before `@` without a password, escapes kept; `None` for a domain or server URI.
    pub user: Option<&'a str>,
    /// Host name or address (IPv6 in brackets).
    pub host: &'a str,
    /// Port, when given.
    pub port: Option<u16>,
    /// `;transport=tls;gruu;opaque=…`.
    pub params: Params<'a>,
    /// What follows `?`, without it.
    pub headers: &'a str,
}

impl<'a> Uri<'a> {
    /// Reads a URI without brackets around it.
    pub fn parse(text: &'a str) -> Result<Uri<'a>, HeaderError> {
        let error = |why| HeaderError { header: "SIP URI", why };
        let (scheme, rest) = text.trim().split_once(':').ok_or(error("no scheme"))?;
        if !scheme.eq_ignore_ascii_case("sip") && !scheme.eq_ignore_ascii_case("sips") {
            return Err(error("the scheme is neither sip nor sips"));
        }
        if rest.bytes().any(|b| b <= b' ' || matches!(b, b'<' | b'>' | b'"' | 0x7f)) {
            return Err(error("a character that a URI cannot have"));
        }
        if !escapes_are_whole(rest) {
            return Err(error("a % without two hexadecimal digits"));
        }
        // A user part may itself contain ; and ?, so it is cut first. Parameters and headers have no @ but an escaped
        // one, so that the first @ ends the user; one further on can only be theirs.
        let (user, rest) = match rest.find('@') {
            Some(at) => (Some(&rest[..at]), &rest[at + 1..]),
            None => (None, rest),
        };
        let (rest, headers) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, params) = rest.find(';').map_or((rest, ""), |at| rest.split_at(at));
        let (host, port) = host_and_port(host).ok_or(error("the host is not a host[:port]"))?;
        let user = user.map(|u| u.split_once(':').map_or(u, |(name, _)| name));
        if user.is_some_and(str::is_empty) {
            return Err(error("an @ without a user"));
        }
        Ok(Uri { scheme, user, host, port, params: Params::after(params).ok_or(error("bad parameters"))?, headers })
    }

    /// `user@host` in lower case, characters that need no escape without theirs: how an address of record is compared
    /// (RFC 3261 §19.1.4). Other escapes stay, so that no two addresses become one.
    pub fn address(&self) -> Option<String> {
        self.user.map(|user| format!("{}@{}", without_needless_escapes(user), self.host.to_ascii_lowercase()))
    }
}

fn escapes_are_whole(text: &str) -> bool {
    text.split('%')
        .skip(1)
        .all(|after| after.as_bytes().get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)))
}

/// Lower case, with the escapes of `unreserved` characters (RFC 3261 §25.1) undone.
fn without_needless_escapes(user: &str) -> String {
    let mut pieces = user.split('%');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let escaped = piece.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match escaped {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) => {
                plain.push(char::from(byte));
                plain.push_str(&piece[2..]);
            }
            _ => {
                plain.push('%');
                plain.push_str(piece);
            }
        }
    }
    plain.to_lowercase()
}

/// Splits `host[:port]`, `[v6][:port]`; `None` when it is neither.
pub(crate) fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = if text.starts_with('[') {
        let end = text.find(']')?;
        let after = &text[end + 1..];
        (&text[..=end], if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host.trim_ascii_end(), Some(port)),
            None => (text, None),
        }
    };
    let named = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let inside = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let valid = match inside {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(named),
    };
    if !valid {
        return None;
    }
    match port {
        None => Some((host, None)),
        Some(port) => Some((host, Some(u16::try_from(crate::header::digits(port)?).ok()?))),
    }
}

#[cfg(test)]
mod tests;
