//! Between client and KDC: AS-REQ, TGS-REQ, and their answers. RFC 4120 §5.2.7, §5.4.

use super::{
    AS_REQ, ENC_AS_REP_PART, ENC_TGS_REP_PART, Encrypted, MAX_LIST, TGS_REQ, Unreadable, VERSION, number, read_key,
    read_name, string, text, time, write_flags, write_key, write_name,
};
use crate::kerberos::crypto::{EncryptionType, Key};
use crate::kerberos::der::{
    self, BIT_STRING, GENERAL_STRING, GENERALIZED_TIME, INTEGER, Malformed, OCTET_STRING, Reader, SEQUENCE, context,
};
use crate::kerberos::name::Principal;
use zeroize::Zeroizing;

/// Kinds of pre-authentication data, §5.2.7.
pub(in crate::kerberos) mod padata {
    /// An AP-REQ with the ticket-granting ticket.
    pub(in crate::kerberos) const TGS_REQ: i32 = 1;
    /// A timestamp under the client's key.
    pub(in crate::kerberos) const ENC_TIMESTAMP: i32 = 2;
    /// Which encryption types and salts there are.
    pub(in crate::kerberos) const ETYPE_INFO2: i32 = 19;
}

/// KDC options, §5.4.1; bit 0 is the highest.
pub(in crate::kerberos) mod options {
    const fn bit(number: u32) -> u32 {
        1 << (31 - number)
    }

    /// The KDC may answer with another name.
    pub(in crate::kerberos) const CANONICALIZE: u32 = bit(15);

    /// What ends in another ticket than the plain one: FORWARDED, PROXY, POSTDATED, CNAME-IN-ADDL-TKT, REQUEST-ANONYMOUS,
    /// ENC-TKT-IN-SKEY, RENEW, VALIDATE.
    pub(in crate::kerberos) const SPECIAL: u32 =
        bit(2) | bit(4) | bit(6) | bit(14) | bit(16) | bit(28) | bit(30) | bit(31);
}

/// One piece of pre-authentication data.
#[derive(Debug, Clone)]
pub(in crate::kerberos) struct PaData {
    pub(in crate::kerberos) kind: i32,
    pub(in crate::kerberos) value: Vec<u8>,
}

impl PaData {
    /// A SEQUENCE OF them, from its content.
    pub(in crate::kerberos) fn read_all(content: &[u8]) -> Result<Vec<PaData>, Malformed> {
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
    pub(in crate::kerberos) fn write_all(all: &[PaData]) -> Vec<u8> {
        all.iter()
            .map(|one| der::element(SEQUENCE, &[&number(1, one.kind.into()), &der::field(2, OCTET_STRING, &one.value)]))
            .collect::<Vec<_>>()
            .concat()
    }
}

/// One line of ETYPE-INFO2: how the key comes of the password. §5.2.7.5.
#[derive(Debug, Clone)]
pub(in crate::kerberos) struct EtypeInfo {
    pub(in crate::kerberos) etype: EncryptionType,
    pub(in crate::kerberos) salt: Option<String>,
    pub(in crate::kerberos) parameters: Option<Vec<u8>>,
}

impl EtypeInfo {
    pub(in crate::kerberos) fn read_all(bytes: &[u8]) -> Result<Vec<EtypeInfo>, Malformed> {
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

    pub(in crate::kerberos) fn write_all(all: &[EtypeInfo]) -> Vec<u8> {
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
pub(in crate::kerberos) struct KdcRequest {
    /// [`AS_REQ`] or [`TGS_REQ`].
    pub(in crate::kerberos) kind: u8,
    pub(in crate::kerberos) padata: Vec<PaData>,
    pub(in crate::kerberos) options: u32,
    pub(in crate::kerberos) client: Option<Principal>,
    pub(in crate::kerberos) realm: String,
    pub(in crate::kerberos) service: Option<Principal>,
    pub(in crate::kerberos) till: i64,
    pub(in crate::kerberos) nonce: u32,
    pub(in crate::kerberos) etypes: Vec<EncryptionType>,
    /// The body as it stood in the message: checksums are over it.
    pub(in crate::kerberos) body: Vec<u8>,
}

impl KdcRequest {
    pub(in crate::kerberos) fn read(message: &[u8]) -> Result<KdcRequest, Malformed> {
        let what = "KDC-REQ";
        let mut outer = Reader::new(message);
        let (kind, content) = outer.next(what)?;
        outer.end(what)?;
        if kind != AS_REQ && kind != TGS_REQ {
            return Err(Malformed(what));
        }
        let mut fields = Reader::new(Reader::new(content).expect(SEQUENCE, what)?);
        if der::integer(fields.field(1, INTEGER, what)?, what)? != VERSION {
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
    pub(in crate::kerberos) fn write_body(&self) -> Vec<u8> {
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
    pub(in crate::kerberos) fn write(kind: u8, padata: &[PaData], body: &[u8]) -> Vec<u8> {
        let list = match padata.is_empty() {
            true => Vec::new(),
            false => der::field(3, SEQUENCE, &PaData::write_all(padata)),
        };
        let kind_number = i64::from(kind & 0x1f);
        der::element(
            kind,
            &[&der::element(
                SEQUENCE,
                &[&number(1, VERSION), &number(2, kind_number), &list, &der::element(context(4), &[body])],
            )],
        )
    }
}

/// KDC-REP, §5.4.2.
#[derive(Debug)]
pub(in crate::kerberos) struct KdcReply {
    pub(in crate::kerberos) kind: u8,
    pub(in crate::kerberos) padata: Vec<PaData>,
    pub(in crate::kerberos) client: Principal,
    /// The ticket, whole.
    pub(in crate::kerberos) ticket: Vec<u8>,
    pub(in crate::kerberos) encrypted: Encrypted,
}

impl KdcReply {
    pub(in crate::kerberos) fn read(message: &[u8]) -> Result<KdcReply, Malformed> {
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

    pub(in crate::kerberos) fn write(&self) -> Vec<u8> {
        let list = match self.padata.is_empty() {
            true => Vec::new(),
            false => der::field(2, SEQUENCE, &PaData::write_all(&self.padata)),
        };
        der::element(
            self.kind,
            &[&der::element(
                SEQUENCE,
                &[
                    &number(0, VERSION),
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
pub(in crate::kerberos) struct ReplyPart {
    pub(in crate::kerberos) key: Key,
    pub(in crate::kerberos) nonce: u32,
    pub(in crate::kerberos) flags: u32,
    pub(in crate::kerberos) authenticated: i64,
    pub(in crate::kerberos) starts: i64,
    pub(in crate::kerberos) ends: i64,
    pub(in crate::kerberos) service: Principal,
}

impl ReplyPart {
    /// Old KDCs put either tag around either part; MIT reads both.
    pub(in crate::kerberos) fn read(plain: &[u8]) -> Result<ReplyPart, Unreadable> {
        let what = "EncKDCRepPart";
        let (kind, content) = Reader::new(plain).next(what)?;
        if kind != ENC_AS_REP_PART && kind != ENC_TGS_REP_PART {
            return Err(Unreadable::Malformed(what));
        }
        let mut fields = Reader::new(Reader::new(content).expect(SEQUENCE, what)?);
        let key = read_key(fields.field(0, SEQUENCE, what)?, "session key")?;
        fields.field(1, SEQUENCE, what)?;
        let nonce = der::uint32(fields.field(2, INTEGER, what)?, "nonce")?;
        fields.optional(3, GENERALIZED_TIME, what)?;
        let flags = der::flags(fields.field(4, BIT_STRING, what)?, "flags")?;
        let authenticated = der::kerberos_time(fields.field(5, GENERALIZED_TIME, what)?, "authtime")?;
        let starts = fields.optional(6, GENERALIZED_TIME, what)?;
        let starts = starts.map(|time| der::kerberos_time(time, "starttime")).transpose()?.unwrap_or(authenticated);
        let ends = der::kerberos_time(fields.field(7, GENERALIZED_TIME, what)?, "endtime")?;
        fields.optional(8, GENERALIZED_TIME, what)?;
        let realm = text(fields.field(9, GENERAL_STRING, what)?, "srealm")?;
        let service = read_name(fields.field(10, SEQUENCE, what)?, &realm, "sname")?;
        Ok(ReplyPart { key, nonce, flags, authenticated, starts, ends, service })
    }

    /// `kind` is [`ENC_AS_REP_PART`] or [`ENC_TGS_REP_PART`].
    pub(in crate::kerberos) fn write(&self, kind: u8) -> Zeroizing<Vec<u8>> {
        let last = der::element(SEQUENCE, &[&number(0, 0), &time(1, self.authenticated)]);
        let fields = Zeroizing::new(
            [
                der::field(0, SEQUENCE, &write_key(&self.key)),
                der::field(1, SEQUENCE, &last),
                number(2, self.nonce.into()),
                der::field(4, BIT_STRING, &write_flags(self.flags)),
                time(5, self.authenticated),
                time(6, self.starts),
                time(7, self.ends),
                string(9, &self.service.realm),
                der::field(10, SEQUENCE, &write_name(&self.service)),
            ]
            .concat(),
        );
        Zeroizing::new(der::element(kind, &[&Zeroizing::new(der::element(SEQUENCE, &[&fields]))]))
    }
}
