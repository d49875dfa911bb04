//! Any text as the three headers of authentication: what can be read is written and read the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use signin::authenticate::message::{AuthenticationInfo, Challenge, Credentials};

fuzz_target!(|text: &str| {
    // A value with quotes or commas inside it cannot be written the same; none of ours has any.
    if text.matches('"').count() % 2 == 1 || text.contains('\\') {
        let _ = (Challenge::parse(text), Credentials::parse(text), AuthenticationInfo::parse(text));
        return;
    }
    if let Ok(challenge) = Challenge::parse(text)
        && let Ok(again) = Challenge::parse(&challenge.to_string())
    {
        assert_eq!(again.gssapi_data, challenge.gssapi_data);
    }
    if let Ok(credentials) = Credentials::parse(text)
        && let Ok(again) = Credentials::parse(&credentials.to_string())
    {
        assert_eq!(again.version, credentials.version);
    }
    let _ = AuthenticationInfo::parse(text);
});
