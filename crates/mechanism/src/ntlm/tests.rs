//! Vectors: `[MS-NLMP]` §4.2.4, and a sign-in of Office Communicator 2007 R2 that was published with its password.

use super::crypto::{NtHash, hmac_md5, rc4};
use super::keys::SigningKeys;
use super::message::{Authenticate, Challenge, Flags};
use super::*;
use crate::Side;
use hex::{decode, encode};
use proptest::prelude::*;

/// The CHALLENGE of the published sign-in.
const CHALLENGE: &str = concat!(
    "4E544C4D53535000020000000000000038000000F38298E2DD1BAAF4E7E218D100000000000000009600960038000000",
    "0502CE0E0000000F02000A0043004F0053004D004F000100180043004F0053004D004F002D004F00430053002D0052003200",
    "0400160063006F0073006D006F002E006C006F00630061006C00",
    "0300300063006F0073006D006F002D006F00630073002D00720032002E0063006F0073006D006F002E006C006F00630061006C00",
    "0500160063006F0073006D006F002E006C006F00630061006C0000000000"
);
const REQUEST: &[u8] = b"<NTLM><13317733><1><SIP Communications Service><cosmo-ocs-r2.cosmo.local><4037df9284354df39065195bd57a4b14><3><REGISTER><sip:user@cosmo.local><3e49177a52><sip:user@cosmo.local><><><><>";
const RESPONSE: &[u8] = b"<NTLM><9616454F><1><SIP Communications Service><cosmo-ocs-r2.cosmo.local><4037df9284354df39065195bd57a4b14><3><REGISTER><sip:user@cosmo.local><3e49177a52><sip:user@cosmo.local><5E61CCD925D17E043D9A74835A88F664><><><7200><200>";

fn fixed<const N: usize>(text: &str) -> [u8; N] {
    decode(text).expect("hex").try_into().expect("length")
}

fn user() -> Credentials {
    Credentials {
        user: "User".to_owned(),
        domain: "COSMO".to_owned(),
        workstation: "COSMO-OCS-R2".to_owned(),
        nt_hash: NtHash::of_password("Pa$$word"),
    }
}

/// The published answer, made again from the same randomness.
fn published() -> Answered {
    let entropy =
        Entropy { client_challenge: fixed("D6AE875CB0FDAA41"), session_key: fixed("6742fbe37bb1946b49d86a525bd29a9b") };
    let filetime = u64::from_le_bytes(fixed("59519A1727B9CA01"));
    answer(Mode::Datagram, None, &decode(CHALLENGE).expect("hex"), &user(), &entropy, filetime).expect("answers")
}

#[test]
fn published_sign_in_is_reproduced() {
    let answered = published();
    let message = Authenticate::parse(&answered.message).expect("parses");
    assert_eq!(answered.message.len(), 352);
    assert_eq!(encode(&answered.message[60..64]), "55829862");
    assert_eq!(encode(&message.nt_response[..16]), "8dc0c800ae76eca606d2b9fbebd04731");
    assert_eq!(encode(&message.lm_response), "a1e92efe4e078bf7c5c0049acc6166c2d6ae875cb0fdaa41");
    assert_eq!(encode(&message.session_key), "31cb739e1ca80a498591e8ae797115e4");
    assert_eq!(encode(answered.keys.sign(Side::Client, REQUEST)), "0100000029618e9651b65a7764000000");
    assert_eq!(encode(answered.keys.sign(Side::Server, RESPONSE)), "01000000e615438a917661be64000000");
    assert!(!answered.keys.verify(Side::Server, REQUEST, &answered.keys.sign(Side::Client, REQUEST)));
}

#[test]
fn hashes_of_the_specification() {
    assert_eq!(NtHash::of_password("Password").to_hex().as_str(), "a4f49c406510bdcab6824ee7c30fd852");
    let hash = NtHash::from_hex("a4f49c406510bdcab6824ee7c30fd852").expect("hex");
    let key = hash.response_key("User", "Domain");
    assert_eq!(encode(&key[..]), "0c868a403bfd7a93a3001ef22ef02e3f");
    let blob = decode(concat!(
        "01010000000000000000000000000000aaaaaaaaaaaaaaaa00000000",
        "02000c0044006f006d00610069006e0001000c005300650072007600650072000000000000000000"
    ))
    .expect("hex");
    let challenge = fixed("0123456789abcdef");
    let proof = hmac_md5(&key[..], &[&challenge, &blob]);
    assert_eq!(encode(proof), "68cd0ab851e51c96aabc927bebef6a1c");
    let base = hash.session_base_key("User", "Domain", &challenge, &[&proof[..], &blob].concat()).expect("right");
    assert_eq!(encode(&base[..]), "8de40ccadbc14a82f15cb0ad0de95ca3");
    let mut session = [0x55; 16];
    rc4(&base, &mut session);
    assert_eq!(encode(session), "c5dad2544fc9799094ce1ce90bc9d03e");
    assert!(NtHash::from_hex("xx").is_none());
}

#[test]
fn nothing_secret_is_printed() {
    let keys = SigningKeys::derive(&[7; 16], Mode::Datagram);
    let printed = format!("{:?} {:?} {:?}", NtHash::of_password("canary"), keys, user());
    assert!(!printed.contains(NtHash::of_password("canary").to_hex().as_str()));
    assert!(printed.contains("NtHash(…)") && printed.contains("SigningKeys(…)"));
}

fn acceptor(mode: Mode) -> Acceptor {
    let names = TargetNames {
        netbios_domain: "CONTOSO".to_owned(),
        netbios_computer: "FE01".to_owned(),
        dns_domain: "contoso.test".to_owned(),
        dns_computer: "fe01.contoso.test".to_owned(),
    };
    Acceptor::new(mode, [3; 8], names)
}

fn log_on(password: &str) -> Credentials {
    Credentials {
        user: "älice".to_owned(),
        domain: "CONTOSO".to_owned(),
        workstation: "PC".to_owned(),
        nt_hash: NtHash::of_password(password),
    }
}

const ENTROPY: Entropy = Entropy { client_challenge: [1; 8], session_key: [2; 16] };

/// One whole handshake; gives both sides' keys.
fn handshake(mode: Mode, password: &str) -> Result<(SigningKeys, SigningKeys), String> {
    let negotiate = (mode == Mode::Connection).then(negotiate);
    let mut server = acceptor(mode);
    let challenge = server.challenge_message(negotiate.as_deref()).map_err(|e| e.to_string())?;
    let client =
        answer(mode, negotiate.as_deref(), &challenge, &log_on(password), &ENTROPY, 9).map_err(|e| e.to_string())?;
    let read = server.read_answer(&client.message).map_err(|e| e.to_string())?;
    assert_eq!((read.user(), read.domain(), read.response_time()), ("älice", "CONTOSO", Some(9)));
    let key = NtHash::of_password("right")
        .session_base_key(read.user(), read.domain(), server.server_challenge(), read.nt_response())
        .map_err(|e| e.to_string())?;
    Ok((client.keys, server.finish(&read, &key).map_err(|e| e.to_string())?))
}

#[test]
fn both_halves_agree_in_both_forms() {
    for mode in [Mode::Datagram, Mode::Connection] {
        let (client, server) = handshake(mode, "right").expect("agrees");
        for side in [Side::Client, Side::Server] {
            let signature = client.sign(side, b"text");
            assert!(server.verify(side, b"text", &signature));
            assert!(!server.verify(side, b"texT", &signature));
            assert!(!server.verify(side, b"text", &signature[..15]));
        }
        assert_eq!(handshake(mode, "wrong").map(|_| ()), Err(WrongAnswer.to_string()));
    }
}

#[test]
fn an_answer_is_good_for_its_challenge_only() {
    let mut server = acceptor(Mode::Datagram);
    let challenge = server.challenge_message(None).expect("challenge");
    let client = answer(Mode::Datagram, None, &challenge, &log_on("right"), &ENTROPY, 0).expect("answers");
    let read = server.read_answer(&client.message).expect("reads");
    let check = |user: &str, domain: &str, challenge: &[u8; 8], response: &[u8]| {
        NtHash::of_password("right").session_base_key(user, domain, challenge, response).is_ok()
    };
    assert!(check("ÄLICE", "CONTOSO", &[3; 8], read.nt_response()), "case of the user does not matter");
    assert!(!check("älice", "contoso", &[3; 8], read.nt_response()), "case of the domain does");
    assert!(!check("älice", "CONTOSO", &[4; 8], read.nt_response()));
    for at in 0..read.nt_response().len() {
        let mut altered = read.nt_response().to_vec();
        altered[at] ^= 1;
        assert!(!check("älice", "CONTOSO", &[3; 8], &altered), "byte {at}");
    }
}

#[test]
fn integrity_code_is_checked_when_there_is_one() {
    let negotiate = negotiate();
    let mut server = acceptor(Mode::Connection);
    let bytes = server.challenge_message(Some(&negotiate)).expect("challenge");
    let mut challenge = Challenge::parse(&bytes).expect("parses");
    challenge.target_info.push(message::av::TIMESTAMP, &77u64.to_le_bytes());
    let with_time = challenge.to_bytes();
    server.replace_challenge(with_time.clone());
    let client =
        answer(Mode::Connection, Some(&negotiate), &with_time, &log_on("right"), &ENTROPY, 9).expect("answers");
    let check = |message: &[u8]| {
        let read = server.read_answer(message).expect("reads");
        assert_eq!(read.response_time(), Some(77), "the server's own time comes back");
        let key = NtHash::of_password("right")
            .session_base_key(read.user(), read.domain(), server.server_challenge(), read.nt_response())
            .expect("right");
        server.finish(&read, &key).map(|_| ())
    };
    assert_eq!(check(&client.message), Ok(()));
    let mut altered = client.message.clone();
    altered[64] ^= 1;
    assert_eq!(check(&altered), Err(NtlmError::WrongMic));
    altered = client.message;
    altered[75] ^= 1;
    assert_eq!(check(&altered), Err(NtlmError::WrongMic));
}

#[test]
fn integrity_code_is_announced_in_the_flags_the_server_sent() {
    let mut challenge = Challenge::parse(&decode(CHALLENGE).expect("hex")).expect("parses");
    challenge.target_info.push(message::av::TIMESTAMP, &77u64.to_le_bytes());
    challenge.target_info.push(message::av::FLAGS, &4u32.to_le_bytes());
    let client = answer(Mode::Datagram, None, &challenge.to_bytes(), &user(), &ENTROPY, 9).expect("answers");
    let read = Authenticate::parse(&client.message).expect("parses");
    assert!(read.mic.is_some());
    assert_eq!(message::response_info(&read.nt_response).expect("info").flags(), 4 | message::AV_FLAG_MIC);

    challenge.target_info = message::TargetInfo::of_names(&[]);
    challenge.target_info.push(message::av::TIMESTAMP, &77u64.to_le_bytes());
    challenge.target_info.push(message::av::FLAGS, &[0; 3]);
    let refused = answer(Mode::Datagram, None, &challenge.to_bytes(), &user(), &ENTROPY, 9).map(|_| ());
    assert_eq!(refused, Err(NtlmError::BadTargetInfo));
}

/// Where the flags say that the target is a domain, its name has to be there, §2.2.1.2; gss-ntlmssp up to 1.2 dies without.
#[test]
fn challenge_names_the_domain_it_speaks_of() {
    let bytes = acceptor(Mode::Connection).challenge_message(Some(&negotiate())).expect("challenge");
    let challenge = Challenge::parse(&bytes).expect("parses");
    assert!(challenge.flags.has(Flags::TARGET_TYPE_DOMAIN));
    assert_eq!(challenge.target_name, "CONTOSO");
    assert_eq!(challenge.to_bytes(), bytes);
    let bytes = acceptor(Mode::Datagram).challenge_message(None).expect("challenge");
    assert!(!Challenge::parse(&bytes).expect("parses").flags.has(Flags::TARGET_TYPE_DOMAIN));
}

#[test]
fn weak_and_empty_answers_are_refused_by_name() {
    let mut server = acceptor(Mode::Datagram);
    assert_eq!(server.read_answer(b"").map(|_| ()), Err(NtlmError::NoChallenge));
    let challenge = server.challenge_message(None).expect("challenge");
    let good = answer(Mode::Datagram, None, &challenge, &log_on("x"), &ENTROPY, 0).expect("answers").message;
    let refused = |change: &dyn Fn(&mut Authenticate)| {
        let mut message = Authenticate::parse(&good).expect("parses");
        change(&mut message);
        server.read_answer(&message.to_bytes()).map(|_| ())
    };
    assert_eq!(refused(&|_| {}), Ok(()));
    assert_eq!(refused(&|m| m.nt_response.truncate(24)), Err(NtlmError::Version1));
    assert_eq!(refused(&|m| m.nt_response.clear()), Err(NtlmError::Version1));
    assert_eq!(refused(&|m| m.user.clear()), Err(NtlmError::Anonymous));
    assert_eq!(refused(&|m| m.session_key.clear()), Err(NtlmError::NoSessionKey));
    assert_eq!(refused(&|m| m.flags.0 &= !Flags::KEY_EXCHANGE), Err(NtlmError::NoSessionKey));
    assert!(matches!(refused(&|m| m.flags.0 &= !Flags::KEY_128), Err(NtlmError::Lacks(_))));
}

#[test]
fn a_server_that_lacks_what_we_need_is_named() {
    let mut challenge = Challenge::parse(&decode(CHALLENGE).expect("hex")).expect("parses");
    challenge.flags.0 &= !Flags::DATAGRAM;
    let result = answer(Mode::Datagram, None, &challenge.to_bytes(), &user(), &ENTROPY, 0);
    assert_eq!(result.map(|_| ()), Err(NtlmError::Lacks("the connectionless form")));
    challenge.flags.0 &= !Flags::TARGET_INFO;
    assert_eq!(Challenge::parse(&challenge.to_bytes()), Err(NtlmError::Lacks("target information")));
}

#[test]
fn cut_off_messages_are_damaged_not_dangerous() {
    let good = published().message;
    for length in 0..good.len() {
        assert!(Authenticate::parse(&good[..length]).is_err(), "{length} bytes");
    }
    let challenge = decode(CHALLENGE).expect("hex");
    for length in 0..challenge.len() {
        assert!(Challenge::parse(&challenge[..length]).is_err(), "{length} bytes");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(noise in prop::collection::vec(any::<u8>(), 0..400), kind in 1u8..4) {
        let mut bytes = b"NTLMSSP\0".to_vec();
        bytes.extend_from_slice(&[kind, 0, 0, 0]);
        bytes.extend_from_slice(&noise);
        let _ = Challenge::parse(&bytes);
        let _ = Authenticate::parse(&bytes);
        let _ = message::negotiate_flags(&bytes);
        let _ = message::TargetInfo::parse(&noise);
        let _ = NtHash::decoy().session_base_key("u", "d", &[0; 8], &noise);
    }

    #[test]
    fn altered_messages_never_panic(at in 0usize..352, with in any::<u8>()) {
        let mut bytes = published().message;
        bytes[at] = with;
        if let Ok(message) = Authenticate::parse(&bytes) {
            prop_assert_eq!(Authenticate::parse(&message.to_bytes()).is_ok(), true);
        }
    }
}
