//! The contact list on the wire: the full document, the delta, and the SOAP requests that change it.
//! `[MS-SIP]` §2.2.4.1, §2.2.4.2, §9.1.
//!
//! Addresses have no scheme in the full list and have one in a delta: pidgin-sipe prepends `sip:` to the former and
//! takes the latter as they are. The readers here accept either.

use super::{Contact, ContactChange, ContactList, DEFAULT_GROUP, Edit, Group};
use crate::name::Aor;
use crate::provision::document::{DocumentError, root_named};
use crate::provision::fragment;
use crate::xml::{Element, escape};
use std::fmt::Write;

/// Content type of both documents.
pub const CONTENT_TYPE: &str = "application/vnd-microsoft-roaming-contacts+xml";

/// Content type of the requests, as written; compare without case.
pub const SOAP: &str = "application/SOAP+xml";

/// Writes the full list.
pub fn write_list(list: &ContactList) -> String {
    let mut xml = format!("<contactList deltaNum=\"{}\">", list.delta_num);
    for group in &list.groups {
        write_group(&mut xml, "group", group);
    }
    for contact in &list.contacts {
        write_contact(&mut xml, "contact", contact.aor.as_str(), contact);
    }
    xml.push_str("</contactList>");
    xml
}

/// Writes what leads from `before` to `after`, the version that follows it. Order of the children: `[MS-SIP]` §3.7.
pub fn write_delta(before: &ContactList, after: &ContactList) -> String {
    let mut xml = format!("<contactDelta deltaNum=\"{}\" prevDeltaNum=\"{}\">", after.delta_num, before.delta_num);
    for group in &after.groups {
        match before.group(group.id) {
            None => write_group(&mut xml, "addedGroup", group),
            Some(old) if old != group => write_group(&mut xml, "modifiedGroup", group),
            Some(_) => {}
        }
    }
    for contact in &after.contacts {
        let uri = contact.aor.to_uri();
        match before.contact(&contact.aor) {
            None => write_contact(&mut xml, "addedContact", &uri, contact),
            Some(old) if old != contact => write_contact(&mut xml, "modifiedContact", &uri, contact),
            Some(_) => {}
        }
    }
    for group in before.groups.iter().filter(|group| after.group(group.id).is_none()) {
        let _ = write!(xml, "<deletedGroup id=\"{}\"/>", group.id);
    }
    for contact in before.contacts.iter().filter(|contact| after.contact(&contact.aor).is_none()) {
        let _ = write!(xml, "<deletedContact uri=\"{}\"/>", escape(&contact.aor.to_uri()));
    }
    xml.push_str("</contactDelta>");
    xml
}

fn write_group(xml: &mut String, element: &str, group: &Group) {
    let (name, uri) = (escape(&group.name), escape(&group.external_uri));
    let _ = write!(xml, "<{element} id=\"{}\" name=\"{name}\" externalURI=\"{uri}\"/>", group.id);
}

fn write_contact(xml: &mut String, element: &str, uri: &str, contact: &Contact) {
    let groups: Vec<String> = contact.groups.iter().map(u32::to_string).collect();
    let _ = write!(
        xml,
        "<{element} uri=\"{}\" name=\"{}\" groups=\"{}\" subscribed=\"{}\" externalURI=\"{}\"",
        escape(uri),
        escape(&contact.name),
        groups.join(" "),
        contact.subscribed,
        escape(&contact.external_uri)
    );
    if contact.extension.is_empty() {
        xml.push_str("/>");
    } else {
        let _ = write!(xml, ">{}</{element}>", contact.extension);
    }
}

/// What a client learns of its list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContactDocument {
    /// All of it.
    List(ContactList),
    /// What changed since the version before.
    Delta(ContactDelta),
}

/// A change as told to subscribers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContactDelta {
    /// The version after it.
    pub delta_num: u32,
    /// Groups added or modified.
    pub groups: Vec<Group>,
    /// Contacts added or modified.
    pub contacts: Vec<Contact>,
    /// Groups deleted.
    pub deleted_groups: Vec<u32>,
    /// Contacts deleted.
    pub deleted_contacts: Vec<Aor>,
}

impl ContactList {
    /// Follows a change. `false`: it is not the next one, the list has to be asked for again.
    pub fn follow(&mut self, delta: ContactDelta) -> bool {
        if Some(delta.delta_num) != self.delta_num.checked_add(1) {
            return false;
        }
        self.delta_num = delta.delta_num;
        for group in delta.groups {
            match self.groups.iter_mut().find(|old| old.id == group.id) {
                Some(old) => *old = group,
                None => self.groups.push(group),
            }
        }
        self.groups.sort_by_key(|group| group.id);
        for contact in delta.contacts {
            match self.contacts.iter_mut().find(|old| old.aor == contact.aor) {
                Some(old) => *old = contact,
                None => self.contacts.push(contact),
            }
        }
        self.groups.retain(|group| !delta.deleted_groups.contains(&group.id));
        self.contacts.retain(|contact| !delta.deleted_contacts.contains(&contact.aor));
        true
    }
}

/// Reads a full list or a delta. Entries that cannot be read are left out: one bad contact does not cost the others.
pub fn read_document(bytes: &[u8]) -> Result<ContactDocument, DocumentError> {
    let root = Element::parse(bytes)?;
    let delta_num =
        root.attribute("deltaNum").and_then(|n| n.trim().parse().ok()).ok_or(DocumentError::Missing("deltaNum"))?;
    let groups = |names: &[&str]| -> Vec<Group> {
        root.children.iter().filter(|c| names.contains(&c.name.as_str())).filter_map(read_group).collect()
    };
    let contacts = |names: &[&str]| -> Vec<Contact> {
        let chosen = root.children.iter().filter(|c| names.contains(&c.name.as_str()));
        chosen.filter_map(|contact| read_contact(bytes, &root, contact)).collect()
    };
    match root.name.as_str() {
        "contactList" => Ok(ContactDocument::List(ContactList {
            delta_num,
            groups: groups(&["group"]),
            contacts: contacts(&["contact"]),
        })),
        "contactDelta" => Ok(ContactDocument::Delta(ContactDelta {
            delta_num,
            groups: groups(&["addedGroup", "modifiedGroup"]),
            contacts: contacts(&["addedContact", "modifiedContact"]),
            deleted_groups: root.all("deletedGroup").filter_map(|g| g.attribute("id")?.trim().parse().ok()).collect(),
            deleted_contacts: root.all("deletedContact").filter_map(|c| c.attribute("uri")?.parse().ok()).collect(),
        })),
        other => Err(DocumentError::Unexpected(other.to_owned())),
    }
}

fn read_group(group: &Element) -> Option<Group> {
    Some(Group {
        id: group.attribute("id")?.trim().parse().ok()?,
        name: group.attribute("name").unwrap_or_default().to_owned(),
        external_uri: group.attribute("externalURI").unwrap_or_default().to_owned(),
    })
}

fn read_contact(document: &[u8], root: &Element, contact: &Element) -> Option<Contact> {
    let groups = read_groups(contact.attribute("groups").unwrap_or_default())?;
    let extension = contact.child("contactExtension");
    Some(Contact {
        aor: contact.attribute("uri")?.parse().ok()?,
        name: contact.attribute("name").unwrap_or_default().to_owned(),
        groups: if groups.is_empty() { vec![DEFAULT_GROUP] } else { groups },
        subscribed: contact.attribute("subscribed").is_none_or(read_bool),
        external_uri: contact.attribute("externalURI").unwrap_or_default().to_owned(),
        extension: extension.and_then(|e| fragment::cut(document, e, &[root, contact]).ok()).unwrap_or_default(),
    })
}

/// Group ids between blanks, each once; `None` when one is no number.
fn read_groups(text: &str) -> Option<Vec<u32>> {
    let mut ids = Vec::new();
    for id in text.split_ascii_whitespace() {
        let id = id.parse().ok()?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Some(ids)
}

fn read_bool(text: &str) -> bool {
    let text = text.trim();
    text.eq_ignore_ascii_case("true") || text == "1"
}

/// What a SOAP request wants. `[MS-SIP]` §3.7.4.3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SoapRequest {
    /// A change of the contact list.
    Change(ContactChange),
    /// Another primitive, such as `directorySearch`.
    Other(String),
}

/// Reads a SOAP request: the first element in Body.
pub fn read_soap(bytes: &[u8]) -> Result<SoapRequest, DocumentError> {
    let root = root_named(bytes, "Envelope")?;
    let body = root.child("Body").ok_or(DocumentError::Missing("Body"))?;
    let primitive = body.children.first().ok_or(DocumentError::Missing("the primitive in Body"))?;
    let text = |name: &str| primitive.child(name).map(|e| e.text.clone()).unwrap_or_default();
    let group_id = || -> Result<u32, DocumentError> {
        text("groupID").trim().parse().map_err(|_| DocumentError::Missing("groupID"))
    };
    let aor = || -> Result<Aor, DocumentError> { text("URI").parse().map_err(|_| DocumentError::Missing("URI")) };
    let edit = match primitive.name.as_str() {
        "setContact" => Edit::SetContact(Contact {
            aor: aor()?,
            name: text("displayName"),
            groups: read_groups(&text("groups")).ok_or(DocumentError::Missing("groups"))?,
            subscribed: primitive.child("subscribed").is_none_or(|e| read_bool(&e.text)),
            external_uri: text("externalURI").trim().to_owned(),
            extension: match primitive.child("contactExtension") {
                Some(extension) => fragment::cut(bytes, extension, &[&root, body, primitive])?,
                None => String::new(),
            },
        }),
        "deleteContact" => Edit::DeleteContact(aor()?),
        "addGroup" => Edit::AddGroup { name: text("name"), external_uri: text("externalURI").trim().to_owned() },
        "modifyGroup" => Edit::ModifyGroup(Group {
            id: group_id()?,
            name: text("name"),
            external_uri: text("externalURI").trim().to_owned(),
        }),
        "deleteGroup" => Edit::DeleteGroup(group_id()?),
        other => return Ok(SoapRequest::Other(other.to_owned())),
    };
    let delta_num = text("deltaNum").trim().parse().map_err(|_| DocumentError::Missing("deltaNum"))?;
    Ok(SoapRequest::Change(ContactChange { delta_num: Some(delta_num), edit }))
}

/// Writes a change as a SOAP request.
pub fn write_soap(change: &ContactChange) -> String {
    let (name, children) = match &change.edit {
        Edit::SetContact(contact) => {
            let groups: Vec<String> = contact.groups.iter().map(u32::to_string).collect();
            let children = format!(
                "<m:displayName>{}</m:displayName><m:groups>{}</m:groups><m:subscribed>{}</m:subscribed>\
                 <m:URI>{}</m:URI><m:externalURI>{}</m:externalURI>{}",
                escape(&contact.name),
                groups.join(" "),
                contact.subscribed,
                escape(&contact.aor.to_uri()),
                escape(&contact.external_uri),
                contact.extension
            );
            ("setContact", children)
        }
        Edit::DeleteContact(aor) => ("deleteContact", format!("<m:URI>{}</m:URI>", escape(&aor.to_uri()))),
        Edit::AddGroup { name, external_uri } => ("addGroup", named(name, external_uri)),
        Edit::ModifyGroup(group) => {
            ("modifyGroup", format!("<m:groupID>{}</m:groupID>{}", group.id, named(&group.name, &group.external_uri)))
        }
        Edit::DeleteGroup(id) => ("deleteGroup", format!("<m:groupID>{id}</m:groupID>")),
    };
    let delta_num = change.delta_num.map(|n| format!("<m:deltaNum>{n}</m:deltaNum>")).unwrap_or_default();
    envelope(name, &format!("{children}{delta_num}"))
}

fn named(name: &str, external_uri: &str) -> String {
    format!("<m:name>{}</m:name><m:externalURI>{}</m:externalURI>", escape(name), escape(external_uri))
}

/// Writes the answer to `addGroup`: pidgin-sipe waits for the id.
pub fn write_group_added(id: u32) -> String {
    envelope("addGroup", &format!("<m:groupID>{id}</m:groupID>"))
}

/// Reads the id out of the answer to `addGroup`.
pub fn read_group_added(bytes: &[u8]) -> Result<u32, DocumentError> {
    let root = Element::parse(bytes)?;
    let id = root.find("groupID").ok_or(DocumentError::Missing("groupID"))?;
    id.trimmed().parse().map_err(|_| DocumentError::Missing("groupID"))
}

fn envelope(primitive: &str, children: &str) -> String {
    format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
         <m:{primitive} xmlns:m=\"http://schemas.microsoft.com/winrtc/2002/11/sip\">{children}</m:{primitive}>\
         </s:Body></s:Envelope>"
    )
}
