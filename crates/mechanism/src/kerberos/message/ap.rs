//! Between client and service: the ticket, AP-REQ and AP-REP. RFC 4120 §5.3, §5.5.

use super::{
    AP_REP, AP_REQ, AUTHENTICATOR, ENC_AP_REP_PART, ENC_TICKET_PART, Encrypted, TICKET, Unreadable, VERSION, number,
    read_key, read_name, string, text, time, write_flags, write_key, write_name,
};
use crate::kerberos::crypto::Key;
use crate::kerberos::der::{
    self, BIT_STRING, GENERAL_STRING, GENERALIZED_TIME, INTEGER, Malformed, OCTET_STRING, Reader, SEQUENCE, context,
};
use crate::kerberos::name::Principal;
use zeroize::Zeroizing;

/// How the path of a ticket is written, §3.3.3.2.
const DOMAIN_X500_COMPRESS: i64 = 1;

/// Ticket, §5.3, closed.
#[derive(Debug, Clone)]
pub(in crate::kerberos) struct Ticket {
    pub(in crate::kerberos) service: Principal,
    pub(in crate::kerberos) encrypted: Encrypted,
}

impl Ticket {
    pub(in crate::kerberos) fn read(bytes: &[u8]) -> Result<Ticket, Malformed> {
        let what = "Ticket";
        let mut fields = all_fields(bytes, TICKET, what)?;
        check_number(fields.field(0, INTEGER, what)?, VERSION, "tkt-vno")?;
        let realm = text(fields.field(1, GENERAL_STRING, what)?, "realm")?;
        let service = read_name(fields.field(2, SEQUENCE, what)?, &realm, "sname")?;
        let encrypted = Encrypted::read(fields.field(3, SEQUENCE, what)?, what)?;
        Ok(Ticket { service, encrypted })
    }

    pub(in crate::kerberos) fn write(&self) -> Vec<u8> {
        der::element(
            TICKET,
            &[&der::element(
                SEQUENCE,
                &[
                    &number(0, VERSION),
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
pub(in crate::kerberos) struct TicketPart {
    pub(in crate::kerberos) flags: u32,
    pub(in crate::kerberos) key: Key,
    pub(in crate::kerberos) client: Principal,
    /// Realms passed on the way (DOMAIN-X500-COMPRESS), as the last KDC wrote them.
    pub(in crate::kerberos) transited: Vec<u8>,
    /// Seconds since 1970.
    pub(in crate::kerberos) authenticated: i64,
    /// Seconds since 1970; the time of authentication where the ticket names no other.
    pub(in crate::kerberos) starts: i64,
    /// Seconds since 1970.
    pub(in crate::kerberos) ends: i64,
}

impl TicketPart {
    pub(in crate::kerberos) fn read(plain: &[u8]) -> Result<TicketPart, Unreadable> {
        let what = "EncTicketPart";
        let mut fields = fields(plain, ENC_TICKET_PART, what)?;
        let flags = der::flags(fields.field(0, BIT_STRING, what)?, "ticket flags")?;
        let key = read_key(fields.field(1, SEQUENCE, what)?, "session key")?;
        let realm = text(fields.field(2, GENERAL_STRING, what)?, "crealm")?;
        let client = read_name(fields.field(3, SEQUENCE, what)?, &realm, "cname")?;
        let mut path = Reader::new(fields.field(4, SEQUENCE, "transited")?);
        path.field(0, INTEGER, "transited")?;
        let transited = path.field(1, OCTET_STRING, "transited")?.to_vec();
        let authenticated = der::kerberos_time(fields.field(5, GENERALIZED_TIME, "authtime")?, "authtime")?;
        let starts = fields.optional(6, GENERALIZED_TIME, "starttime")?;
        let starts = starts.map(|time| der::kerberos_time(time, "starttime")).transpose()?.unwrap_or(authenticated);
        let ends = der::kerberos_time(fields.field(7, GENERALIZED_TIME, "endtime")?, "endtime")?;
        Ok(TicketPart { flags, key, client, transited, authenticated, starts, ends })
    }

    pub(in crate::kerberos) fn write(&self) -> Zeroizing<Vec<u8>> {
        // Acceptors of MIT refuse any other type, even for no realms at all.
        let transited = [number(0, DOMAIN_X500_COMPRESS), der::field(1, OCTET_STRING, &self.transited)].concat();
        let fields = Zeroizing::new(
            [
                der::field(0, BIT_STRING, &write_flags(self.flags)),
                der::field(1, SEQUENCE, &write_key(&self.key)),
                string(2, &self.client.realm),
                der::field(3, SEQUENCE, &write_name(&self.client)),
                der::field(4, SEQUENCE, &transited),
                time(5, self.authenticated),
                time(6, self.starts),
                time(7, self.ends),
            ]
            .concat(),
        );
        Zeroizing::new(der::element(ENC_TICKET_PART, &[&Zeroizing::new(der::element(SEQUENCE, &[&fields]))]))
    }
}

/// AP-REQ, §5.5.1, closed.
#[derive(Debug)]
pub(in crate::kerberos) struct ApReq {
    /// Bit 0 is the highest.
    pub(in crate::kerberos) options: u32,
    pub(in crate::kerberos) ticket: Vec<u8>,
    pub(in crate::kerberos) authenticator: Encrypted,
}

impl ApReq {
    pub(in crate::kerberos) fn read(message: &[u8]) -> Result<ApReq, Malformed> {
        let what = "AP-REQ";
        let mut fields = all_fields(message, AP_REQ, what)?;
        check_number(fields.field(0, INTEGER, what)?, VERSION, "pvno")?;
        check_number(fields.field(1, INTEGER, what)?, message_type(AP_REQ), "msg-type")?;
        let options = der::flags(fields.field(2, BIT_STRING, what)?, "ap-options")?;
        let ticket = fields.expect(context(3), what)?.to_vec();
        let authenticator = Encrypted::read(fields.field(4, SEQUENCE, what)?, what)?;
        Ok(ApReq { options, ticket, authenticator })
    }

    pub(in crate::kerberos) fn write(&self) -> Vec<u8> {
        let fields = [
            number(0, VERSION),
            number(1, message_type(AP_REQ)),
            der::field(2, BIT_STRING, &write_flags(self.options)),
            der::element(context(3), &[&self.ticket]),
            der::field(4, SEQUENCE, &self.authenticator.write()),
        ];
        der::element(AP_REQ, &[&der::element(SEQUENCE, &[&fields.concat()])])
    }
}

/// Authenticator, §5.5.1.
#[derive(Debug)]
pub(in crate::kerberos) struct Authenticator {
    pub(in crate::kerberos) client: Principal,
    /// Type and value.
    pub(in crate::kerberos) checksum: Option<(i32, Vec<u8>)>,
    /// The client's clock: 0 to 999 999.
    pub(in crate::kerberos) microseconds: u32,
    /// The client's clock, seconds since 1970.
    pub(in crate::kerberos) time: i64,
    pub(in crate::kerberos) subkey: Option<Key>,
    pub(in crate::kerberos) sequence: Option<u32>,
}

impl Authenticator {
    pub(in crate::kerberos) fn read(plain: &[u8]) -> Result<Authenticator, Unreadable> {
        let what = "Authenticator";
        let mut fields = fields(plain, AUTHENTICATOR, what)?;
        check_number(fields.field(0, INTEGER, what)?, VERSION, "authenticator-vno")?;
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
        if microseconds > 999_999 {
            return Err(Unreadable::Malformed("cusec"));
        }
        let time = der::kerberos_time(fields.field(5, GENERALIZED_TIME, what)?, "ctime")?;
        let subkey = fields.optional(6, SEQUENCE, what)?.map(|content| read_key(content, "subkey")).transpose()?;
        let sequence =
            fields.optional(7, INTEGER, what)?.map(|content| der::uint32(content, "seq-number")).transpose()?;
        Ok(Authenticator { client, checksum, microseconds, time, subkey, sequence })
    }

    pub(in crate::kerberos) fn write(&self) -> Zeroizing<Vec<u8>> {
        let checksum = self.checksum.as_ref().map(|(kind, value)| {
            der::field(3, SEQUENCE, &[number(0, (*kind).into()), der::field(1, OCTET_STRING, value)].concat())
        });
        let subkey = self.subkey.as_ref().map(|key| der::field(6, SEQUENCE, &write_key(key)));
        let sequence = self.sequence.map(|sequence| number(7, sequence.into()));
        let fields = Zeroizing::new(
            [
                number(0, VERSION),
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

/// AP-REP, §5.5.2, closed.
#[derive(Debug)]
pub(in crate::kerberos) struct ApRep(pub(in crate::kerberos) Encrypted);

impl ApRep {
    pub(in crate::kerberos) fn read(message: &[u8]) -> Result<ApRep, Malformed> {
        let what = "AP-REP";
        let mut fields = all_fields(message, AP_REP, what)?;
        check_number(fields.field(0, INTEGER, what)?, VERSION, "pvno")?;
        check_number(fields.field(1, INTEGER, what)?, message_type(AP_REP), "msg-type")?;
        Ok(ApRep(Encrypted::read(fields.field(2, SEQUENCE, what)?, what)?))
    }

    pub(in crate::kerberos) fn write(&self) -> Vec<u8> {
        let fields =
            [number(0, VERSION), number(1, message_type(AP_REP)), der::field(2, SEQUENCE, &self.0.write())].concat();
        der::element(AP_REP, &[&der::element(SEQUENCE, &[&fields])])
    }
}

/// EncAPRepPart, §5.5.2.
#[derive(Debug)]
pub(in crate::kerberos) struct ApRepPart {
    /// The client's own time, which proves that the authenticator was read.
    pub(in crate::kerberos) time: i64,
    /// With its microseconds.
    pub(in crate::kerberos) microseconds: u32,
    /// The service's key.
    pub(in crate::kerberos) subkey: Option<Key>,
    /// Number of the service's first signature; 0 where it names none.
    pub(in crate::kerberos) sequence: u32,
}

impl ApRepPart {
    pub(in crate::kerberos) fn read(plain: &[u8]) -> Result<ApRepPart, Unreadable> {
        let what = "EncAPRepPart";
        let mut fields = fields(plain, ENC_AP_REP_PART, what)?;
        let time = der::kerberos_time(fields.field(0, GENERALIZED_TIME, what)?, "ctime")?;
        let microseconds = der::uint32(fields.field(1, INTEGER, what)?, "cusec")?;
        let subkey = fields.optional(2, SEQUENCE, what)?.map(|content| read_key(content, "subkey")).transpose()?;
        let sequence = fields.optional(3, INTEGER, what)?;
        let sequence = sequence.map(|content| der::uint32(content, "seq-number")).transpose()?.unwrap_or(0);
        Ok(ApRepPart { time, microseconds, subkey, sequence })
    }

    pub(in crate::kerberos) fn write(&self) -> Zeroizing<Vec<u8>> {
        let subkey = self.subkey.as_ref().map(|key| Zeroizing::new(der::field(2, SEQUENCE, &write_key(key))));
        let content = der::element(
            SEQUENCE,
            &[
                &time(0, self.time),
                &number(1, self.microseconds.into()),
                subkey.as_ref().map(|field| field.as_slice()).unwrap_or_default(),
                &number(3, self.sequence.into()),
            ],
        );
        Zeroizing::new(der::element(ENC_AP_REP_PART, &[&Zeroizing::new(content)]))
    }
}

/// The fields of a message. Bytes behind what was decrypted may be padding.
fn fields<'a>(message: &'a [u8], tag: u8, what: &'static str) -> Result<Reader<'a>, Malformed> {
    let mut inner = Reader::new(Reader::new(message).expect(tag, what)?);
    Ok(Reader::new(inner.expect(SEQUENCE, what)?))
}

/// The fields of a message that is all there is.
fn all_fields<'a>(message: &'a [u8], tag: u8, what: &'static str) -> Result<Reader<'a>, Malformed> {
    let mut outer = Reader::new(message);
    outer.expect(tag, what)?;
    outer.end("bytes behind the message")?;
    fields(message, tag, what)
}

fn check_number(content: &[u8], expected: i64, what: &'static str) -> Result<(), Malformed> {
    if der::integer(content, what)? == expected { Ok(()) } else { Err(Malformed(what)) }
}

/// A message's type is the number of its tag.
fn message_type(tag: u8) -> i64 {
    i64::from(tag & 0x1f)
}
