//! Our client's conversations, through real servers, in memory and in virtual time.

mod phone;
mod world;

use phone::dialog::{answer, endpoint, first, last, methods, status};
use phone::sign_in;
use signin::converse::client::{Conversations, Event, TextId};
use signin::converse::content::Text;
use signin::session::Session;
use std::time::Duration;
use world::{World, aor};

/// A signed-in endpoint that converses.
struct Talker<'a> {
    world: &'a World,
    session: Session<'a>,
    talks: Conversations,
}

impl<'a> Talker<'a> {
    fn new(world: &'a World, name: &str, host: &str) -> Talker<'a> {
        let signed_in = world.run(sign_in(name, host).run(world)).map_err(|verdict| verdict.sentence);
        let session = signed_in.expect("signs in").session;
        let talks = Conversations::new(session.myself());
        world.transcript();
        Talker { world, session, talks }
    }

    fn say(&mut self, peer: &str, text: Text) -> TextId {
        let (id, events) = self.world.run(self.session.say(&mut self.talks, &aor(peer), text)).expect("sent");
        assert!(events.is_empty(), "{events:?}");
        id
    }

    /// Takes whatever has arrived.
    fn listen(&mut self) -> Vec<Event> {
        let mut heard = Vec::new();
        while let Ok(message) = self.world.run(self.session.next_message(Duration::from_millis(1))) {
            heard.extend(
                self.world.run(self.session.converse(&mut self.talks, &message)).expect("sent").into_iter().flatten(),
            );
        }
        heard
    }

    fn end(&mut self, peer: &str) -> Vec<Event> {
        self.world.run(self.session.end_conversation(&mut self.talks, &aor(peer))).expect("sent")
    }
}

/// Both signed in, in two pools.
fn alice_and_bob(world: &World) -> (Talker<'_>, Talker<'_>) {
    (Talker::new(world, "alice", "fe01"), Talker::new(world, "bob", "fe03"))
}

fn said(peer: &str, text: &str) -> Event {
    Event::Said { peer: aor(peer), text: Text::plain(text) }
}

fn delivered(peer: &str, text: TextId) -> Event {
    Event::Delivered { peer: aor(peer), text }
}

/// Peer, id of the text and status, and id of the diagnostics.
fn failed(events: &[Event]) -> Vec<(String, TextId, u16, Option<u32>)> {
    let failure = |event: &Event| match event {
        Event::Failed { peer, text, why } => (peer.user().to_owned(), *text, why.code, why.diagnostics.0),
        other => panic!("not a failure: {other:?}"),
    };
    events.iter().map(failure).collect()
}

#[test]
fn the_first_text_travels_in_the_invitation() {
    let world = World::contoso();
    let (mut alice, mut bob) = alice_and_bob(&world);
    let hello = alice.say("bob", Text::plain("Hello, Bob"));
    assert_eq!(bob.listen(), [said("alice", "Hello, Bob")]);
    assert_eq!(alice.listen(), [delivered("bob", hello)]);
    let hi = bob.say("alice", Text::Html("<b>hi</b>".to_owned()));
    assert_eq!(alice.listen(), [Event::Said { peer: aor("bob"), text: Text::Html("<b>hi</b>".to_owned()) }]);
    assert_eq!(bob.listen(), [delivered("alice", hi)]);
    assert_eq!(alice.end("bob"), []);
    assert_eq!(bob.listen(), [Event::Ended { peer: aor("alice") }]);
    alice.listen();
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
            "bob → fe03  MESSAGE  {signed}",
            "alice ← fe01  MESSAGE  {signed}",
            "alice → fe01  200 (MESSAGE)  {signed}",
            "bob ← fe03  200 (MESSAGE)  {signed}",
            "alice → fe01  BYE  {signed}",
            "bob ← fe03  BYE  {signed}",
            "bob → fe03  200 (BYE)  {signed}",
            "alice ← fe01  200 (BYE)  {signed}",
        ]
    );
    assert_eq!((alice.talks.peers().count(), bob.talks.peers().count()), (0, 0));
    assert_eq!((world.at("fe01").conversations(), world.at("fe03").conversations()), ((0, 0, 0), (0, 0, 0)));
}

#[test]
fn texts_keep_their_order_and_long_ones_follow() {
    let world = World::contoso();
    let (mut alice, mut bob) = alice_and_bob(&world);
    let long = "long ".repeat(2000);
    let ids = [alice.say("bob", Text::plain(long.as_str())), alice.say("bob", Text::plain("two"))];
    assert_eq!(bob.listen(), []);
    assert_eq!(alice.listen(), [], "both wait for the conversation to begin");
    assert_eq!(bob.listen(), [said("alice", &long), said("alice", "two")]);
    assert_eq!(alice.listen(), ids.map(|id| delivered("bob", id)));
}

/// An endpoint that does not read `ms-text-format`, as pidgin-sipe does not.
#[test]
fn whoever_does_not_read_the_invitation_gets_the_text_again() {
    let world = World::contoso();
    let mut alice = Talker::new(&world, "alice", "fe01");
    let mut bob = endpoint(&world, "bob", "fe03", "b1", "bob");
    let hello = alice.say("bob", Text::plain("hello"));
    let invite = last(&mut bob);
    assert!(invite.contains("ms-text-format: text/plain; charset=UTF-8;ms-body=aGVsbG8=\r\n"), "{invite}");
    answer(&mut bob, &invite, 200, "b");
    assert_eq!(alice.listen(), []);
    let arrived = bob.received();
    assert!(arrived[0].starts_with("ACK ") && arrived[1].ends_with("\r\n\r\nhello"), "{arrived:#?}");
    answer(&mut bob, &arrived[1], 200, "");
    assert_eq!(alice.listen(), [delivered("bob", hello)]);
}

#[test]
fn every_text_is_accounted_for() {
    let world = World::contoso();
    let (mut alice, mut bob) = alice_and_bob(&world);
    let mut ask = |peer: &str| {
        let id = alice.say(peer, Text::plain("hello"));
        let heard = alice.listen();
        assert_eq!(failed(&heard).len(), 1);
        let (who, text, code, diagnostics) = failed(&heard).remove(0);
        assert_eq!((who.as_str(), text), (peer, id));
        (code, diagnostics)
    };
    assert_eq!(ask("frank"), (480, Some(1006)), "not signed in");
    assert_eq!(ask("nobody"), (404, Some(4005)));
    bob.talks.set_busy(true);
    let first = alice.say("bob", Text::plain("one"));
    let second = alice.say("bob", Text::plain("two"));
    bob.listen();
    assert_eq!(failed(&alice.listen()), [("bob".to_owned(), first, 486, None), ("bob".to_owned(), second, 486, None)]);
    bob.talks.set_busy(false);
    let third = alice.say("bob", Text::plain("three"));
    assert_eq!(bob.listen(), [said("alice", "three")]);
    assert_eq!(alice.listen(), [delivered("bob", third)]);
}

#[test]
fn a_peer_who_lost_the_conversation_gets_a_new_one() {
    let world = World::contoso();
    let (mut alice, mut bob) = alice_and_bob(&world);
    alice.say("bob", Text::plain("one"));
    bob.listen();
    alice.listen();
    // The same endpoint signs in again and remembers nothing.
    let mut bob = Talker::new(&world, "bob", "fe03");
    let two = alice.say("bob", Text::plain("two"));
    assert_eq!(bob.listen(), []);
    assert_eq!(alice.listen(), []);
    assert_eq!(
        world.transcript(),
        [
            "alice → fe01  MESSAGE  {signed}",
            "bob ← fe03  MESSAGE  {signed}",
            "bob → fe03  481 (MESSAGE)  {signed}",
            "alice ← fe01  481 (MESSAGE)  {signed}",
            "alice → fe01  INVITE  {signed}",
            "alice ← fe01  100 (INVITE)  {signed}",
            "bob ← fe03  INVITE  {signed}",
        ]
    );
    assert_eq!(bob.listen(), [said("alice", "two")]);
    assert_eq!(alice.listen(), [delivered("bob", two)]);
    assert_eq!(alice.talks.peers().count(), 1);
}

#[test]
fn both_begin_at_once() {
    let world = World::contoso();
    let (mut alice, mut bob) = alice_and_bob(&world);
    let hers = alice.say("bob", Text::plain("from alice"));
    let his = bob.say("alice", Text::plain("from bob"));
    assert_eq!(alice.listen(), [said("bob", "from bob")]);
    assert_eq!(bob.listen(), [said("alice", "from alice"), delivered("alice", his)]);
    assert_eq!(alice.listen(), [delivered("bob", hers)]);
    for _ in 0..3 {
        let next = alice.say("bob", Text::plain("next"));
        assert_eq!(bob.listen(), [said("alice", "next")]);
        assert_eq!(alice.listen(), [delivered("bob", next)]);
    }
}

#[test]
fn ended_before_it_began() {
    let world = World::contoso();
    let mut alice = Talker::new(&world, "alice", "fe01");
    let mut bob = endpoint(&world, "bob", "fe03", "b1", "bob");
    let text = alice.say("bob", Text::plain("hello"));
    assert_eq!(failed(&alice.end("bob")), [("bob".to_owned(), text, 487, None)]);
    let arrived = bob.received();
    assert!(arrived[1].starts_with("CANCEL "), "{arrived:#?}");
    // He takes it all the same: the 200 crosses the CANCEL.
    answer(&mut bob, &arrived[0], 200, "b");
    alice.listen();
    assert_eq!(methods(&bob.received()), ["ACK", "BYE"]);
    assert_eq!(alice.talks.peers().count(), 0);
}

#[test]
fn typing_is_shown_and_other_things_are_refused() {
    let world = World::contoso();
    let (mut alice, mut bob) = alice_and_bob(&world);
    alice.say("bob", Text::plain("hello"));
    bob.listen();
    alice.listen();
    for typing in [true, false] {
        let random = |bytes: &mut [u8]| bytes.fill(7);
        let moment = signin::converse::client::Moment { now: Duration::ZERO, random: &random };
        let outcome = bob.talks.typing(&moment, &aor("alice"), typing);
        world.run(bob.session.carry_out(outcome)).expect("sent");
        assert_eq!(alice.listen(), [Event::Typing { peer: aor("bob"), typing }]);
    }

    let mut phone = endpoint(&world, "frank", "fe03", "f1", "frank");
    let mut ask = |method: &str, content_type: &str, body: &str, call: &str| {
        let mut draft = first(&phone, method, "sip:alice@contoso.test", call);
        draft.body(content_type, body);
        phone.send(draft);
        let heard = alice.listen();
        (status(&last(&mut phone)).0, heard)
    };
    assert_eq!(ask("MESSAGE", "text/plain", "pager", "c1"), (200, vec![said("frank", "pager")]));
    assert_eq!(ask("MESSAGE", "text/rtf", "{\\rtf}", "c2"), (415, vec![]));
    assert_eq!(ask("INVITE", "application/sdp", "v=0\r\nm=audio 1 RTP/AVP 0\r\n", "c3"), (488, vec![]));
    assert_eq!(ask("OPTIONS", "text/plain", "", "c4"), (200, vec![]));
}

#[test]
fn whoever_does_not_answer_is_given_up() {
    let world = World::contoso();
    let mut alice = Talker::new(&world, "alice", "fe01");
    let _bob = endpoint(&world, "bob", "fe03", "b1", "bob");
    let text = alice.say("bob", Text::plain("hello"));
    alice.listen();
    world.pass(Duration::from_secs(61));
    assert_eq!(failed(&alice.listen()), [("bob".to_owned(), text, 408, Some(1006))], "the server has given up");

    // And a server that never answers.
    let text = alice.say("bob", Text::plain("hello"));
    let events = alice.talks.expire(Duration::from_secs(3600)).events;
    assert_eq!(failed(&events), [("bob".to_owned(), text, 408, None)]);
    assert_eq!(alice.talks.peers().count(), 0);
}
