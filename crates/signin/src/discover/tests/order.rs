//! The order of candidates, and that nothing stalls it.

use super::deployment::{PASSWORD, aor, inside, log_on, sip_names, web_sites};
use super::{discover_all, ids, places};
use crate::discover::AccessLocation::{External, Internal};
use crate::discover::client::{Ask, Cached, Discovery, Limits, Manual, Source};
use crate::io::{DnsAnswer, Operation, RecordKind};
use crate::testing::{LATENCY, World};
use std::time::Duration;

#[test]
fn every_name_in_the_documented_order() {
    let world = World::new();
    inside(&world);
    let (candidates, discovery) = discover_all(&world, aor("alice"), Ask::default(), Some(log_on("alice", PASSWORD)));
    assert_eq!(
        places(&candidates),
        [
            "pool1.contoso.test:5061",
            "sip.contoso.test:443",
            "sipinternal.contoso.test:5061",
            "sip.contoso.test:5061",
            "sipexternal.contoso.test:443",
        ],
        "SRV repeats what Autodiscover named, and is not offered twice"
    );
    assert_eq!((candidates[0].view, candidates[1].view), (Internal, External));
    assert!(matches!(&candidates[0].source, Source::Autodiscover { url } if url.contains("/root/user?")));
    assert_eq!(candidates[0].addresses, ["10.0.0.1".parse::<std::net::IpAddr>().expect("an address")]);
    assert_eq!(discovery.findings(), []);
    assert!(world.elapsed() < Duration::from_millis(100), "{:?}", world.elapsed());
}

#[test]
fn the_first_candidate_needs_no_more_than_its_own_way() {
    let world = World::new();
    inside(&world);
    for silent in ["_sip._tls.contoso.test", "_sipinternaltls._tcp.contoso.test", "sip.contoso.test"] {
        world.slow(silent, Duration::from_secs(60));
    }
    let mut discovery = Discovery::new(aor("alice"), Ask::default(), Some(log_on("alice", PASSWORD)));
    let first = world.run(discovery.next(&world)).expect("a candidate");
    assert_eq!(first.host, "pool1.contoso.test");
    assert!(world.elapsed() < LATENCY * 40, "{:?}", world.elapsed());
}

#[test]
fn only_service_records() {
    let world = World::new();
    sip_names(&world);
    for name in ["sipinternal", "sipexternal"] {
        world.dns(&format!("{name}.contoso.test"), RecordKind::Address, DnsAnswer::NxDomain);
    }
    let (candidates, discovery) = discover_all(&world, aor("alice"), Ask::default(), None);
    assert_eq!(places(&candidates), ["pool1.contoso.test:5061", "sip.contoso.test:443", "sip.contoso.test:5061"]);
    assert_eq!(ids(&discovery), ["dns-lyncdiscover-missing"]);
    assert_eq!(candidates[0].source.to_string(), "_sipinternaltls._tcp.contoso.test names it (priority 0, weight 0)");
}

#[test]
fn only_host_names_inside_and_outside() {
    let world = World::new();
    world.host("sipinternal.contoso.test", &["10.0.0.1"]);
    world.host("sip.contoso.test", &["10.0.0.1"]);
    let (candidates, _) = discover_all(&world, aor("alice"), Ask::default(), None);
    let inside = ["sipinternal.contoso.test:5061", "sip.contoso.test:5061", "sip.contoso.test:443"];
    assert_eq!(places(&candidates), inside);

    let world = World::new();
    world.host("sip.contoso.test", &["192.0.2.2"]);
    world.host("sipexternal.contoso.test", &["192.0.2.2"]);
    let (candidates, _) = discover_all(&world, aor("alice"), Ask::default(), None);
    let outside = ["sip.contoso.test:443", "sip.contoso.test:5061", "sipexternal.contoso.test:443"];
    assert_eq!(places(&candidates), outside);
}

#[test]
fn nothing_exists() {
    let world = World::new();
    let (candidates, discovery) = discover_all(&world, aor("alice"), Ask::default(), None);
    assert!(candidates.is_empty());
    let verdict = discovery.verdict();
    assert_eq!(verdict.id, "dns-no-records");
    assert!(verdict.sentence.contains("contoso.test"), "{}", verdict.sentence);
}

#[test]
fn a_dead_resolver_costs_its_limit_once() {
    let world = World::new();
    for name in ["lyncdiscoverinternal", "lyncdiscover", "sipinternal", "sip", "sipexternal"] {
        world.dns(&format!("{name}.contoso.test"), RecordKind::Address, DnsAnswer::Timeout);
    }
    for name in ["_sipinternaltls._tcp", "_sip._tls"] {
        world.dns(&format!("{name}.contoso.test"), RecordKind::Srv, DnsAnswer::Timeout);
    }
    let (candidates, discovery) = discover_all(&world, aor("alice"), Ask::default(), None);
    assert!(candidates.is_empty());
    assert_eq!(discovery.verdict().id, "dns-resolver-unreachable");
    assert_eq!(world.elapsed(), Duration::from_secs(3));
}

#[test]
fn failing_name_servers_are_told_apart() {
    for (answer, id) in [(DnsAnswer::ServerFailure, "dns-servfail"), (DnsAnswer::Refused, "dns-refused")] {
        let world = World::new();
        world.dns("lyncdiscover.contoso.test", RecordKind::Address, answer);
        let (_, discovery) = discover_all(&world, aor("alice"), Ask::default(), None);
        assert_eq!(discovery.verdict().id, id);
    }
    let world = World::new();
    world.dns("_sip._tls.contoso.test", RecordKind::Srv, DnsAnswer::NoData);
    let (_, discovery) = discover_all(&world, aor("alice"), Ask::default(), None);
    assert_eq!(discovery.verdict().id, "dns-srv-nodata");
}

#[test]
fn a_silent_name_does_not_stall_the_next() {
    let world = World::new();
    inside(&world);
    world.dns("lyncdiscoverinternal.contoso.test", RecordKind::Address, DnsAnswer::Timeout);
    let mut discovery = Discovery::new(aor("alice"), Ask::default(), Some(log_on("alice", PASSWORD)));
    let first = world.run(discovery.next(&world)).expect("a candidate");
    assert_eq!((first.host.as_str(), first.view), ("sip.contoso.test", External), "by lyncdiscover, so outside");
    assert!(world.elapsed() < Duration::from_millis(3100), "{:?}", world.elapsed());
}

#[test]
fn dead_web_servers_cost_one_connection_limit_each() {
    let world = World::new();
    inside(&world);
    for (name, address) in [("lyncdiscoverinternal", "10.9.9.9"), ("lyncdiscover", "10.9.9.8")] {
        world.host(&format!("{name}.contoso.test"), &[address]);
        world.silent(&format!("{address}:80"));
        world.silent(&format!("{address}:443"));
    }
    let mut discovery = Discovery::new(aor("alice"), Ask::default(), Some(log_on("alice", PASSWORD)));
    let first = world.run(discovery.next(&world)).expect("a candidate");
    assert!(matches!(first.source, Source::Service { .. }), "{first:?}");
    let elapsed = world.elapsed();
    assert!((Duration::from_secs(10)..Duration::from_millis(10_100)).contains(&elapsed), "{elapsed:?}");
    assert!(ids(&discovery).iter().all(|id| id == "tcp-filtered"), "{:?}", ids(&discovery));
}

#[test]
fn one_of_both_schemes_is_enough_and_the_other_is_not_waited_for() {
    for dead in ["10.0.0.1:80", "10.0.0.1:443"] {
        let world = World::new();
        inside(&world);
        world.silent(dead);
        if dead.ends_with("443") {
            // The plain listener sends us to a name of its own.
            world.host("pool1.contoso.test", &["10.0.0.3"]);
            let backing = super::deployment::backing(&world);
            let site = super::deployment::site(Internal, true, "pool1.contoso.test");
            world.listen_tls("10.0.0.3:443", &["pool1.contoso.test"], crate::web::WebServices::new(site, &backing));
        }
        let mut discovery = Discovery::new(aor("alice"), Ask::default(), Some(log_on("alice", PASSWORD)));
        let first = world.run(discovery.next(&world)).expect("a candidate");
        assert_eq!(first.host, "pool1.contoso.test", "{dead}");
        assert!(world.elapsed() < Duration::from_millis(100), "{dead}: {:?}", world.elapsed());
    }
}

#[test]
fn the_whole_has_a_limit() {
    let world = World::new();
    inside(&world);
    for address in ["10.0.0.1:80", "10.0.0.1:443", "192.0.2.1:80", "192.0.2.1:443"] {
        world.silent(address);
    }
    let limits = Limits { total: Duration::from_secs(7), ..Limits::default() };
    let (candidates, discovery) = discover_all(&world, aor("alice"), Ask { limits, ..Ask::default() }, None);
    assert!(candidates.is_empty());
    assert_eq!(world.elapsed(), Duration::from_secs(7));
    assert!(ids(&discovery).contains(&"tcp-filtered".to_owned()));
}

#[test]
fn records_by_priority_then_weight_then_as_delivered() {
    let world = World::new();
    let records = [
        (20, 9, 5061, "d.contoso.test"),
        (10, 1, 5061, "c.contoso.test"),
        (10, 5, 5061, "a.contoso.test."),
        (10, 5, 5061, "B.contoso.test"),
        (0, 0, 5061, "."),
    ];
    world.service("_sipinternaltls._tcp.contoso.test", &records);
    for host in ["a", "b", "c", "d"] {
        world.host(&format!("{host}.contoso.test"), &["10.0.0.1", "10.0.0.2"]);
    }
    let (candidates, _) = discover_all(&world, aor("alice"), Ask::default(), None);
    let hosts: Vec<&str> = candidates.iter().map(|c| c.host.as_str()).collect();
    assert_eq!(hosts, ["a.contoso.test", "b.contoso.test", "c.contoso.test", "d.contoso.test"]);
    assert!(candidates.iter().all(|c| c.addresses.len() == 2));
}

#[test]
fn a_record_without_address_is_passed_over() {
    let world = World::new();
    sip_names(&world);
    world.dns("pool1.contoso.test", RecordKind::Address, DnsAnswer::NxDomain);
    let mut discovery = Discovery::new(aor("alice"), Ask::default(), None);
    let first = world.run(discovery.next(&world)).expect("a candidate");
    assert_eq!(first.host, "sip.contoso.test");
    assert!(ids(&discovery).contains(&"dns-srv-target-no-address".to_owned()));
}

#[test]
fn foreign_targets_are_refused_unless_listed() {
    let world = World::new();
    world.service("_sipinternaltls._tcp.contoso.test", &[(0, 0, 5061, "pool.ad.example")]);
    world.host("pool.ad.example", &["10.0.0.1"]);
    let (candidates, discovery) = discover_all(&world, aor("alice"), Ask::default(), None);
    assert!(candidates.is_empty());
    assert_eq!(discovery.verdict().id, "dns-srv-foreign-domain");

    let trusted = vec!["ad.example".parse().expect("a domain")];
    let (candidates, _) = discover_all(&world, aor("alice"), Ask { trusted, ..Ask::default() }, None);
    assert_eq!(places(&candidates), ["pool.ad.example:5061"]);
}

#[test]
fn legacy_tcp_only_on_request() {
    let world = World::new();
    world.service("_sipinternal._tcp.contoso.test", &[(0, 0, 5060, "old.contoso.test")]);
    world.host("old.contoso.test", &["10.0.0.1"]);
    let (candidates, _) = discover_all(&world, aor("alice"), Ask::default(), None);
    assert!(candidates.is_empty());
    let (candidates, _) = discover_all(&world, aor("alice"), Ask { legacy_tcp: true, ..Ask::default() }, None);
    assert_eq!(places(&candidates), ["old.contoso.test:5060"]);
    assert!(candidates[0].legacy_tcp);
}

#[test]
fn a_server_set_by_hand_is_all_there_is() {
    let world = World::new();
    inside(&world);
    let manual = |host: &str, port, view| Manual { host: host.to_owned(), port, view };
    let ask = Ask {
        manual: vec![
            manual("pool2.contoso.test", None, Internal),
            manual("2001:db8::1", None, External),
            manual("nowhere.example", Some(5070), Internal),
        ],
        ..Ask::default()
    };
    let (candidates, discovery) = discover_all(&world, aor("alice"), ask, None);
    assert_eq!(places(&candidates), ["pool2.contoso.test:5061", "2001:db8::1:443"]);
    assert_eq!(candidates[1].addresses.len(), 1);
    assert_eq!(discovery.verdict().id, "dns-home-name-unresolvable");
    assert!(!world.operations().iter().any(|o| matches!(o, Operation::Connect { .. })), "no web service is asked");
}

#[test]
fn what_worked_last_time_comes_first_and_asks_nobody() {
    let world = World::new();
    sip_names(&world);
    let cached = Cached {
        host: "pool1.contoso.test".to_owned(),
        port: 5061,
        addresses: vec!["10.0.0.1".parse().expect("an address")],
        view: Internal,
    };
    let mut discovery = Discovery::new(aor("alice"), Ask { cached: Some(cached.clone()), ..Ask::default() }, None);
    let first = world.run(discovery.next(&world)).expect("a candidate");
    assert_eq!(first.source, Source::Cached);
    assert!(world.operations().is_empty());
    let second = world.run(discovery.next(&world)).expect("another");
    assert_eq!(second.host, "sip.contoso.test", "the one that failed is not offered again");

    world.host("pool1.contoso.test", &["10.0.0.7"]);
    let cached = Cached { addresses: vec!["10.0.0.1".parse().expect("an address")], ..cached };
    let ask = Ask { cached: Some(cached.clone()), ..Ask::default() };
    let (candidates, _) = discover_all(&world, aor("alice"), ask, None);
    assert_eq!(places(&candidates)[..2], ["pool1.contoso.test:5061", "pool1.contoso.test:5061"], "it has moved");
    let ask = Ask { cached: Some(Cached { addresses: Vec::new(), ..cached }), ..Ask::default() };
    let (candidates, _) = discover_all(&world, aor("alice"), ask, None);
    assert_eq!(candidates[0].addresses, ["10.0.0.7".parse::<std::net::IpAddr>().expect("an address")]);
}

#[test]
fn one_side_only() {
    let world = World::new();
    inside(&world);
    let ask = Ask { view: Some(External), ..Ask::default() };
    let (candidates, _) = discover_all(&world, aor("alice"), ask, Some(log_on("alice", PASSWORD)));
    assert_eq!(places(&candidates), ["sip.contoso.test:443", "sipexternal.contoso.test:443"]);
    let asked = |o: &Operation| matches!(o, Operation::Resolve { name, .. } if name.contains("internal"));
    assert!(!world.operations().iter().any(asked));

    let world = World::new();
    web_sites(&world);
    world.host("lyncdiscover.contoso.test", &["192.0.2.1"]);
    let ask = Ask { view: Some(Internal), ..Ask::default() };
    let (candidates, _) = discover_all(&world, aor("alice"), ask, Some(log_on("alice", PASSWORD)));
    assert_eq!(places(&candidates), ["pool1.contoso.test:5061"], "the inside entry of the outside document");
}
