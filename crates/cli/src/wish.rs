//! From what was typed to what it means. Whatever is wrong with it is said here, with what to write instead.

use crate::arguments::{Auth, KerberosRc4, Signin, View, name_server};
use crate::attempt::{Attempt, user_agent};
use crate::cache;
use crate::keyring::Files;
use crate::krb5_conf::Krb5Conf;
use lab::ready::Ready;
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use net::client::Config;
use signin::authenticate::client::Choice;
use signin::authenticate::keyring::Keyring;
use signin::authenticate::message::Scheme;
use signin::client::SignIn;
use signin::connect::client::{Limits as ConnectLimits, Proxy};
use signin::discover::AccessLocation;
use signin::discover::client::{Ask, Limits as DiscoveryLimits, Manual};
use signin::log_on::LogOn;
use signin::name::{AccountName, Aor};
use signin::provision::client::Appearance;
use signin::register::endpoint::Epid;
use signin::secret::Password;
use signin::tickets::{Cache, Limits as TicketLimits, Source, TicketCache, Tickets};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Environment variable with the password.
const PASSWORD_VARIABLE: &str = "SIGNPOST_PASSWORD";

/// What `signin` is to do.
pub(crate) fn of(typed: &Signin) -> Result<Attempt> {
    let aor: Aor =
        typed.address.parse().into_diagnostic().wrap_err_with(|| {
            format!("`{}` is not a sign-in address; write it like alice@contoso.com", typed.address)
        })?;
    let ready = typed.lab.as_deref().map(read_ready).transpose()?;
    let log_on = log_on(typed, &aor, ready.as_ref())?;
    let limits = limits(typed)?;
    let ask = Ask {
        trusted: typed
            .trust
            .iter()
            .map(|domain| domain.parse().map_err(|error| miette!("--trust {domain}: {error}")))
            .collect::<Result<_>>()?,
        view: view(typed.view),
        manual: typed.server.as_deref().map(|server| manual(server, typed.view)).transpose()?.into_iter().collect(),
        legacy_tcp: typed.legacy_tcp,
        cached: typed.cache.as_deref().and_then(|file| cache::read(file, &aor)),
        proxy: typed.proxy.as_deref().map(proxy).transpose()?,
        limits,
    };
    let sign_in = SignIn {
        epid: epid(&aor)?,
        aor,
        log_on,
        choice: choice(typed.auth),
        keyring: keyring(typed, ready.as_ref())?,
        user_agent: user_agent(),
        discovery: ask,
        connect: ConnectLimits { tcp: limits.web.tcp, tls: limits.web.tls },
        proxy: typed.proxy.as_deref().map(proxy).transpose()?,
        appearance: Appearance::default(),
        response_limit: limits.web.http,
    };
    Ok(Attempt { sign_in, sockets: sockets(typed, ready.as_ref())? })
}

fn choice(auth: Auth) -> Choice {
    match auth {
        Auth::Auto => Choice::Auto,
        Auth::Kerberos => Choice::Only(Scheme::Kerberos),
        Auth::Ntlm => Choice::Only(Scheme::Ntlm),
        Auth::TlsDsk => Choice::Only(Scheme::TlsDsk),
    }
}

fn view(view: View) -> Option<AccessLocation> {
    match view {
        View::Auto => None,
        View::Internal => Some(AccessLocation::Internal),
        View::External => Some(AccessLocation::External),
    }
}

/// Reads a lab's ready-file.
pub(crate) fn read_ready(file: &Path) -> Result<Ready> {
    let text = std::fs::read_to_string(file)
        .into_diagnostic()
        .wrap_err_with(|| format!("{} cannot be read; is the lab running?", file.display()))?;
    serde_json::from_str(&text)
        .into_diagnostic()
        .wrap_err_with(|| format!("{} is not the ready-file of a lab", file.display()))
}

fn sockets(typed: &Signin, ready: Option<&Ready>) -> Result<Config> {
    let wants_key = typed.auth == Auth::TlsDsk;
    let prepare_key = wants_key.then_some(signin::authenticate::keyring::KEY_BITS);
    let mut config =
        Config { prepare_key, ca_files: typed.ca.clone(), key_log: typed.key_log.clone(), ..Config::default() };
    if let Some(ready) = ready {
        config.dns = Some(match typed.view {
            View::External => ready.dns.external,
            _ => ready.dns.internal,
        });
        config.ca_files.push(ready.ca.clone());
        config.port_offset = ready.port_offset;
    }
    if let Some(server) = &typed.dns {
        let address = name_server(server).ok_or_else(|| {
            miette!("--dns {server}: write the address of a name server, like 192.0.2.53 or [2001:db8::53]:53")
        })?;
        config.dns = Some(address);
    }
    Ok(config)
}

fn log_on(typed: &Signin, aor: &Aor, ready: Option<&Ready>) -> Result<Option<LogOn>> {
    if typed.no_password {
        return Ok(None);
    }
    let account = AccountName::parse(typed.user.as_deref().unwrap_or(aor.as_str()));
    let password = if typed.sso { None } else { Some(password(typed, &account)?) };
    let tickets = Some(Arc::new(Tickets::new(ticket_source(typed, ready)?)));
    Ok(Some(LogOn { account, password, tickets, workstation: workstation() }))
}

fn password(typed: &Signin, account: &AccountName) -> Result<Password> {
    let password = match (&typed.password_file, std::env::var(PASSWORD_VARIABLE)) {
        (Some(file), _) => {
            let text = std::fs::read_to_string(file)
                .into_diagnostic()
                .wrap_err_with(|| format!("the password file {} cannot be read", file.display()))?;
            text.lines().next().unwrap_or_default().to_owned()
        }
        (None, Ok(text)) => text,
        (None, Err(_)) => rpassword::prompt_password(format!("Password of {account}: ")).into_diagnostic().wrap_err(
            "no password: there is no terminal to ask at; use --password-file, SIGNPOST_PASSWORD, --sso or --no-password",
        )?,
    };
    Ok(Password::new(password))
}

/// Where tickets come from: what was typed, else the lab, else this machine's configuration; else the DNS is asked.
fn ticket_source(typed: &Signin, ready: Option<&Ready>) -> Result<Source> {
    let machine = Krb5Conf::of_this_machine();
    let mut source = Source { realm: typed.realm.clone(), ..Source::default() };
    let web = limits(typed)?.web;
    let own = source.limits;
    source.limits =
        TicketLimits { dns: web.dns, tcp: web.tcp.min(own.tcp), answer: web.http.min(own.answer), kdcs: own.kdcs };
    match typed.kerberos_rc4 {
        KerberosRc4::Never => source.types.clone_from(&source.password_types),
        KerberosRc4::Services => {}
        KerberosRc4::Passwords => source.password_types.clone_from(&source.types),
    }
    if let Some(ready) = ready {
        source.realm.get_or_insert_with(|| ready.realm.clone());
    }
    source.kdcs = match typed.kdc.iter().map(|text| text.parse()).collect::<Result<Vec<_>, String>>() {
        Ok(kdcs) => kdcs,
        Err(why) => return Err(miette!("--kdc {why}")),
    };
    if source.kdcs.is_empty() && ready.is_none() {
        let realm = source.realm.as_ref().or(machine.default_realm.as_ref());
        source.kdcs = realm.map(|realm| machine.kdcs_of(realm)).unwrap_or_default();
    }
    if typed.sso {
        source.cache = Some(ticket_cache(typed, ready)?);
    }
    Ok(source)
}

/// The user's ticket cache: read here, or left to the system's Kerberos library.
fn ticket_cache(typed: &Signin, ready: Option<&Ready>) -> Result<Cache> {
    let name = std::env::var("KRB5CCNAME").ok();
    let path = match cache_place(name.as_deref(), net::client::GSSAPI).map_err(|why| miette!("--sso: {why}"))? {
        CachePlace::System => {
            let has_conf = std::env::var_os("KRB5_CONFIG").is_some();
            match told_to_the_library(typed, ready.filter(|_| !has_conf)) {
                Some(why) => return Err(miette!("--sso: {why}")),
                None => return Ok(Cache::System),
            }
        }
        CachePlace::File(path) => path,
        CachePlace::UsualFile => format!("/tmp/krb5cc_{}", user_id()?),
    };
    let bytes = std::fs::read(&path)
        .into_diagnostic()
        .wrap_err_with(|| format!("--sso: the ticket cache {path} cannot be read; obtain a ticket first (kinit)"))?;
    let cache = TicketCache::parse(&bytes).map_err(|error| miette!("--sso: {path}: {error}"))?;
    Ok(Cache::Here(cache))
}

/// Where the tickets of `--sso` are.
#[derive(Debug, PartialEq, Eq)]
enum CachePlace {
    /// In this file.
    File(String),
    /// In the file of this user in /tmp.
    UsualFile,
    /// Where the system's Kerberos library says.
    System,
}

/// From `KRB5CCNAME`, and whether there is a Kerberos library in this program. A file that is named is read here, with
/// the library or without it, so that both do the same.
fn cache_place(name: Option<&str>, library: bool) -> Result<CachePlace, String> {
    match name.map(|name| name.split_once(':').ok_or(name)) {
        Some(Err(path) | Ok(("FILE", path))) => Ok(CachePlace::File(path.to_owned())),
        // The default may be of any kind: krb5.conf and what it includes say so.
        _ if library => Ok(CachePlace::System),
        None => Ok(CachePlace::UsualFile),
        Some(Ok((kind, _))) => Err(format!(
            "the ticket cache is of kind {kind}; only files are read. Obtain tickets into one: \
             KRB5CCNAME=FILE:/tmp/tickets kinit, and the same variable for signpost; or build signpost with \
             --features gssapi, which reads every kind"
        )),
    }
}

/// What was typed for Kerberos and would have no effect, because the library knows its own ways.
fn told_to_the_library(typed: &Signin, lab_without_conf: Option<&Ready>) -> Option<String> {
    let option = match (typed.kdc.first(), &typed.realm) {
        (Some(_), _) => "--kdc",
        (None, Some(_)) => "--realm",
        (None, None) => {
            let conf = lab_without_conf?.krb5_conf.as_ref()?;
            return Some(format!(
                "the Kerberos library of this system does not know the lab; set KRB5_CONFIG={} for signpost, as for kinit",
                conf.display()
            ));
        }
    };
    Some(format!(
        "{option} has no effect on the Kerberos library of this system, which reads this ticket cache and goes by \
         krb5.conf; leave it out, or name a cache that is a file (KRB5CCNAME=FILE:…)"
    ))
}

/// Of this process; it names the default ticket cache.
fn user_id() -> Result<u32> {
    use std::os::unix::fs::MetadataExt;
    Ok(std::fs::metadata("/proc/self").into_diagnostic()?.uid())
}

/// A lab's certificates lie beside its CA: they are good there only.
fn keyring(typed: &Signin, ready: Option<&Ready>) -> Result<Option<Arc<dyn Keyring>>> {
    if typed.no_certificates {
        return Ok(None);
    }
    let of_lab = || Some(ready?.ca.parent()?.join("certificates"));
    let usual =
        || Some(Files::folder_of(Files::usual_folder()?, typed.dns.as_deref().and_then(name_server), &typed.ca));
    let folder = typed.certificates.clone().or_else(of_lab).or_else(usual);
    let Some(folder) = folder else { return Ok(None) };
    Ok(Some(Arc::new(Files::open(folder)?)))
}

fn workstation() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim().split('.').next().unwrap_or_default().to_ascii_uppercase();
    if name.is_empty() { "SIGNPOST".to_owned() } else { name.chars().take(15).collect() }
}

/// Stable for address and machine, so that a sign-in replaces the one before instead of adding an endpoint.
pub(crate) fn epid(aor: &Aor) -> Result<Epid> {
    let name = format!("{aor}:{}", workstation());
    let hash = |h: u64, byte: u8| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let digits = format!("{:016x}", name.bytes().fold(0xcbf2_9ce4_8422_2325, hash));
    digits[..10].parse().map_err(|error| miette!("no endpoint id: {error}"))
}

fn limits(typed: &Signin) -> Result<DiscoveryLimits> {
    let seconds = |name: &str, value: f64| {
        if value > 0.0 && value <= 3600.0 {
            Ok(Duration::from_secs_f64(value))
        } else {
            Err(miette!("--{name} {value}: write a number of seconds above 0 and up to 3600"))
        }
    };
    let mut limits =
        DiscoveryLimits { total: seconds("discovery-limit", typed.discovery_limit)?, ..DiscoveryLimits::default() };
    limits.web.dns = seconds("dns-limit", typed.dns_limit)?;
    limits.web.tcp = seconds("tcp-limit", typed.tcp_limit)?;
    limits.web.tls = seconds("answer-limit", typed.answer_limit)?;
    limits.web.http = seconds("answer-limit", typed.answer_limit)?;
    Ok(limits)
}

fn manual(server: &str, view: View) -> Result<Manual> {
    let wrong = || miette!("--server {server}: write a host name with or without a port, like fe01.contoso.com:5061");
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, Some(port.parse().map_err(|_| wrong())?))
        }
        _ => (server, None),
    };
    if host.is_empty() {
        return Err(wrong());
    }
    let view = match view {
        View::External => AccessLocation::External,
        _ => AccessLocation::Internal,
    };
    Ok(Manual { host: host.trim_matches(['[', ']']).to_ascii_lowercase(), port, view })
}

/// `http://[user:password@]host:port`, or only `host:port`.
fn proxy(text: &str) -> Result<Proxy> {
    use base64::Engine;
    let rest = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let (log_on, address) = match rest.rsplit_once('@') {
        Some((log_on, address)) => (Some(log_on), address),
        None => (None, rest),
    };
    let valid = address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !valid || address.contains('/') {
        return Err(miette!("--proxy: write the proxy like http://proxy.contoso.com:8080"));
    }
    let authorization =
        log_on.map(|log_on| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(log_on)));
    Ok(Proxy { address: address.to_owned(), authorization, every_port: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_proxies_and_limits_are_read_or_explained() {
        let named = manual("FE01.contoso.com:5061", View::Auto).expect("reads");
        assert_eq!(
            (named.host.as_str(), named.port, named.view),
            ("fe01.contoso.com", Some(5061), AccessLocation::Internal)
        );
        assert_eq!(manual("sip.contoso.com", View::External).expect("reads").port, None);
        assert!(manual("x:port", View::Auto).expect_err("no port").to_string().contains("fe01.contoso.com:5061"));
        let proxied = proxy("http://me:secret@proxy:8080/").expect("reads");
        assert_eq!(proxied.address, "proxy:8080");
        assert!(!format!("{proxied:?}").contains("secret"));
        assert!(proxy("socks://x").is_err());
    }

    #[test]
    fn rc4_is_used_as_far_as_it_is_allowed() {
        use crate::arguments::{Arguments, Verb};
        use clap::Parser;
        for (typed, services, passwords) in [
            (&[][..], 3, 2),
            (&["--kerberos-rc4", "never"], 2, 2),
            (&["--kerberos-rc4", "services"], 3, 2),
            (&["--kerberos-rc4", "passwords"], 3, 3),
        ] {
            let arguments = ["signpost", "signin", "alice@contoso.test"].iter().chain(typed);
            let Verb::Signin(typed) = Arguments::parse_from(arguments).verb else { panic!("it is signin") };
            let source = ticket_source(&typed, None).expect("a source");
            let found = (source.types.len(), source.password_types.len());
            assert_eq!(found, (services, passwords), "AES of both lengths, and RC4: {:?}", typed.kerberos_rc4);
        }
    }

    #[test]
    fn what_is_typed_for_limits_holds_for_kdcs_too() {
        use crate::arguments::{Arguments, Verb};
        use clap::Parser;
        let limits = |typed: &[&str]| {
            let arguments = ["signpost", "signin", "alice@contoso.test"].iter().chain(typed);
            let Verb::Signin(typed) = Arguments::parse_from(arguments).verb else { panic!("it is signin") };
            let TicketLimits { dns, tcp, answer, .. } = ticket_source(&typed, None).expect("a source").limits;
            [dns, tcp, answer].map(|limit| limit.as_secs())
        };
        assert_eq!(limits(&[]), [3, 3, 5]);
        assert_eq!(limits(&["--dns-limit", "1", "--tcp-limit", "2", "--answer-limit", "4"]), [1, 2, 4]);
        assert_eq!(limits(&["--dns-limit", "9", "--tcp-limit", "9", "--answer-limit", "9"]), [9, 3, 5], "others wait");
    }

    #[test]
    fn a_file_that_is_named_is_read_here_and_everything_else_is_the_librarys() {
        for library in [false, true] {
            for name in ["FILE:/tmp/tickets", "/tmp/tickets"] {
                assert_eq!(cache_place(Some(name), library), Ok(CachePlace::File("/tmp/tickets".to_owned())));
            }
        }
        assert_eq!(cache_place(None, false), Ok(CachePlace::UsualFile));
        assert_eq!(cache_place(None, true), Ok(CachePlace::System));
        for name in ["DIR:/tmp/tickets", "KEYRING:persistent:1000", "KCM:", "MEMORY:x"] {
            assert_eq!(cache_place(Some(name), true), Ok(CachePlace::System));
            let why = cache_place(Some(name), false).expect_err("no library");
            let kind = name.split(':').next().unwrap_or_default();
            assert!(why.contains(&format!("kind {kind};")) && why.contains("--features gssapi"), "{why}");
        }
    }

    #[test]
    fn the_epid_is_stable_and_differs_by_user() {
        let epid_of = |text: &str| epid(&text.parse().expect("address")).expect("epid");
        assert_eq!(epid_of("alice@contoso.test"), epid_of("Alice@contoso.test"));
        assert_ne!(epid_of("alice@contoso.test"), epid_of("bob@contoso.test"));
    }
}
