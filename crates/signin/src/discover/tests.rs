//! Both halves together, in a world in memory: real documents, real NTLM, real tickets; no sockets, no waiting.

pub(crate) mod deployment;
mod order;
mod out_of_order;
mod services;
mod trouble;

use super::client::{Ask, Candidate, Discovery};
use super::finding::Finding;
use crate::log_on::LogOn;
use crate::name::Aor;
use crate::testing::World;

/// Every candidate, each refused by whoever asked, and what went wrong on the way.
fn discover_all(world: &World, aor: Aor, ask: Ask, log_on: Option<LogOn>) -> (Vec<Candidate>, Discovery) {
    let mut discovery = Discovery::new(aor, ask, log_on);
    let candidates = world.run(async {
        let mut candidates = Vec::new();
        while let Some(candidate) = discovery.next(world).await {
            candidates.push(candidate);
        }
        discovery.close(world).await;
        candidates
    });
    assert_eq!(world.open_connections(), 0, "every connection is closed in the end");
    (candidates, discovery)
}

/// `host:port` of each candidate, in order.
fn places(candidates: &[Candidate]) -> Vec<String> {
    candidates.iter().map(|c| format!("{}:{}", c.host, c.port)).collect()
}

fn ids(discovery: &Discovery) -> Vec<String> {
    discovery.findings().iter().map(Finding::id).collect()
}
