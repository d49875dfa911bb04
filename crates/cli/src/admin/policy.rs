//! `admin policy`: what clients are told in provisioning groups, for everyone, a site or a user.

use super::{Told, address, table};
use clap::{Args, Subcommand};
use miette::{IntoDiagnostic, Result, miette};
use serde_json::json;
use signin::name::Aor;
use signin::provision::settings::catalogue::{self, GROUPS, Group};
use std::collections::BTreeMap;
use store::{Scope, Store};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// What is set, and for whom
    List,
    /// What a user is told, and where each value comes from
    Show {
        /// Sign-in address
        #[arg(value_parser = address)]
        address: Aor,
        /// Only this group, for example ucPolicy
        group: Option<String>,
    },
    /// The groups and properties there are, with what each takes and does
    Groups {
        /// Only this group, for example ucPolicy
        group: Option<String>,
    },
    /// Sets a value, for everyone unless --site or --user is given
    Set {
        /// Group, for example ucPolicy
        group: String,
        /// Property, for example EnableCallPark
        property: String,
        /// Value
        value: String,
        #[command(flatten)]
        whom: Whom,
    },
    /// Takes a value away, so that the one of a wider scope holds
    Clear {
        /// Group, for example ucPolicy
        group: String,
        /// Property, for example EnableCallPark
        property: String,
        #[command(flatten)]
        whom: Whom,
    },
}

/// For whom.
#[derive(Debug, Args)]
pub(super) struct Whom {
    /// For the users homed on this site
    #[arg(long, value_name = "SITE", conflicts_with = "user")]
    site: Option<String>,
    /// For this user
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    user: Option<Aor>,
}

impl Whom {
    fn scope(self) -> Scope {
        match (self.site, self.user) {
            (_, Some(user)) => Scope::User(user),
            (Some(site), None) => Scope::Site(site),
            (None, None) => Scope::Global,
        }
    }
}

pub(super) fn run(store: &Store, verb: Verb) -> Result<Told> {
    match verb {
        Verb::List => Ok(list(store)),
        Verb::Show { address, group } => show(store, &address, group.as_deref()),
        Verb::Groups { group } => groups(group.as_deref()),
        Verb::Set { group, property, value, whom } => {
            let scope = whom.scope();
            store.set_policy(scope.clone(), &group, &property, Some(&value)).wait().into_diagnostic()?;
            Ok(Told::done(format!("{group}/{property} is {value} for {scope}; clients see it at their next sign-in")))
        }
        Verb::Clear { group, property, whom } => {
            let scope = whom.scope();
            store.set_policy(scope.clone(), &group, &property, None).wait().into_diagnostic()?;
            Ok(Told::done(format!("{group}/{property} is not set for {scope}; clients see it at their next sign-in")))
        }
    }
}

fn list(store: &Store) -> Told {
    let policies = store.list_policies();
    let mut rows = Vec::new();
    let mut entries = Vec::new();
    for (scope, group, properties) in &policies {
        for (property, value) in properties {
            rows.push(vec![scope.to_string(), group.clone(), property.clone(), value.clone()]);
        }
        let (site, user) = match scope {
            Scope::Global => (None, None),
            Scope::Site(site) => (Some(site.as_str()), None),
            Scope::User(aor) => (None, Some(aor.as_str())),
        };
        entries.push(json!({ "site": site, "user": user, "group": group, "properties": properties }));
    }
    let findings = store.findings();
    let mut text = table(&["for", "group", "property", "value"], &rows);
    for finding in &findings {
        text.push_str(&format!("! {finding}\n"));
    }
    Told { text, json: json!({ "policies": entries, "findings": findings }) }
}

/// The values of each group for one user, with the scope they come from, in the order of inheritance.
fn show(store: &Store, address: &Aor, group: Option<&str>) -> Result<Told> {
    let account = super::known(store, address)?;
    let site = super::site_of(store, &account.user);
    let mut scopes = vec![Scope::Global];
    scopes.extend(site.map(Scope::Site));
    scopes.push(Scope::User(address.clone()));
    let policies = store.list_policies();
    let mut rows = Vec::new();
    let mut shown = serde_json::Map::new();
    for group in chosen(group)? {
        let mut values: BTreeMap<String, (String, String)> = BTreeMap::new();
        for property in group.properties {
            if let Some(value) = property.default {
                values.insert(property.name.to_owned(), (value.to_owned(), "default".to_owned()));
            }
        }
        for scope in &scopes {
            let set = policies.iter().filter(|(of, name, _)| of == scope && name == group.name);
            for (property, value) in set.flat_map(|(_, _, properties)| properties) {
                values.insert(property.clone(), (value.clone(), scope.to_string()));
            }
        }
        for (property, (value, from)) in &values {
            rows.push(vec![group.name.to_owned(), property.clone(), value.clone(), from.clone()]);
        }
        let values = values.iter().map(|(name, (value, from))| (name.clone(), json!({ "value": value, "from": from })));
        shown.insert(group.name.to_owned(), serde_json::Value::Object(values.collect()));
    }
    Ok(Told {
        text: table(&["group", "property", "value", "from"], &rows),
        json: json!({ "user": address.as_str(), "groups": shown }),
    })
}

fn groups(group: Option<&str>) -> Result<Told> {
    let mut text = String::new();
    let mut entries = Vec::new();
    for group in chosen(group)? {
        let open = if group.is_open { "; takes other properties too, as text" } else { "" };
        text.push_str(&format!("{}: {} ({}){open}\n", group.name, group.about, group.source));
        let row = |property: &catalogue::Property| {
            let kind = property.kind.to_string();
            vec![
                format!("  {}", property.name),
                property.default.unwrap_or("-").to_owned(),
                kind,
                property.about.to_owned(),
            ]
        };
        if !group.properties.is_empty() {
            let rows: Vec<_> = group.properties.iter().map(row).collect();
            text.push_str(&table(&["  property", "default", "takes", "does"], &rows));
        }
        text.push('\n');
        let properties = group.properties.iter().map(|property| {
            json!({
                "name": property.name,
                "default": property.default,
                "takes": property.kind.to_string(),
                "does": property.about,
            })
        });
        entries.push(json!({
            "name": group.name,
            "about": group.about,
            "source": group.source,
            "takes_others": group.is_open,
            "properties": properties.collect::<Vec<_>>(),
        }));
    }
    Ok(Told { text, json: json!({ "groups": entries }) })
}

fn chosen(name: Option<&str>) -> Result<Vec<&'static Group>> {
    let Some(name) = name else { return Ok(GROUPS.iter().collect()) };
    let known = || GROUPS.iter().map(|group| group.name).collect::<Vec<_>>().join(", ");
    let group = catalogue::group(name);
    group
        .map(|group| vec![group])
        .ok_or_else(|| miette!("there is no provisioning group {name}; there are {}", known()))
}
