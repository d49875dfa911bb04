//! The server: takes an AP-REQ, bare or in SPNEGO, and says who it is from. RFC 4120 §3.2.3, RFC 4121 §4.1.
//!
//! ```text
//!  token ─► envelope ─► ticket, by a key of the keytab ─► session key ─► authenticator ─► client, keys, answer
//!                        │ times, path                     │ name, clock, checksum, not seen before
//! ```
//!
//! Keys of the association: with an AP-REP (the client asks for it by its flag MUTUAL) and AES, a new key of ours; else the
//! client's subkey; else the session key. Without an AP-REP our signatures are numbered from the client's number on, as MIT
//! Kerberos and Windows expect.
//!
//! The service's name in a ticket is not protected by Kerberos: where two services share a key (one account in Active
//! Directory), a ticket of one can be shown to the other. Omitted: user-to-user tickets, delegated credentials (passed
//! over), the three-message form of DCE, channel bindings, addresses, authorization data.

mod refusal;
mod replay;
#[cfg(test)]
mod tests;

pub use refusal::{Fault, Refusal};
pub use replay::ReplayCache;

use super::Now;
use super::crypto::{CONFOUNDER, EncryptionType, Key, SealingKey, usage};
use super::keytab::{Keytab, NoKey};
use super::message::{ApRep, ApRepPart, ApReq, Authenticator, Encrypted, Ticket, TicketPart, flags};
use super::mic::MessageKeys;
use super::name::Principal;
use super::token::{Initial, NegotiateInit, NegotiateResponse, NegotiationState, TokenId, frame};
use crate::Side;
use replay::Seen;
use std::fmt;
use zeroize::Zeroizing;

/// Seconds that clocks may differ by default, as everywhere in Kerberos.
pub const DEFAULT_SKEW: i64 = 300;

/// Types allowed by default. RC4-HMAC is not among them: whoever needs it has to say so, and to have such a key.
pub const DEFAULT_TYPES: [EncryptionType; 2] = [EncryptionType::Aes256, EncryptionType::Aes128];

/// Option of an AP-REQ: the ticket is under a session key.
const USE_SESSION_KEY: u32 = 0x4000_0000;

/// Checksum type of GSS-API and its flags, RFC 4121 §4.1.1.
const GSS_CHECKSUM: i32 = 0x8003;
const MUTUAL: u32 = 2;
const DCE_STYLE: u32 = 0x1000;

/// A service and its keys.
pub struct Service {
    keytab: Keytab,
    /// For each entry of the keytab, what opens tickets.
    opening: Vec<SealingKey>,
    allowed: Vec<EncryptionType>,
    class: Option<String>,
    skew: i64,
}

/// A client that proved who it is.
#[derive(Debug)]
pub struct Accepted {
    /// Who, as the KDC wrote it.
    pub client: Principal,
    /// The service asked for, as the keytab spells it.
    pub service: Principal,
    /// A token for the client: AP-REP if it asked for one, and always an answer when it used SPNEGO.
    pub reply: Option<Vec<u8>>,
    /// Signatures from here on.
    pub keys: MessageKeys,
    /// Type of the key behind them.
    pub etype: EncryptionType,
    /// End of the ticket, seconds since 1970.
    pub ends: i64,
    /// The TLS connection the token was made for ([`crate::channel_bindings`]), if the client says so: whoever knows its
    /// own compares.
    pub channel: Option<[u8; 16]>,
}

impl Service {
    /// All services of a keytab, with [`DEFAULT_TYPES`] and [`DEFAULT_SKEW`].
    pub fn new(keytab: Keytab) -> Service {
        let opening = keytab.entries().iter().map(|entry| entry.key.sealing(usage::TICKET)).collect();
        Service { keytab, opening, allowed: DEFAULT_TYPES.to_vec(), class: None, skew: DEFAULT_SKEW }
    }

    /// Allows these types and no others, for tickets, session keys and subkeys.
    pub fn allowing(mut self, types: &[EncryptionType]) -> Service {
        self.allowed = types.to_vec();
        self
    }

    /// Takes tickets for services of this class only: `sip`, `http` (in any case).
    pub fn serving(mut self, class: &str) -> Service {
        self.class = Some(class.to_owned());
        self
    }

    /// Permits clocks to differ by so many seconds.
    pub fn with_skew(mut self, seconds: i64) -> Service {
        self.skew = seconds.max(0);
        self
    }

    /// The keys.
    pub fn keytab(&self) -> &Keytab {
        &self.keytab
    }

    /// Takes the first token of a client. `random` fills with unpredictable bytes.
    pub fn accept(
        &self,
        token: &[u8],
        now: Now,
        replays: &mut ReplayCache,
        random: &dyn Fn(&mut [u8]),
    ) -> Result<Accepted, Refusal> {
        let (message, offer) = match Initial::read(token)? {
            Initial::Bare(TokenId::ApReq, message) => (message, None),
            Initial::Bare(..) => return Err(Refusal::Malformed("the kind of token")),
            Initial::Negotiate(offer) => match offer.kerberos()? {
                (TokenId::ApReq, message) => (message, Some(offer)),
                _ => return Err(Refusal::Malformed("the kind of token")),
            },
        };
        let request = ApReq::read(message)?;
        if request.options & USE_SESSION_KEY != 0 {
            return Err(Refusal::UserToUser);
        }
        let (service, plain) = self.open(&Ticket::read(&request.ticket)?)?;
        let ticket = TicketPart::read(&plain)?;
        self.check_ticket(&ticket, now)?;

        let plain = request.authenticator.decrypt(&ticket.key, usage::AP_REQ_AUTHENTICATOR);
        let authenticator = Authenticator::read(&plain.map_err(|_| Refusal::Authenticator)?)?;
        let Said { channel, flags } = self.check_authenticator(&authenticator, &ticket, now)?;
        let client_key = authenticator.subkey.as_ref().unwrap_or(&ticket.key);
        check_offer(offer.as_ref(), client_key)?;

        let seen = Seen {
            client: &ticket.client,
            seconds: authenticator.time,
            microseconds: authenticator.microseconds,
            authenticator: &request.authenticator.cipher,
        };
        replays.admit(&seen, now.unix_seconds, self.skew)?;

        let (etype, mut keys, ap_rep) = if flags & MUTUAL == 0 {
            let first = authenticator.sequence.unwrap_or(0);
            (client_key.etype(), MessageKeys::new(client_key, false, first, first), None)
        } else {
            let (keys, reply) = mutual(&authenticator, client_key, &ticket.key, random);
            (client_key.etype(), keys, Some(reply))
        };
        let reply = match offer {
            None => ap_rep,
            Some(offer) => Some(answer(&offer, ap_rep, &mut keys)),
        };
        let service = service.clone();
        Ok(Accepted { service, reply, keys, etype, ends: ticket.ends, client: ticket.client, channel })
    }

    /// Decrypts the ticket with whichever key of its service fits.
    fn open(&self, ticket: &Ticket) -> Result<(&Principal, Zeroizing<Vec<u8>>), Refusal> {
        let asked = &ticket.service;
        if let Some(class) = &self.class
            && !asked.class().eq_ignore_ascii_case(class)
        {
            return Err(Refusal::OtherService { asked: asked.clone(), class: class.clone() });
        }
        let ticket = &ticket.encrypted;
        self.check_type(ticket.etype, "ticket")?;
        let places = self.keytab.find(asked, ticket.kvno, ticket.etype).map_err(|why| match why {
            NoKey::Principal => Refusal::NotForUs { asked: asked.clone() },
            NoKey::EncryptionType(known) => Refusal::NoKeyOfType { service: asked.clone(), asked: ticket.etype, known },
            NoKey::Version(known) => {
                Refusal::UnknownKeyVersion { service: asked.clone(), asked: ticket.kvno.unwrap_or_default(), known }
            }
        })?;
        for place in places {
            if let (Some(key), Some(entry)) = (self.opening.get(place), self.keytab.entries().get(place))
                && let Ok(plain) = key.decrypt(&ticket.cipher)
            {
                return Ok((&entry.principal, plain));
            }
        }
        Err(Refusal::WrongKey { service: asked.clone(), kvno: ticket.kvno, etype: ticket.etype })
    }

    fn check_ticket(&self, ticket: &TicketPart, now: Now) -> Result<(), Refusal> {
        self.check_type(ticket.key.etype(), "session key")?;
        let client = || ticket.client.clone();
        if ticket.flags & flags::INVALID != 0 {
            return Err(Refusal::InvalidTicket { client: client() });
        }
        let in_seconds = ticket.starts.saturating_sub(now.unix_seconds);
        if in_seconds > self.skew {
            return Err(Refusal::NotYetValid { client: client(), in_seconds });
        }
        let seconds_ago = now.unix_seconds.saturating_sub(ticket.ends);
        if seconds_ago > self.skew {
            return Err(Refusal::Expired { client: client(), seconds_ago });
        }
        // A path that its KDC did not check would have to be checked here, against a list of realms that nobody has.
        if !ticket.transited.is_empty() && ticket.flags & flags::TRANSITED_POLICY_CHECKED == 0 {
            return Err(Refusal::Path { client: client() });
        }
        Ok(())
    }

    /// Name, clock, and what the checksum says for GSS-API.
    fn check_authenticator(
        &self,
        authenticator: &Authenticator,
        ticket: &TicketPart,
        now: Now,
    ) -> Result<Said, Refusal> {
        if authenticator.client != ticket.client {
            return Err(Refusal::NamesDiffer {
                ticket: ticket.client.clone(),
                authenticator: authenticator.client.clone(),
            });
        }
        let seconds = authenticator.time.saturating_sub(now.unix_seconds);
        if seconds.unsigned_abs() > self.skew.unsigned_abs() {
            return Err(Refusal::ClockSkew { client: ticket.client.clone(), seconds, permitted: self.skew });
        }
        let said = Said::by(authenticator).ok_or(Refusal::Checksum)?;
        if said.flags & DCE_STYLE != 0 {
            return Err(Refusal::DceStyle);
        }
        if let Some(subkey) = &authenticator.subkey {
            self.check_type(subkey.etype(), "subkey")?;
        }
        Ok(said)
    }

    fn check_type(&self, etype: EncryptionType, what: &'static str) -> Result<(), Refusal> {
        match etype {
            EncryptionType::Other(_) => Err(Refusal::EncryptionType { what, etype }),
            _ if !self.allowed.contains(&etype) => Err(Refusal::EncryptionType { what, etype }),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("keytab", &self.keytab)
            .field("allowed", &self.allowed)
            .field("class", &self.class)
            .field("skew", &self.skew)
            .finish()
    }
}

/// What the checksum of GSS-API says: length of the bindings (16), bindings, flags, all little-endian. RFC 4121 §4.1.1.
struct Said {
    /// `None`: all zero, which stands for no bindings.
    channel: Option<[u8; 16]>,
    flags: u32,
}

impl Said {
    fn by(authenticator: &Authenticator) -> Option<Said> {
        let (GSS_CHECKSUM, value) = authenticator.checksum.as_ref()? else { return None };
        let (channel, rest) = value.strip_prefix(&[16, 0, 0, 0])?.split_first_chunk::<16>()?;
        let flags = u32::from_le_bytes(*rest.first_chunk()?);
        Some(Said { channel: (*channel != [0; 16]).then_some(*channel), flags })
    }
}

/// A signature over the offer can only be by the client's key: it was made before any answer of ours.
fn check_offer(offer: Option<&NegotiateInit<'_>>, client_key: &Key) -> Result<(), Refusal> {
    let Some(NegotiateInit { mic: Some(mic), mechanism_list, .. }) = offer else { return Ok(()) };
    match MessageKeys::new(client_key, false, 0, 0).verify(Side::Client, mechanism_list, mic) {
        true => Ok(()),
        false => Err(Refusal::OfferAltered),
    }
}

/// AP-REP, and the keys that hold once the client has it. With RC4-HMAC no key of ours: its tokens are of RFC 1964, which
/// knows of none.
fn mutual(
    authenticator: &Authenticator,
    client_key: &Key,
    session_key: &Key,
    random: &dyn Fn(&mut [u8]),
) -> (MessageKeys, Vec<u8>) {
    let ours = match client_key.etype() {
        EncryptionType::Rc4Hmac => None,
        etype => Key::generate(etype, random).ok(),
    };
    let mut sequence = [0; 4];
    random(&mut sequence);
    // 30 bits, as MIT Kerberos: some old peers take more for a negative number.
    let sequence = u32::from_be_bytes(sequence) & 0x3fff_ffff;
    let part = ApRepPart {
        time: authenticator.time,
        microseconds: authenticator.microseconds,
        subkey: ours.clone(),
        sequence,
    };
    let mut confounder = [0; CONFOUNDER];
    random(&mut confounder);
    let cipher = session_key.encrypt(usage::AP_REP, &part.write(), &confounder);
    let keys = MessageKeys::new(
        ours.as_ref().unwrap_or(client_key),
        ours.is_some(),
        authenticator.sequence.unwrap_or(0),
        sequence,
    );
    let encrypted = Encrypted { etype: session_key.etype(), kvno: None, cipher };
    (keys, frame(TokenId::ApRep, &ApRep(encrypted).write()))
}

/// The end of the negotiation. The mechanism is named as the client named it; an offer that was signed is signed back.
fn answer(offer: &NegotiateInit<'_>, token: Option<Vec<u8>>, keys: &mut MessageKeys) -> Vec<u8> {
    let response = NegotiateResponse {
        state: Some(NegotiationState::Completed),
        mechanism: offer.mechanisms.first().cloned(),
        token,
        mic: offer.mic.map(|_| keys.sign(Side::Server, offer.mechanism_list)),
    };
    response.write()
}
