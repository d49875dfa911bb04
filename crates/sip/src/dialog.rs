//! Dialogs: what both ends of a subscription or call remember of each other. RFC 3261 §12.
//!
//! A dialog begins with a 2xx, on either side of it ([`Dialog::of_client`], [`Dialog::of_server`]); from then on it
//! writes the requests of this end and judges those of the other. From and To are kept whole, as first seen: Microsoft
//! clients look for their own parameters (`epid`) there in every message.
//!
//! Omitted: early dialogs (no 1xx makes one here), the ACK for a 2xx, and the `secure` flag (every hop is TLS).

use crate::draft::Draft;
use crate::header::{CSeq, HeaderError, NameAddr, split_list};
use crate::message::Message;
use crate::name::Name;
use crate::uri::Uri;

/// What names a dialog at one end. §12: the other end has the two tags the other way round.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DialogId {
    /// Call-ID as written.
    pub call_id: String,
    /// Tag of this end.
    pub local_tag: String,
    /// Tag of the other end; empty when it is older than RFC 3261 and sent none.
    pub remote_tag: String,
}

impl DialogId {
    /// Of a request that arrived: this end is To.
    pub fn of_request(request: &Message<'_>) -> Result<DialogId, HeaderError> {
        let (from, to) = (line(request, Name::From)?, line(request, Name::To)?);
        Ok(DialogId {
            call_id: line(request, Name::CallId)?,
            local_tag: tag(&to, "To")?,
            remote_tag: tag(&from, "From")?,
        })
    }

    /// Of a response that arrived: this end is From.
    pub fn of_response(response: &Message<'_>) -> Result<DialogId, HeaderError> {
        let DialogId { call_id, local_tag, remote_tag } = DialogId::of_request(response)?;
        Ok(DialogId { call_id, local_tag: remote_tag, remote_tag: local_tag })
    }
}

/// One end of a dialog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialog {
    id: DialogId,
    /// From of what this end sends.
    local: String,
    /// To of what this end sends.
    remote: String,
    /// Where the other end is: the URI of its Contact.
    remote_target: String,
    /// `<uri>;params`, nearest hop first.
    route_set: Vec<String>,
    /// CSeq number of the last request of this end; `None` before the first.
    local_cseq: Option<u32>,
    /// CSeq number of the last request of the other end; `None` before the first.
    remote_cseq: Option<u32>,
}

/// Why there is no dialog, or why a request does not belong into it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialogError {
    /// Only a 2xx begins a dialog.
    #[error("a {0} begins no dialog")]
    NotAccepted(u16),
    /// A header is missing or makes no sense.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Call-ID or a tag is another: 481.
    #[error("the message belongs to another dialog")]
    AnotherDialog,
    /// Its CSeq does not go up: 500 (§12.2.2).
    #[error("CSeq {got} comes after {last}")]
    OutOfOrder {
        /// The last number seen.
        last: u32,
        /// The number of this request.
        got: u32,
    },
    /// This end has used up all CSeq numbers.
    #[error("no CSeq number is left")]
    Exhausted,
}

impl Dialog {
    /// The client's end, from the request it sent and the 2xx it got. §12.1.2.
    pub fn of_client(request: &Message<'_>, response: &Message<'_>) -> Result<Dialog, DialogError> {
        accepted(response)?;
        let mut route_set = routes(response)?;
        route_set.reverse();
        Ok(Dialog {
            id: DialogId::of_response(response)?,
            local: line(request, Name::From)?,
            remote: line(response, Name::To)?,
            remote_target: target(response)?,
            route_set,
            local_cseq: Some(cseq(request)?.0),
            remote_cseq: None,
        })
    }

    /// The server's end, from the request it got and the 2xx it sends (whose To has the server's tag). §12.1.1.
    pub fn of_server(request: &Message<'_>, response: &Message<'_>) -> Result<Dialog, DialogError> {
        accepted(response)?;
        let id = DialogId::of_request(response)?;
        if id.local_tag.is_empty() {
            return Err(HeaderError { header: "To", why: "a 2xx that begins a dialog needs a tag" }.into());
        }
        Ok(Dialog {
            id,
            local: line(response, Name::To)?,
            remote: line(request, Name::From)?,
            remote_target: target(request)?,
            route_set: routes(request)?,
            local_cseq: None,
            remote_cseq: Some(cseq(request)?.0),
        })
    }

    /// What names it.
    pub fn id(&self) -> &DialogId {
        &self.id
    }

    /// The URI that requests of this end are for.
    pub fn remote_target(&self) -> &str {
        &self.remote_target
    }

    /// The proxies that requests of this end pass, nearest first, each as `<uri>;params`.
    pub fn route_set(&self) -> &[String] {
        &self.route_set
    }

    /// Begins the next request of this end: everything §12.2.1.1 asks for, with this `Via`. The caller adds Contact,
    /// what the method needs, and the body.
    pub fn request(&mut self, method: &str, via: &str) -> Result<Draft, DialogError> {
        let number = self.local_cseq.map_or(1, |last| last + 1);
        if number >= 1 << 31 {
            return Err(DialogError::Exhausted);
        }
        self.local_cseq = Some(number);
        let (request_uri, routes) = self.way();
        let mut draft = Draft::request(method, request_uri);
        draft.header("Via", via).header("Max-Forwards", 70);
        for route in routes {
            draft.header("Route", route);
        }
        draft
            .header("From", &self.local)
            .header("To", &self.remote)
            .header("Call-ID", &self.id.call_id)
            .header("CSeq", format_args!("{number} {method}"));
        Ok(draft)
    }

    /// Judges a request of the other end: it belongs here, and its CSeq goes up (ACK and CANCEL repeat the number of
    /// their INVITE). A Contact in a request that may move the other end does so (§12.2.2, RFC 6665 §4.1.2.1).
    pub fn receive(&mut self, request: &Message<'_>) -> Result<(), DialogError> {
        if DialogId::of_request(request)? != self.id {
            return Err(DialogError::AnotherDialog);
        }
        let (got, method) = cseq(request)?;
        let repeats = matches!(method.as_str(), "ACK" | "CANCEL");
        if let Some(last) = self.remote_cseq
            && (got < last || got == last && !repeats)
        {
            return Err(DialogError::OutOfOrder { last, got });
        }
        if moves_target(&method) && request.header(Name::Contact).is_some() {
            self.remote_target = target(request)?;
        }
        self.remote_cseq = Some(got);
        Ok(())
    }

    /// Takes notice of a 2xx to a request of this end: its Contact may have moved. §12.2.1.2.
    pub fn answered(&mut self, response: &Message<'_>) -> Result<(), DialogError> {
        if DialogId::of_response(response)? != self.id {
            return Err(DialogError::AnotherDialog);
        }
        let moves =
            response.status().is_some_and(|code| (200..300).contains(&code)) && moves_target(&cseq(response)?.1);
        if moves && response.header(Name::Contact).is_some() {
            self.remote_target = target(response)?;
        }
        Ok(())
    }

    /// Request-URI and Route values. When the first proxy routes strictly (no `lr`) it is the Request-URI and the
    /// target goes last. §12.2.1.1.
    fn way(&self) -> (&str, Vec<String>) {
        if let Some((first, rest)) = self.route_set.split_first()
            && let Ok(strict) = NameAddr::parse(first)
            && strict.uri().is_ok_and(|uri| uri.params.get("lr").is_none())
        {
            let mut routes = rest.to_vec();
            routes.push(format!("<{}>", self.remote_target));
            let uri = &first[first.find(strict.uri).unwrap_or(0)..];
            return (&uri[..strict.uri.len()], routes);
        }
        (&self.remote_target, self.route_set.clone())
    }
}

fn accepted(response: &Message<'_>) -> Result<(), DialogError> {
    match response.status() {
        Some(200..300) => Ok(()),
        other => Err(DialogError::NotAccepted(other.unwrap_or(0))),
    }
}

/// Requests that say where their sender is now.
fn moves_target(method: &str) -> bool {
    matches!(method, "INVITE" | "UPDATE" | "SUBSCRIBE" | "NOTIFY" | "REFER")
}

fn line(message: &Message<'_>, name: Name) -> Result<String, HeaderError> {
    let header = message.headers().iter().find(|header| header.name == name);
    header
        .map(|header| header.unfolded().into_owned())
        .ok_or(HeaderError { header: name.as_str(), why: "it is missing" })
}

fn tag(value: &str, header: &'static str) -> Result<String, HeaderError> {
    let parsed = NameAddr::parse(value).map_err(|error| HeaderError { header, ..error })?;
    Ok(parsed.params.get("tag").unwrap_or_default().to_owned())
}

fn cseq(message: &Message<'_>) -> Result<(u32, String), HeaderError> {
    let line = line(message, Name::CSeq)?;
    let CSeq { number, method } = CSeq::parse(&line)?;
    Ok((number, method.to_owned()))
}

/// The URI of the one Contact.
fn target(message: &Message<'_>) -> Result<String, HeaderError> {
    let error = |why| HeaderError { header: "Contact", why };
    let line = line(message, Name::Contact)?;
    let mut contacts = split_list(&line);
    let (Some(contact), None, 1) = (contacts.next(), contacts.next(), message.all(Name::Contact).count()) else {
        return Err(error("a dialog has exactly one"));
    };
    let contact = NameAddr::parse(contact).map_err(|e| HeaderError { header: "Contact", ..e })?;
    Uri::parse(contact.uri).map_err(|e| HeaderError { header: "Contact", ..e })?;
    Ok(contact.uri.to_owned())
}

/// The values of Record-Route, in the order they have in the message.
fn routes(message: &Message<'_>) -> Result<Vec<String>, HeaderError> {
    let mut routes = Vec::new();
    for header in message.headers().iter().filter(|header| header.name == Name::RecordRoute) {
        for route in split_list(&header.unfolded()) {
            NameAddr::parse(route)
                .and_then(|route| route.uri())
                .map_err(|error| HeaderError { header: "Record-Route", ..error })?;
            routes.push(route.to_owned());
        }
    }
    Ok(routes)
}

#[cfg(test)]
mod tests;
