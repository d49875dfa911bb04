//! Any bytes as a stream: never more is cut off than there is, and what is cut off as a message is one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip::framing::{Cut, Limits, cut};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { head: 4096, body: 4096 };
    let mut rest = bytes;
    while !rest.is_empty() {
        match cut(rest, &limits) {
            Ok(Cut::Message { length } | Cut::KeepAlive { length }) => {
                assert!(length > 0 && length <= rest.len() && length <= limits.head + limits.body + rest.len());
                rest = &rest[length..];
            }
            Ok(Cut::Incomplete) => {
                assert!(rest.len() <= limits.head + limits.body);
                return;
            }
            Err(_) => return,
        }
    }
});
