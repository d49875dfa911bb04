//! The same patterns, replacements and texts given to .NET itself: the tables of the tests beside this, and thousands
//! made of pieces.

#![allow(clippy::disallowed_methods)] // the counterpart is a program of its own

use super::tests::{PATTERNS, REPLACEMENTS, pieces};
use super::{AttemptResult, PatternError, Rule, ready};
use crate::directory::NormalizationRule;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::io::Write;
use std::process::{Command, Stdio};

/// Patterns that .NET takes, most of them with groups, and often enough with a match.
fn patterns() -> impl Strategy<Value = String> {
    let atoms = [
        "1",
        "2",
        "a",
        "\\d",
        "\\D",
        "\\w",
        ".",
        "[12]",
        "[^1]",
        "[\\d-[3]]",
        "[a-]",
        "\\b",
        "^",
        "$",
        "#",
        "\\x31",
        "\\061",
        "(?!2)",
        "(?<=1)",
        "(?i)A",
        "a{",
        "(?#1)",
        "(1)",
        "(?<n>1)",
    ];
    let atom = prop::sample::select(atoms.to_vec()).prop_map(str::to_owned);
    atom.prop_recursive(5, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
            prop::collection::vec(inner.clone(), 2..3).prop_map(|parts| format!("(?:{})", parts.join("|"))),
            (
                prop::sample::select(vec!["(", "(?<n>", "(?'m'", "(?<3>", "(?>", "(?=", "(?n:", "(?i:", "(?x: "]),
                inner.clone()
            )
                .prop_map(|(open, inner)| format!("{open}{inner})")),
            (inner, prop::sample::select(vec!["?", "*", "+", "??", "*?", "{2}", "{0,2}", "{1,}?"]))
                .prop_map(|(inner, many)| format!("(?:{inner}){many}")),
        ]
    })
}

/// Replacements full of what means something.
fn translations() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "$1", "$2", "$3", "$4", "${n}", "${m}", "${1}", "$0", "$&", "$`", "$'", "$+", "$_", "$$", "$", "+", "1", "|",
        "{", "}",
    ]);
    prop::collection::vec(piece, 1..8).prop_map(|pieces| pieces.concat())
}

struct Case {
    pattern: String,
    translation: String,
    text: String,
}

/// What .NET says to each case, as `dotnet.cs` writes it.
fn ask_dotnet(cases: &[Case]) -> Vec<String> {
    let folder = std::env::temp_dir().join(format!("signpost-dotnet-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (source, program, input) = (folder.join("oracle.cs"), folder.join("oracle.exe"), folder.join("cases"));
    std::fs::write(&source, include_str!("dotnet.cs")).expect("written");
    let compiled = Command::new("mcs").arg(format!("-out:{}", program.display())).arg(&source).status();
    assert!(compiled.expect("mcs is installed").success());
    let mut lines = Vec::new();
    for case in cases {
        let part = |text: &str| format!("_{}", STANDARD.encode(text));
        writeln!(lines, "{} {} {}", part(&case.pattern), part(&case.translation), part(&case.text)).expect("memory");
    }
    std::fs::write(&input, lines).expect("written");
    let input = std::fs::File::open(&input).expect("readable");
    let output = Command::new("mono").arg(&program).stdin(Stdio::from(input)).output().expect("mono is installed");
    let _ = std::fs::remove_dir_all(&folder);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}

/// What we say in the same words; `None` where we told that we cannot.
fn ours(case: &Case) -> Option<String> {
    let rule = NormalizationRule {
        pattern: case.pattern.clone(),
        translation: case.translation.clone(),
        internal_extension: false,
        device_dialing: false,
    };
    let ready = match ready(&rule) {
        Err(PatternError::Invalid { .. }) => return Some("E".to_owned()),
        Err(_) => return None,
        Ok(ready) => ready,
    };
    match (Rule { is_internal: false, ready: Ok(ready) }).apply(&case.text) {
        AttemptResult::NoMatch => Some("-".to_owned()),
        AttemptResult::Fired(number) => Some(format!("={}", STANDARD.encode(number))),
        AttemptResult::Unusable(_) => None,
    }
}

#[test]
#[ignore = "needs mono-mcs and mono-runtime; run by make test"]
fn dotnet_says_the_same() {
    let case = |pattern: &str, translation: &str, text: &str| Case {
        pattern: pattern.to_owned(),
        translation: translation.to_owned(),
        text: text.to_owned(),
    };
    let mut cases: Vec<Case> = REPLACEMENTS.iter().map(|(p, r, t, _)| case(p, r, t)).collect();
    // The first row is the one difference that is meant.
    cases.extend(PATTERNS.iter().skip(1).map(|(p, t, _)| case(p, "$&", t)));
    let tables = cases.len();
    let mut runner = TestRunner::deterministic();
    let texts = "[0-9ax#+ -]{1,12}";
    let made = prop_oneof![(pieces(), pieces(), texts), (patterns(), translations(), "[12ab3#]{1,9}")];
    while cases.len() < 20_000 {
        let (pattern, translation, text) = made.new_tree(&mut runner).expect("a case").current();
        cases.push(case(&pattern, &translation, &text));
    }
    let theirs = ask_dotnet(&cases);
    assert_eq!(theirs.len(), cases.len());
    let (mut compared, mut matched, mut differences) = (0, 0, Vec::new());
    for (case, theirs) in cases.iter().zip(&theirs) {
        let Some(ours) = ours(case).filter(|_| theirs != "T") else { continue };
        compared += 1;
        matched += usize::from(ours.starts_with('='));
        if ours != *theirs {
            differences
                .push(format!("{:?} {:?} {:?}: {ours}, .NET {theirs}", case.pattern, case.translation, case.text));
        }
    }
    differences.sort_by_key(String::len);
    assert!(differences.is_empty(), "{} of {compared} differ:\n{}", differences.len(), differences.join("\n"));
    assert!(compared > cases.len() * 3 / 4 && matched > tables + 4000, "{matched} matched of {compared} compared");
}
