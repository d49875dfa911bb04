//! The initiator: answers a challenge. `[MS-NLMP]` §3.1.5.

use super::Mode;
use super::crypto::{NtHash, hmac_md5, rc4};
use super::keys::SigningKeys;
use super::message::{
    AV_FLAG_MIC, Authenticate, Challenge, Flags, MAX_MESSAGE, NtlmError, TargetInfo, av, negotiate_bytes, set_mic,
    utf16,
};
use crate::channel_bindings::ChannelBindings;
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// Who logs on.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// User name, or a whole UPN with an empty domain.
    pub user: String,
    /// NetBIOS domain; empty with a UPN.
    pub domain: String,
    /// Name of this machine, as administrators read it in their logs.
    pub workstation: String,
    /// Hash of the password.
    pub nt_hash: NtHash,
}

/// What an answer is for: a server that looks does not take it for anything else, nor over another connection.
/// `[MS-NLMP]` §3.1.5.1.2.
#[derive(Debug, Clone)]
pub struct Purpose {
    /// The service, as `class/host`.
    pub target_name: String,
    /// The connection, when it is a TLS connection.
    pub channel: Option<ChannelBindings>,
}

/// Randomness, handed in; for one answer only. Wiped when dropped.
#[derive(ZeroizeOnDrop)]
pub struct Entropy {
    /// Client challenge.
    pub client_challenge: [u8; 8],
    /// Session key to send, encrypted.
    pub session_key: [u8; 16],
}

/// An answered challenge.
#[derive(Debug)]
pub struct Answered {
    /// AUTHENTICATE.
    pub message: Vec<u8>,
    /// Keys for the messages that follow.
    pub keys: SigningKeys,
}

const CONNECTION_FLAGS: u32 = Flags::BOTH_ENDS | Flags::KEY_56;

const DATAGRAM_FLAGS: u32 = Flags::BOTH_ENDS | Flags::DATAGRAM | Flags::IDENTIFY;

/// NEGOTIATE, for [`Mode::Connection`].
pub fn negotiate() -> Vec<u8> {
    negotiate_bytes(CONNECTION_FLAGS)
}

/// Answers a CHALLENGE. `filetime` is the time, 100 ns since 1601, for servers that send none. When the server sends its
/// time, the messages are protected by an integrity code, §3.1.5.1.2; it covers `negotiate` as sent, which there is in
/// [`Mode::Connection`] and not in [`Mode::Datagram`] (else [`NtlmError::NotExpected`]).
pub fn answer(
    mode: Mode,
    negotiate: Option<&[u8]>,
    challenge: &[u8],
    credentials: &Credentials,
    entropy: &Entropy,
    filetime: u64,
) -> Result<Answered, NtlmError> {
    answer_for(None, mode, negotiate, challenge, credentials, entropy, filetime)
}

/// The same, and the answer says what it is for.
pub fn answer_for(
    purpose: Option<&Purpose>,
    mode: Mode,
    negotiate: Option<&[u8]>,
    challenge: &[u8],
    credentials: &Credentials,
    entropy: &Entropy,
    filetime: u64,
) -> Result<Answered, NtlmError> {
    let parsed = Challenge::parse(challenge)?;
    let wanted = check_flags(mode, parsed.flags)?;
    let first = match (mode, negotiate) {
        (Mode::Datagram, None) => &[],
        (Mode::Connection, Some(bytes)) => bytes,
        _ => return Err(NtlmError::NotExpected),
    };
    let server_time = parsed.target_info.timestamp()?;
    let mut info = parsed.target_info.clone();
    if server_time.is_some() {
        info.set_flags(AV_FLAG_MIC)?;
    }
    if let Some(Purpose { target_name, channel }) = purpose {
        // Only the client says these; who has them in a challenge wants them said of something else.
        if info.get(av::TARGET_NAME).or(info.get(av::CHANNEL_BINDINGS)).is_some() {
            return Err(NtlmError::BadTargetInfo);
        }
        info.push(av::CHANNEL_BINDINGS, channel.as_ref().map_or(&[0; 16][..], |channel| channel.as_bytes()));
        info.push(av::TARGET_NAME, &utf16(target_name));
    }
    let response_key = credentials.nt_hash.response_key(&credentials.user, &credentials.domain);
    let blob = response_blob(server_time.unwrap_or(filetime), &entropy.client_challenge, &info);
    let proof = hmac_md5(&response_key[..], &[&parsed.server_challenge, &blob]);
    let session_base_key = Zeroizing::new(hmac_md5(&response_key[..], &[&proof]));
    let exported = Zeroizing::new(entropy.session_key);
    let mut encrypted = entropy.session_key;
    rc4(&session_base_key, &mut encrypted);

    let message = Authenticate {
        flags: Flags(wanted),
        lm_response: lm_response(&response_key[..], &parsed.server_challenge, entropy, server_time.is_some()),
        nt_response: [&proof[..], &blob].concat(),
        domain: credentials.domain.clone(),
        user: credentials.user.clone(),
        workstation: credentials.workstation.clone(),
        session_key: encrypted.to_vec(),
        mic: server_time.is_some().then_some([0; 16]),
    };
    let mut bytes = message.to_bytes();
    if bytes.len() > MAX_MESSAGE {
        return Err(NtlmError::TooLong);
    }
    if server_time.is_some() {
        let mic = hmac_md5(&exported[..], &[first, challenge, &bytes]);
        set_mic(&mut bytes, &mic);
    }
    Ok(Answered { message: bytes, keys: SigningKeys::derive(&exported, mode) })
}

/// Flags for the answer; what the server must offer for us to go on is checked.
fn check_flags(mode: Mode, offered: Flags) -> Result<u32, NtlmError> {
    let needed = [
        (Flags::UNICODE, "Unicode"),
        (Flags::NTLM, "NTLM"),
        (Flags::EXTENDED_SESSION_SECURITY, "extended session security"),
        (Flags::KEY_EXCHANGE, "key exchange"),
        (Flags::KEY_128, "128-bit keys"),
    ];
    if let Some((_, name)) = needed.into_iter().find(|(flag, _)| !offered.has(*flag)) {
        return Err(NtlmError::Lacks(name));
    }
    match mode {
        Mode::Datagram if !offered.has(Flags::DATAGRAM) => Err(NtlmError::Lacks("the connectionless form")),
        // Not asked for: IDENTIFY, which pidgin-sipe wants to see, but which changes nothing on the wire.
        Mode::Datagram if !offered.has(Flags::SIGN | Flags::ALWAYS_SIGN) => Err(NtlmError::Lacks("signatures")),
        Mode::Datagram => Ok(DATAGRAM_FLAGS & (offered.0 | Flags::REQUEST_TARGET | Flags::VERSION)),
        Mode::Connection => Ok(CONNECTION_FLAGS & (offered.0 | Flags::REQUEST_TARGET | Flags::VERSION)),
    }
}

/// What the proof covers besides the server's challenge: NTLMv2_CLIENT_CHALLENGE, §2.2.2.7.
fn response_blob(filetime: u64, client_challenge: &[u8; 8], info: &TargetInfo) -> Vec<u8> {
    let mut blob = vec![1, 1, 0, 0, 0, 0, 0, 0];
    blob.extend_from_slice(&filetime.to_le_bytes());
    blob.extend_from_slice(client_challenge);
    blob.extend_from_slice(&[0; 4]);
    blob.extend_from_slice(info.as_bytes());
    blob.extend_from_slice(&[0; 4]);
    blob
}

/// LMv2, or zeros when the server sends its time (then it must not be sent), §3.1.5.1.2.
fn lm_response(response_key: &[u8], server_challenge: &[u8; 8], entropy: &Entropy, zeros: bool) -> Vec<u8> {
    if zeros {
        return vec![0; 24];
    }
    let proof = hmac_md5(response_key, &[server_challenge, &entropy.client_challenge]);
    [&proof[..], &entropy.client_challenge].concat()
}
