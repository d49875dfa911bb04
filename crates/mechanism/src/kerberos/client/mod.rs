//! The client's half: from a password or a ticket to a token for a service. RFC 4120 §3.
//!
//! ```text
//!  AsExchange::begin ── AS-REQ ──► KDC ── KRB-ERROR 25, salts ──► answer ── AS-REQ, timestamp ──► KDC ── AS-REP ──► Done
//!  TgsExchange::begin ─ TGS-REQ ─► KDC ── TGS-REP ──► answer: a ticket for the service
//!  Credential::ap_request: a token, and the keys that sign messages
//!  Credential::ap_request_mutual ── AP-REQ ──► service ── AP-REP ──► answer: the keys
//! ```
//!
//! Each exchange is a value that holds what its answer is checked against; whoever called moves the bytes. A KDC chooses
//! among the encryption types it is offered, and whoever can alter its first answer chooses in its place: who wants no
//! RC4-HMAC does not offer it. Absent: forwarding, renewing, certificates and second factors (PKINIT, OTP), FAST.

mod credential;
mod error;
#[cfg(test)]
mod tests;

pub use credential::{ApOptions, ApRequest, AwaitingApReply, Credential};
pub use error::KerberosError;

use super::Now;
use super::crypto::{CONFOUNDER, EncryptionType, Key, usage};
use super::der::{self, Malformed};
use super::message::{
    AS_REP, AS_REQ, Authenticator, Encrypted, EtypeInfo, KRB_ERROR, KdcReply, KdcRequest, KrbError, PaData, ReplyPart,
    TGS_REP, TGS_REQ, number, options, padata, time,
};
use super::name::{NameType, Principal};

/// How long a ticket is asked for, seconds: a working day. KDCs give less when they want to.
const LIFETIME: i64 = 10 * 3600;

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
    /// Begins: the bytes are to be sent to a KDC of the client's realm. `types` are those it may choose among, best first.
    pub fn begin(
        client: Principal,
        types: &[EncryptionType],
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
            etypes: types.to_vec(),
            body: Vec::new(),
        };
        request.body = request.write_body();
        let bytes = KdcRequest::write(AS_REQ, &[], &request.body);
        Ok((AsExchange { request, client, service, key: None }, bytes))
    }

    /// Takes an answer of the KDC.
    pub fn answer(
        self,
        reply: &[u8],
        password: &str,
        now: Now,
        random: &dyn Fn(&mut [u8]),
    ) -> Result<AsStep, KerberosError> {
        if reply.first() == Some(&KRB_ERROR) {
            let error = KrbError::read(reply)?;
            return match (error.code, &self.key) {
                (25, None) => self.prove(&error, password, now, random),
                // So old KDCs say that the timestamp does not open.
                (31, Some(_)) => Err(KerberosError::WrongPassword(self.client.familiar())),
                _ => Err(KerberosError::of(&error, &self.client, &self.service, now)),
            };
        }
        let reply = KdcReply::read(reply)?;
        if reply.kind != AS_REP {
            return Err(KerberosError::Foreign("it is not an AS-REP"));
        }
        let key = match &self.key {
            Some(key) if key.etype() == reply.encrypted.etype => key.clone(),
            _ if !self.request.etypes.contains(&reply.encrypted.etype) => return Err(KerberosError::NoCommonEtype),
            _ => self.key_of(password, &reply.padata, Some(reply.encrypted.etype))?,
        };
        let opened = reply.encrypted.decrypt(&key, usage::AS_REP);
        let part = ReplyPart::read(&opened.map_err(|_| KerberosError::WrongPassword(self.client.familiar()))?)?;
        if part.nonce != self.request.nonce {
            return Err(KerberosError::Foreign("its number is not ours"));
        }
        if !part.service.eq_ignoring_case(&self.service) {
            return Err(KerberosError::Foreign("its ticket is for another service"));
        }
        let renamed = self.request.options & options::CANONICALIZE != 0;
        let same_realm = reply.client.realm.eq_ignore_ascii_case(&self.client.realm);
        if !same_realm || !renamed && !reply.client.eq_ignoring_case(&self.client) {
            return Err(KerberosError::Foreign("it is about another user"));
        }
        credential(reply, part, &self.request.etypes).map(AsStep::Done)
    }

    /// The request again, with a timestamp under the password's key. RFC 4120 §5.2.7.2.
    fn prove(
        mut self,
        error: &KrbError,
        password: &str,
        now: Now,
        random: &dyn Fn(&mut [u8]),
    ) -> Result<AsStep, KerberosError> {
        let data = error.data.as_deref().map(read_method_data).transpose()?.unwrap_or_default();
        if !data.is_empty() && data.iter().all(|one| one.kind != padata::ENC_TIMESTAMP) {
            return Err(KerberosError::OtherProof(self.client.familiar()));
        }
        let key = self.key_of(password, &data, None)?;
        let timestamp = der::element(der::SEQUENCE, &[&time(0, now.unix_seconds), &number(1, now.microseconds.into())]);
        let cipher = key.encrypt(usage::AS_REQ_TIMESTAMP, &timestamp, &confounder(random));
        let encrypted = Encrypted { etype: key.etype(), kvno: None, cipher };
        let value = der::element(der::SEQUENCE, &[&encrypted.write()]);
        let bytes = KdcRequest::write(AS_REQ, &[PaData { kind: padata::ENC_TIMESTAMP, value }], &self.request.body);
        self.key = Some(key);
        Ok(AsStep::Send(Box::new(self), bytes))
    }

    /// The password's key, as the KDC says it is made; of this type, or of the best it names.
    fn key_of(&self, password: &str, data: &[PaData], etype: Option<EncryptionType>) -> Result<Key, KerberosError> {
        let info = data.iter().find(|one| one.kind == padata::ETYPE_INFO2);
        let info = info.map(|one| EtypeInfo::read_all(&one.value)).transpose()?.unwrap_or_default();
        let fits = |one: &&EtypeInfo| match etype {
            Some(etype) => one.etype == etype,
            None => self.request.etypes.contains(&one.etype),
        };
        let named = info.iter().find(fits);
        let etype = named.map(|one| one.etype).or(etype);
        let etype = match etype {
            Some(etype) => etype,
            None if info.is_empty() => *self.request.etypes.first().ok_or(KerberosError::NoCommonEtype)?,
            None => return Err(KerberosError::NoCommonEtype),
        };
        let salt = named.and_then(|one| one.salt.clone()).unwrap_or_else(|| self.client.default_salt());
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
    types: Vec<EncryptionType>,
    began: Now,
}

impl TgsExchange {
    /// Begins: the bytes are to be sent to a KDC of the realm the ticket-granting ticket is for. `types` are those the
    /// session key may have, best first.
    pub fn begin(
        granting: &Credential,
        service: Principal,
        types: &[EncryptionType],
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
            etypes: types.to_vec(),
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
        let value = granting.request(&authenticator, usage::TGS_REQ_AUTHENTICATOR, 0, random);
        let bytes = KdcRequest::write(TGS_REQ, &[PaData { kind: padata::TGS_REQ, value }], &body);
        let (session, client) = (session.clone(), granting.client.clone());
        let types = request.etypes;
        Ok((TgsExchange { nonce: request.nonce, session, client, service, types, began: now }, bytes))
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
        if !reply.client.eq_ignoring_case(&self.client) {
            return Err(KerberosError::Foreign("it is about another user"));
        }
        credential(reply, part, &self.types)
    }
}

fn credential(reply: KdcReply, part: ReplyPart, types: &[EncryptionType]) -> Result<Credential, KerberosError> {
    if !types.contains(&part.key.etype()) {
        return Err(KerberosError::NoCommonEtype);
    }
    Ok(Credential {
        client: reply.client,
        service: part.service,
        ticket: reply.ticket,
        session: part.key,
        flags: part.flags,
        authenticated: part.authenticated,
        starts: part.starts,
        ends: part.ends,
    })
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
