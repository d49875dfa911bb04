//! What stands around the signed part of a certificate or a request. RFC 5280 §4.1.1, RFC 2986 §4.2.
//!
//! ```text
//! SEQUENCE { signed part, SEQUENCE { OBJECT IDENTIFIER, NULL or nothing }, BIT STRING signature }
//! ```
//!
//! No signature covers this part, and lenient readers take it in many spellings. It is written anew here and compared:
//! the same certificate then never comes in two forms, with two fingerprints.

use x509_parser::x509::AlgorithmIdentifier;

const BIT_STRING: u8 = 0x03;
const NULL: [u8; 2] = [0x05, 0x00];
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// Whether `der` is exactly the DER of these three parts. `signed` is whole, with its tag; `signature` is the content of
/// the bit string, of which no bit is unused.
pub(super) fn is_exactly(der: &[u8], signed: &[u8], algorithm: &AlgorithmIdentifier<'_>, signature: &[u8]) -> bool {
    let mut identifier = element(OBJECT_IDENTIFIER, &[algorithm.algorithm.as_bytes()]);
    if algorithm.parameters.is_some() {
        identifier.extend(NULL);
    }
    let (algorithm, signature) = (element(SEQUENCE, &[&identifier]), element(BIT_STRING, &[&[0], signature]));
    element(SEQUENCE, &[signed, &algorithm, &signature]) == der
}

/// Tag, length in its shortest form (X.690 §10.1), content.
fn element(tag: u8, content: &[&[u8]]) -> Vec<u8> {
    let length = content.iter().map(|part| part.len()).sum::<usize>();
    let digits = length.to_be_bytes();
    let digits = &digits[digits.iter().take_while(|byte| **byte == 0).count()..];
    let mut der = vec![tag];
    match length {
        0..0x80 => der.push(length as u8),
        _ => {
            der.push(0x80 | digits.len() as u8);
            der.extend_from_slice(digits);
        }
    }
    content.iter().for_each(|part| der.extend_from_slice(part));
    der
}
