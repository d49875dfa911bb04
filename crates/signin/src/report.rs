//! What a sign-in tells while it runs and when it ends: steps, proof lines, verdict. The `--json` shape is versioned.

use crate::legible::legible;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Version of the JSON shape of [`SignInReport`].
pub const SCHEMA: u32 = 1;

/// The five steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Step {
    /// 1: who serves this domain?
    Discovery,
    /// 2: TCP and TLS.
    Connectivity,
    /// 3: who is who?
    Authentication,
    /// 4: to the home pool, when the server reached is another.
    Redirection,
    /// 5: settings, contacts, presence.
    Settings,
}

impl Step {
    /// All five, in order.
    pub const ALL: [Step; 5] =
        [Step::Discovery, Step::Connectivity, Step::Authentication, Step::Redirection, Step::Settings];

    /// 1 to 5.
    pub fn number(self) -> u8 {
        self as u8 + 1
    }

    /// Its name in output.
    pub fn name(self) -> &'static str {
        match self {
            Step::Discovery => "discovery",
            Step::Connectivity => "connectivity",
            Step::Authentication => "authentication",
            Step::Redirection => "redirection",
            Step::Settings => "settings",
        }
    }
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepResult {
    /// It did what it should.
    Pass,
    /// It did, but something deserves attention.
    Warning,
    /// It did not.
    Fail,
    /// There was no need for it, or no way to it.
    Skipped,
}

/// Something worth showing while it happens. Events are part of the record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A step begins (step 2 and 3 begin again after a redirect).
    Began(Step),
    /// A proof line of a step, in words with names and figures.
    Evidence(Step, String),
    /// Something that deserves attention but stops nothing.
    Remark(Step, String),
    /// A step ended.
    Ended(Step, StepResult),
    /// One sequence of REGISTERs with one server ended.
    Registered(Registers),
    /// The server sent the client elsewhere.
    Redirected {
        /// Who said so.
        from: String,
        /// `host:port` list, best first.
        to: Vec<String>,
    },
    /// The sign-in failed for good.
    Failed(Verdict),
}

impl Event {
    /// The same in words that can be shown, whatever peers have written into them.
    #[must_use]
    pub fn legible(self) -> Event {
        match self {
            Event::Evidence(step, line) => Event::Evidence(step, legible(line)),
            Event::Remark(step, line) => Event::Remark(step, legible(line)),
            Event::Registered(Registers { server, mechanism, requests, status }) => Event::Registered(Registers {
                server: legible(server),
                mechanism: legible(mechanism),
                requests,
                status,
            }),
            Event::Redirected { from, to } => {
                Event::Redirected { from: legible(from), to: to.into_iter().map(legible).collect() }
            }
            Event::Failed(verdict) => Event::Failed(verdict.legible()),
            Event::Began(_) | Event::Ended(..) => self,
        }
    }
}

/// The REGISTERs one server needed, until its final answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registers {
    /// FQDN of the server.
    pub server: String,
    /// `NTLM`, `Kerberos`, `TLS-DSK`.
    pub mechanism: String,
    /// How many REGISTER requests were sent, the first one without credentials included.
    pub requests: u32,
    /// Final status code.
    pub status: u16,
}

/// Which failure this is, in words that help.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Id of the failure catalogue, for example `tls-expired`.
    pub id: String,
    /// How sure.
    pub certainty: Certainty,
    /// One sentence: which step, what was seen, who is at fault.
    pub sentence: String,
    /// What to do next.
    pub fix: String,
}

impl Verdict {
    /// The same in words that can be shown, whatever peers have written into them.
    #[must_use]
    pub fn legible(self) -> Verdict {
        Verdict { id: self.id, certainty: self.certainty, sentence: legible(self.sentence), fix: legible(self.fix) }
    }
}

/// How sure a verdict is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// The evidence allows nothing else.
    Certain,
    /// The evidence fits; other causes look the same.
    Consistent,
}

/// One step in the final report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// 1 to 5.
    pub step: u8,
    /// Its name.
    pub name: String,
    /// How it ended.
    pub result: StepResult,
    /// Milliseconds spent in it, over all its rounds.
    pub ms: f64,
    /// Its proof lines and remarks, in order.
    pub evidence: Vec<String>,
}

/// The whole sign-in, as `signin --json` prints it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SignInReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The address that signed in.
    pub address: String,
    /// Whether it is signed in.
    pub signed_in: bool,
    /// The five steps.
    pub steps: Vec<StepReport>,
    /// Every sequence of REGISTERs.
    pub registers: Vec<Registers>,
    /// `host:port` of every redirect followed, in order.
    pub redirects: Vec<String>,
    /// The server that holds the registration.
    pub home: Option<String>,
    /// The mechanism that signed in.
    pub mechanism: Option<String>,
    /// Settings received in step 5.
    pub settings: serde_json::Value,
    /// Number of contacts received.
    pub contacts: usize,
    /// Milliseconds from the first DNS query to the last answer of step 5.
    pub ms: f64,
    /// Why it failed, when it did.
    pub verdict: Option<Verdict>,
    /// 1 to 5: the step it failed in.
    pub failed_step: Option<u8>,
}

impl SignInReport {
    /// Puts the report of one sign-in together from what it told, each event with the time it happened (since the
    /// start), and from how it ended.
    pub fn assemble(address: &str, events: &[(Duration, Event)], ending: &Ending) -> SignInReport {
        let mut steps = Steps::default();
        let (mut registers, mut redirects) = (Vec::new(), Vec::new());
        for (at, event) in events {
            steps.note(*at, event);
            match event {
                Event::Registered(sequence) => registers.push(sequence.clone()),
                Event::Redirected { to, .. } => redirects.extend(to.first().cloned()),
                _ => {}
            }
        }
        let last = events.last().map_or(Duration::ZERO, |(at, _)| *at);
        let mut report = SignInReport {
            schema: SCHEMA,
            address: address.to_owned(),
            signed_in: false,
            steps: steps.finish(),
            registers,
            redirects,
            home: None,
            mechanism: None,
            settings: serde_json::Value::Null,
            contacts: 0,
            ms: milliseconds(last),
            verdict: None,
            failed_step: None,
        };
        match ending {
            Ending::SignedIn { home, mechanism, settings, contacts } => {
                report.signed_in = true;
                report.home = Some(home.clone());
                report.mechanism = Some(mechanism.clone());
                report.settings = settings.clone();
                report.contacts = *contacts;
            }
            Ending::Failed(verdict) => {
                report.verdict = Some(verdict.clone());
                // Other candidates may have failed elsewhere; the last word is that of the verdict.
                report.failed_step = events.iter().rev().find_map(|(_, event)| match event {
                    Event::Ended(step, StepResult::Fail) => Some(step.number()),
                    _ => None,
                });
            }
        }
        report
    }
}

/// How a sign-in ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// Signed in.
    SignedIn {
        /// The server that holds the registration.
        home: String,
        /// The mechanism.
        mechanism: String,
        /// Settings received.
        settings: serde_json::Value,
        /// Number of contacts received.
        contacts: usize,
    },
    /// Not signed in.
    Failed(Verdict),
}

/// With two digits after the point.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 100_000.0).round() / 100.0
}

/// Gathers [`Event`]s, each with the time it happened, into steps.
#[derive(Debug, Default)]
pub struct Steps {
    rows: [Option<Row>; 5],
}

#[derive(Debug, Default, Clone)]
struct Row {
    began: Option<Duration>,
    spent: Duration,
    result: Option<StepResult>,
    remarked: bool,
    evidence: Vec<String>,
}

impl Steps {
    /// Takes one event that happened `at` (since the start).
    pub fn note(&mut self, at: Duration, event: &Event) {
        match event {
            Event::Began(step) => self.row(*step).began = Some(at),
            Event::Evidence(step, line) => self.row(*step).evidence.push(line.clone()),
            Event::Remark(step, line) => {
                let row = self.row(*step);
                row.remarked = true;
                row.evidence.push(line.clone());
            }
            Event::Ended(step, result) => {
                let row = self.row(*step);
                if let Some(began) = row.began.take() {
                    row.spent += at.saturating_sub(began);
                }
                row.result = Some(match (*result, row.remarked) {
                    (StepResult::Pass, true) => StepResult::Warning,
                    (result, _) => result,
                });
            }
            Event::Registered(_) | Event::Redirected { .. } | Event::Failed(_) => {}
        }
    }

    fn row(&mut self, step: Step) -> &mut Row {
        self.rows[step as usize].get_or_insert_with(Row::default)
    }

    /// The five steps as reported; those never reached are skipped.
    pub fn finish(&self) -> Vec<StepReport> {
        Step::ALL
            .iter()
            .map(|step| {
                let row = self.rows[*step as usize].clone().unwrap_or_default();
                StepReport {
                    step: step.number(),
                    name: step.name().to_owned(),
                    result: row.result.unwrap_or(if row.began.is_some() {
                        StepResult::Fail
                    } else {
                        StepResult::Skipped
                    }),
                    ms: milliseconds(row.spent),
                    evidence: row.evidence,
                }
            })
            .collect()
    }
}
