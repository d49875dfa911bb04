//! Finding the next delimiter. In SIP it is rarely far away: eight bytes are looked at together, without a call, and only
//! what is longer goes to `memchr`.

/// Words looked through here before `memchr` takes over.
const NEAR: usize = 8;

/// Offset of the first `byte`.
#[inline]
pub(crate) fn find(bytes: &[u8], byte: u8) -> Option<usize> {
    let (words, rest) = bytes.as_chunks();
    for (number, word) in words[..words.len().min(NEAR)].iter().enumerate() {
        let hits = hits(u64::from_le_bytes(*word), byte);
        if hits != 0 {
            return Some(number * 8 + first(hits));
        }
    }
    if words.len() > NEAR {
        return memchr::memchr(byte, &bytes[NEAR * 8..]).map(|found| NEAR * 8 + found);
    }
    rest.iter().position(|b| *b == byte).map(|found| words.len() * 8 + found)
}

/// Offset of the first of three bytes.
#[inline]
pub(crate) fn find3(bytes: &[u8], a: u8, b: u8, c: u8) -> Option<usize> {
    let (words, rest) = bytes.as_chunks();
    for (number, word) in words[..words.len().min(NEAR)].iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let hits = hits(word, a) | hits(word, b) | hits(word, c);
        if hits != 0 {
            return Some(number * 8 + first(hits));
        }
    }
    if words.len() > NEAR {
        return memchr::memchr3(a, b, c, &bytes[NEAR * 8..]).map(|found| NEAR * 8 + found);
    }
    rest.iter().position(|byte| [a, b, c].contains(byte)).map(|found| words.len() * 8 + found)
}

/// Without the white space at both ends (blanks, tabs, the CR LF of folds). There is nearly always none, or one blank
/// before.
#[inline]
pub(crate) fn trimmed(text: &str) -> &str {
    match text.as_bytes() {
        [] => text,
        [only] if *only > b' ' => text,
        [first, .., last] if *first > b' ' && *last > b' ' => text,
        [b' ', first, .., last] if *first > b' ' && *last > b' ' => &text[1..],
        _ => text.trim_ascii(),
    }
}

/// The top bit of every byte that is `byte`. Above the first such byte a bit may be set in error: only [`first`] counts.
#[inline]
pub(crate) fn hits(word: u64, byte: u8) -> u64 {
    const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
    const TOP: u64 = u64::from_ne_bytes([0x80; 8]);
    let zero = word ^ (LOW * u64::from(byte));
    zero.wrapping_sub(LOW) & !zero & TOP
}

#[inline]
pub(crate) fn first(hits: u64) -> usize {
    hits.trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_one_is_found(bytes in prop::collection::vec(prop::sample::select(b"\x00\x01;:\"<\x80\x8a\n\xff\x3b\x3a".to_vec()), 0..40), gap in 0usize..200) {
            let bytes = [vec![b'x'; gap], bytes].concat();
            for byte in [0, 1, b';', b':', b'\n', 0x80, 0xff] {
                prop_assert_eq!(find(&bytes, byte), bytes.iter().position(|b| *b == byte));
            }
            let wanted = bytes.iter().position(|b| b";\"<".contains(b));
            prop_assert_eq!(find3(&bytes, b';', b'"', b'<'), wanted);
        }
    }
}
