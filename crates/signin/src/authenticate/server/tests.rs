//! Shares of handshakes.

use super::*;
use crate::authenticate::verifier::{NtlmProof, NtlmQuestion, NtlmVerifier};
use crate::io::Pending;

struct Nobody;

impl NtlmVerifier for Nobody {
    fn verify(&self, _: NtlmQuestion) -> Pending<'_, Result<NtlmProof, Refusal>> {
        Box::pin(std::future::ready(Err(Refusal::Credentials { why: "nobody is right".to_owned() })))
    }
}

#[test]
fn one_address_leaves_room_for_the_others() {
    let offers = vec![Offer::Ntlm(Arc::new(Nobody))];
    let settings = Settings { handshakes_per_address: 3, ..Settings::new("fe01.contoso.test", "contoso.test", offers) };
    let mut associations = Associations::new(settings);
    let text = "REGISTER sip:contoso.test SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.1\r\nFrom: <sip:alice@contoso.test>;tag=1;epid=a0ae9e6cb0\r\nTo: <sip:alice@contoso.test>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\nAuthorization: NTLM qop=\"auth\", realm=\"SIP Communications Service\", targetname=\"fe01.contoso.test\", gssapi-data=\"\", version=4\r\n\r\n";
    let message = Message::parse(text.as_bytes()).expect("parses");
    let counter = std::cell::Cell::new(0u8);
    let random = |bytes: &mut [u8]| bytes.fill(counter.replace(counter.get() + 1));
    let moment = Moment { now: Duration::ZERO, unix_seconds: 0, random: &random };
    let mut conn = 0;
    let mut begins = |associations: &mut Associations, address: &str| {
        conn += 1;
        let peer = Peer { conn: ConnId(conn), address: address.parse().expect("an address") };
        let before = associations.counts().0;
        associations.examine(&moment, peer, &message);
        associations.counts().0 > before
    };
    for (address, other) in [("192.0.2.1", "192.0.2.2"), ("2001:db8:1:2::3", "2001:db8:1:3::3")] {
        let from_there: Vec<bool> = (0..5).map(|_| begins(&mut associations, address)).collect();
        assert_eq!(from_there, [true, true, true, false, false], "{address}");
        assert!(begins(&mut associations, other));
    }
    assert!(!begins(&mut associations, "2001:db8:1:2::4"), "another address of the same network");
    assert!(!begins(&mut associations, "::ffff:192.0.2.1"), "the same address, written otherwise");
    (1..=6).for_each(|conn| associations.closed(ConnId(conn)));
    assert!(begins(&mut associations, "192.0.2.1"), "those are over");
    associations.sweep(Duration::from_secs(60));
    assert!(associations.handshakes.nothing_is_left());
}
