//! What a member of the domain has of Kerberos: the keytab, as the controller exports it, fits the tickets it issues.

use crate::domain_controller::{DomainController, PASSWORD, REALM, domain_controller};
use std::io::Write;
use std::process::{Command, Output, Stdio};

fn run(dc: &DomainController, program: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .env("KRB5_CONFIG", dc.krb5_conf())
        .env("KRB5CCNAME", dc.folder().join("tickets"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} (package krb5-user): {error}"));
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

#[test]
#[ignore = "needs Samba; run by make test"]
fn the_keytab_opens_the_tickets() {
    let dc = domain_controller();
    let kinit = run(&dc, "kinit", &[&format!("alice@{REALM}")], &format!("{PASSWORD}\n"));
    assert!(kinit.status.success(), "{}", String::from_utf8_lossy(&kinit.stderr));
    let keytab = dc.keytab();
    for service in ["sip/pool1.contoso.test", "http/pool1.contoso.test"] {
        let kvno = run(&dc, "kvno", &["-k", &keytab.display().to_string(), &format!("{service}@{REALM}")], "");
        let said = String::from_utf8_lossy(&kvno.stdout);
        assert!(
            kvno.status.success() && said.contains("keytab entry valid"),
            "{said}{}",
            String::from_utf8_lossy(&kvno.stderr)
        );
    }
}
