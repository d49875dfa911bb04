//! Every provisioning group and every property in it that is documented: its kind, the value that holds when nobody set
//! one, and what it does. `[MS-SIPREGE]` §2.2.2.5; names that only clients are known to ask for say so.
//!
//! The server answers from it, administration checks values against it, the client reads values by it. To add a property
//! is to add its line. A group whose list of properties is open by its nature takes names that are not here, as text.
//!
//! A property without a default is not sent before somebody sets it: a client that is not told of a service does not
//! ask for it.

mod groups;
mod server_configuration;

pub use groups::GROUPS;

use super::message::{Layout, document};
use std::fmt;
use std::time::Duration;

/// Bytes of one value. The grammars are by far the longest.
pub const MAX_VALUE: usize = 256 * 1024;
/// Bytes of the name of a property.
pub const MAX_NAME: usize = 128;

/// A provisioning group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Its name, case as on the wire.
    pub name: &'static str,
    /// How its values are laid out.
    pub layout: Layout,
    /// Where it is documented.
    pub source: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// Its properties.
    pub properties: &'static [Property],
    /// Whether it may hold more than these.
    pub is_open: bool,
    /// Whether it is answered though nothing is set in it. A grammar that is not there is left out instead.
    pub when_empty: WhenEmpty,
}

/// What is answered for a group without values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenEmpty {
    /// The group, empty.
    Empty,
    /// Nothing, as for a group that is not known.
    Absent,
}

/// One property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Property {
    /// Its name, case as on the wire.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// The value that holds when nobody set one.
    pub default: Option<&'static str>,
    /// What it does.
    pub about: &'static str,
}

/// A line of the table.
const fn property(name: &'static str, kind: Kind, default: Option<&'static str>, about: &'static str) -> Property {
    Property { name, kind, default, about }
}

/// What the values of a property are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number between these, both included.
    Whole(u32, u32),
    /// A number of seconds.
    Seconds,
    /// A number of minutes.
    Minutes,
    /// Any text.
    Text,
    /// `http://…` or `https://…`.
    Url,
    /// `sip:…`, often a GRUU of a server.
    SipUri,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// One word; these are known, and there may be others.
    Word(&'static [&'static str]),
    /// An XML document whose root has the name of the property.
    Document,
}

/// A value, read by its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Of [`Kind::Bool`].
    Bool(bool),
    /// Of [`Kind::Whole`].
    Whole(u32),
    /// Of [`Kind::Seconds`] and [`Kind::Minutes`].
    Duration(Duration),
    /// Of all the others, as it is written.
    Text(String),
}

/// Why a value cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// There is no such group.
    #[error("there is no provisioning group {name}{}; the groups are {}", suggestion(.meant), known_groups())]
    UnknownGroup {
        /// As it was given.
        name: String,
        /// The group it is but for upper and lower case.
        meant: Option<&'static str>,
    },
    /// The group has no such property, and its list is closed.
    #[error("{group} has no property {name}{}; `signpost admin policy groups {group}` lists those it has", suggestion(.meant))]
    UnknownProperty {
        /// The group.
        group: &'static str,
        /// As it was given.
        name: String,
        /// The property it is but for upper and lower case.
        meant: Option<&'static str>,
    },
    /// The value is none that the property can have.
    #[error("{group}/{name}: {value:?} cannot be its value; allowed: {kind}")]
    Value {
        /// The group.
        group: &'static str,
        /// The property.
        name: String,
        /// The value, cut short.
        value: String,
        /// What is allowed.
        kind: Kind,
    },
    /// No name that can be written.
    #[error("{group}: {name:?} is no name for a property; allowed: up to {MAX_NAME} letters, digits, `_`, `-` and `.`")]
    Name {
        /// The group.
        group: &'static str,
        /// As it was given, cut short.
        name: String,
    },
}

fn suggestion(name: &Option<&str>) -> String {
    name.map(|name| format!(" (did you mean {name}?)")).unwrap_or_default()
}

fn known_groups() -> String {
    GROUPS.iter().map(|group| group.name).collect::<Vec<_>>().join(", ")
}

/// The group of this name; case counts, as it does for real clients.
pub fn group(name: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.name == name)
}

impl Group {
    /// The property of this name.
    pub fn property(&self, name: &str) -> Option<&'static Property> {
        self.properties.iter().find(|property| property.name == name)
    }

    /// What the values of a property of this group are; those that are not in the list are text.
    pub fn kind(&self, name: &str) -> Kind {
        self.property(name).map_or(Kind::Text, |property| property.kind)
    }
}

/// Checks a value before it is kept, and gives it as it is written on the wire.
pub fn check(group_name: &str, name: &str, value: &str) -> Result<String, SettingError> {
    let Some(group) = group(group_name) else {
        let meant = GROUPS.iter().find(|group| group.name.eq_ignore_ascii_case(group_name)).map(|group| group.name);
        return Err(SettingError::UnknownGroup { name: short(group_name), meant });
    };
    let kind = match group.property(name) {
        Some(property) => property.kind,
        None => {
            let alike = group.properties.iter().find(|property| property.name.eq_ignore_ascii_case(name));
            if !group.is_open || alike.is_some() {
                let meant = alike.map(|property| property.name);
                return Err(SettingError::UnknownProperty { group: group.name, name: short(name), meant });
            }
            if !is_name(name) {
                return Err(SettingError::Name { group: group.name, name: short(name) });
            }
            Kind::Text
        }
    };
    let wrong = || SettingError::Value { group: group.name, name: name.to_owned(), value: short(value), kind };
    if value.len() > MAX_VALUE || value.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) {
        return Err(wrong());
    }
    if let Kind::Document = kind {
        return document(name, value).ok_or_else(wrong);
    }
    kind.written(value).ok_or_else(wrong)
}

/// A name that every layout can carry.
fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

fn short(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

impl Kind {
    /// Reads a value, forgiving what peers are known to write: white space around, `True`, `1` for `true`.
    pub fn read(self, value: &str) -> Option<Value> {
        let value = value.trim();
        let text = || Value::Text(value.to_owned());
        let whole = || value.parse::<u32>().ok();
        match self {
            Kind::Bool if value == "1" || value.eq_ignore_ascii_case("true") => Some(Value::Bool(true)),
            Kind::Bool if value == "0" || value.eq_ignore_ascii_case("false") => Some(Value::Bool(false)),
            Kind::Bool => None,
            Kind::Whole(least, most) => whole().filter(|n| (least..=most).contains(n)).map(Value::Whole),
            Kind::Seconds => whole().map(|n| Value::Duration(Duration::from_secs(n.into()))),
            Kind::Minutes => whole().map(|n| Value::Duration(Duration::from_secs(u64::from(n) * 60))),
            Kind::Text => Some(text()),
            Kind::Url => {
                let url = url::Url::parse(value).ok()?;
                (matches!(url.scheme(), "http" | "https") && url.has_host()).then(text)
            }
            Kind::SipUri => {
                let uri = sip::Uri::parse(value).ok()?;
                (uri.scheme.eq_ignore_ascii_case("sip") || uri.scheme.eq_ignore_ascii_case("sips")).then(text)
            }
            Kind::OneOf(allowed) => {
                let known = allowed.iter().find(|known| known.eq_ignore_ascii_case(value))?;
                Some(Value::Text((*known).to_owned()))
            }
            Kind::Word(_) => (!value.is_empty() && !value.contains(char::is_whitespace)).then(text),
            Kind::Document => (!value.is_empty()).then(text),
        }
    }

    /// The value as it is written on the wire.
    fn written(self, value: &str) -> Option<String> {
        Some(match (self.read(value)?, self) {
            (Value::Bool(value), _) => value.to_string(),
            (Value::Whole(value), _) => value.to_string(),
            (Value::Duration(value), Kind::Minutes) => (value.as_secs() / 60).to_string(),
            (Value::Duration(value), _) => value.as_secs().to_string(),
            (Value::Text(value), _) => value,
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Bool => f.write_str("true or false"),
            Kind::Whole(least, u32::MAX) => write!(f, "a whole number from {least}"),
            Kind::Whole(least, most) => write!(f, "a whole number from {least} to {most}"),
            Kind::Seconds => f.write_str("a number of seconds"),
            Kind::Minutes => f.write_str("a number of minutes"),
            Kind::Text => f.write_str("text without control characters"),
            Kind::Url => f.write_str("a URL that begins with http:// or https://"),
            Kind::SipUri => f.write_str("a SIP URI, for example sip:pool.contoso.com@contoso.com"),
            Kind::OneOf(allowed) => f.write_str(&allowed.join(", ")),
            Kind::Word(known) => write!(f, "one word, for example {}", known.join(", ")),
            Kind::Document => f.write_str("an XML document whose root element has this name"),
        }
    }
}
