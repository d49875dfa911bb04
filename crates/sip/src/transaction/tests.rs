//! Matching with and without a branch, deadlines, limits.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn request(cseq: &str, via: &str) -> String {
    let method = cseq.split(' ').next_back().unwrap_or_default();
    format!(
        "{method} sip:contoso.test SIP/2.0\r\nVia: SIP/2.0/TLS {via}\r\nFrom: <sip:alice@contoso.test>;tag=a1;epid=e1\r\n\
         To: <sip:alice@contoso.test>\r\nCall-ID: call-1\r\nCSeq: {cseq}\r\nContent-Length: 0\r\n\r\n"
    )
}

fn response(code: u16, cseq: &str, via: &str) -> String {
    format!(
        "SIP/2.0 {code} Whatever\r\nVia: SIP/2.0/TLS {via}\r\nFrom: <sip:alice@contoso.test>;tag=a1;epid=e1\r\n\
         To: <sip:alice@contoso.test>;tag=b1\r\nCall-ID: call-1\r\nCSeq: {cseq}\r\nContent-Length: 0\r\n\r\n"
    )
}

fn parse(text: &str) -> Message<'_> {
    Message::parse(text.as_bytes()).expect("a message")
}

const PLAIN: &str = "192.0.2.10:50230";

mod client {
    use super::*;

    fn begun(limit: usize, requests: &[&str]) -> ClientTransactions {
        let mut table = ClientTransactions::new(limit);
        for request in requests {
            table.begin(&parse(request), SECOND).expect("begun");
        }
        table
    }

    fn key(cseq: &str) -> ClientKey {
        ClientKey { call_id: "call-1".to_owned(), cseq: cseq.to_owned() }
    }

    #[test]
    fn a_response_without_branch_finds_its_request() {
        let mut table = begun(8, &[&request("1 REGISTER", PLAIN), &request("2 REGISTER", PLAIN)]);
        let trying = response(100, "2  REGISTER", PLAIN);
        assert_eq!(table.answered(&parse(&trying)), Some(Answer::Provisional(key("2 REGISTER"))));
        let ok = response(200, "02 REGISTER", PLAIN);
        assert_eq!(table.answered(&parse(&ok)), Some(Answer::Final(key("2 REGISTER"))));
        assert_eq!(table.answered(&parse(&ok)), None, "answered once");
        assert_eq!(table.answered(&parse(&response(200, "1 REGISTER", PLAIN))), Some(Answer::Final(key("1 REGISTER"))));
    }

    #[test]
    fn the_method_is_part_of_the_name() {
        let mut table = begun(8, &[&request("1 SUBSCRIBE", PLAIN)]);
        assert_eq!(table.answered(&parse(&response(200, "1 SERVICE", PLAIN))), None);
        assert_eq!(table.answered(&parse(&request("1 SUBSCRIBE", PLAIN))), None, "a request answers nothing");
    }

    #[test]
    fn branches_that_are_there_must_agree() {
        let mut table = begun(8, &[&request("1 OPTIONS", "c.example:5061;branch=z9hG4bKone")]);
        let stray = response(200, "1 OPTIONS", "c.example:5061;branch=z9hG4bKtwo");
        assert_eq!(table.answered(&parse(&stray)), None);
        let silent = response(180, "1 OPTIONS", "c.example:5061");
        assert_eq!(
            table.answered(&parse(&silent)),
            Some(Answer::Provisional(key("1 OPTIONS"))),
            "a server may drop it"
        );
        let own = response(200, "1 OPTIONS", "c.example:5061;received=192.0.2.1;branch=z9hG4bKone");
        assert_eq!(table.answered(&parse(&own)), Some(Answer::Final(key("1 OPTIONS"))));
    }

    #[test]
    fn what_is_late_is_a_stray() {
        let mut table = begun(8, &[&request("2 SERVICE", PLAIN)]);
        table.begin(&parse(&request("1 SERVICE", PLAIN)), 3 * SECOND).expect("begun");
        table.expire(SECOND - Duration::from_nanos(1));
        assert!(table.answered(&parse(&response(100, "2 SERVICE", PLAIN))).is_some());
        table.expire(SECOND);
        assert_eq!(table.answered(&parse(&response(200, "2 SERVICE", PLAIN))), None);
        assert!(table.answered(&parse(&response(200, "1 SERVICE", PLAIN))).is_some());
    }

    #[test]
    fn what_cannot_be_told_apart_is_not_sent() {
        let mut table = begun(1, &[&request("1 SERVICE", PLAIN)]);
        let again = table.begin(&parse(&request("1 SERVICE", PLAIN)), SECOND);
        assert_eq!(again, Err(NotBegun::AlreadyPending));
        let more = table.begin(&parse(&request("2 SERVICE", PLAIN)), SECOND);
        assert_eq!(more, Err(NotBegun::TooMany { limit: 1 }));
        let unnamed = "SERVICE sip:a SIP/2.0\r\nCSeq: 3 SERVICE\r\n\r\n";
        let unnamed = table.begin(&parse(unnamed), SECOND);
        assert_eq!(unnamed, Err(NotBegun::Unnamed(HeaderError { header: "Call-ID", why: "it is missing" })));
    }
}

mod server {
    use super::*;

    fn key(text: &str) -> ServerKey {
        ServerKey::of(&parse(text)).expect("a key")
    }

    #[test]
    fn without_branch_a_request_names_itself() {
        let first = request("1 REGISTER", PLAIN);
        assert_eq!(key(&first), key(&request("1 REGISTER", "192.0.2.10:999")), "where it came from does not matter");
        assert_ne!(key(&first), key(&request("2 REGISTER", PLAIN)));
        assert_ne!(key(&first), key(&request("1 SUBSCRIBE", PLAIN)));
        assert_ne!(key(&first), key(&first.replace("tag=a1", "tag=a2")));
        assert_ne!(key(&first), key(&first.replace("call-1", "call-2")));
    }

    #[test]
    fn with_branch_the_via_names_it() {
        let first = request("1 REGISTER", "c.example;branch=z9hG4bKx");
        let other_names = first.replace("tag=a1", "tag=a2").replace("call-1", "call-2");
        assert_eq!(key(&first), key(&other_names));
        assert_eq!(key(&first), key(&request("1 REGISTER", "C.Example:5061;branch=z9hG4bKx")));
        assert_ne!(key(&first), key(&request("1 REGISTER", "d.example;branch=z9hG4bKx")));
        assert_ne!(key(&first), key(&request("1 REGISTER", "c.example;branch=z9hG4bKX")));
        assert_ne!(key(&first), key(&request("1 OPTIONS", "c.example;branch=z9hG4bKx")));
    }

    /// RFC 4475 §3.2.1: the cookie and nothing after it.
    #[test]
    fn a_bare_cookie_is_no_branch() {
        let bare = request("1 OPTIONS", "192.0.2.1;branch=z9hG4bK");
        assert_eq!(key(&bare), key(&request("1 OPTIONS", "192.0.2.2")));
        assert_ne!(key(&bare), key(&bare.replace("call-1", "call-2")));
    }

    #[test]
    fn ack_and_cancel_find_their_invite() {
        for via in ["c.example;branch=z9hG4bKx", PLAIN] {
            let invite = key(&request("7 INVITE", via));
            assert_eq!(key(&request("7 ACK", via)), invite);
            let cancel = request("7 CANCEL", via);
            assert_ne!(key(&cancel), invite);
            assert_eq!(ServerKey::cancelled_by(&parse(&cancel)), Ok(invite));
        }
    }

    #[test]
    fn a_request_without_its_headers_has_no_key() {
        let text = "REGISTER sip:a SIP/2.0\r\nCSeq: 1 REGISTER\r\n\r\n";
        assert_eq!(ServerKey::of(&parse(text)).expect_err("no Via").header, "Via");
    }
}
