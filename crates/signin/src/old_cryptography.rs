//! Old cryptography: what a deployment still takes of it, by mechanism. One value, given once to everything that offers,
//! verifies or issues; what it switches off is neither offered nor taken.
//!
//! | switch | mechanism | what it is | default | without it |
//! |---|---|---|---|---|
//! | [`ntlm`](OldCryptography::ntlm) | NTLM | MD4 of the password, MD5, RC4: the protocol has nothing else | on | NTLM is offered nowhere |
//! | [`kerberos_rc4`](OldCryptography::kerberos_rc4) | Kerberos | RC4-HMAC, whose keys are MD4 of the password | off | such tickets are refused |
//! | [`tls_dsk_tls10`](OldCryptography::tls_dsk_tls10) | TLS-DSK | TLS 1.0 and 1.1 within tokens, signatures over MD5 and SHA-1 | on | pidgin-sipe cannot use TLS-DSK |
//! | [`requests_sha1`](OldCryptography::requests_sha1) | certificates | PKCS#10 signed with SHA-1 | on | builds of pidgin-sipe with OpenSSL get none |
//! | [`web_services_sha1`](OldCryptography::web_services_sha1) | web services | proofs of web tickets and signed messages with SHA-1 | on | pidgin-sipe gets no certificate |
//!
//! What is on is on because the clients that this is for speak nothing newer, and all of it travels within TLS 1.2 or 1.3.
//! HMAC-SHA1 where it is a MAC and nothing newer is specified stays: the signatures after TLS-DSK, AES tickets of Kerberos,
//! keys of web tickets (P_SHA1). No attack on it is known.

use crate::authenticate::offer::Offer;
use mechanism::kerberos::crypto::EncryptionType;
use mechanism::kerberos::server::DEFAULT_TYPES;
use mechanism::tls_dsk;
use mechanism::user_certificate::RequestLimits;
use std::fmt;
use std::str::FromStr;

/// What is still taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldCryptography {
    /// NTLM, which is MD4, MD5 and RC4.
    pub ntlm: bool,
    /// RC4-HMAC in Kerberos tickets.
    pub kerberos_rc4: bool,
    /// TLS 1.0 and 1.1 in TLS-DSK.
    pub tls_dsk_tls10: bool,
    /// SHA-1 under requests for certificates.
    pub requests_sha1: bool,
    /// SHA-1 in proofs of web tickets, and in messages signed with a certificate.
    pub web_services_sha1: bool,
}

impl Default for OldCryptography {
    /// What clients of the time need: all but RC4-HMAC, which Kerberos replaced long ago.
    fn default() -> OldCryptography {
        OldCryptography { kerberos_rc4: false, ..OldCryptography::ALL }
    }
}

impl OldCryptography {
    /// Everything.
    pub const ALL: OldCryptography = OldCryptography {
        ntlm: true,
        kerberos_rc4: true,
        tls_dsk_tls10: true,
        requests_sha1: true,
        web_services_sha1: true,
    };

    /// Nothing.
    pub const NONE: OldCryptography = OldCryptography {
        ntlm: false,
        kerberos_rc4: false,
        tls_dsk_tls10: false,
        requests_sha1: false,
        web_services_sha1: false,
    };

    /// The same without an algorithm, in every mechanism that has it.
    #[must_use]
    pub fn without(self, algorithm: OldAlgorithm) -> OldCryptography {
        match algorithm {
            OldAlgorithm::Md4 | OldAlgorithm::Rc4 => OldCryptography { ntlm: false, kerberos_rc4: false, ..self },
            OldAlgorithm::Tls10 => OldCryptography { tls_dsk_tls10: false, ..self },
            OldAlgorithm::Sha1 => OldCryptography { requests_sha1: false, web_services_sha1: false, ..self },
        }
    }

    /// Whether a mechanism may be offered at all.
    pub fn permits(&self, offer: &Offer) -> bool {
        match offer {
            Offer::Ntlm(_) => self.ntlm,
            Offer::Kerberos(_) | Offer::TlsDsk(_) => true,
        }
    }

    /// Types of encryption a Kerberos acceptor takes: [`mechanism::kerberos::Service::allowing`].
    pub fn kerberos_types(&self) -> Vec<EncryptionType> {
        let rc4 = self.kerberos_rc4.then_some(EncryptionType::Rc4Hmac);
        DEFAULT_TYPES.into_iter().chain(rc4).collect()
    }

    /// What inner handshakes of TLS-DSK may use.
    pub fn tls_dsk(&self) -> tls_dsk::Policy {
        if self.tls_dsk_tls10 { tls_dsk::Policy::default() } else { tls_dsk::Policy::modern() }
    }

    /// Which requests for certificates are taken.
    pub fn requests(&self) -> RequestLimits {
        RequestLimits { sha1: self.requests_sha1, ..RequestLimits::default() }
    }
}

/// An algorithm by name, as administrators name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OldAlgorithm {
    /// MD4 (RFC 1320): NTLM, and RC4-HMAC of Kerberos.
    Md4,
    /// RC4: NTLM, and RC4-HMAC of Kerberos.
    Rc4,
    /// TLS 1.0 (RFC 2246) and 1.1: TLS-DSK.
    Tls10,
    /// SHA-1 where it is not a mere MAC: requests for certificates, proofs of web services.
    Sha1,
}

impl OldAlgorithm {
    /// All of them.
    pub const ALL: [OldAlgorithm; 4] = [OldAlgorithm::Md4, OldAlgorithm::Rc4, OldAlgorithm::Tls10, OldAlgorithm::Sha1];

    /// Its name: `md4`, `rc4`, `tls1.0`, `sha1`.
    pub fn name(self) -> &'static str {
        match self {
            OldAlgorithm::Md4 => "md4",
            OldAlgorithm::Rc4 => "rc4",
            OldAlgorithm::Tls10 => "tls1.0",
            OldAlgorithm::Sha1 => "sha1",
        }
    }
}

impl fmt::Display for OldAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for OldAlgorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<OldAlgorithm, String> {
        let found = OldAlgorithm::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| format!("{text}: write md4, rc4, tls1.0 or sha1"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_what_they_switch_off() {
        let default = OldCryptography::default();
        let off = |algorithm: &str| default.without(algorithm.parse().expect("a name"));
        assert_eq!(off("md4"), OldCryptography { ntlm: false, ..default });
        assert_eq!(off("RC4"), off("md4"), "NTLM has both or none");
        assert_eq!(off("tls1.0"), OldCryptography { tls_dsk_tls10: false, ..default });
        assert_eq!(off("sha1"), OldCryptography { requests_sha1: false, web_services_sha1: false, ..default });
        let nothing = OldAlgorithm::ALL.into_iter().fold(OldCryptography::ALL, OldCryptography::without);
        assert_eq!(nothing, OldCryptography::NONE);
        for wrong in ["", "md5", "tls1.2", "sha256"] {
            assert!(wrong.parse::<OldAlgorithm>().is_err(), "{wrong}");
        }
        assert!(OldAlgorithm::ALL.into_iter().all(|algorithm| algorithm.to_string().parse() == Ok(algorithm)));
    }

    #[test]
    fn what_the_parts_are_told() {
        let (all, none) = (OldCryptography::ALL, OldCryptography::NONE);
        assert!(all.kerberos_types().contains(&EncryptionType::Rc4Hmac));
        assert_eq!(none.kerberos_types(), [EncryptionType::Aes256, EncryptionType::Aes128]);
        assert_eq!(OldCryptography::default().kerberos_types(), none.kerberos_types());
        assert_eq!((all.tls_dsk(), none.tls_dsk()), (tls_dsk::Policy::default(), tls_dsk::Policy::modern()));
        assert_eq!((all.requests().sha1, none.requests().sha1), (true, false));
    }
}
