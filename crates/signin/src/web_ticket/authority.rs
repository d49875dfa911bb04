//! Making tickets and recognising them.
//!
//! To clients an assertion is opaque, so its shape is ours as long as it is SAML 1.1: this one is signed with an HMAC of
//! the server's key (`hmac-sha256`, enveloped). It is always written in one way, so recognising it needs no
//! canonicalisation: the fields are read, the assertion is written again from them, and only the very same bytes are
//! accepted. What a ticket says is thereby exactly what was issued.
//!
//! The proof key travels inside, sealed with a key stream that is used for one assertion id only.

use super::proof_key::ProofKey;
use crate::date_time::{read_time, write_time};
use crate::name::Aor;
use crate::xml::{Element, Limits, escape};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;
use uuid::Uuid;
use zeroize::Zeroizing;

/// How far into the future a ticket's beginning may lie: clocks of a pool differ.
const SKEW_SECONDS: i64 = 300;

/// Largest assertion looked at, in bytes.
const MAX_ASSERTION: usize = 8 * 1024;

/// Makes and recognises tickets. All servers with the same key accept each other's.
pub struct TicketAuthority {
    mac_key: Zeroizing<[u8; 32]>,
    seal_key: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for TicketAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketAuthority(…)")
    }
}

/// What a new ticket says.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Who may use it.
    pub aor: Aor,
    /// URL of the service that issues it.
    pub issuer: String,
    /// Which web service it is for: `https://host[:port]/`.
    pub audience: String,
    /// Seconds since 1970.
    pub not_before: i64,
    /// First second it is no longer valid.
    pub expires: i64,
    /// The key its holder has.
    pub proof_key: ProofKey,
}

/// A ticket that was recognised. Only [`TicketAuthority::check`] makes one.
#[derive(Debug, Clone)]
pub struct VerifiedTicket {
    id: String,
    aor: Aor,
    expires: i64,
    proof_key: ProofKey,
}

impl VerifiedTicket {
    /// Its name (`AssertionID`); no two tickets have the same.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whose it is.
    pub fn aor(&self) -> &Aor {
        &self.aor
    }

    /// First second it is no longer valid, since 1970.
    pub fn expires(&self) -> i64 {
        self.expires
    }

    /// The key its holder proves to have.
    pub fn proof_key(&self) -> &ProofKey {
        &self.proof_key
    }
}

/// Why a ticket was not recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketRefusal {
    /// No assertion, not ours, or altered.
    #[error("the web ticket is invalid")]
    Invalid,
    /// Its time is over.
    #[error("the web ticket has expired")]
    Expired,
    /// Its time has not come.
    #[error("the web ticket is not yet valid")]
    NotYetValid,
    /// Issued for another service.
    #[error("the web ticket is for another service")]
    OtherAudience,
}

/// Everything an assertion says, as texts.
struct Fields<'a> {
    id: &'a str,
    issuer: &'a str,
    audience: &'a str,
    not_before: &'a str,
    expires: &'a str,
    subject: &'a str,
    sealed_key: &'a str,
}

impl TicketAuthority {
    /// An authority with this key; 32 random bytes, the same on every server of a deployment.
    pub fn new(key: &[u8; 32]) -> TicketAuthority {
        let derive = |label: &[u8]| Zeroizing::new(hmac_sha256(key, &[label]));
        TicketAuthority { mac_key: derive(b"web ticket: signature"), seal_key: derive(b"web ticket: proof key") }
    }

    /// Writes a ticket. `id` is random, and never used twice.
    pub fn issue(&self, grant: &Grant, id: Uuid) -> Zeroizing<String> {
        let id = format!("SamlSecurityToken-{id}");
        let sealed = self.seal(&id, grant.proof_key.reveal());
        self.write(&Fields {
            id: &id,
            issuer: &grant.issuer,
            audience: &grant.audience,
            not_before: &write_time(grant.not_before),
            expires: &write_time(grant.expires),
            subject: &grant.aor.to_uri(),
            sealed_key: &STANDARD.encode(&*sealed),
        })
    }

    /// Recognises a ticket for this audience at this time (seconds since 1970).
    pub fn check(&self, assertion: &str, audience: &str, now: i64) -> Result<VerifiedTicket, TicketRefusal> {
        let invalid = TicketRefusal::Invalid;
        if assertion.len() > MAX_ASSERTION {
            return Err(invalid);
        }
        let limits = Limits { bytes: MAX_ASSERTION, depth: 8, elements: 64 };
        let root = Element::parse_within(assertion.as_bytes(), limits).map_err(|_| invalid)?;
        let fields = read(&root).ok_or(invalid)?;
        let rewritten = self.write(&fields);
        if !bool::from(rewritten.as_bytes().ct_eq(assertion.as_bytes())) {
            return Err(invalid);
        }
        // From here on everything is what this authority wrote.
        let not_before = read_time(fields.not_before).ok_or(invalid)?;
        let expires = read_time(fields.expires).ok_or(invalid)?;
        if now >= expires {
            return Err(TicketRefusal::Expired);
        }
        if not_before.saturating_sub(SKEW_SECONDS) > now {
            return Err(TicketRefusal::NotYetValid);
        }
        if !fields.audience.eq_ignore_ascii_case(audience) {
            return Err(TicketRefusal::OtherAudience);
        }
        let sealed = STANDARD.decode(fields.sealed_key).map_err(|_| invalid)?;
        let proof_key = ProofKey::from_bytes(self.seal(fields.id, &sealed));
        let aor = Aor::from_uri(fields.subject).map_err(|_| invalid)?;
        Ok(VerifiedTicket { id: fields.id.to_owned(), aor, expires, proof_key })
    }

    /// Recognises the ticket in an `X-MS-WebTicket` header: `opaque=` and base64 of the assertion.
    pub fn check_header(&self, value: &str, audience: &str, now: i64) -> Result<VerifiedTicket, TicketRefusal> {
        let encoded = value.trim().strip_prefix("opaque=").ok_or(TicketRefusal::Invalid)?;
        if encoded.len() > 2 * MAX_ASSERTION {
            return Err(TicketRefusal::Invalid);
        }
        let decoded = Zeroizing::new(STANDARD.decode(encoded.trim()).map_err(|_| TicketRefusal::Invalid)?);
        let assertion = std::str::from_utf8(&decoded).map_err(|_| TicketRefusal::Invalid)?;
        self.check(assertion, audience, now)
    }

    /// The one way an assertion is written. Every prefix is declared on it, because it is cut out and stands alone later;
    /// no attribute holds `>`, no element name but its own begins with `Assertion`.
    fn write(&self, fields: &Fields<'_>) -> Zeroizing<String> {
        let unsigned = Zeroizing::new(format!(
            "<saml:Assertion xmlns:saml=\"urn:oasis:names:tc:SAML:1.0:assertion\" \
             xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\" MajorVersion=\"1\" MinorVersion=\"1\" AssertionID=\"{id}\" \
             Issuer=\"{issuer}\" IssueInstant=\"{not_before}\"><saml:Conditions NotBefore=\"{not_before}\" \
             NotOnOrAfter=\"{expires}\"><saml:AudienceRestrictionCondition><saml:Audience>{audience}</saml:Audience>\
             </saml:AudienceRestrictionCondition></saml:Conditions><saml:AuthenticationStatement \
             AuthenticationMethod=\"urn:oasis:names:tc:SAML:1.0:am:unspecified\" AuthenticationInstant=\"{not_before}\">\
             <saml:Subject><saml:NameIdentifier Format=\"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/uri\">\
             {subject}</saml:NameIdentifier><saml:SubjectConfirmation><saml:ConfirmationMethod>\
             urn:oasis:names:tc:SAML:1.0:cm:holder-of-key</saml:ConfirmationMethod><ds:KeyInfo><ds:MgmtData>{sealed_key}\
             </ds:MgmtData></ds:KeyInfo></saml:SubjectConfirmation></saml:Subject></saml:AuthenticationStatement>",
            id = escape(fields.id),
            issuer = escape(fields.issuer),
            not_before = escape(fields.not_before),
            expires = escape(fields.expires),
            audience = escape(fields.audience),
            subject = escape(fields.subject),
            sealed_key = escape(fields.sealed_key),
        ));
        let digest = Sha256::new().chain_update(unsigned.as_bytes()).chain_update(b"</saml:Assertion>").finalize();
        let signed_info = format!(
            "<ds:SignedInfo><ds:CanonicalizationMethod Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\">\
             </ds:CanonicalizationMethod><ds:SignatureMethod \
             Algorithm=\"http://www.w3.org/2001/04/xmldsig-more#hmac-sha256\"></ds:SignatureMethod>\
             <ds:Reference URI=\"#{id}\"><ds:Transforms>\
             <ds:Transform Algorithm=\"http://www.w3.org/2000/09/xmldsig#enveloped-signature\"></ds:Transform>\
             </ds:Transforms><ds:DigestMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha256\"></ds:DigestMethod>\
             <ds:DigestValue>{digest}</ds:DigestValue></ds:Reference></ds:SignedInfo>",
            id = escape(fields.id),
            digest = STANDARD.encode(digest),
        );
        let signature = hmac_sha256(&*self.mac_key, &[signed_info.as_bytes()]);
        Zeroizing::new(format!(
            "{}<ds:Signature>{signed_info}<ds:SignatureValue>{}</ds:SignatureValue></ds:Signature></saml:Assertion>",
            unsigned.as_str(),
            STANDARD.encode(signature)
        ))
    }

    /// Seals or opens the proof key: a key stream of HMAC-SHA256 over assertion id and counter.
    fn seal(&self, id: &str, key: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut sealed = Zeroizing::new(key.to_vec());
        for (counter, block) in (0u32..).zip(sealed.chunks_mut(32)) {
            let stream = Zeroizing::new(hmac_sha256(&*self.seal_key, &[id.as_bytes(), &counter.to_be_bytes()]));
            block.iter_mut().zip(stream.iter()).for_each(|(byte, key)| *byte ^= key);
        }
        sealed
    }
}

fn read(root: &Element) -> Option<Fields<'_>> {
    let conditions = root.child("Conditions")?;
    let subject = root.path(&["AuthenticationStatement", "Subject"])?;
    Some(Fields {
        id: root.attribute("AssertionID")?,
        issuer: root.attribute("Issuer")?,
        audience: &conditions.path(&["AudienceRestrictionCondition", "Audience"])?.text,
        not_before: conditions.attribute("NotBefore")?,
        expires: conditions.attribute("NotOnOrAfter")?,
        subject: &subject.child("NameIdentifier")?.text,
        sealed_key: &subject.path(&["SubjectConfirmation", "KeyInfo", "MgmtData"])?.text,
    })
}

fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_704_164_645; // 2024-01-02T03:04:05Z
    const AUDIENCE: &str = "https://pool1.contoso.test/";

    fn grant() -> Grant {
        Grant {
            aor: "alice@contoso.test".parse().expect("an address"),
            issuer: "https://pool1.contoso.test/WebTicket/WebTicketService.svc".to_owned(),
            audience: AUDIENCE.to_owned(),
            not_before: NOW,
            expires: NOW + 8 * 3600,
            proof_key: ProofKey::derive(&[1; 40], &[2; 32]),
        }
    }

    #[test]
    fn recognises_its_own_ticket_and_gives_back_the_proof_key() {
        let authority = TicketAuthority::new(&[7; 32]);
        let ticket = authority.issue(&grant(), Uuid::from_u128(1));
        let verified = TicketAuthority::new(&[7; 32]).check(&ticket, AUDIENCE, NOW + 60).expect("its own ticket");
        assert_eq!(verified.aor().as_str(), "alice@contoso.test");
        assert_eq!(verified.expires(), NOW + 8 * 3600);
        assert_eq!(verified.proof_key().reveal(), grant().proof_key.reveal());
        let header = format!("opaque={}", STANDARD.encode(ticket.as_bytes()));
        assert!(authority.check_header(&header, AUDIENCE, NOW).is_ok());
        assert!(!ticket.contains(&STANDARD.encode(grant().proof_key.reveal())), "the proof key is sealed");
    }

    #[test]
    fn refuses_what_it_did_not_write() {
        let authority = TicketAuthority::new(&[7; 32]);
        let ticket = authority.issue(&grant(), Uuid::from_u128(1)).to_string();
        let refusal = |text: &str| authority.check(text, AUDIENCE, NOW).err();
        let altered = [
            ticket.replace("alice", "malice"),
            ticket.replace("T11:04:05Z", "T23:04:05Z"),
            ticket.replace("pool1", "pool2"),
            ticket.replace("<saml:Subject>", "<saml:Subject> "),
            ticket.replace("\"1\"", "'1'"),
            format!("{ticket} "),
            format!(" {ticket}"),
            format!("{ticket}<x/>"),
            ticket.replace("xmlns:ds", "xmlns:dt"),
            TicketAuthority::new(&[8; 32]).issue(&grant(), Uuid::from_u128(1)).to_string(),
            String::new(),
            "<Assertion/>".to_owned(),
            "x".repeat(MAX_ASSERTION + 1),
        ];
        for text in altered {
            assert_eq!(refusal(&text), Some(TicketRefusal::Invalid), "{text}");
        }
        // Every single bit counts.
        for position in 0..ticket.len() {
            let mut bytes = ticket.clone().into_bytes();
            bytes[position] ^= 1;
            if let Ok(text) = String::from_utf8(bytes) {
                assert_eq!(refusal(&text), Some(TicketRefusal::Invalid), "bit at {position}");
            }
        }
        for header in ["", "opaque=", "opaque=***", "cwt=abc", "opaque=AAAA"] {
            assert_eq!(authority.check_header(header, AUDIENCE, NOW).err(), Some(TicketRefusal::Invalid), "{header}");
        }
    }

    #[test]
    fn knows_time_and_audience() {
        let authority = TicketAuthority::new(&[7; 32]);
        let ticket = authority.issue(&grant(), Uuid::from_u128(1));
        let table = [
            (AUDIENCE, NOW, None),
            ("HTTPS://POOL1.contoso.test/", NOW, None),
            (AUDIENCE, NOW - 300, None),
            (AUDIENCE, NOW - 301, Some(TicketRefusal::NotYetValid)),
            (AUDIENCE, NOW + 8 * 3600 - 1, None),
            (AUDIENCE, NOW + 8 * 3600, Some(TicketRefusal::Expired)),
            ("https://pool2.contoso.test/", NOW, Some(TicketRefusal::OtherAudience)),
        ];
        for (audience, now, refusal) in table {
            assert_eq!(authority.check(&ticket, audience, now).err(), refusal, "{audience} {now}");
        }
    }

    #[test]
    fn obeys_readers_that_search_text() {
        let ticket = TicketAuthority::new(&[7; 32]).issue(&grant(), Uuid::from_u128(1));
        assert_eq!(ticket.matches(":Assertion").count(), 2, "one start, one end");
        assert!(ticket.contains(" AssertionID=\"SamlSecurityToken-"));
        assert!(!ticket.contains("<Assertion") && !ticket.contains(":Lifetime") && !ticket.contains("Expires"));
        assert!(!ticket.contains("--") || !ticket.contains("<!--"));
        Element::parse(ticket.as_bytes()).expect("stands alone");
    }
}
