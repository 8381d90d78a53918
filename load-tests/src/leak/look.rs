//! Puts together what came out, in every way that a reader could, and searches it.

use std::collections::BTreeMap;
use std::io::Read as _;

use serde_json::Value;

use super::Answer;
use super::cases::{Api, Case, Place, Wire};
use super::report::Outcome;

/// Bytes of the largest answer that is unpacked.
const UNPACKED_BYTES_MAX: u64 = 16 << 20;

/// What became of the value.
pub(crate) fn look(case: &Case, answer: &Answer) -> Outcome {
    let raw = match unpacked(answer) {
        Ok(raw) => raw,
        Err(cause) => return Outcome::Withheld(cause),
    };
    let text = String::from_utf8_lossy(&raw).into_owned();
    if holds(&text, case.value) {
        return Outcome::Leaked("in the raw bytes".to_owned());
    }
    let mut joined = Joined::default();
    for value in values(&text) {
        joined.take(&value, String::new());
    }
    for (place, text) in &joined.texts {
        if holds(text, case.value) {
            return Outcome::Leaked(format!("in {place}, joined"));
        }
        // Arguments are JSON in a string, and a bare number there has no hyphens.
        if let Ok(inner) = serde_json::from_str::<Value>(text) {
            let mut inside = Joined::default();
            inside.take(&inner, String::new());
            if let Some((member, _)) = inside.texts.iter().find(|(_, text)| holds(text, case.value)) {
                return Outcome::Leaked(format!("in {place}{member}, parsed"));
            }
        }
    }
    // Nothing leaked; was the rest of the text there, so that the masking was one?
    let around = |text: &String| text.contains("On file: ") && text.contains(", and so on.");
    let there = joined.texts.values().any(|text| {
        let inner = serde_json::from_str::<Value>(text).map(|inner| {
            let mut inside = Joined::default();
            inside.take(&inner, String::new());
            inside.texts.values().any(around)
        });
        around(text) || inner.unwrap_or(false)
    });
    // A block of thinking is signed: one that was masked may go as a whole, as long as the others stay.
    let signed = case.api == Api::Messages && case.place == Place::Reasoning && case.wire == Wire::Body;
    let dropped = signed && joined.texts.values().any(|text| text == "fine");
    if there || dropped {
        Outcome::Masked
    } else {
        Outcome::Withheld("the text around the value did not come through".to_owned())
    }
}

fn unpacked(answer: &Answer) -> Result<Vec<u8>, String> {
    if !answer.is_gzip {
        return Ok(answer.body.to_vec());
    }
    let mut raw = Vec::new();
    flate2::read::MultiGzDecoder::new(&answer.body[..])
        .take(UNPACKED_BYTES_MAX)
        .read_to_end(&mut raw)
        .map_err(|cause| format!("the answer is no gzip: {cause}"))?;
    Ok(raw)
}

/// The JSON texts of an answer: one body, or the data of its events.
fn values(text: &str) -> Vec<Value> {
    if let Ok(value) = serde_json::from_str(text) {
        return vec![value];
    }
    let lines = text.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\r', "\n");
    lines
        .split("\n\n")
        .filter_map(|event| {
            let data: Vec<&str> = event.lines().filter_map(|line| line.strip_prefix("data:")).collect();
            serde_json::from_str(data.join("\n").trim()).ok()
        })
        .collect()
}

/// Texts by place, each joined over all events. Elements are told apart by `index` if they have one; the bytes of tokens,
/// and tokens themselves, are joined as a reader of them would.
#[derive(Default)]
struct Joined {
    texts: BTreeMap<String, String>,
}

impl Joined {
    fn take(&mut self, value: &Value, place: String) {
        match value {
            Value::String(text) => self.texts.entry(place).or_default().push_str(text),
            Value::Object(members) => {
                for (name, value) in members {
                    self.texts.entry(format!("{place} (names)")).or_default().push_str(name);
                    self.take(value, format!("{place}.{name}"));
                }
            }
            Value::Array(elements) => {
                let bytes: Option<Vec<u8>> =
                    elements.iter().map(|element| element.as_u64().and_then(|byte| u8::try_from(byte).ok())).collect();
                if let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) {
                    self.texts.entry(place).or_default().push_str(&String::from_utf8_lossy(&bytes));
                    return;
                }
                for element in elements {
                    let place = match element.get("index").and_then(Value::as_u64) {
                        Some(index) => format!("{place}[{index}]"),
                        None => format!("{place}[]"),
                    };
                    self.take(element, place);
                }
            }
            Value::Number(number) => {
                let text = self.texts.entry(format!("{place} (numbers)")).or_default();
                text.push_str(&number.to_string());
                text.push(' ');
            }
            _ => {}
        }
    }
}

/// Whether a text has the value, however it is separated.
fn holds(text: &str, value: &str) -> bool {
    let bare = |text: &str| -> String { text.chars().filter(|c| !matches!(c, ' ' | '-')).collect() };
    text.contains(value) || (value.starts_with(|c: char| c.is_ascii_digit()) && bare(text).contains(&bare(value)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::cases::all;
    use super::super::script;
    use super::*;
    use bytes::Bytes;

    fn outcome(case: &Case, body: Vec<u8>, is_gzip: bool) -> Outcome {
        look(case, &Answer { body: Bytes::from(body), is_gzip })
    }

    #[test]
    fn without_a_gateway_every_case_leaks() {
        for case in all() {
            let (body, coding) = script::answer(&case);
            assert!(matches!(outcome(&case, body, coding.is_some()), Outcome::Leaked(_)), "{case:?}");
        }
    }

    #[test]
    fn a_good_mask_and_a_missing_text_are_told_apart() {
        let case = all().into_iter().find(|case| case.wire == Wire::Events).unwrap();
        let masked = String::from_utf8(script::answer(&case).0).unwrap().replace(case.value, "[GONE]");
        assert_eq!(outcome(&case, masked.into_bytes(), false), Outcome::Masked);
        assert!(matches!(outcome(&case, b"data: {}\n\n".to_vec(), false), Outcome::Withheld(_)));
    }
}
