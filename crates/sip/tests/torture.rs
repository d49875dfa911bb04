//! The torture messages of RFC 4475 that concern a parser, whole, as files in `torture/`, named as the RFC names them.
//!
//! Two differ from the RFC: `multi01` says `l: 152`, which is how long its body is (the RFC counts 154), and the binary
//! part of `mpart01` is shorter.
//!
//! Where the RFC leaves a choice, this is ours:
//!
//! | message | the RFC allows | we | because |
//! |---|---|---|---|
//! | lwsruri, lwsstart, trws | to guess the parts of the first line | refuse it | two servers that guess differently see two requests |
//! | ltgtruri | to take the brackets off | refuse the URI | the same |
//! | escruri, regescrt | to refuse or to drop the URI's headers | read them | whoever uses the URI decides; nothing here acts on them |
//! | baddate | to ignore the date | keep it as text | no part of a sign-in depends on it |
//! | badaspec, baddn | to be liberal | refuse the header | who is meant by a name is the last thing to guess |
//! | clerr | 400, or to wait on a stream | wait | the rest may be on its way; the caller's time limit ends it |
//! | ncl, mcl01 | 400, or to close a stream | close | where the next message begins cannot be known |
//! | scalar02 | to read an expiry too large as 3600 | read it as 2^32-1 | it is the nearest valid value, and the registrar shortens it anyway |
//! | bcast | to drop a response whose last Via is not ours | read it | the table of transactions drops it |
//! | unreason, noreason | any reason phrase | keep it | only the code has a meaning |

use sip::framing::{Cut, Limits, cut};
use sip::header::{delta_seconds, split_list};
use sip::{CSeq, Message, Name, NameAddr, StartLine, Uri, Via};

macro_rules! messages {
    ($($section:literal $name:ident $verdict:expr;)+) => {
        $(#[allow(non_upper_case_globals)] const $name: &[u8] = include_bytes!(concat!("torture/", stringify!($name), ".sip"));)+

        /// Section, name, bytes, and why it is refused.
        const MESSAGES: &[(&str, &str, &[u8], Option<&str>)] = &[$(($section, stringify!($name), $name, $verdict),)+];
    };
}

messages! {
    "3.1.1.1" wsinv None;
    "3.1.1.2" intmeth None;
    "3.1.1.3" esc01 None;
    "3.1.1.4" escnull None;
    "3.1.1.5" esc02 None;
    "3.1.1.6" lwsdisp None;
    "3.1.1.7" longreq None;
    "3.1.1.8" dblreq None;
    "3.1.1.9" semiuri None;
    "3.1.1.10" transports None;
    "3.1.1.11" mpart01 None;
    "3.1.1.12" unreason None;
    "3.1.1.13" noreason None;
    "3.1.2.1" badinv01 Some("Via");
    "3.1.2.2" clerr Some("more has to arrive");
    "3.1.2.3" ncl Some("Content-Length is not one number");
    "3.1.2.4" scalar02 Some("CSeq");
    "3.1.2.5" scalarlg Some("CSeq");
    "3.1.2.6" quotbal Some("To");
    "3.1.2.7" ltgtruri Some("Request-URI");
    "3.1.2.8" lwsruri Some("the first line");
    "3.1.2.9" lwsstart Some("the first line");
    "3.1.2.10" trws Some("the first line");
    "3.1.2.11" escruri None;
    "3.1.2.12" baddate None;
    "3.1.2.13" regbadct Some("Contact");
    "3.1.2.14" badaspec Some("To");
    "3.1.2.15" baddn Some("From");
    "3.1.2.16" badvers Some("the version is not SIP/2.0");
    "3.1.2.17" mismatch01 Some("CSeq has another method");
    "3.1.2.18" mismatch02 Some("CSeq has another method");
    "3.1.2.19" bigcode Some("the first line");
    "3.2.1" badbranch None;
    "3.3.1" insuf Some("From");
    "3.3.2" unkscm Some("Request-URI");
    "3.3.3" novelsc Some("Request-URI");
    "3.3.4" unksm2 Some("From");
    "3.3.5" bext01 None;
    "3.3.7" regaut01 None;
    "3.3.8" multi01 Some("From");
    "3.3.9" mcl01 Some("Content-Length is not one number");
    "3.3.10" bcast None;
    "3.3.11" zeromf None;
    "3.3.12" cparam01 None;
    "3.3.13" cparam02 None;
    "3.3.14" regescrt None;
    "3.4.1" inv2543 None;
}

/// Everything a server asks of a message before it acts on it.
fn judge(bytes: &[u8]) -> Result<(), String> {
    let length = match cut(bytes, &Limits::default()).map_err(|error| error.to_string())? {
        Cut::Message { length } => length,
        Cut::KeepAlive { .. } | Cut::Incomplete => return Err("more has to arrive".to_owned()),
    };
    let message = Message::parse(&bytes[..length]).map_err(|error| error.to_string())?;
    if let Some(uri) = message.request_uri() {
        Uri::parse(uri).map_err(|error| format!("Request-URI: {error}"))?;
    }
    for name in [Name::From, Name::To] {
        let value = single(&message, name)?;
        let address = NameAddr::parse(value).and_then(|address| address.uri());
        address.map_err(|error| format!("{}: {error}", name.as_str()))?;
    }
    single(&message, Name::CallId)?;
    let cseq = CSeq::parse(single(&message, Name::CSeq)?).map_err(|error| error.to_string())?;
    if message.method().is_some_and(|method| method != cseq.method) {
        return Err("CSeq has another method".to_owned());
    }
    for via in message.all(Name::Via).flat_map(split_list) {
        Via::parse(via).map_err(|error| error.to_string())?;
    }
    for contact in message.all(Name::Contact).flat_map(split_list) {
        NameAddr::parse(contact).and_then(|contact| contact.uri()).map_err(|error| format!("Contact: {error}"))?;
    }
    Ok(())
}

fn single<'a>(message: &Message<'a>, name: Name) -> Result<&'a str, String> {
    let mut values = message.all(name);
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        _ => Err(format!("{} is not there once", name.as_str())),
    }
}

fn read(bytes: &[u8]) -> Message<'_> {
    Message::parse(bytes).expect("a message")
}

#[test]
fn every_message_is_judged_as_the_rfc_has_it() {
    for (section, name, bytes, refused) in MESSAGES {
        match (judge(bytes), refused) {
            (Ok(()), None) => {}
            (Err(why), Some(expected)) if why.starts_with(expected) => {}
            (seen, expected) => panic!("§{section} {name}: {seen:?}, not {expected:?}"),
        }
    }
}

#[test]
fn what_is_refused_in_one_header_can_be_read_otherwise() {
    for (_, name, bytes, refused) in MESSAGES {
        let header = refused.is_some_and(|why| ["Via", "To", "From", "Contact", "Request-URI"].contains(&why));
        if header {
            assert!(Message::parse(bytes).is_ok(), "{name}: enough is understood to answer it");
        }
    }
}

/// However the bytes arrive, and whatever is cut off: no panic, and nothing whole before it is whole.
#[test]
fn no_part_of_a_message_is_a_message() {
    for (section, name, bytes, _) in MESSAGES {
        for end in 0..bytes.len() {
            let piece = &bytes[..end];
            if let Ok(Cut::Message { length }) = cut(piece, &Limits::default()) {
                let whole = cut(bytes, &Limits::default());
                assert_eq!(whole, Ok(Cut::Message { length }), "§{section} {name} cut at {end}");
            }
            let _ = Message::parse(piece);
        }
    }
}

#[test]
fn wsinv_is_understood() {
    let message = read(wsinv);
    let address = |name| NameAddr::parse(message.header(name).expect("there")).expect("reads");
    let to = address(Name::To);
    assert_eq!((to.uri, to.params.get("tag")), ("sip:vivekg@chair-dnrc.example.com", Some("1918181833n")));
    let from = address(Name::From);
    assert_eq!((from.display, from.uri), (Some(r#"J Rosenberg \\\""#), "sip:jdrosen@example.com"));
    assert_eq!(from.params.get("tag"), Some("98asjd8"));
    assert_eq!(CSeq::parse(message.header(Name::CSeq).expect("there")), Ok(CSeq { number: 9, method: "INVITE" }));
    assert_eq!((message.header(Name::Subject), message.body().len()), (Some(""), 150));
    assert_eq!(message.header(Name::MaxForwards), Some("0068"));
    assert_eq!(message.named("UnknownHeaderWithUnusualValue"), Some(";;,,;;,;"));
    let folded = message.headers().iter().find(|h| h.spelling == "NewFangledHeader").expect("there");
    assert_eq!(folded.unfolded(), "newfangled value continued newfangled value");
    let vias: Vec<_> = message.all(Name::Via).flat_map(split_list).map(|via| Via::parse(via).expect("reads")).collect();
    let seen: Vec<_> = vias.iter().map(|via| (via.transport, via.host, via.params.get("branch"))).collect();
    assert_eq!(
        seen,
        [
            ("UDP", "192.0.2.2", Some("390skdjuw")),
            ("TCP", "spindle.example.com", Some("z9hG4bK9ikj8")),
            ("UDP", "192.168.255.111", Some("z9hG4bK30239")),
        ]
    );
    let contact = address(Name::Contact);
    assert_eq!(contact.display, Some(r#"Quoted string \"\""#));
    let params: Vec<_> = contact.params.iter().collect();
    assert_eq!(params, [("newparam", Some("newvalue")), ("secondparam", None), ("q", Some("0.33"))]);
    let route = address(Name::Route).uri().expect("reads");
    assert_eq!((route.params.get("lr"), route.params.get("unknownwith")), (Some(""), Some("value")));
}

#[test]
fn intmeth_is_understood() {
    let message = read(intmeth);
    let method = "!interesting-Method0123456789_*+`.%indeed'~";
    assert_eq!(message.method(), Some(method));
    assert_eq!(CSeq::parse(message.header(Name::CSeq).expect("there")).map(|cseq| cseq.method), Ok(method));
    let uri = Uri::parse(message.request_uri().expect("a request")).expect("reads");
    assert_eq!((uri.user, uri.host), (Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"), "example.com"));
    let to = NameAddr::parse(message.header(Name::To).expect("there")).expect("reads");
    assert_eq!(to.display, Some("BEL:\\\u{7} NUL:\\\u{0} DEL:\\\u{7f}"));
    let from = NameAddr::parse(message.header(Name::From).expect("there")).expect("reads");
    assert_eq!((from.display, from.uri), (Some("token1~` token2'+_ token3*%!.-"), "sip:mundane@example.com"));
    assert_eq!(from.params.get("fromParam''~+*_!.-%"), Some("работающий"));
    assert_eq!(from.params.get("tag"), Some("_token~1'+`*%!-."));
    assert_eq!(message.header(Name::CallId), Some(r#"intmeth.word%ZK-!.*_+'@word`~)(><:\/"][?}{"#));
    assert_eq!(message.named("extensionHeader-!.%*+_`'~"), Some("\u{feff}大停電"));
}

#[test]
fn escapes_are_kept_and_compared() {
    let message = read(esc01);
    let uri = |text| Uri::parse(text).expect("reads");
    let request_uri = uri(message.request_uri().expect("a request"));
    assert_eq!((request_uri.user, request_uri.host), (Some("sips%3Auser%40example.com"), "example.net"));
    let to = NameAddr::parse(message.header(Name::To).expect("there")).expect("reads");
    assert_eq!(to.uri().expect("reads").address().as_deref(), Some("user@example.com"));
    let contact = NameAddr::parse(message.header(Name::Contact).expect("there")).expect("reads").uri().expect("reads");
    assert_eq!(contact.params.as_str(), ";%6C%72;n%61me=v%61lue%25%34%31");

    let users: Vec<_> = read(escnull).all(Name::Contact).map(|c| NameAddr::parse(c).expect("reads").uri).collect();
    assert_eq!(users, ["sip:%00@host5.example.com", "sip:%00%00@host5.example.com"]);
    assert_ne!(uri(users[0]).address(), uri(users[1]).address());

    let message = read(esc02);
    assert_eq!(message.method(), Some("RE%47IST%45R"), "no REGISTER");
    assert_eq!(message.all(Name::Contact).count(), 2, "and C%6Fntact no Contact");
}

#[test]
fn dblreq_is_two_messages() {
    let Ok(Cut::Message { length }) = cut(dblreq, &Limits::default()) else { panic!("a message") };
    assert_eq!(read(&dblreq[..length]).method(), Some("REGISTER"));
    let rest = &dblreq[length..];
    let Ok(Cut::KeepAlive { length: 2 }) = cut(rest, &Limits::default()) else { panic!("CR LF") };
    // The RFC's second message has three bytes more than it says.
    assert_eq!(cut(&rest[2..], &Limits::default()), Ok(Cut::Message { length: rest.len() - 5 }));
    assert_eq!((read(&rest[2..]).method(), read(&rest[2..]).body().len()), (Some("INVITE"), 150));
}

#[test]
fn what_else_has_a_meaning() {
    assert_eq!(read(longreq).all(Name::Via).count(), 34);
    assert_eq!(read(mpart01).body().len(), 257);
    assert_eq!(read(noreason).start(), StartLine::Response { code: 100, reason: "" });
    let reason = "= 2**3 * 5**2 но сто девяносто девять - простое";
    assert_eq!(read(unreason).start(), StartLine::Response { code: 200, reason });
    let kinds =
        read(transports).all(Name::Via).map(|via| Via::parse(via).expect("reads").transport).collect::<Vec<_>>();
    assert_eq!(kinds, ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]);
    let lwsdisp_from = NameAddr::parse(read(lwsdisp).header(Name::From).expect("there")).expect("reads");
    assert_eq!((lwsdisp_from.display, lwsdisp_from.uri), (Some("caller"), "sip:caller@example.com"));
    let semi = Uri::parse(read(semiuri).request_uri().expect("a request")).expect("reads");
    assert_eq!((semi.user, semi.params.as_str()), (Some("user;par=u%40example.net"), ""));
    let headers = Uri::parse(read(escruri).request_uri().expect("a request")).expect("reads").headers;
    assert_eq!(headers, "Route=%3Csip:example.com%3E");
    assert_eq!(read(scalar02).header(Name::Expires).and_then(delta_seconds), Some(u32::MAX));
    assert!(read(bext01).lists(Name::Require, "nothingSupportsThisEither"));
    assert_eq!(read(regaut01).header(Name::Authorization), Some("NoOneKnowsThisScheme opaque-data=here"));
    assert_eq!(read(zeromf).header(Name::MaxForwards), Some("0"));
}

/// §3.3.12, .13: whether a parameter is the header's or the URI's is a matter of brackets.
#[test]
fn brackets_decide_whose_a_parameter_is() {
    let contact = |bytes| NameAddr::parse(read(bytes).header(Name::Contact).expect("there")).expect("reads");
    let (outside, inside) = (contact(cparam01), contact(cparam02));
    assert_eq!((outside.params.as_str(), outside.uri().expect("reads").params.as_str()), (";unknownparam", ""));
    assert_eq!((inside.params.as_str(), inside.uri().expect("reads").params.as_str()), ("", ";unknownparam"));
}
