//! One connection after the other: which is opened, kept, given up, and what a failure says.

use super::{Origin, Request, Web};
use crate::connect::Proxy;
use crate::http::Limits;
use crate::io::{DnsAnswer, HttpRequest, HttpResponse, Operation, RecordKind, Target};
use crate::log_on::LogOn;
use crate::name::AccountName;
use crate::secret::Password;
use crate::testing::realm::Realm;
use crate::testing::{EPOCH, Scripted, World, says};
use crate::tickets::{Cache, Source, Tickets};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mechanism::channel_bindings::ChannelBindings;
use mechanism::kerberos::{self, ReplayCache, TicketCache};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use url::Url;

fn web() -> Web {
    Web::new(Limits::default(), Duration::from_secs(60), None)
}

fn url(text: &str) -> Url {
    Url::parse(text).expect("a URL")
}

/// `web.contoso.test` at these addresses, of which only 10.0.0.1 has a server.
fn world(addresses: &[&str], answer: impl Fn(&HttpRequest) -> HttpResponse + Send + Sync + 'static) -> World {
    let world = World::new();
    world.host("web.contoso.test", addresses);
    world.listen_tls("10.0.0.1:443", &["web.contoso.test"], Arc::new(Scripted(answer)));
    world
}

fn log_on() -> LogOn {
    LogOn {
        account: AccountName::parse("CONTOSO\\alice"),
        password: Some(Password::new("secret".to_owned())),
        tickets: None,
        workstation: String::new(),
    }
}

#[test]
fn origins_of_urls() {
    let origin = |text: &str| Origin::of(&url(text)).map(|origin| origin.to_string()).ok();
    assert_eq!(origin("https://WEB.contoso.test/a?b").as_deref(), Some("https://web.contoso.test:443"));
    assert_eq!(origin("http://web:8080").as_deref(), Some("http://web:8080"));
    assert_eq!(origin("ftp://web/"), None);
    assert_eq!(origin("mailto:a@b"), None);
}

#[test]
fn a_connection_is_kept_and_used_again() {
    let world = world(&["10.0.0.1"], |request| says(200, &[], &request.path));
    let web = web();
    world.run(async {
        for path in ["/a?b=c", "/d"] {
            let answer = web.fetch(&world, &Request::get(url(&format!("https://web.contoso.test{path}")))).await;
            assert_eq!(answer.expect("an answer").body, path.as_bytes());
        }
        assert_eq!((world.connections_opened(), world.open_connections()), (1, 1));
        web.close(&world).await;
        assert_eq!(world.open_connections(), 0);
    });
}

#[test]
fn a_connection_the_server_ended_meanwhile_is_replaced() {
    let world = world(&["10.0.0.1"], |_| says(200, &[], ""));
    let web = web();
    let get = Request::get(url("https://web.contoso.test/"));
    world.run(async {
        web.fetch(&world, &get).await.expect("an answer");
        world.hang_up();
        web.fetch(&world, &get).await.expect("an answer over a new connection");
    });
    assert_eq!(world.connections_opened(), 2);
}

#[test]
fn a_connection_that_cannot_be_used_again_is_not_kept() {
    let world = world(&["10.0.0.1"], |_| HttpResponse { reusable: false, ..says(200, &[], "") });
    let web = web();
    let get = Request::get(url("https://web.contoso.test/"));
    world.run(async { web.fetch(&world, &get).await }).expect("an answer");
    assert_eq!(world.open_connections(), 0);
}

#[test]
fn addresses_are_tried_in_turn() {
    let world = world(&["10.0.0.7", "10.0.0.8", "10.0.0.1"], |_| says(200, &[], ""));
    world.silent("10.0.0.8:443");
    let web = web();
    let get = Request::get(url("https://web.contoso.test/"));
    assert_eq!(world.run(web.fetch(&world, &get)).expect("an answer").status, 200);
    assert!(world.elapsed() < Duration::from_millis(5100), "refused at once, silent for its limit");
}

#[test]
fn failures_say_who_is_at_fault() {
    let get = |text: &str| Request::get(url(text));
    let table = [
        ("https://nowhere.test/", "dns-home-name-unresolvable"),
        ("https://broken.test/", "dns-servfail"),
        ("https://web.contoso.test:444/", "tcp-refused"),
        ("https://silent.test/", "tcp-filtered"),
        ("https://other.test/", "tls-name-mismatch"),
        ("https://plain.test:80/", "tcp-wrong-service"),
        ("ftp://web.contoso.test/", "ad-malformed"),
    ];
    for (text, id) in table {
        let world = world(&["10.0.0.1"], |_| says(200, &[], ""));
        world.dns("broken.test", RecordKind::Address, DnsAnswer::ServerFailure);
        world.host("silent.test", &["10.0.0.8"]);
        world.silent("10.0.0.8:443");
        world.host("other.test", &["10.0.0.1"]);
        world.host("plain.test", &["10.0.0.1"]);
        world.listen_plain("10.0.0.1:80", Arc::new(Scripted(|_: &HttpRequest| says(200, &[], ""))));
        let failure = world.run(web().fetch(&world, &get(text))).expect_err("no answer");
        assert_eq!(failure.verdict().id, id, "{failure}");
        assert_eq!(world.open_connections(), 0, "{text}");
    }
}

#[test]
fn nothing_begins_after_the_deadline() {
    let world = world(&["10.0.0.1"], |_| says(200, &[], ""));
    let web = Web::new(Limits::default(), Duration::ZERO, None);
    web.learn("web.contoso.test", &["10.0.0.1".parse().expect("an address")]);
    let failure = world.run(web.fetch(&world, &Request::get(url("https://web.contoso.test/"))));
    assert!(matches!(failure, Err(super::Failure::OutOfTime(_))));
}

#[test]
fn the_proxy_is_asked_when_there_is_no_direct_way() {
    let proxy = Proxy { address: "proxy:3128".to_owned(), authorization: None, every_port: false };
    let world = World::new();
    let web = Web::new(Limits::default(), Duration::from_secs(60), Some(proxy));
    let failure = world.run(web.fetch(&world, &Request::get(url("https://outside.test/")))).expect_err("no answer");
    assert!(failure.to_string().contains("proxy:3128"), "{failure}");
    let asked = |o: &Operation| matches!(o, Operation::Connect { target: Target::Proxied { host, port: 443, .. }, .. } if host == "outside.test");
    assert!(world.operations().iter().any(asked));
}

#[test]
fn a_handshake_cannot_end_when_the_connection_does() {
    let challenge = "NTLM TlRMTVNTUAACAAAA";
    let world = world(&["10.0.0.1"], move |request| {
        let begun = request.headers.iter().any(|(name, _)| name == "Authorization");
        let says = says(401, &[("www-authenticate", if begun { challenge } else { "NTLM" })], "");
        HttpResponse { reusable: !begun, ..says }
    });
    let post = Request::post(url("https://web.contoso.test/"), "x");
    let failure = world.run(web().fetch_as(&world, &post, &log_on())).expect_err("no answer");
    assert_eq!(failure.verdict().id, "tcp-balancer-affinity");
    assert_eq!(world.open_connections(), 0);
}

#[test]
fn nobody_asks_nobody_logs_on() {
    let world = world(&["10.0.0.1"], |_| says(200, &[], ""));
    let post = Request::post(url("https://web.contoso.test/"), "x");
    assert_eq!(world.run(web().fetch_as(&world, &post, &log_on())).expect("an answer").status, 200);
    let world = self::world(&["10.0.0.1"], |_| says(401, &[("www-authenticate", "Basic realm=\"x\"")], ""));
    let failure = world.run(web().fetch_as(&world, &post, &log_on())).expect_err("no NTLM");
    assert_eq!(failure.verdict().id, "ntlm-off-on-server");
    assert!(failure.to_string().contains("Basic"), "{failure}");
}

#[test]
fn a_ticket_is_shown_for_its_connection_alone() {
    let realm = Realm::new(7, &["alice"], &["http/web.contoso.test"]);
    let ticket = realm.ticket("alice", "http/web.contoso.test", EPOCH);
    let cache = TicketCache::new(ticket.client().clone(), vec![ticket]);
    let tickets = Tickets::new(Source { cache: Some(Cache::Here(cache)), ..Source::default() });
    let log_on = LogOn { tickets: Some(Arc::new(tickets)), ..log_on() };
    let world = World::new();
    world.host("web.contoso.test", &["10.0.0.1"]);
    let shown: Arc<Mutex<Vec<String>>> = Arc::default();
    let site = Arc::new(Scripted({
        let shown = shown.clone();
        move |request: &HttpRequest| match request.headers.iter().find(|(name, _)| name == "Authorization") {
            None => says(401, &[("www-authenticate", "Negotiate")], ""),
            Some((_, value)) => {
                shown.lock().expect("no panic").push(value.to_owned());
                says(200, &[], "")
            }
        }
    }));
    let certificate = world.listen_tls("10.0.0.1:443", &["web.contoso.test"], site.clone());
    world.listen_plain("10.0.0.1:80", site);
    let ask = |place: &str| world.run(web().fetch_as(&world, &Request::get(url(place)), &log_on)).expect("an answer");
    assert_eq!((ask("https://web.contoso.test/").status, ask("http://web.contoso.test/").status), (200, 200));
    let (mut replays, now) = (ReplayCache::default(), kerberos::Now { unix_seconds: EPOCH, microseconds: 0 });
    let said: Vec<_> = shown
        .lock()
        .expect("no panic")
        .iter()
        .map(|value| {
            let token = STANDARD.decode(value.strip_prefix("Negotiate ").expect("a token")).expect("base64");
            realm.acceptor().accept(&token, now, &mut replays, &|_: &mut [u8]| ()).expect("a right ticket").channel
        })
        .collect();
    let channel = ChannelBindings::of_certificate(&certificate).map(|channel| *channel.as_bytes());
    assert!(channel.is_some());
    assert_eq!(said, [channel, None], "without TLS there is nothing to name");
}
