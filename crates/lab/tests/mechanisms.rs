//! The three mechanisms over real sockets: how many REGISTERs each takes, what follows when one fails, and what every wrong
//! certificate is told.

mod support;

use lab::Lab;
use mechanism::user_certificate::{
    CertificateRequest, Order, RequestLimits, UserCertificateAuthority, new_key, request,
};
use signin::authenticate::certificate::published::{Publication, PublishedCertificates};
use signin::authenticate::client::Choice;
use signin::authenticate::keyring::{Keyring, UserCertificate};
use signin::authenticate::message::Scheme;
use signin::name::Aor;
use signin::tickets::{Source, Tickets};
use signin::web_ticket::message::TokenRequest;
use signin::web_ticket::signed;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use support::{Attempt, Outcome, Pocket, lab};
use uuid::Uuid;

/// Alice at her preferred Front End, with tickets and a keyring.
fn alice(lab: &Lab, pocket: &Arc<Pocket>) -> Attempt {
    let mut attempt = Attempt::of(lab, "alice").at("fe02.contoso.test");
    let source = Source { realm: Some(lab.ready().realm.clone()), ..Source::default() };
    if let Some(log_on) = &mut attempt.sign_in.log_on {
        log_on.tickets = Some(Arc::new(Tickets::new(source)));
    }
    attempt.sign_in.keyring = Some(pocket.clone());
    attempt
}

fn only(mut attempt: Attempt, scheme: Scheme) -> Attempt {
    attempt.sign_in.choice = Choice::Only(scheme);
    attempt
}

/// Without a password or anything else but the certificate.
fn by_certificate_alone(mut attempt: Attempt) -> Attempt {
    attempt.sign_in.log_on = None;
    attempt
}

fn registers(outcome: &Outcome) -> Vec<(&str, u32, u16)> {
    outcome.report.registers.iter().map(|r| (r.mechanism.as_str(), r.requests, r.status)).collect()
}

#[tokio::test]
async fn each_takes_its_number_of_registers() {
    let lab = lab().await;
    let pocket = Arc::new(Pocket::default());
    let table = [(Scheme::Kerberos, 2), (Scheme::Ntlm, 3), (Scheme::TlsDsk, 4), (Scheme::TlsDsk, 4)];
    for (scheme, count) in table {
        let outcome = only(alice(&lab, &pocket), scheme.clone()).run().await;
        assert!(outcome.report.signed_in, "{scheme}: {}", outcome.sentence());
        assert_eq!(registers(&outcome), [(scheme.as_str(), count, 200)]);
    }
    let later = by_certificate_alone(alice(&lab, &pocket)).run().await;
    assert_eq!(registers(&later), [("TLS-DSK", 4, 200)], "the certificate is enough: {}", later.sentence());
}

#[tokio::test]
async fn first_the_ticket_and_later_the_certificate() {
    let lab = lab().await;
    let pocket = Arc::new(Pocket::default());
    let first = alice(&lab, &pocket).run().await;
    assert_eq!(registers(&first), [("Kerberos", 2, 200)]);
    assert!(only(alice(&lab, &pocket), Scheme::TlsDsk).run().await.report.signed_in);
    let later = alice(&lab, &pocket).run().await;
    assert_eq!(registers(&later), [("TLS-DSK", 4, 200)]);
}

#[tokio::test]
async fn a_revoked_certificate_is_told_dropped_and_replaced_once() {
    let lab = lab().await;
    let pocket = Arc::new(Pocket::default());
    assert!(only(alice(&lab, &pocket), Scheme::TlsDsk).run().await.report.signed_in);
    let aor: Aor = "alice@contoso.test".parse().expect("an address");
    let revoked = pocket.load(&aor).expect("kept");
    assert_eq!(lab.store().revoke(&aor, None, 1).await, Ok(1));

    let refused = by_certificate_alone(alice(&lab, &pocket)).run().await;
    assert_eq!((refused.id(), refused.report.failed_step), ("dsk-cert-revoked", Some(3)), "{}", refused.sentence());
    assert!(pocket.load(&aor).is_none(), "what was refused is not tried again");

    pocket.save(&aor, &revoked).expect("saved");
    let healed = alice(&lab, &pocket).run().await;
    assert!(healed.report.signed_in, "{}", healed.sentence());
    let ways: Vec<(&str, u16)> = registers(&healed).into_iter().map(|(name, _, status)| (name, status)).collect();
    assert_eq!(ways, [("TLS-DSK", 401), ("TLS-DSK", 200)]);
    assert_ne!(pocket.load(&aor).expect("a new one").certificate, revoked.certificate);
}

#[tokio::test]
async fn certificates_that_were_never_published_open_nothing() {
    let lab = lab().await;
    let pocket = Arc::new(Pocket::default());
    let aor: Aor = "alice@contoso.test".parse().expect("an address");
    let now = 1_790_000_000;
    let key = new_key(2048).expect("a key");
    let year = Duration::from_secs(20 * 365 * 86_400);
    let foreign = UserCertificateAuthority::certify(&key, [7; 16], now, year).expect("a certificate");
    let folder = lab.ready().ca.parent().expect("a folder").to_owned();
    let read = |name: &str| std::fs::read(folder.join(name)).expect("the authority's file");
    let ours = UserCertificateAuthority::new(&read("users-ca.der"), &read("users-ca.key")).expect("the authority");
    let asked = request::write("alice@contoso.test", &key).expect("a request");
    let asked = CertificateRequest::read(&asked, &RequestLimits::default()).expect("a request");
    let issue = |authority: &UserCertificateAuthority, name: &str| {
        let lifetime = Duration::from_secs(365 * 86_400);
        let order = Order { address: name, request: &asked, serial: [9; 16], now, lifetime };
        authority.issue(&order).expect("a certificate")
    };
    let stranger = UserCertificateAuthority::new(&foreign, &key).expect("an authority");
    for (certificate, id) in [
        (foreign.clone(), "dsk-cert-self-signed"),
        (issue(&stranger, "alice@contoso.test"), "dsk-cert-foreign"),
        (issue(&ours, "alice@contoso.test"), "dsk-cert-unknown"),
    ] {
        let kept = UserCertificate { certificate, key: key.clone(), begins: 0, ends: i64::MAX };
        pocket.save(&aor, &kept).expect("saved");
        let refused = by_certificate_alone(alice(&lab, &pocket)).run().await;
        assert_eq!(refused.id(), id, "{}", refused.sentence());
    }
}

#[tokio::test]
async fn certificates_past_their_time_or_of_another_user_open_nothing() {
    let lab = lab().await;
    let pocket = Arc::new(Pocket::default());
    let (aor, bob): (Aor, Aor) =
        ("alice@contoso.test".parse().expect("an address"), "bob@contoso.test".parse().expect("an address"));
    let folder = lab.ready().ca.parent().expect("a folder").to_owned();
    let read = |name: &str| std::fs::read(folder.join(name)).expect("the authority's file");
    let ours = UserCertificateAuthority::new(&read("users-ca.der"), &read("users-ca.key")).expect("the authority");
    let key = new_key(2048).expect("a key");
    let asked = request::write("alice@contoso.test", &key).expect("a request");
    let asked = CertificateRequest::read(&asked, &RequestLimits::default()).expect("a request");
    let (hour, day) = (Duration::from_secs(3600), 86_400);
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs()).expect("before the end");
    for (owner, begins, id) in [
        (&aor, now - day, "dsk-cert-expired"),
        (&aor, now + day, "auth-clock-skew"),
        (&bob, now, "dsk-wrong-user-cert"),
    ] {
        let order = Order { address: owner.as_str(), request: &asked, serial: [9; 16], now: begins, lifetime: hour };
        let certificate = ours.issue(&order).expect("a certificate");
        let (device, not_after) = (Uuid::from_u128(1), begins + 3600);
        let publication = Publication { aor: owner.clone(), device, certificate: certificate.clone(), not_after };
        lab.store().publish(publication).await.expect("published");
        let kept = UserCertificate { certificate, key: key.clone(), begins: 0, ends: i64::MAX };
        pocket.save(&aor, &kept).expect("saved");
        let refused = by_certificate_alone(alice(&lab, &pocket)).run().await;
        assert_eq!((refused.id(), refused.report.failed_step), (id, Some(3)), "{}", refused.sentence());
        assert!(pocket.load(&aor).is_none(), "{id}: what was refused is not tried again");
    }
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_and_a_silent_kdc_leads_to_ntlm() {
    let lab = lab().await;
    let pocket = Arc::new(Pocket::default());
    let mut wrong = alice(&lab, &pocket);
    if let Some(log_on) = &mut wrong.sign_in.log_on {
        log_on.password = Some(signin::secret::Password::new("wrong".to_owned()));
    }
    let refused = wrong.run().await;
    assert_eq!(refused.id(), "ntlm-wrong-password", "{}", refused.sentence());
    assert_eq!(registers(&refused), [("Kerberos", 1, 401)], "NTLM is not tried with the same password");

    let mut nowhere = alice(&lab, &pocket);
    let kdcs = vec!["127.0.0.9:9".parse().expect("a KDC")];
    let source = Source { realm: Some(lab.ready().realm.clone()), kdcs, ..Source::default() };
    if let Some(log_on) = &mut nowhere.sign_in.log_on {
        log_on.tickets = Some(Arc::new(Tickets::new(source)));
    }
    let outcome = nowhere.run().await;
    assert!(outcome.report.signed_in, "{}", outcome.sentence());
    assert_eq!(registers(&outcome), [("Kerberos", 1, 401), ("NTLM", 2, 200)]);
    let remarks = format!("{:?}", outcome.report.steps);
    assert!(remarks.contains("no KDC of the realm CONTOSO.TEST answers"), "{remarks}");
}

/// One POST to the ticket service by curl: the status, and the body.
fn curl(lab: &Lab, arguments: &[&str], envs: &[(&str, &str)]) -> String {
    let ready = lab.ready();
    let web = ready.hosts.iter().find(|host| host.fqdn == "web1.contoso.test").and_then(|host| host.https);
    let web = web.expect("web services");
    let resolve = format!("web1.contoso.test:{}:{}", web.port(), web.ip());
    let url = format!("https://web1.contoso.test:{}/WebTicket/WebTicketService.svc", web.port());
    let ca = ready.ca.display().to_string();
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--cacert", &ca, "--resolve", &resolve])
        .args(["--write-out", "\\n%{http_code}", "--header", "Content-Type: text/xml", "--data-binary", REQUEST])
        .args(arguments)
        .arg(&url)
        .envs(envs.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("curl runs");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A request for a ticket for alice.
const REQUEST: &str = concat!(
    "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><t:RequestSecurityToken ",
    "xmlns:t=\"http://docs.oasis-open.org/ws-sx/ws-trust/200512\"><t:TokenType>",
    "http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1#SAMLV1.1</t:TokenType><t:RequestType>",
    "http://schemas.xmlsoap.org/ws/2005/02/trust/Issue</t:RequestType><p:AppliesTo ",
    "xmlns:p=\"http://schemas.xmlsoap.org/ws/2004/09/policy\"><a:EndpointReference ",
    "xmlns:a=\"http://www.w3.org/2005/08/addressing\"><a:Address>https://web1.contoso.test/x</a:Address>",
    "</a:EndpointReference></p:AppliesTo><t:Claims ",
    "Dialect=\"urn:component:Microsoft.Rtc.WebAuthentication.2010:authclaims\"><c:ClaimType ",
    "xmlns:c=\"http://schemas.xmlsoap.org/ws/2006/12/authorization\" ",
    "Uri=\"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/uri\" Optional=\"false\"><c:Value>",
    "sip:alice@contoso.test</c:Value></c:ClaimType></t:Claims><t:Entropy><t:BinarySecret>",
    "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=</t:BinarySecret></t:Entropy><t:KeyType>",
    "http://docs.oasis-open.org/ws-sx/ws-trust/200512/SymmetricKey</t:KeyType></t:RequestSecurityToken></s:Body>",
    "</s:Envelope>"
);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs curl and krb5-user; run by make test"]
async fn curl_obtains_web_tickets_with_ntlm_and_with_kerberos() {
    let lab = lab().await;
    let right = curl(&lab, &["--ntlm", "--user", "CONTOSO\\alice:Alice-in-the-lab-1"], &[]);
    assert!(right.ends_with("\n200") && right.contains("SamlSecurityToken-"), "{right}");
    let wrong = curl(&lab, &["--ntlm", "--user", "CONTOSO\\alice:wrong"], &[]);
    assert!(wrong.ends_with("\n401"), "{wrong}");
    let another = curl(&lab, &["--ntlm", "--user", "CONTOSO\\bob:Bob-in-the-lab-2"], &[]);
    assert!(another.ends_with("\n403"), "{another}");

    let folder = tempfile::tempdir().expect("a folder");
    let cache = format!("FILE:{}", folder.path().join("tickets").display());
    let conf = lab.ready().krb5_conf.as_ref().expect("a realm").display().to_string();
    let envs = [("KRB5_CONFIG", conf.as_str()), ("KRB5CCNAME", cache.as_str())];
    let without = curl(&lab, &["--negotiate", "--user", ":"], &envs);
    assert!(without.ends_with("\n401"), "{without}");
    let kinit = format!("echo Alice-in-the-lab-1 | kinit alice@{}", lab.ready().realm);
    let done = Command::new("sh").args(["-c", &kinit]).envs(envs).output().expect("kinit runs");
    assert!(done.status.success(), "{done:?}");
    let ticket = curl(&lab, &["--negotiate", "--user", ":"], &envs);
    assert!(ticket.ends_with("\n200") && ticket.contains("SamlSecurityToken-"), "{ticket}");
}

#[tokio::test]
async fn a_certificate_alone_finds_its_server_and_signs_in() {
    let lab = lab().await;
    let pocket = Arc::new(Pocket::default());
    assert!(only(alice(&lab, &pocket), Scheme::TlsDsk).run().await.report.signed_in);
    let mut later = by_certificate_alone(alice(&lab, &pocket));
    later.sign_in.discovery.manual.clear();
    let outcome = later.run().await;
    assert!(outcome.report.signed_in, "{}\n{}", outcome.sentence(), outcome.ladder());
    assert!(registers(&outcome).iter().all(|(scheme, ..)| *scheme == "TLS-DSK"));
    let ladder = outcome.ladder();
    assert!(ladder.contains("POST /WebTicket/…/cert") && !ladder.contains("NTLM AUTH"), "{ladder}");

    let aor: Aor = "alice@contoso.test".parse().expect("an address");
    assert_eq!(lab.store().revoke(&aor, None, 1).await, Ok(1));
    let mut refused = by_certificate_alone(alice(&lab, &pocket));
    refused.sign_in.discovery.manual.clear();
    let refused = refused.run().await;
    assert_eq!(refused.id(), "dsk-cert-revoked", "{}", refused.sentence());
}

/// The certificate of alice's first sign-in.
async fn kept_certificate(lab: &Lab) -> UserCertificate {
    let pocket = Arc::new(Pocket::default());
    assert!(only(alice(lab, &pocket), Scheme::TlsDsk).run().await.report.signed_in);
    pocket.load(&"alice@contoso.test".parse().expect("an address")).expect("kept")
}

/// Runs xmlsec1; what it prints, when it agrees.
fn xmlsec(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("xmlsec1").args(arguments).stdin(Stdio::null()).output().expect("xmlsec1 runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

const SIGNED_IDS: [&str; 4] = [
    "--id-attr:Id",
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd:Timestamp",
    "--id-attr:Id",
    "http://schemas.xmlsoap.org/soap/envelope/:Body",
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs xmlsec1 and curl; run by make test"]
async fn messages_signed_with_a_certificate_are_those_of_another_xml_signature() {
    let lab = lab().await;
    let kept = kept_certificate(&lab).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("written");
        path.display().to_string()
    };
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs()).expect("before the end");
    let asked = TokenRequest::read(REQUEST.as_bytes()).expect("a request");
    let ours = signed::write(&asked, &kept.certificate, &kept.key, now).expect("a message");
    let pem = openssl::pkey::PKey::private_key_from_pkcs8(&kept.key).and_then(|key| key.private_key_to_pem_pkcs8());
    let (certificate, key) = (file("user.der", &kept.certificate), file("user.pem", &pem.expect("a key")));

    let verify = |message: &str| {
        let message = file("ours.xml", message.as_bytes());
        xmlsec(&[&["--verify", "--pubkey-cert-der", &certificate][..], &SIGNED_IDS, &[&message]].concat())
    };
    assert!(verify(&ours).is_ok(), "{:?}", verify(&ours));
    assert!(verify(&ours.replace("sip:alice@", "sip:bob@")).is_err());

    // The same message with blanks, another order of attributes, and nothing signed yet.
    let template = ours
        .replace("<s:Body xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" ", "\n  <s:Body ")
        .replace("<Reference ", "\n    <Reference ");
    let empty = |text: &str, name: &str| {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        text.split(&open)
            .enumerate()
            .map(|(n, part)| match (n, part.split_once(&close)) {
                (1.., Some((_, rest))) => format!("{open}{close}{rest}"),
                _ => part.to_owned(),
            })
            .collect::<String>()
    };
    let template = file("template.xml", empty(&empty(&template, "DigestValue"), "SignatureValue").as_bytes());
    let theirs = xmlsec(&[&["--sign", "--privkey-pem", &key][..], &SIGNED_IDS, &[&template]].concat());
    let theirs = file("theirs.xml", theirs.expect("signed").as_bytes());
    let post = |message: &str| {
        let ready = lab.ready();
        let web = ready.hosts.iter().find(|host| host.fqdn == "web1.contoso.test").and_then(|host| host.https);
        let web = web.expect("web services");
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "20", "--cacert", &ready.ca.display().to_string()])
            .args(["--resolve", &format!("web1.contoso.test:{}:{}", web.port(), web.ip())])
            .args(["--write-out", "\n%{http_code}", "--header", "Content-Type: text/xml"])
            .args(["--data-binary", &format!("@{message}")])
            .arg(format!("https://web1.contoso.test:{}/WebTicket/WebTicketService.svc/cert", web.port()))
            .output()
            .expect("curl runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let first = post(&theirs);
    assert!(first.ends_with("\n200") && first.contains("SamlSecurityToken-"), "{first}");
    let again = post(&theirs);
    assert!(again.ends_with("\n500") && again.contains("28903"), "{again}");
}
