//! NTLM over HTTP, the client's half: it authenticates a connection, not a request. `[MS-NTHT]`, RFC 4559 for the framing.
//!
//! ```text
//!  request ──────────────────────────────────► 401, WWW-Authenticate: NTLM
//!  the same, Authorization: NTLM NEGOTIATE ──► 401, WWW-Authenticate: NTLM CHALLENGE    same connection
//!  the same, Authorization: NTLM AUTHENTICATE ► the answer                              same connection
//! ```
//!
//! The answer names the service and, over TLS, the connection: shown to another server, or by somebody who passes it on, it
//! is worth nothing to a server that looks (`[MS-NLMP]` §3.1.5.1.2).
//!
//! Inside `Negotiate`, NTLM would only be wrapped once more; that scheme is for Kerberos, see [`super::negotiate`].

use super::{Failure, Origin, Request, Web, token_of};
use crate::io::{ConnId, HttpResponse, Io};
use crate::log_on::LogOn;
use crate::report::Certainty;
use crate::secret::Password;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mechanism::ntlm::{self, Entropy, Mode, NtHash, Purpose};
use zeroize::Zeroizing;

/// Seconds from 1601, where NTLM counts from, to 1970.
const SECONDS_1601_TO_1970: i64 = 11_644_473_600;

/// Why the client could not log on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NtlmError {
    /// Asked for something we do not do.
    #[error("the server does not offer NTLM, only {0}")]
    NotOffered(String),
    /// It wants a password, and there is none.
    #[error("the server wants a password, and none was given")]
    NoPassword,
    /// The password was not accepted (or the account is not what it should be; the wire does not tell).
    #[error("the server refused the credentials")]
    Refused,
    /// No CHALLENGE where one belongs.
    #[error("the server's NTLM challenge cannot be used: {0}")]
    BadChallenge(String),
    /// Closed between two legs, so that the handshake can never end.
    #[error("the server closes the connection within the NTLM handshake")]
    ConnectionClosed,
}

impl NtlmError {
    /// Catalogue id, how sure, what to do.
    pub fn blame(&self) -> (&'static str, Certainty, &'static str) {
        match self {
            NtlmError::NotOffered(_) => {
                ("ntlm-off-on-server", Certainty::Certain, "enable NTLM for the web services, or use another mechanism")
            }
            NtlmError::NoPassword => (
                "auth-no-common-scheme",
                Certainty::Certain,
                "give the password, or let the web services take Kerberos tickets",
            ),
            NtlmError::Refused => (
                "wt-401-loop",
                Certainty::Consistent,
                "check logon name and password, then the account; the domain controller's log tells which it is",
            ),
            NtlmError::BadChallenge(_) => {
                ("ntlm-target-info-missing", Certainty::Consistent, "see who answers in place of the server")
            }
            NtlmError::ConnectionClosed => (
                "tcp-balancer-affinity",
                Certainty::Consistent,
                "let the balancer or proxy keep connections, which NTLM is bound to",
            ),
        }
    }
}

/// One request, logged on to a server that asked for it and offers these schemes. Every leg carries the whole request.
pub(super) async fn fetch(
    web: &Web,
    io: &dyn Io,
    request: &Request,
    log_on: &LogOn,
    offered: &[&str],
) -> Result<HttpResponse, Failure> {
    let origin = Origin::of(&request.url)?;
    let failed = |error| Failure::Authentication { origin: origin.clone(), error };
    if !offered.iter().any(|scheme| scheme.eq_ignore_ascii_case("NTLM")) {
        let offered = if offered.is_empty() { "nothing".to_owned() } else { offered.join(", ") };
        return Err(failed(NtlmError::NotOffered(offered)));
    }
    let Some(password) = &log_on.password else { return Err(failed(NtlmError::NoPassword)) };
    let conn = web.connection(io, &origin).await?;
    let response = handshake(web, io, &origin, conn, request, log_on, password).await;
    match &response {
        Ok(response) => web.release(io, origin.clone(), conn, response).await,
        Err(_) => web.discard(io, conn).await,
    }
    match response? {
        response if response.status == 401 => Err(failed(NtlmError::Refused)),
        response => Ok(response),
    }
}

async fn handshake(
    web: &Web,
    io: &dyn Io,
    origin: &Origin,
    conn: ConnId,
    request: &Request,
    log_on: &LogOn,
    password: &Password,
) -> Result<HttpResponse, Failure> {
    let failed = |error| Failure::Authentication { origin: origin.clone(), error };
    let with = |token: &[u8]| {
        let mut leg = request.on_wire();
        leg.headers.push(("Authorization".to_owned(), format!("NTLM {}", STANDARD.encode(token))));
        leg
    };
    let negotiate = ntlm::negotiate();
    let second = web.exchange(io, origin, conn, with(&negotiate)).await?;
    if second.status != 401 {
        return Ok(second);
    }
    let challenge = second.all("www-authenticate").find_map(|value| token_of("NTLM", value));
    let challenge = challenge.ok_or_else(|| failed(NtlmError::BadChallenge("it is missing".to_owned())))?;
    if !second.reusable {
        return Err(failed(NtlmError::ConnectionClosed));
    }
    let credentials = ntlm::Credentials {
        user: log_on.account.user.clone(),
        domain: log_on.account.domain.clone(),
        workstation: log_on.workstation.clone(),
        nt_hash: NtHash::of_password(password.reveal()),
    };
    let purpose = Purpose { target_name: format!("HTTP/{}", origin.host), channel: web.channel(conn) };
    let (entropy, time) = (entropy(io), filetime(io));
    let answer =
        ntlm::answer_for(Some(&purpose), Mode::Connection, Some(&negotiate), &challenge, &credentials, &entropy, time)
            .map_err(|error| failed(NtlmError::BadChallenge(error.to_string())))?;
    web.exchange(io, origin, conn, with(&answer.message)).await
}

fn entropy(io: &dyn Io) -> Entropy {
    let mut client_challenge = [0; 8];
    let mut session_key = Zeroizing::new([0; 16]);
    io.fill_random(&mut client_challenge);
    io.fill_random(&mut *session_key);
    Entropy { client_challenge, session_key: *session_key }
}

fn filetime(io: &dyn Io) -> u64 {
    let seconds = io.now().unix_seconds.saturating_add(SECONDS_1601_TO_1970);
    u64::try_from(seconds).unwrap_or(0).saturating_mul(10_000_000)
}
