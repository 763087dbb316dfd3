//! Durations and sizes as people write them: `90s`, `1h30m`, `256MiB`.

use std::time::Duration;

/// Parses a duration: whole numbers with `ms`, `s`, `m`, `h` or `d`, largest
/// unit first, each at most once, such as `90s`, `5m`, `1h30m`.
///
/// # Errors
/// A sentence that says what was wrong and what to write.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 5] = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    let bad = || {
        format!(
            "{:?} is not a duration; write it as 90s, 5m or 1h30m (units ms, s, m, h, d)",
            crate::text::shortened(text, 40)
        )
    };
    let mut rest = text;
    let mut millis: u64 = 0;
    let mut next_unit = 0;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: u64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let letters = rest.len()
            - rest
                .trim_start_matches(|c: char| c.is_ascii_alphabetic())
                .len();
        let place = UNITS[next_unit..]
            .iter()
            .position(|(unit, _)| *unit == &rest[..letters])
            .ok_or_else(bad)?;
        millis = number
            .checked_mul(UNITS[next_unit + place].1)
            .and_then(|m| m.checked_add(millis))
            .ok_or_else(bad)?;
        next_unit += place + 1;
        rest = &rest[letters..];
    }
    if next_unit == 0 {
        Err(bad())
    } else {
        Ok(Duration::from_millis(millis))
    }
}

/// Writes a duration so that [`parse_duration`] reads the same one back, down
/// to milliseconds: `1h30m`, `250ms`, `0s`.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, size) in [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ] {
        if millis >= size {
            text.push_str(&format!("{}{unit}", millis / size));
            millis %= size;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// Parses a size in bytes: a whole number with `B`, `KiB`, `MiB` or `GiB`.
///
/// # Errors
/// A sentence that says what was wrong and what to write.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let bad = || {
        format!(
            "{:?} is not a size; write it as 512KiB, 64MiB or 1GiB",
            crate::text::shortened(text, 40)
        )
    };
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = text[..digits].parse().map_err(|_| bad())?;
    let unit: u64 = match &text[digits..] {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(bad()),
    };
    number.checked_mul(unit).ok_or_else(bad)
}

/// Writes a size in the largest unit that divides it.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    for (unit, size) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= size && bytes.is_multiple_of(size) {
            return format!("{}{unit}", bytes / size);
        }
    }
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("90s", 90_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("1d", 86_400_000),
            ("0s", 0),
            ("1m1ms", 60_001),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for bad in [
            "",
            "5",
            "s",
            "5 m",
            "-5m",
            "1.5h",
            "5m1h",
            "5m5m",
            "5M",
            "5min",
            "٥m",
            "99999999999999999999s",
            "999999999999999999d",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0B", 0),
            ("512KiB", 512 << 10),
            ("256MiB", 256 << 20),
            ("1GiB", 1 << 30),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "5", "5MB", "5 MiB", "-1B", "1.5GiB", "99999999999GiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn shown_is_parsed_back(millis in 0..=u64::MAX, bytes: u64) {
            prop_assert_eq!(parse_duration(&show_duration(Duration::from_millis(millis))), Ok(Duration::from_millis(millis)));
            prop_assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = parse_duration(&text);
            let _ = parse_size(&text);
        }
    }
}
