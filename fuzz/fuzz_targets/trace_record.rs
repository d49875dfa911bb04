//! Any bytes as a saved record: read without harm, and drawn without harm.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trace::record::Record;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = Record::read(bytes) {
        let _ = trace::ladder::text(&record, 100);
    }
});
