//! The lab's DNS: one zone, served as seen from inside on one address and as seen from outside on another.

use crate::LabError;
use crate::plan::{DOMAIN, ZoneRecord};
use hickory_server::Server;
use hickory_server::net::runtime::TokioRuntimeProvider;
use hickory_server::proto::rr::rdata::{A, CNAME, NS, SOA, SRV};
use hickory_server::proto::rr::{LowerName, Name, RData, Record};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UdpSocket};

/// Seconds a resolver may keep an answer: short, so that experiments show at once.
const TTL: u32 = 5;

/// Serves `records` over UDP and TCP until the returned server is dropped.
pub(crate) async fn serve(listen: SocketAddr, records: &[ZoneRecord]) -> Result<Server<Catalog>, LabError> {
    let origin = name(DOMAIN)?;
    let zone = InMemoryZoneHandler::<TokioRuntimeProvider>::empty(origin.clone(), ZoneType::Primary, AxfrPolicy::Deny);
    let host = name(&format!("ns.{DOMAIN}"))?;
    let soa = SOA::new(host.clone(), name(&format!("hostmaster.{DOMAIN}"))?, 1, 3600, 600, 86400, TTL);
    zone.upsert(Record::from_rdata(origin.clone(), TTL, RData::SOA(soa)), 0).await;
    zone.upsert(Record::from_rdata(origin.clone(), TTL, RData::NS(NS(host))), 0).await;
    for record in records {
        let (owner, data) = match record {
            ZoneRecord::Address(owner, address) => (owner, RData::A(A(*address))),
            ZoneRecord::Alias(owner, target) => (owner, RData::CNAME(CNAME(name(target)?))),
            ZoneRecord::Service(owner, port, target) => (owner, RData::SRV(SRV::new(0, 0, *port, name(target)?))),
        };
        zone.upsert(Record::from_rdata(name(owner)?, TTL, data), 0).await;
    }
    let mut catalog = Catalog::new();
    catalog.upsert(LowerName::from(origin), vec![Arc::new(zone)]);
    let mut server = Server::new(catalog);
    server.register_socket(UdpSocket::bind(listen).await.map_err(|e| LabError::bind(listen, e))?);
    let tcp = TcpListener::bind(listen).await.map_err(|e| LabError::bind(listen, e))?;
    server.register_listener(tcp, Duration::from_secs(5), 4096);
    Ok(server)
}

fn name(text: &str) -> Result<Name, LabError> {
    Name::from_ascii(format!("{text}.")).map_err(|error| LabError::Setup(format!("{text}: {error}")))
}
