//! Tickets and authenticators as a KDC and a client make them, written with the types of picky-krb: what the server reads
//! was written by other hands.

use super::flags as flags_of;
use super::*;
use crate::kerberos::name::NameType;
use crate::kerberos::token::{Mechanism, unframe};
use picky_asn1::bit_string::BitString;
use picky_asn1::date::Date;
use picky_asn1::restricted_string::Ia5String;
use picky_asn1::wrapper::{
    Asn1SequenceOf, BitStringAsn1, ExplicitContextTag0 as Tag0, ExplicitContextTag1 as Tag1,
    ExplicitContextTag2 as Tag2, ExplicitContextTag3 as Tag3, ExplicitContextTag4 as Tag4, ExplicitContextTag5 as Tag5,
    ExplicitContextTag6 as Tag6, ExplicitContextTag7 as Tag7, GeneralStringAsn1, IntegerAsn1, OctetStringAsn1,
    Optional,
};
use picky_asn1_der::application_tag::ApplicationTag;
use picky_krb::data_types as asn1;
use picky_krb::messages::{ApRep, ApReqInner, KrbError};
use proptest::prelude::*;
use std::cell::Cell;

const SIP: &str = "sip/fe1.contoso.test@CONTOSO.TEST";
const HTTP: &str = "http/fe1.contoso.test@CONTOSO.TEST";
const ALICE: &str = "alice@CONTOSO.TEST";
/// 2024-02-29 12:00:00.
const NOW: Now = Now { unix_seconds: 1_709_208_000, microseconds: 7 };
const HOUR: i64 = 3600;
const INTEGRITY: u32 = 0x20;

/// An AP-REQ, before it is written.
#[derive(Clone)]
struct Request {
    service: String,
    service_key: Key,
    kvno: Option<u32>,
    options: u32,
    ticket_flags: u32,
    session_key: Key,
    client: String,
    claimed: String,
    transited: &'static [u8],
    starts: i64,
    ends: i64,
    checksum: Option<(u32, Vec<u8>)>,
    time: i64,
    microseconds: u32,
    subkey: Option<Key>,
    sequence: Option<u32>,
}

fn key(etype: EncryptionType, fill: u8) -> Key {
    Key::new(etype, &vec![fill; etype.key_length().unwrap()]).unwrap()
}

fn gss_checksum(flags: u32) -> Vec<u8> {
    [&[16, 0, 0, 0][..], &[0; 16], &flags.to_le_bytes()].concat()
}

impl Request {
    /// As pidgin-sipe sends it: no answer wanted, a subkey, a number.
    fn new(etype: EncryptionType) -> Request {
        Request {
            service: SIP.to_owned(),
            service_key: key(etype, 1),
            kvno: Some(3),
            options: 0,
            ticket_flags: 0x4040_0000,
            session_key: key(etype, 2),
            client: ALICE.to_owned(),
            claimed: ALICE.to_owned(),
            transited: b"",
            starts: NOW.unix_seconds - HOUR,
            ends: NOW.unix_seconds + HOUR,
            checksum: Some((0x8003, gss_checksum(INTEGRITY))),
            time: NOW.unix_seconds,
            microseconds: 5,
            subkey: Some(key(etype, 3)),
            sequence: Some(0x2f97_612a),
        }
    }

    fn wanting_an_answer(mut self) -> Request {
        self.options = 0x2000_0000;
        self.checksum = Some((0x8003, gss_checksum(INTEGRITY | MUTUAL)));
        self
    }

    fn message(&self) -> Vec<u8> {
        let (cname, crealm) = asn1_name(&self.client);
        let ticket = asn1::EncTicketPart::from(asn1::EncTicketPartInner {
            flags: Tag0::from(flags(self.ticket_flags)),
            key: Tag1::from(encryption_key(&self.session_key)),
            crealm: Tag2::from(crealm),
            cname: Tag3::from(cname),
            transited: Tag4::from(asn1::TransitedEncoding {
                tr_type: Tag0::from(number(1)),
                contents: Tag1::from(OctetStringAsn1::from(self.transited.to_vec())),
            }),
            auth_time: Tag5::from(time(self.starts)),
            starttime: Optional::from(Some(Tag6::from(time(self.starts)))),
            endtime: Tag7::from(time(self.ends)),
            renew_till: Optional::from(None),
            caddr: Optional::from(None),
            authorization_data: Optional::from(None),
        });
        let (cname, crealm) = asn1_name(&self.claimed);
        let checksum = self.checksum.clone().map(|(kind, value)| {
            Tag3::from(asn1::Checksum {
                cksumtype: Tag0::from(number(kind)),
                checksum: Tag1::from(OctetStringAsn1::from(value)),
            })
        });
        let authenticator = asn1::Authenticator::from(asn1::AuthenticatorInner {
            authenticator_vno: Tag0::from(number(5)),
            crealm: Tag1::from(crealm),
            cname: Tag2::from(cname),
            cksum: Optional::from(checksum),
            cusec: Tag4::from(number(self.microseconds)),
            ctime: Tag5::from(time(self.time)),
            subkey: Optional::from(self.subkey.as_ref().map(|key| Tag6::from(encryption_key(key)))),
            seq_number: Optional::from(self.sequence.map(|value| Tag7::from(number(value)))),
            authorization_data: Optional::from(None),
        });
        let (sname, realm) = asn1_name(&self.service);
        let request: ApplicationTag<ApReqInner, 14> = ApplicationTag::from(ApReqInner {
            pvno: Tag0::from(number(5)),
            msg_type: Tag1::from(number(14)),
            ap_options: Tag2::from(flags(self.options)),
            ticket: Tag3::from(asn1::Ticket::from(asn1::TicketInner {
                tkt_vno: Tag0::from(number(5)),
                realm: Tag1::from(realm),
                sname: Tag2::from(sname),
                enc_part: Tag3::from(encrypted(&self.service_key, usage::TICKET, self.kvno, &ticket)),
            })),
            authenticator: Tag4::from(encrypted(&self.session_key, usage::AP_REQ_AUTHENTICATOR, None, &authenticator)),
        });
        picky_asn1_der::to_vec(&request).unwrap()
    }

    fn token(&self) -> Vec<u8> {
        frame(TokenId::ApReq, &self.message())
    }
}

/// As the types of picky-krb, which hold ASCII alone.
fn asn1_name(text: &str) -> (asn1::PrincipalName, asn1::Realm) {
    let ascii = |text: &str| GeneralStringAsn1::from(Ia5String::new(text.as_bytes()).unwrap());
    let name = Principal::parse(text).unwrap();
    let strings: Vec<_> = name.components.iter().map(|text| ascii(text)).collect();
    let name_type = IntegerAsn1::from_bytes_be_signed(name.name_type.number().to_be_bytes().to_vec());
    let name_string = Tag1::from(Asn1SequenceOf::from(strings));
    (asn1::PrincipalName { name_type: Tag0::from(name_type), name_string }, ascii(&name.realm))
}

fn number(value: u32) -> IntegerAsn1 {
    IntegerAsn1::from_bytes_be_unsigned(value.to_be_bytes().to_vec())
}

fn flags(value: u32) -> BitStringAsn1 {
    BitStringAsn1::from(BitString::with_bytes(value.to_be_bytes().to_vec()))
}

fn time(unix_seconds: i64) -> asn1::KerberosTime {
    let at = time::OffsetDateTime::from_unix_timestamp(unix_seconds).unwrap();
    let date =
        Date::new(at.year().try_into().unwrap(), u8::from(at.month()), at.day(), at.hour(), at.minute(), at.second());
    asn1::KerberosTime::from(date.unwrap())
}

fn encryption_key(key: &Key) -> asn1::EncryptionKey {
    asn1::EncryptionKey {
        key_type: Tag0::from(number(key.etype().number().unsigned_abs())),
        key_value: Tag1::from(OctetStringAsn1::from(key.bytes().to_vec())),
    }
}

fn encrypted<T: serde::Serialize>(key: &Key, usage: u32, kvno: Option<u32>, part: &T) -> asn1::EncryptedData {
    let plain = picky_asn1_der::to_vec(part).unwrap();
    asn1::EncryptedData {
        etype: Tag0::from(number(key.etype().number().unsigned_abs())),
        kvno: Optional::from(kvno.map(|kvno| Tag1::from(number(kvno)))),
        cipher: Tag2::from(OctetStringAsn1::from(key.encrypt(usage, &plain, &[0x5a; CONFOUNDER]))),
    }
}

/// A server with keys of every type, for SIP and the web, that allows all of them.
fn server() -> Service {
    let mut keytab = Keytab::new();
    for etype in EncryptionType::KNOWN {
        keytab.add(Principal::parse(SIP).unwrap(), 2, key(etype, 9), 0);
        keytab.add(Principal::parse(SIP).unwrap(), 3, key(etype, 1), 0);
        keytab.add(Principal::parse(HTTP).unwrap(), 1, key(etype, 4), 0);
    }
    Service::new(keytab).allowing(&EncryptionType::KNOWN)
}

fn counting(count: &Cell<u8>) -> impl Fn(&mut [u8]) + '_ {
    |bytes| {
        for byte in bytes {
            count.set(count.get().wrapping_add(1));
            *byte = count.get();
        }
    }
}

fn accept(service: &Service, token: &[u8]) -> Result<Accepted, Refusal> {
    let count = Cell::new(0);
    service.accept(token, NOW, &mut ReplayCache::default(), &counting(&count))
}

/// What becomes of the request of pidgin-sipe after a change.
fn refusal(change: impl FnOnce(&mut Request)) -> Refusal {
    let mut request = Request::new(EncryptionType::Aes256);
    change(&mut request);
    accept(&server(), &request.token()).expect_err("has to be refused")
}

/// Both ends sign alike: `theirs` was made from what the client knows.
fn agree(accepted: &mut Accepted, mut theirs: MessageKeys) {
    for text in [&b"first"[..], b"second"] {
        for side in [Side::Client, Side::Server] {
            let ours = accepted.keys.sign(side, text);
            assert_eq!(ours, theirs.sign(side, text));
            assert!(theirs.verify(side, text, &ours));
        }
    }
}

#[test]
fn without_an_answer() {
    for etype in EncryptionType::KNOWN {
        let request = Request::new(etype);
        let mut accepted = accept(&server(), &request.token()).unwrap_or_else(|e| panic!("{etype}: {e}"));
        assert_eq!(accepted.client, Principal::parse(ALICE).unwrap());
        assert_eq!(accepted.service.to_string(), SIP);
        assert_eq!((accepted.ends, accepted.reply.is_some(), accepted.etype), (request.ends, false, etype));
        agree(&mut accepted, MessageKeys::new(&key(etype, 3), false, 0x2f97_612a, 0x2f97_612a));
    }
}

#[test]
fn without_a_subkey_or_a_number() {
    let mut request = Request::new(EncryptionType::Aes128);
    (request.subkey, request.sequence) = (None, None);
    let mut accepted = accept(&server(), &request.token()).unwrap();
    agree(&mut accepted, MessageKeys::new(&request.session_key, false, 0, 0));
}

#[test]
fn with_an_answer() {
    for etype in EncryptionType::KNOWN {
        let request = Request::new(etype).wanting_an_answer();
        let mut accepted = accept(&server(), &request.token()).unwrap();
        let reply = accepted.reply.clone().expect("an AP-REP");
        let (subkey, sequence) = read_answer(&request, &reply);
        let keys = match &subkey {
            Some(ours) => MessageKeys::new(ours, true, 0x2f97_612a, sequence),
            None => MessageKeys::new(&key(etype, 3), false, 0x2f97_612a, sequence),
        };
        assert_eq!(subkey.is_none(), etype == EncryptionType::Rc4Hmac);
        agree(&mut accepted, keys);
    }
}

/// The client's reading of an AP-REP: it has its own time in it.
fn read_answer(request: &Request, reply: &[u8]) -> (Option<Key>, u32) {
    let (id, message) = unframe(reply).unwrap();
    assert_eq!(id, TokenId::ApRep);
    let message: ApRep = picky_asn1_der::from_bytes(message).unwrap();
    let plain = request.session_key.decrypt(usage::AP_REP, &message.0.enc_part.0.cipher.0.0).unwrap();
    let part: asn1::EncApRepPart = picky_asn1_der::from_bytes(&plain).unwrap();
    assert_eq!(part.0.ctime.0, time(request.time));
    assert_eq!(part.0.cusec.0, number(request.microseconds));
    let subkey = part.0.subkey.0.map(|field| {
        let etype = EncryptionType::from_number(field.0.key_type.0.0[0].into());
        Key::new(etype, &field.0.key_value.0.0).unwrap()
    });
    let sequence = part.0.seq_number.0.unwrap().0;
    let sequence = sequence.as_unsigned_bytes_be().iter().fold(0, |all, byte| all << 8 | u32::from(*byte));
    (subkey, sequence)
}

#[test]
fn inside_spnego() {
    let request = Request::new(EncryptionType::Aes256);
    let accepted = accept(&server(), &NegotiateInit::of_kerberos(&request.token())).unwrap();
    let reply = NegotiateResponse::read(&accepted.reply.unwrap()).unwrap();
    let completed = NegotiateResponse {
        state: Some(NegotiationState::Completed),
        mechanism: Some(Mechanism::Kerberos),
        token: None,
        mic: None,
    };
    assert_eq!(reply, completed);

    let request = request.wanting_an_answer();
    let accepted = accept(&server(), &NegotiateInit::of_kerberos(&request.token())).unwrap();
    let reply = NegotiateResponse::read(&accepted.reply.unwrap()).unwrap();
    assert_eq!(reply.state, Some(NegotiationState::Completed));
    assert!(read_answer(&request, &reply.token.unwrap()).0.is_some());
}

#[test]
fn a_signed_offer_is_checked_and_signed_back() {
    let request = Request::new(EncryptionType::Aes256);
    let mut theirs = MessageKeys::new(&key(EncryptionType::Aes256, 3), false, 0x2f97_612a, 0x2f97_612a);
    let list = hex::decode("301606092a864886f71201020206092a864882f712010202").unwrap();
    let plain = NegotiateInit::of_kerberos(&request.token());
    let Ok(Initial::Negotiate(offer)) = Initial::read(&plain) else { panic!("an offer") };
    assert_eq!(offer.mechanism_list, list);
    let mic = theirs.sign(Side::Client, &list);
    let mut accepted = accept(&server(), &with_mic(&plain, &mic)).unwrap();
    let reply = NegotiateResponse::read(accepted.reply.as_ref().unwrap()).unwrap();
    assert!(theirs.verify(Side::Server, &list, &reply.mic.expect("a signature back")));
    let next = accepted.keys.sign(Side::Server, b"")[8..16].to_vec();
    assert_eq!(next, 0x2f97_612b_u64.to_be_bytes(), "the signature over the offer was counted");

    let mut wrong = mic;
    wrong[27] ^= 1;
    assert_eq!(accept(&server(), &with_mic(&plain, &wrong)).unwrap_err(), Refusal::OfferAltered);
}

/// The same offer with a signature behind the token.
fn with_mic(token: &[u8], mic: &[u8]) -> Vec<u8> {
    use crate::kerberos::der::{
        OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE, application, context, element, field,
    };
    let inner = Reader::new(token).expect(application(0), "").unwrap();
    let mut inner = Reader::new(inner);
    let spnego = inner.expect(OBJECT_IDENTIFIER, "").unwrap();
    let offer = inner.expect(context(0), "").unwrap();
    let fields = Reader::new(offer).expect(SEQUENCE, "").unwrap();
    let offer = field(0, SEQUENCE, &[fields, &field(3, OCTET_STRING, mic)].concat());
    element(application(0), &[&element(OBJECT_IDENTIFIER, &[spnego]), &offer])
}

#[test]
fn whose_key() {
    let wrong_key = |request: &mut Request| request.service_key = key(EncryptionType::Aes256, 8);
    let service = Principal::parse(SIP).unwrap();
    assert_eq!(
        refusal(wrong_key),
        Refusal::WrongKey { service: service.clone(), kvno: Some(3), etype: EncryptionType::Aes256 }
    );
    assert_eq!(
        refusal(|request| request.kvno = Some(9)),
        Refusal::UnknownKeyVersion { service, asked: 9, known: vec![2, 3] }
    );
    let elsewhere = "sip/fe2.contoso.test@CONTOSO.TEST";
    assert_eq!(
        refusal(|request| request.service = elsewhere.to_owned()),
        Refusal::NotForUs { asked: Principal::parse(elsewhere).unwrap() }
    );
    let mut older = Request::new(EncryptionType::Aes256);
    (older.kvno, older.service_key) = (None, key(EncryptionType::Aes256, 9));
    assert!(accept(&server(), &older.token()).is_ok(), "no version: the older key is tried too");
    let mut capitals = Request::new(EncryptionType::Aes256);
    capitals.service = "SIP/FE1.Contoso.Test@CONTOSO.TEST".to_owned();
    assert_eq!(accept(&server(), &capitals.token()).unwrap().service.to_string(), SIP, "as the keytab spells it");
}

#[test]
fn which_service() {
    let web = server().serving("HTTP");
    assert_eq!(
        accept(&web, &Request::new(EncryptionType::Aes256).token()).unwrap_err(),
        Refusal::OtherService { asked: Principal::parse(SIP).unwrap(), class: "HTTP".to_owned() }
    );
    let mut request = Request::new(EncryptionType::Aes256);
    (request.service, request.service_key, request.kvno) = (HTTP.to_owned(), key(EncryptionType::Aes256, 4), Some(1));
    assert_eq!(accept(&web, &request.token()).unwrap().service.to_string(), HTTP);
}

#[test]
fn which_encryption() {
    let Service { keytab, .. } = server();
    let by_default = Service::new(keytab);
    let refused = |request: Request| accept(&by_default, &request.token()).unwrap_err();
    let off = |what| Refusal::EncryptionType { what, etype: EncryptionType::Rc4Hmac };
    assert_eq!(refused(Request::new(EncryptionType::Rc4Hmac)), off("ticket"));
    assert_eq!(off("ticket").to_string(), "the ticket uses arcfour-hmac, which is switched off");
    let mut request = Request::new(EncryptionType::Aes256);
    request.session_key = key(EncryptionType::Rc4Hmac, 2);
    assert_eq!(refused(request.clone()), off("session key"));
    request.session_key = key(EncryptionType::Aes128, 2);
    request.subkey = Some(key(EncryptionType::Rc4Hmac, 3));
    assert_eq!(refused(request), off("subkey"));

    let mut keytab = Keytab::new();
    keytab.add(Principal::parse(SIP).unwrap(), 3, key(EncryptionType::Aes128, 1), 0);
    let refused = accept(&Service::new(keytab), &Request::new(EncryptionType::Aes256).token()).unwrap_err();
    let Refusal::NoKeyOfType { asked: EncryptionType::Aes256, known, .. } = refused else { panic!("{refused}") };
    assert_eq!(known, [EncryptionType::Aes128]);
}

#[test]
fn times() {
    let client = Principal::parse(ALICE).unwrap();
    for (ahead, seconds) in [(300, None), (-300, None), (301, Some(301)), (-301, Some(-301))] {
        let mut request = Request::new(EncryptionType::Aes256);
        request.time += ahead;
        let refused = accept(&server(), &request.token()).err();
        let expected = seconds.map(|seconds| Refusal::ClockSkew { client: client.clone(), seconds, permitted: 300 });
        assert_eq!(refused, expected, "{ahead}");
    }
    let skew = Refusal::ClockSkew { client: client.clone(), seconds: -400, permitted: 300 };
    assert_eq!(
        skew.to_string(),
        "the clock of alice@CONTOSO.TEST is 400 seconds behind this server's; 300 are permitted"
    );
    assert_eq!(
        refusal(|request| request.ends = NOW.unix_seconds - 301),
        Refusal::Expired { client: client.clone(), seconds_ago: 301 }
    );
    assert_eq!(
        refusal(|request| request.starts = NOW.unix_seconds + 301),
        Refusal::NotYetValid { client: client.clone(), in_seconds: 301 }
    );
    assert_eq!(refusal(|request| request.ticket_flags |= flags_of::INVALID), Refusal::InvalidTicket { client });
    let mut request = Request::new(EncryptionType::Aes256);
    request.time -= 1000;
    assert!(accept(&server().with_skew(1000), &request.token()).is_ok());
}

#[test]
fn names_path_and_checksum() {
    let (alice, bob) = (Principal::parse(ALICE).unwrap(), Principal::parse("bob@CONTOSO.TEST").unwrap());
    assert_eq!(
        refusal(|request| request.claimed = "bob@CONTOSO.TEST".to_owned()),
        Refusal::NamesDiffer { ticket: alice.clone(), authenticator: bob }
    );
    assert!(matches!(refusal(|request| request.claimed = "alice@OTHER.TEST".to_owned()), Refusal::NamesDiffer { .. }));
    assert_eq!(refusal(|request| request.transited = b"OTHER.TEST"), Refusal::Path { client: alice });
    let mut checked = Request::new(EncryptionType::Aes256);
    (checked.transited, checked.ticket_flags) = (b"OTHER.TEST", flags_of::TRANSITED_POLICY_CHECKED);
    assert!(accept(&server(), &checked.token()).is_ok(), "its KDC vouches for the path");

    for bad in [None, Some((0x8003, vec![])), Some((0x8003, vec![16; 24])), Some((7, gss_checksum(INTEGRITY)))] {
        assert_eq!(refusal(|request| request.checksum = bad.clone()), Refusal::Checksum, "{bad:?}");
    }
    assert_eq!(refusal(|request| request.checksum = Some((0x8003, gss_checksum(DCE_STYLE)))), Refusal::DceStyle);
    assert_eq!(refusal(|request| request.options = USE_SESSION_KEY), Refusal::UserToUser);
    let mut delegating = Request::new(EncryptionType::Aes256);
    let delegated = [&gss_checksum(INTEGRITY | 1)[..], &[1, 0, 3, 0, 7, 7, 7]].concat();
    delegating.checksum = Some((0x8003, delegated));
    assert!(accept(&server(), &delegating.token()).is_ok(), "delegated credentials are passed over");
}

#[test]
fn replays() {
    let service = server();
    let mut replays = ReplayCache::default();
    let random = |bytes: &mut [u8]| bytes.fill(7);
    let request = Request::new(EncryptionType::Aes256);
    let again = Refusal::Replayed { client: Principal::parse(ALICE).unwrap() };
    assert!(service.accept(&request.token(), NOW, &mut replays, &random).is_ok());
    assert_eq!(service.accept(&request.token(), NOW, &mut replays, &random).unwrap_err(), again);
    let wrapped = NegotiateInit::of_kerberos(&request.token());
    assert_eq!(service.accept(&wrapped, NOW, &mut replays, &random).unwrap_err(), again, "in another envelope");
    let mut flag = request.clone();
    flag.options = 0x2000_0000;
    assert_eq!(service.accept(&flag.token(), NOW, &mut replays, &random).unwrap_err(), again, "with other options");
    let mut later = request.clone();
    later.microseconds += 1;
    assert!(service.accept(&later.token(), NOW, &mut replays, &random).is_ok(), "a new authenticator");
    assert_eq!(replays.len(), 2);
    let mut full = ReplayCache::new(0);
    let refused = service.accept(&request.token(), NOW, &mut full, &random).unwrap_err();
    assert_eq!(refused, Refusal::ReplayCacheFull { capacity: 0 });
}

/// Nothing that is refused leaves a trace, so nobody without a ticket can fill the cache.
#[test]
fn what_is_refused_is_not_remembered() {
    let mut replays = ReplayCache::default();
    let mut request = Request::new(EncryptionType::Aes256);
    request.time += HOUR;
    assert!(server().accept(&request.token(), NOW, &mut replays, &|_| ()).is_err());
    assert!(replays.is_empty());
}

#[test]
fn not_kerberos() {
    assert_eq!(accept(&server(), b"NTLMSSP\0\x01\0\0\0").unwrap_err(), Refusal::Ntlm);
    assert_eq!(accept(&server(), b"").unwrap_err(), Refusal::Malformed("the envelope"));
    assert_eq!(accept(&server(), &frame(TokenId::ApRep, b"")).unwrap_err(), Refusal::Malformed("the kind of token"));
    let mut trailing = Request::new(EncryptionType::Aes256).message();
    trailing.push(0);
    let refused = accept(&server(), &frame(TokenId::ApReq, &trailing)).unwrap_err();
    assert_eq!(refused, Refusal::Malformed("bytes behind the message"));
}

/// A name from Windows, which writes UTF-8 where RFC 4120 has ASCII.
#[test]
fn names_outside_ascii() {
    let mut ascii = Request::new(EncryptionType::Aes256);
    ascii.client = "juXrgen@CONTOSO.TEST".to_owned();
    ascii.claimed = ascii.client.clone();
    // Of the same length, so that every length in front of it stays.
    let renamed = |key: &Key, usage, encrypted: &Encrypted| {
        let mut plain = encrypted.decrypt(key, usage).unwrap().to_vec();
        let at = plain.windows(7).position(|seven| seven == b"juXrgen").unwrap();
        plain[at + 1..at + 3].copy_from_slice("ü".as_bytes());
        key.encrypt(usage, &plain, &[1; CONFOUNDER])
    };
    let mut message = ascii.message();
    let read = ApReq::read(&message).unwrap();
    let closed = Ticket::read(&read.ticket).unwrap().encrypted;
    for (key, usage, encrypted) in [
        (&ascii.service_key, usage::TICKET, &closed),
        (&ascii.session_key, usage::AP_REQ_AUTHENTICATOR, &read.authenticator),
    ] {
        let length = encrypted.cipher.len();
        let at = message.windows(length).position(|window| window == encrypted.cipher).unwrap();
        message[at..at + length].copy_from_slice(&renamed(key, usage, encrypted));
    }
    let accepted = accept(&server(), &frame(TokenId::ApReq, &message)).unwrap();
    assert_eq!(accepted.client.to_string(), "jürgen@CONTOSO.TEST");
}

#[test]
fn the_error_for_the_client() {
    let refused = refusal(|request| request.time += HOUR);
    let token = refused.krb_error_token(&Principal::parse(SIP).unwrap(), NOW).expect("an error");
    let (id, message) = unframe(&token).unwrap();
    assert_eq!(id, TokenId::Error);
    let error: KrbError = picky_asn1_der::from_bytes(message).unwrap();
    assert_eq!(error.0.error_code.0, 37);
    assert_eq!(error.0.stime.0, time(NOW.unix_seconds));
    assert_eq!((error.0.sname.0, error.0.realm.0), asn1_name(SIP));
    assert_eq!(Refusal::Ntlm.krb_error_token(&Principal::parse(SIP).unwrap(), NOW), None);
}

#[test]
fn refusals_say_who_and_what_to_do() {
    let alice = Principal::parse(ALICE).unwrap();
    let skew = Refusal::ClockSkew { client: alice, seconds: 301, permitted: 300 };
    assert_eq!((skew.fault(), skew.catalogue_id()), (Fault::Client, Some("auth-clock-skew")));
    assert!(skew.remedy().contains("clocks"));
    let wrong = refusal(|request| request.service_key = key(EncryptionType::Aes256, 8));
    assert_eq!((wrong.fault(), wrong.catalogue_id()), (Fault::Server, Some("krb-ap-modified")));
    assert_eq!(
        wrong.to_string(),
        "the ticket of sip/fe1.contoso.test@CONTOSO.TEST cannot be decrypted with the keytab's \
         aes256-cts-hmac-sha1-96 key, version 3"
    );
}

#[test]
fn the_type_of_a_name_does_not_count() {
    let mut name = Principal::parse(SIP).unwrap();
    name.name_type = NameType::ServiceInstance;
    let mut keytab = Keytab::new();
    keytab.add(name, 3, key(EncryptionType::Aes256, 1), 0);
    assert!(accept(&Service::new(keytab), &Request::new(EncryptionType::Aes256).token()).is_ok());
}

/// What a token's alteration may change is what Kerberos leaves unprotected: the options, the version of the key, the
/// spelling of the service. Client, keys and lifetime stay, or it is refused.
fn unharmed(accepted: &mut Accepted) {
    assert_eq!(accepted.client.to_string(), ALICE);
    assert_eq!(accepted.service.to_string(), SIP);
    assert_eq!(accepted.ends, NOW.unix_seconds + HOUR);
    agree(accepted, MessageKeys::new(&key(EncryptionType::Aes256, 3), false, 0x2f97_612a, 0x2f97_612a));
}

#[test]
fn every_altered_bit() {
    let service = server();
    let token = Request::new(EncryptionType::Aes256).token();
    let mut passed = 0;
    for place in 0..token.len() {
        for bit in 0..8 {
            let mut altered = token.clone();
            altered[place] ^= 1 << bit;
            if let Ok(mut accepted) = accept(&service, &altered) {
                unharmed(&mut accepted);
                passed += 1;
            }
        }
    }
    assert!(passed < 150, "{passed} altered tokens were taken");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let service = server();
        prop_assert!(accept(&service, &bytes).is_err());
        prop_assert!(accept(&service, &frame(TokenId::ApReq, &bytes)).is_err());
        prop_assert!(accept(&service, &NegotiateInit::of_kerberos(&bytes)).is_err());
        let _ = (TicketPart::read(&bytes).is_ok(), Authenticator::read(&bytes).is_ok());
    }

    #[test]
    fn no_altered_inside_panics(at: prop::sample::Index, by in 1u8.., cut: prop::sample::Index) {
        let request = Request::new(EncryptionType::Aes256);
        let message = request.message();
        let read = ApReq::read(&message).unwrap();
        let ticket = Ticket::read(&read.ticket).unwrap().encrypted.decrypt(&request.service_key, usage::TICKET).unwrap();
        let inside = read.authenticator.decrypt(&request.session_key, usage::AP_REQ_AUTHENTICATOR).unwrap();
        for plain in [ticket, inside] {
            let mut plain = plain.to_vec();
            let at = at.index(plain.len());
            plain[at] ^= by;
            let _ = (TicketPart::read(&plain).is_ok(), Authenticator::read(&plain).is_ok());
            plain.truncate(cut.index(plain.len()));
            prop_assert!(TicketPart::read(&plain).is_err() && Authenticator::read(&plain).is_err(), "cut short");
        }
    }

    #[test]
    fn altered_tokens(places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut token = Request::new(EncryptionType::Aes256).token();
        for (at, byte) in places {
            let at = at.index(token.len());
            token[at] = byte;
        }
        if let Ok(mut accepted) = accept(&server(), &token) {
            unharmed(&mut accepted);
        }
    }
}
