//! Points in time as XML has them, and people read them: `2024-01-02T03:04:05Z`. ISO 8601, XML Schema part 2 §3.2.7.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// Seconds since 1970 as `2024-01-02T03:04:05Z`. Times no calendar has are written as 1970.
pub fn write_time(unix_seconds: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(unix_seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    moment
        .format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z"))
        .unwrap_or_else(|_| String::from("1970-01-01T00:00:00Z"))
}

/// Reads an ISO 8601 time, with `Z`, an offset, or nothing (then it is UTC); fractions are dropped.
pub fn read_time(text: &str) -> Option<i64> {
    let text = text.trim();
    let parsed =
        OffsetDateTime::parse(text, &Rfc3339).or_else(|_| OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339));
    parsed.ok().map(OffsetDateTime::unix_timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times() {
        assert_eq!(write_time(1_704_164_645), "2024-01-02T03:04:05Z");
        assert_eq!(write_time(i64::MAX), "1970-01-01T00:00:00Z");
        for text in
            ["2024-01-02T03:04:05Z", "2024-01-02T03:04:05", "2024-01-02T04:04:05+01:00", " 2024-01-02T03:04:05.9Z "]
        {
            assert_eq!(read_time(text), Some(1_704_164_645), "{text}");
        }
        for text in ["", "now", "2024-13-02T03:04:05Z"] {
            assert_eq!(read_time(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_hurts(text in "\\PC{0,80}") {
            let _ = read_time(&text);
        }
    }
}
