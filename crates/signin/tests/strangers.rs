//! What somebody may do who has proven nothing, or proven to be somebody else.

mod phone;
mod world;

use phone::Phone;
use signin::authenticate::message::Version;
use sip::{Draft, Message};
use world::World;

const HEAD: &str = "REGISTER sip:contoso.test SIP/2.0\r\nVia: SIP/2.0/TLS 198.51.100.7:50001\r\nMax-Forwards: 70\r\n\
                    Call-ID: 1\r\nCSeq: 1 REGISTER\r\n";

/// Status of the answer to a REGISTER with these headers besides the usual ones.
fn status(headers: &str) -> u16 {
    let world = World::contoso();
    let conn = world.connect("fe01");
    let answer = world.ask(conn, format!("{HEAD}{headers}\r\n").as_bytes());
    Message::parse(answer.as_bytes()).expect("a message").status().expect("a response")
}

#[test]
fn a_request_has_one_sender() {
    let from = |name: &str| format!("From: <sip:{name}@contoso.test>;tag=1;epid=a0ae9e6cb0\r\n");
    let to = "To: <sip:alice@contoso.test>\r\n";
    assert_eq!(status(&format!("{}{to}", from("alice"))), 401);
    assert_eq!(
        status(&format!("{}{}{to}", from("alice"), from("bob"))),
        400,
        "the last one would be believed by others"
    );
    assert_eq!(status(&format!("{}f: <sip:bob@contoso.test>;tag=2\r\n{to}", from("alice"))), 400);
    assert_eq!(status(&format!("{}{to}{to}", from("alice"))), 400);
    assert_eq!(status(&format!("{}{to}Call-ID: 2\r\n", from("alice"))), 400);
    assert_eq!(status(&format!("{}{to}CSeq: 2 REGISTER\r\n", from("alice"))), 400);
}

#[test]
fn what_nobody_could_answer_is_refused() {
    const WHOLE: &str = "REGISTER sip:contoso.test SIP/2.0\r\nVia: SIP/2.0/TLS 198.51.100.7:50001, SIP/2.0/TLS 192.0.2.9\r\n\
                         Max-Forwards: 70\r\nFrom: <sip:alice@contoso.test>;tag=1;epid=a0ae9e6cb0\r\n\
                         To: <sip:alice@contoso.test>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\n\r\n";
    let answered = |text: &str| {
        let world = World::contoso();
        let answer = world.ask(world.connect("fe01"), text.as_bytes());
        let message = Message::parse(answer.as_bytes()).expect("a message");
        (message.status(), signin::reply::Told::by(&message).reason.unwrap_or_default())
    };
    assert_eq!(answered(WHOLE), (Some(401), String::new()));
    for (line, name) in
        [("From: ", "From"), ("To: ", "To"), ("Call-ID: ", "Call-ID"), ("CSeq: ", "CSeq"), ("Via: ", "Via")]
    {
        let start = WHOLE.find(&format!("\n{line}")).expect("it has one") + 1;
        let end = start + WHOLE[start..].find("\r\n").expect("it ends") + 2;
        let without = format!("{}{}", &WHOLE[..start], &WHOLE[end..]);
        assert_eq!(answered(&without), (Some(400), format!("Invalid request: no {name}")));
    }
    let bad_via = WHOLE.replace("SIP/2.0/TLS 198.51.100.7:50001", "SIP/2.0 198.51.100.7");
    assert_eq!(answered(&bad_via), (Some(400), "Invalid request: Via".to_owned()));
    let bad_to = WHOLE.replace("To: <sip:alice@contoso.test>", "To: \"<sip:alice");
    assert_eq!(answered(&bad_to), (Some(400), "Invalid request: To".to_owned()));
}

/// Whoever passes the tokens of a logon on, from a server of his own to this one, has no key and can sign nothing.
#[test]
fn a_last_leg_that_is_not_signed_signs_nobody_in() {
    let world = World::contoso();
    let mut phone = Phone::new(&world, "alice", "fe01");
    let challenge = phone.challenged();
    assert_eq!(phone.answer(&challenge, Version::V3), 401);
    assert_eq!(world.at("fe01").counts(), (0, 0, 0, 0));
    assert!(world.journal().iter().any(|line| line.contains("not signed")));
}

#[test]
fn a_handshake_is_nobody_elses_to_go_on_with_or_to_end() {
    let world = World::contoso();
    let mut phone = Phone::new(&world, "alice", "fe01");
    let (own, challenge) = (phone.conn(), phone.challenged());
    phone.reconnect();
    assert_eq!(phone.answer(&challenge, Version::V4), 401, "the right answer over another connection");
    phone.use_connection(own);
    assert_eq!(phone.answer(&challenge, Version::V4), 200, "over its own it still counts");
}

#[test]
fn who_is_wrong_again_and_again_has_to_connect_again() {
    let world = World::contoso();
    let mut phone = Phone::new(&world, "alice", "fe01");
    world.change_password("alice");
    for attempt in 1..=9 {
        assert_eq!(phone.register(), 401);
        assert!(world.is_open(phone.conn()), "after {attempt}");
    }
    assert_eq!(phone.register(), 401, "told why");
    assert!(!world.is_open(phone.conn()));
    assert_eq!(world.at("fe01").counts(), (0, 0, 0, 0));
}

#[test]
fn a_right_answer_ends_the_counting() {
    let world = World::contoso();
    let mut phone = Phone::new(&world, "alice", "fe01");
    for _ in 0..6 {
        for _ in 0..4 {
            let challenge = phone.challenged();
            assert_eq!(phone.answer(&challenge, Version::V3), 401);
        }
        assert_eq!(phone.register(), 200);
    }
}

#[test]
fn associations_do_not_pile_up() {
    let world = World::contoso();
    let mut phone = Phone::new(&world, "alice", "fe01");
    for _ in 0..20 {
        assert_eq!(phone.register(), 200);
    }
    assert_eq!(world.at("fe01").counts(), (1, 1, 0, 2), "the last one, and the one before it");

    let mut phone = Phone::new(&world, "bob", "fe01");
    for number in 0..20 {
        let challenge = phone.challenged();
        let mut draft = Draft::request("REGISTER", "sip:contoso.test");
        draft
            .header("Via", "SIP/2.0/TLS 198.51.100.7:50001")
            .header("From", phone.address("1"))
            .header("To", "<sip:bob@contoso.test>")
            .header("Call-ID", number)
            .header("CSeq", "3 REGISTER");
        assert_eq!(phone.answer_with(&challenge, Version::V4, draft), 400, "there is no Contact");
    }
    assert_eq!(world.at("fe01").counts(), (1, 1, 0, 2), "nothing of bob");
}
