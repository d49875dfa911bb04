//! Header names in their usual spelling, recognised as two machine words instead of byte by byte: nearly every header of
//! nearly every peer. What is longer or spelled otherwise is `Name::from_spelling`'s.

use crate::message::{Name, SPELLINGS};
use wide::u8x16;

/// The header name that `line` begins with and the offset of the colon right after it. A name that is not known counts
/// here too, when it is of letters and hyphens.
#[inline]
pub(crate) fn usual(line: &str) -> Option<(Name, usize)> {
    let begin = line.as_bytes().first_chunk::<LONGEST>()?;
    let bytes = u8x16::from(*begin);
    let colon = bytes.simd_eq(u8x16::splat(b':')).to_bitmask().trailing_zeros() as usize;
    let (keep_low, keep_high) = *KEEP.get(colon)?;
    let [low, high] = *begin.as_chunks::<8>().0 else { return None };
    let (low, high) = (u64::from_le_bytes(low) & keep_low, u64::from_le_bytes(high) & keep_high);
    let (known_low, known_high, name) = TABLE[slot(low, high)];
    if (low, high) == (known_low, known_high) && name as usize != Name::Other as usize {
        return Some((name, colon));
    }
    let letter = (bytes | u8x16::splat(0x20)) - u8x16::splat(b'a');
    let plain = letter.simd_eq(letter.min(u8x16::splat(25))) | bytes.simd_eq(u8x16::splat(b'-'));
    let name_alone = (1 << colon) - 1;
    let is_plain = colon > 0 && plain.to_bitmask() & name_alone == name_alone;
    is_plain.then(|| (Name::from_spelling(&line[..colon]), colon))
}

/// Longest name that is looked for here, with its colon.
const LONGEST: usize = 16;

/// By length of a name: which bits of the two words are its.
static KEEP: [(u64, u64); LONGEST] = {
    let mut keep = [(0, 0); LONGEST];
    let mut length = 1;
    while length < LONGEST {
        keep[length] = match length {
            1..8 => ((1 << (8 * length)) - 1, 0),
            8 => (u64::MAX, 0),
            _ => (u64::MAX, (1 << (8 * (length - 8))) - 1),
        };
        length += 1;
    }
    keep
};

/// The names by their [`slot`]; an empty slot holds [`Name::Other`].
static TABLE: [(u64, u64, Name); 128] = {
    let mut table = [(0, 0, Name::Other); 128];
    let mut at = 0;
    while at < SPELLINGS.len() {
        let (spelling, name) = SPELLINGS[at];
        at += 1;
        if spelling.len() >= LONGEST {
            continue;
        }
        let (low, high) = words(spelling.as_bytes());
        let slot = slot(low, high);
        assert!(matches!(table[slot].2, Name::Other), "two names share a slot: choose another factor in `slot`");
        table[slot] = (low, high, name);
    }
    table
};

/// Where a name is kept. The factor is any odd one that gives every name a slot of its own.
const fn slot(low: u64, high: u64) -> usize {
    ((low ^ high.rotate_left(29)).wrapping_mul(0xb62c_228e_40df_7c9b) >> 57) as usize
}

const fn words(name: &[u8]) -> (u64, u64) {
    let (mut words, mut at) = ([0; 2], 0);
    while at < name.len() {
        words[at / 8] |= (name[at] as u64) << (8 * (at % 8));
        at += 1;
    }
    (words[0], words[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_short_name_is_recognised() {
        for (spelling, name) in SPELLINGS {
            let wanted = (spelling.len() < LONGEST).then_some((*name, spelling.len()));
            assert_eq!(usual(&format!("{spelling}: value of some length")), wanted, "{spelling}");
            assert_eq!(usual(&format!("{spelling} : value of some length")), None, "{spelling}");
            let capitals = spelling.to_ascii_uppercase();
            assert_eq!(usual(&format!("{capitals}: value of some length")), wanted, "{capitals}");
        }
        assert_eq!(usual("ms-keep-alive: UAC;hop-hop=yes"), Some((Name::Other, 13)));
        for odd in [": value of some length", "na\nme: value of some length", "na@me: value of some length"] {
            assert_eq!(usual(odd), None, "{odd:?}");
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_careful_way(line in "(v|To|From|CSeq|[A-Za-z-]{0,9}|\\PC{0,9})[: ]{0,2}\\PC{12,20}") {
            if let Some((name, colon)) = usual(&line) {
                prop_assert_eq!(line.find(':'), Some(colon));
                prop_assert_eq!(Name::from_spelling(&line[..colon]), name);
                prop_assert!(colon > 0 && line[..colon].bytes().all(crate::message::is_token));
            }
        }
    }
}
