//! DER, as much of it as tickets and GSS tokens are made of. X.690.
//!
//! Ours, and not picky-krb's, because names from Windows are UTF-8, which picky's strings refuse, and because keys are not
//! to be left in buffers that nobody wipes; picky-krb writes what the tests have us read. Lengths may be longer than they
//! need be, and fields behind those that are known are passed over. Omitted: the indefinite form, tags of more than one
//! byte.

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const GENERAL_STRING: u8 = 0x1b;
pub(super) const SEQUENCE: u8 = 0x30;

/// `[APPLICATION n]`, constructed.
pub(super) const fn application(number: u8) -> u8 {
    0x60 | number
}

/// `[n]`, constructed.
pub(super) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// Bytes that are not what they have to be: the name of what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// What is left of some bytes.
#[derive(Clone)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The rest, unread.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next element: tag and content.
    pub(super) fn next(&mut self, what: &'static str) -> Result<(u8, &'a [u8]), Malformed> {
        self.element().ok_or(Malformed(what))
    }

    /// The content of the next element, which has this tag.
    pub(super) fn expect(&mut self, tag: u8, what: &'static str) -> Result<&'a [u8], Malformed> {
        match self.next(what)? {
            (found, content) if found == tag => Ok(content),
            _ => Err(Malformed(what)),
        }
    }

    /// The content of field `[number]`, an element with this tag.
    pub(super) fn field(&mut self, number: u8, tag: u8, what: &'static str) -> Result<&'a [u8], Malformed> {
        self.optional(number, tag, what)?.ok_or(Malformed(what))
    }

    /// The same, if that field is next.
    pub(super) fn optional(&mut self, number: u8, tag: u8, what: &'static str) -> Result<Option<&'a [u8]>, Malformed> {
        if self.rest.first() != Some(&context(number)) {
            return Ok(None);
        }
        let mut field = Reader::new(self.expect(context(number), what)?);
        let content = field.expect(tag, what)?;
        field.end(what)?;
        Ok(Some(content))
    }

    /// There is no more.
    pub(super) fn end(&self, what: &'static str) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed(what)) }
    }

    fn element(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.rest.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let length = match first {
            0..=0x7f => usize::from(first),
            0x81..=0x84 => {
                let (bytes, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
                rest = after;
                bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
            }
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(length)?;
        self.rest = after;
        Some((tag, content))
    }
}

/// The content of an INTEGER that fits in 64 bits.
pub(super) fn integer(content: &[u8], what: &'static str) -> Result<i64, Malformed> {
    let first = *content.first().ok_or(Malformed(what))?;
    let mut wide = [if first & 0x80 == 0 { 0 } else { 0xff }; 8];
    let start = wide.len().checked_sub(content.len()).ok_or(Malformed(what))?;
    wide[start..].copy_from_slice(content);
    Ok(i64::from_be_bytes(wide))
}

/// The content of an INTEGER of 32 bits.
pub(super) fn int32(content: &[u8], what: &'static str) -> Result<i32, Malformed> {
    integer(content, what)?.try_into().map_err(|_| Malformed(what))
}

/// The content of an INTEGER that is an unsigned number of 32 bits; some peers write large ones as negative.
pub(super) fn uint32(content: &[u8], what: &'static str) -> Result<u32, Malformed> {
    match integer(content, what)? {
        value @ -0x8000_0000..0 => Ok((value as i32).cast_unsigned()),
        value => value.try_into().map_err(|_| Malformed(what)),
    }
}

/// The content of a BIT STRING that holds flags: bit 0 of the specification is the highest.
pub(super) fn flags(content: &[u8], what: &'static str) -> Result<u32, Malformed> {
    let (&unused, bits) = content.split_first().ok_or(Malformed(what))?;
    if unused > 7 {
        return Err(Malformed(what));
    }
    let mut four = [0; 4];
    for (byte, seen) in four.iter_mut().zip(bits) {
        *byte = *seen;
    }
    Ok(u32::from_be_bytes(four))
}

/// The content of a KerberosTime, `20380119031407Z`, in seconds since 1970. RFC 4120 §5.2.3.
pub(super) fn kerberos_time(content: &[u8], what: &'static str) -> Result<i64, Malformed> {
    read_time(content).ok_or(Malformed(what))
}

fn read_time(content: &[u8]) -> Option<i64> {
    let digits = content.strip_suffix(b"Z")?;
    if digits.len() != 14 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |at: usize, length: usize| {
        digits.iter().skip(at).take(length).fold(0u16, |number, digit| number * 10 + u16::from(digit - b'0'))
    };
    let two = |at| u8::try_from(number(at, 2)).ok();
    let date = Date::from_calendar_date(i32::from(number(0, 4)), Month::try_from(two(4)?).ok()?, two(6)?).ok()?;
    // A leap second has no place of its own.
    let time = Time::from_hms(two(8)?, two(10)?, two(12)?.min(59)).ok()?;
    Some(PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp())
}

/// An element with its content in parts. Copies the content once, so that a caller who wipes the result wipes all.
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let header = header(tag, length);
    let mut bytes = Vec::with_capacity(header.len() + length);
    bytes.extend_from_slice(&header);
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes
}

/// Field `[number]` around an element.
pub(super) fn field(number: u8, tag: u8, content: &[u8]) -> Vec<u8> {
    element(context(number), &[&header(tag, content.len()), content])
}

/// Tag and length.
fn header(tag: u8, length: usize) -> Vec<u8> {
    match u8::try_from(length) {
        Ok(short @ 0..=0x7f) => vec![tag, short],
        _ => {
            let long = length.to_be_bytes();
            let skip = long.iter().take_while(|byte| **byte == 0).count();
            [&[tag, 0x80 | (long.len() - skip) as u8], &long[skip..]].concat()
        }
    }
}

/// The content of an INTEGER.
pub(super) fn integer_content(value: i64) -> Vec<u8> {
    let wide = value.to_be_bytes();
    let sign = if value < 0 { 0xff } else { 0 };
    // The first byte that stays has to keep the sign.
    let skip = wide.windows(2).take_while(|pair| pair[0] == sign && (pair[1] ^ sign) & 0x80 == 0).count();
    wide[skip..].to_vec()
}

/// The content of a KerberosTime. Seconds beyond the years that it can tell become the last or first of these.
pub(super) fn kerberos_time_content(unix_seconds: i64) -> Vec<u8> {
    let at = OffsetDateTime::from_unix_timestamp(unix_seconds.clamp(0, 253_402_300_799)).expect("1970 to 9999");
    let (date, time) = (at.date(), at.time());
    format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers() {
        for (value, expected) in [
            (0, "00"),
            (127, "7f"),
            (128, "0080"),
            (-1, "ff"),
            (-128, "80"),
            (-129, "ff7f"),
            (0xffff_ffff, "00ffffffff"),
            (i64::MIN, "8000000000000000"),
        ] {
            let content = integer_content(value);
            assert_eq!(hex::encode(&content), expected, "{value}");
            assert_eq!(integer(&content, ""), Ok(value));
        }
        assert_eq!(integer(&[], "n"), Err(Malformed("n")));
        assert_eq!(integer(&[0; 9], "n"), Err(Malformed("n")));
        assert_eq!(uint32(&[0xff], "n"), Ok(u32::MAX), "negative, as some write it");
        assert_eq!(uint32(&integer_content(1 << 32), "n"), Err(Malformed("n")));
    }

    #[test]
    fn times() {
        for (text, seconds) in
            [("19700101000000Z", 0), ("20380119031407Z", 0x7fff_ffff), ("20240229120000Z", 1_709_208_000)]
        {
            assert_eq!(kerberos_time(text.as_bytes(), ""), Ok(seconds));
            assert_eq!(kerberos_time_content(seconds), text.as_bytes());
        }
        for bad in ["20230229000000Z", "20240101000000", "2024010100000Z", "20240101240000Z", "+0240101000000Z", "Z"] {
            assert!(kerberos_time(bad.as_bytes(), "").is_err(), "{bad}");
        }
        assert_eq!(kerberos_time_content(-1), b"19700101000000Z");
        assert_eq!(kerberos_time_content(i64::MAX), b"99991231235959Z");
    }

    #[test]
    fn lengths() {
        for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let bytes = element(OCTET_STRING, &[&vec![7; length]]);
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.expect(OCTET_STRING, "").unwrap().len(), length);
            assert!(reader.is_empty());
        }
        for bad in [&[4u8][..], &[4, 1], &[4, 0x80], &[4, 0x85, 0, 0, 0, 0, 0], &[4, 0x84, 0xff, 0xff, 0xff, 0xff, 0]] {
            assert!(Reader::new(bad).next("x").is_err(), "{bad:02x?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut reader = Reader::new(&bytes);
            while reader.next("x").is_ok() {}
            let _ = (integer(&bytes, ""), uint32(&bytes, ""), flags(&bytes, ""), kerberos_time(&bytes, ""));
            let _ = Reader::new(&bytes).field(0, INTEGER, "x");
        }
    }
}
