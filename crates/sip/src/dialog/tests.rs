//! A subscription seen from both ends.

use super::*;

const SUBSCRIBE: &str = "SUBSCRIBE sip:bob@contoso.test SIP/2.0\r\n\
Via: SIP/2.0/TLS 192.0.2.10:50230\r\n\
From: \"Alice\" <sip:alice@contoso.test>;tag=a1;epid=e1\r\n\
To: <sip:bob@contoso.test>\r\n\
Call-ID: call-1\r\n\
CSeq: 4 SUBSCRIBE\r\n\
Contact: <sip:alice@contoso.test;opaque=user:epid:x;gruu>\r\n\
Record-Route: <sip:fe01.contoso.test:5061;transport=tls;lr>, <sip:edge.contoso.test;lr>\r\n\
Content-Length: 0\r\n\r\n";

const OK: &str = "SIP/2.0 200 OK\r\n\
Via: SIP/2.0/TLS 192.0.2.10:50230\r\n\
From: \"Alice\" <sip:alice@contoso.test>;tag=a1;epid=e1\r\n\
To: <sip:bob@contoso.test>;tag=b1\r\n\
Call-ID: call-1\r\n\
CSeq: 4 SUBSCRIBE\r\n\
Contact: <sip:fe02.contoso.test:5061>\r\n\
Record-Route: <sip:fe01.contoso.test:5061;transport=tls;lr>\r\n\
Record-Route: <sip:edge.contoso.test;lr>\r\n\
Content-Length: 0\r\n\r\n";

fn parse(text: &str) -> Message<'_> {
    Message::parse(text.as_bytes()).expect("a message")
}

fn client() -> Dialog {
    Dialog::of_client(&parse(SUBSCRIBE), &parse(OK)).expect("a dialog")
}

fn server() -> Dialog {
    Dialog::of_server(&parse(SUBSCRIBE), &parse(OK)).expect("a dialog")
}

fn written(draft: Draft) -> String {
    String::from_utf8(draft.finish()).expect("text")
}

#[test]
fn the_two_ends_name_it_the_other_way_round() {
    let id = |local: &str, remote: &str| DialogId {
        call_id: "call-1".to_owned(),
        local_tag: local.to_owned(),
        remote_tag: remote.to_owned(),
    };
    assert_eq!(client().id(), &id("a1", "b1"));
    assert_eq!(server().id(), &id("b1", "a1"));
}

#[test]
fn the_next_request_of_the_client() {
    let text = written(client().request("SUBSCRIBE", "SIP/2.0/TLS 192.0.2.10:50230").expect("written"));
    assert_eq!(
        text,
        "SUBSCRIBE sip:fe02.contoso.test:5061 SIP/2.0\r\n\
         Via: SIP/2.0/TLS 192.0.2.10:50230\r\n\
         Max-Forwards: 70\r\n\
         Route: <sip:edge.contoso.test;lr>\r\n\
         Route: <sip:fe01.contoso.test:5061;transport=tls;lr>\r\n\
         From: \"Alice\" <sip:alice@contoso.test>;tag=a1;epid=e1\r\n\
         To: <sip:bob@contoso.test>;tag=b1\r\n\
         Call-ID: call-1\r\n\
         CSeq: 5 SUBSCRIBE\r\n\
         Content-Length: 0\r\n\r\n"
    );
}

#[test]
fn the_first_request_of_the_server() {
    let text = written(server().request("NOTIFY", "SIP/2.0/TLS fe02.contoso.test").expect("written"));
    assert_eq!(
        text,
        "NOTIFY sip:alice@contoso.test;opaque=user:epid:x;gruu SIP/2.0\r\n\
         Via: SIP/2.0/TLS fe02.contoso.test\r\n\
         Max-Forwards: 70\r\n\
         Route: <sip:fe01.contoso.test:5061;transport=tls;lr>\r\n\
         Route: <sip:edge.contoso.test;lr>\r\n\
         From: <sip:bob@contoso.test>;tag=b1\r\n\
         To: \"Alice\" <sip:alice@contoso.test>;tag=a1;epid=e1\r\n\
         Call-ID: call-1\r\n\
         CSeq: 1 NOTIFY\r\n\
         Content-Length: 0\r\n\r\n"
    );
}

#[test]
fn each_end_accepts_what_the_other_writes() {
    let (mut client, mut server) = (client(), server());
    for _ in 0..3 {
        let notify = written(server.request("NOTIFY", "SIP/2.0/TLS fe02").expect("written"));
        assert_eq!(client.receive(&parse(&notify)), Ok(()));
        let refresh = written(client.request("SUBSCRIBE", "SIP/2.0/TLS c").expect("written"));
        assert_eq!(server.receive(&parse(&refresh)), Ok(()));
    }
}

#[test]
fn cseq_goes_up() {
    let mut server = server();
    let later = |cseq: &str| SUBSCRIBE.replace("test>\r\nCall", "test>;tag=b1\r\nCall").replace("4 SUBSCRIBE", cseq);
    let refused = Err(DialogError::OutOfOrder { last: 4, got: 4 });
    assert_eq!(server.receive(&parse(&later("4 SUBSCRIBE"))), refused);
    assert_eq!(server.receive(&parse(&later("9 SUBSCRIBE"))), Ok(()), "gaps are allowed");
    let refused = Err(DialogError::OutOfOrder { last: 9, got: 8 });
    assert_eq!(server.receive(&parse(&later("8 SUBSCRIBE"))), refused);
    assert_eq!(server.receive(&parse(&later("9 ACK"))), Ok(()), "an ACK repeats its INVITE's number");
}

#[test]
fn another_dialog_is_not_touched() {
    let mut server = server();
    for other in [SUBSCRIBE.to_owned(), SUBSCRIBE.replace("test>\r\nCall", "test>;tag=B1\r\nCall")] {
        assert_eq!(server.receive(&parse(&other)), Err(DialogError::AnotherDialog));
    }
}

#[test]
fn the_other_end_may_move() {
    let mut server = server();
    let moved = SUBSCRIBE
        .replace("test>\r\nCall", "test>;tag=b1\r\nCall")
        .replace("4 SUBSCRIBE", "5 SUBSCRIBE")
        .replace("sip:alice@contoso.test;opaque=user:epid:x;gruu", "sip:192.0.2.77:5061");
    server.receive(&parse(&moved)).expect("accepted");
    assert_eq!(server.remote_target(), "sip:192.0.2.77:5061");
    let mut client = client();
    client.answered(&parse(&OK.replace("fe02", "fe03"))).expect("accepted");
    assert_eq!(client.remote_target(), "sip:fe03.contoso.test:5061");
    client.answered(&parse(&OK.replace("fe02", "fe04").replace("200 OK", "481 Gone"))).expect("noticed");
    assert_eq!(client.remote_target(), "sip:fe03.contoso.test:5061", "a refusal moves nothing");
}

/// §12.2.1.1: a proxy without `lr` takes the Request-URI; the target is the last Route.
#[test]
fn a_strict_router_comes_first() {
    let strict = OK.replace("<sip:edge.contoso.test;lr>", "<sip:edge.contoso.test>");
    let mut dialog = Dialog::of_client(&parse(SUBSCRIBE), &parse(&strict)).expect("a dialog");
    let text = written(dialog.request("SUBSCRIBE", "SIP/2.0/TLS c").expect("written"));
    assert!(text.starts_with("SUBSCRIBE sip:edge.contoso.test SIP/2.0\r\n"), "{text}");
    let request = parse(&text);
    let routes: Vec<_> = request.all(Name::Route).collect();
    assert_eq!(routes, ["<sip:fe01.contoso.test:5061;transport=tls;lr>", "<sip:fe02.contoso.test:5061>"]);
}

#[test]
fn what_begins_no_dialog() {
    let of = |request: &str, response: &str| Dialog::of_client(&parse(request), &parse(response)).expect_err("none");
    assert_eq!(of(SUBSCRIBE, &OK.replace("200 OK", "403 No")), DialogError::NotAccepted(403));
    assert_eq!(of(SUBSCRIBE, SUBSCRIBE), DialogError::NotAccepted(0));
    let two = OK.replace("<sip:fe02.contoso.test:5061>", "<sip:a.test>, <sip:b.test>");
    let why = HeaderError { header: "Contact", why: "a dialog has exactly one" };
    assert_eq!(of(SUBSCRIBE, &two), DialogError::Header(why));
    let untagged = OK.replace(";tag=b1", "");
    assert!(Dialog::of_server(&parse(SUBSCRIBE), &parse(&untagged)).is_err());
    let old = Dialog::of_client(&parse(SUBSCRIBE), &parse(&untagged)).expect("RFC 2543 had no tags");
    assert_eq!(old.id().remote_tag, "");
}

#[test]
fn numbers_run_out_but_do_not_wrap() {
    let last = SUBSCRIBE.replace("4 SUBSCRIBE", "2147483647 SUBSCRIBE");
    let mut dialog = Dialog::of_client(&parse(&last), &parse(OK)).expect("a dialog");
    assert_eq!(dialog.request("SUBSCRIBE", "SIP/2.0/TLS c").map(written), Err(DialogError::Exhausted));
}
