//! What callers get when something is wrong: the exact status and body, and that the gateway goes on.

use std::time::Duration;

use crate::common::{Client, Gateway, POLICY, Setup, chat_body, chat_request, dead_address, fixed_upstream, token};
use load_tests::mock_model::{self, MockOptions};

struct House {
    _directory: tempfile::TempDir,
    _mock: mock_model::MockHandle,
    gateway: Gateway,
    token: String,
}

fn house() -> House {
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("test.policy");
    std::fs::write(&policy, POLICY).unwrap();
    let mock = mock_model::spawn(MockOptions::default()).unwrap();
    let data = directory.path().join("data");
    let gateway =
        Gateway::start(&Setup { data: &data, policy: &policy, upstream: mock.addr(), cores: 1, extra: Vec::new() });
    let token = gateway.token("alice", "ml-apps");
    House { _directory: directory, _mock: mock, gateway, token }
}

/// Status, body and whether the connection was closed, as one text.
fn raw(gateway: &Gateway, request: &[u8]) -> String {
    let mut client = Client::connect(gateway.address);
    let _ = client.try_send(request);
    let answer = client.answer();
    let closed = if answer.field("connection").as_deref() == Some("close") { " close" } else { "" };
    assert!(answer.field("x-sallyport-request-id").is_some(), "a refusal is evidence, so it has an id");
    format!("{}{closed} {}", answer.status, answer.text())
}

#[test]
fn heads_that_cannot_be_read() {
    let house = house();
    let gateway = &house.gateway;
    insta::assert_snapshot!(raw(gateway, b"nonsense\r\n\r\n"), @r#"400 close {"error":{"message":"The request head is malformed: the request line is not METHOD TARGET HTTP/1.1.","type":"invalid_request_error","param":null,"code":"malformed_request"}}"#);
    insta::assert_snapshot!(raw(gateway, b"GET / HTTP/1.1\r\n\r\n"), @r#"400 close {"error":{"message":"The request head is malformed: the Host field is missing.","type":"invalid_request_error","param":null,"code":"malformed_request"}}"#);
    insta::assert_snapshot!(raw(gateway, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), @r#"400 close {"error":{"message":"The request head is malformed: this looks like TLS, but this port speaks plain HTTP.","type":"invalid_request_error","param":null,"code":"malformed_request"}}"#);
    insta::assert_snapshot!(raw(gateway, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), @r#"400 close {"error":{"message":"The request head is malformed: it has both content-length and transfer-encoding.","type":"invalid_request_error","param":null,"code":"malformed_request"}}"#);
    insta::assert_snapshot!(raw(gateway, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), @r#"505 close {"error":{"message":"This HTTP version is not spoken here; use HTTP/1.1.","type":"invalid_request_error","param":null,"code":"http_version"}}"#);
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    insta::assert_snapshot!(raw(gateway, long.as_bytes()), @r#"431 close {"error":{"message":"The request head is larger than 32768 bytes.","type":"invalid_request_error","param":null,"code":"head_too_large"}}"#);
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(150));
    insta::assert_snapshot!(raw(gateway, many.as_bytes()), @r#"431 close {"error":{"message":"The request head has more than 100 fields.","type":"invalid_request_error","param":null,"code":"head_too_large"}}"#);
    let mut client = Client::connect(gateway.address);
    assert_eq!(client.chat(&house.token, &chat_body("m", "still there?", false)).status, 200);
}

#[test]
fn callers_that_cannot_be_identified() {
    let house = house();
    let gateway = &house.gateway;
    let with = |token: &str| {
        let mut client = Client::connect(gateway.address);
        let answer = client.chat(token, &chat_body("m", "hi", false));
        let challenge = answer.field("www-authenticate").expect("RFC 9110 §11.6.1 asks for a challenge");
        format!("{} {challenge} {}", answer.status, answer.text())
    };
    insta::assert_snapshot!(raw(gateway, b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n"), @r#"401 {"error":{"message":"no token was presented; send it as `Authorization: Bearer …`","type":"authentication_error","param":null,"code":"missing_token"}}"#);
    insta::assert_snapshot!(with("not-a-token"), @r#"401 Bearer realm="sallyport", error="invalid_token", error_description="the token is not well-formed" {"error":{"message":"the token is not well-formed","type":"authentication_error","param":null,"code":"invalid_token"}}"#);
    let mut forged = house.token.clone();
    forged.pop();
    forged.push(if house.token.ends_with('A') { 'B' } else { 'A' });
    let forged = forged.replacen(&forged[forged.len() - 20..forged.len() - 10], "AAAAAAAAAA", 1);
    insta::assert_snapshot!(with(&forged), @r#"401 Bearer realm="sallyport", error="invalid_token", error_description="the token's signature is wrong" {"error":{"message":"the token's signature is wrong","type":"authentication_error","param":null,"code":"invalid_token"}}"#);
    let expired = token(&gateway.data, &["--user", "alice", "--group", "ml-apps", "--ttl", "1s"]);
    // Leeway is 30 s, so wait it out only once and for the shortest token there is.
    std::thread::sleep(Duration::from_millis(32_500));
    insta::assert_snapshot!(with(&expired), @r#"401 Bearer realm="sallyport", error="invalid_token", error_description="the token has expired" {"error":{"message":"the token has expired","type":"authentication_error","param":null,"code":"invalid_token"}}"#);
}

#[test]
fn bodies_that_are_not_what_the_api_asks_for() {
    let house = house();
    let gateway = &house.gateway;
    let with = |body: &str| raw(gateway, chat_request(&house.token, body).as_bytes());
    insta::assert_snapshot!(with("{\"model\":"), @r#"400 {"error":{"message":"invalid JSON at byte 9: unexpected end","type":"invalid_request_error","param":null,"code":"invalid_body"}}"#);
    insta::assert_snapshot!(with("[]"), @r#"400 {"error":{"message":"the body is not a JSON object","type":"invalid_request_error","param":null,"code":"invalid_body"}}"#);
    insta::assert_snapshot!(with(r#"{"messages":[]}"#), @r#"403 {"error":{"message":"No rule allows this call.","type":"permission_error","param":null,"code":"denied_by_policy"}}"#);
    insta::assert_snapshot!(with(r#"{"model":"m","model":"secret-model","messages":[]}"#), @r#"400 {"error":{"message":"a member occurs twice, so that two readers could see two requests","type":"invalid_request_error","param":null,"code":"invalid_body"}}"#);
    insta::assert_snapshot!(with(&format!("{}1{}", "[".repeat(200), "]".repeat(200))), @r#"400 {"error":{"message":"invalid JSON at byte 128: nested too deeply","type":"invalid_request_error","param":null,"code":"invalid_body"}}"#);
    let too_large = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Length: 99999999\r\n\r\n",
        house.token
    );
    insta::assert_snapshot!(raw(gateway, too_large.as_bytes()), @r#"413 close {"error":{"message":"The request body is larger than 8388608 bytes.","type":"invalid_request_error","param":null,"code":"body_too_large"}}"#);
    let bad_chunks = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        house.token
    );
    insta::assert_snapshot!(raw(gateway, bad_chunks.as_bytes()), @r#"400 close {"error":{"message":"the chunked body is malformed: a chunk size is missing.","type":"invalid_request_error","param":null,"code":"malformed_body"}}"#);
}

#[test]
fn calls_that_the_policy_or_the_route_table_refuses() {
    let house = house();
    let gateway = &house.gateway;
    let with = |body: &str| raw(gateway, chat_request(&house.token, body).as_bytes());
    insta::assert_snapshot!(with(&chat_body("secret-model", "hi", false)), @r#"403 {"error":{"message":"The secret model is not for applications.","type":"permission_error","param":null,"code":"denied_by_policy"}}"#);
    insta::assert_snapshot!(with(&chat_body("unknown-model", "hi", true)), @r#"403 {"error":{"message":"No rule allows this call.","type":"permission_error","param":null,"code":"denied_by_policy"}}"#);
    let get = |line: &str| {
        raw(gateway, format!("{line} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n", house.token).as_bytes())
    };
    insta::assert_snapshot!(get("PUT /v1/chat/completions"), @r#"405 {"error":{"message":"PUT is not served on this route; use POST.","type":"invalid_request_error","param":null,"code":"method_not_allowed"}}"#);
    insta::assert_snapshot!(get("GET /update_weights"), @r#"404 {"error":{"message":"This route is not served here: it is none of the APIs that this gateway can look into.","type":"invalid_request_error","param":null,"code":"unknown_route"}}"#);
    insta::assert_snapshot!(get("GET /v1/../update_weights"), @r#"404 {"error":{"message":"This route is not served here: it is none of the APIs that this gateway can look into.","type":"invalid_request_error","param":null,"code":"unknown_route"}}"#);
}

#[test]
fn one_connection_carries_refusals_and_answers() {
    let house = house();
    let mut client = Client::connect(house.gateway.address);
    for _ in 0..3 {
        assert_eq!(client.chat(&house.token, &chat_body("secret-model", "hi", false)).status, 403);
        assert_eq!(client.chat(&house.token, &chat_body("m", "hi", false)).status, 200);
    }
    // Who was not identified is not listened to: the body stays unread, so the connection ends.
    let unidentified = client.chat("bad", &chat_body("m", "hi", false));
    assert_eq!((unidentified.status, unidentified.field("connection").as_deref()), (401, Some("close")));
    assert!(client.is_closed());
}

#[test]
fn a_slow_head_times_out() {
    let house = house();
    let mut client = Client::connect(house.gateway.address);
    client.send(b"POST /v1/chat");
    let answer = client.answer();
    insta::assert_snapshot!(format!("{} {}", answer.status, answer.text()), @r#"408 {"error":{"message":"The request head did not arrive within 10 s.","type":"timeout_error","param":null,"code":"head_timeout"}}"#);
    assert!(client.is_closed());
}

#[test]
fn a_slow_body_times_out() {
    let house = house();
    let mut client = Client::connect(house.gateway.address);
    let whole = chat_request(&house.token, &chat_body("m", "hi", false));
    client.send(&whole.as_bytes()[..whole.len() - 5]);
    let answer = client.answer();
    insta::assert_snapshot!(format!("{} {}", answer.status, answer.text()), @r#"408 {"error":{"message":"The request body did not arrive in time.","type":"timeout_error","param":null,"code":"body_timeout"}}"#);
    assert!(client.is_closed());
}

fn with_upstream(upstream: std::net::SocketAddr, stream: bool) -> (crate::common::Answer, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("test.policy");
    std::fs::write(&policy, POLICY).unwrap();
    let data = directory.path().join("data");
    let gateway = Gateway::start(&Setup { data: &data, policy: &policy, upstream, cores: 1, extra: Vec::new() });
    let token = gateway.token("alice", "ml-apps");
    let mut client = Client::connect(gateway.address);
    let answer = client.chat(&token, &chat_body("m", "hi", stream));
    let id = answer.request_id();
    assert_eq!(gateway.stop(), Some(0));
    let show = crate::common::binary().args(["audit", "show", &id, "--data"]).arg(&data).output().unwrap();
    assert!(show.status.success(), "{}", String::from_utf8_lossy(&show.stderr));
    (answer, show.stdout)
}

#[test]
fn a_dead_upstream() {
    let (answer, _) = with_upstream(dead_address(), false);
    insta::assert_snapshot!(format!("{} {}", answer.status, answer.text()), @r#"502 {"error":{"message":"The model server cannot be reached now. Nothing was sent to it; try again.","type":"server_error","param":null,"code":"upstream_unreachable"}}"#);
}

#[test]
fn an_upstream_that_does_not_speak_http() {
    let (answer, _) = with_upstream(fixed_upstream(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec(), 1), false);
    insta::assert_snapshot!(format!("{} {}", answer.status, answer.text()), @r#"502 {"error":{"message":"The model server did not answer properly.","type":"server_error","param":null,"code":"upstream_failed"}}"#);
}

#[test]
fn an_upstream_that_breaks_off() {
    let cut = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"id\":".to_vec();
    let (answer, _) = with_upstream(fixed_upstream(cut, 1), false);
    insta::assert_snapshot!(format!("{} {}", answer.status, answer.text()), @r#"502 {"error":{"message":"The model server's answer broke off.","type":"server_error","param":null,"code":"upstream_failed"}}"#);
}

#[test]
fn an_answer_that_cannot_be_masked_is_withheld() {
    let packed =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nabc"
            .to_vec();
    let (answer, _) = with_upstream(fixed_upstream(packed, 1), false);
    insta::assert_snapshot!(format!("{} {}", answer.status, answer.text()), @r#"502 {"error":{"message":"The answer could not be masked, so it is withheld.","type":"server_error","param":null,"code":"cannot_mask"}}"#);
}
