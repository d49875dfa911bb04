//! Any messages in any order.

use super::*;
use proptest::prelude::*;

fn me() -> Myself {
    Myself {
        aor: "alice@contoso.test".parse().expect("an address"),
        epid: "a1".to_owned(),
        user_agent: "test".to_owned(),
        contact: "<sip:alice@contoso.test;gruu>".to_owned(),
        local: SocketAddr::from(([192, 0, 2, 7], 50_000)),
    }
}

/// Messages with the right names in them, and anything else.
fn message() -> impl Strategy<Value = String> {
    let methods = ["INVITE", "ACK", "BYE", "CANCEL", "MESSAGE", "INFO", "OPTIONS", "UPDATE", "REFER", "NOTIFY", "X"];
    let types =
        ["text/plain", "text/html", "text/rtf", "application/sdp", "application/xml", "multipart/mixed; boundary=b"];
    let start = (0..methods.len(), 0..12_u16).prop_map(move |(method, code)| match code {
        0..6 => (format!("{} sip:alice@contoso.test SIP/2.0", methods[method]), methods[method]),
        code => (format!("SIP/2.0 {} OK", [180, 200, 408, 480, 481, 486][usize::from(code) - 6]), methods[method]),
    });
    let dialog = (0..3_u8, 0..3_u8, 0..4_u32, 0..types.len(), any::<bool>(), "[ -~]{0,40}", "[ -~]{0,30}");
    (start, dialog).prop_map(move |((start, method), (call, tag, number, kind, first, body, odd))| {
        let tag = ["", ";tag=", ";tag=t"][usize::from(tag)];
        let body = if kind == 3 { "v=0\r\nm=message 5060 sip null\r\n".to_owned() } else { body };
        let first = if first { "ms-text-format: text/plain;ms-body=aGk=\r\n" } else { "" };
        format!(
            "{start}\r\nVia: SIP/2.0/TLS x;branch=z9hG4bK1\r\nFrom: <sip:bob@contoso.test>;tag=f\r\n\
             To: <sip:alice@contoso.test>{tag}\r\nCall-ID: 0707070707070707{call}\r\nCSeq: {number} {method}\r\n\
             Contact: <sip:bob@contoso.test;gruu>\r\nContent-Type: {}\r\nX-Odd: {odd}\r\n{first}\r\n{body}",
            types[kind]
        )
    })
}

proptest! {
    /// Whatever the server sends: nothing panics, what goes out can be read, nothing grows without limit.
    #[test]
    fn any_messages_in_any_order(messages in proptest::collection::vec(message(), 0..40), busy: bool) {
        let mut conversations = Conversations::new(me());
        conversations.set_busy(busy);
        let bob = "bob@contoso.test".parse().expect("an address");
        let random = |bytes: &mut [u8]| bytes.fill(7);
        for (second, text) in messages.iter().enumerate() {
            let moment = Moment { now: Duration::from_secs(10 * second as u64), random: &random };
            let message = Message::parse(text.as_bytes()).expect("written above");
            let outcome = match message.method() {
                Some(_) => conversations.request(&moment, &message),
                None => conversations.response(&moment, &message),
            };
            let (_, said) = conversations.say(&moment, &bob, Text::plain("x"));
            let expired = conversations.expire(moment.now);
            for draft in outcome.into_iter().chain([said, expired]).flat_map(|outcome| outcome.send) {
                let bytes = draft.finish();
                prop_assert!(Message::parse(&bytes).is_ok(), "{}", String::from_utf8_lossy(&bytes));
            }
            prop_assert!(conversations.open.len() <= MOST);
        }
    }

    /// Every text ends once.
    #[test]
    fn every_text_ends_once(messages in proptest::collection::vec(message(), 0..40)) {
        let mut conversations = Conversations::new(me());
        let bob = "bob@contoso.test".parse().expect("an address");
        let random = |bytes: &mut [u8]| bytes.fill(7);
        let mut open = std::collections::BTreeSet::new();
        let mut ended = Vec::new();
        for text in &messages {
            let moment = Moment { now: Duration::ZERO, random: &random };
            let message = Message::parse(text.as_bytes()).expect("written above");
            let outcome = match message.method() {
                Some(_) => conversations.request(&moment, &message),
                None => conversations.response(&moment, &message),
            };
            let (id, said) = conversations.say(&moment, &bob, Text::plain("x"));
            open.insert(id);
            ended.extend(outcome.into_iter().chain([said]).flat_map(|outcome| outcome.events));
        }
        ended.extend(conversations.expire(Duration::from_secs(3600)).events);
        for event in ended {
            if let Event::Delivered { text, .. } | Event::Failed { text, .. } = event {
                prop_assert!(open.remove(&text), "{text:?} ended twice");
            }
        }
        prop_assert!(open.is_empty(), "{open:?} did not end");
    }
}
