//! The words of a payload, as people said them: the values of JSON, put together again where a stream delivers them in pieces.

use std::collections::BTreeMap;

use serde_json::Value;

use super::calls::Payload;

/// Longest word that is told from others, in characters.
const MAX_WORD_CHARS: usize = 64;

/// What was said one way, text by text.
pub(super) fn texts(payload: &Payload) -> Vec<String> {
    said_in(&payload.bytes())
}

/// What a body or a stream of events says, text by text: the values (and names) of JSON, put together again where a stream delivers
/// them in pieces; what is neither, as it is.
#[must_use]
pub fn said_in(bytes: &[u8]) -> Vec<String> {
    if let Ok(whole) = serde_json::from_slice::<Value>(bytes) {
        let mut texts = Vec::new();
        each_text(&whole, &mut |text| texts.push(text.to_owned()));
        return texts;
    }
    let raw = String::from_utf8_lossy(bytes).into_owned();
    let mut joined: BTreeMap<String, String> = BTreeMap::new();
    let mut is_stream = false;
    for line in raw.lines() {
        let data = line.strip_prefix("data:").unwrap_or(line).trim();
        if let Ok(event) = serde_json::from_str::<Value>(data)
            && event.is_object()
        {
            is_stream = true;
            join(&event, &mut String::new(), &mut joined);
        }
    }
    if is_stream { joined.into_values().collect() } else { vec![raw] }
}

fn each_text(value: &Value, tell: &mut dyn FnMut(&str)) {
    match value {
        Value::String(text) => {
            // JSON in a string, such as the arguments of a tool.
            match serde_json::from_str::<Value>(text) {
                Ok(inner @ (Value::Object(_) | Value::Array(_))) => each_text(&inner, tell),
                _ => tell(text),
            }
        }
        Value::Number(number) => tell(&number.to_string()),
        Value::Array(list) => list.iter().for_each(|item| each_text(item, tell)),
        Value::Object(members) => members.iter().for_each(|(name, item)| {
            tell(name);
            each_text(item, tell);
        }),
        Value::Null | Value::Bool(_) => {}
    }
}

/// Adds the texts of an event to those of the events before it, each to what stood in the same place.
fn join(value: &Value, place: &mut String, joined: &mut BTreeMap<String, String>) {
    let length = place.len();
    match value {
        Value::String(text) => joined.entry(place.clone()).or_default().push_str(text),
        Value::Array(list) => {
            for (number, item) in list.iter().enumerate() {
                // Choices and tool calls say themselves which one a piece belongs to.
                let number = item.get("index").and_then(Value::as_u64).unwrap_or(number as u64);
                place.push_str(&format!("/{number}"));
                join(item, place, joined);
                place.truncate(length);
            }
        }
        Value::Object(members) => {
            for (name, item) in members {
                place.push('/');
                place.push_str(name);
                join(item, place, joined);
                place.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The words of a text, in lower case.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> {
    let parts = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    parts.map(|word| word.chars().take(MAX_WORD_CHARS).flat_map(char::to_lowercase).collect())
}

/// Whether the words of a phrase follow each other in a text; the last one may end in `*`.
pub(super) fn says(text: &str, phrase: &str) -> bool {
    let open_end = phrase.ends_with('*');
    let wanted: Vec<String> = words(phrase).collect();
    let Some((last, first)) = wanted.split_last() else { return true };
    let said: Vec<String> = words(text).collect();
    said.windows(wanted.len()).any(|run| {
        run.split_last().is_some_and(|(end, run)| {
            run == first && if open_end { end.starts_with(last.as_str()) } else { end == last }
        })
    })
}

/// The words of a phrase that stand whole in what it is found in.
pub(super) fn whole_words(phrase: &str) -> Vec<String> {
    let mut wanted: Vec<String> = words(phrase).collect();
    if phrase.ends_with('*') {
        wanted.pop();
    }
    wanted
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::model::Frame;

    fn payload(text: &str) -> Payload {
        let frames = vec![Frame { dt_us: 0, bytes: text.as_bytes().to_vec() }];
        Payload { frames, ..Payload::default() }
    }

    #[test]
    fn a_stream_is_put_together_and_json_taken_apart() {
        let stream = "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"The wom\"}}]}\n\n\
                      data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Other\"}}]}\n\n\
                      data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"bat sleeps\"}}]}\n\ndata: [DONE]\n\n";
        assert_eq!(texts(&payload(stream)), ["Other", "The wombat sleeps"]);
        let whole = r#"{"a":"x \"y\"","arguments":"{\"to\":\"Zo\\u00eb\"}","n":[7]}"#;
        assert_eq!(texts(&payload(whole)), ["a", "x \"y\"", "arguments", "to", "Zoë", "n", "7"]);
        assert_eq!(texts(&payload("plain")), ["plain"]);
    }

    #[test]
    fn phrases_are_words_in_a_row() {
        let text = "Please make the wire-transfer to Zoë.";
        for (phrase, found) in [
            ("wire transfer", true),
            ("WIRE", true),
            ("ire", false),
            ("transf*", true),
            ("the transfer", false),
            ("zoë", true),
            ("", true),
        ] {
            assert_eq!(says(text, phrase), found, "{phrase}");
        }
        assert_eq!(whole_words("wire transf*"), ["wire"]);
    }
}
