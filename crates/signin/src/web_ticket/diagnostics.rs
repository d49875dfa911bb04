//! What web services say is wrong: an id and words, in a header of the answer and in a SOAP fault. `[MS-OCAUTHWS]` §3.2.4.1,
//! `[MS-OCER]` §7.22; SOAP 1.1 §4.4.

use super::message::{SOAP, TRUST, WSSE, parse};
use crate::xml::escape;
use std::fmt::Write;

/// Error ids of web services. The first group is `[MS-OCER]` §7.22, as far as it is known; for what has no id there, the
/// second group is this project's own.
pub mod error_id {
    /// The user is not enabled for SIP.
    pub const NOT_SIP_ENABLED: u32 = 28000;
    /// There is no security token, or none that is understood.
    pub const NO_TOKEN: u32 = 28020;
    /// The ticket was altered, or is not of this deployment.
    pub const INVALID_TICKET: u32 = 28032;
    /// The ticket's time is over, or has not come.
    pub const EXPIRED_TICKET: u32 = 28033;

    /// Own: the ticket is for another service.
    pub const OTHER_AUDIENCE: u32 = 28901;
    /// Own: the proof of possession is not right.
    pub const BAD_PROOF: u32 = 28902;
    /// Own: this very request, with its proof, was already answered.
    pub const REPLAYED: u32 = 28903;
    /// Own: what is signed has expired.
    pub const STALE_PROOF: u32 = 28904;
    /// Own: the address asked for is not that of the ticket.
    pub const NOT_OWNER: u32 = 28905;
    /// Own: the message itself cannot be used.
    pub const BAD_REQUEST: u32 = 28906;
    /// Own: the certification request is not accepted.
    pub const BAD_CERTIFICATION_REQUEST: u32 = 28907;
    /// Own: the Kerberos ticket is not accepted; the cause is told.
    pub const KERBEROS_REFUSED: u32 = 28908;
    /// Own: the user certificate is not accepted; the cause is told.
    pub const CERTIFICATE_REFUSED: u32 = 28909;
}

/// What a web service says is wrong, in its header or in a SOAP fault. `[MS-OCER]` §7.22 lists the ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diagnostics {
    /// Error id, for example 28020.
    pub id: Option<u32>,
    /// In words.
    pub reason: String,
    /// FQDN of the server.
    pub source: Option<String>,
    /// SOAP fault code, for example `wsse:InvalidSecurityToken`.
    pub fault: Option<String>,
    /// Own: the finding of the failure catalogue, for refusals that may tell it.
    pub cause: Option<String>,
}

impl Diagnostics {
    /// An error of ours.
    pub fn new(id: u32, reason: &str, source: &str, fault: &str) -> Diagnostics {
        Diagnostics {
            id: Some(id),
            reason: reason.to_owned(),
            source: Some(source.to_owned()),
            fault: Some(format!("wsse:{fault}")),
            cause: None,
        }
    }

    /// The value of `X-Ms-diagnostics`.
    pub fn header(&self) -> String {
        let quoted = |text: &str| text.replace(['"', '\\', '\r', '\n'], "'");
        let mut value = self.id.unwrap_or_default().to_string();
        for (name, text) in [
            ("source", self.source.as_deref()),
            ("reason", Some(self.reason.as_str())),
            ("faultcode", self.fault.as_deref()),
            ("cause", self.cause.as_deref()),
        ] {
            if let Some(text) = text {
                let _ = write!(value, ";{name}=\"{}\"", quoted(text));
            }
        }
        value
    }

    /// Reads the value of `X-Ms-diagnostics`. Its grammar allows `name="text"` and bare quoted texts; the latter are,
    /// in order, source, reason and fault.
    pub fn of_header(value: &str) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        let mut bare = 0;
        for (position, part) in split_quoted(value).into_iter().enumerate() {
            let part = part.trim();
            if position == 0 {
                diagnostics.id = part.split('.').next().and_then(|id| id.trim().parse().ok());
                continue;
            }
            let (name, text) = match part.split_once('=') {
                Some((name, text)) if !part.starts_with('"') => (name.trim(), text),
                _ => {
                    bare += 1;
                    (["source", "reason", "faultcode"].get(bare - 1).copied().unwrap_or_default(), part)
                }
            };
            let text = text.trim().trim_matches('"').to_owned();
            match name {
                "reason" => diagnostics.reason = text,
                "source" => diagnostics.source = Some(text),
                "faultcode" => diagnostics.fault = Some(text),
                "cause" => diagnostics.cause = Some(text),
                _ => {}
            }
        }
        diagnostics
    }

    /// The SOAP fault that says the same, for status 500.
    pub fn fault(&self) -> String {
        let code = self.fault.as_deref().unwrap_or("wsse:FailedAuthentication");
        let (prefix, code) = code.split_once(':').unwrap_or(("wsse", code));
        let namespace = match prefix {
            "s" => SOAP,
            "wst" => TRUST,
            _ => WSSE,
        };
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><s:Envelope \
             xmlns:s=\"{SOAP}\"><s:Body><s:Fault><faultcode xmlns:a=\"{namespace}\">\
             a:{code}</faultcode><faultstring xml:lang=\"en-US\">{reason}</faultstring><detail><OCSDiagnosticsFault \
             xmlns=\"urn:component:Microsoft.Rtc.WebAuthentication.2010\"><Ms-Diagnostics-Fault><ErrorId>{id}</ErrorId>\
             <Reason>{reason}</Reason></Ms-Diagnostics-Fault></OCSDiagnosticsFault></detail></s:Fault></s:Body></s:Envelope>",
            code = escape(code),
            reason = escape(&self.reason),
            id = self.id.unwrap_or_default(),
        )
    }

    /// Reads a SOAP fault; `None` when the bytes are none.
    pub fn of_fault(bytes: &[u8]) -> Option<Diagnostics> {
        let envelope = parse(bytes).ok()?;
        let fault = envelope.path(&["Body", "Fault"])?;
        let text = |name: &str| fault.find(name).map(|e| e.trimmed().to_owned()).filter(|text| !text.is_empty());
        Some(Diagnostics {
            id: text("ErrorId").and_then(|id| id.parse().ok()),
            reason: text("Reason").or_else(|| text("faultstring")).unwrap_or_default(),
            source: None,
            fault: text("faultcode"),
            cause: None,
        })
    }
}

/// Splits at semicolons that are not within quotes.
fn split_quoted(value: &str) -> Vec<&str> {
    let mut quoted = false;
    value
        .split(|c: char| {
            quoted ^= c == '"';
            c == ';' && !quoted
        })
        .take(32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn diagnostics_in_header_and_fault() {
        let sent =
            Diagnostics::new(28020, "No valid \"security\"; token.", "pool01.contoso.test", "InvalidSecurityToken");
        assert_eq!(
            sent.header(),
            "28020;source=\"pool01.contoso.test\";reason=\"No valid 'security'; token.\";faultcode=\"wsse:InvalidSecurityToken\""
        );
        let read = Diagnostics::of_header(&sent.header());
        assert_eq!((read.id, read.reason.as_str()), (Some(28020), "No valid 'security'; token."));
        assert_eq!(read.source, sent.source);
        assert_eq!(read.fault, sent.fault);
        let bare = Diagnostics::of_header("28033; \"pool\";\"The ticket expired.\" ; \"wsse:MessageExpired\"");
        assert_eq!((bare.id, bare.reason.as_str()), (Some(28033), "The ticket expired."));
        assert_eq!(bare.fault.as_deref(), Some("wsse:MessageExpired"));
        assert_eq!(Diagnostics::of_header(""), Diagnostics::default());

        let fault = Diagnostics::of_fault(sent.fault().as_bytes()).expect("a fault");
        assert_eq!((fault.id, fault.reason.as_str()), (Some(28020), "No valid \"security\"; token."));
        assert_eq!(fault.fault.as_deref(), Some("a:InvalidSecurityToken"));
        assert_eq!(Diagnostics::of_fault(b"<Envelope><Body/></Envelope>"), None);
        assert_eq!(Diagnostics::of_fault(b"<html>"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_hurt(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,80}") {
            let _ = Diagnostics::of_fault(&bytes);
            let _ = Diagnostics::of_header(&text);
        }

        #[test]
        fn diagnostics_survive_the_header(id in 1u32..99_999, reason in "[ -~&&[^\"\\\\]]{0,60}") {
            let sent = Diagnostics::new(id, reason.trim(), "fe1.contoso.test", "FailedCheck");
            prop_assert_eq!(Diagnostics::of_header(&sent.header()), sent);
        }
    }
}
