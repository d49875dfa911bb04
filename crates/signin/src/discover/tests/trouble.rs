//! Autodiscover and tickets when something is wrong, or somebody hostile.

use super::deployment::{PASSWORD, aor, inside, log_on, web_sites};
use super::{discover_all, ids, places};
use crate::discover::AccessLocation::Internal;
use crate::discover::client::Ask;
use crate::discover::document::{Body, Document, Form, Link, Token};
use crate::io::{HttpRequest, HttpResponse, Operation};
use crate::testing::{NO_ANSWER, Scripted, World, says};
use std::sync::Arc;

fn root(token: Token, href: &str) -> HttpResponse {
    let document = Document { location: Some(Internal), body: Body::Root(vec![Link::new(token, href)]) };
    says(200, &[("content-type", Form::Xml.content_type())], &document.write(Form::Xml))
}

/// A world where only lyncdiscover exists, answered over TLS by this table.
fn answered_by(answer: impl Fn(&HttpRequest) -> HttpResponse + Send + Sync + 'static) -> World {
    let world = World::new();
    web_sites(&world);
    world.host("lyncdiscover.contoso.test", &["10.0.0.9"]);
    world.host("evil.example", &["10.0.0.9"]);
    world.listen_tls("10.0.0.9:443", &["lyncdiscover.contoso.test", "evil.example"], Arc::new(Scripted(answer)));
    world
}

/// What alice's discovery says of it; there must be no candidate.
fn verdict_of(world: &World) -> Vec<String> {
    let log_on = Some(log_on("alice", PASSWORD));
    let (candidates, discovery) = discover_all(world, aor("alice"), Ask::default(), log_on);
    assert_eq!(candidates, []);
    ids(&discovery)
}

#[test]
fn a_user_of_another_pool_is_led_home() {
    let world = World::new();
    inside(&world);
    let (candidates, discovery) = discover_all(&world, aor("bob"), Ask::default(), Some(log_on("bob", PASSWORD)));
    assert_eq!(candidates[0].host, "pool2.contoso.test");
    assert_eq!(discovery.findings(), []);
}

#[test]
fn without_a_password_autodiscover_ends_and_records_go_on() {
    let world = World::new();
    inside(&world);
    let (candidates, discovery) = discover_all(&world, aor("alice"), Ask::default(), None);
    assert_eq!(places(&candidates)[..2], ["pool1.contoso.test:5061", "sip.contoso.test:443"]);
    assert_eq!(ids(&discovery), ["ad-user-401-loop", "ad-user-401-loop"]);
    assert!(!discovery.findings()[0].is_failure(), "it is nobody's fault");
}

#[test]
fn wrong_credentials_and_wrong_claims_are_told_apart() {
    let table = [
        ("alice", "alice", "wrong", "wt-401-loop"),
        ("nobody", "nobody", PASSWORD, "wt-401-loop"),
        ("bob", "alice", PASSWORD, "wt-claim-mismatch"),
        ("nobody", "alice", PASSWORD, "wt-claim-mismatch"),
        ("erin", "erin", PASSWORD, "user-not-sip-enabled"),
        ("homeless", "homeless", PASSWORD, "ad-user-404"),
        ("lost", "lost", PASSWORD, "ad-user-404"),
    ];
    for (address, account, password, id) in table {
        let world = World::new();
        web_sites(&world);
        world.host("lyncdiscoverinternal.contoso.test", &["10.0.0.1"]);
        let (candidates, discovery) =
            discover_all(&world, aor(address), Ask::default(), Some(log_on(account, password)));
        assert_eq!(candidates, [], "{address} as {account}");
        assert_eq!(ids(&discovery), [id], "{address} as {account}");
    }
}

#[test]
fn a_wrong_password_is_shown_once() {
    let world = World::new();
    inside(&world);
    let (candidates, discovery) = discover_all(&world, aor("alice"), Ask::default(), Some(log_on("alice", "wrong")));
    assert_eq!(ids(&discovery), ["wt-401-loop"]);
    assert!(discovery.findings()[0].is_refused_password());
    assert_eq!(candidates[0].host, "pool1.contoso.test", "records go on");
    let answer = |o: &Operation| match o {
        // The third message of NTLM, in base64.
        Operation::Exchange { request, .. } => request.headers.iter().any(|(_, v)| v.starts_with("NTLM TlRMTVNTUAAD")),
        _ => false,
    };
    assert_eq!(world.operations().into_iter().filter(answer).count(), 1);
}

#[test]
fn answers_that_lead_nowhere() {
    let html = "<html><body>Please sign in</body></html>";
    type Answer = fn(&HttpRequest) -> HttpResponse;
    let table: [(&str, Answer); 9] = [
        ("ad-http-403", |_| says(403, &[], "")),
        ("ad-http-404", |_| says(404, &[], "")),
        ("ad-http-5xx", |_| says(503, &[], "")),
        ("ad-preauth-html", |_| says(302, &[("location", "https://login.contoso.test/")], "")),
        ("ad-malformed", |_| says(200, &[], "{\"Root\":7}")),
        ("ad-malformed", |_| root(Token::Domain, "https://lyncdiscover.contoso.test/d")),
        ("tcp-silent", |_| says(NO_ANSWER, &[], "")),
        ("ad-redirect-loop", |_| root(Token::Redirect, "http://lyncdiscover.contoso.test/")),
        ("ad-redirect-loop", |_| root(Token::User, "ftp://lyncdiscover.contoso.test/")),
    ];
    for (id, answer) in table {
        assert!(verdict_of(&answered_by(answer)).contains(&id.to_owned()), "{id}");
    }
    let page = answered_by(move |_| says(200, &[("content-type", "text/html")], html));
    assert!(verdict_of(&page).contains(&"ad-preauth-html".to_owned()));
}

#[test]
fn redirects_end() {
    let to_itself =
        answered_by(|_| root(Token::Redirect, "https://lyncdiscover.contoso.test/?sipuri=alice%40contoso.test"));
    assert!(verdict_of(&to_itself).contains(&"ad-redirect-loop".to_owned()));

    let there_and_back = answered_by(|request| match request.path.as_str() {
        "/a" => root(Token::Redirect, "https://lyncdiscover.contoso.test/b"),
        _ => root(Token::Redirect, "https://lyncdiscover.contoso.test/a"),
    });
    assert!(verdict_of(&there_and_back).contains(&"ad-redirect-loop".to_owned()));

    let counter = std::sync::atomic::AtomicUsize::new(0);
    let ever_new = answered_by(move |_| {
        let n = counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        root(Token::Redirect, &format!("https://lyncdiscover.contoso.test/{n}"))
    });
    assert!(verdict_of(&ever_new).contains(&"ad-redirect-loop".to_owned()));
    let asked = |o: &Operation| matches!(o, Operation::Exchange { .. });
    assert_eq!(ever_new.operations().into_iter().filter(asked).count(), 11, "the first and ten redirects");

    let users = answered_by(|request| match request.path.as_str() {
        path if path.starts_with("/user") => {
            let document = "<AutodiscoverResponse><User><Link token='Redirect' \
                href='https://lyncdiscover.contoso.test/'/></User></AutodiscoverResponse>";
            says(200, &[], document)
        }
        _ => root(Token::User, "https://lyncdiscover.contoso.test/user"),
    });
    assert!(verdict_of(&users).contains(&"ad-redirect-loop".to_owned()));
}

#[test]
fn a_plain_answer_is_a_hint_to_a_trusted_host_only() {
    let hint = |href: &'static str| {
        let world = World::new();
        web_sites(&world);
        world.host("lyncdiscover.contoso.test", &["10.0.0.9"]);
        world.host("evil.example", &["10.0.0.9"]);
        world.listen_plain("10.0.0.9:80", Arc::new(Scripted(move |_: &HttpRequest| root(Token::Redirect, href))));
        world
    };
    let good = hint("https://pool1.contoso.test/");
    let (candidates, _) = discover_all(&good, aor("alice"), Ask::default(), Some(log_on("alice", PASSWORD)));
    assert_eq!(candidates[0].host, "pool1.contoso.test");

    for (href, id) in [("https://evil.example/", "ad-trust-prompt"), ("http://pool1.contoso.test/", "ad-redirect-loop")]
    {
        let bad = hint(href);
        assert!(verdict_of(&bad).contains(&id.to_owned()), "{href}");
        let to_evil = |o: &Operation| matches!(o, Operation::Resolve { name, .. } if name == "evil.example");
        assert!(!bad.operations().iter().any(to_evil));
    }
}

#[test]
fn a_proven_answer_may_lead_to_another_domain_but_credentials_stay() {
    let world = answered_by(|request| match (request.host.as_str(), request.path.as_str()) {
        ("evil.example", _) => {
            says(401, &[("x-ms-webticketurl", "https://pool1.contoso.test/WebTicket/WebTicketService.svc")], "")
        }
        (_, "/user") => says(401, &[("x-ms-webticketurl", "https://evil.example/WebTicket")], ""),
        _ => root(Token::User, "https://lyncdiscover.contoso.test/user"),
    });
    assert!(verdict_of(&world).contains(&"ad-trust-prompt".to_owned()));
    let with_token = |o: &Operation| match o {
        Operation::Exchange { request, .. } => request.headers.iter().any(|(name, _)| name == "Authorization"),
        _ => false,
    };
    assert!(!world.operations().iter().any(with_token), "nothing of the password leaves");

    for url in ["http://lyncdiscover.contoso.test/WebTicket", "nonsense"] {
        let world = answered_by(move |request| match request.path.as_str() {
            "/user" => says(401, &[("x-ms-webticketurl", url)], ""),
            _ => root(Token::User, "https://lyncdiscover.contoso.test/user"),
        });
        assert!(verdict_of(&world).contains(&"ad-redirect-loop".to_owned()), "{url}");
    }
    for (status, id) in [(401, "ad-user-401-loop"), (403, "ad-http-403"), (500, "ad-http-5xx")] {
        let silent = answered_by(move |request| match request.path.as_str() {
            "/user" => says(status, &[], ""),
            _ => root(Token::User, "https://lyncdiscover.contoso.test/user"),
        });
        assert!(verdict_of(&silent).contains(&id.to_owned()), "{id}");
    }
}

#[test]
fn a_ticket_service_that_does_not_work() {
    const TICKETS: &str = "https://lyncdiscover.contoso.test/WebTicket/WebTicketService.svc";
    let with = |metadata: HttpResponse, ticket: HttpResponse| {
        answered_by(move |request| match request.path.as_str() {
            "/user" => says(401, &[("x-ms-webticketurl", TICKETS)], ""),
            "/WebTicket/WebTicketService.svc/mex" => metadata.clone(),
            "/WebTicket/WebTicketService.svc" => ticket.clone(),
            _ => root(Token::User, "https://lyncdiscover.contoso.test/user"),
        })
    };
    let mex = |name: &str, location: &str| {
        let xml = format!(
            "<definitions><service><port name='{name}'><address location='{location}'/></port></service></definitions>"
        );
        says(200, &[], &xml)
    };
    let good = || mex("WebTicketServiceWinNegotiate", TICKETS);
    let nothing = || says(500, &[], "");
    let fault = |id: u32| {
        let diagnostics = crate::web_ticket::diagnostics::Diagnostics::new(id, "no", "pool1", "InvalidSecurityToken");
        says(500, &[], &diagnostics.fault())
    };
    let negotiate_only = || says(401, &[("www-authenticate", "Negotiate")], "");
    let bad_challenge = || says(401, &[("www-authenticate", "NTLM"), ("www-authenticate", "NTLM AAAA")], "");
    let table = [
        ("wt-mex-bad", says(404, &[], ""), nothing()),
        ("wt-mex-bad", says(200, &[], "<html/>"), nothing()),
        ("wt-mex-bad", mex("WsFedBearer", TICKETS), nothing()),
        ("wt-mex-bad", mex("WebTicketServiceWinNegotiate", "https://evil.example/"), nothing()),
        ("wt-mex-bad", mex("WebTicketServiceWinNegotiate", "http://lyncdiscover.contoso.test/"), nothing()),
        ("wt-5xx", good(), nothing()),
        ("wt-5xx", good(), says(200, &[], "<Envelope/>")),
        ("wt-invalid-token", good(), fault(28020)),
        ("wt-expired", good(), fault(28033)),
        ("ntlm-off-on-server", good(), negotiate_only()),
        ("ntlm-target-info-missing", good(), bad_challenge()),
    ];
    for (id, metadata, ticket) in table {
        let found = verdict_of(&with(metadata.clone(), ticket));
        assert!(found.contains(&id.to_owned()), "{id}: {found:?} {metadata:?}");
    }
}

#[test]
fn a_certificate_with_another_name_is_not_believed() {
    let world = World::new();
    web_sites(&world);
    world.host("lyncdiscover.contoso.test", &["10.0.0.9"]);
    world.listen_tls("10.0.0.9:443", &["www.example"], Arc::new(Scripted(|_: &HttpRequest| says(200, &[], ""))));
    assert!(verdict_of(&world).contains(&"tls-name-mismatch".to_owned()));
    let sent = |o: &Operation| matches!(o, Operation::Exchange { .. });
    assert!(!world.operations().iter().any(sent), "nothing is sent to a stranger");
}

#[test]
fn the_password_shows_up_nowhere() {
    let world = World::new();
    inside(&world);
    let (_, discovery) = discover_all(&world, aor("alice"), Ask::default(), Some(log_on("alice", PASSWORD)));
    let everything = format!("{:?} {:?} {discovery:?}", world.operations(), world.events());
    assert!(!everything.contains(PASSWORD));
    let told = format!("{:?}", world.events());
    assert!(!told.contains("Assertion") && !told.contains("opaque="), "tickets are secrets too");
    assert!(told.contains("web ticket for alice@contoso.test"), "{told}");
}

#[test]
fn connections_are_used_again() {
    let world = World::new();
    web_sites(&world);
    world.host("lyncdiscoverinternal.contoso.test", &["10.0.0.1"]);
    discover_all(&world, aor("alice"), Ask::default(), Some(log_on("alice", PASSWORD)));
    assert_eq!(
        world.connections_opened(),
        3,
        "http and https of the entry, and one for user, metadata, ticket and user again"
    );
}
