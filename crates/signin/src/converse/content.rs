//! What people send each other, and what says that somebody is typing. RFC 3428 §7, RFC 3994 §3, `[MS-CONFIM]` §2.2,
//! pidgin-sipe's and Lync's use of SIP sessions.
//!
//! | where | media type | holds |
//! |---|---|---|
//! | MESSAGE | `text/plain`, `text/html`, `multipart/…` of them | the text |
//! | INVITE | header `ms-text-format` | media type and, in base64, the first text |
//! | INVITE, its 200 | `application/sdp`, maybe in a `multipart/…` | `m=message`: a conversation in text |
//! | INFO | `application/xml` | `KeyboardActivity` |
//! | MESSAGE | `application/im-iscomposing+xml` | the same, as RFC 3994 has it |
//! | MESSAGE | `application/ms-imdn+xml` | whom a text has reached |
//!
//! Rich text (`text/rtf`), ink and file transfers are refused with 415. Fonts and colours (`msgr`) are not looked at and not sent.

use crate::name::Aor;
use crate::provision::presence::batch::read_parts;
use crate::xml::Element;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What this side takes in a MESSAGE: `Accept` of a refusal, and `accept-types` of the SDP.
pub const ACCEPTED: [&str; 5] =
    ["text/plain", "text/html", "multipart/alternative", "application/im-iscomposing+xml", "application/ms-imdn+xml"];

/// Longest text that goes into a header: the first one of a conversation. Bytes; longer ones follow as MESSAGE.
const IN_HEADER: usize = 4096;

/// Somebody's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// As they stand.
    Plain(String),
    /// With HTML around and in them.
    Html(String),
}

impl Text {
    /// Something to say, as it stands.
    pub fn plain(text: impl Into<String>) -> Text {
        Text::Plain(text.into())
    }

    /// `Content-Type`.
    pub fn content_type(&self) -> &'static str {
        match self {
            Text::Plain(_) => "text/plain; charset=UTF-8",
            Text::Html(_) => "text/html; charset=UTF-8",
        }
    }

    /// The body.
    pub fn as_str(&self) -> &str {
        match self {
            Text::Plain(text) | Text::Html(text) => text,
        }
    }

    /// The words alone, fit for a terminal: no elements, entities resolved, no control characters but line ends and tabs.
    pub fn words(&self) -> String {
        let text = match self {
            Text::Plain(text) => text.replace("\r\n", "\n"),
            Text::Html(html) => without_elements(html),
        };
        text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
    }
}

/// HTML as a reader without a browser needs it: `<br>` and the end of a paragraph are line ends, every other element is nothing.
fn without_elements(html: &str) -> String {
    let mut words = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find(['<', '&']) {
        let (before, from) = rest.split_at(at);
        words.push_str(before);
        let is_element = from.starts_with('<');
        let end = if is_element { from.find('>') } else { from.find(';').filter(|end| *end <= 10) };
        let Some(end) = end else {
            // Neither an element nor an entity: as it stands, up to what may be one.
            words.push_str(&from[..1]);
            rest = &from[1..];
            continue;
        };
        let inside = &from[1..end];
        if is_element {
            let name = inside.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
            let breaks = name.eq_ignore_ascii_case("br") || inside.starts_with('/') && name.eq_ignore_ascii_case("p");
            words.push_str(if breaks { "\n" } else { "" });
        } else {
            words.push_str(&entity(inside).map_or_else(|| from[..=end].to_owned(), String::from));
        }
        rest = &from[end + 1..];
    }
    words.push_str(rest);
    words
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some(' '),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

/// What a MESSAGE or INFO carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Words.
    Text(Text),
    /// Whether the other side is typing.
    Typing(bool),
    /// Whom a text has reached: addresses with a status each.
    Report(Vec<(Aor, u16)>),
}

impl Content {
    /// Reads a body; `None` when it is nothing this side takes: 415.
    pub fn read(content_type: &str, body: &[u8]) -> Option<Content> {
        match media_type(content_type).as_str() {
            "text/plain" => Some(Content::Text(Text::Plain(decoded(content_type, body)))),
            "text/html" => Some(Content::Text(Text::Html(decoded(content_type, body)))),
            "application/xml" => typing(body),
            "application/im-iscomposing+xml" => is_composing(body),
            "application/ms-imdn+xml" => report(body),
            "multipart/alternative" | "multipart/related" | "multipart/mixed" => {
                let parts = read_parts(content_type, body)?;
                let texts = parts.iter().filter(|part| part.content_type.starts_with("text/"));
                texts.into_iter().find_map(|part| Content::read(&part.content_type, part.content))
            }
            _ => None,
        }
    }
}

/// A media type without parameters, lower case.
fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Text in UTF-8, or in Latin-1 when the type says so; what is neither becomes replacement characters.
fn decoded(content_type: &str, body: &[u8]) -> String {
    let params = content_type.find(';').map_or("", |at| &content_type[at..]);
    let charset = sip::Params::after(params).and_then(|params| params.get("charset")).unwrap_or("utf-8");
    match charset.eq_ignore_ascii_case("iso-8859-1") {
        true => body.iter().map(|byte| char::from(*byte)).collect(),
        false => String::from_utf8_lossy(body).into_owned(),
    }
}

/// `<KeyboardActivity><status status="type"/></KeyboardActivity>`.
fn typing(body: &[u8]) -> Option<Content> {
    let root = Element::parse(body).ok().filter(|root| root.name == "KeyboardActivity")?;
    Some(Content::Typing(root.child("status")?.attribute("status")? == "type"))
}

/// RFC 3994 §3.3.
fn is_composing(body: &[u8]) -> Option<Content> {
    let root = Element::parse(body).ok().filter(|root| root.name == "isComposing")?;
    Some(Content::Typing(root.child("state")?.trimmed() == "active"))
}

fn report(body: &[u8]) -> Option<Content> {
    let root = Element::parse(body).ok().filter(|root| root.name == "imdn")?;
    let recipient = |element: &Element| {
        let aor = Aor::from_uri(element.attribute("uri")?).ok()?;
        Some((aor, element.child("status")?.trimmed().parse().ok()?))
    };
    Some(Content::Report(root.all("recipient").filter_map(recipient).collect()))
}

/// Writes [`Content::Typing`] for an INFO: content type and body.
pub fn keyboard_activity(typing: bool) -> (&'static str, String) {
    let status = if typing { "type" } else { "idle" };
    let body = format!("<?xml version=\"1.0\"?><KeyboardActivity><status status=\"{status}\" /></KeyboardActivity>");
    ("application/xml", body)
}

/// Value of `ms-text-format` with the first text; `None` when that is too long for a header.
pub fn text_format(text: &Text) -> Option<String> {
    let fits = text.as_str().len() <= IN_HEADER;
    fits.then(|| format!("{};ms-body={}", text.content_type(), STANDARD.encode(text.as_str())))
}

/// The first text in a value of `ms-text-format`. Whoever reads it says so in the 200, and it counts as delivered.
pub fn read_text_format(value: &str) -> Option<Text> {
    let params = sip::Params::after(&value[value.find(';')?..])?;
    let body = STANDARD.decode(params.get("ms-body")?).ok()?;
    match Content::read(value, &body)? {
        Content::Text(text) => Some(text),
        Content::Typing(_) | Content::Report(_) => None,
    }
}

/// The session description of a conversation in text. RFC 4566; `host` is an IP address.
pub fn session_description(host: std::net::IpAddr) -> String {
    let family = if host.is_ipv4() { "IP4" } else { "IP6" };
    format!(
        "v=0\r\no=- 0 0 IN {family} {host}\r\ns=session\r\nc=IN {family} {host}\r\nt=0 0\r\nm=message 5060 sip null\r\n\
         a=accept-types:{}\r\n",
        ACCEPTED.join(" ")
    )
}

/// Whether a description, or one of several, offers a conversation in text. LCS 2005 has `x-ms-message`.
pub fn offers_text(content_type: &str, body: &[u8]) -> bool {
    if let Some(parts) = read_parts(content_type, body) {
        return parts.iter().any(|part| part.content_type == "application/sdp" && describes_text(part.content));
    }
    media_type(content_type) == "application/sdp" && describes_text(body)
}

fn describes_text(description: &[u8]) -> bool {
    let media = |line: &[u8]| line.starts_with(b"m=message ") || line.starts_with(b"m=x-ms-message ");
    description.split(|byte| *byte == b'\n').any(media)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(content_type: &str, body: &str) -> Option<Content> {
        Content::read(content_type, body.as_bytes())
    }

    #[test]
    fn reads_what_clients_send() {
        let plain = |words: &str| Some(Content::Text(Text::plain(words)));
        assert_eq!(text("text/plain; charset=UTF-8;msgr=WAAtAE0A", "h\u{e9}llo"), plain("h\u{e9}llo"));
        assert_eq!(Content::read("Text/Plain; charset=ISO-8859-1", b"h\xe9"), plain("h\u{e9}"));
        assert_eq!(text("text/html", "<b>x</b>"), Some(Content::Text(Text::Html("<b>x</b>".to_owned()))));
        let alternative =
            "--b\r\nContent-Type: text/rtf\r\n\r\n{\\rtf}\r\n--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b--\r\n";
        assert_eq!(text("multipart/alternative; boundary=b", alternative), plain("hi"));
        assert_eq!(text("text/rtf", "{\\rtf}"), None);
        assert_eq!(text("text/x-msmsgsinvite", "x"), None);
    }

    #[test]
    fn reads_and_writes_who_is_typing() {
        for typing in [true, false] {
            let (content_type, body) = keyboard_activity(typing);
            assert_eq!(text(content_type, &body), Some(Content::Typing(typing)));
        }
        let composing =
            "<isComposing xmlns='urn:ietf:params:xml:ns:im-iscomposing'><state>active</state></isComposing>";
        assert_eq!(text("application/im-iscomposing+xml", composing), Some(Content::Typing(true)));
        assert_eq!(text("application/xml", "<other/>"), None);
        let imdn =
            "<imdn><message-id>1</message-id><recipient uri='sip:bob@x.test'><status>200</status></recipient></imdn>";
        let bob = "bob@x.test".parse().expect("an address");
        assert_eq!(text("application/ms-imdn+xml", imdn), Some(Content::Report(vec![(bob, 200)])));
    }

    #[test]
    fn the_first_text_fits_into_a_header() {
        let hello = Text::plain("Hello");
        assert_eq!(text_format(&hello).as_deref(), Some("text/plain; charset=UTF-8;ms-body=SGVsbG8="));
        assert_eq!(read_text_format("text/plain; charset=UTF-8;msgr=WAAtAE0A;ms-body=SGVsbG8="), Some(hello));
        assert_eq!(read_text_format("text/rtf;ms-body=SGVsbG8="), None);
        assert_eq!(read_text_format("text/plain;msgr=x"), None, "only what is to come is described");
        assert_eq!(text_format(&Text::plain("x".repeat(IN_HEADER + 1))), None);
    }

    #[test]
    fn words_need_no_browser() {
        let html = "<FONT COLOR=\"#000\">a &lt;b&gt; &amp; c&#33;</FONT><br/>1 <p>x</p>y\u{1b}[31m&#27;";
        assert_eq!(Text::Html(html.to_owned()).words(), "a <b> & c!\n1 x\ny[31m");
        assert_eq!(Text::Html("AT&T; 1 & 2 &unknown; &".to_owned()).words(), "AT&T; 1 & 2 &unknown; &");
        assert_eq!(Text::plain("one\r\ntwo\u{7}").words(), "one\ntwo");
    }

    #[test]
    fn descriptions_of_text_are_told_from_others() {
        let ours = session_description("192.0.2.7".parse().expect("an address"));
        assert!(offers_text("application/sdp", ours.as_bytes()));
        assert!(offers_text("application/SDP; charset=x", b"v=0\nm=x-ms-message 5060 sip null\n"));
        assert!(!offers_text("application/sdp", b"v=0\r\nm=audio 5060 RTP/AVP 0\r\n"));
        let both = format!(
            "--x\r\nContent-Type: application/sdp\r\n\r\nm=audio 1 RTP/AVP 0\r\n--x\r\nContent-Type: application/sdp\r\n\r\n{ours}--x--"
        );
        assert!(offers_text("multipart/alternative;boundary=\"x\"", both.as_bytes()));
        assert!(!offers_text("multipart/alternative", both.as_bytes()));
    }

    proptest! {
        #[test]
        fn nothing_panics(content_type in ".{0,60}", kind in 0..ACCEPTED.len(), body in proptest::collection::vec(any::<u8>(), 0..300)) {
            for content_type in [content_type.as_str(), ACCEPTED[kind], "multipart/mixed; boundary=b", "application/xml"] {
                if let Some(Content::Text(text)) = Content::read(content_type, &body) {
                    text.words();
                }
                offers_text(content_type, &body);
                read_text_format(content_type);
            }
        }

        #[test]
        fn markup_never_reaches_the_screen(html in "[<>&;#a-z\u{0}-\u{1f} é]{0,80}") {
            let words = Text::Html(html).words();
            prop_assert!(words.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
        }
    }
}
