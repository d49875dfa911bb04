//! `admin site`: which pools are where. A site's policies and dial plan hold for the users homed on its pools.

use super::{Told, table};
use clap::Subcommand;
use miette::{IntoDiagnostic, Result};
use serde_json::json;
use store::Store;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Every pool that is on a site
    List,
    /// Puts a pool on a site
    Set {
        /// FQDN of the pool
        pool: String,
        /// Name of the site
        site: String,
    },
    /// Takes a pool off its site
    Clear {
        /// FQDN of the pool
        pool: String,
    },
}

pub(super) fn run(store: &Store, verb: Verb) -> Result<Told> {
    match verb {
        Verb::List => {
            let sites = store.list_sites();
            let rows: Vec<_> = sites.iter().map(|(pool, site)| vec![site.clone(), pool.clone()]).collect();
            let entries: Vec<_> = sites.iter().map(|(pool, site)| json!({ "site": site, "pool": pool })).collect();
            Ok(Told { text: table(&["site", "pool"], &rows), json: json!({ "sites": entries }) })
        }
        Verb::Set { pool, site } => {
            store.set_site(&pool, Some(&site)).wait().into_diagnostic()?;
            Ok(Told::done(format!("{pool} is on site {site}")))
        }
        Verb::Clear { pool } => {
            store.set_site(&pool, None).wait().into_diagnostic()?;
            Ok(Told::done(format!("{pool} is on no site")))
        }
    }
}
