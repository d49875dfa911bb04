//! Our client against servers that are broken, hostile, or somebody else: each gets its own verdict, in time, over real
//! sockets.

mod bad_server;
mod support;

use bad_server::{
    Authority, Bench, HOST, OFFER, Tls, answer, forever, hurried, leaf, leaf_valid, listener, nobody, ntlm, request,
    self_signed,
};
use signin::authenticate::client::Choice;
use signin::authenticate::message::Scheme;
use signin::report::Certainty;
use signin::tickets::{self, Kdc, Source, Tickets};
use sip::Message;
use std::sync::Arc;
use support::{LONG, Outcome, Pocket, SHORT};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[track_caller]
fn expect(outcome: &Outcome, id: &str, step: u8, words: &str) {
    assert_eq!((outcome.id(), outcome.report.failed_step), (id, Some(step)), "{}", outcome.ladder());
    assert!(outcome.sentence().contains(HOST), "names nobody: {}", outcome.sentence());
    assert!(outcome.sentence().contains(words), "{:?} says not {words:?}", outcome.sentence());
    assert!(outcome.report.verdict.as_ref().is_some_and(|verdict| !verdict.fix.is_empty()));
}

// ---- step 2 ------------------------------------------------------------------------------------------------

#[tokio::test]
async fn certificates_that_are_no_good() {
    let bench = Bench::new().await;
    let nobody = |_: Tls| async {};
    for (issued, id, words) in [
        (bench.root.issue(leaf_valid(-20, -10)), "tls-expired", "expired on"),
        (bench.root.issue(leaf_valid(10, 20)), "tls-not-yet-valid", "valid only from"),
        (bench.root.issue(leaf("other.contoso.test")), "tls-name-mismatch", "only other.contoso.test"),
        (self_signed(), "tls-untrusted-root", "self-signed"),
        (Authority::root("Other Root CA").issue(leaf(HOST)), "tls-untrusted-root", "Other Root CA"),
        // A root made anew under its old name: the one this machine trusts did not sign it.
        (Authority::root("Test Root CA").issue(leaf(HOST)), "tls-chain-broken", "certificate signature failure"),
        (bench.root.intermediate().issue(leaf(HOST)), "tls-missing-intermediate", "Test Issuing CA 1"),
    ] {
        expect(&bench.meet_with(&issued, nobody).await, id, 2, words);
    }
    let intermediate = bench.root.intermediate();
    let mut complete = intermediate.issue(leaf(HOST));
    complete.chain.push_str(&intermediate.pem);
    expect(&bench.meet_with(&complete, nobody).await, "pool-408", 3, "did not answer the REGISTER");
}

#[tokio::test]
async fn tls_that_ends_in_an_alert() {
    let bench = Bench::new().await;
    for (alert, id) in [
        (40, "tls-no-common-cipher"),
        (70, "tls-version-mismatch"),
        (71, "tls-no-common-cipher"),
        (80, "tls-private-key-unusable"),
        (112, "tls-wrong-cert-bound"),
        (10, "tls-handshake-failed"),
    ] {
        let outcome = bench
            .meet(move |mut stream| async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(&[0x15, 3, 3, 0, 2, 2, alert]).await;
                let _ = stream.read(&mut [0; 16]).await;
            })
            .await;
        expect(&outcome, id, 2, &format!("TLS alert {alert}"));
    }
}

#[tokio::test]
async fn ports_where_no_tls_is_spoken() {
    let bench = Bench::new().await;
    let speaks = |greeting: &'static [u8]| {
        bench.meet(move |mut stream| async move {
            let _ = stream.write_all(greeting).await;
            let _ = stream.read(&mut [0; 4096]).await;
        })
    };
    for greeting in [&b"SSH-2.0-OpenSSH_9.2\r\n"[..], b"SIP/2.0 400 Bad Request\r\n\r\n", b"\0\0\0\0\0\0\0\0"] {
        expect(&speaks(greeting).await, "tcp-wrong-service", 2, "does not speak TLS here");
    }
    let outcome = bench.meet(|stream| async move { drop(stream) }).await;
    expect(&outcome, "tcp-reset-after-accept", 2, "closed during the TLS handshake");
    let outcome = bench
        .meet(|stream| async move {
            forever().await;
            drop(stream)
        })
        .await;
    expect(&outcome, "tcp-silent", 2, "does not answer the TLS handshake");
    let outcome = bench
        .meet(|mut stream| async move {
            let _ = stream.write_all(&[0x16, 3, 3]).await;
            forever().await;
        })
        .await;
    expect(&outcome, "tls-handshake-timeout", 2, "did not finish in time");
}

// ---- step 3 ------------------------------------------------------------------------------------------------

#[tokio::test]
async fn servers_in_trouble() {
    let bench = Bench::new().await;
    let outcome = bench.meet_sip(|m| answer(m, 500, "Server Internal Error").finish()).await;
    expect(&outcome, "pool-500", 3, "answered 500 Server Internal Error");
    let outcome = bench.meet_sip(|m| answer(m, 503, "Service Unavailable").finish()).await;
    expect(&outcome, "pool-503", 3, "answered 503 Service Unavailable");
    let outcome = bench.meet_sip(|m| answer(m, 504, "Server time-out").finish()).await;
    expect(&outcome, "pool-504", 3, "answered 504 Server time-out");
    let outcome = bench.meet_sip(|m| answer(m, 408, "Request Timeout").finish()).await;
    expect(&outcome, "pool-408", 3, "answered 408 Request Timeout");
    let outcome = bench.meet_sip(|m| answer(m, 699, "Whatever").finish()).await;
    expect(&outcome, "user-forbidden", 3, "answered 699 Whatever");
}

/// What an answer says may steer whoever reads it; the draft would not let it be written.
fn steering(m: &Message<'_>, code: u16, said: &str) -> Vec<u8> {
    let bytes = answer(m, code, "Reason").finish();
    let text = String::from_utf8(bytes).expect("text").replace("Reason", "For\u{1b}[2Jbidden\u{202e}");
    let (head, _) = text.rsplit_once("\r\n").expect("an empty line");
    format!("{head}{said}\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn servers_whose_words_would_steer_a_terminal() {
    let bench = Bench::new().await;
    let diagnostics = bench
        .meet_sip(|m| steering(m, 403, "ms-diagnostics: 4003;reason=\"x\u{1b}]0;owned\u{7}\u{9b}31m\u{2066}y\"\r\n"))
        .await;
    let warning = bench.meet_sip(|m| steering(m, 403, "Warning: 399 x \"\u{1b}[31mred\u{7f}\"\r\n")).await;
    let offer = bench.meet_sip(|m| steering(m, 401, "WWW-Authenticate: \u{1b}[2J\u{202e} realm=\"\u{7}\"\r\n")).await;
    expect(&diagnostics, "user-no-remote-access", 3, "]0;owned");
    let certainty = diagnostics.report.verdict.as_ref().map(|verdict| verdict.certainty);
    assert_eq!(certainty, Some(Certainty::Consistent), "nobody signed that");
    expect(&warning, "user-forbidden", 3, "red");
    let steers = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    for outcome in [&diagnostics, &warning, &offer] {
        let verdict = outcome.report.verdict.as_ref().expect("nobody is signed in");
        let proofs = outcome.report.steps.iter().flat_map(|step| &step.evidence);
        for shown in proofs.chain([&verdict.id, &verdict.sentence, &verdict.fix]) {
            assert!(!shown.contains(steers), "{shown:?}");
        }
        assert!(!outcome.ladder().contains(|c| steers(c) && c != '\n'), "{:?}", outcome.ladder());
    }
}

#[tokio::test]
async fn servers_that_do_not_answer() {
    let bench = Bench::new().await;
    let closes = |mut stream: Tls| async move {
        request(&mut stream).await;
        let _ = stream.shutdown().await;
    };
    expect(&bench.meet_tls(closes).await, "pool-408", 3, "the server closed the connection");
    let drops = |mut stream: Tls| async move {
        request(&mut stream).await;
    };
    expect(&bench.meet_tls(drops).await, "pool-408", 3, "did not answer the REGISTER");
    let outcome = bench.meet_sip(|m| answer(m, 100, "Trying").finish()).await;
    expect(&outcome, "pool-408", 3, "no answer in time");
    let trying_for_ever = |mut stream: Tls| async move {
        let Some(bytes) = request(&mut stream).await else { return };
        let message = Message::parse(&bytes).expect("our client writes SIP");
        loop {
            let trying = answer(&message, 100, "Trying").finish();
            if stream.write_all(&trying).await.is_err() || stream.flush().await.is_err() {
                return;
            }
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    expect(&bench.meet_tls(trying_for_ever).await, "pool-408", 3, "no answer in time");
    let half = |mut stream: Tls| async move {
        request(&mut stream).await;
        let _ = stream.write_all(b"SIP/2.0 401 Unauthorized\r\nVia: SIP/2.0/TLS").await;
        let _ = stream.flush().await;
        forever().await;
    };
    expect(&bench.meet_tls(half).await, "pool-408", 3, "no answer in time");
    let outcome =
        bench.meet_sip(|_| b"SIP/2.0 401 Unauthorized\r\nCall-ID: another\r\nCSeq: 1 REGISTER\r\n\r\n".to_vec());
    expect(&outcome.await, "pool-408", 3, "no answer in time");
}

#[tokio::test]
async fn answers_that_are_no_sip() {
    let bench = Bench::new().await;
    for garbage in [
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        "\0\u{1}\u{2}\u{3}\r\n\r\n",
        "no such thing as a status line\r\n\r\n",
        "SIP/2.0 200\u{0}OK\r\n\r\n",
        "SIP/2.0 2000 OK\r\n\r\n",
        "SIP/2.0 401 Unauthorized\r\nno colon in this line\r\n\r\n",
        "SIP/2.0 401 Unauthorized\r\nContent-Length: many\r\n\r\n",
        "SIP/2.0 401 Unauthorized\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "SIP/2.0 401 Unauthorized\r\nContent-Length: 10737418240\r\n\r\n",
    ] {
        let says = move |mut stream: Tls| async move {
            request(&mut stream).await;
            let _ = stream.write_all(garbage.as_bytes()).await;
            let _ = stream.flush().await;
            forever().await;
        };
        let outcome = bench.meet_tls(says).await;
        expect(&outcome, "tcp-wrong-service", 3, "answered with something that is not SIP");
    }
}

#[tokio::test]
async fn servers_that_never_stop() {
    let bench = Bench::new().await;
    let repeats = |first: &'static [u8], again: &'static [u8]| {
        move |mut stream: Tls| async move {
            request(&mut stream).await;
            let again = again.repeat(64 * 1024 / again.len());
            let mut sent = stream.write_all(first).await;
            while sent.is_ok() {
                sent = stream.write_all(&again).await;
            }
        }
    };
    let outcome = bench.meet_tls(repeats(b"SIP/2.0 401 Unauthorized\r\nX: ", b"y")).await;
    expect(&outcome, "tcp-wrong-service", 3, "the head is longer than 65536 bytes");
    let outcome = bench.meet_tls(repeats(b"SIP/2.0 401 Unauthorized\r\nContent-Length: 99999999\r\n\r\n", b"y")).await;
    expect(&outcome, "tcp-wrong-service", 3, "the body of 99999999 bytes is longer than 8388608 bytes");
    let outcome = bench.meet_tls(repeats(b"", b"SIP/2.0 200 OK\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n\r\n")).await;
    assert!(outcome.report.steps[2].ms < 5_000.0, "the limit of one answer also ends a flood");
    assert_eq!((outcome.id(), outcome.report.failed_step), ("pool-408", Some(3)), "{}", outcome.sentence());
    let outcome = bench.meet_tls(repeats(b"", b"\r\n\r\n")).await;
    expect(&outcome, "pool-408", 3, "did not answer the REGISTER");
}

#[tokio::test]
async fn challenges_that_cannot_be_answered() {
    let bench = Bench::new().await;
    let outcome = bench.meet_sip(|m| answer(m, 401, "Unauthorized").finish()).await;
    expect(&outcome, "auth-no-scheme", 3, "without offering a way to authenticate");
    let outcome = bench
        .meet_sip(|m| {
            let mut draft = answer(m, 401, "Unauthorized");
            draft.header("WWW-Authenticate", OFFER.replace("NTLM", "Kerberos"));
            draft.header("WWW-Authenticate", "Digest realm=\"x\", nonce=\"y\"");
            draft.finish()
        })
        .await;
    expect(&outcome, "auth-no-common-scheme", 3, "offers Kerberos");
    let outcome = bench.meet_sip(|m| ntlm(m, OFFER)).await;
    expect(&outcome, "tcp-balancer-affinity", 3, "does not go on with the NTLM handshake it offered");
    for (token, words) in [
        ("", "cannot be answered"),
        ("TlRMTVNTUAACAAAA", "cannot be answered"),
        ("AAAA", "cannot be answered"),
        ("TlRMTVNTUAADAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "cannot be answered"),
        ("%%%", "its token cannot be read"),
    ] {
        let serve = move |mut stream: Tls| async move {
            let challenge = format!("{OFFER}, opaque=\"1\", gssapi-data=\"{token}\"");
            while let Some(bytes) = request(&mut stream).await {
                let answer = ntlm(&Message::parse(&bytes).expect("our client writes SIP"), &challenge);
                if stream.write_all(&answer).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
            }
        };
        expect(&bench.meet_tls(serve).await, "ntlm-target-info-missing", 3, words);
    }
}

// ---- those who are asked on the way ------------------------------------------------------------------------

#[tokio::test]
async fn domain_controllers_that_are_down_slow_or_somebody_else() {
    let bench = Bench::new().await;
    let silent = listener(|stream| async move {
        forever().await;
        drop(stream)
    });
    let says = |words: &'static [u8]| {
        listener(move |mut stream: TcpStream| async move {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(words).await;
            forever().await;
        })
    };
    for (kdc, words) in [
        (nobody().await, "refused"),
        (silent.await, "in time"),
        (listener(|stream| async { drop(stream) }).await, ""),
        (says(b"HTTP/1.1 400 Bad Request\r\n\r\n").await, "that is not a KDC"),
        (says(b"\0\0\0\x08nonsense").await, "not Kerberos"),
        (says(b"\0\0\x10\0half an answer").await, "in time"),
    ] {
        let mut sign_in = hurried();
        let limits = tickets::Limits { dns: SHORT, tcp: SHORT, answer: SHORT, kdcs: LONG };
        let kdcs = vec![Kdc { host: kdc.ip().to_string(), port: kdc.port() }];
        if let Some(log_on) = &mut sign_in.log_on {
            log_on.tickets = Some(Arc::new(Tickets::new(Source { kdcs, limits, ..Source::default() })));
        }
        sign_in.choice = Choice::Only(Scheme::Kerberos);
        let offer = OFFER.replace("NTLM", "Kerberos").replace("\"bad", "\"sip/bad");
        let outcome = bench.meet_offering(sign_in, offer).await;
        expect(&outcome, "krb-kdc-unreachable", 3, words);
        assert!(outcome.report.steps[2].ms < 2_000.0, "{} took {} ms", kdc, outcome.report.steps[2].ms);
    }
}

#[tokio::test]
async fn certificate_services_that_are_down_slow_or_somebody_else() {
    let bench = Bench::new().await;
    let sign_in = |port: u16| {
        let mut sign_in = hurried();
        sign_in.keyring = Some(Arc::new(Pocket::default()));
        sign_in.choice = Choice::Only(Scheme::TlsDsk);
        let sts = format!("sts-uri=\"https://{HOST}:{port}/CertProv/CertProvisioningService.svc\"");
        (sign_in, format!("{}, {sts}", OFFER.replace("NTLM", "TLS-DSK")))
    };
    let says = |words: &'static str| {
        bench.web(move |mut stream: Tls| async move {
            while request(&mut stream).await.is_some() {
                let _ = stream.write_all(words.as_bytes()).await;
                let _ = stream.flush().await;
            }
        })
    };
    let silent = listener(|stream| async move {
        forever().await;
        drop(stream)
    });
    for (port, id) in [
        (nobody().await.port(), "wt-unreachable"),
        (silent.await.port(), "tcp-silent"),
        (says("").await, "cp-unreachable"),
        (says("HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n<half").await, "cp-unreachable"),
        (says("SSH-2.0-OpenSSH_9.2\r\n").await, "cp-unreachable"),
        (says("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await, "cp-unreachable"),
        (says("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await, "wt-5xx"),
        (says("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nnonsense").await, "wt-mex-bad"),
        (says("HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n").await, "cp-unreachable"),
    ] {
        let (hurried, offer) = sign_in(port);
        let outcome = bench.meet_offering(hurried, offer).await;
        expect(&outcome, id, 3, "no user certificate");
        assert!(outcome.report.steps[2].ms < 3_000.0, "{id} took {} ms", outcome.report.steps[2].ms);
    }
    // Each part may take its time, but all of it together has a limit too.
    let (mut patient, offer) = sign_in(says("").await);
    patient.discovery.limits.web = signin::http::Limits::default();
    patient.discovery.limits.total = SHORT;
    let outcome = bench.meet_offering(patient, offer).await;
    expect(&outcome, "cp-unreachable", 3, "no user certificate");
    assert!(outcome.report.steps[2].ms < 2_000.0, "it took {} ms", outcome.report.steps[2].ms);
}
