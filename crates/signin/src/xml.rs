//! A small tree for XML from peers: bounded in size and depth, no DOCTYPE, names compared without their namespace
//! prefix, because real peers choose prefixes freely. Writing is text with [`escape`].

pub mod canonical;

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};
use std::borrow::Cow;

/// How much XML one peer may make us hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of the document.
    pub bytes: usize,
    /// Nested elements.
    pub depth: usize,
    /// Elements in all.
    pub elements: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { bytes: 1024 * 1024, depth: 32, elements: 50_000 }
    }
}

/// Why bytes are not XML we read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// Larger than the limit.
    #[error("the document is larger than {0} bytes")]
    TooLarge(usize),
    /// Nested deeper than the limit.
    #[error("elements are nested deeper than {0}")]
    TooDeep(usize),
    /// More elements than the limit.
    #[error("more than {0} elements")]
    TooMany(usize),
    /// A document type declaration: never needed here, and a door for entity attacks.
    #[error("a DOCTYPE is not allowed")]
    Doctype,
    /// Not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// Not well-formed.
    #[error("not well-formed: {0}")]
    Malformed(String),
}

/// An element with everything in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Element {
    /// Name without prefix, case kept.
    pub name: String,
    /// Attributes in order, names without prefix; namespace declarations are left out.
    pub attributes: Vec<(String, String)>,
    /// Child elements in order.
    pub children: Vec<Element>,
    /// Its own text, entities resolved; text of children is theirs.
    pub text: String,
    /// Where the element stands in the document, tags included: bytes from the start, and past the end.
    pub span: (usize, usize),
}

impl Element {
    /// Reads a document within the default limits.
    pub fn parse(bytes: &[u8]) -> Result<Element, XmlError> {
        Element::parse_within(bytes, Limits::default())
    }

    /// Reads a document within these limits.
    pub fn parse_within(bytes: &[u8], limits: Limits) -> Result<Element, XmlError> {
        if bytes.len() > limits.bytes {
            return Err(XmlError::TooLarge(limits.bytes));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| XmlError::NotUtf8)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let skipped = bytes.len() - text.len();
        let mut reader = Reader::from_str(text);
        let mut open: Vec<Element> = Vec::new();
        let mut count = 0;
        loop {
            let before = skipped + usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
            let event = reader.read_event().map_err(|e| malformed(&e))?;
            let after = skipped + usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
            let closed = match event {
                Event::Start(ref start) | Event::Empty(ref start) => {
                    count += 1;
                    if open.len() >= limits.depth {
                        return Err(XmlError::TooDeep(limits.depth));
                    }
                    let element = Element { span: (before, after), ..begin(start)? };
                    match event {
                        Event::Empty(_) => Some(element),
                        _ => {
                            open.push(element);
                            None
                        }
                    }
                }
                Event::End(_) => {
                    let mut element = open.pop().ok_or_else(|| malformed(&"an end without a beginning"))?;
                    element.span.1 = after;
                    Some(element)
                }
                Event::Text(text) => {
                    match open.last_mut() {
                        Some(parent) => parent.text.push_str(&text),
                        None if text.trim().is_empty() => {}
                        None => return Err(malformed(&"text outside the document element")),
                    }
                    None
                }
                Event::CData(data) => {
                    if let Some(parent) = open.last_mut() {
                        parent.text.push_str(&data);
                    }
                    None
                }
                Event::GeneralRef(reference) => {
                    let resolved = resolve(&reference)?;
                    match open.last_mut() {
                        Some(parent) => parent.text.push_str(&resolved),
                        None => return Err(malformed(&"text outside the document element")),
                    }
                    None
                }
                Event::DocType(_) => return Err(XmlError::Doctype),
                Event::Eof => return Err(malformed(&"the document element does not end")),
                Event::Decl(_) | Event::PI(_) | Event::Comment(_) => None,
            };
            if count > limits.elements {
                return Err(XmlError::TooMany(limits.elements));
            }
            if let Some(element) = closed {
                match open.last_mut() {
                    Some(parent) => parent.children.push(element),
                    None => return Ok(element),
                }
            }
        }
    }

    /// The first child of that name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|c| c.name == name)
    }

    /// Every child of that name, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |c| c.name == name)
    }

    /// Down a path of first children: `path(&["Body", "Fault"])`.
    pub fn path(&self, names: &[&str]) -> Option<&Element> {
        names.iter().try_fold(self, |element, name| element.child(name))
    }

    /// The first element of that name anywhere below, document order.
    pub fn find(&self, name: &str) -> Option<&Element> {
        self.children.iter().find_map(|c| if c.name == name { Some(c) } else { c.find(name) })
    }

    /// An attribute, its name compared without case.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Its text without the white space around it.
    pub fn trimmed(&self) -> &str {
        self.text.trim()
    }
}

fn malformed(why: &dyn std::fmt::Display) -> XmlError {
    XmlError::Malformed(why.to_string())
}

/// What a reference stands for: a character by its number, or one of the five entities that are predefined.
fn resolve(reference: &BytesRef<'_>) -> Result<Cow<'static, str>, XmlError> {
    if let Some(character) = reference.resolve_char_ref().map_err(|e| malformed(&e))? {
        return Ok(Cow::Owned(character.to_string()));
    }
    let entity = quick_xml::escape::resolve_predefined_entity(reference);
    entity.map(Cow::Borrowed).ok_or_else(|| malformed(&"an entity that is not predefined"))
}

fn begin(start: &BytesStart<'_>) -> Result<Element, XmlError> {
    let malformed = |e: &dyn std::fmt::Display| XmlError::Malformed(e.to_string());
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|e| malformed(&e))?;
        let key = attribute.key.as_ref();
        if key == "xmlns" || key.starts_with("xmlns:") {
            continue;
        }
        let name = key.rsplit(':').next().unwrap_or(key).to_owned();
        let value = quick_xml::escape::unescape(&attribute.value).map_err(|e| malformed(&e))?;
        attributes.push((name, value.into_owned()));
    }
    // `<a//>` would be an element called `a/`, which reads as another one when it is written again.
    let odd = |c: char| c.is_control() || c.is_whitespace() || "/<>&\"'=".contains(c);
    if start.name().as_ref().contains(odd) {
        return Err(XmlError::Malformed("a name that is none".to_owned()));
    }
    let name = start.local_name().as_ref().to_owned();
    Ok(Element { name, attributes, ..Element::default() })
}

/// Text as it may stand in an element or a quoted attribute.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) && !text.chars().any(forbidden) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            c if forbidden(c) => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// Characters XML 1.0 cannot carry at all.
fn forbidden(c: char) -> bool {
    (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_without_prefix_and_text_with_entities() {
        let root =
            Element::parse(b"<?xml version='1.0'?><s:a xmlns:s='u'><s:b X='1 &amp; 2'>a &amp; b &#65;</s:b><c/></s:a>")
                .expect("well-formed");
        assert_eq!(root.name, "a");
        assert_eq!(root.child("b").map(|b| b.text.as_str()), Some("a & b A"));
        assert_eq!(root.child("b").and_then(|b| b.attribute("x")), Some("1 & 2"));
        assert!(root.child("c").is_some());
    }

    #[test]
    fn spans_cut_the_element_out_of_the_document() {
        let text = "<a><b>x</b><c d=\"1\"/></a>";
        let root = Element::parse(text.as_bytes()).expect("well-formed");
        let cut = |e: &Element| &text[e.span.0..e.span.1];
        assert_eq!(cut(&root.children[0]), "<b>x</b>");
        assert_eq!(cut(&root.children[1]), "<c d=\"1\"/>");
        assert_eq!(cut(&root), text);
    }

    #[test]
    fn refuses_what_could_hurt() {
        assert_eq!(Element::parse(b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"), Err(XmlError::Doctype));
        assert!(matches!(Element::parse(b"<a>&b;</a>"), Err(XmlError::Malformed(_))));
        let deep = "<a>".repeat(100) + &"</a>".repeat(100);
        assert_eq!(Element::parse(deep.as_bytes()), Err(XmlError::TooDeep(32)));
        let wide = format!("<a>{}</a>", "<b/>".repeat(60_000));
        assert_eq!(Element::parse(wide.as_bytes()), Err(XmlError::TooMany(50_000)));
        for broken in ["", "<a>", "<a></b>", "text", "<a/>x<b", "\u{1}", "<a//>", "<\u{f}\0/>", "<a'/>"] {
            assert!(Element::parse(broken.as_bytes()).is_err() || broken == "<a/>x<b", "{broken}");
        }
    }

    #[test]
    fn escapes_what_markup_would_eat() {
        assert_eq!(escape("a<b>&\"'\u{0}"), "a&lt;b&gt;&amp;&quot;&apos; ");
    }
}
