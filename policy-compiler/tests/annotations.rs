//! Offsets into a text (`start_index`, `end_index`) stay while the text stays, and go when masking moves it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use policy_compiler::dialect::Operation;
use policy_compiler::redact::{MaskPlan, StreamOutput, StreamRedactor, redact_answer};
use policy_lang::{Mask, Matcher, Selector, Side, Transform};
use serde_json::{Value, json};

const MOVED: &str = "SSN 536-22-8145, see bob.example";
const KEPT: &str = "SSN 536-22-814x, see bob.example";

fn plan() -> MaskPlan {
    let mask = Mask {
        side: Side::Response,
        record_only: false,
        selector: Selector::Text,
        matchers: vec![Matcher::Detector("us_ssn".to_owned())],
        transform: Transform::Label,
    };
    MaskPlan::new(Side::Response, [("rule", &mask)]).unwrap()
}

fn whole(operation: Operation, body: &Value) -> Value {
    let body = body.to_string();
    let (redacted, _) = redact_answer(operation, &plan(), body.as_bytes()).unwrap();
    serde_json::from_slice(&redacted.body).unwrap()
}

fn streamed(operation: Operation, events: &[Value]) -> Vec<Value> {
    let mut redactor = StreamRedactor::new(operation, plan(), 1);
    let mut out = StreamOutput::default();
    for event in events {
        let name = event["type"].as_str().map_or(String::new(), |name| format!("event: {name}\n"));
        redactor.push(format!("{name}data: {event}\n\n").as_bytes(), &mut out).unwrap();
    }
    redactor.finish(&mut out).unwrap();
    let text = String::from_utf8([out.ready, out.held].concat()).unwrap();
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|data| serde_json::from_str(data).ok())
        .collect()
}

fn citation() -> Value {
    json!({ "type": "url_citation", "start_index": 21, "end_index": 32, "url": "https://bob.example", "title": "t" })
}

#[test]
fn offsets_of_a_whole_chat_answer() {
    for (text, expected) in [(KEPT, [json!(21), json!(32)]), (MOVED, [json!(0), json!(0)])] {
        let cited = json!({ "start_index": 21, "end_index": 32, "url": "https://bob.example", "title": "t" });
        let message = json!({ "content": text, "annotations": [{ "type": "url_citation", "url_citation": cited }] });
        let masked = whole(Operation::ChatCompletions, &json!({ "choices": [{ "index": 0, "message": message }] }));
        let citation = &masked["choices"][0]["message"]["annotations"][0]["url_citation"];
        assert_eq!([citation["start_index"].clone(), citation["end_index"].clone()], expected, "{text}");
        assert_eq!(citation["url"], "https://bob.example");
    }
}

#[test]
fn offsets_of_a_whole_response_and_of_a_streamed_one() {
    for (text, expected) in [(KEPT, [json!(21), json!(32)]), (MOVED, [json!(0), json!(0)])] {
        let part = json!({ "type": "output_text", "text": text, "annotations": [citation()] });
        let item = json!({ "id": "i", "type": "message", "role": "assistant", "content": [part] });
        let response = json!({ "id": "r", "status": "completed", "output": [item] });
        let masked = whole(Operation::Responses, &response);
        let indices = |citation: &Value| [citation["start_index"].clone(), citation["end_index"].clone()];
        assert_eq!(indices(&masked["output"][0]["content"][0]["annotations"][0]), expected, "{text}");

        let at = |kind: &str, number: u64, rest: Value| {
            let mut event = json!({
                "type": kind, "sequence_number": number, "item_id": "i", "output_index": 0, "content_index": 0,
            });
            event.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            event
        };
        let (first, second) = text.split_at(8);
        let events = [
            at("response.output_text.delta", 1, json!({ "delta": first })),
            at("response.output_text.delta", 2, json!({ "delta": second })),
            at("response.output_text.annotation.added", 3, json!({ "annotation_index": 0, "annotation": citation() })),
            at("response.output_text.done", 4, json!({ "text": text })),
            at("response.content_part.done", 5, json!({ "part": part })),
            at("response.output_item.done", 6, json!({ "item": item })),
            json!({ "type": "response.completed", "sequence_number": 7, "response": response }),
        ];
        let masked = streamed(Operation::Responses, &events);
        for pointer in [
            "/annotation",
            "/part/annotations/0",
            "/item/content/0/annotations/0",
            "/response/output/0/content/0/annotations/0",
        ] {
            let found: Vec<&Value> = masked.iter().filter_map(|event| event.pointer(pointer)).collect();
            assert_eq!(found.len(), 1, "{pointer}");
            assert_eq!(indices(found[0]), expected, "{pointer} of {text}");
        }
    }
}
