//! Answers that stream, as their APIs would send them, cut and spelt in every way; and what a reader makes of the masked stream. The whole-text
//! form is what they are held to. Also the gateway's tests read this file, with the real transfer and content codings around it.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use policy_compiler::dialect::Operation;
use policy_compiler::redact::{MaskPlan, redact_answer};
use policy_lang::{Mask, Matcher, Selector, Side, Transform, catalogue};
use serde_json::{Value, json};

pub const DIALECTS: [Dialect; 8] = [
    Dialect { name: "chat", operation: Operation::ChatCompletions, json: false },
    Dialect { name: "completions", operation: Operation::Completions, json: false },
    Dialect { name: "responses", operation: Operation::Responses, json: false },
    Dialect { name: "messages", operation: Operation::Messages, json: false },
    Dialect { name: "tgi", operation: Operation::TgiGenerateStream, json: false },
    Dialect { name: "chat tools", operation: Operation::ChatCompletions, json: true },
    Dialect { name: "responses calls", operation: Operation::Responses, json: true },
    Dialect { name: "messages tools", operation: Operation::Messages, json: true },
];

/// An API whose answers stream, and where in them the text is.
#[derive(Clone, Copy)]
pub struct Dialect {
    pub name: &'static str,
    pub operation: Operation,
    /// The text is JSON inside a JSON string.
    pub json: bool,
}

/// Values of every kind, and the sentences that they stand in: more than 3,000 texts.
const VALUES: &[&str] = include!("../../src/detect/tests/values.in");
const SENTENCES: &[&str] = include!("../../src/detect/tests/sentences.in");

/// SplitMix64: the same numbers for the same seed, everywhere.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    pub fn of<'v, T: ?Sized>(&mut self, values: &[&'v T]) -> &'v T {
        values[self.below(values.len())]
    }
}

/// A text of the corpus, or one of values, near misses and what glues them.
pub fn text(numbers: &mut Numbers) -> String {
    if numbers.below(3) == 0 {
        return numbers.of(SENTENCES).replace('#', numbers.of(VALUES));
    }
    let mut text = String::new();
    for _ in 0..numbers.below(7) {
        text += numbers.of(&[
            "4111 1111 1111 1111",
            "4242424242424242",
            "536-22-8145",
            "536-22-814",
            "bob@example.com",
            "a@",
            "@b.co",
            "+14155552671",
            "(415) 555-2671",
            "4111 1111 1111 1112",
            "SSN ",
            " ",
            "-",
            ".",
            "\"",
            "\\",
            "\n",
            "é",
            "😀",
            "谢",
            "secret",
            "x",
            "the quick brown fox ",
            "7",
            "8145",
            "{\"a\":",
            "[DONE]",
            "data: ",
            "\u{7f}",
            "\t",
        ]);
    }
    text
}

/// A JSON text that a model would write into a call.
pub fn arguments(numbers: &mut Numbers) -> String {
    let value =
        json!({ "to": text(numbers), "n": 4_111_111_111_111_111_u64, "list": [text(numbers), 5, null], "k": 1 });
    if numbers.below(2) == 0 { value.to_string() } else { serde_json::to_string_pretty(&value).unwrap() }
}

/// Cuts a text between any two UTF-16 units, so also inside a surrogate pair.
pub fn pieces(text: &str, numbers: &mut Numbers) -> Vec<Vec<u16>> {
    let units: Vec<u16> = text.encode_utf16().collect();
    let mut pieces = Vec::new();
    let mut rest = units.as_slice();
    // One unit per piece, tokens, a few large pieces, or empty ones between.
    let most = [1, 4, 12, 1000][numbers.below(4)];
    while !rest.is_empty() {
        let size = (1 + numbers.below(most)).min(rest.len());
        let (piece, behind) = rest.split_at(size);
        pieces.push(piece.to_vec());
        rest = behind;
        if numbers.below(6) == 0 {
            pieces.push(Vec::new());
        }
    }
    pieces
}

/// A JSON string of these units: spelt plainly, or with as many escapes as there are ways.
pub fn spelt(units: &[u16], numbers: &mut Numbers, escapes: usize) -> String {
    let mut out = String::from("\"");
    for character in char::decode_utf16(units.iter().copied()) {
        match character {
            Err(alone) => out += &format!("\\u{:04x}", alone.unpaired_surrogate()),
            Ok(character) if escapes > 0 && numbers.below(escapes) == 0 => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    out += &if numbers.below(2) == 0 { format!("\\u{unit:04x}") } else { format!("\\u{unit:04X}") };
                }
            }
            Ok('/') if escapes > 0 => out += "\\/",
            Ok(character) => {
                let quoted = serde_json::to_string(&character).unwrap();
                out += &quoted[1..quoted.len() - 1];
            }
        }
    }
    out + "\""
}

/// The events of an answer whose text comes in these pieces, each a JSON string, and the whole body.
pub fn answer(dialect: Dialect, text: &str, pieces: &[String]) -> (Vec<String>, String) {
    let whole = serde_json::to_string(text).unwrap();
    let mut events = Vec::new();
    let mut number = 0;
    let mut typed = |name: &str, rest: &str| {
        number += 1;
        format!("event: {name}\ndata: {{\"type\":\"{name}\",\"sequence_number\":{number}{rest}}}\n\n")
    };
    let plain = |data: String| format!("data: {data}\n\n");
    let body = match (dialect.name, dialect.json) {
        ("chat", _) => {
            events.extend(pieces.iter().map(|piece| {
                plain(format!(
                    r#"{{"id":"c","choices":[{{"index":0,"delta":{{"content":{piece}}},"finish_reason":null}}]}}"#
                ))
            }));
            events.push(plain(r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#.to_owned()));
            events.push(plain("[DONE]".to_owned()));
            format!(r#"{{"choices":[{{"index":0,"message":{{"content":{whole}}}}}]}}"#)
        }
        ("chat tools", _) => {
            events.extend(pieces.iter().map(|piece| {
                plain(format!(
                    r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{{"index":0,"function":{{"arguments":{piece}}}}}]}}}}]}}"#
                ))
            }));
            events.push(plain(r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#.to_owned()));
            format!(r#"{{"choices":[{{"message":{{"tool_calls":[{{"function":{{"arguments":{whole}}}}}]}}}}]}}"#)
        }
        ("completions", _) => {
            events.extend(
                pieces.iter().map(|piece| {
                    plain(format!(r#"{{"choices":[{{"index":0,"text":{piece},"finish_reason":null}}]}}"#))
                }),
            );
            events.push(plain(r#"{"choices":[{"index":0,"text":"","finish_reason":"length"}]}"#.to_owned()));
            format!(r#"{{"choices":[{{"index":0,"text":{whole}}}]}}"#)
        }
        ("responses", _) => {
            let part = format!(r#"{{"type":"output_text","text":{whole},"annotations":[]}}"#);
            let item = format!(r#"{{"id":"i","type":"message","role":"assistant","content":[{part}]}}"#);
            let at = r#","item_id":"i","output_index":0,"content_index":0"#;
            events.push(typed(
                "response.output_item.added",
                r#","output_index":0,"item":{"type":"message","content":[]}"#,
            ));
            for piece in pieces {
                events.push(typed("response.output_text.delta", &format!(r#"{at},"delta":{piece},"logprobs":[]"#)));
            }
            events.push(typed("response.output_text.done", &format!(r#"{at},"text":{whole}"#)));
            events.push(typed("response.content_part.done", &format!(r#"{at},"part":{part}"#)));
            events.push(typed("response.output_item.done", &format!(r#","output_index":0,"item":{item}"#)));
            let body = format!(r#"{{"id":"r","status":"completed","output":[{item}]}}"#);
            events.push(typed("response.completed", &format!(r#","response":{body}"#)));
            body
        }
        ("responses calls", _) => {
            let item = format!(r#"{{"id":"i","type":"function_call","name":"f","arguments":{whole}}}"#);
            let at = r#","item_id":"i","output_index":0"#;
            for piece in pieces {
                events.push(typed("response.function_call_arguments.delta", &format!(r#"{at},"delta":{piece}"#)));
            }
            events.push(typed("response.function_call_arguments.done", &format!(r#"{at},"arguments":{whole}"#)));
            events.push(typed("response.output_item.done", &format!(r#","output_index":0,"item":{item}"#)));
            let body = format!(r#"{{"id":"r","status":"completed","output":[{item}]}}"#);
            events.push(typed("response.completed", &format!(r#","response":{body}"#)));
            body
        }
        ("messages" | "messages tools", json) => {
            let (start, kind, member) = match json {
                true => (r#"{"type":"tool_use","id":"t","name":"f","input":{}}"#, "input_json_delta", "partial_json"),
                false => (r#"{"type":"text","text":""}"#, "text_delta", "text"),
            };
            events.push(typed("message_start", r#","message":{"id":"m","content":[],"usage":{"input_tokens":1}}"#));
            events.push(typed("content_block_start", &format!(r#","index":0,"content_block":{start}"#)));
            for piece in pieces {
                let delta = format!(r#","index":0,"delta":{{"type":"{kind}","{member}":{piece}}}"#);
                events.push(typed("content_block_delta", &delta));
            }
            events.push(typed("content_block_stop", r#","index":0"#));
            events.push(typed("message_delta", r#","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":5}"#));
            events.push(typed("message_stop", ""));
            match json {
                true => format!(r#"{{"content":[{{"type":"tool_use","input":{text}}}]}}"#),
                false => format!(r#"{{"content":[{{"type":"text","text":{whole}}}]}}"#),
            }
        }
        _ => {
            for (index, piece) in pieces.iter().enumerate() {
                let last = index + 1 == pieces.len();
                let rest = if last {
                    format!("{whole},\"details\":{{\"finish_reason\":\"length\"}}")
                } else {
                    "null".to_owned()
                };
                events.push(plain(format!(
                    r#"{{"index":{index},"token":{{"id":7,"text":{piece},"special":false}},"generated_text":{rest}}}"#
                )));
            }
            format!(r#"{{"generated_text":{whole}}}"#)
        }
    };
    (events, body)
}

/// The events as they could stand on the wire.
pub fn framed(events: &[String], numbers: &mut Numbers) -> String {
    let mut stream = events.concat();
    if numbers.below(3) == 0 {
        stream = stream.replace("\n\n", "\n: keep-alive\nid: 7\n\n");
    }
    if numbers.below(3) == 0 {
        // Only where it begins a line: the text may say it too.
        stream = stream.replace("\ndata: ", "\ndata:");
    }
    let end = numbers.of(&["\n", "\n", "\r\n", "\r"]);
    let bom = if numbers.below(4) == 0 { "\u{feff}" } else { "" };
    format!("{bom}{}", stream.replace('\n', end))
}

/// What an SDK would put together, by an SSE reader of our own: the pieces joined, and each repeat of the whole.
pub fn read(dialect: Dialect, stream: &str) -> (String, Vec<String>) {
    let stream = stream.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\r', "\n");
    let (mut joined, mut repeats) = (String::new(), Vec::new());
    let mut last = 0;
    for block in stream.split("\n\n") {
        let data: Vec<&str> = block
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .map(|data| data.strip_prefix(' ').unwrap_or(data))
            .collect();
        let data = data.join("\n");
        if data.is_empty() || data == "[DONE]" {
            continue;
        }
        let value: Value = serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error}: {data}"));
        if let Some(number) = value["sequence_number"].as_u64() {
            assert_eq!(number, last + 1, "events are numbered on");
            last = number;
        }
        let (piece, repeat) = match dialect.name {
            "chat" => (&value["choices"][0]["delta"]["content"], vec![]),
            "chat tools" => (&value["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"], vec![]),
            "completions" => (&value["choices"][0]["text"], vec![]),
            "responses" => (
                &value["delta"],
                vec![
                    &value["text"],
                    &value["part"]["text"],
                    &value["item"]["content"][0]["text"],
                    &value["response"]["output"][0]["content"][0]["text"],
                ],
            ),
            "responses calls" => (
                &value["delta"],
                vec![&value["arguments"], &value["item"]["arguments"], &value["response"]["output"][0]["arguments"]],
            ),
            "messages" => (&value["delta"]["text"], vec![]),
            "messages tools" => (&value["delta"]["partial_json"], vec![]),
            _ => (&value["token"]["text"], vec![&value["generated_text"]]),
        };
        joined += piece.as_str().unwrap_or_default();
        repeats.extend(repeat.into_iter().filter_map(Value::as_str).map(str::to_owned));
    }
    (joined, repeats)
}

pub fn masked_whole(dialect: Dialect, plan: &MaskPlan, body: &str) -> String {
    let (redacted, _) = redact_answer(dialect.operation, plan, body.as_bytes()).unwrap();
    let body = String::from_utf8(redacted.body.into_owned()).unwrap();
    if dialect.name == "messages tools" {
        // The input is a value there, of which the pieces are the spelling.
        return body
            .strip_prefix(r#"{"content":[{"type":"tool_use","input":"#)
            .unwrap()
            .strip_suffix("}]}")
            .unwrap()
            .to_owned();
    }
    let value: Value = serde_json::from_str(&body).unwrap();
    let text = match dialect.name {
        "chat" => &value["choices"][0]["message"]["content"],
        "chat tools" => &value["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"],
        "completions" => &value["choices"][0]["text"],
        "responses" => &value["output"][0]["content"][0]["text"],
        "responses calls" => &value["output"][0]["arguments"],
        "messages" => &value["content"][0]["text"],
        _ => &value["generated_text"],
    };
    text.as_str().unwrap().to_owned()
}

pub fn plans() -> Vec<MaskPlan> {
    let mask = |matchers: Vec<Matcher>, transform| Mask {
        side: Side::Response,
        record_only: false,
        selector: Selector::Text,
        matchers,
        transform,
    };
    let detectors =
        || ["credit_card", "email", "phone", "us_ssn"].map(|name| Matcher::Detector(name.to_owned())).to_vec();
    let secret = || Matcher::Regex("(?i)secret|fox [a-z]".to_owned());
    let all = catalogue::detectors().iter().map(|detector| Matcher::Detector(detector.id.to_owned())).collect();
    let sets = [
        vec![mask(all, Transform::Label)],
        vec![mask(detectors(), Transform::Label)],
        vec![mask(detectors(), Transform::Last4)],
        vec![mask(detectors(), Transform::Label), mask(vec![secret()], Transform::Literal("(gone)".to_owned()))],
    ];
    sets.iter().map(|masks| MaskPlan::new(Side::Response, masks.iter().map(|mask| ("r", mask))).unwrap()).collect()
}

/// One case: a text, the stream that brings it, and what a whole answer masks to.
pub struct Pair {
    pub dialect: Dialect,
    pub text: String,
    pub stream: String,
    pub expected: String,
}

/// The case of this number.
pub fn pair(dialect: Dialect, plan: &MaskPlan, numbers: &mut Numbers) -> Pair {
    let text = if dialect.json { arguments(numbers) } else { text(numbers) };
    let escapes = [0, 0, 1, 3][numbers.below(4)];
    let mut spelt: Vec<String> = pieces(&text, numbers).iter().map(|units| spelt(units, numbers, escapes)).collect();
    if spelt.is_empty() {
        spelt.push("\"\"".to_owned());
    }
    let (events, body) = answer(dialect, &text, &spelt);
    let stream = framed(&events, numbers);
    let expected = masked_whole(dialect, plan, &body);
    Pair { dialect, text, stream, expected }
}

impl Pair {
    /// Whether a masked stream says what the masked whole answer says, in its pieces and in each repeat of the whole.
    pub fn check(&self, masked: &str, place: &str) {
        let (joined, repeats) = read(self.dialect, masked);
        let place = || format!("{place}, {}: {:?}\n{}\n---\n{masked}", self.dialect.name, self.text, self.stream);
        assert_eq!(joined, self.expected, "{}", place());
        for repeat in repeats {
            assert_eq!(repeat, self.expected, "{}", place());
        }
    }
}

/// A number that the environment gives.
pub fn number_of(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}
