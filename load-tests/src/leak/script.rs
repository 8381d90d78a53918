//! What is asked and what is answered, written out by hand.

use std::io::Read as _;

use super::cases::{Api, Case, Place, Split, Wire};

/// The request of a case.
pub(crate) fn request(case: &Case, model: &str) -> String {
    let (model, word, stream) = (plain(model), plain(&case.word()), case.streams());
    let message = format!(r#""messages":[{{"role":"user","content":{word}}}]"#);
    let choices = if case.place == Place::Choice { 4 } else { 1 };
    match case.api {
        Api::Chat => format!(r#"{{"model":{model},"stream":{stream},"n":{choices},{message}}}"#),
        Api::Completions => format!(r#"{{"model":{model},"stream":{stream},"n":{choices},"prompt":{word}}}"#),
        Api::Responses => format!(r#"{{"model":{model},"stream":{stream},"input":{word}}}"#),
        Api::Messages => format!(r#"{{"model":{model},"stream":{stream},"max_tokens":100,{message}}}"#),
    }
}

/// The bytes of the answer, and their content coding.
pub(crate) fn answer(case: &Case) -> (Vec<u8>, Option<&'static str>) {
    let escaped = case.wire == Wire::Escaped;
    let text = spoken(case, escaped);
    if case.wire == Wire::Body {
        return (body(case, &quoted(&text, false)).into_bytes(), None);
    }
    let pieces: Vec<String> = pieces(&text, case).iter().map(|piece| quoted(piece, escaped)).collect();
    let mut stream = events(case, &pieces, &quoted(&text, escaped));
    if case.wire == Wire::Crlf {
        stream = format!("\u{feff}: hello\n\n{stream}").replace("\n\n", "\n: comment\nid: 1\n\n").replace('\n', "\r\n");
    }
    if case.wire == Wire::Gzip {
        let mut coded = Vec::new();
        let mut encoder = flate2::bufread::GzEncoder::new(stream.as_bytes(), flate2::Compression::fast());
        // Reading from memory into memory does not fail.
        let _ = encoder.read_to_end(&mut coded);
        return (coded, Some("gzip"));
    }
    (stream.into_bytes(), None)
}

/// What the model says at the case's place: text, or JSON with that text in it.
fn spoken(case: &Case, escaped: bool) -> String {
    let text = case.text();
    match case.place {
        // Escapes inside the inner JSON too, so that the value is spelt twice removed.
        Place::Arguments | Place::Call => format!(r#"{{"note":{},"n":1}}"#, quoted(&text, escaped)),
        _ => text,
    }
}

fn pieces(text: &str, case: &Case) -> Vec<String> {
    match case.split {
        Split::Whole => vec![text.to_owned()],
        Split::Characters => text.chars().map(String::from).collect(),
        Split::Two => {
            let middle = text.len() / 2;
            let at = (middle..text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len());
            let (a, b) = text.split_at(at);
            vec![a.to_owned(), b.to_owned()]
        }
    }
}

/// A JSON string.
fn quoted(text: &str, escaped: bool) -> String {
    if !escaped {
        return plain(text);
    }
    let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    format!("\"{units}\"")
}

fn plain(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The tokens of a piece, beside it.
fn logprobs(piece: &str) -> String {
    let text: String = serde_json::from_str(piece).unwrap_or_default();
    let tokens: Vec<String> = text
        .chars()
        .map(|token| {
            let bytes: Vec<String> = token.to_string().bytes().map(|byte| byte.to_string()).collect();
            format!(
                r#"{{"token":{},"logprob":-0.1,"bytes":[{}],"top_logprobs":[]}}"#,
                plain(&token.to_string()),
                bytes.join(",")
            )
        })
        .collect();
    format!(r#"{{"content":[{}]}}"#, tokens.join(","))
}

fn body(case: &Case, text: &str) -> String {
    let call =
        |text: &str| format!(r#"{{"id":"c","type":"function","function":{{"name":"note","arguments":{text}}}}}"#);
    let other = call(r#""{}""#);
    let message = match case.place {
        Place::Text | Place::Logprobs | Place::Choice => format!(r#""content":{text}"#),
        Place::Arguments => format!(r#""content":null,"tool_calls":[{}]"#, call(text)),
        Place::Call => format!(r#""content":null,"tool_calls":[{other},{},{other}]"#, call(text)),
        Place::Reasoning => format!(r#""content":"fine","reasoning_content":{text}"#),
    };
    let tokens = if case.place == Place::Logprobs { logprobs(text) } else { "null".to_owned() };
    let usage = r#""usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}"#;
    match case.api {
        Api::Chat => {
            let choice = |index: usize, message: &str| {
                format!(
                    r#"{{"index":{index},"message":{{"role":"assistant",{message}}},"logprobs":{tokens},"finish_reason":"stop"}}"#
                )
            };
            let choices =
                choices(case, &|index| choice(index, r#""content":"fine""#), &|index| choice(index, &message));
            format!(r#"{{"id":"l","object":"chat.completion","created":1,"model":"m","choices":[{choices}],{usage}}}"#)
        }
        Api::Completions => {
            let choice = |index: usize, text: &str| {
                format!(r#"{{"index":{index},"text":{text},"logprobs":{tokens},"finish_reason":"stop"}}"#)
            };
            let choices = choices(case, &|index| choice(index, "\"fine\""), &|index| choice(index, text));
            format!(r#"{{"id":"l","object":"text_completion","created":1,"model":"m","choices":[{choices}],{usage}}}"#)
        }
        Api::Responses => response(case, text),
        Api::Messages => format!(
            r#"{{"id":"l","type":"message","role":"assistant","model":"m","content":[{}],"stop_reason":"end_turn","stop_sequence":null,"usage":{{"input_tokens":1,"output_tokens":1}}}}"#,
            match case.place {
                Place::Arguments => {
                    // The input is a value there.
                    let input: String = serde_json::from_str(text).unwrap_or_default();
                    format!(r#"{{"type":"tool_use","id":"t","name":"note","input":{input}}}"#)
                }
                Place::Reasoning => {
                    format!(
                        r#"{{"type":"thinking","thinking":{text},"signature":"s"}},{{"type":"text","text":"fine"}}"#
                    )
                }
                _ => format!(r#"{{"type":"text","text":{text}}}"#),
            }
        ),
    }
}

/// One choice, or three others and one.
fn choices(case: &Case, other: &dyn Fn(usize) -> String, own: &dyn Fn(usize) -> String) -> String {
    if case.place == Place::Choice { [other(0), other(1), other(2), own(3)].join(",") } else { own(0) }
}

fn item(case: &Case, text: &str) -> String {
    match case.place {
        Place::Arguments => {
            format!(
                r#"{{"id":"i","type":"function_call","call_id":"c","name":"note","arguments":{text},"status":"completed"}}"#
            )
        }
        Place::Reasoning => {
            format!(r#"{{"id":"i","type":"reasoning","summary":[{{"type":"summary_text","text":{text}}}]}}"#)
        }
        _ => format!(
            r#"{{"id":"i","type":"message","role":"assistant","status":"completed","content":[{{"type":"output_text","text":{text},"annotations":[]}}]}}"#
        ),
    }
}

fn response(case: &Case, text: &str) -> String {
    format!(
        r#"{{"id":"r","object":"response","created_at":1,"status":"completed","model":"m","output":[{}],"usage":{{"input_tokens":1,"output_tokens":1,"total_tokens":2}}}}"#,
        item(case, text)
    )
}

fn events(case: &Case, pieces: &[String], whole: &str) -> String {
    match case.api {
        Api::Chat | Api::Completions => choice_events(case, pieces),
        Api::Responses => response_events(case, pieces, whole),
        Api::Messages => message_events(case, pieces),
    }
}

fn choice_events(case: &Case, pieces: &[String]) -> String {
    let mut out = String::new();
    let mut chunk = |index: usize, delta: &str, tokens: &str, finish: &str| {
        let inner = match case.api {
            Api::Completions => delta.to_owned(),
            _ => format!(r#""delta":{{{delta}}}"#),
        };
        out += &format!(
            "data: {{\"id\":\"l\",\"object\":\"chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":{index},{inner},\"logprobs\":{tokens},\"finish_reason\":{finish}}}]}}\n\n"
        );
    };
    let plain_text = |text: &str| match case.api {
        Api::Completions => format!(r#""text":{text}"#),
        _ => format!(r#""content":{text}"#),
    };
    let call = |index: usize, text: &str| {
        format!(
            r#""tool_calls":[{{"index":{index},"type":"function","function":{{"name":"note","arguments":{text}}}}}]"#
        )
    };
    for piece in pieces {
        let tokens = if case.place == Place::Logprobs { logprobs(piece) } else { "null".to_owned() };
        match case.place {
            Place::Choice => {
                for index in 0..3 {
                    chunk(index, &plain_text("\"fine \""), "null", "null");
                }
                chunk(3, &plain_text(piece), "null", "null");
            }
            Place::Arguments => chunk(0, &call(0, piece), "null", "null"),
            Place::Call => {
                chunk(0, &call(0, "\" \""), "null", "null");
                chunk(0, &call(1, piece), "null", "null");
                chunk(0, &call(2, "\" \""), "null", "null");
            }
            Place::Reasoning => chunk(0, &format!(r#""reasoning_content":{piece}"#), "null", "null"),
            Place::Text | Place::Logprobs => chunk(0, &plain_text(piece), &tokens, "null"),
        }
    }
    let last = if case.place == Place::Choice { 4 } else { 1 };
    let empty = if case.api == Api::Completions { r#""text":"""# } else { "" };
    for index in 0..last {
        chunk(index, empty, "null", "\"stop\"");
    }
    out + "data: [DONE]\n\n"
}

fn response_events(case: &Case, pieces: &[String], whole: &str) -> String {
    let mut out = String::new();
    let mut number = 0;
    let mut event = |name: &str, rest: &str| {
        out += &format!("event: {name}\ndata: {{\"type\":\"{name}\",\"sequence_number\":{number},{rest}}}\n\n");
        number += 1;
    };
    let (name, at, done) = match case.place {
        Place::Arguments => ("function_call_arguments", r#""item_id":"i","output_index":0"#, "arguments"),
        Place::Reasoning => ("reasoning_summary_text", r#""item_id":"i","output_index":0,"summary_index":0"#, "text"),
        _ => ("output_text", r#""item_id":"i","output_index":0,"content_index":0"#, "text"),
    };
    event("response.created", r#""response":{"id":"r","object":"response","status":"in_progress","output":[]}"#);
    event("response.output_item.added", &format!(r#""output_index":0,"item":{}"#, item(case, "\"\"")));
    for piece in pieces {
        event(&format!("response.{name}.delta"), &format!(r#"{at},"delta":{piece}"#));
    }
    event(&format!("response.{name}.done"), &format!(r#"{at},"{done}":{whole}"#));
    event("response.output_item.done", &format!(r#""output_index":0,"item":{}"#, item(case, whole)));
    event("response.completed", &format!(r#""response":{}"#, response(case, whole)));
    out
}

fn message_events(case: &Case, pieces: &[String]) -> String {
    let mut out = String::new();
    let mut event = |name: &str, rest: &str| {
        out += &format!("event: {name}\ndata: {{\"type\":\"{name}\"{rest}}}\n\n");
    };
    let (start, kind, member) = match case.place {
        Place::Arguments => {
            (r#"{"type":"tool_use","id":"t","name":"note","input":{}}"#, "input_json_delta", "partial_json")
        }
        Place::Reasoning => (r#"{"type":"thinking","thinking":"","signature":""}"#, "thinking_delta", "thinking"),
        _ => (r#"{"type":"text","text":""}"#, "text_delta", "text"),
    };
    event(
        "message_start",
        r#","message":{"id":"l","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}"#,
    );
    event("content_block_start", &format!(r#","index":0,"content_block":{start}"#));
    for piece in pieces {
        event("content_block_delta", &format!(r#","index":0,"delta":{{"type":"{kind}","{member}":{piece}}}"#));
    }
    event("content_block_stop", r#","index":0"#);
    event("message_delta", r#","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":9}"#);
    event("message_stop", "");
    out
}
