//! The record layer, as far as its framing matters here. RFC 5246 §6.2.1.

use super::DskError;

/// Content type of a change of ciphers.
const CHANGE_CIPHER_SPEC: u8 = 20;

/// Content type of an alert.
const ALERT: u8 = 21;

/// Content type of handshake messages.
const HANDSHAKE: u8 = 22;

/// Most bytes in one record.
const MAX_RECORD: usize = 1 << 14;

/// One record, its header taken apart.
struct Record<'a> {
    content: u8,
    version: [u8; 2],
    fragment: &'a [u8],
}

/// The records of a flight; `None` at bytes that are no record.
fn records(flight: &[u8]) -> impl Iterator<Item = Option<Record<'_>>> {
    let mut rest = flight;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let record = (|| {
            let (head, body) = rest.split_first_chunk::<5>()?;
            let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
            // Ciphertext may be a little longer than what it protects.
            let fragment = body.get(..length).filter(|_| length <= MAX_RECORD + 2048)?;
            rest = body.get(length..)?;
            Some(Record { content: head[0], version: [head[1], head[2]], fragment })
        })();
        if record.is_none() {
            rest = &[];
        }
        Some(record)
    })
}

/// Whether these bytes are whole records of a handshake. An alert in clear is told as such.
pub(super) fn check(flight: &[u8]) -> Result<(), DskError> {
    if flight.is_empty() {
        return Err(DskError::NotTls("it is empty"));
    }
    let mut encrypted = false;
    for record in records(flight) {
        let record = record.ok_or(DskError::NotTls("a record is cut off"))?;
        if record.version[0] != 3 {
            return Err(DskError::NotTls("a record has a version that is not TLS"));
        }
        match record.content {
            CHANGE_CIPHER_SPEC => encrypted = true,
            ALERT if !encrypted && record.fragment.len() == 2 => {
                return Err(DskError::Alert(alert(record.fragment[1])));
            }
            HANDSHAKE | ALERT => {}
            _ => return Err(DskError::NotTls("a record is not of a handshake")),
        }
    }
    Ok(())
}

/// Puts the handshake messages before the first change of ciphers into one record. There is a client that reads a record
/// with nothing but a ServerHelloDone as an error. Record headers are no part of what Finished is computed over.
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

/// The name of an alert. RFC 5246 §7.2.
fn alert(number: u8) -> String {
    let name = match number {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        _ => return number.to_string(),
    };
    format!("{number} ({name})")
}

/// Splits a flight into its records, for tests of what was merged.
#[cfg(test)]
pub(super) fn contents(flight: &[u8]) -> Vec<(u8, Vec<u8>)> {
    records(flight).flatten().map(|record| (record.content, record.fragment.to_vec())).collect()
}
