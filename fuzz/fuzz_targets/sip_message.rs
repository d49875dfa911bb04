//! Any bytes as a SIP message: what can be read can be written header by header, and reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip::{Draft, Message};

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = Message::parse(bytes) else { return };
    let Some((method, uri)) = message.method().zip(message.request_uri()) else { return };
    let mut draft = Draft::request(method, uri);
    for header in message.headers().iter().filter(|h| h.name != sip::Name::ContentLength) {
        draft.header(header.spelling, header.unfolded());
    }
    let again = draft.finish();
    let again = Message::parse(&again).expect("what was written can be read");
    assert_eq!(again.method(), Some(method));
    for header in message.headers().iter().filter(|h| h.name == sip::Name::CallId) {
        assert!(again.header(sip::Name::CallId).is_some(), "{header:?} was lost");
    }
});
