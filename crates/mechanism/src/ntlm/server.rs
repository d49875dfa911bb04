//! The acceptor: challenges, reads the answer, derives the keys. Whether the answer is right, only somebody with the
//! password's hash can say ([`super::NtHash::session_base_key`]). `[MS-NLMP]` §3.2.5.

use super::Mode;
use super::crypto::{hmac_md5, rc4};
use super::keys::SigningKeys;
use super::message::{
    Authenticate, Challenge, Flags, MAX_MESSAGE, NtlmError, TargetInfo, av, negotiate_flags, response_info,
    response_time, text, without_mic,
};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Names a challenge tells of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetNames {
    /// NetBIOS name of the domain.
    pub netbios_domain: String,
    /// NetBIOS name of the server.
    pub netbios_computer: String,
    /// DNS name of the domain.
    pub dns_domain: String,
    /// FQDN of the server.
    pub dns_computer: String,
}

/// One handshake on the server's side.
#[derive(Debug)]
pub struct Acceptor {
    mode: Mode,
    server_challenge: [u8; 8],
    names: TargetNames,
    negotiate: Vec<u8>,
    challenge: Vec<u8>,
}

/// An AUTHENTICATE that is worth asking about. Prints no more of it than [`Authenticate`] does.
#[derive(Clone)]
pub struct Answer {
    message: Authenticate,
    bytes: Vec<u8>,
}

impl Answer {
    /// User as the client wrote it; it enters the proof.
    pub fn user(&self) -> &str {
        &self.message.user
    }

    /// Domain as the client wrote it; it enters the proof.
    pub fn domain(&self) -> &str {
        &self.message.domain
    }

    /// Name of the client's machine.
    pub fn workstation(&self) -> &str {
        &self.message.workstation
    }

    /// Proof and blob.
    pub fn nt_response(&self) -> &[u8] {
        &self.message.nt_response
    }

    /// The service the client means, as `class/host`, where it says so. The proof covers it.
    pub fn target_name(&self) -> Option<String> {
        let info = response_info(&self.message.nt_response).ok()?;
        // What is no text is no name of ours either.
        let name = info.get(av::TARGET_NAME).map(|name| text(name).unwrap_or_else(|_| "?".to_owned()));
        name.filter(|name| !name.is_empty())
    }

    /// The connection the client uses, where it says so. The proof covers it.
    pub fn channel_bindings(&self) -> Option<Vec<u8>> {
        let info = response_info(&self.message.nt_response).ok()?;
        let bindings = info.get(av::CHANNEL_BINDINGS)?;
        bindings.iter().any(|byte| *byte != 0).then(|| bindings.to_vec())
    }

    /// The client's time, 100 ns since 1601.
    pub fn response_time(&self) -> Option<u64> {
        response_time(&self.message.nt_response)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Answer").field(&self.message).finish()
    }
}

impl Acceptor {
    /// Begins a handshake with 8 random bytes, used once.
    pub fn new(mode: Mode, server_challenge: [u8; 8], names: TargetNames) -> Acceptor {
        Acceptor { mode, server_challenge, names, negotiate: Vec::new(), challenge: Vec::new() }
    }

    /// The bytes the proof has to cover.
    pub fn server_challenge(&self) -> &[u8; 8] {
        &self.server_challenge
    }

    /// CHALLENGE. `negotiate` is the client's message in [`Mode::Connection`]; there is none in [`Mode::Datagram`].
    /// No time is sent: clients then send no integrity code, which open ones do not know.
    pub fn challenge_message(&mut self, negotiate: Option<&[u8]>) -> Result<Vec<u8>, NtlmError> {
        let (flags, target_name) = match (self.mode, negotiate) {
            (Mode::Datagram, None) => {
                (Flags::BOTH_ENDS | Flags::DATAGRAM | Flags::IDENTIFY | Flags::KEY_56, String::new())
            }
            (Mode::Connection, Some(bytes)) => {
                let offered = negotiate_flags(bytes)?;
                // Unicode is answered also where it was not offered: curl names only its OEM character set, and speaks
                // Unicode when it is told to. Who does not is refused by its answer.
                if !offered.has(Flags::NTLM) {
                    return Err(NtlmError::Lacks("NTLM"));
                }
                self.negotiate = bytes.to_vec();
                let optional = Flags::SIGN | Flags::KEY_128 | Flags::KEY_EXCHANGE | Flags::VERSION;
                let flags = (Flags::BOTH_ENDS & !optional) | (optional & offered.0) | Flags::TARGET_TYPE_DOMAIN;
                (flags, self.names.netbios_domain.clone())
            }
            _ => return Err(NtlmError::NotExpected),
        };
        let names = &self.names;
        let target_info = TargetInfo::of_names(&[
            (av::NB_DOMAIN, &names.netbios_domain),
            (av::NB_COMPUTER, &names.netbios_computer),
            (av::DNS_DOMAIN, &names.dns_domain),
            (av::DNS_COMPUTER, &names.dns_computer),
            (av::DNS_TREE, &names.dns_domain),
        ]);
        let challenge =
            Challenge { flags: Flags(flags), server_challenge: self.server_challenge, target_name, target_info };
        let bytes = challenge.to_bytes();
        if bytes.len() > MAX_MESSAGE {
            return Err(NtlmError::TooLong);
        }
        self.challenge = bytes.clone();
        Ok(bytes)
    }

    /// Reads an AUTHENTICATE; what is not NTLM version 2 is refused before anybody is asked, and in [`Mode::Datagram`] what
    /// brings no session key of 128 bits. Whether it answers *this* challenge, the proof alone can tell.
    pub fn read_answer(&self, authenticate: &[u8]) -> Result<Answer, NtlmError> {
        if self.challenge.is_empty() {
            return Err(NtlmError::NoChallenge);
        }
        let message = Authenticate::parse(authenticate)?;
        if message.user.is_empty() {
            return Err(NtlmError::Anonymous);
        }
        // Version 1 answers have 24 bytes; version 2 has the proof, 28 fixed bytes and a list that at least ends.
        if message.nt_response.len() < 16 + 28 + 4 || !message.nt_response[16..].starts_with(&[1, 1]) {
            return Err(NtlmError::Version1);
        }
        // Only a whole list says whether there is an integrity code to check.
        response_info(&message.nt_response)?;
        let signed = self.mode == Mode::Datagram;
        if signed && !message.flags.has(Flags::DATAGRAM) {
            return Err(NtlmError::Lacks("the connectionless form"));
        }
        if signed && !message.flags.has(Flags::EXTENDED_SESSION_SECURITY | Flags::KEY_128) {
            return Err(NtlmError::Lacks("extended session security with 128-bit keys"));
        }
        let exchanged = message.flags.has(Flags::KEY_EXCHANGE);
        if exchanged && message.session_key.len() != 16 || signed && !exchanged {
            return Err(NtlmError::NoSessionKey);
        }
        Ok(Answer { message, bytes: authenticate.to_vec() })
    }

    /// The answer was found right: takes the session key out, and checks the integrity code in constant time when the client
    /// sent one. `session_base_key` comes from [`super::NtHash::session_base_key`].
    pub fn finish(&self, answer: &Answer, session_base_key: &[u8; 16]) -> Result<SigningKeys, NtlmError> {
        let mut exported = Zeroizing::new(*session_base_key);
        if answer.message.flags.has(Flags::KEY_EXCHANGE) {
            let sent: [u8; 16] = answer.message.session_key[..].try_into().map_err(|_| NtlmError::NoSessionKey)?;
            *exported = sent;
            rc4(session_base_key, &mut exported[..]);
        }
        if let Some(mic) = &answer.message.mic {
            let expected = hmac_md5(&exported[..], &[&self.negotiate, &self.challenge, &without_mic(&answer.bytes)]);
            if !bool::from(expected[..].ct_eq(mic)) {
                return Err(NtlmError::WrongMic);
            }
        }
        Ok(SigningKeys::derive(&exported, self.mode))
    }
}

#[cfg(test)]
impl Acceptor {
    /// As if this challenge had been sent: one with a time in it, as other servers send.
    pub(super) fn replace_challenge(&mut self, bytes: Vec<u8>) {
        self.challenge = bytes;
    }
}
