//! The web services alone, asked as real clients ask.

use super::deployment::{PASSWORD, backing, site};
use crate::discover::AccessLocation::{self, External, Internal};
use crate::discover::document::{ACCEPT_XML, Body, Document, Form, Token};
use crate::io::{HttpRequest, HttpResponse, Io, Operation};
use crate::service::{HttpConversation, HttpService};
use crate::testing::{EPOCH, World};
use crate::web::WebServices;
use crate::web_ticket::diagnostics::Diagnostics;
use crate::web_ticket::message::TokenResponse;
use crate::web_ticket::metadata::Metadata;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mechanism::ntlm::{self, Entropy, Mode, NtHash};
use std::time::Duration;

fn conversation(location: AccessLocation, secure: bool, web: &str) -> (World, Box<dyn HttpConversation>) {
    let world = World::new();
    let services = WebServices::new(site(location, secure, web), &backing(&world));
    let conversation = services.conversation("10.1.1.1:40000".parse().expect("an address"));
    (world, conversation)
}

pub(super) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> HttpRequest {
    HttpRequest {
        method: method.to_owned(),
        host: "lyncdiscoverinternal.contoso.test".to_owned(),
        path: path.to_owned(),
        headers: headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        body: body.as_bytes().to_vec(),
    }
}

fn get(path: &str, headers: &[(&str, &str)]) -> HttpResponse {
    let (world, mut conversation) = conversation(Internal, true, "pool1.contoso.test");
    world.run(conversation.answer(request("GET", path, headers, "")))
}

fn text(response: &HttpResponse) -> &str {
    std::str::from_utf8(&response.body).expect("text")
}

#[test]
fn the_root_in_the_form_asked_for() {
    let response = get("/?sipuri=anna@contoso.test", &[("accept", ACCEPT_XML)]);
    assert_eq!(response.status, 200);
    let content_type = response.header("content-type").expect("a content type");
    assert!(content_type.starts_with("application/vnd.microsoft.rtc.autodiscover+xml"));
    assert_eq!(
        text(&response),
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><AutodiscoverResponse AccessLocation=\"Internal\"><Root>\
         <Link token=\"Domain\" href=\"https://pool1.contoso.test/Autodiscover/AutodiscoverService.svc/root/domain?originalDomain=contoso.test\"/>\
         <Link token=\"User\" href=\"https://pool1.contoso.test/Autodiscover/AutodiscoverService.svc/root/user?originalDomain=contoso.test\"/>\
         </Root></AutodiscoverResponse>"
    );
    assert_eq!(response.header("x-ms-server-fqdn"), Some("pool1.contoso.test"));
    for (accept, form) in [("*/*", Form::Json), ("application/json", Form::Hal)] {
        let response = get("/", &[("Accept", accept)]);
        assert_eq!(response.header("content-type"), Some(form.content_type()));
        let document = Document::read(&response.body).expect("a document");
        assert!(document.body.link(&Token::User).is_some(), "{accept}");
    }
}

#[test]
fn the_root_knows_domains_and_no_users() {
    let known = get("/?sipuri=alice@contoso.test", &[("accept", ACCEPT_XML)]);
    let unknown = get("/?sipuri=sip%3Anobody%40contoso.test", &[("accept", ACCEPT_XML)]);
    assert_eq!(known, unknown);
    for path in [
        "/AUTODISCOVER/autodiscoverservice.SVC/Root/?sipuri=sip:a+b@contoso.test",
        "/?originalDomain=contoso.test",
        "/?sipuri=nonsense",
        "/",
    ] {
        let response = get(path, &[("accept", ACCEPT_XML)]);
        assert_eq!(text(&response), text(&known), "{path}: else the domain is in the name asked");
    }
    let moved = get("/?sipuri=a+b@fabrikam.test", &[("accept", ACCEPT_XML)]);
    let document = Document::read(&moved.body).expect("a document");
    assert_eq!(document.body.links().len(), 1);
    assert_eq!(
        document.body.link(&Token::Redirect),
        Some("https://web.fabrikam.test/Autodiscover/AutodiscoverService.svc/root?sipuri=a%2Bb%40fabrikam.test")
    );
    assert_eq!(get("/?sipuri=a@unknown.test", &[]).status, 404);
}

#[test]
fn without_tls_there_is_one_redirect_and_nothing_else() {
    let (world, mut plain) = conversation(Internal, false, "pool1.contoso.test:8443");
    let ask = |path: &str| request("GET", path, &[("accept", ACCEPT_XML)], "");
    let response = world.run(plain.answer(ask("/?sipuri=alice@contoso.test")));
    let document = Document::read(&response.body).expect("a document");
    assert_eq!((response.status, document.body.links().len()), (200, 1));
    assert_eq!(
        document.body.link(&Token::Redirect),
        Some("https://pool1.contoso.test:8443/Autodiscover/AutodiscoverService.svc/root?sipuri=alice%40contoso.test")
    );
    for path in ["/WebTicket/WebTicketService.svc/mex", "/Autodiscover/AutodiscoverService.svc/root/user"] {
        assert_eq!(world.run(plain.answer(ask(path))).status, 404);
    }
    assert_eq!(world.run(plain.answer(request("POST", "/WebTicket/WebTicketService.svc", &[], "x"))).status, 404);
}

#[test]
fn the_user_resource_wants_a_ticket_and_offers_no_challenge() {
    for headers in [&[][..], &[("X-MS-WebTicket", "opaque=AAAA")], &[("x-ms-webticket", "cwt=x")]] {
        let response = get("/Autodiscover/AutodiscoverService.svc/root/user?originalDomain=contoso.test", headers);
        assert_eq!(response.status, 401);
        let url = "https://pool1.contoso.test/WebTicket/WebTicketService.svc";
        assert_eq!(response.header("x-ms-webticketurl"), Some(url));
        assert_eq!(response.header("www-authenticate"), None);
        assert_eq!(response.header("x-ms-diagnostics").is_some(), !headers.is_empty());
    }
}

#[test]
fn routes_methods_and_strangers() {
    for path in ["/x", "/Autodiscover", "/WebTicket/WebTicketService.svc/x", "/../etc/passwd", ""] {
        let expected = if path.is_empty() { 200 } else { 404 };
        assert_eq!(get(path, &[]).status, expected, "{path}");
    }
    let (world, mut conversation) = conversation(Internal, true, "pool1.contoso.test");
    let response = world.run(conversation.answer(request("DELETE", "/", &[], "")));
    assert_eq!((response.status, response.header("allow")), (405, Some("GET")));
    let response = world.run(conversation.answer(request("GET", "/WebTicket/WebTicketService.svc", &[], "")));
    assert_eq!((response.status, response.header("allow")), (405, Some("POST")));
    assert_eq!(get("/Autodiscover/AutodiscoverService.svc/root/domain", &[]).status, 200);
    let metadata = Metadata::read(&get("/webticket/webticketservice.svc/MEX", &[]).body).expect("metadata");
    assert_eq!(metadata.ports.len(), 1, "only what works");
}

/// One POST of a RequestSecurityToken, logged on with NTLM on the connection as real clients do.
pub(super) fn log_on_and_post(
    world: &World,
    conversation: &mut dyn HttpConversation,
    user: &str,
    password: &str,
    body: &str,
) -> HttpResponse {
    let path = "/WebTicket/WebTicketService.svc";
    let mut post = |authorization: Option<String>| {
        let headers: Vec<(&str, &str)> = authorization.iter().map(|a| ("Authorization", a.as_str())).collect();
        world.run(conversation.answer(request("POST", path, &headers, body)))
    };
    let first = post(None);
    assert_eq!((first.status, first.header("www-authenticate")), (401, Some("NTLM")), "a bare challenge");
    let negotiate = ntlm::negotiate();
    let second = post(Some(format!("NTLM {}", STANDARD.encode(&negotiate))));
    assert!(second.reusable);
    let challenge =
        second.header("www-authenticate").and_then(|v| v.strip_prefix("NTLM ")).expect("a token").to_owned();
    let challenge = STANDARD.decode(challenge).expect("base64");
    let credentials = ntlm::Credentials {
        user: user.to_owned(),
        domain: String::new(),
        workstation: String::new(),
        nt_hash: NtHash::of_password(password),
    };
    let entropy = Entropy { client_challenge: [1; 8], session_key: [2; 16] };
    let answer = ntlm::answer(Mode::Connection, Some(&negotiate), &challenge, &credentials, &entropy, 0);
    post(Some(format!("NTLM {}", STANDARD.encode(answer.expect("an answer").message))))
}

/// As an open client writes it: declaration and line end, prefixes, blanks between elements.
pub(super) fn open_clients_request(address: &str, service: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\r\n<soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:auth=\"http://schemas.xmlsoap.org/ws/2006/12/authorization\" \
         xmlns:wsa=\"http://www.w3.org/2005/08/addressing\" xmlns:wsp=\"http://schemas.xmlsoap.org/ws/2004/09/policy\" \
         xmlns:wst=\"http://docs.oasis-open.org/ws-sx/ws-trust/200512\"> <soap:Body> <wst:RequestSecurityToken \
         Context=\"ctx-1\"> <wst:TokenType>http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1#SAMLV1.1\
         </wst:TokenType> <wst:RequestType>http://schemas.xmlsoap.org/ws/2005/02/trust/Issue</wst:RequestType> \
         <wsp:AppliesTo> <wsa:EndpointReference> <wsa:Address>{service}</wsa:Address> </wsa:EndpointReference> \
         </wsp:AppliesTo> <wst:Claims Dialect=\"urn:component:Microsoft.Rtc.WebAuthentication.2010:authclaims\"> \
         <auth:ClaimType Uri=\"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/uri\" Optional=\"false\"> \
         <auth:Value>{address}</auth:Value> </auth:ClaimType> </wst:Claims> <wst:Entropy> <wst:BinarySecret>{}\
         </wst:BinarySecret> </wst:Entropy> <wst:KeyType>http://docs.oasis-open.org/ws-sx/ws-trust/200512/SymmetricKey\
         </wst:KeyType> </wst:RequestSecurityToken> </soap:Body></soap:Envelope>",
        STANDARD.encode([7; 32])
    )
}

#[test]
fn an_open_client_gets_its_ticket_and_its_document() {
    let (world, mut conversation) = conversation(Internal, true, "pool1.contoso.test");
    let user_url = "https://pool1.contoso.test/Autodiscover/AutodiscoverService.svc/root/user";
    let body = open_clients_request("sip:alice@contoso.test", user_url);
    let response = log_on_and_post(&world, &mut *conversation, "alice", PASSWORD, &body);
    assert_eq!(response.status, 200, "{}", text(&response));
    assert_eq!(response.header("content-type"), Some("text/xml; charset=utf-8"));
    obeys_text_search(text(&response));
    let ticket = TokenResponse::read(&response.body).expect("a response");
    assert_eq!(ticket.context.as_deref(), Some("ctx-1"));
    assert_eq!((ticket.lifetime.created, ticket.lifetime.expires), (EPOCH, EPOCH + 8 * 3600));

    let header = format!("opaque={}", STANDARD.encode(ticket.assertion.as_bytes()));
    let ask = request(
        "GET",
        "/Autodiscover/AutodiscoverService.svc/root/user",
        &[("Accept", ACCEPT_XML), ("X-MS-WebTicket", &header)],
        "",
    );
    let response = world.run(conversation.answer(ask));
    let document = Document::read(&response.body).expect("a document");
    let Body::User(access, _) = &document.body else { panic!("a User document") };
    assert_eq!(access.client(Internal).map(ToString::to_string).as_deref(), Some("pool1.contoso.test:5061"));
    assert_eq!(access.client(External).map(ToString::to_string).as_deref(), Some("sip.contoso.test:443"));

    // The connection stays logged on, and may log on anew.
    let again = world.run(conversation.answer(request("POST", "/WebTicket/WebTicketService.svc", &[], &body)));
    assert_eq!(again.status, 200);
}

/// What a reader finds that searches text: the first occurrence of each name must be the right one.
fn obeys_text_search(body: &str) {
    let after = |needle: &str| body.find(needle).map(|at| &body[at + needle.len()..]).expect("it is there");
    let assertion = &body[body.find("<saml:Assertion").expect("an assertion")..];
    assert!(body.find(":Assertion") == body.find("<saml:Assertion").map(|at| at + 5));
    assert!(assertion.contains("</saml:Assertion>"));
    let lifetime = after("<Lifetime>");
    let lifetime = &lifetime[..lifetime.find("</Lifetime>").expect("its end")];
    assert_eq!(
        lifetime,
        "<wsu:Created>2026-01-01T00:00:00Z</wsu:Created><wsu:Expires>2026-01-01T08:00:00Z</wsu:Expires>"
    );
    assert!(body.matches("xmlns:wsu").count() == 1 && body.find("xmlns:wsu") < body.find("<Lifetime"));
    assert_eq!(body.matches("BinarySecret>").count(), 2, "the server's part, and no other secret");
    assert!(after("AssertionID=\"").starts_with("SamlSecurityToken-"));
    assert!(body.matches("<RequestSecurityTokenResponse ").count() == 1);
    assert!(!body.contains("<Assertion") && !body.contains(":Lifetime") && !body.contains(":BinarySecret"));
}

#[test]
fn claims_and_requests_that_are_refused() {
    let service = "https://pool1.contoso.test/Autodiscover/AutodiscoverService.svc/root/user";
    let good = open_clients_request("sip:alice@contoso.test", service);
    let table = [
        (open_clients_request("sip:bob@contoso.test", service), 403, Some(28905)),
        (open_clients_request("sip:nobody@contoso.test", service), 403, Some(28905)),
        (open_clients_request("nonsense", service), 500, Some(28906)),
        (open_clients_request("sip:alice@contoso.test", "https://pool1.contoso.test:444/"), 500, Some(28906)),
        (open_clients_request("sip:alice@contoso.test", "http://pool1.contoso.test/"), 500, Some(28906)),
        (open_clients_request("sip:alice@contoso.test", "https://pool1.contoso.test.evil.example/"), 500, Some(28906)),
        (good.replace("SAMLV1.1", "SAMLV2.0"), 500, Some(28906)),
        (good.replace("200512/SymmetricKey", "200512/PublicKey"), 500, Some(28906)),
        (good.replace(&STANDARD.encode([7; 32]), &STANDARD.encode([7; 15])), 500, Some(28906)),
        (good.replace(&STANDARD.encode([7; 32]), &STANDARD.encode([7; 65])), 500, Some(28906)),
        (good.replace(&STANDARD.encode([7; 32]), "***"), 500, Some(28906)),
        ("garbage".to_owned(), 500, Some(28906)),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><x/>".to_owned(), 500, Some(28906)),
        (String::new(), 500, Some(28906)),
    ];
    for (body, status, id) in table {
        let (world, mut conversation) = conversation(Internal, true, "pool1.contoso.test");
        let response = log_on_and_post(&world, &mut *conversation, "alice", PASSWORD, &body);
        assert_eq!(response.status, status, "{body}");
        let told = Diagnostics::of_header(response.header("x-ms-diagnostics").expect("diagnostics"));
        assert_eq!(told.id.filter(|id| *id != 0), id);
        let fault = Diagnostics::of_fault(&response.body).expect("a fault");
        assert_eq!(fault.reason, told.reason);
    }
    let (world, mut conversation) = conversation(Internal, true, "pool1.contoso.test");
    let body = open_clients_request("sip:erin@contoso.test", service);
    let response = log_on_and_post(&world, &mut *conversation, "erin", PASSWORD, &body);
    let told = Diagnostics::of_header(response.header("x-ms-diagnostics").expect("diagnostics"));
    assert_eq!((response.status, told.id), (403, Some(28000)));
}

#[test]
fn wrong_passwords_and_unknown_accounts_look_the_same_and_end_the_connection() {
    let answers = |user: &str| {
        let (world, mut conversation) = conversation(Internal, true, "pool1.contoso.test");
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.push(log_on_and_post(&world, &mut *conversation, user, "wrong", "x"));
        }
        answers
    };
    let (known, unknown) = (answers("alice"), answers("nobody"));
    assert_eq!(known, unknown);
    assert!(known.iter().all(|a| a.status == 401 && a.header("www-authenticate") == Some("NTLM")));
    let reusable: Vec<bool> = known.iter().map(|a| a.reusable).collect();
    assert_eq!(reusable, [true, true, true, false]);
}

#[test]
fn garbage_for_tokens_is_refused() {
    for token in ["NTLM", "NTLM ", "NTLM ***", "NTLM AAAA", "NTLM TlRMTVNTUAADAAAA", "Basic YTpi", "Negotiate AAAA"] {
        let (world, mut conversation) = conversation(Internal, true, "pool1.contoso.test");
        let post = request("POST", "/WebTicket/WebTicketService.svc", &[("Authorization", token)], "x");
        let response = world.run(conversation.answer(post));
        assert_eq!((response.status, response.header("www-authenticate")), (401, Some("NTLM")), "{token}");
    }
}

#[test]
fn a_ticket_is_for_one_site() {
    let (world, mut pool1) = conversation(Internal, true, "pool1.contoso.test");
    let body = open_clients_request("sip:alice@contoso.test", "https://pool1.contoso.test/");
    let response = log_on_and_post(&world, &mut *pool1, "alice", PASSWORD, &body);
    let ticket = TokenResponse::read(&response.body).expect("a ticket").assertion;
    let header = format!("opaque={}", STANDARD.encode(ticket.as_bytes()));
    let ask = request("GET", "/Autodiscover/AutodiscoverService.svc/root/user", &[("X-MS-WebTicket", &header)], "");
    assert_eq!(world.run(pool1.answer(ask.clone())).status, 200);
    let (world, mut pool2) = conversation(Internal, true, "pool2.contoso.test");
    let response = world.run(pool2.answer(ask));
    let told = Diagnostics::of_header(response.header("x-ms-diagnostics").expect("diagnostics"));
    assert_eq!((response.status, told.id), (401, Some(28901)));
}

#[test]
fn tickets_the_user_resource_does_not_take() {
    let world = World::new();
    let services = WebServices::new(site(Internal, true, "pool1.contoso.test"), &backing(&world));
    let mut pool1 = services.conversation("10.1.1.1:40000".parse().expect("an address"));
    let body = open_clients_request("sip:alice@contoso.test", "https://pool1.contoso.test/");
    let response = log_on_and_post(&world, &mut *pool1, "alice", PASSWORD, &body);
    let ticket = TokenResponse::read(&response.body).expect("a ticket").assertion.to_string();
    let mut show = |assertion: &str| {
        let header = format!("opaque={}", STANDARD.encode(assertion.as_bytes()));
        let path = "/Autodiscover/AutodiscoverService.svc/root/user";
        let response = world.run(pool1.answer(request("GET", path, &[("X-MS-WebTicket", &header)], "")));
        let told = response.header("x-ms-diagnostics").and_then(|value| Diagnostics::of_header(value).id);
        (response.status, told)
    };
    assert_eq!(show(&ticket), (200, None));
    assert_eq!(show(&ticket.replace("sip:alice@", "sip:bob@")), (401, Some(28032)), "altered");
    assert_eq!(show(&ticket.replace("T08:00:00Z", "T18:00:00Z")), (401, Some(28032)), "prolonged");
    world.run(world.perform(Operation::Wait { time: Duration::from_secs(8 * 3600) }));
    assert_eq!(show(&ticket), (401, Some(28033)), "over");
}
