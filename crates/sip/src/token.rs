//! The `token` of RFC 3261 §25.1, of which methods and header names are made.

/// Whether a text is a `token`, as every method is: most often one of these. RFC 3261 §25.1.
pub(crate) fn is_method(text: &str) -> bool {
    let usual = matches!(text, "REGISTER" | "SUBSCRIBE" | "SERVICE" | "NOTIFY" | "BENOTIFY" | "INVITE" | "ACK" | "BYE");
    usual || !text.is_empty() && text.bytes().all(is_token)
}

/// The `token` characters of RFC 3261 §25.1.
pub(crate) fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(byte as u8, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9'
            | b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~');
        byte += 1;
    }
    table
};
