//! A piece of XML cut out of one document so that it can stand in another: what a client publishes or stores is kept
//! as it came and shown to others. The piece takes the namespace declarations it relies on with it, because a peer
//! with a strict reader would refuse the whole document around a prefix that is declared nowhere.

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
    /// Not well-formed once namespaces are looked at.
    #[error("not well-formed: {0}")]
    Malformed(String),
}

/// Cuts `element` out of the `document` it was read from. `around` are the elements it stands in, outermost first.
pub fn cut(document: &[u8], element: &Element, around: &[&Element]) -> Result<String, FragmentError> {
    let text = slice(document, element)?;
    let wanted = undeclared(text)?;
    let inherited = declarations(document, around)?;
    let mut carried = String::new();
    for prefix in &wanted {
        let namespace = inherited.get(prefix).ok_or_else(|| FragmentError::Undeclared(prefix.clone()))?;
        carried.push_str(&format!(" xmlns:{prefix}=\"{}\"", escape(namespace)));
    }
    if let Some(namespace) = inherited.get("")
        && !declared(text)?.contains_key("")
    {
        carried.push_str(&format!(" xmlns=\"{}\"", escape(namespace)));
    }
    let name_end = text.find(|c: char| c.is_whitespace() || c == '>' || c == '/').unwrap_or(text.len());
    let (name, rest) = text.split_at(name_end);
    Ok(format!("{name}{carried}{rest}"))
}

fn slice<'a>(document: &'a [u8], element: &Element) -> Result<&'a str, FragmentError> {
    let bytes = document.get(element.span.0..element.span.1).ok_or(FragmentError::Elsewhere)?;
    let text = std::str::from_utf8(bytes).map_err(|_| FragmentError::Elsewhere)?;
    if text.starts_with('<') { Ok(text) } else { Err(FragmentError::Elsewhere) }
}

/// Prefixes that `text` uses without declaring them, `xml` aside.
fn undeclared(text: &str) -> Result<BTreeSet<String>, FragmentError> {
    let malformed = |e: quick_xml::Error| FragmentError::Malformed(e.to_string());
    let mut wanted = BTreeSet::new();
    let mut reader = NsReader::from_str(text);
    loop {
        let start: BytesStart<'_> = match reader.read_event().map_err(malformed)? {
            Event::Start(start) | Event::Empty(start) => start,
            Event::Eof => return Ok(wanted),
            _ => continue,
        };
        if let (ResolveResult::Unknown(prefix), _) = reader.resolver().resolve_element(start.name()) {
            wanted.insert(prefix);
        }
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|e| FragmentError::Malformed(e.to_string()))?;
            if attribute.key.as_namespace_binding().is_some() {
                continue;
            }
            if let (ResolveResult::Unknown(prefix), _) = reader.resolver().resolve_attribute(attribute.key) {
                wanted.insert(prefix);
            }
        }
    }
}

/// Namespaces in scope inside the innermost of `around`: prefix (empty for the default one) to name.
fn declarations(document: &[u8], around: &[&Element]) -> Result<BTreeMap<String, String>, FragmentError> {
    let mut scope = BTreeMap::new();
    for element in around {
        scope.extend(declared(slice(document, element)?)?);
    }
    Ok(scope)
}

/// The namespaces that the first start tag of `text` declares.
fn declared(text: &str) -> Result<BTreeMap<String, String>, FragmentError> {
    let malformed = |e: &dyn std::fmt::Display| FragmentError::Malformed(e.to_string());
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
            Some(rest) => match rest.strip_prefix(':') {
                Some(prefix) => prefix,
                None => continue,
            },
            None => continue,
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
    fn a_prefix_declared_nowhere_is_refused() {
        assert_eq!(cut_of("<p><s j:t='1'/></p>", &["s"]), Err(FragmentError::Undeclared("j".to_owned())));
        assert_eq!(cut_of("<p><s><j:t/></s></p>", &["s"]), Err(FragmentError::Undeclared("j".to_owned())));
        assert_eq!(cut(b"<a/>", &Element { span: (3, 90), ..Element::default() }, &[]), Err(FragmentError::Elsewhere));
    }
}
