//! The transcript: a line for each message, with who sent it, what it is, and what proves it.

use signin::name::Aor;
use sip::{Message, Name, NameAddr};

/// One line of the transcript.
pub(super) fn line(message: &Message<'_>, label: Option<String>, server: &str, to_server: bool) -> String {
    let is_sender = message.method().is_some() == to_server;
    let whose = if is_sender { Name::From } else { Name::To };
    let address = message.header(whose).and_then(|value| NameAddr::parse(value).ok());
    let user = address.and_then(|a| Aor::from_uri(a.uri).ok()).map_or("?".to_owned(), |aor| aor.user().to_owned());
    let client = label.unwrap_or(user);
    let arrow = if to_server { "→" } else { "←" };
    format!("{client} {arrow} {server}  {}  {{{}}}", what(message), proof(message))
}

/// Method or status, and what matters about it.
fn what(message: &Message<'_>) -> String {
    let event = message.header(Name::Event).map_or(String::new(), |event| format!(" {event}"));
    if let Some(method) = message.method() {
        return match (method, message.header(Name::Expires)) {
            ("REGISTER", Some(expires)) => format!("REGISTER expires={expires}"),
            ("REGISTER", None) => "REGISTER".to_owned(),
            ("NOTIFY", _) if event == " registration-notify" => {
                format!("NOTIFY {}", String::from_utf8_lossy(message.body()))
            }
            _ => format!("{method}{event}"),
        };
    }
    let code = message.status().unwrap_or(0);
    let contacts: Vec<&str> = message.all(Name::Contact).collect();
    let diagnostics = signin::reply::diagnostics(message).0.map_or(String::new(), |id| format!(" {id}"));
    let conversational = message
        .header(Name::CSeq)
        .and_then(|cseq| cseq.split(' ').nth(1))
        .filter(|method| !["REGISTER", "SUBSCRIBE", "SERVICE"].contains(method));
    match (code, message.named("presence-state")) {
        (200, Some(state)) => format!("200 {state}"),
        (301, _) => format!("301 {}", contacts.join(", ")),
        _ if conversational.is_some() => format!("{code}{diagnostics} ({})", conversational.unwrap_or_default()),
        _ => format!("{code}{diagnostics}"),
    }
}

/// What a message proves itself with.
fn proof(message: &Message<'_>) -> &'static str {
    let challenge = message.header(Name::WwwAuthenticate).map(|value| value.contains("gssapi-data"));
    let credentials = message.header(Name::Authorization);
    match (message.status(), challenge, credentials) {
        (Some(_), Some(true), _) => "NTLM CHALLENGE",
        (Some(_), Some(false), _) => "offers NTLM",
        (None, _, Some(value)) if value.contains("gssapi-data=\"\"") => "NTLM, empty token",
        (None, _, Some(value)) if value.contains("gssapi-data") => "NTLM AUTHENTICATE, signed",
        (_, None, Some(_)) => "signed",
        _ if message.header(Name::AuthenticationInfo).is_some() => "signed",
        (None, _, None) => "no credentials",
        _ => "unsigned",
    }
}
