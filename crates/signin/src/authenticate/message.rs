//! The three headers of `[MS-SIPAE]`: the challenge (`WWW-Authenticate`), the credentials (`Authorization`) and the
//! signature of what a server sends (`Authentication-Info`). §2.2.
//!
//! Grammar, both directions: `scheme SP name=value *("," SP name=value)`; every value is quoted except `version`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// An authentication scheme, as named on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `NTLM`.
    Ntlm,
    /// `Kerberos`.
    Kerberos,
    /// `TLS-DSK`.
    TlsDsk,
    /// Anything else a peer offers; kept so that it can be reported.
    Other(String),
}

impl Scheme {
    /// The token on the wire; it is also the first field of every signature.
    pub fn as_str(&self) -> &str {
        match self {
            Scheme::Ntlm => "NTLM",
            Scheme::Kerberos => "Kerberos",
            Scheme::TlsDsk => "TLS-DSK",
            Scheme::Other(name) => name,
        }
    }

    /// Which scheme a token names; case does not matter.
    pub fn from_token(token: &str) -> Scheme {
        [Scheme::Ntlm, Scheme::Kerberos, Scheme::TlsDsk]
            .into_iter()
            .find(|scheme| scheme.as_str().eq_ignore_ascii_case(token))
            .unwrap_or_else(|| Scheme::Other(token.to_owned()))
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Version of the protocol: which fields a signature covers, and whether the last handshake message is signed.
/// `[MS-SIPAE]` §2.2.1; version 2 is of servers before 2007 and not spoken here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// The message that completes the handshake carries no signature.
    V3,
    /// It does.
    V4,
}

impl Version {
    /// 3 or 4.
    pub fn number(self) -> u8 {
        match self {
            Version::V3 => 3,
            Version::V4 => 4,
        }
    }

    /// The version a peer names; a higher one than ours is ours.
    pub fn from_number(text: &str) -> Option<Version> {
        match text.parse::<u8>().ok()? {
            0..=2 => None,
            3 => Some(Version::V3),
            _ => Some(Version::V4),
        }
    }
}

/// A header of the family could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthHeaderError {
    /// No scheme or no parameters.
    #[error("no scheme and parameters")]
    Shape,
    /// A parameter that has to be there is not.
    #[error("no {0}")]
    Missing(&'static str),
    /// A parameter's value cannot be read.
    #[error("{0} cannot be read")]
    Bad(&'static str),
}

/// The parameters of one header: scheme, and values by name (in lower case), quotes removed.
struct Parameters<'a> {
    scheme: Scheme,
    values: Vec<(&'a str, &'a str)>,
}

impl<'a> Parameters<'a> {
    fn parse(value: &'a str) -> Result<Parameters<'a>, AuthHeaderError> {
        let (scheme, rest) = value.trim().split_once([' ', '\t']).ok_or(AuthHeaderError::Shape)?;
        let values = sip::header::split_list(rest)
            .filter_map(|item| item.split_once('='))
            .map(|(name, value)| (name.trim(), sip::header::unquoted(value.trim())))
            .collect();
        Ok(Parameters { scheme: Scheme::from_token(scheme), values })
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.values.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    fn text(&self, name: &'static str) -> Result<String, AuthHeaderError> {
        self.get(name).map(str::to_owned).ok_or(AuthHeaderError::Missing(name))
    }

    fn data(&self, name: &'static str) -> Result<Option<Vec<u8>>, AuthHeaderError> {
        self.get(name).map(|text| STANDARD.decode(text).map_err(|_| AuthHeaderError::Bad(name))).transpose()
    }

    fn signature(
        &self,
        rand: &'static str,
        num: &'static str,
        mac: &'static str,
    ) -> Result<Signature, AuthHeaderError> {
        Ok(Signature {
            rand: self.text(rand)?,
            num: self.text(num)?.parse().map_err(|_| AuthHeaderError::Bad(num))?,
            mac: hex::decode(self.get(mac).ok_or(AuthHeaderError::Missing(mac))?)
                .map_err(|_| AuthHeaderError::Bad(mac))?,
        })
    }
}

/// Salt, number and signature of one message: `crand, cnum, response` of a client, `srand, snum, rspauth` of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Eight hexadecimal digits; enters the signed text exactly as spelt.
    pub rand: String,
    /// Counts signed messages of one direction; what the replay window looks at.
    pub num: u32,
    /// The signature's bytes.
    pub mac: Vec<u8>,
}

/// `WWW-Authenticate`: an offer of a scheme, or the next leg of its handshake. `[MS-SIPAE]` §2.2.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Which scheme.
    pub scheme: Scheme,
    /// Realm, the same for a whole deployment as a rule.
    pub realm: String,
    /// FQDN of the server; for Kerberos `sip/` and the FQDN. Exactly as received, since it is signed.
    pub target_name: String,
    /// Protocol version; `None` when the server names none (then it is 2).
    pub version: Option<Version>,
    /// Names the security association from the second leg on.
    pub opaque: Option<String>,
    /// The mechanism's token.
    pub gssapi_data: Option<Vec<u8>>,
    /// Where certificates are provisioned (TLS-DSK only).
    pub sts_uri: Option<String>,
}

impl Challenge {
    /// Reads one header value.
    pub fn parse(value: &str) -> Result<Challenge, AuthHeaderError> {
        let parameters = Parameters::parse(value)?;
        Ok(Challenge {
            realm: parameters.text("realm")?,
            target_name: parameters.text("targetname")?,
            version: parameters.get("version").and_then(Version::from_number),
            opaque: parameters.get("opaque").map(str::to_owned),
            gssapi_data: parameters.data("gssapi-data")?,
            sts_uri: parameters.get("sts-uri").map(str::to_owned),
            scheme: parameters.scheme,
        })
    }
}

impl fmt::Display for Challenge {
    /// The order in which servers write the parameters; open clients search for them one by one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scheme.as_str())?;
        f.write_str(" ")?;
        if let Some(opaque) = &self.opaque {
            write!(f, "opaque=\"{opaque}\", ")?;
        }
        if let Some(data) = &self.gssapi_data {
            write!(f, "gssapi-data=\"{}\", ", STANDARD.encode(data))?;
        }
        write!(f, "realm=\"{}\", targetname=\"{}\"", self.realm, self.target_name)?;
        if let Some(version) = self.version {
            write!(f, ", version={}", version.number())?;
        }
        if let Some(uri) = &self.sts_uri {
            write!(f, ", sts-uri=\"{uri}\"")?;
        }
        Ok(())
    }
}

/// `Authorization` (or `Proxy-Authorization`): a leg of the handshake, a signature, or both. `[MS-SIPAE]` §2.2.3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Which scheme.
    pub scheme: Scheme,
    /// As in the challenge.
    pub realm: String,
    /// As in the challenge.
    pub target_name: String,
    /// Protocol version; only in handshake messages.
    pub version: Option<Version>,
    /// As given by the server; absent in the first leg.
    pub opaque: Option<String>,
    /// The mechanism's token; empty in the first leg of NTLM, absent once the handshake is over.
    pub gssapi_data: Option<Vec<u8>>,
    /// Signature over this message.
    pub signature: Option<Signature>,
}

impl Credentials {
    /// Reads one header value.
    pub fn parse(value: &str) -> Result<Credentials, AuthHeaderError> {
        let parameters = Parameters::parse(value)?;
        let signature = match parameters.get("response") {
            Some(_) => Some(parameters.signature("crand", "cnum", "response")?),
            None => None,
        };
        Ok(Credentials {
            realm: parameters.text("realm")?,
            target_name: parameters.text("targetname")?,
            version: parameters.get("version").and_then(Version::from_number),
            opaque: parameters.get("opaque").map(str::to_owned),
            gssapi_data: parameters.data("gssapi-data")?,
            signature,
            scheme: parameters.scheme,
        })
    }
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} qop=\"auth\"", self.scheme)?;
        if let Some(opaque) = &self.opaque {
            write!(f, ", opaque=\"{opaque}\"")?;
        }
        write!(f, ", realm=\"{}\", targetname=\"{}\"", self.realm, self.target_name)?;
        if let Some(data) = &self.gssapi_data {
            write!(f, ", gssapi-data=\"{}\"", STANDARD.encode(data))?;
        }
        if let Some(version) = self.version {
            write!(f, ", version={}", version.number())?;
        }
        if let Some(Signature { rand, num, mac }) = &self.signature {
            write!(f, ", crand=\"{rand}\", cnum=\"{num}\", response=\"{}\"", hex::encode(mac))?;
        }
        Ok(())
    }
}

/// `Authentication-Info`: a server's signature over what it sends. `[MS-SIPAE]` §2.2.4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthenticationInfo {
    /// Which scheme.
    pub scheme: Scheme,
    /// Realm of the association.
    pub realm: String,
    /// Target name of the association.
    pub target_name: String,
    /// Names the association; with Kerberos the client learns it here.
    pub opaque: Option<String>,
    /// The mechanism's token: Kerberos with mutual authentication ends with one of the server.
    pub gssapi_data: Option<Vec<u8>>,
    /// Protocol version, when named.
    pub version: Option<Version>,
    /// The signature.
    pub signature: Signature,
}

impl AuthenticationInfo {
    /// Reads one header value.
    pub fn parse(value: &str) -> Result<AuthenticationInfo, AuthHeaderError> {
        let parameters = Parameters::parse(value)?;
        Ok(AuthenticationInfo {
            realm: parameters.text("realm")?,
            target_name: parameters.text("targetname")?,
            opaque: parameters.get("opaque").map(str::to_owned),
            gssapi_data: parameters.data("gssapi-data")?,
            version: parameters.get("version").and_then(Version::from_number),
            signature: parameters.signature("srand", "snum", "rspauth")?,
            scheme: parameters.scheme,
        })
    }
}

impl fmt::Display for AuthenticationInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Signature { rand, num, mac } = &self.signature;
        write!(f, "{} qop=\"auth\"", self.scheme)?;
        if let Some(opaque) = &self.opaque {
            write!(f, ", opaque=\"{opaque}\"")?;
        }
        if let Some(data) = &self.gssapi_data {
            write!(f, ", gssapi-data=\"{}\"", STANDARD.encode(data))?;
        }
        write!(f, ", srand=\"{rand}\", snum=\"{num}\", rspauth=\"{}\"", hex::encode(mac))?;
        write!(f, ", targetname=\"{}\", realm=\"{}\"", self.target_name, self.realm)?;
        if let Some(version) = self.version {
            write!(f, ", version={}", version.number())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::option::of;
    use proptest::prelude::*;

    /// A value that can be quoted as it is.
    const VALUE: &str = "[^\"\\\\\r\n]{0,20}";

    fn scheme() -> impl Strategy<Value = Scheme> {
        let known = prop_oneof![Just(Scheme::Ntlm), Just(Scheme::Kerberos), Just(Scheme::TlsDsk)];
        prop_oneof![3 => known, 1 => "[A-Z][A-Za-z0-9-]{0,9}".prop_map(|token| Scheme::from_token(&token))]
    }

    fn version() -> impl Strategy<Value = Version> {
        prop_oneof![Just(Version::V3), Just(Version::V4)]
    }

    fn signature() -> impl Strategy<Value = Signature> {
        ("[0-9a-f]{8}", any::<u32>(), vec(any::<u8>(), 0..32)).prop_map(|(rand, num, mac)| Signature { rand, num, mac })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            (scheme, realm, target_name) in (scheme(), VALUE, VALUE),
            (version, opaque, sts_uri) in (of(version()), of(VALUE), of(VALUE)),
            gssapi_data in of(vec(any::<u8>(), 0..60)),
            (made, signature) in (signature(), of(signature())),
        ) {
            let challenge = Challenge {
                scheme: scheme.clone(), realm: realm.clone(), target_name: target_name.clone(), version,
                opaque: opaque.clone(), gssapi_data: gssapi_data.clone(), sts_uri,
            };
            prop_assert_eq!(Challenge::parse(&challenge.to_string()), Ok(challenge));
            let credentials = Credentials {
                scheme: scheme.clone(), realm: realm.clone(), target_name: target_name.clone(), version,
                opaque: opaque.clone(), gssapi_data: gssapi_data.clone(), signature,
            };
            prop_assert_eq!(Credentials::parse(&credentials.to_string()), Ok(credentials));
            let info = AuthenticationInfo { scheme, realm, target_name, opaque, gssapi_data, version, signature: made };
            prop_assert_eq!(AuthenticationInfo::parse(&info.to_string()), Ok(info));
        }

        #[test]
        fn any_text_is_read_without_harm(
            text in "(NTLM|Kerberos|[ ,=\"\\\\]|realm=|targetname=|version=|gssapi-data=|opaque=|crand=|cnum=|response=|srand=|snum=|rspauth=|[0-9a-fA-F]{2}|\\PC)*"
        ) {
            for read in [
                Challenge::parse(&text).map(|read| read.to_string()),
                Credentials::parse(&text).map(|read| read.to_string()),
                AuthenticationInfo::parse(&text).map(|read| read.to_string()),
            ] {
                // Nothing that was not there: scheme, values, and our own names and marks around them.
                prop_assert!(read.map_or(0, |written| written.len()) <= 2 * text.len() + 200);
            }
        }
    }

    #[test]
    fn headers_survive_print_and_parse() {
        let challenge = "NTLM opaque=\"2BDBAC9D\", gssapi-data=\"AQID\", realm=\"SIP Communications Service\", targetname=\"fe01.contoso.com\", version=4";
        assert_eq!(Challenge::parse(challenge).expect("reads").to_string(), challenge);
        let offer = "TLS-DSK realm=\"SIP Communications Service\", targetname=\"fe01.contoso.com\", version=4, sts-uri=\"https://web.contoso.com:443/CertProv/CertProvisioningService.svc\"";
        assert_eq!(Challenge::parse(offer).expect("reads").to_string(), offer);
        let signed = "Kerberos qop=\"auth\", opaque=\"7D22174B\", realm=\"r\", targetname=\"sip/fe\", crand=\"0a1b2c3d\", cnum=\"2\", response=\"0404\"";
        assert_eq!(Credentials::parse(signed).expect("reads").to_string(), signed);
        let info = "NTLM qop=\"auth\", opaque=\"7D22174B\", srand=\"4F219DA8\", snum=\"1\", rspauth=\"0100\", targetname=\"fe\", realm=\"r\", version=4";
        assert_eq!(AuthenticationInfo::parse(info).expect("reads").to_string(), info);
    }

    #[test]
    fn first_leg_of_ntlm_has_an_empty_token() {
        let text = "NTLM qop=\"auth\", realm=\"r\", targetname=\"fe\", gssapi-data=\"\", version=4";
        let credentials = Credentials::parse(text).expect("reads");
        assert_eq!(credentials.gssapi_data.as_deref(), Some(&[][..]));
        assert_eq!((credentials.version, credentials.opaque, credentials.signature), (Some(Version::V4), None, None));
    }

    #[test]
    fn what_cannot_be_read_says_what_is_wrong() {
        assert_eq!(Challenge::parse("NTLM"), Err(AuthHeaderError::Shape));
        assert_eq!(Challenge::parse("NTLM realm=\"r\""), Err(AuthHeaderError::Missing("targetname")));
        let bad = "NTLM realm=\"r\", targetname=\"t\", gssapi-data=\"*\"";
        assert_eq!(Challenge::parse(bad), Err(AuthHeaderError::Bad("gssapi-data")));
        let half = "NTLM realm=\"r\", targetname=\"t\", response=\"00\"";
        assert_eq!(Credentials::parse(half), Err(AuthHeaderError::Missing("crand")));
    }
}
