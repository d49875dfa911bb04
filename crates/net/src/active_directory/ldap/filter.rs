//! What a search asks for. RFC 4511 §4.5.1.7.
//!
//! A filter is built as a value and sent in binary: what a user typed is always a value inside it, never syntax. The
//! text form of RFC 4515 is only for logs.

use super::ber;
use std::fmt;

/// A condition on entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// All of these.
    And(Vec<Filter>),
    /// At least one of these.
    Or(Vec<Filter>),
    /// The attribute has this value, by the matching rule of its own.
    Equal(String, String),
    /// The attribute has a value.
    Present(String),
    /// The attribute matches this value by a rule named here.
    Matches {
        /// Which attribute.
        attribute: String,
        /// Object identifier of the rule, such as [`IN_CHAIN`].
        rule: &'static str,
        /// With what.
        value: String,
    },
}

/// LDAP_MATCHING_RULE_IN_CHAIN: follows memberships through groups in groups. `[MS-ADTS]` §3.1.1.3.4.4.3.
pub const IN_CHAIN: &str = "1.2.840.113556.1.4.1941";

impl Filter {
    /// The attribute has this value.
    pub fn equal(attribute: &str, value: &str) -> Filter {
        Filter::Equal(attribute.to_owned(), value.to_owned())
    }

    /// Appends the filter as RFC 4511 §4.5.1 has it.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let all = |out: &mut Vec<u8>, filters: &[Filter]| filters.iter().for_each(|filter| filter.put(out));
        match self {
            Filter::And(filters) => ber::put(out, ber::context_constructed(0), |out| all(out, filters)),
            Filter::Or(filters) => ber::put(out, ber::context_constructed(1), |out| all(out, filters)),
            Filter::Equal(attribute, value) => ber::put(out, ber::context_constructed(3), |out| {
                ber::put_bytes(out, ber::OCTET_STRING, attribute.as_bytes());
                ber::put_bytes(out, ber::OCTET_STRING, value.as_bytes());
            }),
            Filter::Present(attribute) => ber::put_bytes(out, ber::context(7), attribute.as_bytes()),
            Filter::Matches { attribute, rule, value } => ber::put(out, ber::context_constructed(9), |out| {
                ber::put_bytes(out, ber::context(1), rule.as_bytes());
                ber::put_bytes(out, ber::context(2), attribute.as_bytes());
                ber::put_bytes(out, ber::context(3), value.as_bytes());
            }),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filter::And(filters) => list(f, '&', filters),
            Filter::Or(filters) => list(f, '|', filters),
            Filter::Equal(attribute, value) => write!(f, "({attribute}={})", Escaped(value)),
            Filter::Present(attribute) => write!(f, "({attribute}=*)"),
            Filter::Matches { attribute, rule, value } => write!(f, "({attribute}:{rule}:={})", Escaped(value)),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, sign: char, filters: &[Filter]) -> fmt::Result {
    write!(f, "({sign}")?;
    filters.iter().try_for_each(|filter| write!(f, "{filter}"))?;
    f.write_str(")")
}

/// A value with what RFC 4515 §3 wants escaped, and control characters, as `\xx`.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '*' | '(' | ')' | '\\' | '\0'..='\x1f' | '\x7f' => write!(f, "\\{:02x}", u32::from(c))?,
                _ => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_as_in_rfc_4515() {
        // RFC 4515 §4, the examples with escapes.
        assert_eq!(
            Filter::equal("o", "Parens R Us (for all your parenthetical needs)").to_string(),
            r"(o=Parens R Us \28for all your parenthetical needs\29)"
        );
        assert_eq!(Filter::equal("filename", r"C:\MyFile").to_string(), r"(filename=C:\5cMyFile)");
        assert_eq!(Filter::equal("cn", "*").to_string(), r"(cn=\2a)");
        assert_eq!(Filter::equal("sn", "Lučić").to_string(), "(sn=Lučić)");
        let both = Filter::And(vec![Filter::equal("a", "1"), Filter::Or(vec![Filter::Present("b".to_owned())])]);
        assert_eq!(both.to_string(), "(&(a=1)(|(b=*)))");
    }

    #[test]
    fn bytes_as_in_rfc_4511() {
        let mut out = Vec::new();
        Filter::And(vec![Filter::equal("cn", "a*"), Filter::Present("sn".to_owned())]).put(&mut out);
        assert_eq!(out, b"\xa0\x0e\xa3\x08\x04\x02cn\x04\x02a*\x87\x02sn");
        let mut out = Vec::new();
        let member = Filter::Matches { attribute: "m".to_owned(), rule: "1.2", value: "dn".to_owned() };
        member.put(&mut out);
        assert_eq!(out, b"\xa9\x0c\x81\x031.2\x82\x01m\x83\x02dn");
    }

    proptest! {
        #[test]
        fn no_value_ever_ends_its_condition(value: String) {
            let text = Filter::equal("cn", &value).to_string();
            prop_assert_eq!(text.matches('(').count(), 1);
            prop_assert_eq!(text.matches(')').count(), 1);
            prop_assert!(!text.contains('*') && !text.chars().any(|c| c.is_ascii_control()));
        }
    }
}
