//! Finding out which peers can be reached, by opening TCP to them every few seconds.

use crate::client::SetupError;
use crate::client::dns::Resolver;
use crate::client::tcp;
use futures_util::{StreamExt, stream};
use signin::io::{DnsAnswer, RecordKind};
use signin::topology::{Liveness, Topology};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Peers probed at the same time.
const TOGETHER: usize = 8;

/// How peers are probed.
#[derive(Debug, Clone, Copy)]
pub struct Probing {
    /// The one name server to ask; without it those of `/etc/resolv.conf`.
    pub dns: Option<SocketAddr>,
    /// Added to every port, as [`crate::client::Config::port_offset`] says.
    pub port_offset: u16,
    /// Time between two rounds.
    pub every: Duration,
    /// Longest time for name and connection of one peer.
    pub limit: Duration,
}

impl Default for Probing {
    /// System name servers, no offset, every 5 s, 2 s each.
    fn default() -> Probing {
        Probing { dns: None, port_offset: 0, every: Duration::from_secs(5), limit: Duration::from_secs(2) }
    }
}

/// Probes every Front End of `topology` but `own_name`, and tells `liveness`, until the future is dropped. Returns
/// only when it cannot begin.
pub async fn probe_peers(
    topology: Arc<Topology>,
    liveness: Liveness,
    own_name: String,
    probing: Probing,
) -> Result<Infallible, SetupError> {
    let resolver = Resolver::new(probing.dns)?;
    let peers: Vec<(String, u16)> = topology
        .pools
        .iter()
        .flat_map(|pool| pool.front_ends.iter().map(|name| (name.clone(), pool.port)))
        .filter(|(name, _)| !name.eq_ignore_ascii_case(&own_name))
        .collect();
    let resolver = &resolver;
    let mut rounds = interval(probing.every);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let probes = stream::iter(peers.clone()).map(|(name, port)| async move {
            let reached = timeout(probing.limit, reach(resolver, &name, port, probing)).await;
            (name, reached.unwrap_or(false))
        });
        let mut probes = probes.buffer_unordered(TOGETHER);
        while let Some((name, alive)) = probes.next().await {
            if alive != liveness.is_up(&name) {
                tracing::info!(peer = %name, alive, "a peer changed");
            }
            liveness.set(&name, alive);
        }
    }
}

async fn reach(resolver: &Resolver, name: &str, port: u16, probing: Probing) -> bool {
    let DnsAnswer::Addresses { addresses, .. } = resolver.resolve(name, RecordKind::Address, probing.limit).await
    else {
        return false;
    };
    let addresses: Vec<SocketAddr> = addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect();
    tcp::connect_any(&addresses, probing.port_offset).await.is_ok()
}
