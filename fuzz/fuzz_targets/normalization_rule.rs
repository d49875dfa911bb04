//! Any pattern, replacement and dialled text: no rule panics, every rule comes to an end within its limit, and a plan
//! that was applied goes over the wire unchanged.
#![no_main]

use libfuzzer_sys::fuzz_target;
use signin::directory::{DialPlan, NormalizationRule};
use signin::provision::settings::location_profile;
use signin::provision::settings::normalization::Normalizer;

fuzz_target!(|input: (&str, &str, &str, bool)| {
    let (pattern, translation, dialled, optimize) = input;
    let rule = |pattern: &str| NormalizationRule {
        pattern: pattern.to_owned(),
        translation: translation.to_owned(),
        internal_extension: optimize,
        device_dialing: false,
    };
    let plan = DialPlan {
        name: "Fuzz".to_owned(),
        rules: vec![rule(pattern), rule(r"^(\d+)$")],
        external_access_prefix: Some("9".to_owned()),
        optimize_device_dialing: optimize,
    };
    let findings = Normalizer::findings(&plan);
    assert!(findings.iter().all(|finding| finding.index == 0), "the second rule is a plain one");
    if let Ok(normalized) = Normalizer::of(&plan).normalize(dialled) {
        assert!(normalized.uri("contoso.test").starts_with("sip:"));
        assert!(normalized.tried.len() <= 4);
    }
    let is_text = |text: &str| !text.chars().any(|c| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'));
    if is_text(pattern) && is_text(translation) {
        assert_eq!(location_profile::read(location_profile::write(&plan).as_bytes()), Ok(plan));
    }
});
