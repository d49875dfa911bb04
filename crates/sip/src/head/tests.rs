//! The quick way through header lines and the careful one.

use super::*;
use crate::Message;
use proptest::prelude::*;

/// Lines of every kind, most of them as nearly all are.
fn any_line() -> impl Strategy<Value = String> {
    let name = "(Via|to|CALL-ID|l|m|Supported|ms-keep-alive|Content-Encoding|P-Preferred-Identity|X_y|[A-Za-z-]{0,20})";
    let blank = "(|: |: |: |:|:  | : |:\\t)";
    let value = "(|0|a|<sip:b@c.test>;tag=1|\"\u{e4}\" <sip:a>|\\PC{0,90})";
    let end = "(|\r\n|\r\n|\r\n|\r\n|\n| \r\n|\r\n \r\n|\r\n\tmore\r\n|\r)";
    (name, blank, value, end).prop_map(|(name, blank, value, end)| format!("{name}{blank}{value}{end}"))
}

proptest! {
    #[test]
    fn usual_lines_are_cut_as_all_others_are(lines in prop::collection::vec(any_line(), 0..40), body in "(|\r\n|\n|x: y\r\n)") {
        let text = format!("OPTIONS sip:b@c.test SIP/2.0\r\n{}\r\n{body}", lines.concat());
        let mut ends = LineEnds::of(text.as_bytes());
        let from = ends.next().expect("a first line") + 1;
        let mut lines = Lines { text: &text, ends, from };
        let mut careful = Vec::new();
        let outcome = loop {
            let at = lines.from;
            if text[at..].starts_with("\r\n") || text[at..].starts_with('\n') {
                break Ok(());
            }
            let Some(line) = lines.next() else { break Err(ParseError::HeadIncomplete) };
            match header_line(line) {
                Some(header) => careful.push((header.name, header.spelling, header.value)),
                None => break Err(ParseError::BadHeader { at }),
            }
        };
        match Message::parse(text.as_bytes()) {
            Ok(message) => {
                let seen: Vec<_> = message.headers().iter().map(|h| (h.name, h.spelling, h.value)).collect();
                prop_assert_eq!((outcome, careful), (Ok(()), seen));
            }
            Err(ParseError::BadContentLength | ParseError::BodyIncomplete { .. }) => prop_assert_eq!(outcome, Ok(())),
            Err(error) => prop_assert_eq!(outcome, Err(error)),
        }
    }
}
