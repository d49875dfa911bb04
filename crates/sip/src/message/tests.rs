//! Messages cut but not changed: names, folds, lengths.

use super::*;

fn request(headers: &str) -> String {
    format!("OPTIONS sip:b@c.test SIP/2.0\r\n{headers}\r\n")
}

fn parsed(text: &str) -> Message<'_> {
    Message::parse(text.as_bytes()).expect("a message")
}

fn refused(text: &str) -> ParseError {
    Message::parse(text.as_bytes()).expect_err("no message")
}

#[test]
fn nothing_is_changed() {
    let text = request("VIA : SIP/2.0/TLS a\r\nx-Own:  one\r\n\ttwo \r\nv: SIP/2.0/TCP b\r\nEmpty:\r\nl: 0\r\n");
    let message = parsed(&text);
    let seen: Vec<_> = message.headers().iter().map(|h| (h.name, h.spelling, h.value)).collect();
    let expected = [
        (Name::Via, "VIA", "SIP/2.0/TLS a"),
        (Name::Other, "x-Own", "one\r\n\ttwo"),
        (Name::Via, "v", "SIP/2.0/TCP b"),
        (Name::Other, "Empty", ""),
        (Name::ContentLength, "l", "0"),
    ];
    assert_eq!(seen, expected);
    assert_eq!(message.headers()[1].unfolded(), "one two");
    assert_eq!(message.header(Name::Via), Some("SIP/2.0/TLS a"));
    assert_eq!(message.all(Name::Via).count(), 2);
    assert_eq!(message.named("X-OWN"), Some("one\r\n\ttwo"));
    assert_eq!(message.header(Name::Event), None);
    assert_eq!(message.header(Name::Other), Some("one\r\n\ttwo"));
}

#[test]
fn lists_spread_over_headers() {
    let text = request("Supported: gruu-10, adhoclist\r\nk: Timer\r\n");
    let message = parsed(&text);
    assert!(message.lists(Name::Supported, "GRUU-10") && message.lists(Name::Supported, "timer"));
    assert!(!message.lists(Name::Supported, "gruu") && !message.lists(Name::Require, "timer"));
}

#[test]
fn start_lines() {
    let unknown = "X-unknown.Method sips:b SIP/2.0\r\n\r\n";
    assert_eq!(parsed(unknown).start(), StartLine::Request { method: "X-unknown.Method", uri: "sips:b" });
    assert_eq!(parsed("SIP/2.0 200 OK then\r\n\r\n").start(), StartLine::Response { code: 200, reason: "OK then" });
    assert_eq!(parsed("SIP/2.0 100 \r\n\r\n").start(), StartLine::Response { code: 100, reason: "" });
    assert_eq!(parsed("SIP/2.0 100\r\n\r\n").start(), StartLine::Response { code: 100, reason: "" });
    assert_eq!(refused("OPTIONS sip:b SIP/3.0\r\n\r\n"), ParseError::BadVersion);
    assert_eq!(refused("SIP/7.0 200 OK\r\n\r\n"), ParseError::BadVersion);
    assert_eq!(parsed("sip/2.0 200 OK\r\n\r\n").status(), Some(200));
    assert_eq!(refused("OPTIONS sip:b HTTP/1.1\r\n\r\n"), ParseError::BadVersion);
    for line in [
        "",
        " OPTIONS sip:b SIP/2.0",
        "OPTIONS  sip:b SIP/2.0",
        "OPTIONS sip:b  SIP/2.0",
        "OPTIONS sip:b SIP/2.0 ",
        "OPTIONS sip:b; lr SIP/2.0",
        "OPTIONS sip:b\u{0}c SIP/2.0",
        "OPTIONS sip:b\tc SIP/2.0",
        "OPTIONS sip:b\rc SIP/2.0",
        "OPTIONS sip:b",
        "OPTIONS",
        "OPT\u{fc}ONS sip:b SIP/2.0",
        "SIP/2.0 99 Low",
        "SIP/2.0 700 High",
        "SIP/2.0 +20 Sign",
        "SIP/2.0 0200 Zero",
        "SIP/2.0 4294967301 Wraps",
    ] {
        assert_eq!(refused(&format!("{line}\r\n\r\n")), ParseError::BadStartLine, "{line}");
    }
}

#[test]
fn header_lines_without_a_name_are_located() {
    for line in ["no colon", ": no name", "bad name: x", "b\u{e4}d: x", "\"q\": x"] {
        let text = request(&format!("Via: a\r\n{line}\r\n"));
        assert_eq!(refused(&text), ParseError::BadHeader { at: text.find(line).expect("there") }, "{line}");
    }
    // The first header has nothing to continue.
    assert_eq!(refused(&request(" Via: a\r\n")), ParseError::BadHeader { at: 30 });
}

#[test]
fn the_body_is_what_content_length_says() {
    assert_eq!(parsed(&format!("{}abcdef", request("l: 3\r\n"))).body(), b"abc");
    assert_eq!(parsed(&format!("{}abcdef", request("l:\r\n 3\r\nContent-Length: 03\r\n"))).body(), b"abc");
    assert_eq!(parsed(&format!("{}abcdef", request(""))).body(), b"abcdef");
    let short = refused(&format!("{}ab", request("l: 3\r\n")));
    assert_eq!(short, ParseError::BodyIncomplete { have: 2, promised: 3 });
    for value in ["-1", "+3", "", "3 4", "3,3", "0x3", "99999999999999999999999"] {
        assert_eq!(refused(&request(&format!("l: {value}\r\n"))), ParseError::BadContentLength, "{value}");
    }
    assert_eq!(refused(&request("l: 3\r\nContent-Length: 4\r\n")), ParseError::BadContentLength);
}

#[test]
fn bytes_that_are_not_text() {
    let mut body = request("Via: a\r\n").into_bytes();
    body.extend([0xff, 0xfe]);
    assert_eq!(Message::parse(&body).expect("bodies are bytes").body(), [0xff, 0xfe]);
    let at = 33;
    body[at] = 0xff;
    assert_eq!(Message::parse(&body).expect_err("heads are text"), ParseError::NotUtf8 { at });
    assert_eq!(Message::parse(&body[..39]).expect_err("not whole"), ParseError::HeadIncomplete);
    assert_eq!(refused("OPTIONS sip:b SIP/2.0\r\nVia: a\r\n"), ParseError::HeadIncomplete);
    assert_eq!(refused(""), ParseError::HeadIncomplete);
}

#[test]
fn long_messages_are_read_like_short_ones() {
    let text = format!("{}{}", request(&"Via: SIP/2.0/TLS a\r\n".repeat(400)), "\u{fc}".repeat(10));
    assert_eq!(parsed(&text).all(Name::Via).count(), 400);
    assert_eq!(parsed(&text).body().len(), 20);
}

#[test]
fn bare_line_feeds_end_lines_too() {
    let message = Message::parse(b"OPTIONS sip:b SIP/2.0\nVia: a\n b\nl: 1\n\nxy").expect("a message");
    assert_eq!((message.headers().len(), message.body()), (2, b"x".as_slice()));
}

#[test]
fn a_header_below_more_headers_than_places_is_still_found() {
    let text = request(&format!("{}Via: a\r\n", "x:\r\n".repeat(70_000)));
    assert_eq!(parsed(&text).header(Name::Via), Some("a"));
}

#[test]
fn a_body_may_begin_with_a_blank() {
    for body in [" x", "\tx\r\n", " \r\n\r\n"] {
        for end in ["\n", "\r\n"] {
            let text = format!("OPTIONS sip:a SIP/2.0{end}To: a{end}{end}{body}");
            let message = Message::parse(text.as_bytes()).expect("a message");
            assert_eq!((message.headers().len(), message.body()), (1, body.as_bytes()), "{text:?}");
        }
    }
}
