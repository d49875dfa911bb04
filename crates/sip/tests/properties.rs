//! Properties that hold for all bytes, and for all messages we write.

use proptest::prelude::*;
use sip::framing::{Cut, Framer, Limits, cut};
use sip::{CSeq, Draft, Message, NameAddr, Uri, Via};

fn token() -> impl Strategy<Value = String> {
    "[A-Za-z][A-Za-z0-9.!%*_+`'~-]{0,20}"
}

/// A value that survives being put on one line: no white space at its ends.
fn value() -> impl Strategy<Value = String> {
    "[\\PC&&[^\r\n\t\u{7f}-\u{9f}]]{0,60}".prop_map(|text| text.trim_matches([' ', '\t']).to_owned())
}

prop_compose! {
    fn message()(method in token(), headers in prop::collection::vec((token(), value()), 0..12), body in prop::collection::vec(any::<u8>(), 0..200)) -> (String, Vec<(String, String)>, Vec<u8>) {
        let headers = headers.into_iter().filter(|(name, _)| !matches!(name.to_ascii_lowercase().as_str(), "l" | "content-length" | "content-type" | "c")).collect();
        (method, headers, body)
    }
}

fn written((method, headers, body): &(String, Vec<(String, String)>, Vec<u8>)) -> Vec<u8> {
    let mut draft = Draft::request(method, "sip:contoso.test");
    for (name, value) in headers {
        draft.header(name, value);
    }
    draft.body("application/octet-stream", body.clone());
    draft.finish()
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(wanted in message()) {
        let bytes = written(&wanted);
        let message = Message::parse(&bytes).expect("our own writing");
        prop_assert_eq!(message.method(), Some(wanted.0.as_str()));
        prop_assert_eq!(message.body(), wanted.2.as_slice());
        let headers: Vec<(String, String)> = message.headers().iter().take(wanted.1.len())
            .map(|h| (h.spelling.to_owned(), h.value.to_owned())).collect();
        prop_assert_eq!(headers, wanted.1.clone());
    }

    #[test]
    fn no_header_value_ends_its_line(value in "\\PC*[\r\n]{1,3}\\PC*") {
        let mut draft = Draft::response(200, "OK");
        draft.header("X", &value).header("Y", "z");
        let bytes = draft.finish();
        let message = Message::parse(&bytes).expect("our own writing");
        prop_assert_eq!(message.headers().len(), 3);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = Message::parse(&bytes);
        let _ = cut(&bytes, &Limits { head: 200, body: 100 });
        if let Ok(text) = std::str::from_utf8(&bytes) {
            let _ = (Uri::parse(text), NameAddr::parse(text), CSeq::parse(text), Via::parse(text));
            let _ = sip::header::split_list(text).count();
        }
    }

    #[test]
    fn no_text_like_a_message_panics(lines in prop::collection::vec("[A-Za-z]{0,8}[:; ]?[ -~]{0,40}", 0..12)) {
        let mut bytes = b"INVITE sip:a@b SIP/2.0\r\n".to_vec();
        for line in lines {
            bytes.extend_from_slice(line.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        if let Ok(message) = Message::parse(&bytes) {
            for header in message.headers() {
                let value = header.unfolded();
                let _ = NameAddr::parse(&value).map(|n| n.params.iter().count());
                let _ = (Uri::parse(&value), Via::parse(&value), CSeq::parse(&value));
            }
        }
    }

    /// However a stream is split into reads, the same messages come out of it.
    #[test]
    fn splits_do_not_matter(messages in prop::collection::vec(message(), 1..5), sizes in prop::collection::vec(1usize..90, 1..60)) {
        let wanted: Vec<Vec<u8>> = messages.iter().map(written).collect();
        let stream: Vec<u8> = wanted.iter().flat_map(|bytes| [bytes.as_slice(), b"\r\n\r\n"].concat()).collect();
        let (mut buffer, mut got, mut at, mut sizes) = (Vec::new(), Vec::new(), 0, sizes.iter().cycle());
        let mut framer = Framer::default();
        while at < stream.len() || !buffer.is_empty() {
            let cut_at_once = cut(&buffer, &Limits::default());
            let step = framer.cut(&buffer, &Limits::default());
            prop_assert_eq!(step, cut_at_once, "what was seen before changes nothing");
            match step.expect("SIP") {
                Cut::Message { length } => got.push(buffer.drain(..length).collect::<Vec<u8>>()),
                Cut::KeepAlive { length } => { buffer.drain(..length); }
                Cut::Incomplete => {
                    prop_assert!(at < stream.len(), "nothing is left over");
                    let end = (at + sizes.next().expect("cycles")).min(stream.len());
                    buffer.extend_from_slice(&stream[at..end]);
                    at = end;
                }
            }
        }
        prop_assert_eq!(got, wanted);
    }
}
