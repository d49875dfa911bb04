//! Probing peers.

use crate::dns::name_server;
use crate::listener;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::A;
use hickory_resolver::proto::rr::{RData, RecordType};
use net::server::{Probing, probe_peers};
use signin::topology::{Liveness, Pool, Topology};
use std::sync::Arc;
use std::time::Duration;

fn zone(_: &str, kind: RecordType) -> Option<(ResponseCode, Vec<RData>)> {
    let here = RData::A(A::new(127, 0, 0, 1));
    Some((ResponseCode::NoError, if kind == RecordType::A { vec![here] } else { Vec::new() }))
}

async fn until(liveness: &Liveness, name: &str, up: bool) {
    let changed = async {
        while liveness.is_up(name) != up {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::LONG, changed).await.expect("it is noticed");
}

#[tokio::test]
async fn a_peer_that_goes_away_and_comes_back_is_noticed() {
    let (peer, address) = listener().await;
    let pool = Pool {
        fqdn: "pool1.contoso.test".to_owned(),
        port: address.port(),
        front_ends: vec!["fe1.contoso.test".to_owned(), "fe2.contoso.test".to_owned()],
        web: "web1.contoso.test".to_owned(),
    };
    let topology = Topology { sip_domains: vec!["contoso.test".to_owned()], pools: vec![pool], ..Topology::default() };
    let liveness = Liveness::default();
    let every = Duration::from_millis(20);
    let probing = Probing { dns: Some(name_server(zone).await), every, ..Probing::default() };
    let prober =
        tokio::spawn(probe_peers(Arc::new(topology), liveness.clone(), "fe1.contoso.test".to_owned(), probing));
    drop(peer);
    until(&liveness, "fe2.contoso.test", false).await;
    assert!(liveness.is_up("fe1.contoso.test"), "a server does not probe itself");
    let _peer = tokio::net::TcpListener::bind(address).await.expect("the port is free again");
    until(&liveness, "fe2.contoso.test", true).await;
    prober.abort();
}
