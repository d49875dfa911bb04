//! Instant messages through real servers, in memory and in virtual time: who is asked, who is told what, and whose keys prove
//! it. Every message an endpoint gets is checked with the keys of that endpoint.

mod phone;
mod world;

use phone::Phone;
use signin::converse::server::Limits;
use signin::server::Settings;
use sip::dialog::Dialog;
use sip::{Draft, Message, Name};
use std::time::Duration;
use world::{Plan, World, topology};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A registered endpoint; the transcript calls it by this label.
fn endpoint(world: &World, name: &str, host: &str, epid: &str, label: &str) -> Phone {
    let mut phone = Phone::new(world, name, host).epid(epid);
    assert_eq!(phone.register(), 200);
    world.label(phone.conn(), label);
    world.transcript();
    phone
}

/// A request outside a dialog; its branch, Call-ID and From tag are made of `call`.
fn first(phone: &Phone, method: &str, uri: &str, call: &str) -> Draft {
    let mut draft = Draft::request(method, uri);
    let address = uri.split([';', '?']).next().unwrap_or_default();
    draft
        .header("Via", format_args!("SIP/2.0/TLS 198.51.100.7:50001;branch=z9hG4bK{call}"))
        .header("Max-Forwards", 70)
        .header("From", phone.address(&format!("from-{call}")))
        .header("To", format_args!("<{address}>"))
        .header("Call-ID", call)
        .header("CSeq", format_args!("1 {method}"))
        .header("Contact", format_args!("<{}>", phone.gruu()));
    draft
}

fn invite(phone: &mut Phone, uri: &str, call: &str) -> Draft {
    let mut draft = first(phone, "INVITE", uri, call);
    draft.body("application/sdp", "v=0\r\n");
    draft
}

/// Answers a request; the tag of a new dialog is made of the endpoint's own `tag`.
fn answer(phone: &mut Phone, request: &str, code: u16, tag: &str) -> String {
    let request = Message::parse(request.as_bytes()).expect("a message");
    let address = phone.address(tag);
    let tag_and_epid = address.split_once(";tag=").map_or("", |(_, rest)| rest);
    let mut draft = Draft::answer(&request, code, "Whatever", tag_and_epid);
    draft.header("Contact", format_args!("<{}>", phone.gruu()));
    if code == 200 && request.method() == Some("INVITE") {
        draft.body("application/sdp", "v=0\r\n");
    }
    let text = String::from_utf8(draft.clone().finish()).expect("text");
    phone.send(draft);
    text
}

/// The one message that has arrived.
fn only(phone: &mut Phone) -> String {
    let mut messages = phone.received();
    assert_eq!(messages.len(), 1, "{messages:#?}");
    messages.remove(0)
}

fn last(phone: &mut Phone) -> String {
    phone.received().pop().expect("something has arrived")
}

fn status(text: &str) -> (u16, Option<u32>) {
    let message = Message::parse(text.as_bytes()).expect("a message");
    (message.status().unwrap_or(0), signin::reply::diagnostics(&message).0)
}

fn dialog_of_caller(request: Draft, response: &str) -> Dialog {
    let request = request.finish();
    let (request, response) = (Message::parse(&request).expect("ours"), Message::parse(response.as_bytes()));
    Dialog::of_client(&request, &response.expect("a message")).expect("a dialog")
}

fn dialog_of_callee(request: &str, response: &str) -> Dialog {
    let (request, response) = (Message::parse(request.as_bytes()), Message::parse(response.as_bytes()));
    Dialog::of_server(&request.expect("a message"), &response.expect("ours")).expect("a dialog")
}

/// A request in a dialog, as open clients write it: without a branch.
fn inside(dialog: &mut Dialog, method: &str, body: &str) -> Draft {
    let mut draft = dialog.request(method, "SIP/2.0/TLS 198.51.100.7:50001").expect("numbers are left");
    if !body.is_empty() {
        draft.body("text/plain; charset=UTF-8", body);
    }
    draft
}

/// The ACK for the 2xx of an INVITE with that number.
fn ack(dialog: &Dialog, number: u32) -> Draft {
    let mut draft = Draft::request("ACK", dialog.remote_target());
    let text = String::from_utf8(dialog.clone().request("ACK", "SIP/2.0/TLS 198.51.100.7").expect("left").finish());
    let text = text.expect("text");
    let message = Message::parse(text.as_bytes()).expect("ours");
    for header in message.headers().iter().filter(|h| !matches!(h.name, Name::CSeq | Name::ContentLength)) {
        draft.header(header.name.as_str(), header.value);
    }
    draft.header("CSeq", format_args!("{number} ACK"));
    draft
}

/// A conversation that has begun; nothing is left unread.
fn talk(caller: &mut Phone, callee: &mut Phone, uri: &str, call: &str) -> (Dialog, Dialog) {
    let request = invite(caller, uri, call);
    caller.send(request.clone());
    let arrived = only(callee);
    let answered = answer(callee, &arrived, 200, &format!("to-{call}"));
    let theirs = dialog_of_callee(&arrived, &answered);
    let ours = dialog_of_caller(request, &last(caller));
    caller.send(ack(&ours, 1));
    assert!(only(callee).starts_with("ACK "));
    (ours, theirs)
}

const BOB: &str = "sip:bob@contoso.test";

#[test]
fn a_message_each_way_between_two_pools() {
    let world = World::contoso();
    let mut alice = endpoint(&world, "alice", "fe01", "a1", "alice");
    let mut bob = endpoint(&world, "bob", "fe03", "b1", "bob");
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
    let mut alice = endpoint(&world, "alice", "fe01", "a1", "alice");
    let mut bob = endpoint(&world, "bob", "fe03", "b1", "bob");
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
    let mut desk = endpoint(&world, "bob", "fe03", "b1", "bob's desk");
    let mut home = endpoint(&world, "bob", "fe03", "b2", "bob's home");
    let request = invite(&mut alice, BOB, "c1");
    alice.send(request);
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
    let mut desk = endpoint(&world, "bob", "fe03", "b1", "bob's desk");
    let mut home = endpoint(&world, "bob", "fe03", "b2", "bob's home");
    let request = invite(&mut alice, BOB, "c1");
    alice.send(request);
    let (at_desk, at_home) = (only(&mut desk), only(&mut home));
    answer(&mut desk, &at_desk, 200, "d");
    answer(&mut home, &at_home, 200, "h");
    let arrived = home.received();
    let methods: Vec<&str> = arrived.iter().filter_map(|m| m.split(' ').next()).collect();
    assert_eq!(methods, ["CANCEL", "ACK", "BYE"]);
    assert!(
        arrived[2].contains("To: <sip:bob@contoso.test>;tag=h;epid=b2\r\n") && arrived[2].contains("CSeq: 2 BYE\r\n")
    );
    answer(&mut home, &arrived[2], 200, "");
    assert_eq!(alice.received().iter().map(|m| status(m).0).collect::<Vec<_>>(), [100, 200], "she is told of one");
    assert_eq!(world.at("fe03").conversations(), (0, 0, 1));
}

#[test]
fn the_caller_thinks_better_of_it() {
    let world = World::contoso();
    let mut alice = endpoint(&world, "alice", "fe01", "a1", "alice");
    let mut bob = endpoint(&world, "bob", "fe03", "b1", "bob");
    let request = invite(&mut alice, BOB, "c1");
    alice.send(request);
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
    let request = invite(&mut alice, BOB, "c2");
    alice.send(request);
    alice.send(first(&alice, "CANCEL", BOB, "c2"));
    world.pass(seconds(31));
    assert_eq!(alice.received().iter().map(|m| status(m).0).collect::<Vec<_>>(), [100, 200]);
    world.pass(seconds(2));
    assert_eq!(status(&only(&mut alice)).0, 487);
}

#[test]
fn busy_and_declined() {
    let world = World::contoso();
    let mut alice = endpoint(&world, "alice", "fe01", "a1", "alice");
    let mut desk = endpoint(&world, "bob", "fe03", "b1", "bob's desk");
    let ask = |alice: &mut Phone, call: &str| {
        let request = invite(alice, BOB, call);
        alice.send(request);
    };
    ask(&mut alice, "busy");
    let arrived = only(&mut desk);
    answer(&mut desk, &arrived, 486, "d");
    assert_eq!(status(&last(&mut alice)), (486, None));
    assert!(only(&mut desk).starts_with("ACK "));

    let mut home = endpoint(&world, "bob", "fe03", "b2", "bob's home");
    ask(&mut alice, "declined");
    let (at_desk, _) = (only(&mut desk), only(&mut home));
    answer(&mut desk, &at_desk, 603, "d");
    assert_eq!(status(&last(&mut alice)).0, 603, "one declines for all");
    assert!(only(&mut home).starts_with("CANCEL "));

    ask(&mut alice, "both");
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
    let mut alice = endpoint(&world, "alice", "fe01", "a1", "alice");
    let mut bob = endpoint(&world, "bob", "fe03", "b1", "bob");
    let mut mallory = endpoint(&world, "mallory", "fe03", "c1", "mallory");

    let request = invite(&mut alice, "sip:frank@contoso.test", "offline");
    alice.send(request);
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

    let request = invite(&mut mallory, BOB, "offline");
    mallory.send(request);
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

    let request = invite(&mut bob, "sip:mallory@contoso.test", "other way");
    bob.send(request);
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
    let mut desk = endpoint(&world, "bob", "fe03", "b1", "bob's desk");
    let mut home = endpoint(&world, "bob", "fe03", "b2", "bob's home");

    let request = invite(&mut alice, &home.gruu(), "gruu");
    alice.send(request);
    let arrived = only(&mut home);
    let contact = Message::parse(arrived.as_bytes()).expect("a message").request_uri().expect("there").to_owned();
    assert!(contact.contains(";ms-received-cid="), "{contact}");
    let request = invite(&mut alice, &contact, "contact");
    alice.send(request);
    assert!(only(&mut home).contains("Call-ID: contact\r\n"));
    assert!(desk.received().is_empty(), "nobody else is asked");

    let request = invite(&mut alice, "sip:alice@contoso.test", "self");
    alice.received();
    alice.send(request);
    assert!(only(&mut phone).starts_with("INVITE "));
    assert_eq!(status(&only(&mut alice)).0, 100, "and not the one that asks");
}

#[test]
fn nobody_answers() {
    let world = World::contoso();
    let mut alice = endpoint(&world, "alice", "fe01", "a1", "alice");
    let mut bob = endpoint(&world, "bob", "fe03", "b1", "bob");
    let request = invite(&mut alice, BOB, "c1");
    alice.send(request);
    let arrived = only(&mut bob);
    answer(&mut bob, &arrived, 180, "b");
    world.pass(seconds(59));
    assert_eq!(alice.received().iter().map(|m| status(m).0).collect::<Vec<_>>(), [100, 180]);
    world.transcript();
    world.pass(seconds(1));
    assert_eq!(world.transcript(), ["alice ← fe01  408 1006 (INVITE)  {signed}", "bob ← fe03  CANCEL  {signed}"]);
    // He comes too late: nobody is left to talk to.
    alice.received();
    answer(&mut bob, &arrived, 200, "b");
    let methods: Vec<String> = bob.received().iter().filter_map(|m| m.split(' ').next().map(str::to_owned)).collect();
    assert_eq!(methods, ["CANCEL", "ACK", "BYE"]);
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
    let mut alice = endpoint(&world, "alice", "fe01", "a1", "alice");
    let mut bob = endpoint(&world, "bob", "fe03", "b1", "bob");
    let (mut hers, _) = talk(&mut alice, &mut bob, BOB, "c1");

    let request = invite(&mut alice, BOB, "c2");
    alice.send(request);
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
    let request = invite(&mut alice, BOB, "c3");
    alice.send(request);
    let arrived = only(&mut bob);
    world.hang_up(alice.conn());
    assert!(only(&mut bob).starts_with("CANCEL "));
    answer(&mut bob, &arrived, 200, "late");
    let methods: Vec<String> = bob.received().iter().filter_map(|m| m.split(' ').next().map(str::to_owned)).collect();
    assert_eq!(methods, ["ACK", "BYE"], "the dialog nobody has is ended for him");
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
    let mut alice = endpoint(&world, "alice", "fe01", "a1", "alice");
    let mut bob = endpoint(&world, "bob", "fe03", "b1", "bob");
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
    let mut alice = endpoint(&world, "alice", "fe01", "a1", "alice");
    let mut bob = endpoint(&world, "bob", "fe03", "b1", "bob");
    let (mut hers, _) = talk(&mut alice, &mut bob, BOB, "c1");
    bob.reconnect();
    assert_eq!(bob.refresh(None), 200);
    alice.send(inside(&mut hers, "MESSAGE", "hello"));
    assert!(only(&mut bob).starts_with("MESSAGE "));
}

/// The answer to `request`, altered before it is signed.
fn altered(request: &str, code: u16, from: &str, to: &str) -> Draft {
    let answer = Draft::answer(&Message::parse(request.as_bytes()).expect("a message"), code, "OK", "b");
    let text = String::from_utf8(answer.finish()).expect("text");
    assert!(text.contains(from), "{text}");
    let text = text.replacen(from, to, 1);
    let message = Message::parse(text.as_bytes()).expect("a message");
    let mut draft = Draft::response(code, "OK");
    for header in message.headers().iter().filter(|h| h.name != Name::ContentLength) {
        draft.header(header.name.as_str(), header.value);
    }
    draft
}

#[test]
fn answers_that_are_none() {
    let world = World::contoso();
    world.user("mallory", Some("pool2"), None);
    let mut alice = endpoint(&world, "alice", "fe01", "a1", "alice");
    let mut bob = endpoint(&world, "bob", "fe03", "b1", "bob");
    let mut mallory = endpoint(&world, "mallory", "fe03", "c1", "mallory");
    let request = invite(&mut alice, BOB, "c1");
    alice.send(request);
    let arrived = only(&mut bob);
    alice.received();

    bob.send(altered(&arrived, 200, "z9hG4bK", "z9hG4bK0"));
    bob.send(altered(&arrived, 200, "CSeq: 1 INVITE", "CSeq: 2 INVITE"));
    bob.send(altered(&arrived, 200, "CSeq: 1 INVITE", "CSeq: 1 MESSAGE"));
    bob.send(altered(&arrived, 200, "Call-ID: c1", "Call-ID: c2"));
    bob.send(altered(&arrived, 200, "tag=from-c1", "tag=from-c2"));
    bob.send(altered(&arrived, 200, ";tag=b\r\n", "\r\n"));
    mallory.send(altered(&arrived, 200, "c1", "c1"));
    let mut forged = altered(&arrived, 200, "c1", "c1");
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
    let mut alice = endpoint(&world, "alice", "fe01", "a1", "alice");
    let mut bob = endpoint(&world, "bob", "fe03", "b1", "bob");
    alice.send(first(&alice, "MESSAGE", BOB, "c1"));
    let arrived = only(&mut bob);
    bob.send_unsigned(Draft::answer(&Message::parse(arrived.as_bytes()).expect("a message"), 200, "OK", "b"));
    assert_eq!(status(&only(&mut alice)).0, 200);
}

#[test]
fn endless_ringing_is_cut_short() {
    let world = World::contoso();
    let mut alice = endpoint(&world, "alice", "fe01", "a1", "alice");
    let mut bob = endpoint(&world, "bob", "fe03", "b1", "bob");
    let request = invite(&mut alice, BOB, "c1");
    alice.send(request);
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
    let mut alice = endpoint(&world, "alice", "fe01", "a1", "alice");
    let mut bob = endpoint(&world, "bob", "fe03", "b1", "bob");
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
    let mut alice = endpoint(&world, "alice", "fe01", "a1", "alice");
    let mut bob = endpoint(&world, "bob", "fe03", "b1", "bob");
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

    let request = |change: (&str, &str)| {
        let text = String::from_utf8(first(&alice, "MESSAGE", BOB, "odd").finish()).expect("text");
        let text = text.replacen(change.0, change.1, 1);
        let message = Message::parse(text.as_bytes()).expect("a message");
        let mut draft = Draft::request("MESSAGE", BOB);
        for header in message.headers().iter().filter(|h| h.name != Name::ContentLength) {
            draft.header(header.spelling, header.value);
        }
        draft
    };
    let odd = [
        (("Max-Forwards: 70", "Max-Forwards: 0"), 483),
        (("Max-Forwards: 70", "Max-Forwards: many"), 400),
        (("Max-Forwards: 70", "Proxy-Require: privacy"), 420),
    ];
    let odd = odd.map(|(change, code)| (request(change), code));
    for (draft, code) in odd {
        alice.send(draft);
        assert_eq!(status(&only(&mut alice)).0, code);
    }

    let mut dialogs: Vec<Dialog> = Vec::new();
    for n in 0..3 {
        world.pass(seconds(40));
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
        let draft = invite(phone, BOB, &format!("i{n}"));
        phone.send(draft);
    }
    let asked = bob.received();
    assert_eq!(asked.len(), 4, "of one user, whatever endpoint it uses");
    let refused = alice.received().into_iter().chain(other.received()).filter(|m| status(m).0 == 480).count();
    assert_eq!(refused, 6);
    frank.send(first(&frank, "MESSAGE", BOB, "f"));
    assert_eq!(bob.received().len(), 1, "there is room for others");
    answer(&mut bob, &asked[0], 486, "b");
    bob.received();
    let draft = invite(&mut alice, BOB, "again");
    alice.send(draft);
    assert_eq!(bob.received().len(), 1, "and for her, once one is answered");
}
