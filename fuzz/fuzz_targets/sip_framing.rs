//! Any bytes as a stream: never more is cut off than there is, the parser agrees about where a message ends, and it does not
//! matter in how many reads the bytes came.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip::Message;
use sip::framing::{Cut, Framer, Limits, cut};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { head: 4096, body: 4096 };
    let mut rest = bytes;
    let mut framer = Framer::default();
    while !rest.is_empty() {
        let step = cut(rest, &limits);
        let half = framer.cut(&rest[..rest.len() / 2], &limits);
        if half == Ok(Cut::Incomplete) {
            assert_eq!(framer.cut(rest, &limits), step);
        }
        framer = Framer::default();
        if let Ok(Cut::Message { length }) = step
            && let Ok(message) = Message::parse(&rest[..length])
        {
            assert!(message.body().is_empty() || rest[..length].ends_with(message.body()));
        }
        match step {
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
