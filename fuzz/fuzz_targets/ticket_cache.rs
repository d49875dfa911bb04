//! Any bytes as a ticket cache: read without harm, and what was read is written and read the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mechanism::kerberos::TicketCache;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(cache) = TicketCache::parse(bytes) {
        let written = cache.to_bytes();
        let again = TicketCache::parse(&written).expect("what we write, we read");
        assert_eq!(again.credentials().len(), cache.credentials().len());
        assert_eq!(again.to_bytes(), written);
    }
});
