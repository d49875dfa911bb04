//! What a ClientHello offers and a ServerHello chooses, read only to say why the two sides did not meet. RFC 5246 §7.4.1.
//!
//! Whether a hello is good is OpenSSL's decision; what cannot be read here is simply not told.

use super::records;

/// Versions and suites of a hello, as on the wire.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) versions: Vec<u16>,
    pub(super) suites: Vec<u16>,
}

/// Entries of a list that are told. Real clients have a few dozen suites.
const MOST_TOLD: usize = 32;

/// Extension that lists versions, RFC 8446 §4.2.1.
const SUPPORTED_VERSIONS: u16 = 43;

/// What the client offers with this flight.
pub(super) fn offered(flight: &[u8]) -> Option<Hello> {
    let plain = records::plain(flight);
    let mut rest = records::messages(&plain).find_map(|(kind, body)| (kind == 1).then_some(body))?;
    let version = number(&mut rest)?;
    skip(&mut rest, 32)?;
    block(&mut rest, 1)?;
    let suites = numbers(block(&mut rest, 2)?);
    let mut hello = Hello { versions: vec![version], suites };
    if let Some(versions) = listed_versions(rest) {
        hello.versions = versions;
    }
    Some(hello)
}

/// What the server chose with this flight.
pub(super) fn chosen(flight: &[u8]) -> Option<Hello> {
    let plain = records::plain(flight);
    let mut rest = records::messages(&plain).find_map(|(kind, body)| (kind == 2).then_some(body))?;
    let version = number(&mut rest)?;
    skip(&mut rest, 32)?;
    block(&mut rest, 1)?;
    Some(Hello { versions: vec![version], suites: vec![number(&mut rest)?] })
}

/// After the suites: compression methods, then extensions, one of which may list versions.
fn listed_versions(mut rest: &[u8]) -> Option<Vec<u16>> {
    block(&mut rest, 1)?;
    let mut extensions = block(&mut rest, 2)?;
    loop {
        let kind = number(&mut extensions)?;
        let mut body = block(&mut extensions, 2)?;
        if kind == SUPPORTED_VERSIONS {
            return Some(numbers(block(&mut body, 1)?));
        }
    }
}

/// Two-byte numbers, without those that clients strew in to keep servers tolerant (RFC 8701).
fn numbers(bytes: &[u8]) -> Vec<u16> {
    let (pairs, _) = bytes.as_chunks::<2>();
    let all = pairs.iter().map(|pair| u16::from_be_bytes(*pair));
    all.filter(|number| number & 0x0F0F != 0x0A0A).take(MOST_TOLD).collect()
}

fn number(rest: &mut &[u8]) -> Option<u16> {
    let (pair, after) = rest.split_first_chunk::<2>()?;
    *rest = after;
    Some(u16::from_be_bytes(*pair))
}

fn skip(rest: &mut &[u8], length: usize) -> Option<()> {
    *rest = rest.get(length..)?;
    Some(())
}

/// Bytes that follow their own length, which has `width` bytes.
fn block<'a>(rest: &mut &'a [u8], width: usize) -> Option<&'a [u8]> {
    let length = rest.get(..width)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let body = rest.get(width..width + length)?;
    *rest = rest.get(width + length..)?;
    Some(body)
}
