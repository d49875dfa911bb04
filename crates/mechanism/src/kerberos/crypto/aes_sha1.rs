//! AES in ciphertext-stealing mode with HMAC-SHA1, etypes 17 and 18. RFC 3962, over the simplified profile of RFC 3961 §5.

use super::{CONFOUNDER, CryptoError};
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt};
use aes::{Aes128, Aes256};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Bytes of a block, of a confounder.
const BLOCK: usize = 16;

/// Bytes of a truncated HMAC.
const MAC: usize = 12;

/// Last byte of a usage's constant, RFC 3961 §5.3: for encryption, for integrity, for checksums.
const ENCRYPTION: u8 = 0xaa;
const INTEGRITY: u8 = 0x55;
const CHECKSUM: u8 = 0x99;

type Block = [u8; BLOCK];

/// Ke and Ki of one usage.
#[derive(Clone)]
pub(super) struct Sealing {
    cipher: Cipher,
    integrity: Hmac<Sha1>,
}

impl Sealing {
    pub(super) fn new(key: &[u8], usage: u32) -> Sealing {
        Sealing {
            cipher: Cipher::new(&derived(key, usage, ENCRYPTION)),
            integrity: keyed(&derived(key, usage, INTEGRITY)),
        }
    }

    /// Encrypted confounder and text, then the HMAC over both in clear.
    pub(super) fn encrypt(&self, plain: &[u8], confounder: &[u8; CONFOUNDER]) -> Vec<u8> {
        let mut text = Zeroizing::new(Vec::with_capacity(BLOCK + plain.len()));
        text.extend_from_slice(confounder);
        text.extend_from_slice(plain);
        let mut sealed = self.cipher.encrypt(&text);
        sealed.extend_from_slice(&truncated(&self.integrity, &[&text]));
        sealed
    }

    pub(super) fn decrypt(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let at = sealed.len().checked_sub(MAC).ok_or(CryptoError::Integrity)?;
        let (encrypted, mac) = sealed.split_at_checked(at).ok_or(CryptoError::Integrity)?;
        let mut text = self.cipher.decrypt(encrypted).ok_or(CryptoError::Integrity)?;
        if !bool::from(truncated(&self.integrity, &[&text])[..].ct_eq(mac)) {
            return Err(CryptoError::Integrity);
        }
        text.drain(..BLOCK);
        Ok(text)
    }
}

/// Kc of one usage.
#[derive(Clone)]
pub(super) struct Checksumming(Hmac<Sha1>);

impl Checksumming {
    pub(super) fn new(key: &[u8], usage: u32) -> Checksumming {
        Checksumming(keyed(&derived(key, usage, CHECKSUM)))
    }

    pub(super) fn checksum(&self, parts: &[&[u8]]) -> [u8; MAC] {
        truncated(&self.0, parts)
    }
}

/// string-to-key, RFC 3962 §4; `key` is 16 or 32 bytes and says which type it is.
pub(super) fn key_of_password(password: &[u8], salt: &[u8], iterations: u32, key: &mut [u8]) {
    let mut stretched = Zeroizing::new(vec![0; key.len()]);
    pbkdf2::pbkdf2_hmac::<Sha1>(password, salt, iterations, &mut stretched);
    key.copy_from_slice(&derive(&stretched, b"kerberos"));
}

/// The key for one usage and one of its three purposes.
pub(super) fn derived(key: &[u8], usage: u32, purpose: u8) -> Zeroizing<Vec<u8>> {
    let [a, b, c, d] = usage.to_be_bytes();
    derive(key, &[a, b, c, d, purpose])
}

/// DK, RFC 3961 §5.1: the folded constant, encrypted over and over until there is enough for a key.
fn derive(key: &[u8], constant: &[u8]) -> Zeroizing<Vec<u8>> {
    let cipher = Cipher::new(key);
    let mut block: Zeroizing<Block> = Zeroizing::new([0; BLOCK]);
    block.copy_from_slice(&n_fold(constant, BLOCK));
    let mut derived = Zeroizing::new(Vec::with_capacity(key.len()));
    while derived.len() < key.len() {
        cipher.encrypt_block(&mut block);
        derived.extend_from_slice(&block[..]);
    }
    derived
}

/// n-fold, RFC 3961 §5.1: copies of the input, each turned right by 13 bits more than the one before it, as many as fill
/// a whole number of outputs; these are added with the carry of ones' complement.
pub(super) fn n_fold(input: &[u8], length: usize) -> Vec<u8> {
    let bits = input.len() * 8;
    let byte = |at: usize| {
        let turned = 13 * (at / input.len()) % bits;
        (0..8).fold(0u8, |byte, bit| {
            let from = (at % input.len() * 8 + bit + bits - turned) % bits;
            byte << 1 | input[from / 8] >> (7 - from % 8) & 1
        })
    };
    let copied = input.len() / greatest_common_divisor(input.len(), length) * length;
    let mut sum = vec![0u8; length];
    for start in (0..copied).step_by(length) {
        let mut carry = 0u16;
        for place in (0..length).rev() {
            carry += u16::from(sum[place]) + u16::from(byte(start + place));
            sum[place] = (carry & 0xff) as u8;
            carry >>= 8;
        }
        for place in (0..length).rev() {
            carry += u16::from(sum[place]);
            sum[place] = (carry & 0xff) as u8;
            carry >>= 8;
        }
    }
    sum
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// HMAC-SHA1 with its key in place; cloning it costs less than keying it again.
fn keyed(key: &[u8]) -> Hmac<Sha1> {
    Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn truncated(mac: &Hmac<Sha1>, parts: &[&[u8]]) -> [u8; MAC] {
    let mut mac = mac.clone();
    for part in parts {
        mac.update(part);
    }
    let whole = mac.finalize().into_bytes();
    let mut short = [0; MAC];
    short.copy_from_slice(&whole[..MAC]);
    short
}

/// AES of either size, in CBC with ciphertext stealing and an initial vector of zeros, RFC 3962 §5.
#[derive(Clone)]
enum Cipher {
    Aes128(Aes128),
    Aes256(Aes256),
}

impl Cipher {
    fn new(key: &[u8]) -> Cipher {
        match Aes256::new_from_slice(key) {
            Ok(cipher) => Cipher::Aes256(cipher),
            Err(_) => Cipher::Aes128(Aes128::new_from_slice(key).expect("a Key is 16 or 32 bytes long")),
        }
    }

    /// `text` is at least one block long. The last two blocks of CBC change places, and the one that is then last loses
    /// what the text lacked of a block.
    fn encrypt(&self, text: &[u8]) -> Vec<u8> {
        let mut blocks = text.to_vec();
        blocks.resize(text.len().next_multiple_of(BLOCK), 0);
        let mut before: Block = [0; BLOCK];
        for chunk in blocks.chunks_exact_mut(BLOCK) {
            for (byte, mask) in before.iter_mut().zip(chunk.iter()) {
                *byte ^= mask;
            }
            self.encrypt_block(&mut before);
            chunk.copy_from_slice(&before);
        }
        let last = blocks.len().saturating_sub(2 * BLOCK);
        if blocks.len() > BLOCK {
            blocks[last..].rotate_left(BLOCK);
        }
        blocks.truncate(text.len());
        blocks
    }

    /// As long as what was encrypted, so at least one block; nothing for less than that.
    fn decrypt(&self, encrypted: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut text = Zeroizing::new(Vec::with_capacity(encrypted.len()));
        let mut before: Block = [0; BLOCK];
        // All but the last two blocks are plain CBC; of one block alone, nothing was stolen.
        let plain = match encrypted.len() {
            BLOCK => BLOCK,
            length => length.next_multiple_of(BLOCK).checked_sub(2 * BLOCK)?,
        };
        let (whole, ending) = encrypted.split_at_checked(plain)?;
        for chunk in whole.chunks_exact(BLOCK) {
            let mut block = block(chunk)?;
            let encrypted = block;
            self.decrypt_block(&mut block);
            text.extend(block.iter().zip(before).map(|(byte, mask)| byte ^ mask));
            before = encrypted;
        }
        if ending.is_empty() {
            return Some(text);
        }
        let (second, first) = ending.split_at_checked(BLOCK)?;
        let mut last = block(second)?;
        self.decrypt_block(&mut last);
        let last_text: Vec<u8> = last.iter().zip(first).map(|(byte, mask)| byte ^ mask).collect();
        let mut stolen = last;
        stolen[..first.len()].copy_from_slice(first);
        self.decrypt_block(&mut stolen);
        text.extend(stolen.iter().zip(before).map(|(byte, mask)| byte ^ mask));
        text.extend_from_slice(&Zeroizing::new(last_text));
        Some(text)
    }

    fn encrypt_block(&self, block: &mut Block) {
        match self {
            Cipher::Aes128(cipher) => cipher.encrypt_block(block.into()),
            Cipher::Aes256(cipher) => cipher.encrypt_block(block.into()),
        }
    }

    fn decrypt_block(&self, block: &mut Block) {
        match self {
            Cipher::Aes128(cipher) => cipher.decrypt_block(block.into()),
            Cipher::Aes256(cipher) => cipher.decrypt_block(block.into()),
        }
    }
}

fn block(bytes: &[u8]) -> Option<Block> {
    bytes.try_into().ok()
}
