//! The record layer and the frames of handshake messages, as far as they matter here. RFC 5246 §6.2.1, §7.4.

use super::DskError;
use super::error::alert;

/// Content type of a change of ciphers.
const CHANGE_CIPHER_SPEC: u8 = 20;

/// Content type of an alert.
const ALERT: u8 = 21;

/// Content type of handshake messages.
const HANDSHAKE: u8 = 22;

/// Level of an alert that ends a handshake.
const FATAL: u8 = 2;

/// Most bytes in one record, in clear.
pub(super) const MAX_RECORD: usize = 1 << 14;

/// Most bytes that encryption adds to a record.
const MAX_EXPANSION: usize = 2048;

/// One record, its header taken apart.
struct Record<'a> {
    content: u8,
    version: [u8; 2],
    fragment: &'a [u8],
}

/// The records of a flight; ends with `None` at bytes that are no record.
fn records(flight: &[u8]) -> impl Iterator<Item = Option<Record<'_>>> {
    let mut rest = flight;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let record = first(rest);
        rest = record.as_ref().and_then(|record| rest.get(5 + record.fragment.len()..)).unwrap_or_default();
        Some(record)
    })
}

fn first(bytes: &[u8]) -> Option<Record<'_>> {
    let ([content, major, minor, high, low], body) = bytes.split_first_chunk::<5>()?;
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let fragment = body.get(..length).filter(|_| length <= MAX_RECORD + MAX_EXPANSION)?;
    Some(Record { content: *content, version: [*major, *minor], fragment })
}

/// Whether these bytes are whole records of a handshake. An alert in clear is told as such.
pub(super) fn check(flight: &[u8]) -> Result<(), DskError> {
    if flight.is_empty() {
        return Err(DskError::NotTls("it is empty"));
    }
    let mut in_clear = true;
    for record in records(flight) {
        let record = record.ok_or(DskError::NotTls("a record is cut off"))?;
        if record.version[0] != 3 {
            return Err(DskError::NotTls("a record has a version that is not TLS"));
        }
        match (record.content, record.fragment) {
            (CHANGE_CIPHER_SPEC, _) => in_clear = false,
            (ALERT, [level, number]) if in_clear && (*level == FATAL || flight.len() == 7) => {
                return Err(alert(*number));
            }
            (HANDSHAKE | ALERT, _) => {}
            _ => return Err(DskError::NotTls("a record is not of a handshake")),
        }
    }
    Ok(())
}

/// Puts the handshake messages before the first change of ciphers into one record. There is a client that takes a record
/// with nothing but a ServerHelloDone for an error. Record headers are no part of what Finished is computed over.
pub(super) fn merge(flight: &[u8]) -> Vec<u8> {
    let mut plain: Vec<u8> = Vec::new();
    let mut version = [3, 1];
    let mut merged = 0;
    for record in records(flight).map_while(|record| record) {
        if record.content != HANDSHAKE || plain.len() + record.fragment.len() > MAX_RECORD {
            break;
        }
        version = record.version;
        plain.extend_from_slice(record.fragment);
        merged += 5 + record.fragment.len();
    }
    let rest = flight.get(merged..).unwrap_or_default();
    let Some(length) = u16::try_from(plain.len()).ok().filter(|length| *length > 0) else { return flight.to_vec() };
    let [high, low] = length.to_be_bytes();
    [&[HANDSHAKE, version[0], version[1], high, low], &plain[..], rest].concat()
}

/// The handshake messages of a flight before the first change of ciphers, one after the other.
pub(super) fn plain(flight: &[u8]) -> Vec<u8> {
    let in_clear = records(flight).map_while(|record| record.filter(|record| record.content == HANDSHAKE));
    in_clear.flat_map(|record| record.fragment.to_vec()).collect()
}

/// Splits [`plain`] into messages: kind and body.
pub(super) fn messages(plain: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = plain;
    std::iter::from_fn(move || {
        let ([kind, length @ ..], body) = rest.split_first_chunk::<4>()?;
        let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let message = body.get(..length)?;
        rest = body.get(length..)?;
        Some((*kind, message))
    })
}
