//! `admin dialplan`: dial plans, and what they make of a number.

use super::{Told, address, table};
use clap::Subcommand;
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use serde_json::json;
use signin::directory::DialPlan;
use signin::name::Aor;
use signin::provision::settings::normalization::{AttemptResult, Normalized, Normalizer};
use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};
use store::{PlanUse, Store, StoredPlan};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Every dial plan
    List,
    /// The rules of one plan, and what cannot be applied of them
    Show {
        /// Name of the plan
        name: String,
    },
    /// Makes or replaces a plan from a file
    Set {
        /// JSON: {"name", "rules": [{"pattern", "translation", "internal_extension", "device_dialing"}],
        /// "external_access_prefix", "optimize_device_dialing"}, as `dialplan show --json` prints it; `-` for standard
        /// input
        file: PathBuf,
        /// Make it the plan of everyone who has no other
        #[arg(long)]
        global: bool,
    },
    /// Removes a plan
    Remove {
        /// Name of the plan
        name: String,
    },
    /// Gives a plan to a user or a site
    Assign {
        /// Name of the plan; without one, the user or site has none of its own any more
        name: Option<String>,
        /// To this user
        #[arg(long, value_name = "ADDRESS", value_parser = address, required_unless_present = "site")]
        user: Option<Aor>,
        /// To the users homed on this site who have none of their own
        #[arg(long, value_name = "SITE", conflicts_with = "user")]
        site: Option<String>,
    },
    /// Shows what becomes of NUMBER: each rule that is tried, which one fires, and what is called
    Test {
        /// What somebody dials
        #[arg(allow_hyphen_values = true)]
        number: String,
        /// By the plan of this user
        #[arg(long, value_name = "ADDRESS", value_parser = address)]
        user: Option<Aor>,
        /// By this plan [default: the global one]
        #[arg(long, value_name = "NAME", conflicts_with = "user")]
        plan: Option<String>,
    },
}

pub(super) fn run(store: &Store, verb: Verb) -> Result<Told> {
    match verb {
        Verb::List => Ok(list(store)),
        Verb::Show { name } => show(store, &name),
        Verb::Set { file, global } => set(store, &file, global),
        Verb::Remove { name } => {
            store.remove_dial_plan(&name).wait().into_diagnostic()?;
            Ok(Told::done(format!("dial plan {name} is removed; users who name it have none now")))
        }
        Verb::Assign { name, user, site } => assign(store, name.as_deref(), user, site),
        Verb::Test { number, user, plan } => test(store, &number, user.as_ref(), plan.as_deref()),
    }
}

/// For whom a plan is, in words.
fn whom(stored: &StoredPlan) -> String {
    let mut whom: Vec<String> = stored.sites.iter().map(|site| format!("site {site}")).collect();
    if stored.is_global {
        whom.insert(0, "everyone".to_owned());
    }
    if whom.is_empty() { "who names it".to_owned() } else { whom.join(", ") }
}

fn list(store: &Store) -> Told {
    let plans = store.list_dial_plans();
    let row = |stored: &StoredPlan| {
        let unusable = Normalizer::findings(&stored.plan).len();
        let rules = match unusable {
            0 => stored.plan.rules.len().to_string(),
            unusable => format!("{} ({unusable} cannot be applied)", stored.plan.rules.len()),
        };
        let prefix = stored.plan.external_access_prefix.clone().unwrap_or_else(|| "-".to_owned());
        vec![stored.plan.name.clone(), rules, prefix, whom(stored)]
    };
    let entry = |stored: &StoredPlan| json!({ "plan": stored.plan, "global": stored.is_global, "sites": stored.sites });
    Told {
        text: table(&["name", "rules", "prefix", "for"], &plans.iter().map(row).collect::<Vec<_>>()),
        json: json!({ "dial_plans": plans.iter().map(entry).collect::<Vec<_>>() }),
    }
}

fn find(store: &Store, name: &str) -> Result<StoredPlan> {
    let plans = store.list_dial_plans();
    let names = plans.iter().map(|stored| stored.plan.name.as_str()).collect::<Vec<_>>().join(", ");
    let found = plans.iter().find(|stored| stored.plan.name.to_lowercase() == name.to_lowercase()).cloned();
    found.ok_or_else(|| miette!("there is no dial plan {name}; there are: {names}"))
}

fn show(store: &Store, name: &str) -> Result<Told> {
    let stored = find(store, name)?;
    let findings = Normalizer::findings(&stored.plan);
    let mut text = format!("{}: for {}\n", stored.plan.name, whom(&stored));
    if let Some(prefix) = &stored.plan.external_access_prefix {
        let optimized = if stored.plan.optimize_device_dialing { ", first tried without it" } else { "" };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "external access prefix {prefix}{optimized}");
    }
    let rows = (1..).zip(&stored.plan.rules).map(|(number, rule): (usize, _)| {
        let kind = if rule.internal_extension { "extension" } else { "" };
        vec![number.to_string(), rule.pattern.clone(), rule.translation.clone(), kind.to_owned()]
    });
    text.push_str(&table(&["rule", "pattern", "becomes", ""], &rows.collect::<Vec<_>>()));
    for finding in &findings {
        let _ = writeln!(text, "! {finding}");
    }
    let mut json = json!(stored.plan);
    json["findings"] = json!(findings.iter().map(ToString::to_string).collect::<Vec<_>>());
    Ok(Told { text, json })
}

fn set(store: &Store, file: &Path, global: bool) -> Result<Told> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    let text = text.into_diagnostic().wrap_err_with(|| format!("{} cannot be read", file.display()))?;
    let plan: DialPlan = serde_json::from_str(&text).map_err(|error| {
        miette!(
            help = "`signpost admin dialplan show NAME --json` prints one that is read",
            "{} is no dial plan: {error}",
            file.display()
        )
    })?;
    let known = store.list_dial_plans();
    let before = known.iter().find(|stored| stored.plan.name.to_lowercase() == plan.name.to_lowercase());
    let is_global = global || before.is_some_and(|stored| stored.is_global);
    let plan_use = if is_global { PlanUse::Global } else { PlanUse::Named };
    let name = plan.name.clone();
    let findings: Vec<String> = Normalizer::findings(&plan).iter().map(ToString::to_string).collect();
    let done = match before {
        Some(_) => format!("dial plan {name} is replaced: {} rules", plan.rules.len()),
        None => format!("dial plan {name} is made: {} rules", plan.rules.len()),
    };
    store.put_dial_plan(plan, plan_use).wait().into_diagnostic()?;
    let mut told = Told::done(done);
    for finding in &findings {
        let _ = writeln!(told.text, "! {finding}");
    }
    told.json["findings"] = json!(findings);
    Ok(told)
}

fn assign(store: &Store, name: Option<&str>, user: Option<Aor>, site: Option<String>) -> Result<Told> {
    let whom = match (user, site) {
        (Some(user), _) => {
            store.set_dial_plan(&user, name).wait().into_diagnostic()?;
            user.to_string()
        }
        (None, Some(site)) => {
            store.set_site_dial_plan(&site, name).wait().into_diagnostic()?;
            format!("site {site}")
        }
        (None, None) => return Err(miette!("for whom? Write --user ADDRESS or --site SITE")),
    };
    Ok(Told::done(match name {
        Some(name) => format!("{whom} has dial plan {name}"),
        None => format!("{whom} has no dial plan of its own"),
    }))
}

/// The plan a user has: the user's own, else the site's, else the global one.
fn plan_of(store: &Store, user: &Aor) -> Result<StoredPlan> {
    let account = super::known(store, user)?;
    if let Some(name) = &account.user.dial_plan {
        return find(store, name).wrap_err_with(|| format!("{user} is to have dial plan {name}"));
    }
    let plans = store.list_dial_plans();
    let site = super::site_of(store, &account.user);
    let of_site = plans.iter().find(|stored| site.as_ref().is_some_and(|site| stored.sites.contains(site)));
    let found = of_site.or_else(|| plans.iter().find(|stored| stored.is_global)).cloned();
    found.ok_or_else(|| miette!("{user} has no dial plan: none of their own, none of the site, no global one"))
}

fn test(store: &Store, number: &str, user: Option<&Aor>, plan: Option<&str>) -> Result<Told> {
    let stored = match (user, plan) {
        (Some(user), _) => plan_of(store, user)?,
        (None, Some(name)) => find(store, name)?,
        (None, None) => store
            .list_dial_plans()
            .into_iter()
            .find(|stored| stored.is_global)
            .ok_or_else(|| miette!("there is no global dial plan; write --plan NAME or --user ADDRESS"))?,
    };
    let normalized = Normalizer::of(&stored.plan).normalize(number).into_diagnostic()?;
    let uri = user.map(|user| normalized.uri(&user.domain().to_string()));
    let mut text = format!("{} by dial plan {}\n", normalized.dialled, normalized.plan);
    text.push_str(&attempts(&stored.plan, &normalized));
    let _ =
        writeln!(text, "calls {}{}", normalized.number, if normalized.is_internal { " (an extension)" } else { "" });
    if let Some(uri) = &uri {
        let _ = writeln!(text, "   as {uri}");
    }
    let mut json = json!(normalized);
    json["number"] = json!(normalized.number.to_string());
    json["uri"] = json!(uri);
    // Rules are counted from 1 wherever people or programs see them.
    json["rule"] = json!(normalized.rule.map(|rule| rule + 1));
    for attempt in json["tried"].as_array_mut().into_iter().flatten() {
        attempt["rule"] = json!(attempt["rule"].as_u64().map(|rule| rule + 1));
    }
    Ok(Told { text, json })
}

/// One line for each rule that was tried.
fn attempts(plan: &DialPlan, normalized: &Normalized) -> String {
    let mut text = String::new();
    for attempt in &normalized.tried {
        let rule = plan.rules.get(attempt.rule);
        let pattern = rule.map(|rule| rule.pattern.as_str()).unwrap_or_default();
        let result = match &attempt.result {
            AttemptResult::NoMatch => "no match".to_owned(),
            AttemptResult::Unusable(why) => format!("! {why}"),
            AttemptResult::Fired(number) => {
                format!("fires: {} gives {number}", rule.map(|rule| rule.translation.as_str()).unwrap_or_default())
            }
        };
        let without = if attempt.text == normalized.dialled { String::new() } else { format!(" on {}", attempt.text) };
        let _ = writeln!(text, "  rule {:<3} {pattern:<32} {result}{without}", attempt.rule + 1);
    }
    if normalized.tried.is_empty() {
        text.push_str("  the number is global: no rule is asked\n");
    } else if normalized.rule.is_none() {
        text.push_str("  no rule fires: the server is given the number as it is\n");
    }
    text
}
