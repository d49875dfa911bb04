//! A SOAP message signed with a user certificate: who has its key needs no password. X.509 Token Profile 1.1, XML
//! Signature, WS-Security 1.1; the port `WebTicketServiceCert` of `[MS-OCAUTHWS]` §3.2.
//!
//! ```text
//!  Header/Security
//!    Timestamp              wsu:Id="timestamp": when the message was made
//!    BinarySecurityToken    wsu:Id="certificate": the certificate, DER in base64
//!    Signature              RSA over SignedInfo, which has the digests of Timestamp and Body
//!  Body                     wsu:Id="body"
//! ```
//!
//! We sign the body as well as the timestamp, so that the signature is good for this wish only: a server that is shown it
//! cannot ask for a ticket elsewhere. Of others the timestamp is required, and whatever else they sign must be right; a
//! body that is not signed is protected by TLS alone, as with tickets. Either way a message is taken once: a reader gives
//! a *name* of the signature, and until when it has to be remembered.
//!
//! What is signed is found by where it stands (a child of Security, of Header, or the Body), never anywhere else in the
//! message, so it is that very element which is read afterwards. A signed body that was moved among the headers, with
//! another in its place, is not found.
//!
//! Absent: encryption, other transforms than exclusive canonicalisation, keys that are not RSA, references to
//! certificates that are not in the message.

use super::message::{Lifetime, MessageError, SOAP, TokenRequest, WSSE, WSU};
use super::security::{DS, EXCLUSIVE, SHA1, SHA256, bytes, only};
use crate::date_time::{read_time, write_time};
use crate::xml::Element;
use crate::xml::canonical::exclusive;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mechanism::user_certificate::{Digest, KeyError, UserCertificate, sign};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// How long a message is good after it was made, in seconds.
const LIFETIME_SECONDS: i64 = 300;
/// How far the clocks may be apart, in seconds.
const SKEW_SECONDS: i64 = 300;
/// Most elements one signature covers.
const MAX_REFERENCES: usize = 8;

const RSA_SHA1: &str = "http://www.w3.org/2000/09/xmldsig#rsa-sha1";
const RSA_SHA256: &str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";
const X509: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3";
const BASE64: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary";

/// Why a message is not signed as it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignedError {
    /// Nobody can be recognised by it.
    #[error("the message shows no user certificate")]
    NoCertificate,
    /// The signature is missing, or made in a way that is not understood.
    #[error("the signature of the message cannot be used: {0}")]
    Unusable(MessageError),
    /// SHA-1, where it is not accepted.
    #[error("the message is signed with SHA-1, which is switched off; sign it with SHA-256")]
    Sha1,
    /// Not made with the certificate's key, or what it covers was altered.
    #[error("the signature was not made with the key of the certificate, or what it covers was altered")]
    Wrong,
    /// Made too long ago, or in the future.
    #[error("the message was not made within the last minutes")]
    Stale,
}

impl From<MessageError> for SignedError {
    fn from(error: MessageError) -> SignedError {
        SignedError::Unusable(error)
    }
}

/// Whoever made the message has the key of this certificate. Of the certificate nothing is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// Of the certificate and of what was signed: no two messages have the same, unless one is the other again.
    pub name: [u8; 32],
    /// Until when the message would be taken, seconds since 1970: so long it has to be remembered.
    pub remembered_until: i64,
}

/// Checks a message. `envelope` is `document`, read; `now` is seconds since 1970; `sha1` says whether SHA-1 is accepted.
pub fn check(document: &[u8], envelope: &Element, now: i64, sha1: bool) -> Result<Holder, SignedError> {
    let missing = |what| SignedError::Unusable(MessageError::Missing(what));
    let header = envelope.child("Header").ok_or(SignedError::NoCertificate)?;
    let security = only(header, "Security").ok_or(SignedError::NoCertificate)?;
    let token = only(security, "BinarySecurityToken").ok_or(SignedError::NoCertificate)?;
    let certificate = bytes(token);
    let read = UserCertificate::read(&certificate).map_err(|_| SignedError::NoCertificate)?;
    let timestamp = only(security, "Timestamp").ok_or(missing("one Timestamp"))?;
    let signature = only(security, "Signature").ok_or(missing("one Signature"))?;
    let signed_info = only(signature, "SignedInfo").ok_or(missing("one SignedInfo"))?;
    let value = bytes(only(signature, "SignatureValue").ok_or(missing("one SignatureValue"))?);
    names_token(signature, token)?;

    let digest = signature_method(signed_info, sha1)?;
    let text = exclusive(document, signed_info.span.0).map_err(MessageError::from)?;
    let mut covers_timestamp = false;
    let references: Vec<&Element> = signed_info.all("Reference").take(MAX_REFERENCES + 1).collect();
    if references.len() > MAX_REFERENCES {
        return Err(SignedError::Unusable(MessageError::Unusable("number of References")));
    }
    for reference in references {
        let covered = covered(reference, envelope, header, security)?;
        check_digest(document, reference, covered, sha1)?;
        covers_timestamp |= std::ptr::eq(covered, timestamp);
    }
    if !covers_timestamp {
        return Err(missing("a Reference to the Timestamp"));
    }
    if !read.has_signed(digest, &text, &value) {
        return Err(SignedError::Wrong);
    }
    let remembered_until = fresh(timestamp, now)?;
    let name = Sha256::new().chain_update(read.fingerprint().as_bytes()).chain_update(&text).finalize().into();
    Ok(Holder { certificate, name, remembered_until })
}

/// KeyInfo, when it names a token, names the one that is shown.
fn names_token(signature: &Element, token: &Element) -> Result<(), SignedError> {
    let Some(reference) = signature.path(&["KeyInfo", "SecurityTokenReference", "Reference"]) else { return Ok(()) };
    let named = reference.attribute("URI").and_then(|uri| uri.strip_prefix('#'));
    match named.is_some() && named == token.attribute("Id") {
        true => Ok(()),
        false => Err(SignedError::Unusable(MessageError::Unusable("KeyInfo"))),
    }
}

/// The algorithm of an element that names one, and nothing else: parameters would weaken it.
fn algorithm<'a>(parent: &'a Element, name: &'static str) -> Result<&'a str, SignedError> {
    let element = only(parent, name).filter(|element| element.children.is_empty());
    let named = element.and_then(|element| element.attribute("Algorithm"));
    named.ok_or(SignedError::Unusable(MessageError::Unusable(name)))
}

fn signature_method(signed_info: &Element, sha1: bool) -> Result<Digest, SignedError> {
    let unusable = |what| SignedError::Unusable(MessageError::Unusable(what));
    if algorithm(signed_info, "CanonicalizationMethod")? != EXCLUSIVE {
        return Err(unusable("CanonicalizationMethod"));
    }
    match algorithm(signed_info, "SignatureMethod")? {
        RSA_SHA256 => Ok(Digest::Sha256),
        RSA_SHA1 if sha1 => Ok(Digest::Sha1),
        RSA_SHA1 => Err(SignedError::Sha1),
        _ => Err(unusable("SignatureMethod")),
    }
}

/// The one element with the id that a reference names, in the places where what counts stands.
fn covered<'a>(
    reference: &Element,
    envelope: &'a Element,
    header: &'a Element,
    security: &'a Element,
) -> Result<&'a Element, SignedError> {
    let unusable = SignedError::Unusable(MessageError::Unusable("Reference/@URI"));
    let id = reference.attribute("URI").and_then(|uri| uri.strip_prefix('#')).filter(|id| !id.is_empty());
    let id = id.ok_or(unusable.clone())?;
    let headers = header.children.iter().filter(|header| header.name != "Body");
    let places =
        security.children.iter().filter(|part| part.name != "Body").chain(headers).chain(only(envelope, "Body"));
    let mut found = places.filter(|place| place.attribute("Id") == Some(id));
    found.next().filter(|_| found.next().is_none()).ok_or(unusable)
}

fn check_digest(document: &[u8], reference: &Element, covered: &Element, sha1: bool) -> Result<(), SignedError> {
    let unusable = |what| SignedError::Unusable(MessageError::Unusable(what));
    let transforms = only(reference, "Transforms").ok_or(unusable("Transforms"))?;
    if algorithm(transforms, "Transform")? != EXCLUSIVE {
        return Err(unusable("Transforms"));
    }
    let promised = bytes(only(reference, "DigestValue").ok_or(unusable("DigestValue"))?);
    let text = exclusive(document, covered.span.0).map_err(MessageError::from)?;
    let right = match algorithm(reference, "DigestMethod")? {
        SHA256 => Sha256::digest(&text).as_slice() == promised,
        SHA1 if sha1 => Sha1::digest(&text).as_slice() == promised,
        SHA1 => return Err(SignedError::Sha1),
        _ => return Err(unusable("DigestMethod")),
    };
    if right { Ok(()) } else { Err(SignedError::Wrong) }
}

/// Until when a message with this timestamp is good, if it is now.
fn fresh(timestamp: &Element, now: i64) -> Result<i64, SignedError> {
    let moment = |name: &'static str| {
        let element = only(timestamp, name).ok_or(MessageError::Missing("Timestamp/Created or Expires"))?;
        read_time(element.trimmed()).ok_or(MessageError::Unusable("Timestamp"))
    };
    let (created, expires) = (moment("Created")?, moment("Expires")?);
    let until = expires.min(created.saturating_add(LIFETIME_SECONDS)).saturating_add(SKEW_SECONDS);
    if now < created.saturating_sub(SKEW_SECONDS) || now >= until { Err(SignedError::Stale) } else { Ok(until) }
}

/// Writes a request for a ticket, signed at `now` (seconds since 1970) with this certificate (DER) and its key (PKCS#8).
pub fn write(request: &TokenRequest, certificate: &[u8], key: &[u8], now: i64) -> Result<String, KeyError> {
    let lifetime = Lifetime { created: now, expires: now.saturating_add(LIFETIME_SECONDS) };
    // Both are written in canonical form but for the content of the body, so they stand in the message as they are signed.
    let timestamp = format!(
        "<wsu:Timestamp xmlns:wsu=\"{WSU}\" wsu:Id=\"timestamp\"><wsu:Created>{}</wsu:Created><wsu:Expires>{}\
         </wsu:Expires></wsu:Timestamp>",
        write_time(lifetime.created),
        write_time(lifetime.expires)
    );
    let body = format!("<s:Body xmlns:s=\"{SOAP}\" xmlns:wsu=\"{WSU}\" wsu:Id=\"body\">{}</s:Body>", request.content());
    let canonical_body = exclusive(body.as_bytes(), 0).unwrap_or_default();
    let info = signed_info(&[("timestamp", timestamp.as_bytes()), ("body", &canonical_body)]);
    let value = STANDARD.encode(sign(key, Digest::Sha256, info.as_bytes())?);
    // The namespace stands on `Signature` where it is written, and on `SignedInfo` where that is signed alone.
    let inner = info.replacen(&format!(" xmlns=\"{DS}\""), "", 1);
    Ok(format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><s:Envelope xmlns:s=\"{SOAP}\"><s:Header>\
         <wsse:Security xmlns:wsse=\"{WSSE}\">{timestamp}<wsse:BinarySecurityToken xmlns:wsu=\"{WSU}\" \
         wsu:Id=\"certificate\" ValueType=\"{X509}\" EncodingType=\"{BASE64}\">{token}</wsse:BinarySecurityToken>\
         <Signature xmlns=\"{DS}\">{inner}<SignatureValue>{value}</SignatureValue><KeyInfo>\
         <wsse:SecurityTokenReference><wsse:Reference URI=\"#certificate\" ValueType=\"{X509}\"/>\
         </wsse:SecurityTokenReference></KeyInfo></Signature></wsse:Security></s:Header>{body}</s:Envelope>",
        token = STANDARD.encode(certificate),
    ))
}

/// In canonical form.
fn signed_info(covered: &[(&str, &[u8])]) -> String {
    let references: String = covered
        .iter()
        .map(|(id, canonical)| {
            format!(
                "<Reference URI=\"#{id}\"><Transforms><Transform Algorithm=\"{EXCLUSIVE}\"></Transform></Transforms>\
                 <DigestMethod Algorithm=\"{SHA256}\"></DigestMethod><DigestValue>{}</DigestValue></Reference>",
                STANDARD.encode(Sha256::digest(canonical))
            )
        })
        .collect();
    format!(
        "<SignedInfo xmlns=\"{DS}\"><CanonicalizationMethod Algorithm=\"{EXCLUSIVE}\"></CanonicalizationMethod>\
         <SignatureMethod Algorithm=\"{RSA_SHA256}\"></SignatureMethod>{references}</SignedInfo>"
    )
}

#[cfg(test)]
mod tests;
