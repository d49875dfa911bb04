//! Endpoints that keep to no rule in their conversations: answers that are none, other people's dialogs, and too much of
//! everything. In memory and in virtual time.

mod phone;
mod world;

use phone::dialog::{BOB, alice_and_bob, answer, endpoint, first, inside, invite, last, only, status, talk};
use signin::converse::server::Limits;
use signin::server::Settings;
use sip::dialog::Dialog;
use sip::{Draft, Message, Name};
use std::time::Duration;
use world::{Plan, World};

/// What was drafted, altered before it is signed: its headers with `to` for `from`, below the start of `altered`.
fn alter(drafted: Draft, from: &str, to: &str, mut altered: Draft) -> Draft {
    let text = String::from_utf8(drafted.finish()).expect("text");
    assert!(text.contains(from), "{text}");
    let text = text.replacen(from, to, 1);
    let message = Message::parse(text.as_bytes()).expect("a message");
    for header in message.headers().iter().filter(|h| h.name != Name::ContentLength) {
        altered.header(header.spelling, header.value);
    }
    altered
}

/// Bob's answer to `request`, taking it.
fn taken(request: &str) -> Draft {
    Draft::answer(&Message::parse(request.as_bytes()).expect("a message"), 200, "OK", "b")
}

#[test]
fn answers_that_are_none() {
    let world = World::contoso();
    world.user("mallory", Some("pool2"), None);
    let (mut alice, mut bob) = alice_and_bob(&world);
    let mut mallory = endpoint(&world, "mallory", "fe03", "c1", "mallory");
    invite(&mut alice, BOB, "c1");
    let arrived = only(&mut bob);
    alice.received();

    let altered = |from: &str, to: &str| alter(taken(&arrived), from, to, Draft::response(200, "OK"));
    bob.send(altered("z9hG4bK", "z9hG4bK0"));
    bob.send(altered("CSeq: 1 INVITE", "CSeq: 2 INVITE"));
    bob.send(altered("CSeq: 1 INVITE", "CSeq: 1 MESSAGE"));
    bob.send(altered("Call-ID: c1", "Call-ID: c2"));
    bob.send(altered("tag=from-c1", "tag=from-c2"));
    bob.send(altered(";tag=b\r\n", "\r\n"));
    mallory.send(altered("c1", "c1"));
    let mut forged = altered("c1", "c1");
    let mut keys = mallory.take_association();
    keys.sign_as_client(&mut forged, 1, None).expect("signable");
    bob.send_unsigned(forged);
    assert!(alice.received().is_empty(), "{:#?}", world.transcript());

    // An endpoint that wants her credentials gets none, and she no challenge.
    let mut challenge =
        Draft::answer(&Message::parse(arrived.as_bytes()).expect("a message"), 401, "Unauthorized", "b");
    challenge.header("WWW-Authenticate", "NTLM realm=\"x\", targetname=\"y\", version=4");
    bob.send(challenge);
    let refused = only(&mut alice);
    assert_eq!(status(&refused), (480, Some(1006)));
    assert!(!refused.contains("WWW-Authenticate"));
    answer(&mut bob, &arrived, 200, "b");
    assert!(alice.received().is_empty(), "the transaction is over");
    assert_eq!(world.at("fe03").conversations(), (0, 0, 0));
}

#[test]
fn unsigned_answers_are_taken_from_the_connection_that_was_asked() {
    let world = World::contoso();
    let (mut alice, mut bob) = alice_and_bob(&world);
    alice.send(first(&alice, "MESSAGE", BOB, "c1"));
    let arrived = only(&mut bob);
    bob.send_unsigned(taken(&arrived));
    assert_eq!(status(&only(&mut alice)).0, 200);
}

#[test]
fn endless_ringing_is_cut_short() {
    let world = World::contoso();
    let (mut alice, mut bob) = alice_and_bob(&world);
    invite(&mut alice, BOB, "c1");
    let arrived = only(&mut bob);
    for _ in 0..1000 {
        answer(&mut bob, &arrived, 180, "b");
    }
    assert_eq!(alice.received().len(), 1 + 16);
}

#[test]
fn nobody_reaches_into_the_dialog_of_others() {
    let world = World::contoso();
    world.user("mallory", Some("pool1"), None);
    let (mut alice, mut bob) = alice_and_bob(&world);
    let mut mallory = endpoint(&world, "mallory", "fe01", "c1", "mallory");
    let (mut hers, mut his) = talk(&mut alice, &mut bob, BOB, "c1");
    for method in ["MESSAGE", "BYE", "INFO"] {
        let mut stolen = Draft::request(method, hers.remote_target());
        stolen
            .header("Via", "SIP/2.0/TLS 198.51.100.7:50001")
            .header("From", mallory.address("from-c1"))
            .header("To", "<sip:bob@contoso.test>;tag=to-c1")
            .header("Call-ID", "c1")
            .header("CSeq", format_args!("7 {method}"));
        mallory.send(stolen);
        assert_eq!(status(&only(&mut mallory)).0, 481, "{method}");
    }
    assert!(bob.received().is_empty());
    alice.send(inside(&mut hers, "MESSAGE", "hello"));
    assert!(only(&mut bob).starts_with("MESSAGE "));
    bob.send(inside(&mut his, "MESSAGE", "hi"));
    assert!(last(&mut alice).starts_with("MESSAGE "));
}

#[test]
fn too_much_too_long_too_far() {
    let world = World::contoso();
    let limits = Limits { in_progress: 3, body: 100, dialogs: 2, ..Limits::default() };
    let settings = Settings { conversations: limits, ..Settings::default() };
    world.server(Plan { settings, ..Plan::front_end("fe01", "pool1") });
    let (mut alice, mut bob) = alice_and_bob(&world);
    let mut codes = Vec::new();
    for n in 0..5 {
        alice.send(first(&alice, "MESSAGE", BOB, &format!("m{n}")));
        codes.extend(alice.received().iter().map(|m| status(m)));
    }
    assert_eq!(codes, [(503, Some(17000)), (503, Some(17000))]);
    for request in bob.received() {
        answer(&mut bob, &request, 200, "b");
    }
    assert_eq!(alice.received().len(), 3);
    alice.send(first(&alice, "MESSAGE", BOB, "again"));
    assert!(alice.received().is_empty(), "there is room again");
    alice.send(first(&alice, "MESSAGE", BOB, "again"));
    assert_eq!(bob.received().len(), 1, "the same request again is not another one");

    let mut long = first(&alice, "MESSAGE", BOB, "long");
    long.body("text/plain", "x".repeat(101));
    alice.send(long);
    assert_eq!(status(&only(&mut alice)), (413, Some(4008)));

    for (odd, code) in [("Max-Forwards: 0", 483), ("Max-Forwards: many", 400), ("Proxy-Require: privacy", 420)] {
        let request = first(&alice, "MESSAGE", BOB, "odd");
        alice.send(alter(request, "Max-Forwards: 70", odd, Draft::request("MESSAGE", BOB)));
        assert_eq!(status(&only(&mut alice)).0, code);
    }

    let mut dialogs: Vec<Dialog> = Vec::new();
    for n in 0..3 {
        world.pass(Duration::from_secs(40));
        alice.received();
        dialogs.push(talk(&mut alice, &mut bob, BOB, &format!("d{n}")).0);
    }
    for (dialog, open) in dialogs.iter_mut().zip([false, true, true]) {
        alice.send(inside(dialog, "MESSAGE", "hello"));
        assert_eq!(!bob.received().is_empty(), open, "the one used least recently made room");
        let refused = alice.received().first().map(|m| status(m).0);
        assert_eq!(refused, (!open).then_some(481));
    }
}

#[test]
fn nobody_makes_another_unreachable_by_asking_and_asking() {
    let world = World::contoso();
    let limits = Limits { awaited: 10, awaited_of_sender: 4, ..Limits::default() };
    let settings = Settings { conversations: limits, ..Settings::default() };
    world.server(Plan { settings, ..Plan::front_end("fe03", "pool2") });
    world.alias("pool2", "fe03");
    let mut alice = endpoint(&world, "alice", "fe01", "a1", "alice");
    let mut other = endpoint(&world, "alice", "fe01", "a2", "alice again");
    let mut frank = endpoint(&world, "frank", "fe03", "f1", "frank");
    let mut bob = endpoint(&world, "bob", "fe03", "b1", "bob");
    for n in 0..10 {
        let phone = if n % 2 == 0 { &mut alice } else { &mut other };
        invite(phone, BOB, &format!("i{n}"));
    }
    let asked = bob.received();
    assert_eq!(asked.len(), 4, "of one user, whatever endpoint it uses");
    let refused = alice.received().into_iter().chain(other.received()).filter(|m| status(m).0 == 480).count();
    assert_eq!(refused, 6);
    frank.send(first(&frank, "MESSAGE", BOB, "f"));
    assert_eq!(bob.received().len(), 1, "there is room for others");
    answer(&mut bob, &asked[0], 486, "b");
    bob.received();
    invite(&mut alice, BOB, "again");
    assert_eq!(bob.received().len(), 1, "and for her, once one is answered");
}
