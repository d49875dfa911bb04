//! `signin`: one sign-in, told while it happens.

use crate::arguments::{Show, Signin};
use crate::show::{self, Style};
use crate::{attempt, cache, ladder, wish};
use miette::{IntoDiagnostic, Result};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

pub(crate) async fn run(typed: Signin) -> Result<ExitCode> {
    let mut attempt = wish::of(&typed)?;
    let style = Style { colour: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() };
    if !typed.json {
        attempt.sockets.events = Arc::new(move |event| {
            if let Some(line) = show::live(&event, style) {
                // What cannot be written now is told at the end.
                let _ = show::print(&format!("{line}\n"));
            }
        });
    }
    let aor = attempt.sign_in.aor.clone();
    let attempt::Outcome { report, record, reached, prepared } = attempt.run().await.into_diagnostic()?;
    if let Some(file) = &typed.cache {
        cache::write(file, &aor, reached.as_ref())?;
    }
    if let Some(file) = &typed.save {
        ladder::save(&record.clone().without_randomness(), file)?;
    }
    let text = match typed.json {
        true => serde_json::to_string_pretty(&report).into_diagnostic()? + "\n",
        false => conclusion(&typed, &report, &record, style) + &show::next_time(prepared.as_ref()),
    };
    show::print(&text)?;
    Ok(exit_code(&report))
}

fn conclusion(
    typed: &Signin,
    report: &signin::report::SignInReport,
    record: &trace::record::Record,
    style: Style,
) -> String {
    let mut text = String::from("\n");
    if typed.ladder.is_some() {
        text.push_str(&trace::ladder::text(record, ladder::columns(None)));
        text.push('\n');
    }
    if typed.show.contains(&Show::Settings) && report.signed_in {
        text.push_str(&show::provisioning(&report.settings));
    }
    if let (Some(number), true) = (&typed.dial, report.signed_in) {
        text.push_str(&show::dialled(&report.settings, number, &report.address));
    }
    if typed.verbose && report.signed_in {
        text.push_str(&show::settings(&report.settings));
    }
    if let Some(verdict) = &report.verdict {
        text.push_str(&show::verdict(verdict, style));
    }
    text.push_str(&show::summary(report, style));
    text.push('\n');
    text
}

/// 0 signed in, 11 to 15 the step that failed.
fn exit_code(report: &signin::report::SignInReport) -> ExitCode {
    match (report.signed_in, report.failed_step) {
        (true, _) => ExitCode::SUCCESS,
        (false, Some(step)) => ExitCode::from(10 + step),
        (false, None) => ExitCode::from(11),
    }
}
