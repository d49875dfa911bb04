//! Clients that speak nothing newer, where the old is switched off: each is told so.

mod phone;
mod world;

use mechanism::tls_dsk::{self, Policy, Protocol};
use mechanism::user_certificate::{UserCertificateAuthority, new_key};
use phone::Phone;
use signin::authenticate::offer::{Offer, TlsDsk};
use signin::authenticate::verifier::{CertificateHolder, CertificateVerifier, Refusal};
use signin::io::Pending;
use signin::old_cryptography::{OldAlgorithm, OldCryptography};
use signin::reply::Told;
use sip::Message;
use std::sync::Arc;
use std::time::Duration;
use world::{EPOCH, Plan, World};

/// Nobody gets that far.
struct NeverAsked;

impl CertificateVerifier for NeverAsked {
    fn verify(&self, _: Vec<u8>) -> Pending<'_, Result<CertificateHolder, Refusal>> {
        panic!("the handshake does not end")
    }
}

#[test]
fn tls_1_0_in_tokens_is_told_what_is_wrong() {
    let key = new_key(2048).expect("a key");
    let year = Duration::from_secs(365 * 86_400);
    let certificate = UserCertificateAuthority::certify(&key, [1; 16], EPOCH, year).expect("a certificate");
    let default = OldCryptography::default();
    for (old, max, answer) in [
        (default, Protocol::Tls10, None),
        (default, Protocol::Tls12, None),
        (default.without(OldAlgorithm::Tls10), Protocol::Tls10, Some("dsk-inner-version")),
        (default.without(OldAlgorithm::Tls10), Protocol::Tls11, Some("dsk-inner-version")),
        (default.without(OldAlgorithm::Tls10), Protocol::Tls12, None),
    ] {
        let world = World::empty();
        world.user("alice", Some("pool1"), None);
        let handshakes =
            tls_dsk::Server::new(std::slice::from_ref(&certificate), &key, old.tls_dsk()).expect("a server");
        let sts_uri = "https://web-pool1.contoso.test/CertProv/CertProvisioningService.svc".to_owned();
        let offer = TlsDsk { handshakes: Arc::new(handshakes), sts_uri, verifier: Arc::new(NeverAsked) };
        world.server(Plan { offers: vec![Offer::TlsDsk(offer)], ..Plan::front_end("fe01", "pool1") });
        let client = tls_dsk::Client::new(&certificate, &key, Policy { max, ..Policy::default() }).expect("a client");
        let (_, flight) = client.begin().expect("a flight");
        let (code, text) = Phone::new(&world, "alice", "fe01").show_flight(flight);
        let told = Told::by(&Message::parse(text.as_bytes()).expect("a message"));
        assert_eq!((code, told.cause.as_deref()), (401, answer), "{max} where {:?}", old.tls_dsk().min);
        let goes_on = text.contains("gssapi-data=\"Fg");
        assert_eq!(goes_on, answer.is_none(), "a flight of the server is the answer, or none: {text}");
    }
}
