//! The other APIs: what they ask, and how the same answer looks in them. Written from their public references, by hand.

use bytes::Bytes;
use serde_json::{Value, json};

use super::answer::{Answer, json as to_json};
use super::chat::ChatRequest;
use super::events::Events;

/// Length of an embedding if the request names none.
const DIMENSIONS: u64 = 8;

/// Longest embedding that is made.
const DIMENSIONS_MAX: u64 = 4096;

/// Which API a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    /// OpenAI chat completions.
    Chat,
    /// OpenAI legacy completions.
    Completions,
    /// OpenAI responses.
    Responses,
    /// OpenAI embeddings.
    Embeddings,
    /// Anthropic messages.
    Messages,
    /// Hugging Face TGI, `/generate` and `/generate_stream`.
    Tgi { stream: bool },
    /// Triton's generate extension, `/v2/models/M/generate` and `generate_stream`.
    TritonGenerate { model: String, stream: bool },
    /// KServe v2 inference, `/v2/models/M/infer`.
    Infer { model: String },
}

impl Api {
    /// The API of a path; the query does not matter.
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        let path = path.split('?').next().unwrap_or(path);
        Some(match path {
            "/v1/chat/completions" => Self::Chat,
            "/v1/completions" => Self::Completions,
            "/v1/responses" => Self::Responses,
            "/v1/embeddings" => Self::Embeddings,
            "/v1/messages" => Self::Messages,
            "/generate" => Self::Tgi { stream: false },
            "/generate_stream" => Self::Tgi { stream: true },
            _ => {
                let (model, action) = path.strip_prefix("/v2/models/")?.rsplit_once('/')?;
                let model = model.split('/').next().unwrap_or(model).to_owned();
                match action {
                    "infer" => Self::Infer { model },
                    "generate" => Self::TritonGenerate { model, stream: false },
                    "generate_stream" => Self::TritonGenerate { model, stream: true },
                    _ => return None,
                }
            }
        })
    }

    /// Reads a request; the error is a message for the caller.
    pub(crate) fn parse(&self, body: &[u8]) -> Result<ChatRequest, String> {
        if *self == Self::Chat {
            return ChatRequest::parse(body);
        }
        let body: Value = serde_json::from_slice(body)
            .map_err(|e| format!("We could not parse the JSON body of your request: {e}"))?;
        let model = match self {
            Self::Tgi { .. } => "tgi".to_owned(),
            Self::TritonGenerate { model, .. } | Self::Infer { model } => model.clone(),
            _ => body.get("model").and_then(Value::as_str).ok_or("you must provide a model parameter")?.to_owned(),
        };
        let member = match self {
            Self::Completions => "prompt",
            Self::Responses | Self::Embeddings => "input",
            Self::Messages => "messages",
            Self::Tgi { .. } | Self::Infer { .. } => "inputs",
            Self::TritonGenerate { .. } | Self::Chat => "text_input",
        };
        let asked = body.get(member).ok_or_else(|| format!("Missing required parameter: '{member}'."))?;
        let mut texts = Vec::new();
        collect_texts(asked, &mut texts);
        let stream = match self {
            Self::Tgi { stream } | Self::TritonGenerate { stream, .. } => *stream,
            _ => body.get("stream").and_then(Value::as_bool).unwrap_or(false),
        };
        Ok(ChatRequest {
            model,
            stream,
            include_usage: body.pointer("/stream_options/include_usage").and_then(Value::as_bool).unwrap_or(false),
            choices: match self {
                Self::Embeddings => u32::try_from(asked.as_array().map_or(1, Vec::len)).unwrap_or(1),
                _ => 1,
            },
            prompt_chars: texts.iter().map(|text| text.chars().count()).sum(),
            last_user_text: texts.pop().unwrap_or_default(),
        })
    }

    /// The whole answer.
    pub(crate) fn whole(&self, answer: &Answer, request: &[u8]) -> Bytes {
        let (input, output) = answer.usage();
        let (id, model, said, created) = (answer.id(), answer.model(), answer.said(), answer.created());
        to_json(&match self {
            Self::Chat => return answer.whole(),
            Self::Completions => json!({
                "id": id, "object": "text_completion", "created": created, "model": model,
                "choices": [{"index": 0, "text": said, "logprobs": null, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output},
            }),
            Self::Responses => response(answer, "completed"),
            Self::Embeddings => embeddings(answer, request),
            Self::Messages => json!({
                "id": id, "type": "message", "role": "assistant", "model": model,
                "content": [{"type": "text", "text": said}], "stop_reason": "end_turn", "stop_sequence": null,
                "usage": {"input_tokens": input, "output_tokens": output},
            }),
            Self::Tgi { .. } => json!({
                "generated_text": said,
                "details": {"finish_reason": "eos_token", "generated_tokens": output, "seed": null, "prefill": [], "tokens": []},
            }),
            Self::TritonGenerate { .. } => json!({"model_name": model, "model_version": "1", "text_output": said}),
            Self::Infer { .. } => json!({
                "id": id, "model_name": model, "model_version": "1",
                "outputs": [{"name": "text_output", "datatype": "BYTES", "shape": [1], "data": [said]}],
            }),
        })
    }

    /// The events before the text.
    pub(crate) fn opening(&self, answer: &Answer, events: &mut Events) {
        let (input, _) = answer.usage();
        match self {
            Self::Chat => answer.opening(events),
            Self::Responses => {
                let item = json!({"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []});
                let part = json!({"type": "output_text", "text": "", "annotations": []});
                let begun = json!({"sequence_number": 0, "response": response(answer, "in_progress")});
                events.named("response.created", begun);
                let added = json!({"sequence_number": 1, "output_index": 0, "item": item});
                events.named("response.output_item.added", added);
                events.named(
                    "response.content_part.added",
                    json!({"sequence_number": 2, "item_id": "msg_1", "output_index": 0, "content_index": 0, "part": part}),
                );
            }
            Self::Messages => {
                events.named(
                    "message_start",
                    json!({"message": {
                    "id": answer.id(), "type": "message", "role": "assistant", "model": answer.model(), "content": [],
                    "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": input, "output_tokens": 1}}}),
                );
                events.named("content_block_start", json!({"index": 0, "content_block": {"type": "text", "text": ""}}));
            }
            _ => {}
        }
    }

    /// The events that carry piece number `at`.
    pub(crate) fn piece(&self, answer: &Answer, at: usize, events: &mut Events) {
        if *self == Self::Chat {
            return answer.piece(at, events);
        }
        if at >= answer.piece_count() {
            return;
        }
        let text = answer.piece_text(at);
        match self {
            Self::Responses => events.named(
                "response.output_text.delta",
                json!({
                "sequence_number": at + 3, "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": text}),
            ),
            Self::Messages => {
                let delta = json!({"type": "text_delta", "text": text});
                events.named("content_block_delta", json!({"index": 0, "delta": delta}));
            }
            Self::Tgi { .. } => {
                let last = at + 1 == answer.piece_count();
                let whole = last.then(|| answer.said());
                let details = last
                    .then(|| json!({"finish_reason": "eos_token", "generated_tokens": answer.usage().1, "seed": null}));
                events.json(
                    &json!({"index": at + 1, "token": {"id": at, "text": text, "logprob": -0.1, "special": false},
                    "generated_text": whole, "details": details}),
                );
            }
            Self::TritonGenerate { .. } => {
                events.json(&json!({"model_name": answer.model(), "model_version": "1", "text_output": text}));
            }
            _ => events.json(&json!({
                "id": answer.id(), "object": "text_completion", "created": answer.created(), "model": answer.model(),
                "choices": [{"index": 0, "text": text, "logprobs": null, "finish_reason": null}]})),
        }
    }

    /// The events after the text.
    pub(crate) fn closing(&self, answer: &Answer, events: &mut Events) {
        let (input, output) = answer.usage();
        match self {
            Self::Chat => answer.closing(events),
            Self::Responses => {
                let next = answer.piece_count() + 3;
                let part = json!({"type": "output_text", "text": answer.said(), "annotations": []});
                let place = |number: usize| json!({"sequence_number": number, "item_id": "msg_1", "output_index": 0, "content_index": 0});
                let with = |mut value: Value, name: &str, more: Value| {
                    value[name] = more;
                    value
                };
                events.named("response.output_text.done", with(place(next), "text", json!(answer.said())));
                events.named("response.content_part.done", with(place(next + 1), "part", part));
                let item = json!({"sequence_number": next + 2, "output_index": 0, "item": output_item(answer)});
                events.named("response.output_item.done", item);
                let done = json!({"sequence_number": next + 3, "response": response(answer, "completed")});
                events.named("response.completed", done);
            }
            Self::Messages => {
                events.named("content_block_stop", json!({"index": 0}));
                events.named(
                    "message_delta",
                    json!({"delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": {"output_tokens": output}}),
                );
                events.named("message_stop", json!({}));
            }
            Self::Completions => {
                events.json(&json!({
                    "id": answer.id(), "object": "text_completion", "created": answer.created(), "model": answer.model(),
                    "choices": [{"index": 0, "text": "", "logprobs": null, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output}}));
                events.push(|out| out.extend_from_slice(b"data: [DONE]\n\n"));
            }
            _ => {}
        }
    }

    /// An error in the shape of the API.
    pub(crate) fn error(api: Option<&Self>, message: &str, kind: &str, code: Option<&str>) -> Bytes {
        match api {
            Some(Self::Messages) => to_json(&json!({"type": "error", "error": {"type": kind, "message": message}})),
            Some(Self::Tgi { .. }) => to_json(&json!({"error": message, "error_type": kind})),
            Some(Self::TritonGenerate { .. } | Self::Infer { .. }) => to_json(&json!({"error": message})),
            _ => super::answer::error_body(message, kind, code),
        }
    }
}

/// Every string that is text: bare, in lists, as `text`, `content` or `data`.
fn collect_texts(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect_texts(item, texts)),
        Value::Object(members) => {
            ["text", "content", "data"]
                .iter()
                .filter_map(|name| members.get(*name))
                .for_each(|item| collect_texts(item, texts));
        }
        _ => {}
    }
}

fn output_item(answer: &Answer) -> Value {
    json!({"id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": answer.said(), "annotations": []}]})
}

fn response(answer: &Answer, status: &str) -> Value {
    let (input, output) = answer.usage();
    let done = status == "completed";
    json!({
        "id": answer.id(), "object": "response", "created_at": answer.created(), "status": status, "model": answer.model(),
        "error": null, "incomplete_details": null, "instructions": null, "metadata": {}, "parallel_tool_calls": true,
        "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_p": 1.0,
        "output": if done { json!([output_item(answer)]) } else { json!([]) },
        "usage": done.then(|| json!({"input_tokens": input, "output_tokens": output, "total_tokens": input + output,
            "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}})),
    })
}

fn embeddings(answer: &Answer, request: &[u8]) -> Value {
    let request: Value = serde_json::from_slice(request).unwrap_or_default();
    let count = request.get("input").and_then(Value::as_array).map_or(1, Vec::len);
    let dimensions = request.get("dimensions").and_then(Value::as_u64).unwrap_or(DIMENSIONS).min(DIMENSIONS_MAX);
    let vector: Vec<f64> = (0..dimensions).map(|at| ((at % 7) as f64 - 3.0) / 10.0).collect();
    let data: Vec<Value> =
        (0..count).map(|index| json!({"object": "embedding", "index": index, "embedding": vector})).collect();
    let (input, _) = answer.usage();
    json!({"object": "list", "model": answer.model(), "data": data, "usage": {"prompt_tokens": input, "total_tokens": input}})
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::mock_model::Words;

    const CASES: [(&str, &str); 8] = [
        ("/v1/completions", r#"{"model":"m","prompt":"hi"}"#),
        ("/v1/responses", r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"hi"}]}]}"#),
        ("/v1/embeddings?x=1", r#"{"model":"m","input":["hi","you"],"dimensions":3}"#),
        ("/v1/messages", r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#),
        ("/generate_stream", r#"{"inputs":"hi"}"#),
        ("/v2/models/m/generate", r#"{"text_input":"hi"}"#),
        (
            "/v2/models/m/versions/1/infer",
            r#"{"inputs":[{"name":"text_input","datatype":"BYTES","shape":[1],"data":["hi"]}]}"#,
        ),
        ("/v2/models/m/generate_stream", r#"{"text_input":"hi"}"#),
    ];

    fn answer(api: &Api, body: &str) -> Answer {
        let words = Words {
            say: Some("536-22-8145".to_owned()),
            chunk: 30,
            random_pieces: false,
            answer_chars: None,
            usage: None,
        };
        Answer::new(api.parse(body.as_bytes()).unwrap(), &words, 7, 1, 1_700_000_000)
    }

    #[test]
    fn whole_answers_and_streams_in_every_api() {
        let mut all = String::new();
        for (path, body) in CASES {
            let api = Api::of_path(path).unwrap();
            let answer = answer(&api, body);
            all +=
                &format!("## {path}\n{}\n\n", String::from_utf8(api.whole(&answer, body.as_bytes()).to_vec()).unwrap());
            let mut events = Events::default();
            api.opening(&answer, &mut events);
            (0..answer.piece_count()).for_each(|at| api.piece(&answer, at, &mut events));
            api.closing(&answer, &mut events);
            events.iter().for_each(|event| all += std::str::from_utf8(event).unwrap());
        }
        insta::assert_snapshot!(all);
    }

    #[test]
    fn says_what_is_missing() {
        for (path, body, part) in [
            ("/v1/embeddings", "{}", "model"),
            ("/v1/messages", r#"{"model":"m"}"#, "'messages'"),
            ("/generate", "{", "could not parse"),
            ("/v2/models/m/infer", "{}", "'inputs'"),
        ] {
            let error = Api::of_path(path).unwrap().parse(body.as_bytes()).unwrap_err();
            assert!(error.contains(part), "{path}: {error}");
        }
        assert_eq!(Api::of_path("/v2/models/m/unload"), None);
    }
}
