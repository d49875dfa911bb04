//! From a room's plain [`Reply`] to the text of a response: the headers every response has, and the diagnostics each
//! side may see.

use crate::io::ConnId;
use crate::reply::Reply;
use sip::{Draft, Message, Name, NameAddr, Via};
use std::fmt::Write;
use std::net::SocketAddr;

/// What a response tells of the connection its request came over.
#[derive(Debug, Clone)]
pub struct Hop {
    /// Which connection.
    pub conn: ConnId,
    /// Its far end.
    pub remote: SocketAddr,
    /// The peer is outside the enterprise: server names stay inside.
    pub external: bool,
}

impl Hop {
    /// The connection as `ms-received-cid` names it.
    pub fn cid(&self) -> String {
        format!("{:X}", self.conn.0)
    }
}

/// Writes the response to `request`. Signed it is not yet.
pub fn response(request: &Message<'_>, reply: &Reply, to_tag: &str, hop: &Hop, source: &str) -> Draft {
    let mut draft = Draft::response(reply.code, reply.reason);
    let mut first_via = true;
    for header in request.headers() {
        match header.name {
            Name::Via => {
                let value = header.unfolded();
                if std::mem::take(&mut first_via) {
                    draft.header("Via", received(&value, hop));
                } else {
                    draft.header("Via", value);
                }
            }
            Name::From | Name::CallId | Name::CSeq => {
                draft.header(header.name.as_str(), header.unfolded());
            }
            Name::To => {
                let value = header.unfolded();
                let tagged = NameAddr::parse(&value).is_ok_and(|to| to.params.get("tag").is_some());
                if tagged || reply.code == 100 {
                    draft.header("To", value);
                } else {
                    draft.header("To", format_args!("{value};tag={to_tag}"));
                }
            }
            _ => {}
        }
    }
    for (name, value) in &reply.headers {
        draft.header(name, value);
    }
    if let Some(diagnostics) = &reply.diagnostics {
        if !hop.external {
            draft.header("ms-diagnostics", diagnostics.value(Some(source)));
        }
        if hop.external {
            draft.header("ms-diagnostics-public", diagnostics.for_outside());
        } else if diagnostics.public {
            draft.header("ms-diagnostics-public", diagnostics.value(None));
        }
    }
    if let Some((content_type, body)) = &reply.body {
        draft.body(content_type, body.clone());
    }
    draft
}

/// The topmost Via as the specification has a server stamp it: where the request really came from. `[MS-SIPRE]` §2.2.
pub(crate) fn received(via: &str, hop: &Hop) -> String {
    let mut stamped = via.to_owned();
    let differs = Via::parse(via).is_ok_and(|v| v.host.trim_matches(['[', ']']) != hop.remote.ip().to_string());
    if differs {
        let _ = write!(stamped, ";received={}", hop.remote.ip());
    }
    let _ = write!(stamped, ";ms-received-port={};ms-received-cid={}", hop.remote.port(), hop.cid());
    stamped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Diagnostics;

    const REQUEST: &str = "REGISTER sip:contoso.test SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.10:50230\r\nFrom: <sip:a@b.c>;tag=1;epid=2\r\nTo: <sip:a@b.c>\r\nCall-ID: x\r\nCSeq: 1 REGISTER\r\nContact: <sip:x>\r\n\r\n";

    fn written(external: bool) -> String {
        let request = Message::parse(REQUEST.as_bytes()).expect("parses");
        let reply = Reply::new(404, "Not Found").because(Diagnostics::internal(1003, "User does not exist"));
        let hop = Hop { conn: ConnId(0x400), remote: "192.0.2.10:50230".parse().expect("address"), external };
        String::from_utf8(response(&request, &reply, "T", &hop, "fe01.contoso.test").finish()).expect("text")
    }

    #[test]
    fn inside_is_told_who_said_so() {
        assert_eq!(
            written(false),
            "SIP/2.0 404 Not Found\r\nVia: SIP/2.0/TLS 192.0.2.10:50230;ms-received-port=50230;ms-received-cid=400\r\nFrom: <sip:a@b.c>;tag=1;epid=2\r\nTo: <sip:a@b.c>;tag=T\r\nCall-ID: x\r\nCSeq: 1 REGISTER\r\nms-diagnostics: 1003;reason=\"User does not exist\";source=\"fe01.contoso.test\"\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn outside_learns_no_server_name() {
        let text = written(true);
        assert!(text.contains("ms-diagnostics-public: 1003;reason=\"User does not exist\"\r\n"));
        assert!(!text.contains("fe01"));
    }

    #[test]
    fn outside_learns_neither_reason_nor_cause_where_both_are_for_inside() {
        let why = Diagnostics::internal(1007, "Cannot route: dc01 is down").caused_by("ntlm-dc-unreachable");
        let reply = Reply::new(504, "Server time-out").because(why.outside("Cannot route"));
        let told = |external| {
            let request = Message::parse(REQUEST.as_bytes()).expect("parses");
            let hop = Hop { conn: ConnId(1), remote: "192.0.2.10:50230".parse().expect("address"), external };
            String::from_utf8(response(&request, &reply, "T", &hop, "fe01").finish()).expect("text")
        };
        assert!(told(true).contains("\r\nms-diagnostics-public: 1007;reason=\"Cannot route\"\r\n"));
        let inside =
            "ms-diagnostics: 1007;reason=\"Cannot route: dc01 is down\";source=\"fe01\";cause=\"ntlm-dc-unreachable\"";
        assert!(told(false).contains(inside));
    }
}
