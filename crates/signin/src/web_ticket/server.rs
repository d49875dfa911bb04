//! The ticket service: metadata for anybody, tickets for who logs on with Kerberos or NTLM. `[MS-OCAUTHWS]` §3.2.
//!
//! Nothing of a request is looked at before its sender is known, so answers do not tell who has an account. After that
//! the claim is checked: the address must belong to the account that logged on, and be enabled for SIP.

use super::authority::{Grant, TicketAuthority};
use super::message::{
    CONTENT_TYPE, Diagnostics, Lifetime, Metadata, Port, Proof, SAML_TOKEN, SYMMETRIC_KEY, TokenRequest, TokenResponse,
    WIN_NEGOTIATE, error_id,
};
use super::proof_key::ProofKey;
use super::{DIAGNOSTICS_HEADER, SERVICE_PATH};
use crate::directory::{Directory, User};
use crate::http::gate::{Admission, Gate};
use crate::io::{HttpRequest, HttpResponse};
use crate::name::{AccountName, Aor};
use crate::service::Surroundings;
use std::sync::Arc;
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
}

impl Settings {
    /// The defaults for web services at this authority.
    pub fn new(web: &str, fqdn: &str) -> Settings {
        Settings { web: web.to_owned(), fqdn: fqdn.to_owned(), lifetime: Duration::from_secs(8 * 3600) }
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
    directory: Arc<dyn Directory>,
    surroundings: Arc<dyn Surroundings>,
}

impl TicketService {
    /// A service with these settings, issuing in the name of `authority`.
    pub fn new(
        settings: Settings,
        authority: Arc<TicketAuthority>,
        directory: Arc<dyn Directory>,
        surroundings: Arc<dyn Surroundings>,
    ) -> TicketService {
        TicketService { settings, authority, directory, surroundings }
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Answers `GET …/mex`. Only the port that works is there: clients try every one they know.
    pub fn metadata(&self) -> HttpResponse {
        let port = Port { name: WIN_NEGOTIATE.to_owned(), location: self.settings.url() };
        answer(200, CONTENT_TYPE, Metadata { ports: vec![port] }.write())
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
        let mut response = match self.ticket(&account, &request.body).await {
            Ok(response) => answer(200, CONTENT_TYPE, response.write()),
            Err(refusal) => self.diagnosed(refusal.status(), refusal),
        };
        response.headers.extend(proof.map(|value| ("www-authenticate".to_owned(), value)));
        response
    }

    async fn ticket(&self, account: &AccountName, body: &[u8]) -> Result<TokenResponse, Refusal> {
        let request = TokenRequest::read(body).map_err(|why| Refusal::Request(why.to_string()))?;
        let entropy = self.acceptable(&request)?;
        let user = self.owner(account, &request.claim).await?;
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

    /// The user the account belongs to, when that is who the claim names.
    async fn owner(&self, account: &AccountName, claim: &str) -> Result<Arc<User>, Refusal> {
        let claimed = claim.parse::<Aor>().map_err(|why| Refusal::Request(why.to_string()))?;
        let user = self.directory.user_of_account(account).await.map_err(|_| Refusal::Unavailable)?;
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
    /// The directory did not answer.
    Unavailable,
}

impl Refusal {
    fn status(&self) -> u16 {
        match self {
            Refusal::Request(_) => 500,
            Refusal::NotOwner | Refusal::NotEnabled => 403,
            Refusal::Unavailable => 503,
        }
    }

    fn diagnostics(&self, source: &str) -> Diagnostics {
        let source = Some(source.to_owned());
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
            Refusal::Unavailable => (None, "The directory does not answer at the moment.", "s:Server"),
        };
        Diagnostics { id, reason: reason.to_owned(), source, fault: Some(fault.to_owned()), cause: None }
    }
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
