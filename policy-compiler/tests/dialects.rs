//! Every API's own ways: echoes, repeats, signatures, forms, lines, tensors, errors, configured routes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use policy_compiler::dialect::{
    BodyForm, CustomRoute, ErrorKind, ErrorShape, Operation, Request, error_body, errors_of, model_in_path, route,
    route_among, stream_error_event, with_usage,
};
use policy_compiler::redact::{
    Coverage, Framing, MaskPlan, RedactError, StreamOutput, StreamRedactor, redact_answer, redact_answer_as,
    redact_request, redact_request_as,
};
use policy_lang::{BodyView as _, JsonPath, Mask, Matcher, PathSegment, Selector, Side, Transform};

fn mask(side: Side, selector: Selector) -> Mask {
    let matchers = ["credit_card", "email", "phone", "us_ssn"].map(|name| Matcher::Detector(name.to_owned())).to_vec();
    Mask { side, record_only: false, selector, matchers, transform: Transform::Label }
}

fn plan(side: Side) -> MaskPlan {
    MaskPlan::new(side, [("rule", &mask(side, Selector::Text))]).unwrap()
}

fn request(operation: Operation, body: &str) -> String {
    let redacted = redact_request(operation, &plan(Side::Request), body.as_bytes()).unwrap();
    String::from_utf8(redacted.body.into_owned()).unwrap()
}

fn answer(operation: Operation, body: &str) -> String {
    let (redacted, _) = redact_answer(operation, &plan(Side::Response), body.as_bytes()).unwrap();
    String::from_utf8(redacted.body.into_owned()).unwrap()
}

fn stream(operation: Operation, events: &str) -> String {
    let mut redactor = StreamRedactor::new(operation, plan(Side::Response), 1);
    let mut out = StreamOutput::default();
    for piece in events.as_bytes().chunks(5) {
        redactor.push(piece, &mut out).unwrap();
    }
    redactor.finish(&mut out).unwrap();
    String::from_utf8([out.ready, b"---\n".to_vec(), out.held].concat()).unwrap()
}

#[test]
fn routes_of_every_api() {
    for (method, path, endpoint) in [
        ("POST", "/v1/responses", "/v1/responses"),
        ("GET", "/v1/responses/resp_1/input_items?limit=2", "/v1/responses/{id}/input_items"),
        ("POST", "/v1/responses/input_tokens", "/v1/responses/input_tokens"),
        ("GET", "/v1/files/f/content", "/v1/files/{id}/content"),
        ("POST", "/v1/messages/count_tokens", "/v1/messages/count_tokens"),
        ("GET", "/v1/messages/batches/b/results", "/v1/messages/batches/{id}/results"),
        ("POST", "//generate_stream/", "/generate_stream"),
        ("POST", "/", "/"),
        ("POST", "/v2/models/bert/versions/3/infer", "/v2/models/{model}/versions/{id}/infer"),
        ("POST", "/v2/repository/models/bert/load", "/v2/repository/models/{model}/load"),
        ("GET", "/v1/models/llama", "/v1/models/{model}"),
    ] {
        assert_eq!(route(method, path).map(Operation::endpoint), Some(endpoint), "{method} {path}");
    }
    for (method, path) in
        [("POST", "/tokenize"), ("POST", "/invocations"), ("GET", "/v1/files/a/b"), ("POST", "/v2/models/a/x/infer")]
    {
        assert_eq!(route(method, path), None, "{method} {path}");
    }
    let infer = route("POST", "/v2/models/bert/infer").unwrap();
    assert_eq!(model_in_path(infer, "/v2/models/bert/infer").as_deref(), Some("bert"));
    assert_eq!((infer.dialect(), infer.errors()), ("kserve", ErrorShape::KServe));
    assert_eq!(errors_of("/v1/messages"), ErrorShape::Anthropic);
}

#[test]
fn errors_of_every_api() {
    let of = |shape| {
        let body = error_body(shape, ErrorKind::Forbidden, "denied_by_policy", "No.");
        let event = stream_error_event(shape, ErrorKind::Upstream, "cannot_mask", "Cut.");
        format!("{}\n{}", String::from_utf8(body).unwrap(), String::from_utf8(event).unwrap())
    };
    insta::assert_snapshot!(of(ErrorShape::OpenAiResponses), @r#"
    {"error":{"message":"No.","type":"permission_error","param":null,"code":"denied_by_policy"}}
    event: error
    data: {"type":"error","code":"cannot_mask","message":"Cut.","param":null}
    "#);
    insta::assert_snapshot!(of(ErrorShape::Anthropic), @r#"
    {"type":"error","error":{"type":"permission_error","message":"No."}}
    event: error
    data: {"type":"error","error":{"type":"api_error","message":"Cut."}}
    "#);
    insta::assert_snapshot!(of(ErrorShape::Tgi), @r#"
    {"error":"No.","error_type":"validation"}
    data: {"error":"Cut.","error_type":"generation"}
    "#);
    insta::assert_snapshot!(of(ErrorShape::KServe), @r#"
    {"error":"No."}
    data: {"error":"Cut."}
    "#);
}

#[test]
fn responses_requests() {
    insta::assert_snapshot!(request(Operation::Responses, r#"{"model":"m","instructions":"536-22-8145","input":[
        {"role":"user","content":[{"type":"input_text","text":"536-22-8145"},{"type":"input_image","image_url":"536-22-8145"}]},
        {"type":"function_call","call_id":"536-22-8145","name":"f","arguments":"{\"a\":\"536-22-8145\"}"},
        {"type":"function_call_output","call_id":"c","output":"536-22-8145"},
        {"type":"custom_tool_call_output","output":[{"type":"input_text","text":"536-22-8145"}]},
        {"type":"reasoning","summary":[{"type":"summary_text","text":"536-22-8145"}],"encrypted_content":"536-22-8145"},
        {"type":"item_reference","id":"msg_1"}],
        "prompt":{"id":"p","variables":{"v":"536-22-8145"}},"previous_response_id":"resp_1","unknown":"536-22-8145"}"#), @r#"
    {"model":"m","instructions":"[US_SSN]","input":[
            {"role":"user","content":[{"type":"input_text","text":"[US_SSN]"},{"type":"input_image","image_url":"536-22-8145"}]},
            {"type":"function_call","call_id":"536-22-8145","name":"f","arguments":"{\"a\":\"[US_SSN]\"}"},
            {"type":"function_call_output","call_id":"c","output":"[US_SSN]"},
            {"type":"custom_tool_call_output","output":[{"type":"input_text","text":"[US_SSN]"}]},
            {"type":"reasoning","summary":[{"type":"summary_text","text":"[US_SSN]"}],"encrypted_content":"536-22-8145"},
            {"type":"item_reference","id":"msg_1"}],
            "prompt":{"id":"p","variables":{"v":"[US_SSN]"}},"previous_response_id":"resp_1","unknown":"536-22-8145"}
    "#);
    let body = br#"{"input":[{"type":"item_reference","id":"m"},{"type":"message","content":[{"type":"input_file","file_id":"f"}]}],"previous_response_id":"r"}"#;
    let coverage = redact_request(Operation::Responses, &plan(Side::Request), body).unwrap().coverage;
    let references: Vec<_> = coverage
        .iter()
        .filter(|known| known.coverage == Coverage::ByReference)
        .map(|known| known.channel.as_str())
        .collect();
    assert_eq!(references, ["input[0].id", "input[1].content[0].file_id", "previous_response_id"]);
}

#[test]
fn responses_answers_lose_what_masking_makes_wrong() {
    let body = r#"{"output":[{"type":"message","content":[{"type":"output_text","text":"TEXT","logprobs":[{"token":"5"}],
        "annotations":[{"type":"url_citation","start_index":4,"end_index":15,"title":"t","url":"u"}]}]},
        {"type":"message","content":[{"type":"output_text","text":"fine","logprobs":[{"token":"fine"}]}]}]}"#;
    let masked = answer(Operation::Responses, &body.replace("TEXT", "SSN 536-22-8145"));
    assert!(masked.contains(r#""text":"SSN [US_SSN]","logprobs":[],"#), "{masked}");
    assert!(masked.contains(r#""start_index":0,"end_index":0"#), "{masked}");
    assert!(masked.contains(r#""text":"fine","logprobs":[{"token":"fine"}]"#), "another item's stay: {masked}");
    // Nothing found, nothing changed.
    assert_eq!(answer(Operation::Responses, &body.replace("TEXT", "nothing")), body.replace("TEXT", "nothing"));
}

#[test]
fn responses_streams_repeat_the_masked_text_and_number_on() {
    let at = r#""item_id":"i","output_index":0,"content_index":0"#;
    let events = [
        format!(r#"{{"type":"response.output_text.delta","sequence_number":4,{at},"delta":"note 536-22","logprobs":[{{"token":"536"}}]}}"#),
        format!(r#"{{"type":"response.output_text.delta","sequence_number":5,{at},"delta":"-8145","logprobs":[{{"token":"-8145"}}]}}"#),
        format!(r#"{{"type":"response.output_text.done","sequence_number":6,{at},"text":"note 536-22-8145","logprobs":[]}}"#),
        r#"{"type":"response.completed","sequence_number":7,"response":{"status":"completed","output":[{"content":[{"type":"output_text","text":"note 536-22-8145"}]}],"usage":{"input_tokens":3,"output_tokens":4,"total_tokens":7}}}"#.to_owned(),
    ]
    .map(|data| {
        let name = data.split('"').nth(3).unwrap().to_owned();
        format!("event: {name}\ndata: {data}\n\n")
    });
    insta::assert_snapshot!(stream(Operation::Responses, &events.concat()), @r#"
    event: response.output_text.delta
    data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"i","output_index":0,"content_index":0,"delta":"note ","logprobs":[]}

    event: response.output_text.delta
    data: {"type":"response.output_text.delta","sequence_number":5,"item_id":"i","output_index":0,"content_index":0,"delta":"","logprobs":[]}

    event: response.output_text.delta
    data: {"type":"response.output_text.delta","sequence_number":6,"item_id":"i","output_index":0,"content_index":0,"delta":"[US_SSN]","logprobs":[]}

    event: response.output_text.done
    data: {"type":"response.output_text.done","sequence_number":7,"item_id":"i","output_index":0,"content_index":0,"text":"note [US_SSN]","logprobs":[]}

    ---
    event: response.completed
    data: {"type":"response.completed","sequence_number":8,"response":{"status":"completed","output":[{"content":[{"type":"output_text","text":"note [US_SSN]"}]}],"usage":{"input_tokens":3,"output_tokens":4,"total_tokens":7}}}
    "#);
    let mut redactor = StreamRedactor::new(Operation::Responses, plan(Side::Response), 1);
    let mut out = StreamOutput::default();
    redactor.push(events.concat().as_bytes(), &mut out).unwrap();
    assert_eq!(redactor.hits().len(), 1, "what repeats a text repeats no hit: {:?}", redactor.hits());
    assert_eq!(redactor.hits()[0].pointer, "/output/0/content/0/text");
    assert_eq!(redactor.info().usage.unwrap().total, 7);
    // A piece of a text that this version does not know cannot be looked at.
    let new = b"data: {\"type\":\"response.new_text.delta\",\"delta\":\"536\"}\n\n";
    assert_eq!(redactor.push(new, &mut out), Err(RedactError::UnknownPiece));
}

#[test]
fn items_without_numbers_are_told_apart_by_their_ids() {
    let event = |name: &str, rest: &str| format!("data: {{\"type\":\"response.{name}\"{rest}}}\n\n");
    let call = |id: &str| {
        event("function_call_arguments.delta", &format!(r#","item_id":"{id}","delta":"\"536-22-""#))
            + &event("function_call_arguments.delta", &format!(r#","item_id":"{id}","delta":"8145\"""#))
            + &event("output_item.done", &format!(r#","item":{{"id":"{id}","arguments":"\"536-22-8145\""}}"#))
    };
    let masked = stream(Operation::Responses, &(call("a") + &call("b")));
    assert_eq!(masked.matches("[US_SSN]").count(), 4, "{masked}");
    assert!(!masked.contains("8145"), "{masked}");
}

#[test]
fn the_recorded_copy_has_nothing_that_could_not_be_masked() {
    let recorded = MaskPlan::recorded(Side::Response, []).unwrap();
    let mut redactor = StreamRedactor::new(Operation::Responses, recorded.clone(), 1);
    let mut out = StreamOutput::default();
    for piece in ["4111 1111 ", "1111 1111"] {
        let event = format!("event: x\ndata: {{\"type\":\"response.new_text.delta\",\"delta\":\"{piece}\"}}\n\n");
        redactor.push(event.as_bytes(), &mut out).unwrap();
    }
    assert_eq!(String::from_utf8(out.ready).unwrap(), "event: x\ndata: {\"type\":\"unscannable\"}\n\n".repeat(2));
    // An operation that has no streamed form streams all the same.
    let mut redactor = StreamRedactor::new(Operation::Embeddings, recorded, 1);
    let mut out = StreamOutput::default();
    redactor.push(b"data: {\"x\":\"4111\"}\n\n", &mut out).unwrap();
    assert!(!String::from_utf8(out.ready).unwrap().contains("4111"));
    let form = BodyForm::Form { boundary: "b".to_owned() };
    let body = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\n4111 1111 1111 1111\r\n--b--\r\n";
    let recorded = MaskPlan::recorded(Side::Request, []).unwrap();
    let copy = redact_request_as(Operation::UploadFile, &form, &recorded, body).unwrap();
    assert!(String::from_utf8_lossy(&copy.body).contains("\r\n[CREDIT_CARD]\r\n"));
}

#[test]
fn two_channels_of_one_event_do_not_repeat_each_other() {
    let at = r#""type":"response.shell_call_output_content.delta","output_index":0,"command_index":1"#;
    let events = format!(
        "data: {{{at},\"sequence_number\":1,\"delta\":{{\"stdout\":\"536-22-8145\",\"stderr\":\"bob@example.com\"}}}}\n\ndata: {{\"type\":\"response.shell_call_output_content.done\",\"output_index\":0,\"command_index\":1,\"sequence_number\":2,\"output\":[{{\"stdout\":\"536-22-8145\",\"stderr\":\"bob@example.com\"}}]}}\n\n"
    );
    let masked = stream(Operation::Responses, &events);
    let counts = ["[US_SSN]", "[EMAIL]"].map(|label| masked.matches(label).count());
    assert_eq!(counts, [2, 2], "{masked}");
    assert!(masked.contains("\"sequence_number\":4"), "{masked}");
}

#[test]
fn anthropic_requests() {
    insta::assert_snapshot!(request(Operation::Messages, r#"{"system":[{"type":"text","text":"536-22-8145","cache_control":{"type":"ephemeral"}}],"messages":[
        {"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"536-22-8145"}},
          {"type":"document","source":{"type":"text","media_type":"text/plain","data":"536-22-8145"},"title":"536-22-8145"}]},
        {"role":"assistant","content":[{"type":"thinking","thinking":"536-22-8145","signature":"s"},{"type":"thinking","thinking":"hm","signature":"s"},
          {"type":"tool_use","id":"t","name":"f","input":{"ssn":"536-22-8145","n":4111111111111111,"a@b.co":1}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"536-22-8145"}]}]}],
        "tools":[{"name":"f","description":"536-22-8145","input_schema":{"properties":{"x":{"description":"536-22-8145"}}}}],
        "metadata":{"user_id":"536-22-8145"}}"#), @r#"
    {"system":[{"type":"text","text":"[US_SSN]","cache_control":{"type":"ephemeral"}}],"messages":[
            {"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"536-22-8145"}},
              {"type":"document","source":{"type":"text","media_type":"text/plain","data":"[US_SSN]"},"title":"[US_SSN]"}]},
            {"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"s"},
              {"type":"tool_use","id":"t","name":"f","input":{"ssn":"[US_SSN]","n":"[CREDIT_CARD]","[EMAIL]":1}}]},
            {"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"[US_SSN]"}]}]}],
            "tools":[{"name":"f","description":"[US_SSN]","input_schema":{"properties":{"x":{"description":"[US_SSN]"}}}}],
            "metadata":{"user_id":"[US_SSN]"}}
    "#);
}

#[test]
fn a_signed_block_that_was_masked_goes() {
    let body = |a: &str, b: &str, c: &str| {
        let block = |text: &str| format!(r#"{{"type":"thinking","thinking":"{text}","signature":"s"}}"#);
        format!(r#"{{"content":[{}, {}, {}]}}"#, block(a), block(b), block(c))
    };
    let ssn = "536-22-8145";
    let kept = |kept: &[&str]| {
        let blocks: Vec<String> =
            kept.iter().map(|text| format!(r#"{{"type":"thinking","thinking":"{text}","signature":"s"}}"#)).collect();
        format!(r#"{{"content":[{}]}}"#, blocks.join(", "))
    };
    for (a, b, c, expected) in [
        (ssn, "b", "c", vec!["b", "c"]),
        ("a", ssn, "c", vec!["a", "c"]),
        ("a", "b", ssn, vec!["a", "b"]),
        ("a", ssn, ssn, vec!["a"]),
        (ssn, "b", ssn, vec!["b"]),
        (ssn, ssn, ssn, vec![]),
    ] {
        assert_eq!(answer(Operation::Messages, &body(a, b, c)), kept(&expected));
    }
}

#[test]
fn anthropic_streams() {
    let event = |name: &str, rest: &str| format!("event: {name}\ndata: {{\"type\":\"{name}\"{rest}}}\n\n");
    let events = [
        event(
            "message_start",
            r#","message":{"id":"m","model":"claude","content":[],"usage":{"input_tokens":9,"output_tokens":1}}"#,
        ),
        event("content_block_start", r#","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}"#),
        event("content_block_delta", r#","index":0,"delta":{"type":"thinking_delta","thinking":"536-22-"}"#),
        event("content_block_delta", r#","index":0,"delta":{"type":"thinking_delta","thinking":"8145 hm"}"#),
        event("content_block_delta", r#","index":0,"delta":{"type":"signature_delta","signature":"sig"}"#),
        event("content_block_stop", r#","index":0"#),
        event(
            "content_block_start",
            r#","index":1,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}"#,
        ),
        event(
            "content_block_delta",
            r#","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"to\": \"bob@exam"}"#,
        ),
        event("content_block_delta", r#","index":1,"delta":{"type":"input_json_delta","partial_json":"ple.com\"}"}"#),
        event("content_block_stop", r#","index":1"#),
        event("message_delta", r#","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":22}"#),
        event("message_stop", ""),
    ]
    .concat();
    insta::assert_snapshot!(stream(Operation::Messages, &events));
    let mut redactor = StreamRedactor::new(Operation::Messages, plan(Side::Response), 1);
    redactor.push(events.as_bytes(), &mut StreamOutput::default()).unwrap();
    let info = redactor.info();
    assert_eq!((info.model.as_deref(), info.finish_reason.as_deref()), (Some("claude"), Some("tool_use")));
    let usage = info.usage.unwrap();
    assert_eq!((usage.prompt, usage.completion), (9, 22));
}

#[test]
fn tgi() {
    assert_eq!(
        request(Operation::TgiRoot, r#"{"inputs":"536-22-8145","parameters":{"stop":["536-22-8145"]}}"#),
        r#"{"inputs":"[US_SSN]","parameters":{"stop":["[US_SSN]"]}}"#
    );
    let body = r#"{"generated_text":"536-22-8145","details":{"finish_reason":"length","generated_tokens":3,"prefill":[{"id":1,"text":"x"}],"tokens":[{"id":5,"text":"536"}]}}"#;
    assert_eq!(
        answer(Operation::TgiGenerate, body),
        r#"{"generated_text":"[US_SSN]","details":{"finish_reason":"length","generated_tokens":3,"prefill":[],"tokens":[]}}"#
    );
    assert_eq!(
        answer(Operation::TgiRoot, r#"[{"generated_text":"536-22-8145"}]"#),
        r#"[{"generated_text":"[US_SSN]"}]"#
    );
    let events = [
        r#"{"index":1,"token":{"id":5,"text":"536-","special":false},"top_tokens":[{"id":6,"text":"777"}],"generated_text":null}"#,
        r#"{"index":2,"token":{"id":9,"text":"22-8145","special":false},"generated_text":null}"#,
        r#"{"index":3,"token":{"id":2,"text":"</s>","special":true},"generated_text":"536-22-8145","details":{"finish_reason":"eos_token","generated_tokens":3}}"#,
    ]
    .map(|data| format!("data:{data}\n\n"))
    .concat();
    insta::assert_snapshot!(stream(Operation::TgiGenerateStream, &events), @r#"
    data:{"index":1,"token":{"id":0,"text":"","special":false},"top_tokens":[],"generated_text":null}

    data:{"index":2,"token":{"id":0,"text":"","special":false},"generated_text":null}

    data: {"token":{"text":"[US_SSN]"}}

    ---
    data:{"index":3,"token":{"id":0,"text":"</s>","special":true},"generated_text":"[US_SSN]","details":{"finish_reason":"eos_token","generated_tokens":3}}
    "#);
}

/// A KServe body with a binary tail.
fn tensors(json: &str, tail: &[u8]) -> (Vec<u8>, BodyForm) {
    ([json.as_bytes(), tail].concat(), BodyForm::Tensors { json_bytes: json.len() })
}

fn element(text: &str) -> Vec<u8> {
    [&u32::try_from(text.len()).unwrap().to_le_bytes()[..], text.as_bytes()].concat()
}

#[test]
fn kserve_tensors() {
    let json = r#"{"id":"1","inputs":[{"name":"t","shape":[2],"datatype":"BYTES","data":["536-22-8145",["x"]]},
        {"name":"n","shape":[1],"datatype":"INT64","data":[4111111111111111]}]}"#;
    let masked = request(Operation::KServeInfer, json);
    assert!(masked.contains(r#"["[US_SSN]",["x"]]"#) && masked.contains("[4111111111111111]"), "{masked}");

    let text = [element("SSN 536-22-8145"), element("fine")].concat();
    let numbers = [1, 2, 3, 4];
    let header = format!(
        r#"{{"inputs":[{{"name":"t","datatype":"BYTES","shape":[2],"parameters":{{"binary_data_size":{}}}}},{{"name":"n","datatype":"INT32","shape":[1],"parameters":{{"binary_data_size":4}}}}]}}"#,
        text.len()
    );
    let (body, form) = tensors(&header, &[&text[..], &numbers].concat());
    let redacted = redact_request_as(Operation::KServeInfer, &form, &plan(Side::Request), &body).unwrap();
    let new_text = [element("SSN [US_SSN]"), element("fine")].concat();
    let new_header = header.replace(&format!(":{}}}", text.len()), &format!(":{}}}", new_text.len()));
    assert_eq!(redacted.body, [new_header.as_bytes(), &new_text, &numbers].concat());
    assert_eq!(redacted.json_bytes, Some(new_header.len()));
    assert_eq!(redacted.hits[0].pointer, "/inputs/0/data/0");
    let read = Request::parse(Operation::KServeInfer, &form, &body).unwrap();
    assert_eq!(read.texts().unwrap(), ["SSN 536-22-8145", "fine"]);
    // What fits no tensor, and memory that never passes here.
    for broken in [&body[..body.len() - 1], &[&body[..], b"x"].concat()] {
        assert!(redact_request_as(Operation::KServeInfer, &form, &plan(Side::Request), broken).is_err());
    }
    let shared = br#"{"inputs":[{"name":"t","datatype":"BYTES","parameters":{"shared_memory_region":"r"}}]}"#;
    let hidden = redact_request(Operation::KServeInfer, &plan(Side::Request), shared).unwrap_err();
    assert_eq!(hidden, RedactError::Hidden);
    assert!(Request::parse(Operation::KServeInfer, &BodyForm::Json, shared).unwrap().texts().is_err());

    assert_eq!(
        request(Operation::KServeGenerate, r#"{"text_input":"536-22-8145","other":{"x":"536-22-8145"},"id":"1"}"#),
        r#"{"text_input":"[US_SSN]","other":{"x":"[US_SSN]"},"id":"1"}"#
    );
    let events = "data: {\"model_name\":\"m\",\"text_output\":\"536-\"}\n\ndata: {\"text_output\":\"22-8145\"}\n\n";
    let masked = stream(Operation::KServeGenerateStream, events);
    assert!(masked.ends_with("data: {\"model_name\":\"m\",\"text_output\":\"[US_SSN]\"}\n\n"), "{masked}");
}

#[test]
fn token_ids_and_echoes_of_completions() {
    let request = |prompt: &str| {
        let body = format!(r#"{{"prompt":{prompt}}}"#);
        let redacted = redact_request(Operation::Completions, &plan(Side::Request), body.as_bytes());
        redacted.map(|redacted| String::from_utf8(redacted.body.into_owned()).unwrap())
    };
    assert_eq!(request(r#"["a","536-22-8145"]"#).unwrap(), r#"{"prompt":["a","[US_SSN]"]}"#);
    assert_eq!(request("[1,2]"), Err(RedactError::Hidden));
    assert_eq!(request("[[1],[2]]"), Err(RedactError::Hidden));
    let body = r#"{"choices":[{"index":0,"text":"TEXT","logprobs":{"tokens":["a"],"text_offset":[0],"top_logprobs":[{"a":-1}]},"token_ids":[1,2],"prompt_logprobs":[null,{"1":{"decoded_token":"x"}}]}]}"#;
    let masked = answer(Operation::Completions, &body.replace("TEXT", "536-22-8145"));
    assert_eq!(
        masked,
        r#"{"choices":[{"index":0,"text":"[US_SSN]","logprobs":null,"token_ids":[],"prompt_logprobs":[]}]}"#
    );
    let kept = answer(Operation::Completions, body);
    assert!(kept.contains(r#""tokens":["a"]"#) && kept.contains(r#""prompt_logprobs":[]"#), "{kept}");
}

#[test]
fn streamed_logprobs_stay_while_nothing_is_held() {
    let event = |text: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"logprobs\":{{\"content\":[{{\"token\":\"{text}\",\"bytes\":[1]}}]}}}}]}}\n\n"
        )
    };
    let masked =
        stream(Operation::ChatCompletions, &(event("the ") + &event("536-") + &event("22") + &event(" apples ")));
    assert!(masked.starts_with(&event("the ")), "{masked}");
    assert_eq!(masked.matches(r#""logprobs":null"#).count(), 3, "{masked}");
    assert!(!masked.contains(r#""token":"536-""#) && !masked.contains(r#""token":"22""#), "{masked}");
}

#[test]
fn forms_and_batches() {
    let part =
        |head: &str, content: &str| format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n");
    let form = BodyForm::Form { boundary: "b".to_owned() };
    let body = part("name=\"model\"", "whisper")
        + &part("name=\"prompt\"", "536-22-8145")
        + &part("name=\"file\"; filename=\"a.wav\"", "536-22-8145")
        + "--b--\r\n";
    let redacted = redact_request_as(Operation::Transcriptions, &form, &plan(Side::Request), body.as_bytes()).unwrap();
    let expected = body.replacen("536-22-8145", "[US_SSN]", 1);
    assert_eq!(String::from_utf8(redacted.body.into_owned()).unwrap(), expected);
    let read = Request::parse(Operation::Transcriptions, &form, body.as_bytes()).unwrap();
    assert_eq!((read.model(), read.opaque()), ("whisper", &["file".to_owned()][..]));

    let line = |id: u32, model: &str, text: &str| {
        format!(
            r#"{{"custom_id":"{id}","method":"POST","url":"/v1/chat/completions","body":{{"model":"{model}","messages":[{{"role":"user","content":"{text}"}}]}}}}"#
        )
    };
    let lines = [line(1, "m", "536-22-8145"), line(2, "m", "fine")].join("\n");
    let upload = |lines: &str| {
        part("name=\"purpose\"", "batch") + &part("name=\"file\"; filename=\"b.jsonl\"", lines) + "--b--\r\n"
    };
    let body = upload(&lines);
    let redacted = redact_request_as(Operation::UploadFile, &form, &plan(Side::Request), body.as_bytes()).unwrap();
    assert_eq!(redacted.hits[0].pointer, "/file/0/body/messages/0/content");
    assert_eq!(String::from_utf8(redacted.body.into_owned()).unwrap(), body.replace("536-22-8145", "[US_SSN]"));
    let read = Request::parse(Operation::UploadFile, &form, body.as_bytes()).unwrap();
    assert_eq!((read.lines().len(), read.model(), read.texts().unwrap().len()), (2, "m", 2));
    for bad in [
        [line(1, "m", "a"), line(2, "other", "b")].join("\n"),
        line(1, "m", "a").replace("/v1/chat/completions", "/update_weights"),
        "{}".to_owned(),
        "no json".to_owned(),
    ] {
        assert!(Request::parse(Operation::UploadFile, &form, upload(&bad).as_bytes()).is_err(), "{bad}");
    }

    let results = r#"{"id":"1","custom_id":"1","response":{"status_code":200,"body":{"object":"chat.completion","choices":[{"message":{"content":"536-22-8145"}}]}},"error":null}
{"custom_id":"2","result":{"type":"succeeded","message":{"content":[{"type":"text","text":"536-22-8145"}]}}}
"#;
    let (redacted, _) =
        redact_answer_as(Operation::GetFileContent, &BodyForm::Lines, &plan(Side::Response), results.as_bytes())
            .unwrap();
    assert_eq!(String::from_utf8(redacted.body.into_owned()).unwrap(), results.replace("536-22-8145", "[US_SSN]"));
    assert_eq!(redacted.hits[0].pointer, "/0/body/choices/0/message/content");
    // Lines of a kind that nobody knows hide nothing.
    let unknown =
        redact_answer_as(Operation::GetFileContent, &BodyForm::Lines, &plan(Side::Response), b"{\"x\":\"y\"}");
    assert_eq!(unknown.unwrap_err(), RedactError::Hidden);
}

#[test]
fn batches_of_messages_are_requests_of_their_own() {
    let batch = |second: &str| {
        format!(
            r#"{{"requests":[{{"custom_id":"1","params":{{"model":"m","messages":[{{"role":"user","content":"536-22-8145"}}]}}}},{{"custom_id":"2","params":{{"model":"{second}"}}}}]}}"#
        )
    };
    let body = batch("m");
    let read = Request::parse(Operation::MessageBatches, &BodyForm::Json, body.as_bytes()).unwrap();
    assert_eq!((read.lines().len(), read.model(), read.texts().unwrap().len()), (2, "m", 1));
    assert_eq!(read.lines()[0].operation, Operation::Messages);
    assert!(Request::parse(Operation::MessageBatches, &BodyForm::Json, batch("other").as_bytes()).is_err());
    assert_eq!(request(Operation::MessageBatches, &body), body.replace("536-22-8145", "[US_SSN]"));
    // `n` and `model` mean something else elsewhere.
    let tensors = br#"{"text_input":"a","n":"x","model":5}"#;
    let read = Request::parse(Operation::KServeGenerate, &BodyForm::Json, tensors).unwrap();
    assert_eq!((read.model(), read.choices()), ("", 1));
}

#[test]
fn read_back_routes_and_transcripts() {
    let items = r#"{"object":"list","data":[{"type":"message","id":"m","content":[{"type":"input_text","text":"536-22-8145"}]}]}"#;
    assert_eq!(answer(Operation::GetResponseInput, items), items.replace("536-22-8145", "[US_SSN]"));
    assert_eq!(answer(Operation::GetConversationItems, items), items.replace("536-22-8145", "[US_SSN]"));
    let messages = r#"{"object":"list","data":[{"id":"m","role":"user","content":"536-22-8145"}]}"#;
    assert_eq!(answer(Operation::GetChatMessages, messages), messages.replace("536-22-8145", "[US_SSN]"));
    let transcript =
        r#"{"text":"note 536-22-8145","segments":[{"text":"note 536-"},{"text":"22-8145"}],"words":[{"word":"note"}]}"#;
    assert_eq!(answer(Operation::Transcriptions, transcript), r#"{"text":"note [US_SSN]","segments":[],"words":[]}"#);
    let subtitles = b"WEBVTT\n\n00:00.000 --> 00:01.000\n536-22-8145\n";
    let form = BodyForm::of_answer(Operation::Transcriptions, "text/vtt; charset=utf-8", None).unwrap();
    let (redacted, _) = redact_answer_as(Operation::Transcriptions, &form, &plan(Side::Response), subtitles).unwrap();
    assert_eq!(redacted.body.as_ref(), b"WEBVTT\n\n00:00.000 --> 00:01.000\n[US_SSN]\n");
    assert!(BodyForm::of_answer(Operation::ChatCompletions, "text/html", None).is_err());
    for operation in [Operation::Embeddings, Operation::Rerank, Operation::Score] {
        let body = r#"{"input":["536-22-8145"],"query":"536-22-8145","documents":["536-22-8145",{"text":"536-22-8145"}],"text_1":"536-22-8145"}"#;
        let masked = request(operation, body);
        let expected = if operation == Operation::Embeddings { 1 } else { 4 };
        assert_eq!(masked.matches("[US_SSN]").count(), expected, "{masked}");
    }
}

#[test]
fn usage_is_asked_for_and_taken_out_again() {
    let with = |body: &str| {
        with_usage(Operation::ChatCompletions, body.as_bytes()).unwrap().map(|body| String::from_utf8(body).unwrap())
    };
    for (body, expected) in [
        (r#"{"stream":true}"#, Some(r#"{"stream_options":{"include_usage":true},"stream":true}"#)),
        (
            r#"{ "stream":true,"stream_options":null}"#,
            Some(r#"{ "stream":true,"stream_options":{"include_usage":true}}"#),
        ),
        (r#"{"stream":true,"stream_options":{}}"#, Some(r#"{"stream":true,"stream_options":{"include_usage":true}}"#)),
        (
            r#"{"stream":true,"stream_options":{"x":1}}"#,
            Some(r#"{"stream":true,"stream_options":{"include_usage":true,"x":1}}"#),
        ),
        (
            r#"{"stream":true,"stream_options":{"include_usage":false}}"#,
            Some(r#"{"stream":true,"stream_options":{"include_usage":true}}"#),
        ),
        (r#"{"stream":true,"stream_options":{"include_usage":true}}"#, None),
        (r#"{"stream":false}"#, None),
    ] {
        assert_eq!(with(body).as_deref(), expected);
    }
    let events = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}\n\ndata: [DONE]\n\n";
    for plan in [plan(Side::Response), MaskPlan::empty(Side::Response)] {
        let mut redactor = StreamRedactor::new(Operation::ChatCompletions, plan, 1).without_usage();
        let mut out = StreamOutput::default();
        redactor.push(events.as_bytes(), &mut out).unwrap();
        assert_eq!(redactor.info().usage.unwrap().total, 3);
        let sent = String::from_utf8([out.ready, out.held].concat()).unwrap();
        assert!(!sent.contains("usage") && sent.ends_with("data: [DONE]\n\n"), "{sent}");
    }
}

#[test]
fn a_configured_api() {
    let route = CustomRoute {
        method: "POST".to_owned(),
        path: "/api/{model}/predict".to_owned(),
        request_text: vec!["$.instances[*].note".to_owned(), "$.extra..*".to_owned()],
        response_text: vec!["$.predictions[*].text".to_owned()],
        stream_text: vec!["$.outputs[*].chunk".to_owned()],
        output_tokens: Some("$.meta.tokens".to_owned()),
        ..CustomRoute::default()
    };
    let operation = route.operation().unwrap();
    assert_eq!(route_among(&[operation], "POST", "/api/bert/predict"), Some(operation));
    assert_eq!(model_in_path(operation, "/api/bert/predict").as_deref(), Some("bert"));
    assert_eq!(
        request(
            operation,
            r#"{"instances":[{"note":"536-22-8145","id":"536-22-8145"}],"extra":{"a":["536-22-8145"]}}"#
        ),
        r#"{"instances":[{"note":"[US_SSN]","id":"536-22-8145"}],"extra":{"a":["[US_SSN]"]}}"#
    );
    let body = br#"{"predictions":[{"text":"536-22-8145"}],"meta":{"tokens":4}}"#;
    let (redacted, info) = redact_answer(operation, &plan(Side::Response), body).unwrap();
    assert_eq!(redacted.body.as_ref(), br#"{"predictions":[{"text":"[US_SSN]"}],"meta":{"tokens":4}}"#);
    assert_eq!((redacted.hits[0].pointer.as_str(), info.usage.unwrap().completion), ("/predictions/0/text", 4));
    // One JSON text per line.
    let mut redactor = StreamRedactor::new(operation, plan(Side::Response), 1).framed(Framing::Lines);
    let mut out = StreamOutput::default();
    for piece in b"{\"outputs\":[{\"chunk\":\"536-22\"}]}\r\n\n{\"outputs\":[{\"chunk\":\"-8145\"}]}".chunks(3) {
        redactor.push(piece, &mut out).unwrap();
    }
    redactor.finish(&mut out).unwrap();
    assert_eq!(
        String::from_utf8([out.ready, out.held].concat()).unwrap(),
        "{\"outputs\":[{\"chunk\":\"\"}]}\r\n\n{\"outputs\":[{\"chunk\":\"[US_SSN]\"}]}"
    );
    // The paths of a policy lead to its channels.
    let segments = ["predictions", "*", "text"].map(|part| match part {
        "*" => PathSegment::Wildcard,
        name => PathSegment::Key(name.to_owned()),
    });
    let path = Selector::Path(JsonPath { segments: segments.to_vec() });
    let by_path = MaskPlan::new(Side::Response, [("r", &mask(Side::Response, path))]).unwrap();
    assert_eq!(by_path.stream_unmappable(operation), None);
    assert_eq!(by_path.stream_unmappable(Operation::ChatCompletions), Some("r"));
    for (place, path, stream_text) in [
        ("x", "/a", "$.s"),
        ("$.a[0]", "/a", "$.s"),
        ("$", "/a", "$.s"),
        ("$.a", "a/", "$.s"),
        ("$.a", "/a/../b", "$.s"),
    ] {
        let bad = CustomRoute {
            path: path.to_owned(),
            response_text: vec![place.to_owned()],
            stream_text: vec![stream_text.to_owned()],
            ..CustomRoute::default()
        };
        assert!(bad.operation().is_err(), "{place} {path}");
    }
}
