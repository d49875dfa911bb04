//! `admin certificate`: the certificates users sign in with, listed and revoked. A revoked one opens nothing from the next
//! sign-in on; who holds it is told so, and obtains a new one with the password.

use super::{Told, address, known, table};
use clap::Subcommand;
use miette::{IntoDiagnostic, Result, miette};
use serde_json::json;
use signin::authenticate::certificate::published::Published;
use signin::date_time::write_time;
use signin::name::Aor;
use store::Store;
use uuid::Uuid;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// The certificates of a user: one for each device
    List {
        /// Whose
        #[arg(value_parser = address)]
        user: Aor,
    },
    /// Revokes the certificates of a user, or that of one device
    Revoke {
        /// Whose
        #[arg(value_parser = address)]
        user: Aor,
        /// The device, as `list` names it; without this, all of the user's
        #[arg(long, value_name = "UUID")]
        device: Option<Uuid>,
    },
}

pub(super) fn run(store: &Store, verb: Verb) -> Result<Told> {
    match verb {
        Verb::List { user } => {
            known(store, &user)?;
            let certificates = store.certificates(&user).into_diagnostic()?;
            Ok(Told { text: text(&user, &certificates), json: json!({ "certificates": documents(&certificates) }) })
        }
        Verb::Revoke { user, device } => {
            known(store, &user)?;
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).into_diagnostic()?;
            let now = i64::try_from(now.as_secs()).into_diagnostic()?;
            match (store.revoke_certificates(&user, device, now).wait().into_diagnostic()?, device) {
                (0, Some(device)) => Err(miette!(
                    "{user} has no valid certificate for the device {device}; see `admin certificate list`"
                )),
                (count, _) => Ok(Told::done(format!("{count} certificates of {user} are revoked"))),
            }
        }
    }
}

fn text(user: &Aor, certificates: &[Published]) -> String {
    if certificates.is_empty() {
        return format!("{user} has no certificates\n");
    }
    let row = |one: &Published| {
        let state = one.revoked_at.map_or_else(|| "valid".to_owned(), |at| format!("revoked {}", write_time(at)));
        vec![one.device.to_string(), write_time(one.not_after), state]
    };
    table(&["device", "until", "state"], &certificates.iter().map(row).collect::<Vec<_>>())
}

fn documents(certificates: &[Published]) -> Vec<serde_json::Value> {
    certificates
        .iter()
        .map(|one| {
            json!({
                "device": one.device.to_string(),
                "until": write_time(one.not_after),
                "revoked": one.revoked_at.map(write_time),
            })
        })
        .collect()
}
