//! Published keys and signatures, and the exporter against the specifications' own way to derive them.

use super::*;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::Sha256;

/// A handshake in TLS 1.0 with AES128-SHA.
const MASTER: &str = "b5a558b8a88ee7faf84fda3668c5a8fa05a574e5dad7c145d41225f0bbdba09985b7d89d0497b82d0e6065fca8eab8c2";
const CLIENT_RANDOM: &str = "6b02eb41020871756c3f7ce7629d047cae3e2b40b41c1072807a545146861464";
const SERVER_RANDOM: &str = "940c24d0e394b9dc96c0a8084e81daf80f01dd4df92bed7715d8ad79fe48d8af";
const BLOCK: &str = "610b0aec1a2865e17f2ecc622c73806ea445958cf04569ec5236c56439ba353bd71b801f018eaa2875c5931440874059feaca9235f24feb7\
     51172db854d3e54c856cc21545a45ed5a504b12cf05ed38cfcf7fe2d6f3f93a98d8172f414c9f18e42d3dd036f74caaf56b6e8126abe29bc\
     c8627f5e0d955142b7799fac19cba14c";

const REQUEST: &str = "<TLS-DSK><e8b69f85><1><SIP Communications Service><fe.contoso.test><0123456789abcdef0123456789abcdef>\
                       <4><REGISTER><sip:alice@contoso.test><1a2b3c4d5e><sip:alice@contoso.test><><><><>";
const ANSWER: &str = "<TLS-DSK><FA78E074><1><SIP Communications Service><fe.contoso.test><0123456789abcdef0123456789abcdef>\
                      <4><REGISTER><sip:alice@contoso.test><1a2b3c4d5e><sip:alice@contoso.test>\
                      <9588410E2DA11CEE9D0AE7733E07830F><><><7200><200>";

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).expect("hex")
}

/// P_hash, RFC 2246 §5.
fn p_hash<M: Mac + KeyInit>(secret: &[u8], seed: &[u8], length: usize) -> Vec<u8> {
    let mac = |parts: &[&[u8]]| {
        let mut mac = <M as KeyInit>::new_from_slice(secret).expect("any length");
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().to_vec()
    };
    let (mut a, mut out) = (seed.to_vec(), Vec::new());
    while out.len() < length {
        a = mac(&[&a]);
        out.extend(mac(&[&a, seed]));
    }
    out.truncate(length);
    out
}

/// The block that the specification asks for: PRF(master, "client EAP encryption", client random, server random).
fn block(protocol: Protocol, master: &[u8], client_random: &[u8], server_random: &[u8]) -> Vec<u8> {
    let seed = [b"client EAP encryption", client_random, server_random].concat();
    match protocol {
        Protocol::Tls10 | Protocol::Tls11 => {
            let (first, second) = (&master[..24], &master[24..]);
            let (md5, sha1) = (p_hash::<Hmac<Md5>>(first, &seed, 128), p_hash::<Hmac<Sha1>>(second, &seed, 128));
            md5.iter().zip(sha1).map(|(a, b)| a ^ b).collect()
        }
        Protocol::Tls12 => p_hash::<Hmac<Sha256>>(master, &seed, 128),
    }
}

fn exported(block: &[u8], hash: SignatureHash) -> MessageKeys {
    MessageKeys::from_exported(block.try_into().expect("128 bytes"), hash)
}

#[test]
fn published_block_follows_from_the_master_secret() {
    let randoms = (bytes(CLIENT_RANDOM), bytes(SERVER_RANDOM));
    assert_eq!(hex::encode(block(Protocol::Tls10, &bytes(MASTER), &randoms.0, &randoms.1)), BLOCK);
    let newer = block(Protocol::Tls12, &bytes(MASTER), &randoms.0, &randoms.1);
    assert_eq!(hex::encode(&newer[64..96]), "12c8b3a5a988975af4fd157ad6d826b75f107825c14b7867ea451b6753a61bb9");
    assert_eq!(hex::encode(&newer[96..]), "31360aaf9b3c5902f705dca1ebb59fd8dd86293b820fc27434f5c5f85a410cde");
}

#[test]
fn published_signatures_are_reproduced() {
    for (hash, request, answer) in [
        (SignatureHash::Sha1, "bb2d294452ca3cf95ca4210d053c13d79dd2b5db", "4e4642a96a5a89955dabbc567693481f0052f19d"),
        (SignatureHash::Md5, "fc7c63616fd43860e14b0005a9205127", "b4c636252576ce373bd9e3fa35e5f199"),
    ] {
        let keys = exported(&bytes(BLOCK), hash);
        assert_eq!(hex::encode(keys.sign(Side::Client, REQUEST.as_bytes())), request);
        assert_eq!(hex::encode(keys.sign(Side::Server, ANSWER.as_bytes())), answer);
        assert!(keys.verify(Side::Client, REQUEST.as_bytes(), &bytes(request)));
        assert!(!keys.verify(Side::Server, REQUEST.as_bytes(), &bytes(request)), "the other side's key");
        assert!(!keys.verify(Side::Client, ANSWER.as_bytes(), &bytes(request)), "another text");
        assert!(!keys.verify(Side::Client, REQUEST.as_bytes(), &bytes(request)[1..]), "a part");
        assert!(!keys.verify(Side::Client, REQUEST.as_bytes(), &[]), "nothing");
    }
}

/// What OpenSSL exports is what the specification derives.
#[test]
fn exporter_is_the_specified_derivation() {
    for protocol in [Protocol::Tls10, Protocol::Tls11, Protocol::Tls12] {
        let mut accepting = server(Policy::default()).begin().expect("begins");
        let (mut connecting, first) = client(only(protocol)).begin().expect("begins");
        let second = continued(accepting.step(&first).expect("answers"));
        let ClientStep::Continue(third) = connecting.step(&second).expect("answers") else { panic!("not done") };
        let ServerStep::Finished { keys, .. } = accepting.step(&third).expect("done") else { panic!("done") };

        let ssl = accepting.0.ssl();
        let (mut master, mut client_random, mut server_random) = ([0; 48], [0; 32], [0; 32]);
        assert_eq!(ssl.session().expect("a session").master_key(&mut master), 48);
        assert_eq!((ssl.client_random(&mut client_random), ssl.server_random(&mut server_random)), (32, 32));
        let derived = exported(&block(protocol, &master, &client_random, &server_random), SignatureHash::Sha1);
        for side in [Side::Client, Side::Server] {
            assert!(keys.verify(side, b"text", &derived.sign(side, b"text")), "{protocol}");
        }
    }
}
