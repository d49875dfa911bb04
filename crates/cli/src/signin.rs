//! `signin`: one sign-in, told while it happens.

use crate::arguments::{Show, Signin};
use crate::show::{self, Style};
use crate::{attempt, cache, ladder, stay, wish};
use ::signin::name::Aor;
use miette::{IntoDiagnostic, Result};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) async fn run(typed: Signin) -> Result<ExitCode> {
    let mut attempt = wish::of(&typed)?;
    let style = Style { colour: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() };
    let progress = Progress::default();
    if !typed.json {
        let progress = progress.clone();
        attempt.sockets.events = Arc::new(move |event| {
            if let (Some(line), true) = (show::live(&event, style), progress.is_shown()) {
                // What cannot be written now is told at the end.
                let _ = show::print(&format!("{line}\n"));
            }
        });
    }
    let aor = attempt.sign_in.aor.clone();
    if typed.stay {
        let told = |outcome: &attempt::Outcome| {
            progress.hide();
            tell(&typed, &aor, outcome, style)
        };
        return stay::run(&typed, attempt, told, style).await;
    }
    let outcome = attempt.run().await.into_diagnostic()?;
    tell(&typed, &aor, &outcome, style)?;
    Ok(exit_code(&outcome.report))
}

/// Whether steps are shown as they happen: only those of the first sign-in, when somebody stays.
#[derive(Debug, Clone, Default)]
struct Progress(Arc<AtomicBool>);

impl Progress {
    fn is_shown(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }

    fn hide(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Tells how the sign-in went, and keeps what is to be kept of it.
fn tell(typed: &Signin, aor: &Aor, outcome: &attempt::Outcome, style: Style) -> Result<()> {
    let attempt::Outcome { report, record, reached, prepared } = outcome;
    if let Some(file) = &typed.cache {
        cache::write(file, aor, reached.as_ref())?;
    }
    if let Some(file) = &typed.save {
        ladder::save(&record.clone().without_randomness(), file)?;
    }
    let text = match (typed.json, typed.stay) {
        (true, true) => show::json(&serde_json::to_string(report).into_diagnostic()?) + "\n",
        (true, false) => show::json(&serde_json::to_string_pretty(report).into_diagnostic()?) + "\n",
        (false, _) => conclusion(typed, report, record, style) + &show::next_time(prepared.as_ref()),
    };
    show::print(&text)
}

fn conclusion(
    typed: &Signin,
    report: &::signin::report::SignInReport,
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
pub(crate) fn exit_code(report: &signin::report::SignInReport) -> ExitCode {
    match (report.signed_in, report.failed_step) {
        (true, _) => ExitCode::SUCCESS,
        (false, Some(step)) => ExitCode::from(10 + step),
        (false, None) => ExitCode::from(11),
    }
}
