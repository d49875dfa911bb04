//! Any bytes as what a domain controller sends, and any text as what `ntlm_auth` says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use net::active_directory::ldap::message::Message;
use net::active_directory::winbind::protocol::AnswerReader;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some(length)) = Message::length(bytes)
        && let Some(message) = bytes.get(..length)
    {
        let _ = Message::read(message);
    }
    let _ = Message::read(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let mut reader = AnswerReader::default();
        let _ = text.lines().find_map(|line| reader.take(line));
    }
});
