//! Instant messages through real servers, in memory and in virtual time: who is asked, who is told what, and whose keys prove
//! it. Every message an endpoint gets is checked with the keys of that endpoint.

mod phone;
mod world;

use phone::Phone;
use phone::dialog::{
    BOB, alice_and_bob, answer, codes, desk_and_home, endpoint, first, inside, invite, last, methods, only, status,
    talk,
};
use signin::converse::server::Limits;
use signin::server::Settings;
use sip::{Draft, Message, Name};
use std::time::Duration;
use world::{Plan, World, topology};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_message_each_way_between_two_pools() {
    let world = World::contoso();
    let (mut alice, mut bob) = alice_and_bob(&world);
    let (mut hers, mut his) = talk(&mut alice, &mut bob, BOB, "c1");

    alice.send(inside(&mut hers, "MESSAGE", "hello"));
    let message = only(&mut bob);
    assert!(message.ends_with("\r\n\r\nhello"), "{message}");
    answer(&mut bob, &message, 200, "");
    assert_eq!(status(&only(&mut alice)), (200, None));

    bob.send(inside(&mut his, "MESSAGE", "hi, Alice"));
    let message = only(&mut alice);
    assert!(message.ends_with("\r\n\r\nhi, Alice"), "{message}");
    answer(&mut alice, &message, 200, "");
    assert_eq!(status(&only(&mut bob)), (200, None));

    bob.send(inside(&mut his, "BYE", ""));
    let bye = only(&mut alice);
    answer(&mut alice, &bye, 200, "");
    assert_eq!(status(&only(&mut bob)), (200, None));

    assert_eq!(
        world.transcript(),
        [
            "alice → fe01  INVITE  {signed}",
            "alice ← fe01  100 (INVITE)  {signed}",
            "bob ← fe03  INVITE  {signed}",
            "bob → fe03  200 (INVITE)  {signed}",
            "alice ← fe01  200 (INVITE)  {signed}",
            "alice → fe01  ACK  {signed}",
            "bob ← fe03  ACK  {signed}",
            "alice → fe01  MESSAGE  {signed}",
            "bob ← fe03  MESSAGE  {signed}",
            "bob → fe03  200 (MESSAGE)  {signed}",
            "alice ← fe01  200 (MESSAGE)  {signed}",
            "bob → fe03  MESSAGE  {signed}",
            "alice ← fe01  MESSAGE  {signed}",
            "alice → fe01  200 (MESSAGE)  {signed}",
            "bob ← fe03  200 (MESSAGE)  {signed}",
            "bob → fe03  BYE  {signed}",
            "alice ← fe01  BYE  {signed}",
            "alice → fe01  200 (BYE)  {signed}",
            "bob ← fe03  200 (BYE)  {signed}",
        ]
    );
    for host in ["fe01", "fe03"] {
        assert_eq!(world.at(host).conversations(), (0, 0, 0), "nothing is left at {host}");
    }
    alice.send(inside(&mut hers, "MESSAGE", "still there?"));
    assert_eq!(status(&only(&mut alice)).0, 481, "the dialog ended with BYE");
}

#[test]
fn within_one_server_and_within_one_pool() {
    let world = World::contoso();
    let mut bob = endpoint(&world, "bob", "fe03", "b1", "bob");
    let mut frank = endpoint(&world, "frank", "fe03", "f1", "frank");
    let (mut hers, _) = talk(&mut frank, &mut bob, BOB, "same");
    assert_eq!(hers.route_set(), ["<sip:fe03.contoso.test;transport=tls;lr>"]);
    frank.send(inside(&mut hers, "MESSAGE", "hello"));
    assert!(only(&mut bob).starts_with("MESSAGE "));

    let world = World::empty();
    for host in ["fe01", "fe02"] {
        world.server(Plan { topology: topology(&[("pool1", &["fe01", "fe02"])]), ..Plan::front_end(host, "pool1") });
    }
    let at = |wanted: &str| {
        let found = (0..).map(|n| format!("user{n}")).find(|name| {
            world.user(name, Some("pool1"), None);
            Phone::new(&world, name, wanted).register() == 200
        });
        let name = found.expect("users without end");
        (endpoint(&world, &name, wanted, "01", &name), format!("sip:{name}@contoso.test"))
    };
    let ((mut one, _), (mut other, uri)) = (at("fe01"), at("fe02"));
    let (mut hers, mut his) = talk(&mut one, &mut other, &uri, "pool");
    let routes = ["<sip:fe01.contoso.test;transport=tls;lr>", "<sip:fe02.contoso.test;transport=tls;lr>"];
    assert_eq!(hers.route_set(), routes);
    assert!(his.route_set().iter().eq(routes.iter().rev()), "the nearest first");
    one.send(inside(&mut hers, "MESSAGE", "hello"));
    assert!(only(&mut other).starts_with("MESSAGE "));
    other.send(inside(&mut his, "INFO", "typing"));
    assert!(last(&mut one).starts_with("INFO "));
}

#[test]
fn what_passes_and_what_changes() {
    let world = World::contoso();
    let (mut alice, mut bob) = alice_and_bob(&world);
    let mut request = first(&alice, "INVITE", BOB, "c1");
    request
        .header("P-Asserted-Identity", "\"The Boss\" <sip:boss@contoso.test>")
        .header("ms-text-format", "text/plain; charset=UTF-8;ms-body=SGVsbG8=")
        .header("Ms-Conversation-ID", "481236")
        .header("X-Unknown", "kept  as it is")
        .header("MS-Asserted-Verification-Level", "ms-source-verified-user=verified")
        .header("ms-edge-proxy-message-trust", "ms-source-type=AuthorizedServer;ms-source-verified-user=verified")
        .header("Supported", "ms-sender")
        .body("application/sdp", "v=0\r\nm=message 5060 sip null\r\n");
    alice.send(request);
    let arrived = only(&mut bob);
    let message = Message::parse(arrived.as_bytes()).expect("a message");
    let uri = message.request_uri().expect("a request");
    assert!(uri.starts_with("sip:198.51.100.7:") && uri.contains(";ms-received-cid="), "his own Contact: {uri}");
    let vias: Vec<&str> = message.all(Name::Via).collect();
    assert!(vias[0].starts_with("SIP/2.0/TLS fe01.contoso.test:5061;branch=z9hG4bK"), "{vias:?}");
    assert!(vias[1].starts_with("SIP/2.0/TLS 198.51.100.7:50001;branch=z9hG4bKc1;ms-received-port="), "{vias:?}");
    assert_eq!(message.header(Name::MaxForwards), Some("69"));
    assert_eq!(message.all(Name::PAssertedIdentity).collect::<Vec<_>>(), ["\"alice\"<sip:alice@contoso.test>"]);
    assert!(message.header(Name::Authorization).is_none(), "proof is for the next hop alone");
    for vouching in ["ms-asserted-verification-level", "ms-edge-proxy-message-trust"] {
        assert_eq!(message.named(vouching), None, "nobody vouches for himself");
    }
    assert_eq!(message.named("ms-text-format"), Some("text/plain; charset=UTF-8;ms-body=SGVsbG8="));
    assert_eq!(message.named("X-Unknown"), Some("kept  as it is"));
    assert_eq!(message.header(Name::From), Some(alice.address("from-c1").as_str()));
    assert_eq!(message.body(), b"v=0\r\nm=message 5060 sip null\r\n");

    let mut ringing = Draft::answer(&message, 180, "Ringing", "to-c1");
    ringing.header("P-Asserted-Identity", "<sip:boss@contoso.test>").header("X-Unknown", "2");
    bob.send(ringing);
    let ringing = last(&mut alice);
    let message = Message::parse(ringing.as_bytes()).expect("a message");
    assert_eq!(message.status(), Some(180));
    assert_eq!(message.all(Name::Via).count(), 1, "her own");
    assert_eq!(message.all(Name::PAssertedIdentity).collect::<Vec<_>>(), ["\"bob\"<sip:bob@contoso.test>"]);
    assert_eq!(message.named("X-Unknown"), Some("2"));
    assert_eq!(message.header(Name::To), Some("<sip:bob@contoso.test>;tag=to-c1"));
}

#[test]
fn two_endpoints_ring_and_one_takes_it() {
    let world = World::contoso();
    let mut alice = endpoint(&world, "alice", "fe01", "a1", "alice");
    let (mut desk, mut home) = desk_and_home(&world);
    invite(&mut alice, BOB, "c1");
    let (at_desk, at_home) = (only(&mut desk), only(&mut home));
    answer(&mut home, &at_home, 180, "h");
    answer(&mut desk, &at_desk, 200, "d");
    let cancel = only(&mut home);
    answer(&mut home, &cancel, 200, "h");
    answer(&mut home, &at_home, 487, "h");
    assert_eq!(
        world.transcript(),
        [
            "alice → fe01  INVITE  {signed}",
            "alice ← fe01  100 (INVITE)  {signed}",
            "bob's desk ← fe03  INVITE  {signed}",
            "bob's home ← fe03  INVITE  {signed}",
            "bob's home → fe03  180 (INVITE)  {signed}",
            "alice ← fe01  180 (INVITE)  {signed}",
            "bob's desk → fe03  200 (INVITE)  {signed}",
            "alice ← fe01  200 (INVITE)  {signed}",
            "bob's home ← fe03  CANCEL  {signed}",
            "bob's home → fe03  200 (CANCEL)  {signed}",
            "bob's home → fe03  487 (INVITE)  {signed}",
            "bob's home ← fe03  ACK  {signed}",
        ]
    );
    assert_eq!(world.at("fe01").conversations(), (0, 0, 1));
    assert_eq!(world.at("fe03").conversations(), (0, 0, 1));
}

#[test]
fn who_takes_it_too_late_is_turned_down() {
    let world = World::contoso();
    let mut alice = endpoint(&world, "alice", "fe01", "a1", "alice");
    let (mut desk, mut home) = desk_and_home(&world);
    invite(&mut alice, BOB, "c1");
    let (at_desk, at_home) = (only(&mut desk), only(&mut home));
    answer(&mut desk, &at_desk, 200, "d");
    answer(&mut home, &at_home, 200, "h");
    let arrived = home.received();
    assert_eq!(methods(&arrived), ["CANCEL", "ACK", "BYE"]);
    assert!(
        arrived[2].contains("To: <sip:bob@contoso.test>;tag=h;epid=b2\r\n") && arrived[2].contains("CSeq: 2 BYE\r\n")
    );
    answer(&mut home, &arrived[2], 200, "");
    assert_eq!(codes(&alice.received()), [100, 200], "she is told of one");
    assert_eq!(world.at("fe03").conversations(), (0, 0, 1));
}

#[test]
fn the_caller_thinks_better_of_it() {
    let world = World::contoso();
    let (mut alice, mut bob) = alice_and_bob(&world);
    invite(&mut alice, BOB, "c1");
    let arrived = only(&mut bob);
    alice.send(first(&alice, "CANCEL", BOB, "c1"));
    let cancel = only(&mut bob);
    answer(&mut bob, &cancel, 200, "b");
    answer(&mut bob, &arrived, 487, "b");
    assert_eq!(
        world.transcript()[3..],
        [
            "alice → fe01  CANCEL  {signed}",
            "alice ← fe01  200 (CANCEL)  {signed}",
            "bob ← fe03  CANCEL  {signed}",
            "bob → fe03  200 (CANCEL)  {signed}",
            "bob → fe03  487 (INVITE)  {signed}",
            "bob ← fe03  ACK  {signed}",
            "alice ← fe01  487 (INVITE)  {signed}",
        ]
    );
    assert_eq!(world.at("fe01").conversations(), (0, 0, 0));
    alice.received();
    alice.send(first(&alice, "CANCEL", BOB, "c1"));
    assert_eq!(status(&only(&mut alice)).0, 481, "there is nothing to call off");

    // A client that takes no notice of CANCEL.
    invite(&mut alice, BOB, "c2");
    alice.send(first(&alice, "CANCEL", BOB, "c2"));
    world.pass(seconds(31));
    assert_eq!(codes(&alice.received()), [100, 200]);
    world.pass(seconds(2));
    assert_eq!(status(&only(&mut alice)).0, 487);
}

#[test]
fn busy_and_declined() {
    let world = World::contoso();
    let mut alice = endpoint(&world, "alice", "fe01", "a1", "alice");
    let mut desk = endpoint(&world, "bob", "fe03", "b1", "bob's desk");
    invite(&mut alice, BOB, "busy");
    let arrived = only(&mut desk);
    answer(&mut desk, &arrived, 486, "d");
    assert_eq!(status(&last(&mut alice)), (486, None));
    assert!(only(&mut desk).starts_with("ACK "));

    let mut home = endpoint(&world, "bob", "fe03", "b2", "bob's home");
    invite(&mut alice, BOB, "declined");
    let (at_desk, _) = (only(&mut desk), only(&mut home));
    answer(&mut desk, &at_desk, 603, "d");
    assert_eq!(status(&last(&mut alice)).0, 603, "one declines for all");
    assert!(only(&mut home).starts_with("CANCEL "));

    invite(&mut alice, BOB, "both");
    let (at_desk, at_home) = (last(&mut desk), only(&mut home));
    answer(&mut desk, &at_desk, 480, "d");
    assert_eq!(status(&last(&mut alice)).0, 100, "the other may still take it");
    answer(&mut home, &at_home, 486, "h");
    assert_eq!(status(&only(&mut alice)).0, 486, "who is there says more than who is not");
}

#[test]
fn offline_and_blocked_look_alike() {
    let world = World::contoso();
    world.user("mallory", Some("pool2"), None);
    let (mut alice, mut bob) = alice_and_bob(&world);
    let mut mallory = endpoint(&world, "mallory", "fe03", "c1", "mallory");

    invite(&mut alice, "sip:frank@contoso.test", "offline");
    let offline = only(&mut alice);
    assert_eq!(status(&offline), (480, Some(1006)));

    let (mut hers, _) = talk(&mut mallory, &mut bob, BOB, "before");
    let block = "<setContainerMembers xmlns='http://schemas.microsoft.com/2006/09/sip/container-management'>\
                 <container id='32000' version='0'><member action='add' type='user' value='mallory@contoso.test'/>\
                 </container></setContainerMembers>";
    let mut service = first(&bob, "SERVICE", BOB, "block");
    service.body("application/msrtc-setcontainermembers+xml", block);
    bob.send(service);
    assert_eq!(status(&last(&mut bob)).0, 200);

    invite(&mut mallory, BOB, "offline");
    let blocked = only(&mut mallory);
    mallory.send(first(&mallory, "MESSAGE", BOB, "pager"));
    assert_eq!(status(&only(&mut mallory)), (480, Some(1006)));
    mallory.send(inside(&mut hers, "MESSAGE", "answer me"));
    assert_eq!(status(&only(&mut mallory)), (480, Some(1006)), "an open conversation is no way in");
    assert!(bob.received().is_empty(), "he hears nothing of it");
    let what = |text: &str| {
        let about = |line: &&str| line.starts_with("SIP/2.0 ") || line.to_ascii_lowercase().starts_with("ms-diag");
        let lines: Vec<&str> = text.lines().filter(about).collect();
        lines.join("\n").replace("fe01", "fe").replace("fe03", "fe")
    };
    assert_eq!(what(&blocked), what(&offline));
    let names = |text: &str| text.lines().filter_map(|l| l.split(':').next().map(str::to_owned)).collect::<Vec<_>>();
    assert_eq!(names(&blocked), names(&offline), "the same headers in the same order");

    invite(&mut bob, "sip:mallory@contoso.test", "other way");
    assert!(only(&mut mallory).starts_with("INVITE "), "whoever blocks may still speak");
}

#[test]
fn addresses_that_lead_nowhere() {
    let world = World::contoso();
    let mut alice = endpoint(&world, "alice", "fe01", "a1", "alice");
    let mut ask = |method: &str, uri: &str| {
        let draft = first(&alice, method, uri, &format!("{method}{uri}").replace([':', '@', '.', ';', '='], ""));
        alice.send(draft);
        status(&only(&mut alice))
    };
    assert_eq!(ask("INVITE", "sip:nobody@contoso.test"), (404, Some(4005)));
    assert_eq!(ask("INVITE", "sip:ocschat@contoso.test"), (404, Some(4005)));
    assert_eq!(ask("INVITE", "sip:bob@fabrikam.test"), (404, Some(1005)));
    assert_eq!(ask("MESSAGE", "sip:bob@fabrikam.test"), (404, Some(1005)));
    assert_eq!(ask("INVITE", "sip:contoso.test"), (404, Some(4005)));
    assert_eq!(ask("INVITE", BOB), (480, Some(1006)));
    assert_eq!(ask("INVITE", "sip:alice@contoso.test"), (480, Some(1006)), "she has no other endpoint");
    assert_eq!(ask("INVITE", "sip:198.51.100.7:50001;transport=tls;ms-received-cid=FFFF"), (480, Some(1006)));
    assert_eq!(ask("OPTIONS", BOB), (480, Some(1006)));
    assert_eq!(ask("OPTIONS", "sip:alice@contoso.test").0, 200, "that is for the server");
    for method in ["INFO", "BYE", "UPDATE", "CANCEL"] {
        assert_eq!(ask(method, BOB), (481, None), "{method} outside a dialog");
    }
    assert_eq!(ask("REFER", BOB), (405, None));
    alice.send(first(&alice, "ACK", BOB, "x"));
    assert!(alice.received().is_empty(), "an ACK is never answered");
}

#[test]
fn one_endpoint_by_its_gruu_or_contact_and_oneself_by_address() {
    let world = World::contoso();
    let mut alice = endpoint(&world, "alice", "fe01", "a1", "alice");
    let mut phone = endpoint(&world, "alice", "fe01", "a2", "alice's phone");
    let (mut desk, mut home) = desk_and_home(&world);

    invite(&mut alice, &home.gruu(), "gruu");
    let arrived = only(&mut home);
    let contact = Message::parse(arrived.as_bytes()).expect("a message").request_uri().expect("there").to_owned();
    assert!(contact.contains(";ms-received-cid="), "{contact}");
    invite(&mut alice, &contact, "contact");
    assert!(only(&mut home).contains("Call-ID: contact\r\n"));
    assert!(desk.received().is_empty(), "nobody else is asked");

    alice.received();
    invite(&mut alice, "sip:alice@contoso.test", "self");
    assert!(only(&mut phone).starts_with("INVITE "));
    assert_eq!(status(&only(&mut alice)).0, 100, "and not the one that asks");
}

#[test]
fn nobody_answers() {
    let world = World::contoso();
    let (mut alice, mut bob) = alice_and_bob(&world);
    invite(&mut alice, BOB, "c1");
    let arrived = only(&mut bob);
    answer(&mut bob, &arrived, 180, "b");
    world.pass(seconds(59));
    assert_eq!(codes(&alice.received()), [100, 180]);
    world.transcript();
    world.pass(seconds(1));
    assert_eq!(world.transcript(), ["alice ← fe01  408 1006 (INVITE)  {signed}", "bob ← fe03  CANCEL  {signed}"]);
    // He comes too late: nobody is left to talk to.
    alice.received();
    answer(&mut bob, &arrived, 200, "b");
    assert_eq!(methods(&bob.received()), ["CANCEL", "ACK", "BYE"]);
    assert!(alice.received().is_empty());

    let request = first(&alice, "MESSAGE", BOB, "pager");
    alice.send(request);
    world.pass(seconds(33));
    assert_eq!(status(&only(&mut alice)), (408, Some(1006)));
    world.pass(seconds(300));
    assert_eq!(world.at("fe01").conversations().0, 0);
    assert_eq!(world.at("fe03").conversations().1, 0);
}

#[test]
fn connections_are_lost() {
    let world = World::contoso();
    let (mut alice, mut bob) = alice_and_bob(&world);
    let (mut hers, _) = talk(&mut alice, &mut bob, BOB, "c1");

    invite(&mut alice, BOB, "c2");
    alice.send(inside(&mut hers, "MESSAGE", "hello"));
    alice.received();
    world.hang_up(bob.conn());
    let answers = alice.received();
    let mut codes: Vec<_> = answers.iter().map(|m| status(m)).collect();
    codes.sort_unstable();
    assert_eq!(codes, [(480, Some(1006)), (480, Some(1006))], "whoever waits is told at once");
    alice.send(inside(&mut hers, "MESSAGE", "are you there?"));
    assert_eq!(status(&only(&mut alice)), (480, Some(1006)));
    assert_eq!(world.at("fe03").conversations(), (0, 0, 0));

    // The caller is lost while it rings.
    let mut bob = endpoint(&world, "bob", "fe03", "b1", "bob");
    invite(&mut alice, BOB, "c3");
    let arrived = only(&mut bob);
    world.hang_up(alice.conn());
    assert!(only(&mut bob).starts_with("CANCEL "));
    answer(&mut bob, &arrived, 200, "late");
    assert_eq!(methods(&bob.received()), ["ACK", "BYE"], "the dialog nobody has is ended for him");
    world.pass(seconds(300));
    assert_eq!(world.at("fe01").conversations(), (0, 0, 0));
}

#[test]
fn unused_dialogs_are_forgotten() {
    let world = World::contoso();
    let limits = Limits { idle: seconds(600), ..Limits::default() };
    let settings = Settings { conversations: limits, default_expires: 7200, keep_alive: 7200, ..Settings::default() };
    world.server(Plan { settings: settings.clone(), ..Plan::front_end("fe01", "pool1") });
    world.server(Plan { settings, ..Plan::front_end("fe03", "pool2") });
    let (mut alice, mut bob) = alice_and_bob(&world);
    let (mut hers, _) = talk(&mut alice, &mut bob, BOB, "c1");
    world.pass(seconds(550));
    alice.send(inside(&mut hers, "MESSAGE", "hello"));
    assert!(only(&mut bob).starts_with("MESSAGE "));
    world.pass(seconds(550));
    assert_eq!((world.at("fe01").conversations().2, world.at("fe03").conversations().2), (1, 1));
    world.pass(seconds(120));
    assert_eq!((world.at("fe01").conversations().2, world.at("fe03").conversations().2), (0, 0));
}

#[test]
fn a_dialog_survives_a_new_connection_of_the_same_endpoint() {
    let world = World::contoso();
    let (mut alice, mut bob) = alice_and_bob(&world);
    let (mut hers, _) = talk(&mut alice, &mut bob, BOB, "c1");
    bob.reconnect();
    assert_eq!(bob.refresh(None), 200);
    alice.send(inside(&mut hers, "MESSAGE", "hello"));
    assert!(only(&mut bob).starts_with("MESSAGE "));
}
