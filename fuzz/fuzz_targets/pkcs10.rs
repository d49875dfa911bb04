//! Any bytes as a certification request and as a user certificate: read without harm, and never recognised as issued.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mechanism::user_certificate::{CertificateRequest, RequestLimits, UserCertificate, UserCertificateAuthority, new_key};
use std::sync::LazyLock;
use std::time::Duration;

static AUTHORITY: LazyLock<UserCertificateAuthority> = LazyLock::new(|| {
    let key = new_key(2048).expect("a key");
    let certificate = UserCertificateAuthority::certify(&key, [7; 16], 0, Duration::from_secs(86_400)).expect("DER");
    UserCertificateAuthority::new(&certificate, &key).expect("an authority")
});

fuzz_target!(|bytes: &[u8]| {
    let limits = RequestLimits::default();
    if let Ok(request) = CertificateRequest::read(bytes, &limits) {
        assert!((limits.min_bits..=limits.max_bits).contains(&request.bits()));
    }
    if let Ok(certificate) = UserCertificate::read(bytes) {
        assert!(!AUTHORITY.recognises(&certificate), "nobody guesses a signature");
    }
});
