//! The torture messages of RFC 4475, as far as they are about reading a message. Each test is named after its message; the
//! text follows the RFC's, with bodies left out where they do not matter.
//!
//! Where the RFC leaves a choice, this is what we do:
//!
//! | message | choice | why |
//! |---|---|---|
//! | lwsstart, trws, lwsruri | refuse the request line | one space between its parts is what the grammar has; guessing the URI is how requests go astray |
//! | escruri, ltgtruri | read the message, refuse the URI | the message can be answered with 400; only its URI makes no sense |
//! | quotbal, baddn, badaspec, regbadct | read the message, refuse the one header | it may not matter to the request |
//! | clerr, scalar02 | refuse the message or the value, never guess | a length or number that lies is how messages are smuggled |
//! | scalar02 | an Expires too large is 2^32-1 | RFC 3261 §20.19 names that number as the largest |
//! | ncl | refuse | a negative length is no length |
//! | baddate, bigcode | baddate is kept as text; a status code of four digits is no status line | dates are not read by this crate |
//! | badvers | refuse | 505 in the RFC; a connection that speaks another version cannot go on |
//! | badinv01, mismatch01, mismatch02 | read; the two CSeq methods or stray separators are the transaction's to refuse | lossless reading comes first |

use sip::framing::{Cut, FramingError, Limits, cut};
use sip::header::split_list;
use sip::{CSeq, Message, Name, NameAddr, ParseError, Uri, Via};

/// Lines joined as on the wire.
fn wire(lines: &[&str]) -> Vec<u8> {
    let mut text = lines.join("\r\n");
    text.push_str("\r\n\r\n");
    text.into_bytes()
}

fn read(bytes: &[u8]) -> Message<'_> {
    Message::parse(bytes).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}

/// A plain INVITE with these lines besides the usual ones.
fn invite(request_line: &str, more: &[&str]) -> Vec<u8> {
    let mut lines = vec![
        request_line,
        "Via: SIP/2.0/TCP host.example.com;branch=z9hG4bK74bf9",
        "Max-Forwards: 9",
        "Call-ID: 3848276298220188511@host.example.com",
        "CSeq: 9 INVITE",
    ];
    lines.extend_from_slice(more);
    wire(&lines)
}

/// §3.1.1.1: every liberty the grammar allows, folds and compact forms among them.
#[test]
fn wsinv() {
    let bytes = wire(&[
        "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0",
        "TO :",
        " sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n",
        "from   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>",
        "  ;",
        "  tag = 98asjd8",
        "MaX-fOrWaRdS: 0068",
        "Call-ID: wsinv.ndaksdj@192.0.2.1",
        "Content-Length   : 150",
        "cseq: 0009",
        "  INVITE",
        "Via  : SIP  /   2.0",
        " /UDP",
        "    192.0.2.2;branch=390skdjuw",
        "s :",
        "NewFangledHeader:   newfangled value",
        " continued newfangled value",
        "UnknownHeaderWithUnusualValue: ;;,,;;,;",
        "Content-Type: application/sdp",
        "Route:",
        " <sip:services.example.com;lr;unknownwith=value;unknown-no-value>",
        "v:  SIP  / 2.0  / TCP     spindle.example.com   ;",
        "  branch  =   z9hG4bK9ikj8  ,",
        " SIP  /    2.0   / UDP  192.168.255.111   ; branch=",
        " z9hG4bK30239",
        "m:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =",
        "      newvalue ;",
        "  secondparam ; q = 0.33",
    ]);
    let mut bytes = bytes;
    bytes.extend_from_slice(&[b'x'; 150]);
    let message = read(&bytes);
    assert_eq!(message.method(), Some("INVITE"));
    let line = |name| message.headers().iter().find(|h| h.name == name).expect("there").unfolded().into_owned();
    let to = line(Name::To);
    let to = NameAddr::parse(&to).expect("reads");
    assert_eq!((to.uri, to.params.get("tag")), ("sip:vivekg@chair-dnrc.example.com", Some("1918181833n")));
    let from = line(Name::From);
    let from = NameAddr::parse(&from).expect("reads");
    assert_eq!((from.uri, from.params.get("tag")), ("sip:jdrosen@example.com", Some("98asjd8")));
    assert_eq!(CSeq::parse(&line(Name::CSeq)), Ok(CSeq { number: 9, method: "INVITE" }));
    assert_eq!(message.header(Name::Subject), Some(""));
    assert_eq!(message.named("newfangledheader").map(|v| v.contains("continued")), Some(true));
    let contact = line(Name::Contact);
    let contact = NameAddr::parse(&contact).expect("reads");
    assert_eq!((contact.params.get("newparam"), contact.params.get("q")), (Some("newvalue"), Some("0.33")));
    let vias: Vec<String> = message
        .headers()
        .iter()
        .filter(|h| h.name == Name::Via)
        .flat_map(|h| split_list(&h.unfolded()).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert_eq!(vias.len(), 3);
    let via = Via::parse(&vias[1]).expect("reads");
    assert_eq!(
        (via.transport, via.host, via.params.get("branch")),
        ("TCP", "spindle.example.com", Some("z9hG4bK9ikj8"))
    );
    assert_eq!(message.body().len(), 150);
}

/// §3.1.1.2: every character a method, a user, a name may have.
#[test]
fn intmeth() {
    let method = "!interesting-Method0123456789_*+`.%indeed'~";
    let uri =
        "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com";
    let bytes = wire(&[
        &format!("{method} {uri} SIP/2.0"),
        &format!("CSeq: 139122385 {method}"),
        "To: \"BEL:\\\u{7} NUL:\\\u{0} DEL:\\\u{7f}\" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>",
        "extensionHeader-!.%*+_`'~: \u{feff}\u{5927}\u{505c}\u{96fb}",
        "Content-Length: 0",
    ]);
    let message = read(&bytes);
    assert_eq!((message.method(), message.request_uri()), (Some(method), Some(uri)));
    let parsed = Uri::parse(uri).expect("reads");
    assert_eq!(parsed.user, Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"));
    assert_eq!(parsed.host, "example.com");
    assert_eq!(CSeq::parse(message.header(Name::CSeq).expect("there")).expect("reads").method, method);
    assert!(message.named("extensionheader-!.%*+_`'~").is_some());
}

/// §3.1.1.3 and .4: escapes stay escapes; %00 is a character like any other.
#[test]
fn esc01_and_escnull() {
    let uri = "sip:sips%3Auser%40example.com@example.net";
    let bytes = invite(
        &format!("INVITE {uri} SIP/2.0"),
        &["To: sip:%75se%72@example.com", "Contact: <sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>"],
    );
    let message = read(&bytes);
    let parsed = Uri::parse(message.request_uri().expect("request")).expect("reads");
    assert_eq!((parsed.user, parsed.host), (Some("sips%3Auser%40example.com"), "example.net"));
    let contact = NameAddr::parse(message.header(Name::Contact).expect("there")).expect("reads").uri().expect("reads");
    assert_eq!(contact.params.get("n%61me"), Some("v%61lue%25%34%31"));
    assert!(Uri::parse("sip:null-%00-null@example.com").is_ok());
}

/// §3.1.1.5: a % that is no escape is part of a method.
#[test]
fn esc02() {
    let bytes =
        wire(&["RE%47IST%45R sip:registrar.example.com SIP/2.0", "CSeq: 29344 RE%47IST%45R", "Content-Length: 0"]);
    assert_eq!(read(&bytes).method(), Some("RE%47IST%45R"));
}

/// §3.1.1.6: no space between name and bracket.
#[test]
fn lwsdisp() {
    let from = NameAddr::parse("caller<sip:caller@example.com>;tag=323").expect("reads");
    assert_eq!(
        (from.display, from.uri, from.params.get("tag")),
        (Some("caller"), "sip:caller@example.com", Some("323"))
    );
}

/// §3.1.1.7: long values everywhere.
#[test]
fn longreq() {
    let user = "a".repeat(2000);
    let vias: Vec<String> = (0..34).map(|n| format!("v: SIP/2.0/TCP sip{n}.example.com")).collect();
    let to = format!(
        "To: \"I have a user name of {}\" <sip:{user}@example.com:6000;p{}=x>",
        "extreme ".repeat(10),
        "q".repeat(500)
    );
    let mut lines = vec!["INVITE sip:user@example.com SIP/2.0", to.as_str()];
    lines.extend(vias.iter().map(String::as_str));
    let bytes = wire(&lines);
    let message = read(&bytes);
    assert_eq!(message.all(Name::Via).count(), 34);
    let to = NameAddr::parse(message.header(Name::To).expect("there")).expect("reads");
    assert_eq!(to.uri().expect("reads").user.map(str::len), Some(2000));
}

/// §3.1.1.8: two messages in one read; the second begins after the first's Content-Length.
#[test]
fn dblreq() {
    let first = wire(&[
        "REGISTER sip:example.com SIP/2.0",
        "Call-ID: dblreq.0ha0isndaksdj99sdfafnl3lk233412",
        "Content-Length: 8",
    ]);
    let mut bytes = first.clone();
    bytes.extend_from_slice(b"12345678INVITE sip:joe@example.com SIP/2.0\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(cut(&bytes, &Limits::default()), Ok(Cut::Message { length: first.len() + 8 }));
    let message = read(&bytes);
    assert_eq!((message.method(), message.body()), (Some("REGISTER"), &b"12345678"[..]));
    assert_eq!(read(&bytes[first.len() + 8..]).method(), Some("INVITE"));
}

/// §3.1.1.9: a semicolon inside the user part.
#[test]
fn semiuri() {
    let uri = Uri::parse("sip:user;par=u%40example.net@example.com").expect("reads");
    assert_eq!((uri.user, uri.host, uri.params.as_str()), (Some("user;par=u%40example.net"), "example.com", ""));
}

/// §3.1.1.10: transports nobody has heard of.
#[test]
fn transports() {
    for transport in ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"] {
        let value = format!("SIP/2.0/{transport} t1.example.com;branch=z9hG4bKkdjuw");
        assert_eq!(Via::parse(&value).expect("reads").transport, transport);
    }
}

/// §3.1.1.11: a body of several parts, with bytes that are no text.
#[test]
fn mpart01() {
    let mut bytes = wire(&[
        "MESSAGE sip:kumiko@example.org SIP/2.0",
        "Content-Type: multipart/mixed;boundary=7a9cbec02ceef655",
        "Content-Length: 5",
    ]);
    bytes.extend_from_slice(&[0xff, 0, 0x80, b'\r', b'\n']);
    assert_eq!(read(&bytes).body(), [0xff, 0, 0x80, b'\r', b'\n']);
}

/// §3.1.1.12 and .13: reason phrases in other scripts, and none at all.
#[test]
fn unreason_and_noreason() {
    let bytes = wire(&["SIP/2.0 200 = 2**3 * 5**2 \u{43d}\u{43e} \u{441}\u{442}\u{43e}", "Content-Length: 0"]);
    assert_eq!(read(&bytes).status(), Some(200));
    let bytes = wire(&["SIP/2.0 100 ", "Content-Length: 0"]);
    assert_eq!(read(&bytes).start(), sip::StartLine::Response { code: 100, reason: "" });
}

/// §3.1.2.1: stray separators. The message is read; the values say that they are wrong.
#[test]
fn badinv01() {
    let bytes = invite(
        "INVITE sip:user@example.com SIP/2.0",
        &["Contact: \"Joe\" <sip:joe@example.org>;;;;", "Via: SIP/2.0/UDP 192.0.2.15;;,;,,"],
    );
    let message = read(&bytes);
    assert!(NameAddr::parse(message.header(Name::Contact).expect("there")).is_ok(), "empty parameters say nothing");
    let bad = message.all(Name::Via).nth(1).expect("there");
    assert_eq!(split_list(bad).filter(|via| Via::parse(via).is_err()).count(), 1);
}

/// §3.1.2.2: Content-Length larger than what came.
#[test]
fn clerr() {
    let mut bytes = wire(&["INVITE sip:user@example.com SIP/2.0", "Content-Length: 9999"]);
    bytes.extend_from_slice(&[b'x'; 150]);
    assert_eq!(Message::parse(&bytes).map(|_| ()), Err(ParseError::BodyIncomplete { have: 150, promised: 9999 }));
    assert_eq!(cut(&bytes, &Limits::default()), Ok(Cut::Incomplete));
}

/// §3.1.2.3: a negative Content-Length.
#[test]
fn ncl() {
    let bytes = wire(&["INVITE sip:user@example.com SIP/2.0", "Content-Length: -999"]);
    assert_eq!(Message::parse(&bytes).map(|_| ()), Err(ParseError::BadContentLength));
    assert_eq!(cut(&bytes, &Limits::default()), Err(FramingError::BadContentLength));
}

/// §3.1.2.4 and .5: numbers too large for what they count.
#[test]
fn scalar02_and_scalarlg() {
    assert!(CSeq::parse("36893488147419103232 REGISTER").is_err());
    assert!(CSeq::parse("9292394834772304023312 OPTIONS").is_err());
    assert!(CSeq::parse("2147483648 OPTIONS").is_err(), "2^31 is the limit");
    let bytes = wire(&["REGISTER sip:example.com SIP/2.0", "Content-Length: 36893488147419103232"]);
    assert_eq!(Message::parse(&bytes).map(|_| ()), Err(ParseError::BadContentLength));
    assert!(Uri::parse("sip:user@host129.example.com:65536").is_err());
    assert_eq!(
        sip::header::delta_seconds(&format!("1{}", "0".repeat(100))),
        Some(u32::MAX),
        "more than 2^32-1 is that"
    );
    assert_eq!(sip::header::delta_seconds("280297596632815"), Some(u32::MAX));
}

/// §3.1.2.6: a quote that does not end.
#[test]
fn quotbal() {
    let bytes = invite("INVITE sip:user@example.com SIP/2.0", &["To: \"Mr. J. User <sip:j.user@example.com>"]);
    assert!(NameAddr::parse(read(&bytes).header(Name::To).expect("there")).is_err());
}

/// §3.1.2.7: a Request-URI in angle brackets.
#[test]
fn ltgtruri() {
    let bytes = invite("INVITE <sip:user@example.com> SIP/2.0", &[]);
    assert!(Uri::parse(read(&bytes).request_uri().expect("request")).is_err());
}

/// §3.1.2.8, .9, .10: white space where the request line has none.
#[test]
fn lwsruri_lwsstart_trws() {
    for line in [
        "INVITE sip:user@example.com; lr SIP/2.0",
        "INVITE  sip:user@example.com SIP/2.0",
        "OPTIONS sip:remote-target@example.com SIP/2.0  ",
    ] {
        assert_eq!(Message::parse(&invite(line, &[])).map(|_| ()), Err(ParseError::BadStartLine), "{line}");
    }
}

/// §3.1.2.11: a Request-URI with headers that are escaped wrongly is the URI's fault, not the message's.
#[test]
fn escruri() {
    let bytes = invite("INVITE sip:user@example.com?Route=%3Csip:example.com%3E SIP/2.0", &[]);
    let message = read(&bytes);
    let uri = Uri::parse(message.request_uri().expect("request")).expect("reads");
    assert_eq!((uri.host, uri.headers), ("example.com", "Route=%3Csip:example.com%3E"));
}

/// §3.1.2.12: a date in another zone is kept as it came.
#[test]
fn baddate() {
    let bytes = invite("INVITE sip:user@example.com SIP/2.0", &["Date: Fri, 01 Jan 2010 16:00:00 EST"]);
    assert_eq!(read(&bytes).header(Name::Date), Some("Fri, 01 Jan 2010 16:00:00 EST"));
}

/// §3.1.2.13: whose headers these are cannot be told without brackets.
#[test]
fn regbadct() {
    assert!(NameAddr::parse("sip:user@example.com?Route=%3Csip:sip.example.com%3E").is_err());
    let contact = NameAddr::parse("<sip:user@example.com?Route=%3Csip:sip.example.com%3E>").expect("reads");
    assert_eq!(contact.uri().expect("reads").headers, "Route=%3Csip:sip.example.com%3E");
}

/// §3.1.2.14: spaces inside the brackets.
#[test]
fn badaspec() {
    assert!(NameAddr::parse("\"Watson, Thomas\" < sip:t.watson@example.org >").is_err());
}

/// §3.1.2.15: a display name with characters only a quoted one may have.
#[test]
fn baddn() {
    let from = "Bell, Alexander <sip:a.g.bell@example.com>;tag=433423";
    assert!(NameAddr::parse(from).is_err());
    assert_eq!(split_list(from).count(), 2, "as a list it is two");
}

/// §3.1.2.16: another version.
#[test]
fn badvers() {
    assert_eq!(
        Message::parse(&invite("OPTIONS sip:t.watson@example.org SIP/7.0", &[])).map(|_| ()),
        Err(ParseError::BadVersion)
    );
}

/// §3.1.2.17 and .18: CSeq names another method than the request line, known or unknown.
#[test]
fn mismatch01_and_mismatch02() {
    for (line, cseq) in
        [("OPTIONS sip:user@example.com SIP/2.0", "8 INVITE"), ("NEWMETHOD sip:user@example.com SIP/2.0", "8 INVITE")]
    {
        let bytes = wire(&[line, &format!("CSeq: {cseq}")]);
        let message = read(&bytes);
        let cseq = CSeq::parse(message.header(Name::CSeq).expect("there")).expect("reads");
        assert_ne!(message.method(), Some(cseq.method), "both are there to be compared");
    }
}

/// §3.1.2.19: a status code of four digits.
#[test]
fn bigcode() {
    let bytes = wire(&["SIP/2.0 4294967301 better not break the receiver", "Content-Length: 0"]);
    assert_eq!(Message::parse(&bytes).map(|_| ()), Err(ParseError::BadStartLine));
}

/// §3.3.1: a request without the headers every request has can still be read.
#[test]
fn insuf() {
    let bytes = wire(&["INVITE sip:user@example.com SIP/2.0", "CSeq: 193942 INVITE", "Content-Length: 0"]);
    let message = read(&bytes);
    assert_eq!((message.header(Name::CallId), message.header(Name::From)), (None, None));
}

/// §3.3.2 and .3: URIs of schemes that are unknown, or known but not SIP.
#[test]
fn unkscm_and_novelsc() {
    for uri in ["nobodyKnowsThisScheme:totallyopaquecontent", "soap.beep://192.0.2.103:3002"] {
        let bytes = invite(&format!("OPTIONS {uri} SIP/2.0"), &[]);
        let message = read(&bytes);
        assert_eq!(message.request_uri(), Some(uri));
        assert!(Uri::parse(uri).is_err());
    }
}

/// §3.3.8: single-value headers given several times. The first counts; disagreeing lengths are refused.
#[test]
fn multi01() {
    let bytes =
        wire(&["INVITE sip:user@company.com SIP/2.0", "Call-ID: first", "Call-ID: second", "Content-Length: 0"]);
    assert_eq!(read(&bytes).header(Name::CallId), Some("first"));
    let bytes = wire(&["INVITE sip:user@company.com SIP/2.0", "Content-Length: 138", "l: 0"]);
    assert_eq!(Message::parse(&bytes).map(|_| ()), Err(ParseError::BadContentLength));
}
