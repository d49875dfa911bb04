//! Which servers a deployment has. Servers read it to redirect and to write URLs; it never changes while they run,
//! except for which of them are alive.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::{Arc, RwLock};

/// `host:port` of a SIP/TLS listener.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HostPort {
    /// FQDN, lower case.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A pool of Front Ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Pool FQDN, which resolves to all its Front Ends.
    pub fqdn: String,
    /// Port of SIP over TLS on every Front End.
    pub port: u16,
    /// FQDNs of its Front Ends, in a fixed order: a user's preferred one is chosen by it.
    pub front_ends: Vec<String>,
    /// FQDN of its web services, inside.
    pub web: String,
}

/// The deployment; by default there is nothing in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// SIP domains served.
    pub sip_domains: Vec<String>,
    /// Pools.
    pub pools: Vec<Pool>,
    /// Director, when there is one.
    pub director: Option<HostPort>,
    /// Where clients outside connect to.
    pub edge: Option<HostPort>,
    /// FQDN of the web services as seen from outside.
    pub external_web: Option<String>,
}

impl Topology {
    /// The pool of that name.
    pub fn pool(&self, fqdn: &str) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.fqdn.eq_ignore_ascii_case(fqdn))
    }

    /// Where the server of that FQDN speaks SIP; on the port of the standard when it is not in the topology.
    pub fn address_of(&self, fqdn: &str) -> HostPort {
        let named = [&self.director, &self.edge].into_iter().flatten().find(|at| at.host.eq_ignore_ascii_case(fqdn));
        let port = self.pool_of(fqdn).map(|pool| pool.port).or(named.map(|at| at.port)).unwrap_or(5061);
        HostPort { host: fqdn.to_owned(), port }
    }

    /// The pool this Front End belongs to.
    pub fn pool_of(&self, front_end: &str) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.front_ends.iter().any(|f| f.eq_ignore_ascii_case(front_end)))
    }
}

/// Which Front Ends cannot be reached at the moment. Shared by the server that redirects and whoever probes.
#[derive(Debug, Clone, Default)]
pub struct Liveness(Arc<RwLock<BTreeSet<String>>>);

impl Liveness {
    /// Notes that a server was reached, or was not.
    pub fn set(&self, fqdn: &str, alive: bool) {
        let mut down = self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if alive {
            down.remove(fqdn)
        } else {
            down.insert(fqdn.to_owned())
        };
    }

    /// Whether nothing is known against it.
    pub fn is_up(&self, fqdn: &str) -> bool {
        !self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner).contains(fqdn)
    }
}
