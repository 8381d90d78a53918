//! Planted personal data and planted secrets (all synthetic): wherever a caller, an upstream or an operator puts them, they are found
//! nowhere under `data`, not decrypted either, not in logs, metrics, or the configuration that is shown.

use std::net::SocketAddr;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use load_tests::mock_model::{self, MockOptions};
use serde_json::json;

use crate::common::run::{House, Running};
use crate::common::{Answer, Client, any_file_contains, binary, fixed_upstream};

/// Each is found by a detector of tier V; without one, nothing could promise anything.
const PLANTED: [&str; 6] = [
    "536-22-8145",
    "4111 1111 1111 1111",
    "jane.doe@example.org",
    "DE89370400440532013000",
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJqYW5lIn0.dGhpcy1pcy1hLXBsYW50ZWQtc2lnbmF0dXJl",
    "postgres://svc:hunter2-planted@db.internal/prod",
];
/// Secrets of the configuration: no detector knows them, they are just never to be seen.
const CREDENTIAL: &str = "upstream-credential-planted-7c1d";
const CLIENT_TOKEN: &str = "opaque-token-planted-93ab";

const ACCESS: &str = r#"
policy "planted" version 1
rule access { when identity in group("ml-apps") allow }
rule deny { when model == "denied-model" deny "Not this one." }
rule people { when model == "asked-model" require approval from group("ml-apps") by 1 within 15m valid 1h }
"#;
const MASKS: &str = r#"
rule mask { mask request text with detect(us_ssn, email, credit_card) as label mask response text with detect(us_ssn, email) as label mask response text with detect(credit_card) as last4 }
"#;

#[test]
fn nothing_that_was_planted_is_found_with_mask_rules() {
    plant_and_look(&format!("{ACCESS}{MASKS}"));
}

#[test]
fn nothing_that_was_planted_is_found_without_mask_rules() {
    plant_and_look(ACCESS);
}

fn plant_and_look(policy: &str) {
    for planted in PLANTED {
        let found = sallyport_finds(planted);
        assert!(found.contains('['), "no detector finds {planted}: {found}");
    }
    let all = PLANTED.join(" and ");
    let house = House::new();
    std::fs::write(house.path("test.policy"), policy).unwrap();
    std::fs::write(house.path("credential"), CREDENTIAL).unwrap();
    let mock = mock_model::spawn(MockOptions { say: Some(all.clone()), chunk: 5, ..MockOptions::default() }).unwrap();
    let upstream = |name: &str, address: SocketAddr, models: &str| {
        format!(
            "[[upstream]]\nname = \"{name}\"\nendpoints = [\"http://{address}\"]\nmatch = {{ path = \"/v1/\"{models} }}\n\
             credential = {{ header = \"authorization\", value = \"file:credential\" }}\n"
        )
    };
    let mut upstreams = upstream("mock", mock.addr(), "");
    for (number, answer) in bad_answers(&all).into_iter().enumerate() {
        let address = fixed_upstream(answer, 20);
        upstreams += &upstream(&format!("bad-{number}"), address, &format!(", models = [\"bad-{number}\"]"));
    }
    upstreams += &upstream("dead", crate::common::dead_address(), ", models = [\"dead\"]");
    house.configure("", &upstreams);
    let mut command = house.command();
    command.env("SALLYPORT_LOG", "trace");
    let gateway = Running::spawn(command);
    let token = house.token();

    let mut ids = by_callers(&gateway, &token, &all);
    ids.extend(by_operators(&gateway, &token, &all));
    let shown = [
        ("metrics", gateway.get("/metrics", &token).text()),
        ("config", gateway.get("/api/v1/config", &token).text()),
        ("readyz", gateway.get("/readyz", &token).text()),
    ];
    let log = gateway.log();
    assert_eq!(gateway.stop(), Some(0));

    let data = house.path("data");
    let mut places: Vec<(String, String)> = shown.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
    places.push(("the program's log".to_owned(), log));
    for format in ["jsonl", "ocsf", "ecs", "cef", "har"] {
        places.push((format!("export as {format}"), audit(&data, &["export", "--format", format])));
    }
    places.push(("search".to_owned(), audit(&data, &["search", "--json", "--limit", "10000"])));
    let rows = places.last().unwrap().1.clone();
    let every = rows.lines().filter_map(|row| row.split("\"id\":\"").nth(1)?.split('"').next());
    places.extend(every.map(|id| (format!("show {id}"), audit(&data, &["show", id]))));
    assert!(
        ids.iter().filter(|id| rows.contains(id.as_str())).count() > 20,
        "what was planted is not in the evidence at all"
    );
    for secret in PLANTED.iter().copied().chain([CREDENTIAL, CLIENT_TOKEN]) {
        assert_eq!(any_file_contains(&data, secret.as_bytes()), None, "{secret}");
        for (place, text) in &places {
            assert!(!text.contains(secret), "{secret} is in {place}: {}", around(text, secret));
            // The coded form of JSON strings, and what base64 hides.
            let coded = secret.replace('/', "\\/");
            assert!(!text.contains(&coded), "{coded} is in {place}: {}", around(text, &coded));
        }
    }
    for (place, text) in &places {
        for run in text.split(|c: char| !c.is_ascii_alphanumeric() && !"+/-_".contains(c)).filter(|run| run.len() >= 16)
        {
            let whole = &run[..run.len() - usize::from(run.len() % 4 == 1)];
            let decoded = STANDARD.decode(whole).or_else(|_| URL_SAFE_NO_PAD.decode(whole)).unwrap_or_default();
            let decoded = String::from_utf8_lossy(&decoded);
            for secret in PLANTED {
                assert!(!decoded.contains(secret), "{secret} is in {place}, coded: {}", around(text, run));
            }
        }
    }
}

/// Every way in which a caller may say something; the ids of the answers.
fn by_callers(gateway: &Running, token: &str, all: &str) -> Vec<String> {
    let message = |content: serde_json::Value| json!([{ "role": "user", "content": content }]);
    let hidden = STANDARD.encode(format!("Please note: {all}."));
    let arguments = json!({ "note": all, all: 1 }).to_string();
    let call = json!({ "id": "c1", "type": "function", "function": { "name": "save", "arguments": arguments } });
    let bodies = [
        json!({ "messages": message(json!(all)) }),
        json!({ "messages": message(json!(all)), "stream": true }),
        json!({ "messages": message(json!([{ "type": "text", "text": all }])) }),
        json!({ "messages": message(json!([{ "type": "image_url", "image_url": { "url": format!("data:text/plain;base64,{hidden}") } }])) }),
        json!({ "messages": message(json!([{ "type": "file", "file": { "filename": format!("{all}.pdf"), "file_data": hidden } }])) }),
        json!({ "messages": message(json!(hidden)) }),
        json!({ "messages": [{ "role": "assistant", "tool_calls": [call] }] }),
        json!({ "messages": message(json!("hi")), "metadata": { all: "x", "y": all }, "user": all, "stop": [all] }),
        json!({ "messages": message(json!("hi")), all: { all: [all] }, "tools": [{ "type": "function", "function": {
            "name": "f", "description": all, "parameters": { "type": "object", "properties": { all: { "type": all } } } } }] }),
        json!({ "messages": message(json!("hi")), "model": all }),
        json!({ "messages": message(json!(all)), "model": "denied-model" }),
        json!({ "messages": message(json!(all)), "model": "bad-0" }),
        json!({ "messages": message(json!(all)), "model": "bad-1" }),
        json!({ "messages": message(json!(all)), "model": "bad-2" }),
        json!({ "messages": message(json!(all)), "model": "bad-3", "stream": true }),
        json!({ "messages": message(json!(all)), "model": "bad-4", "stream": true }),
        json!({ "messages": message(json!(all)), "model": "dead" }),
        json!({ "messages": all }),
        json!({ "messages": message(json!(all)), "stream": all }),
    ];
    let mut ids = Vec::new();
    let mut send = |what: &str, head: &str, body: &[u8]| {
        let mut client = Client::connect(gateway.address);
        let length = body.len();
        let _ = client.try_send(
            &[format!("{head}\r\nHost: gw\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n").as_bytes(), body]
                .concat(),
        );
        if let Some(answer) = client.try_answer() {
            ids.push(answer.field("x-sallyport-request-id").unwrap_or_else(|| panic!("{what}: {}", answer.head)));
        }
    };
    let chat = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json"
    );
    for mut body in bodies {
        if body.get("model").is_none() {
            body["model"] = json!("m");
        }
        send("a body", &chat, body.to_string().as_bytes());
    }
    let plain = json!({ "model": "m", "messages": message(json!("hi")) }).to_string();
    for field in [
        "X-Customer",
        "User-Agent",
        "x-sallyport-data-subject",
        "x-sallyport-purpose",
        "traceparent",
        "Cookie",
        "Content-Encoding",
    ] {
        send(field, &format!("{chat}\r\n{field}: {all}"), plain.as_bytes());
    }
    let coded: String = all.bytes().map(|byte| format!("%{byte:02X}")).collect();
    for planted in PLANTED {
        let planted = planted.replace(' ', "+");
        send("query", &chat.replace("completions", &format!("completions?q={planted}")), plain.as_bytes());
        send("path", &format!("GET /v1/files/{planted} HTTP/1.1\r\nAuthorization: Bearer {token}"), b"");
        send("token", &format!("GET /v1/models HTTP/1.1\r\nAuthorization: Bearer {planted}"), b"");
    }
    send("token", &format!("GET /v1/models HTTP/1.1\r\nAuthorization: Bearer {CLIENT_TOKEN}"), b"");
    send("query", &chat.replace("completions", &format!("completions?q={coded}")), plain.as_bytes());
    send("path", &format!("GET /v1/nothing/{coded} HTTP/1.1\r\nAuthorization: Bearer {token}"), b"");
    send("host", &format!("{}\r\nX-Forwarded-Host: {all}", chat), plain.as_bytes());
    send("no JSON", &chat, format!("{{\"model\":\"m\",\"messages\":{all}").as_bytes());
    send("no JSON", &chat, all.as_bytes());
    send(
        "a form",
        &chat.replace("application/json", "application/x-www-form-urlencoded"),
        format!("a={coded}").as_bytes(),
    );
    let multipart = format!(
        "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; \
         filename=\"{all}.mp3\"\r\nContent-Type: audio/mpeg\r\n\r\n{all}\r\n--b--\r\n"
    );
    let transcribe = chat
        .replace("chat/completions", "audio/transcriptions")
        .replace("application/json", "multipart/form-data; boundary=b");
    send("multipart", &transcribe, multipart.as_bytes());
    send(
        "batch",
        &chat.replace("chat/completions", "batches"),
        json!({ "input_file_id": all, "endpoint": all }).to_string().as_bytes(),
    );
    send(
        "messages",
        &chat.replace("chat/completions", "messages"),
        json!({ "model": "m", "max_tokens": 9, "system": all,
        "messages": [{ "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t", "content": all }] }] })
        .to_string()
        .as_bytes(),
    );
    ids
}

/// What operators and approvers may say.
fn by_operators(gateway: &Running, token: &str, all: &str) -> Vec<String> {
    let asked = json!({ "model": "asked-model", "messages": [{ "role": "user", "content": all }] }).to_string();
    let mut waiting = Client::connect(gateway.address);
    waiting.send(crate::common::chat_request(token, &asked).as_bytes());
    let pending = loop {
        let list: serde_json::Value = serde_json::from_slice(&gateway.get("/api/v1/approvals", token).body).unwrap();
        if let Some(id) = list["approvals"][0]["id"].as_str() {
            break id.to_owned();
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    let admin = |method: &str, path: &str, body: String| -> Answer {
        let mut client = Client::connect(gateway.admin);
        let length = body.len();
        client.send(
            format!(
                "{method} {path} HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
                 Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
            .as_bytes(),
        );
        client.answer()
    };
    let denied = admin("POST", &format!("/api/v1/approvals/{pending}/deny"), json!({ "reason": all }).to_string());
    let event = admin("POST", "/api/v1/events", json!({ "action": "loaded", "text": all }).to_string());
    assert_eq!(event.status, 201, "{}", event.text());
    assert!(denied.status < 500, "{}", denied.text());
    let query: String = format!("text:\"{}\"", PLANTED[0]).bytes().map(|byte| format!("%{byte:02X}")).collect();
    assert_eq!(admin("GET", &format!("/api/v1/exchanges?q={query}"), String::new()).status, 200);
    admin("GET", &format!("/api/v1/nothing?q={query}"), String::new());
    // Whoever asked may not decide, so the call still waits; it ends with the gateway.
    vec![pending]
}

/// Answers of servers that fail, whole and as streams.
fn bad_answers(all: &str) -> Vec<Vec<u8>> {
    let whole = |status: &str, media_type: &str, body: String| {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nX-Trace: {all}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
    };
    let completion = json!({ "id": all, "object": "chat.completion", "model": all, all: all, "choices": [{ "index": 0,
        "finish_reason": all, "message": { "role": "assistant", "content": all, "tool_calls": [{ "id": all, "type": "function",
        "function": { "name": all, "arguments": json!({ all: all }).to_string() } }] } }] });
    let delta = json!({ "id": all, "object": "chat.completion.chunk", "model": all, all: all, "choices": [{ "index": 0,
        "finish_reason": all, "delta": { "content": all } }] });
    vec![
        whole(&format!("500 {all}"), "application/json", json!({ "error": { "message": all, all: all } }).to_string()),
        whole("502 Bad Gateway", "text/html", format!("<p>{all}</p>")),
        whole("200 OK", "application/json", completion.to_string()),
        whole("200 OK", "text/event-stream", format!("event: {all}\ndata: {delta}\n\n: {all}\n\ndata: {{\"error\":\"{all}\"}}\n\ndata: [DONE]\n\n")),
        // Breaks off in the middle.
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 99999\r\n\r\ndata: {delta}\n\ndata: {all}").into_bytes(),
    ]
}

fn audit(data: &Path, args: &[&str]) -> String {
    let output = binary().arg("audit").args(args).arg("--data").arg(data).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What `sallyport mask` makes of a text with every detector of tier V that these belong to.
fn sallyport_finds(text: &str) -> String {
    let mut findings = policy_compiler::detect::find_validated(text);
    findings.pop().map_or_else(String::new, |finding| format!("[{}]", finding.detector))
}

fn around<'t>(text: &'t str, part: &str) -> &'t str {
    let at = text.find(part).unwrap_or(0);
    &text[text.floor_char_boundary(at.saturating_sub(200))
        ..text.ceil_char_boundary((at + part.len() + 100).min(text.len()))]
}
