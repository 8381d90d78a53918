//! More connections than there may be, cores that stand still, and whom a load balancer says that a connection comes from.

use crate::common::run::{House, Running};
use crate::common::{Client, chat_body, chat_request};
use load_tests::mock_model::{self, MockHandle, MockOptions};

fn gateway(listen: &str) -> (MockHandle, House, Running, String) {
    let (house, mock) = (House::new(), mock_model::spawn(MockOptions::default()).unwrap());
    house.configure(listen, &format!("[[upstream]]\nname = \"mock\"\nendpoints = [\"{}\"]\n", mock.url()));
    let (running, token) = (house.start(), house.token());
    (mock, house, running, token)
}

#[test]
fn connections_above_the_limit_are_told_so_in_their_own_form() {
    let (_mock, _house, running, token) = gateway("[listen.limits]\nconnections = 2");
    let mut held = [Client::connect(running.address), Client::connect(running.address)];
    for client in &mut held {
        assert_eq!(client.chat(&token, &chat_body("m", "hi", false)).status, 200);
    }
    let request = chat_request(&token, &chat_body("m", "hi", false));
    let openai = Client::connect(running.address).try_answer_to(&request).unwrap();
    insta::assert_snapshot!(format!("{} {}", openai.status, openai.text()), @r#"503 {"error":{"message":"The gateway has as many connections as it may have. Try again shortly.","type":"server_error","param":null,"code":"too_many_connections"}}"#);
    assert_eq!(
        (openai.field("retry-after").as_deref(), openai.field("connection").as_deref()),
        (Some("1"), Some("close"))
    );
    let anthropic = Client::connect(running.address)
        .try_answer_to(&request.replace("/v1/chat/completions", "/v1/messages"))
        .unwrap();
    assert!(anthropic.status == 503 && anthropic.text().starts_with("{\"type\":\"error\""), "{}", anthropic.text());
    assert_eq!(running.metric(&token, "sallyport_limits_exceeded_total{limit=\"connections\"}"), 2);
    assert_eq!(running.metric(&token, "sallyport_connections_shed_total"), 2);

    // Far too many at once that say nothing: most are closed at once, and those within the limit are served all the same.
    let silent: Vec<_> = (0..300).map(|_| Client::connect(running.address)).collect();
    assert_eq!(held[0].chat(&token, &chat_body("m", "hi", false)).status, 200);
    drop(silent);
    drop(held);
    let mut running = running;
    let address = running.address;
    running.wait_until("there is room again", |_| {
        Client::try_connect(address)
            .and_then(|mut client| client.try_answer_to(&request))
            .is_some_and(|answer| answer.status == 200)
    });
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn a_core_that_stands_still_is_counted() {
    let (_mock, _house, mut running, token) = gateway("");
    let stalls = "sallyport_core_stalls_total{core=\"0\"}";
    let before = running.metric(&token, stalls);
    running.signal(libc::SIGSTOP);
    std::thread::sleep(std::time::Duration::from_millis(600));
    running.signal(libc::SIGCONT);
    running.wait_until("the stall is counted", |running| running.metric(&token, stalls) > before);
    let page = running.get("/metrics", &token).text();
    let value = |name: &str| -> f64 {
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("{core=\"0\"} "));
        line.unwrap_or_else(|| panic!("{name} is not in\n{page}")).parse().unwrap()
    };
    assert!(value("sallyport_core_stalled_seconds_total") >= 0.1);
    assert!(value("sallyport_core_last_beat_seconds") >= 0.0);
}

#[test]
fn a_load_balancer_says_whom_a_connection_comes_from() {
    let (mock, house, running, token) = gateway("proxy_protocol = [\"127.0.0.1\"]\n");
    let request = chat_request(&token, &chat_body("m", "hi", false));
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    v2.extend_from_slice(&[203, 0, 113, 9, 192, 0, 2, 1, 0x30, 0x39, 1, 0xbb]);
    let (v1, local) = (b"PROXY TCP4 203.0.113.7 192.0.2.1 12345 443\r\n".to_vec(), b"PROXY UNKNOWN\r\n".to_vec());
    for (header, client) in [(v1, "203.0.113.7"), (v2, "203.0.113.9"), (local, "127.0.0.1")] {
        let mut connection = Client::connect(running.address);
        connection.send(&[&header, request.as_bytes()].concat());
        let answer = connection.answer();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let show = crate::common::binary()
            .args(["audit", "show", &answer.request_id(), "--data"])
            .arg(house.path("data"))
            .output()
            .unwrap();
        let shown = String::from_utf8(show.stdout).unwrap();
        assert!(shown.contains(client), "{client} is not in {shown}{}", String::from_utf8_lossy(&show.stderr));
    }
    // Without a header there is nobody to believe.
    assert!(Client::connect(running.address).try_answer_to(&request).is_none());
    assert_eq!(running.metric(&token, "sallyport_proxy_headers_refused_total"), 1);
    assert_eq!(mock.requests_seen(), 3);
    assert_eq!(running.stop(), Some(0));

    // From elsewhere the header is a malformed request like any other: no version stands where one belongs.
    house.configure(
        "proxy_protocol = [\"203.0.113.0/24\"]\n",
        &format!("[[upstream]]\nname = \"mock\"\nendpoints = [\"{}\"]\n", mock.url()),
    );
    let running = house.start();
    let mut connection = Client::connect(running.address);
    connection.send(b"PROXY TCP4 203.0.113.7 192.0.2.1 12345 443\r\n");
    connection.send(request.as_bytes());
    assert_eq!(connection.answer().status, 505);
}
