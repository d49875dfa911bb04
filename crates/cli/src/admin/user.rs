//! `admin user`: who may sign in, and where they are at home.

use super::{Told, address, table, yes_no};
use clap::{Args, Subcommand};
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use serde_json::{Value, json};
use signin::directory::User;
use signin::name::{AccountName, Aor};
use signin::secret::Password;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use store::{Account, NewUser, Store};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Every user
    List,
    /// One user
    Show {
        /// Sign-in address
        #[arg(value_parser = address)]
        address: Aor,
    },
    /// Makes a user
    Add(Box<Add>),
    /// Removes a user with contacts and policies
    Remove {
        /// Sign-in address
        #[arg(value_parser = address)]
        address: Aor,
    },
    /// Lets an account log on again
    Enable {
        /// Sign-in address
        #[arg(value_parser = address)]
        address: Aor,
    },
    /// Bars an account from logging on
    Disable {
        /// Sign-in address
        #[arg(value_parser = address)]
        address: Aor,
    },
    /// Moves a user to another home pool
    SetPool {
        /// Sign-in address
        #[arg(value_parser = address)]
        address: Aor,
        /// FQDN of the home pool
        pool: String,
        /// FQDN of the pool that takes over when it fails; without this, none does any more
        #[arg(long, value_name = "POOL")]
        backup: Option<String>,
    },
    /// Says whether a user may sign in from outside
    SetRemote {
        /// Sign-in address
        #[arg(value_parser = address)]
        address: Aor,
        /// yes or no
        #[arg(value_parser = yes_or_no)]
        allowed: bool,
    },
    /// Says whether a user may use SIP at all
    SetSip {
        /// Sign-in address
        #[arg(value_parser = address)]
        address: Aor,
        /// yes or no
        #[arg(value_parser = yes_or_no)]
        allowed: bool,
    },
    /// Sets the password; only its NT hash and, where there is a KDC, its Kerberos keys are kept
    SetPassword {
        /// Sign-in address
        #[arg(value_parser = address)]
        address: Aor,
        /// File whose first line is the password (else a prompt; never an argument)
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
}

/// Options of `admin user add`.
#[derive(Debug, Args)]
pub(super) struct Add {
    /// Sign-in address
    #[arg(value_parser = address)]
    address: Aor,
    /// Shown to others [default: the address]
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    /// DOMAIN\name or UPN to log on with (repeatable) [default: the address]
    #[arg(long, value_name = "LOGIN")]
    login: Vec<String>,
    /// FQDN of the home pool
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// FQDN of the pool that takes over when it fails
    #[arg(long, value_name = "POOL")]
    backup: Option<String>,
    /// Telephone line, for example tel:+14255550100
    #[arg(long, value_name = "TEL")]
    line: Option<String>,
    /// File whose first line is the password; without one nobody can log on until `set-password`
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("write yes or no".to_owned()),
    }
}

pub(super) fn run(store: &Store, verb: Verb) -> Result<Told> {
    match verb {
        Verb::List => Ok(list(store)),
        Verb::Show { address } => show(store, &address),
        Verb::Add(add) => make(store, *add),
        Verb::Remove { address } => {
            store.remove_user(&address).wait().into_diagnostic()?;
            Ok(Told::done(format!("{address} is removed, with contacts and policies")))
        }
        Verb::Enable { address } => {
            store.enable(&address).wait().into_diagnostic()?;
            Ok(Told::done(format!("{address} may log on")))
        }
        Verb::Disable { address } => {
            store.disable(&address).wait().into_diagnostic()?;
            Ok(Told::done(format!("{address} may not log on any more")))
        }
        Verb::SetPool { address, pool, backup } => {
            let account = store.set_home(&address, Some(&pool), backup.as_deref()).wait().into_diagnostic()?;
            let backup = account.user.backup_pool.map(|pool| format!(", with {pool} to take over")).unwrap_or_default();
            let pool = account.user.home_pool.unwrap_or(pool);
            Ok(Told::done(format!("{address} is at home on {pool}{backup}")))
        }
        Verb::SetRemote { address, allowed } => {
            store
                .modify_user(&address, move |account| account.user.remote_access = allowed)
                .wait()
                .into_diagnostic()?;
            Ok(Told::done(format!("{address} {} sign in from outside", if allowed { "may" } else { "may not" })))
        }
        Verb::SetSip { address, allowed } => {
            store.modify_user(&address, move |account| account.user.sip_enabled = allowed).wait().into_diagnostic()?;
            Ok(Told::done(format!("{address} {} use SIP", if allowed { "may" } else { "may not" })))
        }
        Verb::SetPassword { address, password_file } => {
            let password = match password_file {
                Some(file) => first_line(&file)?,
                None => rpassword::prompt_password(format!("New password of {address}: "))
                    .into_diagnostic()
                    .wrap_err("no password: there is no terminal to ask at; use --password-file")?,
            };
            store.set_password(&address, &Password::new(password)).wait().into_diagnostic()?;
            Ok(Told::done(format!("{address} has a new password")))
        }
    }
}

fn first_line(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file)
        .into_diagnostic()
        .wrap_err_with(|| format!("the password file {} cannot be read", file.display()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn list(store: &Store) -> Told {
    let users = store.list_users();
    let row = |account: &Account| {
        let user = &account.user;
        vec![
            user.aor.to_string(),
            user.display_name.clone(),
            user.home_pool.clone().unwrap_or_else(|| "-".to_owned()),
            yes_no(user.enabled).to_owned(),
            yes_no(user.sip_enabled).to_owned(),
            yes_no(user.remote_access).to_owned(),
            account.logins.first().map(AccountName::to_string).unwrap_or_default(),
        ]
    };
    let heading = ["address", "name", "home pool", "enabled", "SIP", "outside", "logs on as"];
    Told {
        text: table(&heading, &users.iter().map(row).collect::<Vec<_>>()),
        json: json!({ "users": users.iter().map(as_json).collect::<Vec<_>>() }),
    }
}

fn as_json(account: &Account) -> Value {
    let user = &account.user;
    json!({
        "address": user.aor.as_str(),
        "display_name": user.display_name,
        "mail": user.mail,
        "line": user.line,
        "logins": account.logins.iter().map(AccountName::to_string).collect::<Vec<_>>(),
        "home_pool": user.home_pool,
        "backup_pool": user.backup_pool,
        "enabled": user.enabled,
        "sip_enabled": user.sip_enabled,
        "remote_access": user.remote_access,
        "dial_plan": user.dial_plan,
    })
}

fn show(store: &Store, address: &Aor) -> Result<Told> {
    let account = super::known(store, address)?;
    let user = &account.user;
    let mut text = format!("{}  {}\n", user.aor, user.display_name);
    let logins = account.logins.iter().map(AccountName::to_string).collect::<Vec<_>>().join(", ");
    for (what, value) in [
        ("logs on as", Some(logins).filter(|logins| !logins.is_empty())),
        ("mail", user.mail.clone()),
        ("line", user.line.clone()),
        ("home pool", user.home_pool.clone()),
        ("backup pool", user.backup_pool.clone()),
        ("dial plan", user.dial_plan.clone()),
    ] {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {what:<12} {}", value.as_deref().unwrap_or("-"));
    }
    for (what, value) in [("enabled", user.enabled), ("SIP", user.sip_enabled), ("from outside", user.remote_access)] {
        let _ = writeln!(text, "  {what:<12} {}", yes_no(value));
    }
    Ok(Told { text, json: json!({ "user": as_json(&account) }) })
}

fn make(store: &Store, add: Add) -> Result<Told> {
    let address = add.address;
    let mut logins: Vec<AccountName> = add.login.iter().map(|login| AccountName::parse(login)).collect();
    if logins.is_empty() {
        logins.push(AccountName::parse(address.as_str()));
    }
    let password = add.password_file.as_deref().map(first_line).transpose()?.map(Password::new);
    if add.line.as_ref().is_some_and(|line| !line.starts_with("tel:+")) {
        return Err(miette!("--line: write the line like tel:+14255550100 or tel:+14255550100;ext=100"));
    }
    let has_password = password.is_some();
    let user = User {
        display_name: add.display_name.unwrap_or_else(|| address.to_string()),
        line: add.line,
        home_pool: add.pool,
        backup_pool: add.backup,
        ..User::new(address.clone())
    };
    store.add_user(NewUser { account: Account { user, logins }, password }).wait().into_diagnostic()?;
    let next = if has_password {
        String::new()
    } else {
        format!("; `signpost admin user set-password {address}` lets them log on")
    };
    Ok(Told::done(format!("{address} is made{next}")))
}
