//! .NET regular expressions, read by the rules of .NET and written for our engine.
//!
//! Dial plans hold .NET patterns; the engine's own syntax differs in places that change which number is dialled. So a
//! pattern is read here character by character as .NET reads it, and written in the few forms both agree on:
//!
//! - `\d` is `[0-9]`: .NET also takes the digits of other scripts, which no number to be dialled has.
//! - `$` and `\Z` are the end of the text: the text never holds a line break.
//! - groups are numbered as .NET does it: first those without a name, then those with one, and two of one name are one.
//! - `{` that begins no quantifier, `]`, `&&`, `~~` and `[` inside a class are characters, `-[…]` takes away from one.
//!
//! What .NET allows and we do not apply is an error that names it: balancing groups, conditionals, named Unicode blocks.

use super::class::Class;
use super::groups::{Groups, Label, number};

/// Characters of a pattern that is read.
pub(super) const MAX_PATTERN: usize = 1024;
/// Parentheses in parentheses; the engine reads by recursion.
pub(super) const MAX_DEPTH: usize = 40;

/// Why a pattern cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing .NET would take.
    #[error("not a regular expression: {what} at character {at}")]
    Invalid {
        /// Characters before it.
        at: usize,
        /// What is wrong.
        what: String,
    },
    /// .NET would take it.
    #[error("{construct} at character {at} cannot be applied here, though .NET can")]
    Unsupported {
        /// Characters before it.
        at: usize,
        /// Name of the construct.
        construct: &'static str,
    },
    /// Longer than is read.
    #[error("longer than {MAX_PATTERN} characters")]
    TooLong,
    /// The engine refused it, for its size or for a reason of its own.
    #[error("the pattern cannot be applied: {0}")]
    Engine(String),
}

/// A pattern as the engine takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Translated {
    /// In the syntax of the engine. Its groups have no names.
    pub(super) engine: String,
    /// The groups by the numbers of .NET.
    pub(super) groups: Groups,
}

/// Options that a pattern can switch, from here to the end of the group.
#[derive(Debug, Clone, Copy, Default)]
struct Options {
    ignore_case: bool,
    multiline: bool,
    explicit_capture: bool,
    singleline: bool,
    ignore_space: bool,
}

/// Reads a pattern. As in .NET it is read twice: what a reference means depends on groups that may come after it.
pub(super) fn translate(pattern: &str) -> Result<Translated, PatternError> {
    let chars: Vec<char> = pattern.chars().take(MAX_PATTERN + 1).collect();
    if chars.len() > MAX_PATTERN {
        return Err(PatternError::TooLong);
    }
    let mut reader = Reader { chars, ..Reader::default() };
    reader.read()?;
    let groups = number(&reader.labels);
    if reader.looks_around && groups.has_repeated() {
        return Err(PatternError::Unsupported { at: 0, construct: "one group at several places beside look-around" });
    }
    let mut reader = Reader { chars: reader.chars, groups: Some(groups), ..Reader::default() };
    reader.read()?;
    Ok(Translated { engine: reader.pieces.concat(), groups: reader.groups.unwrap_or_default() })
}

#[derive(Default)]
pub(super) struct Reader {
    chars: Vec<char>,
    /// Characters read so far.
    pub(super) at: usize,
    /// The groups, from the second reading on.
    groups: Option<Groups>,
    /// What is written so far.
    pieces: Vec<String>,
    /// Index of the piece at which what a quantifier would repeat begins.
    unit: Option<usize>,
    /// Capturing groups in order of their opening, which is how the engine numbers them.
    labels: Vec<Label>,
    /// Groups not closed: options to go back to, and the piece at which each begins.
    open: Vec<(Options, usize)>,
    options: Options,
    looks_around: bool,
}

impl Reader {
    fn read(&mut self) -> Result<(), PatternError> {
        loop {
            self.skip_blank()?;
            let at = self.at;
            let Some(c) = self.next() else { break };
            match c {
                '(' => self.open_group(at)?,
                ')' => self.close_group(at)?,
                '|' => self.text("|", false),
                '[' => {
                    let class = Class::read(self, at, 0)?;
                    self.case_text(&class);
                }
                '\\' => self.escape(at)?,
                '^' => self.text(if self.options.multiline { "(?m:^)" } else { r"\A" }, true),
                '$' => self.text(if self.options.multiline { "(?m:$)" } else { r"\z" }, true),
                '.' => self.text(if self.options.singleline { "(?s:.)" } else { r"[^\n]" }, true),
                '*' | '+' | '?' => self.repeat(at, c.encode_utf8(&mut [0; 4]))?,
                '{' => match self.counted(at)? {
                    Some((least, most)) => self.repeat(at, &braces(least, most))?,
                    None => self.literal('{'),
                },
                other => self.literal(other),
            }
        }
        match self.open.is_empty() {
            true => Ok(()),
            false => Err(invalid(self.at, "a group is not closed")),
        }
    }

    pub(super) fn next(&mut self) -> Option<char> {
        self.next_if(|_| true)
    }

    fn next_if(&mut self, wanted: impl FnOnce(char) -> bool) -> Option<char> {
        let c = self.peek().filter(|c| wanted(*c))?;
        self.at += 1;
        Some(c)
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    pub(super) fn eat(&mut self, wanted: char) -> bool {
        self.next_if(|c| c == wanted).is_some()
    }

    fn rest_starts_with(&self, wanted: &str) -> bool {
        wanted.chars().zip(self.at..).all(|(c, at)| self.chars.get(at) == Some(&c))
    }

    /// Comments, and white space where the pattern says that it means nothing.
    fn skip_blank(&mut self) -> Result<(), PatternError> {
        loop {
            if self.options.ignore_space && self.next_if(char::is_whitespace).is_some() {
                continue;
            }
            if self.options.ignore_space && self.peek() == Some('#') {
                while self.next().is_some_and(|c| c != '\n') {}
                continue;
            }
            if !self.rest_starts_with("(?#") {
                return Ok(());
            }
            let at = self.at;
            loop {
                match self.next() {
                    Some(')') => break,
                    Some(_) => {}
                    None => return Err(invalid(at, "a comment is not closed")),
                }
            }
        }
    }

    fn text(&mut self, text: &str, is_unit: bool) {
        self.unit = is_unit.then_some(self.pieces.len());
        self.pieces.push(text.to_owned());
    }

    /// Text in which case may not matter.
    fn case_text(&mut self, text: &str) {
        if self.options.ignore_case {
            self.text(&format!("(?i:{text})"), true);
        } else {
            self.text(text, true);
        }
    }

    fn literal(&mut self, c: char) {
        let text = literal(c);
        if c.is_alphabetic() { self.case_text(&text) } else { self.text(&text, true) }
    }

    /// Repeats the unit before. .NET has lazy quantifiers, but no possessive ones.
    fn repeat(&mut self, at: usize, quantifier: &str) -> Result<(), PatternError> {
        let Some(begin) = self.unit.take() else {
            return Err(invalid(at, "a quantifier with nothing before it, or one after another"));
        };
        self.skip_blank()?;
        let lazy = if self.eat('?') { "?" } else { "" };
        self.pieces.insert(begin, "(?:".to_owned());
        self.pieces.push(format!("){quantifier}{lazy}"));
        Ok(())
    }

    /// `n}`, `n,}` or `n,m}` after an opening brace; `None`, and nothing read, when it is none of them.
    fn counted(&mut self, at: usize) -> Result<Option<(u32, Option<u32>)>, PatternError> {
        let before = self.at;
        match self.read_counted() {
            Some((least, Some(most))) if least > most => Err(invalid(at, "a quantifier whose bounds are reversed")),
            Some(bounds) => Ok(Some(bounds)),
            None => {
                self.at = before;
                Ok(None)
            }
        }
    }

    fn read_counted(&mut self) -> Option<(u32, Option<u32>)> {
        let least = self.decimal()?;
        let most = if self.eat(',') {
            if self.peek() == Some('}') { None } else { Some(self.decimal()?) }
        } else {
            Some(least)
        };
        self.eat('}').then_some((least, most))
    }

    /// One or more decimal digits; a number too large for any use stays the largest there is.
    fn decimal(&mut self) -> Option<u32> {
        let mut value: Option<u32> = None;
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
            self.next();
            value = Some(value.unwrap_or(0).saturating_mul(10).saturating_add(digit));
        }
        value
    }

    fn open_group(&mut self, at: usize) -> Result<(), PatternError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(PatternError::Unsupported { at, construct: "groups nested this deep" });
        }
        let before = self.options;
        let begin = self.pieces.len();
        let opened = if !self.rest_starts_with("?") || self.rest_starts_with("?)") {
            if self.options.explicit_capture { "(?:" } else { self.capture(Label::Unnamed) }
        } else {
            self.next();
            match self.special_group(at)? {
                Some(opened) => opened,
                None => return Ok(()), // options for the rest of the group around
            }
        };
        self.open.push((before, begin));
        self.text(opened, false);
        Ok(())
    }

    fn capture(&mut self, label: Label) -> &'static str {
        self.labels.push(label);
        "("
    }

    /// What follows `(?`. `None`: options that were switched, and the parenthesis is closed already.
    fn special_group(&mut self, at: usize) -> Result<Option<&'static str>, PatternError> {
        for (begin, opened) in [(":", "(?:"), ("=", "(?="), ("!", "(?!"), ("<=", "(?<="), ("<!", "(?<!"), (">", "(?>")]
        {
            if self.rest_starts_with(begin) {
                self.at += begin.chars().count();
                self.looks_around |= !matches!(begin, ":" | ">");
                return Ok(Some(opened));
            }
        }
        match self.peek() {
            Some('<') => self.label(at, '>').map(Some),
            Some('\'') => self.label(at, '\'').map(Some),
            Some('(') => Err(PatternError::Unsupported { at, construct: "a conditional" }),
            _ => self.switch_options(at),
        }
    }

    /// A name or number, its opening sign not yet read.
    fn label(&mut self, at: usize, close: char) -> Result<&'static str, PatternError> {
        self.next();
        let label = self.name_or_number();
        if self.peek() == Some('-') {
            return Err(PatternError::Unsupported { at, construct: "a balancing group" });
        }
        match label {
            Some(Label::Number(0)) => Err(invalid(at, "a group cannot have the number 0")),
            Some(label) if self.eat(close) => Ok(self.capture(label)),
            _ => Err(invalid(at, "a group's name must be made of letters, digits and _")),
        }
    }

    fn name_or_number(&mut self) -> Option<Label> {
        if self.peek().is_some_and(|c| c.is_ascii_digit()) {
            return self.decimal().map(Label::Number);
        }
        let mut name = String::new();
        while let Some(c) = self.next_if(is_word) {
            name.push(c);
        }
        (!name.is_empty()).then_some(Label::Name(name))
    }

    fn switch_options(&mut self, at: usize) -> Result<Option<&'static str>, PatternError> {
        let mut options = self.options;
        let mut on = true;
        while let Some(c) = self.next() {
            match c {
                'i' => options.ignore_case = on,
                'm' => options.multiline = on,
                'n' => options.explicit_capture = on,
                's' => options.singleline = on,
                'x' => options.ignore_space = on,
                '+' => on = true,
                '-' => on = false,
                ')' => {
                    self.options = options;
                    self.unit = None;
                    return Ok(None);
                }
                ':' => {
                    // The group around has the options before: the caller noted them.
                    self.options = options;
                    return Ok(Some("(?:"));
                }
                _ => break,
            }
        }
        Err(invalid(at, "a group of no known kind"))
    }

    fn close_group(&mut self, at: usize) -> Result<(), PatternError> {
        let Some((options, begin)) = self.open.pop() else {
            return Err(invalid(at, "a closing parenthesis too many"));
        };
        self.options = options;
        self.pieces.push(")".to_owned());
        self.unit = Some(begin);
        Ok(())
    }

    fn escape(&mut self, at: usize) -> Result<(), PatternError> {
        let Some(c) = self.peek() else {
            return Err(invalid(at, "a backslash with nothing after it"));
        };
        let anchor = match c {
            'A' | 'G' => r"\A", // there is no match before the first
            'Z' | 'z' => r"\z",
            'b' => r"\b",
            'B' => r"\B",
            _ => return self.escaped_atom(c, at),
        };
        self.next();
        self.text(anchor, true);
        Ok(())
    }

    fn escaped_atom(&mut self, c: char, at: usize) -> Result<(), PatternError> {
        if let Some(class) = self.shorthand(at)? {
            self.case_text(&class);
            return Ok(());
        }
        let before = self.at;
        if let Some(reference) = self.back_reference(c, at)? {
            self.text(&reference, true);
            return Ok(());
        }
        self.at = before;
        let c = self.escaped_char(at)?;
        self.literal(c);
        Ok(())
    }

    /// `\d` and the like, after the backslash; `None`, and nothing read, when it is something else.
    pub(super) fn shorthand(&mut self, at: usize) -> Result<Option<String>, PatternError> {
        let class = match self.peek() {
            Some('d') => "[0-9]",
            Some('D') => "[^0-9]",
            Some('w') => r"\w",
            Some('W') => r"\W",
            Some('s') => r"\s",
            Some('S') => r"\S",
            Some(sign @ ('p' | 'P')) => {
                self.next();
                return self.category(sign, at).map(Some);
            }
            _ => return Ok(None),
        };
        self.next();
        Ok(Some(class.to_owned()))
    }

    /// `\p{Lu}`: a general category of Unicode.
    fn category(&mut self, sign: char, at: usize) -> Result<String, PatternError> {
        let mut name = String::new();
        if !self.eat('{') {
            return Err(invalid(at, "a category without its braces"));
        }
        loop {
            match self.next() {
                Some('}') => break,
                Some(c) if is_word(c) || c == '-' => name.push(c),
                _ => return Err(invalid(at, "a category that is not closed")),
            }
        }
        if CATEGORIES.contains(&name.as_str()) {
            return Ok(format!("\\{sign}{{{name}}}"));
        }
        match name.starts_with("Is") {
            true => Err(PatternError::Unsupported { at, construct: "a named Unicode block" }),
            false => Err(invalid(at, "a category that is not known")),
        }
    }

    /// `\1`, `\k<name>`, and the old form `\<name>`; `None` when it is something else.
    fn back_reference(&mut self, c: char, at: usize) -> Result<Option<String>, PatternError> {
        if ('1'..='9').contains(&c) {
            let number = self.decimal().unwrap_or_default();
            // From \10 on it is a character in octal when there is no such group.
            let is_group = self.groups.as_ref().is_none_or(|groups| groups.numbered(number).is_some());
            return if is_group || number < 10 {
                self.reference(&Label::Number(number), at).map(Some)
            } else {
                Ok(None)
            };
        }
        let malformed = || invalid(at, "a reference without a group's name");
        let is_new = self.eat('k');
        let close = match self.next() {
            Some('<') => '>',
            Some('\'') => '\'',
            _ if is_new => return Err(malformed()),
            _ => return Ok(None),
        };
        match self.name_or_number() {
            Some(label) if self.eat(close) => self.reference(&label, at).map(Some),
            _ if is_new => Err(malformed()),
            _ => Ok(None),
        }
    }

    /// A reference as the engine takes it.
    fn reference(&self, to: &Label, at: usize) -> Result<String, PatternError> {
        let Some(groups) = &self.groups else { return Ok(String::new()) };
        let places = match to {
            Label::Number(number) => groups.numbered(*number),
            Label::Name(name) => groups.named(name),
            Label::Unnamed => None,
        };
        match places {
            Some([0]) => Err(PatternError::Unsupported { at, construct: "a reference to the match itself" }),
            Some([place]) if self.options.ignore_case => Ok(format!("(?i:\\{place})")),
            Some([place]) => Ok(format!("(?:\\{place})")),
            Some(_) => Err(PatternError::Unsupported { at, construct: "a reference to a group at several places" }),
            None => Err(invalid(at, "a reference to a group that is not there")),
        }
    }

    /// One character behind a backslash.
    pub(super) fn escaped_char(&mut self, at: usize) -> Result<char, PatternError> {
        if self.peek().is_some_and(|c| c.is_digit(8)) {
            let mut value = 0;
            for _ in 0..3 {
                let Some(digit) = self.next_if(|c| c.is_digit(8)).and_then(|c| c.to_digit(8)) else { break };
                value = value * 8 + digit;
            }
            // Only the low eight bits count.
            return char::from_u32(value & 0xff).ok_or_else(|| invalid(at, "an escape of no known kind"));
        }
        let Some(c) = self.next() else {
            return Err(invalid(at, "a backslash with nothing after it"));
        };
        Ok(match c {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'e' => '\u{1b}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            'x' => self.hexadecimal(2, at)?,
            'u' => self.hexadecimal(4, at)?,
            'c' => self.control(at)?,
            other if is_word(other) => return Err(invalid(at, "an escape of no known kind")),
            other => other,
        })
    }

    fn hexadecimal(&mut self, digits: usize, at: usize) -> Result<char, PatternError> {
        let mut value = 0;
        for _ in 0..digits {
            let digit = self.next().and_then(|c| c.to_digit(16));
            value = value * 16 + digit.ok_or_else(|| invalid(at, "too few hexadecimal digits"))?;
        }
        char::from_u32(value).ok_or(PatternError::Unsupported { at, construct: "half a character (a surrogate)" })
    }

    fn control(&mut self, at: usize) -> Result<char, PatternError> {
        let letter = self.next().map(|c| u32::from(c.to_ascii_uppercase()));
        let code = letter.and_then(|letter| letter.checked_sub(u32::from('@'))).filter(|code| *code < 32);
        code.and_then(char::from_u32).ok_or_else(|| invalid(at, "a control character of no known kind"))
    }
}

pub(super) fn invalid(at: usize, what: &str) -> PatternError {
    PatternError::Invalid { at, what: what.to_owned() }
}

fn braces(least: u32, most: Option<u32>) -> String {
    match most {
        Some(most) if most == least => format!("{{{least}}}"),
        Some(most) => format!("{{{least},{most}}}"),
        None => format!("{{{least},}}"),
    }
}

/// One character as it can stand anywhere in the engine's syntax.
pub(super) fn literal(c: char) -> String {
    if c.is_ascii_alphanumeric() { c.to_string() } else { format!("\\x{{{:X}}}", u32::from(c)) }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// General categories of Unicode that .NET knows by these names, and so does the engine.
const CATEGORIES: &[&str] = &[
    "L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P", "Pc", "Pd", "Ps", "Pe", "Pi",
    "Pf", "Po", "S", "Sm", "Sc", "Sk", "So", "Z", "Zs", "Zl", "Zp", "C", "Cc", "Cf", "Cn", "Co",
];
