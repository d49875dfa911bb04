//! Any flights at both halves of TLS-DSK: refused without harm, never believed.
//!
//! The first byte says how the rest is used. Bit 0: the server has seen a ClientHello of its own client already, so that the
//! bytes meet it where it waits for the proof. Bit 1: each flight is put into a record of handshake messages. What follows
//! are flights, each with its length before it (2 bytes, big-endian). The handshakes draw their own randomness, so a finding
//! may take a second run to show again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mechanism::tls_dsk::{Client, ClientStep, Policy, Server, ServerStep};
use mechanism::user_certificate::{UserCertificateAuthority, new_key};
use std::sync::LazyLock;
use std::time::Duration;

static HALVES: LazyLock<(Server, Client)> = LazyLock::new(|| {
    let key = new_key(2048).expect("a key");
    let certificate = UserCertificateAuthority::certify(&key, [1; 16], 1_700_000_000, Duration::from_secs(3600))
        .expect("a certificate");
    let client = Client::new(&certificate, &key, Policy::default()).expect("a client");
    (Server::new(&[certificate], &key, Policy::default()).expect("a server"), client)
});

fuzz_target!(|bytes: &[u8]| {
    let Some((how, mut rest)) = bytes.split_first() else { return };
    let (server, client) = &*HALVES;
    let mut accepting = server.begin().expect("begins");
    let (mut connecting, hello) = client.begin().expect("begins");
    if how & 1 != 0 {
        assert!(matches!(accepting.step(&hello), Ok(ServerStep::Continue(_))));
    }
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (flight, next) = after.split_at(usize::from(u16::from_be_bytes(*length)).min(after.len()));
        rest = next;
        let flight = if how & 2 != 0 {
            let [high, low] = (flight.len() as u16).to_be_bytes();
            [&[22, 3, 3, high, low], flight].concat()
        } else {
            flight.to_vec()
        };
        let answers = (accepting.step(&flight), connecting.step(&flight));
        assert!(!matches!(answers.0, Ok(ServerStep::Finished { .. })), "nobody guesses a proof");
        assert!(!matches!(answers.1, Ok(ClientStep::Finished { .. })), "nobody guesses a Finished");
    }
});
