//! The client's half: choice of scheme, handshake, and what came of it. `[MS-SIPAE]` §3.2.

use super::association::{Association, MessageKeys};
use super::cause::Cause;
use super::message::{Challenge, Credentials, Scheme, Version};
use crate::log_on::LogOn;
use crate::name::AccountName;
use crate::report::{Certainty, Verdict};
use crate::secret::Password;
use crate::tickets::TicketFailure;
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
    #[error(
        "{server} refused {}{}",
        .account.as_ref().map_or_else(|| format!("what {scheme} showed"), |account| format!("the credentials of {account}")),
        .reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default()
    )]
    Refused {
        /// Who.
        server: String,
        /// Scheme.
        scheme: Scheme,
        /// The account whose password was used; `None` with a ticket or a certificate.
        account: Option<AccountName>,
        /// Error id of `ms-diagnostics`.
        id: Option<u32>,
        /// Its reason.
        reason: Option<String>,
        /// What it named as the cause, if that is one.
        cause: Option<Cause>,
    },
    /// There is no Kerberos ticket for the server.
    #[error("no Kerberos ticket for {target}: {failure}")]
    Ticket {
        /// The service it is for.
        target: String,
        /// Why.
        failure: TicketFailure,
    },
    /// There is no certificate for the user.
    #[error("no user certificate: {}", verdict.sentence)]
    Certificate {
        /// Why.
        verdict: Box<Verdict>,
        /// The password was refused.
        blames_password: bool,
    },
    /// The inner handshake of TLS-DSK failed on our side.
    #[error("the TLS-DSK handshake with {server} failed: {why}")]
    Handshake {
        /// Who.
        server: String,
        /// What went wrong.
        why: String,
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
        match self {
            AuthFailure::Refused { account: Some(_), .. } | AuthFailure::BadSignature { .. } => true,
            AuthFailure::Ticket { failure, .. } => failure.blames_password(),
            AuthFailure::Certificate { blames_password, .. } => *blames_password,
            _ => false,
        }
    }

    /// What it means and what to do.
    pub fn verdict(&self) -> Verdict {
        let (id, certainty, fix) = match self {
            AuthFailure::Ticket { failure, .. } => {
                return Verdict { sentence: self.to_string(), ..failure.verdict() };
            }
            AuthFailure::Certificate { verdict, .. } => {
                return Verdict { sentence: self.to_string(), ..(**verdict).clone() };
            }
            // Who refuses credentials cannot sign that: what is said of the cause fits, and nothing proves it.
            AuthFailure::Refused { cause: Some(cause), .. } => (cause.id, Certainty::Consistent, cause.fix),
            AuthFailure::Refused { account: None, scheme, id, .. } if *id != Some(1013) => (
                match scheme {
                    Scheme::Kerberos => "krb-ap-modified",
                    Scheme::TlsDsk => "dsk-cert-unknown",
                    _ => "auth-final-401",
                },
                Certainty::Consistent,
                match scheme {
                    Scheme::Kerberos => "compare the key of the service's account with the server's keytab",
                    _ => "delete the stored certificate and sign in with the password, which obtains a new one",
                },
            ),
            AuthFailure::Handshake { .. } => (
                "dsk-inner-version",
                Certainty::Consistent,
                "see which TLS versions the server allows for the inner handshake, or use another mechanism",
            ),
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
                Certainty::Consistent,
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
    /// A certificate of the user that is still good.
    pub certificate: bool,
    /// Kerberos tickets, or a way to have them.
    pub tickets: bool,
    /// A password.
    pub password: bool,
    /// A place to keep a new certificate.
    pub keyring: bool,
}

/// One way to prove who one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// TLS-DSK with the certificate at hand.
    StoredCertificate,
    /// TLS-DSK with a certificate that is asked for first.
    NewCertificate,
    /// Kerberos with a ticket.
    Kerberos,
    /// NTLM with the password.
    Ntlm,
}

impl Way {
    /// The scheme it answers.
    pub fn scheme(self) -> Scheme {
        match self {
            Way::StoredCertificate | Way::NewCertificate => Scheme::TlsDsk,
            Way::Kerberos => Scheme::Kerberos,
            Way::Ntlm => Scheme::Ntlm,
        }
    }

    fn is_possible(self, means: &Means) -> bool {
        match self {
            Way::StoredCertificate => means.certificate,
            Way::NewCertificate => means.keyring && (means.password || means.tickets),
            Way::Kerberos => means.tickets,
            Way::Ntlm => means.password,
        }
    }

    /// Why it comes where it comes, when the choice is free.
    fn because(self) -> &'static str {
        match self {
            Way::StoredCertificate => "the certificate of an earlier sign-in is at hand, and no password is sent",
            Way::NewCertificate => "a certificate is asked for first",
            Way::Kerberos => "it is offered, so this is the inside, and there is a ticket or a KDC to ask for one",
            Way::Ntlm => "it needs nothing but a password",
        }
    }
}

/// The ways to try, in order, each with the reason why. `[MS-SIPAE]` leaves the choice to the client; this one does as
/// Microsoft's: the certificate of an earlier sign-in, else Kerberos, else NTLM, and a new certificate when nothing else is
/// offered or the old one is refused. Schemes that nobody knows are passed over.
pub fn ways(
    server: &str,
    offered: &[Challenge],
    choice: &Choice,
    means: &Means,
) -> Result<Vec<(Way, String)>, AuthFailure> {
    if offered.is_empty() {
        return Err(AuthFailure::NothingOffered { server: server.to_owned() });
    }
    let order = match means.certificate {
        true => [Way::StoredCertificate, Way::NewCertificate, Way::Kerberos, Way::Ntlm],
        false => [Way::Kerberos, Way::Ntlm, Way::NewCertificate, Way::StoredCertificate],
    };
    let names = || offered.iter().map(|c| c.scheme.to_string()).collect::<Vec<_>>().join(", ");
    let is_offered = |way: &Way| offered.iter().any(|c| c.scheme == way.scheme() && c.version.is_some());
    let is_wanted = |way: &Way| match choice {
        Choice::Auto => true,
        Choice::Only(scheme) => *scheme == way.scheme(),
    };
    let on_offer: Vec<Way> = order.into_iter().filter(is_wanted).filter(is_offered).collect();
    let possible: Vec<Way> = on_offer.iter().copied().filter(|way| way.is_possible(means)).collect();
    if let (Some(first), true, false) = (on_offer.first(), possible.is_empty(), means.password) {
        return Err(AuthFailure::NoPassword { server: server.to_owned(), scheme: first.scheme() });
    }
    if possible.is_empty() {
        let wanted = match choice {
            Choice::Auto => "TLS-DSK, Kerberos or NTLM".to_owned(),
            Choice::Only(scheme) => format!("{scheme} only"),
        };
        return Err(AuthFailure::NothingInCommon { server: server.to_owned(), offered: names(), wanted });
    }
    let reason = |way: &Way| match choice {
        Choice::Only(scheme) => format!("{scheme}, as asked for (offered: {})", names()),
        Choice::Auto if offered.len() == 1 => format!("{}, which is all that is offered", way.scheme()),
        Choice::Auto => format!("{} of {}: {}", way.scheme(), names(), way.because()),
    };
    Ok(possible.into_iter().map(|way| (way, reason(&way))).collect())
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
    password: &Password,
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
        nt_hash: NtHash::of_password(password.reveal()),
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
        let all = Means { certificate: true, tickets: true, password: true, keyring: true };
        let means = Means { certificate: false, tickets: false, keyring: false, ..all };
        let order = |offered: &[Challenge], choice: &Choice, means: &Means| {
            ways("fe", offered, choice, means).map(|ways| ways.into_iter().map(|(way, _)| way).collect::<Vec<_>>())
        };
        let auto = |offered: &[Challenge], means: &Means| order(offered, &Choice::Auto, means).expect("one fits");
        assert_eq!(auto(&offered, &means), [Way::Ntlm]);
        assert_eq!(auto(&offered, &Means { tickets: true, ..means }), [Way::Kerberos, Way::Ntlm]);
        let first_time = Means { certificate: false, ..all };
        assert_eq!(auto(&offered, &first_time), [Way::Kerberos, Way::Ntlm, Way::NewCertificate]);
        let later = [Way::StoredCertificate, Way::NewCertificate, Way::Kerberos, Way::Ntlm];
        assert_eq!(auto(&offered, &all), later);
        let outside = [offered[0].clone(), offered[2].clone()];
        assert_eq!(auto(&outside, &first_time), [Way::Ntlm, Way::NewCertificate]);
        let only = Choice::Only(Scheme::TlsDsk);
        assert_eq!(order(&offered, &only, &first_time).expect("fits"), [Way::NewCertificate]);
        let (_, reason) = ways("fe", &offered, &Choice::Auto, &means).expect("fits").remove(0);
        assert!(reason.contains("TLS-DSK, Kerberos, NTLM"), "{reason}");
        let failure = |offered: &[Challenge], choice: &Choice, means: &Means| {
            order(offered, choice, means).expect_err("none fits").verdict().id
        };
        assert_eq!(failure(&offered[..2], &Choice::Only(Scheme::Ntlm), &all), "auth-no-common-scheme");
        assert_eq!(failure(&offered[..2], &Choice::Auto, &means), "auth-no-common-scheme");
        assert_eq!(failure(&[], &Choice::Auto, &all), "auth-no-scheme");
    }

    #[test]
    fn a_cause_that_a_server_names_is_an_id_only_if_it_is_one() {
        let refused = |diagnostics: &str| {
            let text = format!("SIP/2.0 401 Unauthorized\r\nms-diagnostics: {diagnostics}\r\n\r\n");
            let told = crate::reply::Told::by(&Message::parse(text.as_bytes()).expect("parses"));
            let cause = told.cause.as_deref().and_then(Cause::named);
            let (id, reason) = (told.id, told.words());
            AuthFailure::Refused { server: "fe".to_owned(), scheme: Scheme::TlsDsk, account: None, id, reason, cause }
                .verdict()
        };
        let named = refused("1000;reason=\"Final handshake failed\";cause=\"dsk-cert-revoked\"");
        assert_eq!((named.id.as_str(), named.certainty), ("dsk-cert-revoked", Certainty::Consistent));
        assert!(named.fix.contains("why it was revoked") && !named.sentence.contains("cause"), "{named:?}");
        for forged in ["tls-untrusted-root", "x", "DSK-CERT-REVOKED", ""] {
            let verdict = refused(&format!("1000;reason=\"Final handshake failed\";cause=\"{forged}\""));
            assert_eq!((verdict.id.as_str(), verdict.certainty), ("dsk-cert-unknown", Certainty::Consistent));
            assert!(verdict.sentence.ends_with(&format!("Final handshake failed (cause: {forged})")), "{verdict:?}");
        }
        assert_eq!(refused("1000;cause=\"x\"").sentence, "fe refused what TLS-DSK showed: cause: x");
        let skewed = refused("1013;reason=\"Significant time skew\"");
        assert_eq!((skewed.id.as_str(), skewed.certainty), ("auth-clock-skew", Certainty::Consistent));
    }

    #[test]
    fn filetime_of_a_known_day() {
        assert_eq!(filetime(0), 116_444_736_000_000_000);
    }
}
