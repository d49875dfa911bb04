//! Names of users and services. RFC 4120 §6.2; the text form with its escapes is that of MIT Kerberos.
//! Names from Windows are UTF-8, though RFC 4120 knows ASCII alone; both are read and written.

use std::fmt;
use std::hash::{Hash, Hasher};

/// Most components of a name. Real ones have one or two, some in Active Directory three.
pub const MAX_COMPONENTS: usize = 16;

/// Most bytes of a component and of a realm.
pub const MAX_TEXT: usize = 1024;

/// What a name stands for, RFC 4120 §6.2. A hint: no two names differ by it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum NameType {
    /// NT-UNKNOWN, 0.
    Unknown,
    /// NT-PRINCIPAL, 1: a user, or a service whose client knew no better.
    #[default]
    Principal,
    /// NT-SRV-INST, 2: a service and its instance, as the ticket-granting one.
    ServiceInstance,
    /// NT-SRV-HST, 3: a service and its host.
    ServiceHost,
    /// NT-ENTERPRISE, 10: an address in one component, which the KDC turns into a name. RFC 6806 §5.
    Enterprise,
    /// Any other number.
    Other(i32),
}

impl NameType {
    /// From its number on the wire.
    pub fn from_number(number: i32) -> NameType {
        match number {
            0 => NameType::Unknown,
            1 => NameType::Principal,
            2 => NameType::ServiceInstance,
            3 => NameType::ServiceHost,
            10 => NameType::Enterprise,
            other => NameType::Other(other),
        }
    }

    /// Its number on the wire.
    pub fn number(self) -> i32 {
        match self {
            NameType::Unknown => 0,
            NameType::Principal => 1,
            NameType::ServiceInstance => 2,
            NameType::ServiceHost => 3,
            NameType::Enterprise => 10,
            NameType::Other(number) => number,
        }
    }
}

/// A user or a service: `alice@CONTOSO.TEST`, `sip/fe01.contoso.test@CONTOSO.TEST`. Equal names may differ in their
/// [`NameType`].
#[derive(Debug, Clone)]
pub struct Principal {
    /// What it stands for.
    pub name_type: NameType,
    /// One for a user, service class and host for a service.
    pub components: Vec<String>,
    /// The realm, usually a domain in capitals.
    pub realm: String,
}

/// A name that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No components, or none but empty ones.
    #[error("the Kerberos name is empty")]
    Empty,
    /// No `@` in a text that must have one.
    #[error("the Kerberos name has no realm; write name@REALM")]
    NoRealm,
    /// More than [`MAX_COMPONENTS`].
    #[error("the Kerberos name has more than {MAX_COMPONENTS} components")]
    TooManyComponents,
    /// A component or the realm exceeds [`MAX_TEXT`].
    #[error("a component of the Kerberos name is longer than {MAX_TEXT} bytes")]
    TooLong,
    /// Bytes that are no UTF-8, or a NUL.
    #[error("the Kerberos name is not text")]
    NotText,
    /// An unescaped second `@`, or a backslash before nothing.
    #[error("the Kerberos name has an `@` or `\\` in a wrong place; inside a component write \\@ and \\\\")]
    Syntax,
}

impl Principal {
    /// A user (one component, not parsed) or any other name, with its parts checked.
    pub fn new(name_type: NameType, components: Vec<String>, realm: String) -> Result<Principal, NameError> {
        if components.len() > MAX_COMPONENTS {
            return Err(NameError::TooManyComponents);
        }
        if components.iter().all(String::is_empty) {
            return Err(NameError::Empty);
        }
        if realm.is_empty() {
            return Err(NameError::NoRealm);
        }
        for text in components.iter().chain([&realm]) {
            if text.len() > MAX_TEXT {
                return Err(NameError::TooLong);
            }
            if text.contains('\0') {
                return Err(NameError::NotText);
            }
        }
        Ok(Principal { name_type, components, realm })
    }

    /// A service on a host: `service("sip", "fe01.contoso.test", "CONTOSO.TEST")`.
    pub fn service(class: &str, host: &str, realm: &str) -> Result<Principal, NameError> {
        Principal::new(NameType::ServiceHost, vec![class.to_owned(), host.to_owned()], realm.to_owned())
    }

    /// The ticket-granting service of a realm, for tickets to `target` (the same realm but for referrals).
    pub fn ticket_granting(target: &str, realm: &str) -> Result<Principal, NameError> {
        Principal::new(NameType::ServiceInstance, vec!["krbtgt".to_owned(), target.to_owned()], realm.to_owned())
    }

    /// Reads `component/component@REALM`. A backslash before `/`, `@` and itself makes them letters; `\n`, `\t` and `\b`
    /// are the control characters.
    pub fn parse(text: &str) -> Result<Principal, NameError> {
        let (components, realm) = split(text)?;
        Principal::new(guess(&components), components, realm.ok_or(NameError::NoRealm)?)
    }

    /// The same, with a realm for a text that names none.
    pub fn parse_in(text: &str, default_realm: &str) -> Result<Principal, NameError> {
        let (components, realm) = split(text)?;
        Principal::new(guess(&components), components, realm.unwrap_or_else(|| default_realm.to_owned()))
    }

    /// First component of a service, `sip`; the name itself for a user.
    pub fn class(&self) -> &str {
        self.components.first().map_or("", String::as_str)
    }

    /// The name as its user would write it: an address alone, any other name with its realm.
    pub fn familiar(&self) -> String {
        match (self.name_type, self.components.as_slice()) {
            (NameType::Enterprise, [address]) => address.clone(),
            _ => self.to_string(),
        }
    }

    /// What the password of a user is mixed with unless the KDC says otherwise: realm and components, nothing between.
    /// RFC 4120 §4.
    pub fn default_salt(&self) -> String {
        format!("{}{}", self.realm, self.components.concat())
    }

    /// Equal but for the case of ASCII letters, as Active Directory compares the names of services.
    pub fn eq_ignoring_case(&self, other: &Principal) -> bool {
        self.realm.eq_ignore_ascii_case(&other.realm)
            && self.components.len() == other.components.len()
            && self.components.iter().zip(&other.components).all(|(a, b)| a.eq_ignore_ascii_case(b))
    }
}

impl PartialEq for Principal {
    fn eq(&self, other: &Principal) -> bool {
        self.components == other.components && self.realm == other.realm
    }
}

impl Eq for Principal {}

impl Hash for Principal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.components.hash(state);
        self.realm.hash(state);
    }
}

/// `component/component@REALM`, escaped so that [`Principal::parse`] gives the same name.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, component) in self.components.iter().enumerate() {
            if place > 0 {
                f.write_str("/")?;
            }
            escaped(component, f)?;
        }
        f.write_str("@")?;
        escaped(&self.realm, f)
    }
}

fn escaped(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for c in text.chars() {
        match c {
            '/' | '@' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            '\u{8}' => f.write_str("\\b")?,
            _ => write!(f, "{c}")?,
        }
    }
    Ok(())
}

/// Components and, behind an `@`, the realm.
fn split(text: &str) -> Result<(Vec<String>, Option<String>), NameError> {
    let mut components = vec![String::new()];
    let mut realm: Option<String> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let literal = match (letter, &realm) {
            ('\\', _) => match letters.next().ok_or(NameError::Syntax)? {
                'n' => '\n',
                't' => '\t',
                'b' => '\u{8}',
                other => other,
            },
            ('@', None) => {
                realm = Some(String::new());
                continue;
            }
            ('@', Some(_)) => return Err(NameError::Syntax),
            ('/', None) => {
                if components.len() == MAX_COMPONENTS {
                    return Err(NameError::TooManyComponents);
                }
                components.push(String::new());
                continue;
            }
            (other, _) => other,
        };
        match (&mut realm, components.last_mut()) {
            (Some(realm), _) => realm.push(literal),
            (None, Some(component)) => component.push(literal),
            (None, None) => return Err(NameError::Empty),
        }
    }
    Ok((components, realm))
}

/// The type a text says nothing of.
fn guess(components: &[String]) -> NameType {
    match components {
        [class, _] if class == "krbtgt" => NameType::ServiceInstance,
        _ => NameType::Principal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_and_realm() {
        let name = Principal::parse("sip/fe1.contoso.test@CONTOSO.TEST").unwrap();
        assert_eq!(name.components, ["sip", "fe1.contoso.test"]);
        assert_eq!((name.realm.as_str(), name.name_type), ("CONTOSO.TEST", NameType::Principal));
        assert_eq!(name, Principal::service("sip", "fe1.contoso.test", "CONTOSO.TEST").unwrap(), "whatever its type");
        assert_eq!(name.to_string(), "sip/fe1.contoso.test@CONTOSO.TEST");
        assert_eq!(Principal::parse_in("alice", "X").unwrap().to_string(), "alice@X");
        assert_eq!(Principal::parse("krbtgt/A@B").unwrap(), Principal::ticket_granting("A", "B").unwrap());
    }

    #[test]
    fn escapes() {
        let name = Principal::parse(r"alice\@contoso.test@CONTOSO.TEST").unwrap();
        assert_eq!(name.components, ["alice@contoso.test"]);
        assert_eq!(name.to_string(), r"alice\@contoso.test@CONTOSO.TEST");
        assert_eq!(Principal { name_type: NameType::Enterprise, ..name.clone() }.familiar(), "alice@contoso.test");
        assert_eq!(name.familiar(), name.to_string());
        assert_eq!(Principal::parse(r"a\/b\\c\n@R/S").unwrap().components, ["a/b\\c\n"]);
    }

    #[test]
    fn refused() {
        for (text, error) in [
            ("alice", NameError::NoRealm),
            ("alice@", NameError::NoRealm),
            ("", NameError::NoRealm),
            ("@R", NameError::Empty),
            ("/@R", NameError::Empty),
            ("a@b@c", NameError::Syntax),
            ("a\\", NameError::Syntax),
            ("a\0b@R", NameError::NotText),
        ] {
            assert_eq!(Principal::parse(text), Err(error), "{text}");
        }
        assert_eq!(Principal::parse(&format!("{}@R", "a/".repeat(16))), Err(NameError::TooManyComponents));
        assert_eq!(Principal::parse(&format!("{}@R", "a".repeat(1025))), Err(NameError::TooLong));
    }

    proptest! {
        #[test]
        fn text_and_back(components in proptest::collection::vec("\\PC{1,9}", 1..4), realm in "\\PC{1,9}") {
            let name = Principal::new(NameType::Principal, components, realm).unwrap();
            prop_assert_eq!(&Principal::parse(&name.to_string()).unwrap(), &name);
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = Principal::parse(&text);
        }
    }
}
