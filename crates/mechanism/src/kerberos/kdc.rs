//! A small KDC: tickets for the users and services of one realm. RFC 4120 §3.1, §3.3.
//!
//! It is for labs and tests: users prove their password by a timestamp, tickets are AES, and what a real domain controller
//! adds is left out, which is: authorization data (PAC), renewing, forwarding, postdating, other realms, changing
//! passwords. A request for any of it is refused in words.
//!
//! Kerberos tells whether a user exists: error 6 or 25. That is the protocol; a lab has nothing to hide.

use super::Now;
use super::client::confounder;
use super::crypto::{EncryptionType, Key, usage};
use super::der::{self, Malformed};
use super::message::{
    AS_REP, AS_REQ, ApReq, Authenticator, ENC_AS_REP_PART, ENC_TGS_REP_PART, Encrypted, EtypeInfo, KdcReply,
    KdcRequest, KrbError, PaData, ReplyPart, TGS_REP, Ticket, TicketPart, Unreadable, flags, options, padata,
};
use super::name::{NameType, Principal};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// How far clocks may differ, seconds.
const SKEW: i64 = 300;

/// Longest ticket, seconds.
const LIFETIME: i64 = 10 * 3600;

/// Authenticators remembered; with more in five minutes, requests are refused until old ones can go.
const MAX_SEEN: usize = 100_000;

/// One version of a principal's keys.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Version number.
    pub kvno: u32,
    /// One for each encryption type, the best first.
    pub keys: Vec<Key>,
    /// What the password was mixed with; nothing for keys that come of no password.
    pub salt: Option<String>,
}

impl Keys {
    /// The keys of a password, AES-256 and AES-128, with the usual salt.
    pub fn of_password(principal: &Principal, password: &str) -> Keys {
        let salt = format!("{}{}", principal.realm, principal.components.concat());
        let key = |etype| Key::of_password(etype, password, salt.as_bytes()).expect("AES takes every password");
        let keys = vec![key(EncryptionType::Aes256), key(EncryptionType::Aes128)];
        Keys { kvno: 1, keys, salt: Some(salt) }
    }

    /// Random keys, AES-256 and AES-128.
    pub fn generate(random: &dyn Fn(&mut [u8])) -> Keys {
        let key = |etype| Key::generate(etype, random).expect("AES has a length");
        Keys { kvno: 1, keys: vec![key(EncryptionType::Aes256), key(EncryptionType::Aes128)], salt: None }
    }
}

/// A user or a service of the realm.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its name, as tickets have it.
    pub principal: Principal,
    /// Its keys.
    pub keys: Keys,
    /// It gets no tickets.
    pub disabled: bool,
}

/// Who there is.
#[derive(Debug, Default)]
pub struct Database {
    /// By name, in lower case: the names of users and services are compared without case, as Active Directory does.
    entries: BTreeMap<String, Entry>,
    /// Other names of users: their addresses.
    aliases: BTreeMap<String, String>,
}

impl Database {
    /// Adds a user or a service.
    pub fn add(&mut self, entry: Entry) {
        self.entries.insert(key_of(&entry.principal), entry);
    }

    /// Makes an enterprise name (`alice@contoso.test`) stand for a user.
    pub fn add_alias(&mut self, alias: &str, principal: &Principal) {
        self.aliases.insert(alias.to_lowercase(), key_of(principal));
    }

    fn find(&self, name: &Principal) -> Option<&Entry> {
        if name.name_type == NameType::Enterprise
            && let [alias] = name.components.as_slice()
        {
            let known = self.aliases.get(&alias.to_lowercase())?;
            return self.entries.get(known);
        }
        self.entries.get(&key_of(name))
    }
}

fn key_of(name: &Principal) -> String {
    name.components.join("/").to_lowercase()
}

/// A KDC of one realm.
#[derive(Debug)]
pub struct Kdc {
    realm: String,
    database: Database,
    granting: Entry,
    /// Authenticators seen, and when they may be forgotten.
    seen: Mutex<BTreeMap<Vec<u8>, i64>>,
}

/// Why a request is refused: error code and words. RFC 4120 §7.5.9.
struct Refusal {
    code: i32,
    words: &'static str,
    data: Option<Vec<u8>>,
}

const fn refuse(code: i32, words: &'static str) -> Refusal {
    Refusal { code, words, data: None }
}

const NO_CLIENT: Refusal = refuse(6, "the client is not known");
const NO_SERVICE: Refusal = refuse(7, "the service is not known");
const BAD_OPTION: Refusal = refuse(13, "this KDC does not do that");
const NO_ETYPE: Refusal = refuse(14, "no common encryption type");
const REVOKED: Refusal = refuse(18, "the account is disabled");
const PREAUTH_FAILED: Refusal = refuse(24, "the password is not right");
const BAD_INTEGRITY: Refusal = refuse(31, "the authenticator cannot be opened");
const EXPIRED: Refusal = refuse(32, "the ticket has expired");
const REPEATED: Refusal = refuse(34, "the request was seen before");
const BAD_MATCH: Refusal = refuse(36, "ticket and authenticator are of different users");
const SKEWED: Refusal = refuse(37, "the clocks differ too much");
const MODIFIED: Refusal = refuse(41, "the request was altered");
const BAD_CHECKSUM: Refusal = refuse(50, "the checksum is of the wrong kind");
const TOO_BIG: Refusal = refuse(52, "the answer does not fit into a datagram");
const GENERIC: Refusal = refuse(60, "the request cannot be read");
const WRONG_REALM: Refusal = refuse(68, "this KDC is of another realm");

impl From<Unreadable> for Refusal {
    fn from(unreadable: Unreadable) -> Refusal {
        match unreadable {
            Unreadable::Malformed(what) => Malformed(what).into(),
            Unreadable::EncryptionType(..) => NO_ETYPE,
        }
    }
}

impl From<Malformed> for Refusal {
    fn from(_: Malformed) -> Refusal {
        GENERIC
    }
}

impl Kdc {
    /// A KDC with these principals. Its own key is made now: tickets do not outlive it.
    pub fn new(realm: &str, database: Database, random: &dyn Fn(&mut [u8])) -> Kdc {
        let principal = Principal::ticket_granting(realm, realm).expect("a realm is a name");
        let granting = Entry { principal, keys: Keys::generate(random), disabled: false };
        Kdc { realm: realm.to_owned(), database, granting, seen: Mutex::default() }
    }

    /// Answers a request; `limit` is the most bytes the answer may have, for a datagram.
    pub fn answer(&self, request: &[u8], limit: Option<usize>, now: Now, random: &dyn Fn(&mut [u8])) -> Vec<u8> {
        let outcome = KdcRequest::read(request).map_err(Refusal::from).and_then(|request| {
            let answer = match request.kind {
                AS_REQ => self.initial(&request, now, random),
                _ => self.granted(&request, now, random),
            };
            answer.map_err(|refusal| (refusal, request.service)).or_else(|(refusal, service)| {
                Ok(self.error(&refusal, service.unwrap_or_else(|| self.granting.principal.clone()), now))
            })
        });
        let answer = outcome.unwrap_or_else(|refusal| self.error(&refusal, self.granting.principal.clone(), now));
        match limit {
            Some(limit) if answer.len() > limit => self.error(&TOO_BIG, self.granting.principal.clone(), now),
            _ => answer,
        }
    }

    fn error(&self, refusal: &Refusal, service: Principal, now: Now) -> Vec<u8> {
        KrbError {
            code: refusal.code,
            time: now.unix_seconds,
            realm: self.realm.clone(),
            service,
            words: Some(refusal.words.to_owned()),
            data: refusal.data.clone(),
        }
        .write()
    }

    fn service(&self, name: Option<&Principal>) -> Result<&Entry, Refusal> {
        let name = name.ok_or(NO_SERVICE)?;
        if name.eq_ignoring_case(&self.granting.principal) {
            return Ok(&self.granting);
        }
        self.database.find(name).filter(|entry| entry.principal.components.len() > 1).ok_or(NO_SERVICE)
    }

    /// AS-REQ: a ticket for a password.
    fn initial(&self, request: &KdcRequest, now: Now, random: &dyn Fn(&mut [u8])) -> Result<Vec<u8>, Refusal> {
        if request.realm != self.realm {
            return Err(WRONG_REALM);
        }
        let asked = request.client.as_ref().ok_or(NO_CLIENT)?;
        let client = self.database.find(asked).filter(|entry| entry.keys.salt.is_some()).ok_or(NO_CLIENT)?;
        if client.disabled {
            return Err(REVOKED);
        }
        let service = self.service(request.service.as_ref())?;
        let key = best(&client.keys, &request.etypes).ok_or(NO_ETYPE)?;
        let Some(timestamp) = request.padata.iter().find(|one| one.kind == padata::ENC_TIMESTAMP) else {
            let words = "pre-authentication required";
            return Err(Refusal { code: 25, words, data: Some(methods(client, &request.etypes)) });
        };
        let proven = self.check_timestamp(client, &timestamp.value, now)?;
        // Names are given back as they were asked for, unless the client says that it can take another.
        let renamed = request.options & options::CANONICALIZE != 0 || asked.name_type == NameType::Enterprise;
        let name = if renamed { client.principal.clone() } else { asked.clone() };
        let part = ReplyPart {
            key: new_session(service, &request.etypes, random)?,
            nonce: request.nonce,
            flags: flags::INITIAL | flags::PRE_AUTHENT,
            authenticated: now.unix_seconds,
            ends: until(request.till, now.unix_seconds.saturating_add(LIFETIME), now),
            service: asked_name(service, request),
        };
        let info = EtypeInfo { etype: key.etype(), salt: client.keys.salt.clone(), parameters: None };
        let padata = vec![PaData { kind: padata::ETYPE_INFO2, value: EtypeInfo::write_all(&[info]) }];
        let key = if proven == key.etype() { key } else { by_etype(&client.keys, proven).ok_or(NO_ETYPE)? };
        let cipher = key.encrypt(usage::AS_REP, &part.write(ENC_AS_REP_PART), &confounder(random));
        let encrypted = Encrypted { etype: key.etype(), kvno: Some(client.keys.kvno), cipher };
        let ticket = ticket(service, &part, &name, random);
        Ok(KdcReply { kind: AS_REP, padata, client: name, ticket, encrypted }.write())
    }

    /// Whether the timestamp was made with the client's key; of which type.
    fn check_timestamp(&self, client: &Entry, value: &[u8], now: Now) -> Result<EncryptionType, Refusal> {
        let encrypted = Encrypted::read(der::Reader::new(value).expect(der::SEQUENCE, "timestamp")?, "timestamp")?;
        let key = by_etype(&client.keys, encrypted.etype).ok_or(NO_ETYPE)?;
        let plain = encrypted.decrypt(key, usage::AS_REQ_TIMESTAMP).map_err(|_| PREAUTH_FAILED)?;
        let mut fields = der::Reader::new(der::Reader::new(&plain).expect(der::SEQUENCE, "timestamp")?);
        let time = der::kerberos_time(fields.field(0, der::GENERALIZED_TIME, "timestamp")?, "timestamp")?;
        if time.abs_diff(now.unix_seconds) > SKEW.unsigned_abs() {
            return Err(SKEWED);
        }
        Ok(key.etype())
    }

    /// TGS-REQ: a ticket for a ticket.
    fn granted(&self, request: &KdcRequest, now: Now, random: &dyn Fn(&mut [u8])) -> Result<Vec<u8>, Refusal> {
        if request.options & (options::RENEW | options::VALIDATE | options::ENC_TKT_IN_SKEY) != 0 {
            return Err(BAD_OPTION);
        }
        let shown = request.padata.iter().find(|one| one.kind == padata::TGS_REQ).ok_or(GENERIC)?;
        let shown = ApReq::read(&shown.value)?;
        let granting = Ticket::read(&shown.ticket)?;
        if !granting.service.eq_ignoring_case(&self.granting.principal) {
            return Err(NO_SERVICE);
        }
        let key = by_etype(&self.granting.keys, granting.encrypted.etype).ok_or(NO_ETYPE)?;
        let plain = granting.encrypted.decrypt(key, usage::TICKET).map_err(|_| MODIFIED)?;
        let held = TicketPart::read(&plain)?;
        let plain = shown.authenticator.decrypt(&held.key, usage::TGS_REQ_AUTHENTICATOR).map_err(|_| BAD_INTEGRITY)?;
        let authenticator = Authenticator::read(&plain)?;
        self.check_authenticator(&held, &authenticator, &request.body, now)?;
        self.remember(&shown.authenticator.cipher, now)?;
        if request.realm != self.realm {
            return Err(WRONG_REALM);
        }
        if self.database.find(&held.client).is_some_and(|entry| entry.disabled) {
            return Err(REVOKED);
        }
        let service = self.service(request.service.as_ref())?;
        let part = ReplyPart {
            key: new_session(service, &request.etypes, random)?,
            nonce: request.nonce,
            flags: held.flags & flags::PRE_AUTHENT,
            authenticated: held.authenticated,
            ends: until(request.till, held.ends, now),
            service: asked_name(service, request),
        };
        let (key, usage) = match &authenticator.subkey {
            Some(subkey) => (subkey, usage::TGS_REP_SUBKEY),
            None => (&held.key, usage::TGS_REP_SESSION_KEY),
        };
        let cipher = key.encrypt(usage, &part.write(ENC_TGS_REP_PART), &confounder(random));
        let encrypted = Encrypted { etype: key.etype(), kvno: None, cipher };
        let ticket = ticket(service, &part, &held.client, random);
        Ok(KdcReply { kind: TGS_REP, padata: Vec::new(), client: held.client, ticket, encrypted }.write())
    }

    fn check_authenticator(
        &self,
        held: &TicketPart,
        authenticator: &Authenticator,
        body: &[u8],
        now: Now,
    ) -> Result<(), Refusal> {
        if !authenticator.client.eq_ignoring_case(&held.client) {
            return Err(BAD_MATCH);
        }
        if authenticator.time.abs_diff(now.unix_seconds) > SKEW.unsigned_abs() {
            return Err(SKEWED);
        }
        if now.unix_seconds > held.ends.saturating_add(SKEW) {
            return Err(EXPIRED);
        }
        let (kind, checksum) = authenticator.checksum.as_ref().ok_or(BAD_CHECKSUM)?;
        if Some(*kind) != held.key.etype().checksum_type() {
            return Err(BAD_CHECKSUM);
        }
        match held.key.verify_checksum(usage::TGS_REQ_CHECKSUM, body, checksum) {
            true => Ok(()),
            false => Err(MODIFIED),
        }
    }

    /// Each authenticator is good once; its ciphertext is as good as its content, for it cannot be altered.
    fn remember(&self, authenticator: &[u8], now: Now) -> Result<(), Refusal> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MAX_SEEN {
            seen.retain(|_, until| *until >= now.unix_seconds);
        }
        let last = authenticator.len().saturating_sub(32);
        let name = authenticator.get(last..).unwrap_or_default().to_vec();
        if seen.len() >= MAX_SEEN || seen.insert(name, now.unix_seconds.saturating_add(2 * SKEW)).is_some() {
            return Err(REPEATED);
        }
        Ok(())
    }
}

/// The name in the ticket is the one that was asked for, in the realm's own spelling of the realm.
fn asked_name(service: &Entry, request: &KdcRequest) -> Principal {
    let asked = request.service.clone().unwrap_or_else(|| service.principal.clone());
    Principal { realm: service.principal.realm.clone(), ..asked }
}

fn until(wished: i64, most: i64, now: Now) -> i64 {
    // The year 1970 stands for "as long as possible".
    if wished <= now.unix_seconds { most } else { wished.min(most) }
}

/// The best key of a type that the other side can use, by its own order.
fn best<'k>(keys: &'k Keys, etypes: &[EncryptionType]) -> Option<&'k Key> {
    etypes.iter().find_map(|etype| by_etype(keys, *etype))
}

fn by_etype(keys: &Keys, etype: EncryptionType) -> Option<&Key> {
    keys.keys.iter().find(|key| key.etype() == etype)
}

/// A session key of a type that client and service can both use.
fn new_session(service: &Entry, etypes: &[EncryptionType], random: &dyn Fn(&mut [u8])) -> Result<Key, Refusal> {
    let etype = best(&service.keys, etypes).ok_or(NO_ETYPE)?.etype();
    Key::generate(etype, random).map_err(|_| NO_ETYPE)
}

/// What pre-authentication there is, and the salts for it. METHOD-DATA, §5.2.7.1.
fn methods(client: &Entry, etypes: &[EncryptionType]) -> Vec<u8> {
    let info: Vec<EtypeInfo> = etypes
        .iter()
        .filter_map(|etype| by_etype(&client.keys, *etype))
        .map(|key| EtypeInfo { etype: key.etype(), salt: client.keys.salt.clone(), parameters: None })
        .collect();
    let list = [
        PaData { kind: padata::ETYPE_INFO2, value: EtypeInfo::write_all(&info) },
        PaData { kind: padata::ENC_TIMESTAMP, value: Vec::new() },
    ];
    der::element(der::SEQUENCE, &[&PaData::write_all(&list)])
}

/// The ticket that goes with what the client is told, under the service's best key.
fn ticket(service: &Entry, part: &ReplyPart, client: &Principal, random: &dyn Fn(&mut [u8])) -> Vec<u8> {
    let held = TicketPart {
        flags: part.flags,
        key: part.key.clone(),
        client: client.clone(),
        transited: Vec::new(),
        authenticated: part.authenticated,
        starts: part.authenticated,
        ends: part.ends,
    };
    let key = &service.keys.keys[0];
    let cipher = key.encrypt(usage::TICKET, &held.write(), &confounder(random));
    let encrypted = Encrypted { etype: key.etype(), kvno: Some(service.keys.kvno), cipher };
    Ticket { service: part.service.clone(), encrypted }.write()
}
