//! Policies and dial plans: small, asked for at every sign-in, and so kept in memory whole.
//!
//! A policy value is found where it is set nearest to the user: on the user, else on the site of the home pool, else
//! globally. Each property is overlaid on its own, as the policies of a deployment are.

use rusqlite::{Connection, params};
use signin::directory::{DialPlan, NormalizationRule, Properties, User};
use signin::name::Aor;
use std::collections::HashMap;

/// For whom a policy value is set.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Everyone.
    Global,
    /// Users whose home pool is on this site.
    Site(String),
    /// One user.
    User(Aor),
}

impl Scope {
    fn columns(&self) -> (&'static str, &str) {
        match self {
            Scope::Global => ("global", ""),
            Scope::Site(site) => ("site", site),
            Scope::User(aor) => ("user", aor.as_str()),
        }
    }
}

/// Whether a dial plan is also the one for users who have none of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanUse {
    /// Only for users who name it.
    Named,
    /// Also for everyone else; the plan that was the global one until now becomes a named one.
    Global,
}

/// All policies and dial plans.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    /// By scope, then by provisioning group.
    values: HashMap<Scope, HashMap<String, Properties>>,
    /// Site of a pool, both as stored: the pool in lower case.
    sites: HashMap<String, String>,
    /// By name in lower case.
    plans: HashMap<String, DialPlan>,
    /// Name in lower case of the global one.
    global_plan: Option<String>,
}

impl Policies {
    /// What holds for this user. `None`: a user not known here, for whom only global values hold.
    pub(crate) fn properties(&self, user: Option<&User>, group: &str) -> Properties {
        let mut properties = Properties::new();
        let mut overlay = |scope: &Scope| {
            if let Some(values) = self.values.get(scope).and_then(|groups| groups.get(group)) {
                properties.extend(values.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
        };
        overlay(&Scope::Global);
        if let Some(user) = user {
            let pool = user.home_pool.as_ref().map(|pool| pool.to_ascii_lowercase());
            if let Some(site) = pool.and_then(|pool| self.sites.get(&pool)) {
                overlay(&Scope::Site(site.clone()));
            }
            overlay(&Scope::User(user.aor.clone()));
        }
        properties
    }

    /// A dial plan by name, or the global one.
    pub(crate) fn dial_plan(&self, name: Option<&str>) -> Option<DialPlan> {
        let key = name.map(str::to_lowercase);
        self.plans.get(key.as_ref().or(self.global_plan.as_ref())?).cloned()
    }
}

/// Everything, as committed.
pub(crate) fn load(conn: &Connection) -> rusqlite::Result<Policies> {
    let mut policies = Policies::default();
    let mut statement = conn.prepare("SELECT scope, subject, grp, name, value FROM policies")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (kind, subject): (String, String) = (row.get(0)?, row.get(1)?);
        let scope = match kind.as_str() {
            "user" => Scope::User(subject.parse().map_err(|error| crate::users::malformed(1, error))?),
            "site" => Scope::Site(subject),
            _ => Scope::Global,
        };
        let group = policies.values.entry(scope).or_default().entry(row.get(2)?).or_default();
        group.insert(row.get(3)?, row.get(4)?);
    }

    let mut statement = conn.prepare("SELECT pool, site FROM pool_sites")?;
    let sites = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    policies.sites = sites.collect::<rusqlite::Result<_>>()?;

    load_dial_plans(conn, &mut policies)?;
    Ok(policies)
}

fn load_dial_plans(conn: &Connection, policies: &mut Policies) -> rusqlite::Result<()> {
    let mut statement = conn.prepare("SELECT key, name, is_global, external_access_prefix FROM dial_plans")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let key: String = row.get(0)?;
        if row.get(2)? {
            policies.global_plan = Some(key.clone());
        }
        let plan = DialPlan { name: row.get(1)?, rules: Vec::new(), external_access_prefix: row.get(3)? };
        policies.plans.insert(key, plan);
    }
    let mut statement = conn.prepare(
        "SELECT plan, pattern, translation, internal_extension FROM dial_plan_rules ORDER BY plan, position",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let key: String = row.get(0)?;
        if let Some(plan) = policies.plans.get_mut(&key) {
            plan.rules.push(NormalizationRule {
                pattern: row.get(1)?,
                translation: row.get(2)?,
                internal_extension: row.get(3)?,
            });
        }
    }
    Ok(())
}

/// Sets one value, or takes it away.
pub(crate) fn set_value(
    conn: &Connection,
    scope: &Scope,
    group: &str,
    name: &str,
    value: Option<&str>,
) -> rusqlite::Result<()> {
    let (kind, subject) = scope.columns();
    match value {
        Some(value) => conn
            .prepare_cached(
                "INSERT INTO policies (scope, subject, grp, name, value) VALUES (?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT (scope, subject, grp, name) DO UPDATE SET value = excluded.value",
            )?
            .execute(params![kind, subject, group, name, value])?,
        None => conn
            .prepare_cached("DELETE FROM policies WHERE scope = ?1 AND subject = ?2 AND grp = ?3 AND name = ?4")?
            .execute(params![kind, subject, group, name])?,
    };
    Ok(())
}

/// Takes away everything set for one user.
pub(crate) fn forget_user(conn: &Connection, aor: &Aor) -> rusqlite::Result<()> {
    conn.execute("DELETE FROM policies WHERE scope = 'user' AND subject = ?1", [aor.as_str()])?;
    Ok(())
}

/// Says on which site a pool is, or that it is on none.
pub(crate) fn set_site(conn: &Connection, pool: &str, site: Option<&str>) -> rusqlite::Result<()> {
    let pool = pool.to_ascii_lowercase();
    match site {
        Some(site) => conn.execute(
            "INSERT INTO pool_sites (pool, site) VALUES (?1, ?2) ON CONFLICT (pool) DO UPDATE SET site = excluded.site",
            [pool.as_str(), site],
        )?,
        None => conn.execute("DELETE FROM pool_sites WHERE pool = ?1", [pool])?,
    };
    Ok(())
}

/// Makes or replaces a dial plan.
pub(crate) fn put_dial_plan(conn: &Connection, plan: &DialPlan, plan_use: PlanUse) -> rusqlite::Result<()> {
    let key = plan.name.to_lowercase();
    remove_dial_plan(conn, &plan.name)?;
    if plan_use == PlanUse::Global {
        conn.execute("UPDATE dial_plans SET is_global = 0", [])?;
    }
    conn.execute(
        "INSERT INTO dial_plans (key, name, is_global, external_access_prefix) VALUES (?1, ?2, ?3, ?4)",
        params![key, plan.name, plan_use == PlanUse::Global, plan.external_access_prefix],
    )?;
    for (position, rule) in (0i64..).zip(&plan.rules) {
        conn.execute(
            "INSERT INTO dial_plan_rules (plan, position, pattern, translation, internal_extension) \
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![key, position, rule.pattern, rule.translation, rule.internal_extension],
        )?;
    }
    Ok(())
}

/// Removes a dial plan; whether there was one.
pub(crate) fn remove_dial_plan(conn: &Connection, name: &str) -> rusqlite::Result<bool> {
    Ok(conn.execute("DELETE FROM dial_plans WHERE key = ?1", [name.to_lowercase()])? > 0)
}
