//! A domain user's ticket cache, the system's Kerberos library, and our acceptor: what a joined machine has, with Samba as
//! domain controller. Its tickets carry what Active Directory adds to them.
//!
//! The library reads its environment, and a program must not change its own: the context is begun in a process that is this
//! test program once more, in the network of the controller.

use crate::block_on;
use crate::domain_controller::{PASSWORD, REALM, domain_controller};
use crate::kerberos::verifier;
use mechanism::Side;
use net::client::{Config, Sockets};
use signin::io::{Io, SecContext, SecContextError};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

/// For which service the process is to begin a context: `class/host`.
const SERVICE: &str = "GSSAPI_TEST_SERVICE";

/// What stands before what the process prints.
const MARK: &str = "outcome: ";

const TEXT: &[u8] = b"<Kerberos><8a0f1b2c><1>";

/// What the process prints: the context, and a signature by it.
type Outcome = Result<(SecContext, Option<Vec<u8>>), SecContextError>;

/// The other process: does nothing where it was not asked to.
#[test]
#[ignore = "started by the other"]
fn process_of_its_own() {
    let Ok(service) = std::env::var(SERVICE) else { return };
    let dns = Some(([127, 0, 0, 1], 53).into());
    let config = Config { dns, system_roots: false, ..Config::default() };
    let outcome: Outcome = block_on(async {
        let sockets = Sockets::new(config).expect("sockets");
        let io: &dyn Io = &sockets;
        let context = io.init_sec_context(&service, None, Duration::from_secs(10)).await?;
        let signature = context.calls.as_ref().and_then(|calls| calls.get_mic(TEXT));
        Ok((context, signature))
    });
    let line = serde_json::to_string(&outcome).expect("it is data");
    writeln!(std::io::stdout(), "\n{MARK}{line}").expect("somebody reads it");
}

#[test]
#[ignore = "needs Samba and MIT Kerberos; run by make test"]
fn from_the_ticket_cache_of_a_domain_user() {
    let dc = domain_controller();
    let folder = tempfile::tempdir().expect("a folder");
    let cache = format!("DIR:{}", folder.path().display());
    let surrounded = |program: &std::ffi::OsStr| {
        let mut command = Command::new(program);
        command
            .env("KRB5_CONFIG", dc.krb5_conf())
            .env("KRB5CCNAME", &cache)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command
    };
    let mut kinit = surrounded("kinit".as_ref()).arg("alice").spawn().expect("starts; install krb5-user");
    writeln!(kinit.stdin.take().expect("piped"), "{PASSWORD}").expect("it reads");
    assert!(kinit.wait_with_output().expect("ends").status.success());

    let begun = |service: &str| -> Outcome {
        let mut command = surrounded(std::env::current_exe().expect("it has a name").as_os_str());
        let name = concat!(module_path!(), "::process_of_its_own");
        let name = name.split_once("::").map_or(name, |(_, name)| name);
        let output = command.args(["--exact", name, "--ignored", "--nocapture"]).env(SERVICE, service).output();
        let said = String::from_utf8_lossy(&output.expect("this program runs").stdout).into_owned();
        let outcome = said.lines().find_map(|line| line.strip_prefix(MARK)).unwrap_or_else(|| panic!("{said}"));
        serde_json::from_str(outcome).expect("an outcome")
    };
    let service = "sip/pool1.contoso.test";
    let (context, signature) = begun(service).expect("a context");
    assert_eq!(context.client, format!("alice@{REALM}"));
    let proof = verifier(&dc, None).verify(&context.token, &[service.to_owned()]).expect("the keytab opens it");
    assert!(proof.keys.verify(Side::Client, TEXT, &signature.expect("it signs")));
    let refused = begun("sip/unknown.contoso.test").expect_err("no such service");
    assert!(matches!(refused, SecContextError::Refused { code: 7, .. }), "{refused:?}");
}
