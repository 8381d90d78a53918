//! Rules about answers through the real binary: whole answers, streams, streams that are held.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Answer, Client, chat_body, chat_request, sallyport, stream_text};
use crate::dialects::{House, answer, chunked, house_with};

const POLICY: &str = r#"
policy "answers" version 1
rule access.apps { when identity in group("ml-apps") allow }
rule leak.key { when response.text contains "BEGIN PRIVATE KEY" deny "The answer held a key." status 451 }
rule leak.ssn { when response.text finds detect(us_ssn) and request.text contains "strict" deny "The answer held a number." hold }
rule leak.long { when response.tokens is present and response.tokens > 100 deny "The answer is too long." }
rule leak.unanswered { when model == "must-stop" unless response.finish_reason is present and response.finish_reason == "stop" deny "The answer has no end." }
rule fail.hidden { when response.status >= 500 deny "The model server is not well." }
rule data.teapot { when response.status == 418 mask response text with /kettle/ as label }
rule path.only { when model == "by-path" and response $.system_fingerprint is present deny "Fingerprints stay here." }
rule quiet { when model == "quiet" record at most metadata }
rule quiet.not { when model == "quiet" and response.text contains "interesting" record at least full }
"#;

/// Answers with what the request's text says: `status|usage|finish|piece|piece…`.
fn puppet(request: &[u8]) -> Vec<u8> {
    let at = memchr::memmem::find(request, b"\r\n\r\n").unwrap() + 4;
    let Ok(body) = serde_json::from_slice::<Value>(&request[at..]) else {
        return answer("", b"");
    };
    let said = body["messages"][0]["content"].as_str().unwrap();
    let mut parts = said.split('|');
    let (status, tokens, finish) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let usage = json!({ "prompt_tokens": 1, "completion_tokens": tokens.parse::<u64>().unwrap(), "total_tokens": 9 });
    let finish = (!finish.is_empty()).then_some(finish);
    if body["stream"] != true {
        let text: String = parts.collect();
        let choice =
            json!({ "index": 0, "message": { "role": "assistant", "content": text }, "finish_reason": finish });
        let whole = json!({ "choices": [choice], "usage": usage, "system_fingerprint": "fp" }).to_string();
        let whole = answer("Content-Type: application/json\r\n", whole.as_bytes());
        return String::from_utf8(whole).unwrap().replacen("200 OK", &format!("{status} X"), 1).into_bytes();
    }
    let event = |delta: Value, finish: Option<&str>| {
        format!("data: {}\n\n", json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] }))
    };
    let mut stream: String = parts.map(|piece| event(json!({ "content": piece }), None)).collect();
    stream += &event(json!({}), finish);
    stream += &format!("data: {}\n\ndata: [DONE]\n\n", json!({ "choices": [], "usage": usage }));
    chunked("Content-Type: text/event-stream\r\n", stream.as_bytes())
}

fn send(house: &House, request: &str) -> Answer {
    let mut client = Client::connect(house.gateway.address);
    client.send(request.as_bytes());
    client.answer()
}

fn ask(house: &House, model: &str, text: &str, stream: bool) -> Answer {
    send(house, &chat_request(&house.token, &chat_body(model, text, stream)))
}

fn story(house: &House, answer: &Answer) -> String {
    let data = house.gateway.data.to_str().unwrap();
    String::from_utf8(sallyport(&["audit", "show", &answer.request_id(), "--data", data]).stdout).unwrap()
}

#[test]
fn a_whole_answer_that_is_denied_is_replaced() {
    let house = house_with(POLICY, Box::new(puppet));
    for (text, status, message) in [
        ("200|5|stop|all is well", 200, "all is well"),
        ("200|5|stop|-----BEGIN PRIVATE KEY", 451, "The answer held a key."),
        ("200|101|stop|long", 403, "The answer is too long."),
        ("503|5|stop|stack trace", 403, "The model server is not well."),
        ("200|5|stop|SSN 536-22-8145, relaxed", 200, "536-22-8145"),
        ("200|5|stop|SSN 536-22-8145, strict", 403, "The answer held a number."),
        ("418|5|stop|a kettle", 418, "a [MASKED]"),
        ("200|5|stop|a kettle", 200, "a kettle"),
    ] {
        let answered = ask(&house, "m", text, false);
        assert_eq!(answered.status, status, "{text}: {}", answered.text());
        assert!(answered.text().contains(message), "{text}: {}", answered.text());
        assert!(status == 200 || status == 418 || !answered.text().contains("choices"), "{}", answered.text());
    }
    assert_eq!(ask(&house, "must-stop", "200|5|length|x", false).status, 403);
    assert_eq!(ask(&house, "must-stop", "200|5|stop|x", false).status, 200);
    assert_eq!(ask(&house, "by-path", "200|5|stop|x", false).status, 403);
    let denied = ask(&house, "m", "200|5|stop|BEGIN PRIVATE KEY", false);
    let story = story(&house, &denied);
    assert!(story.contains("451") && story.contains("leak.key"), "{story}");
}

#[test]
fn the_evidence_names_the_rules_that_fired_on_the_answer() {
    let house = house_with(POLICY, Box::new(puppet));
    let fired = |answer: &Answer| {
        let story = story(&house, answer);
        let rules = |line: &str| line.trim_start().strip_prefix("rules ").map(|names| names.trim().to_owned());
        let said: Vec<String> = story.lines().filter_map(rules).collect();
        assert!(said[0].starts_with("access.apps"), "{story}");
        said.get(1).cloned().unwrap_or_default()
    };
    assert_eq!(fired(&ask(&house, "m", "200|5|stop|all is well", false)), "");
    for (model, text, rule) in [
        ("m", "418|5|stop|a kettle", "data.teapot"),
        ("m", "200|5|stop|-----BEGIN PRIVATE KEY", "leak.key"),
        ("m", "200|101|stop|long", "leak.long"),
        ("quiet", "200|5|stop|interesting", "quiet.not"),
    ] {
        assert_eq!(fired(&ask(&house, model, text, false)), rule, "{text}");
    }
    assert_eq!(fired(&ask(&house, "quiet", "200|5|stop|dull|ish", true)), "");
    let held = ask(&house, "m", "200|5|stop|strict: 536-22|-8145", true);
    assert_eq!(fired(&held), "leak.ssn");
    let found = sallyport(&["audit", "search", "rule:leak.ssn", "--data", house.gateway.data.to_str().unwrap()]);
    assert!(String::from_utf8(found.stdout).unwrap().contains(&held.request_id()), "found by the rule");
}

#[test]
fn a_stream_is_cut_or_held() {
    let house = house_with(POLICY, Box::new(puppet));
    let fine = ask(&house, "m", "200|5|stop|all |is |well", true);
    assert_eq!(stream_text(&fine.text()), "all is well");
    assert!(fine.text().ends_with("data: [DONE]\n\n"), "{}", fine.text());

    // Cut as soon as it is sure; what was delivered stays delivered.
    let filler = "x".repeat(100);
    let long = format!("200|5|stop|first |-----BEGIN PRIV|ATE KEY|{}", vec![filler.as_str(); 200].join("|"));
    let mut client = Client::connect(house.gateway.address);
    client.send(chat_request(&house.token, &chat_body("m", &long, true)).as_bytes());
    assert!(client.wait_for("The answer held a key."), "an error event");
    // At its end, before its end is delivered.
    let mut client = Client::connect(house.gateway.address);
    client.send(chat_request(&house.token, &chat_body("m", "200|101|stop|many |words", true)).as_bytes());
    assert!(client.wait_for("words") && client.wait_for("The answer is too long."));
    let mut client = Client::connect(house.gateway.address);
    client.send(chat_request(&house.token, &chat_body("must-stop", "200|5|length|half", true)).as_bytes());
    assert!(client.wait_for("half") && client.wait_for("The answer has no end."));

    // Held: an error of its own, or all of it.
    let held = ask(&house, "m", "200|5|stop|strict: 536-22|-8145", true);
    assert_eq!(held.status, 403, "{}", held.text());
    assert!(held.text().contains("The answer held a number.") && !held.text().contains("536"), "{}", held.text());
    let held = ask(&house, "m", "200|5|stop|strict, |but fine", true);
    assert_eq!((held.status, stream_text(&held.text())), (200, "strict, but fine".to_owned()));
    assert!(held.text().ends_with("data: [DONE]\n\n"));

    // What no stream carries.
    let refused = ask(&house, "by-path", "200|5|stop|x", true);
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.text().contains("cannot_stream"), "{}", refused.text());
}

#[test]
fn a_rule_on_trial_is_judged_by_itself_and_stops_nothing() {
    let policy = r#"
policy "trial" version 1
rule access.apps { when identity in group("ml-apps") allow record at most metadata }
rule trial.wombat shadow { when response.text contains "wombat" deny "No wombats." hold }
"#;
    let coded = |request: &[u8]| {
        let plain = puppet(request);
        if memchr::memmem::find(request, b"unknown coding").is_none() {
            return plain;
        }
        String::from_utf8(plain).unwrap().replacen("\r\n", "\r\nContent-Encoding: rot13\r\n", 1).into_bytes()
    };
    let house = house_with(policy, Box::new(coded));
    for (text, stream, rule) in [
        ("200|5|stop|a wom|bat", false, Some("shadow:trial.wombat")),
        ("200|5|stop|a wom|bat", true, Some("shadow:trial.wombat")),
        ("200|5|stop|unknown coding, wombat", false, Some("error:trial.wombat")),
        ("200|5|stop|unknown coding, wombat", true, Some("error:trial.wombat")),
        ("200|5|stop|nothing", false, None),
        ("200|5|stop|nothing", true, None),
    ] {
        let answered = ask(&house, "m", text, stream);
        assert_eq!(answered.status, 200, "{text}: {}", answered.text());
        let told = story(&house, &answered);
        assert_eq!(rule.is_some(), told.contains(":trial.wombat"), "{told}");
        assert!(rule.is_none_or(|rule| told.contains(rule)), "{told}");
    }
}

#[test]
fn an_answer_raises_alerts_once_and_as_soon_as_it_is_sure() {
    let policy = r#"
policy "alerts" version 1
rule access.apps { when identity in group("ml-apps") allow }
rule watch.wombat { when response.text contains "wombat" alert "wombat" severity high }
rule watch.half { when response.finish_reason is present and response.finish_reason == "length" alert "half" severity low }
rule watch.teapot { when response.status == 418 deny "No tea." alert "teapot" severity medium }
rule watch.quiet shadow { when response.text contains "wombat" alert "quiet" severity critical }
rule watch.mine { when model == "m" and response.text contains "BEGIN" deny "A key." alert "key" severity critical }
"#;
    let house = house_with(policy, Box::new(puppet));
    let raised = |user: &str, text: &str, stream: bool| {
        let token = house.gateway.token(user, "ml-apps");
        let mut client = Client::connect(house.gateway.address);
        client.send(chat_request(&token, &chat_body("m", text, stream)).as_bytes());
        // Of a stream that is cut the answer has no end.
        let _ = client.try_answer();
    };
    // Whole, in a stream, and of an answer that is refused for it.
    raised("ann", "200|5|stop|a wombat|, two wombats", false);
    raised("ben", "200|5|length|a wom|bat, |two wombats", true);
    raised("cid", "418|5|stop|tea", false);
    raised("dan", "200|5|stop|BEG|IN|rest", true);
    raised("eve", "200|5|stop|nothing", true);
    let admin = house.gateway.token("root", "admins");
    let metrics = || {
        let mut client = Client::connect(house.gateway.admin);
        client.send(format!("GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {admin}\r\n\r\n").as_bytes());
        client.answer().text()
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    let wanted = [("low", 1), ("medium", 1), ("high", 2), ("critical", 1)];
    let line = |(severity, number): (&str, u32)| {
        format!("sallyport_alerts_total{{kind=\"policy\",severity=\"{severity}\"}} {number}\n")
    };
    while !wanted.into_iter().all(|one| metrics().contains(&line(one))) {
        assert!(Instant::now() < deadline, "{}", metrics());
        std::thread::sleep(Duration::from_millis(50));
    }
    // In the evidence under the callers' names.
    let data = house.gateway.data.to_str().unwrap();
    let search = |query: &str| {
        String::from_utf8(sallyport(&["audit", "search", query, "--json", "--data", data]).stdout).unwrap()
    };
    for (user, alerts) in [("ann", 1), ("ben", 2), ("cid", 1), ("dan", 1), ("eve", 0)] {
        let rows = search(&format!("kind:alert subject:{user}"));
        assert_eq!(rows.lines().count(), alerts, "{user}: {rows}");
    }
}

#[test]
fn an_answer_can_make_its_call_one_that_is_recorded() {
    let house = house_with(POLICY, Box::new(puppet));
    for stream in [false, true] {
        let dull = ask(&house, "quiet", "200|5|stop|a dull| matter", stream);
        let told = story(&house, &dull);
        assert!(!told.contains("a dull"), "{told}");
        let noted = ask(&house, "quiet", "200|5|stop|an interest|ing matter", stream);
        let told = story(&house, &noted);
        assert!(told.contains("an interest") && told.contains("ing matter"), "{told}");
        assert!(told.contains("200|5|stop"), "the request too: {told}");
    }
}
