//! The programs of MIT Kerberos, for which one folder is all there is.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The realm.
pub(crate) const REALM: &str = "CONTOSO.TEST";

/// What every password is.
pub(crate) const PASSWORD: &str = "Pa55word!";

/// A program of MIT Kerberos that knows this folder only: `krb5.conf`, `kdc.conf` and the ticket cache `ccache` in it.
pub(crate) fn surrounded(folder: &Path, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("KRB5_CONFIG", folder.join("krb5.conf"))
        .env("KRB5_KDC_PROFILE", folder.join("kdc.conf"))
        .env("KRB5CCNAME", format!("FILE:{}", folder.join("ccache").display()))
        .env("KRB5RCACHENAME", "none:");
    command
}

/// Runs a program that asks for something; it reads a pipe where there is no terminal.
pub(crate) fn typed(command: &mut Command, line: &str) -> Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("starts; install krb5-user");
    let mut input = child.stdin.take().expect("piped");
    // Who refuses before asking has closed it by now.
    let _ = writeln!(input, "{line}");
    drop(input);
    child.wait_with_output().expect("ends")
}
