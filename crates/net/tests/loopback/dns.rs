//! Every outcome of a question to the DNS, from a name server of a few lines.

use crate::{LONG, SHORT, sockets_with};
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use net::client::{Config, Sockets};
use signin::io::{DnsAnswer, Io, RecordKind, Srv};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;
use tokio::net::UdpSocket;

/// What a zone answers to one question; `None` is silence.
pub(crate) type Zone = fn(&str, RecordType) -> Option<(ResponseCode, Vec<RData>)>;

/// Serves a zone over UDP until the test ends.
pub(crate) async fn name_server(zone: Zone) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = socket.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let mut packet = [0; 1500];
        while let Ok((length, asker)) = socket.recv_from(&mut packet).await {
            let Ok(question) = Message::from_vec(&packet[..length]) else { continue };
            let query = question.queries[0].clone();
            let name = query.name().to_ascii();
            let Some((code, records)) = zone(name.trim_end_matches('.'), query.query_type()) else { continue };
            let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
            answer.metadata.response_code = code;
            answer.metadata.recursion_available = true;
            answer.add_query(query.clone());
            let mut owner = query.name().clone();
            for data in records {
                let next = if let RData::CNAME(alias) = &data { alias.0.clone() } else { owner.clone() };
                answer.add_answer(Record::from_rdata(owner, 60, data));
                owner = next;
            }
            socket.send_to(&answer.to_vec().expect("it fits"), asker).await.expect("loopback");
        }
    });
    address
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

fn zone(asked: &str, kind: RecordType) -> Option<(ResponseCode, Vec<RData>)> {
    let found = |records| Some((ResponseCode::NoError, records));
    match (asked, kind) {
        ("both.contoso.test", RecordType::A) => found(vec![
            RData::CNAME(CNAME(name("pool1.contoso.test."))),
            RData::A(A::new(192, 0, 2, 2)),
            RData::A(A::new(192, 0, 2, 1)),
        ]),
        ("both.contoso.test", RecordType::AAAA) => {
            found(vec![RData::CNAME(CNAME(name("pool1.contoso.test."))), RData::AAAA(AAAA(Ipv6Addr::LOCALHOST))])
        }
        ("half.contoso.test", RecordType::A) => found(vec![RData::A(A::new(192, 0, 2, 3))]),
        ("half.contoso.test", _) => None,
        ("_sip._tls.contoso.test", RecordType::SRV) => found(vec![
            RData::SRV(SRV::new(20, 0, 5061, name("second.contoso.test."))),
            RData::SRV(SRV::new(10, 60, 443, name("first.contoso.test."))),
        ]),
        ("empty.contoso.test", _) => found(Vec::new()),
        ("refused.contoso.test", _) => Some((ResponseCode::Refused, Vec::new())),
        ("broken.contoso.test", _) => Some((ResponseCode::ServFail, Vec::new())),
        ("odd.contoso.test", _) => Some((ResponseCode::NotImp, Vec::new())),
        ("silent.contoso.test", _) => None,
        _ => Some((ResponseCode::NXDomain, Vec::new())),
    }
}

async fn asking() -> Sockets {
    sockets_with(Config { dns: Some(name_server(zone).await), ..Config::default() })
}

#[tokio::test]
async fn both_families_come_in_the_order_delivered() {
    let sockets = asking().await;
    let io: &dyn Io = &sockets;
    let answer = io.resolve("both.contoso.test", RecordKind::Address, LONG).await;
    let addresses: Vec<IpAddr> =
        vec![Ipv4Addr::new(192, 0, 2, 2).into(), Ipv4Addr::new(192, 0, 2, 1).into(), Ipv6Addr::LOCALHOST.into()];
    assert_eq!(answer, DnsAnswer::Addresses { addresses, aliases: vec!["pool1.contoso.test".to_owned()] });
}

#[tokio::test]
async fn a_family_that_is_silent_does_not_hold_up_the_other() {
    let sockets = asking().await;
    let io: &dyn Io = &sockets;
    let began = Instant::now();
    let answer = io.resolve("half.contoso.test", RecordKind::Address, LONG).await;
    assert_eq!(answer, DnsAnswer::Addresses { addresses: vec![Ipv4Addr::new(192, 0, 2, 3).into()], aliases: vec![] });
    assert!(began.elapsed() < LONG / 4, "{:?}", began.elapsed());
}

#[tokio::test]
async fn services_keep_their_order_and_lose_the_final_dot() {
    let sockets = asking().await;
    let io: &dyn Io = &sockets;
    let answer = io.resolve("_sip._tls.contoso.test", RecordKind::Srv, LONG).await;
    let second = Srv { priority: 20, weight: 0, port: 5061, target: "second.contoso.test".to_owned() };
    let first = Srv { priority: 10, weight: 60, port: 443, target: "first.contoso.test".to_owned() };
    assert_eq!(answer, DnsAnswer::Services(vec![second, first]));
}

#[tokio::test]
async fn each_way_of_getting_nothing_is_told_apart() {
    let sockets = asking().await;
    let io: &dyn Io = &sockets;
    for kind in [RecordKind::Address, RecordKind::Srv] {
        assert_eq!(io.resolve("absent.contoso.test", kind, LONG).await, DnsAnswer::NxDomain);
        assert_eq!(io.resolve("empty.contoso.test", kind, LONG).await, DnsAnswer::NoData);
        assert_eq!(io.resolve("refused.contoso.test", kind, LONG).await, DnsAnswer::Refused);
        assert_eq!(io.resolve("broken.contoso.test", kind, LONG).await, DnsAnswer::ServerFailure);
        assert_eq!(io.resolve("silent.contoso.test", kind, SHORT).await, DnsAnswer::Timeout);
        assert!(matches!(io.resolve("odd.contoso.test", kind, LONG).await, DnsAnswer::Failed(_)));
        assert!(matches!(io.resolve("not a..name", kind, LONG).await, DnsAnswer::Failed(_)));
    }
}

#[tokio::test]
async fn a_name_server_that_is_not_there_times_out() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("it is bound");
    drop(socket);
    let sockets = sockets_with(Config { dns: Some(address), ..Config::default() });
    let io: &dyn Io = &sockets;
    let began = Instant::now();
    assert_eq!(io.resolve("both.contoso.test", RecordKind::Address, SHORT).await, DnsAnswer::Timeout);
    assert!(began.elapsed() < SHORT * 4);
}
