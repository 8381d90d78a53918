//! The access log and traces of the real binary.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use crate::common::run::House;
use crate::common::{Client, chat_body};
use load_tests::mock_model::{self, Journal, MockOptions};
use serde_json::Value;

/// A collector that takes everything and passes the bodies on.
fn collector() -> (String, mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let (bodies, received) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, bodies) = (stream.unwrap(), bodies.clone());
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                let mut buffer = [0; 4096];
                while let Ok(got @ 1..) = stream.read(&mut buffer) {
                    bytes.extend_from_slice(&buffer[..got]);
                    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
                    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
                    let length: usize =
                        head.split("content-length: ").nth(1).unwrap().lines().next().unwrap().trim().parse().unwrap();
                    if bytes.len() >= end + 4 + length {
                        bodies.send(serde_json::from_slice(&bytes[end + 4..end + 4 + length]).unwrap()).unwrap();
                        bytes.drain(..end + 4 + length);
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
                    }
                }
            });
        }
    });
    (url, received)
}

#[test]
fn each_call_has_a_line_and_a_trace_that_the_model_server_continues() {
    let mock = mock_model::spawn(MockOptions { journal: Journal::in_memory(), ..MockOptions::default() }).unwrap();
    let (url, received) = collector();
    let house = House::new();
    let upstreams = format!(
        "[telemetry]\naccess_log = \"access.log\"\ntraces = \"{url}\"\n[[upstream]]\nname = \"chat\"\nendpoints = [\"{}\"]\n",
        mock.url()
    );
    house.configure("", &upstreams);
    let mut running = house.start();
    let token = house.token();
    let mut client = Client::connect(running.address);
    let answer = client.chat(&token, &chat_body("m", "my number is 536-22-8145", false));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(Client::connect(running.address).chat("nonsense", &chat_body("m", "hi", false)).status, 401);

    let mut spans = Vec::new();
    while spans.len() < 3 {
        let body: Value = received.recv_timeout(Duration::from_secs(30)).unwrap();
        spans.extend(body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().iter().cloned());
    }
    let client_span = spans.iter().find(|span| span["kind"] == 3).unwrap();
    let server_span = spans.iter().find(|span| span["spanId"] == client_span["parentSpanId"]).unwrap();
    assert_eq!((&client_span["name"], &server_span["name"]), (&"chat m".into(), &"POST /v1/chat/completions".into()));
    let seen = mock.journal().entries();
    let traceparent = seen[0].header("traceparent").unwrap();
    assert_eq!(
        traceparent,
        format!("00-{}-{}-01", client_span["traceId"].as_str().unwrap(), client_span["spanId"].as_str().unwrap())
    );

    let log = house.path("access.log");
    running.wait_until("two lines are written", |_| {
        std::fs::read_to_string(&log).is_ok_and(|text| text.lines().count() >= 2)
    });
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(!text.contains("536-22-8145") && !text.contains("alice"), "{text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let good = lines.iter().find(|line| line["status"] == 200).unwrap();
    assert_eq!(good["request_id"], answer.request_id());
    assert_eq!(
        (&good["route"], &good["upstream"], &good["model"]),
        (&"/v1/chat/completions".into(), &"chat".into(), &"m".into())
    );
    assert!(good["reached_us"]["answered"].as_u64() >= good["reached_us"]["first_byte"].as_u64(), "{good}");
    let refused = lines.iter().find(|line| line["status"] == 401).unwrap();
    assert_eq!(refused["fault"], "caller");
}
