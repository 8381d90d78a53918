//! The same answer whole and streamed, cut anywhere, masks to the same text.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use policy_compiler::dialect::Operation::ChatCompletions;
use policy_compiler::redact::{MaskPlan, RedactError, StreamOutput, StreamRedactor, redact_answer};
use policy_lang::{JsonPath, Mask, Matcher, PathSegment, Selector, Side, Transform};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const DETECTORS: [&str; 4] = ["credit_card", "email", "phone", "us_ssn"];

fn mask(selector: Selector, matchers: Vec<Matcher>, transform: Transform) -> Mask {
    Mask { side: Side::Response, record_only: false, selector, matchers, transform }
}

fn detectors() -> Vec<Matcher> {
    DETECTORS.iter().map(|name| Matcher::Detector((*name).to_owned())).collect()
}

fn plan(masks: &[Mask]) -> MaskPlan {
    MaskPlan::new(Side::Response, masks.iter().map(|mask| ("rule", mask))).unwrap()
}

fn all_text() -> MaskPlan {
    plan(&[mask(Selector::Text, detectors(), Transform::Label)])
}

fn path(text: &str) -> JsonPath {
    let segments = text
        .split('.')
        .skip(1)
        .map(|step| match step.parse() {
            Ok(index) => PathSegment::Index(index),
            Err(_) if step == "*" => PathSegment::Wildcard,
            Err(_) => PathSegment::Key(step.to_owned()),
        })
        .collect();
    JsonPath { segments }
}

fn event(value: &Value) -> String {
    format!("data: {value}\n\n")
}

fn chunk(delta: &Value, finish: Option<&str>) -> String {
    event(&json!({
        "id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish }]
    }))
}

/// A whole stream whose content arrives in these pieces.
fn content_stream(pieces: &[&str]) -> String {
    let mut stream = chunk(&json!({ "role": "assistant", "content": "" }), None);
    for piece in pieces {
        stream += &chunk(&json!({ "content": piece }), None);
    }
    stream += &chunk(&json!({}), Some("stop"));
    stream + "data: [DONE]\n\n"
}

fn feed<'b>(
    plan: &MaskPlan,
    choices: u32,
    pieces: impl IntoIterator<Item = &'b [u8]>,
) -> Result<(String, String, StreamRedactor), RedactError> {
    let mut redactor = StreamRedactor::new(ChatCompletions, plan.clone(), choices);
    let mut out = StreamOutput::default();
    for piece in pieces {
        redactor.push(piece, &mut out)?;
    }
    redactor.finish(&mut out)?;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ok((text(out.ready), text(out.held), redactor))
}

fn whole_stream(plan: &MaskPlan, stream: &str) -> (String, String, StreamRedactor) {
    feed(plan, 1, [stream.as_bytes()]).unwrap()
}

/// What an SDK would put together: texts by choice and field.
fn collect(stream: &str) -> BTreeMap<String, String> {
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    let normalised = stream.replace("\r\n", "\n").replace('\r', "\n");
    for block in normalised.trim_start_matches('\u{feff}').split("\n\n") {
        let data: Vec<&str> = block.lines().filter_map(|line| line.strip_prefix("data:")).collect();
        let data = data.join("\n");
        if data.is_empty() || data.trim() == "[DONE]" {
            continue;
        }
        let value: Value = serde_json::from_str(&data).unwrap();
        for choice in value["choices"].as_array().into_iter().flatten() {
            let delta = &choice["delta"];
            let mut add = |name: String, text: &Value| {
                if let Some(text) = text.as_str() {
                    texts.entry(format!("{}.{name}", choice["index"])).or_default().push_str(text);
                }
            };
            for name in ["content", "refusal", "reasoning", "reasoning_content"] {
                add(name.to_owned(), &delta[name]);
            }
            for call in delta["tool_calls"].as_array().into_iter().flatten() {
                add(format!("tool{}", call["index"]), &call["function"]["arguments"]);
            }
        }
    }
    texts
}

fn masked_whole(plan: &MaskPlan, content: &str) -> String {
    let body = json!({ "choices": [{ "index": 0, "message": { "content": content } }] }).to_string();
    let (redacted, _) = redact_answer(ChatCompletions, plan, body.as_bytes()).unwrap();
    let value: Value = serde_json::from_slice(&redacted.body).unwrap();
    value["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => proptest::sample::select(vec![
            "4111 1111 1111 1111", "4242424242424242", "536-22-8145", "bob@example.com", "+14155552671",
            "415-555-2671", "536-22-814", "4111 1111 1111 1112", "a@", "7",
        ]).prop_map(str::to_owned),
        2 => proptest::sample::select(vec![" ", "-", "\"", "\\", "é", "😀", "\n", "secret", "x", ".", "[DONE]"])
            .prop_map(str::to_owned),
        1 => "[a-z0-9 @.]{0,6}",
    ]
}

fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(fragment(), 0..7).prop_map(|parts| parts.concat())
}

/// Cuts a text at characters.
fn cut<'t>(text: &'t str, sizes: &[usize]) -> Vec<&'t str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    for &size in sizes {
        let at = rest.char_indices().nth(size).map_or(rest.len(), |(at, _)| at);
        let (piece, behind) = rest.split_at(at);
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_masks_like_the_whole_answer(
        text in text(),
        sizes in proptest::collection::vec(0_usize..6, 0..12),
        bytes in 1_usize..40,
        line_end in proptest::sample::select(vec!["\n", "\r\n", "\r"]),
        masks in 0..3,
    ) {
        let plan = match masks {
            0 => all_text(),
            1 => plan(&[
                mask(Selector::Text, detectors(), Transform::Last4),
                mask(Selector::Path(path("$.choices.*.message.content")), vec![Matcher::Regex("(?i)secret".to_owned())], Transform::Label),
            ]),
            _ => plan(&[mask(Selector::Path(path("$.choices.0.message.content")), vec![], Transform::Label)]),
        };
        let expected = masked_whole(&plan, &text);
        let stream = content_stream(&cut(&text, &sizes)).replace('\n', line_end);
        let (ready, held, _) = feed(&plan, 1, stream.as_bytes().chunks(bytes)).unwrap();
        let all = format!("{ready}{held}");
        let texts = collect(&all);
        prop_assert_eq!(texts.get("0.content").cloned().unwrap_or_default(), expected.clone());
        prop_assert!(!held.contains("\"finish_reason\":null"));
        // However the bytes are cut, the same bytes come out.
        let (ready_whole, held_whole, redactor) = whole_stream(&plan, &stream);
        prop_assert_eq!((ready, held), (ready_whole, held_whole));
        if expected == text {
            prop_assert!(redactor.hits().is_empty());
        }
    }

    #[test]
    fn every_cut_of_the_bytes_gives_the_same_bytes(text in text(), sizes in proptest::collection::vec(1_usize..6, 0..4)) {
        let plan = all_text();
        let stream = content_stream(&cut(&text, &sizes)).replace("\n\n", "\r\n\r\n");
        let (ready, held, _) = whole_stream(&plan, &stream);
        for at in (0..stream.len()).step_by(7) {
            let (a, b) = stream.as_bytes().split_at(at);
            let (ready_cut, held_cut, _) = feed(&plan, 1, [a, b]).unwrap();
            prop_assert_eq!(format!("{ready_cut}|{held_cut}"), format!("{ready}|{held}"));
        }
    }

    #[test]
    fn an_empty_plan_changes_no_byte(stream in "(data: ?|: |event: x|\r\n|\n|\r|\\{\"choices\":\\[\\]\\}|\\[DONE\\]|x){0,24}", size in 1_usize..9) {
        let plan = MaskPlan::empty(Side::Response);
        let (ready, held, _) = feed(&plan, 1, stream.as_bytes().chunks(size)).unwrap();
        prop_assert_eq!(format!("{ready}{held}"), stream);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), size in 1_usize..20) {
        for plan in [all_text(), MaskPlan::empty(Side::Response), MaskPlan::recorded(Side::Response, []).unwrap()] {
            let mut redactor = StreamRedactor::new(ChatCompletions, plan.clone(), 2);
            let mut out = StreamOutput::default();
            for piece in bytes.chunks(size) {
                let _ = redactor.push(piece, &mut out);
            }
            let _ = redactor.finish(&mut out);
            let _ = redact_answer(ChatCompletions, &plan, &bytes);
        }
    }

    #[test]
    fn tool_arguments_mask_like_the_whole_answer(text in text(), sizes in proptest::collection::vec(0_usize..6, 0..12)) {
        let plan = all_text();
        let inner = json!({ "to": text, "n": 4_111_111_111_111_111_u64 }).to_string();
        let body = json!({ "choices": [{ "message": { "tool_calls": [{ "function": { "arguments": inner } }] } }] }).to_string();
        let (redacted, _) = redact_answer(ChatCompletions, &plan, body.as_bytes()).unwrap();
        let whole: Value = serde_json::from_slice(&redacted.body).unwrap();
        let whole = whole["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"].as_str().unwrap();
        prop_assert!(serde_json::from_str::<Value>(whole).is_ok());
        let mut stream = String::new();
        for piece in cut(&inner, &sizes) {
            stream += &chunk(&json!({ "tool_calls": [{ "index": 0, "function": { "arguments": piece } }] }), None);
        }
        stream += &chunk(&json!({}), Some("tool_calls"));
        let (ready, held, _) = whole_stream(&plan, &stream);
        let texts = collect(&format!("{ready}{held}"));
        prop_assert_eq!(texts.get("0.tool0").map(String::as_str), Some(whole));
    }
}

#[test]
fn a_number_in_pieces_is_masked_and_the_last_event_is_held() {
    let stream = content_stream(&["SSN ", "53", "6-2", "2-81", "45", " ok"]);
    let (ready, held, redactor) = whole_stream(&all_text(), &stream);
    assert_eq!(collect(&ready)["0.content"], "SSN [US_SSN] ok");
    assert_eq!(held, format!("{}data: [DONE]\n\n", chunk(&json!({}), Some("stop"))));
    let hit = &redactor.hits()[0];
    assert_eq!((hit.rule.as_ref(), hit.detector.as_ref()), ("rule", "us_ssn"));
    assert_eq!(hit.pointer, "/choices/0/message/content");
    assert_eq!(hit.channel, "choices[0].message.content");
    assert_eq!((hit.offset, hit.length, hit.action), (4, 11, "label"));
    assert_eq!(redactor.info().finish_reason.as_deref(), Some("stop"));
    assert_eq!(redactor.info().model.as_deref(), Some("m"));
}

#[test]
fn what_is_held_at_the_end_comes_in_one_event_before_the_finish_reason() {
    let stream = content_stream(&["card 4111 1111 1111 1111"]);
    let (ready, held, _) = whole_stream(&all_text(), &stream);
    insta::assert_snapshot!(format!("{ready}---\n{held}"), @r#"
    data: {"choices":[{"delta":{"content":"","role":"assistant"},"finish_reason":null,"index":0,"logprobs":null}],"created":1,"id":"c1","model":"m","object":"chat.completion.chunk"}

    data: {"choices":[{"delta":{"content":"card "},"finish_reason":null,"index":0,"logprobs":null}],"created":1,"id":"c1","model":"m","object":"chat.completion.chunk"}

    data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"[CREDIT_CARD]"},"finish_reason":null}]}

    ---
    data: {"choices":[{"delta":{},"finish_reason":"stop","index":0,"logprobs":null}],"created":1,"id":"c1","model":"m","object":"chat.completion.chunk"}

    data: [DONE]
    "#);
}

#[test]
fn a_finish_event_with_content_takes_the_rest_itself() {
    let stream =
        chunk(&json!({ "content": "SSN 536-22-" }), None) + &chunk(&json!({ "content": "8145" }), Some("stop"));
    let (ready, held, _) = whole_stream(&all_text(), &stream);
    assert_eq!(collect(&ready)["0.content"], "SSN ");
    assert_eq!(collect(&held)["0.content"], "[US_SSN]");
}

#[test]
fn without_a_finish_reason_done_or_the_end_flush() {
    for tail in ["data: [DONE]\n\n", "", ": bye\n\n", "data: [DONE]"] {
        let stream = chunk(&json!({ "content": "x 536-22-8145" }), None) + tail;
        let (ready, held, _) = whole_stream(&all_text(), &stream);
        assert_eq!(collect(&format!("{ready}{held}"))["0.content"], "x [US_SSN]");
        assert!(format!("{ready}{held}").ends_with(tail) || tail == ": bye\n\n");
    }
}

#[test]
fn choices_and_fields_do_not_mix() {
    let delta = |choice: u32, delta: Value, finish: Option<&str>| json!({ "index": choice, "delta": delta, "finish_reason": finish });
    let stream = event(
        &json!({ "choices": [delta(0, json!({ "content": "536-22", "refusal": "536-22" }), None), delta(1, json!({ "content": "536-22-81" }), None)] }),
    ) + &event(&json!({ "choices": [delta(1, json!({ "content": "45" }), Some("stop"))] }))
        + &event(&json!({ "choices": [delta(0, json!({ "content": "-8145", "refusal": "!" }), None)] }))
        + &event(&json!({ "choices": [delta(0, json!({}), Some("length"))], "usage": null }))
        + &event(&json!({ "choices": [], "usage": { "prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7 } }));
    let (ready, held, redactor) = feed(&all_text(), 2, [stream.as_bytes()]).unwrap();
    let texts = collect(&format!("{ready}{held}"));
    assert_eq!(texts["0.content"], "[US_SSN]");
    assert_eq!(texts["0.refusal"], "536-22!");
    assert_eq!(texts["1.content"], "[US_SSN]");
    assert_eq!(held.matches("data:").count(), 2);
    let usage = redactor.info().usage.unwrap();
    assert_eq!((usage.prompt, usage.completion, usage.total), (3, 4, 7));
    assert_eq!(redactor.coverage().len(), 3);
}

#[test]
fn surrogates_split_between_events_are_put_together() {
    let piece = |text: &str| format!(r#"data: {{"choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}"#) + "\n\n";
    let stream = piece(r"a\ud83d") + &piece(r"\ude00b") + &piece(r"c\u0034");
    let (ready, held, _) = whole_stream(&all_text(), &stream);
    assert_eq!(collect(&format!("{ready}{held}"))["0.content"], "a😀bc4");
    // One that stays alone is passed on as it came.
    let (ready, _, _) = whole_stream(&all_text(), &(piece(r"-\ud83d") + &piece(",")));
    assert!(ready.ends_with(&piece(r"\ud83d,")), "{ready}");
}

#[test]
fn framing_is_kept() {
    let data = r#"{"choices":[{"index":0,
"delta":{"content":"SSN 536-22-8145,"}}]}"#;
    let lines: Vec<String> = data.lines().map(|line| format!("data:{line}")).collect();
    let stream = format!("\u{feff}: hello\revent: message\r{}\rid: 7\r\r: ping\r\r", lines.join("\r"));
    let (ready, _, _) = whole_stream(&all_text(), &stream);
    assert_eq!(
        ready,
        "\u{feff}: hello\revent: message\rdata:{\"choices\":[{\"index\":0,\rdata: \"delta\":{\"content\":\"SSN [US_SSN],\"}}]}\rid: 7\r\r: ping\r\r"
    );
}

#[test]
fn echoes_of_a_masked_answer_are_dropped() {
    let stream = event(&json!({ "choices": [{ "index": 0, "delta": { "content": "hi" },
        "logprobs": { "content": [{ "token": "536-22-8145" }] } }] }));
    let (ready, _, _) = whole_stream(&all_text(), &stream);
    assert!(ready.contains(r#""logprobs":null"#) && !ready.contains("8145"));
    let (ready, _, _) = whole_stream(&MaskPlan::empty(Side::Response), &stream);
    assert_eq!(ready, stream);
}

#[test]
fn errors_in_a_stream_are_masked_and_held() {
    let stream = chunk(&json!({ "content": "a 4" }), None)
        + &event(&json!({ "error": { "message": "bad input 536-22-8145", "code": 500 } }));
    let (ready, held, _) = whole_stream(&all_text(), &stream);
    assert_eq!(collect(&ready)["0.content"], "a 4");
    assert!(held.contains("bad input [US_SSN]"));
}

#[test]
fn what_cannot_be_masked_cuts_the_stream() {
    let cut = |stream: &str| feed(&all_text(), 1, [stream.as_bytes()]).err();
    assert!(matches!(cut("data: {oops\n\n"), Some(RedactError::Event(_))));
    assert!(matches!(cut("data: {\"choices\":[{\"del"), Some(RedactError::Event(_))));
    assert_eq!(
        cut("data: {\"choices\":[{\"delta\":{\"content\":\"a\",\"content\":\"b\"}}]}\n\n"),
        Some(RedactError::Duplicate)
    );
    assert_eq!(
        cut(&(content_stream(&[]) + &chunk(&json!({ "content": "more" }), None))),
        Some(RedactError::TextAfterFinish)
    );
    let mut redactor = StreamRedactor::new(ChatCompletions, all_text(), 1);
    let mut out = StreamOutput::default();
    assert!(redactor.push(b"data: x\n\n", &mut out).is_err());
    assert!(redactor.push(b": fine\n\n", &mut out).is_err());
    assert_eq!(out, StreamOutput::default());
}

#[test]
fn paths_without_a_channel_are_named() {
    let unmappable = |text: &str| {
        plan(&[mask(Selector::Path(path(text)), vec![], Transform::Label)])
            .stream_unmappable(ChatCompletions)
            .map(str::to_owned)
    };
    for good in [
        "$.choices.*.message.content",
        "$.choices.0.message.refusal",
        "$.choices.*.message.tool_calls.*.function.arguments",
        "$.choices.1.message.tool_calls.3.function.arguments",
    ] {
        assert_eq!(unmappable(good), None, "{good}");
    }
    for bad in ["$.model", "$.choices", "$.choices.*.message.*", "$.usage.x", "$.choices.*.message"] {
        assert_eq!(unmappable(bad).as_deref(), Some("rule"), "{bad}");
    }
}

#[test]
fn the_recorded_copy_of_a_stream_has_no_card_anywhere() {
    let recorded = MaskPlan::recorded(Side::Response, []).unwrap();
    let stream = format!(
        ": 4111111111111111\n{}",
        event(&json!({ "id": "4111111111111111", "x": [4_111_111_111_111_111_u64], "4111111111111111": 1,
        "choices": [{ "index": 0, "delta": { "content": "4111 1111 " } }] }))
    ) + "data: 4111111111111111 no json\n\n"
        + &chunk(&json!({ "content": "1111 1111" }), Some("stop"));
    let (ready, held, redactor) = whole_stream(&recorded, &stream);
    let all = format!("{ready}{held}");
    assert!(!all.contains("1111"), "{all}");
    assert_eq!(redactor.hits().len(), 6);
}

#[test]
fn a_channel_that_is_dropped_never_comes() {
    let drop = mask(Selector::Path(path("$.choices.*.message.reasoning_content")), vec![], Transform::Drop);
    let plan = plan(&[drop, mask(Selector::Text, detectors(), Transform::Label)]);
    assert_eq!(plan.stream_unmappable(ChatCompletions), None);
    let stream = chunk(&json!({ "role": "assistant", "reasoning_content": "think 536-22" }), None)
        + &chunk(&json!({ "reasoning_content": "-8145" }), None)
        + &chunk(&json!({ "reasoning_content": "more", "content": "SSN 536-22" }), None)
        + &chunk(&json!({ "content": "-8145." }), Some("stop"));
    let (ready, held, redactor) = whole_stream(&plan, &stream);
    let all = format!("{ready}{held}");
    assert!(!all.contains("reasoning_content") && !all.contains("think") && !all.contains("8145"), "{all}");
    assert!(all.contains(r#""delta":{"role":"assistant"}"#) && all.contains("[US_SSN]."), "{all}");
    assert_eq!(redactor.hits().iter().map(|hit| hit.action).collect::<Vec<_>>(), ["drop", "label"]);
}
