//! The text that is signed. `[MS-SIPAE]` §3.2.5.2.
//!
//! A signature covers a fixed list of header values, each in angle brackets, spelt exactly as on the wire. Proxies may
//! change everything else (Via, Contact, bodies), which is why the list is what it is.
//!
//! Of a request's start line it covers nothing: the method in the list is that of CSeq. [`cseq`] sees that they are the same.

use super::message::Scheme;
use sip::{CSeq, Message, Name, NameAddr};
use std::fmt::Write;

/// Why nothing can be signed or checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsignable {
    /// A header is needed that is not there.
    #[error("{0} is missing or cannot be understood")]
    Header(&'static str),
    /// A signature would be right for one method, while the request asks for another.
    #[error("CSeq names another method than the start line")]
    OtherMethod,
    /// The key is kept by the system's Kerberos library, which does not sign any more.
    #[error("the system's Kerberos library does not sign any more")]
    KeyElsewhere,
}

/// The fields of the text that do not come from the message itself.
#[derive(Debug, Clone, Copy)]
pub struct Salt<'a> {
    /// Scheme token.
    pub scheme: &'a Scheme,
    /// `crand` or `srand`.
    pub rand: &'a str,
    /// `cnum` or `snum`.
    pub num: u32,
    /// Realm of the association.
    pub realm: &'a str,
    /// Target name of the association; for Kerberos with its `sip/`.
    pub target_name: &'a str,
}

/// CSeq of a message. Of a request it has to name the method of the start line: RFC 3261 §8.1.1.5. Else whoever passes a
/// signed request on could turn it into another one.
pub fn cseq<'a>(message: &Message<'a>) -> Result<CSeq<'a>, Unsignable> {
    let cseq = message.header(Name::CSeq).and_then(|v| CSeq::parse(v).ok()).ok_or(Unsignable::Header("CSeq"))?;
    match message.method() {
        Some(method) if method != cseq.method => Err(Unsignable::OtherMethod),
        _ => Ok(cseq),
    }
}

/// Writes the text a signature of this message covers. A missing optional field is an empty pair of brackets; the
/// status code is left out altogether in requests.
pub fn text(salt: &Salt<'_>, message: &Message<'_>) -> Result<String, Unsignable> {
    let call_id = message.header(Name::CallId).ok_or(Unsignable::Header("Call-ID"))?;
    let cseq = cseq(message)?;
    let from = name_addr(message, Name::From).ok_or(Unsignable::Header("From"))?;
    let to = name_addr(message, Name::To).ok_or(Unsignable::Header("To"))?;
    let (sip_identity, tel_identity) = identities(message);
    let mut text = String::with_capacity(384);
    let _ = write!(
        text,
        "<{}><{}><{}><{}><{}><{}><{}><{}><{}><{}><{}><{}><{}><{}><{}>",
        salt.scheme,
        salt.rand,
        salt.num,
        salt.realm,
        salt.target_name,
        call_id,
        cseq.number,
        cseq.method,
        from.uri,
        from.params.get("tag").unwrap_or(""),
        to.uri,
        to.params.get("tag").unwrap_or(""),
        sip_identity,
        tel_identity,
        message.header(Name::Expires).unwrap_or(""),
    );
    if let Some(code) = message.status() {
        let _ = write!(text, "<{code}>");
    }
    Ok(text)
}

fn name_addr<'a>(message: &Message<'a>, name: Name) -> Option<NameAddr<'a>> {
    NameAddr::parse(message.header(name)?).ok()
}

/// The SIP and the tel URI of `P-Asserted-Identity`, else of `P-Preferred-Identity`; one header may list both.
fn identities<'a>(message: &Message<'a>) -> (&'a str, &'a str) {
    let name = [Name::PAssertedIdentity, Name::PPreferredIdentity]
        .into_iter()
        .find(|name| message.header(*name).is_some())
        .unwrap_or(Name::PAssertedIdentity);
    let (mut sip, mut tel) = ("", "");
    for value in message.all(name).flat_map(sip::header::split_list) {
        let Ok(identity) = NameAddr::parse(value) else { continue };
        let scheme = identity.uri.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let place = match scheme.as_str() {
            "tel" => &mut tel,
            "sip" | "sips" => &mut sip,
            _ => continue,
        };
        if place.is_empty() {
            *place = identity.uri;
        }
    }
    (sip, tel)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed_text(message: &str, salt: &Salt<'_>) -> String {
        text(salt, &Message::parse(message.as_bytes()).expect("parses")).expect("signable")
    }

    fn salt<'a>(rand: &'a str, num: u32, target_name: &'a str) -> Salt<'a> {
        Salt { scheme: &Scheme::Ntlm, rand, num, realm: "SIP Communications Service", target_name }
    }

    #[test]
    fn request_and_response_of_a_published_sign_in() {
        let request = "REGISTER sip:cosmo.local SIP/2.0\r\nFrom: <sip:user@cosmo.local>;tag=3e49177a52;epid=c8ca638a15\r\nTo: <sip:user@cosmo.local>\r\nCall-ID: 4037df9284354df39065195bd57a4b14\r\nCSeq: 3 REGISTER\r\n\r\n";
        assert_eq!(
            signed_text(request, &salt("13317733", 1, "cosmo-ocs-r2.cosmo.local")),
            "<NTLM><13317733><1><SIP Communications Service><cosmo-ocs-r2.cosmo.local><4037df9284354df39065195bd57a4b14><3><REGISTER><sip:user@cosmo.local><3e49177a52><sip:user@cosmo.local><><><><>"
        );
        let response = "SIP/2.0 200 OK\r\nFrom: \"User\"<sip:user@cosmo.local>;tag=3e49177a52;epid=c8ca638a15\r\nTo: <sip:user@cosmo.local>;tag=5E61CCD925D17E043D9A74835A88F664\r\nCall-ID: 4037df9284354df39065195bd57a4b14\r\nCSeq: 3 REGISTER\r\nExpires: 7200\r\n\r\n";
        assert_eq!(
            signed_text(response, &salt("9616454F", 1, "cosmo-ocs-r2.cosmo.local")),
            "<NTLM><9616454F><1><SIP Communications Service><cosmo-ocs-r2.cosmo.local><4037df9284354df39065195bd57a4b14><3><REGISTER><sip:user@cosmo.local><3e49177a52><sip:user@cosmo.local><5E61CCD925D17E043D9A74835A88F664><><><7200><200>"
        );
    }

    #[test]
    fn asserted_identity_keeps_its_spelling() {
        let ringing = "SIP/2.0 180 Ringing\r\nFrom: <sip:sender@company.com>;tag=2420628112\r\nTo: <sip:recipient@company.com>;tag=7aee15546a\r\nCall-ID: 41CEg82ECa0AC8i3DD7mE673t9CF4b19DAxF780x\r\nCSeq: 1 INVITE\r\nP-Asserted-Identity: \"recipient\"<SIP:recipient@company.com>\r\n\r\n";
        assert_eq!(
            signed_text(ringing, &salt("1B6D47A1", 11, "LOC-COMPANYT-FE03.COMPANY.COM")),
            "<NTLM><1B6D47A1><11><SIP Communications Service><LOC-COMPANYT-FE03.COMPANY.COM><41CEg82ECa0AC8i3DD7mE673t9CF4b19DAxF780x><1><INVITE><sip:sender@company.com><2420628112><sip:recipient@company.com><7aee15546a><SIP:recipient@company.com><><><180>"
        );
        let both = "SIP/2.0 180 Ringing\r\nFrom: sip:a@b.c;tag=1\r\nTo: <sip:d@e.f>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nP-Asserted-Identity: <sip:d@e.f>, <tel:+1425>\r\n\r\n";
        assert!(
            signed_text(both, &salt("0", 1, "t")).ends_with("<sip:a@b.c><1><sip:d@e.f><><sip:d@e.f><tel:+1425><><180>")
        );
    }

    #[test]
    fn what_cannot_be_signed_is_named() {
        let message = Message::parse(b"SIP/2.0 200 OK\r\nCall-ID: 1\r\nCSeq: 1 X\r\n\r\n").expect("parses");
        assert_eq!(text(&salt("0", 1, "t"), &message), Err(Unsignable::Header("From")));
        let request = "SUBSCRIBE sip:a@b.c SIP/2.0\r\nFrom: sip:a@b.c;tag=1\r\nTo: <sip:a@b.c>\r\nCall-ID: x\r\nCSeq: 1 SERVICE\r\n\r\n";
        let message = Message::parse(request.as_bytes()).expect("parses");
        assert_eq!(text(&salt("0", 1, "t"), &message), Err(Unsignable::OtherMethod));
    }
}
