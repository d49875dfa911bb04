//! The part of BER that LDAP uses: definite lengths, tags below 31. RFC 4511 §5.1, X.690 §8.
//!
//! Reading walks along: nothing descends by itself, so that no nesting, however deep, costs anything until somebody asks
//! for what is inside.

/// Universal and constructed tags, as the byte they are.
pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// `[n]`, primitive.
pub(crate) const fn context(number: u8) -> u8 {
    0x80 | number
}

/// `[n]`, constructed.
pub(crate) const fn context_constructed(number: u8) -> u8 {
    0xa0 | number
}

/// `[APPLICATION n]`, constructed.
pub(crate) const fn application_constructed(number: u8) -> u8 {
    0x60 | number
}

/// What was expected and not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not LDAP: {0}")]
pub struct Malformed(pub(crate) &'static str);

/// Bytes from which one element after the other is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element: its tag and what is in it.
    pub(crate) fn element(&mut self) -> Result<(u8, &'a [u8]), Malformed> {
        let head = Head::read(self.rest)?.ok_or(Malformed("an element is cut short"))?;
        let element = self.rest.get(head.size..head.size + head.length).ok_or(Malformed("an element is cut short"))?;
        self.rest = self.rest.get(head.size + head.length..).unwrap_or_default();
        Ok((head.tag, element))
    }

    /// The next element, which has to have this tag.
    pub(crate) fn expect(&mut self, tag: u8, otherwise: &'static str) -> Result<&'a [u8], Malformed> {
        match self.element()? {
            (found, content) if found == tag => Ok(content),
            _ => Err(Malformed(otherwise)),
        }
    }

    /// The same, as something to walk along in its turn.
    pub(crate) fn enter(&mut self, tag: u8, otherwise: &'static str) -> Result<Reader<'a>, Malformed> {
        self.expect(tag, otherwise).map(Reader::new)
    }

    /// INTEGER or ENUMERATED: two's complement, most significant byte first; LDAP has none beyond 32 bits.
    pub(crate) fn number(&mut self, tag: u8, otherwise: &'static str) -> Result<i32, Malformed> {
        let bytes = self.expect(tag, otherwise)?;
        let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
        if bytes.is_empty() || bytes.len() > 4 {
            return Err(Malformed(otherwise));
        }
        let start = if negative { -1 } else { 0 };
        Ok(bytes.iter().fold(start, |number: i32, byte| (number << 8) | i32::from(*byte)))
    }

    /// OCTET STRING that LDAP says is UTF-8; what is not is replaced, since it is only shown.
    pub(crate) fn text(&mut self, tag: u8, otherwise: &'static str) -> Result<String, Malformed> {
        self.expect(tag, otherwise).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

/// Tag and length of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) tag: u8,
    /// Bytes of tag and length together.
    pub(crate) size: usize,
    /// Bytes after them.
    pub(crate) length: usize,
}

impl Head {
    /// Reads the head of the element that `bytes` begins with; `None` when there is not all of it yet.
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<Head>, Malformed> {
        let Some((&tag, rest)) = bytes.split_first() else { return Ok(None) };
        if tag & 0x1f == 0x1f {
            return Err(Malformed("LDAP has no tags above 30"));
        }
        let Some((&first, rest)) = rest.split_first() else { return Ok(None) };
        if first < 0x80 {
            return Ok(Some(Head { tag, size: 2, length: usize::from(first) }));
        }
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 4 {
            return Err(Malformed("a length is indefinite or beyond all measure"));
        }
        let Some(length) = rest.get(..count) else { return Ok(None) };
        let length = length.iter().fold(0usize, |length, byte| (length << 8) | usize::from(*byte));
        if length > MAX_LENGTH {
            return Err(Malformed("an element is longer than anything a directory has to say"));
        }
        Ok(Some(Head { tag, size: 2 + count, length }))
    }
}

/// Longest element read. A user with a thousand proxy addresses has some 50 KB.
pub(crate) const MAX_LENGTH: usize = 1024 * 1024;

/// Appends one element; `content` appends what is in it.
pub(crate) fn put(out: &mut Vec<u8>, tag: u8, content: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    content(&mut inner);
    put_bytes(out, tag, &inner);
    // It may have been a password.
    zeroize::Zeroize::zeroize(&mut inner);
}

/// Appends one primitive element.
pub(crate) fn put_bytes(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    match u8::try_from(content.len()) {
        Ok(length) if length < 0x80 => out.push(length),
        _ => {
            let length = content.len().to_be_bytes();
            let zeros = length.iter().take_while(|byte| **byte == 0).count();
            out.push(0x80 | (length.len() - zeros) as u8);
            out.extend(length.iter().skip(zeros));
        }
    }
    out.extend_from_slice(content);
}

/// Appends an INTEGER or ENUMERATED in as few bytes as it needs.
pub(crate) fn put_number(out: &mut Vec<u8>, tag: u8, number: i32) {
    let bytes = number.to_be_bytes();
    let sign: u8 = if number < 0 { 0xff } else { 0 };
    let mut start = 0;
    while start < 3 && bytes[start] == sign && (bytes[start + 1] ^ sign) & 0x80 == 0 {
        start += 1;
    }
    put_bytes(out, tag, &bytes[start..]);
}

/// Appends a BOOLEAN; RFC 4511 §5.1 wants TRUE as 0xFF.
pub(crate) fn put_boolean(out: &mut Vec<u8>, tag: u8, value: bool) {
    put_bytes(out, tag, &[if value { 0xff } else { 0 }]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_as_in_x690() {
        let encoded = |number| {
            let mut out = Vec::new();
            put_number(&mut out, INTEGER, number);
            out
        };
        assert_eq!(encoded(0), [2, 1, 0]);
        assert_eq!(encoded(127), [2, 1, 0x7f]);
        assert_eq!(encoded(128), [2, 2, 0, 0x80]);
        assert_eq!(encoded(256), [2, 2, 1, 0]);
        assert_eq!(encoded(-128), [2, 1, 0x80]);
        assert_eq!(encoded(-129), [2, 2, 0xff, 0x7f]);
    }

    #[test]
    fn an_absurd_length_is_refused_before_anything_is_waited_for() {
        assert_eq!(Head::read(&[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff]).ok(), None);
        assert_eq!(Head::read(&[0x30, 0x80]).ok(), None, "indefinite");
        assert_eq!(Head::read(&[0x30, 0x88]).ok(), None, "a length of eight bytes");
        assert_eq!(Head::read(&[0x3f, 0x01]).ok(), None, "a tag in several bytes");
        assert_eq!(Head::read(&[0x30, 0x82, 0x01]), Ok(None), "the rest of it may come");
        assert_eq!(Head::read(&[0x30, 0x82, 0x01, 0x00]), Ok(Some(Head { tag: 0x30, size: 4, length: 256 })));
    }

    proptest! {
        #[test]
        fn numbers_come_back(number: i32) {
            let mut out = Vec::new();
            put_number(&mut out, ENUMERATED, number);
            prop_assert_eq!(Reader::new(&out).number(ENUMERATED, "a number"), Ok(number));
        }

        #[test]
        fn strings_come_back_whatever_their_length(content in proptest::collection::vec(any::<u8>(), 0..70_000)) {
            let mut out = Vec::new();
            put_bytes(&mut out, OCTET_STRING, &content);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.expect(OCTET_STRING, "a string"), Ok(content.as_slice()));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn any_bytes_are_walked_to_their_end_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&bytes);
            let mut taken = 0;
            while !reader.is_empty() {
                match reader.element() {
                    Ok((_, content)) => taken += content.len() + 2,
                    Err(_) => return Ok(()),
                }
            }
            prop_assert!(taken <= bytes.len());
        }
    }
}
