//! A piece of XML cut out of one document so that it can stand in another: what a client publishes or stores is kept
//! and shown to others.
//!
//! The piece is written anew: elements, attributes and text stay what they are, comments and processing instructions
//! go, and the namespace declarations it relies on come along. So a peer with a strict reader never has to refuse the
//! whole document because of what one user put into it.

use crate::xml::{Element, escape};
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::{NsReader, Reader};
use std::collections::{BTreeMap, BTreeSet};

/// Why a piece cannot be cut out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    /// The element does not come from this document.
    #[error("the element is not part of the document")]
    Elsewhere,
    /// A prefix is used that no element around it declares.
    #[error("the prefix {0:?} is not declared")]
    Undeclared(String),
    /// A name that XML does not have, or not in ASCII as every schema here.
    #[error("{0:?} is no name")]
    BadName(String),
    /// Not well-formed once looked at closely.
    #[error("not well-formed: {0}")]
    Malformed(String),
}

/// Cuts `element` out of the `document` it was read from. `around` are the elements it stands in, outermost first.
pub fn cut(document: &[u8], element: &Element, around: &[&Element]) -> Result<String, FragmentError> {
    let text = slice(document, element)?;
    let mut writer = Writer { xml: String::with_capacity(text.len()), name_end: None, wanted: BTreeSet::new() };
    let mut reader = NsReader::from_str(text);
    loop {
        match reader.read_event().map_err(|e| malformed(&e))? {
            Event::Start(start) => writer.tag(&reader, &start, ">")?,
            Event::Empty(start) => writer.tag(&reader, &start, "/>")?,
            Event::End(end) => {
                let name = end.name();
                writer.xml.push_str("</");
                writer.xml.push_str(name.as_ref());
                writer.xml.push('>');
            }
            Event::Text(text) => writer.xml.push_str(&escape(&text)),
            Event::CData(data) => writer.xml.push_str(&escape(&data)),
            Event::GeneralRef(reference) => {
                let reference: &str = &reference;
                let resolved =
                    quick_xml::escape::unescape(&format!("&{reference};")).map_err(|e| malformed(&e))?.into_owned();
                writer.xml.push_str(&escape(&resolved));
            }
            Event::Eof => break,
            Event::Comment(_) | Event::PI(_) | Event::Decl(_) | Event::DocType(_) => {}
        }
    }
    let carried = carried(document, text, around, &writer.wanted)?;
    writer.xml.insert_str(writer.name_end.ok_or(FragmentError::Elsewhere)?, &carried);
    Ok(writer.xml)
}

/// The piece as written so far.
struct Writer {
    xml: String,
    /// Where the name of the outermost element ends: declarations that come along go there.
    name_end: Option<usize>,
    /// Prefixes used without being declared inside.
    wanted: BTreeSet<String>,
}

impl Writer {
    fn tag(&mut self, reader: &NsReader<&[u8]>, start: &BytesStart<'_>, end: &str) -> Result<(), FragmentError> {
        let name = start.name();
        check_name(name.as_ref())?;
        if let (ResolveResult::Unknown(prefix), _) = reader.resolver().resolve_element(name) {
            self.wanted.insert(prefix);
        }
        self.xml.push('<');
        self.xml.push_str(name.as_ref());
        self.name_end.get_or_insert(self.xml.len());
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|e| malformed(&e))?;
            let key: &str = attribute.key.as_ref();
            check_name(key)?;
            let value = quick_xml::escape::unescape(&attribute.value).map_err(|e| malformed(&e))?;
            if attribute.key.as_namespace_binding().is_some() {
                if key != "xmlns" && value.is_empty() {
                    return Err(FragmentError::Malformed(format!("{key} is empty")));
                }
            } else if let (ResolveResult::Unknown(prefix), _) = reader.resolver().resolve_attribute(attribute.key) {
                self.wanted.insert(prefix);
            }
            self.xml.push_str(&format!(" {key}=\"{}\"", escape(&value)));
        }
        self.xml.push_str(end);
        Ok(())
    }
}

fn malformed(error: &dyn std::fmt::Display) -> FragmentError {
    FragmentError::Malformed(error.to_string())
}

/// `name` or `prefix:name`.
fn check_name(name: &str) -> Result<(), FragmentError> {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
    };
    let good = match name.split_once(':') {
        Some((prefix, local)) => part(prefix) && part(local),
        None => part(name),
    };
    if good { Ok(()) } else { Err(FragmentError::BadName(name.to_owned())) }
}

fn slice<'a>(document: &'a [u8], element: &Element) -> Result<&'a str, FragmentError> {
    let bytes = document.get(element.span.0..element.span.1).ok_or(FragmentError::Elsewhere)?;
    let text = std::str::from_utf8(bytes).map_err(|_| FragmentError::Elsewhere)?;
    if text.starts_with('<') { Ok(text) } else { Err(FragmentError::Elsewhere) }
}

/// The declarations that have to come along: those of the prefixes wanted, and the default one when it was inherited.
fn carried(
    document: &[u8],
    text: &str,
    around: &[&Element],
    wanted: &BTreeSet<String>,
) -> Result<String, FragmentError> {
    let mut inherited = BTreeMap::new();
    for element in around {
        inherited.extend(declared(slice(document, element)?)?);
    }
    let mut carried = String::new();
    for prefix in wanted {
        match inherited.get(prefix) {
            Some(namespace) if !namespace.is_empty() => {
                carried.push_str(&format!(" xmlns:{prefix}=\"{}\"", escape(namespace)));
            }
            _ => return Err(FragmentError::Undeclared(prefix.clone())),
        }
    }
    if let Some(namespace) = inherited.get("")
        && !declared(text)?.contains_key("")
    {
        carried.push_str(&format!(" xmlns=\"{}\"", escape(namespace)));
    }
    Ok(carried)
}

/// The namespaces that the first start tag of `text` declares: prefix (empty for the default one) to name.
fn declared(text: &str) -> Result<BTreeMap<String, String>, FragmentError> {
    let mut found = BTreeMap::new();
    let mut reader = Reader::from_str(text);
    let (Event::Start(start) | Event::Empty(start)) = reader.read_event().map_err(|e| malformed(&e))? else {
        return Err(FragmentError::Elsewhere);
    };
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|e| malformed(&e))?;
        let key: &str = attribute.key.as_ref();
        let prefix = match key.strip_prefix("xmlns") {
            Some("") => "",
            Some(rest) if rest.starts_with(':') => &rest[1..],
            _ => continue,
        };
        let namespace = quick_xml::escape::unescape(&attribute.value).map_err(|e| malformed(&e))?;
        found.insert(prefix.to_owned(), namespace.into_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_of(document: &str, path: &[&str]) -> Result<String, FragmentError> {
        let root = Element::parse(document.as_bytes()).expect("well-formed");
        let mut around = vec![&root];
        for name in &path[..path.len() - 1] {
            around.push(around.last().and_then(|e| e.child(name)).expect("there"));
        }
        let element = around.last().and_then(|e| e.child(path[path.len() - 1])).expect("there").clone();
        cut(document.as_bytes(), &element, &around)
    }

    #[test]
    fn what_stands_alone_is_not_changed() {
        let state = "<state xmlns=\"s\" xmlns:xsi=\"x\" xsi:type=\"userState\"><a>1</a></state>";
        assert_eq!(cut_of(&format!("<p xmlns=\"r\"><q>{state}</q></p>"), &["q", "state"]).as_deref(), Ok(state));
    }

    #[test]
    fn declarations_come_along_and_the_nearest_wins() {
        let cut = cut_of("<p xmlns=\"r\" xmlns:i=\"far\"><q xmlns:i=\"n&amp;r\"><s i:t=\"1\"/></q></p>", &["q", "s"]);
        assert_eq!(cut.as_deref(), Ok("<s xmlns:i=\"n&amp;r\" xmlns=\"r\" i:t=\"1\"/>"));
    }

    #[test]
    fn what_a_strict_reader_would_refuse_is_gone_or_refused() {
        let cut = cut_of("<p><s><!-- a -- b --><?xml version='1.0'?>x&#1;y<![CDATA[<&]]>&lt;</s></p>", &["s"]);
        assert_eq!(cut.as_deref(), Ok("<s>x y&lt;&amp;&lt;</s>"));
        assert_eq!(cut_of("<p><s a='1\u{1}&quot;'/></p>", &["s"]).as_deref(), Ok("<s a=\"1 &quot;\"/>"));
        assert!(matches!(cut_of("<p><s><1/></s></p>", &["s"]), Err(FragmentError::BadName(_))));
        assert!(matches!(cut_of("<p><s><a:b:c/></s></p>", &["s"]), Err(FragmentError::BadName(_))));
        assert!(matches!(cut_of("<p><s xmlns:a=''/></p>", &["s"]), Err(FragmentError::Malformed(_))));
    }

    #[test]
    fn a_prefix_declared_nowhere_is_refused() {
        assert_eq!(cut_of("<p><s j:t='1'/></p>", &["s"]), Err(FragmentError::Undeclared("j".to_owned())));
        assert_eq!(cut_of("<p><s><j:t/></s></p>", &["s"]), Err(FragmentError::Undeclared("j".to_owned())));
        assert_eq!(cut(b"<a/>", &Element { span: (3, 90), ..Element::default() }, &[]), Err(FragmentError::Elsewhere));
    }
}
