//! The messages of Kerberos as bytes: what the client, the KDC and the service say to each other. RFC 4120 §5.
//!
//! Each type holds what the sides here need of it and no more. Fields that nobody looks at are passed over when reading
//! and left out when writing: addresses of the client (behind today's networks they say nothing), authorization data
//! (groups come from the directory, not from the ticket).

mod ap;
mod kdc;

pub(super) use ap::{ApRep, ApRepPart, ApReq, Authenticator, Ticket, TicketPart};
pub(super) use kdc::{EtypeInfo, KdcReply, KdcRequest, PaData, ReplyPart, options, padata};

use super::crypto::{CryptoError, EncryptionType, Key};
use super::der::{
    self, GENERAL_STRING, GENERALIZED_TIME, INTEGER, Malformed, OCTET_STRING, Reader, SEQUENCE, application,
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
pub(super) const AP_REP: u8 = application(15);
pub(super) const ENC_AS_REP_PART: u8 = application(25);
pub(super) const ENC_TGS_REP_PART: u8 = application(26);
pub(super) const ENC_AP_REP_PART: u8 = application(27);
pub(super) const KRB_ERROR: u8 = application(30);

/// Ticket flags, §5.3.
pub(super) mod flags {
    /// Given for a password, not for a ticket.
    pub(in crate::kerberos) const INITIAL: u32 = 1 << (31 - 9);
    /// The client proved the password before it was given.
    pub(in crate::kerberos) const PRE_AUTHENT: u32 = 1 << (31 - 10);
    /// Postdated, and not made valid yet.
    pub(in crate::kerberos) const INVALID: u32 = 1 << (31 - 7);
    /// The KDC checked the path.
    pub(in crate::kerberos) const TRANSITED_POLICY_CHECKED: u32 = 1 << (31 - 12);
}

/// Most elements that are read of one list.
const MAX_LIST: usize = 64;

/// Version of the protocol, in every message.
const VERSION: i64 = 5;

/// A message with a key in it that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// Bytes that are not what they have to be: the name of what was read.
    Malformed(&'static str),
    /// A key of a type that is not known here.
    EncryptionType(&'static str, EncryptionType),
}

impl From<Malformed> for Unreadable {
    fn from(malformed: Malformed) -> Unreadable {
        Unreadable::Malformed(malformed.0)
    }
}

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

pub(super) fn read_key(sequence: &[u8], what: &'static str) -> Result<Key, Unreadable> {
    let mut fields = Reader::new(sequence);
    let etype = EncryptionType::from_number(der::int32(fields.field(0, INTEGER, what)?, what)?);
    Key::new(etype, fields.field(1, OCTET_STRING, what)?).map_err(|error| match error {
        CryptoError::Unsupported(etype) => Unreadable::EncryptionType(what, etype),
        _ => Unreadable::Malformed(what),
    })
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

/// KRB-ERROR, §5.9.1.
#[derive(Debug)]
pub(super) struct KrbError {
    pub(super) code: i32,
    pub(super) time: i64,
    /// Where the client is to ask instead, in error 68. RFC 6806 §7.
    pub(super) client_realm: Option<String>,
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
        let client_realm =
            fields.optional(7, GENERAL_STRING, what)?.map(|content| text(content, "crealm")).transpose()?;
        fields.optional(8, SEQUENCE, what)?;
        let realm = text(fields.field(9, GENERAL_STRING, what)?, "realm")?;
        let service = read_name(fields.field(10, SEQUENCE, what)?, &realm, "sname")?;
        let words = fields.optional(11, GENERAL_STRING, what)?;
        let words = words.map(|content| String::from_utf8_lossy(content).into_owned());
        let data = fields.optional(12, OCTET_STRING, what)?.map(<[u8]>::to_vec);
        Ok(KrbError { code, time, client_realm, realm, service, words, data })
    }

    pub(super) fn write(&self) -> Vec<u8> {
        der::element(
            KRB_ERROR,
            &[&der::element(
                SEQUENCE,
                &[
                    &number(0, VERSION),
                    &number(1, 30),
                    &time(4, self.time),
                    &number(5, 0),
                    &number(6, self.code.into()),
                    &self.client_realm.as_ref().map(|realm| string(7, realm)).unwrap_or_default(),
                    &string(9, &self.realm),
                    &der::field(10, SEQUENCE, &write_name(&self.service)),
                    &self.words.as_ref().map(|words| string(11, words)).unwrap_or_default(),
                    &self.data.as_ref().map(|data| der::field(12, OCTET_STRING, data)).unwrap_or_default(),
                ],
            )],
        )
    }
}
