//! The messages of the ticket service, read and written: RequestSecurityToken and its response. `[MS-OCAUTHWS]` §2.2, §3.2;
//! WS-Trust 1.3 §3, §4; SOAP 1.1.
//!
//! Readers compare names without namespaces, because peers differ in prefixes and even in a trailing slash of one URI.
//! Writers keep to what the pickiest known reader needs, which searches texts instead of reading XML: order of elements,
//! prefixes and the absence of others are deliberate.

use super::proof_key::ProofKey;
use crate::date_time::{read_time, write_time};
use crate::xml::{Element, Limits, XmlError, escape};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::{self, Write};
use zeroize::Zeroizing;

/// `SOAPAction` of a RequestSecurityToken.
pub const ISSUE_ACTION: &str = "http://docs.oasis-open.org/ws-sx/ws-trust/200512/RST/Issue";
/// `TokenType` of a SAML 1.1 assertion.
pub const SAML_TOKEN: &str = "http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1#SAMLV1.1";
/// `KeyType` of a ticket with a proof key.
pub const SYMMETRIC_KEY: &str = "http://docs.oasis-open.org/ws-sx/ws-trust/200512/SymmetricKey";
/// `ComputedKey`: the proof key is derived with P_SHA1.
pub const PSHA1: &str = "http://docs.oasis-open.org/ws-sx/ws-trust/200512/CK/PSHA1";
/// `Content-Type` of everything here.
pub const CONTENT_TYPE: &str = "text/xml; charset=utf-8";
/// Kind of claim: a SIP URI.
pub const SIP_URI_CLAIM: &str = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/uri";

pub(crate) const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
pub(crate) const TRUST: &str = "http://docs.oasis-open.org/ws-sx/ws-trust/200512";
const CLAIM_DIALECT: &str = "urn:component:Microsoft.Rtc.WebAuthentication.2010:authclaims";
pub(crate) const WSU: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd";
pub(crate) const WSSE: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";

/// Largest SOAP message accepted, in bytes.
const MAX_BYTES: usize = 256 * 1024;
/// Largest request a server looks at, in bytes; those with a certificate and a ticket have some 10 KiB.
const MAX_REQUEST_BYTES: usize = 64 * 1024;
/// Most elements in one. Each may be canonicalised several times.
const MAX_REQUEST_ELEMENTS: usize = 1_000;
/// Longest entropy or key, in bytes.
const MAX_SECRET: usize = 64;

/// Why bytes are not the message expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// No XML we read.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// An element that has to be there is not.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// An element whose content cannot be used.
    #[error("its {0} cannot be used")]
    Unusable(&'static str),
}

/// Reads a SOAP message as far as it is XML.
pub(crate) fn parse(bytes: &[u8]) -> Result<Element, MessageError> {
    Ok(Element::parse_within(bytes, Limits { bytes: MAX_BYTES, ..Limits::default() })?)
}

/// Reads a SOAP message that a server was sent, by whoever it was: it is looked at before its sender is known.
pub(crate) fn parse_request(bytes: &[u8]) -> Result<Element, MessageError> {
    let limits = Limits { bytes: MAX_REQUEST_BYTES, elements: MAX_REQUEST_ELEMENTS, ..Limits::default() };
    Ok(Element::parse_within(bytes, limits)?)
}

fn secret(element: &Element, name: &'static str) -> Result<Zeroizing<Vec<u8>>, MessageError> {
    let text: String = element.text.split_ascii_whitespace().collect();
    let bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| MessageError::Unusable(name))?);
    if bytes.is_empty() || bytes.len() > MAX_SECRET { Err(MessageError::Unusable(name)) } else { Ok(bytes) }
}

/// A RequestSecurityToken.
#[derive(Clone)]
pub struct TokenRequest {
    /// Echoed in the response.
    pub context: Option<String>,
    /// `TokenType`; absent means the service's own kind.
    pub token_type: Option<String>,
    /// URL of the service the ticket is for.
    pub applies_to: String,
    /// SIP URI claimed, as written.
    pub claim: String,
    /// The client's part of the proof key, 1 to 64 bytes.
    pub entropy: Option<Zeroizing<Vec<u8>>>,
    /// `KeyType`.
    pub key_type: Option<String>,
}

impl fmt::Debug for TokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenRequest({} for {})", self.claim, self.applies_to)
    }
}

impl TokenRequest {
    /// Writes the SOAP message. With HTTP authentication the envelope has no header.
    pub fn write(&self) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><s:Envelope xmlns:s=\"{SOAP}\"><s:Body>{}</s:Body></s:Envelope>",
            self.content()
        )
    }

    /// What stands in the body.
    pub(super) fn content(&self) -> String {
        let mut xml = format!("<RequestSecurityToken xmlns=\"{TRUST}\"");
        if let Some(context) = &self.context {
            let _ = write!(xml, " Context=\"{}\"", escape(context));
        }
        xml.push('>');
        if let Some(token_type) = &self.token_type {
            let _ = write!(xml, "<TokenType>{}</TokenType>", escape(token_type));
        }
        let _ = write!(
            xml,
            "<RequestType>http://schemas.xmlsoap.org/ws/2005/02/trust/Issue</RequestType>\
             <AppliesTo xmlns=\"http://schemas.xmlsoap.org/ws/2004/09/policy\">\
             <EndpointReference xmlns=\"http://www.w3.org/2005/08/addressing\"><Address>{}</Address>\
             </EndpointReference></AppliesTo><Claims Dialect=\"{CLAIM_DIALECT}\">\
             <ClaimType xmlns=\"http://schemas.xmlsoap.org/ws/2006/12/authorization\" Uri=\"{SIP_URI_CLAIM}\" \
             Optional=\"false\"><Value>{}</Value></ClaimType></Claims>",
            escape(&self.applies_to),
            escape(&self.claim)
        );
        if let Some(entropy) = &self.entropy {
            let _ = write!(xml, "<Entropy><BinarySecret>{}</BinarySecret></Entropy>", STANDARD.encode(entropy));
        }
        if let Some(key_type) = &self.key_type {
            let _ = write!(xml, "<KeyType>{}</KeyType>", escape(key_type));
        }
        xml.push_str("</RequestSecurityToken>");
        xml
    }

    /// Reads the SOAP message.
    pub fn read(bytes: &[u8]) -> Result<TokenRequest, MessageError> {
        TokenRequest::of(&parse_request(bytes)?)
    }

    /// Takes it out of a message that was read.
    pub(super) fn of(envelope: &Element) -> Result<TokenRequest, MessageError> {
        let request = envelope
            .path(&["Body", "RequestSecurityToken"])
            .ok_or(MessageError::Missing("Body/RequestSecurityToken"))?;
        let text = |path: &[&str]| request.path(path).map(|e| e.trimmed().to_owned()).filter(|text| !text.is_empty());
        let claim = request
            .child("Claims")
            .into_iter()
            .flat_map(|claims| claims.all("ClaimType"))
            .find(|claim| claim.attribute("Uri").is_some_and(|uri| uri.trim() == SIP_URI_CLAIM))
            .and_then(|claim| claim.child("Value"))
            .map(|value| value.trimmed().to_owned());
        let entropy = match request.path(&["Entropy", "BinarySecret"]) {
            Some(element) => Some(secret(element, "Entropy/BinarySecret")?),
            None => None,
        };
        Ok(TokenRequest {
            context: request.attribute("Context").map(str::to_owned),
            token_type: text(&["TokenType"]),
            applies_to: text(&["AppliesTo", "EndpointReference", "Address"])
                .ok_or(MessageError::Missing("AppliesTo"))?,
            claim: claim.ok_or(MessageError::Missing("claim of a SIP URI"))?,
            entropy,
            key_type: text(&["KeyType"]),
        })
    }
}

/// The response: a ticket and what is needed to use it.
#[derive(Clone)]
pub struct TokenResponse {
    /// As in the request.
    pub context: Option<String>,
    /// The assertion, byte for byte as sent. It is a secret: whoever has it, may show it.
    pub assertion: Zeroizing<String>,
    /// From when to when it is valid.
    pub lifetime: Lifetime,
    /// How to get the proof key.
    pub proof: Proof,
}

/// From when to when, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// First second.
    pub created: i64,
    /// First second it is no longer valid.
    pub expires: i64,
}

/// How the client gets the proof key.
#[derive(Clone)]
pub enum Proof {
    /// Derived with P_SHA1 from both ends' entropy; this is the server's.
    Computed(Zeroizing<Vec<u8>>),
    /// Sent whole.
    Key(ProofKey),
    /// The ticket has none.
    None,
}

impl fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenResponse({:?}, {:?})", self.lifetime, self.proof)
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Proof::Computed(_) => "Computed(…)",
            Proof::Key(_) => "Key(…)",
            Proof::None => "None",
        })
    }
}

impl TokenResponse {
    /// Writes the SOAP message. The prefix `wsu` is declared outside `Lifetime`, because clients copy its content into a
    /// signed element without looking; the assertion comes before everything that could be mistaken for it.
    pub fn write(&self) -> String {
        let mut xml = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><s:Envelope \
             xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:wsu=\"{WSU}\"><s:Body>\
             <RequestSecurityTokenResponseCollection xmlns=\"{TRUST}\"><RequestSecurityTokenResponse"
        );
        if let Some(context) = &self.context {
            let _ = write!(xml, " Context=\"{}\"", escape(context));
        }
        let _ = write!(
            xml,
            "><TokenType>{SAML_TOKEN}</TokenType><RequestedSecurityToken>{}</RequestedSecurityToken>\
             <Lifetime><wsu:Created>{}</wsu:Created><wsu:Expires>{}</wsu:Expires></Lifetime>",
            self.assertion.as_str(),
            write_time(self.lifetime.created),
            write_time(self.lifetime.expires)
        );
        match &self.proof {
            Proof::Computed(entropy) => {
                let _ = write!(
                    xml,
                    "<RequestedProofToken><ComputedKey>{PSHA1}</ComputedKey></RequestedProofToken>\
                     <Entropy><BinarySecret>{}</BinarySecret></Entropy>",
                    STANDARD.encode(entropy)
                );
            }
            Proof::Key(key) => {
                let _ = write!(
                    xml,
                    "<RequestedProofToken><BinarySecret>{}</BinarySecret></RequestedProofToken>",
                    STANDARD.encode(key.reveal())
                );
            }
            Proof::None => {}
        }
        xml.push_str("</RequestSecurityTokenResponse></RequestSecurityTokenResponseCollection></s:Body></s:Envelope>");
        xml
    }

    /// Reads the SOAP message; the assertion is cut out as it stands.
    pub fn read(bytes: &[u8]) -> Result<TokenResponse, MessageError> {
        let envelope = parse(bytes)?;
        let body = envelope.child("Body").ok_or(MessageError::Missing("Body"))?;
        let response = body
            .path(&["RequestSecurityTokenResponseCollection", "RequestSecurityTokenResponse"])
            .or_else(|| body.child("RequestSecurityTokenResponse"))
            .ok_or(MessageError::Missing("RequestSecurityTokenResponse"))?;
        let assertion = response
            .path(&["RequestedSecurityToken", "Assertion"])
            .ok_or(MessageError::Missing("RequestedSecurityToken/Assertion"))?;
        let cut = bytes.get(assertion.span.0..assertion.span.1).and_then(|cut| std::str::from_utf8(cut).ok());
        let lifetime = response.child("Lifetime").ok_or(MessageError::Missing("Lifetime"))?;
        let moment = |name: &'static str| {
            let element = lifetime.child(name).ok_or(MessageError::Missing("Lifetime/Created or Expires"))?;
            read_time(element.trimmed()).ok_or(MessageError::Unusable("Lifetime"))
        };
        Ok(TokenResponse {
            context: response.attribute("Context").map(str::to_owned),
            assertion: Zeroizing::new(cut.ok_or(MessageError::Unusable("Assertion"))?.to_owned()),
            lifetime: Lifetime { created: moment("Created")?, expires: moment("Expires")? },
            proof: read_proof(response)?,
        })
    }
}

fn read_proof(response: &Element) -> Result<Proof, MessageError> {
    let Some(token) = response.child("RequestedProofToken") else { return Ok(Proof::None) };
    if let Some(key) = token.child("BinarySecret") {
        return Ok(Proof::Key(ProofKey::from_bytes(secret(key, "RequestedProofToken/BinarySecret")?)));
    }
    match token.child("ComputedKey") {
        Some(algorithm) if algorithm.trimmed() == PSHA1 => {
            let entropy = response.path(&["Entropy", "BinarySecret"]).ok_or(MessageError::Missing("Entropy"))?;
            Ok(Proof::Computed(secret(entropy, "Entropy/BinarySecret")?))
        }
        _ => Err(MessageError::Unusable("RequestedProofToken")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn strangers_are_read_within_small_limits() {
        let written = request().write();
        assert!(TokenRequest::read(written.as_bytes()).is_ok());
        let many = written.replace("</s:Body>", &format!("{}</s:Body>", "<x/>".repeat(1_000)));
        assert!(matches!(TokenRequest::read(many.as_bytes()), Err(MessageError::Xml(XmlError::TooMany(1_000)))));
        let long = written.replace("</s:Body>", &format!("{}</s:Body>", " ".repeat(64 * 1024)));
        assert!(matches!(TokenRequest::read(long.as_bytes()), Err(MessageError::Xml(XmlError::TooLarge(_)))));
    }

    fn request() -> TokenRequest {
        TokenRequest {
            context: Some("a <b> & \"c\"".to_owned()),
            token_type: Some(SAML_TOKEN.to_owned()),
            applies_to: "https://pool1.contoso.test/x?a=1&b=2".to_owned(),
            claim: "sip:alice@contoso.test".to_owned(),
            entropy: Some(Zeroizing::new((0..32).collect())),
            key_type: Some(SYMMETRIC_KEY.to_owned()),
        }
    }

    #[test]
    fn a_request_survives_writing_and_reading() {
        let (sent, read) = (request(), TokenRequest::read(request().write().as_bytes()).expect("a request"));
        assert_eq!(read.context, sent.context);
        assert_eq!(read.token_type, sent.token_type);
        assert_eq!((read.applies_to, read.claim), (sent.applies_to, sent.claim));
        assert_eq!(read.entropy, sent.entropy);
        assert_eq!(read.key_type, sent.key_type);
    }

    #[test]
    fn a_request_lacks_what_it_must_have() {
        let xml = request().write();
        let table = [
            (xml.replace("AppliesTo", "Other"), MessageError::Missing("AppliesTo")),
            (xml.replace("claims/uri", "claims/name"), MessageError::Missing("claim of a SIP URI")),
            (xml.replace("RequestSecurityToken", "Other"), MessageError::Missing("Body/RequestSecurityToken")),
            (xml.replace("<BinarySecret>", "<BinarySecret>*"), MessageError::Unusable("Entropy/BinarySecret")),
        ];
        for (xml, error) in table {
            assert_eq!(TokenRequest::read(xml.as_bytes()).err(), Some(error));
        }
    }

    fn response(proof: Proof) -> TokenResponse {
        TokenResponse {
            context: None,
            assertion: Zeroizing::new(
                "<saml:Assertion xmlns:saml=\"u\" AssertionID=\"1\"> <a/></saml:Assertion>".to_owned(),
            ),
            lifetime: Lifetime { created: 1_704_164_645, expires: 1_704_193_445 },
            proof,
        }
    }

    #[test]
    fn a_response_gives_the_assertion_as_it_stands() {
        let sent = response(Proof::Computed(Zeroizing::new(vec![5; 32])));
        let read = TokenResponse::read(sent.write().as_bytes()).expect("a response");
        assert_eq!(read.assertion, sent.assertion);
        assert_eq!(read.lifetime, sent.lifetime);
        assert!(matches!(&read.proof, Proof::Computed(entropy) if entropy[..] == [5; 32]));
        let read = TokenResponse::read(response(Proof::None).write().as_bytes()).expect("a response");
        assert!(matches!(read.proof, Proof::None));
        let key = ProofKey::from_bytes(Zeroizing::new(vec![6; 20]));
        let read = TokenResponse::read(response(Proof::Key(key)).write().as_bytes()).expect("a response");
        assert!(matches!(&read.proof, Proof::Key(key) if key.reveal() == [6; 20]));
    }

    #[test]
    fn a_response_may_look_different_and_mean_the_same() {
        let xml = "\u{feff}<?xml version=\"1.0\"?> <S:Envelope xmlns:S=\"x\"><S:Header/><S:Body>\
            <t:RequestSecurityTokenResponse xmlns:t=\"y\"><t:Lifetime>\n<u:Created>2024-01-02T03:04:05.678Z</u:Created>\
            <u:Expires> 2024-01-02T13:04:05+02:00 </u:Expires></t:Lifetime><t:RequestedSecurityToken>\
            <Assertion A=\"\u{e4}\"/></t:RequestedSecurityToken></t:RequestSecurityTokenResponse></S:Body></S:Envelope>";
        let read = TokenResponse::read(xml.as_bytes()).expect("a response");
        assert_eq!(read.assertion.as_str(), "<Assertion A=\"\u{e4}\"/>");
        assert_eq!((read.lifetime.created, read.lifetime.expires), (1_704_164_645, 1_704_193_445));
    }

    #[test]
    fn a_response_that_cannot_be_used() {
        let xml = response(Proof::Computed(Zeroizing::new(vec![5; 32]))).write();
        for (from, to) in [
            ("saml:Assertion", "saml:Other"),
            ("Lifetime", "Lifespan"),
            ("2024-01-02T03:04:05Z", "yesterday"),
            ("CK/PSHA1", "CK/HASH"),
            ("<Entropy>", "<Other>"),
            ("BQUF", "****"),
            ("s:Body", "s:Trunk"),
        ] {
            let broken = xml
                .replace(from, to)
                .replace("</Entropy>", if from == "<Entropy>" { "</Other>" } else { "</Entropy>" });
            assert!(TokenResponse::read(broken.as_bytes()).is_err(), "{from}");
        }
    }

    #[test]
    fn secrets_print_nothing() {
        let entropy = Zeroizing::new(vec![201; 32]);
        let sent = response(Proof::Computed(entropy.clone()));
        let printed = format!("{sent:?} {:?} {:?}", sent.proof, TokenRequest { entropy: Some(entropy), ..request() });
        assert!(!printed.contains("201") && !printed.contains("Assertion"), "{printed}");
    }

    proptest! {
        #[test]
        fn no_bytes_hurt(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = TokenResponse::read(&bytes);
            let _ = TokenRequest::read(&bytes);
        }
    }
}
