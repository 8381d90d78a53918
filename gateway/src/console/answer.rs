//! What a model said, read out of the recorded frames of its answer, with the time of each piece.

use super::value::{list, number, text};
use serde_json::Value;

/// Where the words stand in one event or body: chat, completions, messages, responses, and the simpler APIs.
const WORDS: [&str; 10] = [
    "/choices/0/delta/content",
    "/choices/0/message/content",
    "/choices/0/text",
    "/delta/text",
    "/content/0/text",
    "/output/0/content/0/text",
    "/message/content",
    "/token/text",
    "/generated_text",
    "/response",
];

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Since the answer's first frame, in µs.
    pub(super) at_us: u64,
    pub(super) words: String,
}

/// The words of an answer, piece by piece. Of an answer that has none that are known, the frames as they are.
pub(super) fn pieces(response: &Value) -> Vec<Piece> {
    let is_stream = text(response, "/media_type").starts_with("text/event-stream");
    let mut pieces = Vec::new();
    let (mut at_us, mut gathered) = (0, String::new());
    for (place, frame) in list(response, "/frames").iter().enumerate() {
        if place > 0 {
            at_us += number(frame, "/dt_us");
        }
        gathered.push_str(text(frame, "/text"));
        if !is_stream {
            continue;
        }
        while let Some((event, rest)) = next_event(&gathered) {
            if let Some(words) = words_of_event(&event) {
                pieces.push(Piece { at_us, words });
            }
            gathered = rest;
        }
    }
    if !is_stream
        && let Ok(body) = serde_json::from_str::<Value>(&gathered)
        && let Some(words) = words(&body)
    {
        pieces.push(Piece { at_us, words });
    }
    if pieces.is_empty() { raw(response) } else { pieces }
}

fn raw(response: &Value) -> Vec<Piece> {
    let mut at_us = 0;
    let frames = list(response, "/frames").iter().enumerate();
    frames
        .map(|(place, frame)| {
            at_us += if place > 0 { number(frame, "/dt_us") } else { 0 };
            Piece { at_us, words: text(frame, "/text").to_owned() }
        })
        .collect()
}

/// The first whole event, and what follows it.
fn next_event(gathered: &str) -> Option<(String, String)> {
    let ends = ["\n\n", "\r\n\r\n", "\r\r"].iter().filter_map(|end| Some((gathered.find(end)?, end.len())));
    let (place, length) = ends.min()?;
    Some((gathered.get(..place)?.to_owned(), gathered.get(place + length..)?.to_owned()))
}

fn words_of_event(event: &str) -> Option<String> {
    let data: Vec<&str> = event.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim_start).collect();
    let body: Value = serde_json::from_str(&data.join("\n")).ok()?;
    if text(&body, "/type") == "response.output_text.delta" {
        return Some(text(&body, "/delta").to_owned());
    }
    words(&body)
}

fn words(body: &Value) -> Option<String> {
    let found = WORDS.iter().find_map(|pointer| body.pointer(pointer)?.as_str())?;
    (!found.is_empty()).then(|| found.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words_of_a_stream_keep_their_times() {
        let response = json!({ "media_type": "text/event-stream", "frames": [
            { "dt_us": 900, "text": "data: {\"choices\":[{\"delta\":{\"content\":\"he" },
            { "dt_us": 10, "text": "llo\"}}]}\n\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\" you\"}\n\n" },
            { "dt_us": 20, "text": "data: {\"delta\":{\"text\":\"!\"}}\n\ndata: [DONE]\n\n" },
        ]});
        let said: Vec<(u64, String)> = pieces(&response).into_iter().map(|piece| (piece.at_us, piece.words)).collect();
        assert_eq!(said, [(10, "hello".to_owned()), (10, " you".to_owned()), (30, "!".to_owned())]);
    }

    #[test]
    fn a_whole_answer_is_one_piece_and_an_unknown_one_is_shown_as_it_is() {
        let whole = json!({ "media_type": "application/json", "frames": [
            { "dt_us": 1, "text": "{\"choices\":[{\"message\":{\"cont" }, { "dt_us": 7, "text": "ent\":\"hi\"}}]}" },
        ]});
        assert_eq!(pieces(&whole), [Piece { at_us: 7, words: "hi".to_owned() }]);
        let other = json!({ "media_type": "application/json", "frames": [{ "dt_us": 1, "text": "[0.5]" }] });
        assert_eq!(pieces(&other), [Piece { at_us: 0, words: "[0.5]".to_owned() }]);
    }
}
