//! The client: walks the five steps, top to bottom.
//!
//! ```text
//!            ┌─────────────────────── next candidate ◄──────────────┐
//!            ▼                                                      │ does not open
//!  1 discover a server ──► 2 connect ──► 3 authenticate ──► 200 ──► 5 settle ──► signed in
//!                             ▲               │
//!                             └── 4 redirect ◄┘ 301: the next server by q, at most 5, never one seen before
//! ```
//!
//! Ways back: a server that does not open leads to the next candidate (after a redirect: to the next Contact); credentials
//! that are refused end the sign-in, because the next server would refuse them too, and accounts lock.

mod failure;
mod places;

use self::failure::{DeadEnds, refuses};
pub(crate) use self::failure::{Failed, Unsuccessful};
use self::places::{Place, Visited};
use crate::authenticate::client::Choice;
use crate::authenticate::keyring::Keyring;
use crate::authenticate::message::Challenge;
use crate::authenticate::message::Scheme;
use crate::connect::client::{self as connect, Proxy};
use crate::discover::client::{Ask, Cached, Candidate, Discovery};
use crate::http::Web;
use crate::io::Io;
use crate::link::Link;
use crate::log_on::LogOn;
use crate::name::Aor;
use crate::provision::client::{self as provision, Appearance, Endpoint, Settled};
use crate::register::client::{self as register, Accepted, RegisterFailure, Registration};
use crate::register::endpoint::Epid;
use crate::report::{Certainty, Ending, Event, Step, StepResult, Verdict};
use crate::round::{Ended, Round};
use crate::session::Session;
use sip::Message;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Redirects followed in one sign-in.
const MAX_REDIRECTS: usize = 5;

/// What is to be signed in, and how.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// The address.
    pub aor: Aor,
    /// Who logs on; without it the sign-in ends where a password is wanted.
    pub log_on: Option<LogOn>,
    /// Which mechanism.
    pub choice: Choice,
    /// Where certificates of the user are kept; `None`: none is used, and none is asked for.
    pub keyring: Option<Arc<dyn Keyring>>,
    /// This device, stable over sign-ins.
    pub epid: Epid,
    /// `User-Agent`.
    pub user_agent: String,
    /// How to find a server.
    pub discovery: Ask,
    /// How long to wait for TCP and TLS.
    pub connect: connect::Limits,
    /// HTTP proxy for servers that cannot be reached directly.
    pub proxy: Option<Proxy>,
    /// What to be seen as afterwards.
    pub appearance: Appearance,
    /// How long to wait for the answer to one SIP request.
    pub response_limit: Duration,
}

/// A finished sign-in.
pub struct SignedIn<'a> {
    /// The session, for whoever wants to remain signed in.
    pub session: Session<'a>,
    /// FQDN of the server that holds the registration.
    pub home: String,
    /// Mechanism used.
    pub mechanism: String,
    /// What the registrar granted.
    pub accepted: Accepted,
    /// What step 5 brought.
    pub settled: Settled,
    /// Where that server is: what to try first the next time.
    pub reached: Cached,
    /// What [`SignIn::prepare_next`] needs: the offer of certificates.
    pub(crate) certificates: Option<Challenge>,
}

impl SignedIn<'_> {
    /// How the sign-in ended, for its report.
    pub fn ending(&self) -> Ending {
        Ending::SignedIn {
            home: self.home.clone(),
            mechanism: self.mechanism.clone(),
            settings: self.settled.json(),
            contacts: self.settled.contacts.as_ref().map_or(0, |list| list.contacts.len()),
        }
    }
}

/// How one server took the registration.
enum Answer<'a> {
    Registered(Box<Registered<'a>>),
    Redirected { link: Box<Link<'a>>, to: Vec<Place> },
}

struct Registered<'a> {
    link: Link<'a>,
    accepted: Accepted,
    mechanism: String,
    cseq: u32,
    certificates: Option<Challenge>,
}

/// The server that registered us: the end of steps 2 to 4.
struct HomeReached<'a> {
    registered: Registered<'a>,
    home: String,
    registration: Registration,
    reached: Cached,
}

impl SignIn {
    /// Signs in. What happens on the way is told through [`Io::tell`]; the verdict says why it failed.
    pub async fn run<'a>(&self, io: &'a dyn Io) -> Result<SignedIn<'a>, Verdict> {
        self.attempt(io).await.map_err(|unsuccessful| unsuccessful.verdict)
    }

    /// The same, for whoever wants to try again.
    pub(crate) async fn attempt<'a>(&self, io: &'a dyn Io) -> Result<SignedIn<'a>, Unsuccessful> {
        let mut discovery = Discovery::new(self.aor.clone(), self.discovery.clone(), self.log_on.clone())
            .with_certificate(self.certificate_at_hand(io));
        let mut dead_ends = DeadEnds::default();
        let mut remarked = 0;
        loop {
            if discovery.is_exhausted()
                && let Some(unsuccessful) = dead_ends.conclude(io)
            {
                return Err(unsuccessful);
            }
            io.tell(Event::Began(Step::Discovery));
            let candidate = discovery.next(io).await;
            let findings = discovery.findings();
            for finding in &findings[remarked..] {
                io.tell(match finding.is_failure() {
                    true => Event::Remark(Step::Discovery, finding.to_string()),
                    false => Event::Evidence(Step::Discovery, finding.to_string()),
                });
            }
            remarked = findings.len();
            let Some(candidate) = candidate else {
                if !dead_ends.is_empty() {
                    io.tell(Event::Ended(Step::Discovery, StepResult::Pass));
                }
                let nowhere = || Unsuccessful::at(io, Step::Discovery, discovery.verdict(), false);
                return Err(dead_ends.conclude(io).unwrap_or_else(nowhere));
            };
            io.tell(Event::Ended(Step::Discovery, StepResult::Pass));
            let outcome = self.walk_home(io, &mut discovery, &candidate).await;
            match outcome {
                Ok(reached) => {
                    discovery.close(io).await;
                    return self.settle(*reached).await;
                }
                Err(Failed::Everywhere(step, verdict)) => {
                    let refused = step == Step::Authentication && refuses(&verdict);
                    return Err(Unsuccessful::at(io, step, verdict, refused));
                }
                Err(Failed::Here(step, verdict)) => dead_ends.note(io, step, verdict),
            }
        }
    }

    /// Authenticates an endpoint again on its own connection, because its association has reached its age.
    /// `[MS-SIPAE]` §3.2.5.2. The error says why the endpoint is signed in no more.
    pub(crate) async fn authenticate_again(
        &self,
        session: &mut Session<'_>,
        server: &str,
    ) -> Result<Accepted, Unsuccessful> {
        let io = session.io();
        let limits = self.discovery.limits;
        let web = Web::new(limits.web, io.now().since_start + limits.total, self.proxy.clone());
        let (link, registration, cseq) = session.parts();
        link.retire();
        let outcome = Round::new(self, &web, server, registration).after(*cseq).run(link).await;
        web.close(io).await;
        let (verdict, everywhere) = match outcome {
            Ok(ended) => {
                *cseq = ended.cseq;
                let unreadable = |why: String| RegisterFailure::NotSip { server: server.to_owned(), why }.verdict();
                match Message::parse(&ended.answer) {
                    Ok(answer) if answer.status() == Some(200) => return Ok(register::accepted(&answer, registration)),
                    Ok(answer) => (
                        RegisterFailure::refused(server, &answer, link.is_secured()).verdict(),
                        !matches!(answer.status(), Some(301 | 408 | 500..=599)),
                    ),
                    Err(error) => (unreadable(error.to_string()), false),
                }
            }
            Err(Failed::Here(_, verdict)) => (verdict, false),
            Err(Failed::Everywhere(_, verdict)) => (verdict, true),
        };
        let refused = everywhere && refuses(&verdict);
        Err(Unsuccessful { verdict: verdict.legible(), refused })
    }

    /// Steps 2 to 4: from the first server to the one that registers us.
    async fn walk_home<'a>(
        &self,
        io: &'a dyn Io,
        discovery: &mut Discovery,
        first: &Candidate,
    ) -> Result<Box<HomeReached<'a>>, Failed> {
        let registration = self.new_registration(io);
        let mut visited = Visited::default();
        let mut choices = vec![Place::of(first)];
        let mut from: Option<String> = None;
        let mut redirects = 0;
        loop {
            let step = if from.is_some() { Step::Redirection } else { Step::Connectivity };
            let (place, link) = self.open_one(io, discovery, &choices, &mut visited, step).await?;
            let server = place.host.clone();
            match self.authenticate(link, discovery.web(), &server, &registration).await? {
                Answer::Registered(registered) => {
                    if from.is_some() {
                        io.tell(Event::Evidence(
                            Step::Redirection,
                            format!("{server} is home and registered the endpoint"),
                        ));
                        io.tell(Event::Ended(Step::Redirection, StepResult::Pass));
                    }
                    let reached = place.reached(first.view);
                    return Ok(Box::new(HomeReached { registered: *registered, home: server, registration, reached }));
                }
                Answer::Redirected { link, to } => {
                    link.close().await;
                    io.tell(Event::Began(Step::Redirection));
                    let names: Vec<String> = to.iter().map(ToString::to_string).collect();
                    io.tell(Event::Evidence(
                        Step::Redirection,
                        format!("{server} says home is {}", names.join(", then ")),
                    ));
                    io.tell(Event::Redirected { from: server.clone(), to: names });
                    redirects += 1;
                    if redirects > MAX_REDIRECTS {
                        return Err(visited.too_many(None));
                    }
                    choices = to;
                    from = Some(server);
                }
            }
        }
    }

    fn new_registration(&self, io: &dyn Io) -> Registration {
        let mut random = [0; 24];
        io.fill_random(&mut random);
        Registration::new(self.aor.clone(), self.epid.clone(), self.user_agent.clone(), random)
    }

    /// Step 3 at one server: REGISTER, 401, the legs of the mechanism, and the final answer.
    async fn authenticate<'a>(
        &self,
        mut link: Link<'a>,
        web: &Web,
        server: &str,
        registration: &Registration,
    ) -> Result<Answer<'a>, Failed> {
        let io = link.io();
        io.tell(Event::Began(Step::Authentication));
        let ended = Round::new(self, web, server, registration).run(&mut link).await?;
        io.tell(Event::Ended(Step::Authentication, StepResult::Pass));
        self.final_answer(link, server, registration, ended)
    }

    /// What the answer that is neither a challenge nor a refusal of the credentials says.
    fn final_answer<'a>(
        &self,
        link: Link<'a>,
        server: &str,
        registration: &Registration,
        ended: Ended,
    ) -> Result<Answer<'a>, Failed> {
        let Ended { answer, mechanism, cseq, certificates } = ended;
        let message = Message::parse(&answer).map_err(|error| {
            let why = error.to_string();
            Failed::Here(Step::Authentication, RegisterFailure::NotSip { server: server.to_owned(), why }.verdict())
        })?;
        match message.status() {
            Some(200) => {
                let accepted = register::accepted(&message, registration);
                if accepted.expires.is_zero() {
                    let failure = RegisterFailure::NothingGranted { server: server.to_owned() };
                    return Err(Failed::Everywhere(Step::Authentication, failure.verdict()));
                }
                let registered = Registered { link, accepted, mechanism, cseq, certificates };
                Ok(Answer::Registered(Box::new(registered)))
            }
            Some(301) => match register::targets(server, &message) {
                Ok(targets) => {
                    Ok(Answer::Redirected { link: Box::new(link), to: targets.iter().map(Place::named).collect() })
                }
                Err(failure) => Err(Failed::Everywhere(Step::Redirection, failure.verdict())),
            },
            code => {
                let mut verdict = RegisterFailure::refused(server, &message, link.is_secured()).verdict();
                if verdict.id == "user-wrong-identity" && mechanism == Scheme::TlsDsk.as_str() {
                    verdict = self.disown(verdict);
                }
                // A server in trouble does not speak for the others; a decision about the user does.
                Err(match code {
                    Some(408 | 500..=599) => Failed::Here(Step::Authentication, verdict),
                    _ => Failed::Everywhere(Step::Authentication, verdict),
                })
            }
        }
    }

    /// With TLS-DSK the identity is the certificate: one of somebody else is not shown again.
    fn disown(&self, refused: Verdict) -> Verdict {
        if let Some(keyring) = &self.keyring {
            keyring.forget(&self.aor);
        }
        let fix = "sign in with the password: that obtains a certificate of this address".to_owned();
        Verdict { id: "dsk-wrong-user-cert".to_owned(), fix, ..refused }
    }

    /// Step 5: settings, contacts, presence. What fails here is remarked, and the sign-in stands; unless it is over meanwhile.
    async fn settle<'a>(&self, reached: HomeReached<'a>) -> Result<SignedIn<'a>, Unsuccessful> {
        let HomeReached { registered, home, registration, reached } = reached;
        let Registered { link, accepted, mechanism, cseq, certificates } = registered;
        let io = link.io();
        io.tell(Event::Began(Step::Settings));
        let mut session = Session::new(link, registration, &accepted, cseq, self.response_limit);
        let me = self.endpoint(&session, &accepted);
        let settled = provision::settle(&mut session, &me, self.appearance, &|event| io.tell(event)).await;
        if let Some(failure) = session.ended(&home).await {
            session.abandon().await;
            // Whom the server puts out it would put out again; and two programs that are one endpoint would go on for ever.
            let refused = matches!(failure, RegisterFailure::SignedOut { .. });
            return Err(Unsuccessful::at(io, Step::Settings, failure.verdict(), refused));
        }
        io.tell(Event::Ended(Step::Settings, StepResult::Pass));
        Ok(SignedIn { session, home, mechanism, accepted, settled, reached, certificates })
    }
}

impl SignIn {
    /// The endpoint, as room 5 knows it.
    pub(crate) fn endpoint(&self, session: &Session<'_>, accepted: &Accepted) -> Endpoint {
        Endpoint {
            aor: self.aor.clone(),
            epid: self.epid.as_str().to_owned(),
            instance: session.registration().instance.to_string(),
            machine: self.log_on.as_ref().map_or_else(String::new, |log_on| log_on.workstation.clone()),
            allow_events: accepted.events.clone(),
            batches: accepted.batch,
        }
    }

    /// After a sign-in: obtains the certificate that the next one will use, when the server offers certificates, there is a
    /// place to keep one, and none is there that is still good for long. One that is near its end is enough to ask for the
    /// next one, without a password. Gives until when it is valid; nothing when there was nothing to do.
    pub async fn prepare_next(&self, io: &dyn Io, signed_in: &SignedIn<'_>) -> Option<Result<i64, Verdict>> {
        let challenge = signed_in.certificates.as_ref()?;
        let now = io.now().unix_seconds;
        self.certificate_due(now).filter(|due| *due <= now)?;
        let device = signed_in.session.registration().instance.uuid();
        Some(self.renew_certificate(io, challenge, device).await.map_err(|unsuccessful| unsuccessful.verdict))
    }

    /// When the next certificate is to be obtained, seconds since 1970: when the one that is kept is old; at once, if none
    /// is. `None`: never, for there is no place to keep one, or nothing to ask with.
    pub(crate) fn certificate_due(&self, now: i64) -> Option<i64> {
        let kept = self.keyring.as_ref()?.load(&self.aor).filter(|kept| kept.usable_at(now));
        match kept {
            Some(kept) => Some(kept.old_from()),
            None => self.log_on.is_some().then_some(now),
        }
    }

    /// Obtains a certificate from the service that the challenge names, and keeps it. Gives until when it is valid.
    pub(crate) async fn renew_certificate(
        &self,
        io: &dyn Io,
        challenge: &Challenge,
        device: Uuid,
    ) -> Result<i64, Unsuccessful> {
        let limits = self.discovery.limits;
        let web = Web::new(limits.web, io.now().since_start + limits.total, self.proxy.clone());
        let obtained = self.obtain_certificate(io, &web, challenge, device).await;
        web.close(io).await;
        let certificate = obtained.map_err(|failure| Unsuccessful {
            refused: failure.ends_every_way(),
            verdict: failure.verdict().legible(),
        })?;
        let kept = self.keyring.as_ref().map_or(Ok(()), |keyring| keyring.save(&self.aor, &certificate));
        kept.map(|()| certificate.ends).map_err(|why| Unsuccessful {
            refused: false,
            verdict: Verdict {
                id: "dsk-private-key-lost".to_owned(),
                certainty: Certainty::Certain,
                sentence: format!("the certificate cannot be kept: {why}"),
                fix: "name another folder with --certificates".to_owned(),
            },
        })
    }
}
