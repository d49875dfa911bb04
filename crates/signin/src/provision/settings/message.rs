//! In-band provisioning on the wire: the groups asked for and the groups given. `[MS-SIPREGE]` §2.2.2.
//!
//! Mind the spelling: the request says *provisioning*Group, the answer *provision*Group.

use super::catalogue::{self, Kind};
use crate::directory::Properties;
use crate::provision::document::{DocumentError, root_named};
use crate::provision::fragment;
use crate::xml::{Element, escape};
use std::collections::{BTreeMap, BTreeSet};

/// Content type of both documents.
pub const CONTENT_TYPE: &str = "application/vnd-microsoft-roaming-provisioning-v2+xml";

/// How the values of a group are laid out. `[MS-SIPREGE]` §2.2.2.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Each value is an element of its own name.
    Elements,
    /// `instance/property`.
    Instance,
    /// `propertyEntryList/property`.
    PropertyEntryList,
}

/// Writes the request for these groups.
pub fn write_request(groups: &[&str]) -> String {
    let mut xml = String::from(
        "<provisioningGroupList xmlns=\"http://schemas.microsoft.com/2006/09/sip/provisioninggrouplist\">",
    );
    for group in groups {
        xml.push_str(&format!("<provisioningGroup name=\"{}\"/>", escape(group)));
    }
    xml.push_str("</provisioningGroupList>");
    xml
}

/// Reads the names of the groups asked for, in order, each once.
pub fn read_request(bytes: &[u8]) -> Result<Vec<String>, DocumentError> {
    let root = root_named(bytes, "provisioningGroupList")?;
    let mut seen = BTreeSet::new();
    let asked = root.all("provisioningGroup").filter_map(|group| group.attribute("name"));
    let names = asked.filter(|name| seen.insert(*name)).map(str::to_owned).collect();
    Ok(names)
}

/// Writes the answer.
pub fn write_answer(groups: &[(&str, Layout, Properties)]) -> String {
    let mut xml = String::from(
        "<provisionGroupList xmlns=\"http://schemas.microsoft.com/2006/09/sip/provisiongrouplist-notification\">",
    );
    for (name, layout, properties) in groups {
        xml.push_str(&format!("<provisionGroup name=\"{}\">", escape(name)));
        let wrapper = match layout {
            Layout::Elements => None,
            Layout::Instance => Some("instance"),
            Layout::PropertyEntryList => Some("propertyEntryList"),
        };
        if let (Some(wrapper), false) = (wrapper, properties.is_empty()) {
            xml.push_str(&format!("<{wrapper}>"));
            for (property, value) in properties {
                xml.push_str(&format!("<property name=\"{}\">{}</property>", escape(property), escape(value)));
            }
            xml.push_str(&format!("</{wrapper}>"));
        } else {
            for (property, value) in properties.iter().filter(|(property, _)| is_element_name(property)) {
                match kind(name, property) {
                    Kind::Document => xml.push_str(&document(property, value).unwrap_or_default()),
                    _ => xml.push_str(&format!("<{property}>{}</{property}>", escape(value))),
                }
            }
        }
        xml.push_str("</provisionGroup>");
    }
    xml.push_str("</provisionGroupList>");
    xml
}

/// The names `[MS-SIPREGE]` uses for elements are plain; anything else a directory holds cannot be written as one.
fn is_element_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn kind(group: &str, property: &str) -> Kind {
    catalogue::group(group).map_or(Kind::Text, |group| group.kind(property))
}

/// A document that can stand inside another; `None` when it is none, or its root has another name.
pub(super) fn document(name: &str, value: &str) -> Option<String> {
    let root = Element::parse(value.as_bytes()).ok().filter(|root| root.name == name)?;
    fragment::cut(value.as_bytes(), &root, &[]).ok()
}

/// Reads the groups given, whatever their layout: group name to values. A value that is a document (the grammars) is
/// given as XML that stands alone; of other values with elements inside, the texts of those.
pub fn read_answer(bytes: &[u8]) -> Result<BTreeMap<String, Properties>, DocumentError> {
    let root = root_named(bytes, "provisionGroupList")?;
    let mut groups: BTreeMap<String, Properties> = BTreeMap::new();
    for group in root.all("provisionGroup") {
        let Some(name) = group.attribute("name") else { continue };
        let properties = groups.entry(name.to_owned()).or_default();
        for child in &group.children {
            if matches!(child.name.as_str(), "instance" | "propertyEntryList") {
                for property in child.all("property") {
                    if let Some(name) = property.attribute("name") {
                        properties.insert(name.to_owned(), text(property));
                    }
                }
            } else if child.children.is_empty() {
                properties.insert(child.name.clone(), child.trimmed().to_owned());
            } else if let Ok(document) = fragment::cut(bytes, child, &[&root, group]) {
                properties.insert(child.name.clone(), document);
            }
        }
    }
    Ok(groups)
}

/// The text of a value, or the texts in it.
fn text(property: &Element) -> String {
    if property.children.is_empty() {
        return property.trimmed().to_owned();
    }
    property.children.iter().map(Element::trimmed).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(pairs: &[(&str, &str)]) -> Properties {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_request_names_each_group_once() {
        let request = write_request(&["ucPolicy", "a<b", "ucPolicy"]);
        assert_eq!(read_request(request.as_bytes()), Ok(vec!["ucPolicy".to_owned(), "a<b".to_owned()]));
        assert_eq!(read_request(b"<x/>"), Err(DocumentError::Unexpected("x".to_owned())));
    }

    #[test]
    fn every_layout_is_read_back() {
        let server = properties(&[("organization", "Contoso & Sons"), ("ucPortRangeEnabled", "false")]);
        let policy = properties(&[("AllowCallForwarding", "true")]);
        let groups = [
            ("ServerConfiguration", Layout::Elements, server.clone()),
            ("ucPolicy", Layout::Instance, policy.clone()),
            ("endpointConfiguration", Layout::PropertyEntryList, policy.clone()),
            ("mobilityPolicy", Layout::PropertyEntryList, Properties::new()),
        ];
        let read = read_answer(write_answer(&groups).as_bytes()).expect("our own answer");
        assert_eq!(read.get("ServerConfiguration"), Some(&server));
        assert_eq!(read.get("ucPolicy"), Some(&policy));
        assert_eq!(read.get("endpointConfiguration"), Some(&policy));
        assert_eq!(read.get("mobilityPolicy"), Some(&Properties::new()));
    }

    #[test]
    fn a_value_whose_name_is_no_element_name_is_left_out() {
        let groups = [("userSetting", Layout::Elements, properties(&[("a b", "1"), ("ok", "2")]))];
        let read = read_answer(write_answer(&groups).as_bytes()).expect("well-formed");
        assert_eq!(read.get("userSetting"), Some(&properties(&[("ok", "2")])));
    }
}
