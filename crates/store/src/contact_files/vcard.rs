//! Contact lists as vCards. RFC 6350 (4.0), RFC 2426 and RFC 4770 (3.0).
//!
//! | of a contact | in a card |
//! |---|---|
//! | address | `IMPP:sip:…` |
//! | name | `FN`, which a card must have: the address where the user gave no name |
//! | groups | `CATEGORIES` |
//! | not subscribed, external URI, extension | `X-SIGNPOST-SUBSCRIBED`, `X-SIGNPOST-EXTERNAL-URI`, `X-SIGNPOST-EXTENSION` |
//!
//! A group is a card of its own, `KIND:group` (in 3.0 as address books on Macs have it). Read besides: addresses in
//! `X-SIP`, `X-MS-IMADDRESS` and, where there is no other, `EMAIL`; members of group cards.

use super::csv::shown;
use super::{ContactFile, FileContact, FileGroup, MOST_LOST, group_names, read_flag};
use signin::name::Aor;
use signin::provision::contacts::{ContactList, DEFAULT_GROUP};
use std::collections::HashMap;

/// Which vCard is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Three,
    Four,
}

/// Writes a contact list.
pub(crate) fn write(list: &ContactList, version: Version) -> String {
    let mut writer = Writer { text: String::new(), version };
    for group in list.groups.iter().filter(|group| group.id != DEFAULT_GROUP) {
        writer.begin(group.name.trim());
        writer.line(if version == Version::Four { "KIND:group" } else { "X-ADDRESSBOOKSERVER-KIND:group" });
        writer.property_unless_empty("X-SIGNPOST-EXTERNAL-URI", &group.external_uri);
        writer.line("END:VCARD");
    }
    for contact in &list.contacts {
        let address = contact.aor.as_str();
        writer.begin(if contact.name.is_empty() { address } else { &contact.name });
        // A name that looks like the address was given all the same.
        if contact.name.trim().eq_ignore_ascii_case(address) {
            writer.property_unless_empty("NICKNAME", &contact.name);
        }
        writer.line(&format!("IMPP:{}", contact.aor.to_uri()));
        let groups: Vec<String> = group_names(list, contact).into_iter().map(escaped).collect();
        if !groups.is_empty() {
            writer.line(&format!("CATEGORIES:{}", groups.join(",")));
        }
        if !contact.subscribed {
            writer.line("X-SIGNPOST-SUBSCRIBED:false");
        }
        writer.property_unless_empty("X-SIGNPOST-EXTERNAL-URI", &contact.external_uri);
        writer.property_unless_empty("X-SIGNPOST-EXTENSION", &contact.extension);
        writer.line("END:VCARD");
    }
    writer.text
}

struct Writer {
    text: String,
    version: Version,
}

impl Writer {
    fn begin(&mut self, name: &str) {
        self.line("BEGIN:VCARD");
        self.line(if self.version == Version::Four { "VERSION:4.0" } else { "VERSION:3.0" });
        let name = escaped(name);
        if self.version == Version::Three {
            self.line(&format!("N:{name};;;;"));
        }
        self.line(&format!("FN:{name}"));
    }

    fn property_unless_empty(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.line(&format!("{name}:{}", escaped(value)));
        }
    }

    /// One line, folded where it is longer than 75 bytes, never inside a character. RFC 6350 §3.2.
    fn line(&mut self, line: &str) {
        let mut room = 75;
        for c in line.chars() {
            if c.len_utf8() > room {
                self.text.push_str("\r\n ");
                room = 74;
            }
            room -= c.len_utf8();
            self.text.push(c);
        }
        self.text.push_str("\r\n");
    }
}

fn escaped(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.replace('\\', "\\\\").replace('\n', "\\n").replace(',', "\\,").replace(';', "\\;")
}

/// The values between unescaped commas, unescaped.
fn values(text: &str) -> Vec<String> {
    let mut values = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            ',' => {
                values.push(String::new());
                continue;
            }
            '\\' => match chars.next() {
                Some('n' | 'N') => '\n',
                Some(other) => other,
                None => '\\',
            },
            other => other,
        };
        if let Some(value) = values.last_mut() {
            value.push(c);
        }
    }
    values
}

/// One value, unescaped; commas that should have been escaped stay.
fn value(text: &str) -> String {
    values(text).join(",")
}

/// A line as it was before it was folded.
struct Logical {
    /// The line it begins on; the first is 1.
    line: usize,
    text: String,
}

fn unfold(lines: &[String]) -> Vec<Logical> {
    let mut unfolded: Vec<Logical> = Vec::new();
    for (line, number) in lines.iter().zip(1..) {
        match (line.strip_prefix([' ', '\t']), unfolded.last_mut()) {
            (Some(rest), Some(before)) => before.text.push_str(rest),
            _ => unfolded.push(Logical { line: number, text: line.clone() }),
        }
    }
    unfolded
}

/// `group.NAME;PARAM=value:value`.
struct Property<'a> {
    line: usize,
    /// Upper case, without the group before it.
    name: String,
    /// Parameters as written, upper case.
    params: String,
    value: &'a str,
}

impl<'a> Property<'a> {
    fn parse(logical: &'a Logical) -> Option<Property<'a>> {
        let mut inside = false;
        let colon = logical.text.char_indices().find(|(_, c)| {
            inside ^= *c == '"';
            *c == ':' && !inside
        });
        let (head, value) = logical.text.split_at(colon?.0);
        let (name, params) = head.split_once(';').unwrap_or((head, ""));
        let name = name.rsplit('.').next().unwrap_or(name).trim().to_ascii_uppercase();
        let known = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        let params = params.to_ascii_uppercase();
        known.then_some(Property { line: logical.line, name, params, value: value.get(1..).unwrap_or_default() })
    }

    /// How much it is preferred: less is more. RFC 6350 §5.3, and `TYPE=pref` of RFC 2426.
    fn preference(&self) -> u32 {
        let mut params = self.params.split([';', ',']).map(str::trim);
        let given = params.find_map(|param| match param.trim_start_matches("TYPE=").trim_matches('"') {
            "PREF" => Some(1),
            other => other.strip_prefix("PREF=")?.trim_matches('"').parse().ok(),
        });
        given.unwrap_or(101)
    }
}

/// Reads cards.
pub(crate) fn read(lines: &[String], file: &mut ContactFile) {
    let unfolded = unfold(lines);
    let mut reading = Reading { file, by_uid: HashMap::new(), memberships: Vec::new(), lost: 0 };
    let mut open: Option<(usize, Vec<Property<'_>>)> = None;
    for logical in &unfolded {
        let bare = logical.text.trim();
        if bare.eq_ignore_ascii_case("BEGIN:VCARD") {
            if let Some((begin, properties)) = open.replace((logical.line, Vec::new())) {
                reading.file.note(begin, "the card has no END:VCARD");
                reading.card(begin, &properties);
            }
        } else if bare.eq_ignore_ascii_case("END:VCARD") {
            match open.take() {
                Some((begin, properties)) => reading.card(begin, &properties),
                None => reading.lose(logical.line, "END:VCARD without BEGIN:VCARD".to_owned()),
            }
        } else if !bare.is_empty() {
            match (&mut open, Property::parse(logical)) {
                (Some((_, properties)), Some(property)) => properties.push(property),
                (Some(_), None) => reading.lose(logical.line, format!("is no property: {}", shown(bare))),
                (None, _) => reading.lose(logical.line, format!("stands outside every card: {}", shown(bare))),
            }
        }
        if reading.lost >= MOST_LOST {
            return reading.file.lost(logical.line, "nothing after this line was read: too many make no sense");
        }
    }
    if let Some((begin, properties)) = open {
        reading.file.note(begin, "the card has no END:VCARD");
        reading.card(begin, &properties);
    }
    reading.join();
}

struct Reading<'a> {
    file: &'a mut ContactFile,
    /// Addresses by the UID of their cards.
    by_uid: HashMap<String, Aor>,
    /// Members of groups: line, group, member as written.
    memberships: Vec<(usize, String, String)>,
    lost: usize,
}

impl Reading<'_> {
    fn lose(&mut self, line: usize, what: String) {
        self.lost += 1;
        self.file.lost(line, what);
    }

    fn card(&mut self, begin: usize, properties: &[Property<'_>]) {
        let first = |name: &str| properties.iter().find(|p| p.name == name).map(|p| value(p.value));
        if let Some(property) = properties.iter().find(|p| p.params.contains("QUOTED-PRINTABLE") && is_used(&p.name)) {
            let what =
                format!("{} is in quoted-printable, as vCard 2.1 has it; save the file as 3.0 or 4.0", property.name);
            self.lose(property.line, what);
            return;
        }
        let kind = first("KIND").or_else(|| first("X-ADDRESSBOOKSERVER-KIND")).unwrap_or_default();
        let full_name = first("FN").unwrap_or_default();
        if kind.trim().eq_ignore_ascii_case("group") {
            return self.group(begin, full_name.trim(), first("X-SIGNPOST-EXTERNAL-URI"), properties);
        }
        let Some(address) = self.address(begin, &full_name, properties) else { return };
        if let Some(uid) = first("UID") {
            self.by_uid.insert(bare_uid(&uid), address.clone());
        }
        let groups = properties.iter().filter(|p| p.name == "CATEGORIES").flat_map(|p| values(p.value));
        let flag = first("X-SIGNPOST-SUBSCRIBED");
        self.file.contacts.push(FileContact {
            line: begin,
            name: if full_name.trim().eq_ignore_ascii_case(address.as_str()) {
                first("NICKNAME").unwrap_or_default()
            } else {
                full_name
            },
            address,
            groups: groups.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect(),
            subscribed: flag.as_deref().and_then(read_flag),
            external_uri: first("X-SIGNPOST-EXTERNAL-URI").unwrap_or_default(),
            extension: first("X-SIGNPOST-EXTENSION").unwrap_or_default(),
        });
    }

    fn group(&mut self, begin: usize, name: &str, external_uri: Option<String>, properties: &[Property<'_>]) {
        if name.is_empty() {
            return self.lose(begin, "the group has no name (FN)".to_owned());
        }
        let external_uri = external_uri.unwrap_or_default();
        self.file.groups.push(FileGroup { line: begin, name: name.to_owned(), external_uri });
        let members = properties.iter().filter(|p| matches!(&*p.name, "MEMBER" | "X-ADDRESSBOOKSERVER-MEMBER"));
        self.memberships.extend(members.map(|p| (p.line, name.to_owned(), value(p.value))));
    }

    /// The address to be used: the preferred one of the best kind there is.
    fn address(&mut self, begin: usize, full_name: &str, properties: &[Property<'_>]) -> Option<Aor> {
        let mut found: Vec<(usize, u32, &Property<'_>, Aor)> = Vec::new();
        let mut unreadable = None;
        for property in properties {
            let Some(rank) = KINDS.iter().position(|kind| *kind == property.name) else { continue };
            let text = value(property.value);
            match address_of(&text) {
                Some(Ok(aor)) => found.push((rank, property.preference(), property, aor)),
                Some(Err(why)) => unreadable = Some((property.line, format!("{}: {why}", shown(&text)))),
                None => {}
            }
        }
        found.sort_by_key(|(rank, preference, ..)| (*rank, *preference));
        let Some((rank, _, property, address)) = found.first() else {
            let nobody = format!("{} has no address (IMPP with sip:)", shown(full_name));
            let (line, what) = unreadable.unwrap_or((begin, nobody));
            self.lose(line, what);
            return None;
        };
        if KINDS.get(*rank) == Some(&"EMAIL") {
            self.file.note(property.line, format!("the mail address {address} was taken, because there is no other"));
        }
        for (_, _, other, further) in found.iter().filter(|(r, .., aor)| r == rank && aor != address) {
            self.file.lost(other.line, format!("{further}: a contact has one address, {address} was taken"));
        }
        Some(address.clone())
    }

    /// Puts the members of groups into them.
    fn join(self) {
        for (line, group, member) in self.memberships {
            let address = match address_of(&member) {
                Some(Ok(aor)) => Some(aor),
                _ => self.by_uid.get(&bare_uid(&member)).cloned(),
            };
            let contact = address.and_then(|aor| self.file.contacts.iter_mut().find(|c| c.address == aor));
            match contact {
                Some(contact) if contact.groups.contains(&group) => {}
                Some(contact) => contact.groups.push(group),
                None => self.file.lost(line, format!("{}: no card of this file is that member", shown(&member))),
            }
        }
    }
}

/// Properties an address can be in, the best first.
const KINDS: [&str; 4] = ["IMPP", "X-SIP", "X-MS-IMADDRESS", "EMAIL"];

fn is_used(name: &str) -> bool {
    KINDS.contains(&name) || matches!(name, "FN" | "CATEGORIES" | "NICKNAME")
}

/// The address in a URI of a kind that has one, or in a text without scheme; `None` for another kind of URI.
fn address_of(text: &str) -> Option<Result<Aor, signin::name::NameError>> {
    let text = text.trim();
    let (scheme, rest) = match text.split_once(':') {
        Some((scheme, rest)) if !scheme.contains('@') => (scheme.trim().to_ascii_lowercase(), rest),
        _ => (String::new(), text),
    };
    match scheme.as_str() {
        // What follows the address of a SIP URI (parameters, headers) says how to reach it.
        "sip" | "sips" => Some(rest.parse().or_else(|_| Aor::from_uri(&format!("sip:{rest}")))),
        "" | "im" | "mailto" => Some(rest.parse()),
        _ => None,
    }
}

fn bare_uid(text: &str) -> String {
    let text = text.trim().to_ascii_lowercase();
    text.strip_prefix("urn:uuid:").unwrap_or(&text).to_owned()
}
