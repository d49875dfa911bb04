//! The published vector, our own header, a foreign client's, and what each alteration leads to.

use super::*;
use crate::web_ticket::authority::{Grant, TicketAuthority};
use crate::web_ticket::message::parse;
use uuid::Uuid;

const LIFETIME: Lifetime = Lifetime { created: 1_704_164_645, expires: 1_704_193_445 };
const NOW: i64 = LIFETIME.created + 60;
const SHA_1: ProofHash = ProofHash::Sha1;
const AUDIENCE: &str = "https://pool1.contoso.test/";

fn proof_key() -> ProofKey {
    let (client, server): (Vec<u8>, Vec<u8>) = ((0x00..=0x1f).collect(), (0x40..=0x5f).collect());
    ProofKey::derive(&client, &server)
}

fn assertion() -> String {
    let grant = Grant {
        aor: "alice@contoso.test".parse().expect("an address"),
        issuer: format!("{AUDIENCE}WebTicket/WebTicketService.svc"),
        audience: AUDIENCE.to_owned(),
        not_before: LIFETIME.created,
        expires: LIFETIME.expires,
        proof_key: proof_key(),
    };
    TicketAuthority::new(&[7; 32]).issue(&grant, Uuid::from_u128(1)).to_string()
}

fn ticket() -> VerifiedTicket {
    TicketAuthority::new(&[7; 32]).check(&assertion(), AUDIENCE, NOW).expect("our own")
}

fn message(security: &str) -> String {
    format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Header>{security}</s:Header><s:Body/></s:Envelope>"
    )
}

fn ours() -> String {
    message(&write(&assertion(), ticket().id(), LIFETIME, &proof_key(), SHA_1))
}

/// As a client writes it that has prefixes of its own, blanks between elements, and never canonicalises: it digests the
/// text of the timestamp as it built it.
fn foreign(timestamp: &str) -> String {
    let id = ticket().id().to_owned();
    let info = signed_info(&SHA_1.digest(timestamp.as_bytes()), SHA_1);
    let value = STANDARD.encode(SHA_1.hmac(&proof_key(), info.as_bytes()));
    format!(
        "<?xml version=\"1.0\"?>\r\n<soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:o=\"{WSSE}\" xmlns:wsu=\"{WSU}\" xmlns:ds=\"{DS}\"> <soap:Header> <o:Security>{timestamp} {assertion} \
         <Signature xmlns=\"{DS}\">{info} <SignatureValue>\r\n{value}\r\n</SignatureValue><KeyInfo>\
         <o:SecurityTokenReference><o:KeyIdentifier>{id}</o:KeyIdentifier></o:SecurityTokenReference></KeyInfo>\
         </Signature> </o:Security></soap:Header><soap:Body/></soap:Envelope>",
        assertion = assertion(),
    )
}

fn check(message: &str, now: i64) -> Result<(), SecurityError> {
    let envelope = parse(message.as_bytes()).expect("XML");
    SecurityHeader::read(message.as_bytes(), &envelope)?.check(&ticket(), now, SHA_1)
}

#[test]
fn the_known_digest_and_signature() {
    let timestamp = timestamp(LIFETIME);
    let digest = Sha1::digest(timestamp.as_bytes());
    assert_eq!(STANDARD.encode(digest), "pK01cs+pzFp8VW+dCjVuoDNt41I=");
    let info = signed_info(&digest, SHA_1);
    assert_eq!(info.len(), 535);
    assert_eq!(STANDARD.encode(SHA_1.hmac(&proof_key(), info.as_bytes())), "hPOoUXnu7a66qU0oH4tk9ZGmids=");
    for text in [timestamp, info] {
        assert_eq!(exclusive(text.as_bytes(), 0).expect("XML"), text.as_bytes(), "it is canonical");
    }
}

#[test]
fn our_own_header_proves_the_key() {
    let message = ours();
    assert!(message.contains("hPOoUXnu7a66qU0oH4tk9ZGmids="));
    assert_eq!(check(&message, NOW), Ok(()));
    let envelope = parse(message.as_bytes()).expect("XML");
    let header = SecurityHeader::read(message.as_bytes(), &envelope).expect("a header");
    assert_eq!(header.assertion(), assertion(), "byte for byte");
}

#[test]
fn a_timestamp_digested_as_it_stands_is_accepted() {
    let canonical = timestamp(LIFETIME);
    assert_eq!(check(&foreign(&canonical), NOW), Ok(()));
    // What copying the content of another server's Lifetime makes of it: its canonical form is another one.
    let copied = canonical.replace("<wsu:Created>", &format!("<wsu:Created xmlns:wsu=\"{WSU}\">"));
    assert_ne!(exclusive(copied.as_bytes(), 0).expect("XML"), copied.as_bytes());
    assert_eq!(check(&foreign(&copied), NOW), Ok(()));
}

#[test]
fn a_message_that_was_written_anew_on_its_way_is_still_accepted() {
    let rewritten = ours()
        .replace("></CanonicalizationMethod>", "/>")
        .replace("></Transform>", " />")
        .replace("<wsu:Timestamp xmlns", "<wsu:Timestamp  xmlns")
        .replace(
            "Algorithm=\"http://www.w3.org/2000/09/xmldsig#sha1\"",
            "Algorithm='http://www.w3.org/2000/09/xmldsig#sha1'",
        );
    assert_eq!(check(&rewritten, NOW), Ok(()));
}

#[test]
fn alterations_and_what_they_lead_to() {
    use SecurityError::{Expired, NoTicket, Wrong};
    let unusable = |what| SecurityError::Unusable(MessageError::Unusable(what));
    let missing = |what| SecurityError::Unusable(MessageError::Missing(what));
    let second = timestamp(LIFETIME);
    let table = [
        ("T11:04:05Z", "T23:04:05Z", Wrong),
        ("<wsu:Created>", "<wsu:Created> ", Wrong),
        ("hPOoUX", "iPOoUX", Wrong),
        ("hPOoUXnu7a66qU0oH4tk9ZGmids=", "", Wrong),
        ("hPOoUXnu7a66qU0oH4tk9ZGmids=", "hA==", Wrong),
        ("hPOoUXnu7a66qU0oH4tk9ZGmids=", "no base64", Wrong),
        ("pK01cs+", "qK01cs+", Wrong),
        ("<Reference ", "<Reference Id=\"x\" ", Wrong),
        ("#hmac-sha1", "#hmac-md5", unusable("SignatureMethod")),
        ("#hmac-sha1\">", "#hmac-sha1\"><HMACOutputLength>8</HMACOutputLength>", unusable("SignatureMethod")),
        ("#sha1", "#md5", unusable("DigestMethod")),
        ("<Transforms>", "<Transforms><Transform Algorithm=\"x\"/>", unusable("Transforms")),
        (
            "Method Algorithm=\"http://www.w3.org/2001/10",
            "Method Algorithm=\"http://www.w3.org/2001/11",
            unusable("CanonicalizationMethod"),
        ),
        ("URI=\"#timestamp\"", "URI=\"#body\"", unusable("Reference/@URI")),
        ("URI=\"#timestamp\"", "URI=\"\"", unusable("Reference/@URI")),
        (" wsu:Id=\"timestamp\"", "", missing("Timestamp/@Id")),
        (
            "SamlSecurityToken-00000000-0000-0000-0000-000000000001</wsse",
            "SamlSecurityToken-2</wsse",
            unusable("KeyIdentifier"),
        ),
        ("<Signature xmlns", "<Other/><Signature/><Signature xmlns", missing("one Signature")),
        ("<saml:Assertion ", "<saml:Assertion/><saml:Assertion ", NoTicket),
        ("wsse:Security ", "wsse:Safety ", NoTicket),
        ("s:Header", "s:Footer", NoTicket),
        ("<saml:Assertion ", &*format!("{second}<saml:Assertion "), missing("one Timestamp")),
    ];
    for (from, to, error) in table {
        let altered = ours()
            .replace(from, to)
            .replace("</wsse:Security>", if from == "wsse:Security " { "</wsse:Safety>" } else { "</wsse:Security>" });
        assert_ne!(altered, ours(), "{from}");
        assert_eq!(check(&altered, NOW), Err(error), "{from} -> {to}");
    }
    assert_eq!(check(&ours(), LIFETIME.expires - 1), Ok(()));
    assert_eq!(check(&ours(), LIFETIME.expires), Err(Expired));
    let endless = Lifetime { created: LIFETIME.created, expires: LIFETIME.expires };
    let other_key = ProofKey::derive(&[1; 32], &[2; 32]);
    assert_eq!(check(&message(&write(&assertion(), ticket().id(), endless, &other_key, SHA_1)), NOW), Err(Wrong));
}

/// A signature is looked for where it belongs, whatever else the message has.
#[test]
fn a_signed_timestamp_elsewhere_proves_nothing() {
    let good = timestamp(LIFETIME);
    let forged = timestamp(Lifetime { created: LIFETIME.created, expires: i64::from(i32::MAX) });
    let wrapped = ours().replace(&good, &forged).replace("<s:Body/>", &format!("<s:Body>{good}</s:Body>"));
    assert_eq!(check(&wrapped, NOW), Err(SecurityError::Wrong));
}

#[test]
fn the_hash_is_that_of_the_port_and_no_other() {
    let proof = |hash| message(&write(&assertion(), ticket().id(), LIFETIME, &proof_key(), hash));
    let check = |message: &str, hash| {
        let envelope = parse(message.as_bytes()).expect("XML");
        SecurityHeader::read(message.as_bytes(), &envelope)?.check(&ticket(), NOW, hash)
    };
    let unusable = SecurityError::Unusable(MessageError::Unusable("SignatureMethod"));
    for (made, wanted, outcome) in [
        (ProofHash::Sha1, ProofHash::Sha1, Ok(())),
        (ProofHash::Sha256, ProofHash::Sha256, Ok(())),
        (ProofHash::Sha1, ProofHash::Sha256, Err(unusable.clone())),
        (ProofHash::Sha256, ProofHash::Sha1, Err(unusable)),
    ] {
        assert_eq!(check(&proof(made), wanted), outcome, "{made:?} where {wanted:?} is wanted");
    }
    let mixed = proof(ProofHash::Sha256).replace(SHA256, SHA1);
    assert!(check(&mixed, ProofHash::Sha256).is_err());
}
