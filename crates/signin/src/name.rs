//! Names a sign-in goes by. Each is parsed once, at the door; after that no plain text stands for a user or a domain.

use std::fmt;
use std::str::FromStr;

/// Why a text is not a sign-in address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No `@`, or more than one.
    #[error("a sign-in address looks like alice@contoso.com")]
    NotAnAddress,
    /// Nothing before the `@`, or characters a SIP user part cannot have.
    #[error("the part before the @ is empty or has characters an address cannot have")]
    BadUser,
    /// The part after the `@` is no domain name.
    #[error("the part after the @ is not a domain name")]
    BadDomain,
}

/// An address of record: `user@domain`, lower case, without scheme. RFC 3261 §6; how users are compared everywhere.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Aor(String);

impl Aor {
    /// The text `user@domain`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the `@`.
    pub fn user(&self) -> &str {
        self.0.split_once('@').map_or("", |(user, _)| user)
    }

    /// The SIP domain it belongs to.
    pub fn domain(&self) -> SipDomain {
        SipDomain(self.0.split_once('@').map_or_else(String::new, |(_, domain)| domain.to_owned()))
    }

    /// `sip:user@domain`.
    pub fn to_uri(&self) -> String {
        format!("sip:{}", self.0)
    }

    /// The address of record of a SIP URI such as the one in From; parameters and port are left aside.
    pub fn from_uri(uri: &str) -> Result<Aor, NameError> {
        let uri = sip::Uri::parse(uri).map_err(|_| NameError::NotAnAddress)?;
        uri.address().ok_or(NameError::NotAnAddress)?.parse()
    }
}

impl FromStr for Aor {
    type Err = NameError;

    /// Reads `user@domain` or `sip:user@domain`.
    fn from_str(text: &str) -> Result<Aor, NameError> {
        let text = text.trim();
        let text = match text.get(..4) {
            Some(scheme) if scheme.eq_ignore_ascii_case("sip:") => &text[4..],
            _ => text,
        };
        let (user, domain) = text.split_once('@').ok_or(NameError::NotAnAddress)?;
        let allowed = |c: char| c.is_alphanumeric() || "-_.!~*'()%&=+$,;?/".contains(c);
        if user.is_empty() || user.len() > 256 || !user.chars().all(allowed) {
            return Err(NameError::BadUser);
        }
        let domain: SipDomain = domain.parse()?;
        Ok(Aor(format!("{}@{}", user.to_lowercase(), domain.as_str())))
    }
}

impl fmt::Display for Aor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Aor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Aor({})", self.0)
    }
}

/// The right side of a sign-in address, lower case, without a final dot. What discovery starts from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SipDomain(String);

impl SipDomain {
    /// The domain name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `host` is this domain or lies below it. Addresses never do.
    pub fn covers(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        host == self.0 || host.strip_suffix(&self.0).is_some_and(|rest| rest.ends_with('.'))
    }
}

impl FromStr for SipDomain {
    type Err = NameError;

    fn from_str(text: &str) -> Result<SipDomain, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let label = |l: &str| {
            !l.is_empty()
                && l.len() <= 63
                && !l.starts_with('-')
                && !l.ends_with('-')
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if text.is_empty() || text.len() > 253 || !text.split('.').all(label) {
            return Err(NameError::BadDomain);
        }
        Ok(SipDomain(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for SipDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who logs on, as opposed to which address signs in: `CONTOSO\alice`, `alice@contoso.com` (a UPN) or `alice`.
/// Often equal to the sign-in address, never assumed so.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AccountName {
    /// NetBIOS domain before the backslash; empty for a UPN or a bare name.
    pub domain: String,
    /// User name or whole UPN, in the case typed.
    pub user: String,
}

impl AccountName {
    /// Splits at the first `\` or `/`; anything else is one user name with an empty domain.
    pub fn parse(text: &str) -> AccountName {
        match text.split_once(['\\', '/']) {
            Some((domain, user)) => AccountName { domain: domain.to_owned(), user: user.to_owned() },
            None => AccountName { domain: String::new(), user: text.to_owned() },
        }
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.domain.is_empty() { f.write_str(&self.user) } else { write!(f, "{}\\{}", self.domain, self.user) }
    }
}
