//! The envelopes of Kerberos messages: GSS tokens and, around these, the negotiation of SPNEGO.
//!
//! ```text
//! 60 length  06 09 <Kerberos>  01 00 AP-REQ                                a GSS token, RFC 2743 §3.1, RFC 4121 §4.1
//! 60 length  06 06 <SPNEGO>    a0 … NegTokenInit { mechanisms, token }     the client's first, RFC 4178 §4.2.1
//! a1 …  NegTokenResp { state, mechanism, token }                           the answer, §4.2.2
//! ```
//!
//! Windows offers Kerberos twice, under its identifier and under one with a bit lost in 1999; the token inside always has
//! the right one. Omitted: negotiation over several rounds, since Kerberos is done in one; NegoEx.

use super::der::{
    self, ENUMERATED, Malformed, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE, application, context,
};
use std::fmt;

/// Most bytes of a token; tickets of users in many groups come to some ten thousand.
pub const MAX_TOKEN: usize = 1 << 16;

/// Most mechanisms of an offer.
const MAX_MECHANISMS: usize = 32;

/// How every NTLM message begins.
const NTLM_SIGNATURE: &[u8] = b"NTLMSSP\0";

const SPNEGO: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x02];
const KERBEROS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02];
const KERBEROS_MICROSOFT: &[u8] = &[0x2a, 0x86, 0x48, 0x82, 0xf7, 0x12, 0x01, 0x02, 0x02];
const KERBEROS_USER_TO_USER: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02, 0x03];
const NTLM: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x02, 0x0a];
const NEGOEX: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x02, 0x1e];

/// A mechanism of GSS-API, by its object identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mechanism {
    /// 1.2.840.113554.1.2.2.
    Kerberos,
    /// 1.2.840.48018.1.2.2, the same as Windows 2000 spelt it.
    KerberosMicrosoft,
    /// 1.2.840.113554.1.2.2.3: tickets under the key of a user's session.
    KerberosUserToUser,
    /// 1.3.6.1.4.1.311.2.2.10.
    Ntlm,
    /// 1.3.6.1.4.1.311.2.2.30.
    NegoEx,
    /// Any other: the content of its OBJECT IDENTIFIER.
    Other(Vec<u8>),
}

impl Mechanism {
    fn from_identifier(identifier: &[u8]) -> Mechanism {
        match identifier {
            KERBEROS => Mechanism::Kerberos,
            KERBEROS_MICROSOFT => Mechanism::KerberosMicrosoft,
            KERBEROS_USER_TO_USER => Mechanism::KerberosUserToUser,
            NTLM => Mechanism::Ntlm,
            NEGOEX => Mechanism::NegoEx,
            other => Mechanism::Other(other.to_vec()),
        }
    }

    fn identifier(&self) -> &[u8] {
        match self {
            Mechanism::Kerberos => KERBEROS,
            Mechanism::KerberosMicrosoft => KERBEROS_MICROSOFT,
            Mechanism::KerberosUserToUser => KERBEROS_USER_TO_USER,
            Mechanism::Ntlm => NTLM,
            Mechanism::NegoEx => NEGOEX,
            Mechanism::Other(identifier) => identifier,
        }
    }

    /// Kerberos under either identifier.
    pub fn is_kerberos(&self) -> bool {
        matches!(self, Mechanism::Kerberos | Mechanism::KerberosMicrosoft)
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mechanism::Kerberos | Mechanism::KerberosMicrosoft => f.write_str("Kerberos"),
            Mechanism::KerberosUserToUser => f.write_str("Kerberos user-to-user"),
            Mechanism::Ntlm => f.write_str("NTLM"),
            Mechanism::NegoEx => f.write_str("NegoEx"),
            Mechanism::Other(identifier) => {
                f.write_str("the mechanism")?;
                identifier.iter().take(20).try_for_each(|byte| write!(f, " {byte:02x}"))
            }
        }
    }
}

/// A token that is none of Kerberos.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// An NTLM message, bare or in an offer.
    #[error("the token is of NTLM, not of Kerberos")]
    Ntlm,
    /// A token of something else.
    #[error("the token is of {0}, not of Kerberos")]
    OtherMechanism(Mechanism),
    /// An offer without a token in it.
    #[error("the offer has no token in it")]
    NoToken,
    /// Bytes that are not what they have to be; the name of the place.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// Longer than [`MAX_TOKEN`].
    #[error("the token is longer than {MAX_TOKEN} bytes")]
    TooLarge,
}

impl From<Malformed> for TokenError {
    fn from(malformed: Malformed) -> TokenError {
        TokenError::Malformed(malformed.0)
    }
}

/// What a GSS token of Kerberos holds, RFC 4121 §4.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenId {
    /// 01 00.
    ApReq,
    /// 02 00.
    ApRep,
    /// 03 00: KRB-ERROR.
    Error,
}

/// Puts a message into a GSS token.
pub fn frame(id: TokenId, message: &[u8]) -> Vec<u8> {
    let id = match id {
        TokenId::ApReq => [1, 0],
        TokenId::ApRep => [2, 0],
        TokenId::Error => [3, 0],
    };
    der::element(application(0), &[&der::element(OBJECT_IDENTIFIER, &[KERBEROS]), &id, message])
}

/// Takes a message out of a GSS token of Kerberos.
pub fn unframe(token: &[u8]) -> Result<(TokenId, &[u8]), TokenError> {
    match open(token)? {
        (mechanism, inner) if mechanism.is_kerberos() => identified(inner),
        (mechanism, _) => Err(TokenError::OtherMechanism(mechanism)),
    }
}

/// The first token of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Initial<'a> {
    /// A GSS token: its message.
    Bare(TokenId, &'a [u8]),
    /// An offer by SPNEGO, with a GSS token inside.
    Negotiate(NegotiateInit<'a>),
}

impl<'a> Initial<'a> {
    /// Reads either form.
    pub fn read(token: &'a [u8]) -> Result<Initial<'a>, TokenError> {
        match open(token)? {
            (mechanism, inner) if mechanism.is_kerberos() => {
                let (id, message) = identified(inner)?;
                Ok(Initial::Bare(id, message))
            }
            (Mechanism::Other(identifier), inner) if identifier == SPNEGO => {
                NegotiateInit::read(inner).map(Initial::Negotiate)
            }
            (mechanism, _) => Err(TokenError::OtherMechanism(mechanism)),
        }
    }
}

/// NegTokenInit: what a client can do, best first, and the first token of the best. RFC 4178 §4.2.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegotiateInit<'a> {
    /// The offer, best first.
    pub mechanisms: Vec<Mechanism>,
    /// The offer as it was sent, which a signature over it covers.
    pub mechanism_list: &'a [u8],
    /// Token of the first mechanism.
    pub token: Option<&'a [u8]>,
    /// Signature over the offer.
    pub mic: Option<&'a [u8]>,
}

impl<'a> NegotiateInit<'a> {
    fn read(inner: &'a [u8]) -> Result<NegotiateInit<'a>, TokenError> {
        let mut choice = Reader::new(inner);
        let mut sequence = Reader::new(choice.expect(context(0), "the offer")?);
        let mut fields = Reader::new(sequence.expect(SEQUENCE, "the offer")?);
        let mechanism_list = fields.expect(context(0), "the list of mechanisms")?;
        let mut list = Reader::new(mechanism_list);
        let mut list = Reader::new(list.expect(SEQUENCE, "the list of mechanisms")?);
        let mut mechanisms = Vec::new();
        while !list.is_empty() {
            if mechanisms.len() == MAX_MECHANISMS {
                return Err(TokenError::Malformed("the list of mechanisms"));
            }
            let identifier = list.expect(OBJECT_IDENTIFIER, "the list of mechanisms")?;
            mechanisms.push(Mechanism::from_identifier(identifier));
        }
        fields.optional(1, der::BIT_STRING, "the flags of the offer")?;
        let token = fields.optional(2, OCTET_STRING, "the offer's token")?;
        let mic = fields.optional(3, OCTET_STRING, "the offer's signature")?;
        Ok(NegotiateInit { mechanisms, mechanism_list, token, mic })
    }

    /// The message of Kerberos inside.
    pub fn kerberos(&self) -> Result<(TokenId, &'a [u8]), TokenError> {
        let token = match (self.token, self.mechanisms.first()) {
            (Some(token), _) => token,
            (None, Some(Mechanism::Ntlm)) => return Err(TokenError::Ntlm),
            (None, _) => return Err(TokenError::NoToken),
        };
        match self.mechanisms.first() {
            Some(first) if first.is_kerberos() => unframe(token),
            Some(Mechanism::Ntlm) => Err(TokenError::Ntlm),
            Some(other) => Err(TokenError::OtherMechanism(other.clone())),
            None => Err(TokenError::Malformed("the list of mechanisms")),
        }
    }

    /// Writes an offer of Kerberos, under both identifiers, with the GSS token of an AP-REQ.
    pub fn of_kerberos(token: &[u8]) -> Vec<u8> {
        let kerberos = der::element(OBJECT_IDENTIFIER, &[KERBEROS]);
        let microsoft = der::element(OBJECT_IDENTIFIER, &[KERBEROS_MICROSOFT]);
        let list = der::field(0, SEQUENCE, &[kerberos, microsoft].concat());
        let offer = der::field(0, SEQUENCE, &[list, der::field(2, OCTET_STRING, token)].concat());
        der::element(application(0), &[&der::element(OBJECT_IDENTIFIER, &[SPNEGO]), &offer])
    }
}

/// How far a negotiation is, RFC 4178 §4.2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NegotiationState {
    /// Done, at the side that says so.
    Completed,
    /// Another token is expected.
    Incomplete,
    /// Refused.
    Rejected,
    /// Another token is expected, with a signature over the offer.
    RequestMic,
}

/// NegTokenResp: the answer to an offer. RFC 4178 §4.2.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegotiateResponse {
    /// How far it is; absent when it goes without saying.
    pub state: Option<NegotiationState>,
    /// The mechanism chosen.
    pub mechanism: Option<Mechanism>,
    /// A token of that mechanism.
    pub token: Option<Vec<u8>>,
    /// Signature over the offer.
    pub mic: Option<Vec<u8>>,
}

impl NegotiateResponse {
    /// Reads an answer.
    pub fn read(token: &[u8]) -> Result<NegotiateResponse, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::TooLarge);
        }
        let mut choice = Reader::new(token);
        let mut sequence = Reader::new(choice.expect(context(1), "the answer to the offer")?);
        choice.end("the answer to the offer")?;
        let mut fields = Reader::new(sequence.expect(SEQUENCE, "the answer to the offer")?);
        let state = match fields.optional(0, ENUMERATED, "the state of the negotiation")? {
            None => None,
            Some([0]) => Some(NegotiationState::Completed),
            Some([1]) => Some(NegotiationState::Incomplete),
            Some([2]) => Some(NegotiationState::Rejected),
            Some([3]) => Some(NegotiationState::RequestMic),
            Some(_) => return Err(TokenError::Malformed("the state of the negotiation")),
        };
        let mechanism = fields.optional(1, OBJECT_IDENTIFIER, "the mechanism chosen")?;
        let token = fields.optional(2, OCTET_STRING, "the answer's token")?;
        let mic = fields.optional(3, OCTET_STRING, "the answer's signature")?;
        Ok(NegotiateResponse {
            state,
            mechanism: mechanism.map(Mechanism::from_identifier),
            token: token.map(<[u8]>::to_vec),
            mic: mic.map(<[u8]>::to_vec),
        })
    }

    /// Writes an answer.
    pub fn write(&self) -> Vec<u8> {
        let mut fields = Vec::new();
        if let Some(state) = self.state {
            fields.extend(der::field(0, ENUMERATED, &[state as u8]));
        }
        if let Some(mechanism) = &self.mechanism {
            fields.extend(der::field(1, OBJECT_IDENTIFIER, mechanism.identifier()));
        }
        if let Some(token) = &self.token {
            fields.extend(der::field(2, OCTET_STRING, token));
        }
        if let Some(mic) = &self.mic {
            fields.extend(der::field(3, OCTET_STRING, mic));
        }
        der::field(1, SEQUENCE, &fields)
    }
}

/// The outermost envelope: the mechanism and what follows it.
fn open(token: &[u8]) -> Result<(Mechanism, &[u8]), TokenError> {
    if token.len() > MAX_TOKEN {
        return Err(TokenError::TooLarge);
    }
    if token.starts_with(NTLM_SIGNATURE) {
        return Err(TokenError::Ntlm);
    }
    let mut outer = Reader::new(token);
    let mut inner = Reader::new(outer.expect(application(0), "the envelope")?);
    outer.end("bytes behind the envelope")?;
    let identifier = inner.expect(OBJECT_IDENTIFIER, "the mechanism")?;
    match Mechanism::from_identifier(identifier) {
        Mechanism::Ntlm => Err(TokenError::Ntlm),
        mechanism => Ok((mechanism, inner.rest())),
    }
}

fn identified(inner: &[u8]) -> Result<(TokenId, &[u8]), TokenError> {
    match inner {
        [1, 0, message @ ..] => Ok((TokenId::ApReq, message)),
        [2, 0, message @ ..] => Ok((TokenId::ApRep, message)),
        [3, 0, message @ ..] => Ok((TokenId::Error, message)),
        _ => Err(TokenError::Malformed("the kind of token")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn offer(mechanisms: &[&[u8]], token: Option<&[u8]>) -> Vec<u8> {
        let list: Vec<u8> = mechanisms.iter().flat_map(|oid| der::element(OBJECT_IDENTIFIER, &[oid])).collect();
        let mut fields = der::field(0, SEQUENCE, &list);
        if let Some(token) = token {
            fields.extend(der::field(2, OCTET_STRING, token));
        }
        let inner = der::field(0, SEQUENCE, &fields);
        der::element(application(0), &[&der::element(OBJECT_IDENTIFIER, &[SPNEGO]), &inner])
    }

    fn inside(token: &[u8]) -> Result<(TokenId, Vec<u8>), TokenError> {
        match Initial::read(token)? {
            Initial::Bare(id, message) => Ok((id, message.to_vec())),
            Initial::Negotiate(offer) => offer.kerberos().map(|(id, message)| (id, message.to_vec())),
        }
    }

    #[test]
    fn framing() {
        let token = frame(TokenId::ApReq, b"message");
        assert_eq!(hex::encode(&token), "601406092a864886f71201020201006d657373616765");
        assert_eq!(unframe(&token), Ok((TokenId::ApReq, &b"message"[..])));
        assert_eq!(inside(&token), Ok((TokenId::ApReq, b"message".to_vec())));
        let mut longer = token.clone();
        longer.push(0);
        assert_eq!(unframe(&longer), Err(TokenError::Malformed("bytes behind the envelope")));
        assert_eq!(unframe(&vec![0x60; MAX_TOKEN + 1]), Err(TokenError::TooLarge));
    }

    /// Windows: its own identifier first, then the right one, NegoEx and NTLM.
    #[test]
    fn offers() {
        let token = frame(TokenId::ApReq, b"message");
        let good = Ok((TokenId::ApReq, b"message".to_vec()));
        assert_eq!(inside(&offer(&[KERBEROS_MICROSOFT, KERBEROS, NEGOEX, NTLM], Some(&token))), good);
        assert_eq!(inside(&offer(&[KERBEROS], Some(&token))), good);
        assert_eq!(inside(&NegotiateInit::of_kerberos(&token)), good);
        assert_eq!(inside(&offer(&[NTLM, KERBEROS], Some(b"NTLMSSP\0\x01"))), Err(TokenError::Ntlm));
        assert_eq!(inside(&offer(&[NTLM], None)), Err(TokenError::Ntlm));
        assert_eq!(inside(&offer(&[KERBEROS], Some(b"NTLMSSP\0\x01"))), Err(TokenError::Ntlm));
        assert_eq!(inside(b"NTLMSSP\0\x01"), Err(TokenError::Ntlm));
        assert_eq!(inside(&offer(&[KERBEROS], None)), Err(TokenError::NoToken));
        assert_eq!(
            inside(&offer(&[NEGOEX, KERBEROS], Some(b"NEGOEXTS"))),
            Err(TokenError::OtherMechanism(Mechanism::NegoEx))
        );
        assert_eq!(inside(&offer(&[], Some(&token))), Err(TokenError::Malformed("the list of mechanisms")));
        assert!(inside(&offer(&[KERBEROS; 33], Some(&token))).is_err());
    }

    #[test]
    fn the_signed_list_is_the_one_that_was_sent() {
        let token = offer(&[KERBEROS], Some(&frame(TokenId::ApReq, b"")));
        let Ok(Initial::Negotiate(offer)) = Initial::read(&token) else { panic!("an offer") };
        assert_eq!(hex::encode(offer.mechanism_list), "300b06092a864886f712010202");
    }

    #[test]
    fn answers() {
        let answer = NegotiateResponse {
            state: Some(NegotiationState::Completed),
            mechanism: Some(Mechanism::KerberosMicrosoft),
            token: Some(b"token".to_vec()),
            mic: None,
        };
        let bytes = answer.write();
        assert_eq!(hex::encode(&bytes), "a11d301ba0030a0100a10b06092a864882f712010202a2070405746f6b656e");
        assert_eq!(NegotiateResponse::read(&bytes), Ok(answer));
        assert!(NegotiateResponse::read(&[0xa1, 7, 0x30, 5, 0xa0, 3, 0x0a, 1, 9]).is_err(), "no such state");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), at: prop::sample::Index, bit in 0u32..8) {
            let _ = (inside(&bytes), NegotiateResponse::read(&bytes));
            let mut token = NegotiateInit::of_kerberos(&frame(TokenId::ApReq, &bytes));
            let at = at.index(token.len());
            token[at] ^= 1 << bit;
            let _ = inside(&token);
        }
    }
}
