//! Which hosts may be believed without asking a person.
//!
//! The DNS can be forged, so a server that was found automatically is trusted only when its name lies in a domain that
//! is trusted already: the user's own SIP domain and those listed by the administrator. Where the product shows a
//! question, a client without a person at it refuses. This comes on top of the certificate, not in its place.

use crate::name::SipDomain;
use std::net::IpAddr;

/// Trusted domains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    domains: Vec<SipDomain>,
}

impl Trust {
    /// Trusts the user's own SIP domain, and nothing else yet.
    pub fn of(domain: SipDomain) -> Trust {
        Trust { domains: vec![domain] }
    }

    /// Trusts one more domain (or one host: it is a domain of its own).
    #[must_use]
    pub fn and(mut self, domain: SipDomain) -> Trust {
        if !self.domains.contains(&domain) {
            self.domains.push(domain);
        }
        self
    }

    /// Whether `host` is, or lies below, a trusted domain. IP addresses never do.
    pub fn covers(&self, host: &str) -> bool {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        !address && self.domains.iter().any(|domain| domain.covers(host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_counts_only_at_a_dot_and_addresses_never() {
        let trust = Trust::of("contoso.test".parse().expect("a domain")).and("0.2.9".parse().expect("a domain"));
        let table = [
            ("contoso.test", true),
            ("pool1.contoso.test", true),
            ("POOL1.Contoso.Test.", true),
            ("a.b.contoso.test", true),
            ("evilcontoso.test", false),
            ("contoso.test.evil.example", false),
            ("example", false),
            ("", false),
            ("192.0.2.9", false),
            ("[2001:db8::1]", false),
        ];
        for (host, trusted) in table {
            assert_eq!(trust.covers(host), trusted, "{host}");
        }
    }
}
