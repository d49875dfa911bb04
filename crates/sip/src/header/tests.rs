//! Single header values: what is understood, and what is refused.

use super::*;

fn name_addr(value: &str) -> NameAddr<'_> {
    NameAddr::parse(value).unwrap_or_else(|e| panic!("{value}: {e}"))
}

#[test]
fn names_and_addresses() {
    let cases = [
        ("sip:a@b.c", None, "sip:a@b.c", ""),
        ("sip:a@b.c;tag=1", None, "sip:a@b.c", ";tag=1"),
        ("<sip:a@b.c;x=1>;tag=1", None, "sip:a@b.c;x=1", ";tag=1"),
        ("<sip:a@b.c?Route=%3Csip:x%3E,y>", None, "sip:a@b.c?Route=%3Csip:x%3E,y", ""),
        ("Alice Liddell <sip:a@b.c> ; tag = 1", Some("Alice Liddell"), "sip:a@b.c", "; tag = 1"),
        ("caller<sip:a@b.c>", Some("caller"), "sip:a@b.c", ""),
        ("\"Liddell, A <x>; \\\"Q\\\" \\\\\"\r\n <sip:a@b.c>", Some("Liddell, A <x>; \\\"Q\\\" \\\\"), "sip:a@b.c", ""),
        ("\"\" <sip:a@b.c>", Some(""), "sip:a@b.c", ""),
        ("J\u{fc}rgen <sip:a@b.c>", Some("J\u{fc}rgen"), "sip:a@b.c", ""),
        ("<sip:user;par=u%40x?y@b.c>", None, "sip:user;par=u%40x?y@b.c", ""),
    ];
    for (value, display, uri, params) in cases {
        let read = name_addr(value);
        assert_eq!((read.display, read.uri, read.params.as_str()), (display, uri, params), "{value}");
    }
}

#[test]
fn what_is_no_name_and_no_address() {
    for value in [
        "",
        ";tag=1",
        "<>",
        "<sip:a@b.c",
        "\"open <sip:a@b.c>",
        "\"escaped end\\\" <sip:a@b.c>",
        "\"name\" sip:a@b.c",
        "<sip:a@b.c> text",
        "< sip:a@b.c >",
        "<sip:a@b.c\r\n >",
        "Bell, Alexander <sip:a@b.c>",
        "A\" <sip:a@b.c>",
        "sip:a@b.c?Route=x",
    ] {
        assert!(NameAddr::parse(value).is_err(), "{value}");
    }
}

#[test]
fn parameters_and_their_quotes() {
    let params = Params::after(" ;a=1; B ;;c=\"x;y=\\\";z\" ;\r\n d = <urn:x;y> ; e=\"open;f=1").expect("parameters");
    let seen: Vec<_> = params.iter().collect();
    let expected = [
        ("a", Some("1")),
        ("B", None),
        ("c", Some("\"x;y=\\\";z\"")),
        ("d", Some("<urn:x;y>")),
        ("e", Some("\"open;f=1")),
    ];
    assert_eq!(seen, expected);
    assert_eq!(params.get("C"), Some("x;y=\\\";z"));
    assert_eq!(params.get("b"), Some(""));
    assert_eq!(params.get("f"), None);
    assert_eq!(Params::after("x=1"), None);
    assert_eq!(Params::after("").map(|p| p.iter().count()), Some(0));
}

#[test]
fn lists_do_not_end_inside_quotes_or_brackets() {
    let list = "\"a, b\" <sip:c,d@e>;x=\"1,2\", , <sip:f>,g";
    assert_eq!(split_list(list).collect::<Vec<_>>(), ["\"a, b\" <sip:c,d@e>;x=\"1,2\"", "<sip:f>", "g"]);
    assert_eq!(split_list("a\r\n , b,\"c\\\",d").collect::<Vec<_>>(), ["a", "b", "\"c\\\",d"]);
    assert_eq!(split_list(" ,, ").count(), 0);
}

#[test]
fn sequence_numbers() {
    assert_eq!(CSeq::parse("0009\r\n  INVITE"), Ok(CSeq { number: 9, method: "INVITE" }));
    assert_eq!(CSeq::parse("2147483647 X"), Ok(CSeq { number: 2_147_483_647, method: "X" }));
    for value in ["", "1", "INVITE", "+1 A", "-1 A", "2147483648 A", "36893488147419103232 A", "1 A B", "1 \u{e4}"] {
        assert!(CSeq::parse(value).is_err(), "{value}");
    }
}

#[test]
fn vias() {
    let via = Via::parse("SIP  /   2.0\r\n /UDP\r\n    192.0.2.2 : 5060 ;branch=390skdjuw").expect("a Via");
    assert_eq!((via.transport, via.host, via.port), ("UDP", "192.0.2.2", Some(5060)));
    assert_eq!(via.params.get("branch"), Some("390skdjuw"));
    let via = Via::parse("sip/2.0/TLS [2001:db8::9]:5061;received=[2001:db8::9]").expect("a Via");
    assert_eq!((via.host, via.port), ("[2001:db8::9]", Some(5061)));
    for value in ["", "SIP/2.0/TLS", "SIP/7.0/TLS a", "HTTP/2.0/TLS a", "SIP/2.0/ a", "SIP/2.0/T/S a", "SIP/2.0/TLS ;x"]
    {
        assert!(Via::parse(value).is_err(), "{value}");
    }
}

#[test]
fn seconds_end_at_the_largest_number() {
    assert_eq!(delta_seconds(" 0600 "), Some(600));
    assert_eq!(delta_seconds("4294967296"), Some(u32::MAX));
    assert_eq!(delta_seconds(&"9".repeat(100)), Some(u32::MAX));
    for text in ["", "-1", "+1", "1.5", "7200;x"] {
        assert_eq!(delta_seconds(text), None, "{text}");
    }
}

#[test]
fn quotes_come_off_in_pairs() {
    assert_eq!((unquoted("\"a\""), unquoted("\"a"), unquoted("\""), unquoted("a")), ("a", "\"a", "\"", "a"));
}
