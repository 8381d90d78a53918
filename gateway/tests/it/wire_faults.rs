//! Model servers and callers that break off, stall, answer early, or say more than they were asked, byte for byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use crate::common::run::{House, Running};
use crate::common::{Answer, Client, binary, chat_body, chat_request};

/// Lets every call through and looks into none, on paths that may pass unread.
const OPEN: &str = "policy \"open\" version 1\nrule all { allow }\n";
const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

/// A model server that treats each connection as the test says.
fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Everything up to the text, and what came with it.
fn read_to(stream: &mut TcpStream, text: &str) -> Option<String> {
    let mut seen = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let so_far = String::from_utf8_lossy(&seen).into_owned();
        if so_far.contains(text) {
            return Some(so_far);
        }
        match stream.read(&mut buffer) {
            Ok(got @ 1..) => seen.extend_from_slice(&buffer[..got]),
            _ => return None,
        }
    }
}

/// Ends the connection with a reset.
fn reset(stream: TcpStream) {
    // What was written has to be read before: a reset takes it away.
    std::thread::sleep(std::time::Duration::from_millis(100));
    socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
}

struct Scene {
    house: House,
    running: Running,
    token: String,
}

impl Scene {
    /// `more` belongs to the upstream.
    fn new(policy: Option<&str>, listen: &str, more: &str, server: SocketAddr) -> Self {
        let house = House::new();
        if let Some(policy) = policy {
            std::fs::write(house.path("test.policy"), policy).unwrap();
        }
        house.configure(
            listen,
            &format!("[[upstream]]\nname = \"chat\"\nendpoints = [\"http://{server}\"]\nopaque = [\"/raw\"]\n{more}\n"),
        );
        let (running, token) = (house.start(), house.token());
        Self { house, running, token }
    }

    fn client(&self) -> Client {
        Client::connect(self.running.address)
    }

    fn head(&self, method: &str, more: &str) -> String {
        format!("{method} /raw HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {}\r\n{more}\r\n", self.token)
    }

    fn chat(&self, stream: bool) -> Option<Answer> {
        self.client().try_answer_to(&chat_request(&self.token, &chat_body("m", "hi", stream)))
    }

    /// Ends the gateway; the lines of all calls in its evidence, which is sound.
    fn evidence(self) -> Vec<String> {
        assert_eq!(self.running.stop(), Some(0));
        calls_of(&self.house)
    }
}

fn calls_of(house: &House) -> Vec<String> {
    let audit = |args: &[&str]| {
        let output = binary().arg("audit").args(args).arg("--data").arg(house.path("data")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(audit(&["verify"]).contains("SOUND"));
    audit(&["search", "--json", "--limit", "1000", "kind:call"]).lines().map(str::to_owned).collect()
}

const EVENT: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello there\"},\"finish_reason\":null}]}\n\n";

fn stream_head() -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{EVENT}\r\n",
        EVENT.len()
    )
}

#[test]
fn a_reset_at_any_place_ends_one_call_and_no_more() {
    let place = Arc::new(AtomicUsize::new(0));
    let at = Arc::clone(&place);
    let begun = [
        String::new(),
        "HTTP/1.1 200 OK\r\ncontent-ty".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"id\":".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n20\r\n{\"id\":"
            .to_owned(),
        format!("{}40\r\ndata: {{\"id\"", stream_head()),
    ];
    let broken = begun.len();
    let model = server(move |mut stream| {
        while read_to(&mut stream, "\"messages\"").is_some() {
            match begun.get(at.load(SeqCst)) {
                Some(text) => {
                    stream.write_all(text.as_bytes()).unwrap();
                    return reset(stream);
                }
                None => stream.write_all(GOOD.as_bytes()).unwrap(),
            }
        }
    });
    let scene = Scene::new(None, "", "", model);
    for at in 0..broken {
        place.store(at, SeqCst);
        let streams = at == broken - 1;
        match scene.chat(streams) {
            Some(answer) if streams => {
                let text = answer.text();
                assert!(text.contains("error") && !text.contains("[DONE]"), "{text}");
            }
            Some(answer) => {
                assert!(answer.status == 502 && answer.text().contains("upstream_failed"), "{at}: {}", answer.text())
            }
            None => assert!(streams, "{at}: an answer that had not begun was cut instead of replaced"),
        }
        place.store(broken, SeqCst);
        assert_eq!(scene.chat(false).unwrap().status, 200, "after {at}");
    }
    let calls = scene.evidence();
    assert_eq!(calls.len(), 2 * broken);
    assert_eq!(calls.iter().filter(|call| call.contains("\"ended_by\":\"complete\"")).count(), broken, "{calls:#?}");
}

#[test]
fn a_server_that_falls_silent_is_cut_and_counted() {
    let model = server(|mut stream| {
        if read_to(&mut stream, "\"messages\"").is_some() {
            stream.write_all(stream_head().as_bytes()).unwrap();
            // Until the gateway has had enough.
            let _ = stream.read(&mut [0; 1]);
        }
    });
    let scene = Scene::new(None, "", "timeouts = { idle = \"300ms\" }", model);
    if let Some(answer) = scene.chat(true) {
        let text = answer.text();
        assert!(text.contains("error") && !text.contains("[DONE]"), "{text}");
    }
    assert_eq!(scene.running.metric(&scene.token, "sallyport_limits_exceeded_total{limit=\"stream_idle\"}"), 1);
    let calls = scene.evidence();
    assert!(calls.len() == 1 && !calls[0].contains("\"ended_by\":\"complete\""), "{calls:#?}");
}

#[test]
fn an_answer_that_comes_before_the_request_is_whole_ends_the_upload() {
    let answer =
        "HTTP/1.1 413 Content Too Large\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n\"too big\"";
    for closes in [false, true] {
        let model = server(move |mut stream| {
            if read_to(&mut stream, "first").is_some() {
                // An interim answer is none.
                stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
                if !closes {
                    while matches!(stream.read(&mut [0; 4096]), Ok(1..)) {}
                }
            }
        });
        let scene = Scene::new(Some(OPEN), "", "", model);
        let mut client = scene.client();
        client.send(scene.head("POST", "Content-Length: 1000000\r\n").as_bytes());
        client.send(b"first");
        // The caller never sends the rest.
        let got = client.answer();
        assert_eq!((got.status, got.text().as_str()), (413, "\"too big\""), "{}", got.head);
        assert!(client.is_closed());
        let calls = scene.evidence();
        assert!(calls.len() == 1 && calls[0].contains("413"), "{calls:#?}");
    }
}

#[test]
fn the_caller_is_told_to_go_on_when_its_call_is_let_in() {
    let model = server(|mut stream| {
        // Two requests, the body of each in the same connection.
        while let Some(request) = read_to(&mut stream, "\"messages\"") {
            assert!(!request.to_ascii_lowercase().contains("expect:"), "{request}");
            stream.write_all(GOOD.as_bytes()).unwrap();
        }
    });
    let scene = Scene::new(Some(OPEN), "", "", model);
    let mut client = scene.client();
    let body = chat_body("m", "hi", false);
    for path in ["/v1/chat/completions", "/raw"] {
        let head = scene.head(
            "POST",
            &format!("Expect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: {}\r\n", body.len()),
        );
        client.send(head.replace("/raw", path).as_bytes());
        let go_on = client.interim();
        assert!(go_on.starts_with("HTTP/1.1 100 "), "{go_on}");
        client.send(body.as_bytes());
        assert_eq!(client.answer().status, 200, "{path}");
    }
    // Who is not let in is not told to go on.
    let stranger =
        format!("POST /raw HTTP/1.1\r\nHost: gw\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n", body.len());
    client.send(stranger.as_bytes());
    assert_eq!(client.answer().status, 401);
}

#[test]
fn early_hints_reach_callers_that_know_them() {
    let model = server(|mut stream| {
        while read_to(&mut stream, "\r\n\r\n").is_some() {
            let hints =
                "HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\nconnection: x-hop\r\nx-hop: 1\r\n\r\n";
            // 100 is between us and the server.
            stream.write_all(format!("HTTP/1.1 100 Continue\r\n\r\n{hints}{GOOD}").as_bytes()).unwrap();
        }
    });
    let scene = Scene::new(Some(OPEN), "", "", model);
    let mut client = scene.client();
    client.send(scene.head("GET", "").as_bytes());
    assert_eq!(client.interim(), "HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    let mut old = scene.client();
    old.send(scene.head("GET", "").replace("HTTP/1.1", "HTTP/1.0").as_bytes());
    assert_eq!(old.answer().status, 200);
}

#[test]
fn trailers_end_at_the_gateway_and_bodies_are_whole() {
    let model = server(|mut stream| {
        while let Some(request) = read_to(&mut stream, "0\r\n\r\n") {
            let lower = request.to_ascii_lowercase();
            assert!(lower.contains("hello") && !lower.contains("x-late") && !lower.contains("stranger"), "{request}");
            let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                          5;ext=1\r\nhello\r\n0\r\nx-sum: 1\r\ncontent-length: 3\r\n\r\n";
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let scene = Scene::new(Some(OPEN), "", "", model);
    let mut client = scene.client();
    // Twice on one connection: nothing of the first is left for the second.
    for _ in 0..2 {
        client.send(scene.head("POST", "Transfer-Encoding: chunked\r\nTrailer: X-Late\r\n").as_bytes());
        client.send(b"5\r\nhello\r\n0\r\nX-Late: 1\r\nAuthorization: Bearer stranger\r\n\r\n");
        let answer = client.answer();
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"), "{}", answer.head);
        assert!(!answer.head.to_ascii_lowercase().contains("x-sum"), "{}", answer.head);
    }
    assert_eq!(scene.evidence().len(), 2);
}

#[test]
fn a_stream_that_outlasts_the_drain_is_cut_and_written_down() {
    let model = server(|mut stream| {
        if read_to(&mut stream, "\"messages\"").is_some() {
            stream.write_all(stream_head().as_bytes()).unwrap();
            let _ = stream.read(&mut [0; 1]);
        }
    });
    let scene = Scene::new(None, "[listen.limits]\ndrain = \"300ms\"", "", model);
    let mut client = scene.client();
    client.send(chat_request(&scene.token, &chat_body("m", "hi", true)).as_bytes());
    assert!(client.wait_for("HTTP/1.1 200"));
    scene.running.signal(libc::SIGTERM);
    if let Some(answer) = client.try_answer() {
        assert!(!answer.text().contains("[DONE]"), "{}", answer.text());
    }
    let Scene { house, running, .. } = scene;
    assert_eq!(running.wait(), Some(0));
    let calls = calls_of(&house);
    assert!(calls.len() == 1 && !calls[0].contains("\"ended_by\":\"complete\""), "{calls:#?}");
}
