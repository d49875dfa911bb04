//! tshark reads a recorded lab run: DNS, TLS, HTTP and, with the session keys, SIP and the NTLM inside it. Nothing of it
//! may be malformed; and enough of it must have been understood for that to mean something.

mod support;

use lab::{Lab, LabConfig};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::Attempt;

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
    let attempts = [
        Attempt::of(&lab, "alice"),
        Attempt::of(&lab, "bob").at("dir.contoso.test"),
        Attempt::of(&lab, "carol").outside(&lab),
    ];
    for mut attempt in attempts {
        attempt.sockets.key_log = Some(keys.clone());
        attempt.run().await;
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
    assert!(read(&capture, &keys, "dns.qry.name", "dns.qry.name").len() >= 10);
    assert!(read(&capture, &keys, "http.request", "http.request.method").len() >= 4);
}
