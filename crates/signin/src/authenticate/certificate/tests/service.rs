//! The service alone: requests as an open client writes them, and everything that is refused.

use super::{Deployment, KEY, WEB, asked, authority};
use crate::authenticate::certificate::message::{PublishRequest, PublishResponse, ServiceMetadata};
use crate::authenticate::certificate::published::PublishedCertificates;
use crate::date_time::write_time;
use crate::io::HttpResponse;
use crate::old_cryptography::{OldAlgorithm, OldCryptography};
use crate::service::HttpService;
use crate::testing::EPOCH;
use crate::web_ticket::authority::{Grant, TicketAuthority};
use crate::web_ticket::diagnostics::Diagnostics;
use crate::web_ticket::message::{Lifetime, WSSE, WSU};
use crate::web_ticket::proof_key::ProofKey;
use crate::web_ticket::security::ProofHash;
use crate::web_ticket::{DIAGNOSTICS_HEADER, security};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use mechanism::user_certificate::{UserCertificate, new_key, request};
use sha1::{Digest, Sha1};
use std::sync::atomic::Ordering;
use std::time::Duration;
use uuid::Uuid;

const SERVICE: &str = "/CertProv/CertProvisioningService.svc";
const PORT: &str = "/CertProv/CertProvisioningService.svc/WebTicket_Proof_SHA1";
const DEVICE: &str = "{5F8A1C04-2F3B-5B6E-9A39-0D7A2F6C1E11}";

/// A ticket in somebody's hands.
struct Ticket {
    assertion: String,
    id: String,
    lifetime: Lifetime,
    key: ProofKey,
}

fn ticket_of(name: &str, number: u128) -> Ticket {
    ticket(name, number, &format!("https://{WEB}/"), &[9; 32], EPOCH)
}

fn ticket(name: &str, number: u128, audience: &str, authority: &[u8; 32], created: i64) -> Ticket {
    let lifetime = Lifetime { created, expires: created + 8 * 3600 };
    let key = ProofKey::derive(&[1; 32], &number.to_be_bytes());
    let grant = Grant {
        aor: format!("{name}@contoso.test").parse().expect("an address"),
        issuer: format!("https://{WEB}/WebTicket/WebTicketService.svc"),
        audience: audience.to_owned(),
        not_before: lifetime.created,
        expires: lifetime.expires,
        proof_key: key.clone(),
    };
    let id = Uuid::from_u128(number);
    let assertion = TicketAuthority::new(authority).issue(&grant, id).to_string();
    Ticket { assertion, id: format!("SamlSecurityToken-{id}"), lifetime, key }
}

fn wish(name: &str, request_id: &str) -> PublishRequest {
    PublishRequest {
        device: DEVICE.to_owned(),
        entity: format!("{name}@contoso.test"),
        request: request::write(&format!("{name}@contoso.test"), &KEY).expect("a request"),
        request_id: Some(request_id.to_owned()),
        lifetime: None,
    }
}

fn message(ticket: &Ticket, wish: &PublishRequest) -> String {
    wish.write(&security::write(&ticket.assertion, &ticket.id, ticket.lifetime, &ticket.key, ProofHash::Sha1))
}

impl Deployment {
    fn ask(&self, secure: bool, method: &str, path: &str, body: &str) -> HttpResponse {
        let mut conversation = self.services(secure).conversation(([192, 0, 2, 9], 4711).into());
        self.world.run(conversation.answer(asked(method, path, body)))
    }

    /// One service: it remembers from post to post.
    fn post_all(&self, bodies: &[String]) -> Vec<HttpResponse> {
        let services = self.services(true);
        let post = |body: &String| {
            let mut conversation = services.clone().conversation(([192, 0, 2, 9], 4711).into());
            self.world.run(conversation.answer(asked("POST", PORT, body)))
        };
        bodies.iter().map(post).collect()
    }

    fn post(&self, body: &str) -> HttpResponse {
        self.post_all(&[body.to_owned()]).remove(0)
    }

    /// A message made of a good one is refused, with this error id and fault code; nothing has been published.
    fn refuses(&self, what: &str, body: &str, good: &str, (id, fault): (u32, &str)) {
        assert_ne!(body, good, "{what}");
        assert_eq!(told(&self.post(body)), (500, Some(id), fault.to_owned()), "{what}");
        assert!(self.register.devices().is_empty(), "{what}");
    }
}

fn text(response: &HttpResponse) -> &str {
    std::str::from_utf8(&response.body).expect("text")
}

fn certificate(response: &HttpResponse) -> Vec<u8> {
    assert_eq!(response.status, 200, "{}", text(response));
    match PublishResponse::read(&response.body) {
        Ok(PublishResponse::Published { certificate, .. }) => certificate,
        other => panic!("{other:?}"),
    }
}

/// Status, error id and fault code, told alike in the header and in the fault.
fn told(response: &HttpResponse) -> (u16, Option<u32>, String) {
    let header = Diagnostics::of_header(response.header(DIAGNOSTICS_HEADER).unwrap_or_default());
    let fault = Diagnostics::of_fault(&response.body).unwrap_or_default();
    assert_eq!((header.id, &header.reason), (fault.id, &fault.reason), "{}", text(response));
    assert!(!header.reason.is_empty() && header.reason.ends_with('.'), "{}", header.reason);
    (response.status, header.id.filter(|id| *id != 0), header.fault.unwrap_or_default())
}

#[test]
fn metadata_for_anybody_over_tls_and_nothing_without() {
    let deployment = Deployment::new();
    for path in [format!("{SERVICE}/mex"), "/certprov/CERTPROVISIONINGSERVICE.SVC/MEX".to_owned()] {
        let response = deployment.ask(true, "GET", &path, "");
        let metadata = ServiceMetadata::read(&response.body).expect("metadata").expect("a port");
        assert_eq!(metadata.location, format!("https://{WEB}{PORT}"));
        assert_eq!(metadata.issuer, format!("https://{WEB}/WebTicket/WebTicketService.svc"));
        assert_eq!(response.header("content-type"), Some("text/xml; charset=utf-8"));
        assert_eq!(deployment.ask(false, "GET", &path, "").status, 404);
    }
    let good = message(&ticket_of("alice", 1), &wish("alice", "1"));
    assert_eq!(deployment.ask(false, "POST", PORT, &good).status, 404);
    assert_eq!(deployment.ask(true, "GET", PORT, "").status, 405);
    assert_eq!(deployment.ask(true, "POST", &format!("{SERVICE}/mex"), "").status, 405);
    assert_eq!(deployment.ask(true, "GET", SERVICE, "").status, 404);
    assert_eq!(deployment.ask(true, "POST", &format!("{SERVICE}/WebTicket_Bearer"), &good).status, 404);
    assert!(deployment.register.devices().is_empty());
    assert_eq!(deployment.ask(true, "POST", &PORT.to_ascii_lowercase(), &good).status, 200);

    let without = crate::web::Backing { certification: None, ..deployment.backing.clone() };
    let without =
        Deployment { backing: without, world: deployment.world.clone(), register: deployment.register.clone() };
    assert_eq!(without.ask(true, "GET", &format!("{SERVICE}/mex"), "").status, 404);
    assert_eq!(without.ask(true, "POST", PORT, &good).status, 404);
}

#[test]
fn a_certificate_for_who_has_a_ticket_and_its_key() {
    let deployment = Deployment::new();
    let response = deployment.post(&message(&ticket_of("alice", 1), &wish("alice", "1")));
    let der = certificate(&response);
    let facts = UserCertificate::read(&der).expect("a certificate");
    assert!(authority().recognises(&facts));
    assert_eq!(facts.common_name(), Some("alice@contoso.test"));
    assert_eq!((facts.not_before(), facts.not_after()), (EPOCH - 600, EPOCH + 4320 * 3600));
    let found = deployment.world.run(deployment.register.find(&facts.fingerprint())).expect("an answer").expect("it");
    assert_eq!(found.aor.as_str(), "alice@contoso.test");
    assert_eq!(format!("{{{}}}", found.device).to_uppercase(), DEVICE);
    assert_eq!(found.not_after, facts.not_after());
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let answer = text(&response);
    assert!(answer.contains(&format!("DeviceId=\"{DEVICE}\" Entity=\"alice@contoso.test\" ResponseClass=\"Success\"")));
    assert!(answer.contains(">1</RequestID>"), "{answer}");
}

#[test]
fn a_wish_for_a_lifetime_is_granted_within_bounds() {
    let deployment = Deployment::new();
    for (number, (hours, granted)) in [(24, 24), (1, 8), (100_000, 8760)].into_iter().enumerate() {
        let good = message(&ticket_of("alice", 1), &wish("alice", &number.to_string()));
        let lifetime = format!(
            "<Lifetime><Created>{}</Created><Expires>{}</Expires></Lifetime></RequestSecurityToken>",
            write_time(0),
            write_time(hours * 3600)
        );
        let der = certificate(&deployment.post(&good.replace("</RequestSecurityToken>", &lifetime)));
        let facts = UserCertificate::read(&der).expect("a certificate");
        assert_eq!(facts.not_after() - EPOCH, granted * 3600, "{hours} h");
    }
}

/// As an open client writes it: declaration and line end, prefixes declared on the envelope, blanks between elements,
/// the timestamp made by copying the content of the ticket's Lifetime, its digest taken over that text, further headers
/// that are the same in every request, the address without scheme, base64 in lines of 76, version 2 and SHA-1 inside.
fn open_clients_message(ticket: &Ticket, pkcs10: &[u8], lifetime: &str, request_id: &str) -> String {
    let sha1 = |text: &str| STANDARD.encode(Sha1::digest(text.as_bytes()));
    let timestamp = format!("<wsu:Timestamp xmlns:wsu=\"{WSU}\" wsu:Id=\"timestamp\">{lifetime}</wsu:Timestamp>");
    let c14n = "http://www.w3.org/2001/10/xml-exc-c14n#";
    let ds = "http://www.w3.org/2000/09/xmldsig#";
    let info = format!(
        "<SignedInfo xmlns=\"{ds}\"><CanonicalizationMethod Algorithm=\"{c14n}\"></CanonicalizationMethod>\
         <SignatureMethod Algorithm=\"{ds}hmac-sha1\"></SignatureMethod><Reference URI=\"#timestamp\"><Transforms>\
         <Transform Algorithm=\"{c14n}\"></Transform></Transforms><DigestMethod Algorithm=\"{ds}sha1\"></DigestMethod>\
         <DigestValue>{}</DigestValue></Reference></SignedInfo>",
        sha1(&timestamp)
    );
    let mut mac = Hmac::<Sha1>::new_from_slice(ticket.key.reveal()).expect("any key");
    mac.update(info.as_bytes());
    let value = STANDARD.encode(mac.finalize().into_bytes());
    let base64 = STANDARD.encode(pkcs10);
    let lines: Vec<&str> =
        base64.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).expect("base64")).collect();
    format!(
        "<?xml version=\"1.0\"?>\r\n<soap:Envelope xmlns:auth=\"http://schemas.xmlsoap.org/ws/2006/12/authorization\" \
         xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:wsa=\"http://www.w3.org/2005/08/addressing\" \
         xmlns:wsse=\"{WSSE}\" xmlns:wst=\"http://docs.oasis-open.org/ws-sx/ws-trust/200512\"> <soap:Header> \
         <wsa:To>https://{WEB}{PORT}</wsa:To> <wsa:ReplyTo> <wsa:Address>http://www.w3.org/2005/08/addressing/anonymous\
         </wsa:Address> </wsa:ReplyTo> <wsa:MessageID>uuid:the-same-for-the-ticket</wsa:MessageID> \
         <wsa:Action>http://schemas.microsoft.com/OCS/AuthWebServices/GetAndPublishCert</wsa:Action> <wsse:Security>\
         {timestamp}{assertion}<Signature xmlns=\"{ds}\">{info}<SignatureValue>{value}</SignatureValue> <KeyInfo> \
         <wsse:SecurityTokenReference wsse:TokenType=\"http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1#SAMLV1.1\"> \
         <wsse:KeyIdentifier ValueType=\"http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.0#SAMLAssertionID\">\
         {id}</wsse:KeyIdentifier> </wsse:SecurityTokenReference> </KeyInfo></Signature></wsse:Security> </soap:Header> \
         <soap:Body> <GetAndPublishCert xmlns=\"http://schemas.microsoft.com/OCS/AuthWebServices/\" DeviceId=\"{DEVICE}\" \
         Entity=\"Alice@contoso.test\"> <RequestSecurityToken xmlns=\"http://docs.oasis-open.org/ws-sx/ws-trust/200512/\"> \
         <TokenType>http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3</TokenType> \
         <RequestType>http://docs.oasis-open.org/ws-sx/ws-trust/200512/Issue</RequestType> <wsse:BinarySecurityToken \
         ValueType=\"http://schemas.microsoft.com/OCS/AuthWebServices.xsd#PKCS10\" EncodingType=\"{WSSE}#Base64Binary\">\
         \r\n{lines}</wsse:BinarySecurityToken> <RequestID \
         xmlns=\"http://schemas.microsoft.com/windows/pki/2009/01/enrollment\">{request_id}</RequestID> \
         </RequestSecurityToken> </GetAndPublishCert> </soap:Body></soap:Envelope>",
        assertion = ticket.assertion,
        id = ticket.id,
        lines = lines.join("\r\n"),
    )
}

/// Version 2 and SHA-1, as OpenSSL builds of an open client sign it; the key is 2048 bits, the name `alice@contoso.test`.
const OPEN_CLIENTS_PKCS10: &str = include_str!("open_client.csr.b64");

#[test]
fn an_open_client_gets_its_certificate_each_time_it_asks() {
    let deployment = Deployment::new();
    let ticket = ticket_of("alice", 1);
    let (created, expires) = (write_time(ticket.lifetime.created), write_time(ticket.lifetime.expires));
    let pkcs10 = STANDARD.decode(OPEN_CLIENTS_PKCS10.split_ascii_whitespace().collect::<String>()).expect("base64");
    let ours = format!("<wsu:Created>{created}</wsu:Created><wsu:Expires>{expires}</wsu:Expires>");
    // What is copied when the issuer declares the prefix again: its canonical form is another one.
    let foreign = ours.replace("<wsu:Created>", &format!("<wsu:Created xmlns:wsu=\"{WSU}\">"));
    let bodies = [
        open_clients_message(&ticket, &pkcs10, &ours, "1"),
        // One ticket, one key, one proof: after a redirect it asks again, for another server.
        open_clients_message(&ticket, &pkcs10, &ours, "2"),
        open_clients_message(&ticket, &pkcs10, &foreign, "3"),
    ];
    for response in deployment.post_all(&bodies) {
        let der = certificate(&response);
        let facts = UserCertificate::read(&der).expect("a certificate");
        assert_eq!(facts.common_name(), Some("alice@contoso.test"));
        assert!(text(&response).contains("Entity=\"Alice@contoso.test\""), "as it was written");
    }
    assert_eq!(deployment.register.devices().len(), 3);
}

#[test]
fn tickets_that_are_refused() {
    let deployment = Deployment::new();
    let alice = ticket_of("alice", 1);
    let good = message(&alice, &wish("alice", "1"));
    let from = |ticket: Ticket| message(&ticket, &wish("alice", "1"));
    let token = "wsse:InvalidSecurityToken";
    let expired = "wsse:MessageExpired";
    let here = format!("https://{WEB}/");
    let table = [
        ("no header", good.replace("s:Header", "s:Footer"), 28020, token),
        ("no assertion", good.replace("saml:Assertion", "saml:Claim"), 28020, token),
        ("altered", good.replace("sip:alice@", "sip:bob@"), 28032, token),
        ("prolonged", good.replace("NotOnOrAfter=\"2026-01-01T08", "NotOnOrAfter=\"2026-01-01T18"), 28032, token),
        ("of another deployment", from(ticket("alice", 1, &here, &[8; 32], EPOCH)), 28032, token),
        ("expired", from(ticket("alice", 1, &here, &[9; 32], EPOCH - 8 * 3600)), 28033, expired),
        ("from the future", from(ticket("alice", 1, &here, &[9; 32], EPOCH + 3600)), 28033, expired),
        ("for another site", from(ticket("alice", 1, "https://pool2.contoso.test/", &[9; 32], EPOCH)), 28901, token),
    ];
    for (what, body, id, fault) in table {
        deployment.refuses(what, &body, &good, (id, fault));
    }
}

#[test]
fn proofs_that_are_refused() {
    let deployment = Deployment::new();
    let alice = ticket_of("alice", 1);
    let (wish, failed) = (wish("alice", "1"), "wsse:FailedCheck");
    let good = message(&alice, &wish);
    let other_key = Ticket { key: ProofKey::derive(&[5; 32], &[6; 32]), ..ticket_of("alice", 1) };
    let over = Lifetime { created: EPOCH - 10, expires: EPOCH };
    let over = Ticket { lifetime: over, ..ticket_of("alice", 1) };
    let value = good.find("<SignatureValue>").expect("a signature") + "<SignatureValue>".len();
    let mut altered = good.clone();
    altered.replace_range(value..value + 4, "AAAA");
    let table = [
        ("with another key", message(&other_key, &wish), 28902, failed),
        ("altered", altered, 28902, failed),
        (
            "without a signature",
            good.replace("Signature xmlns", "Other xmlns").replace("</Signature>", "</Other>"),
            28902,
            failed,
        ),
        (
            "of another timestamp",
            good.replace("<wsu:Expires>2026-01-01T08", "<wsu:Expires>2026-01-01T09"),
            28902,
            failed,
        ),
        (
            "truncated",
            good.replace("hmac-sha1\">", "hmac-sha1\"><HMACOutputLength>8</HMACOutputLength>"),
            28902,
            failed,
        ),
        ("that is over", message(&over, &wish), 28904, "wsse:MessageExpired"),
    ];
    for (what, body, id, fault) in table {
        deployment.refuses(what, &body, &good, (id, fault));
    }
}

#[test]
fn the_same_request_is_answered_once() {
    let deployment = Deployment::new();
    let (first, second) = (ticket_of("alice", 1), ticket_of("alice", 2));
    let other_key = new_key(1024).expect("a key");
    let anew = PublishRequest {
        request: request::write("alice@contoso.test", &other_key).expect("a request"),
        ..wish("alice", "1")
    };
    let bodies = [
        message(&first, &wish("alice", "1")),
        message(&first, &wish("alice", "1")),  // the very same
        message(&first, &wish("alice", "2")),  // asked again
        message(&first, &anew),                // for another key
        message(&second, &wish("alice", "1")), // with another ticket
        message(&first, &anew),
        message(&first, &wish("alice", "1")).replace("<s:Body>", "<s:Body> "), // spelt differently
    ];
    let statuses: Vec<u16> = deployment.post_all(&bodies).iter().map(|response| response.status).collect();
    assert_eq!(statuses, [200, 500, 200, 200, 200, 500, 500]);
    let replayed = deployment.post_all(&bodies[..2]).remove(1);
    assert_eq!(told(&replayed), (500, Some(28903), "wsse:FailedCheck".to_owned()));
}

#[test]
fn whoever_got_no_certificate_may_ask_again() {
    let deployment = Deployment::new();
    let services = deployment.services(true);
    let body = message(&ticket_of("alice", 1), &wish("alice", "1"));
    let post = || {
        let mut conversation = services.clone().conversation(([192, 0, 2, 9], 1).into());
        deployment.world.run(conversation.answer(asked("POST", PORT, &body)))
    };
    deployment.register.down.store(true, Ordering::SeqCst);
    assert_eq!(told(&post()), (503, None, "s:Server".to_owned()));
    deployment.register.down.store(false, Ordering::SeqCst);
    certificate(&post());
    assert_eq!(told(&post()).1, Some(28903));
}

#[test]
fn users_and_requests_that_are_refused() {
    let deployment = Deployment::new();
    let alice = ticket_of("alice", 1);
    let of_bob = PublishRequest { entity: "bob@contoso.test".to_owned(), ..wish("alice", "1") };
    let nobody = PublishRequest { entity: "nonsense".to_owned(), ..wish("alice", "1") };
    let named_bob = PublishRequest { request: wish("bob", "1").request, ..wish("alice", "1") };
    let weak = PublishRequest {
        request: request::write("alice@contoso.test", &new_key(768).expect("a key")).expect("a request"),
        ..wish("alice", "1")
    };
    let mut damaged = wish("alice", "1");
    *damaged.request.last_mut().expect("bytes") ^= 1;
    let garbage = PublishRequest { request: b"no PKCS#10".to_vec(), ..wish("alice", "1") };
    let no_device = PublishRequest { device: "my telephone".to_owned(), ..wish("alice", "1") };
    let foreign = |base64: &str| PublishRequest {
        request: STANDARD.decode(base64.split_ascii_whitespace().collect::<String>()).expect("base64"),
        ..wish("alice", "1")
    };
    let elliptic = foreign(include_str!("ec_p256.csr.b64"));
    let no_body = message(&alice, &wish("alice", "1"))
        .replace("GetAndPublishCert ", "GetCert ")
        .replace("GetAndPublishCert>", "GetCert>");
    let authentication = "wsse:FailedAuthentication";
    let request = "wst:InvalidRequest";
    let table = [
        ("another's Entity", message(&alice, &of_bob), 403, 28905, authentication),
        ("an Entity that is no address", message(&alice, &nobody), 403, 28905, authentication),
        ("not enabled for SIP", message(&ticket_of("erin", 2), &wish("erin", "1")), 403, 28000, authentication),
        ("removed meanwhile", message(&ticket_of("gone", 3), &wish("gone", "1")), 403, 28000, authentication),
        ("another's name in the request", message(&alice, &named_bob), 500, 28907, request),
        ("a weak key", message(&alice, &weak), 500, 28907, request),
        ("an elliptic curve", message(&alice, &elliptic), 500, 28907, request),
        ("signed with another key", message(&alice, &damaged), 500, 28907, request),
        ("no PKCS#10", message(&alice, &garbage), 500, 28907, request),
        ("no device", message(&alice, &no_device), 500, 28906, request),
        ("another operation", no_body, 500, 28906, request),
    ];
    for (what, body, status, id, fault) in table {
        assert_eq!(told(&deployment.post(&body)), (status, Some(id), fault.to_owned()), "{what}");
    }
    assert!(deployment.register.devices().is_empty());
}

#[test]
fn messages_that_could_hurt() {
    let deployment = Deployment::new();
    let good = message(&ticket_of("alice", 1), &wish("alice", "1"));
    let deep = format!("{}{}", "<a>".repeat(100), "</a>".repeat(100));
    let table = [
        ("DOCTYPE", good.replace("?><s:Env", "?><!DOCTYPE a [<!ENTITY b 'c'>]><s:Env")),
        ("an entity", good.replace("<s:Body>", "<s:Body>&b;")),
        ("100 deep", good.replace("<s:Body>", &format!("<s:Body>{deep}"))),
        ("many elements", good.replace("<s:Body>", &format!("<s:Body>{}", "<a/>".repeat(60_000)))),
        ("long", good.replace("<s:Body>", &format!("<s:Body>{}", " ".repeat(256 * 1024)))),
        ("cut off", good[..good.len() - 1].to_owned()),
        ("empty", String::new()),
    ];
    for (what, body) in table {
        deployment.refuses(what, &body, &good, (28906, "wst:InvalidRequest"));
    }
    // A signed element with prefixes without end costs nothing before the ticket is known, and little after.
    let prefixes: String = (0..2000).map(|n| format!(" xmlns:n{n}=\"u\"")).collect();
    let many = good.replace("<s:Header>", &format!("<s:Header{prefixes}>"));
    assert_eq!(told(&deployment.post(&many)).1, Some(28902));
    assert!(deployment.register.devices().is_empty());
}

#[test]
fn what_is_remembered_is_bounded() {
    let deployment = Deployment::new();
    let mut settings = super::super::server::Settings::new(WEB, WEB);
    settings.remembered = 2;
    let service = super::super::server::CertificateService::new(
        settings,
        deployment.backing.authority.clone(),
        deployment.backing.certification.clone().expect("it gives out certificates"),
        deployment.backing.directory.clone(),
        deployment.backing.surroundings.clone(),
    );
    let post = |body: &str| deployment.world.run(service.publish(&asked("POST", PORT, body), ProofHash::Sha1)).status;
    let here = format!("https://{WEB}/");
    let earlier = ticket("alice", 1, &here, &[9; 32], EPOCH - 3600);
    let bodies = [message(&earlier, &wish("alice", "1")), message(&ticket_of("alice", 2), &wish("alice", "2"))];
    assert_eq!(bodies.each_ref().map(|body| post(body)), [200, 200]);
    assert_eq!(bodies.each_ref().map(|body| post(body)), [500, 500]);
    assert_eq!(post(&message(&ticket_of("alice", 3), &wish("alice", "3"))), 200, "there is always room");
    assert_eq!(post(&bodies[1]), 500, "the one whose ticket ends first was forgotten, not this");
    assert_eq!(post(&bodies[0]), 200);
    deployment.world.run(async {
        crate::io::Io::perform(&deployment.world, crate::io::Operation::Wait { time: Duration::from_secs(9 * 3600) })
            .await
    });
    assert_eq!(post(&bodies[1]), 500, "its ticket has expired");
}

#[test]
fn sha1_can_be_switched_off() {
    const PORT_SHA256: &str = "/CertProv/CertProvisioningService.svc/WebTicket_Proof";
    let deployment = Deployment::new();
    let old = OldCryptography::default().without(OldAlgorithm::Sha1);
    let backing = crate::web::Backing { old_cryptography: old, ..deployment.backing.clone() };
    let modern = Deployment { backing, world: deployment.world.clone(), register: deployment.register.clone() };
    let named = modern.ask(true, "GET", &format!("{SERVICE}/mex"), "");
    let metadata = ServiceMetadata::read(&named.body).expect("metadata").expect("a port");
    assert_eq!((metadata.location, metadata.hash), (format!("https://{WEB}{PORT_SHA256}"), ProofHash::Sha256));
    assert!(!text(&named).contains("_SHA1"), "{}", text(&named));

    let alice = ticket_of("alice", 1);
    let proof = |wish: &PublishRequest| {
        wish.write(&security::write(&alice.assertion, &alice.id, alice.lifetime, &alice.key, ProofHash::Sha256))
    };
    let sha1 = STANDARD.decode(OPEN_CLIENTS_PKCS10.split_ascii_whitespace().collect::<String>()).expect("base64");
    let old_request = PublishRequest { request: sha1, ..wish("alice", "1") };
    let post = |port: &str, body: &str| modern.ask(true, "POST", port, body);
    let failed = |id: u32, fault: &str| (500, Some(id), fault.to_owned());
    let (by_sha1, by_sha256) = (message(&alice, &wish("alice", "1")), proof(&wish("alice", "1")));
    assert_eq!(told(&post(PORT, &by_sha1)), failed(28902, "wsse:FailedCheck"));
    assert!(text(&post(PORT, &by_sha1)).contains("SHA-1 are switched off"));
    assert_eq!(told(&post(PORT_SHA256, &by_sha1)), failed(28902, "wsse:FailedCheck"));
    assert_eq!(told(&post(PORT_SHA256, &proof(&old_request))), failed(28907, "wst:InvalidRequest"));
    assert!(modern.register.devices().is_empty());
    certificate(&post(PORT_SHA256, &by_sha256));
    certificate(&deployment.ask(true, "POST", PORT_SHA256, &by_sha256));
    assert_eq!(deployment.ask(true, "POST", PORT, &by_sha256).status, 500, "each port has its hash");
}

#[test]
fn one_user_does_not_keep_the_service_busy_alone() {
    let deployment = Deployment::new();
    let of = |name: &str, number: usize| {
        message(&ticket_of(name, number as u128 % 3), &wish(name, &format!("request {number}")))
    };
    let mut bodies: Vec<String> = (0..31).map(|number| of("alice", number)).collect();
    bodies.push(of("bob", 31));
    let answers = deployment.post_all(&bodies);
    assert!(answers[..30].iter().all(|answer| answer.status == 200));
    assert_eq!(told(&answers[30]), (503, None, "s:Server".to_owned()), "whatever ticket it is");
    assert_eq!(answers[31].status, 200, "bob has had none");
}
