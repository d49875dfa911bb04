//! Finding the next delimiter. In SIP it is rarely far away, so sixteen bytes (sixty-four for line ends) are looked at
//! together, without a call and without knowing the processor.

use wide::{u8x16, u8x64};

/// Bytes that are looked at together for line ends.
const BLOCK: usize = 64;

/// The offsets of line feeds, in order.
#[derive(Clone, Copy)]
pub(crate) struct LineEnds<'a> {
    bytes: &'a [u8],
    /// Where the block ends that is looked at.
    looked_at: usize,
    /// The line feeds in it that were not told yet, one bit each.
    left: u64,
}

impl<'a> LineEnds<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> LineEnds<'a> {
        let left = match bytes.first_chunk() {
            Some(block) => line_feeds(block),
            None => {
                let mut block = [0; BLOCK];
                block[..bytes.len()].copy_from_slice(bytes);
                line_feeds(&block)
            }
        };
        LineEnds { bytes, looked_at: BLOCK, left }
    }
}

impl Iterator for LineEnds<'_> {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        while self.left == 0 {
            let rest = self.bytes.get(self.looked_at..)?;
            self.left = match rest.first_chunk() {
                Some(block) => line_feeds(block),
                // The last ones are looked at together with bytes before them, whose line feeds were told.
                None => line_feeds(self.bytes.last_chunk()?).checked_shr((BLOCK - rest.len()) as u32)?,
            };
            self.looked_at += BLOCK;
        }
        let at = self.looked_at - BLOCK + self.left.trailing_zeros() as usize;
        self.left &= self.left - 1;
        Some(at)
    }
}

/// The line feeds of a block, one bit each.
#[inline(always)]
fn line_feeds(block: &[u8; BLOCK]) -> u64 {
    u8x64::from(*block).simd_eq(u8x64::splat(b'\n')).to_bitmask()
}

/// Offset of the first `byte`.
#[inline]
pub(crate) fn find(bytes: &[u8], byte: u8) -> Option<usize> {
    let byte = u8x16::splat(byte);
    first(bytes, |bytes| bytes.simd_eq(byte))
}

/// Offset of the first of two bytes.
#[inline]
pub(crate) fn find2(bytes: &[u8], a: u8, b: u8) -> Option<usize> {
    let (a, b) = (u8x16::splat(a), u8x16::splat(b));
    first(bytes, |bytes| bytes.simd_eq(a) | bytes.simd_eq(b))
}

/// Offset of the first of three bytes.
#[inline]
pub(crate) fn find3(bytes: &[u8], a: u8, b: u8, c: u8) -> Option<usize> {
    let (a, b, c) = (u8x16::splat(a), u8x16::splat(b), u8x16::splat(c));
    first(bytes, |bytes| bytes.simd_eq(a) | bytes.simd_eq(b) | bytes.simd_eq(c))
}

/// Offset of the first byte that is a hit. What is left at the end is looked at together with bytes before it, which are
/// known not to be hits.
#[inline]
fn first(bytes: &[u8], hits: impl Fn(u8x16) -> u8x16) -> Option<usize> {
    let (chunks, rest) = bytes.as_chunks();
    for (number, chunk) in chunks.iter().enumerate() {
        let hits = hits(u8x16::from(*chunk)).to_bitmask();
        if hits != 0 {
            return Some(number * 16 + hits.trailing_zeros() as usize);
        }
    }
    if rest.is_empty() {
        return None;
    }
    if let Some(last) = bytes.last_chunk() {
        let hits = hits(u8x16::from(*last)).to_bitmask();
        return (hits != 0).then(|| bytes.len() - 16 + hits.trailing_zeros() as usize);
    }
    let two = match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(begin), Some(end)) => u128::from(u64::from_le_bytes(*begin)) | u128::from(u64::from_le_bytes(*end)) << 64,
        _ => return short(bytes, hits),
    };
    let hits = hits(u8x16::from(two.to_le_bytes())).to_bitmask();
    (hits != 0).then(|| {
        let at = hits.trailing_zeros() as usize;
        if at < 8 { at } else { bytes.len() + at - 16 }
    })
}

/// The same of less than eight bytes.
#[inline]
fn short(bytes: &[u8], hits: impl Fn(u8x16) -> u8x16) -> Option<usize> {
    let word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u128::from(*byte));
    let hits = hits(u8x16::from(word.to_le_bytes())).to_bitmask() & ((1 << bytes.len()) - 1);
    (hits != 0).then(|| hits.trailing_zeros() as usize)
}

/// Without the white space at both ends (blanks, tabs, the CR LF of folds). There is nearly always none, or one blank
/// before.
#[inline]
pub(crate) fn trimmed(text: &str) -> &str {
    match text.as_bytes() {
        [] => text,
        _ if is_bare(text) => text,
        [b' ', ..] if is_bare(&text[1..]) => &text[1..],
        _ => text.trim_ascii(),
    }
}

/// Whether a text begins and ends with something else than white space or a control character, and is not empty.
#[inline]
pub(crate) fn is_bare(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|first| *first > b' ') && bytes.last().is_some_and(|last| *last > b' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_one_is_found(bytes in prop::collection::vec(prop::sample::select(b"\x00\x01;:\"<\x80\x8a\n\xff\x3b\x3a".to_vec()), 0..40), gap in 0usize..200) {
            let bytes = [vec![b'x'; gap], bytes].concat();
            let ends: Vec<_> = LineEnds::of(&bytes).collect();
            let wanted: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at] == b'\n').collect();
            prop_assert_eq!(ends, wanted);
            for byte in [0, 1, b';', b':', b'\n', 0x80, 0xff] {
                prop_assert_eq!(find(&bytes, byte), bytes.iter().position(|b| *b == byte));
            }
            let wanted = bytes.iter().position(|b| b";\"".contains(b));
            prop_assert_eq!(find2(&bytes, b';', b'"'), wanted);
            let wanted = bytes.iter().position(|b| b";\"<".contains(b));
            prop_assert_eq!(find3(&bytes, b';', b'"', b'<'), wanted);
        }
    }
}
