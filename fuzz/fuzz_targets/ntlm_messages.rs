//! Any bytes as each NTLM message: read without harm, answered or refused, never believed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mechanism::ntlm::message::{Authenticate, Challenge, negotiate_flags};
use mechanism::ntlm::{Acceptor, Credentials, Entropy, Mode, NtHash, TargetNames, answer};

fuzz_target!(|bytes: &[u8]| {
    let _ = (Challenge::parse(bytes), negotiate_flags(bytes));
    if let Ok(message) = Authenticate::parse(bytes) {
        let _ = Authenticate::parse(&message.to_bytes());
    }
    let who = Credentials {
        user: "u".to_owned(),
        domain: "d".to_owned(),
        workstation: "w".to_owned(),
        nt_hash: NtHash::decoy(),
    };
    let entropy = Entropy { client_challenge: [1; 8], session_key: [2; 16] };
    let _ = answer(Mode::Datagram, None, bytes, &who, &entropy, 0);
    let names = TargetNames {
        netbios_domain: "D".to_owned(),
        netbios_computer: "C".to_owned(),
        dns_domain: "d.test".to_owned(),
        dns_computer: "c.d.test".to_owned(),
    };
    let mut acceptor = Acceptor::new(Mode::Datagram, [3; 8], names);
    let _ = acceptor.challenge_message(None);
    if let Ok(read) = acceptor.read_answer(bytes) {
        let proof = NtHash::of_password("x").session_base_key(read.user(), read.domain(), &[3; 8], read.nt_response());
        assert!(proof.is_err(), "nobody guesses a proof");
        let _ = acceptor.finish(&read, &[0; 16]);
    }
});
