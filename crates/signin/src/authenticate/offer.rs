//! What a server offers: each mechanism together with whoever can tell whether its tokens are right. What cannot be
//! verified can therefore not be offered.
//!
//! Looking at a token may take long: the directory may be far away, RSA costs a millisecond. So it is a future that needs
//! nothing of the server's state, and its outcome is a value.

use super::association::MessageKeys;
use super::message::Scheme;
use super::verifier::{CertificateVerifier, Identity, KerberosVerifier, NtlmQuestion, NtlmVerifier, Refusal};
use crate::io::Pending;
use crate::name::AccountName;
use mechanism::ntlm::{Acceptor, Answer};
use mechanism::tls_dsk::{self, ServerHandshake, ServerStep};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One mechanism on offer.
#[derive(Clone)]
pub enum Offer {
    /// NTLM in its datagram form.
    Ntlm(Arc<dyn NtlmVerifier>),
    /// Kerberos, for `sip/` and the FQDN of this server.
    Kerberos(Arc<KerberosVerifier>),
    /// TLS-DSK with user certificates.
    TlsDsk(TlsDsk),
}

/// TLS-DSK on offer.
#[derive(Clone)]
pub struct TlsDsk {
    /// The server's side of the inner handshakes.
    pub handshakes: Arc<tls_dsk::Server>,
    /// URL of the Certificate Provisioning Service, where clients get their certificates.
    pub sts_uri: String,
    /// Who knows which certificates are good.
    pub verifier: Arc<dyn CertificateVerifier>,
}

/// What one server offers, best first, and to which side. Outside there is no KDC to ask, and who tries learns nothing
/// but that; so Kerberos is offered inside alone.
#[derive(Debug, Clone)]
pub struct Offers {
    offers: Vec<Offer>,
    outside: bool,
}

/// A server that clients reach from outside cannot offer this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} cannot be offered outside, where no client reaches a KDC: take it out of this server's offers")]
pub struct NotOutside(pub Scheme);

impl Offers {
    /// For a server inside the enterprise.
    pub fn inside(offers: Vec<Offer>) -> Offers {
        Offers { offers, outside: false }
    }

    /// For a server whose clients come from outside.
    pub fn outside(offers: Vec<Offer>) -> Result<Offers, NotOutside> {
        match offers.iter().find(|offer| matches!(offer, Offer::Kerberos(_))) {
            Some(offer) => Err(NotOutside(offer.scheme())),
            None => Ok(Offers { offers, outside: true }),
        }
    }

    /// Whether clients come from outside.
    pub fn are_outside(&self) -> bool {
        self.outside
    }

    /// Each of them, best first.
    pub fn iter(&self) -> std::slice::Iter<'_, Offer> {
        self.offers.iter()
    }
}

impl From<Vec<Offer>> for Offers {
    fn from(offers: Vec<Offer>) -> Offers {
        Offers::inside(offers)
    }
}

impl Offer {
    /// Its name on the wire.
    pub fn scheme(&self) -> Scheme {
        match self {
            Offer::Ntlm(_) => Scheme::Ntlm,
            Offer::Kerberos(_) => Scheme::Kerberos,
            Offer::TlsDsk(_) => Scheme::TlsDsk,
        }
    }

    /// Target name of its challenge, at the server of this FQDN. `[MS-SIPAE]` §3.3.5.1.
    pub fn target_name(&self, fqdn: &str) -> String {
        match self {
            Offer::Ntlm(_) | Offer::TlsDsk(_) => fqdn.to_owned(),
            Offer::Kerberos(_) => format!("sip/{fqdn}"),
        }
    }

    /// URL of the Certificate Provisioning Service, for the mechanism that needs it.
    pub fn sts_uri(&self) -> Option<&str> {
        match self {
            Offer::Ntlm(_) | Offer::Kerberos(_) => None,
            Offer::TlsDsk(offer) => Some(&offer.sts_uri),
        }
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Offer({})", self.scheme())
    }
}

/// A token that is being looked at.
pub type Asked = Pending<'static, Result<Proof, Refusal>>;

/// What a token brought.
pub enum Proof {
    /// Who it is, and the keys; the message that carried the token is signed with them.
    Keys(Keys),
    /// The handshake goes on with a flight of ours.
    Flight {
        /// Where it stands.
        handshake: Box<ServerHandshake>,
        /// The bytes of the flight.
        flight: Vec<u8>,
    },
    /// Who it is, and the keys; but the client has to read a last flight before it can sign.
    LastFlight {
        /// Who, and the keys.
        keys: Keys,
        /// The bytes of the flight.
        flight: Vec<u8>,
    },
}

/// Somebody proved himself, and shares these keys with us.
pub struct Keys {
    /// Who.
    pub identity: Identity,
    /// The keys that sign messages.
    pub keys: MessageKeys,
    /// When the ticket or certificate ends, seconds since 1970; an association must not outlive it.
    pub ends: Option<i64>,
    /// A token for the client in the answer: with Kerberos, the proof that we are who we say, when it was asked for.
    pub token: Option<Vec<u8>>,
}

/// Asks whether an AUTHENTICATE is right; `skew` is how far its time may be off ours.
pub(super) fn ask_ntlm(
    verifier: Arc<dyn NtlmVerifier>,
    acceptor: Acceptor,
    token: &[u8],
    unix_seconds: i64,
    skew: Duration,
) -> Asked {
    let answer = acceptor.read_answer(token).map_err(|error| refused(format!("NTLM answer: {error}")));
    Box::pin(async move {
        let answer = answer?;
        if let Some(seconds) = clock_skew(&answer, unix_seconds).filter(|seconds| *seconds > skew.as_secs()) {
            return Err(Refusal::ClockSkew { seconds });
        }
        let question = NtlmQuestion {
            account: AccountName { domain: answer.domain().to_owned(), user: answer.user().to_owned() },
            server_challenge: *acceptor.server_challenge(),
            nt_response: answer.nt_response().to_vec(),
        };
        let proof = verifier.verify(question).await?;
        let keys = acceptor
            .finish(&answer, &proof.session_base_key)
            .map_err(|error| refused(format!("NTLM keys: {error}")))?;
        let identity = Identity::Account(proof.account);
        Ok(Proof::Keys(Keys { identity, keys: MessageKeys::Ntlm(keys), ends: None, token: None }))
    })
}

/// Asks whether a ticket is right, for `sip/` and this FQDN.
pub(super) fn ask_kerberos(verifier: Arc<KerberosVerifier>, token: Vec<u8>, fqdn: &str) -> Asked {
    let services = [format!("sip/{fqdn}")];
    Box::pin(async move {
        let proof = verifier.verify(&token, &services)?;
        Ok(Proof::Keys(Keys {
            identity: Identity::Account(proof.account),
            keys: MessageKeys::Kerberos(Box::new(proof.keys)),
            ends: Some(proof.ends),
            token: proof.reply,
        }))
    })
}

/// Takes a flight of the client; when it is the last one, asks whether the certificate it proved to own is good.
pub(super) fn ask_tls(offer: TlsDsk, mut handshake: Box<ServerHandshake>, flight: Vec<u8>) -> Asked {
    Box::pin(async move {
        match handshake.step(&flight).map_err(Refusal::Handshake)? {
            ServerStep::Continue(flight) => Ok(Proof::Flight { handshake, flight }),
            ServerStep::Finished { flight, certificate, keys, .. } => {
                let holder = offer.verifier.verify(certificate).await?;
                let keys = Keys {
                    identity: Identity::Address(holder.aor),
                    keys: MessageKeys::TlsDsk(*keys),
                    ends: Some(holder.ends),
                    token: None,
                };
                Ok(Proof::LastFlight { keys, flight })
            }
        }
    })
}

fn refused(why: String) -> Refusal {
    Refusal::Credentials { why }
}

/// Seconds the client's clock is off ours. A time of zero (it is optional) is not judged.
fn clock_skew(answer: &Answer, unix_seconds: i64) -> Option<u64> {
    const SECONDS_1601_TO_1970: i64 = 11_644_473_600;
    let filetime = answer.response_time().filter(|time| *time != 0)?;
    let client = i64::try_from(filetime / 10_000_000).unwrap_or(i64::MAX).saturating_sub(SECONDS_1601_TO_1970);
    Some(client.abs_diff(unix_seconds))
}
