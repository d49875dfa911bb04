//! Bytes of a file to lines of text, in whatever encoding programs on desks write.

use super::ContactFile;

/// The lines, without their ends (CR LF, LF or CR).
pub(crate) fn lines(bytes: &[u8], file: &mut ContactFile) -> Vec<String> {
    if let Some(rest) = bytes.strip_prefix(b"\xff\xfe") {
        return split(&utf16(rest, u16::from_le_bytes, file));
    }
    if let Some(rest) = bytes.strip_prefix(b"\xfe\xff") {
        return split(&utf16(rest, u16::from_be_bytes, file));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => split(text),
        Err(_) => {
            let lines = split_bytes(bytes);
            lines.into_iter().zip(1..).map(|(line, number)| decode(line, number, file)).collect()
        }
    }
}

fn split(text: &str) -> Vec<String> {
    split_bytes(text.as_bytes()).into_iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
}

fn split_bytes(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = rest.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        lines.push(line);
        rest = after.strip_prefix(b"\r\n").or_else(|| after.get(1..)).unwrap_or_default();
    }
    lines
}

/// A line that is no UTF-8 was most likely written by a program on Windows.
fn decode(line: &[u8], number: usize, file: &mut ContactFile) -> String {
    match std::str::from_utf8(line) {
        Ok(line) => line.to_owned(),
        Err(_) => {
            file.note(number, "is not UTF-8; it was read as Windows-1252");
            line.iter().map(|byte| windows_1252(*byte)).collect()
        }
    }
}

fn windows_1252(byte: u8) -> char {
    const UPPER: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘',
        '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9f => UPPER[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16, file: &mut ContactFile) -> String {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut line = 1;
    let mut text = String::with_capacity(bytes.len());
    for decoded in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        let c = decoded.unwrap_or_else(|_| {
            file.lost(line, "has half a character of UTF-16");
            char::REPLACEMENT_CHARACTER
        });
        line += usize::from(c == '\n');
        text.push(c);
    }
    if !rest.is_empty() {
        file.lost(line, "ends in the middle of a character of UTF-16");
    }
    text
}
