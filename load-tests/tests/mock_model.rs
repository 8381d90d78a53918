//! The mock model over real sockets, spoken to with nothing but `TcpStream`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::num::NonZeroU64;
use std::time::Duration;

use load_tests::mock_model::{Fail, FailKind, Freeze, Journal, MockHandle, MockOptions, ScriptedAnswer, spawn};
use serde_json::{Value, json};

const SSN: &str = "536-22-8145";

fn mock(options: MockOptions) -> MockHandle {
    spawn(MockOptions { say: Some(format!("The number on file is {SSN}.")), ..options }).unwrap()
}

/// Sends one request on a connection of its own; returns status, head and raw body.
fn call(mock: &MockHandle, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, String) {
    let mut socket = TcpStream::connect(mock.addr()).unwrap();
    let length = body.len();
    write!(
        socket,
        "{method} {path} HTTP/1.1\r\nhost: mock\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )
    .unwrap();
    let mut answer = Vec::new();
    // A stream that is cut may end in a reset; what came before it counts.
    let _ = socket.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    (status, head.to_owned(), body.to_owned())
}

fn chat(mock: &MockHandle, body: &Value) -> (u16, String, String) {
    call(mock, "POST", "/v1/chat/completions", "content-type: application/json\r\n", &body.to_string())
}

/// The `data:` payloads of a chunked event stream. The sizes of chunks stand on lines of their own.
fn events(body: &str) -> Vec<&str> {
    body.lines().filter_map(|line| line.strip_prefix("data: ")).collect()
}

#[test]
fn whole_answer_repeats_the_question_and_says_the_text() {
    let mock = mock(MockOptions::default());
    let (status, head, body) =
        chat(&mock, &json!({"model": "any-model", "messages": [{"role": "user", "content": "How are you?"}]}));
    assert_eq!(status, 200);
    assert!(head.contains("application/json"), "{head}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    let content = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(content.contains("How are you?") && content.ends_with(&format!("{SSN}.")), "{content}");
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], "any-model");
    assert!(answer["id"].as_str().unwrap().starts_with("chatcmpl-"));
}

#[test]
fn stream_splits_the_number_and_loses_nothing() {
    let mock = mock(MockOptions::default());
    let (status, head, body) = chat(
        &mock,
        &json!({"model": "m", "stream": true, "n": 2, "stream_options": {"include_usage": true},
            "messages": [{"role": "user", "content": "hi"}]}),
    );
    assert_eq!(status, 200);
    assert!(head.contains("text/event-stream"), "{head}");
    let events = events(&body);
    assert_eq!(events.last(), Some(&"[DONE]"));
    let chunks: Vec<Value> = events[..events.len() - 1].iter().map(|e| serde_json::from_str(e).unwrap()).collect();
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(chunks.last().unwrap()["choices"], json!([]));
    assert!(chunks.last().unwrap()["usage"]["total_tokens"].as_u64().unwrap() > 0);
    for index in 0..2 {
        let text: String = chunks
            .iter()
            .flat_map(|chunk| chunk["choices"].as_array().unwrap())
            .filter(|choice| choice["index"] == index)
            .filter_map(|choice| choice["delta"]["content"].as_str())
            .inspect(|piece| assert!(piece.chars().count() <= 3, "{piece}"))
            .collect();
        assert!(text.ends_with(&format!("{SSN}.")), "{text}");
    }
    let finished =
        chunks.iter().flat_map(|c| c["choices"].as_array().unwrap()).filter(|c| c["finish_reason"] == "stop");
    assert_eq!(finished.count(), 2);
    assert!(!body.contains(SSN), "no event may carry the whole number");
}

#[test]
fn errors_have_openai_shape() {
    let mock = mock(MockOptions::default());
    for (method, path, body, expected) in [
        ("POST", "/v1/chat/completions", "{\"model\":", 400),
        ("POST", "/v1/chat/completions", "{\"model\":\"m\"}", 400),
        ("GET", "/v1/chat/completions", "", 405),
        ("POST", "/v1/embeddings", "{}", 400),
        ("POST", "/v1/unknown", "{}", 404),
    ] {
        let (status, _, body) = call(&mock, method, path, "", body);
        assert_eq!(status, expected, "{method} {path}");
        let error: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(error["error"]["type"], "invalid_request_error");
        assert!(!error["error"]["message"].as_str().unwrap().is_empty());
    }
}

#[test]
fn models_and_health() {
    let mock = mock(MockOptions { models: vec!["a".to_owned(), "b".to_owned()], ..MockOptions::default() });
    let (status, _, body) = call(&mock, "GET", "/v1/models", "", "");
    let models: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &models["data"][1]["id"]), (200, &json!("b")));
    assert_eq!(call(&mock, "GET", "/health", "", "").0, 200);
    assert_eq!(mock.requests_seen(), 2);
}

#[test]
fn journal_in_memory_has_what_arrived() {
    let mock = mock(MockOptions { journal: Journal::in_memory(), ..MockOptions::default() });
    let body = json!({"model": "m", "messages": []}).to_string();
    call(&mock, "POST", "/v1/chat/completions", "X-Sallyport-Request-Id: abc\r\nauthorization: Bearer k\r\n", &body);
    let entries = mock.journal().entries();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].request_id(), Some("abc"));
    assert_eq!(entries[0].header("authorization"), Some("Bearer k"));
    assert_eq!(entries[0].body, body.as_bytes());
}

#[test]
fn journal_file_gets_a_line_when_the_head_is_complete() {
    let path = std::env::temp_dir().join(format!("mock-journal-{}", std::process::id()));
    let mock = mock(MockOptions { journal: Journal::to_file(&path).unwrap(), ..MockOptions::default() });
    let mut socket = TcpStream::connect(mock.addr()).unwrap();
    // The body is promised and never sent: the server cannot answer, yet the line must be there.
    write!(
        socket,
        "POST /v1/chat/completions HTTP/1.1\r\nhost: m\r\ncontent-length: 9\r\nx-sallyport-request-id: r-1\r\n\r\n"
    )
    .unwrap();
    while mock.requests_seen() < 1 || std::fs::read_to_string(&path).unwrap().is_empty() {
        std::thread::yield_now();
    }
    let (status, _, _) = call(&mock, "GET", "/health", "", "");
    assert_eq!(status, 200);
    let lines = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let ids: Vec<&str> = lines.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(ids, ["r-1", "-"]);
}

#[test]
fn fails_on_every_nth_chat() {
    let every = NonZeroU64::new(2).unwrap();
    let failing =
        mock(MockOptions { fail: Some(Fail { every, how: FailKind::Status(503) }), ..MockOptions::default() });
    let body = json!({"model": "m", "messages": []});
    let codes: Vec<u16> = (0..4).map(|_| chat(&failing, &body).0).collect();
    assert_eq!(codes, [200, 503, 200, 503]);

    let every = NonZeroU64::MIN;
    let cutting =
        mock(MockOptions { fail: Some(Fail { every, how: FailKind::CutAfter(2) }), ..MockOptions::default() });
    let (status, _, body) = chat(&cutting, &json!({"model": "m", "stream": true, "messages": []}));
    assert_eq!(status, 200);
    assert!(events(&body).len() <= 2 && !body.contains("[DONE]"), "{body}");
}

#[test]
fn shutdown_does_not_wait_for_open_streams() {
    let slow = Duration::from_secs(3600);
    let mock = mock(MockOptions { first_token: slow, ..MockOptions::default() });
    let mut socket = TcpStream::connect(mock.addr()).unwrap();
    let body = json!({"model": "m", "stream": true, "messages": []}).to_string();
    write!(socket, "POST /v1/chat/completions HTTP/1.1\r\nhost: m\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .unwrap();
    while mock.requests_seen() < 1 {
        std::thread::yield_now();
    }
    mock.shutdown();
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains("[DONE]"));
}

#[test]
fn scripted_answers_take_turns() {
    let script = ScriptedAnswer::parse(
        "{\"say\":\"one\",\"usage\":[7,9]}\n{\"status\":503}\n{\"say\":\"three\",\"answer_chars\":5,\"gaps_ms\":[1,2]}\n",
    );
    let mock = mock(MockOptions { script: script.unwrap(), ..MockOptions::default() });
    let body = json!({"model": "m", "messages": []});
    let said = |(status, _, body): (u16, String, String)| {
        let body: Value = serde_json::from_str(&body).unwrap();
        (
            status,
            body["choices"][0]["message"]["content"].as_str().map(str::to_owned),
            body["usage"]["completion_tokens"].as_u64(),
        )
    };
    let (status, text, tokens) = said(chat(&mock, &body));
    assert!(status == 200 && text.unwrap().ends_with("one") && tokens == Some(9));
    assert_eq!(said(chat(&mock, &body)), (503, None, None));
    assert_eq!(said(chat(&mock, &body)), (200, Some("three".to_owned()), Some(2)));
    assert!(said(chat(&mock, &body)).1.unwrap().ends_with("one"));
}

#[test]
fn a_frozen_server_reads_and_says_nothing_until_it_thaws() {
    let frozen = |ms| Freeze { length: Duration::from_millis(ms), every: Duration::from_millis(ms + 1) };
    let body = json!({"model": "m", "messages": []});
    // It moves for one millisecond after each 200: every answer waits for that, and comes.
    let often = mock(MockOptions { freeze: Some(frozen(200)), ..MockOptions::default() });
    assert!((0..5).all(|_| chat(&often, &body).0 == 200));

    let always = mock(MockOptions { freeze: Some(frozen(3_600_000)), ..MockOptions::default() });
    // The first millisecond is no part of the freeze.
    std::thread::sleep(Duration::from_millis(2));
    let mut socket = TcpStream::connect(always.addr()).unwrap();
    write!(socket, "GET /health HTTP/1.1\r\nhost: m\r\n\r\n").unwrap();
    while always.requests_seen() < 1 {
        std::thread::yield_now();
    }
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let said = socket.read(&mut [0; 16]).unwrap_err().kind();
    assert!(matches!(said, std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut), "{said}");
}
