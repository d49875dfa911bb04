//! Any text as `krb5.conf`: read without harm. The reader belongs to the program, which is no library; so its file is taken.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code)] // the program uses the rest
#[path = "../../crates/cli/src/krb5_conf.rs"]
mod krb5_conf;

fuzz_target!(|text: &str| {
    let conf = krb5_conf::Krb5Conf::read(text);
    if let Some(realm) = &conf.default_realm {
        assert!(conf.kdcs_of(realm).iter().all(|kdc| !kdc.host.is_empty()));
    }
});
