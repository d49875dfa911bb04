//! Flights that are altered, cut, repeated, put in another order, or no flights at all.

use super::*;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use proptest::prelude::*;
use std::sync::OnceLock;

/// Two halves before the client's second flight, which is the one that proves who it is.
fn before_the_proof(protocol: Protocol) -> (ServerHandshake, Vec<u8>, Vec<u8>, Vec<u8>) {
    let mut accepting = server(Policy::default()).begin().expect("begins");
    let (mut connecting, first) = client(only(protocol)).begin().expect("begins");
    let second = continued(accepting.step(&first).expect("answers"));
    let ClientStep::Continue(third) = connecting.step(&second).expect("answers") else {
        panic!("the client cannot be done")
    };
    (accepting, first, second, third)
}

/// Where the body of the handshake message of this kind is, in a flight that begins with one record of messages.
fn body_of(flight: &[u8], kind: u8) -> std::ops::Range<usize> {
    let mut at = 5;
    loop {
        let length = u32::from_be_bytes([0, flight[at + 1], flight[at + 2], flight[at + 3]]) as usize;
        if flight[at] == kind {
            return at + 4..at + 4 + length;
        }
        at += 4 + length;
    }
}

#[test]
fn an_altered_proof_is_a_wrong_proof() {
    for protocol in [Protocol::Tls10, Protocol::Tls11, Protocol::Tls12] {
        let (mut accepting, _, _, mut third) = before_the_proof(protocol);
        let proof = body_of(&third, 15);
        third[proof.end - 1] ^= 1;
        assert_eq!(accepting.step(&third).expect_err("refused"), DskError::WrongProof, "{protocol}");
        assert_eq!(accepting.step(&third).expect_err("over"), DskError::Over);
    }
}

#[test]
fn an_altered_finished_is_a_wrong_finished() {
    for protocol in [Protocol::Tls10, Protocol::Tls11, Protocol::Tls12] {
        let (mut accepting, _, _, mut third) = before_the_proof(protocol);
        *third.last_mut().expect("bytes") ^= 1;
        assert_eq!(accepting.step(&third).expect_err("refused"), DskError::WrongFinished, "{protocol}");
    }
}

/// Somebody shows Alice's certificate and signs what was exchanged, as it has to be signed, with a key.
fn shows_alices_certificate_and_signs_with(key: &[u8]) -> DskError {
    let (_, alice) = papers();
    let mallory = Paper::new("mallory@contoso.test", &[]);
    let mut accepting = server(Policy::default()).begin().expect("begins");
    let (mut connecting, first) = client_with(&mallory, only(Protocol::Tls12)).begin().expect("begins");
    let second = continued(accepting.step(&first).expect("answers"));
    let ClientStep::Continue(third) = connecting.step(&second).expect("answers") else {
        panic!("the client cannot be done")
    };

    let message = |kind: u8, body: &[u8]| {
        let length = u32::try_from(body.len()).expect("short").to_be_bytes();
        [&[kind, length[1], length[2], length[3]], body].concat()
    };
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("short").to_be_bytes()[1..].to_vec();
    let entry = [&length(&alice.certificate)[..], &alice.certificate].concat();
    let shown = message(11, &[&length(&entry)[..], &entry].concat());
    let key_exchange = body_of(&third, 16);
    let exchanged = [&shown[..], &third[key_exchange.start - 4..key_exchange.end]].concat();

    let key = PKey::private_key_from_pkcs8(key).expect("a key");
    let mut signer = Signer::new(MessageDigest::sha256(), &key).expect("a signer");
    signer.update(&[&first[5..], &second[5..], &exchanged].concat()).expect("signed");
    let signature = signer.sign_to_vec().expect("signed");
    // RSA with SHA-256, then 256 bytes. RFC 5246 §4.7.
    let proof = message(15, &[&[4, 1, 1, 0], &signature[..]].concat());
    let messages = [exchanged, proof].concat();
    let [.., high, low] = u32::try_from(messages.len()).expect("short").to_be_bytes();
    let after = &third[5 + usize::from(u16::from_be_bytes([third[3], third[4]]))..];
    let forged = [&[22, 3, 3, high, low], &messages[..], after].concat();
    accepting.step(&forged).expect_err("refused")
}

#[test]
fn another_key_does_not_prove_a_certificate() {
    let mallory = Paper::new("mallory@contoso.test", &[]);
    assert_eq!(shows_alices_certificate_and_signs_with(&mallory.key), DskError::WrongProof);
    // With Alice's own key the same hand-made proof is right, and only the Finished, which is of the other handshake, fails.
    assert_eq!(shows_alices_certificate_and_signs_with(&papers().1.key), DskError::WrongFinished);
}

#[test]
fn flights_of_another_handshake_prove_nothing() {
    let (server, client) = (server(Policy::default()), client(Policy::default()));
    let earlier = run(&server, &client).expect("a handshake");
    let mut accepting = server.begin().expect("begins");
    accepting.step(&earlier.to_server[0]).expect("answers");
    assert_eq!(accepting.step(&earlier.to_server[1]).expect_err("refused"), DskError::WrongProof);

    let (mut connecting, first) = client.begin().expect("begins");
    let answer = continued(server.begin().expect("begins").step(&first).expect("answers"));
    connecting.step(&answer).expect("goes on");
    assert_eq!(connecting.step(&earlier.to_client[1]).expect_err("refused"), DskError::WrongFinished);
}

#[test]
fn order_matters() {
    let (mut accepting, first, _, _) = before_the_proof(Protocol::Tls10);
    assert_eq!(accepting.step(&first).expect_err("the same again"), DskError::OutOfOrder);

    let (_, _, _, third) = before_the_proof(Protocol::Tls10);
    let mut early = server(Policy::default()).begin().expect("begins");
    assert_eq!(early.step(&third).expect_err("the second flight first"), DskError::OutOfOrder);

    let (mut accepting, _, _, third) = before_the_proof(Protocol::Tls10);
    let (messages, rest) = third.split_at(5 + usize::from(u16::from_be_bytes([third[3], third[4]])));
    let (change, finished) = rest.split_at(6);
    assert_eq!(
        accepting.step(&[change, messages, finished].concat()).expect_err("ciphers changed too early"),
        DskError::OutOfOrder
    );

    // Without a CertificateVerify, though the certificate is there.
    let (mut accepting, _, _, third) = before_the_proof(Protocol::Tls10);
    let kept = body_of(&third, 16).end;
    let [high, low] = u16::try_from(kept - 5).expect("short").to_be_bytes();
    let unproven = [&[22, 3, 1, high, low], &third[5..kept], rest].concat();
    assert_eq!(accepting.step(&unproven).expect_err("unproven"), DskError::OutOfOrder);
}

#[test]
fn parts_and_surpluses_of_flights_are_refused() {
    let (_, _, _, third) = before_the_proof(Protocol::Tls10);
    let messages = 5 + usize::from(u16::from_be_bytes([third[3], third[4]]));
    for (length, why) in [
        (messages, DskError::Incomplete),
        (messages + 6, DskError::Incomplete),
        (messages - 1, DskError::NotTls("a record is cut off")),
        (third.len() - 1, DskError::NotTls("a record is cut off")),
    ] {
        let (mut accepting, _, _, third) = before_the_proof(Protocol::Tls10);
        assert_eq!(accepting.step(&third[..length]).expect_err("refused"), why, "{length} bytes");
    }
    let (mut accepting, _, _, third) = before_the_proof(Protocol::Tls10);
    let surplus = [&third[..], &[22, 3, 1, 0, 1, 0]].concat();
    assert_eq!(
        accepting.step(&surplus).expect_err("refused"),
        DskError::NotTls("there is more after the end of the handshake")
    );
}

#[test]
fn tokens_that_are_no_flights_say_what_they_are() {
    let step = |bytes: &[u8]| server(Policy::default()).begin().expect("begins").step(bytes).expect_err("refused");
    assert_eq!(step(b""), DskError::NotTls("it is empty"));
    assert_eq!(step(b"GET / HTTP/1.1\r\n\r\n"), DskError::NotTls("a record is cut off"));
    assert_eq!(step(&[22, 3, 1, 0, 9, 1]), DskError::NotTls("a record is cut off"));
    assert_eq!(step(&[23, 3, 1, 0, 1, 0]), DskError::NotTls("a record is not of a handshake"));
    assert_eq!(step(&[22, 2, 0, 0, 1, 0]), DskError::NotTls("a record has a version that is not TLS"));
    assert_eq!(step(&[22, 3, 1, 0xFF, 0xFF]), DskError::NotTls("a record is cut off"));
}

#[test]
fn alerts_are_told_by_name() {
    let step = |bytes: &[u8]| server(Policy::default()).begin().expect("begins").step(bytes).expect_err("refused");
    assert_eq!(step(&[21, 3, 1, 0, 2, 2, 70]), DskError::Alert { number: 70, name: "protocol_version" });
    assert_eq!(step(&[21, 3, 1, 0, 2, 1, 0]), DskError::Alert { number: 0, name: "close_notify" });
    assert_eq!(step(&[21, 3, 1, 0, 2, 2, 255]), DskError::Alert { number: 255, name: "without a name" });
    // The client's answer to a server that it does not like.
    let (mut connecting, _) = client(Policy::default()).begin().expect("begins");
    let refused = connecting.step(&[21, 3, 1, 0, 2, 2, 48]).expect_err("refused");
    assert_eq!(refused.to_string(), "the other side broke off with the alert 48 (unknown_ca)");
}

#[test]
fn length_and_number_of_flights_have_limits() {
    let mut accepting = server(Policy::default()).begin().expect("begins");
    assert_eq!(accepting.step(&vec![0; 40_000]).expect_err("one flight"), DskError::TooLong);
    assert_eq!(accepting.step(&[]).expect_err("over"), DskError::Over);
    // A certificate of 60 KiB is announced; its parts may not come.
    let (mut accepting, _, _, _) = before_the_proof(Protocol::Tls10);
    let mut flight = vec![22, 3, 1, 0x40, 0, 11, 0, 0xF0, 0];
    flight.resize(5 + 0x4000, 0);
    assert_eq!(accepting.step(&flight).expect_err("a part"), DskError::Incomplete);
}

#[test]
fn the_end_is_the_end() {
    let (mut accepting, _, _, third) = before_the_proof(Protocol::Tls12);
    assert!(matches!(accepting.step(&third), Ok(ServerStep::Finished { .. })));
    assert_eq!(accepting.step(&third).expect_err("over"), DskError::Over);
}

/// Made once: many handshakes follow.
fn both() -> &'static (Server, Client) {
    static BOTH: OnceLock<(Server, Client)> = OnceLock::new();
    BOTH.get_or_init(|| (server(Policy::default()), client(Policy::default())))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_panic(flights in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..4)) {
        let mut accepting = both().0.begin().expect("begins");
        let (mut connecting, _) = both().1.begin().expect("begins");
        for flight in flights {
            let _ = (hello::offered(&flight), hello::chosen(&flight), records::merge(&flight));
            prop_assert!(accepting.step(&flight).is_err() && connecting.step(&flight).is_err());
        }
    }

    /// Records and messages of any content, which get further than any bytes.
    #[test]
    fn no_messages_panic(messages in proptest::collection::vec((0u8..25, proptest::collection::vec(any::<u8>(), 0..80)), 0..6)) {
        let mut plain = Vec::new();
        for (kind, body) in &messages {
            plain.extend([*kind, 0, 0, u8::try_from(body.len()).expect("short")]);
            plain.extend(body);
        }
        let [high, low] = u16::try_from(plain.len()).expect("short").to_be_bytes();
        let flight = [&[22, 3, 1, high, low], &plain[..]].concat();
        let _ = (hello::offered(&flight), hello::chosen(&flight));
        prop_assert_eq!(records::messages(&records::plain(&flight)).count(), messages.len());
        let (mut accepting, ..) = before_the_proof(Protocol::Tls10);
        prop_assert!(accepting.step(&flight).is_err());
        let (mut connecting, _) = both().1.begin().expect("begins");
        prop_assert!(connecting.step(&flight).is_err());
    }

    /// Merging changes nothing but the headers of records, and merging again changes nothing at all.
    #[test]
    fn merging_keeps_every_message(fragments in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..600), 0..6), change: bool) {
        let mut flight = Vec::new();
        for fragment in &fragments {
            let [high, low] = u16::try_from(fragment.len()).expect("short").to_be_bytes();
            flight.extend([22, 3, 1, high, low]);
            flight.extend(fragment);
        }
        let end: &[u8] = if change { &[20, 3, 1, 0, 1, 1, 22, 3, 1, 0, 2, 7, 7] } else { &[] };
        flight.extend(end);
        let merged = records::merge(&flight);
        prop_assert_eq!(records::plain(&merged), fragments.concat());
        prop_assert!(merged.ends_with(end));
        if !fragments.concat().is_empty() {
            prop_assert_eq!(merged.len(), 5 + fragments.concat().len() + end.len());
        }
        prop_assert_eq!(records::merge(&merged), merged);
    }

    /// Whatever byte is altered on the way: nobody gets keys, but where the version in the header of a record is altered,
    /// which nothing covers, and then they are the right ones.
    #[test]
    fn altered_flights_lead_nowhere(at in any::<prop::sample::Index>(), flip in 1u8..=255, first_one: bool) {
        let mut accepting = both().0.begin().expect("begins");
        let (mut connecting, mut first) = both().1.begin().expect("begins");
        let mut place = at.index(first.len());
        let mut headers = vec![1, 2];
        if first_one {
            first[place] ^= flip;
        }
        let Ok(ServerStep::Continue(second)) = accepting.step(&first) else { return Ok(()) };
        let Ok(ClientStep::Continue(mut third)) = connecting.step(&second) else { return Ok(()) };
        if !first_one {
            let change = 5 + usize::from(u16::from_be_bytes([third[3], third[4]]));
            headers.extend([change + 1, change + 2, change + 7, change + 8]);
            place = at.index(third.len());
            third[place] ^= flip;
        }
        if let Ok(ServerStep::Finished { flight, certificate, keys, .. }) = accepting.step(&third) {
            prop_assert!(headers.contains(&place), "byte {} of {}", place, third.len());
            prop_assert_eq!(&certificate, &papers().1.certificate);
            let Ok(ClientStep::Finished { keys: same, .. }) = connecting.step(&flight) else { panic!("the client is done") };
            prop_assert!(keys.verify(Side::Client, b"text", &same.sign(Side::Client, b"text")));
        }
    }
}
