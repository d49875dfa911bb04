//! The client's half: from a password or a ticket to a token for a service. RFC 4120 §3.
//!
//! ```text
//!  AsExchange::begin ── AS-REQ ──► KDC ── KRB-ERROR 25, salts ──► answer ── AS-REQ, timestamp ──► KDC ── AS-REP ──► Done
//!  TgsExchange::begin ─ TGS-REQ ─► KDC ── TGS-REP ──► answer: a ticket for the service
//!  Credential::ap_request: a token, and the keys that sign messages
//! ```
//!
//! Each exchange is a value that holds what its answer is checked against; whoever called moves the bytes. Absent: mutual
//! authentication (the server's signatures prove it), forwarding, renewing, FAST.

use super::Now;
use super::crypto::{CONFOUNDER, EncryptionType, Key, usage};
use super::der::{self, Malformed};
use super::message::{
    AS_REP, AS_REQ, ApReq, Authenticator, Encrypted, EtypeInfo, KRB_ERROR, KdcReply, KdcRequest, KrbError, PaData,
    ReplyPart, TGS_REP, TGS_REQ, Unreadable, number, options, padata, time,
};
use super::mic::MessageKeys;
use super::name::{NameError, NameType, Principal};
use super::token::{self, NegotiateInit, TokenId};
use std::fmt;

/// How long a ticket is asked for, seconds: a working day. KDCs give less when they want to.
const LIFETIME: i64 = 10 * 3600;

/// Seconds a ticket must still be good to be used.
const MARGIN: i64 = 60;

/// Type of the checksum that carries the flags of a GSS context, RFC 4121 §4.1.1.
const GSS_CHECKSUM: i32 = 0x8003;

/// GSS flag: messages are signed. RFC 2743.
const INTEGRITY: u32 = 0x20;

/// Why there is no ticket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KerberosError {
    /// 6.
    #[error("it does not know the user {0}")]
    UnknownClient(String),
    /// 7.
    #[error("it does not know the service {0}")]
    UnknownService(String),
    /// 24, or an answer that the password's key does not open.
    #[error("the password of {0} is not right")]
    WrongPassword(String),
    /// 18.
    #[error("the account {0} is disabled, locked or expired, or may not log on at this hour")]
    AccountState(String),
    /// 23.
    #[error("the password of {0} has expired")]
    PasswordExpired(String),
    /// 37.
    #[error("its clock and ours differ by {} s", .seconds.abs())]
    ClockSkew {
        /// Its time less ours.
        seconds: i64,
    },
    /// 14.
    #[error("it has no encryption type in common with this client")]
    NoCommonEtype,
    /// 32 and 33: of the ticket that was shown to it.
    #[error("the ticket is not valid at this time")]
    TicketExpired,
    /// 12.
    #[error("its policy does not allow that")]
    Policy,
    /// 68.
    #[error("the user belongs to another realm{0}")]
    WrongRealm(String),
    /// 31 and 41: it cannot open what was shown to it.
    #[error("it does not accept our ticket: it was issued with another key, or altered")]
    Modified,
    /// Any other code.
    #[error("it refuses with error {code}{words}")]
    Other {
        /// RFC 4120 §7.5.9.
        code: i32,
        /// Its words, with a colon before them, or nothing.
        words: String,
    },
    /// An answer that cannot be read.
    #[error("its answer cannot be read ({0})")]
    Malformed(&'static str),
    /// An answer to another question, or under another key.
    #[error("its answer does not belong to our question ({0})")]
    Foreign(&'static str),
    /// A name Kerberos cannot have.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl From<Unreadable> for KerberosError {
    fn from(unreadable: Unreadable) -> KerberosError {
        match unreadable {
            Unreadable::Malformed(what) => KerberosError::Malformed(what),
            Unreadable::EncryptionType(..) => KerberosError::NoCommonEtype,
        }
    }
}

impl From<Malformed> for KerberosError {
    fn from(malformed: Malformed) -> KerberosError {
        KerberosError::Malformed(malformed.0)
    }
}

impl KerberosError {
    /// Id of the failure catalogue.
    pub fn id(&self) -> &'static str {
        match self {
            KerberosError::UnknownClient(_) => "krb-wrong-realm",
            KerberosError::UnknownService(_) => "krb-no-spn",
            KerberosError::WrongPassword(_) => "ntlm-wrong-password",
            KerberosError::AccountState(_) | KerberosError::PasswordExpired(_) => "krb-account-state",
            KerberosError::ClockSkew { .. } => "auth-clock-skew",
            KerberosError::NoCommonEtype => "krb-etype",
            KerberosError::TicketExpired => "krb-no-tgt",
            KerberosError::WrongRealm(_) => "krb-wrong-realm",
            KerberosError::Modified => "krb-ap-modified",
            KerberosError::Policy
            | KerberosError::Other { .. }
            | KerberosError::Malformed(_)
            | KerberosError::Foreign(_)
            | KerberosError::Name(_) => "krb-kdc-refused",
        }
    }

    /// What to do next.
    pub fn fix(&self) -> &'static str {
        match self {
            KerberosError::UnknownClient(_) | KerberosError::WrongRealm(_) => {
                "give the logon name as the directory has it (name@REALM), or the user's realm"
            }
            KerberosError::UnknownService(_) => {
                "register this service principal name on the account the server runs under"
            }
            KerberosError::WrongPassword(_) => "retype the password",
            KerberosError::AccountState(_) => {
                "look at the account in the directory: disabled, locked, expired, logon hours"
            }
            KerberosError::PasswordExpired(_) => "change the password",
            KerberosError::ClockSkew { .. } => {
                "set the clock of this machine (or of the KDC): five minutes are allowed"
            }
            KerberosError::NoCommonEtype => {
                "allow AES for the account and the service (their passwords may have to be set anew)"
            }
            KerberosError::TicketExpired => "obtain a new ticket (kinit)",
            KerberosError::Modified => {
                "see whether two accounts have this service principal name, and whether all servers have its key"
            }
            KerberosError::Policy | KerberosError::Other { .. } => "look at the KDC's log",
            KerberosError::Malformed(_) | KerberosError::Foreign(_) => "see who answers on port 88",
            KerberosError::Name(_) => "correct the logon name or the realm",
        }
    }

    /// Whether it is the password or the account that was refused; then no other mechanism would take it either.
    pub fn blames_credentials(&self) -> bool {
        matches!(
            self,
            KerberosError::WrongPassword(_) | KerberosError::AccountState(_) | KerberosError::PasswordExpired(_)
        )
    }

    fn of(error: &KrbError, client: &Principal, service: &Principal, now: Now) -> KerberosError {
        let words = || error.words.as_ref().map(|words| format!(": {words}")).unwrap_or_default();
        match error.code {
            6 => KerberosError::UnknownClient(client.to_string()),
            7 => KerberosError::UnknownService(service.to_string()),
            12 => KerberosError::Policy,
            14 => KerberosError::NoCommonEtype,
            18 => KerberosError::AccountState(client.to_string()),
            23 => KerberosError::PasswordExpired(client.to_string()),
            24 => KerberosError::WrongPassword(client.to_string()),
            31 | 41 => KerberosError::Modified,
            32 | 33 => KerberosError::TicketExpired,
            37 => KerberosError::ClockSkew { seconds: error.time.saturating_sub(now.unix_seconds) },
            68 => KerberosError::WrongRealm(words()),
            code => KerberosError::Other { code, words: words() },
        }
    }
}

/// A ticket, its session key, and what is known of it. Prints whose and for what.
#[derive(Clone)]
pub struct Credential {
    pub(super) client: Principal,
    pub(super) service: Principal,
    /// The ticket as the KDC wrote it.
    pub(super) ticket: Vec<u8>,
    pub(super) session: Key,
    pub(super) flags: u32,
    pub(super) authenticated: i64,
    pub(super) ends: i64,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({} for {}, until {})", self.client, self.service, self.ends)
    }
}

impl Credential {
    /// Whose it is.
    pub fn client(&self) -> &Principal {
        &self.client
    }

    /// What it is for.
    pub fn service(&self) -> &Principal {
        &self.service
    }

    /// When it ends, seconds since 1970.
    pub fn ends(&self) -> i64 {
        self.ends
    }

    /// Whether it is good now and for a minute more.
    pub fn usable_at(&self, now: Now) -> bool {
        now.unix_seconds < self.ends.saturating_sub(MARGIN)
    }

    /// Of a ticket-granting ticket for another realm, that realm: the KDC refers the client there. RFC 6806 §8.
    pub fn referred_realm(&self) -> Option<&str> {
        match self.service.components.as_slice() {
            [class, realm] if class == "krbtgt" && *realm != self.service.realm => Some(realm),
            _ => None,
        }
    }

    /// A token for the service, and the keys that it sets: the initiator's subkey, since the acceptor sends none.
    pub fn ap_request(
        &self,
        now: Now,
        random: &dyn Fn(&mut [u8]),
        options: ApOptions,
    ) -> Result<ApRequest, KerberosError> {
        let subkey = Key::generate(self.session.etype(), random).map_err(|_| KerberosError::NoCommonEtype)?;
        let mut number = [0; 4];
        random(&mut number);
        // 30 bits, so that no implementation takes it for a negative number or runs over.
        let sequence = u32::from_be_bytes(number) >> 2;
        let bindings = [&16u32.to_le_bytes()[..], &[0; 16], &INTEGRITY.to_le_bytes()].concat();
        let authenticator = Authenticator {
            client: self.client.clone(),
            checksum: Some((GSS_CHECKSUM, bindings)),
            microseconds: now.microseconds,
            time: now.unix_seconds,
            subkey: Some(subkey.clone()),
            sequence: Some(sequence),
        };
        let message = self.request(&authenticator, usage::AP_REQ_AUTHENTICATOR, random);
        let token = token::frame(TokenId::ApReq, &message);
        let token = if options.spnego { NegotiateInit::of_kerberos(&token) } else { token };
        Ok(ApRequest { token, keys: MessageKeys::new(&subkey, false, sequence, sequence) })
    }

    fn request(&self, authenticator: &Authenticator, usage: u32, random: &dyn Fn(&mut [u8])) -> Vec<u8> {
        let cipher = self.session.encrypt(usage, &authenticator.write(), &confounder(random));
        let authenticator = Encrypted { etype: self.session.etype(), kvno: None, cipher };
        ApReq { options: 0, ticket: self.ticket.clone(), authenticator }.write()
    }
}

/// What a token is to be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApOptions {
    /// Wrapped in SPNEGO, as HTTP wants it; SIP wants it bare.
    pub spnego: bool,
}

/// A token, and the keys it sets.
#[derive(Debug)]
pub struct ApRequest {
    token: Vec<u8>,
    keys: MessageKeys,
}

impl ApRequest {
    /// The token.
    pub fn token(&self) -> &[u8] {
        &self.token
    }

    /// Both.
    pub fn into_parts(self) -> (Vec<u8>, MessageKeys) {
        (self.token, self.keys)
    }
}

/// The exchange in which a password becomes a ticket-granting ticket. RFC 4120 §3.1.
#[derive(Debug)]
pub struct AsExchange {
    request: KdcRequest,
    client: Principal,
    service: Principal,
    /// The key the timestamp was made with.
    key: Option<Key>,
}

/// What an answer leads to.
#[derive(Debug)]
pub enum AsStep {
    /// Send this, and hand in the next answer.
    Send(Box<AsExchange>, Vec<u8>),
    /// There it is.
    Done(Credential),
}

impl AsExchange {
    /// Begins: the bytes are to be sent to a KDC of the client's realm.
    pub fn begin(
        client: Principal,
        now: Now,
        random: &dyn Fn(&mut [u8]),
    ) -> Result<(AsExchange, Vec<u8>), KerberosError> {
        let service = Principal::ticket_granting(&client.realm, &client.realm)?;
        // An enterprise name is asked for what it stands for; any other is meant as it is.
        let canonicalize = if client.name_type == NameType::Enterprise { options::CANONICALIZE } else { 0 };
        let mut request = KdcRequest {
            kind: AS_REQ,
            padata: Vec::new(),
            options: canonicalize,
            client: Some(client.clone()),
            realm: client.realm.clone(),
            service: Some(service.clone()),
            till: now.unix_seconds.saturating_add(LIFETIME),
            nonce: nonce(random),
            etypes: EncryptionType::KNOWN.to_vec(),
            body: Vec::new(),
        };
        request.body = request.write_body();
        let bytes = KdcRequest::write(AS_REQ, &[], &request.body);
        Ok((AsExchange { request, client, service, key: None }, bytes))
    }

    /// Takes an answer of the KDC.
    pub fn answer(
        mut self,
        reply: &[u8],
        password: &str,
        now: Now,
        random: &dyn Fn(&mut [u8]),
    ) -> Result<AsStep, KerberosError> {
        if reply.first() == Some(&KRB_ERROR) {
            let error = KrbError::read(reply)?;
            let wants_timestamp = error.code == 25 && self.key.is_none();
            if !wants_timestamp {
                return Err(KerberosError::of(&error, &self.client, &self.service, now));
            }
            let data = error.data.as_deref().map(read_method_data).transpose()?.unwrap_or_default();
            let key = self.key_of(password, &data, None)?;
            let timestamp =
                der::element(der::SEQUENCE, &[&time(0, now.unix_seconds), &number(1, now.microseconds.into())]);
            let cipher = key.encrypt(usage::AS_REQ_TIMESTAMP, &timestamp, &confounder(random));
            let encrypted = Encrypted { etype: key.etype(), kvno: None, cipher };
            let value = der::element(der::SEQUENCE, &[&encrypted.write()]);
            let padata = [PaData { kind: padata::ENC_TIMESTAMP, value }];
            let bytes = KdcRequest::write(AS_REQ, &padata, &self.request.body);
            self.key = Some(key);
            return Ok(AsStep::Send(Box::new(self), bytes));
        }
        let reply = KdcReply::read(reply)?;
        if reply.kind != AS_REP {
            return Err(KerberosError::Foreign("it is not an AS-REP"));
        }
        let key = match &self.key {
            Some(key) if key.etype() == reply.encrypted.etype => key.clone(),
            _ => self.key_of(password, &reply.padata, Some(reply.encrypted.etype))?,
        };
        let opened = reply.encrypted.decrypt(&key, usage::AS_REP);
        let part = ReplyPart::read(&opened.map_err(|_| KerberosError::WrongPassword(self.client.to_string()))?)?;
        if part.nonce != self.request.nonce {
            return Err(KerberosError::Foreign("its number is not ours"));
        }
        let renamed = self.request.options & options::CANONICALIZE != 0;
        if !renamed && !reply.client.eq_ignoring_case(&self.client) {
            return Err(KerberosError::Foreign("it is about another user"));
        }
        Ok(AsStep::Done(credential(reply, part)))
    }

    /// The password's key, as the KDC says it is made; of this type, or of the best it names.
    fn key_of(&self, password: &str, data: &[PaData], etype: Option<EncryptionType>) -> Result<Key, KerberosError> {
        let info = data.iter().find(|one| one.kind == padata::ETYPE_INFO2);
        let info = info.map(|one| EtypeInfo::read_all(&one.value)).transpose()?.unwrap_or_default();
        let fits = |one: &&EtypeInfo| match etype {
            Some(etype) => one.etype == etype,
            None => EncryptionType::KNOWN.contains(&one.etype),
        };
        let named = info.iter().find(fits);
        let etype = named.map(|one| one.etype).or(etype);
        let etype = match etype {
            Some(etype) => etype,
            None if info.is_empty() => EncryptionType::Aes256,
            None => return Err(KerberosError::NoCommonEtype),
        };
        let usual = || format!("{}{}", self.client.realm, self.client.components.concat());
        let salt = named.and_then(|one| one.salt.clone()).unwrap_or_else(usual);
        let parameters = named.and_then(|one| one.parameters.as_deref());
        Key::of_password_with(etype, password, salt.as_bytes(), parameters)
            .map_err(|_| KerberosError::Malformed("the parameters for the password's key"))
    }
}

/// METHOD-DATA, §5.2.7.1.
fn read_method_data(bytes: &[u8]) -> Result<Vec<PaData>, Malformed> {
    PaData::read_all(der::Reader::new(bytes).expect(der::SEQUENCE, "METHOD-DATA")?)
}

/// The exchange in which a ticket-granting ticket becomes a ticket for a service. RFC 4120 §3.3.
#[derive(Debug)]
pub struct TgsExchange {
    nonce: u32,
    session: Key,
    client: Principal,
    service: Principal,
    began: Now,
}

impl TgsExchange {
    /// Begins: the bytes are to be sent to a KDC of the realm the ticket-granting ticket is for.
    pub fn begin(
        granting: &Credential,
        service: Principal,
        now: Now,
        random: &dyn Fn(&mut [u8]),
    ) -> Result<(TgsExchange, Vec<u8>), KerberosError> {
        let realm = granting.referred_realm().unwrap_or(&granting.service.realm).to_owned();
        let service = Principal { realm: realm.clone(), ..service };
        let request = KdcRequest {
            kind: TGS_REQ,
            padata: Vec::new(),
            options: options::CANONICALIZE,
            client: None,
            realm,
            service: Some(service.clone()),
            till: now.unix_seconds.saturating_add(LIFETIME),
            nonce: nonce(random),
            etypes: EncryptionType::KNOWN.to_vec(),
            body: Vec::new(),
        };
        let body = request.write_body();
        let session = &granting.session;
        let kind = session.etype().checksum_type().ok_or(KerberosError::NoCommonEtype)?;
        let authenticator = Authenticator {
            client: granting.client.clone(),
            checksum: Some((kind, session.checksum(usage::TGS_REQ_CHECKSUM, &body))),
            microseconds: now.microseconds,
            time: now.unix_seconds,
            subkey: None,
            sequence: None,
        };
        let value = granting.request(&authenticator, usage::TGS_REQ_AUTHENTICATOR, random);
        let bytes = KdcRequest::write(TGS_REQ, &[PaData { kind: padata::TGS_REQ, value }], &body);
        let (session, client) = (session.clone(), granting.client.clone());
        Ok((TgsExchange { nonce: request.nonce, session, client, service, began: now }, bytes))
    }

    /// Takes the answer of the KDC. A ticket for another ticket-granting service is a referral, see
    /// [`Credential::referred_realm`].
    pub fn answer(self, reply: &[u8]) -> Result<Credential, KerberosError> {
        if reply.first() == Some(&KRB_ERROR) {
            return Err(KerberosError::of(&KrbError::read(reply)?, &self.client, &self.service, self.began));
        }
        let reply = KdcReply::read(reply)?;
        if reply.kind != TGS_REP {
            return Err(KerberosError::Foreign("it is not a TGS-REP"));
        }
        let opened = reply.encrypted.decrypt(&self.session, usage::TGS_REP_SESSION_KEY);
        let part = ReplyPart::read(&opened.map_err(|_| KerberosError::Foreign("it is under another key"))?)?;
        if part.nonce != self.nonce {
            return Err(KerberosError::Foreign("its number is not ours"));
        }
        let is_referral = part.service.class() == "krbtgt";
        if !is_referral && !part.service.eq_ignoring_case(&self.service) {
            return Err(KerberosError::Foreign("its ticket is for another service"));
        }
        Ok(credential(reply, part))
    }
}

fn credential(reply: KdcReply, part: ReplyPart) -> Credential {
    Credential {
        client: reply.client,
        service: part.service,
        ticket: reply.ticket,
        session: part.key,
        flags: part.flags,
        authenticated: part.authenticated,
        ends: part.ends,
    }
}

/// 31 bits, so that no implementation takes it for a negative number.
fn nonce(random: &dyn Fn(&mut [u8])) -> u32 {
    let mut bytes = [0; 4];
    random(&mut bytes);
    u32::from_be_bytes(bytes) >> 1
}

pub(super) fn confounder(random: &dyn Fn(&mut [u8])) -> [u8; CONFOUNDER] {
    let mut bytes = [0; CONFOUNDER];
    random(&mut bytes);
    bytes
}
