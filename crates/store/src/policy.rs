//! Policies and dial plans: small, asked for at every sign-in, and so kept in memory whole.
//!
//! A policy value is found where it is set nearest to the user: on the user, else on the site of the home pool, else
//! globally. Each property is overlaid on its own, as the policies of a deployment are.

use rusqlite::{Connection, OptionalExtension, params};
use signin::directory::{DialPlan, NormalizationRule, Properties, User};
use signin::name::Aor;
use signin::provision::settings::catalogue;
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

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Scope::Global => f.write_str("everyone"),
            Scope::Site(site) => write!(f, "site {site}"),
            Scope::User(aor) => write!(f, "user {aor}"),
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
    /// Names in lower case of the plans of sites.
    site_plans: HashMap<String, String>,
    /// Values in the file that no property can have, each with its place. They are not among the values.
    unusable: Vec<String>,
}

/// A dial plan and for whom it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPlan {
    /// The plan.
    pub plan: DialPlan,
    /// It is the one of everyone who has no other.
    pub is_global: bool,
    /// Sites whose users have it when they name none, in order.
    pub sites: Vec<String>,
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
            if let Some(site) = self.site_of(user) {
                overlay(&Scope::Site(site.to_owned()));
            }
            overlay(&Scope::User(user.aor.clone()));
        }
        properties
    }

    /// The site of the user's home pool.
    fn site_of(&self, user: &User) -> Option<&str> {
        let pool = user.home_pool.as_ref()?.to_ascii_lowercase();
        self.sites.get(&pool).map(String::as_str)
    }

    /// A dial plan by name, or the global one.
    pub(crate) fn dial_plan(&self, name: Option<&str>) -> Option<DialPlan> {
        let key = name.map(str::to_lowercase);
        self.plans.get(key.as_ref().or(self.global_plan.as_ref())?).cloned()
    }

    /// The plan of those at this user's pool who name none: that of the site, else the global one.
    pub(crate) fn pool_dial_plan(&self, user: Option<&User>) -> Option<DialPlan> {
        let of_site = user.and_then(|user| self.site_plans.get(self.site_of(user)?));
        self.plans.get(of_site.or(self.global_plan.as_ref())?).cloned()
    }

    /// Every plan, in order of name.
    pub(crate) fn stored_plans(&self) -> Vec<StoredPlan> {
        let mut keys: Vec<&String> = self.plans.keys().collect();
        keys.sort();
        let stored = |key: &String| {
            let plan = self.plans.get(key)?.clone();
            let sites = self.site_plans.iter().filter(|(_, plan)| *plan == key).map(|(site, _)| site.clone());
            let mut sites: Vec<String> = sites.collect();
            sites.sort();
            Some(StoredPlan { plan, is_global: self.global_plan.as_ref() == Some(key), sites })
        };
        keys.into_iter().filter_map(stored).collect()
    }

    /// Every value set anywhere: wider scopes first, then by subject and group.
    pub(crate) fn all_values(&self) -> Vec<(Scope, String, Properties)> {
        let groups = self.values.iter().flat_map(|(scope, groups)| groups.iter().map(move |group| (scope, group)));
        let mut all: Vec<_> =
            groups.map(|(scope, (group, properties))| (scope.clone(), group.clone(), properties.clone())).collect();
        let rank = |scope: &Scope| match scope {
            Scope::Global => 0,
            Scope::Site(_) => 1,
            Scope::User(_) => 2,
        };
        all.sort_by(|(a, in_a, _), (b, in_b, _)| (rank(a), a.columns().1, in_a).cmp(&(rank(b), b.columns().1, in_b)));
        all
    }

    /// Values in the file that are passed over, and why.
    pub(crate) fn unusable(&self) -> &[String] {
        &self.unusable
    }

    /// Every pool that is on a site, in order.
    pub(crate) fn pool_sites(&self) -> Vec<(String, String)> {
        let mut sites: Vec<_> = self.sites.iter().map(|(pool, site)| (pool.clone(), site.clone())).collect();
        sites.sort();
        sites
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
        let (group, name, value): (String, String, String) = (row.get(2)?, row.get(3)?, row.get(4)?);
        match catalogue::check(&group, &name, &value) {
            Ok(value) => {
                policies.values.entry(scope).or_default().entry(group).or_default().insert(name, value);
            }
            // Left by a program that checked less; everyone else's settings do not depend on it.
            Err(error) => policies.unusable.push(format!("policy for {scope}: {error}; it is passed over")),
        }
    }

    let mut statement = conn.prepare("SELECT pool, site FROM pool_sites")?;
    let sites = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    policies.sites = sites.collect::<rusqlite::Result<_>>()?;

    load_dial_plans(conn, &mut policies)?;
    Ok(policies)
}

fn load_dial_plans(conn: &Connection, policies: &mut Policies) -> rusqlite::Result<()> {
    let mut statement =
        conn.prepare("SELECT key, name, is_global, external_access_prefix, optimize_device_dialing FROM dial_plans")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let key: String = row.get(0)?;
        if row.get(2)? {
            policies.global_plan = Some(key.clone());
        }
        let plan = DialPlan {
            name: row.get(1)?,
            rules: Vec::new(),
            external_access_prefix: row.get(3)?,
            optimize_device_dialing: row.get(4)?,
        };
        policies.plans.insert(key, plan);
    }
    let mut statement = conn.prepare(
        "SELECT plan, pattern, translation, internal_extension, device_dialing FROM dial_plan_rules \
         ORDER BY plan, position",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let key: String = row.get(0)?;
        if let Some(plan) = policies.plans.get_mut(&key) {
            plan.rules.push(NormalizationRule {
                pattern: row.get(1)?,
                translation: row.get(2)?,
                internal_extension: row.get(3)?,
                device_dialing: row.get(4)?,
            });
        }
    }
    let mut statement = conn.prepare("SELECT site, plan FROM site_dial_plans")?;
    let sites = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    policies.site_plans = sites.collect::<rusqlite::Result<_>>()?;
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

/// Makes or replaces a dial plan; sites that have it keep it.
pub(crate) fn put_dial_plan(conn: &Connection, plan: &DialPlan, plan_use: PlanUse) -> rusqlite::Result<()> {
    let key = plan.name.to_lowercase();
    if plan_use == PlanUse::Global {
        conn.execute("UPDATE dial_plans SET is_global = 0", [])?;
    }
    conn.execute("DELETE FROM dial_plan_rules WHERE plan = ?1", [&key])?;
    conn.execute(
        "INSERT INTO dial_plans (key, name, is_global, external_access_prefix, optimize_device_dialing) \
         VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (key) DO UPDATE SET name = excluded.name, \
         is_global = excluded.is_global, external_access_prefix = excluded.external_access_prefix, \
         optimize_device_dialing = excluded.optimize_device_dialing",
        params![key, plan.name, plan_use == PlanUse::Global, plan.external_access_prefix, plan.optimize_device_dialing],
    )?;
    for (position, rule) in (0i64..).zip(&plan.rules) {
        conn.execute(
            "INSERT INTO dial_plan_rules (plan, position, pattern, translation, internal_extension, device_dialing) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![key, position, rule.pattern, rule.translation, rule.internal_extension, rule.device_dialing],
        )?;
    }
    Ok(())
}

/// Gives a site a dial plan, or takes it away. Whether there is such a plan.
pub(crate) fn set_site_plan(conn: &Connection, site: &str, plan: Option<&str>) -> rusqlite::Result<bool> {
    let Some(plan) = plan else {
        conn.execute("DELETE FROM site_dial_plans WHERE site = ?1", [site])?;
        return Ok(true);
    };
    let made = conn.execute(
        "INSERT INTO site_dial_plans (site, plan) SELECT ?1, key FROM dial_plans WHERE key = ?2 \
         ON CONFLICT (site) DO UPDATE SET plan = excluded.plan",
        [site, &plan.to_lowercase()],
    )?;
    Ok(made > 0)
}

/// The name of a plan as it is written, found without regard to case.
pub(crate) fn plan_name(conn: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    let find = "SELECT name FROM dial_plans WHERE key = ?1";
    conn.query_row(find, [name.to_lowercase()], |row| row.get(0)).optional()
}

/// Whether any pool is on this site.
pub(crate) fn is_site(conn: &Connection, site: &str) -> rusqlite::Result<bool> {
    conn.query_row("SELECT EXISTS (SELECT 1 FROM pool_sites WHERE site = ?1)", [site], |row| row.get(0))
}

/// Removes a dial plan; whether there was one.
pub(crate) fn remove_dial_plan(conn: &Connection, name: &str) -> rusqlite::Result<bool> {
    Ok(conn.execute("DELETE FROM dial_plans WHERE key = ?1", [name.to_lowercase()])? > 0)
}
