//! A ticket that is had, and the token it becomes at a service. RFC 4120 §3.2, RFC 4121 §4.1.

use super::confounder;
use super::error::KerberosError;
use crate::channel_bindings::ChannelBindings;
use crate::kerberos::Now;
use crate::kerberos::crypto::{Key, usage};
use crate::kerberos::message::{ApRep, ApRepPart, ApReq, Authenticator, Encrypted, KrbError, flags};
use crate::kerberos::mic::{MessageKeys, PerMessageCalls};
use crate::kerberos::name::Principal;
use crate::kerberos::token::{self, NegotiateInit, NegotiateResponse, NegotiationState, TokenId};
use std::fmt;
use std::sync::Arc;

/// Seconds a ticket must still be good to be used.
const MARGIN: i64 = 60;

/// Type of the checksum that carries the flags of a GSS context, RFC 4121 §4.1.1.
const GSS_CHECKSUM: i32 = 0x8003;

/// Option of an AP-REQ: the service answers. RFC 4120 §5.5.1.
const MUTUAL_REQUIRED: u32 = 0x2000_0000;

/// GSS flags, RFC 2743: the service answers; messages are signed.
const MUTUAL: u32 = 0x02;
const INTEGRITY: u32 = 0x20;

/// A ticket, its session key, and what is known of it. Prints whose and for what.
#[derive(Clone)]
pub struct Credential {
    pub(in crate::kerberos) client: Principal,
    pub(in crate::kerberos) service: Principal,
    /// The ticket as the KDC wrote it.
    pub(in crate::kerberos) ticket: Vec<u8>,
    pub(in crate::kerberos) session: Key,
    pub(in crate::kerberos) flags: u32,
    pub(in crate::kerberos) authenticated: i64,
    pub(in crate::kerberos) starts: i64,
    pub(in crate::kerberos) ends: i64,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({} for {}, until {})", self.client, self.service, self.ends)
    }
}

impl Credential {
    /// Whose it is.
    pub fn client(&self) -> &Principal {
        &self.client
    }

    /// What it is for.
    pub fn service(&self) -> &Principal {
        &self.service
    }

    /// When it ends, seconds since 1970.
    pub fn ends(&self) -> i64 {
        self.ends
    }

    /// Whether it is good now and for a minute more. Where it starts in the future the clocks may differ as usual, and the
    /// service decides; a postdated one first has to be made valid, which nobody here does.
    pub fn usable_at(&self, now: Now) -> bool {
        self.flags & flags::INVALID == 0 && now.unix_seconds < self.ends.saturating_sub(MARGIN)
    }

    /// Of a ticket-granting ticket for another realm, that realm: the KDC refers the client there. RFC 6806 §8.
    pub fn referred_realm(&self) -> Option<&str> {
        match self.service.components.as_slice() {
            [class, realm] if class == "krbtgt" && *realm != self.service.realm => Some(realm),
            _ => None,
        }
    }

    /// A token for the service, and the keys that it sets: the initiator's subkey, since the acceptor sends none. This is
    /// what SIP takes: one token, and the server proves itself by its signatures.
    pub fn ap_request(
        &self,
        now: Now,
        random: &dyn Fn(&mut [u8]),
        options: ApOptions,
    ) -> Result<ApRequest, KerberosError> {
        let (token, sent) = self.token(now, random, 0, options)?;
        Ok(ApRequest { token, keys: MessageKeys::new(&sent.subkey, false, sent.sequence, sent.sequence) })
    }

    /// A token that the service has to answer, which proves that it could read it; the keys come with the answer.
    pub fn ap_request_mutual(
        &self,
        now: Now,
        random: &dyn Fn(&mut [u8]),
        options: ApOptions,
    ) -> Result<AwaitingApReply, KerberosError> {
        let (token, sent) = self.token(now, random, MUTUAL, options)?;
        let (client, service) = (self.client.clone(), self.service.clone());
        Ok(AwaitingApReply { token, sent, session: self.session.clone(), client, service, options })
    }

    fn token(
        &self,
        now: Now,
        random: &dyn Fn(&mut [u8]),
        mutual: u32,
        options: ApOptions,
    ) -> Result<(Vec<u8>, Sent), KerberosError> {
        let subkey = Key::generate(self.session.etype(), random).map_err(|_| KerberosError::NoCommonEtype)?;
        let mut number = [0; 4];
        random(&mut number);
        // 30 bits, so that no implementation takes it for a negative number or runs over.
        let sequence = u32::from_be_bytes(number) >> 2;
        let channel = options.channel.as_ref().map_or(&[0; 16], ChannelBindings::as_bytes);
        let checksum = [&16u32.to_le_bytes()[..], channel, &(INTEGRITY | mutual).to_le_bytes()].concat();
        let authenticator = Authenticator {
            client: self.client.clone(),
            checksum: Some((GSS_CHECKSUM, checksum)),
            microseconds: now.microseconds,
            time: now.unix_seconds,
            subkey: Some(subkey.clone()),
            sequence: Some(sequence),
        };
        let required = if mutual == 0 { 0 } else { MUTUAL_REQUIRED };
        let message = self.request(&authenticator, usage::AP_REQ_AUTHENTICATOR, required, random);
        let token = options.dress(token::frame(TokenId::ApReq, &message));
        Ok((token, Sent { subkey, sequence, now }))
    }

    pub(super) fn request(
        &self,
        authenticator: &Authenticator,
        usage: u32,
        options: u32,
        random: &dyn Fn(&mut [u8]),
    ) -> Vec<u8> {
        let cipher = self.session.encrypt(usage, &authenticator.write(), &confounder(random));
        let authenticator = Encrypted { etype: self.session.etype(), kvno: None, cipher };
        ApReq { options, ticket: self.ticket.clone(), authenticator }.write()
    }
}

/// What a token is to be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ApOptions {
    /// Wrapped in SPNEGO, as HTTP wants it; SIP wants it bare.
    pub spnego: bool,
    /// The TLS connection it is for, where a service may look at that: over HTTPS. RFC 4121 §4.1.1.
    pub channel: Option<ChannelBindings>,
}

impl ApOptions {
    fn dress(self, bare: Vec<u8>) -> Vec<u8> {
        if self.spnego { NegotiateInit::of_kerberos(&bare) } else { bare }
    }
}

/// A token, and the keys it sets.
#[derive(Debug)]
pub struct ApRequest {
    token: Vec<u8>,
    keys: MessageKeys,
}

impl ApRequest {
    /// Of a context that is kept elsewhere, and its bare token.
    pub fn of_context(bare: Vec<u8>, options: ApOptions, context: Arc<dyn PerMessageCalls>) -> ApRequest {
        ApRequest { token: options.dress(bare), keys: MessageKeys::of_context(context) }
    }

    /// The token.
    pub fn token(&self) -> &[u8] {
        &self.token
    }

    /// Both.
    pub fn into_parts(self) -> (Vec<u8>, MessageKeys) {
        (self.token, self.keys)
    }
}

/// What the authenticator said that the answer is measured by.
#[derive(Debug)]
struct Sent {
    subkey: Key,
    sequence: u32,
    now: Now,
}

/// A token that was sent, and whose answer is to come.
#[derive(Debug)]
pub struct AwaitingApReply {
    token: Vec<u8>,
    sent: Sent,
    session: Key,
    client: Principal,
    service: Principal,
    options: ApOptions,
}

impl AwaitingApReply {
    /// The token.
    pub fn token(&self) -> &[u8] {
        &self.token
    }

    /// Takes the service's answer, in SPNEGO if the token was. The keys are the acceptor's if it sent one.
    pub fn answer(self, reply: &[u8]) -> Result<MessageKeys, KerberosError> {
        let chosen;
        let reply = if self.options.spnego {
            chosen = negotiated(reply)?;
            &chosen
        } else {
            reply
        };
        let message = match token::unframe(reply)? {
            (TokenId::ApRep, message) => message,
            (TokenId::Error, message) => {
                let error = KrbError::read(message)?;
                return Err(KerberosError::of(&error, &self.client, &self.service, self.sent.now));
            }
            (TokenId::ApReq, _) => return Err(KerberosError::Foreign("it is a request")),
        };
        let opened = ApRep::read(message)?.0.decrypt(&self.session, usage::AP_REP);
        let part = ApRepPart::read(&opened.map_err(|_| KerberosError::Foreign("it is under another key"))?)?;
        if (part.time, part.microseconds) != (self.sent.now.unix_seconds, self.sent.now.microseconds) {
            return Err(KerberosError::Foreign("it answers another request"));
        }
        let key = part.subkey.as_ref().unwrap_or(&self.sent.subkey);
        Ok(MessageKeys::new(key, part.subkey.is_some(), self.sent.sequence, part.sequence))
    }
}

/// The token in an answer to an offer. RFC 4178 §4.2.2.
fn negotiated(reply: &[u8]) -> Result<Vec<u8>, KerberosError> {
    let response = NegotiateResponse::read(reply)?;
    if response.mechanism.as_ref().is_some_and(|mechanism| !mechanism.is_kerberos()) {
        return Err(KerberosError::Foreign("it chose another mechanism"));
    }
    match (response.state, response.token) {
        (Some(NegotiationState::Completed) | None, Some(token)) => Ok(token),
        // What an acceptor of MIT sends with the error that says why.
        (Some(NegotiationState::Rejected), Some(token)) => Ok(token),
        (Some(NegotiationState::Rejected), None) => Err(KerberosError::Foreign("it rejects the offer")),
        (Some(NegotiationState::Incomplete | NegotiationState::RequestMic), _) => {
            Err(KerberosError::Foreign("it wants another round of negotiation"))
        }
        (_, None) => Err(KerberosError::Foreign("there is no token in it")),
    }
}
