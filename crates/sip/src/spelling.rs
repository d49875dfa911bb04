//! Header names of letters and hyphens, recognised sixteen bytes at once: nearly every header of nearly every peer. What is
//! longer or has other characters is `Name::from_spelling`'s.

use crate::name::{Name, SPELLINGS};
use wide::u8x16;

/// The header name that `line` begins with, in any case, and the offset of the colon right after it. A name that is not
/// known counts here too, when it is of letters and hyphens.
#[inline]
pub(crate) fn usual(line: &[u8]) -> Option<(Name, usize)> {
    let begin = line.first_chunk::<LOOK>()?;
    let bytes = u8x16::from(*begin);
    let colon = bytes.simd_eq(u8x16::splat(b':')).to_bitmask().trailing_zeros() as usize;
    if colon >= LOOK {
        return None;
    }
    let known = &TABLE[slot(begin, colon)];
    let lower_case = bytes | known.letters;
    let same = lower_case.simd_eq(known.spelling) | known.after;
    if same.to_bitmask() == 0xffff {
        return Some((known.name, colon));
    }
    let letter = (bytes | u8x16::splat(0x20)) - u8x16::splat(b'a');
    let plain = letter.simd_eq(letter.min(u8x16::splat(25))) | bytes.simd_eq(u8x16::splat(b'-'));
    let name_alone = (1 << colon) - 1;
    (colon > 0 && plain.to_bitmask() & name_alone == name_alone).then_some((Name::Other, colon))
}

/// Bytes looked at: a longer name with its colon is not found.
const LOOK: usize = 16;

/// A known name, as the bytes a line would begin with.
#[derive(Clone, Copy)]
struct Known {
    /// In lower case, with its colon. Nothing but zeros: no name, and no line is like it.
    spelling: u8x16,
    /// The bit that makes lower case of a letter, where the name has one.
    letters: u8x16,
    /// Every bit of what comes after the colon.
    after: u8x16,
    name: Name,
}

/// The names by their [`slot`].
static TABLE: [Known; SLOTS] = {
    let zero = u8x16::new([0; LOOK]);
    let nothing = Known { spelling: zero, letters: zero, after: zero, name: Name::Other };
    let mut table = [nothing; SLOTS];
    let mut next = 0;
    while next < SPELLINGS.len() {
        let (spelling, name) = SPELLINGS[next];
        next += 1;
        if spelling.len() < LOOK {
            let (known, begin) = known(spelling.as_bytes(), name);
            let slot = slot(&begin, spelling.len());
            let free = matches!(table[slot].name, Name::Other);
            assert!(free, "two names share a slot: choose another factor in `slot`");
            table[slot] = known;
        }
    }
    table
};

const SLOTS: usize = 64;

/// Where a name is kept: by its length and its first two characters, of which the second may be the colon. The factor is
/// any odd one that gives every name a slot of its own.
#[inline]
const fn slot(begin: &[u8; LOOK], length: usize) -> usize {
    let two = u16::from_le_bytes([begin[0], begin[1]]) | 0x2020;
    let all = two as u32 | (length as u32) << 16;
    (all.wrapping_mul(0xf04a_56b3) >> 26) as usize
}

/// A name as it is looked for, and the bytes a line with it begins with.
const fn known(spelling: &[u8], name: Name) -> (Known, [u8; LOOK]) {
    let (mut begin, mut letters, mut after) = ([0; LOOK], [0; LOOK], [0xff; LOOK]);
    let mut at = 0;
    while at <= spelling.len() {
        let byte = if at < spelling.len() { spelling[at] } else { b':' };
        begin[at] = byte.to_ascii_lowercase();
        letters[at] = if byte.is_ascii_alphabetic() { 0x20 } else { 0 };
        after[at] = 0;
        at += 1;
    }
    let known = Known { spelling: u8x16::new(begin), letters: u8x16::new(letters), after: u8x16::new(after), name };
    (known, begin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_short_name_is_recognised() {
        for (spelling, name) in SPELLINGS {
            let wanted = (spelling.len() < LOOK).then_some((*name, spelling.len()));
            for spelling in [spelling.to_string(), spelling.to_ascii_uppercase(), spelling.to_ascii_lowercase()] {
                assert_eq!(seen(&format!("{spelling}: value of some length")), wanted, "{spelling}");
                assert_eq!(seen(&format!("{spelling} : value of some length")), None, "{spelling}");
                // What makes lower case of a letter makes another character of these.
                let other = spelling.replace('-', "\r").replace(['V', 'v'], "\u{16}");
                assert!(other == spelling || seen(&format!("{other}: value of some length")).is_none(), "{other:?}");
            }
        }
        assert_eq!(seen("ms-keep-alive: UAC;hop-hop=yes"), Some((Name::Other, 13)));
        for odd in [": value of some length", "na\nme: value of some length", "na@me: value of some length", "v: short"]
        {
            assert_eq!(seen(odd), None, "{odd:?}");
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_careful_way(line in "(v|VIA|To|from|CSeq|[A-Za-z-]{0,9}|\\PC{0,9})[: ]{0,2}\\PC{12,20}") {
            if let Some((name, colon)) = seen(&line) {
                prop_assert_eq!(line.find(':'), Some(colon));
                prop_assert_eq!(Name::from_spelling(&line[..colon]), name);
                prop_assert!(colon > 0 && line[..colon].bytes().all(crate::token::is_token));
            }
        }
    }

    fn seen(line: &str) -> Option<(Name, usize)> {
        usual(line.as_bytes())
    }
}
