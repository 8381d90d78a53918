//! However an answer is cut, spelt and framed, its stream masks to what the whole answer masks to (MASKING §1): for every
//! dialect that streams, sampled by seed. `SALLYPORT_PAIRS` asks for more or fewer pairs, `SALLYPORT_SEED` for others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use policy_compiler::dialect::Operation;
use policy_compiler::redact::{MaskPlan, StreamOutput, StreamRedactor, redact_answer};
use policy_lang::{Mask, Matcher, Selector, Side, Transform};
use serde_json::{Value, json};

const PAIRS: u64 = 50_000;
const DIALECTS: [Dialect; 8] = [
    Dialect { name: "chat", operation: Operation::ChatCompletions, json: false },
    Dialect { name: "completions", operation: Operation::Completions, json: false },
    Dialect { name: "responses", operation: Operation::Responses, json: false },
    Dialect { name: "messages", operation: Operation::Messages, json: false },
    Dialect { name: "tgi", operation: Operation::TgiGenerateStream, json: false },
    Dialect { name: "chat tools", operation: Operation::ChatCompletions, json: true },
    Dialect { name: "responses calls", operation: Operation::Responses, json: true },
    Dialect { name: "messages tools", operation: Operation::Messages, json: true },
];

#[derive(Clone, Copy)]
struct Dialect {
    name: &'static str,
    operation: Operation,
    /// The text is JSON inside a JSON string.
    json: bool,
}

/// SplitMix64: the same numbers for the same seed, everywhere.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    fn of<'v, T: ?Sized>(&mut self, values: &[&'v T]) -> &'v T {
        values[self.below(values.len())]
    }
}

fn text(numbers: &mut Numbers) -> String {
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
fn arguments(numbers: &mut Numbers) -> String {
    let value =
        json!({ "to": text(numbers), "n": 4_111_111_111_111_111_u64, "list": [text(numbers), 5, null], "k": 1 });
    if numbers.below(2) == 0 { value.to_string() } else { serde_json::to_string_pretty(&value).unwrap() }
}

/// Cuts a text between any two UTF-16 units, so also inside a surrogate pair.
fn pieces(text: &str, numbers: &mut Numbers) -> Vec<Vec<u16>> {
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
fn spelt(units: &[u16], numbers: &mut Numbers, escapes: usize) -> String {
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
fn answer(dialect: Dialect, text: &str, pieces: &[String]) -> (Vec<String>, String) {
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
fn framed(events: &[String], numbers: &mut Numbers) -> String {
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
fn read(dialect: Dialect, stream: &str) -> (String, Vec<String>) {
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

fn masked_whole(dialect: Dialect, plan: &MaskPlan, body: &str) -> String {
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

fn plans() -> Vec<MaskPlan> {
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
    let sets = [
        vec![mask(detectors(), Transform::Label)],
        vec![mask(detectors(), Transform::Last4)],
        vec![mask(detectors(), Transform::Label), mask(vec![secret()], Transform::Literal("(gone)".to_owned()))],
    ];
    sets.iter().map(|masks| MaskPlan::new(Side::Response, masks.iter().map(|mask| ("r", mask))).unwrap()).collect()
}

fn number_of(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn streams_mask_like_whole_answers() {
    let plans = plans();
    let pairs = number_of("SALLYPORT_PAIRS").unwrap_or(PAIRS);
    let seed = number_of("SALLYPORT_SEED").unwrap_or(5);
    let mut changed = 0;
    for pair in 0..pairs {
        let mut numbers = Numbers(seed.wrapping_mul(0x1_0000_0001).wrapping_add(pair));
        let dialect = DIALECTS[usize::try_from(pair).unwrap() % DIALECTS.len()];
        let plan = &plans[numbers.below(plans.len())];
        let text = if dialect.json { arguments(&mut numbers) } else { text(&mut numbers) };
        let escapes = [0, 0, 1, 3][numbers.below(4)];
        let mut spelt: Vec<String> =
            pieces(&text, &mut numbers).iter().map(|units| spelt(units, &mut numbers, escapes)).collect();
        if spelt.is_empty() {
            spelt.push("\"\"".to_owned());
        }
        let (events, body) = answer(dialect, &text, &spelt);
        let stream = framed(&events, &mut numbers);
        let expected = masked_whole(dialect, plan, &body);

        let mut redactor = StreamRedactor::new(dialect.operation, plan.clone(), 1);
        let mut out = StreamOutput::default();
        let size = [1, 3, 17, 64, 1000, stream.len().max(1)][numbers.below(6)];
        for piece in stream.as_bytes().chunks(size) {
            redactor.push(piece, &mut out).unwrap();
        }
        redactor.finish(&mut out).unwrap();
        let masked = String::from_utf8([out.ready, out.held].concat()).unwrap();
        let (joined, repeats) = read(dialect, &masked);
        let place = || format!("pair {pair} of seed {seed}, {}: {text:?}\n{stream}\n---\n{masked}", dialect.name);
        assert_eq!(joined, expected, "{}", place());
        for repeat in repeats {
            assert_eq!(repeat, expected, "{}", place());
        }
        if expected == text {
            // Nothing was found: what the stream says is what it said. Events that held nothing back are the same bytes.
            assert!(redactor.hits().is_empty(), "{}", place());
        }
        changed += u64::from(expected != text);
    }
    println!("{pairs} pairs, {changed} with something to mask, 0 differences");
    assert!(changed * 3 > pairs, "the texts must have something to mask");
}

/// Choice, call, pieces to come, and the text.
type Queue = (usize, Option<usize>, Vec<Vec<u16>>, String);

#[test]
fn four_choices_and_three_tools_interleaved() {
    let plan = plans().remove(0);
    for seed in 0..400 {
        let mut numbers = Numbers(seed);
        // Channels: four choices, each with content and three calls.
        let mut queues: Vec<Queue> = Vec::new();
        for choice in 0..4 {
            let content = text(&mut numbers);
            queues.push((choice, None, pieces(&content, &mut numbers), content));
            for call in 0..3 {
                let inner = arguments(&mut numbers);
                queues.push((choice, Some(call), pieces(&inner, &mut numbers), inner));
            }
        }
        let body = {
            let choices: Vec<Value> = (0..4)
                .map(|choice| {
                    let own: Vec<&String> =
                        queues.iter().filter(|queue| queue.0 == choice).map(|queue| &queue.3).collect();
                    let calls: Vec<Value> =
                        own[1..].iter().map(|text| json!({ "function": { "arguments": text } })).collect();
                    json!({ "index": choice, "message": { "content": own[0], "tool_calls": calls } })
                })
                .collect();
            json!({ "choices": choices }).to_string()
        };
        let (redacted, _) = redact_answer(Operation::ChatCompletions, &plan, body.as_bytes()).unwrap();
        let whole: Value = serde_json::from_slice(&redacted.body).unwrap();

        let mut stream = String::new();
        while queues.iter().any(|queue| !queue.2.is_empty()) {
            let at = numbers.below(queues.len());
            let (choice, call, rest, _) = &mut queues[at];
            if rest.is_empty() {
                continue;
            }
            let piece = spelt(&rest.remove(0), &mut numbers, 4);
            let delta = match call {
                None => format!(r#"{{"content":{piece}}}"#),
                Some(call) => format!(r#"{{"tool_calls":[{{"index":{call},"function":{{"arguments":{piece}}}}}]}}"#),
            };
            stream += &format!("data: {{\"choices\":[{{\"index\":{choice},\"delta\":{delta}}}]}}\n\n");
        }
        for choice in 0..4 {
            stream += &format!(
                "data: {{\"choices\":[{{\"index\":{choice},\"delta\":{{}},\"finish_reason\":\"stop\"}}]}}\n\n"
            );
        }
        let mut redactor = StreamRedactor::new(Operation::ChatCompletions, plan.clone(), 4);
        let mut out = StreamOutput::default();
        for piece in stream.as_bytes().chunks(1 + numbers.below(200)) {
            redactor.push(piece, &mut out).unwrap();
        }
        redactor.finish(&mut out).unwrap();
        let masked = String::from_utf8([out.ready, out.held].concat()).unwrap();
        let mut joined = vec![vec![String::new(); 4]; 4];
        for data in masked.lines().filter_map(|line| line.strip_prefix("data: ")) {
            let value: Value = serde_json::from_str(data).unwrap();
            let choice = &value["choices"][0];
            let own = &mut joined[usize::try_from(choice["index"].as_u64().unwrap()).unwrap()];
            own[0] += choice["delta"]["content"].as_str().unwrap_or_default();
            for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
                own[1 + usize::try_from(call["index"].as_u64().unwrap()).unwrap()] +=
                    call["function"]["arguments"].as_str().unwrap_or_default();
            }
        }
        for (choice, own) in joined.iter().enumerate() {
            let message = &whole["choices"][choice]["message"];
            assert_eq!(Some(own[0].as_str()), message["content"].as_str(), "seed {seed}, choice {choice}");
            for call in 0..3 {
                let expected = message["tool_calls"][call]["function"]["arguments"].as_str();
                assert_eq!(Some(own[1 + call].as_str()), expected, "seed {seed}, choice {choice}, call {call}");
                assert!(serde_json::from_str::<Value>(&own[1 + call]).is_ok(), "the arguments stay JSON");
            }
        }
    }
}
