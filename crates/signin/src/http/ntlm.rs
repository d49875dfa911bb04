//! NTLM over HTTP, both halves: it authenticates a connection, not a request. `[MS-NTHT]`, RFC 4559 for the framing.
//!
//! ```text
//!  request ──────────────────────────────────► 401, WWW-Authenticate: NTLM
//!  the same, Authorization: NTLM NEGOTIATE ──► 401, WWW-Authenticate: NTLM CHALLENGE    same connection
//!  the same, Authorization: NTLM AUTHENTICATE ► the answer                              same connection
//! ```
//!
//! The challenge before the first leg is the bare word: some clients take anything behind it for a token. `Negotiate` is
//! not offered before Kerberos works, and not chosen: inside it, NTLM would only be wrapped once more.

use super::{Failure, Origin, Request, Web};
use crate::authenticate::verifier::{NtlmQuestion, NtlmVerifier, Refusal};
use crate::directory::DirectoryError;
use crate::io::{ConnId, HttpResponse, Io};
use crate::log_on::LogOn;
use crate::name::AccountName;
use crate::report::Certainty;
use crate::service::Surroundings;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mechanism::ntlm::{self, Acceptor, Entropy, Mode, NtHash, TargetNames};
use zeroize::Zeroizing;

/// Largest token read, in bytes of base64. Real ones have less than 1 KiB.
const MAX_TOKEN: usize = 16 * 1024;

/// Wrong answers on one connection before the server ends it.
const MAX_REFUSALS: u32 = 4;

/// Seconds from 1601, where NTLM counts from, to 1970.
const SECONDS_1601_TO_1970: i64 = 11_644_473_600;

/// Why the client could not log on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NtlmError {
    /// Asked for something we do not do.
    #[error("the server does not offer NTLM, only {0}")]
    NotOffered(String),
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

/// The client's half: one request, logged on when asked to. Every leg carries the whole request.
pub(super) async fn fetch(web: &Web, io: &dyn Io, request: &Request, log_on: &LogOn) -> Result<HttpResponse, Failure> {
    let origin = Origin::of(&request.url)?;
    let failed = |error| Failure::Authentication { origin: origin.clone(), error };
    let first = web.fetch(io, request).await?;
    if first.status != 401 {
        return Ok(first);
    }
    let offered: Vec<&str> = first.all("www-authenticate").map(scheme_of).collect();
    if !offered.iter().any(|scheme| scheme.eq_ignore_ascii_case("NTLM")) {
        let offered = if offered.is_empty() { "nothing".to_owned() } else { offered.join(", ") };
        return Err(failed(NtlmError::NotOffered(offered)));
    }
    let conn = match web.take_idle(&origin) {
        Some(conn) => conn,
        None => web.open(io, &origin).await?,
    };
    let response = handshake(web, io, &origin, conn, request, log_on).await;
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
    let challenge = second.all("www-authenticate").find_map(token_of);
    let challenge = challenge.ok_or_else(|| failed(NtlmError::BadChallenge("it is missing".to_owned())))?;
    if !second.reusable {
        return Err(failed(NtlmError::ConnectionClosed));
    }
    let credentials = ntlm::Credentials {
        user: log_on.account.user.clone(),
        domain: log_on.account.domain.clone(),
        workstation: log_on.workstation.clone(),
        nt_hash: NtHash::of_password(log_on.password.reveal()),
    };
    let answer = ntlm::answer(Mode::Connection, Some(&negotiate), &challenge, &credentials, &entropy(io), filetime(io))
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

fn scheme_of(challenge: &str) -> &str {
    challenge.split([' ', ',']).next().unwrap_or_default()
}

/// The token behind `NTLM`, when the value is of that scheme and has one.
fn token_of(value: &str) -> Option<Vec<u8>> {
    let (scheme, token) = value.trim().split_once(' ')?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("NTLM") || token.is_empty() || token.len() > MAX_TOKEN {
        return None;
    }
    STANDARD.decode(token).ok()
}

/// The server's half: what one connection has proven so far.
#[derive(Debug)]
pub struct Gate {
    names: TargetNames,
    state: State,
    refusals: u32,
}

#[derive(Debug)]
enum State {
    /// Nothing proven.
    Closed,
    /// The CHALLENGE was sent, for one answer.
    Challenged(Box<Acceptor>),
    /// This account is at the other end.
    Open(AccountName),
}

/// What the gate says to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Sent by this account.
    Granted(AccountName),
    /// Answer 401 with this `WWW-Authenticate` value.
    Challenge(String),
    /// Credentials were wrong: answer 401 with the bare challenge.
    Refused {
        /// For the server's log, never for the peer.
        why: String,
        /// Too many wrong answers: close the connection after this one.
        last: bool,
    },
    /// Nobody could tell: answer 503.
    Unavailable(DirectoryError),
}

/// The challenge before the first leg.
pub const BARE_CHALLENGE: &str = "NTLM";

impl Gate {
    /// A gate for a new connection.
    pub fn new(names: TargetNames) -> Gate {
        Gate { names, state: State::Closed, refusals: 0 }
    }

    /// Looks at the `Authorization` of a request. A NEGOTIATE begins anew, also on a connection that is authenticated.
    pub async fn admit(
        &mut self,
        authorization: Option<&str>,
        verifier: &dyn NtlmVerifier,
        surroundings: &dyn Surroundings,
    ) -> Admission {
        let Some(token) = authorization.and_then(token_of) else {
            return match &self.state {
                State::Open(account) => Admission::Granted(account.clone()),
                State::Closed | State::Challenged(_) => Admission::Challenge(BARE_CHALLENGE.to_owned()),
            };
        };
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Challenged(acceptor) if !is_negotiate(&token) => self.check(*acceptor, &token, verifier).await,
            _ => self.challenge(&token, surroundings),
        }
    }

    fn challenge(&mut self, negotiate: &[u8], surroundings: &dyn Surroundings) -> Admission {
        let mut nonce = [0; 8];
        surroundings.fill_random(&mut nonce);
        let mut acceptor = Acceptor::new(Mode::Connection, nonce, self.names.clone());
        match acceptor.challenge_message(Some(negotiate)) {
            Ok(message) => {
                self.state = State::Challenged(Box::new(acceptor));
                Admission::Challenge(format!("NTLM {}", STANDARD.encode(message)))
            }
            Err(error) => self.refused(error.to_string()),
        }
    }

    async fn check(&mut self, acceptor: Acceptor, token: &[u8], verifier: &dyn NtlmVerifier) -> Admission {
        let answer = match acceptor.read_answer(token) {
            Ok(answer) => answer,
            Err(error) => return self.refused(error.to_string()),
        };
        let question = NtlmQuestion {
            account: AccountName { domain: answer.domain().to_owned(), user: answer.user().to_owned() },
            server_challenge: *acceptor.server_challenge(),
            nt_response: answer.nt_response().to_vec(),
        };
        match verifier.verify(question).await {
            Ok(proof) => match acceptor.finish(&answer, &proof.session_base_key) {
                Ok(_) => {
                    self.refusals = 0;
                    self.state = State::Open(proof.account.clone());
                    Admission::Granted(proof.account)
                }
                Err(error) => self.refused(error.to_string()),
            },
            Err(Refusal::Unavailable(error)) => Admission::Unavailable(error),
            Err(refusal) => self.refused(refusal.to_string()),
        }
    }

    fn refused(&mut self, why: String) -> Admission {
        self.refusals += 1;
        Admission::Refused { why, last: self.refusals >= MAX_REFUSALS }
    }
}

/// Message type 1, `[MS-NLMP]` §2.2.1.1.
fn is_negotiate(token: &[u8]) -> bool {
    token.starts_with(b"NTLMSSP\0\x01\0\0\0")
}
