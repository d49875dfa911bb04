//! `admin`: what a deployment keeps, shown and changed in its store file. It may run while the servers do: SQLite's log
//! lets both read and write, every change is whole and durable, and servers notice it within a second.
//!
//! Each thing that can be administered is one file here with its verbs, their help and their output. To add one: a file
//! with a `Subcommand` and `run`, a line in [`Subject`], a line in [`run`].

mod certificate;
mod contacts;
mod dialplan;
mod policy;
mod site;
mod user;

use clap::{Args, Subcommand};
use miette::{IntoDiagnostic, Result, miette};
use serde_json::{Value, json};
use signin::directory::User;
use signin::name::Aor;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use store::{Account, Store};

/// Options of `admin`.
#[derive(Debug, Args)]
pub(crate) struct Admin {
    /// The folder given to `lab --state`: the store is in it. The servers may be running
    #[arg(long, value_name = "DIR", global = true, env = "SIGNPOST_STATE")]
    state: Option<PathBuf>,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    json: bool,
    /// What to look at or change.
    #[command(subcommand)]
    subject: Subject,
}

#[derive(Debug, Subcommand)]
enum Subject {
    /// Users: who may sign in, and where they are at home
    #[command(subcommand)]
    User(user::Verb),
    /// Policies: what clients are told, for everyone, a site or a user
    #[command(subcommand)]
    Policy(policy::Verb),
    /// Sites: which pools are where, for policies and dial plans
    #[command(subcommand)]
    Site(site::Verb),
    /// Certificates that users sign in with: listed and revoked
    #[command(subcommand)]
    Certificate(certificate::Verb),
    /// Contact lists: shown, and as CSV or vCard
    #[command(subcommand)]
    Contacts(contacts::Verb),
    /// Dial plans: what becomes of a number that is dialled
    #[command(subcommand)]
    Dialplan(dialplan::Verb),
}

/// What a verb has to say, in both forms.
struct Told {
    /// For people.
    text: String,
    /// For programs; `schema` is added.
    json: Value,
}

impl Told {
    /// A change that was made, in one sentence.
    fn done(sentence: String) -> Told {
        Told { json: json!({ "done": sentence }), text: format!("{sentence}\n") }
    }
}

/// Exit status of what was done, but not wholly.
const ONLY_WARNINGS: u8 = 20;

pub(crate) fn run(typed: Admin) -> Result<ExitCode> {
    let store = open(typed.state.as_deref())?;
    let mut whole = true;
    let told = match typed.subject {
        Subject::User(verb) => user::run(&store, verb),
        Subject::Policy(verb) => policy::run(&store, verb),
        Subject::Site(verb) => site::run(&store, verb),
        Subject::Dialplan(verb) => dialplan::run(&store, verb),
        Subject::Certificate(verb) => certificate::run(&store, verb),
        Subject::Contacts(verb) => contacts::run(&store, verb).map(|(told, all_taken)| {
            whole = all_taken;
            told
        }),
    }?;
    let text = match (typed.json, told.json) {
        (false, _) => told.text,
        (true, Value::Object(fields)) => {
            let mut document = serde_json::Map::from_iter([("schema".to_owned(), json!(1))]);
            document.extend(fields);
            serde_json::to_string_pretty(&document).into_diagnostic()? + "\n"
        }
        (true, other) => serde_json::to_string_pretty(&other).into_diagnostic()? + "\n",
    };
    crate::show::print(&text)?;
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::from(ONLY_WARNINGS) })
}

/// Opens the store that is there; one that is not is a mistake in what was typed.
fn open(state: Option<&Path>) -> Result<Store> {
    let Some(folder) = state else {
        return Err(miette!(
            help = "write --state DIR, the folder that was given to `signpost lab --state DIR`, or set SIGNPOST_STATE",
            "which deployment? There is no --state"
        ));
    };
    let file = folder.join(lab::STORE_FILE);
    if !file.is_file() {
        return Err(miette!(
            help = "give the folder of `signpost lab --state DIR`; starting the lab once makes the store",
            "there is no store {}",
            file.display()
        ));
    }
    Store::open(&file).into_diagnostic()
}

/// A sign-in address as typed.
fn address(text: &str) -> Result<Aor, String> {
    text.parse().map_err(|error| format!("{error}; write a sign-in address, for example alice@contoso.com"))
}

/// The user with this address.
fn known(store: &Store, address: &Aor) -> Result<Account> {
    store
        .account(address)
        .ok_or_else(|| miette!("there is no user {address}; `signpost admin user list` shows those there are"))
}

/// The site of the user's home pool.
fn site_of(store: &Store, user: &User) -> Option<String> {
    let home = user.home_pool.as_ref()?.to_ascii_lowercase();
    store.list_sites().into_iter().find(|(pool, _)| *pool == home).map(|(_, site)| site)
}

/// Columns, each as wide as its widest cell; the last one is not padded.
fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let heading: Vec<String> = heading.iter().map(|cell| (*cell).to_owned()).collect();
    let lines = || std::iter::once(&heading).chain(rows);
    let width = |column: usize| lines().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..heading.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in lines() {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}
