//! How a message changes on its way through a proxy. RFC 3261 §16.6, §16.7; `[MS-SIPRE]` §3.5; RFC 3325 §5.
//!
//! | header | request | response |
//! |---|---|---|
//! | Via | ours on top, the sender's stamped | the sender's alone, as the request had them |
//! | From, Call-ID, CSeq | as sent | as the request had them; To too, with the tag of who answered |
//! | Authorization and its kin | left out: each hop signs anew | left out |
//! | P-Asserted-Identity | from the directory, whatever the sender says | likewise |
//! | Route, Record-Route | ours left out, ours added | ours |
//! | Contact with `proxy=replace` | what the connection shows | what the connection shows |
//! | what servers vouch with (`ms-asserted-verification-level`, …) | left out | left out |
//! | Max-Forwards | one less | |
//!
//! Everything else, bodies above all, passes unchanged.

use crate::outgoing::{Hop, received};
use crate::register::message::received_contact;
use sip::{Draft, Header, Message, Name, NameAddr};

/// What a server adds to a request it sends on.
pub(super) struct Added<'a> {
    /// Via of this server, with the branch.
    pub(super) via: &'a str,
    /// `<uri>` under which this server stays in the dialog, for requests that begin one.
    pub(super) record_route: Option<&'a str>,
    /// What Max-Forwards is from now on.
    pub(super) max_forwards: u32,
    /// Who the sender is, as the directory has it.
    pub(super) identity: &'a str,
}

/// The request of an endpoint, for others. The Request-URI is left to the server of each.
pub(super) fn request(request: &Message<'_>, hop: &Hop, added: &Added<'_>) -> Draft {
    let mut draft = Draft::request(request.method().unwrap_or_default(), request.request_uri().unwrap_or_default());
    draft.header("Via", added.via);
    let mut first_via = true;
    for header in request.headers().iter().filter(|header| header.name == Name::Via) {
        let value = header.unfolded();
        if std::mem::take(&mut first_via) {
            draft.header("Via", received(&value, hop));
        } else {
            draft.header("Via", value);
        }
    }
    if let Some(uri) = added.record_route {
        draft.header("Record-Route", uri);
    }
    draft.header("Max-Forwards", added.max_forwards);
    let proxied = |name| matches!(name, Name::Via | Name::MaxForwards | Name::Route | Name::RecordRoute);
    pass(&mut draft, request, hop, proxied);
    draft.header("P-Asserted-Identity", added.identity);
    carry_body(&mut draft, request);
    draft
}

/// The same request for one endpoint, at its server.
pub(super) fn towards(request: &Message<'_>, uri: &str, record_route: Option<&str>) -> Draft {
    let mut draft = Draft::request(request.method().unwrap_or_default(), uri);
    let mut record_route = record_route;
    for header in request.headers() {
        // The route set is read from the top, and this server is the nearest.
        if header.name == Name::RecordRoute
            && let Some(nearest) = record_route.take()
        {
            draft.header("Record-Route", nearest);
        }
        if !matches!(header.name, Name::ContentLength | Name::ContentType) {
            copy(&mut draft, header);
        }
    }
    carry_body(&mut draft, request);
    draft
}

/// The headers of a request that its answers repeat, as a message without a body.
pub(super) fn essentials(request: &Message<'_>) -> Vec<u8> {
    let mut draft = Draft::request(request.method().unwrap_or_default(), request.request_uri().unwrap_or_default());
    let repeated = |name| matches!(name, Name::Via | Name::From | Name::To | Name::CallId | Name::CSeq);
    request.headers().iter().filter(|header| repeated(header.name)).for_each(|header| copy(&mut draft, header));
    draft.finish()
}

/// A request of this server on the sender's behalf that has to match one it sent on: CANCEL, or ACK and BYE towards an endpoint
/// that was not wanted any more. `to` is the value of To, `number` that of CSeq.
pub(super) fn on_behalf(asked: &Message<'_>, method: &str, via: &str, to: &str, number: u32) -> Draft {
    let mut draft = Draft::request(method, asked.request_uri().unwrap_or_default());
    draft
        .header("Via", via)
        .header("Max-Forwards", 70)
        .header("From", unfolded(asked, Name::From))
        .header("To", to)
        .header("Call-ID", unfolded(asked, Name::CallId))
        .header("CSeq", format_args!("{number} {method}"));
    draft
}

/// The ACK for a refused INVITE, from one hop to the next. RFC 3261 §17.1.1.3.
pub(super) fn ack_of_refusal(response: &Message<'_>, uri: &str, number: u32) -> Draft {
    let via = unfolded(response, Name::Via);
    let topmost = sip::header::split_list(&via).next().unwrap_or_default().to_owned();
    let mut draft = Draft::request("ACK", uri);
    draft
        .header("Via", topmost)
        .header("Max-Forwards", 70)
        .header("From", unfolded(response, Name::From))
        .header("To", unfolded(response, Name::To))
        .header("Call-ID", unfolded(response, Name::CallId))
        .header("CSeq", format_args!("{number} ACK"));
    draft
}

/// The response of an endpoint, for the sender of the request. `asked` is that request, or its essentials; `hop` the sender's
/// connection, `from` the endpoint's.
pub(super) fn response(
    asked: &Message<'_>,
    hop: &Hop,
    response: &Message<'_>,
    from: &Hop,
    identity: &str,
    routes: &[String],
) -> Draft {
    let sip::StartLine::Response { code, reason } = response.start() else {
        return Draft::response(500, "Server Internal Error");
    };
    let mut draft = Draft::response(code, reason);
    let mut first_via = true;
    for header in asked.headers() {
        let value = header.unfolded();
        match header.name {
            Name::Via if std::mem::take(&mut first_via) => draft.header("Via", received(&value, hop)),
            Name::To => draft.header("To", answered_to(&value, response)),
            name @ (Name::Via | Name::From | Name::CallId | Name::CSeq) => draft.header(name.as_str(), value),
            _ => continue,
        };
    }
    for route in routes {
        draft.header("Record-Route", route);
    }
    let repeated = |name| {
        matches!(name, Name::Via | Name::From | Name::To | Name::CallId | Name::CSeq | Name::Route | Name::RecordRoute)
    };
    pass(&mut draft, response, from, repeated);
    draft.header("P-Asserted-Identity", identity);
    carry_body(&mut draft, response);
    draft
}

/// To of the request, with the tag and endpoint id that the answer has there.
pub(super) fn answered_to(asked: &str, response: &Message<'_>) -> String {
    let mut to = asked.to_owned();
    let answered = response.header(Name::To).and_then(|value| NameAddr::parse(value).ok());
    let (Some(answered), Ok(before)) = (answered, NameAddr::parse(asked)) else { return to };
    for name in ["tag", "epid"] {
        if before.params.get(name).is_none()
            && let Some(value) = answered.params.get(name)
        {
            to.push_str(&format!(";{name}={value}"));
        }
    }
    to
}

/// Headers with which servers tell each other and clients how far a message is to be trusted. No client writes them.
/// `[MS-SIPRE]` §2.2.
const OF_SERVERS: [&str; 3] = ["ms-asserted-verification-level", "ms-edge-proxy-message-trust", "ms-split-domain-info"];

/// Copies what neither `taken_care_of` nor the hop keeps to itself.
fn pass(draft: &mut Draft, message: &Message<'_>, hop: &Hop, taken_care_of: impl Fn(Name) -> bool) {
    for header in message.headers().iter().filter(|header| !taken_care_of(header.name)) {
        match header.name {
            Name::Authorization
            | Name::ProxyAuthorization
            | Name::AuthenticationInfo
            | Name::ProxyAuthenticationInfo
            | Name::WwwAuthenticate
            | Name::ProxyAuthenticate
            | Name::PAssertedIdentity
            | Name::PPreferredIdentity
            | Name::ContentLength
            | Name::ContentType => {}
            Name::Contact => {
                draft.header("Contact", seen_contact(&header.unfolded(), hop));
            }
            Name::Other if OF_SERVERS.iter().any(|own| own.eq_ignore_ascii_case(header.spelling)) => {}
            _ => copy(draft, header),
        }
    }
}

fn copy(draft: &mut Draft, header: &Header<'_>) {
    let name = if header.name == Name::Other { header.spelling } else { header.name.as_str() };
    draft.header(name, header.unfolded());
}

fn carry_body(draft: &mut Draft, message: &Message<'_>) {
    if let Some(content_type) = message.headers().iter().find(|header| header.name == Name::ContentType) {
        draft.body(&content_type.unfolded(), message.body());
    }
}

/// A Contact whose sender left it to its server to say where it is. `[MS-SIPRE]` §3.5.
fn seen_contact(value: &str, hop: &Hop) -> String {
    let Some(contact) = NameAddr::parse(value).ok().filter(|contact| contact.params.get("proxy").is_some()) else {
        return value.to_owned();
    };
    let mut seen = format!("<{}>", received_contact(contact.uri, hop.remote, &hop.cid()));
    for (name, value) in contact.params.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("proxy")) {
        seen.push_str(&value.map_or(format!(";{name}"), |value| format!(";{name}={value}")));
    }
    seen
}

fn unfolded(message: &Message<'_>, name: Name) -> String {
    let header = message.headers().iter().find(|header| header.name == name);
    header.map(|header| header.unfolded().into_owned()).unwrap_or_default()
}

/// A P-Asserted-Identity of that user. RFC 3325 §9.1.
pub(super) fn identity(display_name: &str, uri: &str) -> String {
    let quoted = display_name.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{quoted}\"<{uri}>")
}
