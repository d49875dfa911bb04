//! The vectors of the RFCs, and what MIT Kerberos encrypts and signs.

use super::*;
use proptest::prelude::*;

fn bytes(digits: &str) -> Vec<u8> {
    hex::decode(digits.replace([' ', '\n'], "")).expect("hexadecimal")
}

/// RFC 3961 §A.1.
#[test]
fn n_fold() {
    for (input, length, expected) in [
        ("012345", 8, "be072631276b1955"),
        ("password", 7, "78a07b6caf85fa"),
        ("Rough Consensus, and Running Code", 8, "bb6ed30870b7f0e0"),
        ("password", 21, "59e4a8ca7c0385c3c37b3f6d2000247cb6e6bd5b3e"),
        ("MASSACHVSETTS INSTITVTE OF TECHNOLOGY", 24, "db3b0d8f0b061e603282b308a50841229ad798fab9540c1b"),
        ("Q", 21, "518a54a215a8452a518a54a215a8452a518a54a215"),
        ("ba", 21, "fb25d531ae8974499f52fd92ea9857c4ba24cf297e"),
        ("kerberos", 16, "6b65726265726f737b9b5b2b93132b93"),
    ] {
        assert_eq!(hex::encode(aes_sha1::n_fold(input.as_bytes(), length)), expected, "{input}");
    }
}

/// RFC 3962 appendix B.
#[test]
fn aes_keys_of_passwords() {
    let raeburn = "ATHENA.MIT.EDUraeburn".as_bytes();
    for (password, salt, iterations, short, long) in [
        (
            "password",
            raeburn,
            1u32,
            "42263c6e89f4fc28b8df68ee09799f15",
            "fe697b52bc0d3ce14432ba036a92e65bbb52280990a2fa27883998d72af30161",
        ),
        (
            "password",
            raeburn,
            1200,
            "4c01cd46d632d01e6dbe230a01ed642a",
            "55a6ac740ad17b4846941051e1e8b0a7548d93b0ab30a8bc3ff16280382b8c2a",
        ),
        (
            "password",
            &[0x12, 0x34, 0x56, 0x78, 0x78, 0x56, 0x34, 0x12],
            5,
            "e9b23d52273747dd5c35cb55be619d8e",
            "97a4e786be20d81a382d5ebc96d5909cabcdadc87ca48f574504159f16c36e31",
        ),
        (
            "\u{1d11e}",
            "EXAMPLE.COMpianist".as_bytes(),
            50,
            "f149c1f2e154a73452d43e7fe62a56e5",
            "4b6d9839f84406df1f09cc166db4b83c571848b784a3d6bdc346589a3e393f9e",
        ),
    ] {
        let parameters = iterations.to_be_bytes();
        let key = |etype| Key::of_password_with(etype, password, salt, Some(&parameters)).unwrap();
        assert_eq!(hex::encode(key(EncryptionType::Aes128).bytes()), short);
        assert_eq!(hex::encode(key(EncryptionType::Aes256).bytes()), long);
    }
}

#[test]
fn parameters_of_passwords_are_bounded() {
    let with = |four: &[u8]| Key::of_password_with(EncryptionType::Aes128, "p", b"s", Some(four)).map(|_| ());
    assert_eq!(with(&[0, 0, 0, 1]), Ok(()));
    for bad in [&[0u8, 0, 0, 0][..], &[0xff; 4], &[0, 0, 1], &[0; 5]] {
        assert_eq!(with(bad), Err(CryptoError::Parameters), "{bad:?}");
    }
}

/// RFC 4757 §2 takes the NT hash of `[MS-NLMP]`; this one is of "foo".
#[test]
fn rc4_key_of_a_password() {
    let key = Key::of_password(EncryptionType::Rc4Hmac, "foo", b"any salt").unwrap();
    assert_eq!(hex::encode(key.bytes()), "ac8e657f83df82beea5d43bdaf7800cc");
}

/// Keys for signatures that came from real exchanges.
#[test]
fn derived_keys() {
    let key = bytes("60680d2af3a6b878c566c1732fc2e423a0c7f79c24ab4a558a0e2ae19b63ec07");
    for (usage, expected) in [
        (25, "b67506ec9fb59f502258c80f5f85d4b5af5eced7cbc99a78e4e1544475ec0447"),
        (23, "42797266111a824b6e7839397682fb3bc5d6e3fde828e39d5f9f51c673d361cc"),
    ] {
        assert_eq!(hex::encode(&aes_sha1::derived(&key, usage, 0x99)[..]), expected);
    }
}

/// What MIT Kerberos encrypted, for every length around a block and every usage that is renumbered.
#[test]
fn mit_kerberos_encrypts_and_signs_alike() {
    let mut seen = 0;
    for line in include_str!("mit_vectors.txt").lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let [etype, usage, plain, encrypted, checksum] = words[..] else { panic!("{line}") };
        let etype = EncryptionType::from_number(etype.parse().unwrap());
        let length = etype.key_length().unwrap() as u8;
        let key = Key::new(etype, &(0x10..0x10 + length).collect::<Vec<u8>>()).unwrap();
        let usage = usage.parse().unwrap();
        let plain = if plain == "-" { Vec::new() } else { bytes(plain) };
        let read = key.decrypt(usage, &bytes(encrypted)).unwrap_or_else(|e| panic!("{line}: {e}"));
        assert_eq!(*read, plain, "{line}");
        assert_eq!(hex::encode(key.checksum(usage, &plain)), checksum, "{line}");
        assert_eq!(key.decrypt(usage + 100, &bytes(encrypted)).unwrap_err(), CryptoError::Integrity, "{line}");
        seen += 1;
    }
    assert_eq!(seen, 78);
}

#[test]
fn keys_have_the_length_of_their_type() {
    let aes = EncryptionType::Aes128;
    assert_eq!(Key::new(aes, &[0; 32]).unwrap_err(), CryptoError::KeyLength(aes, 32));
    let other = EncryptionType::from_number(20);
    assert_eq!(Key::new(other, &[0; 32]).unwrap_err(), CryptoError::Unsupported(other));
}

#[test]
fn nothing_secret_is_printed() {
    let key = Key::new(EncryptionType::Aes128, &[0xab; 16]).unwrap();
    let printed = format!("{key:?} {:?} {:?}", key.sealing(1), key.checksumming(1));
    assert_eq!(printed, "Key(aes128-cts-hmac-sha1-96, …) SealingKey(…) ChecksumKey(…)");
}

fn any_key() -> impl Strategy<Value = Key> {
    (0usize..3, any::<[u8; 32]>()).prop_map(|(which, bytes)| {
        let etype = EncryptionType::KNOWN[which];
        Key::new(etype, &bytes[..etype.key_length().unwrap()]).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn there_and_back(key in any_key(), usage in 0u32..30, plain in proptest::collection::vec(any::<u8>(), 0..100),
                      confounder: [u8; CONFOUNDER], at: prop::sample::Index) {
        let mut cipher = key.encrypt(usage, &plain, &confounder);
        let read = key.decrypt(usage, &cipher).unwrap();
        prop_assert_eq!(&read[..], &plain[..]);
        let at = at.index(cipher.len());
        cipher[at] ^= 1;
        prop_assert!(key.decrypt(usage, &cipher).is_err(), "one bit altered");
    }

    #[test]
    fn no_bytes_panic(key in any_key(), cipher in proptest::collection::vec(any::<u8>(), 0..80)) {
        prop_assert!(key.decrypt(2, &cipher).is_err());
        prop_assert!(!key.verify_checksum(2, b"text", &cipher));
    }
}
