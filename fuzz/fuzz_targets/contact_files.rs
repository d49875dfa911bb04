//! Any bytes as a file of contacts: never a panic, and never more remarks than the reader's patience.

#![no_main]

use libfuzzer_sys::fuzz_target;
use store::{ContactFormat, read_contacts};

fuzz_target!(|bytes: &[u8]| {
    for format in [None, Some(ContactFormat::Csv), Some(ContactFormat::VCard4)] {
        let file = read_contacts(bytes, format);
        assert!(file.contacts.iter().all(|contact| contact.line >= 1));
        assert!(file.groups.iter().all(|group| !group.name.trim().is_empty()));
    }
});
