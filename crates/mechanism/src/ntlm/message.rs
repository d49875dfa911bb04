//! The three messages and their fields. `[MS-NLMP]` §2.2. Integers are little-endian; a field is described by length
//! (16 bits), allocated length (16 bits) and offset from the start of the message (32 bits).

use std::fmt;
use std::ops::Range;

/// `NTLMSSP` and a zero byte.
const SIGNATURE: &[u8; 8] = b"NTLMSSP\0";

/// Longest message read and written, in bytes; the product's are below 2 KiB.
pub const MAX_MESSAGE: usize = 16 * 1024;

/// What is wrong with a message, or with what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NtlmError {
    /// Not an NTLM message, or another one than expected.
    #[error("not the NTLM message that was expected")]
    NotExpected,
    /// Ends before its fields do, or is longer than any real one ([`MAX_MESSAGE`]), or a field lies within the fixed part.
    #[error("the message is cut off, too long, or a field lies where it cannot be")]
    Damaged,
    /// Our own message would be longer than [`MAX_MESSAGE`]: a name that was given to us is no name.
    #[error("the names given are too long for an NTLM message; see user, domain, workstation and server names")]
    TooLong,
    /// A name is not UTF-16.
    #[error("a name is not UTF-16")]
    BadText,
    /// The attribute-value pairs do not end or overlap the end.
    #[error("the target information is damaged")]
    BadTargetInfo,
    /// The peer lacks a feature without which we do not go on.
    #[error("the peer does not offer {0}")]
    Lacks(&'static str),
    /// The answer is NTLM version 1 (24 bytes) or LM only.
    #[error("the answer is NTLM version 1 or LM, which is refused")]
    Version1,
    /// The answer names nobody.
    #[error("the answer is anonymous")]
    Anonymous,
    /// The encrypted session key is missing or has a wrong length.
    #[error("the answer brings no session key")]
    NoSessionKey,
    /// The integrity code over the three messages is wrong: one of them was altered.
    #[error("the integrity code of the messages is wrong")]
    WrongMic,
    /// An answer was asked for before the challenge was made.
    #[error("no challenge was made")]
    NoChallenge,
}

/// Negotiate flags, §2.2.2.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    /// Text is UTF-16.
    pub const UNICODE: u32 = 0x0000_0001;
    /// Send the target's name.
    pub const REQUEST_TARGET: u32 = 0x0000_0004;
    /// Messages are signed.
    pub const SIGN: u32 = 0x0000_0010;
    /// Connectionless.
    pub const DATAGRAM: u32 = 0x0000_0040;
    /// NTLM answers.
    pub const NTLM: u32 = 0x0000_0200;
    /// A signature always has its place.
    pub const ALWAYS_SIGN: u32 = 0x0000_8000;
    /// The target is a domain.
    pub const TARGET_TYPE_DOMAIN: u32 = 0x0001_0000;
    /// Extended session security.
    pub const EXTENDED_SESSION_SECURITY: u32 = 0x0008_0000;
    /// The server may only identify the client.
    pub const IDENTIFY: u32 = 0x0010_0000;
    /// Target information is there.
    pub const TARGET_INFO: u32 = 0x0080_0000;
    /// A version field is there.
    pub const VERSION: u32 = 0x0200_0000;
    /// 128-bit keys.
    pub const KEY_128: u32 = 0x2000_0000;
    /// The session key is the client's choice, sent encrypted.
    pub const KEY_EXCHANGE: u32 = 0x4000_0000;
    /// 56-bit keys.
    pub const KEY_56: u32 = 0x8000_0000;

    /// What both ends of ours ask for in both forms: version 2, with signatures by 128-bit keys.
    pub(super) const BOTH_ENDS: u32 = Flags::UNICODE
        | Flags::REQUEST_TARGET
        | Flags::SIGN
        | Flags::NTLM
        | Flags::ALWAYS_SIGN
        | Flags::EXTENDED_SESSION_SECURITY
        | Flags::TARGET_INFO
        | Flags::VERSION
        | Flags::KEY_128
        | Flags::KEY_EXCHANGE;

    /// Whether all of these are set.
    pub const fn has(self, flags: u32) -> bool {
        self.0 & flags == flags
    }
}

/// Ids of attribute-value pairs, §2.2.2.1.
pub mod av {
    /// End of the list.
    pub const EOL: u16 = 0;
    /// NetBIOS name of the server.
    pub const NB_COMPUTER: u16 = 1;
    /// NetBIOS name of the domain.
    pub const NB_DOMAIN: u16 = 2;
    /// DNS name of the server.
    pub const DNS_COMPUTER: u16 = 3;
    /// DNS name of the domain.
    pub const DNS_DOMAIN: u16 = 4;
    /// DNS name of the forest.
    pub const DNS_TREE: u16 = 5;
    /// Flags; bit 2 says that an integrity code is there.
    pub const FLAGS: u16 = 6;
    /// Time, 100 ns since 1601, 8 bytes.
    pub const TIMESTAMP: u16 = 7;
    /// Of the client: the service it means, as `class/host`.
    pub const TARGET_NAME: u16 = 9;
    /// Of the client: the TLS connection it uses, 16 bytes; zeros when it does not say.
    pub const CHANNEL_BINDINGS: u16 = 10;
}

/// Bit of [`av::FLAGS`]: the AUTHENTICATE message carries an integrity code.
pub const AV_FLAG_MIC: u32 = 0x2;

/// Attribute-value pairs as they stand on the wire, checked to be whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TargetInfo(Vec<u8>);

impl TargetInfo {
    /// Checks a list: every pair inside, the end where it should be. Bytes after the end are left out.
    pub fn parse(bytes: &[u8]) -> Result<TargetInfo, NtlmError> {
        let mut at = 0;
        loop {
            let id = u16_at(bytes, at).ok_or(NtlmError::BadTargetInfo)?;
            let length = usize::from(u16_at(bytes, at + 2).ok_or(NtlmError::BadTargetInfo)?);
            at += 4 + length;
            if at > bytes.len() {
                return Err(NtlmError::BadTargetInfo);
            }
            match (id, length) {
                (av::EOL, 0) => return Ok(TargetInfo(bytes[..at].to_vec())),
                // An end with something in it would hide what is added behind it.
                (av::EOL, _) => return Err(NtlmError::BadTargetInfo),
                _ => {}
            }
        }
    }

    /// A list of text pairs.
    pub fn of_names(names: &[(u16, &str)]) -> TargetInfo {
        let mut info = TargetInfo(vec![0; 4]);
        for (id, name) in names {
            info.push(*id, &utf16(name));
        }
        info
    }

    /// The value of a pair.
    pub fn get(&self, wanted: u16) -> Option<&[u8]> {
        self.0.get(self.place(wanted)?)
    }

    /// Where the value of a pair stands.
    fn place(&self, wanted: u16) -> Option<Range<usize>> {
        let mut at = 0;
        loop {
            let id = u16_at(&self.0, at)?;
            let value = at + 4..at + 4 + usize::from(u16_at(&self.0, at + 2)?);
            match id {
                av::EOL => return None,
                id if id == wanted => return Some(value),
                _ => at = value.end,
            }
        }
    }

    /// Adds a pair before the end.
    pub fn push(&mut self, id: u16, value: &[u8]) {
        let end = self.0.len().saturating_sub(4);
        self.0.truncate(end);
        self.0.extend_from_slice(&id.to_le_bytes());
        self.0.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
        self.0.extend_from_slice(value);
        self.0.extend_from_slice(&[0; 4]);
    }

    /// Sets these bits of the flags pair, which is added where there is none; the other bits stay, §3.1.5.1.2.
    pub(crate) fn set_flags(&mut self, bits: u32) -> Result<(), NtlmError> {
        let Some(place) = self.place(av::FLAGS) else {
            self.push(av::FLAGS, &bits.to_le_bytes());
            return Ok(());
        };
        let flags = self.flags() | bits;
        let value = self.0.get_mut(place).filter(|value| value.len() == 4).ok_or(NtlmError::BadTargetInfo)?;
        value.copy_from_slice(&flags.to_le_bytes());
        Ok(())
    }

    /// The time pair, 100 ns since 1601; refused when it is there and is no time.
    pub(crate) fn timestamp(&self) -> Result<Option<u64>, NtlmError> {
        let time = self.get(av::TIMESTAMP).map(|value| value.try_into().map(u64::from_le_bytes));
        time.transpose().map_err(|_| NtlmError::BadTargetInfo)
    }

    /// The flags pair.
    pub fn flags(&self) -> u32 {
        self.get(av::FLAGS).and_then(|v| u32_at(v, 0)).unwrap_or(0)
    }

    /// The bytes on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// CHALLENGE, §2.2.1.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// What the server chose.
    pub flags: Flags,
    /// 8 random bytes.
    pub server_challenge: [u8; 8],
    /// Name of the domain or server; must not be empty where [`Flags::TARGET_TYPE_DOMAIN`] says what it is.
    pub target_name: String,
    /// Target information.
    pub target_info: TargetInfo,
}

impl Challenge {
    /// Reads a CHALLENGE.
    pub fn parse(bytes: &[u8]) -> Result<Challenge, NtlmError> {
        check_type(bytes, 2)?;
        let flags = Flags(u32_at(bytes, 20).ok_or(NtlmError::Damaged)?);
        let server_challenge = array_at(bytes, 24).ok_or(NtlmError::Damaged)?;
        let target_info = match flags.has(Flags::TARGET_INFO) {
            true => TargetInfo::parse(field(bytes, 40, CHALLENGE_FIXED)?)?,
            false => return Err(NtlmError::Lacks("target information")),
        };
        let target_name = match flags.has(Flags::UNICODE) {
            true => text(field(bytes, 12, CHALLENGE_FIXED)?)?,
            // In some code page, but then we do not go on anyway.
            false => String::new(),
        };
        Ok(Challenge { flags, server_challenge, target_name, target_info })
    }

    /// Writes a CHALLENGE.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (name, info) = (utf16(&self.target_name), self.target_info.as_bytes());
        let mut bytes = Vec::with_capacity(56 + name.len() + info.len());
        bytes.extend_from_slice(SIGNATURE);
        bytes.extend_from_slice(&2u32.to_le_bytes());
        descriptor(&mut bytes, name.len(), 56);
        bytes.extend_from_slice(&self.flags.0.to_le_bytes());
        bytes.extend_from_slice(&self.server_challenge);
        bytes.extend_from_slice(&[0; 8]);
        descriptor(&mut bytes, info.len(), 56 + name.len());
        bytes.extend_from_slice(&VERSION);
        bytes.extend_from_slice(&name);
        bytes.extend_from_slice(info);
        bytes
    }
}

/// Version field: 6.1 build 7601, NTLM revision 15; nobody decides by it, §2.2.2.10.
const VERSION: [u8; 8] = [0x06, 0x01, 0xb1, 0x1d, 0, 0, 0, 0x0f];

/// Writes a NEGOTIATE with these flags, §2.2.1.1.
pub(crate) fn negotiate_bytes(flags: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(40);
    bytes.extend_from_slice(SIGNATURE);
    bytes.extend_from_slice(&1u32.to_le_bytes());
    bytes.extend_from_slice(&flags.to_le_bytes());
    descriptor(&mut bytes, 0, 40);
    descriptor(&mut bytes, 0, 40);
    bytes.extend_from_slice(&VERSION);
    bytes
}

/// Flags of a NEGOTIATE.
pub fn negotiate_flags(bytes: &[u8]) -> Result<Flags, NtlmError> {
    check_type(bytes, 1)?;
    u32_at(bytes, 12).map(Flags).ok_or(NtlmError::Damaged)
}

/// AUTHENTICATE, §2.2.1.3. Prints who it is about, and of the answers only how long they are: passwords can be guessed
/// from them.
#[derive(Clone, PartialEq, Eq)]
pub struct Authenticate {
    /// What was agreed on.
    pub flags: Flags,
    /// LM response; not used by version 2 but to fill its place.
    pub lm_response: Vec<u8>,
    /// NT response: proof (16 bytes), and the blob it proves.
    pub nt_response: Vec<u8>,
    /// Domain as the client wrote it.
    pub domain: String,
    /// User as the client wrote it.
    pub user: String,
    /// Workstation as the client wrote it.
    pub workstation: String,
    /// Session key, encrypted; empty without key exchange.
    pub session_key: Vec<u8>,
    /// Integrity code, when the client says that there is one.
    pub mic: Option<[u8; 16]>,
}

/// Where the payload of a CHALLENGE can begin: the version field is not always there, §2.2.1.2.
const CHALLENGE_FIXED: usize = 48;

/// Where the payload of an AUTHENTICATE can begin: neither version nor integrity code is always there, §2.2.1.3.
const AUTHENTICATE_FIXED: usize = 64;

/// Where the integrity code stands.
const MIC_OFFSET: usize = 72;

/// Where the payload can begin when there is an integrity code.
const MIC_END: usize = MIC_OFFSET + 16;

impl Authenticate {
    /// Reads an AUTHENTICATE. That the list in the NT response is whole is not asked here; without a whole one there is no
    /// integrity code.
    pub fn parse(bytes: &[u8]) -> Result<Authenticate, NtlmError> {
        check_type(bytes, 3)?;
        let flags = Flags(u32_at(bytes, 60).ok_or(NtlmError::Damaged)?);
        if !flags.has(Flags::UNICODE) {
            // In some code page that the message does not name.
            return Err(NtlmError::Lacks("Unicode"));
        }
        let nt_response = field(bytes, 20, AUTHENTICATE_FIXED)?;
        let (mic, fixed) = match response_info(nt_response).is_ok_and(|info| info.flags() & AV_FLAG_MIC != 0) {
            true => (Some(array_at(bytes, MIC_OFFSET).ok_or(NtlmError::Damaged)?), MIC_END),
            false => (None, AUTHENTICATE_FIXED),
        };
        Ok(Authenticate {
            flags,
            lm_response: field(bytes, 12, fixed)?.to_vec(),
            nt_response: field(bytes, 20, fixed)?.to_vec(),
            domain: text(field(bytes, 28, fixed)?)?,
            user: text(field(bytes, 36, fixed)?)?,
            workstation: text(field(bytes, 44, fixed)?)?,
            session_key: field(bytes, 52, fixed)?.to_vec(),
            mic,
        })
    }

    /// Writes an AUTHENTICATE; a present integrity code is written as given.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (domain, user, workstation) = (utf16(&self.domain), utf16(&self.user), utf16(&self.workstation));
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(SIGNATURE);
        bytes.extend_from_slice(&3u32.to_le_bytes());
        let head = if self.mic.is_some() { MIC_END } else { MIC_OFFSET };
        // Payload order of the product: domain, user, workstation, LM, NT, session key.
        let payload: [&[u8]; 6] =
            [&domain, &user, &workstation, &self.lm_response, &self.nt_response, &self.session_key];
        let mut offsets = [0; 6];
        let mut at = head;
        for (offset, part) in offsets.iter_mut().zip(payload) {
            *offset = at;
            at += part.len();
        }
        for index in [3, 4, 0, 1, 2, 5] {
            descriptor(&mut bytes, payload[index].len(), offsets[index]);
        }
        bytes.extend_from_slice(&self.flags.0.to_le_bytes());
        bytes.extend_from_slice(&VERSION);
        if let Some(mic) = &self.mic {
            bytes.extend_from_slice(mic);
        }
        for part in payload {
            bytes.extend_from_slice(part);
        }
        bytes
    }
}

impl fmt::Debug for Authenticate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticate")
            .field("flags", &self.flags)
            .field("domain", &self.domain)
            .field("user", &self.user)
            .field("workstation", &self.workstation)
            .field("lm_response", &format_args!("{} bytes", self.lm_response.len()))
            .field("nt_response", &format_args!("{} bytes", self.nt_response.len()))
            .field("session_key", &format_args!("{} bytes", self.session_key.len()))
            .field("mic", &self.mic.is_some())
            .finish()
    }
}

/// The message with its integrity code zeroed: what the code is computed over.
pub(crate) fn without_mic(bytes: &[u8]) -> Vec<u8> {
    let mut zeroed = bytes.to_vec();
    if let Some(mic) = zeroed.get_mut(MIC_OFFSET..MIC_END) {
        mic.fill(0);
    }
    zeroed
}

/// Places the integrity code.
pub(crate) fn set_mic(bytes: &mut [u8], mic: &[u8; 16]) {
    if let Some(place) = bytes.get_mut(MIC_OFFSET..MIC_END) {
        place.copy_from_slice(mic);
    }
}

/// Target information inside a version 2 NT response, §2.2.2.7.
pub(crate) fn response_info(nt_response: &[u8]) -> Result<TargetInfo, NtlmError> {
    TargetInfo::parse(nt_response.get(44..).ok_or(NtlmError::BadTargetInfo)?)
}

/// Time inside a version 2 NT response, 100 ns since 1601.
pub(crate) fn response_time(nt_response: &[u8]) -> Option<u64> {
    array_at(nt_response, 24).map(u64::from_le_bytes)
}

fn check_type(bytes: &[u8], wanted: u32) -> Result<(), NtlmError> {
    if bytes.len() > MAX_MESSAGE {
        return Err(NtlmError::Damaged);
    }
    if bytes.get(..8) != Some(SIGNATURE.as_slice()) || u32_at(bytes, 8) != Some(wanted) {
        return Err(NtlmError::NotExpected);
    }
    Ok(())
}

/// The bytes a descriptor at `at` points to; they begin behind the fixed part. Fields may overlap: each is read by itself.
fn field(bytes: &[u8], at: usize, fixed: usize) -> Result<&[u8], NtlmError> {
    let length = usize::from(u16_at(bytes, at).ok_or(NtlmError::Damaged)?);
    let offset = u32_at(bytes, at + 4).ok_or(NtlmError::Damaged)? as usize;
    if length == 0 {
        // Its offset means nothing, §2.2.1.
        return Ok(&[]);
    }
    if offset < fixed {
        return Err(NtlmError::Damaged);
    }
    let end = offset.checked_add(length).ok_or(NtlmError::Damaged)?;
    bytes.get(offset..end).ok_or(NtlmError::Damaged)
}

fn descriptor(bytes: &mut Vec<u8>, length: usize, offset: usize) {
    let length = u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes();
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&u32::try_from(offset).unwrap_or(u32::MAX).to_le_bytes());
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// UTF-16, little-endian.
pub(crate) fn utf16(text: &str) -> Vec<u8> {
    // Never grown, since growing leaves a copy behind, and the text may be a password.
    let mut bytes = Vec::with_capacity(2 * text.len());
    bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    bytes
}

pub(crate) fn text(bytes: &[u8]) -> Result<String, NtlmError> {
    if !bytes.len().is_multiple_of(2) {
        return Err(NtlmError::BadText);
    }
    let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    String::from_utf16(&units).map_err(|_| NtlmError::BadText)
}
