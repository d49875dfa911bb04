//! Patterns and replacements against what .NET does with them, and whole plans.

use super::*;
use proptest::prelude::*;

fn rule(pattern: &str, translation: &str) -> NormalizationRule {
    NormalizationRule {
        pattern: pattern.to_owned(),
        translation: translation.to_owned(),
        internal_extension: false,
        device_dialing: false,
    }
}

fn plan(rules: Vec<NormalizationRule>) -> DialPlan {
    DialPlan {
        name: "Seattle.contoso.test".to_owned(),
        rules,
        external_access_prefix: None,
        optimize_device_dialing: false,
    }
}

/// What one rule makes of a text: `Match.Result(translation)`, or `-` without a match.
fn result(pattern: &str, translation: &str, text: &str) -> String {
    let ready = ready(&rule(pattern, translation)).map(Box::new);
    match (Rule { is_internal: false, ready: ready.map(|ready| *ready) }).apply(text) {
        AttemptResult::NoMatch => "-".to_owned(),
        AttemptResult::Fired(number) => number,
        AttemptResult::Unusable(why) => why,
    }
}

/// Pattern, replacement, text, and what .NET makes of them.
pub(super) const REPLACEMENTS: &[(&str, &str, &str, &str)] = &[
    // The forms of real dial plans.
    (r"^(\d{4})$", "+1425555$1", "0101", "+14255550101"),
    (r"^(1\d{2})$", "+14255550$1;ext=$1", "101", "+14255550101;ext=101"),
    (r"^9?011(\d+)$", "+$1", "9011441234567", "+441234567"),
    (r"^9?1?(\d{10})$", "+1$1", "914255550100", "+14255550100"),
    (r"^(\d{3})(\d{4})$", "+1$1$2", "5550100", "+15550100"),
    (r"^0(\d+)$", "+49${1}", "0891234", "+49891234"),
    (r"^(?<area>\d{3})(?<rest>\d+)$", "+1 ${area} ${rest}", "425555", "+1 425 555"),
    (r"^112$", "+112", "112", "+112"),
    // Numbers are as long as their digits, unless the digits name no group: then nothing is a number.
    (r"(\d)", "$1abc", "7", "7abc"),
    (r"(\d)", "$10", "7", "$10"),
    (r"(\d)", "${1}0", "7", "70"),
    (r"(\d)", "$2", "7", "$2"),
    (r"(\d)", "$01", "7", "7"),
    (r"(\d)", "$001x", "7", "7x"),
    (r"(\d)", "${01}", "7", "7"),
    (r"(\d)(\d)", "$12", "78", "$12"),
    (r"(\d)(\d)", "${1}2", "78", "72"),
    (r"(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)", "$10$1", "abcdefghij", "ja"),
    (r"(\d)", "$99999999", "7", "$99999999"),
    // Dollar signs.
    (r"(\d)", "$$", "7", "$"),
    (r"(\d)", "$$1", "7", "$1"),
    (r"(\d)", "$$$1", "7", "$7"),
    (r"(\d)", "$", "7", "$"),
    (r"(\d)", "a$", "7", "a$"),
    (r"(\d)", "$ 1", "7", "$ 1"),
    (r"(\d)", "$x", "7", "$x"),
    (r"(\d)", "$-1", "7", "$-1"),
    // Braces.
    (r"(\d)", "${1", "7", "${1"),
    (r"(\d)", "${", "7", "${"),
    (r"(\d)", "${}", "7", "${}"),
    (r"(\d)", "${ 1}", "7", "${ 1}"),
    (r"(\d)", "${1a}", "7", "${1a}"),
    (r"(\d)", "${2}", "7", "${2}"),
    (r"(\d)", "${nobody}", "7", "${nobody}"),
    (r"(?<n>\d)", "${N}", "7", "${N}"),
    (r"(?<n>\d)", "${n", "7", "${n"),
    (r"(?<n>\d)", "$n", "7", "$n"),
    (r"(?<n>\d)", "${n}${n}", "7", "77"),
    (r"(?<n>\d)", "$1", "7", "7"),
    (r"(?'n'\d)", "${n}", "7", "7"),
    (r"(?<5>\d)", "$5$1", "7", "7$1"),
    (r"(?<5>\d)", "${5}", "7", "7"),
    // The match and its surroundings.
    (r"\d+", "$&", "a12b", "12"),
    (r"\d+", "$0", "a12b", "12"),
    (r"\d+", "${0}", "a12b", "12"),
    (r"\d+", "[$`]", "a12b", "[a]"),
    (r"\d+", "[$']", "a12b", "[b]"),
    (r"\d+", "$_", "a12b", "a12b"),
    (r"\d+", "$+", "a12b", "12"),
    (r"(\d)(\d)", "$+", "12", "2"),
    (r"(\d)(x)?", "[$+]", "1", "[]"),
    (r"(?<n>\d)(\d)", "$+", "12", "1"),
    // A group that took no part is empty; a group that matched more than once is the last.
    (r"^(1)?(\d)$", "[$1][$2]", "7", "[][7]"),
    (r"(a)|(b)", "[$1][$2]", "b", "[][b]"),
    (r"(?:(\d))+", "$1", "123", "3"),
    // Groups with names come after those without; two of one name are one.
    (r"(?<a>\d)(\d)(?<b>\d)", "$1 $2 $3", "123", "2 1 3"),
    (r"(?<x>a)|(?<x>b)", "[${x}]", "b", "[b]"),
    (r"(?<x>a)(?<x>b)", "[${x}]", "ab", "[b]"),
    (r"(?<x>a(?<x>b))", "[${x}]", "ab", "[ab]"),
    (r"(?<1>a)(b)", "[$1]", "ab", "[b]"),
    (r"(?<2>a)(?<n>b)(c)", "$1$2$3", "abc", "cab"),
    (r"(?n)(\d)(?<n>\d)", "$1", "12", "2"),
];

#[test]
fn replacements_are_those_of_dot_net() {
    for (pattern, translation, text, expected) in REPLACEMENTS {
        assert_eq!(result(pattern, translation, text), *expected, "{pattern} {translation} {text}");
    }
}

/// Pattern, text, and what .NET matches: `-` is no match.
pub(super) const PATTERNS: &[(&str, &str, &str)] = &[
    // Digits are ASCII; this is the one place where we differ from .NET, which would take these too.
    (r"^\d+$", "\u{0663}\u{0664}", "-"),
    // What means something else to the engine.
    (r"[[]", "[", "["),
    (r"[[a]", "[", "["),
    (r"[]a]+", "a]", "a]"),
    (r"[^]a]", "b", "b"),
    (r"[a&&b]+", "a&b", "a&b"),
    (r"[a~~b]+", "a~b", "a~b"),
    (r"[a-]+", "a-", "a-"),
    (r"[-a]+", "a-", "a-"),
    (r"[\d-x]+", "1-x", "1-x"),
    (r"[a\-z]+", "-bz", "-"),
    (r"[\w.]+", "a.b", "a.b"),
    (r"[^\d]", "1a", "a"),
    (r"[\D]", "1a", "a"),
    (r"[a-z-[aeiou]]+", "abcde", "bcd"),
    (r"[^a-c-[x]]+", "xdy", "dy"),
    (r"[\d-[5]]+", "345", "34"),
    (r"[0-9-[2-8-[5]]]+", "1592", "159"),
    (r"[#*]+", "*#", "*#"),
    (r"a{b", "a{b", "a{b"),
    (r"a{,3}", "a{,3}", "a{,3}"),
    (r"a{1", "a{1", "a{1"),
    (r"x{2}", "xxx", "xx"),
    (r"x{2,}", "xxx", "xxx"),
    (r"x{1,2}?", "xxx", "x"),
    (r"{", "{", "{"),
    (r"]", "]", "]"),
    (r"}", "}", "}"),
    (r"\<\>", "<>", "<>"),
    (r"\+\#\*\-\/\ ", "+#*-/ ", "+#*-/ "),
    (r"a#b", "a#b", "a#b"),
    // Options, comments.
    (r"(?i)AB", "ab", "ab"),
    (r"(?i:A)B", "aB", "aB"),
    (r"(?i:A)B", "ab", "-"),
    (r"a(?i)b|C", "ac", "c"),
    (r"((?i)a)b", "AB", "-"),
    (r"(?i)[A-C]+", "abcd", "abc"),
    (r"(?i-i)A", "a", "-"),
    (r"(?x) 1 2 # both", "12", "12"),
    (r"(?x: 1 )2", "12", "12"),
    (r"(?x)[ ]", " ", " "),
    (r"1(?#nothing)2", "12", "12"),
    (r"1(?#nothing)+", "11", "11"),
    (r"a.c", "a\nc", "-"),
    (r"(?s)a.c", "a\nc", "a\nc"),
    (r"(?m)^b$", "a\nb\nc", "b"),
    // Look-around, atoms, references.
    (r"\d+(?=#)", "12#", "12"),
    (r"\d(?!#)", "1#2", "2"),
    (r"(?<=\+)\d+", "+12", "12"),
    (r"(?<!\+)\d", "+12", "2"),
    (r"(?<=^9?)1\d", "91 12", "-"),
    (r"(?<=^9?)1\d", "912", "12"),
    (r"(?>1*)12", "1112", "-"),
    (r"(\d)\1", "1223", "22"),
    (r"(?<n>\d)\k<n>", "1223", "22"),
    (r"(?<n>\d)\k'n'", "1223", "22"),
    (r"(?<n>\d)\<n>", "1223", "22"),
    (r"(\d)\10", "1\u{8}", "1\u{8}"),
    (r"\19*", "\u{1}99", "\u{1}99"),
    (r"(?<n>\d)(\d)\1", "1233", "233"),
    (r"(a)?\1b", "b", "-"),
    (r"(?i)(a)\1", "aA", "aA"),
    // Anchors and escapes.
    (r"\A12\z", "12", "12"),
    (r"\G1\Z", "1", "1"),
    (r"\b12\b", "a 12 b", "12"),
    (r"\B2", "12", "2"),
    (r"\x31\u0032\063", "123", "123"),
    (r"\t\cI\e\a\f\v\r\n", "\t\t\u{1b}\u{7}\u{c}\u{b}\r\n", "\t\t\u{1b}\u{7}\u{c}\u{b}\r\n"),
    (r"[\b]", "\u{8}", "\u{8}"),
    (r"\p{Lu}\P{Lu}", "aBc", "Bc"),
    (r"[\p{Nd}-[3]]+", "1234", "12"),
    (r"^*1", "1", "1"),
    (r"()", "1", ""),
    (r"", "1", ""),
    (r"a||b", "b", ""),
    // The first alternative that leads to a match, not the longest one.
    (r"1|12", "12", "1"),
];

#[test]
fn patterns_match_what_they_match_in_dot_net() {
    for (pattern, text, expected) in PATTERNS {
        assert_eq!(result(pattern, "$&", text), *expected, "{pattern} {text:?}");
    }
}

#[test]
fn what_is_no_pattern_or_not_ours_is_told_by_name() {
    for (pattern, told) in [
        ("(", "a group is not closed at character 1"),
        ("a)", "a closing parenthesis too many at character 1"),
        ("[a", "a character class is not closed at character 0"),
        ("[]", "a character class is not closed"),
        ("*1", "a quantifier with nothing before it"),
        ("1**", "a quantifier with nothing before it, or one after another at character 2"),
        ("1*+", "one after another"),
        ("1{2}{3}", "one after another"),
        ("(?i)*", "a quantifier with nothing"),
        ("1{3,2}", "reversed"),
        ("[b-a]", "reversed"),
        (r"[a-\d]", "ends in a class"),
        (r"1\", "a backslash with nothing after it at character 1"),
        (r"\1", "a group that is not there"),
        (r"\k<x>", "a group that is not there"),
        (r"\k", "without a group's name"),
        (r"\y", "an escape of no known kind"),
        (r"\x1", "too few hexadecimal digits"),
        (r"\p{Nope}", "a category that is not known"),
        ("(?P<n>1)", "a group of no known kind"),
        ("(?<0>1)", "the number 0"),
        ("(?<a b>1)", "letters, digits"),
        ("(?#", "a comment is not closed"),
        ("[a-z-[b]c]", "must come last"),
        (r"\p{IsGreek}", "a named Unicode block at character 0 cannot be applied here, though .NET can"),
        ("(?<a-b>1)", "a balancing group"),
        ("(?(1)2|3)", "a conditional"),
        ("(?<x>1)(?<x>2)(?=3)", "one group at several places beside look-around"),
        (r"(?<x>1)(?<x>2)\k<x>", "a reference to a group at several places"),
        (&"(".repeat(100), "nested this deep"),
        (&"1".repeat(1025), "longer than 1024 characters"),
        (r"((\d{500}){500}){500}", "the pattern cannot be applied"),
    ] {
        let findings = Normalizer::findings(&plan(vec![rule("^1$", "+1"), rule(pattern, "$1")]));
        let [finding] = findings.as_slice() else { panic!("{pattern}: {findings:?}") };
        assert_eq!((finding.index, finding.pattern.as_str()), (1, pattern));
        let text = finding.to_string();
        assert!(text.starts_with("rule 2 (") && text.contains(told), "{pattern}: {text}");
    }
}

fn seattle() -> Normalizer {
    let mut extension = rule(r"^(1\d{2})$", "+14255550$1;ext=$1");
    extension.internal_extension = true;
    Normalizer::of(&plan(vec![
        extension,
        rule(r"^911$", "911"),
        rule(r"^9?011(\d+)$", "+$1"),
        rule(r"^9?1?(\d{10})$", "+1$1"),
        rule(r"(?(1)2|3)", "never"),
        rule(r"^(\d{7})$", "+1425$1"),
    ]))
}

#[test]
fn the_first_rule_that_matches_says_what_is_called() {
    for (dialled, uri, rule, is_internal) in [
        ("101", "sip:+14255550101;ext=101@contoso.test;user=phone", Some(0), true),
        ("911", "sip:911;phone-context=Seattle.contoso.test@contoso.test;user=phone", Some(1), false),
        ("(425) 555-0100", "sip:+14255550100@contoso.test;user=phone", Some(3), false),
        ("\u{202a}555\u{2011}0100\u{202c}", "sip:+14255550100@contoso.test;user=phone", Some(5), false),
        ("+44 (1632) 960.001", "sip:+441632960001@contoso.test;user=phone", None, false),
        ("+441632960001;ext=7", "sip:+441632960001;ext=7@contoso.test;user=phone", None, false),
        ("4567", "sip:4567;phone-context=Seattle.contoso.test@contoso.test;user=phone", None, false),
        ("*21#", "sip:*21%23;phone-context=Seattle.contoso.test@contoso.test;user=phone", None, false),
    ] {
        let normalized = seattle().normalize(dialled).expect("a number");
        assert_eq!(
            (normalized.uri("contoso.test").as_str(), normalized.rule, normalized.is_internal),
            (uri, rule, is_internal),
            "{dialled}: {normalized:?}"
        );
    }
}

#[test]
fn every_rule_that_was_tried_is_told() {
    let normalized = seattle().normalize("5550100").expect("a number");
    let told: Vec<_> = normalized.tried.iter().map(|attempt| (attempt.rule, &attempt.result)).collect();
    let unusable = "a conditional at character 0 cannot be applied here, though .NET can".to_owned();
    assert_eq!(
        told,
        [
            (0, &AttemptResult::NoMatch),
            (1, &AttemptResult::NoMatch),
            (2, &AttemptResult::NoMatch),
            (3, &AttemptResult::NoMatch),
            (4, &AttemptResult::Unusable(unusable)),
            (5, &AttemptResult::Fired("+14255550100".to_owned())),
        ]
    );
    assert!(seattle().normalize("+14255550100").expect("global").tried.is_empty(), "a global number needs no rule");
    assert_eq!(seattle().normalize(" - "), Err(DialledError::Empty));
    assert_eq!(seattle().normalize(&"1".repeat(257)), Err(DialledError::TooLong));
    assert_eq!(seattle().normalize("1\u{7}2"), Err(DialledError::Control));
}

#[test]
fn the_external_access_prefix_makes_a_call_an_outside_one() {
    let mut extension = rule(r"^(9\d{3})$", "+1425555$1");
    extension.internal_extension = true;
    let mut plan = plan(vec![extension, rule(r"^(\d{3})$", "+1425555$1"), rule(r"^911$", "911")]);
    plan.external_access_prefix = Some("9".to_owned());
    let called = |plan: &DialPlan, dialled: &str| {
        let normalized = Normalizer::of(plan).normalize(dialled).expect("a number");
        (normalized.rule, normalized.number.to_string())
    };
    assert_eq!(called(&plan, "9123"), (Some(0), "+14255559123".to_owned()), "without the flag it is only carried");
    plan.optimize_device_dialing = true;
    assert_eq!(called(&plan, "9123"), (Some(1), "+1425555123".to_owned()));
    assert_eq!(called(&plan, "911"), (Some(1), "+1425555911".to_owned()), "what matches nothing without it is whole");
    assert_eq!(called(&plan, "9"), (None, "9".to_owned()));
}

#[test]
fn a_pattern_that_runs_away_is_stopped_and_told() {
    let runaway = plan(vec![rule(r"^(?=(a+)+$)(a|aa)+b\1$", "never"), rule("^a+!$", "+1")]);
    let normalized = Normalizer::of(&runaway).normalize(&("a".repeat(60) + "!")).expect("a text");
    assert_eq!(normalized.rule, Some(1));
    let backtracking = plan(vec![rule(r"^(\w+?)*\1?!$", "never"), rule("^a+$", "+1")]);
    let normalized = Normalizer::of(&backtracking).normalize(&"a".repeat(60)).expect("a text");
    assert_eq!(normalized.rule, Some(1));
    let first = &normalized.tried.first().expect("tried").result;
    assert!(matches!(first, AttemptResult::Unusable(why) if why.contains("acktrack")), "{first:?}");
}

/// Texts made of what patterns and replacements are made of.
pub(super) fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "(", ")", "[", "]", "{", "}", "^", "$", "|", "*", "+", "?", ".", "\\", "-", ",", "<", ">", "'", "=", "!", ":",
        "#", " ", "&", "`", "_", "1", "2", "10", "9", "a", "n", "x", "é", "\\d", "\\1", "\\10", "(?", "(?<n>", "(?<2>",
        "(?:", "(?=", "(?<=", "(?i)", "[^", "\\p{L}", "\\k<n>", "${", "$1", "${n}",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_rule_panics_and_what_is_read_is_applied(pattern in pieces(), translation in pieces(), text in "[0-9a#+]{1,12}") {
        let plan = plan(vec![rule(&pattern, &translation)]);
        let findings = Normalizer::findings(&plan);
        let normalized = Normalizer::of(&plan).normalize(&text).expect("a number");
        for attempt in &normalized.tried {
            if matches!(attempt.result, AttemptResult::Unusable(_)) {
                // Only the limit on backtracking shows itself no sooner than this.
                prop_assert!(findings.len() == 1 || attempt.result == AttemptResult::Unusable(
                    "Error executing regex: Max limit for backtracking count exceeded".to_owned()), "{:?}", attempt);
            }
        }
    }

    #[test]
    fn what_the_translation_of_patterns_gives_the_engine_takes(pattern in pieces()) {
        match pattern::translate(&pattern) {
            Err(error) => prop_assert!(!error.to_string().is_empty()),
            Ok(translated) => {
                let built = RegexBuilder::new(&translated.engine).build();
                // The engine's own limits are the only reason left: it repeats nothing that takes no characters.
                if let Err(error) = built {
                    let error = error.to_string();
                    let limits = ["size", "ook-behind", "Target of repeat operator is invalid"];
                    prop_assert!(limits.iter().any(|l| error.contains(l)), "{} {}: {}", pattern, translated.engine, error);
                }
            }
        }
    }

    #[test]
    fn a_text_without_dollar_signs_is_its_own_replacement(text in "[^$]{0,40}", dialled in "[0-9]{1,9}") {
        prop_assert_eq!(result("^[0-9]+$", &text, &dialled), text);
    }

    #[test]
    fn literal_texts_match_themselves(text in "[ -~é]{0,20}") {
        let escaped: String = text.chars().map(|c| if c.is_alphanumeric() || c == '_' { c.to_string() } else { format!("\\{c}") }).collect();
        if !text.contains(['<', '\'']) {
            prop_assert_eq!(result(&format!("^{escaped}$"), "$&", &text), text);
        }
    }
}
