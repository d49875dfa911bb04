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

use crate::authenticate::association::{Association, MessageKeys};
use crate::authenticate::cause::Cause;
use crate::authenticate::certificate::client::{self as certificate, Applicant};
use crate::authenticate::client::{AuthFailure, Means, Way, challenges, first_leg, last_leg, ways};
use crate::authenticate::keyring::{KEY_BITS, UserCertificate};
use crate::authenticate::message::{Challenge, Credentials, Scheme, Version};
use crate::client::{Failed, SignIn};
use crate::date_time::write_time;
use crate::http::Web;
use crate::io::Io;
use crate::link::{Link, LinkError};
use crate::log_on::LogOn;
use crate::name::AccountName;
use crate::register::client::{RegisterFailure, Registration};
use crate::report::{Event, Registers, Step};
use crate::secret::Password;
use crate::web_ticket::client::TicketMeans;
use mechanism::kerberos::ApOptions;
use mechanism::ntlm::Entropy;
use mechanism::tls_dsk::{self, ClientStep};
use sip::transaction::ClientKey;
use sip::{Draft, Message};
use std::time::Duration;
use url::Url;
use uuid::Uuid;

/// Flights of one inner handshake: real ones have two.
const MAX_FLIGHTS: usize = 4;

/// The REGISTERs with one server.
pub(crate) struct Round<'r> {
    sign_in: &'r SignIn,
    web: &'r Web,
    server: &'r str,
    registration: &'r Registration,
    cseq: u32,
    /// REGISTERs that were reported already, with the way they were sent for.
    reported: u32,
    certificates: Option<Challenge>,
}

/// A round with a final answer.
pub(crate) struct Ended {
    /// The answer: 200, 301, or a refusal that is not about credentials.
    pub(crate) answer: Vec<u8>,
    /// Mechanism used.
    pub(crate) mechanism: String,
    /// CSeq of the last REGISTER.
    pub(crate) cseq: u32,
    /// The server's offer of TLS-DSK, when it made one.
    pub(crate) certificates: Option<Challenge>,
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
    pub(crate) fn new(sign_in: &'r SignIn, web: &'r Web, server: &'r str, registration: &'r Registration) -> Round<'r> {
        Round { sign_in, web, server, registration, cseq: 0, reported: 0, certificates: None }
    }

    /// A round on a connection on which REGISTERs were sent before.
    pub(crate) fn after(self, cseq: u32) -> Round<'r> {
        Round { cseq, reported: cseq, ..self }
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
            Ok(answer) => Ok(Ended { answer, mechanism, cseq: self.cseq, certificates: self.certificates }),
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
        let means = self.means(io);
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
                    self.certificates = offered.into_iter().find(|c| c.scheme == Scheme::TlsDsk);
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
            Way::Kerberos => self.kerberos(link, challenge).await,
            Way::StoredCertificate => self.stored_certificate(link, challenge).await,
            Way::NewCertificate => self.new_certificate(link, challenge).await,
        }
    }

    fn means(&self, io: &dyn Io) -> Means {
        let log_on = self.sign_in.log_on.as_ref();
        Means {
            certificate: self.sign_in.certificate_at_hand(io).is_some(),
            tickets: log_on.is_some_and(|log_on| {
                log_on.tickets.as_ref().is_some_and(|tickets| tickets.has_some() || log_on.password.is_some())
            }),
            password: log_on.is_some_and(|log_on| log_on.password.is_some()),
            keyring: self.sign_in.keyring.is_some(),
        }
    }

    /// A ticket, and at once the REGISTER signed with it.
    async fn kerberos(&mut self, link: &mut Link<'_>, challenge: &Challenge) -> Result<Gone, Stopped> {
        let io = link.io();
        let Some((log_on, tickets)) = self.sign_in.log_on.as_ref().and_then(|l| Some((l, l.tickets.as_ref()?))) else {
            return Ok(self.no_password(challenge));
        };
        let (target, domain) = (challenge.target_name.clone(), self.sign_in.aor.domain());
        let options = ApOptions::default();
        let request = match tickets.request(io, log_on, domain.as_str(), &target, options).await {
            Ok(request) => request,
            Err(failure) => return Ok(Gone::never(AuthFailure::Ticket { target, failure })),
        };
        let (token, keys) = request.into_parts();
        let keys = MessageKeys::Kerberos(Box::new(keys));
        let draft = self.next_register(link);
        self.finish(link, draft, association(challenge, None, keys), Some(token)).await
    }

    async fn stored_certificate(&mut self, link: &mut Link<'_>, challenge: &Challenge) -> Result<Gone, Stopped> {
        let Some(certificate) = self.sign_in.certificate_at_hand(link.io()) else {
            return Ok(self.no_password(challenge));
        };
        let gone = self.tls_dsk(link, challenge, &certificate).await?;
        // What this server does not take, no server of the deployment does.
        if let (Gone::Refused { .. }, Some(keyring)) = (&gone, &self.sign_in.keyring) {
            keyring.forget(&self.sign_in.aor);
        }
        Ok(gone)
    }

    /// The certificate comes over the web, while this connection waits.
    async fn new_certificate(&mut self, link: &mut Link<'_>, challenge: &Challenge) -> Result<Gone, Stopped> {
        let io = link.io();
        let Some(keyring) = &self.sign_in.keyring else { return Ok(self.no_password(challenge)) };
        self.web.set_deadline(io.now().since_start + self.sign_in.discovery.limits.total);
        let obtained =
            self.sign_in.obtain_certificate(io, self.web, challenge, self.registration.instance.uuid()).await;
        self.web.set_deadline(Duration::MAX);
        let certificate = match obtained {
            Ok(certificate) => certificate,
            Err(failure) => return Ok(Gone::never(*failure)),
        };
        if let Err(why) = keyring.save(&self.sign_in.aor, &certificate) {
            io.tell(Event::Remark(Step::Authentication, format!("the certificate cannot be kept: {why}")));
        }
        self.tls_dsk(link, challenge, &certificate).await
    }

    /// Two flights of ours in tokens, then the REGISTER that is only signed. `[MS-SIPAE]` §3.2.5.1.
    async fn tls_dsk(
        &mut self,
        link: &mut Link<'_>,
        challenge: &Challenge,
        certificate: &UserCertificate,
    ) -> Result<Gone, Stopped> {
        let server = self.server.to_owned();
        let failed =
            |why: &dyn std::fmt::Display| AuthFailure::Handshake { server: server.clone(), why: why.to_string() };
        let client = tls_dsk::Client::new(&certificate.certificate, &certificate.key, tls_dsk::Policy::default());
        let begun = client.and_then(|client| client.begin());
        let (mut handshake, mut flight) = match begun {
            Ok(begun) => begun,
            Err(error) => return Ok(Gone::never(failed(&error))),
        };
        let mut opaque = None;
        for _ in 0..MAX_FLIGHTS {
            let mut draft = self.next_register(link);
            draft.header(
                "Authorization",
                Credentials {
                    scheme: challenge.scheme.clone(),
                    realm: challenge.realm.clone(),
                    target_name: challenge.target_name.clone(),
                    version: challenge.version,
                    opaque: opaque.clone(),
                    gssapi_data: Some(flight),
                    signature: None,
                },
            );
            link.send_unsigned(draft).await.map_err(|e| self.no_answer(&e))?;
            let answer = self.response(link).await?;
            let Some(legs) = self.challenges_of(&answer, link)? else { return Ok(Gone::Answered(answer)) };
            let leg = match legs.iter().find(|c| c.scheme == challenge.scheme && c.gssapi_data.is_some()) {
                Some(leg) => leg.clone(),
                // After our first flight it is the certificate that was looked at.
                None if opaque.is_some() => {
                    let failure = Box::new(self.refusal(&answer, challenge.scheme.clone(), None));
                    return Ok(Gone::Refused { failure, offered: Some(legs) });
                }
                None => match self.next_leg(legs, challenge, &answer) {
                    Ok(leg) => leg,
                    Err(gone) => return Ok(gone),
                },
            };
            match handshake.step(leg.gssapi_data.as_deref().unwrap_or_default()) {
                Ok(ClientStep::Continue(next)) => (flight, opaque) = (next, leg.opaque),
                Ok(ClientStep::Finished { keys, .. }) => {
                    let association = association(challenge, leg.opaque.or(opaque), MessageKeys::TlsDsk(*keys));
                    let draft = self.next_register(link);
                    return self.finish(link, draft, association, None).await;
                }
                Err(error) => return Ok(Gone::never(failed(&error))),
            }
        }
        Ok(Gone::never(failed(&"it does not end")))
    }

    fn no_password(&self, challenge: &Challenge) -> Gone {
        Gone::never(AuthFailure::NoPassword { server: self.server.to_owned(), scheme: challenge.scheme.clone() })
    }

    /// Empty token, CHALLENGE, AUTHENTICATE.
    async fn ntlm(&mut self, link: &mut Link<'_>, challenge: &Challenge) -> Result<Gone, Stopped> {
        let io = link.io();
        let log_on = self.sign_in.log_on.as_ref().and_then(|log_on| Some((log_on, log_on.password.as_ref()?)));
        let Some((log_on, password)) = log_on else { return Ok(self.no_password(challenge)) };
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
        let (association, answer) = match self.answer(io, &token, log_on, password) {
            Ok(answered) => answered,
            Err(failure) => return Ok(Gone::never(failure)),
        };
        io.tell(Event::Evidence(
            Step::Authentication,
            format!("{} challenge of {} answered as {}", token.scheme, token.target_name, log_on.account),
        ));
        self.finish_as(link, draft, association, Some(answer), Some(log_on.account.clone())).await
    }

    /// Sends the REGISTER that completes the handshake of a ticket or a certificate.
    async fn finish(
        &mut self,
        link: &mut Link<'_>,
        draft: Draft,
        association: Association,
        token: Option<Vec<u8>>,
    ) -> Result<Gone, Stopped> {
        self.finish_as(link, draft, association, token, None).await
    }

    /// Sends the REGISTER that completes the handshake. A 401 to it is a refusal.
    async fn finish_as(
        &mut self,
        link: &mut Link<'_>,
        draft: Draft,
        association: Association,
        token: Option<Vec<u8>>,
        account: Option<AccountName>,
    ) -> Result<Gone, Stopped> {
        let scheme = association.scheme.clone();
        link.secure(association);
        link.send_signed(draft, token).await.map_err(|e| self.no_answer(&e))?;
        let last = self.response(link).await?;
        match self.challenges_of(&last, link)? {
            None => Ok(Gone::Answered(last)),
            Some(offered) => {
                link.unsecure();
                let failure = Box::new(self.refusal(&last, scheme, account));
                Ok(Gone::Refused { failure, offered: Some(offered) })
            }
        }
    }

    fn next_register(&mut self, link: &Link<'_>) -> Draft {
        self.cseq += 1;
        self.registration.request(self.cseq, link.local(), None)
    }

    async fn response(&self, link: &mut Link<'_>) -> Result<Vec<u8>, Stopped> {
        let key = ClientKey { call_id: self.registration.call_id.clone(), cseq: format!("{} REGISTER", self.cseq) };
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
        password: &Password,
    ) -> Result<(Association, Vec<u8>), AuthFailure> {
        let mut entropy = Entropy { client_challenge: [0; 8], session_key: [0; 16] };
        io.fill_random(&mut entropy.client_challenge);
        io.fill_random(&mut entropy.session_key);
        last_leg(self.server, challenge, log_on, password, &entropy, io.now().unix_seconds)
    }

    fn refusal(&self, bytes: &[u8], scheme: Scheme, account: Option<AccountName>) -> AuthFailure {
        let told = Message::parse(bytes).map(|m| crate::reply::Told::by(&m)).unwrap_or_default();
        let server = self.server.to_owned();
        let cause = told.cause.as_deref().and_then(Cause::named);
        AuthFailure::Refused { server, scheme, account, id: told.id, reason: told.words(), cause }
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
            LinkError::Stream(_) | LinkError::Flooded | LinkError::Unsignable(_) | LinkError::NotBegun(_) => {
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

impl SignIn {
    /// The certificate of an earlier sign-in, when it is still good.
    pub(crate) fn certificate_at_hand(&self, io: &dyn Io) -> Option<UserCertificate> {
        let certificate = self.keyring.as_ref()?.load(&self.aor)?;
        certificate.usable_at(io.now().unix_seconds).then_some(certificate)
    }

    /// A new key, and a certificate for it from the service that the challenge names. Who has one that is still good needs
    /// no password for the next.
    pub(crate) async fn obtain_certificate(
        &self,
        io: &dyn Io,
        web: &Web,
        challenge: &Challenge,
        device: Uuid,
    ) -> Result<UserCertificate, Box<AuthFailure>> {
        let unusable = |why: String| Box::new(AuthFailure::BadChallenge { server: challenge.target_name.clone(), why });
        let sts = challenge.sts_uri.as_deref().ok_or_else(|| unusable("it names no certificate service".to_owned()))?;
        let sts = Url::parse(sts).map_err(|_| unusable(format!("its certificate service {sts} is no URL")))?;
        let key = io.new_key(KEY_BITS).await.map_err(unusable)?;
        let at_hand = self.certificate_at_hand(io);
        let means = TicketMeans { certificate: at_hand.as_ref(), log_on: self.log_on.as_ref() };
        let applicant = Applicant { aor: &self.aor, means, device, private_key: &key.pkcs8 };
        let obtained = certificate::obtain(io, web, &sts, &applicant).await.map_err(|error| {
            let (verdict, blames_password) = (Box::new(error.verdict()), error.blames_password());
            Box::new(AuthFailure::Certificate { verdict, blames_password })
        })?;
        let (begins, ends) = (obtained.facts.not_before(), obtained.facts.not_after());
        let host = sts.host_str().unwrap_or_default();
        let line = format!("{host} issued a certificate for {}, valid until {}", self.aor, write_time(ends));
        io.tell(Event::Evidence(Step::Authentication, line));
        Ok(UserCertificate { certificate: obtained.certificate, key: key.pkcs8, begins, ends })
    }
}

/// The association that a challenge leads to.
fn association(challenge: &Challenge, opaque: Option<String>, keys: MessageKeys) -> Association {
    let version = challenge.version.unwrap_or(Version::V4);
    let (realm, target_name) = (challenge.realm.clone(), challenge.target_name.clone());
    Association::new(opaque, challenge.scheme.clone(), version, realm, target_name, keys)
}

fn refused(status: u16, failure: &AuthFailure) -> Stopped {
    Stopped { status, failed: Failed::Everywhere(Step::Authentication, failure.verdict()) }
}
