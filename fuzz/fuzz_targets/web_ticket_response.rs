//! Any bytes as a message of the ticket service, in both directions, and as a ticket: nothing harms, nothing is believed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use signin::web_ticket::authority::TicketAuthority;
use signin::web_ticket::diagnostics::Diagnostics;
use signin::web_ticket::message::{TokenRequest, TokenResponse};
use signin::web_ticket::metadata::Metadata;

fuzz_target!(|bytes: &[u8]| {
    // Written again it may be nested deeper than we read; but what is read is the same.
    if let Ok(response) = TokenResponse::read(bytes)
        && let Ok(again) = TokenResponse::read(response.write().as_bytes())
    {
        assert_eq!(again.assertion, response.assertion);
    }
    if let Ok(request) = TokenRequest::read(bytes)
        && let Ok(again) = TokenRequest::read(request.write().as_bytes())
    {
        assert_eq!(again.entropy, request.entropy);
    }
    let _ = Metadata::read(bytes);
    let _ = Diagnostics::of_fault(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Diagnostics::of_header(text);
        let authority = TicketAuthority::new(&[7; 32]);
        assert!(authority.check(text, "https://pool1.contoso.test/", 0).is_err());
        assert!(authority.check_header(text, "https://pool1.contoso.test/", 0).is_err());
    }
});
