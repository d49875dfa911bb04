//! Asking the DNS, so that every way of not getting an answer is told apart. RFC 1035, RFC 2308, RFC 2782.
//!
//! There is no cache, no hosts file and no search list: the sign-in wants to know what the DNS says, now, about exactly
//! this name. Name servers are asked in the order of `/etc/resolv.conf`, as the system's own resolver does, because
//! with split DNS they may disagree; each gets its share of the time, and the one that answered last is asked first.

use crate::client::SetupError;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use signin::io::{DnsAnswer, RecordKind, Srv};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long IPv4 addresses wait for IPv6 ones: RFC 8305 §3, Resolution Delay.
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// Longest time one question may take; the limit of the operation is shorter and decides.
const NO_OWN_LIMIT: Duration = Duration::from_secs(60);

/// Asks one name server, or those of the system.
pub(crate) struct Resolver {
    servers: Vec<TokioResolver>,
    /// Index of the server that answered last.
    preferred: AtomicUsize,
}

impl Resolver {
    /// Asks `server` only, or the name servers of `/etc/resolv.conf`.
    pub(crate) fn new(server: Option<SocketAddr>) -> Result<Resolver, SetupError> {
        let configured = match server {
            Some(address) => vec![name_server(address)],
            None => {
                let (config, _) = hickory_resolver::system_conf::read_system_conf()
                    .map_err(|error| SetupError::NameServers(error.to_string()))?;
                config.name_servers().to_vec()
            }
        };
        if configured.is_empty() {
            return Err(SetupError::NameServers("it names no server".to_owned()));
        }
        let servers = configured.into_iter().map(resolver_of).collect::<Result<_, _>>();
        let servers = servers.map_err(|error: NetError| SetupError::NameServers(error.to_string()))?;
        Ok(Resolver { servers, preferred: AtomicUsize::new(0) })
    }

    /// Asks for `name`, fully qualified, without final dot; the answer comes within `limit`.
    pub(crate) async fn resolve(&self, name: &str, kind: RecordKind, limit: Duration) -> DnsAnswer {
        let Ok(mut name) = Name::from_ascii(name) else {
            return DnsAnswer::Failed(format!("{name:?} is not a domain name"));
        };
        name.set_fqdn(true);
        let deadline = Instant::now() + limit;
        let first = self.preferred.load(Ordering::Relaxed);
        let mut answer = DnsAnswer::Timeout;
        for asked in 0..self.servers.len() {
            let index = (first + asked) % self.servers.len();
            let left = (self.servers.len() - asked) as u32;
            let share = deadline.saturating_duration_since(Instant::now()) / left;
            answer = ask(&self.servers[index], &name, kind, share).await;
            if !matches!(
                answer,
                DnsAnswer::Timeout | DnsAnswer::Refused | DnsAnswer::ServerFailure | DnsAnswer::Failed(_)
            ) {
                self.preferred.store(index, Ordering::Relaxed);
                break;
            }
        }
        answer
    }
}

async fn ask(server: &TokioResolver, name: &Name, kind: RecordKind, limit: Duration) -> DnsAnswer {
    let answer = async {
        match kind {
            RecordKind::Srv => services(server.lookup(name.clone(), RecordType::SRV).await),
            RecordKind::Address => {
                let v4 = server.lookup(name.clone(), RecordType::A);
                let v6 = server.lookup(name.clone(), RecordType::AAAA);
                both_families(async { addresses(v4.await) }, async { addresses(v6.await) }).await
            }
        }
    };
    timeout(limit, answer).await.unwrap_or(DnsAnswer::Timeout)
}

/// IPv4 addresses first, then IPv6. Whichever family has addresses waits only [`RESOLUTION_DELAY`] for the other; a
/// name that does not exist has neither.
async fn both_families(
    v4: impl Future<Output = DnsAnswer> + Send,
    v6: impl Future<Output = DnsAnswer> + Send,
) -> DnsAnswer {
    let (mut v4, mut v6) = (pin!(v4), pin!(v6));
    tokio::select! {
        first = &mut v4 => merge(first.clone(), second_family(&first, v6).await),
        first = &mut v6 => {
            let other = second_family(&first, v4).await;
            merge(other, first)
        }
    }
}

async fn second_family(first: &DnsAnswer, second: impl Future<Output = DnsAnswer>) -> DnsAnswer {
    match first {
        DnsAnswer::Addresses { .. } => timeout(RESOLUTION_DELAY, second).await.unwrap_or(DnsAnswer::Timeout),
        DnsAnswer::NxDomain => DnsAnswer::NxDomain,
        _ => second.await,
    }
}

fn merge(v4: DnsAnswer, v6: DnsAnswer) -> DnsAnswer {
    match (v4, v6) {
        (
            DnsAnswer::Addresses { mut addresses, mut aliases },
            DnsAnswer::Addresses { addresses: more, aliases: also },
        ) => {
            addresses.extend(more);
            aliases.extend(also.into_iter().filter(|alias| !aliases.contains(alias)).collect::<Vec<_>>());
            DnsAnswer::Addresses { addresses, aliases }
        }
        (found @ DnsAnswer::Addresses { .. }, _) | (_, found @ DnsAnswer::Addresses { .. }) => found,
        // Silence or failure about one family says more than the known absence of the other.
        (DnsAnswer::NoData, other) | (other, DnsAnswer::NoData) => other,
        (v4, _) => v4,
    }
}

fn addresses(result: Result<Lookup, NetError>) -> DnsAnswer {
    let lookup = match result {
        Ok(lookup) => lookup,
        Err(error) => return failure(&error),
    };
    let mut addresses: Vec<IpAddr> = Vec::new();
    let mut aliases = Vec::new();
    for record in lookup.answers() {
        match &record.data {
            RData::A(address) => addresses.push(address.0.into()),
            RData::AAAA(address) => addresses.push(address.0.into()),
            RData::CNAME(alias) => aliases.push(without_dot(&alias.0)),
            _ => {}
        }
    }
    if addresses.is_empty() { DnsAnswer::NoData } else { DnsAnswer::Addresses { addresses, aliases } }
}

fn services(result: Result<Lookup, NetError>) -> DnsAnswer {
    let lookup = match result {
        Ok(lookup) => lookup,
        Err(error) => return failure(&error),
    };
    let services: Vec<Srv> = lookup
        .answers()
        .iter()
        .filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(Srv {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: without_dot(&srv.target),
            }),
            _ => None,
        })
        .collect();
    if services.is_empty() { DnsAnswer::NoData } else { DnsAnswer::Services(services) }
}

fn failure(error: &NetError) -> DnsAnswer {
    match error {
        NetError::Timeout => DnsAnswer::Timeout,
        NetError::Dns(DnsError::NoRecordsFound(none)) => code(none.response_code),
        NetError::Dns(DnsError::ResponseCode(response)) => code(*response),
        other => DnsAnswer::Failed(other.to_string()),
    }
}

fn code(response: ResponseCode) -> DnsAnswer {
    match response {
        ResponseCode::NoError => DnsAnswer::NoData,
        ResponseCode::NXDomain => DnsAnswer::NxDomain,
        ResponseCode::ServFail => DnsAnswer::ServerFailure,
        ResponseCode::Refused => DnsAnswer::Refused,
        other => DnsAnswer::Failed(format!("the DNS server answered {other}")),
    }
}

fn without_dot(name: &Name) -> String {
    let text = name.to_ascii();
    text.strip_suffix('.').map(str::to_owned).unwrap_or(text)
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let connection = |protocol| {
        let mut connection = ConnectionConfig::new(protocol);
        connection.port = address.port();
        connection
    };
    NameServerConfig::new(address.ip(), true, vec![connection(ProtocolConfig::Udp), connection(ProtocolConfig::Tcp)])
}

fn resolver_of(server: NameServerConfig) -> Result<TokioResolver, NetError> {
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.preserve_intermediates = true;
    options.timeout = NO_OWN_LIMIT;
    options.attempts = 0;
    options.edns0 = true;
    builder.build()
}
