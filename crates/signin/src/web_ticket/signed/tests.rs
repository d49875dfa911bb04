//! Our own message, those of other clients, and what each alteration leads to.

use super::*;
use crate::web_ticket::message::{SAML_TOKEN, SYMMETRIC_KEY, parse};
use mechanism::user_certificate::{UserCertificateAuthority, new_key};
use proptest::prelude::*;
use std::sync::LazyLock;
use std::time::Duration;
use zeroize::Zeroizing;

const NOW: i64 = 1_767_225_600; // 2026-01-01T00:00:00Z

/// A certificate and its key. Whose it is does not matter here.
static HOLDER: LazyLock<(Vec<u8>, Zeroizing<Vec<u8>>)> = LazyLock::new(|| {
    let key = new_key(1024).expect("a key");
    (UserCertificateAuthority::certify(&key, [1; 16], NOW, Duration::from_secs(86_400)).expect("DER"), key)
});

fn wish() -> TokenRequest {
    TokenRequest {
        context: Some("c".to_owned()),
        token_type: Some(SAML_TOKEN.to_owned()),
        applies_to: "https://pool1.contoso.test/a?b&c".to_owned(),
        claim: "sip:alice@contoso.test".to_owned(),
        entropy: Some(Zeroizing::new(vec![7; 32])),
        key_type: Some(SYMMETRIC_KEY.to_owned()),
    }
}

fn ours() -> String {
    write(&wish(), &HOLDER.0, &HOLDER.1, NOW).expect("a message")
}

fn checked(message: &str, now: i64, sha1: bool) -> Result<Holder, SignedError> {
    check(message.as_bytes(), &parse(message.as_bytes()).expect("XML"), now, sha1)
}

/// As a client writes it that signs the timestamp alone, with SHA-1 and prefixes of its own.
fn foreign(created: &str, expires: &str) -> String {
    let timestamp = format!(
        "<u:Timestamp xmlns:u=\"{WSU}\" u:Id=\"_0\"><u:Created>{created}</u:Created><u:Expires>{expires}</u:Expires>\
         </u:Timestamp>"
    );
    let digest = STANDARD.encode(Sha1::digest(timestamp.as_bytes()));
    let info = format!(
        "<SignedInfo xmlns=\"{DS}\"><CanonicalizationMethod Algorithm=\"{EXCLUSIVE}\"></CanonicalizationMethod>\
         <SignatureMethod Algorithm=\"{RSA_SHA1}\"></SignatureMethod><Reference URI=\"#_0\"><Transforms>\
         <Transform Algorithm=\"{EXCLUSIVE}\"></Transform></Transforms><DigestMethod Algorithm=\"{SHA1}\">\
         </DigestMethod><DigestValue>{digest}</DigestValue></Reference></SignedInfo>"
    );
    let value = STANDARD.encode(sign(&HOLDER.1, Digest::Sha1, info.as_bytes()).expect("a signature"));
    format!(
        "<s:Envelope xmlns:s=\"{SOAP}\" xmlns:u=\"{WSU}\"><s:Header> <o:Security xmlns:o=\"{WSSE}\" s:mustUnderstand=\"1\">\
         {timestamp} <o:BinarySecurityToken>\r\n{}\r\n</o:BinarySecurityToken> <Signature xmlns=\"{DS}\">{info}\
         <SignatureValue>{value}</SignatureValue></Signature></o:Security></s:Header><s:Body>{}</s:Body></s:Envelope>",
        STANDARD.encode(&HOLDER.0),
        wish().content()
    )
}

#[test]
fn our_own_message_proves_the_key_and_can_be_read() {
    let message = ours();
    let holder = checked(&message, NOW, false).expect("good");
    assert_eq!((holder.certificate, holder.remembered_until), (HOLDER.0.clone(), NOW + 600));
    let read = TokenRequest::read(message.as_bytes()).expect("a request");
    assert_eq!((read.claim, read.applies_to), (wish().claim, wish().applies_to));
    assert!(!message.contains("PRIVATE") && !format!("{:?}", wish()).contains("Bwc"), "no secret but the entropy");
}

#[test]
fn names_tell_messages_apart() {
    let name = |message: &str| checked(message, NOW, true).expect("good").name;
    let again = name(&ours());
    assert_eq!(name(&ours().replace("<s:Body ", "<s:Body  ")), again, "spelt differently, the same message");
    assert_ne!(name(&write(&wish(), &HOLDER.0, &HOLDER.1, NOW + 1).expect("a message")), again);
    let other = TokenRequest { entropy: Some(Zeroizing::new(vec![8; 32])), ..wish() };
    assert_ne!(name(&write(&other, &HOLDER.0, &HOLDER.1, NOW).expect("a message")), again);
}

#[test]
fn a_client_that_signs_the_timestamp_alone_is_accepted_and_sha1_can_be_switched_off() {
    let message = foreign("2026-01-01T00:00:00.000Z", "2026-01-01T00:05:00.000Z");
    assert!(checked(&message, NOW, true).is_ok());
    assert_eq!(checked(&message, NOW, false), Err(SignedError::Sha1));
    let mixed = ours().replace("xmlenc#sha256", "../2000/09/xmldsig#sha1");
    assert_eq!(checked(&mixed, NOW, false), Err(SignedError::Unusable(MessageError::Unusable("DigestMethod"))));
}

#[test]
fn it_is_good_for_minutes_and_clocks_may_differ_by_as_much() {
    let ends =
        |created, expires, now| checked(&foreign(created, expires), now, true).map(|holder| holder.remembered_until);
    let (at, soon, late) = ("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", "2026-01-02T00:00:00Z");
    let stale = Err(SignedError::Stale);
    assert_eq!(ends(at, soon, NOW + 359), Ok(NOW + 360));
    assert_eq!(ends(at, soon, NOW + 360), stale);
    assert_eq!(ends(at, late, NOW + 599), Ok(NOW + 600), "whatever the client wishes");
    assert_eq!(ends(at, late, NOW + 600), stale);
    assert_eq!(ends(at, soon, NOW - 300), Ok(NOW + 360));
    assert_eq!(ends(at, soon, NOW - 301), stale);
    assert_eq!(ends(soon, at, NOW), Ok(NOW + 300), "expires before it was made: the slack is all there is");
    assert_eq!(ends("9999-12-31T23:59:59Z", late, NOW), stale);
    let unusable = SignedError::Unusable(MessageError::Unusable("Timestamp"));
    assert_eq!(ends("yesterday", soon, NOW), Err(unusable));
}

#[test]
fn alterations_and_what_they_lead_to() {
    use SignedError::{NoCertificate, Wrong};
    let unusable = |what| SignedError::Unusable(MessageError::Unusable(what));
    let missing = |what| SignedError::Unusable(MessageError::Missing(what));
    let other = new_key(1024).expect("a key");
    let another = UserCertificateAuthority::certify(&other, [2; 16], NOW, Duration::from_secs(60)).expect("DER");
    let (mine, theirs) = (STANDARD.encode(&HOLDER.0), STANDARD.encode(another));
    let table = [
        ("sip:alice@", "sip:bob@", Wrong),
        ("00:05:00Z", "00:06:00Z", Wrong),
        ("<wsu:Created>", "<wsu:Created> ", Wrong),
        ("https://pool1.", "https://pool2.", Wrong),
        (mine.as_str(), theirs.as_str(), Wrong),
        (mine.as_str(), "AAAA", NoCertificate),
        (mine.as_str(), "", NoCertificate),
        ("BinarySecurityToken", "SecurityToken", NoCertificate),
        ("wsse:Security>", "wsse:Safety>", NoCertificate),
        ("s:Header>", "s:Footer>", NoCertificate),
        ("<SignatureValue>", "<SignatureValue>AAAA", Wrong),
        ("<Reference URI=\"#body\">", "<Reference URI=\"#body\" Id=\"x\">", Wrong),
        ("xmldsig-more#rsa-sha256", "xmldsig-more#rsa-md5", unusable("SignatureMethod")),
        ("xmlenc#sha256\">", "xmlenc#sha256\"><X/>", unusable("DigestMethod")),
        ("<Transforms>", "<Transforms><Transform Algorithm=\"x\"/>", unusable("Transform")),
        ("<Transforms>", "<Transforms><X/>", Wrong),
        ("URI=\"#timestamp\"", "URI=\"\"", unusable("Reference/@URI")),
        ("URI=\"#timestamp\"", "URI=\"#nothing\"", unusable("Reference/@URI")),
        ("URI=\"#timestamp\"", "URI=\"http://x/#timestamp\"", unusable("Reference/@URI")),
        ("wsu:Id=\"body\"", "wsu:Id=\"timestamp\"", unusable("Reference/@URI")),
        ("<wsse:Reference URI=\"#certificate\"", "<wsse:Reference URI=\"#timestamp\"", unusable("KeyInfo")),
        ("<SignatureValue>", "<SignatureValue/><SignatureValue>", missing("one SignatureValue")),
        ("<Signature xmlns", "<Signature/><Signature xmlns", missing("one Signature")),
        ("<wsu:Timestamp ", "<wsu:Timestamp/><wsu:Timestamp ", missing("one Timestamp")),
    ];
    for (from, to, error) in table {
        let mut altered = ours().replace(from, to);
        if to.starts_with("wsse:Safety") || to.starts_with("s:Footer") {
            altered = altered.replace("<wsse:Security ", "<wsse:Safety ").replace("<s:Header>", "<s:Footer>");
        }
        assert_ne!(altered, ours(), "{from}");
        if let Ok(envelope) = parse(altered.as_bytes()) {
            assert_eq!(check(altered.as_bytes(), &envelope, NOW, true).err(), Some(error), "{from} -> {to}");
        } else {
            assert!(to.contains("Safety") || to.contains("Footer"), "{from} -> {to} is no XML");
        }
    }
}

#[test]
fn a_signature_that_leaves_out_the_timestamp_or_covers_too_much() {
    let only_body = ours().replace("URI=\"#timestamp\"", "URI=\"#body\"");
    assert_eq!(checked(&only_body, NOW, true), Err(SignedError::Wrong), "its digest is the timestamp's");
    let start = ours().find("<Reference URI=\"#timestamp\">").expect("there");
    let end = ours().find("<Reference URI=\"#body\">").expect("there");
    let mut without = ours();
    without.replace_range(start..end, "");
    let missing = SignedError::Unusable(MessageError::Missing("a Reference to the Timestamp"));
    assert_eq!(checked(&without, NOW, true), Err(missing));
    let many = ours().replace("<Reference URI=\"#body\">", &"<Reference URI=\"#body\"/>".repeat(9));
    let many = many.replacen("</Reference></SignedInfo>", "</SignedInfo>", 1);
    if let Ok(envelope) = parse(many.as_bytes()) {
        assert!(check(many.as_bytes(), &envelope, NOW, true).is_err());
    }
}

/// What is signed is looked for where it counts, whatever else the message has.
#[test]
fn a_signed_body_elsewhere_proves_nothing() {
    let start = ours().find("<s:Body").expect("a body");
    let signed_body = ours()[start..].replace("</s:Envelope>", "");
    let forged = signed_body.replace("alice", "bob").replace("wsu:Id=\"body\"", "wsu:Id=\"other\"");
    let wrapped = ours().replace(&signed_body, &format!("{forged}<x>{signed_body}</x>"));
    let unusable = SignedError::Unusable(MessageError::Unusable("Reference/@URI"));
    assert_eq!(checked(&wrapped, NOW, true), Err(unusable.clone()));
    let two = ours().replace(&signed_body, &format!("{forged}{signed_body}"));
    assert_eq!(checked(&two, NOW, true), Err(unusable.clone()));
    for place in ["</s:Header>", "</wsse:Security>"] {
        let moved = ours().replace(&signed_body, &forged).replace(place, &format!("{signed_body}{place}"));
        assert_eq!(checked(&moved, NOW, true), Err(unusable.clone()), "moved before {place}");
    }
}

proptest! {
    #[test]
    fn no_altered_byte_is_overlooked(place: prop::sample::Index, bit in 0u8..7) {
        let mut bytes = ours().into_bytes();
        let at = place.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let (Ok(text), Ok(envelope)) = (std::str::from_utf8(&bytes), parse(&bytes))
            && check(&bytes, &envelope, NOW, true).is_ok()
        {
            // What is not signed may differ: what stands around, and of the certificate all but the key. The wish does not.
            let read = TokenRequest::of(&envelope).expect("it was signed");
            prop_assert_eq!((read.claim, read.applies_to), (wish().claim, wish().applies_to), "{}", text);
        }
    }

    #[test]
    fn no_bytes_hurt(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(envelope) = parse(&bytes) {
            let _ = check(&bytes, &envelope, NOW, true);
        }
    }
}
