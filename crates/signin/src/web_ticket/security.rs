//! A ticket shown in a SOAP message, with the proof that its holder has the key: the header `wsse:Security`. WS-Security
//! 1.1, SAML Token Profile 1.1, XML Signature.
//!
//! ```text
//!  Security
//!    Timestamp    wsu:Id="timestamp": from when to when the ticket is valid
//!    Assertion    the ticket, byte for byte as it was issued
//!    Signature    HMAC of the proof key over SignedInfo, which has the digest of Timestamp
//! ```
//!
//! Only the timestamp is signed, and it is that of the ticket: every message with one ticket has the same signature. It
//! proves the key, and says nothing about the rest of the message; that is what TLS is for.
//!
//! A reader accepts two digests of the timestamp: of its canonical form, and of the bytes as they stand, because a common
//! client never canonicalises. Either way the very element is digested that is read: nothing is looked up by its id, so
//! there is no second element to be signed in its place. Which hash is used is the port's matter: SHA-1 at `…Proof_SHA1`,
//! the only one that open clients know, SHA-256 at `…Proof`.
//!
//! Absent: signatures over anything else, encryption, keys that are not of a ticket.

use super::authority::VerifiedTicket;
use super::message::{Lifetime, MessageError, WSSE, WSU};
use super::proof_key::ProofKey;
use crate::date_time::{read_time, write_time};
use crate::xml::canonical::exclusive;
use crate::xml::{Element, escape};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::{Digest, Sha1};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

pub(super) const DS: &str = "http://www.w3.org/2000/09/xmldsig#";
pub(super) const EXCLUSIVE: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
pub(super) const SHA1: &str = "http://www.w3.org/2000/09/xmldsig#sha1";
const HMAC_SHA1: &str = "http://www.w3.org/2000/09/xmldsig#hmac-sha1";
pub(super) const SHA256: &str = "http://www.w3.org/2001/04/xmlenc#sha256";
const HMAC_SHA256: &str = "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256";
const SAML_ID: &str = "http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.0#SAMLAssertionID";

/// The hash of digest and HMAC in a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofHash {
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl ProofHash {
    fn signature_method(self) -> &'static str {
        match self {
            ProofHash::Sha1 => HMAC_SHA1,
            ProofHash::Sha256 => HMAC_SHA256,
        }
    }

    fn digest_method(self) -> &'static str {
        match self {
            ProofHash::Sha1 => SHA1,
            ProofHash::Sha256 => SHA256,
        }
    }

    fn digest(self, text: &[u8]) -> Vec<u8> {
        match self {
            ProofHash::Sha1 => Sha1::digest(text).to_vec(),
            ProofHash::Sha256 => Sha256::digest(text).to_vec(),
        }
    }

    fn hmac(self, key: &ProofKey, text: &[u8]) -> Vec<u8> {
        const ANY_LENGTH: &str = "HMAC takes keys of every length";
        match self {
            ProofHash::Sha1 => {
                let mac = Hmac::<Sha1>::new_from_slice(key.reveal()).expect(ANY_LENGTH);
                mac.chain_update(text).finalize().into_bytes().to_vec()
            }
            ProofHash::Sha256 => {
                let mac = Hmac::<Sha256>::new_from_slice(key.reveal()).expect(ANY_LENGTH);
                mac.chain_update(text).finalize().into_bytes().to_vec()
            }
        }
    }
}

/// Why a message shows no ticket, or no proof that its holder has the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecurityError {
    /// Nobody can be recognised by it.
    #[error("the message shows no web ticket")]
    NoTicket,
    /// The proof is missing, or made in a way that is not understood.
    #[error("the proof in the message cannot be used: {0}")]
    Unusable(MessageError),
    /// It was not made with the ticket's key, or what it covers was altered.
    #[error("the proof was not made with the key of the ticket")]
    Wrong,
    /// SHA-1, where it is not accepted.
    #[error("proofs with SHA-1 are switched off; use the port that the metadata names")]
    Sha1,
    /// What it covers has expired.
    #[error("the timestamp in the message has expired")]
    Expired,
}

impl From<MessageError> for SecurityError {
    fn from(error: MessageError) -> SecurityError {
        SecurityError::Unusable(error)
    }
}

/// The header of a message that was received. It borrows the message: what is signed is signed as it stands.
pub struct SecurityHeader<'a> {
    document: &'a [u8],
    security: &'a Element,
    assertion: &'a str,
}

impl<'a> SecurityHeader<'a> {
    /// Finds the ticket in a message. `envelope` is `document`, read.
    pub fn read(document: &'a [u8], envelope: &'a Element) -> Result<SecurityHeader<'a>, SecurityError> {
        let header = envelope.child("Header").ok_or(SecurityError::NoTicket)?;
        let security = only(header, "Security").ok_or(SecurityError::NoTicket)?;
        let assertion = only(security, "Assertion").ok_or(SecurityError::NoTicket)?;
        let assertion = cut(document, assertion).and_then(|cut| std::str::from_utf8(cut).ok());
        Ok(SecurityHeader { document, security, assertion: assertion.ok_or(SecurityError::NoTicket)? })
    }

    /// The ticket as it stands in the message.
    pub fn assertion(&self) -> &'a str {
        self.assertion
    }

    /// Whether whoever made the message has the key of the ticket, which was recognised; at `now`, seconds since 1970.
    /// The proof has to be made with this hash and no other.
    pub fn check(&self, ticket: &VerifiedTicket, now: i64, hash: ProofHash) -> Result<(), SecurityError> {
        let missing = |what| SecurityError::Unusable(MessageError::Missing(what));
        let timestamp = only(self.security, "Timestamp").ok_or(missing("one Timestamp"))?;
        let signature = only(self.security, "Signature").ok_or(missing("one Signature"))?;
        let signed_info = only(signature, "SignedInfo").ok_or(missing("one SignedInfo"))?;
        let value = bytes(only(signature, "SignatureValue").ok_or(missing("one SignatureValue"))?);
        let id = timestamp.attribute("Id").ok_or(missing("Timestamp/@Id"))?;
        let promised = digest_of(signed_info, id, hash)?;
        names_ticket(signature, ticket.id())?;

        let text = exclusive(self.document, signed_info.span.0).map_err(MessageError::from)?;
        let signed = bool::from(hash.hmac(ticket.proof_key(), &text).ct_eq(value.as_slice()));
        let canonical = exclusive(self.document, timestamp.span.0).map_err(MessageError::from)?;
        let raw = cut(self.document, timestamp).unwrap_or_default();
        let covered = [&canonical[..], raw].into_iter().any(|form| hash.digest(form) == promised);
        if !signed || !covered {
            return Err(SecurityError::Wrong);
        }
        // The timestamp is as old as the ticket: only its end says anything.
        let expires = timestamp.child("Expires").and_then(|expires| read_time(expires.trimmed()));
        if now >= expires.ok_or(missing("Timestamp/Expires"))? { Err(SecurityError::Expired) } else { Ok(()) }
    }
}

/// The digest that SignedInfo has for the element with this id, when it is made as this page says and in no other way.
fn digest_of(signed_info: &Element, id: &str, hash: ProofHash) -> Result<Vec<u8>, SecurityError> {
    let unusable = |what| SecurityError::Unusable(MessageError::Unusable(what));
    // Parameters are refused with the rest: one of them would shorten what is compared (CVE-2009-0217).
    let algorithm = |parent: &Element, name: &str, expected: &str| {
        let said = |element: &Element| element.children.is_empty() && element.attribute("Algorithm") == Some(expected);
        only(parent, name).is_some_and(said)
    };
    if !algorithm(signed_info, "CanonicalizationMethod", EXCLUSIVE) {
        return Err(unusable("CanonicalizationMethod"));
    }
    if !algorithm(signed_info, "SignatureMethod", hash.signature_method()) {
        return Err(unusable("SignatureMethod"));
    }
    let reference = only(signed_info, "Reference").ok_or(unusable("Reference"))?;
    if reference.attribute("URI").and_then(|uri| uri.strip_prefix('#')) != Some(id) {
        return Err(unusable("Reference/@URI"));
    }
    if !only(reference, "Transforms").is_some_and(|transforms| algorithm(transforms, "Transform", EXCLUSIVE)) {
        return Err(unusable("Transforms"));
    }
    if !algorithm(reference, "DigestMethod", hash.digest_method()) {
        return Err(unusable("DigestMethod"));
    }
    Ok(bytes(only(reference, "DigestValue").ok_or(unusable("DigestValue"))?))
}

/// KeyInfo, when it is there, names the ticket that is shown.
fn names_ticket(signature: &Element, id: &str) -> Result<(), SecurityError> {
    match signature.path(&["KeyInfo", "SecurityTokenReference", "KeyIdentifier"]) {
        Some(named) if named.trimmed() != id => Err(SecurityError::Unusable(MessageError::Unusable("KeyIdentifier"))),
        _ => Ok(()),
    }
}

/// The one child of that name; none when there are several, since others may read the other one.
pub(super) fn only<'a>(parent: &'a Element, name: &str) -> Option<&'a Element> {
    let mut found = parent.children.iter().filter(|child| child.name == name);
    found.next().filter(|_| found.next().is_none())
}

fn cut<'a>(document: &'a [u8], element: &Element) -> Option<&'a [u8]> {
    document.get(element.span.0..element.span.1)
}

/// Base64 content; nothing fits what is none.
pub(super) fn bytes(element: &Element) -> Vec<u8> {
    let text: String = element.text.split_ascii_whitespace().collect();
    STANDARD.decode(text).unwrap_or_default()
}

/// Writes the header for a ticket and the proof that its key is here. The prefixes `wsse` and `wsu` are declared in it.
pub fn write(
    assertion: &str,
    assertion_id: &str,
    lifetime: Lifetime,
    key: &ProofKey,
    hash: ProofHash,
) -> Zeroizing<String> {
    let timestamp = timestamp(lifetime);
    let signed_info = signed_info(&hash.digest(timestamp.as_bytes()), hash);
    let value = STANDARD.encode(hash.hmac(key, signed_info.as_bytes()));
    // The namespace stands on `Signature` where it is written, and on `SignedInfo` where that is signed alone.
    let inner = signed_info.replacen(&format!(" xmlns=\"{DS}\""), "", 1);
    Zeroizing::new(format!(
        "<wsse:Security xmlns:wsse=\"{WSSE}\">{timestamp}{assertion}<Signature xmlns=\"{DS}\">{inner}\
         <SignatureValue>{value}</SignatureValue><KeyInfo><wsse:SecurityTokenReference><wsse:KeyIdentifier \
         ValueType=\"{SAML_ID}\">{id}</wsse:KeyIdentifier></wsse:SecurityTokenReference></KeyInfo></Signature>\
         </wsse:Security>",
        id = escape(assertion_id),
    ))
}

/// In canonical form.
fn timestamp(lifetime: Lifetime) -> String {
    format!(
        "<wsu:Timestamp xmlns:wsu=\"{WSU}\" wsu:Id=\"timestamp\"><wsu:Created>{}</wsu:Created><wsu:Expires>{}\
         </wsu:Expires></wsu:Timestamp>",
        write_time(lifetime.created),
        write_time(lifetime.expires)
    )
}

/// In canonical form.
fn signed_info(digest: &[u8], hash: ProofHash) -> String {
    let (signature, hashed) = (hash.signature_method(), hash.digest_method());
    format!(
        "<SignedInfo xmlns=\"{DS}\"><CanonicalizationMethod Algorithm=\"{EXCLUSIVE}\"></CanonicalizationMethod>\
         <SignatureMethod Algorithm=\"{signature}\"></SignatureMethod><Reference URI=\"#timestamp\"><Transforms>\
         <Transform Algorithm=\"{EXCLUSIVE}\"></Transform></Transforms><DigestMethod Algorithm=\"{hashed}\">\
         </DigestMethod><DigestValue>{}</DigestValue></Reference></SignedInfo>",
        STANDARD.encode(digest)
    )
}

#[cfg(test)]
mod tests;
