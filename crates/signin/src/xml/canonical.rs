//! Exclusive canonical XML, without comments: one spelling of an element, whatever document it stands in, so that a
//! digest over it can be compared. <https://www.w3.org/TR/xml-exc-c14n/>, on top of Canonical XML 1.0.
//!
//! Not here: lists of inclusive prefixes, and processing instructions, which nothing that is signed here has.

use super::{Limits, XmlError};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Prefixes in scope at one place: more than anybody needs, and few enough to be copied often.
const MAX_PREFIXES: usize = 64;

/// Namespace of the prefix `xml`, which is never declared. Namespaces in XML 1.0 §3.
const XML: &str = "http://www.w3.org/XML/1998/namespace";

/// The canonical form of the element that begins at byte `start` of the document.
pub fn exclusive(document: &[u8], start: usize) -> Result<Vec<u8>, XmlError> {
    let text = std::str::from_utf8(document).map_err(|_| XmlError::NotUtf8)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let skipped = document.len() - text.len();
    let depth = Limits::default().depth;
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Open> = Vec::new();
    let mut output = Output::default();
    loop {
        let before = skipped + usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
        let event = reader.read_event().map_err(|error| malformed(&error))?;
        match event {
            Event::Start(_) | Event::Empty(_) if open.len() >= depth => return Err(XmlError::TooDeep(depth)),
            Event::Start(element) => {
                let context = Open::of(&element, open.last())?;
                open.push(output.begin(&element, context, before == start)?);
            }
            Event::Empty(element) => {
                let context = Open::of(&element, open.last())?;
                let context = output.begin(&element, context, before == start)?;
                output.end(&context);
            }
            Event::End(_) => {
                let context = open.pop().ok_or_else(|| malformed(&"an end without a beginning"))?;
                output.end(&context);
            }
            Event::Text(text) => output.text(&line_ends(&text)),
            Event::CData(data) => output.text(&line_ends(&data)),
            Event::GeneralRef(reference) => match reference.resolve_char_ref().map_err(|error| malformed(&error))? {
                Some(c) => output.text(c.encode_utf8(&mut [0; 4])),
                None => output.text(
                    quick_xml::escape::resolve_predefined_entity(&reference)
                        .ok_or_else(|| malformed(&"an entity that is not predefined"))?,
                ),
            },
            Event::PI(_) if output.depth > 0 => {
                return Err(malformed(&"a processing instruction within what is signed"));
            }
            Event::DocType(_) => return Err(XmlError::Doctype),
            Event::Eof => return Err(malformed(&"the element does not end")),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
        }
        if output.done {
            return Ok(output.bytes);
        }
    }
}

fn malformed(why: &dyn std::fmt::Display) -> XmlError {
    XmlError::Malformed(why.to_string())
}

/// Prefixes and their namespaces. Copied for every element that declares one, so the texts are shared.
type Prefixes = Rc<BTreeMap<Rc<str>, Rc<str>>>;

/// An element that has begun.
struct Open {
    /// Its name as written.
    name: String,
    /// Prefixes in scope, the empty one for the default namespace.
    scope: Prefixes,
    /// Prefixes as the canonical form has declared them so far.
    rendered: Prefixes,
}

impl Open {
    /// The scope of an element: its parent's, and what it declares.
    fn of(element: &BytesStart<'_>, parent: Option<&Open>) -> Result<Open, XmlError> {
        let (mut scope, rendered) = match parent {
            Some(parent) => (parent.scope.clone(), parent.rendered.clone()),
            None => (Rc::new(BTreeMap::from([("xml".into(), XML.into())])), Rc::default()),
        };
        for attribute in element.attributes() {
            let attribute = attribute.map_err(|error| malformed(&error))?;
            if let Some(prefix) = declared(attribute.key.as_ref()) {
                Rc::make_mut(&mut scope).insert(prefix.into(), value(&attribute.value)?.into());
            }
        }
        if scope.len() > MAX_PREFIXES {
            return Err(malformed(&format!("more than {MAX_PREFIXES} namespace prefixes")));
        }
        Ok(Open { name: element.name().as_ref().to_owned(), scope, rendered })
    }

    fn namespace(&self, prefix: &str) -> Result<&str, XmlError> {
        match self.scope.get(prefix) {
            Some(namespace) => Ok(namespace),
            None if prefix.is_empty() => Ok(""),
            None => Err(malformed(&format!("the prefix {prefix} is not declared"))),
        }
    }
}

/// The prefix an attribute declares, if it is a declaration.
fn declared(key: &str) -> Option<&str> {
    if key == "xmlns" { Some("") } else { key.strip_prefix("xmlns:") }
}

fn split(name: &str) -> (&str, &str) {
    name.split_once(':').unwrap_or(("", name))
}

/// What has been written.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    /// Elements of the canonical form that are open.
    depth: usize,
    done: bool,
}

impl Output {
    /// Writes the start of an element that belongs to the canonical form, or notes that it does not.
    fn begin(&mut self, element: &BytesStart<'_>, mut context: Open, is_root: bool) -> Result<Open, XmlError> {
        if self.depth == 0 && !is_root {
            return Ok(context);
        }
        self.depth += 1;
        let mut used = BTreeSet::from([split(&context.name).0.to_owned()]);
        let mut attributes = Vec::new();
        for attribute in element.attributes() {
            let attribute = attribute.map_err(|error| malformed(&error))?;
            let key = attribute.key.as_ref();
            if declared(key).is_some() {
                continue;
            }
            let (prefix, local) = split(key);
            // The default namespace is not that of attributes.
            let namespace = if prefix.is_empty() { "" } else { context.namespace(prefix)? };
            attributes.push((namespace.to_owned(), local.to_owned(), key.to_owned(), value(&attribute.value)?));
            if !prefix.is_empty() {
                used.insert(prefix.to_owned());
            }
        }
        attributes.sort();
        self.put(&["<", &context.name]);
        for prefix in used.iter().filter(|prefix| *prefix != "xml") {
            let namespace = context.namespace(prefix)?.to_owned();
            if context.rendered.get(prefix.as_str()).map_or("", |rendered| rendered) == namespace {
                continue;
            }
            self.put(&[if prefix.is_empty() { " xmlns" } else { " xmlns:" }, prefix, "=\""]);
            self.attribute_text(&namespace);
            self.put(&["\""]);
            Rc::make_mut(&mut context.rendered).insert(prefix.as_str().into(), namespace.into());
        }
        for (_, _, key, value) in &attributes {
            self.put(&[" ", key, "=\""]);
            self.attribute_text(value);
            self.put(&["\""]);
        }
        self.put(&[">"]);
        Ok(context)
    }

    /// Writes the end of an element, when it belongs to the canonical form.
    fn end(&mut self, context: &Open) {
        if self.depth > 0 {
            self.put(&["</", &context.name, ">"]);
            self.depth -= 1;
            self.done = self.depth == 0;
        }
    }

    /// Canonical XML §2.3, text nodes.
    fn text(&mut self, text: &str) {
        if self.depth == 0 {
            return;
        }
        for c in text.chars() {
            match c {
                '&' => self.put(&["&amp;"]),
                '<' => self.put(&["&lt;"]),
                '>' => self.put(&["&gt;"]),
                '\r' => self.put(&["&#xD;"]),
                c => self.put(&[c.encode_utf8(&mut [0; 4])]),
            }
        }
    }

    /// Canonical XML §2.3, attribute nodes.
    fn attribute_text(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.put(&["&amp;"]),
                '<' => self.put(&["&lt;"]),
                '"' => self.put(&["&quot;"]),
                '\t' => self.put(&["&#x9;"]),
                '\n' => self.put(&["&#xA;"]),
                '\r' => self.put(&["&#xD;"]),
                c => self.put(&[c.encode_utf8(&mut [0; 4])]),
            }
        }
    }

    fn put(&mut self, parts: &[&str]) {
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part.as_bytes()));
    }
}

/// XML 1.0 §2.11: however a line ends, it is a line feed.
fn line_ends(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// The value of an attribute: white space that was written as such is blanks, XML 1.0 §3.3.3.
fn value(raw: &str) -> Result<String, XmlError> {
    let blanks = line_ends(raw).replace(['\t', '\n'], " ");
    Ok(quick_xml::escape::unescape(&blanks).map_err(|error| malformed(&error))?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(document: &str, from: &str) -> String {
        let start = document.find(from).expect("the element is in it");
        String::from_utf8(exclusive(document.as_bytes(), start).expect("canonical")).expect("UTF-8")
    }

    /// Exclusive XML Canonicalization §2.2: the same element in two documents.
    #[test]
    fn the_specifications_example() {
        let first = "<n0:local xmlns:n0=\"foo:bar\" xmlns:n3=\"ftp://example.org\"><n1:elem2 xmlns:n1=\"http://example.net\" \
             xml:lang=\"en\"><n3:stuff xmlns:n3=\"ftp://example.org\"/></n1:elem2></n0:local>";
        let second = "<n2:pdu xmlns:n1=\"http://example.com\" xmlns:n2=\"http://foo.example\" xml:lang=\"fr\" \
             xml:space=\"retain\"><n1:elem2 xmlns:n1=\"http://example.net\" xml:lang=\"en\"><n3:stuff \
             xmlns:n3=\"ftp://example.org\"/></n1:elem2></n2:pdu>";
        let expected = "<n1:elem2 xmlns:n1=\"http://example.net\" xml:lang=\"en\"><n3:stuff \
             xmlns:n3=\"ftp://example.org\"></n3:stuff></n1:elem2>";
        assert_eq!(canonical(first, "<n1:elem2"), expected);
        assert_eq!(canonical(second, "<n1:elem2"), expected);
    }

    #[test]
    fn namespaces_go_where_they_are_used() {
        let table = [
            // Declared outside, used inside; declared and not used.
            ("<a xmlns:p=\"P\" xmlns:q=\"Q\"><p:b/></a>", "<p:b", "<p:b xmlns:p=\"P\"></p:b>"),
            // Once for the whole branch.
            (
                "<p:b xmlns:p=\"P\"><p:c/><p:d xmlns:p=\"P\"/></p:b>",
                "<p:b",
                "<p:b xmlns:p=\"P\"><p:c></p:c><p:d></p:d></p:b>",
            ),
            // Again when it changes.
            (
                "<p:b xmlns:p=\"P\"><p:c xmlns:p=\"R\"/></p:b>",
                "<p:b",
                "<p:b xmlns:p=\"P\"><p:c xmlns:p=\"R\"></p:c></p:b>",
            ),
            // The default namespace, and its end.
            ("<b xmlns=\"D\"><c xmlns=\"\"><d/></c></b>", "<b", "<b xmlns=\"D\"><c xmlns=\"\"><d></d></c></b>"),
            ("<b xmlns=\"D\"><c xmlns=\"\"/></b>", "<c", "<c></c>"),
            // Used by an attribute; attributes in order of namespace, then name.
            (
                "<b z=\"1\" p:a=\"2\" o:c=\"3\" a=\"4\" xmlns:p=\"A\" xmlns:o=\"B\"/>",
                "<b",
                "<b xmlns:o=\"B\" xmlns:p=\"A\" a=\"4\" z=\"1\" p:a=\"2\" o:c=\"3\"></b>",
            ),
        ];
        for (document, from, expected) in table {
            assert_eq!(canonical(document, from), expected, "{document}");
        }
    }

    #[test]
    fn text_is_spelt_in_one_way() {
        let table = [
            ("<a><!-- x --> <b/>\r\n</a>", "<a> <b></b>\n</a>"),
            (
                "<a b='\"x\t&#9;&amp;&lt;>'>&gt;&#13;<![CDATA[<&]]>&quot;</a>",
                "<a b=\"&quot;x &#x9;&amp;&lt;>\">&gt;&#xD;&lt;&amp;\"</a>",
            ),
            ("\u{feff}<?xml version=\"1.0\"?><a  b = '1'   />", "<a b=\"1\"></a>"),
        ];
        for (document, expected) in table {
            let start = document.find("<a").expect("an element");
            let made = exclusive(document.as_bytes(), start).expect("canonical");
            assert_eq!(String::from_utf8_lossy(&made), expected);
        }
    }

    #[test]
    fn what_has_no_canonical_form() {
        for document in
            ["<p:a/>", "<a p:b='1'/>", "<a><?x y?></a>", "<!DOCTYPE a><a/>", "<a>", "<a>&x;</a>", "", "<b/>x"]
        {
            let start = document.find("<a").unwrap_or_default();
            assert!(exclusive(document.as_bytes(), start).is_err() || document == "<b/>x", "{document}");
        }
        assert!(exclusive(b"<a/>", 1).is_err(), "nothing begins there");
        let deep = "<a>".repeat(100);
        assert_eq!(exclusive(deep.as_bytes(), 0), Err(XmlError::TooDeep(32)));
    }

    proptest! {
        #[test]
        fn no_bytes_hurt(bytes in proptest::collection::vec(any::<u8>(), 0..200), start in 0usize..8) {
            let _ = exclusive(&bytes, start);
        }

        /// What is canonical stays as it is.
        #[test]
        fn once_is_enough(text in "[ -~\n\r\u{e4}]{0,20}", value in "[ -~\n\t]{0,20}") {
            let document = format!("<a b=\"{}\">{}</a>", super::super::escape(&value), super::super::escape(&text));
            let once = exclusive(document.as_bytes(), 0).expect("canonical");
            prop_assert_eq!(exclusive(&once, 0).expect("canonical"), once);
        }
    }
}
