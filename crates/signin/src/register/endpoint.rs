//! What an endpoint is called: epid, `+sip.instance`, GRUU. `[MS-SIPRE]` §2.2.3, §3.3.3.1, §3.4.

use crate::name::Aor;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha1::{Digest, Sha1};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// Longest epid accepted. The specification gives no figure; every client seen stays well below.
const EPID_MAX: usize = 16;

/// Name space of instance ids, `[MS-SIPRE]` §3.3.3.1; hashed in GUID (little-endian) byte order.
const NAME_SPACE: Uuid = Uuid::from_u128(0xfcacfb03_8a73_46ef_91b1_e5ebeeaba4fe);

/// Why a text is not an endpoint's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Empty, or characters outside visible ASCII.
    #[error("an epid is visible ASCII and not empty")]
    BadEpid,
    /// Longer than 16 characters.
    #[error("an epid has at most 16 characters")]
    EpidTooLong,
    /// Not `"<urn:uuid:…>"`.
    #[error("+sip.instance is not \"<urn:uuid:…>\"")]
    BadInstance,
}

/// An endpoint id: chosen by the client, the same on every request of one user on one device. Case matters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Epid(String);

impl Epid {
    /// The text, as sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Epid {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Epid, EndpointError> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(EndpointError::BadEpid);
        }
        if text.len() > EPID_MAX {
            return Err(EndpointError::EpidTooLong);
        }
        Ok(Epid(text.to_owned()))
    }
}

/// The device behind an endpoint: a UUID that follows from the epid, so either names the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(Uuid);

impl InstanceId {
    /// Derives the id from an epid. Like a version 5 UUID, but hashed over the name space in GUID byte order.
    pub fn of_epid(epid: &Epid) -> InstanceId {
        let hash = Sha1::new().chain_update(NAME_SPACE.to_bytes_le()).chain_update(epid.0.as_bytes()).finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        bytes[7] = (bytes[7] & 0x0f) | 0x50;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        InstanceId(Uuid::from_bytes_le(bytes))
    }

    /// Reads the value of a `+sip.instance` parameter, with or without its quotes.
    pub fn from_parameter(value: &str) -> Result<InstanceId, EndpointError> {
        let inside = sip::header::unquoted(value.trim()).trim();
        let inside = inside.strip_prefix('<').and_then(|v| v.strip_suffix('>')).unwrap_or(inside);
        let text = match inside.get(..9) {
            Some(scheme) if scheme.eq_ignore_ascii_case("urn:uuid:") => &inside[9..],
            _ => return Err(EndpointError::BadInstance),
        };
        Uuid::try_parse(text).map(InstanceId).map_err(|_| EndpointError::BadInstance)
    }

    /// The value of a `+sip.instance` parameter: quoted, UUID in lower case.
    pub fn to_parameter(self) -> String {
        format!("\"<urn:uuid:{}>\"", self.0.hyphenated())
    }

    /// The UUID.
    pub fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// A globally routable URI of one endpoint: `sip:aor;opaque=user:epid:…;gruu`. Nothing needs to be stored for it: the
/// opaque part is the instance id (GUID byte order, two zero bytes after it) in base64url.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Gruu {
    /// Whose endpoint.
    pub aor: Aor,
    /// Which one.
    pub instance: InstanceId,
}

impl Gruu {
    /// Recognises a GRUU among SIP URIs.
    pub fn from_uri(uri: &str) -> Option<Gruu> {
        let parsed = sip::Uri::parse(uri).ok()?;
        parsed.params.get("gruu")?;
        let opaque = parsed.params.get("opaque")?;
        let encoded = opaque.strip_prefix("user:epid:")?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
        let bytes: [u8; 18] = bytes.try_into().ok()?;
        let (guid, zeros) = bytes.split_at(16);
        if zeros != [0, 0] {
            return None;
        }
        let instance = InstanceId(Uuid::from_bytes_le(guid.try_into().ok()?));
        Some(Gruu { aor: Aor::from_uri(uri).ok()?, instance })
    }
}

impl fmt::Display for Gruu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 18];
        bytes[..16].copy_from_slice(&self.instance.0.to_bytes_le());
        write!(f, "{};opaque=user:epid:{};gruu", self.aor.to_uri(), URL_SAFE_NO_PAD.encode(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `[MS-SIPRE]` §4.2 and four published registrations.
    const SAMPLES: [(&str, &str, &str); 5] = [
        ("01010101", "4b1682a8-f968-5701-83fc-7c6741dc6697", "qIIWS2j5AVeD_HxnQdxmlwAA"),
        ("2ebb6f264f", "124841e4-264d-52e8-96c5-d22aa8cdc316", "5EFIEk0m6FKWxdIqqM3DFgAA"),
        ("8248ca9ebb", "4233fd41-093b-5fd6-b5d2-651ed55969e6", "Qf0zQjsJ1l-10mUe1Vlp5gAA"),
        ("c8ca638a15", "34d859db-6585-5f91-a3b4-de853c15347d", "21nYNIVlkV-jtN6FPBU0fQAA"),
        ("a0ae9e6cb0", "c1589240-e660-594f-a8b3-4b55f358cbc1", "QJJYwWDmT1mos0tV81jLwQAA"),
    ];

    #[test]
    fn instance_and_gruu_follow_from_the_epid() {
        for (epid, uuid, opaque) in SAMPLES {
            let instance = InstanceId::of_epid(&epid.parse().expect("epid"));
            assert_eq!(instance.to_string(), uuid);
            assert_eq!(InstanceId::from_parameter(&format!("\"<urn:uuid:{}>\"", uuid.to_uppercase())), Ok(instance));
            let gruu = Gruu { aor: "Alice@Contoso.com".parse().expect("aor"), instance };
            assert_eq!(gruu.to_string(), format!("sip:alice@contoso.com;opaque=user:epid:{opaque};gruu"));
            assert_eq!(Gruu::from_uri(&gruu.to_string()), Some(gruu));
        }
    }

    #[test]
    fn names_that_are_none_are_refused() {
        assert_eq!("".parse::<Epid>(), Err(EndpointError::BadEpid));
        assert_eq!("a b".parse::<Epid>(), Err(EndpointError::BadEpid));
        assert_eq!("12345678901234567".parse::<Epid>(), Err(EndpointError::EpidTooLong));
        assert_eq!(InstanceId::from_parameter("\"<urn:uuid:1>\""), Err(EndpointError::BadInstance));
        for uri in [
            "sip:alice@contoso.com;gruu;opaque=app:locationprofile:get;default",
            "sip:alice@contoso.com;opaque=user:epid:AAAA;gruu",
            "sip:alice@contoso.com;opaque=user:epid:qIIWS2j5AVeD_HxnQdxmlwAA",
            "sip:alice@contoso.com;opaque=user:epid:qIIWS2j5AVeD_HxnQdxmlwAB;gruu",
        ] {
            assert_eq!(Gruu::from_uri(uri), None, "{uri}");
        }
    }
}
