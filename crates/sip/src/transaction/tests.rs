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

    #[test]
    fn a_response_without_branch_finds_its_request() {
        let mut table = ClientTransactions::new(8);
        table.begin(&parse(&request("1 REGISTER", PLAIN)), SECOND, "first").expect("begun");
        table.begin(&parse(&request("2 REGISTER", PLAIN)), SECOND, "second").expect("begun");
        let trying = response(100, "2  REGISTER", PLAIN);
        assert_eq!(table.answered(&parse(&trying)), Some(Answer::Provisional(&mut "second")));
        let ok = response(200, "02 REGISTER", PLAIN);
        assert_eq!(table.answered(&parse(&ok)), Some(Answer::Final("second")));
        assert_eq!(table.answered(&parse(&ok)), None, "answered once");
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn the_method_is_part_of_the_name() {
        let mut table = ClientTransactions::new(8);
        table.begin(&parse(&request("1 SUBSCRIBE", PLAIN)), SECOND, ()).expect("begun");
        assert_eq!(table.answered(&parse(&response(200, "1 SERVICE", PLAIN))), None);
        assert_eq!(table.answered(&parse(&request("1 SUBSCRIBE", PLAIN))), None, "a request answers nothing");
    }

    #[test]
    fn branches_that_are_there_must_agree() {
        let mut table = ClientTransactions::new(8);
        let sent = request("1 OPTIONS", "c.example:5061;branch=z9hG4bKone");
        table.begin(&parse(&sent), SECOND, ()).expect("begun");
        let stray = response(200, "1 OPTIONS", "c.example:5061;branch=z9hG4bKtwo");
        assert_eq!(table.answered(&parse(&stray)), None);
        let silent = response(180, "1 OPTIONS", "c.example:5061");
        assert_eq!(table.answered(&parse(&silent)), Some(Answer::Provisional(&mut ())), "a server may drop it");
        let own = response(200, "1 OPTIONS", "c.example:5061;received=192.0.2.1;branch=z9hG4bKone");
        assert_eq!(table.answered(&parse(&own)), Some(Answer::Final(())));
    }

    #[test]
    fn each_request_has_its_deadline() {
        let mut table = ClientTransactions::new(8);
        let late = table.begin(&parse(&request("1 SERVICE", PLAIN)), 3 * SECOND, "late").expect("begun");
        let soon = table.begin(&parse(&request("2 SERVICE", PLAIN)), SECOND, "soon").expect("begun");
        assert_eq!(table.next_deadline(), Some(SECOND));
        assert_eq!(table.expire(SECOND - Duration::from_nanos(1)), []);
        assert_eq!(table.expire(SECOND), [(soon, "soon")]);
        assert_eq!(table.next_deadline(), Some(3 * SECOND));
        assert_eq!(table.give_up(&late), Some("late"));
        assert_eq!((table.next_deadline(), table.is_empty()), (None, true));
    }

    #[test]
    fn the_end_of_the_connection_ends_all() {
        let mut table = ClientTransactions::new(8);
        table.begin(&parse(&request("1 SERVICE", PLAIN)), SECOND, ()).expect("begun");
        assert_eq!(table.end().len(), 1);
        assert!(table.is_empty());
    }

    #[test]
    fn what_cannot_be_told_apart_is_not_sent() {
        let mut table = ClientTransactions::new(1);
        table.begin(&parse(&request("1 SERVICE", PLAIN)), SECOND, ()).expect("begun");
        let again = table.begin(&parse(&request("1 SERVICE", PLAIN)), SECOND, ());
        assert_eq!(again, Err(NotBegun::AlreadyPending));
        let more = table.begin(&parse(&request("2 SERVICE", PLAIN)), SECOND, ());
        assert_eq!(more, Err(NotBegun::TooMany { limit: 1 }));
        let unnamed = "SERVICE sip:a SIP/2.0\r\nCSeq: 3 SERVICE\r\n\r\n";
        let unnamed = table.begin(&parse(unnamed), SECOND, ());
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
    fn an_answer_is_given_again_until_it_is_forgotten() {
        let limits = ServerLimits { in_progress: 4, answers: 4, linger: SECOND };
        let mut table = ServerTransactions::new(limits);
        let one = key(&request("1 SERVICE", PLAIN));
        assert_eq!(table.arrived(one.clone(), Duration::ZERO), Arrival::New);
        assert_eq!(table.arrived(one.clone(), Duration::ZERO), Arrival::InProgress);
        table.answered(&one, b"200", Duration::ZERO);
        table.answered(&one, b"500", Duration::ZERO);
        assert_eq!(table.arrived(one.clone(), SECOND / 2), Arrival::Answered(b"200"), "the first answer stands");
        assert_eq!(table.in_progress(), 0);
        assert_eq!(table.arrived(one, SECOND), Arrival::New);
    }

    #[test]
    fn limits_hold() {
        let limits = ServerLimits { in_progress: 1, answers: 1, linger: SECOND };
        let mut table = ServerTransactions::new(limits);
        let keys = ["1 SERVICE", "2 SERVICE", "3 SERVICE"].map(|cseq| key(&request(cseq, PLAIN)));
        assert_eq!(table.arrived(keys[0].clone(), Duration::ZERO), Arrival::New);
        assert_eq!(table.arrived(keys[1].clone(), Duration::ZERO), Arrival::TooMany);
        table.answered(&keys[0], b"one", Duration::ZERO);
        assert_eq!(table.arrived(keys[1].clone(), Duration::ZERO), Arrival::New);
        table.answered(&keys[1], b"two", Duration::ZERO);
        assert_eq!(table.arrived(keys[1].clone(), Duration::ZERO), Arrival::Answered(b"two"));
        assert_eq!(table.arrived(keys[0].clone(), Duration::ZERO), Arrival::New, "the oldest answer made room");
    }

    #[test]
    fn by_default_nothing_is_kept() {
        let mut table = ServerTransactions::new(ServerLimits::default());
        let one = key(&request("1 SERVICE", PLAIN));
        assert_eq!(table.arrived(one.clone(), Duration::ZERO), Arrival::New);
        table.answered(&one, b"200", Duration::ZERO);
        assert_eq!(table.in_progress(), 0);
        assert_eq!(table.arrived(one, Duration::ZERO), Arrival::New);
    }

    #[test]
    fn a_request_without_its_headers_has_no_key() {
        let text = "REGISTER sip:a SIP/2.0\r\nCSeq: 1 REGISTER\r\n\r\n";
        assert_eq!(ServerKey::of(&parse(text)).expect_err("no Via").header, "Via");
    }
}
