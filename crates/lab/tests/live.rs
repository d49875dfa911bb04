//! What one endpoint changes, others see: another user in another pool, another endpoint of the same user, and
//! everybody after the servers were started again.

mod support;

use lab::{Lab, LabConfig, STORE_FILE};
use net::client::Sockets;
use signin::io::Io;
use signin::name::Aor;
use signin::provision::client::{Request, Session as _, Settled};
use signin::provision::contacts::message::{ContactDocument, SOAP, read_document, write_soap};
use signin::provision::contacts::{ContactChange, Edit};
use signin::provision::presence::batch::read_presence;
use signin::provision::presence::message::{CATEGORIES, ExpireType, PUBLISH, Publish, write_publish};
use signin::session::Session;
use sip::{Message, Name};
use std::time::Duration;
use store::Store;
use support::{Attempt, lab};

/// Within this, a change is to be seen elsewhere.
const SOON: Duration = Duration::from_secs(1);

/// Signs in and stays.
async fn arrive(attempt: Attempt) -> (Session<'static>, Settled) {
    let sockets: &'static dyn Io = Box::leak(Box::new(Sockets::new(attempt.sockets).expect("good sockets")));
    let sign_in = Box::leak(Box::new(attempt.sign_in));
    match sign_in.run(sockets).await {
        Ok(signed_in) => (signed_in.session, signed_in.settled),
        Err(verdict) => panic!("{}", verdict.sentence),
    }
}

async fn service(session: &mut Session<'_>, content_type: &'static str, body: String) -> u16 {
    let uri = session.registration().aor.to_uri();
    let request =
        Request { method: "SERVICE", uri, headers: Vec::new(), body: Some((content_type, body)), within: None };
    session.exchange(vec![request]).await.remove(0).expect("an answer").code
}

/// A note of bob's for his colleagues.
fn note(text: &str, version: u32) -> String {
    let note = Publish {
        category: "note".to_owned(),
        instance: 0,
        container: 200,
        version,
        expire: ExpireType::Static,
        value: Some(format!(
            "<note xmlns=\"http://schemas.microsoft.com/2006/09/sip/note\"><body>{text}</body></note>"
        )),
    };
    write_publish(&"bob@contoso.test".parse().expect("an address"), &[note])
}

/// The body of the next notification of this kind.
async fn told(session: &mut Session<'_>, content_type: &str) -> String {
    loop {
        let bytes = session.next_request(SOON).await.expect("told within a second");
        let message = Message::parse(&bytes).expect("a request");
        assert_eq!(message.method(), Some("BENOTIFY"));
        if message.header(Name::ContentType) == Some(content_type) {
            return String::from_utf8_lossy(message.body()).into_owned();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_travel_between_pools_and_endpoints() {
    let lab = lab().await;
    let (mut alice, settled) = arrive(Attempt::of(&lab, "alice").epid("00a11ce001")).await;
    let (mut other, _) = arrive(Attempt::of(&lab, "alice").epid("00a11ce002")).await;
    let (mut bob, _) = arrive(Attempt::of(&lab, "bob").epid("000b0b0001")).await;
    let seen = told(&mut alice, CATEGORIES).await;
    assert!(seen.contains("sip:bob@contoso.test") && seen.contains("<availability>3500<"), "bob has arrived: {seen}");

    assert_eq!(service(&mut bob, PUBLISH, note("Back at noon", 0)).await, 200);
    let seen = told(&mut alice, CATEGORIES).await;
    assert!(seen.contains("Back at noon"), "{seen}");
    assert_eq!(service(&mut bob, PUBLISH, note("Back at one", 0)).await, 409, "the version has gone on");

    let mut list = settled.contacts.expect("a list");
    let carol = "carol@contoso.test".parse().expect("an address");
    let change = ContactChange { delta_num: Some(list.delta_num), edit: Edit::DeleteContact(carol) };
    assert_eq!(service(&mut other, SOAP, write_soap(&change)).await, 200);
    let delta = told(&mut alice, "application/vnd-microsoft-roaming-contacts+xml").await;
    match read_document(delta.as_bytes()).expect("a document") {
        ContactDocument::Delta(delta) => assert!(list.follow(delta)),
        ContactDocument::List(_) => panic!("a delta was enough"),
    }
    assert!(list.contacts.iter().all(|contact| contact.aor.user() != "carol"));

    bob.sign_out().await;
    let seen = told(&mut alice, CATEGORIES).await;
    assert!(seen.contains("<availability>18500<"), "{seen}");
}

/// What an endpoint is told when administration, which is another process, changes its user.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_barred_or_moved_by_administration_learns_it_within_seconds() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = LabConfig { state: Some(folder.path().to_owned()), ..LabConfig::default() };
    let lab = Lab::start(&config).await.expect("free ports");
    let admin = Store::open(&folder.path().join(STORE_FILE)).expect("a store in use can be opened");
    let address = |name: &str| format!("{name}@contoso.test").parse::<Aor>().expect("an address");
    let (mut alice, _) = arrive(Attempt::of(&lab, "alice").epid("00a11ce001")).await;
    let (mut outside, _) = arrive(Attempt::of(&lab, "alice").epid("00a11ce002").outside(&lab)).await;
    let (mut bob, _) = arrive(Attempt::of(&lab, "bob").epid("000b0b0001")).await;
    let (mut frank, _) = arrive(Attempt::of(&lab, "frank").epid("0f4a2c0001")).await;

    admin.modify_user(&address("alice"), |account| account.user.remote_access = false).await.expect("changed");
    assert_eq!(put_out(&mut outside).await, ("rejected".to_owned(), Some(4141)));
    admin.disable(&address("alice")).await.expect("disabled");
    assert_eq!(put_out(&mut alice).await, ("rejected".to_owned(), Some(4141)));
    let home = admin.account(&address("bob")).and_then(|bob| bob.user.home_pool).expect("has a home");
    let other = if home.starts_with("pool1") { "pool2.contoso.test" } else { "pool1.contoso.test" };
    admin.set_home(&address("bob"), Some(other), None).await.expect("moved");
    assert_eq!(put_out(&mut bob).await, ("deactivated".to_owned(), Some(4142)));

    assert_eq!(frank.refresh().await.expect("an answer").code, 200, "nobody else is concerned");
    let again = Attempt::of(&lab, "bob").epid("000b0b0001").run().await;
    assert!(again.report.signed_in, "{}", again.sentence());
    assert!(!Attempt::of(&lab, "alice").run().await.report.signed_in);
}

/// The event and the error id of the NOTIFY that ends a registration.
async fn put_out(session: &mut Session<'_>) -> (String, Option<u32>) {
    loop {
        let bytes = session.next_request(3 * SOON).await.expect("told within seconds");
        let message = Message::parse(&bytes).expect("a request");
        if message.header(Name::Event) == Some("registration-notify") {
            let event = String::from_utf8_lossy(message.body()).trim().replace("deregistered;event=", "");
            return (event, signin::reply::diagnostics(&message).0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lasts_is_there_when_the_servers_start_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = LabConfig { state: Some(folder.path().to_owned()), ..LabConfig::default() };
    let lab = Lab::start(&config).await.expect("free ports");
    let (mut bob, _) = arrive(Attempt::of(&lab, "bob")).await;
    assert_eq!(service(&mut bob, PUBLISH, note("On holiday", 0)).await, 200);
    drop((bob, lab));

    let lab = Lab::start(&config).await.expect("free ports");
    let (mut alice, _) = arrive(Attempt::of(&lab, "alice")).await;
    let uri = "sip:bob@contoso.test".to_owned();
    let poll = Request {
        method: "SUBSCRIBE",
        uri,
        headers: vec![
            ("Event", "presence".to_owned()),
            ("Expires", "0".to_owned()),
            ("Accept", CATEGORIES.to_owned()),
            ("Supported", "ms-piggyback-first-notify".to_owned()),
        ],
        body: None,
        within: None,
    };
    let answer = alice.exchange(vec![poll]).await.remove(0).expect("an answer");
    assert_eq!(answer.code, 200);
    assert!(String::from_utf8_lossy(&answer.body).contains("On holiday"), "{answer:?}");
    let seen = read_presence(CATEGORIES, &answer.body).expect("presence");
    assert_eq!(seen.users[0].availability(), Some(18_500), "and nobody is there");
}
