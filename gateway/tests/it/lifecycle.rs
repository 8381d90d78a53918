//! The life of the real process: reload, replacement, service manager, drain.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use crate::common::run::{House, Running};
use crate::common::{Client, binary, chat_body, sallyport, stream_text};
use load_tests::mock_model::{self, MockHandle, MockOptions};

fn mock(say: &str, between_tokens: Duration) -> MockHandle {
    mock_model::spawn(MockOptions { say: Some(say.to_owned()), between_tokens, ..MockOptions::default() }).unwrap()
}

fn upstream(mock: &MockHandle) -> String {
    format!("[[upstream]]\nname = \"chat\"\nendpoints = [\"{}\"]\n", mock.url())
}

fn answer_of(running: &Running, token: &str) -> String {
    let answer = Client::connect(running.address).chat(token, &chat_body("m", "hello", false));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

const RELOADED: &str = "sallyport_config_reloads_total{result=\"ok\"}";
const NOT_RELOADED: &str = "sallyport_config_reloads_total{result=\"failed\"}";

#[test]
fn a_reload_changes_new_calls_and_leaves_running_ones_alone() {
    let (house, first, second) =
        (House::new(), mock("from the first", Duration::from_millis(30)), mock("from the second", Duration::ZERO));
    house.configure("", &upstream(&first));
    let (mut running, token) = (house.start(), house.token());
    let mut stream = Client::connect(running.address);
    stream.send(crate::common::chat_request(&token, &chat_body("m", "hello", true)).as_bytes());
    assert!(stream.wait_for("data: "));

    house.configure("", &format!("{}[evidence]\norigin = \"other.example\"\n", upstream(&second)));
    running.signal(libc::SIGHUP);
    running.wait_until("the new configuration is in force", |running| running.metric(&token, RELOADED) >= 1);
    assert!(answer_of(&running, &token).contains("from the second"));
    assert!(stream_text(&stream.answer().text()).contains("from the first"), "the stream began before the reload");
    assert!(running.log().contains("read at start-up only") && running.log().contains("evidence"));

    // The file alone, without a signal; and a broken one, which changes nothing.
    house.configure("nonsense = true", &upstream(&first));
    running.wait_until("the broken file is refused", |running| running.metric(&token, NOT_RELOADED) >= 1);
    assert!(answer_of(&running, &token).contains("from the second"));
    assert!(running.get("/readyz", &token).text().contains("unknown key `nonsense`"));
    house.configure("", &upstream(&first));
    running.wait_until("the mended file is in force", |running| running.metric(&token, RELOADED) >= 2);
    assert!(answer_of(&running, &token).contains("from the first"));
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn a_successor_takes_the_sockets_over_and_no_call_fails() {
    let (house, model) = (House::new(), mock("hello", Duration::ZERO));
    house.configure("", &upstream(&model));
    let (old, token) = (house.start(), house.token());
    let address = old.address;
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (stop, answered, token) = (Arc::clone(&stop), Arc::clone(&answered), token.clone());
            std::thread::spawn(move || call_until(address, &token, &stop, &answered))
        })
        .collect();
    let mut stream = Client::connect(address);
    stream.send(crate::common::chat_request(&token, &chat_body("m", "hello", true)).as_bytes());
    assert!(stream.answer().text().contains("[DONE]"));

    let mut new = house.start_with(&["--take-over"]);
    assert_eq!(new.address, address);
    assert_eq!(old.wait(), Some(0), "the old process finished its calls and ended");
    let before = answered.load(SeqCst);
    new.wait_until("the new process answers", |_| answered.load(SeqCst) > before + 50);
    stop.store(true, SeqCst);
    for caller in callers {
        caller.join().expect("no call failed");
    }
    assert_eq!(new.stop(), Some(0));
    let data = house.path("data");
    let verified = sallyport(&["audit", "verify", "--data", data.to_str().unwrap()]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

/// Calls over a kept-alive connection; a new one only when the gateway said that the old one ends.
fn call_until(address: SocketAddr, token: &str, stop: &AtomicBool, answered: &AtomicUsize) {
    let mut client = Client::connect(address);
    while !stop.load(SeqCst) {
        let answer = client.chat(token, &chat_body("m", "hello", false));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answered.fetch_add(1, SeqCst);
        if answer.field("connection").as_deref() == Some("close") {
            client = Client::connect(address);
        }
    }
}

#[test]
fn a_service_manager_passes_the_socket_and_is_told_how_we_are() {
    let (house, model) = (House::new(), mock("hello", Duration::ZERO));
    house.configure("", &upstream(&model));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let manager = UnixDatagram::bind(house.path("notify")).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let told = |word: &str| {
        let mut buffer = [0; 512];
        let got = manager.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..got]).into_owned();
        assert!(text.contains(word), "{text}");
    };

    // As a manager does it: descriptor 3, and the process's own id.
    let mut command = std::process::Command::new("/bin/sh");
    command
        .args(["-c", "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" \"$@\" 3<&0"])
        .arg(binary().get_program())
        .args(["run", "--cores", "1", "--config"])
        .arg(house.path("sallyport.toml"))
        .env("NOTIFY_SOCKET", house.path("notify"))
        .stdin(Stdio::from(OwnedFd::from(listener)));
    let running = Running::spawn(command);
    told("READY=1");
    let token = house.token();
    assert_eq!(running.address, address);
    answer_of(&running, &token);
    assert_eq!(running.get("/readyz", "").status, 200);

    running.signal(libc::SIGHUP);
    told("RELOADING=1");
    told("READY=1");
    running.signal(libc::SIGTERM);
    told("STOPPING=1");
    assert_eq!(running.wait(), Some(0));
}

#[test]
fn the_first_interrupt_drains_and_the_second_ends() {
    let (house, model) = (House::new(), mock("hello", Duration::from_secs(60)));
    house.configure("", &upstream(&model));
    let (mut running, token) = (house.start(), house.token());
    let mut stream = Client::connect(running.address);
    stream.send(crate::common::chat_request(&token, &chat_body("m", "hello", true)).as_bytes());
    assert!(stream.wait_for("data: "));
    assert_eq!(running.get("/readyz", "").status, 200);

    running.signal(libc::SIGINT);
    running.wait_until("readiness fails", |running| running.get("/readyz", "").status == 503);
    running.wait_until("nobody listens", |running| Client::try_connect(running.address).is_none());
    running.signal(libc::SIGINT);
    assert_eq!(running.wait(), Some(130));
}

#[test]
fn readiness_fails_before_the_door_is_shut() {
    let (house, model) = (House::new(), mock("hello", Duration::ZERO));
    house.configure("[listen.limits]\ndrain_lag = \"5s\"", &upstream(&model));
    let (mut running, token) = (house.start(), house.token());
    running.signal(libc::SIGTERM);
    running.wait_until("readiness fails", |running| running.get("/readyz", "").status == 503);
    let mut client = Client::connect(running.address);
    let answer = client.chat(&token, &chat_body("m", "hello", false));
    assert_eq!((answer.status, answer.field("connection").as_deref()), (200, Some("close")));
    assert_eq!(running.wait(), Some(0));
}
