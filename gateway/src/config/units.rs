//! Durations and sizes as people write them.

use std::time::Duration;

/// The longest duration that a setting may have: ten years, far from any overflow.
const DURATION_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// Seconds of a day, as `"400d"` means it.
const DAY_S: u64 = 24 * 3600;

/// Reads `"250ms"`, `"10s"`, `"1m30s"`, `"2 hours"`, `"400d"`.
///
/// # Errors
/// A sentence saying what is wrong: no unit, negative, zero, or over ten years.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("`{text}` is not a duration; write a number with its unit, such as \"250ms\", \"10s\" or \"2m\"");
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    let duration = match days {
        Some(days) => Duration::from_secs(u64::from(days) * DAY_S),
        None => {
            let signed: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
            Duration::try_from(signed).map_err(|_| wrong())?
        }
    };
    if duration.is_zero() || duration > DURATION_MAX {
        return Err(format!("`{text}` is out of range; use more than 0 and at most ten years"));
    }
    Ok(duration)
}

/// Reads `"32KiB"`, `"8 MiB"`, `"1GiB"` or a plain number of bytes.
///
/// # Errors
/// A sentence saying what is wrong: another unit, no number, zero, or more than this machine can address.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let wrong = || format!("`{text}` is not a size; write bytes or a number with KiB, MiB or GiB, such as \"32KiB\"");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: usize = match unit.trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: usize = number.parse().map_err(|_| wrong())?;
    match number.checked_mul(factor) {
        Some(size) if size > 0 => Ok(size),
        _ => Err(format!("`{text}` is out of range")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn durations_need_a_unit_and_a_positive_value() {
        for (text, expected) in [
            ("250ms", Duration::from_millis(250)),
            ("10s", Duration::from_secs(10)),
            ("1m30s", Duration::from_secs(90)),
            ("10m", Duration::from_mins(10)),
            ("1h", Duration::from_hours(1)),
            ("400d", Duration::from_hours(400 * 24)),
        ] {
            assert_eq!(parse_duration(text), Ok(expected), "{text}");
        }
        for text in ["", "10", "-5s", "0s", "ten seconds", "99999999h", "1y", "d", "0d", "4000d", "1.5d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_bytes_or_binary_units() {
        for (text, expected) in [("1", 1), ("4096", 4096), ("32KiB", 32 << 10), ("8 MiB", 8 << 20), ("1GiB", 1 << 30)] {
            assert_eq!(parse_size(text), Ok(expected), "{text}");
        }
        for text in ["", "0", "KiB", "3 KB", "-1", "1.5MiB", "99999999999999999999"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
