//! Messages against bytes written down by hand from RFC 4511 and X.690, and against anything at all.

use super::*;
use proptest::prelude::*;

/// A server's message, made the other way round.
fn encode(id: i32, tag: u8, content: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    ber::put(&mut out, ber::SEQUENCE, |out| {
        ber::put_number(out, ber::INTEGER, id);
        ber::put(out, tag, content);
    });
    out
}

fn encode_entry(id: i32, entry: &Entry) -> Vec<u8> {
    encode(id, ber::application_constructed(4), |out| {
        ber::put_bytes(out, ber::OCTET_STRING, entry.dn.as_bytes());
        ber::put(out, ber::SEQUENCE, |out| {
            for (name, values) in &entry.attributes {
                ber::put(out, ber::SEQUENCE, |out| {
                    ber::put_bytes(out, ber::OCTET_STRING, name.as_bytes());
                    ber::put(out, ber::SET, |out| {
                        values.iter().for_each(|value| ber::put_bytes(out, ber::OCTET_STRING, value));
                    });
                });
            }
        });
    })
}

#[test]
fn a_bind_as_rfc_4511_has_it() {
    let bytes = Request::Bind { name: "cn=a", password: "pw" }.encode(1);
    assert_eq!(bytes, b"\x30\x12\x02\x01\x01\x60\x0d\x02\x01\x03\x04\x04cn=a\x80\x02pw");
}

#[test]
fn start_tls_as_rfc_4511_has_it() {
    let bytes = Request::StartTls.encode(2);
    assert_eq!(bytes, b"\x30\x1d\x02\x01\x02\x77\x18\x80\x161.3.6.1.4.1.1466.20037");
}

#[test]
fn a_search_as_rfc_4511_has_it() {
    let search = Search {
        base: "dc=x".to_owned(),
        scope: Scope::Subtree,
        filter: Filter::equal("cn", "a"),
        attributes: vec!["mail".to_owned()],
        size_limit: 2,
        seconds: 3,
    };
    let expected = b"\x30\x2b\x02\x01\x03\x63\x26\x04\x04dc=x\x0a\x01\x02\x0a\x01\x00\x02\x01\x02\x02\x01\x03\
                     \x01\x01\x00\xa3\x07\x04\x02cn\x04\x01a\x30\x06\x04\x04mail";
    assert_eq!(Request::Search(&search).encode(3), expected);
}

#[test]
fn results_as_rfc_4511_has_them() {
    let refused = Message::read(b"\x30\x0f\x02\x01\x01\x61\x0a\x0a\x01\x31\x04\x00\x04\x03no!").expect("a result");
    assert_eq!(refused, Message { id: 1, answer: Answer::Bound(Outcome { code: 49, diagnostic: "no!".to_owned() }) });

    // Active Directory hangs up: message 0, and the name of the notice where controls belong.
    let hung_up = b"\x30\x12\x02\x01\x00\x78\x07\x0a\x01\x34\x04\x00\x04\x00\x8a\x041.23";
    let answer = Message::read(hung_up).expect("a notice").answer;
    assert_eq!(answer, Answer::Extended(Outcome { code: 52, diagnostic: String::new() }));
}

#[test]
fn nesting_without_end_is_one_error() {
    let mut bytes = Vec::new();
    let levels = 100_000u32;
    for level in 0..levels {
        bytes.extend([0x30, 0x83]);
        bytes.extend(&((levels - level - 1) * 5).to_be_bytes()[1..]);
    }
    assert_eq!(Message::length(&bytes), Ok(Some(bytes.len())));
    assert_eq!(Message::read(&bytes), Err(Malformed("a message begins with its number")));
}

#[test]
fn results_without_insides_are_errors() {
    for bytes in [b"\x30\x05\x02\x01\x01\x61\x00".as_slice(), b"\x30\x06\x02\x01\x01\x61\x01\x00", b"\x30\x00", b""] {
        Message::read(bytes).expect_err("it has no result code");
    }
}

#[test]
fn names_of_attributes_have_no_case_and_may_have_options() {
    let entry = Entry {
        dn: "cn=a".to_owned(),
        attributes: vec![
            ("proxyAddresses;range=0-1".to_owned(), vec![b"SMTP:a@x".to_vec(), vec![0xff], b"sip:a@x".to_vec()]),
            ("MAIL".to_owned(), vec![b" ".to_vec()]),
        ],
    };
    assert_eq!(entry.texts("proxyaddresses").collect::<Vec<_>>(), ["SMTP:a@x", "sip:a@x"]);
    assert_eq!(entry.text("mail"), None, "an empty value is none");
    assert_eq!(entry.text("proxy"), None);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Message::length(&bytes);
        let _ = Message::read(&bytes);
    }

    #[test]
    fn bytes_that_look_like_messages_are_read_or_refused(
        tag in prop::sample::select(vec![0x61u8, 0x64, 0x65, 0x73, 0x78]),
        content in proptest::collection::vec(prop::sample::select(vec![0u8, 1, 2, 3, 4, 10, 0x30, 0x31, 0x82, 0x84]), 0..60),
    ) {
        let _ = Message::read(&encode(7, tag, |out| out.extend(content)));
    }

    #[test]
    fn entries_come_back(
        dn: String,
        attributes in proptest::collection::vec(
            (any::<String>(), proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..4)), 0..4),
    ) {
        let entry = Entry { dn, attributes };
        let bytes = encode_entry(9, &entry);
        prop_assert_eq!(Message::length(&bytes), Ok(Some(bytes.len())));
        prop_assert_eq!(Message::read(&bytes), Ok(Message { id: 9, answer: Answer::Entry(entry) }));
        prop_assert!(Message::read(&bytes[..bytes.len() - 1]).is_err());
    }
}
