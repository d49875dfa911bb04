//! Keys and what is done with them: encryption with a check, and checksums. RFC 3961, RFC 3962, RFC 4757.
//!
//! A [`Key`] is what tickets and keytabs carry. From it come, for one purpose (a *usage*, RFC 4120 §7.5.1) each, a
//! [`SealingKey`] and a [`ChecksumKey`]; deriving them costs more than using them, so who uses one twice keeps it.
//!
//! The checks are constant-time. Randomness is handed in. Omitted: DES and its kin (withdrawn by RFC 6649), AES with SHA-2
//! (RFC 8009; Active Directory does not issue it), and the export-strength RC4.

mod aes_sha1;
mod rc4_hmac;
#[cfg(test)]
mod tests;

use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Random bytes that one encryption takes. RC4-HMAC uses the first eight of them.
pub const CONFOUNDER: usize = 16;

/// Default iteration count of [`Key::of_password`], RFC 3962 §4.
pub const DEFAULT_ITERATIONS: u32 = 4096;

/// Most iterations done at a KDC's word; more would let it keep us busy.
pub const MAX_ITERATIONS: u32 = 1 << 20;

/// What a key is for, RFC 4120 §7.5.1 and RFC 4121 §2.
pub mod usage {
    /// Timestamp of pre-authentication, by the client's key.
    pub const AS_REQ_TIMESTAMP: u32 = 1;
    /// Inside of a ticket, by the service's key.
    pub const TICKET: u32 = 2;
    /// Inside of an AS-REP, by the client's key.
    pub const AS_REP: u32 = 3;
    /// Checksum of a TGS-REQ's body in its authenticator, by the session key.
    pub const TGS_REQ_CHECKSUM: u32 = 6;
    /// Authenticator of a TGS-REQ, by the session key.
    pub const TGS_REQ_AUTHENTICATOR: u32 = 7;
    /// Inside of a TGS-REP, by the session key.
    pub const TGS_REP_SESSION_KEY: u32 = 8;
    /// Inside of a TGS-REP, by the authenticator's subkey.
    pub const TGS_REP_SUBKEY: u32 = 9;
    /// Authenticator of an AP-REQ, by the session key.
    pub const AP_REQ_AUTHENTICATOR: u32 = 11;
    /// Inside of an AP-REP, by the session key.
    pub const AP_REP: u32 = 12;
    /// GSS signatures of the acceptor.
    pub const ACCEPTOR_SIGN: u32 = 23;
    /// GSS signatures of the initiator.
    pub const INITIATOR_SIGN: u32 = 25;
}

/// How a key encrypts. Ordered from the strongest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EncryptionType {
    /// aes256-cts-hmac-sha1-96, 18.
    Aes256,
    /// aes128-cts-hmac-sha1-96, 17.
    Aes128,
    /// arcfour-hmac, 23: MD4, MD5 and RC4.
    Rc4Hmac,
    /// Any other; no [`Key`] has it.
    Other(i32),
}

impl EncryptionType {
    /// Those that a [`Key`] can have, the strongest first.
    pub const KNOWN: [EncryptionType; 3] = [EncryptionType::Aes256, EncryptionType::Aes128, EncryptionType::Rc4Hmac];

    /// From its number, RFC 3961 §8.
    pub fn from_number(number: i32) -> EncryptionType {
        match number {
            18 => EncryptionType::Aes256,
            17 => EncryptionType::Aes128,
            23 => EncryptionType::Rc4Hmac,
            other => EncryptionType::Other(other),
        }
    }

    /// Its number, RFC 3961 §8.
    pub fn number(self) -> i32 {
        match self {
            EncryptionType::Aes256 => 18,
            EncryptionType::Aes128 => 17,
            EncryptionType::Rc4Hmac => 23,
            EncryptionType::Other(number) => number,
        }
    }

    /// Number of its checksum: hmac-sha1-96-aes256, hmac-sha1-96-aes128, hmac-md5.
    pub fn checksum_type(self) -> Option<i32> {
        match self {
            EncryptionType::Aes256 => Some(16),
            EncryptionType::Aes128 => Some(15),
            EncryptionType::Rc4Hmac => Some(-138),
            EncryptionType::Other(_) => None,
        }
    }

    /// Bytes of a key.
    pub fn key_length(self) -> Option<usize> {
        match self {
            EncryptionType::Aes256 => Some(32),
            EncryptionType::Aes128 | EncryptionType::Rc4Hmac => Some(16),
            EncryptionType::Other(_) => None,
        }
    }
}

/// The name that MIT Kerberos gives it.
impl fmt::Display for EncryptionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncryptionType::Aes256 => f.write_str("aes256-cts-hmac-sha1-96"),
            EncryptionType::Aes128 => f.write_str("aes128-cts-hmac-sha1-96"),
            EncryptionType::Rc4Hmac => f.write_str("arcfour-hmac"),
            EncryptionType::Other(number) => write!(f, "encryption type {number}"),
        }
    }
}

impl fmt::Debug for EncryptionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What goes wrong with keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// None of [`EncryptionType::KNOWN`].
    #[error("{0} is not supported")]
    Unsupported(EncryptionType),
    /// A key of another length than its type has.
    #[error("a key of {1} bytes does not fit {0}")]
    KeyLength(EncryptionType, usize),
    /// Too short to be the work of any key, or the check inside does not fit: another key, another purpose, or altered.
    #[error("the check inside the encrypted data does not fit: another key, or altered data")]
    Integrity,
    /// Parameters of a password's key that are none, or ask for more than [`MAX_ITERATIONS`].
    #[error("the parameters for the password's key are not acceptable")]
    Parameters,
}

/// A key. Prints its type alone; wiped when dropped.
#[derive(Clone)]
pub struct Key {
    etype: EncryptionType,
    bytes: Zeroizing<Vec<u8>>,
}

impl Key {
    /// A key from its bytes.
    pub fn new(etype: EncryptionType, bytes: &[u8]) -> Result<Key, CryptoError> {
        let length = etype.key_length().ok_or(CryptoError::Unsupported(etype))?;
        if bytes.len() != length {
            return Err(CryptoError::KeyLength(etype, bytes.len()));
        }
        Ok(Key { etype, bytes: Zeroizing::new(bytes.to_vec()) })
    }

    /// A new key, from `random`.
    pub fn generate(etype: EncryptionType, random: &dyn Fn(&mut [u8])) -> Result<Key, CryptoError> {
        let length = etype.key_length().ok_or(CryptoError::Unsupported(etype))?;
        let mut bytes = Zeroizing::new(vec![0; length]);
        random(&mut bytes);
        Ok(Key { etype, bytes })
    }

    /// The key of a password, with the default parameters. `salt` is what the KDC said, usually realm and components
    /// without anything between them; RC4-HMAC takes none.
    pub fn of_password(etype: EncryptionType, password: &str, salt: &[u8]) -> Result<Key, CryptoError> {
        Key::of_password_with(etype, password, salt, None)
    }

    /// The same with the KDC's parameters: for AES the iteration count, 4 bytes big-endian, where 0 stands for 2³²
    /// (RFC 3962 §4) and is therefore refused.
    pub fn of_password_with(
        etype: EncryptionType,
        password: &str,
        salt: &[u8],
        parameters: Option<&[u8]>,
    ) -> Result<Key, CryptoError> {
        let length = etype.key_length().ok_or(CryptoError::Unsupported(etype))?;
        let mut bytes = Zeroizing::new(vec![0; length]);
        if etype == EncryptionType::Rc4Hmac {
            bytes.copy_from_slice(&rc4_hmac::key_of_password(password)[..]);
            return Ok(Key { etype, bytes });
        }
        let iterations = match parameters {
            None => DEFAULT_ITERATIONS,
            Some(four) => u32::from_be_bytes(four.try_into().map_err(|_| CryptoError::Parameters)?),
        };
        if !(1..=MAX_ITERATIONS).contains(&iterations) {
            return Err(CryptoError::Parameters);
        }
        aes_sha1::key_of_password(password.as_bytes(), salt, iterations, &mut bytes);
        Ok(Key { etype, bytes })
    }

    /// How it encrypts.
    pub fn etype(&self) -> EncryptionType {
        self.etype
    }

    /// The key itself, to be written where keys belong.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What encrypts and decrypts for one usage.
    pub fn sealing(&self, usage: u32) -> SealingKey {
        SealingKey(match self.etype {
            EncryptionType::Rc4Hmac => Sealing::Rc4(rc4_hmac::Sealing::new(&self.bytes, usage)),
            _ => Sealing::Aes(Box::new(aes_sha1::Sealing::new(&self.bytes, usage))),
        })
    }

    /// What makes and checks checksums for one usage.
    pub fn checksumming(&self, usage: u32) -> ChecksumKey {
        ChecksumKey(match self.etype {
            EncryptionType::Rc4Hmac => Checksumming::Rc4(rc4_hmac::Checksumming::new(&self.bytes, usage)),
            _ => Checksumming::Aes(aes_sha1::Checksumming::new(&self.bytes, usage)),
        })
    }

    /// Encrypts once; see [`SealingKey::encrypt`].
    pub fn encrypt(&self, usage: u32, plain: &[u8], confounder: &[u8; CONFOUNDER]) -> Vec<u8> {
        self.sealing(usage).encrypt(plain, confounder)
    }

    /// Decrypts once; see [`SealingKey::decrypt`].
    pub fn decrypt(&self, usage: u32, cipher: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        self.sealing(usage).decrypt(cipher)
    }

    /// A checksum, once; see [`ChecksumKey::checksum`].
    pub fn checksum(&self, usage: u32, text: &[u8]) -> Vec<u8> {
        self.checksumming(usage).checksum(&[text])
    }

    /// Checks a checksum, once; see [`ChecksumKey::verify`].
    pub fn verify_checksum(&self, usage: u32, text: &[u8], checksum: &[u8]) -> bool {
        self.checksumming(usage).verify(&[text], checksum)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, …)", self.etype)
    }
}

/// The key of RC4-HMAC's signatures, which GSS tokens make in their own way.
pub(super) fn rc4_signing_key(key: &Key) -> Zeroizing<[u8; 16]> {
    Zeroizing::new(rc4_hmac::signing_key(&key.bytes))
}

/// A key made ready to encrypt and decrypt for one usage. Prints nothing; wiped when dropped.
#[derive(Clone)]
pub struct SealingKey(Sealing);

#[derive(Clone)]
enum Sealing {
    Aes(Box<aes_sha1::Sealing>),
    Rc4(rc4_hmac::Sealing),
}

impl SealingKey {
    /// Encrypts, with random bytes in front that nobody may know before.
    pub fn encrypt(&self, plain: &[u8], confounder: &[u8; CONFOUNDER]) -> Vec<u8> {
        match &self.0 {
            Sealing::Aes(key) => key.encrypt(plain, confounder),
            Sealing::Rc4(key) => key.encrypt(plain, confounder),
        }
    }

    /// Decrypts what [`SealingKey::encrypt`] made, after a constant-time check that it did.
    pub fn decrypt(&self, cipher: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        match &self.0 {
            Sealing::Aes(key) => key.decrypt(cipher),
            Sealing::Rc4(key) => key.decrypt(cipher),
        }
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(…)")
    }
}

/// A key made ready to make checksums for one usage. Prints nothing; wiped when dropped.
#[derive(Clone)]
pub struct ChecksumKey(Checksumming);

#[derive(Clone)]
enum Checksumming {
    Aes(aes_sha1::Checksumming),
    Rc4(rc4_hmac::Checksumming),
}

impl ChecksumKey {
    /// Checksum over several parts: 12 bytes with AES, 16 with RC4-HMAC.
    pub fn checksum(&self, parts: &[&[u8]]) -> Vec<u8> {
        match &self.0 {
            Checksumming::Aes(key) => key.checksum(parts).to_vec(),
            Checksumming::Rc4(key) => key.checksum(parts).to_vec(),
        }
    }

    /// Checks a checksum, in constant time.
    pub fn verify(&self, parts: &[&[u8]], checksum: &[u8]) -> bool {
        self.checksum(parts)[..].ct_eq(checksum).into()
    }
}

impl fmt::Debug for ChecksumKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChecksumKey(…)")
    }
}
