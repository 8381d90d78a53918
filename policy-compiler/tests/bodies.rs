//! Whole bodies: requests, answers, paths, the recorded copy, and what policies see of a request.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use policy_compiler::dialect::{
    BodyForm, ErrorKind, ErrorShape, Operation, Request, RequestError, error_body, method_of, normalised_path, route,
    stream_error_event,
};
use policy_compiler::redact::{
    ChannelCoverage, Coverage, MaskPlan, PlanError, RedactError, Tier, redact_answer, redact_request,
};
use policy_lang::{BodyView, JsonValue};
use policy_lang::{JsonPath, Mask, Matcher, PathSegment, Selector, Side, Transform};
use proptest::prelude::*;
use serde_json::{Value, json};

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

fn mask(selector: Selector, detectors: &[&str], transform: Transform) -> Mask {
    Mask {
        side: Side::Request,
        record_only: false,
        selector,
        matchers: detectors.iter().map(|name| Matcher::Detector((*name).to_owned())).collect(),
        transform,
    }
}

fn plan(masks: &[Mask]) -> MaskPlan {
    MaskPlan::new(Side::Request, masks.iter().map(|mask| ("rule", mask))).unwrap()
}

const ALL: [&str; 4] = ["credit_card", "email", "phone", "us_ssn"];

fn all_text() -> MaskPlan {
    plan(&[mask(Selector::Text, &ALL, Transform::Label)])
}

fn redacted(plan: &MaskPlan, body: &str) -> String {
    let redacted = redact_request(Operation::ChatCompletions, plan, body.as_bytes()).unwrap();
    String::from_utf8(redacted.body.into_owned()).unwrap()
}

#[test]
fn what_is_dropped_is_not_there() {
    let drop = |to: &str| mask(Selector::Path(path(to)), &[], Transform::Drop);
    let body =
        r#"{"model":"m","user":"u","messages":[{"role":"user","content":"a"},{"role":"user","content":"b"}],"n":1}"#;
    for (to, expected) in [
        ("$.user", r#"{"model":"m","messages":[{"role":"user","content":"a"},{"role":"user","content":"b"}],"n":1}"#),
        ("$.n", r#"{"model":"m","user":"u","messages":[{"role":"user","content":"a"},{"role":"user","content":"b"}]}"#),
        ("$.messages.0", r#"{"model":"m","user":"u","messages":[{"role":"user","content":"b"}],"n":1}"#),
        ("$.messages.*", r#"{"model":"m","user":"u","messages":[],"n":1}"#),
        ("$.messages.*.role", r#"{"model":"m","user":"u","messages":[{"content":"a"},{"content":"b"}],"n":1}"#),
        ("$.messages.*.*", r#"{"model":"m","user":"u","messages":[{},{}],"n":1}"#),
        ("$.nothing", body),
    ] {
        assert_eq!(redacted(&plan(&[drop(to)]), body), expected, "{to}");
    }
    // Nothing is masked in what goes, and what goes is a hit of its own.
    let both = plan(&[drop("$.user"), drop("$.messages.0"), mask(Selector::Text, &["email"], Transform::Label)]);
    let body = r#"{"model":"m","messages":[{"role":"user","content":"a@example.com"},{"role":"user","content":"b@example.com"}],"user":"u"}"#;
    let found = redact_request(Operation::ChatCompletions, &both, body.as_bytes()).unwrap();
    assert_eq!(&*found.body, br#"{"model":"m","messages":[{"role":"user","content":"[EMAIL]"}]}"#);
    let drops = found.hits.iter().filter(|hit| hit.action == "drop");
    assert_eq!(drops.map(|hit| hit.pointer.as_str()).collect::<Vec<_>>(), ["/user", "/messages/0"]);
}

#[test]
fn every_text_of_a_prompt_is_masked_and_nothing_else() {
    let ssn = "536-22-8145";
    let body = json!({
        "model": ssn, "stream": false, "user": ssn, "metadata": { "k": ssn },
        "messages": [
            { "role": "system", "content": ssn, "name": ssn },
            { "role": "user", "content": [
                { "type": "text", "text": ssn },
                { "type": "image_url", "image_url": { "url": ssn } },
                { "type": "new_kind", "whatever": { "deep": ssn } },
            ] },
            { "role": "assistant", "refusal": ssn, "reasoning_content": ssn,
              "tool_calls": [{ "id": ssn, "function": { "name": "f", "arguments": format!("{{\"a\":\"{ssn}\"}}") } },
                             { "custom": { "input": ssn } }],
              "function_call": { "arguments": format!("{{\"a\":\"{ssn}\"}}") } },
        ],
        "tools": [{ "function": { "name": ssn, "description": ssn, "parameters": { "p": { "description": ssn } } } }],
        "prediction": { "content": ssn },
        "x": ssn,
    })
    .to_string();
    let masked: Value = serde_json::from_str(&redacted(&all_text(), &body)).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&masked).unwrap(), @r#"
    {
      "messages": [
        {
          "content": "[US_SSN]",
          "name": "[US_SSN]",
          "role": "system"
        },
        {
          "content": [
            {
              "text": "[US_SSN]",
              "type": "text"
            },
            {
              "image_url": {
                "url": "536-22-8145"
              },
              "type": "image_url"
            },
            {
              "type": "new_kind",
              "whatever": {
                "deep": "[US_SSN]"
              }
            }
          ],
          "role": "user"
        },
        {
          "function_call": {
            "arguments": "{\"a\":\"[US_SSN]\"}"
          },
          "reasoning_content": "[US_SSN]",
          "refusal": "[US_SSN]",
          "role": "assistant",
          "tool_calls": [
            {
              "function": {
                "arguments": "{\"a\":\"[US_SSN]\"}",
                "name": "f"
              },
              "id": "536-22-8145"
            },
            {
              "custom": {
                "input": "[US_SSN]"
              }
            }
          ]
        }
      ],
      "metadata": {
        "k": "[US_SSN]"
      },
      "model": "536-22-8145",
      "prediction": {
        "content": "[US_SSN]"
      },
      "stream": false,
      "tools": [
        {
          "function": {
            "description": "[US_SSN]",
            "name": "536-22-8145",
            "parameters": {
              "p": {
                "description": "[US_SSN]"
              }
            }
          }
        }
      ],
      "user": "[US_SSN]",
      "x": "536-22-8145"
    }
    "#);
    let result = redact_request(Operation::ChatCompletions, &all_text(), body.as_bytes()).unwrap();
    assert!(result.coverage.contains(&ChannelCoverage {
        channel: "messages[1].content[1].image_url".to_owned(),
        coverage: Coverage::Opaque,
    }));
}

#[test]
fn escapes_hide_nothing() {
    let body = r#"{ "messages" : [ {"c\u006fntent":"a\u0035\u0033\u0036-22-8145\n"} ] }"#;
    assert_eq!(redacted(&all_text(), body), r#"{ "messages" : [ {"c\u006fntent":"a[US_SSN]\n"} ] }"#);
}

#[test]
fn paths_mask_any_value() {
    let whole = |text: &str, transform| plan(&[mask(Selector::Path(path(text)), &[], transform)]);
    let body = r#"{"a":"text","b":[1,true,null,{"c":"d"}],"n":4111111111111111}"#;
    let cases = [
        (whole("$.a", Transform::Label), r#"{"a":"[MASKED]","b":[1,true,null,{"c":"d"}],"n":4111111111111111}"#),
        (
            whole("$.a", Transform::Literal("\"x\"".to_owned())),
            r#"{"a":"\"x\"","b":[1,true,null,{"c":"d"}],"n":4111111111111111}"#,
        ),
        (
            whole("$.b.*", Transform::Label),
            r#"{"a":"text","b":["[MASKED]","[MASKED]",null,"[MASKED]"],"n":4111111111111111}"#,
        ),
        (whole("$.b", Transform::Label), r#"{"a":"text","b":"[MASKED]","n":4111111111111111}"#),
        (whole("$.n", Transform::Last4), r#"{"a":"text","b":[1,true,null,{"c":"d"}],"n":"************1111"}"#),
        (whole("$.a", Transform::Last4), r#"{"a":"****","b":[1,true,null,{"c":"d"}],"n":4111111111111111}"#),
        (
            plan(&[mask(Selector::Path(path("$.n")), &["credit_card"], Transform::Label)]),
            r#"{"a":"text","b":[1,true,null,{"c":"d"}],"n":"[CREDIT_CARD]"}"#,
        ),
        (whole("$.absent.x", Transform::Label), body),
    ];
    for (plan, expected) in cases {
        assert_eq!(redacted(&plan, body), expected);
    }
    // Below a path that holds more than a text, every text is searched.
    let below = plan(&[mask(Selector::Path(path("$.messages")), &["us_ssn"], Transform::Label)]);
    assert_eq!(redacted(&below, r#"{"messages":[{"id":"536-22-8145"}]}"#), r#"{"messages":[{"id":"[US_SSN]"}]}"#);
}

#[test]
fn the_more_destructive_transform_wins() {
    let text = |detector: &str, transform| mask(Selector::Text, &[detector], transform);
    let both = plan(&[
        text("us_ssn", Transform::Last4),
        text("us_ssn", Transform::Literal("(gone)".to_owned())),
        text("us_ssn", Transform::Label),
    ]);
    assert_eq!(redacted(&both, r#"{"user":"536-22-8145"}"#), r#"{"user":"(gone)"}"#);
    let overlap = plan(&[text("credit_card", Transform::Last4), text("email", Transform::Label)]);
    assert_eq!(redacted(&overlap, r#"{"user":"4111111111111111@example.com"}"#), r#"{"user":"[EMAIL]"}"#);
}

#[test]
fn hits_name_the_place_and_never_the_value() {
    let body = br#"{"messages":[{"content":"SSN 536-22-8145"}],"metadata":{"secret name":"bob@example.com"}}"#;
    let hits = redact_request(Operation::ChatCompletions, &all_text(), body).unwrap().hits;
    let places: Vec<_> = hits
        .iter()
        .map(|hit| {
            (hit.detector.as_ref(), hit.pointer.as_str(), hit.channel.as_str(), hit.offset, hit.length, hit.tier)
        })
        .collect();
    assert_eq!(
        places,
        [
            ("us_ssn", "/messages/0/content", "messages[0].content", 4, 11, Tier::Validated),
            ("email", "/metadata/*", "metadata", 0, 15, Tier::Validated),
        ]
    );
}

#[test]
fn without_a_hit_the_bytes_are_the_same() {
    let body = b"{ \"messages\":[\n{\"content\" : \"\\u0041 \\ud83d 4111\"} ] , \"x\":1e5 }";
    let result = redact_request(Operation::ChatCompletions, &all_text(), body).unwrap();
    assert!(matches!(result.body, std::borrow::Cow::Borrowed(same) if same == body));
}

#[test]
fn what_cannot_be_masked_is_an_error() {
    let result = |body: &str| redact_request(Operation::ChatCompletions, &all_text(), body.as_bytes()).err();
    assert!(matches!(result("{"), Some(RedactError::Json(_))));
    assert!(matches!(result("{} x"), Some(RedactError::Json(_))));
    assert_eq!(result(r#"{"user":"a","\u0075ser":"b"}"#), Some(RedactError::Duplicate));
    assert_eq!(result(r#"{"messages":[{"content":"a","content":"b"}]}"#), Some(RedactError::Duplicate));
    let bad = mask(Selector::Text, &["no_such"], Transform::Label);
    assert!(matches!(MaskPlan::new(Side::Request, [("r", &bad)]), Err(PlanError::Detector { .. })));
    let bad = Mask { matchers: vec![Matcher::Regex("(".to_owned())], ..bad };
    assert!(matches!(MaskPlan::new(Side::Request, [("r", &bad)]), Err(PlanError::Regex { .. })));
}

#[test]
fn a_plan_takes_only_what_is_for_it() {
    let response = Mask { side: Side::Response, ..mask(Selector::Text, &ALL, Transform::Label) };
    let record = Mask { record_only: true, ..mask(Selector::Text, &ALL, Transform::Label) };
    assert!(plan(&[response, record.clone()]).is_empty());
    assert!(!MaskPlan::recorded(Side::Request, []).unwrap().is_empty());
    let recorded = MaskPlan::recorded(
        Side::Request,
        [("r", &Mask { matchers: vec![Matcher::Regex("w[a-z]+d".to_owned())], ..record })],
    )
    .unwrap();
    assert_eq!(redacted(&recorded, r#"{"user":"a word 536-22-8145"}"#), r#"{"user":"a [MASKED] [US_SSN]"}"#);
}

#[test]
fn the_recorded_copy_has_no_card_anywhere() {
    let recorded = MaskPlan::recorded(Side::Request, []).unwrap();
    for (body, expected) in [
        (
            r#"{"x":{"y":["4111111111111111"]},"n":4111111111111111}"#,
            r#"{"x":{"y":["[CREDIT_CARD]"]},"n":"[CREDIT_CARD]"}"#,
        ),
        (r#"{"4111-1111-1111-1111":0,"\u0034111111111111111":1}"#, r#"{"[CREDIT_CARD]":0,"[CREDIT_CARD]":1}"#),
        (r#"{"messages":[{"content":"\u0034111 1111 1111 1111"}]}"#, r#"{"messages":[{"content":"[CREDIT_CARD]"}]}"#),
        (r#"{"a":1,"a":"4111111111111111"}"#, r#"{"a":1,"a":"[CREDIT_CARD]"}"#),
        ("card=4111111111111111&x", "card=[CREDIT_CARD]&x"),
        (r#"{"broken":4111111111111111"#, r#"{"broken":[CREDIT_CARD]"#),
    ] {
        assert_eq!(redacted(&recorded, body), expected);
    }
    let raw = b"\xff\xfe 4111111111111111 \xff";
    let result = redact_request(Operation::ChatCompletions, &recorded, raw).unwrap();
    assert_eq!(result.body.as_ref(), b"\xff\xfe [CREDIT_CARD] \xff");
}

#[test]
fn answers_are_masked_and_read() {
    let plan = MaskPlan::new(
        Side::Response,
        [("r", &Mask { side: Side::Response, ..mask(Selector::Text, &ALL, Transform::Label) })],
    )
    .unwrap();
    let body = json!({ "model": "m", "choices": [{ "finish_reason": "stop", "logprobs": { "content": [] },
        "message": { "content": "bob@example.com" } }], "usage": { "prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3 } }).to_string();
    let (redacted, info) = redact_answer(Operation::ChatCompletions, &plan, body.as_bytes()).unwrap();
    let masked = String::from_utf8(redacted.body.into_owned()).unwrap();
    assert!(masked.contains("[EMAIL]") && masked.contains(r#""logprobs":null"#), "{masked}");
    assert_eq!(info.model.as_deref(), Some("m"));
    assert_eq!(info.finish_reason.as_deref(), Some("stop"));
    assert_eq!(info.usage.unwrap().total, 3);
    let error = br#"{"error":{"message":"no: 536-22-8145"}}"#;
    let (redacted, _) = redact_answer(Operation::ChatCompletions, &plan, error).unwrap();
    assert_eq!(redacted.body.as_ref(), br#"{"error":{"message":"no: [US_SSN]"}}"#);
}

#[test]
fn requests_as_policies_see_them() {
    let body = br#"{"model":"m","stream":true,"n":3,"stream_options":{"include_usage":true},
        "messages":[{"role":"user","content":"hi"},{"tool_calls":[{"function":{"arguments":"{\"a\":\"\\u0034\"}"}}]}]}"#;
    let request = Request::parse(Operation::ChatCompletions, &BodyForm::Json, body).unwrap();
    assert_eq!((request.model(), request.stream(), request.choices(), request.include_usage()), ("m", true, 3, true));
    assert_eq!(request.texts().unwrap(), ["hi", "4", r#"{"a":"\u0034"}"#]);
    let values = |text: &str| {
        let mut values = Vec::new();
        let result = request.values(&path(text), &mut |value| {
            values.push(match value {
                JsonValue::Str(text) => text.into_owned(),
                other => format!("{other:?}"),
            });
            true
        });
        result.map(|()| values)
    };
    assert_eq!(values("$.messages.0.role").unwrap(), ["user"]);
    assert_eq!(values("$.n").unwrap(), ["Number(3.0)"]);
    assert_eq!(values("$.absent").unwrap(), Vec::<String>::new());
    assert_eq!(values("$.messages.*.role").unwrap(), ["user"]);
}

#[test]
fn requests_that_two_readers_could_read_differently_are_refused() {
    let parse = |body: &str| Request::parse(Operation::ChatCompletions, &BodyForm::Json, body.as_bytes()).err();
    assert_eq!(parse(r#"{"model":"a","model":"b"}"#), Some(RequestError::Duplicate));
    assert_eq!(parse(r#"{"model":"a","m\u006fdel":"b"}"#), Some(RequestError::Duplicate));
    assert_eq!(parse(r#"{"stream":false,"stream":true}"#), Some(RequestError::Duplicate));
    assert_eq!(parse(r#"{"messages":[],"messages":[]}"#), Some(RequestError::Duplicate));
    assert_eq!(
        parse(r#"{"stream_options":{"include_usage":true,"include_usage":false}}"#),
        Some(RequestError::Duplicate)
    );
    assert_eq!(parse(r#"{"stream":"true"}"#), Some(RequestError::Member("stream")));
    assert_eq!(parse(r#"{"model":1}"#), Some(RequestError::Member("model")));
    assert_eq!(parse(r#"{"model":"\ud800"}"#), Some(RequestError::Member("model")));
    for n in ["0", "129", "1.0", "-1", "\"1\""] {
        assert_eq!(parse(&format!(r#"{{"n":{n}}}"#)), Some(RequestError::Member("n")), "{n}");
    }
    assert_eq!(parse(r#"{"messages":"hi"}"#), Some(RequestError::Member("messages")));
    assert_eq!(parse("[]"), Some(RequestError::NotAnObject));
    assert!(matches!(parse("{} {}"), Some(RequestError::Json(_))));
    assert!(matches!(parse(""), Some(RequestError::Json(_))));
}

#[test]
fn routes() {
    let chat = Some(Operation::ChatCompletions);
    for target in
        ["/v1/chat/completions", "//v1/chat/completions/", "/v1/chat/completions?x=1", "/v1/%63hat/completions"]
    {
        assert_eq!(route("POST", target), chat, "{target}");
    }
    assert_eq!(route("GET", "/v1/models"), Some(Operation::ListModels));
    for target in [
        "/v1/x/../chat/completions",
        "/v1/%2e/chat/completions",
        "/v1/chat%2Fcompletions",
        "/V1/chat/completions",
        "v1/chat/completions",
        "/v1/chat/completions%",
        "*",
        "",
        "/v1\\chat",
    ] {
        assert_eq!(route("POST", target), None, "{target}");
    }
    assert_eq!(route("PUT", "/v1/chat/completions"), None);
    assert_eq!(method_of("/v1/embeddings"), Some("POST"));
    assert_eq!(normalised_path("/a//b%2f%7e/").as_deref(), Some("/a/b%2F~"));
}

#[test]
fn errors_have_the_shape_of_the_api() {
    let body = error_body(ErrorShape::OpenAi, ErrorKind::Forbidden, "policy_denied", "No \"way\".");
    assert_eq!(
        String::from_utf8(body).unwrap(),
        r#"{"error":{"message":"No \"way\".","type":"permission_error","param":null,"code":"policy_denied"}}"#
    );
    let event = stream_error_event(ErrorShape::OpenAi, ErrorKind::Upstream, "x", "y\n");
    assert_eq!(
        String::from_utf8(event).unwrap(),
        "data: {\"error\":{\"message\":\"y\\n\",\"type\":\"server_error\",\"param\":null,\"code\":\"x\"}}\n\n"
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..300), path in "[/.%a-f0-9]{0,20}") {
        let _ = Request::parse(Operation::ChatCompletions, &BodyForm::Json, &body);
        let _ = route("POST", &path);
        for plan in [all_text(), MaskPlan::recorded(Side::Request, []).unwrap()] {
            let _ = redact_request(Operation::ChatCompletions, &plan, &body);
        }
    }

    #[test]
    fn json_of_any_shape_is_masked_or_refused(body in r#"(\{|\}|\[|\]|,|:|"messages"|"content"|"role"|"text"|"a 536-22-8145"|1|null| ){0,30}"#) {
        let recorded = MaskPlan::recorded(Side::Request, []).unwrap();
        let masked = redact_request(Operation::ChatCompletions, &recorded, body.as_bytes()).unwrap();
        prop_assert!(!String::from_utf8_lossy(&masked.body).contains("8145"));
        if serde_json::from_str::<Value>(&body).is_ok() {
            prop_assert!(serde_json::from_slice::<Value>(&masked.body).is_ok());
        }
    }
}
