//! SIP and SIPS URIs. RFC 3261 §19.1.

use crate::header::{HeaderError, Params};

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
        if rest.bytes().any(|b| b <= b' ' || b == b'<' || b == b'>' || b == b'"') {
            return Err(error("a character that a URI cannot have"));
        }
        // A user part may itself contain ; and ?, so it is cut first; an @ after them belongs to parameters.
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

    /// `user@host` in lower case: how an address of record is compared.
    pub fn address(&self) -> Option<String> {
        self.user.map(|user| format!("{}@{}", user.to_lowercase(), self.host.to_ascii_lowercase()))
    }
}

/// Splits `host[:port]`, `[v6][:port]`; `None` when it is neither.
pub(crate) fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = if text.starts_with('[') {
        let end = text.find(']')?;
        let after = &text[end + 1..];
        (&text[..=end], if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host.trim_end(), Some(port.trim_start())),
            None => (text, None),
        }
    };
    let named = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let inside = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let valid = match inside {
        Some(v6) => !v6.is_empty() && v6.bytes().all(|b| b.is_ascii_hexdigit() || b":.".contains(&b)),
        None => !host.is_empty() && host.bytes().all(named),
    };
    if !valid {
        return None;
    }
    match port {
        None => Some((host, None)),
        Some(port) => Some((host, Some(port.parse().ok()?))),
    }
}
