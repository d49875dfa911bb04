//! NTLM answers, made by our client, checked by winbind.

use crate::block_on;
use crate::domain_controller::{PASSWORD, domain_controller};
use mechanism::ntlm::{Acceptor, Answered, Credentials, Entropy, Mode, NtHash, TargetNames, answer};
use net::active_directory::{WinbindSettings, WinbindVerifier};
use signin::authenticate::throttle::Throttle;
use signin::authenticate::verifier::{NtlmProof, NtlmQuestion, NtlmVerifier, Refusal};
use signin::name::AccountName;
use std::time::{Duration, Instant};

/// 1 November 2026, 100 ns since 1601.
const FILETIME: u64 = 134_379_648_000_000_000;

/// One handshake up to the question, and both ends of it.
struct Handshake {
    acceptor: Acceptor,
    answered: Answered,
    question: NtlmQuestion,
}

fn handshake(account: &str, password: &str) -> Handshake {
    let AccountName { domain, user } = AccountName::parse(account);
    let names = TargetNames {
        netbios_domain: "CONTOSO".to_owned(),
        netbios_computer: "POOL1".to_owned(),
        dns_domain: "contoso.test".to_owned(),
        dns_computer: "pool1.contoso.test".to_owned(),
    };
    let mut acceptor = Acceptor::new(Mode::Datagram, *b"8 bytes!", names);
    let challenge = acceptor.challenge_message(None).expect("a challenge");
    let nt_hash = NtHash::of_password(password);
    let credentials = Credentials { user, domain, workstation: "TEST".to_owned(), nt_hash };
    let entropy = Entropy { client_challenge: [3; 8], session_key: [5; 16] };
    let answered = answer(Mode::Datagram, None, &challenge, &credentials, &entropy, FILETIME).expect("an answer");
    let read = acceptor.read_answer(&answered.message).expect("it is ours");
    let question = NtlmQuestion {
        account: AccountName { domain: read.domain().to_owned(), user: read.user().to_owned() },
        server_challenge: *acceptor.server_challenge(),
        nt_response: read.nt_response().to_vec(),
    };
    Handshake { acceptor, answered, question }
}

fn verifier() -> WinbindVerifier {
    WinbindVerifier::new(WinbindSettings::default())
}

async fn ask(verifier: &WinbindVerifier, account: &str, password: &str) -> Result<NtlmProof, Refusal> {
    verifier.verify(handshake(account, password).question).await
}

fn words(refusal: Result<NtlmProof, Refusal>) -> String {
    match refusal.expect_err("it is refused") {
        Refusal::Credentials { why } => why,
        other => panic!("{other:?}"),
    }
}

#[test]
#[ignore = "needs Samba; run by make test"]
fn the_right_password_in_every_spelling_and_its_key_signs() {
    let _dc = domain_controller();
    block_on(async {
        let verifier = verifier();
        for account in ["CONTOSO\\alice", "contoso.test\\alice", "alice.adams@contoso.test", "CONTOSO\\Müller Ä"] {
            let Handshake { acceptor, answered, question } = handshake(account, PASSWORD);
            let expected = question.account.clone();
            let proof = verifier.verify(question).await.unwrap_or_else(|refusal| panic!("{account}: {refusal}"));
            assert_eq!(proof.account, expected);
            let read = acceptor.read_answer(&answered.message).expect("as before");
            let keys = acceptor.finish(&read, &proof.session_base_key).expect("the key fits");
            let side = mechanism::Side::Client;
            assert!(keys.verify(side, b"REGISTER", &answered.keys.sign(side, b"REGISTER")), "{account}");
        }
    });
}

#[test]
#[ignore = "needs Samba; run by make test"]
fn who_is_refused_and_why_stays_in_the_log() {
    let _dc = domain_controller();
    block_on(async {
        let verifier = verifier();
        let wrong = words(ask(&verifier, "CONTOSO\\alice", "Pa55-wort").await);
        assert!(wrong.contains("CONTOSO\\alice") && wrong.contains("password is not correct"), "{wrong}");
        let unknown = words(ask(&verifier, "CONTOSO\\nobody", PASSWORD).await);
        assert!(unknown.contains("account does not exist"), "{unknown}");
        let disabled = words(ask(&verifier, "CONTOSO\\dave", PASSWORD).await);
        assert!(disabled.contains("disabled"), "{disabled}");
        words(ask(&verifier, "FABRIKAM\\alice", PASSWORD).await);
        assert!(ask(&verifier, "CONTOSO\\alice", PASSWORD).await.is_ok(), "after refusals a right answer is right");
    });
}

#[test]
#[ignore = "needs Samba; run by make test"]
fn answers_are_never_for_another_question() {
    let _dc = domain_controller();
    let throttle = Throttle { failures: 1000, ..Throttle::default() };
    let settings = WinbindSettings { helpers: 3, refusal: Duration::ZERO, throttle, ..WinbindSettings::default() };
    let verifier = WinbindVerifier::new(settings);
    block_on(async {
        let cases = [
            ("CONTOSO\\alice", PASSWORD),
            ("CONTOSO\\nobody", PASSWORD),
            ("CONTOSO\\bob", "x"),
            ("CONTOSO\\bob", PASSWORD),
        ];
        let asked = (0..60).map(|number| {
            let (account, password) = cases[number % cases.len()];
            let (verifier, right) = (&verifier, account != "CONTOSO\\nobody" && password == PASSWORD);
            async move { assert_eq!(ask(verifier, account, password).await.is_ok(), right, "{account} {password}") }
        });
        futures_util::future::join_all(asked).await;
    });
}

#[test]
#[ignore = "needs Samba; run by make test"]
fn without_winbind_nobody_can_tell_and_with_it_again_somebody_can() {
    let mut dc = domain_controller();
    let verifier = verifier();
    block_on(async {
        assert!(ask(&verifier, "CONTOSO\\alice", PASSWORD).await.is_ok());
        dc.stop();
        for _ in 0..3 {
            let begun = Instant::now();
            let refusal = ask(&verifier, "CONTOSO\\alice", PASSWORD).await.expect_err("nobody is asked");
            assert!(matches!(refusal, Refusal::Unavailable(_)), "{refusal:?}");
            assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
        }
        dc.serve();
        let answer = ask(&verifier, "CONTOSO\\alice", PASSWORD).await;
        assert!(answer.is_ok(), "{answer:?}");
    });
}
