//! Every API through the real binary: content codings both ways, forms, binary tensors, errors in the API's own shape.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use crate::common::{Answer, Client, Gateway, Setup};

const POLICY: &str = r#"
policy "dialects" version 1
rule access.apps { when identity in group("ml-apps") allow }
rule deny.secret { when model == "secret-model" deny "The secret model is not for applications." }
rule data.mask-answers { mask response text with detect(us_ssn) as label }
rule data.mask-prompts { mask request text with detect(us_ssn) as label }
"#;
const SSN: &str = "536-22-8145";

/// What the upstream answers to a request, head and body.
pub(crate) type Script = Box<dyn Fn(&[u8]) -> Vec<u8> + Send>;

pub(crate) struct House {
    pub(crate) gateway: Gateway,
    pub(crate) token: String,
    pub(crate) seen: Arc<Mutex<Vec<Vec<u8>>>>,
    _directory: tempfile::TempDir,
}

/// A gateway before an upstream that reads one request per connection and answers it as told.
fn house(script: Script) -> House {
    house_with(POLICY, script)
}

pub(crate) fn house_with(rules: &str, script: Script) -> House {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let upstream = upstream(script, Arc::clone(&seen));
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("test.policy");
    std::fs::write(&policy, rules).unwrap();
    let data = directory.path().join("data");
    let gateway = Gateway::start(&Setup { data: &data, policy: &policy, upstream, cores: 1, extra: Vec::new() });
    let token = gateway.token("alice", "ml-apps");
    House { gateway, token, seen, _directory: directory }
}

fn upstream(script: Script, seen: Arc<Mutex<Vec<Vec<u8>>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
            let whole = |request: &[u8]| {
                let end = memchr::memmem::find(request, b"\r\n\r\n")? + 4;
                let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
                let length = head
                    .split("content-length: ")
                    .nth(1)
                    .map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
                (request.len() >= end + length).then_some(())
            };
            while whole(&request).is_none() {
                match stream.read(&mut buffer) {
                    Ok(got @ 1..) => request.extend_from_slice(&buffer[..got]),
                    _ => break,
                }
            }
            let answer = script(&request);
            seen.lock().unwrap().push(request);
            let _ = stream.write_all(&answer);
        }
    });
    address
}

impl House {
    pub(crate) fn post(&self, path: &str, fields: &str, body: &[u8]) -> Answer {
        let mut client = Client::connect(self.gateway.address);
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: gw\r\nx-api-key: {}\r\n{fields}Content-Length: {}\r\n\r\n",
            self.token,
            body.len()
        );
        client.send(&[head.as_bytes(), body].concat());
        client.answer()
    }

    pub(crate) fn last_request(&self) -> String {
        String::from_utf8_lossy(self.seen.lock().unwrap().last().unwrap()).into_owned()
    }
}

pub(crate) fn answer(fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// The body in chunks of a few bytes.
pub(crate) fn chunked(fields: &str, body: &[u8]) -> Vec<u8> {
    let mut out =
        format!("HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n").into_bytes();
    for piece in body.chunks(7) {
        out.extend(format!("{:x}\r\n", piece.len()).bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

fn encoded(coding: &str, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        "gzip" => flate2::bufread::GzEncoder::new(body, flate2::Compression::default()).read_to_end(&mut out).unwrap(),
        "deflate" => {
            flate2::bufread::ZlibEncoder::new(body, flate2::Compression::default()).read_to_end(&mut out).unwrap()
        }
        "br" => brotli::CompressorReader::new(body, 4096, 5, 20).read_to_end(&mut out).unwrap(),
        _ => {
            out = zstd::bulk::compress(body, 3).unwrap();
            0
        }
    };
    out
}

fn chat_stream() -> String {
    let pieces = ["The number ", "is 53", "6-22", "-814", "5", "."];
    let event =
        |piece: &str| format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{piece}\"}}}}]}}\n\n");
    let end = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}\n\ndata: [DONE]\n\n";
    pieces.map(event).concat() + end
}

#[test]
fn every_coding_of_answers_and_requests() {
    for coding in ["gzip", "br", "zstd", "deflate", "identity"] {
        let fields = format!("Content-Type: text/event-stream\r\nContent-Encoding: {coding}\r\n");
        let stream = chat_stream();
        let body = if coding == "identity" { stream.into_bytes() } else { encoded(coding, stream.as_bytes()) };
        let house = house(Box::new(move |_| chunked(&fields, &body)));
        let prompt = format!(r#"{{"model":"m","stream":true,"messages":[{{"role":"user","content":"I am {SSN}"}}]}}"#);
        let sent = if coding == "identity" { prompt.into_bytes() } else { encoded(coding, prompt.as_bytes()) };
        let fields = format!("Content-Type: application/json\r\nContent-Encoding: {coding}\r\n");
        let masked = house.post("/v1/chat/completions", &fields, &sent);
        assert_eq!(masked.status, 200, "{coding}: {}", masked.text());
        assert_eq!(crate::common::stream_text(&masked.text()), "The number is [US_SSN].", "{coding}");
        assert!(masked.field("content-encoding").is_none_or(|coding| coding == "identity"), "{}", masked.head);
        // Asked for in the caller's name, and taken out again.
        assert!(!masked.text().contains("usage") && masked.text().ends_with("data: [DONE]\n\n"), "{}", masked.text());
        let seen = house.last_request();
        assert!(seen.contains(r#""content":"I am [US_SSN]""#) && seen.contains(r#""include_usage":true"#), "{seen}");
        assert!(!seen.to_ascii_lowercase().contains("content-encoding"), "{seen}");
    }
}

#[test]
fn what_cannot_be_decoded_does_not_pass() {
    let house = house(Box::new(|_| {
        answer("Content-Type: application/json\r\nContent-Encoding: compress\r\n", b"\x1f\x9d\x90abc")
    }));
    let body = br#"{"model":"m","messages":[]}"#;
    let plain = "Content-Type: application/json\r\n";
    let withheld = house.post("/v1/chat/completions", plain, body);
    assert_eq!(withheld.status, 502, "{}", withheld.text());
    let before = house.seen.lock().unwrap().len();
    for (coding, status) in [("compress", 415), ("gzip, br", 415), ("gzip", 400)] {
        let refused = house.post("/v1/chat/completions", &format!("{plain}Content-Encoding: {coding}\r\n"), body);
        assert_eq!(refused.status, status, "{coding}: {}", refused.text());
    }
    let bomb = encoded("gzip", &vec![b' '; 64 << 20]);
    let refused = house.post("/v1/chat/completions", &format!("{plain}Content-Encoding: gzip\r\n"), &bomb);
    assert_eq!(refused.status, 413, "{}", refused.text());
    assert_eq!(house.seen.lock().unwrap().len(), before, "nothing of it reached the model server");
}

#[test]
fn errors_have_the_shape_of_their_api() {
    let broken = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"fine \"}}\n\nevent: x\ndata: {broken\n\n";
    let house = house(Box::new(|_| chunked("Content-Type: text/event-stream\r\n", broken.as_bytes())));
    let json = "Content-Type: application/json\r\n";
    let mut all = String::new();
    for (path, body) in [
        ("/v1/chat/completions", r#"{"model":"secret-model"}"#),
        ("/v1/messages", r#"{"model":"secret-model"}"#),
        ("/v1/messages", r#"{"model":"secret-model""#),
        ("/generate", r#"{"model":"secret-model"}"#),
        ("/v2/models/secret-model/infer", r#"{"inputs":[]}"#),
        ("/v1/completions", r#"{"model":"m","prompt":[1,2,3]}"#),
    ] {
        let answer = house.post(path, json, body.as_bytes());
        all += &format!("{path} {} {}\n", answer.status, answer.text());
    }
    let mut client = Client::connect(house.gateway.address);
    let body = r#"{"model":"m","stream":true,"messages":[]}"#;
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nHost: gw\r\nx-api-key: {}\r\nContent-Length: {}\r\n\r\n{body}",
        house.token,
        body.len()
    );
    client.send(head.as_bytes());
    assert!(client.wait_for("event: error\ndata: "));
    assert!(client.wait_for("could not be masked, so it was cut."), "an event that the SDK understands");
    insta::assert_snapshot!(all, @r#"
    /v1/chat/completions 403 {"error":{"message":"The secret model is not for applications.","type":"permission_error","param":null,"code":"denied_by_policy"}}
    /v1/messages 403 {"type":"error","error":{"type":"permission_error","message":"The secret model is not for applications."}}
    /v1/messages 400 {"type":"error","error":{"type":"invalid_request_error","message":"invalid JSON at byte 23: unexpected end"}}
    /generate 403 {"error":"The secret model is not for applications.","error_type":"validation"}
    /v2/models/secret-model/infer 403 {"error":"The secret model is not for applications."}
    /v1/completions 403 {"error":{"message":"The policy masks text that cannot be masked in this call.","type":"permission_error","param":null,"code":"cannot_mask"}}
    "#);
}

#[test]
fn binary_tensors_and_batches() {
    let element = |text: &str| [&u32::try_from(text.len()).unwrap().to_le_bytes()[..], text.as_bytes()].concat();
    let tensor = |list: &str, bytes: usize| {
        format!(
            r#"{{"{list}":[{{"name":"t","datatype":"BYTES","shape":[1],"parameters":{{"binary_data_size":{bytes}}}}}]}}"#
        )
    };
    let text = element(&format!("SSN {SSN}"));
    let json = tensor("outputs", text.len());
    let fields =
        format!("Content-Type: application/octet-stream\r\nInference-Header-Content-Length: {}\r\n", json.len());
    let body = [json.as_bytes(), &text].concat();
    let house = house(Box::new(move |_| answer(&fields, &body)));
    let json = tensor("inputs", text.len());
    let fields =
        format!("Content-Type: application/octet-stream\r\nInference-Header-Content-Length: {}\r\n", json.len());
    let masked = house.post("/v2/models/bert/infer", &fields, &[json.as_bytes(), &text].concat());
    let new_text = element("SSN [US_SSN]");
    let new_json = tensor("outputs", new_text.len());
    assert_eq!(masked.field("inference-header-content-length"), Some(new_json.len().to_string()), "{}", masked.text());
    assert_eq!(masked.body, [new_json.as_bytes(), &new_text].concat());
    let new_json = tensor("inputs", new_text.len());
    let seen = house.last_request();
    assert!(seen.contains(&format!("inference-header-content-length: {}\r\n", new_json.len())), "{seen}");
    assert!(seen.contains(&new_json) && seen.ends_with("SSN [US_SSN]"), "{seen}");

    let line = |model: &str| {
        format!(
            r#"{{"custom_id":"1","method":"POST","url":"/v1/chat/completions","body":{{"model":"{model}","messages":[{{"role":"user","content":"{SSN}"}}]}}}}"#
        )
    };
    let upload = |lines: String| {
        let part =
            |head: &str, content: &str| format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n");
        let form =
            part("name=\"purpose\"", "batch") + &part("name=\"file\"; filename=\"b.jsonl\"", &lines) + "--b--\r\n";
        house.post("/v1/files", "Content-Type: multipart/form-data; boundary=b\r\n", form.as_bytes())
    };
    let before = house.seen.lock().unwrap().len();
    let denied = upload(line("secret-model"));
    assert_eq!(denied.status, 403, "{}", denied.text());
    assert!(denied.text().contains("not for applications"), "{}", denied.text());
    assert_eq!(house.seen.lock().unwrap().len(), before);
    let _ = upload(line("m"));
    assert!(house.last_request().contains(r#""content":"[US_SSN]""#), "{}", house.last_request());
}
