//! Autodiscover documents, read and written in their three forms. `[MS-OCDISCWS]` §2.2.4, §2.2.5.
//!
//! | form | media type | asked for by |
//! |---|---|---|
//! | XML | `application/vnd.microsoft.rtc.autodiscover+xml` | desktop clients |
//! | JSON | `application/vnd.microsoft.rtc.autodiscover+json` | nobody in particular; it is the default |
//! | HAL | `application/json` | clients of the web interface |
//!
//! The reader looks at the bytes, not at the media type, ignores links it does not know, and forgives blanks around
//! names. It takes no entry without host or port. In the HAL form a user's SIP servers are plain properties: the
//! published form has only links, and without them it would not answer the question asked here.

use super::AccessLocation;
use crate::topology::HostPort;
use crate::xml::{Element, Limits, XmlError, escape};
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// Largest document accepted, in bytes. Real ones have 1 to 3 KiB.
const MAX_BYTES: usize = 256 * 1024;

/// Most links kept from one document. Real ones have at most about twenty.
const MAX_LINKS: usize = 64;

/// A document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// At which site the request arrived. Servers always say; absent in the HAL form of others.
    pub location: Option<AccessLocation>,
    /// What it answers.
    pub body: Body,
}

/// What a document answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The Root resource: where the others are.
    Root(Vec<Link>),
    /// The Domain resource: SIP servers for nobody in particular.
    Domain(SipAccess, Vec<Link>),
    /// The User resource: SIP servers and services of one user.
    User(SipAccess, Vec<Link>),
}

impl Body {
    /// Its links, whatever it answers.
    pub fn links(&self) -> &[Link] {
        match self {
            Body::Root(links) | Body::Domain(_, links) | Body::User(_, links) => links,
        }
    }

    /// The first link of that kind.
    pub fn link(&self, token: &Token) -> Option<&str> {
        self.links().iter().find(|link| link.token == *token).map(|link| link.href.as_str())
    }
}

/// A link. Both parts are mandatory, `[MS-OCDISCWS]` §2.2.5.5.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What it leads to.
    pub token: Token,
    /// Absolute URL, as written.
    pub href: String,
}

impl Link {
    /// A link.
    pub fn new(token: Token, href: impl Into<String>) -> Link {
        Link { token, href: href.into() }
    }
}

/// What a link leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// Ask there instead.
    Redirect,
    /// The User resource.
    User,
    /// The Domain resource.
    Domain,
    /// The document itself.
    Current,
    /// Anything else, for example `External/Autodiscover`.
    Other(String),
}

impl Token {
    /// The word on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Token::Redirect => "Redirect",
            Token::User => "User",
            Token::Domain => "Domain",
            Token::Current => "Self",
            Token::Other(text) => text,
        }
    }

    /// Reads the word on the wire; case does not matter.
    pub fn from_wire(text: &str) -> Token {
        [Token::Redirect, Token::User, Token::Domain, Token::Current]
            .into_iter()
            .find(|token| token.as_str().eq_ignore_ascii_case(text.trim()))
            .unwrap_or_else(|| Token::Other(text.trim().to_owned()))
    }
}

/// SIP servers a document names. The `server` entries are published but reserved: no client uses them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SipAccess {
    /// `SipServerInternalAccess`.
    pub server_internal: Option<HostPort>,
    /// `SipClientInternalAccess`: for clients inside.
    pub client_internal: Option<HostPort>,
    /// `SipServerExternalAccess`.
    pub server_external: Option<HostPort>,
    /// `SipClientExternalAccess`: for clients outside.
    pub client_external: Option<HostPort>,
}

impl SipAccess {
    /// The entry for a client at this place.
    pub fn client(&self, location: AccessLocation) -> Option<&HostPort> {
        match location {
            AccessLocation::Internal => self.client_internal.as_ref(),
            AccessLocation::External => self.client_external.as_ref(),
        }
    }

    fn named(&self) -> [(&'static str, Option<&HostPort>); 4] {
        [
            ("SipServerInternalAccess", self.server_internal.as_ref()),
            ("SipClientInternalAccess", self.client_internal.as_ref()),
            ("SipServerExternalAccess", self.server_external.as_ref()),
            ("SipClientExternalAccess", self.client_external.as_ref()),
        ]
    }

    fn read(mut entry: impl FnMut(&str) -> Option<HostPort>) -> SipAccess {
        SipAccess {
            server_internal: entry("SipServerInternalAccess"),
            client_internal: entry("SipClientInternalAccess"),
            server_external: entry("SipServerExternalAccess"),
            client_external: entry("SipClientExternalAccess"),
        }
    }
}

/// The form a document is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// XML.
    Xml,
    /// JSON that mirrors the XML.
    Json,
    /// JSON with `_links`.
    Hal,
}

/// What the client sends as `Accept`.
pub const ACCEPT_XML: &str = "application/vnd.microsoft.rtc.autodiscover+xml;v=1";

impl Form {
    /// The form a request asks for. The first media type known wins; without one it is [`Form::Json`].
    pub fn of_accept(accept: Option<&str>) -> Form {
        let form = |media_type: &str| {
            let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            match essence.as_str() {
                "application/vnd.microsoft.rtc.autodiscover+xml" | "application/xml" | "text/xml" => Some(Form::Xml),
                "application/vnd.microsoft.rtc.autodiscover+json" => Some(Form::Json),
                "application/json" => Some(Form::Hal),
                _ => None,
            }
        };
        accept.unwrap_or_default().split(',').find_map(form).unwrap_or(Form::Json)
    }

    /// The `Content-Type` of the answer. Clients compare how it begins, byte for byte.
    pub fn content_type(self) -> &'static str {
        match self {
            Form::Xml => "application/vnd.microsoft.rtc.autodiscover+xml; v=1",
            Form::Json => "application/vnd.microsoft.rtc.autodiscover+json; v=1",
            Form::Hal => "application/json",
        }
    }
}

/// Why bytes are no Autodiscover document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// An HTML page: mostly the login form of a reverse proxy.
    #[error("it is an HTML page")]
    Html,
    /// Larger than any real document.
    #[error("it is larger than {MAX_BYTES} bytes")]
    TooLarge,
    /// Neither XML nor JSON.
    #[error("it is neither XML nor JSON")]
    Neither,
    /// XML, but broken.
    #[error("its XML is broken: {0}")]
    Xml(#[from] XmlError),
    /// JSON, but broken.
    #[error("its JSON is broken: {0}")]
    Json(String),
    /// Well-formed, but of another kind.
    #[error("it has no Root, Domain or User")]
    OtherKind,
}

impl Document {
    /// Reads a document in any form.
    pub fn read(bytes: &[u8]) -> Result<Document, DocumentError> {
        if bytes.len() > MAX_BYTES {
            return Err(DocumentError::TooLarge);
        }
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
        match text.first() {
            Some(b'<') => read_xml(text),
            Some(b'{') => read_json(text),
            _ => Err(DocumentError::Neither),
        }
    }

    /// Writes the document in this form.
    pub fn write(&self, form: Form) -> String {
        match form {
            Form::Xml => self.write_xml(),
            Form::Json => self.write_json().to_string(),
            Form::Hal => self.write_hal().to_string(),
        }
    }

    fn write_xml(&self) -> String {
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><AutodiscoverResponse");
        if let Some(location) = self.location {
            let _ = write!(xml, " AccessLocation=\"{}\"", location.as_str());
        }
        let (name, access) = self.body.named();
        let _ = write!(xml, "><{name}>");
        for (entry, server) in access.into_iter().flat_map(SipAccess::named) {
            if let Some(server) = server {
                let _ = write!(xml, "<{entry} fqdn=\"{}\" port=\"{}\"/>", escape(&server.host), server.port);
            }
        }
        for link in self.body.links() {
            let (token, href) = (escape(link.token.as_str()), escape(&link.href));
            let _ = write!(xml, "<Link token=\"{token}\" href=\"{href}\"/>");
        }
        let _ = write!(xml, "</{name}></AutodiscoverResponse>");
        xml
    }

    fn write_json(&self) -> Value {
        let (name, access) = self.body.named();
        let links: Vec<Value> =
            self.body.links().iter().map(|link| json!({"href": link.href, "token": link.token.as_str()})).collect();
        let mut body = Map::new();
        put_access(&mut body, access);
        body.insert("Links".to_owned(), Value::Array(links));
        let mut document = Map::new();
        if let Some(location) = self.location {
            document.insert("AccessLocation".to_owned(), json!(location.as_str()));
        }
        document.insert(name.to_owned(), Value::Object(body));
        Value::Object(document)
    }

    fn write_hal(&self) -> Value {
        let mut links = Map::new();
        for link in self.body.links() {
            links.insert(link.token.as_str().to_ascii_lowercase(), json!({"href": link.href}));
        }
        let mut document = Map::new();
        document.insert("_links".to_owned(), Value::Object(links));
        if let Some(location) = self.location {
            document.insert("AccessLocation".to_owned(), json!(location.as_str()));
        }
        put_access(&mut document, self.body.named().1);
        Value::Object(document)
    }
}

impl Body {
    fn named(&self) -> (&'static str, Option<&SipAccess>) {
        match self {
            Body::Root(_) => ("Root", None),
            Body::Domain(access, _) => ("Domain", Some(access)),
            Body::User(access, _) => ("User", Some(access)),
        }
    }
}

fn put_access(object: &mut Map<String, Value>, access: Option<&SipAccess>) {
    for (entry, server) in access.into_iter().flat_map(SipAccess::named) {
        if let Some(server) = server {
            object.insert(entry.to_owned(), json!({"fqdn": server.host, "port": server.port.to_string()}));
        }
    }
}

fn read_xml(bytes: &[u8]) -> Result<Document, DocumentError> {
    if starts_like_html(bytes) {
        return Err(DocumentError::Html);
    }
    let root = Element::parse_within(bytes, Limits { bytes: MAX_BYTES, ..Limits::default() })?;
    if root.name.eq_ignore_ascii_case("html") {
        return Err(DocumentError::Html);
    }
    let location = root.attribute("AccessLocation").and_then(AccessLocation::from_wire);
    let links = |body: &Element| {
        let link = |e: &Element| keep(e.attribute("token"), e.attribute("href"));
        body.all("Link").filter_map(link).take(MAX_LINKS).collect::<Vec<_>>()
    };
    let access = |body: &Element| {
        SipAccess::read(|name| {
            let entry = body.child(name)?;
            host_port(entry.attribute("fqdn")?, entry.attribute("port")?)
        })
    };
    let body = if let Some(body) = root.child("User") {
        Body::User(access(body), links(body))
    } else if let Some(body) = root.child("Root") {
        Body::Root(links(body))
    } else if let Some(body) = root.child("Domain") {
        Body::Domain(access(body), links(body))
    } else {
        return Err(DocumentError::OtherKind);
    };
    Ok(Document { location, body })
}

/// Web pages are seldom well-formed XML, so they are known by how they begin.
fn starts_like_html(bytes: &[u8]) -> bool {
    let beginning = bytes.get(..bytes.len().min(1024)).unwrap_or_default().to_ascii_lowercase();
    memchr::memmem::find(&beginning, b"<!doctype html").is_some()
        || memchr::memmem::find(&beginning, b"<html").is_some()
}

fn read_json(bytes: &[u8]) -> Result<Document, DocumentError> {
    let root: Map<String, Value> = serde_json::from_slice(bytes).map_err(|e| DocumentError::Json(e.to_string()))?;
    let location = root.get("AccessLocation").and_then(Value::as_str).and_then(AccessLocation::from_wire);
    let body = if let Some(Value::Object(body)) = root.get("User") {
        Body::User(json_access(body), json_links(body))
    } else if let Some(Value::Object(body)) = root.get("Root") {
        Body::Root(json_links(body))
    } else if let Some(Value::Object(body)) = root.get("Domain") {
        Body::Domain(json_access(body), json_links(body))
    } else if let Some(Value::Object(links)) = root.get("_links") {
        read_hal(&root, links)
    } else {
        return Err(DocumentError::OtherKind);
    };
    Ok(Document { location, body })
}

/// A HAL document does not say its kind: one that leads on to a user or elsewhere is a Root.
fn read_hal(root: &Map<String, Value>, links: &Map<String, Value>) -> Body {
    let link = |(token, value): (&String, &Value)| keep(Some(token), value.get("href").and_then(Value::as_str));
    let links: Vec<Link> = links.iter().filter_map(link).take(MAX_LINKS).collect();
    if links.iter().any(|link| matches!(link.token, Token::User | Token::Redirect)) {
        return Body::Root(links);
    }
    Body::User(json_access(root), links)
}

fn json_links(body: &Map<String, Value>) -> Vec<Link> {
    let Some(Value::Array(links)) = body.get("Links") else { return Vec::new() };
    let text = |link: &Value, name: &str| link.get(name).and_then(Value::as_str).map(str::to_owned);
    let link = |link: &Value| keep(text(link, "token").as_deref(), text(link, "href").as_deref());
    links.iter().filter_map(link).take(MAX_LINKS).collect()
}

fn json_access(body: &Map<String, Value>) -> SipAccess {
    SipAccess::read(|name| {
        let entry = body.get(name)?;
        let port = match entry.get("port")? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        host_port(entry.get("fqdn")?.as_str()?, &port)
    })
}

fn keep(token: Option<&str>, href: Option<&str>) -> Option<Link> {
    let (token, href) = (token?.trim(), href?.trim());
    (!token.is_empty() && !href.is_empty()).then(|| Link::new(Token::from_wire(token), href))
}

/// Blanks around the name occur in published samples.
fn host_port(fqdn: &str, port: &str) -> Option<HostPort> {
    let host = fqdn.trim().trim_end_matches('.').to_ascii_lowercase();
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
    let port = port.trim().parse().ok().filter(|port| *port != 0)?;
    (!host.is_empty() && host.len() <= 253 && host.bytes().all(allowed)).then_some(HostPort { host, port })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn user() -> Document {
        let at = |host: &str, port| Some(HostPort { host: host.to_owned(), port });
        let access = SipAccess {
            server_internal: at("pool1.contoso.test", 5061),
            client_internal: at("pool1.contoso.test", 5061),
            server_external: at("sip.contoso.test", 5061),
            client_external: at("sip.contoso.test", 443),
        };
        let links = vec![
            Link::new(Token::Other("External/Autodiscover".to_owned()), "https://web.contoso.test/a?b=1&c=2"),
            Link::new(Token::Current, "https://pool1.contoso.test/Autodiscover/AutodiscoverService.svc/root/user"),
        ];
        Document { location: Some(AccessLocation::External), body: Body::User(access, links) }
    }

    fn root(links: Vec<Link>) -> Document {
        Document { location: Some(AccessLocation::Internal), body: Body::Root(links) }
    }

    #[test]
    fn what_one_form_writes_every_reader_understands() {
        let documents = [
            root(vec![Link::new(Token::Redirect, "https://pool1.contoso.test/root?sipuri=a%40b")]),
            root(vec![Link::new(Token::User, "https://p/u"), Link::new(Token::Domain, "https://p/d")]),
            user(),
        ];
        for document in documents {
            for form in [Form::Xml, Form::Json, Form::Hal] {
                let read = Document::read(document.write(form).as_bytes()).expect("what was written");
                assert_eq!(read.location, document.location, "{form:?}");
                match (&read.body, &document.body) {
                    // HAL has its own spelling of the names of links.
                    (Body::User(a, _), Body::User(b, _)) if form == Form::Hal => assert_eq!(a, b),
                    (read, written) => assert_eq!(read, written, "{form:?}"),
                }
            }
        }
    }

    #[test]
    fn reads_documents_of_other_servers() {
        let xml = "\u{feff}<?xml version=\"1.0\"?>\r\n<AutodiscoverResponse xmlns:xsd=\"u\" accesslocation=\"external\">\
            <User><SipServerInternalAccess fqdn=\"x\" port=\"0\"/><SipClientExternalAccess fqdn=\" sip.contoso.test. \" \
            port=\" 443\"/><Link href=\"https://u\" Token=\"ucwa\"/><Link token=\"Self\"/></User></AutodiscoverResponse>";
        let document = Document::read(xml.as_bytes()).expect("a document");
        assert_eq!(document.location, Some(AccessLocation::External));
        let Body::User(access, links) = document.body else { panic!("a User document") };
        assert_eq!(access.client_external.map(|s| s.to_string()), Some("sip.contoso.test:443".to_owned()));
        assert_eq!(access.server_internal, None, "port 0 is no port");
        assert_eq!(links, [Link::new(Token::Other("ucwa".to_owned()), "https://u")], "a link needs both parts");

        let json = r#"{"AccessLocation":"External","User":{"SipClientInternalAccess":{"fqdn":"pool1","port":5061},
            "Links":[{"href":"https:\/\/web\/x","token":"Ucwa"},{"href":7},"text"]}}"#;
        let Body::User(access, links) = Document::read(json.as_bytes()).expect("a document").body else {
            panic!("a User document")
        };
        assert_eq!(access.client_internal.map(|s| s.port), Some(5061));
        assert_eq!(links.len(), 1);

        let hal = r#"{"_links":{"self":{"href":"https://w/root"},"user":{"href":"https://w/root/oauth/user"},
            "xframe":{"href":"https://w/x"}}}"#;
        let body = Document::read(hal.as_bytes()).expect("a document").body;
        assert_eq!(body.link(&Token::User), Some("https://w/root/oauth/user"));
        let moved = br#"{"_links":{"self":{"href":"https://w/root"},"redirect":{"href":"https://other/"}}}"#;
        assert_eq!(Document::read(moved).expect("a document").body.link(&Token::Redirect), Some("https://other/"));
    }

    #[test]
    fn tells_apart_what_is_no_document() {
        let html = "<!DOCTYPE html><html><body><form>Sign in</form></body></html>";
        assert_eq!(Document::read(html.as_bytes()), Err(DocumentError::Html));
        assert_eq!(Document::read(b"\r\n <HTML><p>unclosed"), Err(DocumentError::Html));
        assert_eq!(Document::read(b""), Err(DocumentError::Neither));
        assert_eq!(Document::read(b"hello"), Err(DocumentError::Neither));
        assert!(matches!(Document::read(b"<a><b></a>"), Err(DocumentError::Xml(_))));
        assert!(matches!(Document::read(b"{\"a\":"), Err(DocumentError::Json(_))));
        assert_eq!(Document::read(b"<AutodiscoverResponse/>"), Err(DocumentError::OtherKind));
        assert_eq!(Document::read(b"{\"Root\":7}"), Err(DocumentError::OtherKind));
        let bomb = format!("{}{}{}", "{\"a\":".repeat(10_000), "1", "}".repeat(10_000));
        assert!(matches!(Document::read(bomb.as_bytes()), Err(DocumentError::Json(_))));
        let entity = b"<!DOCTYPE x [<!ENTITY e \"e\">]><AutodiscoverResponse><Root/></AutodiscoverResponse>";
        assert!(matches!(Document::read(entity), Err(DocumentError::Xml(XmlError::Doctype))));
        assert_eq!(Document::read(&vec![b'<'; MAX_BYTES + 1]), Err(DocumentError::TooLarge));
        let many = format!(
            "<AutodiscoverResponse><Root>{}</Root></AutodiscoverResponse>",
            "<Link token=\"User\" href=\"https://u\"/>".repeat(1000)
        );
        assert_eq!(Document::read(many.as_bytes()).expect("a document").body.links().len(), MAX_LINKS);
    }

    #[test]
    fn the_form_follows_the_accept_header() {
        let table = [
            (None, Form::Json),
            (Some("*/*"), Form::Json),
            (Some(ACCEPT_XML), Form::Xml),
            (Some("Application/vnd.microsoft.rtc.autodiscover+XML; v=1"), Form::Xml),
            (Some("application/json"), Form::Hal),
            (Some("text/html, application/vnd.microsoft.rtc.autodiscover+json;v=1"), Form::Json),
        ];
        for (accept, form) in table {
            assert_eq!(Form::of_accept(accept), form, "{accept:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_hurt(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Document::read(&bytes);
        }

        #[test]
        fn any_text_survives_as_href(href in "[ -~]{1,40}", host in "[a-z]{1,8}(\\.[a-z]{1,8}){0,3}", port in 1u16..) {
            prop_assume!(!href.trim().is_empty() && href.trim() == href);
            let access = SipAccess { client_internal: Some(HostPort { host, port }), ..SipAccess::default() };
            let document = Document { location: None, body: Body::User(access, vec![Link::new(Token::Current, href)]) };
            for form in [Form::Xml, Form::Json] {
                prop_assert_eq!(Document::read(document.write(form).as_bytes()), Ok(document.clone()));
            }
        }
    }
}
