//! P6: a 911-byte REGISTER, parsed into what the registrar needs.
//!
//! Measured: [`Message::parse`] and everything a registrar reads of the message, on one thread, in nanoseconds of wall time.
//! Beside it, over the same bytes: one pass over the line ends with `memchr`, which whoever parses does at least; and
//! `httparse`, a parser of HTTP that looks at many bytes at once and only cuts the headers, to tell one processor from
//! another. Again: `make bench ONLY=P6`.

use crate::figure::{Beside, Figure, Goal, nanoseconds};
use sip::{CSeq, Message, Name, NameAddr, header};
use std::hint::black_box;

/// A refresh as Skype for Business 2016 writes it: 18 headers, 911 bytes.
const REGISTER: &str = "REGISTER sip:contoso.test SIP/2.0\r\n\
Via: SIP/2.0/TLS 192.0.2.10:50230\r\n\
Max-Forwards: 70\r\n\
From: <sip:alice@contoso.test>;tag=8a2f1c44d;epid=0f12ab34cd\r\n\
To: <sip:alice@contoso.test>\r\n\
Call-ID: 5f0c3d6a8b1e4c7d9a2b3c4d5e6f7081\r\n\
CSeq: 3 REGISTER\r\n\
Contact: <sip:192.0.2.10:50230;transport=tls;ms-opaque=d3a1f0c2>;methods=\"INVITE, INFO, BYE, CANCEL, NOTIFY, ACK\";proxy=replace;+sip.instance=\"<urn:uuid:4B1682A8-F968-5701-83FC-7C6741DC6697>\"\r\n\
User-Agent: UCCAPI/16.0.4266 OC/16.0.4266 (Skype)\r\n\
Authorization: NTLM qop=\"auth\", realm=\"SIP Communications Service\", opaque=\"4A1F3C77\", targetname=\"fe01.contoso.test\", crand=\"8f3c1a02\", cnum=\"7\", response=\"0100000062653734663fb3bd64000000\", version=4\r\n\
Supported: gruu-10, adhoclist\r\n\
Supported: msrtc-event-categories\r\n\
Supported: ms-forking\r\n\
ms-keep-alive: UAC;hop-hop=yes\r\n\
Event: registration\r\n\
Expires: 600\r\n\
ms-subnet: 192.0.2.0\r\n\
Allow-Events: presence\r\n\
Content-Length: 0\r\n\r\n";

/// What a registrar acts on.
#[derive(Debug, PartialEq, Eq)]
struct Registration<'a> {
    from: (&'a str, &'a str, &'a str),
    to: (&'a str, Option<&'a str>),
    call_id: &'a str,
    cseq: CSeq<'a>,
    contact: &'a str,
    proxy: &'a str,
    instance: &'a str,
    expires: u32,
    event: &'a str,
    extensions: Extensions,
    keep_alive: &'a str,
    authorization: &'a str,
}

/// The `Supported` tokens that change what a registrar does.
#[derive(Debug, Default, PartialEq, Eq)]
struct Extensions {
    gruu: bool,
    adhoclist: bool,
    event_categories: bool,
    forking: bool,
}

/// Measures it.
pub(crate) fn measure() -> Result<Vec<Figure>, String> {
    let bytes = REGISTER.as_bytes();
    let measured = nanoseconds(|| {
        let message = Message::parse(black_box(bytes)).expect("a message");
        black_box(read(&message).expect("a registration"));
    });
    let headers = REGISTER.split_once('\n').map_or("", |(_, headers)| headers).as_bytes();
    let httparse = nanoseconds(|| {
        let mut cut = [httparse::EMPTY_HEADER; 24];
        black_box(httparse::parse_headers(black_box(headers), &mut cut).expect("headers"));
    });
    let line_ends = nanoseconds(|| {
        black_box(memchr::memchr_iter(b'\n', black_box(bytes)).sum::<usize>());
    });
    Ok(vec![Figure {
        id: "P6",
        name: "911-byte REGISTER into what the registrar needs",
        measured,
        unit: "ns",
        goal: Goal::AtMost(500.0),
        beside: vec![
            Beside::new("httparse on the headers", httparse.median, "ns"),
            Beside::new("line ends only", line_ends.median, "ns"),
        ],
        remark: None,
    }])
}

fn read<'a>(message: &Message<'a>) -> Option<Registration<'a>> {
    let from = NameAddr::parse(message.header(Name::From)?).ok()?;
    let (mut tag, mut epid) = ("", "");
    for (name, value) in from.params.iter() {
        match name {
            name if is(name, "tag") => tag = value?,
            name if is(name, "epid") => epid = value?,
            _ => {}
        }
    }
    let to = NameAddr::parse(message.header(Name::To)?).ok()?;
    let contact = NameAddr::parse(header::split_list(message.header(Name::Contact)?).next()?).ok()?;
    let (mut proxy, mut instance) = ("", "");
    for (name, value) in contact.params.iter() {
        match name {
            name if is(name, "proxy") => proxy = value?,
            name if is(name, "+sip.instance") => instance = header::unquoted(value?),
            _ => {}
        }
    }
    Some(Registration {
        from: (from.uri, tag, epid),
        to: (to.uri, to.params.get("tag")),
        call_id: message.header(Name::CallId)?,
        cseq: CSeq::parse(message.header(Name::CSeq)?).ok()?,
        contact: contact.uri,
        proxy,
        instance,
        expires: message.header(Name::Expires)?.parse().ok()?,
        event: message.header(Name::Event)?,
        extensions: extensions(message),
        keep_alive: message.named("ms-keep-alive")?,
        authorization: message.header(Name::Authorization)?,
    })
}

impl Extensions {
    /// Notes one that is spelled in the usual case.
    fn add(&mut self, token: &str) -> bool {
        match token {
            "gruu-10" => self.gruu = true,
            "adhoclist" => self.adhoclist = true,
            "msrtc-event-categories" => self.event_categories = true,
            "ms-forking" => self.forking = true,
            _ => return false,
        }
        true
    }
}

fn extensions(message: &Message<'_>) -> Extensions {
    let mut found = Extensions::default();
    for value in message.all(Name::Supported) {
        for token in header::split_tokens(value) {
            if !found.add(token) {
                found.add(&token.to_ascii_lowercase());
            }
        }
    }
    found
}

/// Whether a name is this one, case aside; nearly always it is spelled so.
fn is(name: &str, wanted: &str) -> bool {
    name == wanted || name.eq_ignore_ascii_case(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_what_it_is_said_to_be() {
        assert_eq!(REGISTER.len(), 911);
        assert_eq!(Message::parse(REGISTER.as_bytes()).expect("a message").headers().len(), 18);
    }

    #[test]
    fn what_is_measured_is_the_whole_reading() {
        let message = Message::parse(REGISTER.as_bytes()).expect("a message");
        let read = read(&message).expect("a registration");
        assert_eq!(read.from, ("sip:alice@contoso.test", "8a2f1c44d", "0f12ab34cd"));
        assert_eq!(read.to, ("sip:alice@contoso.test", None));
        assert_eq!(read.call_id, "5f0c3d6a8b1e4c7d9a2b3c4d5e6f7081");
        assert_eq!(read.cseq, CSeq { number: 3, method: "REGISTER" });
        assert_eq!(read.contact, "sip:192.0.2.10:50230;transport=tls;ms-opaque=d3a1f0c2");
        assert_eq!(read.proxy, "replace");
        assert_eq!(read.instance, "<urn:uuid:4B1682A8-F968-5701-83FC-7C6741DC6697>");
        assert_eq!((read.expires, read.event, read.keep_alive), (600, "registration", "UAC;hop-hop=yes"));
        let all = Extensions { gruu: true, adhoclist: true, event_categories: true, forking: true };
        assert_eq!(read.extensions, all);
        assert!(read.authorization.starts_with("NTLM ") && read.authorization.ends_with("version=4"));
    }
}
