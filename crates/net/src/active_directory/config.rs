//! Active Directory as an administrator writes it down: the section of a configuration file, and what is wrong with it.
//!
//! ```toml
//! [active_directory]
//! domain = "contoso.test"
//! controllers = ["ldaps://dc1.contoso.test", "ldaps://dc2.contoso.test"]
//! ca_file = "/etc/signpost/domain-ca.pem"
//! account = "signpost@contoso.test"
//! password_file = "/etc/signpost/domain-password"
//! ```
//!
//! That is enough where the schema was extended for Skype for Business. Elsewhere `schema = "plain"` and `home_pool`.

use super::ldap::{AddressSource, Controller, DomainNames, LdapSettings, Limits, Schema, Security, SipEnabled};
use super::secret::Secret;
use super::winbind::WinbindSettings;
use serde::Deserialize;
use signin::authenticate::throttle::Throttle;
use signin::name::SipDomain;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The section, as written. Times are in seconds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActiveDirectoryConfig {
    /// DNS name of the domain.
    pub domain: String,
    /// Its NetBIOS name; without it the first label of `domain`.
    pub netbios: Option<String>,
    /// Domain controllers as URLs, the preferred one first. `ldap://` means StartTLS.
    pub controllers: Vec<String>,
    /// Addresses of controllers whose names shall not be resolved.
    #[serde(default)]
    pub addresses: BTreeMap<String, IpAddr>,
    /// PEM file of the authority of their certificates.
    pub ca_file: Option<PathBuf>,
    /// Whether `ldap://` means no protection at all. For laboratories.
    #[serde(default)]
    pub without_tls: bool,
    /// Service account, as UPN or distinguished name.
    pub account: String,
    /// File with its password.
    pub password_file: PathBuf,
    /// Where users are searched; without it the whole domain.
    pub base: Option<String>,
    /// Which attributes there are.
    #[serde(default)]
    pub schema: SchemaName,
    /// Home pool of users who name none.
    pub home_pool: Option<String>,
    /// Group whose members may use SIP, instead of an attribute.
    pub sip_group: Option<String>,
    /// Other names of attributes.
    #[serde(default)]
    pub attributes: AttributesConfig,
    /// FQDN of pools by the CN of their objects.
    #[serde(default)]
    pub pools: BTreeMap<String, String>,
    /// The pool that takes over from a pool.
    #[serde(default)]
    pub backup_pools: BTreeMap<String, String>,
    /// Times and numbers.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// NTLM.
    #[serde(default)]
    pub winbind: WinbindConfig,
}

/// A set of attribute names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SchemaName {
    /// Those of Skype for Business.
    #[default]
    SkypeForBusiness,
    /// Those that every Active Directory has.
    Plain,
}

/// Names of attributes that differ from those of the schema.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttributesConfig {
    /// Sign-in address: `attribute`, or `sip:attribute` when only values that begin with `sip:` are addresses.
    pub addresses: Option<Vec<String>>,
    /// Home pool.
    pub home_pool: Option<String>,
    /// May use SIP.
    pub sip_enabled: Option<String>,
    /// May do so from outside.
    pub remote_access: Option<String>,
    /// Display name.
    pub display_name: Option<String>,
    /// Mail address.
    pub mail: Option<String>,
    /// Telephone line.
    pub lines: Option<Vec<String>>,
}

/// [`Limits`], where they differ from their defaults.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// To reach a controller.
    pub connect: Option<f64>,
    /// To log on there.
    pub bind: Option<f64>,
    /// For one search.
    pub search: Option<f64>,
    /// For a question as a whole.
    pub question: Option<f64>,
    /// Searches at a time.
    pub searches: Option<usize>,
    /// Questions that may wait.
    pub waiting: Option<usize>,
    /// Longest time a controller that failed is left alone.
    pub retry: Option<f64>,
    /// How long users are remembered; 0 for not at all.
    pub remember: Option<f64>,
    /// How many are.
    pub remembered: Option<usize>,
}

/// [`WinbindSettings`], where they differ from their defaults.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WinbindConfig {
    /// Path of `ntlm_auth`.
    pub program: Option<PathBuf>,
    /// How many of it run at most.
    pub helpers: Option<usize>,
    /// Questions that may wait.
    pub waiting: Option<usize>,
    /// Longest time for one.
    pub limit: Option<f64>,
    /// Shortest time for a refusal.
    pub refusal: Option<f64>,
    /// Wrong answers after which an account is not asked about for some minutes.
    pub failures: Option<u32>,
    /// For how long it is not.
    pub pause: Option<f64>,
}

/// What is wrong with one key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("active_directory.{key}: {problem}")]
pub struct ConfigProblem {
    /// The key, below the section.
    pub key: String,
    /// What is wrong, and what to write instead.
    pub problem: String,
}

impl ActiveDirectoryConfig {
    /// The settings, or all that is wrong with them. Files are not looked at.
    pub fn settings(&self) -> Result<(LdapSettings, WinbindSettings), Vec<ConfigProblem>> {
        let mut problems = Problems(Vec::new());
        let settings = (self.ldap(&mut problems), self.winbind(&mut problems));
        if problems.0.is_empty() { Ok(settings) } else { Err(problems.0) }
    }

    fn ldap(&self, problems: &mut Problems) -> LdapSettings {
        problems.domain_name("domain", &self.domain);
        let mut domain = DomainNames::of(&self.domain);
        if let Some(netbios) = &self.netbios {
            problems.check("netbios", (1..=15).contains(&netbios.len()) && !netbios.contains('.'), || {
                format!("{netbios:?} is no NetBIOS name: 1 to 15 characters, no dots, such as CONTOSO")
            });
            domain.netbios = netbios.to_ascii_uppercase();
        }
        problems.check("account", !self.account.trim().is_empty(), || "name the service account".to_owned());
        for (key, pools) in [("pools", &self.pools), ("backup_pools", &self.backup_pools)] {
            pools.iter().for_each(|(from, pool)| problems.domain_name(&format!("{key}.{from}"), pool));
        }
        let lower = |(from, pool): (&String, &String)| (from.to_ascii_lowercase(), pool.to_ascii_lowercase());
        LdapSettings {
            controllers: self.controllers(problems),
            ca_file: self.ca_file.clone(),
            account: self.account.clone(),
            password: Secret::in_file(&self.password_file),
            base: self.base.clone().unwrap_or_else(|| domain.base()),
            domain,
            schema: self.schema(problems),
            backup_pools: self.backup_pools.iter().map(lower).collect(),
            limits: self.limits(problems),
        }
    }

    fn controllers(&self, problems: &mut Problems) -> Vec<Controller> {
        let mut controllers = Vec::new();
        for (index, text) in self.controllers.iter().enumerate() {
            match Controller::parse(text) {
                Ok(mut controller) => {
                    if self.without_tls && controller.security == Security::StartTls {
                        controller.security = Security::Plain;
                    }
                    let address = self.addresses.iter().find(|(host, _)| host.eq_ignore_ascii_case(&controller.host));
                    controller.address = address.map(|(_, ip)| (*ip, controller.port).into());
                    controllers.push(controller);
                }
                Err(error) => problems.note(&format!("controllers[{index}]"), error.to_string()),
            }
        }
        problems
            .check("controllers", !self.controllers.is_empty(), || "name at least one domain controller".to_owned());
        let protected = controllers.iter().any(|controller| controller.security != Security::Plain);
        problems.check("ca_file", !protected || self.ca_file.is_some(), || {
            "name the file of the authority whose certificates the domain controllers have".to_owned()
        });
        for host in self.addresses.keys() {
            let known = controllers.iter().any(|controller| controller.host.eq_ignore_ascii_case(host));
            problems.check(&format!("addresses.{host}"), known, || "no controller has this name".to_owned());
        }
        controllers
    }

    fn schema(&self, problems: &mut Problems) -> Schema {
        let mut schema = match self.schema {
            SchemaName::SkypeForBusiness => Schema::skype_for_business(),
            SchemaName::Plain => Schema::plain("", SipEnabled::Everyone),
        };
        schema.default_home_pool = self.home_pool.as_ref().map(|pool| pool.to_ascii_lowercase());
        if let Some(pool) = &self.home_pool {
            problems.domain_name("home_pool", pool);
        }
        schema.pools = self.pools.clone();
        let attributes = &self.attributes;
        if let Some(addresses) = &attributes.addresses {
            problems.check("attributes.addresses", !addresses.is_empty(), || "name at least one attribute".to_owned());
            schema.addresses = addresses.iter().map(|text| address_source(text)).collect();
        }
        schema.home_pool = attributes.home_pool.clone().or(schema.home_pool);
        schema.remote_access = attributes.remote_access.clone().or(schema.remote_access);
        schema.display_name = attributes.display_name.clone().unwrap_or(schema.display_name);
        schema.mail = attributes.mail.clone().unwrap_or(schema.mail);
        schema.lines = attributes.lines.clone().unwrap_or(schema.lines);
        schema.sip_enabled = match (&attributes.sip_enabled, &self.sip_group) {
            (None, None) => schema.sip_enabled,
            (Some(name), None) => SipEnabled::Attribute(name.clone()),
            (None, Some(group)) => {
                problems.check("sip_group", group.contains('='), || {
                    format!("{group:?} is no distinguished name such as CN=Voice,OU=Groups,DC=contoso,DC=test")
                });
                SipEnabled::Group(group.clone())
            }
            (Some(_), Some(_)) => {
                problems.note("sip_group", "attributes.sip_enabled says it already; keep one of the two".to_owned());
                schema.sip_enabled
            }
        };
        for name in schema.attributes() {
            problems.check("attributes", is_attribute(&name), || format!("{name:?} is no name of an attribute"));
        }
        problems.check("home_pool", schema.home_pool.is_some() || schema.default_home_pool.is_some(), || {
            "name the pool of all users, since no attribute does".to_owned()
        });
        schema
    }

    fn limits(&self, problems: &mut Problems) -> Limits {
        let defaults = Limits::default();
        let LimitsConfig { connect, bind, search, question, searches, waiting, retry, remember, remembered } =
            self.limits;
        let retry_last = problems.time("limits.retry", retry, defaults.retry_last);
        Limits {
            connect: problems.time("limits.connect", connect, defaults.connect),
            bind: problems.time("limits.bind", bind, defaults.bind),
            search: problems.time("limits.search", search, defaults.search),
            question: problems.time("limits.question", question, defaults.question),
            searches: problems.number("limits.searches", searches, defaults.searches),
            waiting: waiting.unwrap_or(defaults.waiting),
            retry_first: defaults.retry_first.min(retry_last),
            retry_last,
            retry_account: defaults.retry_account,
            remember: match remember {
                Some(0.0) => Duration::ZERO,
                remember => problems.time("limits.remember", remember, defaults.remember),
            },
            remembered: remembered.unwrap_or(defaults.remembered),
        }
    }

    fn winbind(&self, problems: &mut Problems) -> WinbindSettings {
        let defaults = WinbindSettings::default();
        let WinbindConfig { program, helpers, waiting, limit, refusal, failures, pause } = &self.winbind;
        problems.check("winbind.failures", *failures != Some(0), || "0 would refuse everybody".to_owned());
        WinbindSettings {
            program: program.clone().unwrap_or(defaults.program),
            helpers: problems.number("winbind.helpers", *helpers, defaults.helpers),
            waiting: waiting.unwrap_or(defaults.waiting),
            limit: problems.time("winbind.limit", *limit, defaults.limit),
            refusal: match refusal {
                Some(0.0) => Duration::ZERO,
                refusal => problems.time("winbind.refusal", *refusal, defaults.refusal),
            },
            throttle: Throttle {
                failures: failures.unwrap_or(defaults.throttle.failures),
                pause: problems.time("winbind.pause", *pause, defaults.throttle.pause),
                ..defaults.throttle
            },
        }
    }
}

/// `sip:proxyAddresses` is an attribute with values of several kinds, of which those with `sip:` count.
fn address_source(text: &str) -> AddressSource {
    let (attribute, with_scheme) = match text.strip_prefix("sip:") {
        Some(attribute) => (attribute, true),
        None => (text, false),
    };
    AddressSource { attribute: attribute.to_owned(), with_scheme }
}

/// RFC 4512 §1.4: a letter, then letters, digits and hyphens.
fn is_attribute(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

struct Problems(Vec<ConfigProblem>);

impl Problems {
    fn note(&mut self, key: &str, problem: String) {
        self.0.push(ConfigProblem { key: key.to_owned(), problem });
    }

    fn check(&mut self, key: &str, good: bool, problem: impl FnOnce() -> String) {
        if !good {
            self.note(key, problem());
        }
    }

    fn domain_name(&mut self, key: &str, name: &str) {
        let good = name.parse::<SipDomain>().is_ok() && name.contains('.');
        self.check(key, good, || format!("{name:?} is no full domain name such as pool1.contoso.test"));
    }

    fn time(&mut self, key: &str, seconds: Option<f64>, default: Duration) -> Duration {
        let Some(seconds) = seconds else { return default };
        match Duration::try_from_secs_f64(seconds) {
            Ok(time) if time >= Duration::from_millis(1) && time <= Duration::from_secs(24 * 3600) => time,
            _ => {
                self.note(key, format!("{seconds} is no time in seconds above 0 and up to a day"));
                default
            }
        }
    }

    fn number(&mut self, key: &str, number: Option<usize>, default: usize) -> usize {
        let number = number.unwrap_or(default);
        self.check(key, (1..=1024).contains(&number), || format!("{number} is not from 1 to 1024"));
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn least() -> Value {
        json!({
            "domain": "Contoso.test",
            "controllers": ["ldaps://dc1.contoso.test", "ldap://dc2.contoso.test:1389"],
            "ca_file": "/etc/ca.pem",
            "account": "reader@contoso.test",
            "password_file": "/etc/password",
        })
    }

    fn with(change: Value) -> ActiveDirectoryConfig {
        let mut config = least();
        for (key, value) in change.as_object().expect("an object") {
            config[key] = value.clone();
        }
        serde_json::from_value(config).expect("the keys are known")
    }

    fn problems(change: Value) -> Vec<String> {
        let problems = with(change).settings().map(drop).expect_err("something is wrong");
        problems.iter().map(ConfigProblem::to_string).collect()
    }

    #[test]
    fn little_is_enough() {
        let (ldap, winbind) = with(json!({"home_pool": "Pool1.contoso.test"})).settings().expect("nothing is wrong");
        assert_eq!((ldap.domain.netbios.as_str(), ldap.base.as_str()), ("CONTOSO", "DC=contoso,DC=test"));
        let securities: Vec<Security> = ldap.controllers.iter().map(|controller| controller.security).collect();
        assert_eq!(securities, [Security::Ldaps, Security::StartTls]);
        assert_eq!(ldap.limits, Limits::default());
        assert_eq!(winbind, WinbindSettings::default());
        let pool1 = Some("pool1.contoso.test".to_owned());
        assert_eq!(ldap.schema, Schema { default_home_pool: pool1, ..Schema::skype_for_business() });
    }

    #[test]
    fn much_can_be_said() {
        let (ldap, winbind) = with(json!({
            "netbios": "corp", "addresses": {"DC2.contoso.test": "192.0.2.2"}, "without_tls": true,
            "schema": "plain", "home_pool": "pool1.contoso.test", "sip_group": "CN=Voice,DC=contoso,DC=test",
            "attributes": {"addresses": ["sip:proxyAddresses", "userPrincipalName"], "lines": []},
            "backup_pools": {"Pool1.contoso.test": "Pool2.contoso.test"},
            "limits": {"connect": 0.5, "retry": 0.2, "remember": 0, "searches": 2},
            "winbind": {"program": "/usr/bin/ntlm_auth", "refusal": 0, "failures": 7, "pause": 60},
        }))
        .settings()
        .expect("nothing is wrong");
        assert_eq!(ldap.domain.netbios, "CORP");
        assert_eq!(ldap.controllers[1].address, Some("192.0.2.2:1389".parse().expect("an address")));
        assert_eq!(ldap.controllers[1].security, Security::Plain);
        assert_eq!(ldap.controllers[0].security, Security::Ldaps, "as it says");
        let sources: Vec<(&str, bool)> =
            ldap.schema.addresses.iter().map(|source| (source.attribute.as_str(), source.with_scheme)).collect();
        assert_eq!(sources, [("proxyAddresses", true), ("userPrincipalName", false)]);
        assert_eq!(ldap.schema.sip_enabled, SipEnabled::Group("CN=Voice,DC=contoso,DC=test".to_owned()));
        assert_eq!(ldap.backup_pools.get("pool1.contoso.test").map(String::as_str), Some("pool2.contoso.test"));
        assert_eq!((ldap.limits.connect, ldap.limits.remember), (Duration::from_millis(500), Duration::ZERO));
        assert_eq!((ldap.limits.retry_first, ldap.limits.searches), (Duration::from_millis(200), 2));
        assert_eq!((winbind.refusal, winbind.throttle.failures), (Duration::ZERO, 7));
        assert_eq!(winbind.throttle.pause, Duration::from_secs(60));
    }

    #[test]
    fn everything_wrong_is_named_by_its_key() {
        let found = problems(json!({
            "domain": "contoso", "netbios": "contoso.test", "controllers": ["dc1", "ldaps://dc2"], "ca_file": null,
            "addresses": {"dc9": "192.0.2.9"}, "account": " ", "sip_group": "Voice", "schema": "plain",
            "attributes": {"mail": "e mail", "addresses": []}, "pools": {"1:1": "pool one"},
            "limits": {"search": -1.0, "question": 1e300, "searches": 0}, "winbind": {"helpers": 100_000, "limit": 0, "failures": 0},
        }));
        let keys: Vec<&str> = found.iter().map(|problem| problem.split(": ").next().expect("a key")).collect();
        let expected = [
            "domain",
            "netbios",
            "account",
            "pools.1:1",
            "controllers[0]",
            "ca_file",
            "addresses.dc9",
            "attributes.addresses",
            "sip_group",
            "attributes",
            "home_pool",
            "limits.search",
            "limits.question",
            "limits.searches",
            "winbind.failures",
            "winbind.helpers",
            "winbind.limit",
        ];
        assert_eq!(keys, expected.map(|key| format!("active_directory.{key}")), "{found:#?}");
    }

    #[test]
    fn who_may_use_sip_is_said_once() {
        let both = json!({"sip_group": "CN=Voice", "attributes": {"sip_enabled": "employeeType"}});
        assert!(problems(both)[0].starts_with("active_directory.sip_group: attributes.sip_enabled says it already"));
    }

    #[test]
    fn a_key_nobody_knows_is_an_error() {
        let mut config = least();
        config["controler"] = json!("dc1");
        let error = serde_json::from_value::<ActiveDirectoryConfig>(config).expect_err("nobody knows it").to_string();
        assert!(error.contains("controler"), "{error}");
    }
}
