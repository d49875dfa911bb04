//! The client's half: choice of scheme, handshake, and what came of it. `[MS-SIPAE]` §3.2.

use super::association::{Association, MessageKeys};
use super::message::{Challenge, Credentials, Scheme, Version};
use crate::log_on::LogOn;
use crate::name::AccountName;
use crate::report::{Certainty, Verdict};
use mechanism::ntlm::{self, Entropy, Mode, NtHash};
use sip::{Message, Name};

/// Which mechanism to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The best that both sides can.
    Auto,
    /// This one or none.
    Only(Scheme),
}

/// Why the client could not prove who it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthFailure {
    /// A 401 without any challenge.
    #[error("{server} refused the request without offering a way to authenticate")]
    NothingOffered {
        /// Who.
        server: String,
    },
    /// Challenges, but none that we can answer.
    #[error("{server} offers {offered}, and this client was to use {wanted}")]
    NothingInCommon {
        /// Who.
        server: String,
        /// Schemes offered.
        offered: String,
        /// Schemes we can or were told to use.
        wanted: String,
    },
    /// No password to answer with.
    #[error("{server} wants {scheme}, and no password was given")]
    NoPassword {
        /// Who.
        server: String,
        /// Scheme.
        scheme: Scheme,
    },
    /// The server's token makes no sense.
    #[error("{server} sent an NTLM challenge that cannot be answered: {why}")]
    BadChallenge {
        /// Who.
        server: String,
        /// What is wrong.
        why: String,
    },
    /// The handshake was begun as offered, and the server offers it again.
    #[error(
        "{server} does not go on with the {scheme} handshake it offered: it begins anew instead of sending a challenge"
    )]
    Restarted {
        /// Who.
        server: String,
        /// Scheme.
        scheme: Scheme,
    },
    /// Credentials refused after a whole handshake.
    #[error("{server} refused the credentials of {account}{}", .reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default())]
    Refused {
        /// Who.
        server: String,
        /// The account used.
        account: AccountName,
        /// Error id of `ms-diagnostics`.
        id: Option<u32>,
        /// Its reason.
        reason: Option<String>,
    },
    /// The final answer is not signed, or the signature is wrong.
    #[error("the answer of {server} is not to be trusted: {why}")]
    BadSignature {
        /// Who.
        server: String,
        /// What is wrong.
        why: String,
    },
}

impl AuthFailure {
    /// Whether no other way would lead further: the same password would be refused again, and accounts lock; and who
    /// does not sign as agreed is not to be told anything more.
    pub fn ends_every_way(&self) -> bool {
        matches!(self, AuthFailure::Refused { .. } | AuthFailure::BadSignature { .. })
    }

    /// What it means and what to do.
    pub fn verdict(&self) -> Verdict {
        let (id, certainty, fix) = match self {
            AuthFailure::NothingOffered { .. } => (
                "auth-no-scheme",
                Certainty::Certain,
                "enable at least one of Kerberos, NTLM or certificates on the registrar or Edge that answered",
            ),
            AuthFailure::NothingInCommon { .. } => (
                "auth-no-common-scheme",
                Certainty::Certain,
                "choose another mechanism with --auth, or enable one on the server that this client can use",
            ),
            AuthFailure::NoPassword { .. } => (
                "auth-no-common-scheme",
                Certainty::Certain,
                "give the password at the prompt, with --password-file or in SIGNPOST_PASSWORD",
            ),
            AuthFailure::BadChallenge { .. } => (
                "ntlm-target-info-missing",
                Certainty::Consistent,
                "the server's NTLM settings (session security, target information) do not fit this client; compare them with another server of the pool",
            ),
            AuthFailure::Restarted { .. } => (
                "tcp-balancer-affinity",
                Certainty::Consistent,
                "see whether every request of one connection reaches the same server (balancer affinity), and whether that server has too many sign-ins under way",
            ),
            AuthFailure::Refused { id: Some(1013), .. } => (
                "auth-clock-skew",
                Certainty::Certain,
                "set the clock of this machine (or of the server): they differ by more than the server allows",
            ),
            AuthFailure::Refused { .. } => (
                "ntlm-wrong-password",
                Certainty::Consistent,
                "retype the password; if it is right, look at the logon name (DOMAIN\\user or UPN) and at the account (locked, disabled, expired): the wire does not tell these apart, the domain controller's log does",
            ),
            AuthFailure::BadSignature { .. } => (
                "auth-reply-unsigned",
                Certainty::Certain,
                "find out what stands between this machine and the server: a device that rewrites SIP headers, or somebody who is not the server",
            ),
        };
        Verdict { id: id.to_owned(), certainty, sentence: self.to_string(), fix: fix.to_owned() }
    }
}

/// The challenges of a 401.
pub fn challenges(response: &Message<'_>) -> Vec<Challenge> {
    response.all(Name::WwwAuthenticate).filter_map(|value| Challenge::parse(value).ok()).collect()
}

/// What the client has to prove who it is with.
#[derive(Debug, Clone, Copy)]
pub struct Means {
    /// A password.
    pub password: bool,
}

/// One way to prove who one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// NTLM with the password.
    Ntlm,
}

impl Way {
    /// The scheme it answers.
    pub fn scheme(self) -> Scheme {
        match self {
            Way::Ntlm => Scheme::Ntlm,
        }
    }
}

/// The ways to try, in order, each with the reason why. Schemes that this client cannot speak are passed over.
pub fn ways(
    server: &str,
    offered: &[Challenge],
    choice: &Choice,
    means: &Means,
) -> Result<Vec<(Way, String)>, AuthFailure> {
    if offered.is_empty() {
        return Err(AuthFailure::NothingOffered { server: server.to_owned() });
    }
    let names = || offered.iter().map(|c| c.scheme.to_string()).collect::<Vec<_>>().join(", ");
    let is_offered = |way: &Way| offered.iter().any(|c| c.scheme == way.scheme() && c.version.is_some());
    let wanted = |way: &Way| match choice {
        Choice::Auto => true,
        Choice::Only(scheme) => *scheme == way.scheme(),
    };
    let ways: Vec<Way> = [Way::Ntlm].into_iter().filter(wanted).filter(is_offered).collect();
    if ways.is_empty() {
        let wanted = match choice {
            Choice::Auto => "NTLM".to_owned(),
            Choice::Only(scheme) => format!("{scheme} only"),
        };
        return Err(AuthFailure::NothingInCommon { server: server.to_owned(), offered: names(), wanted });
    }
    if !means.password {
        return Err(AuthFailure::NoPassword { server: server.to_owned(), scheme: ways[0].scheme() });
    }
    let reason = |way: &Way| match choice {
        Choice::Only(scheme) => format!("{scheme}, as asked for (offered: {})", names()),
        Choice::Auto if offered.len() == 1 => format!("{}, which is all that is offered", way.scheme()),
        Choice::Auto => format!("{} of {}: it needs nothing but a password", way.scheme(), names()),
    };
    Ok(ways.into_iter().map(|way| (way, reason(&way))).collect())
}

/// The first leg of NTLM: an empty token, since datagram NTLM has no NEGOTIATE. `[MS-SIPAE]` §3.2.5.1.
pub fn first_leg(challenge: &Challenge) -> Credentials {
    Credentials {
        scheme: challenge.scheme.clone(),
        realm: challenge.realm.clone(),
        target_name: challenge.target_name.clone(),
        version: challenge.version,
        opaque: None,
        gssapi_data: Some(Vec::new()),
        signature: None,
    }
}

/// The last leg of NTLM: the answer to the CHALLENGE, and the association it makes on our side.
pub fn last_leg(
    server: &str,
    challenge: &Challenge,
    log_on: &LogOn,
    entropy: &Entropy,
    unix_seconds: i64,
) -> Result<(Association, Vec<u8>), AuthFailure> {
    let bad = |why: String| AuthFailure::BadChallenge { server: server.to_owned(), why };
    let token = challenge.gssapi_data.as_deref().ok_or_else(|| bad("it carries no token".to_owned()))?;
    let opaque = challenge.opaque.clone().ok_or_else(|| bad("it carries no opaque".to_owned()))?;
    let credentials = ntlm::Credentials {
        user: log_on.account.user.clone(),
        domain: log_on.account.domain.clone(),
        workstation: log_on.workstation.clone(),
        nt_hash: NtHash::of_password(log_on.password.reveal()),
    };
    let answered = ntlm::answer(Mode::Datagram, None, token, &credentials, entropy, filetime(unix_seconds))
        .map_err(|error| bad(error.to_string()))?;
    let association = Association::new(
        Some(opaque),
        challenge.scheme.clone(),
        challenge.version.unwrap_or(Version::V4),
        challenge.realm.clone(),
        challenge.target_name.clone(),
        MessageKeys::Ntlm(answered.keys),
    );
    Ok((association, answered.message))
}

/// 100 ns units since 1601, from seconds since 1970.
pub(crate) fn filetime(unix_seconds: i64) -> u64 {
    u64::try_from(unix_seconds.saturating_add(11_644_473_600)).unwrap_or(0).saturating_mul(10_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(text: &str) -> Challenge {
        Challenge::parse(text).expect("reads")
    }

    #[test]
    fn picks_what_it_can_speak() {
        let offered = [
            offer("TLS-DSK realm=\"r\", targetname=\"fe\", version=4, sts-uri=\"https://w/\""),
            offer("Kerberos realm=\"r\", targetname=\"sip/fe\", version=4"),
            offer("NTLM realm=\"r\", targetname=\"fe\", version=4"),
        ];
        let means = Means { password: true };
        let ways = |offered, means| super::ways("fe", offered, &Choice::Auto, means);
        let found = ways(&offered, &means).expect("one fits");
        assert_eq!(found[0].0, Way::Ntlm);
        assert!(found[0].1.contains("TLS-DSK, Kerberos, NTLM"), "{found:?}");
        assert_eq!(ways(&offered[..2], &means).expect_err("none fits").verdict().id, "auth-no-common-scheme");
        assert_eq!(ways(&[], &means).expect_err("none").verdict().id, "auth-no-scheme");
    }

    #[test]
    fn filetime_of_a_known_day() {
        assert_eq!(filetime(0), 116_444_736_000_000_000);
    }
}
