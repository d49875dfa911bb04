//! Keytab files: the keys of services, as MIT Kerberos, Samba and Windows' ktpass write them, version 0x0502.
//!
//! All numbers are big-endian. After the version come records: a length of 4 bytes, negative for the hole that a removed
//! record left, then count of components, realm, components (each with a length of 2 bytes), name type, time of writing,
//! key version (1 byte), encryption type, key (again with its length), and often the key version once more in 4 bytes.
//!
//! Not here: version 0x0501, in the byte order of whatever machine wrote it; nobody has done so since 1995.

use super::crypto::{EncryptionType, Key};
use super::name::{MAX_COMPONENTS, NameType, Principal};
use std::fmt;
use zeroize::Zeroizing;

/// Most bytes of a file.
pub const MAX_FILE: usize = 1 << 20;

/// Most records that are kept.
pub const MAX_ENTRIES: usize = 4096;

/// Version of the format.
const VERSION: [u8; 2] = [5, 2];

/// The keys of services. Prints names, versions and types, and no key.
#[derive(Clone, Default)]
pub struct Keytab {
    entries: Vec<Entry>,
    unusable: Vec<(Principal, u32, EncryptionType)>,
}

/// One key.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Whose it is.
    pub principal: Principal,
    /// Its version; the KDC counts up with every change of the password.
    pub kvno: u32,
    /// When it was written, seconds since 1970.
    pub written: u32,
    /// The key.
    pub key: Key,
}

/// A file that is no keytab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeytabError {
    /// Does not begin as one.
    #[error(
        "this is not a keytab of version 0x0502; write one with ktutil, ktpass or `samba-tool domain exportkeytab`"
    )]
    Version,
    /// A record is damaged; the number counts from 1.
    #[error("record {0} of the keytab is damaged; write the file anew")]
    Record(usize),
    /// The file is longer than [`MAX_FILE`], or has more than [`MAX_ENTRIES`] keys.
    #[error("the keytab is too large: more than {MAX_ENTRIES} keys or {MAX_FILE} bytes")]
    TooLarge,
}

/// Why there is no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoKey {
    /// No key of this principal at all.
    Principal,
    /// Keys of the principal, but none of this type; these there are.
    EncryptionType(Vec<EncryptionType>),
    /// Keys of that type, but of these versions only.
    Version(Vec<u32>),
}

impl Keytab {
    /// One without keys.
    pub fn new() -> Keytab {
        Keytab::default()
    }

    /// Reads a file.
    pub fn read(file: &[u8]) -> Result<Keytab, KeytabError> {
        if file.len() > MAX_FILE {
            return Err(KeytabError::TooLarge);
        }
        let mut rest = Bytes(file.strip_prefix(&VERSION).ok_or(KeytabError::Version)?);
        let mut keytab = Keytab::default();
        for number in 1.. {
            // A length of 0 ends the file as its end does.
            let Some(length) = rest.four().map(u32::cast_signed).filter(|length| *length != 0) else {
                break;
            };
            let size = usize::try_from(length.unsigned_abs()).map_err(|_| KeytabError::Record(number))?;
            let record = rest.take(size).ok_or(KeytabError::Record(number))?;
            if length < 0 {
                continue;
            }
            if keytab.entries.len() + keytab.unusable.len() == MAX_ENTRIES {
                return Err(KeytabError::TooLarge);
            }
            match read_record(record).ok_or(KeytabError::Record(number))? {
                (principal, kvno, _, etype, None) => keytab.unusable.push((principal, kvno, etype)),
                (principal, kvno, written, _, Some(key)) => {
                    keytab.entries.push(Entry { principal, kvno, written, key });
                }
            }
        }
        Ok(keytab)
    }

    /// Writes a file. Keys that were read but are of no known type are not in it.
    pub fn write(&self) -> Zeroizing<Vec<u8>> {
        let mut file = Zeroizing::new(VERSION.to_vec());
        for entry in &self.entries {
            let record = write_record(entry);
            file.extend_from_slice(&(record.len() as u32).to_be_bytes());
            file.extend_from_slice(&record);
        }
        file
    }

    /// Adds a key.
    pub fn add(&mut self, principal: Principal, kvno: u32, key: Key, written: u32) {
        self.entries.push(Entry { principal, kvno, written, key });
    }

    /// All keys, as in the file.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Keys of types that are not known here: whose, version, type.
    pub fn unusable(&self) -> &[(Principal, u32, EncryptionType)] {
        &self.unusable
    }

    /// The keys that may open a ticket to `service`, best first: places in [`Keytab::entries`].
    ///
    /// Names are compared exactly, then, when that finds none, without regard to the case of letters, since Active
    /// Directory gives tickets to a name as the client spelt it. With a version in the ticket, keys of that version;
    /// where the file keeps but one byte of the version, that byte has to fit. Without one, all, the newest first.
    pub fn find(&self, service: &Principal, kvno: Option<u32>, etype: EncryptionType) -> Result<Vec<usize>, NoKey> {
        let by_name = |same: fn(&Principal, &Principal) -> bool| -> Vec<(usize, &Entry)> {
            self.entries.iter().enumerate().filter(|(_, entry)| same(&entry.principal, service)).collect()
        };
        let mut found = by_name(|a, b| a == b);
        if found.is_empty() {
            found = by_name(Principal::eq_ignoring_case);
        }
        if found.is_empty() {
            return Err(self.no_key(service));
        }
        let types: Vec<EncryptionType> = found.iter().map(|(_, entry)| entry.key.etype()).collect();
        found.retain(|(_, entry)| entry.key.etype() == etype);
        if found.is_empty() {
            return Err(NoKey::EncryptionType(sorted(types)));
        }
        let versions: Vec<u32> = found.iter().map(|(_, entry)| entry.kvno).collect();
        found.retain(|(_, entry)| kvno.is_none_or(|asked| entry.kvno == asked || entry.kvno == asked & 0xff));
        if found.is_empty() {
            return Err(NoKey::Version(sorted(versions)));
        }
        found.sort_by_key(|(_, entry)| (kvno != Some(entry.kvno), std::cmp::Reverse(entry.kvno)));
        Ok(found.into_iter().map(|(place, _)| place).collect())
    }

    fn no_key(&self, service: &Principal) -> NoKey {
        let types: Vec<EncryptionType> = self
            .unusable
            .iter()
            .filter(|(principal, _, _)| principal.eq_ignoring_case(service))
            .map(|(_, _, etype)| *etype)
            .collect();
        if types.is_empty() { NoKey::Principal } else { NoKey::EncryptionType(sorted(types)) }
    }
}

impl fmt::Debug for Keytab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.entries).entries(&self.unusable).finish()
    }
}

fn sorted<T: Ord>(mut values: Vec<T>) -> Vec<T> {
    values.sort();
    values.dedup();
    values
}

type Record = (Principal, u32, u32, EncryptionType, Option<Key>);

/// One record; no key when its type is not known.
fn read_record(record: &[u8]) -> Option<Record> {
    let mut rest = Bytes(record);
    let count = usize::from(rest.two()?);
    if count > MAX_COMPONENTS {
        return None;
    }
    let realm = rest.text()?;
    let components = (0..count).map(|_| rest.text()).collect::<Option<Vec<_>>>()?;
    let name_type = NameType::from_number(rest.four()?.cast_signed());
    let written = rest.four()?;
    let [short_kvno] = *rest.take(1)? else { return None };
    let etype = EncryptionType::from_number(i32::from(rest.two()?.cast_signed()));
    let key = rest.counted()?;
    // Zero stands for a writer that reserved the room and left it.
    let kvno = rest.four().filter(|kvno| *kvno != 0).unwrap_or(short_kvno.into());
    let key = match etype {
        EncryptionType::Other(_) => None,
        _ => Some(Key::new(etype, key).ok()?),
    };
    Some((Principal::new(name_type, components, realm).ok()?, kvno, written, etype, key))
}

fn write_record(entry: &Entry) -> Zeroizing<Vec<u8>> {
    let name = &entry.principal;
    let mut record = Zeroizing::new(Vec::with_capacity(128));
    let counted = |record: &mut Vec<u8>, bytes: &[u8]| {
        // Names are shorter than 2¹⁶ bytes (`MAX_TEXT`), and so are keys.
        record.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
        record.extend_from_slice(bytes);
    };
    record.extend_from_slice(&(name.components.len() as u16).to_be_bytes());
    counted(&mut record, name.realm.as_bytes());
    for component in &name.components {
        counted(&mut record, component.as_bytes());
    }
    record.extend_from_slice(&name.name_type.number().to_be_bytes());
    record.extend_from_slice(&entry.written.to_be_bytes());
    record.push((entry.kvno & 0xff) as u8);
    record.extend_from_slice(&(entry.key.etype().number() as u16).to_be_bytes());
    counted(&mut record, entry.key.bytes());
    record.extend_from_slice(&entry.kvno.to_be_bytes());
    record
}

/// What is left of some bytes.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn two(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn four(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let count = self.two()?;
        self.take(count.into())
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.counted()?.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FE: &str = "sip/fe1.contoso.test@CONTOSO.TEST";

    fn key(etype: EncryptionType, fill: u8) -> Key {
        Key::new(etype, &vec![fill; etype.key_length().unwrap()]).unwrap()
    }

    fn keytab(entries: &[(&str, u32, EncryptionType)]) -> Keytab {
        let mut keytab = Keytab::new();
        for (name, kvno, etype) in entries {
            keytab.add(Principal::parse(name).unwrap(), *kvno, key(*etype, *kvno as u8), 1_700_000_000);
        }
        keytab
    }

    fn versions(keytab: &Keytab, name: &str, kvno: Option<u32>, etype: EncryptionType) -> Result<Vec<u32>, NoKey> {
        let found = keytab.find(&Principal::parse(name).unwrap(), kvno, etype)?;
        Ok(found.into_iter().map(|place| keytab.entries()[place].kvno).collect())
    }

    /// Written by MIT Kerberos: `ktutil: addent -key -p sip/fe1.contoso.test@CONTOSO.TEST -k 3 -e …`.
    #[test]
    fn a_file_of_ktutil() {
        let file = hex::decode(include_str!("keytab_of_ktutil.hex").replace('\n', "")).unwrap();
        let keytab = Keytab::read(&file).unwrap();
        let seen: Vec<String> = keytab
            .entries()
            .iter()
            .map(|e| format!("{} {} {} {}", e.principal, e.kvno, e.key.etype(), hex::encode(e.key.bytes())))
            .collect();
        assert_eq!(
            seen,
            [
                "sip/fe1.contoso.test@CONTOSO.TEST 3 aes256-cts-hmac-sha1-96 \
                 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
                "sip/fe1.contoso.test@CONTOSO.TEST 300 aes128-cts-hmac-sha1-96 000102030405060708090a0b0c0d0e0f",
                "http/fe1.contoso.test@CONTOSO.TEST 1 arcfour-hmac 000102030405060708090a0b0c0d0e0f",
            ]
        );
        assert_eq!(keytab.unusable().len(), 1);
        assert_eq!(keytab.unusable()[0].2, EncryptionType::Other(20));
    }

    #[test]
    fn lookup() {
        use EncryptionType::{Aes128, Aes256, Rc4Hmac};
        let tab = keytab(&[(FE, 2, Aes256), (FE, 3, Aes256), (FE, 3, Aes128), ("http/x@R", 1, Rc4Hmac)]);
        assert_eq!(versions(&tab, FE, Some(2), Aes256), Ok(vec![2]));
        assert_eq!(versions(&tab, FE, None, Aes256), Ok(vec![3, 2]), "the newest first");
        assert_eq!(versions(&tab, FE, Some(7), Aes256), Err(NoKey::Version(vec![2, 3])));
        assert_eq!(versions(&tab, FE, Some(3), Rc4Hmac), Err(NoKey::EncryptionType(vec![Aes256, Aes128])));
        assert_eq!(versions(&tab, "sip/fe2.contoso.test@CONTOSO.TEST", None, Aes256), Err(NoKey::Principal));
        assert_eq!(versions(&tab, "SIP/FE1.contoso.test@contoso.test", Some(3), Aes128), Ok(vec![3]), "case");
        assert_eq!(versions(&tab, FE, Some(0x103), Aes128), Ok(vec![3]), "the file keeps one byte");
    }

    #[test]
    fn damaged_files() {
        assert_eq!(Keytab::read(b"").unwrap_err(), KeytabError::Version);
        assert_eq!(Keytab::read(b"\x05\x01").unwrap_err(), KeytabError::Version);
        assert_eq!(Keytab::read(b"\x05\x02").unwrap().entries().len(), 0);
        let good = keytab(&[(FE, 2, EncryptionType::Aes256)]).write();
        for end in 7..good.len() {
            assert_eq!(Keytab::read(&good[..end]).unwrap_err(), KeytabError::Record(1), "cut at {end}");
        }
        let mut with_hole = b"\x05\x02\xff\xff\xff\xfd\0\0\0".to_vec();
        with_hole.extend_from_slice(&good[2..]);
        assert_eq!(Keytab::read(&with_hole).unwrap().entries().len(), 1);
        let huge_hole = b"\x05\x02\x80\x00\x00\x00";
        assert_eq!(Keytab::read(huge_hole).unwrap_err(), KeytabError::Record(1));
        assert_eq!(Keytab::read(&vec![5; MAX_FILE + 1]).unwrap_err(), KeytabError::TooLarge);
    }

    #[test]
    fn a_short_version_is_enough() {
        let long = keytab(&[(FE, 2, EncryptionType::Aes128)]).write();
        let mut short = long[..long.len() - 4].to_vec();
        short[5] -= 4;
        assert_eq!(Keytab::read(&short).unwrap().entries()[0].kvno, 2);
        let mut zero = long.to_vec();
        let last = zero.len() - 1;
        zero[last] = 0;
        assert_eq!(Keytab::read(&zero).unwrap().entries()[0].kvno, 2);
    }

    #[test]
    fn no_key_is_printed() {
        let printed = format!("{:?}", keytab(&[(FE, 2, EncryptionType::Aes128)]));
        assert!(printed.contains("Key(aes128-cts-hmac-sha1-96, …)"), "{printed}");
    }

    proptest! {
        #[test]
        fn written_and_read(names in proptest::collection::vec(("[a-z/]{1,9}@[A-Z]{1,9}", any::<u32>(), 0usize..3), 0..6)) {
            let mut tab = Keytab::new();
            for (name, kvno, which) in names {
                if let Ok(principal) = Principal::parse(&name) {
                    tab.add(principal, kvno, key(EncryptionType::KNOWN[which], 5), 7);
                }
            }
            let back = Keytab::read(&tab.write()).unwrap();
            prop_assert_eq!(format!("{:?}", back), format!("{:?}", tab));
            prop_assert_eq!(back.write(), tab.write());
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), at: prop::sample::Index) {
            let _ = Keytab::read(&bytes);
            let _ = Keytab::read(&[&[5, 2, 0, 0, 0, 60], &bytes[..]].concat());
            let mut file = keytab(&[(FE, 2, EncryptionType::Aes128)]).write().to_vec();
            let at = at.index(file.len());
            file[at] ^= bytes.first().copied().unwrap_or(1);
            let _ = Keytab::read(&file);
        }
    }
}
