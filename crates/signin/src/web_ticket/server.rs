//! The ticket service: metadata for anybody, tickets for who logs on with Kerberos or NTLM, or signs with a user certificate.
//! `[MS-OCAUTHWS]` §3.2.
//!
//! Nothing of a request is looked at before its sender is known, so answers do not tell who has an account. After that
//! the claim is checked: the address must belong to the account that logged on, and be enabled for SIP.

use super::authority::{Grant, TicketAuthority};
use super::diagnostics::{Diagnostics, error_id};
use super::message::{
    CONTENT_TYPE, Lifetime, Proof, SAML_TOKEN, SYMMETRIC_KEY, TokenRequest, TokenResponse, parse_request,
};
use super::metadata::{CERTIFICATE, Metadata, Port, WIN_NEGOTIATE};
use super::once::Once;
use super::proof_key::ProofKey;
use super::signed::{self, SignedError};
use super::{CERTIFICATE_PATH, DIAGNOSTICS_HEADER, SERVICE_PATH};
use crate::authenticate::verifier::{CertificateVerifier, Identity, Refusal as NotAccepted};
use crate::directory::{Directory, User};
use crate::http::gate::{Admission, Gate};
use crate::io::{HttpRequest, HttpResponse};
use crate::name::Aor;
use crate::service::Surroundings;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use url::Url;
use zeroize::Zeroizing;

/// Bounds of the client's entropy, in bytes; the proof key is as long.
const ENTROPY: std::ops::RangeInclusive<usize> = 16..=64;

/// How tickets are issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `host` or `host:port` of the web services, as in their URLs.
    pub web: String,
    /// FQDN of this server, told in diagnostics.
    pub fqdn: String,
    /// How long a ticket is valid: 8 h. Clients keep it that long.
    pub lifetime: Duration,
    /// Whether messages signed with a certificate may be signed with SHA-1, as clients of the time do.
    pub sha1: bool,
    /// Signed messages that are remembered, so that none is taken twice.
    pub remembered: usize,
}

impl Settings {
    /// The defaults for web services at this authority.
    pub fn new(web: &str, fqdn: &str) -> Settings {
        let lifetime = Duration::from_secs(8 * 3600);
        Settings { web: web.to_owned(), fqdn: fqdn.to_owned(), lifetime, sha1: true, remembered: 50_000 }
    }

    /// Base URL of the service.
    pub fn url(&self) -> String {
        format!("https://{}{SERVICE_PATH}", self.web)
    }

    /// What its tickets are for: every web service under this authority.
    pub fn audience(&self) -> String {
        format!("https://{}/", self.web)
    }
}

/// The ticket service.
pub struct TicketService {
    settings: Settings,
    authority: Arc<TicketAuthority>,
    /// Who can tell whether a user certificate is good; without it no message signed with one is taken.
    certificates: Option<Arc<dyn CertificateVerifier>>,
    directory: Arc<dyn Directory>,
    surroundings: Arc<dyn Surroundings>,
    taken: Mutex<Once>,
}

impl TicketService {
    /// A service with these settings, issuing in the name of `authority`.
    pub fn new(
        settings: Settings,
        authority: Arc<TicketAuthority>,
        certificates: Option<Arc<dyn CertificateVerifier>>,
        directory: Arc<dyn Directory>,
        surroundings: Arc<dyn Surroundings>,
    ) -> TicketService {
        let taken = Mutex::new(Once::new(settings.remembered));
        TicketService { settings, authority, certificates, directory, surroundings, taken }
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Answers `GET …/mex`. Only ports that work are there: clients try every one they know.
    pub fn metadata(&self) -> HttpResponse {
        let port =
            |name: &str, path| Port { name: name.to_owned(), location: format!("{}{path}", self.settings.url()) };
        let by_certificate = self.certificates.as_ref().map(|_| port(CERTIFICATE, CERTIFICATE_PATH));
        let ports = std::iter::once(port(WIN_NEGOTIATE, "")).chain(by_certificate).collect();
        answer(200, CONTENT_TYPE, Metadata { ports }.write())
    }

    /// Answers `POST …`, a RequestSecurityToken. `gate` is that of the connection.
    pub async fn issue(&self, gate: &mut Gate, request: &HttpRequest) -> HttpResponse {
        let (account, proof) = match gate.admit(header(request, "authorization"), &*self.surroundings).await {
            Admission::Granted { account, proof } => (account, proof),
            Admission::Challenge(challenges) => return unauthorized(challenges),
            Admission::Refused { last, cause, .. } => {
                let mut response = HttpResponse { reusable: !last, ..unauthorized(gate.challenges()) };
                let told = cause.map(|cause| (DIAGNOSTICS_HEADER.to_owned(), self.ticket_refused(cause).header()));
                response.headers.extend(told);
                return response;
            }
            Admission::Unavailable(_) => return self.diagnosed(503, Refusal::Unavailable),
        };
        let asked = TokenRequest::read(&request.body).map_err(|why| Refusal::Request(why.to_string()));
        let issued = match asked {
            Ok(asked) => self.ticket(&Identity::Account(account), asked).await,
            Err(refusal) => Err(refusal),
        };
        let mut response = match issued {
            Ok(response) => answer(200, CONTENT_TYPE, response.write()),
            Err(refusal) => self.diagnosed(refusal.status(), refusal),
        };
        response.headers.extend(proof.map(|value| ("www-authenticate".to_owned(), value)));
        response
    }

    /// Answers `POST …/cert`, a RequestSecurityToken that is signed with a user certificate.
    pub async fn issue_to_holder(&self, request: &HttpRequest) -> HttpResponse {
        match self.ticket_of_holder(&request.body).await {
            Ok(response) => answer(200, CONTENT_TYPE, response.write()),
            Err(refusal) => self.diagnosed(refusal.status(), refusal),
        }
    }

    async fn ticket_of_holder(&self, body: &[u8]) -> Result<TokenResponse, Refusal> {
        let verifier = self.certificates.as_ref().ok_or(Refusal::Signature(SignedError::NoCertificate))?;
        let now = self.surroundings.now().unix_seconds;
        let envelope = parse_request(body).map_err(|why| Refusal::Request(why.to_string()))?;
        let shown = signed::check(body, &envelope, now, self.settings.sha1).map_err(Refusal::Signature)?;
        let holder = verifier.verify(shown.certificate).await.map_err(|refusal| match refusal {
            NotAccepted::Unavailable(_) => Refusal::Unavailable,
            refusal => Refusal::Certificate(refusal),
        })?;
        if !self.takes(shown.name, shown.remembered_until, now) {
            return Err(Refusal::Replayed);
        }
        let asked = TokenRequest::of(&envelope).map_err(|why| Refusal::Request(why.to_string()))?;
        self.ticket(&Identity::Address(holder.aor), asked).await
    }

    fn takes(&self, name: [u8; 32], until: i64, now: i64) -> bool {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).take(name, until, now)
    }

    async fn ticket(&self, who: &Identity, request: TokenRequest) -> Result<TokenResponse, Refusal> {
        let entropy = self.acceptable(&request)?;
        let user = self.owner(who, &request.claim).await?;
        let mut server_entropy = Zeroizing::new(vec![0; 32]);
        self.surroundings.fill_random(&mut server_entropy);
        let mut id = [0; 16];
        self.surroundings.fill_random(&mut id);
        let now = self.surroundings.now().unix_seconds;
        let seconds = i64::try_from(self.settings.lifetime.as_secs()).unwrap_or(i64::MAX);
        let lifetime = Lifetime { created: now, expires: now.saturating_add(seconds) };
        let grant = Grant {
            aor: user.aor.clone(),
            issuer: self.settings.url(),
            audience: self.settings.audience(),
            not_before: lifetime.created,
            expires: lifetime.expires,
            proof_key: ProofKey::derive(entropy, &server_entropy),
        };
        let assertion = self.authority.issue(&grant, uuid::Builder::from_random_bytes(id).into_uuid());
        Ok(TokenResponse { context: request.context, assertion, lifetime, proof: Proof::Computed(server_entropy) })
    }

    /// Whether this is a ticket we make: kind, key, and one of our services. Gives the client's entropy.
    fn acceptable<'a>(&self, request: &'a TokenRequest) -> Result<&'a [u8], Refusal> {
        let refuse = |why: &str| Refusal::Request(why.to_owned());
        if request.token_type.as_deref().is_some_and(|kind| kind != SAML_TOKEN) {
            return Err(refuse("only SAML 1.1 tokens are issued"));
        }
        if request.key_type.as_deref().is_some_and(|kind| kind != SYMMETRIC_KEY) {
            return Err(refuse("only symmetric keys are issued"));
        }
        let ours = Url::parse(&self.settings.audience()).ok();
        let theirs = Url::parse(&request.applies_to).ok();
        let same = |a: &Url, b: &Url| {
            a.scheme() == b.scheme() && a.host() == b.host() && a.port_or_known_default() == b.port_or_known_default()
        };
        if !ours.zip(theirs).is_some_and(|(ours, theirs)| same(&ours, &theirs)) {
            return Err(refuse("the ticket is asked for a service that is not ours"));
        }
        let entropy = request.entropy.as_deref().map(Vec::as_slice).unwrap_or_default();
        if ENTROPY.contains(&entropy.len()) {
            Ok(entropy)
        } else {
            Err(refuse("the entropy has to have 16 to 64 bytes"))
        }
    }

    /// The user the account or certificate belongs to, when that is who the claim names.
    async fn owner(&self, who: &Identity, claim: &str) -> Result<Arc<User>, Refusal> {
        let claimed = claim.parse::<Aor>().map_err(|why| Refusal::Request(why.to_string()))?;
        let user = match who {
            Identity::Account(account) => self.directory.user_of_account(account).await,
            Identity::Address(aor) => self.directory.user(aor).await,
        };
        let user = user.map_err(|_| Refusal::Unavailable)?;
        let user = user.filter(|user| user.aor == claimed).ok_or(Refusal::NotOwner)?;
        if user.enabled && user.sip_enabled { Ok(user) } else { Err(Refusal::NotEnabled) }
    }

    /// What is told of a Kerberos ticket that is not accepted. Of passwords nothing is told.
    fn ticket_refused(&self, cause: &str) -> Diagnostics {
        let reason = "The Kerberos ticket is not accepted.";
        let diagnostics =
            Diagnostics::new(error_id::KERBEROS_REFUSED, reason, &self.settings.fqdn, "FailedAuthentication");
        Diagnostics { cause: Some(cause.to_owned()), ..diagnostics }
    }

    fn diagnosed(&self, status: u16, refusal: Refusal) -> HttpResponse {
        refuse(status, &refusal.diagnostics(&self.settings.fqdn))
    }
}

/// Why there is no ticket for somebody who did log on.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Refusal {
    /// The request itself.
    Request(String),
    /// The address belongs to somebody else, or to nobody.
    NotOwner,
    /// The account may not use SIP.
    NotEnabled,
    /// The message is not signed as it should be.
    Signature(SignedError),
    /// The certificate it is signed with is not accepted.
    Certificate(NotAccepted),
    /// The very message was taken before.
    Replayed,
    /// The directory did not answer.
    Unavailable,
}

impl Refusal {
    fn status(&self) -> u16 {
        match self {
            Refusal::Request(_) | Refusal::Signature(_) | Refusal::Replayed => 500,
            Refusal::NotOwner | Refusal::NotEnabled | Refusal::Certificate(_) => 403,
            Refusal::Unavailable => 503,
        }
    }

    fn diagnostics(&self, source: &str) -> Diagnostics {
        let source = Some(source.to_owned());
        let words: String;
        let (id, reason, fault) = match self {
            Refusal::Request(why) => (Some(error_id::BAD_REQUEST), why.as_str(), "s:Client"),
            Refusal::NotOwner => (
                Some(error_id::NOT_OWNER),
                "The SIP URI does not belong to the account that logged on.",
                "wsse:FailedCheck",
            ),
            Refusal::NotEnabled => {
                (Some(error_id::NOT_SIP_ENABLED), "The user is not enabled for SIP.", "wsse:FailedAuthentication")
            }
            Refusal::Signature(why) => {
                let (id, fault) = match why {
                    SignedError::NoCertificate => (error_id::NO_TOKEN, "wsse:InvalidSecurityToken"),
                    SignedError::Stale => (error_id::STALE_PROOF, "wsse:MessageExpired"),
                    SignedError::Unusable(_) | SignedError::Sha1 | SignedError::Wrong => {
                        (error_id::BAD_PROOF, "wsse:FailedCheck")
                    }
                };
                words = sentence(why);
                (Some(id), words.as_str(), fault)
            }
            Refusal::Certificate(why) => {
                words = sentence(why);
                (Some(error_id::CERTIFICATE_REFUSED), words.as_str(), "wsse:FailedAuthentication")
            }
            Refusal::Replayed => {
                (Some(error_id::REPLAYED), "This message was taken before; make a new one.", "wsse:FailedCheck")
            }
            Refusal::Unavailable => (None, "The directory does not answer at the moment.", "s:Server"),
        };
        let cause = match self {
            Refusal::Certificate(why) => Some(why.id().to_owned()),
            _ => None,
        };
        Diagnostics { id, reason: reason.to_owned(), source, fault: Some(fault.to_owned()), cause }
    }
}

/// What went wrong as a sentence.
pub(crate) fn sentence(why: &dyn std::fmt::Display) -> String {
    let text = why.to_string();
    let mut rest = text.chars();
    let first = rest.next().map(|first| first.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), rest.as_str())
}

/// The answer of a web service that says what is wrong, twice: for clients that read headers, and for those that read
/// faults.
pub(crate) fn refuse(status: u16, diagnostics: &Diagnostics) -> HttpResponse {
    let mut response = answer(status, CONTENT_TYPE, diagnostics.fault());
    response.headers.push((DIAGNOSTICS_HEADER.to_owned(), diagnostics.header()));
    response
}

/// The answer of a web service; it belongs to who asked, and is not kept by anybody between.
pub(crate) fn answer(status: u16, content_type: &str, body: String) -> HttpResponse {
    let headers =
        vec![("content-type".to_owned(), content_type.to_owned()), ("cache-control".to_owned(), "no-store".to_owned())];
    HttpResponse { status, headers, body: body.into_bytes(), reusable: true }
}

fn unauthorized(challenges: Vec<String>) -> HttpResponse {
    let headers = challenges.into_iter().map(|challenge| ("www-authenticate".to_owned(), challenge)).collect();
    HttpResponse { status: 401, headers, body: Vec::new(), reusable: true }
}

fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}
