//! The messages of the Certificate Provisioning Service, read and written: metadata, GetAndPublishCert, its response.
//! `[MS-OCAUTHWS]` §3.1; WS-Trust 1.3, whose namespace is here spelt with a slash at its end, and elsewhere without.
//!
//! Readers compare names without namespaces, so both spellings are one. Writers keep to what the pickiest known reader
//! needs: it takes the first child of each name on its way and never looks back.

use crate::date_time::read_time;
use crate::web_ticket::message::{MessageError, WSSE, parse};
use crate::web_ticket::security::ProofHash;
use crate::xml::{Element, escape};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write;
use std::time::Duration;
use uuid::Uuid;

/// `SOAPAction` of GetAndPublishCert.
pub const PUBLISH_ACTION: &str = "http://schemas.microsoft.com/OCS/AuthWebServices/GetAndPublishCert";
/// Name of the port that takes a web ticket with proof of possession by HMAC-SHA1: the one that open clients know.
pub const PROOF_PORT: &str = "CertProvisioningServiceWebTicketProof_SHA1";
/// Name of the port that takes one by HMAC-SHA256.
pub const PROOF_PORT_SHA256: &str = "CertProvisioningServiceWebTicketProof";

const OCS: &str = "http://schemas.microsoft.com/OCS/AuthWebServices/";
const TRUST: &str = "http://docs.oasis-open.org/ws-sx/ws-trust/200512/";
const ENROLLMENT: &str = "http://schemas.microsoft.com/windows/pki/2009/01/enrollment";
const X509_TOKEN: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3";
const PKCS10: &str = "http://schemas.microsoft.com/OCS/AuthWebServices.xsd#PKCS10";

/// Longest PKCS#10 or certificate, in bytes.
const MAX_DER: usize = 16 * 1024;
/// Longest RequestID, in bytes. It is a GUID, and is sent back.
const MAX_REQUEST_ID: usize = 256;

/// Metadata of the service, as far as needed: the port for tickets with proof, and who issues them. WSDL 1.1 with
/// WS-Policy, served bare over HTTP GET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceMetadata {
    /// URL of the ticket service.
    pub issuer: String,
    /// URL of the port.
    pub location: String,
    /// With which hash possession is proven there: [`PROOF_PORT`] or [`PROOF_PORT_SHA256`].
    pub hash: ProofHash,
}

fn port_name(hash: ProofHash) -> &'static str {
    match hash {
        ProofHash::Sha1 => PROOF_PORT,
        ProofHash::Sha256 => PROOF_PORT_SHA256,
    }
}

impl ServiceMetadata {
    /// Reads `wsdl:definitions`; `None` when the service has no such port, and so does not give out certificates. Of two
    /// ports it is the one for SHA-1, which is the better known.
    pub fn read(bytes: &[u8]) -> Result<Option<ServiceMetadata>, MessageError> {
        let definitions = parse(bytes)?;
        let service = definitions.child("service").ok_or(MessageError::Missing("service"))?;
        let named = |hash: ProofHash| {
            let port = service.all("port").find(|port| port.attribute("name") == Some(port_name(hash)));
            port.map(|port| (port, hash))
        };
        let Some((port, hash)) = named(ProofHash::Sha1).or_else(|| named(ProofHash::Sha256)) else {
            return Ok(None);
        };
        let location = port.child("address").and_then(|address| address.attribute("location"));
        let id = format!("{}_policy", port_name(hash));
        let is_its = |policy: &&Element| policy.attribute("Id").is_some_and(|found| found.eq_ignore_ascii_case(&id));
        let policy = definitions.all("Policy").find(is_its).ok_or(MessageError::Missing("Policy of the port"))?;
        let issuer = ["EndorsingSupportingTokens", "SignedSupportingTokens"].into_iter().find_map(|tokens| {
            policy.path(&["ExactlyOne", "All", tokens, "Policy", "IssuedToken", "Issuer", "Address"])
        });
        Ok(Some(ServiceMetadata {
            issuer: issuer.ok_or(MessageError::Missing("Issuer in the policy"))?.trimmed().to_owned(),
            location: location.ok_or(MessageError::Missing("address of the port"))?.trim().to_owned(),
            hash,
        }))
    }

    /// Writes `wsdl:definitions`. The text of `Address` has no white space around it, since readers do not remove it.
    pub fn write(&self) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><wsdl:definitions name=\"CertProvisioningService\" \
             targetNamespace=\"http://tempuri.org/\" xmlns:wsdl=\"http://schemas.xmlsoap.org/wsdl/\" \
             xmlns:soap=\"http://schemas.xmlsoap.org/wsdl/soap/\" xmlns:tns=\"http://tempuri.org/\" \
             xmlns:wsp=\"http://schemas.xmlsoap.org/ws/2004/09/policy\" \
             xmlns:wsa10=\"http://www.w3.org/2005/08/addressing\" \
             xmlns:sp=\"http://schemas.xmlsoap.org/ws/2005/07/securitypolicy\" \
             xmlns:wsu=\"http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd\">\
             <wsp:Policy wsu:Id=\"{port}_policy\"><wsp:ExactlyOne><wsp:All><sp:EndorsingSupportingTokens>\
             <wsp:Policy><sp:IssuedToken \
             sp:IncludeToken=\"http://schemas.xmlsoap.org/ws/2005/07/securitypolicy/IncludeToken/AlwaysToRecipient\">\
             <sp:Issuer><wsa10:Address>{issuer}</wsa10:Address></sp:Issuer><sp:RequestSecurityTokenTemplate/>\
             <wsp:Policy><sp:RequireInternalReference/></wsp:Policy></sp:IssuedToken></wsp:Policy>\
             </sp:EndorsingSupportingTokens></wsp:All></wsp:ExactlyOne></wsp:Policy>\
             <wsdl:service name=\"CertProvisioningService\"><wsdl:port name=\"{port}\" \
             binding=\"tns:{port}\"><soap:address location=\"{location}\"/></wsdl:port></wsdl:service>\
             </wsdl:definitions>",
            issuer = escape(&self.issuer),
            location = escape(&self.location),
            port = port_name(self.hash),
        )
    }
}

/// GetAndPublishCert: certify this key for this user and device, and let it authenticate from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishRequest {
    /// `DeviceId` as written: a GUID, usually in braces.
    pub device: String,
    /// `Entity` as written: `user@domain`, with or without `sip:`.
    pub entity: String,
    /// The certification request, DER. It is not looked into here.
    pub request: Vec<u8>,
    /// `RequestID`, sent back.
    pub request_id: Option<String>,
    /// How long the certificate shall be valid.
    pub lifetime: Option<Duration>,
}

impl PublishRequest {
    /// Reads the body of a SOAP message.
    pub fn read(envelope: &Element) -> Result<PublishRequest, MessageError> {
        let publish = envelope.path(&["Body", "GetAndPublishCert"]);
        let publish = publish.ok_or(MessageError::Missing("Body/GetAndPublishCert"))?;
        let attribute = |name: &'static str| {
            let value = publish.attribute(name).map(str::trim).filter(|value| !value.is_empty());
            value.map(str::to_owned).ok_or(MessageError::Missing(name))
        };
        let token = publish.child("RequestSecurityToken").ok_or(MessageError::Missing("RequestSecurityToken"))?;
        let request = token.child("BinarySecurityToken").ok_or(MessageError::Missing("BinarySecurityToken"))?;
        if request.attribute("ValueType").is_some_and(|kind| kind != PKCS10) {
            return Err(MessageError::Unusable("BinarySecurityToken/@ValueType"));
        }
        let request_id = token.child("RequestID").map(|id| id.trimmed().to_owned()).filter(|id| !id.is_empty());
        if request_id.as_ref().is_some_and(|id| id.len() > MAX_REQUEST_ID) {
            return Err(MessageError::Unusable("RequestID"));
        }
        Ok(PublishRequest {
            device: attribute("DeviceId")?,
            entity: attribute("Entity")?,
            request: der(request)?,
            request_id,
            lifetime: token.child("Lifetime").map(wish).transpose()?,
        })
    }

    /// The device, when its id is one.
    pub fn device_id(&self) -> Result<Uuid, MessageError> {
        self.device.parse().map_err(|_| MessageError::Unusable("DeviceId"))
    }

    /// Writes the SOAP message; `security` is its header `wsse:Security`, as text.
    pub fn write(&self, security: &str) -> String {
        let mut xml = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><s:Envelope \
             xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Header>{security}</s:Header><s:Body>\
             <GetAndPublishCert xmlns=\"{OCS}\" DeviceId=\"{device}\" Entity=\"{entity}\"><RequestSecurityToken \
             xmlns=\"{TRUST}\"><TokenType>{X509_TOKEN}</TokenType>\
             <RequestType>http://docs.oasis-open.org/ws-sx/ws-trust/200512/Issue</RequestType>\
             <wsse:BinarySecurityToken xmlns:wsse=\"{WSSE}\" ValueType=\"{PKCS10}\" EncodingType=\"{WSSE}#Base64Binary\">\
             {request}</wsse:BinarySecurityToken>",
            device = escape(&self.device),
            entity = escape(&self.entity),
            request = STANDARD.encode(&self.request),
        );
        if let Some(id) = &self.request_id {
            let _ = write!(xml, "<RequestID xmlns=\"{ENROLLMENT}\">{}</RequestID>", escape(id));
        }
        xml.push_str("</RequestSecurityToken></GetAndPublishCert></s:Body></s:Envelope>");
        xml
    }
}

/// The time between Created and Expires; their zone does not matter.
fn wish(lifetime: &Element) -> Result<Duration, MessageError> {
    let moment = |name| lifetime.child(name).and_then(|element| read_time(element.trimmed()));
    let seconds = match (moment("Created"), moment("Expires")) {
        (Some(created), Some(expires)) => expires.checked_sub(created),
        _ => None,
    };
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    seconds.map(Duration::from_secs).ok_or(MessageError::Unusable("Lifetime"))
}

/// Base64 content, whatever its lines.
fn der(element: &Element) -> Result<Vec<u8>, MessageError> {
    let unusable = MessageError::Unusable("BinarySecurityToken");
    let text: String = element.text.split_ascii_whitespace().collect();
    match STANDARD.decode(text) {
        Ok(bytes) if !bytes.is_empty() && bytes.len() <= MAX_DER => Ok(bytes),
        _ => Err(unusable),
    }
}

/// The response to GetAndPublishCert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishResponse {
    /// Done.
    Published {
        /// `DeviceId` of the request, as written there.
        device: String,
        /// `Entity` of the request, as written there.
        entity: String,
        /// The certificate, DER.
        certificate: Vec<u8>,
        /// `RequestID` of the request.
        request_id: Option<String>,
    },
    /// `ResponseClass="Error"`: not done, with what the service says about it.
    Rejected(String),
}

impl PublishResponse {
    /// Reads the SOAP message.
    pub fn read(bytes: &[u8]) -> Result<PublishResponse, MessageError> {
        let envelope = parse(bytes)?;
        let response = envelope.path(&["Body", "GetAndPublishCertResponse"]);
        let response = response.ok_or(MessageError::Missing("Body/GetAndPublishCertResponse"))?;
        if response.attribute("ResponseClass").is_some_and(|class| class.eq_ignore_ascii_case("Error")) {
            return Ok(PublishResponse::Rejected(words(response)));
        }
        let token = response
            .child("RequestSecurityTokenResponse")
            .ok_or(MessageError::Missing("RequestSecurityTokenResponse"))?;
        let certificate = token
            .path(&["RequestedSecurityToken", "BinarySecurityToken"])
            .ok_or(MessageError::Missing("RequestedSecurityToken/BinarySecurityToken"))?;
        let text = |name| response.attribute(name).unwrap_or_default().to_owned();
        Ok(PublishResponse::Published {
            device: text("DeviceId"),
            entity: text("Entity"),
            certificate: der(certificate)?,
            request_id: token.child("RequestID").map(|id| id.trimmed().to_owned()),
        })
    }

    /// Writes the SOAP message.
    pub fn write(&self) -> String {
        let mut xml = String::from(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><s:Envelope \
             xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>",
        );
        match self {
            PublishResponse::Published { device, entity, certificate, request_id } => {
                let _ = write!(
                    xml,
                    "<GetAndPublishCertResponse xmlns=\"{OCS}\" DeviceId=\"{}\" Entity=\"{}\" \
                     ResponseClass=\"Success\"><RequestSecurityTokenResponse xmlns=\"{TRUST}\">\
                     <TokenType>{X509_TOKEN}</TokenType><RequestedSecurityToken><wsse:BinarySecurityToken \
                     xmlns:wsse=\"{WSSE}\" ValueType=\"{X509_TOKEN}\" EncodingType=\"{WSSE}#Base64Binary\">{}\
                     </wsse:BinarySecurityToken></RequestedSecurityToken>",
                    escape(device),
                    escape(entity),
                    STANDARD.encode(certificate)
                );
                if let Some(id) = request_id {
                    let _ = write!(xml, "<RequestID xmlns=\"{ENROLLMENT}\">{}</RequestID>", escape(id));
                }
                xml.push_str("</RequestSecurityTokenResponse>");
            }
            PublishResponse::Rejected(why) => {
                let _ = write!(
                    xml,
                    "<GetAndPublishCertResponse xmlns=\"{OCS}\" ResponseClass=\"Error\"><ErrorInfo>{}</ErrorInfo>",
                    escape(why)
                );
            }
        }
        xml.push_str("</GetAndPublishCertResponse></s:Body></s:Envelope>");
        xml
    }
}

/// Every text below an element: how the product spells its error information is not published.
fn words(element: &Element) -> String {
    let mut words = Vec::new();
    let mut rest = vec![element];
    while let Some(next) = rest.pop() {
        words.extend(next.text.split_whitespace());
        rest.extend(next.children.iter().rev());
    }
    words.join(" ").chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request() -> PublishRequest {
        PublishRequest {
            device: "{5f8a1c04-2f3b-5b6e-9a39-0d7a2f6c1e11}".to_owned(),
            entity: "alice@contoso.test".to_owned(),
            request: (0..=255).collect(),
            request_id: Some("a <b> & \"c\"".to_owned()),
            lifetime: None,
        }
    }

    fn read(xml: &str) -> Result<PublishRequest, MessageError> {
        PublishRequest::read(&parse(xml.as_bytes())?)
    }

    #[test]
    fn metadata_says_where_and_by_whom() {
        let sent = ServiceMetadata {
            issuer: "https://a/?b=1&c=2".to_owned(),
            location: "https://d/".to_owned(),
            hash: ProofHash::Sha1,
        };
        assert_eq!(ServiceMetadata::read(sent.write().as_bytes()), Ok(Some(sent.clone())));
        assert!(sent.write().contains("<wsa10:Address>https://a/?b=1&amp;c=2</wsa10:Address>"));
        let signed = sent.write().replace("EndorsingSupportingTokens", "SignedSupportingTokens");
        assert_eq!(ServiceMetadata::read(signed.as_bytes()), Ok(Some(sent.clone())));
        let case = sent.write().replace("_SHA1_policy", "_sha1_POLICY");
        assert_eq!(ServiceMetadata::read(case.as_bytes()), Ok(Some(sent.clone())));
        let without = sent.write().replace(&format!("port name=\"{PROOF_PORT}"), "port name=\"Other");
        assert_eq!(ServiceMetadata::read(without.as_bytes()), Ok(None));
        for (from, to, lacking) in [
            ("wsdl:service", "wsdl:other", "service"),
            ("_policy\"", "_other\"", "Policy of the port"),
            ("sp:Issuer>", "sp:Other>", "Issuer in the policy"),
            (" location=", " other=", "address of the port"),
        ] {
            let broken = sent.write().replace(from, to);
            assert_eq!(ServiceMetadata::read(broken.as_bytes()), Err(MessageError::Missing(lacking)), "{from}");
        }
    }

    /// The first of each name on the way, as readers take it that do not look back.
    #[test]
    fn metadata_leads_there_by_first_children() {
        let metadata = ServiceMetadata {
            issuer: "https://i/".to_owned(),
            location: "https://l/".to_owned(),
            hash: ProofHash::Sha256,
        };
        let root = parse(metadata.write().as_bytes()).expect("XML");
        let issuer = root.path(&[
            "Policy",
            "ExactlyOne",
            "All",
            "EndorsingSupportingTokens",
            "Policy",
            "IssuedToken",
            "Issuer",
            "Address",
        ]);
        assert_eq!(issuer.map(|address| address.text.as_str()), Some("https://i/"));
        let address = root.path(&["service", "port", "address"]).and_then(|address| address.attribute("location"));
        assert_eq!(address, Some("https://l/"));
    }

    #[test]
    fn a_request_survives_writing_and_reading() {
        let sent = request();
        assert_eq!(read(&sent.write("")), Ok(sent.clone()));
        assert_eq!(sent.device_id().map(|device| device.to_string()), Ok(sent.device[1..37].to_owned()));
        let bare = PublishRequest { request_id: None, device: "no GUID".to_owned(), ..sent };
        assert_eq!(read(&bare.write("<x/>")), Ok(bare.clone()));
        assert_eq!(bare.device_id(), Err(MessageError::Unusable("DeviceId")));
    }

    /// With the shorter namespace, prefixes, blanks, and base64 in lines.
    #[test]
    fn a_request_may_look_different_and_mean_the_same() {
        let base64: String = STANDARD
            .encode((0..=255).collect::<Vec<u8>>())
            .as_bytes()
            .chunks(76)
            .map(|line| format!("\r\n{}", String::from_utf8_lossy(line)))
            .collect();
        let xml = format!(
            "<?xml version=\"1.0\"?>\r\n<soap:Envelope xmlns:soap=\"x\" xmlns:w=\"{WSSE}\" xmlns:e=\"{ENROLLMENT}\"> \
             <soap:Header/> <soap:Body> <o:GetAndPublishCert xmlns:o=\"{OCS}\" DeviceId=\"{{ID}}\" \
             Entity=\" sip:Alice@Contoso.test \"> <RequestSecurityToken \
             xmlns=\"http://docs.oasis-open.org/ws-sx/ws-trust/200512\"> <w:BinarySecurityToken \
             ValueType=\"{PKCS10}\">{base64}\r\n</w:BinarySecurityToken> <e:RequestID> 7 </e:RequestID> <Lifetime> \
             <c:Created xmlns:c=\"y\">2024-01-02T03:04:05Z</c:Created> \
             <c:Expires xmlns:c=\"y\">2024-01-02T05:04:05.5Z</c:Expires></Lifetime></RequestSecurityToken> \
             </o:GetAndPublishCert> </soap:Body></soap:Envelope>"
        );
        let expected = PublishRequest {
            device: "{ID}".to_owned(),
            entity: "sip:Alice@Contoso.test".to_owned(),
            request: (0..=255).collect(),
            request_id: Some("7".to_owned()),
            lifetime: Some(Duration::from_secs(7200)),
        };
        assert_eq!(read(&xml), Ok(expected));
        let unusable = xml.replace("2024-01-02T05", "2024-01-01T05");
        assert_eq!(read(&unusable), Err(MessageError::Unusable("Lifetime")), "it ends before it begins");
    }

    #[test]
    fn a_request_lacks_what_it_must_have() {
        use MessageError::{Missing, Unusable};
        let xml = request().write("");
        let long = STANDARD.encode(vec![0; MAX_DER + 1]);
        let token = STANDARD.encode((0..=255).collect::<Vec<u8>>());
        let table = [
            (xml.replace("GetAndPublishCert", "Other"), Missing("Body/GetAndPublishCert")),
            (xml.replace("DeviceId=\"{5f8a1c04-2f3b-5b6e-9a39-0d7a2f6c1e11}\"", "DeviceId=\" \""), Missing("DeviceId")),
            (xml.replace("Entity", "Other"), Missing("Entity")),
            (xml.replace("RequestSecurityToken", "Other"), Missing("RequestSecurityToken")),
            (xml.replace("BinarySecurityToken", "Other"), Missing("BinarySecurityToken")),
            (xml.replace("#PKCS10", "#PKCS7"), Unusable("BinarySecurityToken/@ValueType")),
            (xml.replace(&token, ""), Unusable("BinarySecurityToken")),
            (xml.replace(&token, "*"), Unusable("BinarySecurityToken")),
            (xml.replace(&token, &long), Unusable("BinarySecurityToken")),
            (xml.replace("a &lt;b", &"a".repeat(300)), Unusable("RequestID")),
        ];
        for (xml, error) in table {
            assert_eq!(read(&xml), Err(error));
        }
    }

    #[test]
    fn responses() {
        let sent = PublishResponse::Published {
            device: "{ID}".to_owned(),
            entity: "alice@contoso.test".to_owned(),
            certificate: (0..=255).collect(),
            request_id: Some("7".to_owned()),
        };
        let xml = sent.write();
        assert_eq!(PublishResponse::read(xml.as_bytes()), Ok(sent));
        assert!(!xml.contains("Collection"));
        let rejected = PublishResponse::Rejected("the key is too short".to_owned());
        assert_eq!(PublishResponse::read(rejected.write().as_bytes()), Ok(rejected));
        let foreign = "<E><Body><GetAndPublishCertResponse ResponseClass=\"Error\"><Code>7</Code><Info><Text>Key \
                       size</Text></Info></GetAndPublishCertResponse></Body></E>";
        let read = PublishResponse::read(foreign.as_bytes());
        assert_eq!(read, Ok(PublishResponse::Rejected("7 Key size".to_owned())));
        for broken in ["<E/>", "<E><Body><GetAndPublishCertResponse/></Body></E>", "no XML", &xml.replace("AAEC", "*")]
        {
            assert!(PublishResponse::read(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_hurt(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = ServiceMetadata::read(&bytes);
            let _ = parse(&bytes).map(|envelope| PublishRequest::read(&envelope));
            let _ = PublishResponse::read(&bytes);
        }

        #[test]
        fn requests_survive(
            device in "[!-~]{1,40}", entity in "[!-~]{1,40}", request in proptest::collection::vec(any::<u8>(), 1..300),
            request_id in proptest::option::of("[!-~]{1,40}"),
        ) {
            let sent = PublishRequest { device, entity, request, request_id, lifetime: None };
            prop_assert_eq!(read(&sent.write("")), Ok(sent));
        }
    }
}
