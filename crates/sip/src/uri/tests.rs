//! SIP URIs and their parts.

use super::*;

fn uri(text: &str) -> Uri<'_> {
    Uri::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn parts() {
    let cases = [
        ("sip:a@b.c", Some("a"), "b.c", None, "", ""),
        ("SIPS:a:secret@b.c:5061", Some("a"), "b.c", Some(5061), "", ""),
        ("sip:b.c;transport=tls;lr", None, "b.c", None, ";transport=tls;lr", ""),
        ("sip:a@[2001:db8::1]:5060;x?h=1&i=2", Some("a"), "[2001:db8::1]", Some(5060), ";x", "h=1&i=2"),
        ("sip:[::ffff:192.0.2.1]", None, "[::ffff:192.0.2.1]", None, "", ""),
        ("sip:user;par=u%40e.n?x@b.c", Some("user;par=u%40e.n?x"), "b.c", None, "", ""),
        ("sip:a@b.c;opaque=user:epid:x;gruu", Some("a"), "b.c", None, ";opaque=user:epid:x;gruu", ""),
        ("sip:a@b.c;x=y@z", Some("a"), "b.c", None, ";x=y@z", ""),
        ("sip:a@b.c?to=y@z", Some("a"), "b.c", None, "", "to=y@z"),
        ("sip:+1-212-555-1212:1234@gw.test;user=phone", Some("+1-212-555-1212"), "gw.test", None, ";user=phone", ""),
    ];
    for (text, user, host, port, params, headers) in cases {
        let read = uri(text);
        let seen = (read.user, read.host, read.port, read.params.as_str(), read.headers);
        assert_eq!(seen, (user, host, port, params, headers), "{text}");
    }
}

#[test]
fn what_is_no_sip_uri() {
    for text in [
        "",
        "sip",
        "sip:",
        "tel:+1",
        "sip:@b.c",
        "sip::pw@b.c",
        "sip:a@",
        "sip:a@b c",
        "sip:a b@c",
        "sip:a@b.c;x=\"y\"",
        "<sip:a@b.c>",
        "sip:a@b.c:",
        "sip:a@b.c:+5060",
        "sip:a@b.c:65536",
        "sip:a@b.c:5060x",
        "sip:a@[2001:db8::1",
        "sip:a@2001:db8::1",
        "sip:a@[2001:db8::1]5060",
        "sip:a@[1:2]",
        "sip:a@[b.c]",
        "sip:a@b/c",
        "sip:a%4@b.c",
        "sip:a%zz@b.c",
        "sip:a@b.c;x=%",
    ] {
        assert!(Uri::parse(text).is_err(), "{text}");
    }
}

#[test]
fn addresses_are_compared_without_needless_escapes() {
    assert_eq!(uri("sip:%75se%72@EXAMPLE.com").address().as_deref(), Some("user@example.com"));
    assert_eq!(uri("sip:User@example.com;x").address().as_deref(), Some("user@example.com"));
    assert_eq!(uri("sip:a%40B@c.d").address().as_deref(), Some("a%40b@c.d"));
    assert_eq!(uri("sip:null-%00-null@c.d").address().as_deref(), Some("null-%00-null@c.d"));
    assert_ne!(uri("sip:%00@c.d").address(), uri("sip:%00%00@c.d").address());
    assert_eq!(uri("sip:c.d").address(), None);
}
