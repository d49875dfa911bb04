//! The client's REGISTERs, and what their answers mean. `[MS-SIPREGE]` §3.1.1.

use super::endpoint::{Epid, InstanceId};
use super::message::{own_binding, redirect_targets};
use crate::authenticate::cause::Cause;
use crate::name::Aor;
use crate::reply::Told;
use crate::report::{Certainty, Verdict};
use sip::{Draft, Message, Name};
use std::net::SocketAddr;
use std::time::Duration;

/// What stays the same over all REGISTERs of one sign-in.
#[derive(Debug, Clone)]
pub struct Registration {
    /// Address that signs in.
    pub aor: Aor,
    /// Stable for user and device.
    pub epid: Epid,
    /// Follows from the epid.
    pub instance: InstanceId,
    /// 32 hexadecimal digits.
    pub call_id: String,
    /// Tag of From.
    pub from_tag: String,
    /// Random token of this launch, in the Contact.
    pub ms_opaque: String,
    /// `User-Agent`.
    pub user_agent: String,
}

impl Registration {
    /// Begins the registration of an endpoint; `random` is 24 random bytes.
    pub fn new(aor: Aor, epid: Epid, user_agent: String, random: [u8; 24]) -> Registration {
        let instance = InstanceId::of_epid(&epid);
        let (call_id, rest) = random.split_at(16);
        let (tag, opaque) = rest.split_at(4);
        Registration {
            aor,
            epid,
            instance,
            call_id: hex::encode(call_id),
            from_tag: hex::encode(tag),
            ms_opaque: hex::encode(opaque),
            user_agent,
        }
    }

    /// One REGISTER, still without credentials. `local` is our end of the connection.
    pub fn request(&self, cseq: u32, local: SocketAddr, expires: Option<u32>) -> Draft {
        let aor = self.aor.to_uri();
        let mut draft = Draft::request("REGISTER", &format!("sip:{}", self.aor.domain()));
        draft
            .header("Via", format_args!("SIP/2.0/TLS {local};branch=z9hG4bK{}{cseq}", self.ms_opaque))
            .header("Max-Forwards", 70)
            .header("From", format_args!("<{aor}>;tag={};epid={}", self.from_tag, self.epid.as_str()))
            .header("To", format_args!("<{aor}>"))
            .header("Call-ID", &self.call_id)
            .header("CSeq", format_args!("{cseq} REGISTER"))
            .header("Contact", self.contact(local))
            .header("User-Agent", &self.user_agent)
            .header("Supported", "gruu-10, adhoclist, msrtc-event-categories")
            .header("Supported", "ms-cluster-failover")
            .header("ms-keep-alive", "UAC;hop-hop=yes")
            .header("Event", "registration");
        if let Some(expires) = expires {
            draft.header("Expires", expires);
        }
        draft
    }

    fn contact(&self, local: SocketAddr) -> String {
        format!(
            "<sip:{local};transport=tls;ms-opaque={}>;methods=\"INVITE, MESSAGE, INFO, OPTIONS, BYE, CANCEL, NOTIFY, ACK, BENOTIFY\";proxy=replace;+sip.instance={}",
            self.ms_opaque,
            self.instance.to_parameter()
        )
    }
}

/// What a 200 to a REGISTER grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Lifetime of the binding.
    pub expires: Duration,
    /// URI to use as Contact from now on.
    pub gruu: Option<String>,
    /// How often to send CR LF CR LF, when agreed.
    pub keep_alive: Option<Duration>,
    /// Event packages that may be subscribed to, as named.
    pub events: Vec<String>,
    /// Presence can be subscribed to in one batch.
    pub batch: bool,
    /// The server sees us as outside.
    pub remote: bool,
    /// `Server`, when it says what it is.
    pub server: Option<String>,
    /// `added`, `refreshed`, `fixed`.
    pub action: Option<String>,
    /// `false` when this is the backup registrar.
    pub primary: bool,
}

/// Reads a 200.
pub fn accepted(response: &Message<'_>, registration: &Registration) -> Accepted {
    let bound = own_binding(response, registration.instance);
    let expires: u32 = response
        .header(Name::Expires)
        .and_then(|text| text.parse().ok())
        .or(bound.as_ref().and_then(|b| b.expires))
        .unwrap_or(0);
    let state = response.named("presence-state").map(|value| format!(";{value}"));
    let state = |name: &str| {
        let params = sip::Params::after(state.as_deref()?)?;
        params.get(name).map(str::to_owned)
    };
    let keep_alive = response.named("ms-keep-alive").and_then(|value| {
        let params = sip::Params::after(value.find(';').map_or("", |at| &value[at..]))?;
        let agreed = params.get("hop-hop").is_some_and(|v| v.eq_ignore_ascii_case("yes"));
        let seconds = params.get("timeout").and_then(|t| t.parse().ok()).unwrap_or(300);
        agreed.then(|| Duration::from_secs(seconds))
    });
    Accepted {
        expires: Duration::from_secs(u64::from(expires)),
        gruu: bound.and_then(|b| b.gruu),
        keep_alive,
        events: response.all(Name::AllowEvents).flat_map(|v| v.split(',')).map(|e| e.trim().to_owned()).collect(),
        batch: response.lists(Name::Supported, "adhoclist"),
        remote: response.named("ms-user-logon-data").is_some_and(|v| v.eq_ignore_ascii_case("RemoteUser")),
        server: response.header(Name::Server).map(str::to_owned),
        action: state("register-action"),
        primary: state("is-connected-to-primary").is_none_or(|v| !v.eq_ignore_ascii_case("no")),
    }
}

/// Why a registration, or the way to it, failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterFailure {
    /// A final answer that is neither 200, 301 nor 401.
    #[error("{server} answered {code} {reason}{}", .why.as_ref().map(|w| format!(": {w}")).unwrap_or_default())]
    Refused {
        /// Who.
        server: String,
        /// It was signed, and the signature right.
        signed: bool,
        /// Status code.
        code: u16,
        /// Reason phrase.
        reason: String,
        /// Error id of `ms-diagnostics`.
        id: Option<u32>,
        /// Its reason.
        why: Option<String>,
        /// What it named as the cause, if that is one that a registration can have.
        cause: Option<Cause>,
    },
    /// A 301 that names no server to go to.
    #[error("{server} redirects without naming a server that can be reached over TLS")]
    NoTarget {
        /// Who.
        server: String,
    },
    /// A 301 that leads away from TLS.
    #[error("{server} redirects to {to}, which is not reached over TLS")]
    Insecure {
        /// Who.
        server: String,
        /// The Contact.
        to: String,
    },
    /// Redirected to where we have been, or too often.
    #[error("redirected in a circle, or too often: {}", .hops.join(" → "))]
    Loop {
        /// Servers in the order they were visited.
        hops: Vec<String>,
    },
    /// A 301 before anybody was authenticated.
    #[error("{server} redirects before it has proven who it is")]
    Unauthenticated {
        /// Who.
        server: String,
    },
    /// No final answer.
    #[error("{server} did not answer the REGISTER: {why}")]
    NoAnswer {
        /// Who.
        server: String,
        /// Closed, reset or nothing in time.
        why: String,
    },
    /// The answer cannot be read.
    #[error("{server} answered with something that is not SIP: {why}")]
    NotSip {
        /// Who.
        server: String,
        /// What is wrong with it.
        why: String,
    },
    /// Registered, and soon after signed out by the server.
    #[error("{server} registered this endpoint and signed it out again: {event}{}", .why.as_ref().map(|w| format!(" ({w})")).unwrap_or_default())]
    SignedOut {
        /// Who.
        server: String,
        /// `unregistered`, `rejected`, `deactivated`. `[MS-SIPREGE]` §2.2.1.13.
        event: String,
        /// The server's words.
        why: Option<String>,
    },
    /// Registered, and soon after without a connection.
    #[error("{server} registered this endpoint, and then the connection ended: {why}")]
    ConnectionLost {
        /// With whom.
        server: String,
        /// How it ended.
        why: String,
    },
    /// A 200 that grants nothing.
    #[error("{server} answered 200 OK without granting a registration (no Expires)")]
    NothingGranted {
        /// Who.
        server: String,
    },
}

impl RegisterFailure {
    /// Reads a final answer that is an error. `signed`: its signature was right.
    pub fn refused(server: &str, response: &Message<'_>, signed: bool) -> RegisterFailure {
        let told = Told::by(response);
        let (id, why) = (told.id, told.words());
        let cause = told.cause.as_deref().and_then(Cause::named).filter(|cause| OF_USERS.contains(&cause.id));
        let (code, reason) = match response.start() {
            sip::StartLine::Response { code, reason } => (code, reason.to_owned()),
            sip::StartLine::Request { .. } => (0, String::new()),
        };
        let why = why.or_else(|| response.header(Name::Warning).map(str::to_owned));
        RegisterFailure::Refused { server: server.to_owned(), signed, code, reason, id, why, cause }
    }

    /// What it means and what to do.
    pub fn verdict(&self) -> Verdict {
        let (id, certainty, fix) = match self {
            RegisterFailure::Refused { code, id, signed, cause, .. } => {
                let told = cause.map(|Cause { id, fix }| (id, Certainty::Certain, fix));
                let (id, certainty, fix) = told.unwrap_or_else(|| meaning(*code, *id));
                (id, if *signed { certainty } else { Certainty::Consistent }, fix)
            }
            RegisterFailure::NoTarget { .. } => (
                "redir-no-contact",
                Certainty::Certain,
                "look at the 301 in the ladder: a device on the way may have removed its Contact lines",
            ),
            RegisterFailure::Insecure { .. } => (
                "redir-insecure",
                Certainty::Certain,
                "correct the transport of the home pool's listener in the topology; if it is right, somebody on the way wrote this redirect",
            ),
            RegisterFailure::Loop { .. } => (
                "redir-loop",
                Certainty::Certain,
                "compare the user's home pool on the servers named: they disagree; finish or force the move",
            ),
            RegisterFailure::Unauthenticated { .. } => (
                "redir-before-auth",
                Certainty::Consistent,
                "find out which server answered; an unsigned redirect is not followed",
            ),
            RegisterFailure::NoAnswer { .. } => (
                "pool-408",
                Certainty::Consistent,
                "look at the Front End service and its store: TLS answers, but the registrar does not",
            ),
            RegisterFailure::NotSip { .. } => {
                ("tcp-wrong-service", Certainty::Certain, "correct the port: another service answers there")
            }
            RegisterFailure::SignedOut { event, .. } => match event.as_str() {
                "rejected" => ("user-disabled", Certainty::Certain, "enable the account again"),
                "deactivated" => (
                    "user-moved-mid-session",
                    Certainty::Certain,
                    "sign in again: the user is being moved to another pool",
                ),
                _ => (
                    "reg-superseded",
                    Certainty::Consistent,
                    "see whether another program signs in as this user on this device, and let one do so at a time; if none does, \
                     count the user's devices: the server permits no more than so many",
                ),
            },
            RegisterFailure::ConnectionLost { .. } => (
                "reg-connection-lost",
                Certainty::Consistent,
                "sign in again; if it happens again, look at the server's log at this time, then at devices on the way",
            ),
            RegisterFailure::NothingGranted { .. } => (
                "reg-expires-small",
                Certainty::Consistent,
                "look at the registrar's answer in the ladder; a device may have removed headers",
            ),
        };
        Verdict { id: id.to_owned(), certainty, sentence: self.to_string(), fix: fix.to_owned() }
    }
}

/// The causes that a server may name when it decides about a user; others are about what a client showed.
const OF_USERS: [&str; 2] = ["ntlm-dc-unreachable", "user-duplicate-sip"];

/// The failure catalogue's id of a status and a diagnostics id.
fn meaning(code: u16, id: Option<u32>) -> (&'static str, Certainty, &'static str) {
    use Certainty::{Certain, Consistent};
    match (code, id) {
        (404, Some(1003)) => (
            "user-not-found",
            Certain,
            "correct the sign-in address: nobody has it; compare it with the account's SIP address",
        ),
        (404, Some(4005)) => ("user-not-sip-enabled", Certain, "enable the user for SIP on a pool"),
        (404, Some(4006)) => {
            ("user-not-in-pool", Certain, "assign the user to a pool, or wait until the assignment has been replicated")
        }
        (404, Some(1005)) => {
            ("edge-domain-not-allowed", Consistent, "add the SIP domain to the deployment and publish it")
        }
        (404, _) => ("user-not-found", Consistent, "correct the sign-in address, or enable the user for SIP"),
        (403, Some(4003)) => {
            ("user-no-remote-access", Certain, "grant the user an external access policy, or sign in from inside")
        }
        (403, Some(4004)) => (
            "user-wrong-identity",
            Certain,
            "log on with the account that owns this sign-in address (--user), or sign in with that account's address",
        ),
        (403, Some(4141)) => ("user-disabled", Certain, "enable the account again"),
        (403, Some(1012)) => ("edge-remote-off", Consistent, "allow remote access in the Edge configuration"),
        (403, Some(17002 | 17003)) => {
            ("client-version-blocked", Certain, "update the client, or change the version rule")
        }
        (403, _) => ("user-forbidden", Consistent, "look at the diagnostics id: a policy forbids this sign-in"),
        (400, Some(4010..=4012)) => ("reg-missing-endpoint-id", Certain, "send epid and +sip.instance"),
        (489, _) => ("reg-bad-event", Certain, "send Event: registration"),
        (421, _) => ("reg-missing-extension", Certain, "send the option tags the server asks for"),
        (423, _) => ("reg-expires-small", Certain, "ask for a longer registration"),
        (503, _) => ("pool-503", Consistent, "wait for Retry-After; look at the services of the pool and its load"),
        (504, Some(1008 | 1014)) => {
            ("edge-next-hop-dns", Consistent, "repair name resolution on the server that answered")
        }
        (504, Some(1010)) => ("edge-next-hop-cert", Consistent, "repair the certificate between the servers"),
        (504, _) => ("pool-504", Consistent, "look at the home pool: the server that answered cannot reach it"),
        (408, _) => ("pool-408", Consistent, "look at the user services and the store of the pool"),
        (500..=599, _) => ("pool-500", Consistent, "look at the server's log at this time"),
        _ => ("user-forbidden", Consistent, "look at the answer in the ladder"),
    }
}

/// Where a 301 leads: best first.
pub fn targets(server: &str, response: &Message<'_>) -> Result<Vec<super::message::RedirectTarget>, RegisterFailure> {
    let targets = redirect_targets(response);
    if !targets.is_empty() {
        return Ok(targets);
    }
    let server = server.to_owned();
    let contacts = response.all(Name::Contact).flat_map(sip::header::split_list);
    let sip = |value: &&str| sip::NameAddr::parse(value).is_ok_and(|contact| contact.uri().is_ok());
    Err(match contacts.into_iter().find(sip) {
        Some(to) => RegisterFailure::Insecure { server, to: to.to_owned() },
        None => RegisterFailure::NoTarget { server },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration() -> Registration {
        let aor = "alice@contoso.test".parse().expect("aor");
        Registration::new(aor, "2ebb6f264f".parse().expect("epid"), "Signpost".to_owned(), [7; 24])
    }

    #[test]
    fn asks_for_what_a_registrar_wants() {
        let bytes = registration().request(3, "192.0.2.10:50230".parse().expect("address"), Some(0)).finish();
        let message = Message::parse(&bytes).expect("parses");
        let request = super::super::message::RegisterRequest::read(&message, "t").expect("acceptable");
        assert_eq!(request.expires, Some(0));
        assert!(request.gruu && request.keep_alive && request.registration_event);
        assert_eq!(message.request_uri(), Some("sip:contoso.test"));
    }

    #[test]
    fn reads_a_grant() {
        let text = "SIP/2.0 200 OK\r\nms-keep-alive: UAS; tcp=no; hop-hop=yes; end-end=no; timeout=300\r\nContact: <sip:192.0.2.9>;expires=99;+sip.instance=\"<urn:uuid:00000000-e660-594f-a8b3-4b55f358cbc1>\"\r\nContact: <sip:192.0.2.10:50230;transport=tls>;expires=7200;+sip.instance=\"<urn:uuid:124841E4-264D-52E8-96C5-D22AA8CDC316>\";gruu=\"sip:alice@contoso.test;opaque=user:epid:5EFIEk0m6FKWxdIqqM3DFgAA;gruu\"\r\nExpires: 7200\r\npresence-state: register-action=\"added\"\r\nAllow-Events: presence, vnd-microsoft-roaming-self\r\nSupported: adhoclist\r\nServer: RTC/6.0\r\n\r\n";
        let got = accepted(&Message::parse(text.as_bytes()).expect("parses"), &registration());
        assert_eq!(got.expires, Duration::from_secs(7200));
        assert_eq!(got.gruu.as_deref(), Some("sip:alice@contoso.test;opaque=user:epid:5EFIEk0m6FKWxdIqqM3DFgAA;gruu"));
        assert_eq!(got.keep_alive, Some(Duration::from_secs(300)));
        assert_eq!(got.events, ["presence", "vnd-microsoft-roaming-self"]);
        assert_eq!((got.batch, got.remote, got.primary, got.action.as_deref()), (true, false, true, Some("added")));
    }

    #[test]
    fn every_refusal_has_an_id_and_a_remedy() {
        for (line, extra, id) in [
            ("404 Not Found", "ms-diagnostics: 1003;reason=\"User does not exist\"", "user-not-found"),
            ("404 Not Found", "ms-diagnostics: 4005;reason=\"x\"", "user-not-sip-enabled"),
            ("403 Forbidden", "ms-diagnostics-public: 4003;reason=\"x\"", "user-no-remote-access"),
            ("403 Forbidden", "ms-diagnostics-public: 4004;reason=\"x\"", "user-wrong-identity"),
            ("504 Server time-out", "ms-diagnostics: 1007;reason=\"x\"", "pool-504"),
            (
                "504 Server time-out",
                "ms-diagnostics: 1007;reason=\"x\";cause=\"ntlm-dc-unreachable\"",
                "ntlm-dc-unreachable",
            ),
            ("504 Server time-out", "ms-diagnostics: 1007;reason=\"x\";cause=\"what nobody knows\"", "pool-504"),
            ("503 Service Unavailable", "Retry-After: 5", "pool-503"),
            ("600 Busy", "X: y", "user-forbidden"),
        ] {
            let text = format!("SIP/2.0 {line}\r\n{extra}\r\n\r\n");
            let failure = RegisterFailure::refused("fe", &Message::parse(text.as_bytes()).expect("parses"), true);
            let verdict = failure.verdict();
            assert_eq!(verdict.id, id);
            let unsigned = RegisterFailure::refused("fe", &Message::parse(text.as_bytes()).expect("parses"), false);
            assert_eq!(unsigned.verdict(), Verdict { certainty: Certainty::Consistent, ..verdict.clone() });
            assert!(!verdict.fix.is_empty() && verdict.sentence.contains("fe answered"));
        }
    }
}
