//! What a person sees while a sign-in runs and when it is over: steps with their proof lines, the verdict, a table.

use signin::directory::DialPlan;
use signin::legible::{legible, steers};
use signin::provision::settings::normalization::Normalizer;
use signin::report::{Certainty, Event, SignInReport, Step, StepReport, StepResult, Verdict};
use std::borrow::Cow;
use std::fmt::Write;
use std::io::Write as _;

/// Writes to standard output. Of what could steer a terminal only our own colours and line ends pass; what peers have
/// written is legible before it comes here, and this holds for whatever was forgotten. A reader that has seen enough
/// (`| head`) is no error.
pub(crate) fn print(text: &str) -> miette::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(harmless(text).as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(miette::miette!("standard output cannot be written: {error}"))
        }
        _ => Ok(()),
    }
}

/// The text with a mark in the place of whatever steers a terminal, but for colours, line ends and tabulators.
fn harmless(text: &str) -> Cow<'_, str> {
    let is_ours = |c: char| matches!(c, '\n' | '\t');
    if !text.contains(|c| steers(c) && !is_ours(c)) {
        return Cow::Borrowed(text);
    }
    let colour = |rest: &str| {
        let rest = rest.strip_prefix('[')?;
        rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m').then_some(())
    };
    let shown = text.char_indices().map(|(at, c)| match c {
        '\u{1b}' if colour(&text[at + 1..]).is_some() => c,
        c if steers(c) && !is_ours(c) => '\u{fffd}',
        c => c,
    });
    Cow::Owned(shown.collect())
}

/// JSON that does not steer a terminal either: the same document, with escapes for what serde leaves as it is.
pub(crate) fn json(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        // What stands outside of strings are line ends; within them serde has escaped those.
        if steers(c) && c != '\n' {
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
        escaped
    })
}

/// Colours and marks; without a terminal there are no colours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// Whether escape sequences may be used.
    pub(crate) colour: bool,
}

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Something that stands out.
    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Something that is not as it should be.
    pub(crate) fn warning(self, text: &str) -> String {
        self.paint("33", text)
    }

    fn mark(self, result: StepResult) -> String {
        match result {
            StepResult::Pass => self.paint("32", "ok"),
            StepResult::Warning => self.paint("33", "ok, with remarks"),
            StepResult::Fail => self.paint("31;1", "FAILED"),
            StepResult::Skipped => self.paint("2", "not needed"),
        }
    }
}

/// One line for one event, as it happens; some events have none.
pub(crate) fn live(event: &Event, style: Style) -> Option<String> {
    match event {
        Event::Began(step) => Some(style.paint("1", &format!("{} {}", step.number(), title(*step)))),
        Event::Evidence(_, line) => Some(format!("    {line}")),
        Event::Remark(_, line) => Some(format!("  {} {line}", style.paint("33", "!"))),
        Event::Ended(step, StepResult::Fail) => {
            Some(format!("  step {} {}", step.number(), style.mark(StepResult::Fail)))
        }
        Event::Ended(..) | Event::Registered(_) | Event::Redirected { .. } | Event::Failed(_) => None,
    }
}

fn title(step: Step) -> &'static str {
    match step {
        Step::Discovery => "Discovery: who serves this domain?",
        Step::Connectivity => "Connectivity: TCP and TLS",
        Step::Authentication => "Authentication",
        Step::Redirection => "Redirection to the home pool",
        Step::Settings => "Settings, contacts, presence",
    }
}

/// The five steps with their time and proof lines.
pub(crate) fn steps(steps: &[StepReport], style: Style) -> String {
    let mut text = String::new();
    for step in steps {
        let time = if step.result == StepResult::Skipped { String::new() } else { format!("{:.1} ms", step.ms) };
        let _ = writeln!(text, "  {} {:<15} {:>10}  {}", step.step, step.name, time, style.mark(step.result));
        for line in &step.evidence {
            let _ = writeln!(text, "      {line}");
        }
    }
    text
}

/// Why it failed and what to do.
pub(crate) fn verdict(verdict: &Verdict, style: Style) -> String {
    let certainty = match verdict.certainty {
        Certainty::Certain => "",
        Certainty::Consistent => " (consistent with what was seen; other causes look the same)",
    };
    let mut text = String::new();
    let _ = writeln!(text, "{} {}{certainty}", style.paint("31;1", "verdict:"), style.paint("1", &verdict.id));
    let _ = writeln!(text, "  {}", verdict.sentence);
    let _ = writeln!(text, "  {} {}", style.paint("36", "do:"), verdict.fix);
    text
}

/// One line that says how it ended.
pub(crate) fn summary(report: &SignInReport, style: Style) -> String {
    if report.signed_in {
        format!(
            "{} {} at {} with {} in {:.1} ms, {} contacts",
            style.paint("32;1", "signed in:"),
            report.address,
            report.home.as_deref().unwrap_or("?"),
            report.mechanism.as_deref().unwrap_or("?"),
            report.ms,
            report.contacts,
        )
    } else {
        format!("{} {} after {:.1} ms", style.paint("31;1", "not signed in:"), report.address, report.ms)
    }
}

/// What settings brought, in a few lines.
pub(crate) fn settings(settings: &serde_json::Value) -> String {
    let mut text = String::from("settings:\n");
    for (name, value) in settings.as_object().into_iter().flatten() {
        let _ = writeln!(text, "  {name}: {}", json(&value.to_string()));
    }
    text
}

/// The provisioning groups with their values, and the rules of the dial plan.
pub(crate) fn provisioning(settings: &serde_json::Value) -> String {
    let mut text = String::new();
    for (group, properties) in settings["provisioning"].as_object().into_iter().flatten() {
        let _ = writeln!(text, "{group}");
        for (name, value) in properties.as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            let long = value.chars().count() > 100;
            let value: String = value.chars().take(100).map(|c| if steers(c) { ' ' } else { c }).collect();
            let _ = writeln!(text, "  {name:<36} {value}{}", if long { "…" } else { "" });
        }
    }
    match serde_json::from_value::<DialPlan>(settings["dial_plan"].clone()) {
        Err(_) => text.push_str("no dial plan: only global numbers can be called\n"),
        Ok(plan) => {
            let _ = writeln!(text, "dial plan {}", legible(plan.name.clone()));
            for rule in &plan.rules {
                let kind = if rule.internal_extension { "  (extension)" } else { "" };
                let (pattern, translation) = (legible(rule.pattern.clone()), legible(rule.translation.clone()));
                let _ = writeln!(text, "  {pattern:<36} {translation}{kind}");
            }
        }
    }
    for problem in settings["known"]["problems"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "! {}", legible(problem.as_str().unwrap_or_default().to_owned()));
    }
    text
}

/// What is called when this is dialled.
pub(crate) fn dialled(settings: &serde_json::Value, number: &str, address: &str) -> String {
    let plan = serde_json::from_value::<DialPlan>(settings["dial_plan"].clone());
    let plan = plan.unwrap_or_else(|_| DialPlan {
        name: "dialstring".to_owned(), // what a number is said to be when there is no plan
        rules: Vec::new(),
        external_access_prefix: None,
        optimize_device_dialing: false,
    });
    let domain = address.rsplit('@').next().unwrap_or_default();
    match Normalizer::of(&plan).normalize(number) {
        Err(error) => format!("{number}: {error}\n"),
        Ok(normalized) => {
            let rule = match normalized.rule {
                Some(rule) => format!("rule {} of {}", rule + 1, plan.name),
                None => "no rule".to_owned(),
            };
            format!("{number} calls {} ({rule}) as {}\n", normalized.number, normalized.uri(domain))
        }
    }
}

/// What was done for the next sign-in.
pub(crate) fn next_time(prepared: Option<&Result<i64, Verdict>>) -> String {
    match prepared {
        None => String::new(),
        Some(Ok(ends)) => format!(
            "a certificate was obtained, valid until {}: the next sign-in needs no password\n",
            signin::date_time::write_time(*ends)
        ),
        Some(Err(verdict)) => format!("no certificate for the next sign-in: {} ({})\n", verdict.sentence, verdict.id),
    }
}

/// A table of sign-ins: how, where, how many REGISTERs, how long.
pub(crate) fn table(rows: &[(String, SignInReport)], style: Style) -> String {
    let mut text = String::new();
    let heading =
        format!("{:<44} {:<9} {:<20} {:>9} {:>10}  {}", "sign-in", "mechanism", "home", "REGISTERs", "time", "result");
    let _ = writeln!(text, "{}", style.paint("1", &heading));
    for (name, report) in rows {
        let requests: Vec<String> = report.registers.iter().map(|r| r.requests.to_string()).collect();
        let result = match &report.verdict {
            None => style.paint("32", "signed in"),
            Some(verdict) => verdict.id.clone(),
        };
        let _ = writeln!(
            text,
            "{name:<44} {:<9} {:<20} {:>9} {:>7.1} ms  {result}",
            report.registers.last().map_or("-", |r| r.mechanism.as_str()),
            report.home.as_deref().unwrap_or("-"),
            requests.join(" + "),
            report.ms,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_our_colours_steers_the_terminal() {
        let style = Style { colour: true };
        let ours = format!("{}\n\t{}\n", style.bold("Zoë"), style.mark(StepResult::Fail));
        assert_eq!(harmless(&ours), ours);
        let hostile = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{1b}[1;31 m\r\u{9b}31m\u{202e}";
        assert_eq!(harmless(hostile), "\u{fffd}]0;owned\u{fffd}\u{fffd}[2J\u{fffd}[1;31 m\u{fffd}\u{fffd}31m\u{fffd}");
    }

    #[test]
    fn json_is_the_same_document() {
        let document = serde_json::json!({ "a\u{9b}": ["\u{1b}[2J\r\n", "\u{202e}Zoë\u{7f}"] });
        for text in [document.to_string(), format!("{document:#}")] {
            let shown = json(&text);
            assert!(!shown.chars().any(|c| steers(c) && c != '\n'), "{shown}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"), document);
        }
    }
}
