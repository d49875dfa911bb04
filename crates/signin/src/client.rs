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

use crate::authenticate::client::{AuthFailure, Choice, challenges, choose, first_leg, last_leg};
use crate::authenticate::message::Challenge;
use crate::connect::client::{self as connect, Hop, Proxy};
use crate::discover::AccessLocation;
use crate::discover::client::{Ask, Cached, Candidate, Discovery};
use crate::discover::finding::Finding;
use crate::io::Io;
use crate::link::{Key, Link, LinkError};
use crate::log_on::LogOn;
use crate::name::Aor;
use crate::provision::client::{self as provision, Appearance, Endpoint, Settled};
use crate::register::client::{self as register, Accepted, RegisterFailure, Registration};
use crate::register::endpoint::Epid;
use crate::register::message::RedirectTarget;
use crate::report::{Certainty, Event, Registers, Step, StepResult, Verdict};
use crate::session::Session;
use mechanism::ntlm::Entropy;
use sip::{Draft, Message};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

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
}

/// A server to go to: a candidate of discovery, or a Contact of a redirect.
#[derive(Debug, Clone)]
struct Place {
    host: String,
    port: u16,
    addresses: Option<Vec<IpAddr>>,
    legacy_tcp: bool,
}

impl Place {
    fn of(candidate: &Candidate) -> Place {
        Place {
            host: candidate.host.clone(),
            port: candidate.port,
            addresses: Some(candidate.addresses.clone()),
            legacy_tcp: candidate.legacy_tcp,
        }
    }

    /// This place as the next sign-in may try it first.
    fn reached(&self, view: AccessLocation) -> Cached {
        let addresses = self.addresses.clone().unwrap_or_default();
        Cached { host: self.host.clone(), port: self.port, addresses, view }
    }

    fn named(target: &RedirectTarget) -> Place {
        Place { host: target.host.clone(), port: target.port, addresses: None, legacy_tcp: false }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
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
}

/// Why a server did not register us, and whether another may.
enum Failed {
    /// This server cannot be used; another one may.
    Here(Step, Verdict),
    /// No server will.
    Everywhere(Step, Verdict),
}

impl SignIn {
    /// Signs in. What happens on the way is told through [`Io::tell`]; the verdict says why it failed.
    pub async fn run<'a>(&self, io: &'a dyn Io) -> Result<SignedIn<'a>, Verdict> {
        let mut discovery = Discovery::new(self.aor.clone(), self.discovery.clone(), self.log_on.clone());
        let mut first_failure = None;
        let mut remarked = 0;
        loop {
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
                let verdict = match first_failure {
                    Some((step, verdict)) => {
                        io.tell(Event::Ended(Step::Discovery, StepResult::Pass));
                        return Err(self.fail(io, step, verdict));
                    }
                    None => discovery.verdict(),
                };
                return Err(self.fail(io, Step::Discovery, verdict));
            };
            io.tell(Event::Ended(Step::Discovery, StepResult::Pass));
            let outcome = self.walk_home(io, &mut discovery, &candidate).await;
            match outcome {
                Ok(reached) => {
                    discovery.close(io).await;
                    return Ok(self.settle(*reached).await);
                }
                Err(Failed::Everywhere(step, verdict)) => return Err(self.fail(io, step, verdict)),
                Err(Failed::Here(step, verdict)) => {
                    io.tell(Event::Remark(step, format!("{} — trying the next candidate", verdict.sentence)));
                    io.tell(Event::Ended(step, StepResult::Fail));
                    first_failure.get_or_insert((step, verdict));
                }
            }
        }
    }

    fn fail(&self, io: &dyn Io, step: Step, verdict: Verdict) -> Verdict {
        io.tell(Event::Ended(step, StepResult::Fail));
        io.tell(Event::Failed(verdict.clone()));
        verdict
    }

    /// Steps 2 to 4: from the first server to the one that registers us.
    async fn walk_home<'a>(
        &self,
        io: &'a dyn Io,
        discovery: &mut Discovery,
        first: &Candidate,
    ) -> Result<Box<HomeReached<'a>>, Failed> {
        let registration = self.new_registration(io);
        let mut visited: Vec<Visited> = Vec::new();
        let mut choices = vec![Place::of(first)];
        let mut from: Option<String> = None;
        let mut redirects = 0;
        loop {
            let step = if from.is_some() { Step::Redirection } else { Step::Connectivity };
            let (place, link) = self.open_one(io, discovery, &choices, &mut visited, step).await?;
            let server = place.host.clone();
            match self.authenticate(link, &server, &registration).await? {
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
                        return Err(too_many(&visited, None));
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

    /// Step 2: the first of these places that opens. One visited before would only lead in a circle.
    async fn open_one<'a>(
        &self,
        io: &'a dyn Io,
        discovery: &Discovery,
        choices: &[Place],
        visited: &mut Vec<Visited>,
        on_failure: Step,
    ) -> Result<(Place, Link<'a>), Failed> {
        let before = |place: &&Place| visited.iter().find(|v| v.place == place.to_string());
        let fresh: Vec<&Place> = choices.iter().filter(|place| before(place).is_none()).collect();
        if fresh.is_empty() {
            // Sent again to where nobody answered: that is what is wrong, and not the circle.
            let dead = choices.iter().find_map(|place| before(&place)?.failure.clone());
            return Err(match dead {
                Some(verdict) => Failed::Everywhere(Step::Redirection, after_redirect(verdict)),
                None => too_many(visited, choices.first()),
            });
        }
        let mut first = None;
        for place in fresh {
            visited.push(Visited { place: place.to_string(), failure: None });
            io.tell(Event::Began(Step::Connectivity));
            let hop = match self.hop(io, discovery, place).await {
                Ok(hop) => hop,
                Err(verdict) => {
                    io.tell(Event::Remark(Step::Connectivity, verdict.sentence.clone()));
                    io.tell(Event::Ended(Step::Connectivity, StepResult::Fail));
                    note_failure(visited, &verdict);
                    first.get_or_insert(verdict);
                    continue;
                }
            };
            match connect::open(io, &hop, &self.connect).await {
                Ok(open) => {
                    io.tell(Event::Ended(Step::Connectivity, StepResult::Pass));
                    let place = Place { addresses: Some(hop.addresses), ..place.clone() };
                    return Ok((place, Link::new(io, open.conn, open.local)));
                }
                Err(failure) => {
                    let verdict = failure.verdict();
                    io.tell(Event::Remark(Step::Connectivity, verdict.sentence.clone()));
                    io.tell(Event::Ended(Step::Connectivity, StepResult::Fail));
                    note_failure(visited, &verdict);
                    first.get_or_insert(verdict);
                }
            }
        }
        let verdict = first.unwrap_or_else(|| Verdict {
            id: "tcp-filtered".to_owned(),
            certainty: Certainty::Consistent,
            sentence: "no server could be reached".to_owned(),
            fix: "look at the network".to_owned(),
        });
        Err(match on_failure {
            Step::Redirection => Failed::Everywhere(Step::Redirection, after_redirect(verdict)),
            _ => Failed::Here(Step::Connectivity, verdict),
        })
    }

    /// A place with its addresses. Discovery found those of its candidates; a redirect only gives a name.
    async fn hop(&self, io: &dyn Io, discovery: &Discovery, place: &Place) -> Result<Hop, Verdict> {
        let addresses = match &place.addresses {
            Some(addresses) => addresses.clone(),
            None => match discovery.web().resolve(io, &place.host).await {
                Ok(addresses) => addresses.to_vec(),
                Err(answer) => {
                    let finding = Finding::ServerWithoutAddress { host: place.host.clone(), answer };
                    return Err(finding.verdict());
                }
            },
        };
        let tls_name = (!place.legacy_tcp).then(|| place.host.clone());
        Ok(Hop { host: place.host.clone(), addresses, port: place.port, tls_name, proxy: self.proxy.clone() })
    }

    /// Step 3 at one server: REGISTER, 401, the legs of the mechanism, and the final answer.
    async fn authenticate<'a>(
        &self,
        mut link: Link<'a>,
        server: &str,
        registration: &Registration,
    ) -> Result<Answer<'a>, Failed> {
        let io = link.io();
        io.tell(Event::Began(Step::Authentication));
        let mut round = Round { sign_in: self, server, registration, cseq: 0, mechanism: String::from("none") };
        let outcome = round.run(&mut link).await;
        let status = match &outcome {
            Ok(bytes) => Message::parse(bytes).ok().and_then(|m| m.status()).unwrap_or(0),
            Err(stopped) => stopped.status,
        };
        io.tell(Event::Registered(Registers {
            server: server.to_owned(),
            mechanism: round.mechanism.clone(),
            requests: round.cseq,
            status,
        }));
        let bytes = outcome.map_err(|stopped| stopped.failed)?;
        io.tell(Event::Ended(Step::Authentication, StepResult::Pass));
        self.final_answer(link, server, registration, &round.mechanism, round.cseq, &bytes)
    }

    /// What the answer that is neither a challenge nor a refusal of the credentials says.
    fn final_answer<'a>(
        &self,
        link: Link<'a>,
        server: &str,
        registration: &Registration,
        mechanism: &str,
        cseq: u32,
        bytes: &[u8],
    ) -> Result<Answer<'a>, Failed> {
        let message = Message::parse(bytes).map_err(|error| {
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
                let mechanism = mechanism.to_owned();
                Ok(Answer::Registered(Box::new(Registered { link, accepted, mechanism, cseq })))
            }
            Some(301) => match register::targets(server, &message) {
                Ok(targets) => {
                    Ok(Answer::Redirected { link: Box::new(link), to: targets.iter().map(Place::named).collect() })
                }
                Err(failure) => Err(Failed::Everywhere(Step::Redirection, failure.verdict())),
            },
            code => {
                let verdict = RegisterFailure::refused(server, &message).verdict();
                // A server in trouble does not speak for the others; a decision about the user does.
                Err(match code {
                    Some(408 | 500..=599) => Failed::Here(Step::Authentication, verdict),
                    _ => Failed::Everywhere(Step::Authentication, verdict),
                })
            }
        }
    }

    /// Step 5: settings, contacts, presence. What fails here is remarked; the sign-in stands.
    async fn settle<'a>(&self, reached: HomeReached<'a>) -> SignedIn<'a> {
        let HomeReached { registered, home, registration, reached } = reached;
        let Registered { link, accepted, mechanism, cseq } = registered;
        let io = link.io();
        io.tell(Event::Began(Step::Settings));
        let mut session = Session::new(link, registration, &accepted, cseq, self.response_limit);
        let me = Endpoint {
            aor: self.aor.clone(),
            epid: self.epid.as_str().to_owned(),
            instance: session.registration().instance.to_string(),
            machine: self.log_on.as_ref().map_or_else(String::new, |log_on| log_on.workstation.clone()),
            allow_events: accepted.events.clone(),
            batches: accepted.batch,
        };
        let settled = provision::settle(&mut session, &me, self.appearance, &|event| io.tell(event)).await;
        io.tell(Event::Ended(Step::Settings, StepResult::Pass));
        SignedIn { session, home, mechanism, accepted, settled, reached }
    }
}

struct HomeReached<'a> {
    registered: Registered<'a>,
    home: String,
    registration: Registration,
    reached: Cached,
}

/// The REGISTERs with one server.
struct Round<'r> {
    sign_in: &'r SignIn,
    server: &'r str,
    registration: &'r Registration,
    cseq: u32,
    mechanism: String,
}

/// A round that ended without a usable answer.
struct Stopped {
    status: u16,
    failed: Failed,
}

impl Round<'_> {
    /// REGISTER → 401 → the mechanism's legs → final answer. Every 401 after the last leg is a refusal.
    async fn run(&mut self, link: &mut Link<'_>) -> Result<Vec<u8>, Stopped> {
        let io = link.io();
        let evidence = |line: String| io.tell(Event::Evidence(Step::Authentication, line));
        let draft = self.next_register(link);
        link.send_unsigned(draft).await.map_err(|e| self.no_answer(&e))?;
        let first = self.response(link).await?;
        let Some(offered) = self.challenges_of(&first, link)? else { return Ok(first) };
        let names: Vec<&str> = offered.iter().map(|c| c.scheme.as_str()).collect();
        evidence(format!("{} offers {}", self.server, names.join(", ")));
        let (challenge, reason) = choose(self.server, &offered, &self.sign_in.choice).map_err(|f| refused(401, &f))?;
        self.mechanism = challenge.scheme.to_string();
        evidence(format!("using {reason}"));
        let log_on = self.sign_in.log_on.as_ref().ok_or_else(|| {
            refused(401, &AuthFailure::NoPassword { server: self.server.to_owned(), scheme: challenge.scheme.clone() })
        })?;

        let mut draft = self.next_register(link);
        draft.header("Authorization", first_leg(&challenge));
        link.send_unsigned(draft).await.map_err(|e| self.no_answer(&e))?;
        let second = self.response(link).await?;
        let Some(legs) = self.challenges_of(&second, link)? else { return Ok(second) };
        let token = legs.into_iter().find(|c| c.scheme == challenge.scheme && c.gssapi_data.is_some());
        let token = token.ok_or_else(|| self.no_token(&challenge, &second))?;

        let draft = self.next_register(link);
        let (association, answer) = self.answer(io, &token, log_on)?;
        evidence(format!("{} challenge of {} answered as {}", token.scheme, token.target_name, log_on.account));
        link.secure(association);
        link.send_signed(draft, Some(answer)).await.map_err(|e| self.no_answer(&e))?;
        let last = self.response(link).await?;
        match self.challenges_of(&last, link)? {
            None => {
                evidence(format!("the final answer of {} carries a right signature", self.server));
                Ok(last)
            }
            Some(_) => Err(self.refusal(&last)),
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

    fn answer(
        &self,
        io: &dyn Io,
        challenge: &Challenge,
        log_on: &LogOn,
    ) -> Result<(crate::authenticate::association::Association, Vec<u8>), Stopped> {
        let mut entropy = Entropy { client_challenge: [0; 8], session_key: [0; 16] };
        io.fill_random(&mut entropy.client_challenge);
        io.fill_random(&mut entropy.session_key);
        last_leg(self.server, challenge, log_on, &entropy, io.now().unix_seconds)
            .map_err(|failure| refused(401, &failure))
    }

    /// The server did not go on with the scheme it offered. No credentials have been sent, so none were refused.
    fn no_token(&self, challenge: &Challenge, bytes: &[u8]) -> Stopped {
        let (server, scheme) = (self.server.to_owned(), challenge.scheme.clone());
        let unreadable = Message::parse(bytes).is_ok_and(|m| {
            m.all(sip::Name::WwwAuthenticate).any(|v| v.contains("gssapi-data") && Challenge::parse(v).is_err())
        });
        refused(
            401,
            &match unreadable {
                true => AuthFailure::BadChallenge { server, why: "its token cannot be read".to_owned() },
                false => AuthFailure::Restarted { server, scheme },
            },
        )
    }

    fn refusal(&self, bytes: &[u8]) -> Stopped {
        let (id, reason) = Message::parse(bytes).map(|m| crate::reply::diagnostics(&m)).unwrap_or_default();
        let account = match &self.sign_in.log_on {
            Some(log_on) => log_on.account.clone(),
            None => crate::name::AccountName::parse(self.sign_in.aor.as_str()),
        };
        refused(401, &AuthFailure::Refused { server: self.server.to_owned(), account, id, reason })
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

fn refused(status: u16, failure: &AuthFailure) -> Stopped {
    Stopped { status, failed: Failed::Everywhere(Step::Authentication, failure.verdict()) }
}

/// A place that was tried in this walk, and why it did not open, if so.
struct Visited {
    place: String,
    failure: Option<Verdict>,
}

fn note_failure(visited: &mut [Visited], verdict: &Verdict) {
    if let Some(last) = visited.last_mut() {
        last.failure = Some(verdict.clone());
    }
}

/// `next` is where the last redirect leads, when that is known already.
fn too_many(visited: &[Visited], next: Option<&Place>) -> Failed {
    let hops = visited.iter().map(|v| v.place.clone()).chain(next.map(ToString::to_string)).collect();
    Failed::Everywhere(Step::Redirection, RegisterFailure::Loop { hops }.verdict())
}

/// A home that cannot be reached is a finding of step 4: the first server was fine.
fn after_redirect(verdict: Verdict) -> Verdict {
    let id = match verdict.id.as_str() {
        id if id.starts_with("tls-") => "redir-tls",
        id if id.starts_with("dns-") => "redir-unresolvable",
        _ => "redir-unreachable",
    };
    Verdict { id: id.to_owned(), sentence: format!("the redirect cannot be followed: {}", verdict.sentence), ..verdict }
}
