//! Words of peers, made fit to be shown. What a header, a name or a document says becomes part of what people read: in it
//! nothing may begin a line of its own, steer a terminal, or turn the direction of the text around it.

/// What stands for a character that is not shown.
const REPLACEMENT: char = '\u{fffd}';

/// Whether a character does something instead of showing something: C0 and C1 controls, separators of lines and
/// paragraphs, and those that turn the direction of text.
pub fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text, with a mark in the place of whatever steers.
pub fn legible(text: String) -> String {
    if !text.contains(steers) {
        return text;
    }
    text.chars().map(|c| if steers(c) { REPLACEMENT } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_and_every_script_stays() {
        let hostile = "a\u{1b}]0;owned\u{7}b\r\nc\u{9b}31md\u{202e}e\u{2066}f\u{2028}g\u{61c}\u{7f}";
        let shown = legible(hostile.to_owned());
        assert_eq!(
            shown,
            "a\u{fffd}]0;owned\u{fffd}b\u{fffd}\u{fffd}c\u{fffd}31md\u{fffd}e\u{fffd}f\u{fffd}g\u{fffd}\u{fffd}"
        );
        for text in ["", "Grüße", "שלום", "مرحبا", "日本語", "👩‍👩‍👧 → —"] {
            assert_eq!(legible(text.to_owned()), text);
        }
    }
}
