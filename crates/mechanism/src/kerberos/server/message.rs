//! The messages of the AP exchange, RFC 4120 §5.5, and the error that takes the place of its answer, §5.9.
//!
//! What a peer sent is read; what we answer is written. Omitted from reading: addresses of the client (behind today's
//! networks they say nothing), authorization data (groups come from the directory, not from the ticket).

use crate::kerberos::crypto::EncryptionType;
use crate::kerberos::der::{
    self, BIT_STRING, GENERAL_STRING, GENERALIZED_TIME, INTEGER, Malformed, OCTET_STRING, Reader, SEQUENCE, application,
};
use crate::kerberos::name::{MAX_COMPONENTS, NameType, Principal};

/// Application tags and message types, RFC 4120 §5.10.
const TICKET: u8 = 1;
const AUTHENTICATOR: u8 = 2;
const ENC_TICKET_PART: u8 = 3;
const AP_REQ: u8 = 14;
const AP_REP: u8 = 15;
const ENC_AP_REP_PART: u8 = 27;
const KRB_ERROR: u8 = 30;

/// Version of the protocol in every message.
const VERSION: i64 = 5;

/// AP-REQ.
pub(super) struct ApReq<'a> {
    pub(super) options: u32,
    pub(super) service: Principal,
    pub(super) ticket: Encrypted<'a>,
    pub(super) authenticator: Encrypted<'a>,
}

/// EncryptedData.
pub(super) struct Encrypted<'a> {
    pub(super) etype: EncryptionType,
    pub(super) kvno: Option<u32>,
    pub(super) cipher: &'a [u8],
}

/// EncTicketPart.
pub(super) struct Ticket<'a> {
    pub(super) flags: u32,
    pub(super) key: KeyField<'a>,
    pub(super) client: Principal,
    /// Realms passed on the way, as the last KDC wrote them.
    pub(super) transited: &'a [u8],
    /// Seconds since 1970; the time of authentication where the ticket has no start of its own.
    pub(super) starts: i64,
    /// Seconds since 1970.
    pub(super) ends: i64,
}

/// EncryptionKey, in the buffer it was decrypted into.
pub(super) struct KeyField<'a> {
    pub(super) etype: EncryptionType,
    pub(super) bytes: &'a [u8],
}

/// Authenticator.
pub(super) struct Authenticator<'a> {
    pub(super) client: Principal,
    /// Type and value.
    pub(super) checksum: Option<(i32, &'a [u8])>,
    /// Seconds since 1970, by the client's clock.
    pub(super) seconds: i64,
    pub(super) microseconds: u32,
    pub(super) subkey: Option<KeyField<'a>>,
    pub(super) sequence: Option<u32>,
}

impl<'a> ApReq<'a> {
    pub(super) fn read(message: &'a [u8]) -> Result<ApReq<'a>, Malformed> {
        let mut outer = Reader::new(message);
        let mut fields = sequence(&mut outer, application(AP_REQ), "the AP-REQ")?;
        outer.end("bytes behind the AP-REQ")?;
        version(fields.field(0, INTEGER, "the version of the AP-REQ")?, "the version of the AP-REQ")?;
        let kind = der::integer(fields.field(1, INTEGER, "the type of the AP-REQ")?, "the type of the AP-REQ")?;
        if kind != i64::from(AP_REQ) {
            return Err(Malformed("the type of the AP-REQ"));
        }
        let options = der::flags(fields.field(2, BIT_STRING, "the AP-REQ's options")?, "the AP-REQ's options")?;
        let mut ticket = Reader::new(fields.field(3, application(TICKET), "the ticket")?);
        let (service, ticket) = read_ticket(ticket.expect(SEQUENCE, "the ticket")?)?;
        let authenticator = fields.field(4, SEQUENCE, "the encrypted authenticator")?;
        let authenticator = Encrypted::read(authenticator, "the encrypted authenticator")?;
        Ok(ApReq { options, service, ticket, authenticator })
    }
}

fn read_ticket(content: &[u8]) -> Result<(Principal, Encrypted<'_>), Malformed> {
    let mut fields = Reader::new(content);
    version(fields.field(0, INTEGER, "the version of the ticket")?, "the version of the ticket")?;
    let realm = fields.field(1, GENERAL_STRING, "the service's realm")?;
    let name = fields.field(2, SEQUENCE, "the service's name")?;
    let service = principal(name, realm, "the service's name")?;
    let encrypted = fields.field(3, SEQUENCE, "the encrypted ticket")?;
    Ok((service, Encrypted::read(encrypted, "the encrypted ticket")?))
}

impl<'a> Encrypted<'a> {
    fn read(content: &'a [u8], what: &'static str) -> Result<Encrypted<'a>, Malformed> {
        let mut fields = Reader::new(content);
        let etype = der::int32(fields.field(0, INTEGER, what)?, what)?;
        let kvno = fields.optional(1, INTEGER, what)?.map(|kvno| der::uint32(kvno, what)).transpose()?;
        let cipher = fields.field(2, OCTET_STRING, what)?;
        Ok(Encrypted { etype: EncryptionType::from_number(etype), kvno, cipher })
    }
}

impl<'a> Ticket<'a> {
    pub(super) fn read(plain: &'a [u8]) -> Result<Ticket<'a>, Malformed> {
        let mut outer = Reader::new(plain);
        let mut fields = sequence(&mut outer, application(ENC_TICKET_PART), "the inside of the ticket")?;
        let flags = der::flags(fields.field(0, BIT_STRING, "the ticket's flags")?, "the ticket's flags")?;
        let key = KeyField::read(fields.field(1, SEQUENCE, "the session key")?, "the session key")?;
        let realm = fields.field(2, GENERAL_STRING, "the client's realm")?;
        let client = principal(fields.field(3, SEQUENCE, "the client's name")?, realm, "the client's name")?;
        let mut path = Reader::new(fields.field(4, SEQUENCE, "the ticket's path")?);
        path.field(0, INTEGER, "the ticket's path")?;
        let transited = path.field(1, OCTET_STRING, "the ticket's path")?;
        let authenticated = time(fields.field(5, GENERALIZED_TIME, "the ticket's time")?)?;
        let starts = fields.optional(6, GENERALIZED_TIME, "the ticket's start")?.map(time).transpose()?;
        let ends = time(fields.field(7, GENERALIZED_TIME, "the ticket's end")?)?;
        Ok(Ticket { flags, key, client, transited, starts: starts.unwrap_or(authenticated), ends })
    }
}

impl<'a> KeyField<'a> {
    fn read(content: &'a [u8], what: &'static str) -> Result<KeyField<'a>, Malformed> {
        let mut fields = Reader::new(content);
        let etype = der::int32(fields.field(0, INTEGER, what)?, what)?;
        let bytes = fields.field(1, OCTET_STRING, what)?;
        Ok(KeyField { etype: EncryptionType::from_number(etype), bytes })
    }
}

impl<'a> Authenticator<'a> {
    pub(super) fn read(plain: &'a [u8]) -> Result<Authenticator<'a>, Malformed> {
        let mut outer = Reader::new(plain);
        let mut fields = sequence(&mut outer, application(AUTHENTICATOR), "the authenticator")?;
        version(fields.field(0, INTEGER, "the authenticator's version")?, "the authenticator's version")?;
        let realm = fields.field(1, GENERAL_STRING, "the authenticator's realm")?;
        let name = fields.field(2, SEQUENCE, "the authenticator's name")?;
        let client = principal(name, realm, "the authenticator's name")?;
        let checksum = fields.optional(3, SEQUENCE, "the authenticator's checksum")?.map(read_checksum).transpose()?;
        let microseconds = der::uint32(fields.field(4, INTEGER, "the client's time")?, "the client's time")?;
        if microseconds > 999_999 {
            return Err(Malformed("the client's time"));
        }
        let seconds = fields.field(5, GENERALIZED_TIME, "the client's time")?;
        let seconds = der::kerberos_time(seconds, "the client's time")?;
        let subkey = fields.optional(6, SEQUENCE, "the client's subkey")?;
        let subkey = subkey.map(|key| KeyField::read(key, "the client's subkey")).transpose()?;
        let sequence = fields.optional(7, INTEGER, "the sequence number")?;
        let sequence = sequence.map(|number| der::uint32(number, "the sequence number")).transpose()?;
        Ok(Authenticator { client, checksum, seconds, microseconds, subkey, sequence })
    }
}

fn read_checksum(content: &[u8]) -> Result<(i32, &[u8]), Malformed> {
    let mut fields = Reader::new(content);
    let kind = fields.field(0, INTEGER, "the authenticator's checksum")?;
    let value = fields.field(1, OCTET_STRING, "the authenticator's checksum")?;
    Ok((der::int32(kind, "the authenticator's checksum")?, value))
}

fn sequence<'a>(outer: &mut Reader<'a>, tag: u8, what: &'static str) -> Result<Reader<'a>, Malformed> {
    let mut inner = Reader::new(outer.expect(tag, what)?);
    Ok(Reader::new(inner.expect(SEQUENCE, what)?))
}

fn version(content: &[u8], what: &'static str) -> Result<(), Malformed> {
    if der::integer(content, what)? == VERSION { Ok(()) } else { Err(Malformed(what)) }
}

fn time(content: &[u8]) -> Result<i64, Malformed> {
    der::kerberos_time(content, "the ticket's times")
}

fn principal(name: &[u8], realm: &[u8], what: &'static str) -> Result<Principal, Malformed> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| Malformed(what));
    let mut fields = Reader::new(name);
    let name_type = NameType::from_number(der::int32(fields.field(0, INTEGER, what)?, what)?);
    let mut strings = Reader::new(fields.field(1, SEQUENCE, what)?);
    let mut components = Vec::new();
    while !strings.is_empty() && components.len() <= MAX_COMPONENTS {
        components.push(text(strings.expect(GENERAL_STRING, what)?)?);
    }
    Principal::new(name_type, components, text(realm)?).map_err(|_| Malformed(what))
}

/// What an AP-REP says, before it is encrypted.
pub(super) struct ApRepPart<'a> {
    /// The client's own time, which proves that the authenticator was read.
    pub(super) seconds: i64,
    pub(super) microseconds: u32,
    pub(super) subkey: Option<(EncryptionType, &'a [u8])>,
    pub(super) sequence: u32,
}

impl ApRepPart<'_> {
    pub(super) fn write(&self) -> Vec<u8> {
        let mut fields = der::field(0, GENERALIZED_TIME, &der::kerberos_time_content(self.seconds));
        fields.extend(der::field(1, INTEGER, &der::integer_content(self.microseconds.into())));
        if let Some((etype, bytes)) = self.subkey {
            let kind = der::field(0, INTEGER, &der::integer_content(etype.number().into()));
            fields.extend(der::field(2, SEQUENCE, &[kind, der::field(1, OCTET_STRING, bytes)].concat()));
        }
        fields.extend(der::field(3, INTEGER, &der::integer_content(self.sequence.into())));
        der::element(application(ENC_AP_REP_PART), &[&der::element(SEQUENCE, &[&fields])])
    }
}

/// AP-REP around its encrypted part.
pub(super) fn write_ap_rep(etype: EncryptionType, cipher: &[u8]) -> Vec<u8> {
    let kind = der::field(0, INTEGER, &der::integer_content(etype.number().into()));
    let encrypted = [kind, der::field(2, OCTET_STRING, cipher)].concat();
    let fields = [header(AP_REP), der::field(2, SEQUENCE, &encrypted)].concat();
    der::element(application(AP_REP), &[&der::element(SEQUENCE, &[&fields])])
}

/// KRB-ERROR.
pub(super) fn write_error(code: u32, service: &Principal, seconds: i64, microseconds: u32) -> Vec<u8> {
    let strings: Vec<u8> = service.components.iter().flat_map(|text| general_string(text)).collect();
    let name_type = der::field(0, INTEGER, &der::integer_content(service.name_type.number().into()));
    let name = [name_type, der::field(1, SEQUENCE, &strings)].concat();
    let fields = [
        header(KRB_ERROR),
        der::field(4, GENERALIZED_TIME, &der::kerberos_time_content(seconds)),
        der::field(5, INTEGER, &der::integer_content(microseconds.into())),
        der::field(6, INTEGER, &der::integer_content(code.into())),
        der::field(9, GENERAL_STRING, service.realm.as_bytes()),
        der::field(10, SEQUENCE, &name),
    ]
    .concat();
    der::element(application(KRB_ERROR), &[&der::element(SEQUENCE, &[&fields])])
}

fn general_string(text: &str) -> Vec<u8> {
    der::element(GENERAL_STRING, &[text.as_bytes()])
}

/// Version and type, as every message begins.
fn header(kind: u8) -> Vec<u8> {
    let version = der::field(0, INTEGER, &der::integer_content(VERSION));
    [version, der::field(1, INTEGER, &der::integer_content(kind.into()))].concat()
}
