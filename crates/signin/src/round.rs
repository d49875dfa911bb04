//! Step 3 at one server: REGISTER, 401, the legs of a mechanism, and the final answer.
//!
//! ```text
//!  REGISTER ──► 401, challenges ──► the best way that both sides can ──► its legs ──► the final answer
//!                                        ▲                                  │ 401, or it cannot be begun
//!                                        └──────── the next way ◄───────────┘
//! ```
//!
//! A way that was refused is not gone again. When what was refused is the password, no other way is: it would be the same
//! password, and accounts lock.

use crate::authenticate::association::Association;
use crate::authenticate::client::{AuthFailure, Means, Way, challenges, first_leg, last_leg, ways};
use crate::authenticate::message::Challenge;
use crate::client::{Failed, SignIn};
use crate::io::Io;
use crate::link::{Key, Link, LinkError};
use crate::log_on::LogOn;
use crate::register::client::{RegisterFailure, Registration};
use crate::report::{Event, Registers, Step};
use mechanism::ntlm::Entropy;
use sip::{Draft, Message};

/// The REGISTERs with one server.
pub(crate) struct Round<'r> {
    sign_in: &'r SignIn,
    server: &'r str,
    registration: &'r Registration,
    cseq: u32,
    /// REGISTERs that were reported already, with the way they were sent for.
    reported: u32,
}

/// A round with a final answer.
pub(crate) struct Ended {
    /// The answer: 200, 301, or a refusal that is not about credentials.
    pub(crate) answer: Vec<u8>,
    /// Mechanism used.
    pub(crate) mechanism: String,
    /// CSeq of the last REGISTER.
    pub(crate) cseq: u32,
}

/// A round that ended without a usable answer.
struct Stopped {
    status: u16,
    failed: Failed,
}

/// What came of one way.
enum Gone {
    /// The final answer.
    Answered(Vec<u8>),
    /// Refused, or never begun; with what the server offers now, when it said so.
    Refused { failure: Box<AuthFailure>, offered: Option<Vec<Challenge>> },
}

impl<'r> Round<'r> {
    /// A round that has sent nothing yet.
    pub(crate) fn new(sign_in: &'r SignIn, server: &'r str, registration: &'r Registration) -> Round<'r> {
        Round { sign_in, server, registration, cseq: 0, reported: 0 }
    }

    /// To the final answer. Each way that was gone is told, with the REGISTERs it took.
    pub(crate) async fn run(mut self, link: &mut Link<'_>) -> Result<Ended, Failed> {
        let mut mechanism = String::from("none");
        let outcome = self.ways(link, &mut mechanism).await;
        let status = match &outcome {
            Ok(bytes) => Message::parse(bytes).ok().and_then(|m| m.status()).unwrap_or(0),
            Err(stopped) => stopped.status,
        };
        self.report(link.io(), &mechanism, status);
        match outcome {
            Ok(answer) => Ok(Ended { answer, mechanism, cseq: self.cseq }),
            Err(stopped) => Err(stopped.failed),
        }
    }

    fn report(&mut self, io: &dyn Io, mechanism: &str, status: u16) {
        io.tell(Event::Registered(Registers {
            server: self.server.to_owned(),
            mechanism: mechanism.to_owned(),
            requests: self.cseq - self.reported,
            status,
        }));
        self.reported = self.cseq;
    }

    async fn ways(&mut self, link: &mut Link<'_>, mechanism: &mut String) -> Result<Vec<u8>, Stopped> {
        let io = link.io();
        let evidence = |line: String| io.tell(Event::Evidence(Step::Authentication, line));
        let draft = self.next_register(link);
        link.send_unsigned(draft).await.map_err(|e| self.no_answer(&e))?;
        let first = self.response(link).await?;
        let Some(mut offered) = self.challenges_of(&first, link)? else { return Ok(first) };
        let names: Vec<&str> = offered.iter().map(|c| c.scheme.as_str()).collect();
        evidence(format!("{} offers {}", self.server, names.join(", ")));
        let means = Means { password: self.sign_in.log_on.is_some() };
        let ways = ways(self.server, &offered, &self.sign_in.choice, &means).map_err(|f| refused(401, &f))?;
        let mut last = None;
        for (way, reason) in ways {
            let Some(challenge) = offered.iter().find(|c| c.scheme == way.scheme() && c.version.is_some()) else {
                continue;
            };
            if last.is_some() {
                self.report(io, mechanism, 401);
            }
            *mechanism = way.scheme().to_string();
            evidence(format!("using {reason}"));
            let challenge = challenge.clone();
            match self.go(link, way, &challenge).await? {
                Gone::Answered(answer) => {
                    evidence(format!("the final answer of {} carries a right signature", self.server));
                    return Ok(answer);
                }
                Gone::Refused { failure, .. } if failure.ends_every_way() => return Err(refused(401, &failure)),
                Gone::Refused { failure, offered: now } => {
                    io.tell(Event::Remark(Step::Authentication, failure.to_string()));
                    offered = now.unwrap_or(offered);
                    last = Some(failure);
                }
            }
        }
        let failure = last.unwrap_or_else(|| Box::new(AuthFailure::NothingOffered { server: self.server.to_owned() }));
        Err(refused(401, &failure))
    }

    async fn go(&mut self, link: &mut Link<'_>, way: Way, challenge: &Challenge) -> Result<Gone, Stopped> {
        match way {
            Way::Ntlm => self.ntlm(link, challenge).await,
        }
    }

    /// Empty token, CHALLENGE, AUTHENTICATE.
    async fn ntlm(&mut self, link: &mut Link<'_>, challenge: &Challenge) -> Result<Gone, Stopped> {
        let io = link.io();
        let Some(log_on) = &self.sign_in.log_on else {
            return Ok(Gone::never(AuthFailure::NoPassword {
                server: self.server.to_owned(),
                scheme: challenge.scheme.clone(),
            }));
        };
        let mut draft = self.next_register(link);
        draft.header("Authorization", first_leg(challenge));
        link.send_unsigned(draft).await.map_err(|e| self.no_answer(&e))?;
        let second = self.response(link).await?;
        let Some(legs) = self.challenges_of(&second, link)? else { return Ok(Gone::Answered(second)) };
        let token = match self.next_leg(legs, challenge, &second) {
            Ok(token) => token,
            Err(gone) => return Ok(gone),
        };
        let draft = self.next_register(link);
        let (association, answer) = match self.answer(io, &token, log_on) {
            Ok(answered) => answered,
            Err(failure) => return Ok(Gone::never(failure)),
        };
        io.tell(Event::Evidence(
            Step::Authentication,
            format!("{} challenge of {} answered as {}", token.scheme, token.target_name, log_on.account),
        ));
        self.finish(link, draft, association, Some(answer)).await
    }

    /// Sends the REGISTER that completes the handshake. A 401 to it is a refusal.
    async fn finish(
        &mut self,
        link: &mut Link<'_>,
        draft: Draft,
        association: Association,
        token: Option<Vec<u8>>,
    ) -> Result<Gone, Stopped> {
        link.secure(association);
        link.send_signed(draft, token).await.map_err(|e| self.no_answer(&e))?;
        let last = self.response(link).await?;
        match self.challenges_of(&last, link)? {
            None => Ok(Gone::Answered(last)),
            Some(offered) => {
                link.unsecure();
                Ok(Gone::Refused { failure: Box::new(self.refusal(&last)), offered: Some(offered) })
            }
        }
    }

    fn next_register(&mut self, link: &Link<'_>) -> Draft {
        self.cseq += 1;
        self.registration.request(self.cseq, link.local(), None)
    }

    async fn response(&self, link: &mut Link<'_>) -> Result<Vec<u8>, Stopped> {
        let key = Key { call_id: self.registration.call_id.clone(), cseq: format!("{} REGISTER", self.cseq) };
        link.response(&key, self.sign_in.response_limit).await.map_err(|error| self.no_answer(&error))
    }

    /// The challenges of a 401; `None` when the answer is another one. Before there is an association nothing can be
    /// signed, whatever its headers say; so such an answer must neither register nor redirect.
    fn challenges_of(&self, bytes: &[u8], link: &Link<'_>) -> Result<Option<Vec<Challenge>>, Stopped> {
        let message = Message::parse(bytes).map_err(|error| self.no_answer(&error.into()))?;
        match message.status() {
            Some(401) => Ok(Some(challenges(&message))),
            Some(code @ (301 | 200)) if !link.is_secured() => {
                let server = self.server.to_owned();
                let verdict = match code {
                    301 => RegisterFailure::Unauthenticated { server }.verdict(),
                    _ => AuthFailure::BadSignature { server, why: "it is not signed".to_owned() }.verdict(),
                };
                Err(Stopped { status: code, failed: Failed::Everywhere(Step::Authentication, verdict) })
            }
            _ => Ok(None),
        }
    }

    /// The server's token for the next leg. Without one it did not go on with the scheme it offered.
    fn next_leg(&self, legs: Vec<Challenge>, begun: &Challenge, bytes: &[u8]) -> Result<Challenge, Gone> {
        let (server, scheme) = (self.server.to_owned(), begun.scheme.clone());
        if let Some(leg) = legs.iter().find(|c| c.scheme == begun.scheme && c.gssapi_data.is_some()) {
            return Ok(leg.clone());
        }
        let unreadable = Message::parse(bytes).is_ok_and(|m| {
            m.all(sip::Name::WwwAuthenticate).any(|v| v.contains("gssapi-data") && Challenge::parse(v).is_err())
        });
        let failure = match unreadable {
            true => AuthFailure::BadChallenge { server, why: "its token cannot be read".to_owned() },
            false => AuthFailure::Restarted { server, scheme },
        };
        Err(Gone::Refused { failure: Box::new(failure), offered: Some(legs) })
    }

    fn answer(
        &self,
        io: &dyn Io,
        challenge: &Challenge,
        log_on: &LogOn,
    ) -> Result<(Association, Vec<u8>), AuthFailure> {
        let mut entropy = Entropy { client_challenge: [0; 8], session_key: [0; 16] };
        io.fill_random(&mut entropy.client_challenge);
        io.fill_random(&mut entropy.session_key);
        last_leg(self.server, challenge, log_on, &entropy, io.now().unix_seconds)
    }

    fn refusal(&self, bytes: &[u8]) -> AuthFailure {
        let (id, reason) = Message::parse(bytes).map(|m| crate::reply::diagnostics(&m)).unwrap_or_default();
        let account = match &self.sign_in.log_on {
            Some(log_on) => log_on.account.clone(),
            None => crate::name::AccountName::parse(self.sign_in.aor.as_str()),
        };
        AuthFailure::Refused { server: self.server.to_owned(), account, id, reason }
    }

    fn no_answer(&self, error: &LinkError) -> Stopped {
        let server = self.server.to_owned();
        let why = error.to_string();
        let failed = match error {
            LinkError::Signature(_) => {
                Failed::Everywhere(Step::Authentication, AuthFailure::BadSignature { server, why }.verdict())
            }
            LinkError::NotSip(_) | LinkError::Unreadable(_) => {
                Failed::Here(Step::Authentication, RegisterFailure::NotSip { server, why }.verdict())
            }
            LinkError::Stream(_) | LinkError::Flooded | LinkError::Unsignable(_) => {
                Failed::Here(Step::Authentication, RegisterFailure::NoAnswer { server, why }.verdict())
            }
        };
        Stopped { status: 0, failed }
    }
}

impl Gone {
    /// A way that could not be gone from here.
    fn never(failure: AuthFailure) -> Gone {
        Gone::Refused { failure: Box::new(failure), offered: None }
    }
}

fn refused(status: u16, failure: &AuthFailure) -> Stopped {
    Stopped { status, failed: Failed::Everywhere(Step::Authentication, failure.verdict()) }
}
