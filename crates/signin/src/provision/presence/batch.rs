//! The batched subscription to the presence of many, and its multipart answer. `[MS-PRES]` §2.2.2.4.1,
//! `[MS-SIP]` §3.3, RFC 4662, RFC 2387.

use super::message::{Categories, read_categories};
use crate::name::Aor;
use crate::provision::document::{DocumentError, root_named};
use crate::xml::{Element, escape};
use memchr::memmem;
use std::fmt::Write;

/// Content type of the request.
pub const REQUEST: &str = "application/msrtc-adrl-categorylist+xml";

/// What to do with the users named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Tell about them from now on, besides those told about already.
    Subscribe,
    /// Tell about them no more.
    Unsubscribe,
}

/// One action of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// What to do.
    pub verb: Verb,
    /// With whom.
    pub resources: Vec<Resource>,
    /// Which categories of them.
    pub categories: Vec<String>,
}

/// One user of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Who.
    pub aor: Aor,
    /// The user was just added to the contact list: the other side may be asked about it.
    pub just_added: bool,
}

/// Reads a batch. A user whose address makes no sense is left out.
pub fn read_batch(bytes: &[u8]) -> Result<Vec<Action>, DocumentError> {
    let root = root_named(bytes, "batchSub")?;
    let resource = |element: &Element| {
        let aor = Aor::from_uri(element.attribute("uri")?).ok()?;
        Some(Resource { aor, just_added: element.child("context").is_some() })
    };
    let mut actions = Vec::new();
    for action in root.all("action") {
        let verb = match action.attribute("name") {
            Some("subscribe") => Verb::Subscribe,
            Some("unsubscribe") => Verb::Unsubscribe,
            _ => return Err(DocumentError::Missing("action/@name")),
        };
        let list = action.child("adhocList").ok_or(DocumentError::Missing("adhocList"))?;
        let categories = action.child("categoryList").map(|list| {
            list.all("category").filter_map(|category| category.attribute("name")).map(str::to_owned).collect()
        });
        actions.push(Action {
            verb,
            resources: list.all("resource").filter_map(resource).collect(),
            categories: categories.unwrap_or_default(),
        });
    }
    if actions.is_empty() { Err(DocumentError::Missing("action")) } else { Ok(actions) }
}

impl Action {
    /// This, with these users, who were known before.
    pub fn with<'a>(verb: Verb, users: impl IntoIterator<Item = &'a Aor>, categories: &[&str]) -> Action {
        let resource = |aor: &Aor| Resource { aor: aor.clone(), just_added: false };
        let categories = categories.iter().map(|name| (*name).to_owned()).collect();
        Action { verb, resources: users.into_iter().map(resource).collect(), categories }
    }
}

/// Writes a batch of one action.
pub fn write_batch(owner: &Aor, action: &Action) -> String {
    let name = match action.verb {
        Verb::Subscribe => "subscribe",
        Verb::Unsubscribe => "unsubscribe",
    };
    let mut xml = format!(
        "<batchSub xmlns=\"http://schemas.microsoft.com/2006/01/sip/batch-subscribe\" uri=\"{}\" name=\"\">\
         <action name=\"{name}\" id=\"1\"><adhocList>",
        escape(&owner.to_uri())
    );
    for Resource { aor, just_added } in &action.resources {
        let uri = aor.to_uri();
        let uri = escape(&uri);
        let _ = match just_added {
            true => write!(xml, "<resource uri=\"{uri}\"><context/></resource>"),
            false => write!(xml, "<resource uri=\"{uri}\"/>"),
        };
    }
    xml.push_str("</adhocList><categoryList xmlns=\"http://schemas.microsoft.com/2006/09/sip/categorylist\">");
    for category in &action.categories {
        let _ = write!(xml, "<category name=\"{}\"/>", escape(category));
    }
    xml.push_str("</categoryList></action></batchSub>");
    xml
}

/// Writes the multipart answer: the list, then one part of categories for every user in it. Gives content type and
/// body. `boundary` has to be a token that occurs in no part.
///
/// An empty line stands before each delimiter, because pidgin-sipe cuts two characters off every part without it.
pub fn write_parts(
    owner: &Aor,
    version: u32,
    full: bool,
    parts: &[(&Aor, String)],
    boundary: &str,
) -> (String, String) {
    let head = |id: &str, content_type: &str| {
        format!("Content-Transfer-Encoding: binary\r\nContent-ID: {id}\r\nContent-Type: {content_type}\r\n\r\n")
    };
    let mut body = format!("--{boundary}\r\n{}", head(LIST_ID, RLMI));
    let _ = write!(
        body,
        "<list xmlns=\"urn:ietf:params:xml:ns:rlmi\" uri=\"{}\" version=\"{version}\" fullState=\"{full}\">",
        escape(&owner.to_uri())
    );
    for (aor, _) in parts {
        let _ = write!(
            body,
            "<resource uri=\"{}\"><instance id=\"0\" state=\"active\" cid=\"{}\"/></resource>",
            escape(&aor.to_uri()),
            escape(aor.as_str())
        );
    }
    body.push_str("</list>\r\n");
    for (aor, categories) in parts {
        let _ = write!(body, "\r\n--{boundary}\r\n{}{categories}\r\n", head(aor.as_str(), super::message::CATEGORIES));
    }
    let _ = write!(body, "\r\n--{boundary}--\r\n");
    (format!("multipart/related; type=\"{RLMI}\";start={LIST_ID}; boundary={boundary}"), body)
}

const RLMI: &str = "application/rlmi+xml";
const LIST_ID: &str = "resourceList";

/// Most parts of a multipart body that are read.
const MOST_PARTS: usize = 5_000;

/// One part of a multipart body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<'a> {
    /// Its media type, lower case, without parameters; empty when it has none.
    pub content_type: String,
    /// Its content.
    pub content: &'a [u8],
}

/// Cuts a multipart body. RFC 2046 §5.1. `content_type` is that of the whole; text before the first delimiter and
/// after the last is dropped, and a missing last delimiter forgiven.
pub fn read_parts<'a>(content_type: &str, body: &'a [u8]) -> Option<Vec<Part<'a>>> {
    let boundary = boundary_of(content_type)?;
    let delimiter = format!("--{boundary}");
    let mut found = Vec::new();
    let mut begin = None;
    for at in memmem::find_iter(body, delimiter.as_bytes()) {
        let at_line_start = at == 0 || body.get(at - 1) == Some(&b'\n');
        let after = &body[at + delimiter.len()..];
        if !at_line_start || !ends_delimiter(after) {
            continue;
        }
        if let Some(begin) = begin {
            found.push(part(&body[begin..at]));
        }
        if after.starts_with(b"--") || found.len() >= MOST_PARTS {
            return Some(found);
        }
        begin = Some(at + delimiter.len());
    }
    found.push(part(body.get(begin?..)?));
    Some(found)
}

/// A delimiter line ends with `--` or a line end, blanks aside.
fn ends_delimiter(after: &[u8]) -> bool {
    let rest = after.iter().position(|b| !matches!(b, b' ' | b'\t')).map_or(&[][..], |at| &after[at..]);
    after.starts_with(b"--") || rest.is_empty() || rest.starts_with(b"\r\n") || rest.starts_with(b"\n")
}

fn boundary_of(content_type: &str) -> Option<String> {
    let (media_type, params) = content_type.split_once(';')?;
    if !media_type.trim().to_ascii_lowercase().starts_with("multipart/") {
        return None;
    }
    let params = format!(";{params}");
    let boundary = sip::Params::after(&params)?.get("boundary")?;
    (!boundary.is_empty() && boundary.len() <= 200).then(|| boundary.to_owned())
}

/// Head and content of one part; `text` begins behind the delimiter and ends before the next.
fn part(text: &[u8]) -> Part<'_> {
    let text = text.iter().position(|b| *b == b'\n').map_or(&[][..], |end| &text[end + 1..]);
    let (head, content) = if let Some(content) = text.strip_prefix(b"\r\n").or_else(|| text.strip_prefix(b"\n")) {
        (&[][..], content)
    } else if let Some(at) = memmem::find(text, b"\r\n\r\n") {
        (&text[..at], &text[at + 4..])
    } else if let Some(at) = memmem::find(text, b"\n\n") {
        (&text[..at], &text[at + 2..])
    } else {
        (text, &[][..])
    };
    let head = String::from_utf8_lossy(head);
    let content_type = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("Content-Type").then(|| super::super::request::media_type(value))
    });
    Part { content_type: content_type.unwrap_or_default(), content: content.trim_ascii_end() }
}

/// What the server says of one user in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListEntry {
    /// Who.
    pub aor: Aor,
    /// `active`, `terminated`, `resubscribe`, …; empty when there is no instance.
    pub state: String,
    /// Where to ask instead, with `resubscribe`.
    pub pool_fqdn: Option<String>,
}

/// The presence of several users.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PresenceDocument {
    /// The list, when there is one.
    pub list: Vec<ListEntry>,
    /// What is known of each.
    pub users: Vec<Categories>,
}

/// Reads the answer to a batch, or a notification: multipart, or the categories of one user. Parts of other kinds
/// are passed over; a part that cannot be read costs only its own user.
pub fn read_presence(content_type: &str, body: &[u8]) -> Result<PresenceDocument, DocumentError> {
    if super::super::request::media_type(content_type) == super::message::CATEGORIES {
        return Ok(PresenceDocument { list: Vec::new(), users: vec![read_categories(body)?] });
    }
    let parts = read_parts(content_type, body).ok_or(DocumentError::Missing("the multipart boundary"))?;
    let mut document = PresenceDocument::default();
    for part in parts {
        if part.content_type == RLMI {
            document.list.extend(read_list(part.content)?);
        } else if part.content_type == super::message::CATEGORIES {
            document.users.extend(read_categories(part.content));
        }
    }
    Ok(document)
}

fn read_list(bytes: &[u8]) -> Result<Vec<ListEntry>, DocumentError> {
    let root = root_named(bytes, "list")?;
    let entry = |resource: &Element| {
        let instance = resource.child("instance");
        let attribute = |name| instance.and_then(|i| i.attribute(name)).map(str::to_owned);
        Some(ListEntry {
            aor: resource.attribute("uri")?.parse().ok()?,
            state: attribute("state").unwrap_or_default(),
            pool_fqdn: attribute("poolFqdn"),
        })
    };
    Ok(root.all("resource").filter_map(entry).collect())
}
