//! `lab`: a deployment that keeps running.

use crate::arguments::Lab as Typed;
use crate::interrupt;
use ::lab::ready::Ready;
use ::lab::{Lab, LabConfig, LabError};
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use signin::old_cryptography::OldCryptography;
use std::fmt::Write as _;
use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

/// How often it is looked whether the ready-file is still true.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) async fn run(typed: Typed) -> Result<ExitCode> {
    let config = LabConfig {
        address: typed.address,
        standard_ports: typed.standard_ports,
        state: typed.state.clone(),
        old_cryptography: typed.without.iter().copied().fold(OldCryptography::default(), OldCryptography::without),
        ..LabConfig::default()
    };
    let lab = Lab::start(&config).await.map_err(|error| explained(&error))?;
    let ready = lab.ready();
    let json = written(ready)?;
    let text = if typed.json { format!("{json}\n") } else { table(ready, typed.ready_file.as_deref()) };
    crate::show::print(&text)?;
    if let Some(file) = &typed.ready_file {
        write_whole(file, &json)?;
    }
    let mut end = pin!(end(typed.seconds));
    let mut told = ready.clone();
    while tokio::time::timeout(LOOK, end.as_mut()).await.is_err() {
        if let Some(file) = &typed.ready_file {
            tell_again(&lab, file, &mut told);
        }
    }
    drop(lab);
    Ok(ExitCode::SUCCESS)
}

/// Administration may give people other passwords and homes while the lab runs; then its file says so. If it cannot, the
/// lab serves on.
fn tell_again(lab: &Lab, file: &Path, told: &mut Ready) {
    let now = lab.ready_now();
    if now == *told {
        return;
    }
    if let Err(error) = written(&now).and_then(|json| write_whole(file, &json)) {
        let why: Vec<String> = error.chain().map(ToString::to_string).collect();
        tracing::error!("the ready-file tells of people's accounts as they were before: {}", why.join(": "));
    }
    *told = now;
}

fn written(ready: &Ready) -> Result<String> {
    serde_json::to_string_pretty(ready).into_diagnostic()
}

/// A local error with its remedy.
pub(crate) fn explained(error: &LabError) -> miette::Report {
    miette!(help = error.remedy(), "{error}")
}

/// Whoever waits for the file finds it whole or not at all.
fn write_whole(file: &Path, text: &str) -> Result<()> {
    let beside = file.with_extension("part");
    std::fs::write(&beside, text)
        .and_then(|()| std::fs::rename(&beside, file))
        .into_diagnostic()
        .wrap_err_with(|| format!("{} cannot be written", file.display()))
}

/// When the lab is to stop.
async fn end(seconds: Option<u64>) {
    let limit = async {
        match seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = limit => {}
        () = interrupt::wanted() => {}
    }
}

fn table(ready: &Ready, file: Option<&Path>) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "The lab serves {} on loopback.\n", ready.sip_domain);
    let _ = writeln!(text, "  DNS inside   {}", ready.dns.internal);
    let _ = writeln!(text, "  DNS outside  {}", ready.dns.external);
    let _ = writeln!(text, "  CA           {}\n", ready.ca.display());
    for host in &ready.hosts {
        let address = host.sip.or(host.https).map(|address| address.to_string()).unwrap_or_default();
        let speaks = if host.sip.is_some() { "SIP" } else { "HTTPS" };
        let pool = host.pool.as_deref().unwrap_or("");
        let _ = writeln!(text, "  {:<22} {:<10} {speaks:<6} {address:<22} {pool}", host.fqdn, host.role);
    }
    let _ = writeln!(text);
    for user in &ready.users {
        let password = user.password.as_deref().unwrap_or("(another one)");
        let _ = writeln!(text, "  {:<22} {:<16} {password:<20} {}", user.address, user.login, user.note);
    }
    let how = match file {
        Some(file) => format!("signpost signin alice@contoso.test --lab {}", file.display()),
        None => "start it with --ready-file FILE, then: signpost signin alice@contoso.test --lab FILE".to_owned(),
    };
    let _ = writeln!(text, "\nTo sign in: {how}\nCtrl-C stops it.");
    text
}
