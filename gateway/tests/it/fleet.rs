//! Several upstreams and servers behind the real binary: who gets a call, what happens when servers fail, and the limits.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};

use crate::common::run::House;
use crate::common::{Answer, Client, chat_body, chat_request, dead_address};
use load_tests::mock_model::{self, Journal, MockOptions};

/// A model server that does what the test says.
struct Model {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Calls that came, checks not counted.
    calls: AtomicUsize,
    /// Status of the answer to checks; 0 is 200.
    health: AtomicU16,
    /// How many requests a connection gets an answer to before it is closed at the next; 0 is any number.
    answers_per_connection: AtomicUsize,
    /// Calls wait while this is true.
    held: Mutex<bool>,
    released: Condvar,
}

impl Model {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || state.serve(stream));
            }
        });
        Self { address, state }
    }

    fn calls(&self) -> usize {
        self.state.calls.load(SeqCst)
    }

    fn hold(&self, held: bool) {
        *self.state.held.lock().unwrap() = held;
        self.state.released.notify_all();
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl State {
    fn serve(&self, mut stream: TcpStream) {
        let mut answered = 0;
        while let Some(head) = read_request(&mut stream) {
            let check = head.starts_with("GET /health ");
            let status = if check { self.health.load(SeqCst) } else { 0 };
            if !check {
                self.calls.fetch_add(1, SeqCst);
                let limit = self.answers_per_connection.load(SeqCst);
                if limit > 0 && answered >= limit {
                    return;
                }
                let held = self.held.lock().unwrap();
                drop(self.released.wait_while(held, |held| *held).unwrap());
            }
            answered += 1;
            let status = if status == 0 { 200 } else { status };
            let body = r#"{"object":"list","data":[]}"#;
            let answer = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// The head of a request without a body, or with one in the same packets.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut seen = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Some(head.to_owned());
            }
        }
        match stream.read(&mut buffer) {
            Ok(got @ 1..) => seen.extend_from_slice(&buffer[..got]),
            _ => return None,
        }
    }
}

fn ask(client: &mut Client, token: &str) -> Answer {
    client.send(format!("GET /v1/models HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token}\r\n\r\n").as_bytes());
    client.answer()
}

fn upstream(name: &str, endpoints: &[String], more: &str) -> String {
    let endpoints: Vec<String> = endpoints.iter().map(|url| format!("\"{url}\"")).collect();
    format!("[[upstream]]\nname = \"{name}\"\nendpoints = [{}]\n{more}\n", endpoints.join(", "))
}

#[test]
fn a_dead_server_is_passed_over_and_then_left_alone() {
    let (house, model) = (House::new(), Model::start());
    let dead = format!("http://{}", dead_address());
    house.configure("", &upstream("chat", &[dead, model.url()], "ejection = { after = 3, base = \"10m\" }"));
    let (running, token) = (house.start(), house.token());
    for _ in 0..40 {
        assert_eq!(ask(&mut Client::connect(running.address), &token).status, 200);
    }
    assert_eq!(model.calls(), 40);
    assert_eq!(running.metric(&token, "sallyport_upstream_ejections_total"), 1);
    assert_eq!(running.metric(&token, "sallyport_upstream_connections_total{result=\"failed\"}"), 3);
    assert_eq!(running.metric(&token, "sallyport_upstream_retries_total{reason=\"connect\"}"), 3);
}

#[test]
fn retries_end_when_their_budget_is_used_up() {
    let house = House::new();
    let dead: Vec<String> = (0..3).map(|_| format!("http://{}", dead_address())).collect();
    house.configure("", &upstream("chat", &dead, "retries = { percent = 0, burst = 1 }\nejection = { after = 0 }"));
    let (running, token) = (house.start(), house.token());
    let mut client = Client::connect(running.address);
    for _ in 0..5 {
        let answer = ask(&mut client, &token);
        assert!(answer.status == 502 && answer.text().contains("upstream_unreachable"), "{}", answer.text());
    }
    assert_eq!(running.metric(&token, "sallyport_upstream_retries_total{reason=\"connect\"}"), 1);
    assert!(running.metric(&token, "sallyport_upstream_retries_total{reason=\"budget\"}") >= 4);
}

#[test]
fn ill_servers_get_no_calls_until_they_are_well() {
    let (house, ill, well) = (House::new(), Model::start(), Model::start());
    ill.state.health.store(503, SeqCst);
    let health = "health = { path = \"/health\", every = \"50ms\", timeout = \"1s\", unhealthy_after = 1, healthy_after = 1 }\nslow_start = \"1ms\"";
    house.configure("", &upstream("chat", &[ill.url(), well.url()], health));
    let (mut running, token) = (house.start(), house.token());
    let healthy = format!("sallyport_upstream_server_healthy{{upstream=\"chat\",server=\"{}\"}}", ill.address);
    running.wait_until("the ill server is found out", |running| running.metric(&token, &healthy) == 0);
    let before = ill.calls();
    let mut client = Client::connect(running.address);
    for _ in 0..20 {
        assert_eq!(ask(&mut client, &token).status, 200);
    }
    assert_eq!((ill.calls(), well.calls()), (before, 20));
    ill.state.health.store(0, SeqCst);
    running.wait_until("it is found well", |running| running.metric(&token, &healthy) == 1);
    running.wait_until("it gets calls again", |running| {
        let mut client = Client::connect(running.address);
        ask(&mut client, &token);
        ill.calls() > before
    });
}

#[test]
fn the_model_chooses_the_upstream() {
    let house = House::new();
    let (small, large) = (
        mock_model::spawn(MockOptions { say: Some("from small".to_owned()), ..MockOptions::default() }).unwrap(),
        mock_model::spawn(MockOptions { say: Some("from large".to_owned()), ..MockOptions::default() }).unwrap(),
    );
    let upstreams = [
        upstream("small", &[small.url()], "match = { path = \"/v1/\", models = [\"m\"] }"),
        upstream("large", &[large.url()], "match = { path = \"/v1/\", models = [\"mock-*\", \"secret-*\"] }"),
    ];
    house.configure("", &upstreams.join("\n"));
    let (running, token) = (house.start(), house.token());
    let mut client = Client::connect(running.address);
    for (model, text) in [("m", "from small"), ("mock-model", "from large")] {
        let answer = client.chat(&token, &chat_body(model, "hello", false));
        assert!(answer.status == 200 && answer.text().contains(text), "{}", answer.text());
    }
    let unknown = client.chat(&token, &chat_body("gpt-7", "hello", false));
    assert!(unknown.status == 404 && unknown.text().contains("model_not_found"), "{}", unknown.text());
    // The policy still judges: this model is served, but not to everyone.
    assert_eq!(client.chat(&token, &chat_body("secret-model", "hello", false)).status, 403);
}

#[test]
fn the_lists_of_models_become_one() {
    let house = House::new();
    let start = |models: &[&str]| {
        let (journal, models) = (Journal::in_memory(), models.iter().map(|model| (*model).to_owned()).collect());
        let mock =
            mock_model::spawn(MockOptions { journal: journal.clone(), models, ..MockOptions::default() }).unwrap();
        (mock, journal)
    };
    let ((small, small_saw), (large, large_saw)) = (start(&["m", "mock-model"]), start(&["mock-model", "mock-2", "m"]));
    let upstreams = [
        upstream("small", &[small.url()], "match = { path = \"/v1/\", models = [\"m\"] }"),
        upstream("large", &[large.url()], "match = { path = \"/v1/\", models = [\"mock-*\"] }"),
        upstream("down", &[format!("http://{}", dead_address())], "match = { path = \"/v1/\", models = [\"gone\"] }"),
    ];
    house.configure("", &upstreams.join("\n"));
    let (running, token) = (house.start(), house.token());
    let mut client = Client::connect(running.address);
    let answer = ask(&mut client, &token);
    let list: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let names: Vec<&str> = list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    // Only models that are routed there, and that the policy lets this caller use: nobody may use mock-2.
    assert_eq!((answer.status, names), (200, vec!["m", "mock-model"]));
    // Each upstream was asked in a call of its own.
    let ids = [&small_saw, &large_saw].map(|saw| saw.entries().first().unwrap().request_id().unwrap().to_owned());
    assert!(ids[0] == answer.request_id() && ids[0] != ids[1]);
    assert_eq!(running.metric(&token, "sallyport_requests_forwarded_total"), 3);
    // The connection goes on.
    assert_eq!(ask(&mut client, &token).status, 200);
}

#[test]
fn a_resting_connection_that_the_server_closed_costs_no_call() {
    let (house, model) = (House::new(), Model::start());
    model.state.answers_per_connection.store(1, SeqCst);
    house.configure("", &upstream("chat", &[model.url()], ""));
    let (running, token) = (house.start(), house.token());
    let mut client = Client::connect(running.address);
    for _ in 0..3 {
        assert_eq!(ask(&mut client, &token).status, 200);
    }
    // The second and third call came to a connection that was closed at them, and then to a new one.
    assert_eq!(model.calls(), 5);
    assert_eq!(running.metric(&token, "sallyport_upstream_retries_total{reason=\"stale\"}"), 2);
}

#[test]
fn above_the_limits_calls_are_shed() {
    let (house, model) = (House::new(), Model::start());
    model.hold(true);
    let per_host =
        |host: &str, more: &str| upstream(host, &[model.url()], &format!("match = {{ host = \"{host}\" }}\n{more}"));
    let upstreams = [per_host("narrow", "limits = { in_flight = 1 }"), per_host("wide", "")];
    house.configure("[listen.limits]\nin_flight = 2", &upstreams.join("\n"));
    let (mut running, token) = (house.start(), house.token());
    let request =
        |host: &str| format!("GET /v1/models HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n");
    let (mut first, mut second) = (Client::connect(running.address), Client::connect(running.address));
    first.send(request("narrow").as_bytes());
    running.wait_until("the first call waits", |_| model.calls() == 1);
    let mut third = Client::connect(running.address);
    third.send(request("narrow").as_bytes());
    let answer = third.answer();
    assert!(answer.status == 503 && answer.text().contains("upstream_overloaded"), "{}", answer.text());
    assert_eq!(answer.field("retry-after").as_deref(), Some("1"));

    second.send(request("wide").as_bytes());
    running.wait_until("the second call waits", |_| model.calls() == 2);
    third.send(request("wide").as_bytes());
    let answer = third.answer();
    assert!(answer.status == 503 && answer.text().contains("too_busy"), "{}", answer.text());

    model.hold(false);
    assert_eq!((first.answer().status, second.answer().status), (200, 200));
    assert_eq!(running.metric(&token, "sallyport_limits_exceeded_total{limit=\"in_flight\"}"), 1);
    assert_eq!(running.metric(&token, "sallyport_limits_exceeded_total{limit=\"upstream_in_flight\"}"), 1);
}

#[test]
fn each_upstream_has_its_time_outs() {
    let (house, model) = (House::new(), Model::start());
    model.hold(true);
    let timeouts = "timeouts = { first_byte = \"200ms\" }";
    house.configure("", &upstream("chat", &[model.url()], timeouts));
    let (running, token) = (house.start(), house.token());
    let answer = ask(&mut Client::connect(running.address), &token);
    assert!(answer.status == 504 && answer.text().contains("upstream_timeout"), "{}", answer.text());
    assert_eq!(running.metric(&token, "sallyport_limits_exceeded_total{limit=\"first_byte\"}"), 1);
    model.hold(false);
}

#[test]
fn slow_bodies_are_cut_by_their_rate() {
    let (house, model) = (House::new(), Model::start());
    let limits = "[listen.limits]\nbody_rate_min = \"1MiB\"\nbody_grace = \"500ms\"\nbody_bytes = \"64KiB\"";
    house.configure(limits, &upstream("chat", &[model.url()], "opaque = [\"/v1/realtime\"]"));
    let (running, token) = (house.start(), house.token());
    let request = chat_request(&token, &chat_body("m", &"x".repeat(1000), false));
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut slow = Client::connect(running.address);
    slow.send(format!("{head}\r\n\r\n").as_bytes());
    for byte in body.bytes().take(100) {
        // Until the gateway has had enough.
        if slow.try_send(&[byte]).is_err() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let answer = slow.answer();
    assert!(answer.status == 408 && answer.text().contains("body_timeout"), "{}", answer.text());

    let mut large = Client::connect(running.address);
    large.send(
        format!(
            "POST /v1/realtime HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token}\r\nContent-Length: 70000\r\n\r\n"
        )
        .as_bytes(),
    );
    let answer = large.answer();
    assert!(answer.status == 413 && answer.text().contains("body_too_large"), "{}", answer.text());
}
