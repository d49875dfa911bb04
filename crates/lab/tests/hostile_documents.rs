//! What a signed-in user may send that no client of good will does, over real sockets: each gets its status with
//! diagnostics, the connection stays, and others neither hear of it nor wait for it.

mod support;

use net::client::Sockets;
use signin::io::Io;
use signin::name::Aor;
use signin::provision::client::{Request, Response, Session as _, Settled};
use signin::provision::contacts::message::{SOAP, write_soap};
use signin::provision::contacts::{Contact, ContactChange, Edit};
use signin::provision::presence::batch::read_presence;
use signin::provision::presence::message::{
    CATEGORIES, ContainerChange, ExpireType, Member, PUBLISH, Publish, SET_CONTAINERS, SET_SUBSCRIBERS,
    read_categories, write_publish, write_set_containers,
};
use signin::session::Session;
use sip::{Message, Name};
use std::time::Duration;
use support::{Attempt, SHORT, alice_signs_in, lab};

const BATCH: &str = "application/msrtc-adrl-categorylist+xml";

fn aor(name: &str) -> Aor {
    format!("{name}@contoso.test").parse().expect("an address")
}

/// Signs in and stays.
async fn arrive(attempt: Attempt) -> (Session<'static>, Settled) {
    let sockets: &'static dyn Io = Box::leak(Box::new(Sockets::new(attempt.sockets).expect("good sockets")));
    let sign_in = Box::leak(Box::new(attempt.sign_in));
    let signed_in = sign_in.run(sockets).await.map_err(|verdict| verdict.sentence).expect("signs in");
    (signed_in.session, signed_in.settled)
}

fn service(to: &Aor, content_type: &'static str, body: impl Into<String>) -> Request {
    let body = Some((content_type, body.into()));
    Request { method: "SERVICE", uri: to.to_uri(), headers: Vec::new(), body, within: None }
}

fn subscribe(to: &Aor, event: &str, content_type: &'static str, body: &str) -> Request {
    let headers = vec![
        ("Event", event.to_owned()),
        ("Accept", "*/*".to_owned()),
        ("Supported", "ms-piggyback-first-notify".to_owned()),
    ];
    Request {
        method: "SUBSCRIBE",
        uri: to.to_uri(),
        headers,
        body: Some((content_type, body.to_owned())),
        within: None,
    }
}

async fn ask(session: &mut Session<'_>, request: Request) -> Response {
    session.exchange(vec![request]).await.remove(0).expect("an answer")
}

/// The status of a refusal, which always says why, and `200`, which needs no reason.
fn verdict(answer: &Response) -> u16 {
    let why = answer.header("ms-diagnostics").unwrap_or_default();
    assert!(answer.code == 200 || why.contains("reason=\"") && why.contains("source=\""), "{answer:?}");
    answer.code
}

/// Nothing comes within a while.
async fn hears_nothing(session: &mut Session<'_>) {
    if let Ok(bytes) = session.next_request(SHORT).await {
        panic!("told of it: {}", String::from_utf8_lossy(&bytes));
    }
}

/// A note in a container, as its first version.
fn note(owner: &Aor, container: u16, text: &str) -> String {
    let value = format!("<note xmlns=\"http://schemas.microsoft.com/2006/09/sip/note\"><body>{text}</body></note>");
    let (category, expire) = ("note".to_owned(), ExpireType::Static);
    write_publish(owner, &[Publish { category, instance: 0, container, version: 0, expire, value: Some(value) }])
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_mean_harm() {
    let lab = lab().await;
    let (mut alice, _) = arrive(Attempt::of(&lab, "alice")).await;
    let (mut bob, _) = arrive(Attempt::of(&lab, "bob")).await;
    let deep = "<a>".repeat(100) + &"</a>".repeat(100);
    let laughs: String = (1..20).map(|n| format!("<!ENTITY a{n} '&a{};&a{};'>", n - 1, n - 1)).collect();
    let documents = [
        "<".to_owned(),
        "<publish".to_owned(),
        "<publish></batchSub>".to_owned(),
        "\u{feff}\u{1}".to_owned(),
        deep.clone(),
        format!("<publish><publications uri='sip:bob@contoso.test'>{deep}</publications></publish>"),
        "<!DOCTYPE x SYSTEM 'http://contoso.test/x.dtd'><publish/>".to_owned(),
        "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><publish>&e;</publish>".to_owned(),
        format!("<!DOCTYPE x [<!ENTITY a0 'ha'>{laughs}]><publish>&a19;</publish>"),
        "<publish>&nobody;</publish>".to_owned(),
        format!("<batchSub>{}</batchSub>", "<action/>".repeat(60_000)),
    ];
    let me = aor("bob");
    for document in &documents {
        for content_type in [SOAP, PUBLISH, SET_CONTAINERS, SET_SUBSCRIBERS] {
            let answer = ask(&mut bob, service(&me, content_type, document.clone())).await;
            assert_eq!(verdict(&answer), 400, "{content_type} {document:.60}");
        }
        for (event, content_type) in [
            ("vnd-microsoft-provisioning-v2", "application/vnd-microsoft-roaming-provisioning-v2+xml"),
            ("vnd-microsoft-roaming-self", "application/vnd-microsoft-roaming-self+xml"),
            ("presence", BATCH),
        ] {
            let answer = ask(&mut bob, subscribe(&me, event, content_type, document)).await;
            assert_eq!(verdict(&answer), 400, "{event} {document:.60}");
        }
    }
    // The same connection still serves him, and alice, who watches him, hears of what was good only.
    assert_eq!(verdict(&ask(&mut bob, service(&me, PUBLISH, note(&me, 200, "still here"))).await), 200);
    loop {
        let bytes = alice.next_request(Duration::from_secs(5)).await.expect("told of it");
        let message = Message::parse(&bytes).expect("a request");
        if String::from_utf8_lossy(message.body()).contains("still here") {
            break;
        }
        let seen = String::from_utf8_lossy(message.body()).into_owned();
        assert!(seen.contains("<availability>3500<"), "bob has arrived, nothing more: {seen}");
    }
    hears_nothing(&mut alice).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_somebody_elses_or_nowhere() {
    let lab = lab().await;
    let (mut alice, _) = arrive(Attempt::of(&lab, "alice")).await;
    let (mut carol, _) = arrive(Attempt::of(&lab, "carol")).await;
    let (own, others) = (aor("carol"), aor("alice"));
    let member =
        |id, version| write_set_containers(&[ContainerChange { id, version, members: vec![(true, Member::Everyone)] }]);
    let removal = ContactChange { delta_num: Some(2), edit: Edit::DeleteContact(aor("bob")) };
    let cases = [
        ("a publication for alice", service(&own, PUBLISH, note(&others, 200, "x")), 403),
        ("at alice", service(&others, PUBLISH, note(&others, 200, "x")), 403),
        ("her own, sent to alice", service(&others, PUBLISH, note(&own, 200, "x")), 403),
        ("alice's containers", service(&others, SET_CONTAINERS, member(400, 0)), 403),
        ("alice's contacts", service(&others, SOAP, write_soap(&removal)), 403),
        ("alice's list", subscribe(&others, "vnd-microsoft-roaming-contacts", SOAP, ""), 403),
        ("alice's own presence", subscribe(&others, "vnd-microsoft-roaming-self", SOAP, ""), 403),
        ("a container of the server's", service(&own, SET_CONTAINERS, member(2, 0)), 403),
        ("a version of a container nobody made", service(&own, SET_CONTAINERS, member(777, 9)), 409),
        ("a container nobody made", service(&own, SET_CONTAINERS, member(777, 0)), 200),
        ("one with no such number", service(&own, SET_CONTAINERS, member(40_000, 0)), 400),
        ("into a container nobody made", service(&own, PUBLISH, note(&own, 778, "x")), 200),
        ("into one with no such number", service(&own, PUBLISH, note(&own, 40_000, "x")), 400),
        ("a user there is not", subscribe(&aor("nobody"), "presence", CATEGORIES, ""), 404),
    ];
    for (what, mut request, code) in cases {
        if request.body.as_ref().is_some_and(|(_, body)| body.is_empty()) {
            request.body = None;
        }
        assert_eq!(verdict(&ask(&mut carol, request).await), code, "{what}");
    }
    let weather = ask(&mut carol, subscribe(&own, "weather", SOAP, "")).await;
    assert_eq!((weather.code, weather.header("Allow-Events").is_some()), (489, true));
    // Alice has heard that carol arrived; of the rest nothing was for her.
    while let Ok(bytes) = alice.next_request(SHORT).await {
        let told = String::from_utf8_lossy(&bytes).into_owned();
        assert!(told.contains("sip:carol@contoso.test") && !told.contains(">x<"), "{told}");
    }
    alice_signs_in(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_himself_is_told_once() {
    let lab = lab().await;
    let (mut bob, settled) = arrive(Attempt::of(&lab, "bob")).await;
    let me = aor("bob");
    let list = settled.contacts.expect("a list");
    let contact = Contact { name: "Me".to_owned(), ..Contact::new(me.clone()) };
    let change = ContactChange { delta_num: Some(list.delta_num), edit: Edit::SetContact(contact) };
    assert_eq!(verdict(&ask(&mut bob, service(&me, SOAP, write_soap(&change))).await), 200);
    let batch = "<batchSub uri='sip:bob@contoso.test'><action name='subscribe' id='1'><adhocList>\
        <resource uri='sip:bob@contoso.test'><context/></resource><resource uri='sip:bob@contoso.test'/></adhocList>\
        <categoryList><category name='state'/><category name='note'/></categoryList></action></batchSub>";
    let answer = ask(&mut bob, subscribe(&me, "presence", BATCH, batch)).await;
    assert_eq!(verdict(&answer), 200);
    let seen = read_presence(answer.header("Content-Type").unwrap_or_default(), &answer.body).expect("presence");
    assert_eq!(seen.users.len(), 1, "named twice, told once");
    assert_eq!((&seen.users[0].aor, seen.users[0].availability()), (&me, Some(3_500)));

    let note = note(&me, 400, "to myself");
    assert_eq!(verdict(&ask(&mut bob, service(&me, PUBLISH, note)).await), 200);
    let mut told = Vec::new();
    while let Ok(bytes) = bob.next_request(SHORT).await {
        let message = Message::parse(&bytes).expect("a request");
        let kind = message.header(Name::ContentType).unwrap_or_default().to_owned();
        let body = String::from_utf8_lossy(message.body()).into_owned();
        assert!(!body.contains("<subscriber "), "nobody asks him whether he may add himself: {body}");
        if kind == CATEGORIES && body.contains("to myself") {
            assert!(read_categories(body.as_bytes()).is_ok());
            told.push(kind);
        }
    }
    assert_eq!(told, [CATEGORIES]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_megabytes_of_contacts() {
    let lab = lab().await;
    let (mut carol, settled) = arrive(Attempt::of(&lab, "carol")).await;
    let me = aor("carol");
    let before = settled.contacts.expect("a list");
    // One by one: the list takes as much as every client still reads, and then no more.
    let mut taken = 0;
    let last = loop {
        let contact = Contact {
            aor: aor(&format!("contact{taken}")),
            name: String::new(),
            groups: Vec::new(),
            subscribed: false,
            external_uri: String::new(),
            extension: format!("<contactExtension><x>{}</x></contactExtension>", "y".repeat(4_000)),
        };
        let change = ContactChange { delta_num: Some(before.delta_num + taken), edit: Edit::SetContact(contact) };
        let answer = ask(&mut carol, service(&me, SOAP, write_soap(&change))).await;
        if answer.code != 200 {
            break answer;
        }
        taken += 1;
        assert!(taken < 2_600, "ten megabytes were taken");
    };
    assert_eq!(verdict(&last), 413);
    assert!(taken > 100, "only {taken} contacts were taken");
    // What was taken is told whole to the next machine.
    let (other, settled) = arrive(Attempt::of(&lab, "carol").epid("00ca401002")).await;
    let after = settled.contacts.expect("a list");
    assert_eq!(after.contacts.len(), before.contacts.len() + taken as usize);
    other.sign_out().await;

    // All at once: refused by its length, before it is read.
    let contact = "<m:setContact><m:URI>sip:x@contoso.test</m:URI></m:setContact>";
    let whole =
        format!("<s:Envelope><s:Body>{}</s:Body></s:Envelope>", contact.repeat(10 * 1024 * 1024 / contact.len()));
    let answer = carol.exchange(vec![service(&me, SOAP, whole)]).await.remove(0);
    assert!(answer.as_ref().map_or(true, |answer| answer.code == 513), "{answer:?}");
    alice_signs_in(&lab).await;
    let (again, settled) = arrive(Attempt::of(&lab, "carol")).await;
    assert_eq!(settled.contacts.expect("a list"), after);
    again.sign_out().await;
}
