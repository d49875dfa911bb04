//! `demo`: a lab, a few sign-ins, their call flows, and a table.

use crate::arguments::Demo;
use crate::attempt::{Attempt, Outcome, user_agent};
use crate::show::{self, Style};
use crate::{lab as lab_verb, ladder, wish};
use ::lab::ready::Ready;
use ::lab::{Lab, LabConfig};
use miette::{IntoDiagnostic, Result, miette};
use net::client::Config;
use serde_json::{Value, json};
use signin::authenticate::client::Choice;
use signin::client::SignIn;
use signin::connect::client::Limits as ConnectLimits;
use signin::discover::AccessLocation;
use signin::discover::client::{Ask, Manual};
use signin::log_on::LogOn;
use signin::name::AccountName;
use signin::provision::client::Appearance;
use signin::report::SignInReport;
use signin::secret::Password;
use signin::tickets::{Source, Tickets};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// One sign-in of the demo.
struct Scene {
    title: &'static str,
    name: &'static str,
    outside: bool,
    server: Option<&'static str>,
    succeeds: bool,
}

const SCENES: [Scene; 7] = [
    Scene {
        title: "alice, inside, found by Autodiscover",
        name: "alice",
        outside: false,
        server: None,
        succeeds: true,
    },
    Scene { title: "bob, inside, found by Autodiscover", name: "bob", outside: false, server: None, succeeds: true },
    Scene {
        title: "bob, inside, by the Director: redirected",
        name: "bob",
        outside: false,
        server: Some("dir.contoso.test"),
        succeeds: true,
    },
    Scene {
        title: "frank, inside, at a pool that is not his",
        name: "frank",
        outside: false,
        server: Some("pool1.contoso.test"),
        succeeds: true,
    },
    Scene { title: "alice, outside, through the Edge", name: "alice", outside: true, server: None, succeeds: true },
    Scene { title: "carol, outside: may not", name: "carol", outside: true, server: None, succeeds: false },
    Scene {
        title: "dave: account disabled",
        name: "dave",
        outside: false,
        server: Some("dir.contoso.test"),
        succeeds: false,
    },
];

pub(crate) async fn run(typed: Demo) -> Result<ExitCode> {
    let lab = Lab::start(&LabConfig::default()).await.map_err(|error| lab_verb::explained(&error))?;
    let style = Style { colour: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() };
    let (mut rows, mut documents) = (Vec::new(), Vec::new());
    let mut surprises = 0;
    for scene in &SCENES {
        let outcome = scene.attempt(lab.ready())?.run().await.into_diagnostic()?;
        surprises += usize::from(outcome.report.signed_in != scene.succeeds);
        if typed.json {
            documents.push(document(scene, &outcome));
        } else {
            show::print(&act(scene, &outcome, &typed, style))?;
        }
        rows.push((scene.title.to_owned(), outcome.report));
    }
    if typed.json {
        let text = serde_json::to_string_pretty(&json!({ "schema": signin::report::SCHEMA, "sign_ins": documents }));
        show::print(&(text.into_diagnostic()? + "\n"))?;
    } else {
        show::print(&format!("{}{}", show::table(&rows, style), fastest(&rows)))?;
    }
    if surprises > 0 {
        return Err(miette!("{surprises} sign-ins of the demo did not end as they should; the verdicts above say why"));
    }
    Ok(ExitCode::SUCCESS)
}

impl Scene {
    fn attempt(&self, ready: &Ready) -> Result<Attempt> {
        let address = format!("{}@{}", self.name, ready.sip_domain);
        let user = ready.users.iter().find(|user| user.address == address);
        let user = user.ok_or_else(|| miette!("{address} does not live in the lab"))?;
        let aor: signin::name::Aor = address.parse().into_diagnostic()?;
        let view = if self.outside { AccessLocation::External } else { AccessLocation::Internal };
        let manual = |host: &str| Manual { host: host.to_owned(), port: None, view };
        let sign_in = SignIn {
            epid: wish::epid(&aor)?,
            aor,
            log_on: Some(LogOn {
                account: AccountName::parse(&user.login),
                password: Some(Password::new(user.password.clone())),
                tickets: Some(Arc::new(Tickets::new(Source { realm: Some(ready.realm.clone()), ..Source::default() }))),
                workstation: "DEMO".to_owned(),
            }),
            choice: Choice::Auto,
            keyring: None,
            user_agent: user_agent(),
            discovery: Ask { manual: self.server.map(manual).into_iter().collect(), ..Ask::default() },
            connect: ConnectLimits::default(),
            proxy: None,
            appearance: Appearance::default(),
            response_limit: Duration::from_secs(10),
        };
        let sockets = Config {
            dns: Some(if self.outside { ready.dns.external } else { ready.dns.internal }),
            system_roots: false,
            ca_files: vec![ready.ca.clone()],
            port_offset: ready.port_offset,
            ..Config::default()
        };
        Ok(Attempt { sign_in, sockets })
    }
}

fn document(scene: &Scene, outcome: &Outcome) -> Value {
    let mut value = serde_json::to_value(&outcome.report).unwrap_or_default();
    if let Some(object) = value.as_object_mut() {
        object.insert("view".to_owned(), json!(if scene.outside { "external" } else { "internal" }));
        object.insert("first".to_owned(), json!(true));
        object.insert("requests".to_owned(), json!(outcome.report.registers.last().map_or(0, |r| r.requests)));
        object.insert("ladder".to_owned(), json!(trace::ladder::text(&outcome.record, 100)));
    }
    value
}

/// One sign-in: title, call flow, steps with their proof, verdict.
fn act(scene: &Scene, outcome: &Outcome, typed: &Demo, style: Style) -> String {
    let mut text = format!("━━━ {} ━━━\n\n", scene.title);
    if !typed.brief {
        text.push_str(&trace::ladder::text(&outcome.record, ladder::columns(None)));
        text.push('\n');
    }
    text.push_str(&show::steps(&outcome.report.steps, style));
    if let Some(verdict) = &outcome.report.verdict {
        text.push_str(&show::verdict(verdict, style));
    }
    text.push_str(&show::summary(&outcome.report, style));
    text.push_str("\n\n");
    text
}

/// The figure the lab is held to.
fn fastest(rows: &[(String, SignInReport)]) -> String {
    let signed_in = rows.iter().filter(|(_, report)| report.signed_in);
    let times: Vec<f64> = signed_in.map(|(_, report)| report.ms).collect();
    let least = times.iter().copied().fold(f64::INFINITY, f64::min);
    let most = times.iter().copied().fold(0.0, f64::max);
    format!(
        "\n{} whole sign-ins with NTLM, discovery to presence: {least:.1} ms the fastest, {most:.1} ms the slowest (goal: 100 ms).\n",
        times.len()
    )
}
