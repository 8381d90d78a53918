//! Durations as people write them on a command line: `250us`, `20ms`, `1.5s`, `10m`, `1h`.

use std::time::Duration;

/// Longest duration that is accepted: one year. Longer ones are typing errors.
const LONGEST_SECONDS: f64 = 366.0 * 24.0 * 3600.0;

/// Reads a duration with its unit (`ns`, `us`, `ms`, `s`, `m`, `h`); a bare `0` needs none.
///
/// # Errors
/// A sentence for the user when the number or the unit is missing, unknown, negative or longer than a year.
pub fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let seconds_per_unit = match unit {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "" => return Err(format!("`{text}` needs a unit: ns, us, ms, s, m or h")),
        other => {
            return Err(format!("`{other}` is not a unit of time: use ns, us, ms, s, m or h"));
        }
    };
    let number: f64 = number.trim().parse().map_err(|_| format!("`{text}` does not start with a number"))?;
    let seconds = number * seconds_per_unit;
    if !(0.0..=LONGEST_SECONDS).contains(&seconds) {
        return Err(format!("`{text}` is not between 0 and one year"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Writes nanoseconds with the unit that keeps three or four digits: `812 ns`, `45.3 µs`, `20.1 ms`, `3.21 s`.
pub fn display_ns(ns: u64) -> String {
    const STEPS: [(f64, &str); 3] = [(1e9, "s"), (1e6, "ms"), (1e3, "µs")];
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let value = ns as f64;
    for (size, unit) in STEPS {
        if value >= size {
            let scaled = value / size;
            let digits = if scaled >= 100.0 {
                0
            } else if scaled >= 10.0 {
                1
            } else {
                2
            };
            return format!("{scaled:.digits$} {unit}");
        }
    }
    format!("{ns} ns")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_unit() {
        for (text, expected) in [
            ("0", Duration::ZERO),
            ("250us", Duration::from_micros(250)),
            ("20ms", Duration::from_millis(20)),
            ("1.5s", Duration::from_millis(1500)),
            ("10m", Duration::from_secs(600)),
            ("1h", Duration::from_secs(3600)),
            ("3 ns", Duration::from_nanos(3)),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_duration() {
        for text in ["", "10", "ms", "-1s", "1y", "1e300h", "NaNs", "infs"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shows_three_digits() {
        for (ns, shown) in [(812, "812 ns"), (45_300, "45.3 µs"), (20_100_000, "20.1 ms"), (3_210_000_000, "3.21 s")] {
            assert_eq!(display_ns(ns), shown);
        }
    }
}
