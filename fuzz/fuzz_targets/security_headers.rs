//! Any text as the three headers of authentication: what can be read is written and read the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use signin::authenticate::message::{AuthenticationInfo, Challenge, Credentials};

fuzz_target!(|text: &str| {
    let (challenge, credentials) = (Challenge::parse(text), Credentials::parse(text));
    let info = AuthenticationInfo::parse(text);
    // A value with a quote inside it cannot be written the same; none of ours has any.
    let quoted_within = text.split(',').any(|item| {
        let value = item.split_once('=').map_or("", |(_, value)| value.trim());
        value.trim_matches('"').contains('"') || value.matches('"').count() % 2 == 1
    });
    if quoted_within || text.contains('\\') {
        return;
    }
    if let Ok(challenge) = challenge {
        assert_eq!(Challenge::parse(&challenge.to_string()), Ok(challenge));
    }
    if let Ok(credentials) = credentials {
        assert_eq!(Credentials::parse(&credentials.to_string()), Ok(credentials));
    }
    if let Ok(info) = info {
        assert_eq!(AuthenticationInfo::parse(&info.to_string()), Ok(info));
    }
});
