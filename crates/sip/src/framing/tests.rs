//! Streams cut into messages: every way to split them, every way to lie about their length.

use super::*;
use crate::message::Message;

const LIMITS: Limits = Limits { head: 200, body: 50 };

fn of(text: &str) -> Result<Cut, FramingError> {
    cut(text.as_bytes(), &LIMITS)
}

#[test]
fn messages_keep_alives_and_beginnings() {
    let head = "OPTIONS sip:b SIP/2.0\r\nl: 3\r\n\r\n";
    let length = head.len() + 3;
    assert_eq!(of(&format!("{head}abc")), Ok(Cut::Message { length }));
    assert_eq!(of(&format!("{head}abcOPTIONS")), Ok(Cut::Message { length }));
    assert_eq!(of(&format!("{head}ab")), Ok(Cut::Incomplete));
    assert_eq!(of("OPTIONS sip:b SIP/2.0\r\n\r\nabc"), Ok(Cut::Message { length: 25 }));
    assert_eq!(of("\r\n\r\nOPTIONS"), Ok(Cut::KeepAlive { length: 4 }));
    assert_eq!(of("\r"), Ok(Cut::KeepAlive { length: 1 }));
    assert_eq!(of("OPTIONS sip:b SIP/2.0\r\n"), Ok(Cut::Incomplete));
    assert_eq!(of(""), Ok(Cut::Incomplete));
}

#[test]
fn what_is_refused() {
    assert_eq!(of("\u{16}\u{3}\u{1}"), Err(FramingError::NotSip));
    assert_eq!(of(" OPTIONS"), Err(FramingError::NotSip));
    assert_eq!(of(&"x".repeat(200)), Ok(Cut::Incomplete));
    assert_eq!(of(&"x".repeat(201)), Err(FramingError::HeadTooLong { limit: 200 }));
    assert_eq!(of("A b SIP/2.0\r\nl: 51\r\n\r\n"), Err(FramingError::BodyTooLong { promised: 51, limit: 50 }));
    for value in ["-1", "+1", "", "1 2", "1,1", "99999999999999999999999", "1\r\nContent-Length: 2"] {
        assert_eq!(of(&format!("A b SIP/2.0\r\nl: {value}\r\n\r\n")), Err(FramingError::BadContentLength), "{value}");
    }
}

#[test]
fn a_head_may_be_as_long_as_the_limit_and_no_longer() {
    let head = |length: usize| format!("A b SIP/2.0\r\nx:{}\r\n\r\n", "y".repeat(length - 19));
    assert_eq!(of(&head(200)), Ok(Cut::Message { length: 200 }));
    assert_eq!(of(&head(201)), Err(FramingError::HeadTooLong { limit: 200 }));
    // Not even when the rest of the stream is there already.
    assert_eq!(of(&format!("{}A b SIP/2.0\r\n\r\n", head(201))), Err(FramingError::HeadTooLong { limit: 200 }));
}

#[test]
fn the_length_is_the_one_the_parser_sees() {
    for header in [
        "Content-Length: 3",
        "l:3",
        "CONTENT-LENGTH          \t : 3",
        "Content-Length:\r\n 3",
        "X: 1\r\n Content-Length: 9\r\nl: 3",
        "l: 3\r\nContent-Length: 03",
        "Content-Lengths: 9\r\nl: 3",
    ] {
        let text = format!("A b SIP/2.0\r\n{header}\r\n\r\nabcdef");
        let length = text.len() - 3;
        assert_eq!(of(&text), Ok(Cut::Message { length }), "{header}");
        assert_eq!(Message::parse(text.as_bytes()).expect("a message").body(), b"abc", "{header}");
    }
}

#[test]
fn byte_by_byte_the_same_comes_out() {
    let stream = b"A b SIP/2.0\r\nl: 3\r\n\r\nabc\r\n\r\nSIP/2.0 200 OK\nl: 0\n\nC d SIP/2.0\r\nx: y\r\n\r\n";
    let (mut framer, mut buffer, mut lengths) = (Framer::default(), Vec::new(), Vec::new());
    for byte in stream {
        buffer.push(*byte);
        match framer.cut(&buffer, &LIMITS).expect("SIP") {
            Cut::Message { length } => lengths.push(buffer.drain(..length).count()),
            Cut::KeepAlive { length } => drop(buffer.drain(..length)),
            Cut::Incomplete => {}
        }
    }
    assert_eq!((lengths, buffer.len()), (vec![24, 21, 21], 0));
}

#[test]
fn nothing_is_searched_twice() {
    let mut framer = Framer::default();
    assert_eq!(framer.cut(b"A b SIP/2.0\r\nl: 3\r\n", &LIMITS), Ok(Cut::Incomplete));
    assert_eq!((framer.searched, framer.length), (17, None));
    assert_eq!(framer.cut(b"A b SIP/2.0\r\nl: 3\r\n\r\na", &LIMITS), Ok(Cut::Incomplete));
    assert_eq!(framer.length, Some(24));
    assert_eq!(framer.cut(b"A b SIP/2.0\r\nl: 3\r\n\r\nabc", &LIMITS), Ok(Cut::Message { length: 24 }));
    assert_eq!((framer.searched, framer.length), (0, None));
}
