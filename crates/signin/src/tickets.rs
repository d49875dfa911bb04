//! Kerberos tickets, the client's side: those that are there, and how others are had. RFC 4120 §3.
//!
//! ```text
//!  a ticket for the service is there ───────────────────────────► use it
//!  a ticket-granting ticket is there ──► TGS-REQ ──► KDC ───────► use it
//!  a password is there ──► AS-REQ ──► KDC ──► TGS-REQ ──► KDC ──► use it
//!
//!  the tickets are the system's to find ──► its GSS-API library ──► use what it makes of them
//! ```
//!
//! `tickets/kdc.rs` finds the KDC and asks it. The system's library knows KDCs of its own (`krb5.conf`, DNS), keeps what it gets
//! in the user's cache, and says who the user is.
//!
//! Absent: realms joined by trusts are followed only as far as the own KDC refers to them by a ticket; smart cards; FAST.

mod failure;
mod kdc;

pub use self::failure::TicketFailure;
pub use self::kdc::Kdc;
pub use mechanism::kerberos::TicketCache;

use crate::date_time::write_time;
use crate::io::{Io, SecContextError};
use crate::log_on::LogOn;
use crate::report::{Event, Step};
use mechanism::kerberos::crypto::EncryptionType;
use mechanism::kerberos::name::{NameError, NameType, Principal};
use mechanism::kerberos::{ApOptions, ApRequest, AsExchange, AsStep, Credential, KerberosError, Now, TgsExchange};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Answers to one AS exchange: one asks for pre-authentication, one for another clock or key.
const MAX_LEGS: usize = 4;

/// Realms passed on the way to a service.
const MAX_REFERRALS: usize = 4;

/// How long each part may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// One DNS query: 3 s.
    pub dns: Duration,
    /// TCP to one address: 3 s. Outside, port 88 is filtered as a rule, and another mechanism waits.
    pub tcp: Duration,
    /// One answer: 5 s.
    pub answer: Duration,
    /// All KDCs together, until one has answered a question: 15 s. The DNS may name any number of them.
    pub kdcs: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        let seconds = Duration::from_secs;
        Limits { dns: seconds(3), tcp: seconds(3), answer: seconds(5), kdcs: seconds(15) }
    }
}

/// Where the tickets are that the user has already.
#[derive(Debug, Clone)]
pub enum Cache {
    /// Here.
    Here(TicketCache),
    /// Where the system's GSS-API library finds them. It does everything then; neither the KDCs nor the types of a
    /// [`Source`] concern it.
    System,
}

/// How tickets are had.
#[derive(Debug, Clone)]
pub struct Source {
    /// The user's realm; else it follows from the account, else from the sign-in address.
    pub realm: Option<String>,
    /// KDCs of the realm, in order; else the DNS is asked.
    pub kdcs: Vec<Kdc>,
    /// Tickets the user has already: single sign-on.
    pub cache: Option<Cache>,
    /// Encryption types that are offered to KDCs for services, best first. RC4-HMAC is the last by default: many services
    /// of Active Directory have no other key.
    pub types: Vec<EncryptionType>,
    /// The same where the password proves itself: AES only by default. A KDC's first answer is proven by nothing, and
    /// whoever forges it chooses among these; with RC4-HMAC it would get a timestamp under the NT hash, to guess at.
    pub password_types: Vec<EncryptionType>,
    /// How long it may take.
    pub limits: Limits,
}

impl Default for Source {
    fn default() -> Source {
        let types = EncryptionType::KNOWN.to_vec();
        let password_types = types.iter().copied().filter(|etype| *etype != EncryptionType::Rc4Hmac).collect();
        Source { realm: None, kdcs: Vec::new(), cache: None, types, password_types, limits: Limits::default() }
    }
}

/// The tickets of one sign-in. Those that were had are kept for its other servers.
pub struct Tickets {
    source: Source,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The KDC that answered, so that it is looked for once.
    kdc: Option<SocketAddr>,
    granting: Option<Credential>,
    services: BTreeMap<String, Credential>,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tickets(realm {:?}, {} KDCs set)", self.source.realm, self.source.kdcs.len())
    }
}

impl Tickets {
    /// None yet but those of the source.
    pub fn new(source: Source) -> Tickets {
        Tickets { source, state: Mutex::default() }
    }

    /// Whether there are tickets to begin with, so that no password is needed.
    pub fn has_some(&self) -> bool {
        self.source.cache.is_some()
    }

    /// A request for `service` (`class/host`), for one use. `domain` is the sign-in address's, for want of another realm.
    pub async fn request(
        &self,
        io: &dyn Io,
        log_on: &LogOn,
        domain: &str,
        service: &str,
        options: ApOptions,
    ) -> Result<ApRequest, TicketFailure> {
        let realm = self.realm(log_on, domain);
        if let Some(Cache::System) = self.source.cache {
            return self.request_of_system(io, realm, service, options).await;
        }
        let ticket = self.ticket(io, log_on, &realm, service).await?;
        let random = |bytes: &mut [u8]| io.fill_random(bytes);
        ticket.ap_request(now(io), &random, options).map_err(|error| TicketFailure::Kdc { realm, error })
    }

    /// The same by the system's library. `realm` is what the user's is taken for until the library says it.
    async fn request_of_system(
        &self,
        io: &dyn Io,
        realm: String,
        service: &str,
        options: ApOptions,
    ) -> Result<ApRequest, TicketFailure> {
        let failed = |why: &str| TicketFailure::Library { service: service.to_owned(), why: why.to_owned() };
        let channel = options.channel.map(|channel| channel.application_data());
        let context = match io.init_sec_context(service, channel, self.source.limits.kdcs).await {
            Ok(context) => context,
            Err(SecContextError::NoTicket(words)) => return Err(TicketFailure::NothingToBeginWith(words)),
            Err(SecContextError::Unreachable(tried)) => return Err(TicketFailure::Unreachable { realm, tried }),
            Err(SecContextError::Timeout) => {
                let tried = format!("the system's library has nothing after {} s", self.source.limits.kdcs.as_secs());
                return Err(TicketFailure::Unreachable { realm, tried });
            }
            Err(SecContextError::Refused { client, code, words }) => {
                let of_client = client.as_ref().and_then(|client| Some(client.rsplit_once('@')?.1.to_owned()));
                let client = client.unwrap_or_else(|| "the user".to_owned());
                let error = KerberosError::of_code(code, &client, service, &words);
                return Err(TicketFailure::Kdc { realm: of_client.unwrap_or(realm), error });
            }
            Err(SecContextError::Failed(words)) => return Err(failed(&words)),
            Err(SecContextError::Absent) => return Err(failed("this program was built without it")),
        };
        let Some(calls) = context.calls else { return Err(failed("its key is in no record")) };
        tell(io, format!("the system's Kerberos library has a ticket of {} for {service}", context.client));
        Ok(ApRequest::of_context(context.token, options, calls))
    }

    /// The tickets at hand, where they are here.
    fn cache(&self) -> Option<&TicketCache> {
        match &self.source.cache {
            Some(Cache::Here(cache)) => Some(cache),
            Some(Cache::System) | None => None,
        }
    }

    fn realm(&self, log_on: &LogOn, domain: &str) -> String {
        let of_cache = || self.cache().map(|cache| cache.default_principal().realm.clone());
        let of_account = || Some(log_on.account.user.split_once('@')?.1.to_ascii_uppercase());
        let realm = self.source.realm.clone().or_else(of_cache).or_else(of_account);
        realm.unwrap_or_else(|| domain.to_ascii_uppercase())
    }

    async fn ticket(
        &self,
        io: &dyn Io,
        log_on: &LogOn,
        realm: &str,
        service: &str,
    ) -> Result<Credential, TicketFailure> {
        let at = now(io);
        if let Some(ticket) = self.state().services.get(service).filter(|ticket| ticket.usable_at(at)) {
            return Ok(ticket.clone());
        }
        let (class, host) = service.split_once('/').unwrap_or((service, ""));
        let principal = Principal::service(class, host, realm).map_err(TicketFailure::Name)?;
        if let Some(ticket) = self.cache().and_then(|cache| cache.ticket_for(&principal, at)) {
            return Ok(ticket.clone());
        }
        let granting = self.granting(io, log_on, realm).await?;
        let ticket = self.exchange_granting(io, granting, principal, realm).await?;
        tell(io, format!("the KDC of {realm} gave a ticket for {service}, valid until {}", write_time(ticket.ends())));
        self.state().services.insert(service.to_owned(), ticket.clone());
        Ok(ticket)
    }

    /// TGS exchange, over as many realms as the KDCs refer to.
    async fn exchange_granting(
        &self,
        io: &dyn Io,
        mut granting: Credential,
        service: Principal,
        realm: &str,
    ) -> Result<Credential, TicketFailure> {
        let mut asked = realm.to_owned();
        for _ in 0..=MAX_REFERRALS {
            let refused = |error| TicketFailure::Kdc { realm: asked.clone(), error };
            let random = |bytes: &mut [u8]| io.fill_random(bytes);
            let (exchange, request) =
                TgsExchange::begin(&granting, service.clone(), &self.source.types, now(io), &random)
                    .map_err(refused)?;
            let reply = self.exchange(io, &asked, &request).await?;
            let ticket = exchange.answer(&reply).map_err(refused)?;
            match ticket.referred_realm() {
                None => return Ok(ticket),
                Some(next) => {
                    asked = next.to_owned();
                    granting = ticket;
                }
            }
        }
        Err(TicketFailure::Referrals { realm: realm.to_owned() })
    }

    /// The ticket-granting ticket: kept, of the user's cache, or by password.
    async fn granting(&self, io: &dyn Io, log_on: &LogOn, realm: &str) -> Result<Credential, TicketFailure> {
        let at = now(io);
        if let Some(granting) = self.state().granting.as_ref().filter(|ticket| ticket.usable_at(at)) {
            return Ok(granting.clone());
        }
        if let Some(granting) = self.cache().and_then(|cache| cache.tgt(realm, at)) {
            tell(io, format!("a ticket of {} is at hand", granting.client()));
            return Ok(granting.clone());
        }
        let Some(password) = &log_on.password else {
            let why = match self.cache() {
                Some(_) => format!("the ticket cache has no ticket of {realm} that is still valid"),
                None => "there is no ticket cache".to_owned(),
            };
            return Err(TicketFailure::NothingToBeginWith(why));
        };
        let random = |bytes: &mut [u8]| io.fill_random(bytes);
        let client = client_principal(log_on, realm).map_err(TicketFailure::Name)?;
        let (types, name) = (&self.source.password_types, client.to_string());
        let refused = |error| match error {
            KerberosError::NoCommonEtype if !types.contains(&EncryptionType::Rc4Hmac) => {
                TicketFailure::NoAesKey { realm: realm.to_owned(), client: name.clone() }
            }
            error => TicketFailure::Kdc { realm: realm.to_owned(), error },
        };
        let (mut exchange, mut request) = AsExchange::begin(client, types, at, &random).map_err(refused)?;
        for _ in 0..MAX_LEGS {
            let reply = self.exchange(io, realm, &request).await?;
            match exchange.answer(&reply, password.reveal(), now(io), &random).map_err(refused)? {
                AsStep::Done(granting) => {
                    tell(io, format!("the KDC of {realm} knows {} by the password", granting.client()));
                    self.state().granting = Some(granting.clone());
                    return Ok(granting);
                }
                AsStep::Send(next, bytes) => (exchange, request) = (*next, bytes),
            }
        }
        Err(TicketFailure::Referrals { realm: realm.to_owned() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The principal of an account. A UPN is an enterprise name: which principal it stands for is for the KDC to say, since
/// its right side need not be the realm.
fn client_principal(log_on: &LogOn, realm: &str) -> Result<Principal, NameError> {
    let user = &log_on.account.user;
    let name_type = if user.contains('@') { NameType::Enterprise } else { NameType::Principal };
    Principal::new(name_type, vec![user.clone()], realm.to_owned())
}

fn now(io: &dyn Io) -> Now {
    Now { unix_seconds: io.now().unix_seconds, microseconds: io.now().since_start.subsec_micros() }
}

fn tell(io: &dyn Io, line: String) {
    io.tell(Event::Evidence(Step::Authentication, line));
}

#[cfg(test)]
mod tests;
