//! The location profile: a user's dial plan. `[MS-SIPRE]` §2.2.2, §2.2.8, §3.8.
//!
//! Rules are carried here; [`super::normalization`] applies them.

use crate::directory::{DialPlan, NormalizationRule};
use crate::name::Aor;
use crate::xml::{Element, XmlError, escape};

/// Content type of the profile.
pub const CONTENT_TYPE: &str = "application/ms-location-profile-definition+xml";

const NAMESPACE: &str = "http://schemas.microsoft.com/2007/03/LocationProfileDescription";

/// A request for a profile, as its URI says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileUri {
    /// Whose.
    pub aor: Aor,
    /// Which.
    pub choice: Choice,
}

/// Which profile is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The one assigned to the user (`;default`).
    Assigned,
    /// The one of that name (`;phone-context=…`).
    Named(String),
    /// The URI does not say.
    Ambiguous,
}

impl ProfileUri {
    /// Recognises a location-profile GRUU; its parameters come in any order.
    pub fn from_uri(uri: &str) -> Option<ProfileUri> {
        let parsed = sip::Uri::parse(uri).ok()?;
        if !parsed.params.get("opaque")?.eq_ignore_ascii_case("app:locationprofile:get") {
            return None;
        }
        let choice = match (parsed.params.get("phone-context"), parsed.params.get("default")) {
            (Some(name), _) if !name.is_empty() => Choice::Named(name.to_owned()),
            (_, Some(_)) => Choice::Assigned,
            _ => Choice::Ambiguous,
        };
        Some(ProfileUri { aor: Aor::from_uri(uri).ok()?, choice })
    }
}

impl std::fmt::Display for ProfileUri {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{};gruu;opaque=app:locationprofile:get", self.aor.to_uri())?;
        match &self.choice {
            Choice::Assigned => f.write_str(";default"),
            Choice::Named(name) => write!(f, ";phone-context={name}"),
            Choice::Ambiguous => Ok(()),
        }
    }
}

/// Writes a profile. A plan without rules has no valid form: the caller answers 404 for it.
pub fn write(plan: &DialPlan) -> String {
    let mut xml = format!("<LocationProfileDescription xmlns=\"{NAMESPACE}\"><Name>{}</Name>", escape(&plan.name));
    for rule in &plan.rules {
        let (pattern, translation) = (escape(&rule.pattern), escape(&rule.translation));
        xml.push_str(&format!("<Rule><Pattern>{pattern}</Pattern><Translation>{translation}</Translation>"));
        if rule.internal_extension {
            xml.push_str("<InternalEnterpriseExtension>true</InternalEnterpriseExtension>");
        }
        if rule.device_dialing {
            xml.push_str("<ApplicableForDeviceDialing>true</ApplicableForDeviceDialing>");
        }
        xml.push_str("</Rule>");
    }
    if let Some(prefix) = &plan.external_access_prefix {
        xml.push_str(&format!("<ExternalAccessPrefix>{}</ExternalAccessPrefix>", escape(prefix)));
    }
    if plan.optimize_device_dialing {
        xml.push_str("<OptimizeDeviceDialing>true</OptimizeDeviceDialing>");
    }
    xml.push_str("</LocationProfileDescription>");
    xml
}

/// Why a document is no location profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Not XML we read.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// Another document, or one without a name.
    #[error("not a location profile with a name")]
    NotAProfile,
}

/// Reads a profile; elements it does not know are passed over.
pub fn read(bytes: &[u8]) -> Result<DialPlan, ProfileError> {
    let root = Element::parse(bytes)?;
    let text = |element: &Element, name: &str| element.child(name).map(|e| e.trimmed().to_owned());
    let flag = |element: &Element, name: &str| {
        element.child(name).is_some_and(|e| e.trimmed() == "1" || e.trimmed().eq_ignore_ascii_case("true"))
    };
    let name = text(&root, "Name").filter(|_| root.name == "LocationProfileDescription");
    let rules = root.all("Rule").filter_map(|rule| {
        Some(NormalizationRule {
            // Blanks mean something in both.
            pattern: rule.child("Pattern")?.text.clone(),
            translation: rule.child("Translation")?.text.clone(),
            internal_extension: flag(rule, "InternalEnterpriseExtension"),
            device_dialing: flag(rule, "ApplicableForDeviceDialing"),
        })
    });
    Ok(DialPlan {
        name: name.filter(|name| !name.is_empty()).ok_or(ProfileError::NotAProfile)?,
        rules: rules.collect(),
        external_access_prefix: text(&root, "ExternalAccessPrefix").filter(|prefix| !prefix.is_empty()),
        optimize_device_dialing: flag(&root, "OptimizeDeviceDialing"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uri_says_which_profile() {
        let choice = |uri: &str| ProfileUri::from_uri(uri).map(|profile| profile.choice);
        let base = "sip:Alice@contoso.test;gruu;opaque=app:locationprofile:get";
        assert_eq!(choice(&format!("{base};default")), Some(Choice::Assigned));
        assert_eq!(choice(&format!("{base};phone-context=Seattle.x")), Some(Choice::Named("Seattle.x".to_owned())));
        assert_eq!(choice(base), Some(Choice::Ambiguous));
        assert_eq!(choice("sip:a@b.c;default;opaque=APP:LocationProfile:get"), Some(Choice::Assigned));
        assert_eq!(choice("sip:alice@contoso.test;opaque=user:epid:AAAA;gruu"), None);
        let named = ProfileUri::from_uri(&format!("{base};phone-context=S")).expect("a profile URI");
        assert_eq!(named.to_string(), "sip:alice@contoso.test;gruu;opaque=app:locationprofile:get;phone-context=S");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let rule = |pattern: &str, translation: &str, internal_extension| NormalizationRule {
            pattern: pattern.to_owned(),
            translation: translation.to_owned(),
            internal_extension,
            device_dialing: internal_extension,
        };
        let plan = DialPlan {
            name: "Seattle.contoso.test".to_owned(),
            rules: vec![rule(r"^(\d{4})$", "+1425555$1", true), rule("^<&>$", "${1}", false)],
            external_access_prefix: Some("9".to_owned()),
            optimize_device_dialing: true,
        };
        assert_eq!(read(write(&plan).as_bytes()), Ok(plan));
        assert_eq!(read(b"<Other><Name>x</Name></Other>"), Err(ProfileError::NotAProfile));
    }
}
