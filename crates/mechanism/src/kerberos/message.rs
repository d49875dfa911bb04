//! The messages between a client and a KDC, as bytes. RFC 4120 §5.
//!
//! Each type holds what one side needs of it and no more; fields that nobody here looks at are passed over when reading
//! and left out when writing.

use super::crypto::{CryptoError, EncryptionType, Key};
use super::der::{
    self, BIT_STRING, GENERAL_STRING, GENERALIZED_TIME, INTEGER, Malformed, OCTET_STRING, Reader, SEQUENCE,
    application, context,
};
use super::name::{NameError, NameType, Principal};
use zeroize::Zeroizing;

/// Application tags, RFC 4120 §5.10.
pub(super) const TICKET: u8 = application(1);
pub(super) const AUTHENTICATOR: u8 = application(2);
pub(super) const ENC_TICKET_PART: u8 = application(3);
pub(super) const AS_REQ: u8 = application(10);
pub(super) const AS_REP: u8 = application(11);
pub(super) const TGS_REQ: u8 = application(12);
pub(super) const TGS_REP: u8 = application(13);
pub(super) const AP_REQ: u8 = application(14);
pub(super) const ENC_AS_REP_PART: u8 = application(25);
pub(super) const ENC_TGS_REP_PART: u8 = application(26);
pub(super) const KRB_ERROR: u8 = application(30);

/// Kinds of pre-authentication data, §5.2.7.
pub(super) mod padata {
    /// An AP-REQ with the ticket-granting ticket.
    pub(in super::super) const TGS_REQ: i32 = 1;
    /// A timestamp under the client's key.
    pub(in super::super) const ENC_TIMESTAMP: i32 = 2;
    /// Which encryption types and salts there are.
    pub(in super::super) const ETYPE_INFO2: i32 = 19;
}

/// KDC options, §5.4.1; bit 0 is the highest.
pub(super) mod options {
    /// The KDC may answer with another name.
    pub(in super::super) const CANONICALIZE: u32 = 1 << (31 - 15);
    /// The new ticket is encrypted with the key of another.
    pub(in super::super) const ENC_TKT_IN_SKEY: u32 = 1 << (31 - 28);
    /// Make an old ticket last longer.
    pub(in super::super) const RENEW: u32 = 1 << (31 - 30);
    /// Make a postdated ticket valid.
    pub(in super::super) const VALIDATE: u32 = 1 << 0;
}

/// Ticket flags, §5.3.
pub(super) mod flags {
    /// Given for a password, not for a ticket.
    pub(in super::super) const INITIAL: u32 = 1 << (31 - 9);
    /// The client proved the password before it was given.
    pub(in super::super) const PRE_AUTHENT: u32 = 1 << (31 - 10);
}

/// Most etypes and pre-authentication data read of one message.
const MAX_LIST: usize = 64;

/// Encrypted, with the number of the key's version where it is known.
#[derive(Debug, Clone)]
pub(super) struct Encrypted {
    pub(super) etype: EncryptionType,
    pub(super) kvno: Option<u32>,
    pub(super) cipher: Vec<u8>,
}

impl Encrypted {
    pub(super) fn read(sequence: &[u8], what: &'static str) -> Result<Encrypted, Malformed> {
        let mut fields = Reader::new(sequence);
        let etype = der::int32(fields.field(0, INTEGER, what)?, what)?;
        let kvno = fields.optional(1, INTEGER, what)?.map(|content| der::uint32(content, what)).transpose()?;
        let cipher = fields.field(2, OCTET_STRING, what)?.to_vec();
        Ok(Encrypted { etype: EncryptionType::from_number(etype), kvno, cipher })
    }

    /// The content of its SEQUENCE.
    pub(super) fn write(&self) -> Vec<u8> {
        let etype = der::field(0, INTEGER, &der::integer_content(self.etype.number().into()));
        let kvno = self.kvno.map(|kvno| der::field(1, INTEGER, &der::integer_content(kvno.into()))).unwrap_or_default();
        [etype, kvno, der::field(2, OCTET_STRING, &self.cipher)].concat()
    }

    pub(super) fn decrypt(&self, key: &Key, usage: u32) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        if key.etype() != self.etype {
            return Err(CryptoError::Integrity);
        }
        key.decrypt(usage, &self.cipher)
    }
}

/// The content of a PrincipalName's SEQUENCE.
pub(super) fn write_name(name: &Principal) -> Vec<u8> {
    let strings: Vec<Vec<u8>> =
        name.components.iter().map(|text| der::element(GENERAL_STRING, &[text.as_bytes()])).collect();
    let number = der::field(0, INTEGER, &der::integer_content(name.name_type.number().into()));
    [number, der::field(1, SEQUENCE, &strings.concat())].concat()
}

/// A PrincipalName in this realm.
pub(super) fn read_name(sequence: &[u8], realm: &str, what: &'static str) -> Result<Principal, Malformed> {
    let mut fields = Reader::new(sequence);
    let number = der::int32(fields.field(0, INTEGER, what)?, what)?;
    let mut strings = Reader::new(fields.field(1, SEQUENCE, what)?);
    let mut components = Vec::new();
    while !strings.is_empty() {
        components.push(text(strings.expect(GENERAL_STRING, what)?, what)?);
        if components.len() > MAX_LIST {
            return Err(Malformed(what));
        }
    }
    Principal::new(NameType::from_number(number), components, realm.to_owned()).map_err(|_: NameError| Malformed(what))
}

pub(super) fn text(content: &[u8], what: &'static str) -> Result<String, Malformed> {
    std::str::from_utf8(content).map(str::to_owned).map_err(|_| Malformed(what))
}

/// The content of a BIT STRING of 32 flags.
pub(super) fn write_flags(flags: u32) -> Vec<u8> {
    [&[0][..], &flags.to_be_bytes()].concat()
}

/// The content of an EncryptionKey's SEQUENCE.
pub(super) fn write_key(key: &Key) -> Zeroizing<Vec<u8>> {
    let kind = der::field(0, INTEGER, &der::integer_content(key.etype().number().into()));
    Zeroizing::new([kind, der::field(1, OCTET_STRING, key.bytes())].concat())
}

pub(super) fn read_key(sequence: &[u8], what: &'static str) -> Result<Key, Malformed> {
    let mut fields = Reader::new(sequence);
    let etype = der::int32(fields.field(0, INTEGER, what)?, what)?;
    Key::new(EncryptionType::from_number(etype), fields.field(1, OCTET_STRING, what)?).map_err(|_| Malformed(what))
}

pub(super) fn number(field: u8, value: i64) -> Vec<u8> {
    der::field(field, INTEGER, &der::integer_content(value))
}

pub(super) fn time(field: u8, unix_seconds: i64) -> Vec<u8> {
    der::field(field, GENERALIZED_TIME, &der::kerberos_time_content(unix_seconds))
}

pub(super) fn string(field: u8, text: &str) -> Vec<u8> {
    der::field(field, GENERAL_STRING, text.as_bytes())
}

/// One piece of pre-authentication data.
#[derive(Debug, Clone)]
pub(super) struct PaData {
    pub(super) kind: i32,
    pub(super) value: Vec<u8>,
}

impl PaData {
    /// A SEQUENCE OF them, from its content.
    pub(super) fn read_all(content: &[u8]) -> Result<Vec<PaData>, Malformed> {
        let what = "padata";
        let mut list = Reader::new(content);
        let mut all = Vec::new();
        while !list.is_empty() {
            let mut fields = Reader::new(list.expect(SEQUENCE, what)?);
            let kind = der::int32(fields.field(1, INTEGER, what)?, what)?;
            all.push(PaData { kind, value: fields.field(2, OCTET_STRING, what)?.to_vec() });
            if all.len() > MAX_LIST {
                return Err(Malformed(what));
            }
        }
        Ok(all)
    }

    /// The content of a SEQUENCE OF them.
    pub(super) fn write_all(all: &[PaData]) -> Vec<u8> {
        all.iter()
            .map(|one| der::element(SEQUENCE, &[&number(1, one.kind.into()), &der::field(2, OCTET_STRING, &one.value)]))
            .collect::<Vec<_>>()
            .concat()
    }
}

/// One line of ETYPE-INFO2: how the key comes of the password. §5.2.7.5.
#[derive(Debug, Clone)]
pub(super) struct EtypeInfo {
    pub(super) etype: EncryptionType,
    pub(super) salt: Option<String>,
    pub(super) parameters: Option<Vec<u8>>,
}

impl EtypeInfo {
    pub(super) fn read_all(bytes: &[u8]) -> Result<Vec<EtypeInfo>, Malformed> {
        let what = "ETYPE-INFO2";
        let mut list = Reader::new(Reader::new(bytes).expect(SEQUENCE, what)?);
        let mut all = Vec::new();
        while !list.is_empty() {
            let mut fields = Reader::new(list.expect(SEQUENCE, what)?);
            let etype = EncryptionType::from_number(der::int32(fields.field(0, INTEGER, what)?, what)?);
            let salt = fields.optional(1, GENERAL_STRING, what)?.map(|content| text(content, what)).transpose()?;
            let parameters = fields.optional(2, OCTET_STRING, what)?.map(<[u8]>::to_vec);
            all.push(EtypeInfo { etype, salt, parameters });
            if all.len() > MAX_LIST {
                return Err(Malformed(what));
            }
        }
        Ok(all)
    }

    pub(super) fn write_all(all: &[EtypeInfo]) -> Vec<u8> {
        let entries: Vec<Vec<u8>> = all
            .iter()
            .map(|one| {
                let salt = one.salt.as_ref().map(|salt| string(1, salt)).unwrap_or_default();
                let parameters =
                    one.parameters.as_ref().map(|bytes| der::field(2, OCTET_STRING, bytes)).unwrap_or_default();
                der::element(SEQUENCE, &[&number(0, one.etype.number().into()), &salt, &parameters])
            })
            .collect();
        der::element(SEQUENCE, &[&entries.concat()])
    }
}

/// KDC-REQ, §5.4.1.
#[derive(Debug)]
pub(super) struct KdcRequest {
    /// [`AS_REQ`] or [`TGS_REQ`].
    pub(super) kind: u8,
    pub(super) padata: Vec<PaData>,
    pub(super) options: u32,
    pub(super) client: Option<Principal>,
    pub(super) realm: String,
    pub(super) service: Option<Principal>,
    pub(super) till: i64,
    pub(super) nonce: u32,
    pub(super) etypes: Vec<EncryptionType>,
    /// The body as it stood in the message: checksums are over it.
    pub(super) body: Vec<u8>,
}

impl KdcRequest {
    pub(super) fn read(message: &[u8]) -> Result<KdcRequest, Malformed> {
        let what = "KDC-REQ";
        let mut outer = Reader::new(message);
        let (kind, content) = outer.next(what)?;
        outer.end(what)?;
        if kind != AS_REQ && kind != TGS_REQ {
            return Err(Malformed(what));
        }
        let mut fields = Reader::new(Reader::new(content).expect(SEQUENCE, what)?);
        if der::integer(fields.field(1, INTEGER, what)?, what)? != 5 {
            return Err(Malformed("protocol version"));
        }
        fields.field(2, INTEGER, what)?;
        let padata = fields.optional(3, SEQUENCE, what)?.map(PaData::read_all).transpose()?.unwrap_or_default();
        let body = fields.expect(context(4), what)?.to_vec();
        let mut inner = Reader::new(Reader::new(&body).expect(SEQUENCE, what)?);
        let options = der::flags(inner.field(0, BIT_STRING, what)?, what)?;
        let client = inner.optional(1, SEQUENCE, what)?;
        let realm = text(inner.field(2, GENERAL_STRING, what)?, "realm")?;
        let client = client.map(|name| read_name(name, &realm, "cname")).transpose()?;
        let service = inner.optional(3, SEQUENCE, what)?;
        let service = service.map(|name| read_name(name, &realm, "sname")).transpose()?;
        inner.optional(4, GENERALIZED_TIME, what)?;
        let till = der::kerberos_time(inner.field(5, GENERALIZED_TIME, what)?, "till")?;
        inner.optional(6, GENERALIZED_TIME, what)?;
        let nonce = der::uint32(inner.field(7, INTEGER, what)?, "nonce")?;
        let mut list = Reader::new(inner.field(8, SEQUENCE, what)?);
        let mut etypes = Vec::new();
        while !list.is_empty() && etypes.len() < MAX_LIST {
            etypes.push(EncryptionType::from_number(der::int32(list.expect(INTEGER, "etype")?, "etype")?));
        }
        Ok(KdcRequest { kind, padata, options, client, realm, service, till, nonce, etypes, body })
    }

    /// The body of a request of ours.
    pub(super) fn write_body(&self) -> Vec<u8> {
        let name = |field: u8, name: &Option<Principal>| {
            name.as_ref().map(|name| der::field(field, SEQUENCE, &write_name(name))).unwrap_or_default()
        };
        let etypes: Vec<Vec<u8>> = self
            .etypes
            .iter()
            .map(|etype| der::element(INTEGER, &[&der::integer_content(etype.number().into())]))
            .collect();
        der::element(
            SEQUENCE,
            &[
                &der::field(0, BIT_STRING, &write_flags(self.options)),
                &name(1, &self.client),
                &string(2, &self.realm),
                &name(3, &self.service),
                &time(5, self.till),
                &number(7, self.nonce.into()),
                &der::field(8, SEQUENCE, &etypes.concat()),
            ],
        )
    }

    /// The whole message around a body.
    pub(super) fn write(kind: u8, padata: &[PaData], body: &[u8]) -> Vec<u8> {
        let list = match padata.is_empty() {
            true => Vec::new(),
            false => der::field(3, SEQUENCE, &PaData::write_all(padata)),
        };
        let kind_number = i64::from(kind & 0x1f);
        der::element(
            kind,
            &[&der::element(
                SEQUENCE,
                &[&number(1, 5), &number(2, kind_number), &list, &der::element(context(4), &[body])],
            )],
        )
    }
}

/// KDC-REP, §5.4.2.
#[derive(Debug)]
pub(super) struct KdcReply {
    pub(super) kind: u8,
    pub(super) padata: Vec<PaData>,
    pub(super) client: Principal,
    /// The ticket, whole.
    pub(super) ticket: Vec<u8>,
    pub(super) encrypted: Encrypted,
}

impl KdcReply {
    pub(super) fn read(message: &[u8]) -> Result<KdcReply, Malformed> {
        let what = "KDC-REP";
        let (kind, content) = Reader::new(message).next(what)?;
        let mut fields = Reader::new(Reader::new(content).expect(SEQUENCE, what)?);
        fields.field(0, INTEGER, what)?;
        fields.field(1, INTEGER, what)?;
        let padata = fields.optional(2, SEQUENCE, what)?.map(PaData::read_all).transpose()?.unwrap_or_default();
        let realm = text(fields.field(3, GENERAL_STRING, what)?, "crealm")?;
        let client = read_name(fields.field(4, SEQUENCE, what)?, &realm, "cname")?;
        let ticket = fields.expect(context(5), what)?.to_vec();
        let encrypted = Encrypted::read(fields.field(6, SEQUENCE, what)?, what)?;
        Ok(KdcReply { kind, padata, client, ticket, encrypted })
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let list = match self.padata.is_empty() {
            true => Vec::new(),
            false => der::field(2, SEQUENCE, &PaData::write_all(&self.padata)),
        };
        der::element(
            self.kind,
            &[&der::element(
                SEQUENCE,
                &[
                    &number(0, 5),
                    &number(1, i64::from(self.kind & 0x1f)),
                    &list,
                    &string(3, &self.client.realm),
                    &der::field(4, SEQUENCE, &write_name(&self.client)),
                    &der::element(context(5), &[&self.ticket]),
                    &der::field(6, SEQUENCE, &self.encrypted.write()),
                ],
            )],
        )
    }
}

/// EncKDCRepPart, §5.4.2: what the client learns of its ticket.
#[derive(Debug)]
pub(super) struct ReplyPart {
    pub(super) key: Key,
    pub(super) nonce: u32,
    pub(super) flags: u32,
    pub(super) authenticated: i64,
    pub(super) ends: i64,
    pub(super) service: Principal,
}

impl ReplyPart {
    /// Old KDCs put either tag around either part; MIT reads both.
    pub(super) fn read(plain: &[u8]) -> Result<ReplyPart, Malformed> {
        let what = "EncKDCRepPart";
        let (kind, content) = Reader::new(plain).next(what)?;
        if kind != ENC_AS_REP_PART && kind != ENC_TGS_REP_PART {
            return Err(Malformed(what));
        }
        let mut fields = Reader::new(Reader::new(content).expect(SEQUENCE, what)?);
        let key = read_key(fields.field(0, SEQUENCE, what)?, "session key")?;
        fields.field(1, SEQUENCE, what)?;
        let nonce = der::uint32(fields.field(2, INTEGER, what)?, "nonce")?;
        fields.optional(3, GENERALIZED_TIME, what)?;
        let flags = der::flags(fields.field(4, BIT_STRING, what)?, "flags")?;
        let authenticated = der::kerberos_time(fields.field(5, GENERALIZED_TIME, what)?, "authtime")?;
        fields.optional(6, GENERALIZED_TIME, what)?;
        let ends = der::kerberos_time(fields.field(7, GENERALIZED_TIME, what)?, "endtime")?;
        fields.optional(8, GENERALIZED_TIME, what)?;
        let realm = text(fields.field(9, GENERAL_STRING, what)?, "srealm")?;
        let service = read_name(fields.field(10, SEQUENCE, what)?, &realm, "sname")?;
        Ok(ReplyPart { key, nonce, flags, authenticated, ends, service })
    }

    /// `kind` is [`ENC_AS_REP_PART`] or [`ENC_TGS_REP_PART`].
    pub(super) fn write(&self, kind: u8) -> Zeroizing<Vec<u8>> {
        let last = der::element(SEQUENCE, &[&number(0, 0), &time(1, self.authenticated)]);
        let fields = Zeroizing::new(
            [
                der::field(0, SEQUENCE, &write_key(&self.key)),
                der::field(1, SEQUENCE, &last),
                number(2, self.nonce.into()),
                der::field(4, BIT_STRING, &write_flags(self.flags)),
                time(5, self.authenticated),
                time(7, self.ends),
                string(9, &self.service.realm),
                der::field(10, SEQUENCE, &write_name(&self.service)),
            ]
            .concat(),
        );
        Zeroizing::new(der::element(kind, &[&Zeroizing::new(der::element(SEQUENCE, &[&fields]))]))
    }
}

/// Ticket, §5.3, closed.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    pub(super) service: Principal,
    pub(super) encrypted: Encrypted,
}

impl Ticket {
    pub(super) fn read(bytes: &[u8]) -> Result<Ticket, Malformed> {
        let what = "Ticket";
        let content = Reader::new(bytes).expect(TICKET, what)?;
        let mut fields = Reader::new(Reader::new(content).expect(SEQUENCE, what)?);
        fields.field(0, INTEGER, what)?;
        let realm = text(fields.field(1, GENERAL_STRING, what)?, "realm")?;
        let service = read_name(fields.field(2, SEQUENCE, what)?, &realm, "sname")?;
        let encrypted = Encrypted::read(fields.field(3, SEQUENCE, what)?, what)?;
        Ok(Ticket { service, encrypted })
    }

    pub(super) fn write(&self) -> Vec<u8> {
        der::element(
            TICKET,
            &[&der::element(
                SEQUENCE,
                &[
                    &number(0, 5),
                    &string(1, &self.service.realm),
                    &der::field(2, SEQUENCE, &write_name(&self.service)),
                    &der::field(3, SEQUENCE, &self.encrypted.write()),
                ],
            )],
        )
    }
}

/// EncTicketPart, §5.3: what the service learns.
#[derive(Debug)]
pub(super) struct TicketPart {
    pub(super) flags: u32,
    pub(super) key: Key,
    pub(super) client: Principal,
    pub(super) authenticated: i64,
    pub(super) ends: i64,
}

impl TicketPart {
    pub(super) fn read(plain: &[u8]) -> Result<TicketPart, Malformed> {
        let what = "EncTicketPart";
        let content = Reader::new(plain).expect(ENC_TICKET_PART, what)?;
        let mut fields = Reader::new(Reader::new(content).expect(SEQUENCE, what)?);
        let flags = der::flags(fields.field(0, BIT_STRING, what)?, what)?;
        let key = read_key(fields.field(1, SEQUENCE, what)?, "session key")?;
        let realm = text(fields.field(2, GENERAL_STRING, what)?, "crealm")?;
        let client = read_name(fields.field(3, SEQUENCE, what)?, &realm, "cname")?;
        fields.field(4, SEQUENCE, what)?;
        let authenticated = der::kerberos_time(fields.field(5, GENERALIZED_TIME, what)?, "authtime")?;
        fields.optional(6, GENERALIZED_TIME, what)?;
        let ends = der::kerberos_time(fields.field(7, GENERALIZED_TIME, what)?, "endtime")?;
        Ok(TicketPart { flags, key, client, authenticated, ends })
    }

    pub(super) fn write(&self) -> Zeroizing<Vec<u8>> {
        // DOMAIN-X500-COMPRESS and nothing passed: acceptors of MIT refuse any other way to say that.
        let transited = [number(0, 1), der::field(1, OCTET_STRING, &[])].concat();
        let fields = Zeroizing::new(
            [
                der::field(0, BIT_STRING, &write_flags(self.flags)),
                der::field(1, SEQUENCE, &write_key(&self.key)),
                string(2, &self.client.realm),
                der::field(3, SEQUENCE, &write_name(&self.client)),
                der::field(4, SEQUENCE, &transited),
                time(5, self.authenticated),
                time(6, self.authenticated),
                time(7, self.ends),
            ]
            .concat(),
        );
        Zeroizing::new(der::element(ENC_TICKET_PART, &[&Zeroizing::new(der::element(SEQUENCE, &[&fields]))]))
    }
}

/// AP-REQ, §5.5.1, closed.
#[derive(Debug)]
pub(super) struct ApReq {
    pub(super) ticket: Vec<u8>,
    pub(super) authenticator: Encrypted,
}

impl ApReq {
    pub(super) fn read(message: &[u8]) -> Result<ApReq, Malformed> {
        let what = "AP-REQ";
        let content = Reader::new(message).expect(AP_REQ, what)?;
        let mut fields = Reader::new(Reader::new(content).expect(SEQUENCE, what)?);
        fields.field(0, INTEGER, what)?;
        fields.field(1, INTEGER, what)?;
        fields.field(2, BIT_STRING, what)?;
        let ticket = fields.expect(context(3), what)?.to_vec();
        let authenticator = Encrypted::read(fields.field(4, SEQUENCE, what)?, what)?;
        Ok(ApReq { ticket, authenticator })
    }

    pub(super) fn write(&self) -> Vec<u8> {
        der::element(
            AP_REQ,
            &[&der::element(
                SEQUENCE,
                &[
                    &number(0, 5),
                    &number(1, 14),
                    &der::field(2, BIT_STRING, &write_flags(0)),
                    &der::element(context(3), &[&self.ticket]),
                    &der::field(4, SEQUENCE, &self.authenticator.write()),
                ],
            )],
        )
    }
}

/// Authenticator, §5.5.1.
#[derive(Debug)]
pub(super) struct Authenticator {
    pub(super) client: Principal,
    /// Type and value.
    pub(super) checksum: Option<(i32, Vec<u8>)>,
    pub(super) microseconds: u32,
    pub(super) time: i64,
    pub(super) subkey: Option<Key>,
    pub(super) sequence: Option<u32>,
}

impl Authenticator {
    pub(super) fn read(plain: &[u8]) -> Result<Authenticator, Malformed> {
        let what = "Authenticator";
        let content = Reader::new(plain).expect(AUTHENTICATOR, what)?;
        let mut fields = Reader::new(Reader::new(content).expect(SEQUENCE, what)?);
        fields.field(0, INTEGER, what)?;
        let realm = text(fields.field(1, GENERAL_STRING, what)?, "crealm")?;
        let client = read_name(fields.field(2, SEQUENCE, what)?, &realm, "cname")?;
        let checksum = match fields.optional(3, SEQUENCE, what)? {
            None => None,
            Some(content) => {
                let mut inner = Reader::new(content);
                let kind = der::int32(inner.field(0, INTEGER, what)?, "checksum")?;
                Some((kind, inner.field(1, OCTET_STRING, what)?.to_vec()))
            }
        };
        let microseconds = der::uint32(fields.field(4, INTEGER, what)?, "cusec")?;
        let time = der::kerberos_time(fields.field(5, GENERALIZED_TIME, what)?, "ctime")?;
        let subkey = fields.optional(6, SEQUENCE, what)?.map(|content| read_key(content, "subkey")).transpose()?;
        let sequence =
            fields.optional(7, INTEGER, what)?.map(|content| der::uint32(content, "seq-number")).transpose()?;
        Ok(Authenticator { client, checksum, microseconds, time, subkey, sequence })
    }

    pub(super) fn write(&self) -> Zeroizing<Vec<u8>> {
        let checksum = self.checksum.as_ref().map(|(kind, value)| {
            der::field(3, SEQUENCE, &[number(0, (*kind).into()), der::field(1, OCTET_STRING, value)].concat())
        });
        let subkey = self.subkey.as_ref().map(|key| der::field(6, SEQUENCE, &write_key(key)));
        let sequence = self.sequence.map(|sequence| number(7, sequence.into()));
        let fields = Zeroizing::new(
            [
                number(0, 5),
                string(1, &self.client.realm),
                der::field(2, SEQUENCE, &write_name(&self.client)),
                checksum.unwrap_or_default(),
                number(4, self.microseconds.into()),
                time(5, self.time),
                subkey.unwrap_or_default(),
                sequence.unwrap_or_default(),
            ]
            .concat(),
        );
        Zeroizing::new(der::element(AUTHENTICATOR, &[&Zeroizing::new(der::element(SEQUENCE, &[&fields]))]))
    }
}

/// KRB-ERROR, §5.9.1.
#[derive(Debug)]
pub(super) struct KrbError {
    pub(super) code: i32,
    pub(super) time: i64,
    pub(super) realm: String,
    pub(super) service: Principal,
    pub(super) words: Option<String>,
    pub(super) data: Option<Vec<u8>>,
}

impl KrbError {
    pub(super) fn read(message: &[u8]) -> Result<KrbError, Malformed> {
        let what = "KRB-ERROR";
        let content = Reader::new(message).expect(KRB_ERROR, what)?;
        let mut fields = Reader::new(Reader::new(content).expect(SEQUENCE, what)?);
        fields.field(0, INTEGER, what)?;
        fields.field(1, INTEGER, what)?;
        fields.optional(2, GENERALIZED_TIME, what)?;
        fields.optional(3, INTEGER, what)?;
        let time = der::kerberos_time(fields.field(4, GENERALIZED_TIME, what)?, "stime")?;
        fields.field(5, INTEGER, what)?;
        let code = der::int32(fields.field(6, INTEGER, what)?, "error-code")?;
        fields.optional(7, GENERAL_STRING, what)?;
        fields.optional(8, SEQUENCE, what)?;
        let realm = text(fields.field(9, GENERAL_STRING, what)?, "realm")?;
        let service = read_name(fields.field(10, SEQUENCE, what)?, &realm, "sname")?;
        let words = fields.optional(11, GENERAL_STRING, what)?;
        let words = words.map(|content| String::from_utf8_lossy(content).into_owned());
        let data = fields.optional(12, OCTET_STRING, what)?.map(<[u8]>::to_vec);
        Ok(KrbError { code, time, realm, service, words, data })
    }

    pub(super) fn write(&self) -> Vec<u8> {
        der::element(
            KRB_ERROR,
            &[&der::element(
                SEQUENCE,
                &[
                    &number(0, 5),
                    &number(1, 30),
                    &time(4, self.time),
                    &number(5, 0),
                    &number(6, self.code.into()),
                    &string(9, &self.realm),
                    &der::field(10, SEQUENCE, &write_name(&self.service)),
                    &self.words.as_ref().map(|words| string(11, words)).unwrap_or_default(),
                    &self.data.as_ref().map(|data| der::field(12, OCTET_STRING, data)).unwrap_or_default(),
                ],
            )],
        )
    }
}
