//! Leaving out of a record what opens something by itself, so that the record can be given away.
//!
//! A web ticket lasts for hours, and whoever has it with the key that belongs to it gets a certificate of its user,
//! without a password. The key is made of what client and server send each other (`BinarySecret`), the ticket is good
//! for what its `SignatureValue` says, and shown alone in a header. What remains of these messages says what was asked
//! and answered. Tokens of NTLM and Kerberos stay: each is good for one handshake that is over.

use signin::io::{Operation, Outcome};
use signin::web_ticket::TICKET_HEADER;

/// What stands in place of what is left out.
const LEFT_OUT: &str = "…";

/// Elements whose text is left out, whatever their prefix.
const ELEMENTS: [&str; 3] = ["BinarySecret", "SignatureValue", "MgmtData"];

/// Leaves it out of what was asked.
pub(crate) fn operation(operation: &mut Operation) {
    if let Operation::Exchange { request, .. } = operation {
        for (_, value) in request.headers.iter_mut().filter(|(name, _)| name.eq_ignore_ascii_case(TICKET_HEADER)) {
            LEFT_OUT.clone_into(value);
        }
        body(&mut request.body);
    }
}

/// Leaves it out of an outcome.
pub(crate) fn outcome(outcome: &mut Outcome) {
    if let Outcome::Answered(Ok(response)) = outcome {
        body(&mut response.body);
    }
}

fn body(body: &mut Vec<u8>) {
    let Ok(text) = std::str::from_utf8(body) else { return };
    if ELEMENTS.iter().any(|name| text.contains(name)) {
        *body = without_secrets(text).into_bytes();
    }
}

/// The text with the content of those elements left out. It need not be XML: what looks like one of them counts.
fn without_secrets(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(tag) = rest.find('<') {
        let (before, from_tag) = rest.split_at(tag);
        kept.push_str(before);
        let Some(end) = from_tag.find('>') else {
            rest = from_tag;
            break;
        };
        let (start_tag, content) = from_tag.split_at(end.saturating_add(1));
        kept.push_str(start_tag);
        rest = content;
        if is_secret(start_tag) {
            kept.push_str(LEFT_OUT);
            rest = content.find("</").and_then(|end| content.get(end..)).unwrap_or_default();
        }
    }
    kept.push_str(rest);
    kept
}

/// `<BinarySecret …>` or `<wst:BinarySecret …>`, with something in it.
fn is_secret(tag: &str) -> bool {
    let name = tag.trim_start_matches('<').split(|c: char| c.is_whitespace() || matches!(c, '>' | '/')).next();
    let local = name.and_then(|name| name.rsplit(':').next()).unwrap_or_default();
    !tag.starts_with("</") && !tag.ends_with("/>") && ELEMENTS.contains(&local)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use signin::io::{ConnId, HttpRequest, HttpResponse};
    use std::time::Duration;

    #[test]
    fn tickets_and_their_keys_are_left_out_and_the_rest_stays() {
        let body = "<a><t:Entropy><t:BinarySecret Type=\"n\">c2VjcmV0</t:BinarySecret></t:Entropy>\
                    <SignatureValue>c2lnbmF0dXJl</SignatureValue><MgmtData>c2VhbGVk</MgmtData>\
                    <BinarySecret/><Value>sip:alice@contoso.test</Value></a>";
        let request = HttpRequest {
            method: "POST".to_owned(),
            host: "web.contoso.test".to_owned(),
            path: "/".to_owned(),
            headers: vec![
                ("X-MS-WebTicket".to_owned(), "opaque=dGlja2V0".to_owned()),
                ("accept".to_owned(), "text/xml".to_owned()),
            ],
            body: body.as_bytes().to_vec(),
        };
        let mut asked = Operation::Exchange { conn: ConnId(1), request, limit: Duration::ZERO };
        operation(&mut asked);
        let response = HttpResponse { status: 200, headers: Vec::new(), body: body.into(), reusable: true };
        let mut answered = Outcome::Answered(Ok(response));
        outcome(&mut answered);
        let (Operation::Exchange { request, .. }, Outcome::Answered(Ok(response))) = (asked, answered) else {
            unreachable!("they are what they were")
        };
        assert_eq!(request.body, response.body);
        let text = String::from_utf8(request.body).expect("text");
        assert_eq!(
            text,
            "<a><t:Entropy><t:BinarySecret Type=\"n\">…</t:BinarySecret></t:Entropy><SignatureValue>…</SignatureValue>\
             <MgmtData>…</MgmtData><BinarySecret/><Value>sip:alice@contoso.test</Value></a>"
        );
        assert_eq!(request.headers[0].1, "…");
        assert_eq!(request.headers[1].1, "text/xml");
    }

    proptest! {
        #[test]
        fn what_holds_no_secret_is_not_changed(text in "[<>/a-z:]{0,80}") {
            prop_assert_eq!(without_secrets(&text), text);
        }

        #[test]
        fn no_secret_is_kept(around in "[<>/a-zé:]{0,20}", prefix in "([a-z]{1,3}:)?", name in 0usize..3) {
            let name = ELEMENTS[name];
            let text = format!("<x/><{prefix}{name}>SECRET{around}");
            prop_assert!(!without_secrets(&text).contains("SECRET"));
        }
    }
}
