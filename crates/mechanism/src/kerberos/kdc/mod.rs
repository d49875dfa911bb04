//! A small KDC: tickets for the users and services of one realm. RFC 4120 §3.1, §3.3.
//!
//! ```text
//!  AS-REQ  ── user? enabled? ── timestamp by its key? ────────► AS-REP: a ticket for the ticket-granting service
//!  TGS-REQ ── ticket ours? in time? ── authenticator, once? ──► TGS-REP: a ticket for a service
//!          └── any no ──► KRB-ERROR
//! ```
//!
//! It is for labs and tests: users prove their password by a timestamp, tickets are AES, and what a real domain controller
//! adds is left out. What a client has to ask for is refused in words: renewed, forwarded, proxied and postdated tickets,
//! user-to-user, acting for others, other realms, changing passwords. Tickets have no authorization data (PAC), so whoever
//! wants the user's groups asks the directory.
//!
//! Kerberos tells whether a user exists: error 6 or 25. That is the protocol; a lab has nothing to hide.

mod answered;
mod database;
mod refusal;
#[cfg(test)]
mod tests;

pub use database::{Database, Entry, Keys, Principals, Unavailable};

use super::Now;
use super::client::confounder;
use super::crypto::{EncryptionType, Key, usage};
use super::der;
use super::message::{
    AS_REP, AS_REQ, ApReq, Authenticator, ENC_AS_REP_PART, ENC_TGS_REP_PART, Encrypted, EtypeInfo, KdcReply,
    KdcRequest, KrbError, PaData, ReplyPart, TGS_REP, Ticket, TicketPart, flags, options, padata,
};
use super::name::{NameType, Principal};
use answered::{Answered, Known};
use refusal::{
    BAD_CHECKSUM, BAD_INTEGRITY, BAD_MATCH, BAD_OPTION, BUSY, EXPIRED, GENERIC, MODIFIED, NEVER_VALID, NO_CLIENT,
    NO_ETYPE, NO_SERVICE, NOT_YET, PREAUTH_FAILED, REPEATED, REVOKED, Refusal, SERVICE_REVOKED, SKEWED, TOO_BIG,
    WRONG_REALM, preauth_required,
};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How far clocks may differ, seconds.
const SKEW: i64 = 300;

/// Longest ticket, seconds.
const LIFETIME: i64 = 10 * 3600;

/// Authenticators remembered; with more in ten minutes, requests are refused until old ones can go.
const MAX_SEEN: usize = 100_000;

/// A KDC of one realm.
#[derive(Debug)]
pub struct Kdc {
    realm: String,
    principals: Box<dyn Principals>,
    granting: Entry,
    answered: Mutex<Answered>,
}

impl Kdc {
    /// A KDC with these principals. Its own key is made now: tickets do not outlive it.
    pub fn new(realm: &str, principals: impl Principals + 'static, random: &dyn Fn(&mut [u8])) -> Kdc {
        let principal = Principal::ticket_granting(realm, realm).expect("a realm is a name");
        let granting = Entry { principal, keys: Keys::generate(random), disabled: false };
        let answered = Mutex::new(Answered::new(MAX_SEEN));
        Kdc { realm: realm.to_owned(), principals: Box::new(principals), granting, answered }
    }

    /// Answers a request; `limit` is the most bytes the answer may have, for a datagram.
    pub fn answer(&self, request: &[u8], limit: Option<usize>, now: Now, random: &dyn Fn(&mut [u8])) -> Vec<u8> {
        let answer = match KdcRequest::read(request) {
            Ok(request) => {
                let answer = match request.kind {
                    AS_REQ => self.initial(&request, now, random),
                    _ => self.granted(&request, now, random),
                };
                answer.unwrap_or_else(|refusal| self.error(&refusal, request.service.as_ref(), now))
            }
            Err(malformed) => self.error(&malformed.into(), None, now),
        };
        match limit {
            Some(limit) if answer.len() > limit => self.error(&TOO_BIG, None, now),
            _ => answer,
        }
    }

    fn error(&self, refusal: &Refusal, service: Option<&Principal>, now: Now) -> Vec<u8> {
        KrbError {
            code: refusal.code,
            time: now.unix_seconds,
            client_realm: None,
            realm: self.realm.clone(),
            service: service.unwrap_or(&self.granting.principal).clone(),
            words: Some(refusal.words.to_owned()),
            data: refusal.data.clone(),
        }
        .write()
    }

    fn service(&self, name: Option<&Principal>) -> Result<Entry, Refusal> {
        let name = name.ok_or(NO_SERVICE)?;
        if name.eq_ignoring_case(&self.granting.principal) {
            return Ok(self.granting.clone());
        }
        // A ticket under a user's own key would let others guess the password.
        let is_service = |entry: &Entry| entry.principal.components.len() > 1;
        match self.principals.find(name)?.filter(is_service) {
            Some(entry) if entry.disabled => Err(SERVICE_REVOKED),
            found => found.ok_or(NO_SERVICE),
        }
    }

    /// AS-REQ: a ticket for a password. §3.1.
    fn initial(&self, request: &KdcRequest, now: Now, random: &dyn Fn(&mut [u8])) -> Result<Vec<u8>, Refusal> {
        if request.realm != self.realm {
            return Err(WRONG_REALM);
        }
        if request.options & options::SPECIAL != 0 {
            return Err(BAD_OPTION);
        }
        let asked = request.client.as_ref().ok_or(NO_CLIENT)?;
        let client = self.principals.find(asked)?.filter(|entry| entry.keys.salt.is_some()).ok_or(NO_CLIENT)?;
        if client.disabled {
            return Err(REVOKED);
        }
        let service = self.service(request.service.as_ref())?;
        client.keys.first_of(&request.etypes).ok_or(NO_ETYPE)?;
        let Some(timestamp) = request.padata.iter().find(|one| one.kind == padata::ENC_TIMESTAMP) else {
            return Err(preauth_required(methods(&client, &request.etypes)));
        };
        // The answer is under the key that proved itself.
        let key = self.proven(&client, &timestamp.value, now)?;
        // Names are given back as they were asked for, unless the client says that it can take another.
        let renamed = request.options & options::CANONICALIZE != 0 || asked.name_type == NameType::Enterprise;
        let name = if renamed { client.principal.clone() } else { asked.clone() };
        let part = ReplyPart {
            key: new_session(&service, &request.etypes, random)?,
            nonce: request.nonce,
            flags: flags::INITIAL | flags::PRE_AUTHENT,
            authenticated: now.unix_seconds,
            starts: now.unix_seconds,
            ends: end(request.till, now.unix_seconds.saturating_add(LIFETIME), now)?,
            service: asked_name(&service, request),
        };
        let info = EtypeInfo { etype: key.etype(), salt: client.keys.salt.clone(), parameters: None };
        let padata = vec![PaData { kind: padata::ETYPE_INFO2, value: EtypeInfo::write_all(&[info]) }];
        let cipher = key.encrypt(usage::AS_REP, &part.write(ENC_AS_REP_PART), &confounder(random));
        let encrypted = Encrypted { etype: key.etype(), kvno: Some(client.keys.kvno), cipher };
        let ticket = ticket(&service, &part, &name, random)?;
        Ok(KdcReply { kind: AS_REP, padata, client: name, ticket, encrypted }.write())
    }

    /// The client's key that the timestamp was made with. §5.2.7.2.
    fn proven<'c>(&self, client: &'c Entry, value: &[u8], now: Now) -> Result<&'c Key, Refusal> {
        let encrypted = Encrypted::read(der::Reader::new(value).expect(der::SEQUENCE, "timestamp")?, "timestamp")?;
        let key = client.keys.of_type(encrypted.etype).ok_or(NO_ETYPE)?;
        let plain = encrypted.decrypt(key, usage::AS_REQ_TIMESTAMP).map_err(|_| PREAUTH_FAILED)?;
        let mut fields = der::Reader::new(der::Reader::new(&plain).expect(der::SEQUENCE, "timestamp")?);
        let time = der::kerberos_time(fields.field(0, der::GENERALIZED_TIME, "timestamp")?, "timestamp")?;
        if time.abs_diff(now.unix_seconds) > SKEW.unsigned_abs() {
            return Err(SKEWED);
        }
        Ok(key)
    }

    /// TGS-REQ: a ticket for a ticket. §3.3.
    fn granted(&self, request: &KdcRequest, now: Now, random: &dyn Fn(&mut [u8])) -> Result<Vec<u8>, Refusal> {
        let shown = request.padata.iter().find(|one| one.kind == padata::TGS_REQ).ok_or(GENERIC)?;
        let shown = ApReq::read(&shown.value)?;
        let (held, authenticator) = self.open(&shown, request, now)?;
        match self.answered().look_up(&shown.authenticator.cipher, now.unix_seconds) {
            Known::Answer(answer) => return Ok(answer),
            Known::Seen => return Err(REPEATED),
            Known::Full => return Err(BUSY),
            Known::New => {}
        }
        let answer = self.grant(request, held, &authenticator, now, random)?;
        let until = now.unix_seconds.saturating_add(2 * SKEW);
        self.answered().keep(&shown.authenticator.cipher, &answer, until);
        Ok(answer)
    }

    /// Opens a ticket of ours and the authenticator that goes with it, and checks both.
    fn open(&self, shown: &ApReq, request: &KdcRequest, now: Now) -> Result<(TicketPart, Authenticator), Refusal> {
        let granting = Ticket::read(&shown.ticket)?;
        if !granting.service.eq_ignoring_case(&self.granting.principal) {
            return Err(NO_SERVICE);
        }
        let key = self.granting.keys.of_type(granting.encrypted.etype).ok_or(NO_ETYPE)?;
        let plain = granting.encrypted.decrypt(key, usage::TICKET).map_err(|_| MODIFIED)?;
        let held = TicketPart::read(&plain)?;
        let plain = shown.authenticator.decrypt(&held.key, usage::TGS_REQ_AUTHENTICATOR).map_err(|_| BAD_INTEGRITY)?;
        let authenticator = Authenticator::read(&plain)?;
        if !authenticator.client.eq_ignoring_case(&held.client) {
            return Err(BAD_MATCH);
        }
        if authenticator.time.abs_diff(now.unix_seconds) > SKEW.unsigned_abs() {
            return Err(SKEWED);
        }
        // Clocks do not count here: it was this one that wrote the times.
        if now.unix_seconds >= held.ends {
            return Err(EXPIRED);
        }
        if now.unix_seconds < held.starts.saturating_sub(SKEW) {
            return Err(NOT_YET);
        }
        let (kind, checksum) = authenticator.checksum.as_ref().ok_or(BAD_CHECKSUM)?;
        if Some(*kind) != held.key.etype().checksum_type() {
            return Err(BAD_CHECKSUM);
        }
        match held.key.verify_checksum(usage::TGS_REQ_CHECKSUM, &request.body, checksum) {
            true => Ok((held, authenticator)),
            false => Err(MODIFIED),
        }
    }

    fn grant(
        &self,
        request: &KdcRequest,
        held: TicketPart,
        authenticator: &Authenticator,
        now: Now,
        random: &dyn Fn(&mut [u8]),
    ) -> Result<Vec<u8>, Refusal> {
        if request.realm != self.realm {
            return Err(WRONG_REALM);
        }
        if request.options & options::SPECIAL != 0 {
            return Err(BAD_OPTION);
        }
        if self.principals.find(&held.client)?.ok_or(NO_CLIENT)?.disabled {
            return Err(REVOKED);
        }
        let service = self.service(request.service.as_ref())?;
        let part = ReplyPart {
            key: new_session(&service, &request.etypes, random)?,
            nonce: request.nonce,
            flags: held.flags & flags::PRE_AUTHENT,
            authenticated: held.authenticated,
            starts: now.unix_seconds,
            ends: end(request.till, held.ends, now)?,
            service: asked_name(&service, request),
        };
        let (key, usage) = match &authenticator.subkey {
            Some(subkey) => (subkey, usage::TGS_REP_SUBKEY),
            None => (&held.key, usage::TGS_REP_SESSION_KEY),
        };
        let cipher = key.encrypt(usage, &part.write(ENC_TGS_REP_PART), &confounder(random));
        let encrypted = Encrypted { etype: key.etype(), kvno: None, cipher };
        let ticket = ticket(&service, &part, &held.client, random)?;
        Ok(KdcReply { kind: TGS_REP, padata: Vec::new(), client: held.client, ticket, encrypted }.write())
    }

    fn answered(&self) -> MutexGuard<'_, Answered> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name in the ticket is the one that was asked for, in the realm's own spelling of the realm.
fn asked_name(service: &Entry, request: &KdcRequest) -> Principal {
    let asked = request.service.clone().unwrap_or_else(|| service.principal.clone());
    Principal { realm: service.principal.realm.clone(), ..asked }
}

/// When a ticket ends that is wished for until `wished` and may not last longer than `most`.
fn end(wished: i64, most: i64, now: Now) -> Result<i64, Refusal> {
    // The beginning of 1970 stands for "as long as possible".
    let ends = if wished == 0 { most } else { wished.min(most) };
    if ends > now.unix_seconds { Ok(ends) } else { Err(NEVER_VALID) }
}

/// A session key of a type that client and service can both use.
fn new_session(service: &Entry, etypes: &[EncryptionType], random: &dyn Fn(&mut [u8])) -> Result<Key, Refusal> {
    let etype = service.keys.first_of(etypes).ok_or(NO_ETYPE)?.etype();
    Key::generate(etype, random).map_err(|_| NO_ETYPE)
}

/// What pre-authentication there is, and the salts for it. METHOD-DATA, §5.2.7.1.
fn methods(client: &Entry, etypes: &[EncryptionType]) -> Vec<u8> {
    let info: Vec<EtypeInfo> = etypes
        .iter()
        .filter_map(|etype| client.keys.of_type(*etype))
        .map(|key| EtypeInfo { etype: key.etype(), salt: client.keys.salt.clone(), parameters: None })
        .collect();
    let list = [
        PaData { kind: padata::ETYPE_INFO2, value: EtypeInfo::write_all(&info) },
        PaData { kind: padata::ENC_TIMESTAMP, value: Vec::new() },
    ];
    der::element(der::SEQUENCE, &[&PaData::write_all(&list)])
}

/// The ticket that goes with what the client is told, under the service's best key.
fn ticket(
    service: &Entry,
    part: &ReplyPart,
    client: &Principal,
    random: &dyn Fn(&mut [u8]),
) -> Result<Vec<u8>, Refusal> {
    let held = TicketPart {
        flags: part.flags,
        key: part.key.clone(),
        client: client.clone(),
        transited: Vec::new(),
        authenticated: part.authenticated,
        starts: part.starts,
        ends: part.ends,
    };
    let key = service.keys.keys.first().ok_or(NO_ETYPE)?;
    let cipher = key.encrypt(usage::TICKET, &held.write(), &confounder(random));
    let encrypted = Encrypted { etype: key.etype(), kvno: Some(service.keys.kvno), cipher };
    Ok(Ticket { service: part.service.clone(), encrypted }.write())
}
