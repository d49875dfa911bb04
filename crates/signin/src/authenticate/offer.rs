//! What a server offers: each mechanism together with whoever can tell whether its tokens are right. What cannot be
//! verified can therefore not be offered.
//!
//! Looking at a token may take long: the directory may be far away, RSA costs a millisecond. So it is a future that needs
//! nothing of the server's state, and its outcome is a value.

use super::association::MessageKeys;
use super::message::Scheme;
use super::verifier::{Identity, NtlmQuestion, NtlmVerifier, Refusal};
use crate::io::Pending;
use crate::name::AccountName;
use mechanism::ntlm::{Acceptor, Answer};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One mechanism on offer.
#[derive(Clone)]
pub enum Offer {
    /// NTLM in its datagram form.
    Ntlm(Arc<dyn NtlmVerifier>),
}

impl Offer {
    /// Its name on the wire.
    pub fn scheme(&self) -> Scheme {
        match self {
            Offer::Ntlm(_) => Scheme::Ntlm,
        }
    }

    /// Target name of its challenge, at the server of this FQDN. `[MS-SIPAE]` §3.3.5.1.
    pub fn target_name(&self, fqdn: &str) -> String {
        match self {
            Offer::Ntlm(_) => fqdn.to_owned(),
        }
    }

    /// URL of the Certificate Provisioning Service, for the mechanism that needs it.
    pub fn sts_uri(&self) -> Option<&str> {
        match self {
            Offer::Ntlm(_) => None,
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
}

/// Somebody proved himself, and shares these keys with us.
pub struct Keys {
    /// Who.
    pub identity: Identity,
    /// The keys that sign messages.
    pub keys: MessageKeys,
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
        Ok(Proof::Keys(Keys { identity: Identity::Account(proof.account), keys: MessageKeys::Ntlm(keys) }))
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
