//! tshark reads a recorded lab run with every mechanism: DNS, TLS, Kerberos with the KDC and, with the session keys, SIP,
//! HTTP and the NTLM inside it. Nothing of it may be malformed; and enough of it must have been understood for that to mean
//! something. Of tokens in SIP it knows the scheme and does not look inside.

mod support;

use lab::{Lab, LabConfig};
use signin::authenticate::client::Choice;
use signin::authenticate::message::Scheme;
use signin::tickets::{Source, Tickets};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Attempt, Pocket};

const NEEDS: &str = "needs tshark and root; run by make test";

/// Captures what the lab's addresses exchange, until [`Capture::stop`].
struct Capture {
    child: std::process::Child,
}

impl Capture {
    fn start(file: &Path) -> Capture {
        let child = Command::new("dumpcap")
            .args(["-q", "-i", "lo", "-f", "net 127.79.0.0/16", "-w"])
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{NEEDS}: {error}"));
        let began = Instant::now();
        while std::fs::metadata(file).map_or(0, |m| m.len()) == 0 {
            assert!(began.elapsed() < Duration::from_secs(10), "{NEEDS}: the capture does not begin");
            std::thread::sleep(Duration::from_millis(50));
        }
        Capture { child }
    }

    fn stop(mut self) {
        // What was captured last is still on its way to the file.
        std::thread::sleep(Duration::from_millis(1500));
        let stopped = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(stopped.is_ok_and(|status| status.success()));
        self.child.wait().expect("dumpcap ends");
    }
}

/// One column of what tshark understands, a line for each packet that passes the filter.
fn read(file: &Path, keys: &Path, filter: &str, field: &str) -> Vec<String> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).arg("-o").arg(format!("tls.keylog_file:{}", keys.display()));
    // On standard ports tshark expects HTTP inside 443 and SIP inside 5061 by itself; the Edge's SIP on 443 is found by
    // what it looks like.
    command.args(["-Y", filter, "-T", "fields", "-E", "occurrence=a", "-e", field]);
    let output = command.output().unwrap_or_else(|error| panic!("{NEEDS}: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().flat_map(|line| line.split(',')).filter(|v| !v.is_empty()).map(str::to_owned).collect()
}

fn counted(values: Vec<String>) -> BTreeMap<String, usize> {
    values.into_iter().fold(BTreeMap::new(), |mut counts, value| {
        *counts.entry(value).or_default() += 1;
        counts
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs tshark and root; run by make test"]
async fn tshark_finds_nothing_malformed_in_a_lab_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let (capture, keys) = (folder.path().join("lab.pcapng"), folder.path().join("keys.log"));
    let config =
        LabConfig { address: Some(Ipv4Addr::new(127, 79, 0, 10)), standard_ports: true, ..LabConfig::default() };
    let lab = Lab::start(&config).await.unwrap_or_else(|error| panic!("{NEEDS}: {error}"));
    let running = Capture::start(&capture);
    let kerberos = {
        let mut attempt = Attempt::of(&lab, "bob").at("dir.contoso.test");
        attempt.sign_in.choice = Choice::Only(Scheme::Kerberos);
        let source = Source { realm: Some(lab.ready().realm.clone()), ..Source::default() };
        attempt.sign_in.log_on.as_mut().expect("has one").tickets = Some(Arc::new(Tickets::new(source)));
        attempt
    };
    let certificate = {
        let mut attempt = Attempt::of(&lab, "alice").at("fe02.contoso.test");
        attempt.sign_in.choice = Choice::Only(Scheme::TlsDsk);
        attempt.sign_in.keyring = Some(Arc::new(Pocket::default()));
        attempt
    };
    let attempts = [
        kerberos,
        certificate,
        Attempt::of(&lab, "alice"),
        Attempt::of(&lab, "bob").at("dir.contoso.test"),
        Attempt::of(&lab, "carol").outside(&lab),
    ];
    for mut attempt in attempts {
        attempt.sockets.key_log = Some(keys.clone());
        let outcome = attempt.run().await;
        let expected = if outcome.report.address.starts_with("carol") { "user-no-remote-access" } else { "signed in" };
        assert_eq!(outcome.id(), expected, "{}", outcome.sentence());
    }
    running.stop();

    let malformed = read(&capture, &keys, "_ws.malformed", "_ws.expert.message");
    assert!(malformed.is_empty(), "{malformed:?}");
    let packets = read(&capture, &keys, "_ws.malformed", "frame.number");
    assert!(packets.is_empty(), "{packets:?}");
    let errors = read(&capture, &keys, "_ws.expert.severity == error", "_ws.expert.message");
    assert!(errors.is_empty(), "{errors:?}");

    let methods = counted(read(&capture, &keys, "sip.Method", "sip.Method"));
    assert!(methods.get("REGISTER").is_some_and(|n| *n >= 9), "{methods:?}");
    assert!(methods.get("SUBSCRIBE").is_some_and(|n| *n >= 8), "{methods:?}");
    assert!(methods.contains_key("SERVICE"), "{methods:?}");
    let statuses = counted(read(&capture, &keys, "sip.Status-Code", "sip.Status-Code"));
    for status in ["200", "301", "401"] {
        assert!(statuses.contains_key(status), "{statuses:?}");
    }
    let tokens = counted(read(&capture, &keys, "ntlmssp.messagetype", "ntlmssp.messagetype"));
    assert!(tokens.len() >= 2, "NTLM was understood: {tokens:?}");
    // What the KDC was asked and answered: 10 and 11 with the password, 12 and 13 with the ticket, which is shown in a 14;
    // 30 for the proof that the first question lacks.
    let kerberos = counted(read(&capture, &keys, "kerberos && tcp.port == 88", "kerberos.msg_type"));
    for (kind, least) in [("10", 2), ("11", 1), ("12", 2), ("13", 2), ("14", 2), ("30", 1)] {
        assert!(kerberos.get(kind).is_some_and(|n| *n >= least), "{kerberos:?}");
    }
    let types = counted(read(&capture, &keys, "kerberos.msg_type == 10", "kerberos.ENCTYPE"));
    assert!(
        types.contains_key("18") && !types.contains_key("23"),
        "a password proves itself under AES only: {types:?}"
    );
    // Offers, tokens and signatures: two servers with Kerberos, one with TLS-DSK, four with NTLM.
    let schemes = counted(read(&capture, &keys, "sip.Method && sip.auth.scheme", "sip.auth.scheme"));
    for (scheme, least) in [("Kerberos", 2), ("TLS-DSK", 3), ("NTLM", 8)] {
        assert!(schemes.get(scheme).is_some_and(|n| *n >= least), "{schemes:?}");
    }
    assert!(read(&capture, &keys, "dns.qry.name", "dns.qry.name").len() >= 10);
    assert!(read(&capture, &keys, "http.request", "http.request.method").len() >= 4);
}
