//! The documents of presence: categories, publication, one's own data, containers, subscribers, faults.
//! `[MS-PRES]` §2.2.2.
//!
//! What is published is kept and passed on as text; what the server looks into is in [`state`](super::state).

use super::aggregation::{State, StateKind};
use super::state::read_state;
use crate::name::Aor;
use crate::provision::document::{DocumentError, root_named};
use crate::provision::fragment;
use crate::xml::{Element, escape};
use std::fmt::Write;

/// Content type of one's own presence, and of the answer to a publication.
pub const OWN_PRESENCE: &str = "application/vnd-microsoft-roaming-self+xml";
/// Content type of the presence of one user.
pub const CATEGORIES: &str = "application/msrtc-event-categories+xml";
/// Content type of a publication.
pub const PUBLISH: &str = "application/msrtc-category-publish+xml";
/// Content type of a change of containers.
pub const SET_CONTAINERS: &str = "application/msrtc-setcontainermembers+xml";
/// Content type of the acknowledgement of a subscriber.
pub const SET_SUBSCRIBERS: &str = "application/msrtc-presence-setsubscriber+xml";
/// Content type of a fault.
pub const FAULT: &str = "application/msrtc-fault+xml";

/// How long a publication lives. `[MS-PRES]` §2.2.2.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpireType {
    /// Until it is deleted.
    Static,
    /// As long as the endpoint that published it is signed in.
    Endpoint,
    /// As long as any endpoint of the user is signed in.
    User,
    /// For so many seconds.
    Time(u32),
}

impl ExpireType {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            ExpireType::Static => "static",
            ExpireType::Endpoint => "endpoint",
            ExpireType::User => "user",
            ExpireType::Time(_) => "time",
        }
    }
}

/// One operation of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Name of the category.
    pub category: String,
    /// Number chosen by the publisher.
    pub instance: u32,
    /// 0 to 32767.
    pub container: u16,
    /// The version it replaces; 0 when there is none.
    pub version: u32,
    /// How long it lives.
    pub expire: ExpireType,
    /// The value, an element that stands alone (empty when the category is published without one), or `None` to
    /// delete.
    pub value: Option<String>,
}

/// Reads a publication: whose, and its operations in order.
pub fn read_publish(bytes: &[u8]) -> Result<(Aor, Vec<Publish>), DocumentError> {
    let root = root_named(bytes, "publish")?;
    let publications = root.child("publications").ok_or(DocumentError::Missing("publications"))?;
    let owner = publications.attribute("uri").and_then(|uri| uri.parse().ok());
    let owner = owner.ok_or(DocumentError::Missing("publications/@uri"))?;
    let mut operations = Vec::new();
    for publication in publications.all("publication") {
        operations.push(read_publication(bytes, &[&root, publications], publication)?);
    }
    if operations.is_empty() {
        return Err(DocumentError::Missing("publication"));
    }
    Ok((owner, operations))
}

fn read_publication(document: &[u8], around: &[&Element], publication: &Element) -> Result<Publish, DocumentError> {
    let category = publication.attribute("categoryName").filter(|name| is_category_name(name));
    let instance = number(publication, "instance").ok_or(DocumentError::Missing("publication/@instance"))?;
    let container = number(publication, "container").filter(|id: &u16| *id <= 32_767);
    let expires: Option<u32> = number(publication, "expires");
    let expire = match publication.attribute("expireType").unwrap_or("endpoint") {
        "static" => ExpireType::Static,
        "endpoint" => ExpireType::Endpoint,
        "user" => ExpireType::User,
        "time" => ExpireType::Time(expires.ok_or(DocumentError::Missing("publication/@expires"))?),
        _ => return Err(DocumentError::Missing("publication/@expireType")),
    };
    let value = match publication.children.first() {
        _ if expires == Some(0) => None,
        None => Some(String::new()),
        Some(element) => {
            let around: Vec<&Element> = around.iter().copied().chain([publication]).collect();
            Some(fragment::cut(document, element, &around)?)
        }
    };
    Ok(Publish {
        category: category.ok_or(DocumentError::Missing("publication/@categoryName"))?.to_owned(),
        instance,
        container: container.ok_or(DocumentError::Missing("publication/@container"))?,
        version: number(publication, "version").unwrap_or(0),
        expire,
        value,
    })
}

/// Category names are short and plain; they come back in every document.
pub(crate) fn is_category_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:".contains(&b))
}

pub(super) fn number<T: std::str::FromStr>(element: &Element, attribute: &str) -> Option<T> {
    element.attribute(attribute)?.trim().parse().ok()
}

/// Writes a publication.
pub fn write_publish(owner: &Aor, operations: &[Publish]) -> String {
    let mut xml = format!(
        "<publish xmlns=\"http://schemas.microsoft.com/2006/09/sip/rich-presence\"><publications uri=\"{}\">",
        escape(&owner.to_uri())
    );
    for operation in operations {
        let _ = write!(
            xml,
            "<publication categoryName=\"{}\" instance=\"{}\" container=\"{}\" version=\"{}\" expireType=\"{}\"",
            escape(&operation.category),
            operation.instance,
            operation.container,
            operation.version,
            operation.expire.as_str()
        );
        match (&operation.value, operation.expire) {
            (None, _) => xml.push_str(" expires=\"0\"/>"),
            (Some(value), ExpireType::Time(seconds)) => {
                let _ = write!(xml, " expires=\"{seconds}\">{value}</publication>");
            }
            (Some(value), _) => {
                let _ = write!(xml, ">{value}</publication>");
            }
        }
    }
    xml.push_str("</publications></publish>");
    xml
}

/// One category instance as a client is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Category {
    /// Its name.
    pub name: String,
    /// `None`: the category is empty (in this container, or everywhere).
    pub instance: Option<u32>,
    /// Only in one's own presence.
    pub container: Option<u16>,
    /// Only in one's own presence.
    pub version: Option<u32>,
    /// The value.
    pub value: Option<Element>,
}

/// The categories of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Categories {
    /// Whose.
    pub aor: Aor,
    /// In order.
    pub categories: Vec<Category>,
}

impl Categories {
    /// The availability in the aggregated state, or in the only state there is.
    pub fn availability(&self) -> Option<u32> {
        self.state().and_then(|state| state.availability)
    }

    /// The aggregated state, or else the first one.
    pub fn state(&self) -> Option<State> {
        let states = || self.categories.iter().filter(|c| c.name == "state").filter_map(|c| c.value.as_ref());
        let aggregate = states().map(read_state).find(|state| state.kind == StateKind::Aggregate);
        aggregate.or_else(|| states().next().map(read_state))
    }

    /// The display name on the contact card.
    pub fn display_name(&self) -> Option<&str> {
        let cards = self.categories.iter().filter(|c| c.name == "contactCard").filter_map(|c| c.value.as_ref());
        let mut names = cards.filter_map(|card| card.path(&["identity", "name", "displayName"]));
        names.next().map(Element::trimmed).filter(|name| !name.is_empty())
    }
}

/// Reads a `categories` document.
pub fn read_categories(bytes: &[u8]) -> Result<Categories, DocumentError> {
    categories_of(&root_named(bytes, "categories")?)
}

fn categories_of(element: &Element) -> Result<Categories, DocumentError> {
    let aor = element.attribute("uri").and_then(|uri| uri.parse().ok());
    let category = |category: &Element| {
        Some(Category {
            name: category.attribute("name")?.to_owned(),
            instance: number(category, "instance"),
            container: number(category, "container"),
            version: number(category, "version"),
            value: category.children.first().cloned(),
        })
    };
    Ok(Categories {
        aor: aor.ok_or(DocumentError::Missing("categories/@uri"))?,
        categories: element.all("category").filter_map(category).collect(),
    })
}

/// Who belongs to a container. `[MS-PRES]` §2.2.2.2.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Member {
    /// One user.
    User(Aor),
    /// Everybody in a domain.
    Domain(String),
    /// Everybody in this deployment.
    SameEnterprise,
    /// Everybody in a federated one.
    Federated,
    /// Everybody at a public provider.
    PublicCloud,
    /// Everybody.
    Everyone,
}

impl Member {
    /// Reads `type` and `value` of an element.
    pub fn read(element: &Element) -> Option<Member> {
        Member::of(element.attribute("type")?, element.attribute("value").unwrap_or_default())
    }

    /// The member of this type; `value` is passed over where the type has none.
    pub fn of(kind: &str, value: &str) -> Option<Member> {
        let value = Some(value.trim()).filter(|value| !value.is_empty());
        match kind {
            "user" => value?.parse().ok().map(Member::User),
            "domain" => value.map(|domain| Member::Domain(domain.to_ascii_lowercase())),
            "sameEnterprise" => Some(Member::SameEnterprise),
            "federated" => Some(Member::Federated),
            "publicCloud" => Some(Member::PublicCloud),
            "everyone" => Some(Member::Everyone),
            _ => None,
        }
    }

    /// Its type and value; the value is empty where the type has none.
    pub fn parts(&self) -> (&'static str, &str) {
        match self {
            Member::User(aor) => ("user", aor.as_str()),
            Member::Domain(domain) => ("domain", domain),
            Member::SameEnterprise => ("sameEnterprise", ""),
            Member::Federated => ("federated", ""),
            Member::PublicCloud => ("publicCloud", ""),
            Member::Everyone => ("everyone", ""),
        }
    }

    /// Its attributes: ` type="…"`, and ` value="…"` where there is one.
    pub fn attributes(&self) -> String {
        match self.parts() {
            (kind, "") => format!(" type=\"{kind}\""),
            (kind, value) => format!(" type=\"{kind}\" value=\"{}\"", escape(value)),
        }
    }
}

/// A container as a client is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerEntry {
    /// Its number.
    pub id: u16,
    /// Its version; 0 while it was never touched.
    pub version: u32,
    /// Members of the kinds known here.
    pub members: Vec<Member>,
}

/// Somebody who added the user, and whether the user knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriberEntry {
    /// Who.
    pub aor: Aor,
    /// How they are called.
    pub display_name: String,
    /// Whether the user acknowledged it.
    pub acknowledged: bool,
}

/// One's own presence, as far as it was told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnPresence {
    /// Every category instance; `None` when the document does not speak of categories.
    pub categories: Option<Categories>,
    /// Containers.
    pub containers: Vec<ContainerEntry>,
    /// Subscribers.
    pub subscribers: Vec<SubscriberEntry>,
}

/// Reads a `roamingData` document.
pub fn read_own_presence(bytes: &[u8]) -> Result<OwnPresence, DocumentError> {
    let root = root_named(bytes, "roamingData")?;
    let container = |container: &Element| {
        Some(ContainerEntry {
            id: number(container, "id")?,
            version: number(container, "version").unwrap_or(0),
            members: container.all("member").filter_map(Member::read).collect(),
        })
    };
    let subscriber = |subscriber: &Element| {
        Some(SubscriberEntry {
            aor: subscriber.attribute("user")?.parse().ok()?,
            display_name: subscriber.attribute("displayName").unwrap_or_default().to_owned(),
            acknowledged: subscriber.attribute("acknowledged") == Some("true"),
        })
    };
    let below = |parent: &'static str, name: &'static str| root.all(parent).flat_map(move |element| element.all(name));
    Ok(OwnPresence {
        categories: root.child("categories").map(categories_of).transpose()?,
        containers: below("containers", "container").filter_map(container).collect(),
        subscribers: below("subscribers", "subscriber").filter_map(subscriber).collect(),
    })
}

/// Writes the request for all of one's own presence. `[MS-PRES]` §4.4.1.
pub fn write_roaming_list() -> &'static str {
    "<roamingList xmlns=\"http://schemas.microsoft.com/2006/09/sip/roaming-self\"><roaming type=\"categories\"/>\
     <roaming type=\"containers\"/><roaming type=\"subscribers\"/></roamingList>"
}

/// Reads which parts of one's own presence are asked for.
pub fn read_roaming_list(bytes: &[u8]) -> Result<Vec<String>, DocumentError> {
    let root = root_named(bytes, "roamingList")?;
    let asked = root.children.iter().filter(|c| c.name == "roaming" || c.name == "roamingEx");
    Ok(asked.filter_map(|c| c.attribute("type")).map(str::to_owned).collect())
}

/// A change of one container. `[MS-PRES]` §3.5.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerChange {
    /// Which.
    pub id: u16,
    /// The version it is based on.
    pub version: u32,
    /// Whom to add (`true`) or to remove, in order.
    pub members: Vec<(bool, Member)>,
}

/// Reads a change of containers.
pub fn read_set_containers(bytes: &[u8]) -> Result<Vec<ContainerChange>, DocumentError> {
    let root = root_named(bytes, "setContainerMembers")?;
    let mut changes: Vec<ContainerChange> = Vec::new();
    for container in root.all("container") {
        let id = number(container, "id").filter(|id: &u16| *id <= 32_767);
        let id = id.ok_or(DocumentError::Missing("container/@id"))?;
        if changes.iter().any(|change| change.id == id) {
            return Err(DocumentError::Missing("container/@id (each only once)"));
        }
        let version = number(container, "version").ok_or(DocumentError::Missing("container/@version"))?;
        let mut members = Vec::new();
        for element in container.all("member") {
            let member = Member::read(element).ok_or(DocumentError::Missing("member"))?;
            match element.attribute("action") {
                Some("add") => members.push((true, member)),
                Some("remove") => members.push((false, member)),
                _ => return Err(DocumentError::Missing("member/@action")),
            }
        }
        changes.push(ContainerChange { id, version, members });
    }
    if changes.is_empty() { Err(DocumentError::Missing("container")) } else { Ok(changes) }
}

/// Writes a change of containers.
pub fn write_set_containers(changes: &[ContainerChange]) -> String {
    let mut xml =
        String::from("<setContainerMembers xmlns=\"http://schemas.microsoft.com/2006/09/sip/container-management\">");
    for change in changes {
        let _ = write!(xml, "<container id=\"{}\" version=\"{}\">", change.id, change.version);
        for (add, member) in &change.members {
            let action = if *add { "add" } else { "remove" };
            let _ = write!(xml, "<member action=\"{action}\"{}/>", member.attributes());
        }
        xml.push_str("</container>");
    }
    xml.push_str("</setContainerMembers>");
    xml
}

/// Reads the acknowledgement of exactly one subscriber. `[MS-PRES]` §3.6.
pub fn read_set_subscriber(bytes: &[u8]) -> Result<Aor, DocumentError> {
    let root = root_named(bytes, "setSubscribers")?;
    let mut subscribers = root.all("subscriber");
    let (Some(subscriber), None) = (subscribers.next(), subscribers.next()) else {
        return Err(DocumentError::Missing("subscriber (exactly one)"));
    };
    if subscriber.attribute("acknowledged") != Some("true") {
        return Err(DocumentError::Missing("subscriber/@acknowledged"));
    }
    let aor = subscriber.attribute("user").and_then(|user| user.parse().ok());
    aor.ok_or(DocumentError::Missing("subscriber/@user"))
}

/// Writes the acknowledgement of a subscriber.
pub fn write_set_subscriber(subscriber: &Aor) -> String {
    format!(
        "<setSubscribers xmlns=\"http://schemas.microsoft.com/2006/09/sip/presence-subscribers\">\
         <subscriber user=\"{}\" acknowledged=\"true\"/></setSubscribers>",
        escape(subscriber.as_str())
    )
}

/// An operation whose version is not the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conflict {
    /// Position in the request, the first is 1.
    pub index: usize,
    /// The version the request gave.
    pub version: u32,
    /// The version that is current.
    pub current: u32,
}

/// Writes the fault of a 409. `[MS-PRES]` §2.2.2.10.
pub fn write_conflicts(conflicts: &[Conflict]) -> String {
    let mut xml = String::from("<Fault><Faultcode>Client.BadCall.WrongDelta</Faultcode><details>");
    for Conflict { index, version, current } in conflicts {
        let _ = write!(xml, "<operation index=\"{index}\" version=\"{version}\" curVersion=\"{current}\"/>");
    }
    xml.push_str("</details></Fault>");
    xml
}

/// Reads the fault of a 409.
pub fn read_conflicts(bytes: &[u8]) -> Result<Vec<Conflict>, DocumentError> {
    let root = root_named(bytes, "Fault")?;
    let details = root.child("details").ok_or(DocumentError::Missing("details"))?;
    let conflict = |operation: &Element| {
        Some(Conflict {
            index: number(operation, "index")?,
            version: number(operation, "version").unwrap_or(0),
            current: number(operation, "curVersion")?,
        })
    };
    Ok(details.all("operation").filter_map(conflict).collect())
}
