//! Signatures of messages between two ends that share a key. RFC 4121 §4.2.6.1 for AES, RFC 4757 §7.2 for RC4-HMAC.
//!
//! Each side counts what it signs. The numbers of the other side are covered by its signatures but not held against it:
//! messages of SIP may overtake each other, and the number that guards against repetition (`[MS-SIPAE]` `cnum`, `snum`) is
//! in the text. Where the system's GSS-API library keeps the key, it signs and checks: [`PerMessageCalls`]. Omitted:
//! wrapped (encrypted) messages.

use super::crypto::{ChecksumKey, EncryptionType, Key, rc4_signing_key, usage};
use crate::Side;
use crate::ntlm::crypto::{hmac_md5, keyed, md5, rc4};
use hmac::{Hmac, Mac};
use md5::Md5;
use std::fmt;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Usage of signatures among the message types of RC4-HMAC, RFC 4757 §3.
const RC4_SIGN: u32 = 15;

/// Framing of a signature by RC4-HMAC: application 0, 35 bytes, the identifier of Kerberos. RFC 1964 §1.2.
const RC4_FRAME: [u8; 13] = [0x60, 0x23, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02];

/// Token 01 01, signature algorithm 17 (HMAC), filler.
const RC4_HEADER: [u8; 8] = [0x01, 0x01, 0x11, 0x00, 0xff, 0xff, 0xff, 0xff];

/// Flags of RFC 4121 §4.2.2.
const SENT_BY_ACCEPTOR: u8 = 1;
const SEALED: u8 = 2;
const ACCEPTOR_SUBKEY: u8 = 4;

/// A security context whose key somebody else keeps, as a client uses it. RFC 2743 §2.3.
pub trait PerMessageCalls: Send + Sync {
    /// `GSS_GetMIC`: signs a text. `None`: the context can no more, for instance because its ticket has ended.
    fn get_mic(&self, text: &[u8]) -> Option<Vec<u8>>;

    /// `GSS_VerifyMIC`: whether the other end signed this text.
    fn verify_mic(&self, text: &[u8], mic: &[u8]) -> bool;
}

/// The key of one association made ready for both directions, and the numbers of the next signatures. Prints nothing;
/// wiped when dropped.
pub struct MessageKeys {
    signer: Signer,
    client_next: u64,
    server_next: u64,
}

enum Signer {
    /// Kc of both directions; whether the acceptor chose the key.
    Aes { client: ChecksumKey, server: ChecksumKey, acceptor_subkey: bool },
    /// HMACs in place, by the signing key and by the key that seals numbers.
    Rc4 { checksum: Hmac<Md5>, sequence: Box<Hmac<Md5>> },
    /// The key is elsewhere, and so are the numbers.
    Elsewhere(Arc<dyn PerMessageCalls>),
}

impl MessageKeys {
    /// From the key both ends agreed on: the acceptor's subkey if it sent one (then `acceptor_subkey` is true), else the
    /// initiator's subkey, else the ticket's session key. The first numbers are those of the authenticator and of the
    /// AP-REP; without an AP-REP, the server's is the client's.
    pub fn new(key: &Key, acceptor_subkey: bool, first_of_client: u32, first_of_server: u32) -> MessageKeys {
        let signer = match key.etype() {
            EncryptionType::Rc4Hmac => Signer::Rc4 {
                checksum: keyed(&rc4_signing_key(key)[..]),
                sequence: Box::new(keyed(&Zeroizing::new(hmac_md5(key.bytes(), &[&[0; 4]]))[..])),
            },
            _ => Signer::Aes {
                client: key.checksumming(usage::INITIATOR_SIGN),
                server: key.checksumming(usage::ACCEPTOR_SIGN),
                acceptor_subkey,
            },
        };
        MessageKeys { signer, client_next: first_of_client.into(), server_next: first_of_server.into() }
    }

    /// Of a context that is kept elsewhere. It signs for the client and checks what the server signed, nothing else.
    pub fn of_context(context: Arc<dyn PerMessageCalls>) -> MessageKeys {
        MessageKeys { signer: Signer::Elsewhere(context), client_next: 0, server_next: 0 }
    }

    /// Signs a text with the next number of that side: 28 bytes with AES, 37 with RC4-HMAC, none where a context that is
    /// kept elsewhere does not sign.
    pub fn sign(&mut self, by: Side, text: &[u8]) -> Vec<u8> {
        let next = match by {
            Side::Client => &mut self.client_next,
            Side::Server => &mut self.server_next,
        };
        let number = *next;
        *next = next.wrapping_add(1);
        match &self.signer {
            Signer::Aes { client, server, acceptor_subkey } => {
                let (key, sender) = match by {
                    Side::Client => (client, 0),
                    Side::Server => (server, SENT_BY_ACCEPTOR),
                };
                let subkey = if *acceptor_subkey { ACCEPTOR_SUBKEY } else { 0 };
                let mut token = vec![4, 4, sender | subkey, 0xff, 0xff, 0xff, 0xff, 0xff];
                token.extend_from_slice(&number.to_be_bytes());
                let checksum = key.checksum(&[text, &token]);
                token.extend_from_slice(&checksum);
                token
            }
            Signer::Rc4 { checksum, sequence } => {
                let checksum = rc4_checksum(checksum, text);
                let mut sealed = rc4_number(number as u32, by);
                rc4(&rc4_sequence_key(sequence, &checksum), &mut sealed);
                [&RC4_FRAME[..], &RC4_HEADER, &sealed, &checksum].concat()
            }
            Signer::Elsewhere(context) => match by {
                Side::Client => context.get_mic(text).unwrap_or_default(),
                Side::Server => Vec::new(),
            },
        }
    }

    /// Checks a signature of that side, whatever its number, in constant time.
    pub fn verify(&self, by: Side, text: &[u8], signature: &[u8]) -> bool {
        match &self.signer {
            Signer::Aes { client, server, .. } => {
                let Some((header, checksum)) = signature.split_at_checked(16) else { return false };
                let [4, 4, flags, 0xff, 0xff, 0xff, 0xff, 0xff, ..] = header else { return false };
                let (key, sender) = match by {
                    Side::Client => (client, 0),
                    Side::Server => (server, SENT_BY_ACCEPTOR),
                };
                // Some set the subkey's flag wherever there is a subkey; the checksum knows which key it was.
                flags & (SENT_BY_ACCEPTOR | SEALED) == sender && key.verify(&[text, header], checksum)
            }
            Signer::Rc4 { checksum, sequence } => {
                let Some(token) = signature.strip_prefix(&RC4_FRAME) else { return false };
                let Some(token) = token.strip_prefix(&RC4_HEADER) else { return false };
                let Some((sealed, seen)) = token.split_first_chunk::<8>() else { return false };
                let expected = rc4_checksum(checksum, text);
                let mut number = *sealed;
                rc4(&rc4_sequence_key(sequence, &expected), &mut number);
                let right = expected[..].ct_eq(seen) & number[4..].ct_eq(&rc4_number(0, by)[4..]);
                right.into()
            }
            Signer::Elsewhere(context) => by == Side::Server && context.verify_mic(text, signature),
        }
    }
}

impl fmt::Debug for MessageKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageKeys(…)")
    }
}

fn rc4_checksum(key: &Hmac<Md5>, text: &[u8]) -> [u8; 8] {
    let whole = finished(key, &[&md5(&[&RC4_SIGN.to_le_bytes(), &RC4_HEADER, text])]);
    let mut short = [0; 8];
    short.copy_from_slice(&whole[..8]);
    short
}

fn rc4_sequence_key(key: &Hmac<Md5>, checksum: &[u8; 8]) -> Zeroizing<[u8; 16]> {
    Zeroizing::new(finished(key, &[checksum]))
}

/// Number and direction, in clear.
fn rc4_number(number: u32, by: Side) -> [u8; 8] {
    let [a, b, c, d] = number.to_be_bytes();
    let direction = match by {
        Side::Client => 0,
        Side::Server => 0xff,
    };
    [a, b, c, d, direction, direction, direction, direction]
}

fn finished(key: &Hmac<Md5>, parts: &[&[u8]]) -> [u8; 16] {
    let mut mac = key.clone();
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const C: &[u8] = b"<Kerberos><8a0f1b2c><1><SIP Communications Service><sip/fe.contoso.test>\
        <0123456789abcdef0123456789abcdef><2><REGISTER><sip:alice@contoso.test><1a2b3c4d5e><sip:alice@contoso.test>\
        <><><><>";
    const S: &[u8] = b"<Kerberos><4F219DA8><1><SIP Communications Service><sip/fe.contoso.test>\
        <0123456789abcdef0123456789abcdef><2><REGISTER><sip:alice@contoso.test><1a2b3c4d5e><sip:alice@contoso.test>\
        <9588410E2DA11CEE9D0AE7733E07830F><><><7200><200>";

    fn key(etype: EncryptionType, digits: &str) -> Key {
        Key::new(etype, &hex::decode(digits).unwrap()).unwrap()
    }

    /// Signatures of pidgin-sipe and of libgssapi, taken from their exchanges.
    #[test]
    fn vectors() {
        for (etype, digits, number, of_client, of_server) in [
            (
                EncryptionType::Aes256,
                "60680d2af3a6b878c566c1732fc2e423a0c7f79c24ab4a558a0e2ae19b63ec07",
                0x2f97_612a,
                "040400ffffffffff000000002f97612a36e1892415067ce06ad019cf",
                "040401ffffffffff000000002f97612a757c3f66050aa0b66a532554",
            ),
            (
                EncryptionType::Aes128,
                "000102030405060708090a0b0c0d0e0f",
                0,
                "040400ffffffffff00000000000000009abe41e06666b2e109a7ea89",
                "040401ffffffffff00000000000000007c5dfdc2962bd938de5e7a5d",
            ),
            (
                EncryptionType::Rc4Hmac,
                "688084ceb9b59fb0e99992629188410f",
                0x3248_ac1a,
                "602306092a864886f71201020201011100ffffffff80aa3d169f24528ed38eb63d249c1a53",
                "602306092a864886f71201020201011100ffffffff5d4a8a93c99c021a410f52da9c674778",
            ),
        ] {
            let mut keys = MessageKeys::new(&key(etype, digits), false, number, number);
            assert_eq!(hex::encode(keys.sign(Side::Client, C)), of_client);
            assert_eq!(hex::encode(keys.sign(Side::Server, S)), of_server);
            assert!(keys.verify(Side::Client, C, &hex::decode(of_client).unwrap()));
            assert!(keys.verify(Side::Server, S, &hex::decode(of_server).unwrap()));
        }
    }

    #[test]
    fn numbers_count_by_side_and_order_is_free() {
        for etype in EncryptionType::KNOWN {
            let key = Key::new(etype, &vec![7; etype.key_length().unwrap()]).unwrap();
            let mut keys = MessageKeys::new(&key, true, u32::MAX, 5);
            let first = keys.sign(Side::Client, b"text");
            let second = keys.sign(Side::Client, b"text");
            assert_ne!(first, second, "another number");
            assert!(keys.verify(Side::Client, b"text", &second), "overtaken");
            assert!(keys.verify(Side::Client, b"text", &first));
            let mut again = MessageKeys::new(&key, true, 0, 5);
            assert_eq!(keys.sign(Side::Server, b"text"), again.sign(Side::Server, b"text"), "the server's own count");
        }
    }

    #[test]
    fn the_acceptors_subkey_is_told() {
        let key = Key::new(EncryptionType::Aes128, &[7; 16]).unwrap();
        let mut keys = MessageKeys::new(&key, true, 0, 0);
        assert_eq!(keys.sign(Side::Client, b"")[2], 4);
        assert_eq!(keys.sign(Side::Server, b"")[2], 5);
        assert_eq!(format!("{keys:?}"), "MessageKeys(…)");
    }

    /// Signs by writing a text backwards, up to a length.
    struct Backwards;

    impl PerMessageCalls for Backwards {
        fn get_mic(&self, text: &[u8]) -> Option<Vec<u8>> {
            (text.len() < 5).then(|| text.iter().rev().copied().collect())
        }

        fn verify_mic(&self, text: &[u8], mic: &[u8]) -> bool {
            self.get_mic(text).as_deref() == Some(mic)
        }
    }

    #[test]
    fn a_context_kept_elsewhere_is_a_clients() {
        let mut keys = MessageKeys::of_context(Arc::new(Backwards));
        assert_eq!(keys.sign(Side::Client, b"text"), b"txet");
        assert_eq!(keys.sign(Side::Client, b"texts"), b"", "it can no more");
        assert_eq!(keys.sign(Side::Server, b"text"), b"");
        assert!(keys.verify(Side::Server, b"text", b"txet"));
        assert!(!keys.verify(Side::Server, b"text", b"text"));
        assert!(!keys.verify(Side::Client, b"text", b"txet"), "sent back");
        assert_eq!(format!("{keys:?}"), "MessageKeys(…)");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn altered_signatures_and_texts_are_refused(which in 0usize..3, at: prop::sample::Index, bit in 0u32..8,
                                                    text in proptest::collection::vec(any::<u8>(), 1..50)) {
            let etype = EncryptionType::KNOWN[which];
            let key = Key::new(etype, &vec![9; etype.key_length().unwrap()]).unwrap();
            let mut keys = MessageKeys::new(&key, false, 1, 1);
            let signature = keys.sign(Side::Client, &text);
            prop_assert!(keys.verify(Side::Client, &text, &signature));
            prop_assert!(!keys.verify(Side::Server, &text, &signature), "sent back");
            let mut altered = text.clone();
            altered[at.index(text.len())] ^= 1 << bit;
            prop_assert!(!keys.verify(Side::Client, &altered, &signature));
            let place = at.index(signature.len());
            // The four bytes of RC4-HMAC's number are sealed, not signed, and are not looked at.
            if etype != EncryptionType::Rc4Hmac || !(21..25).contains(&place) {
                let mut altered = signature.clone();
                altered[place] ^= 1 << bit;
                prop_assert!(!keys.verify(Side::Client, &text, &altered));
            }
        }

        #[test]
        fn no_bytes_panic(which in 0usize..3, signature in proptest::collection::vec(any::<u8>(), 0..60)) {
            let etype = EncryptionType::KNOWN[which];
            let key = Key::new(etype, &vec![9; etype.key_length().unwrap()]).unwrap();
            prop_assert!(!MessageKeys::new(&key, false, 1, 1).verify(Side::Client, b"text", &signature));
        }
    }
}
