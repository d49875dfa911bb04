//! Old cryptography switched off, over real sockets: the sign-in that needs it is told so, and the others work.

mod support;

use lab::{Lab, LabConfig};
use signin::authenticate::client::Choice;
use signin::authenticate::message::Scheme;
use signin::old_cryptography::{OldAlgorithm, OldCryptography};
use signin::tickets::{Source, Tickets};
use std::sync::Arc;
use support::{Attempt, Outcome, Pocket};

async fn lab_with(old_cryptography: OldCryptography) -> Lab {
    Lab::start(&LabConfig { old_cryptography, ..LabConfig::default() }).await.expect("a lab")
}

/// Alice with one mechanism, an empty keyring, and tickets where she may have them.
async fn sign_in(lab: &Lab, scheme: Scheme, tickets: bool) -> Outcome {
    let mut attempt = Attempt::of(lab, "alice").at("fe02.contoso.test");
    attempt.sign_in.choice = Choice::Only(scheme);
    attempt.sign_in.keyring = Some(Arc::new(Pocket::default()));
    let source = Source { realm: Some(lab.ready().realm.clone()), ..Source::default() };
    if let Some(log_on) = &mut attempt.sign_in.log_on {
        log_on.tickets = tickets.then(|| Arc::new(Tickets::new(source)));
    }
    attempt.run().await
}

#[tokio::test]
async fn each_switch_stops_what_needs_it_and_nothing_else() {
    const FINE: &str = "signed in";
    let default = OldCryptography::default();
    let without = |algorithm| default.without(algorithm);
    // NTLM; Kerberos; TLS-DSK with a certificate that is had by ticket; the same by password.
    let no_ntlm = ["auth-no-common-scheme", FINE, FINE, "ntlm-off-on-server"];
    let table = [
        ("all of it", OldCryptography::ALL, [FINE; 4]),
        ("the default", default, [FINE; 4]),
        ("no MD4", without(OldAlgorithm::Md4), no_ntlm),
        ("no RC4", without(OldAlgorithm::Rc4), no_ntlm),
        ("no TLS 1.0", without(OldAlgorithm::Tls10), [FINE; 4]),
        ("no SHA-1", without(OldAlgorithm::Sha1), [FINE; 4]),
        ("nothing old", OldCryptography::NONE, no_ntlm),
    ];
    for (what, old, expected) in table {
        let lab = lab_with(old).await;
        let ways = [(Scheme::Ntlm, false), (Scheme::Kerberos, true), (Scheme::TlsDsk, true), (Scheme::TlsDsk, false)];
        for ((scheme, tickets), id) in ways.into_iter().zip(expected) {
            let outcome = sign_in(&lab, scheme.clone(), tickets).await;
            assert_eq!(outcome.id(), id, "{what}, {scheme}: {}", outcome.sentence());
            let verdict = outcome.report.verdict.as_ref();
            assert!(verdict.is_none_or(|verdict| !verdict.fix.is_empty() && outcome.sentence().contains("NTLM")));
        }
    }
}
