//! Who is where: the servers of the lab, one loopback address each, and the two views of the DNS.
//!
//! Without root the standard ports are out of reach; then every port is moved up by one offset, and the lab's own client
//! adds it to whatever it connects to, as a translating router would. Names, URLs and records keep the standard ports.

use signin::topology::{HostPort, Pool, Topology};
use std::net::{Ipv4Addr, SocketAddr};

/// The SIP domain of the lab.
pub const DOMAIN: &str = "contoso.test";

/// The domain controller, of which the lab has the KDC only.
pub(crate) const KDC: &str = "dc.contoso.test";

/// One server of the lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) fqdn: &'static str,
    pub(crate) kind: Kind,
    pub(crate) address: Ipv4Addr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Director,
    FrontEnd { pool: &'static str },
    Edge,
    Web { pool: &'static str },
    ExternalWeb,
}

/// Addresses and ports of everything.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) dns_internal: SocketAddr,
    pub(crate) dns_external: SocketAddr,
    pub(crate) kdc: Ipv4Addr,
    pub(crate) hosts: Vec<Host>,
    pub(crate) port_offset: u16,
}

const POOL1: &str = "pool1.contoso.test";
const POOL2: &str = "pool2.contoso.test";

impl Plan {
    /// A plan on consecutive addresses from `first` on.
    pub(crate) fn new(first: Ipv4Addr, port_offset: u16) -> Plan {
        let at = |n: u32| Ipv4Addr::from(u32::from(first) + n);
        let host = |n, fqdn, kind| Host { fqdn, kind, address: at(n) };
        Plan {
            dns_internal: SocketAddr::from((at(0), 53 + port_offset)),
            dns_external: SocketAddr::from((at(1), 53 + port_offset)),
            kdc: at(10),
            hosts: vec![
                host(2, "dir.contoso.test", Kind::Director),
                host(3, "fe01.contoso.test", Kind::FrontEnd { pool: POOL1 }),
                host(4, "fe02.contoso.test", Kind::FrontEnd { pool: POOL1 }),
                host(5, "fe03.contoso.test", Kind::FrontEnd { pool: POOL2 }),
                host(6, "sip.contoso.test", Kind::Edge),
                host(7, "web1.contoso.test", Kind::Web { pool: POOL1 }),
                host(8, "web2.contoso.test", Kind::Web { pool: POOL2 }),
                host(9, "webext.contoso.test", Kind::ExternalWeb),
            ],
            port_offset,
        }
    }

    /// The deployment as its servers know it.
    pub(crate) fn topology(&self) -> Topology {
        let pool = |fqdn: &str, web: &str| Pool {
            fqdn: fqdn.to_owned(),
            port: 5061,
            front_ends: self
                .hosts
                .iter()
                .filter(|host| matches!(host.kind, Kind::FrontEnd { pool } if pool == fqdn))
                .map(|host| host.fqdn.to_owned())
                .collect(),
            web: web.to_owned(),
        };
        Topology {
            sip_domains: vec![DOMAIN.to_owned()],
            pools: vec![pool(POOL1, "web1.contoso.test"), pool(POOL2, "web2.contoso.test")],
            director: Some(HostPort { host: "dir.contoso.test".to_owned(), port: 5061 }),
            edge: Some(HostPort { host: "sip.contoso.test".to_owned(), port: 443 }),
            external_web: Some("webext.contoso.test".to_owned()),
        }
    }

    /// Where the KDC really listens.
    pub(crate) fn kdc(&self) -> SocketAddr {
        SocketAddr::from((self.kdc, 88 + self.port_offset))
    }

    /// Where a server really listens for a standard port.
    pub(crate) fn listen(&self, host: &Host, port: u16) -> SocketAddr {
        SocketAddr::from((host.address, port + self.port_offset))
    }

    /// Names a server's certificate carries.
    pub(crate) fn certificate_names(host: &Host) -> Vec<String> {
        let more: &[&str] = match host.kind {
            Kind::Director => &["sip.contoso.test", "sipinternal.contoso.test"],
            Kind::FrontEnd { pool } => &[pool, "sip.contoso.test"],
            Kind::Edge => &["sipexternal.contoso.test"],
            Kind::Web { pool: POOL1 } => &["lyncdiscoverinternal.contoso.test"],
            Kind::Web { .. } => &[],
            Kind::ExternalWeb => &["lyncdiscover.contoso.test"],
        };
        std::iter::once(host.fqdn).chain(more.iter().copied()).map(str::to_owned).collect()
    }

    /// Records a resolver inside the network sees.
    pub(crate) fn inside(&self) -> Vec<ZoneRecord> {
        let mut records: Vec<ZoneRecord> = self
            .hosts
            .iter()
            .filter(|host| !matches!(host.kind, Kind::Edge | Kind::ExternalWeb))
            .map(|host| ZoneRecord::Address(host.fqdn.to_owned(), host.address))
            .collect();
        records.push(ZoneRecord::Address(KDC.to_owned(), self.kdc));
        for owner in ["_kerberos._tcp.contoso.test", "_kerberos._udp.contoso.test"] {
            records.push(ZoneRecord::Service(owner.to_owned(), 88, KDC.to_owned()));
        }
        for host in &self.hosts {
            match host.kind {
                Kind::FrontEnd { pool } => records.push(ZoneRecord::Address(pool.to_owned(), host.address)),
                Kind::Director => {
                    for name in ["sip.contoso.test", "sipinternal.contoso.test"] {
                        records.push(ZoneRecord::Address(name.to_owned(), host.address));
                    }
                    let owner = "_sipinternaltls._tcp.contoso.test".to_owned();
                    records.push(ZoneRecord::Service(owner, 5061, host.fqdn.to_owned()));
                }
                Kind::Web { pool: POOL1 } => {
                    let name = "lyncdiscoverinternal.contoso.test".to_owned();
                    records.push(ZoneRecord::Alias(name, host.fqdn.to_owned()));
                }
                _ => {}
            }
        }
        records
    }

    /// Records a resolver outside sees: the Edge and the published web services, nothing else.
    pub(crate) fn outside(&self) -> Vec<ZoneRecord> {
        let mut records = Vec::new();
        for host in &self.hosts {
            match host.kind {
                Kind::Edge => {
                    for name in ["sip.contoso.test", "sipexternal.contoso.test"] {
                        records.push(ZoneRecord::Address(name.to_owned(), host.address));
                    }
                    let owner = "_sip._tls.contoso.test".to_owned();
                    records.push(ZoneRecord::Service(owner, 443, host.fqdn.to_owned()));
                }
                Kind::ExternalWeb => {
                    records.push(ZoneRecord::Address(host.fqdn.to_owned(), host.address));
                    let name = "lyncdiscover.contoso.test".to_owned();
                    records.push(ZoneRecord::Alias(name, host.fqdn.to_owned()));
                }
                _ => {}
            }
        }
        records
    }
}

/// Which of its ways in a lab publishes: a client then has to find it by those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Published {
    /// Autodiscover names, SRV records and host names.
    #[default]
    Everything,
    /// Only the Autodiscover names (and the servers they lead to).
    Autodiscover,
    /// Only SRV records (and the servers they lead to).
    Services,
    /// Only `sipinternal`, `sip`, `sipexternal`.
    HostNames,
}

impl Published {
    /// The records of a view that are published.
    pub(crate) fn select(self, records: Vec<ZoneRecord>) -> Vec<ZoneRecord> {
        let wanted = |record: &ZoneRecord| {
            let owner = record.owner();
            let autodiscover = owner.starts_with("lyncdiscover");
            let service = matches!(record, ZoneRecord::Service(owner, ..) if owner.starts_with("_sip"));
            let host_name = ["sipinternal.", "sip.", "sipexternal."].iter().any(|name| owner.starts_with(name));
            match self {
                Published::Everything => true,
                // The Edge is called sip.… and is what records outside lead to.
                Published::Autodiscover => !service && !owner.starts_with("sipinternal."),
                Published::Services => !autodiscover && !owner.starts_with("sipinternal."),
                Published::HostNames => !autodiscover && !service || host_name,
            }
        };
        records.into_iter().filter(wanted).collect()
    }
}

impl ZoneRecord {
    fn owner(&self) -> &str {
        match self {
            ZoneRecord::Address(owner, _) | ZoneRecord::Alias(owner, _) | ZoneRecord::Service(owner, ..) => owner,
        }
    }
}

/// One DNS record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ZoneRecord {
    /// Name and address.
    Address(String, Ipv4Addr),
    /// Name and what it stands for.
    Alias(String, String),
    /// Service, port and host.
    Service(String, u16, String),
}
