//! Character classes of .NET patterns.

use super::pattern::{MAX_DEPTH, PatternError, Reader, invalid, literal};
use std::fmt::Write as _;

/// A character class: what is in it, and what is taken away from it.
pub(super) struct Class {
    negated: bool,
    items: String,
    without: Option<String>,
}

impl Class {
    /// Reads what follows an opening bracket, its closing one included.
    pub(super) fn read(reader: &mut Reader, at: usize, depth: usize) -> Result<String, PatternError> {
        if depth > MAX_DEPTH {
            return Err(PatternError::Unsupported { at, construct: "classes nested this deep" });
        }
        let mut class = Class { negated: reader.eat('^'), items: String::new(), without: None };
        let mut is_first = true;
        loop {
            let Some(c) = reader.next() else { return Err(invalid(at, "a character class is not closed")) };
            match c {
                ']' if !is_first => return Ok(class.written()),
                '-' if !is_first && reader.peek() == Some('[') => {
                    class.subtract(reader, at, depth)?;
                }
                '\\' => match reader.shorthand(at)? {
                    Some(shorthand) => class.items.push_str(&shorthand),
                    None => {
                        let from = reader.escaped_char(at)?;
                        class.char_or_range(reader, from, at, depth)?;
                    }
                },
                from => class.char_or_range(reader, from, at, depth)?,
            }
            is_first = false;
        }
    }

    /// A character, or the first one of a range.
    fn char_or_range(&mut self, reader: &mut Reader, from: char, at: usize, depth: usize) -> Result<(), PatternError> {
        let before = reader.at;
        if !reader.eat('-') || matches!(reader.peek(), None | Some(']')) {
            reader.at = before;
            self.items.push_str(&literal(from));
            return Ok(());
        }
        let to = match reader.next() {
            Some('[') => {
                // It looked like a range and takes away.
                self.items.push_str(&literal(from));
                return self.rest_of_subtraction(reader, at, depth);
            }
            Some('\\') => {
                if reader.shorthand(at)?.is_some() {
                    return Err(invalid(at, "a range that ends in a class"));
                }
                reader.escaped_char(at)?
            }
            Some(to) => to,
            None => return Err(invalid(at, "a character class is not closed")),
        };
        if from > to {
            return Err(invalid(at, "a range whose ends are reversed"));
        }
        self.items.push_str(&format!("{}-{}", literal(from), literal(to)));
        Ok(())
    }

    fn subtract(&mut self, reader: &mut Reader, at: usize, depth: usize) -> Result<(), PatternError> {
        reader.next();
        self.rest_of_subtraction(reader, at, depth)
    }

    fn rest_of_subtraction(&mut self, reader: &mut Reader, at: usize, depth: usize) -> Result<(), PatternError> {
        self.without = Some(Class::read(reader, at, depth + 1)?);
        match reader.peek() {
            Some(']') => Ok(()),
            _ => Err(invalid(at, "what is taken away from a class must come last")),
        }
    }

    fn written(self) -> String {
        let sign = if self.negated { "^" } else { "" };
        let mut text = format!("[{sign}{}]", self.items);
        if let Some(without) = self.without {
            text.insert(0, '[');
            // Writing to a string cannot fail.
            let _ = write!(text, "--{without}]");
        }
        text
    }
}
