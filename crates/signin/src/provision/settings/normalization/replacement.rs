//! .NET replacement patterns: what becomes of a match.
//!
//! | written | means |
//! |---|---|
//! | `$1`, `${1}` | the group of that number: as many digits as there are, and all of them are the number |
//! | `${name}` | the group of that name |
//! | `$$` | a dollar sign |
//! | `$&`, `$0` | the whole match |
//! | `` $` ``, `$'` | the text before the match, and after it |
//! | `$+` | the group with the highest number |
//! | `$_` | the whole text |
//!
//! A group that took no part is empty. A dollar sign that begins nothing of this (no such group, no closing brace) is
//! itself, and so is what follows it.

use super::groups::Groups;

/// A replacement pattern, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Replacement {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// A group that may stand at several places.
    Group(Vec<usize>),
    Before,
    After,
    Whole,
}

/// A match, as far as a replacement asks.
pub(super) struct Matched<'a> {
    /// The whole text.
    pub(super) text: &'a str,
    /// Where each group of the engine matched, in bytes; the first is the whole match.
    pub(super) groups: Vec<Option<(usize, usize)>>,
}

impl Matched<'_> {
    /// What the group matched last: groups are taken from left to right, and one around another closes after it.
    fn group(&self, places: &[usize]) -> &str {
        let matched = places.iter().filter_map(|place| self.groups.get(*place).copied().flatten());
        let last = matched.max_by_key(|(begin, end)| (*end, std::cmp::Reverse(*begin)));
        last.and_then(|(begin, end)| self.text.get(begin..end)).unwrap_or_default()
    }
}

impl Replacement {
    /// Reads a replacement pattern for a pattern with these groups. Every text is one.
    pub(super) fn read(text: &str, groups: &Groups) -> Replacement {
        let mut parts: Vec<Part> = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('$') {
            push_text(&mut parts, before);
            rest = match special(behind, groups) {
                Some((part, behind)) => {
                    parts.push(part);
                    behind
                }
                None => {
                    push_text(&mut parts, "$");
                    behind
                }
            };
        }
        push_text(&mut parts, rest);
        Replacement { parts }
    }

    /// What the match becomes. Unlike the replacement in a longer text, nothing around the match is kept.
    pub(super) fn expand(&self, matched: &Matched<'_>) -> String {
        let (begin, end) = matched.groups.first().copied().flatten().unwrap_or_default();
        let mut text = String::new();
        for part in &self.parts {
            text.push_str(match part {
                Part::Text(text) => text,
                Part::Group(places) => matched.group(places),
                Part::Before => matched.text.get(..begin).unwrap_or_default(),
                Part::After => matched.text.get(end..).unwrap_or_default(),
                Part::Whole => matched.text,
            });
        }
        text
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        _ if text.is_empty() => {}
        Some(Part::Text(before)) => before.push_str(text),
        _ => parts.push(Part::Text(text.to_owned())),
    }
}

/// What a dollar sign begins, and what follows that.
fn special<'a>(behind: &'a str, groups: &Groups) -> Option<(Part, &'a str)> {
    let group = |places: &[usize]| Part::Group(places.to_vec());
    let first = behind.chars().next()?;
    if first.is_ascii_digit() {
        let (number, rest) = digits(behind);
        return Some((group(groups.numbered(number)?), rest));
    }
    if first == '{' {
        let (name, rest) = behind.get(1..)?.split_once('}')?;
        let places = match digits(name) {
            (number, "") if !name.is_empty() => groups.numbered(number)?,
            _ => groups.named(name)?,
        };
        return Some((group(places), rest));
    }
    let part = match first {
        '$' => Part::Text("$".to_owned()),
        '&' => group(&[0]),
        '`' => Part::Before,
        '\'' => Part::After,
        '+' => group(groups.last()),
        '_' => Part::Whole,
        _ => return None,
    };
    Some((part, behind.get(1..)?))
}

/// The number at the beginning, and the rest. A number too large for a group is one that no group has.
fn digits(text: &str) -> (u32, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    (digits.parse().unwrap_or(u32::MAX), rest)
}
