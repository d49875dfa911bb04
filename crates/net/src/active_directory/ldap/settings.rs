//! How the directory is reached, and for how long.

use super::schema::Schema;
use crate::active_directory::secret::Secret;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What protects the connection to a domain controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte.
    Ldaps,
    /// TLS after a first exchange. RFC 4511 §4.14.
    StartTls,
    /// Nothing: whoever is in between reads the password of the service account. For laboratories.
    Plain,
}

/// One domain controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controller {
    /// Its name; its certificate has to have it.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Where it is, when the name shall not be resolved.
    pub address: Option<SocketAddr>,
    /// What protects the connection.
    pub security: Security,
}

/// Why a text is no domain controller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write ldaps://host or ldap://host, if need be with :port, not {0:?}")]
pub struct NotAController(pub String);

impl Controller {
    /// Reads `ldaps://host[:port]` (port 636) or `ldap://host[:port]` (port 389, with StartTLS).
    pub fn parse(text: &str) -> Result<Controller, NotAController> {
        let refuse = || NotAController(text.to_owned());
        let (security, port, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("ldaps") => (Security::Ldaps, 636, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("ldap") => (Security::StartTls, 389, rest),
            _ => return Err(refuse()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, digits)) if !host.contains(':') || host.ends_with(']') => {
                (host, digits.parse().ok().filter(|port| *port != 0).ok_or_else(refuse)?)
            }
            _ => (rest, port),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_name = |host: &str| host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b));
        let good = match bare {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.len() <= 253 && is_name(host),
        };
        if !good {
            return Err(refuse());
        }
        Ok(Controller { host: bare.unwrap_or(host).to_ascii_lowercase(), port, address: None, security })
    }
}

/// Times and numbers that bound what the directory may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// To reach a controller: name, TCP, TLS.
    pub connect: Duration,
    /// To log on there.
    pub bind: Duration,
    /// For one search.
    pub search: Duration,
    /// For all that one question needs, at however many controllers.
    pub question: Duration,
    /// Searches under way at a time, each on a connection of its own.
    pub searches: usize,
    /// Questions that may wait for their turn; one more is refused at once.
    pub waiting: usize,
    /// How long a controller that failed is left alone; doubled with each failure …
    pub retry_first: Duration,
    /// … up to this.
    pub retry_last: Duration,
    /// How long it is left alone when it refuses the service account: each try counts towards locking it out.
    pub retry_account: Duration,
    /// For how long a user found is taken for what the directory says. Who is disabled may sign in for so long.
    pub remember: Duration,
    /// Users remembered.
    pub remembered: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connect: Duration::from_secs(3),
            bind: Duration::from_secs(3),
            search: Duration::from_secs(3),
            question: Duration::from_secs(6),
            searches: 8,
            waiting: 1024,
            retry_first: Duration::from_millis(500),
            retry_last: Duration::from_secs(10),
            retry_account: Duration::from_secs(60),
            remember: Duration::from_secs(60),
            remembered: 10_000,
        }
    }
}

/// The names of the domain whose users may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainNames {
    /// DNS name, which in capitals is the Kerberos realm: `contoso.test`.
    pub dns: String,
    /// NetBIOS name: `CONTOSO`.
    pub netbios: String,
}

impl DomainNames {
    /// The domain of this DNS name; its NetBIOS name is taken to be the first label, as is usual.
    pub fn of(dns: &str) -> DomainNames {
        let netbios = dns.split('.').next().unwrap_or_default().to_ascii_uppercase();
        DomainNames { dns: dns.to_ascii_lowercase(), netbios }
    }

    /// Whether this is a name of the domain.
    pub fn include(&self, name: &str) -> bool {
        name.eq_ignore_ascii_case(&self.dns) || name.eq_ignore_ascii_case(&self.netbios)
    }

    /// `DC=contoso,DC=test`.
    pub fn base(&self) -> String {
        self.dns.split('.').map(|label| format!("DC={label}")).collect::<Vec<_>>().join(",")
    }
}

/// Everything about the directory.
#[derive(Debug, Clone)]
pub struct LdapSettings {
    /// Domain controllers, the preferred one first.
    pub controllers: Vec<Controller>,
    /// PEM file of the authority that issued their certificates. Needed unless all are [`Security::Plain`].
    pub ca_file: Option<PathBuf>,
    /// The service account, as a distinguished name or as a UPN. It needs to read users, nothing else.
    pub account: String,
    /// Its password.
    pub password: Secret,
    /// The domain.
    pub domain: DomainNames,
    /// Where users are searched.
    pub base: String,
    /// Where things are in an entry.
    pub schema: Schema,
    /// The pool that takes over from a pool, both by FQDN.
    pub backup_pools: BTreeMap<String, String>,
    /// Times and numbers.
    pub limits: Limits,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_are_read_with_and_without_a_port() {
        let read = |text| Controller::parse(text).map(|c| (c.host, c.port, c.security));
        assert_eq!(read("ldaps://DC1.contoso.test"), Ok(("dc1.contoso.test".to_owned(), 636, Security::Ldaps)));
        assert_eq!(read("ldap://dc1:3268/"), Ok(("dc1".to_owned(), 3268, Security::StartTls)));
        assert_eq!(read("ldaps://[::1]:1636"), Ok(("::1".to_owned(), 1636, Security::Ldaps)));
        assert_eq!(read("ldap://192.0.2.1"), Ok(("192.0.2.1".to_owned(), 389, Security::StartTls)));
        for bad in [
            "dc1",
            "http://dc1",
            "ldap://",
            "ldap://dc1:0",
            "ldap://dc1:99999",
            "ldap://a b",
            "ldap://::1",
            "ldap://user@dc1",
            "ldap://dc1/dc=x",
        ] {
            assert_eq!(read(bad), Err(NotAController(bad.to_owned())), "{bad}");
        }
    }

    #[test]
    fn a_domain_has_three_spellings() {
        let domain = DomainNames::of("Contoso.Test");
        assert_eq!((domain.netbios.as_str(), domain.base().as_str()), ("CONTOSO", "DC=contoso,DC=test"));
        assert!(domain.include("contoso") && domain.include("CONTOSO.TEST") && !domain.include("contoso.com"));
    }
}
