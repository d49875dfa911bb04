//! Normalization: from what somebody dials to the number that is called. `[MS-SIPRE]` §2.2.8, `[MS-OCPSTN]`.
//!
//! The rules of a dial plan are tried in order over the dialled text without its visual separators; the first whose
//! pattern matches says what the number is. A text that is `+` and digits is global already and passes by the rules.
//! Patterns and replacements are those of .NET ([`PatternError`] names what is not), applied by a backtracking engine
//! with a limit, because dial plans come from the network. A rule that cannot be applied is passed over and never in
//! silence: [`Normalizer::findings`] tells it before anything is dialled, [`Attempt`] when something is.
//!
//! With `OptimizeDeviceDialing`, a text that begins with the external access prefix is first tried without it, on the
//! rules that are not for internal extensions (the administration's documentation of dial plans; no wire document says
//! it); then, as without that flag, whole.

mod class;
mod groups;
mod pattern;
mod replacement;

pub use pattern::PatternError;

use crate::directory::{DialPlan, NormalizationRule};
use fancy_regex::{Regex, RegexBuilder};
use replacement::{Matched, Replacement};
use std::fmt::Write as _;

/// Characters of a dialled text that are looked at. Longer ones are no numbers.
pub const MAX_DIALLED: usize = 256;
/// Rules of one plan that are applied.
pub const MAX_RULES: usize = 1000;

/// Steps back that one rule may take on one text. Rules of real plans take a few dozen.
const BACKTRACK_LIMIT: usize = 20_000;
/// Bytes one compiled pattern may take, roughly.
const PATTERN_BYTES: usize = 1 << 20;

/// A dial plan ready to be applied.
#[derive(Debug)]
pub struct Normalizer {
    name: String,
    /// The prefix, when texts are to be tried without it.
    prefix: Option<String>,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    is_internal: bool,
    ready: Result<Ready, PatternError>,
}

#[derive(Debug)]
struct Ready {
    regex: Regex,
    replacement: Replacement,
}

/// A rule that cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule {} ({pattern}): {error}", .index + 1)]
pub struct Finding {
    /// Place of the rule in the plan, from 0.
    pub index: usize,
    /// Its pattern.
    pub pattern: String,
    /// Why.
    pub error: PatternError,
}

/// What became of a dialled text, and how.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Normalized {
    /// The text without its visual separators.
    pub dialled: String,
    /// Name of the plan.
    pub plan: String,
    /// What is called.
    pub number: Number,
    /// Place of the rule that said so, from 0; `None` when none did.
    pub rule: Option<usize>,
    /// The number is an extension inside the enterprise.
    pub is_internal: bool,
    /// The rules tried, in order; the last is the one that fired, when one did.
    pub tried: Vec<Attempt>,
}

/// One rule tried on one text.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Attempt {
    /// Place of the rule, from 0.
    pub rule: usize,
    /// The text: as dialled, or without the external access prefix.
    pub text: String,
    /// What happened.
    #[serde(flatten)]
    pub result: AttemptResult,
}

/// What one rule made of a text.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case", tag = "result", content = "detail")]
pub enum AttemptResult {
    /// Its pattern does not match.
    NoMatch,
    /// It matches, and this is the number.
    Fired(String),
    /// It cannot be applied, and this is why.
    Unusable(String),
}

/// A number that can be called.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Number {
    /// `+` and digits, perhaps with an extension: the same everywhere.
    Global {
        /// With its `+`.
        number: String,
        /// Digits.
        extension: Option<String>,
    },
    /// Means something only in the plan's context.
    Local(String),
}

/// The text is no number: nothing, or far too much.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialledError {
    /// Nothing is left without the separators.
    #[error("there is nothing to dial in it; write a number, for example 1234 or +14255550100")]
    Empty,
    /// Longer than is looked at.
    #[error("a number has at most {MAX_DIALLED} characters")]
    TooLong,
    /// A control character.
    #[error("a number has no control characters")]
    Control,
}

impl Normalizer {
    /// Makes the rules of a plan ready.
    pub fn of(plan: &DialPlan) -> Normalizer {
        let prefix =
            plan.external_access_prefix.clone().filter(|prefix| plan.optimize_device_dialing && !prefix.is_empty());
        let rules = plan.rules.iter().take(MAX_RULES);
        let rules = rules.map(|rule| Rule { is_internal: rule.internal_extension, ready: ready(rule) }).collect();
        Normalizer { name: plan.name.clone(), prefix, rules }
    }

    /// The rules that cannot be applied, in order.
    pub fn findings(plan: &DialPlan) -> Vec<Finding> {
        let normalizer = Normalizer::of(plan);
        let rules = normalizer.rules.into_iter().zip(&plan.rules).enumerate();
        let finding = |(index, (rule, stated)): (usize, (Rule, &NormalizationRule))| {
            Some(Finding { index, pattern: stated.pattern.clone(), error: rule.ready.err()? })
        };
        rules.filter_map(finding).collect()
    }

    /// Says what is called when this is dialled.
    pub fn normalize(&self, dialled: &str) -> Result<Normalized, DialledError> {
        let dialled = without_separators(dialled)?;
        let mut normalized = Normalized {
            number: Number::Local(dialled.clone()),
            dialled,
            plan: self.name.clone(),
            rule: None,
            is_internal: false,
            tried: Vec::new(),
        };
        if let Some(global) = Number::global(&normalized.dialled) {
            normalized.number = global;
            return Ok(normalized);
        }
        let dialled = normalized.dialled.clone();
        let outside = self.prefix.as_ref().and_then(|prefix| dialled.strip_prefix(prefix.as_str()));
        if let Some(outside) = outside.filter(|outside| !outside.is_empty())
            && self.try_rules(outside, Reach::Outside, &mut normalized)
        {
            return Ok(normalized);
        }
        self.try_rules(&dialled, Reach::Everywhere, &mut normalized);
        Ok(normalized)
    }

    /// Tries the rules in order; whether one fired.
    fn try_rules(&self, text: &str, reach: Reach, normalized: &mut Normalized) -> bool {
        let rules = self.rules.iter().enumerate().filter(|(_, rule)| reach == Reach::Everywhere || !rule.is_internal);
        for (index, rule) in rules {
            let result = rule.apply(text);
            normalized.tried.push(Attempt { rule: index, text: text.to_owned(), result: result.clone() });
            if let AttemptResult::Fired(number) = result {
                normalized.number = Number::of(number);
                normalized.rule = Some(index);
                normalized.is_internal = rule.is_internal;
                return true;
            }
        }
        false
    }
}

/// Which rules are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Everywhere,
    /// Not those for internal extensions.
    Outside,
}

fn ready(rule: &NormalizationRule) -> Result<Ready, PatternError> {
    let translated = pattern::translate(&rule.pattern)?;
    if rule.translation.len() > pattern::MAX_PATTERN {
        return Err(PatternError::TooLong);
    }
    let regex = RegexBuilder::new(&translated.engine)
        .backtrack_limit(BACKTRACK_LIMIT)
        .delegate_size_limit(PATTERN_BYTES)
        .build()
        .map_err(|error| PatternError::Engine(error.to_string()))?;
    Ok(Ready { regex, replacement: Replacement::read(&rule.translation, &translated.groups) })
}

impl Rule {
    fn apply(&self, text: &str) -> AttemptResult {
        let ready = match &self.ready {
            Ok(ready) => ready,
            Err(error) => return AttemptResult::Unusable(error.to_string()),
        };
        match ready.regex.captures(text) {
            Ok(Some(captures)) => {
                let groups = captures.iter().map(|group| group.map(|matched| (matched.start(), matched.end())));
                AttemptResult::Fired(ready.replacement.expand(&Matched { text, groups: groups.collect() }))
            }
            Ok(None) => AttemptResult::NoMatch,
            Err(error) => AttemptResult::Unusable(error.to_string()),
        }
    }
}

/// What is dialled: without blanks, brackets, hyphens, dots and slashes, and without the invisible marks that come along
/// when a number is copied from a document.
fn without_separators(dialled: &str) -> Result<String, DialledError> {
    let is_separator = |c: char| {
        c.is_whitespace()
            || matches!(c, '(' | ')' | '-' | '.' | '/' | '\u{2010}'..='\u{2015}' | '\u{200b}'..='\u{200f}')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let text: String = dialled.chars().filter(|c| !is_separator(*c)).take(MAX_DIALLED + 1).collect();
    match text.chars().count() {
        0 => Err(DialledError::Empty),
        length if length > MAX_DIALLED => Err(DialledError::TooLong),
        _ if text.chars().any(char::is_control) => Err(DialledError::Control),
        _ => Ok(text),
    }
}

impl Number {
    /// What a rule says, or somebody dialled.
    fn of(text: String) -> Number {
        Number::global(&text).unwrap_or(Number::Local(text))
    }

    /// `+` and digits, perhaps `;ext=` and digits.
    fn global(text: &str) -> Option<Number> {
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let (number, extension) = match text.split_once(";ext=") {
            Some((number, extension)) => (number, Some(extension)),
            None => (text, None),
        };
        let is_global = number.strip_prefix('+').is_some_and(is_digits) && extension.is_none_or(is_digits);
        is_global.then(|| Number::Global { number: number.to_owned(), extension: extension.map(str::to_owned) })
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Number::Global { number, extension: Some(extension) } => write!(f, "{number};ext={extension}"),
            Number::Global { number, extension: None } => f.write_str(number),
            Number::Local(text) => f.write_str(text),
        }
    }
}

impl Normalized {
    /// The SIP URI a client calls. `[MS-OCPSTN]`: a local number says in which plan it means something.
    pub fn uri(&self, domain: &str) -> String {
        match &self.number {
            Number::Global { .. } => format!("sip:{}@{domain};user=phone", self.number),
            Number::Local(text) => {
                format!("sip:{};phone-context={}@{domain};user=phone", escaped(text), escaped(&self.plan))
            }
        }
    }
}

/// As it may stand in the user part of a SIP URI; RFC 3261 §25.1, without the characters that end a parameter.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'+' => {
                escaped.push(char::from(byte));
            }
            // Writing to a string cannot fail.
            other => drop(write!(escaped, "%{other:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod against_dotnet;
#[cfg(test)]
mod tests;
