//! The hashes and keys of NTLM version 2. `[MS-NLMP]` §3.3.2, §3.4.5.

use super::message::utf16;
use hmac::{Hmac, KeyInit, Mac};
use md4::{Digest, Md4};
use md5::Md5;
use rc4::{Rc4, StreamCipher};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The NT hash of a password: as good as the password itself. Prints nothing, wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct NtHash([u8; 16]);

/// The proof does not fit: wrong password, wrong name, or an answer to another challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the proof is wrong")]
pub struct WrongAnswer;

impl NtHash {
    /// Hashes a password: MD4 over its UTF-16, §3.3.1.
    pub fn of_password(password: &str) -> NtHash {
        let text = Zeroizing::new(utf16(password));
        NtHash(Md4::digest(&text[..]).into())
    }

    /// From its 32 hexadecimal digits, as a store keeps it.
    pub fn from_hex(text: &str) -> Option<NtHash> {
        let mut hash = NtHash([0; 16]);
        if text.len() != 32 {
            return None;
        }
        for (byte, digits) in hash.0.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            for digit in digits {
                // Not `from_str_radix`: it takes signs as well.
                *byte = *byte << 4 | u8::try_from(char::from(*digit).to_digit(16)?).ok()?;
            }
        }
        Some(hash)
    }

    /// Its 32 hexadecimal digits, for the store and for nothing else.
    pub fn to_hex(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(32));
        for digit in self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]) {
            text.extend(char::from_digit(digit.into(), 16));
        }
        text
    }

    /// A hash that belongs to nobody. Checking an answer against it takes as long as against a real one, so the time of a
    /// refusal does not tell whether the account exists.
    pub fn decoy() -> NtHash {
        NtHash(*b"no such account!")
    }

    /// Checks a version 2 answer, in constant time, and gives the session base key. `user` and `domain` are exactly as in
    /// the AUTHENTICATE message; only the user's letters are raised to capitals.
    pub fn session_base_key(
        &self,
        user: &str,
        domain: &str,
        server_challenge: &[u8; 8],
        nt_response: &[u8],
    ) -> Result<Zeroizing<[u8; 16]>, WrongAnswer> {
        let (proof, blob) = nt_response.split_at_checked(16).ok_or(WrongAnswer)?;
        let response_key = self.response_key(user, domain);
        let expected = Zeroizing::new(hmac_md5(&response_key[..], &[server_challenge, blob]));
        let right = bool::from(expected[..].ct_eq(proof));
        let session_base_key = Zeroizing::new(hmac_md5(&response_key[..], &[proof]));
        if right { Ok(session_base_key) } else { Err(WrongAnswer) }
    }

    /// NTOWFv2, §3.3.2.
    pub(super) fn response_key(&self, user: &str, domain: &str) -> Zeroizing<[u8; 16]> {
        let name = utf16(&format!("{}{domain}", capitals(user)));
        Zeroizing::new(hmac_md5(&self.0, &[&name]))
    }
}

impl fmt::Debug for NtHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NtHash(…)")
    }
}

/// Simple capitals, one UTF-16 unit for one, as the product does: a letter whose capital is two letters stays, and so does
/// one that takes two units.
fn capitals(text: &str) -> String {
    text.chars()
        .map(|c| {
            let mut upper = c.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(single), None) if c.len_utf16() == 1 => single,
                _ => c,
            }
        })
        .collect()
}

/// HMAC-MD5 over several parts.
pub(crate) fn hmac_md5(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    let mut mac = keyed(key);
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// HMAC-MD5 with its key in place; cloning it costs less than keying it again.
pub(crate) fn keyed(key: &[u8]) -> Hmac<Md5> {
    Hmac::<Md5>::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// MD5 over several parts.
pub(crate) fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Md5::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// RC4 with a 16-byte key, from its beginning.
pub(crate) fn rc4(key: &[u8; 16], data: &mut [u8]) {
    let mut cipher = <Rc4 as KeyInit>::new_from_slice(key).expect("RC4 takes 16 bytes");
    cipher.apply_keystream(data);
}
