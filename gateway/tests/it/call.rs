//! One call the whole way: identified, judged, masked, recorded, found again and verified.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::common::{Client, Gateway, POLICY, Setup, any_file_contains, chat_body, chat_request, stream_text};
use load_tests::load::{self, Arrivals, Plan, Target};
use load_tests::mock_model::{self, MockHandle, MockOptions};

const SAY: &str = "The number on file is 536-22-8145, call 212-555-0143.";

fn mock() -> MockHandle {
    mock_model::spawn(MockOptions { say: Some(SAY.to_owned()), ..MockOptions::default() }).unwrap()
}

fn start(directory: &Path, mock: &MockHandle) -> Gateway {
    let policy = directory.join("test.policy");
    if !policy.exists() {
        std::fs::write(&policy, POLICY).unwrap();
    }
    let data = directory.join("data");
    Gateway::start(&Setup { data: &data, policy: &policy, upstream: mock.addr(), cores: 2, extra: Vec::new() })
}

fn audit(data: &Path, args: &[&str]) -> (i32, String) {
    let output = crate::common::binary().arg("audit").args(args).arg("--data").arg(data).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text)
}

#[test]
fn a_streamed_answer_comes_back_masked_and_is_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let mock = mock();
    let gateway = start(directory.path(), &mock);
    let token = gateway.token("alice", "ml-apps");
    let mut client = Client::connect(gateway.address);

    let streamed = client.chat(&token, &chat_body("mock-model", "What is on file?", true));
    let text = stream_text(&streamed.text());
    assert!(text.contains("The number on file is [US_SSN], call [PHONE]."), "{text}");
    assert!(streamed.text().trim_end().ends_with("data: [DONE]"));
    let whole = client.chat(&token, &chat_body("mock-model", "What is on file?", false));
    assert!(whole.text().contains("[US_SSN], call [PHONE]") && !whole.text().contains("8145"), "{}", whole.text());
    let denied = client.chat(&token, &chat_body("secret-model", "x", false));
    assert_eq!(denied.status, 403);

    // Found while the gateway runs, and after it ended.
    let (code, table) = audit(&gateway.data, &["search", "subject:alice"]);
    assert_eq!(code, 0, "{table}");
    for answer in [&streamed, &whole, &denied] {
        assert!(table.contains(&answer.request_id()), "{} is not in\n{table}", answer.request_id());
    }
    let data = gateway.data.clone();
    assert_eq!(gateway.stop(), Some(0));
    let (code, found) = audit(&data, &["search", "decision:deny"]);
    assert!(code == 0 && found.contains(&denied.request_id()) && !found.contains(&whole.request_id()), "{found}");
    let (code, story) = audit(&data, &["show", &streamed.request_id()]);
    assert!(
        code == 0 && story.contains("[US_SSN]") && story.contains("alice") && story.contains("data.mask-answers"),
        "{story}"
    );
    assert!(!story.contains("536-22-8145"), "{story}");
    let (code, verdict) = audit(&data, &["verify"]);
    assert_eq!(code, 0, "{verdict}");
}

#[test]
fn a_card_number_in_a_prompt_never_reaches_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let mock = mock();
    let gateway = start(directory.path(), &mock);
    let token = gateway.token("alice", "ml-apps");
    let mut client = Client::connect(gateway.address);
    // In a channel, in a member nobody knows, as a number, as a key, and split by escapes.
    let body = r#"{"model":"m","messages":[{"role":"user","content":"my card is 4111 1111 1111 1111"}],
        "x":{"note":"4111111111111111","n":4111111111111111,"4111-1111-1111-1111":1,"e":"\u0034111111111111111"}}"#;
    let answer = client.chat(&token, body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let data = gateway.data.clone();
    let id = answer.request_id();
    let path = chat_request(&token, &chat_body("m", "x", false)).replacen(
        "/v1/chat/completions",
        "/v1/chat/completions?card=4111111111111111",
        1,
    );
    client.send(path.as_bytes());
    assert_eq!(client.answer().status, 200);
    assert_eq!(gateway.stop(), Some(0));
    for needle in ["4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111"] {
        assert_eq!(any_file_contains(&data, needle.as_bytes()), None);
    }
    // Encrypted at rest would hide it from a grep too, so look at what the record really holds.
    let (code, story) = audit(&data, &["show", &id]);
    assert!(code == 0 && story.contains("[CREDIT_CARD]") && !story.contains("1111"), "{story}");
}

#[test]
fn one_changed_byte_is_found_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let mock = mock();
    let gateway = start(directory.path(), &mock);
    let token = gateway.token("alice", "ml-apps");
    let mut client = Client::connect(gateway.address);
    let answer = client.chat(&token, &chat_body("m", "hello", false));
    let data = gateway.data.clone();
    assert_eq!(gateway.stop(), Some(0));
    let segment = first_segment(&data.join("evidence")).unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let id = answer.request_id();
    let at = bytes.windows(id.len()).position(|window| window == id.as_bytes()).expect("the leaf holds its id");
    bytes[at + id.len() + 4] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let (code, verdict) = audit(&data, &["verify"]);
    assert_eq!(code, 1, "{verdict}");
    assert!(verdict.contains(&id), "{verdict}");
}

fn first_segment(directory: &Path) -> Option<std::path::PathBuf> {
    let mut entries: Vec<_> = std::fs::read_dir(directory).ok()?.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            if let Some(found) = first_segment(&path) {
                return Some(found);
            }
        } else if path.extension().is_some_and(|extension| extension == "seg") {
            return Some(path);
        }
    }
    None
}

#[test]
fn a_call_waits_for_a_person_and_the_approval_is_used_once() {
    let directory = tempfile::tempdir().unwrap();
    let mock = mock();
    let gateway = start(directory.path(), &mock);
    let alice = gateway.token("alice", "ml-apps");
    let admin = format!("http://{}", gateway.admin);
    let approvals = |token: &str, args: &[&str]| {
        let output = crate::common::binary()
            .arg("approvals")
            .args(args)
            .args(["--admin", &admin, "--token", token])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap(), text)
    };
    let lead = gateway.token("grace", "ml-leads");
    let body = chat_body("finetune-model", "tune it", false);

    let mut parked = Client::connect(gateway.address);
    parked.send(chat_request(&alice, &body).as_bytes());
    let pending = wait_until(|| approvals(&lead, &["list"]).1, |list| list.contains("alice"));
    assert!(pending.contains("finetune-model"), "{pending}");
    assert_eq!(mock.requests_seen(), 0, "nothing goes to the model before the approval");

    let own = gateway.token("alice", "ml-leads");
    assert_ne!(approvals(&own, &["approve", "--next", "--reason", "mine"]).0, 0, "nobody approves their own call");
    assert_ne!(approvals(&alice, &["approve", "--next", "--reason", "x"]).0, 0, "only the named group approves");
    let (code, said) = approvals(&lead, &["approve", "--next", "--reason", "checked with the team"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(parked.answer().status, 200);
    assert_eq!(mock.requests_seen(), 1);

    // The same call again asks again; this time it is refused.
    parked.send(chat_request(&alice, &body).as_bytes());
    wait_until(|| approvals(&lead, &["list"]).1, |list| list.contains("alice"));
    let (code, said) = approvals(&lead, &["deny", "--next", "--reason", "not twice"]);
    assert_eq!(code, 0, "{said}");
    let refused = parked.answer();
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("not twice"), "{}", refused.text());
    assert_eq!(mock.requests_seen(), 1);
}

fn wait_until(read: impl Fn() -> String, good: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let text = read();
        if good(&text) {
            return text;
        }
        assert!(Instant::now() < deadline, "still: {text}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn editing_the_policy_changes_verdicts_without_a_failed_call() {
    let directory = tempfile::tempdir().unwrap();
    let mock = mock();
    let gateway = start(directory.path(), &mock);
    let token = gateway.token("alice", "ml-apps");
    let policy = directory.path().join("test.policy");
    let address = gateway.address;
    // What `sallyport-load run --rate 100 --duration 10s --accept 403` does.
    let body = chat_body("m", "hi", false);
    let target = Target::new(&format!("http://{address}/v1/chat/completions")).unwrap();
    let arrivals = Arrivals::Open { rate: 100.0, connections: None };
    let mut plan = Plan::new(target, arrivals, Duration::from_secs(10), body.into());
    plan.headers.push(("authorization".parse().unwrap(), format!("Bearer {token}").parse().unwrap()));
    plan.accept = vec![403];
    let traffic = std::thread::spawn(move || load::run(plan).unwrap());
    let status_now = || {
        let mut client = Client::connect(address);
        client.chat(&token, &chat_body("m", "hi", false)).status.to_string()
    };
    for round in 0..3 {
        std::fs::write(&policy, format!("{POLICY}\nrule deny.round{round} {{ when model == \"m\" deny \"closed\" }}"))
            .unwrap();
        wait_until(status_now, |status| status == "403");
        // A broken file keeps the last good set.
        std::fs::write(&policy, "rule broken {").unwrap();
        std::thread::sleep(Duration::from_millis(400));
        assert_eq!(status_now(), "403");
        std::fs::write(&policy, POLICY).unwrap();
        wait_until(status_now, |status| status == "200");
    }
    let report = traffic.join().unwrap();
    assert_eq!((report.ok, report.failed, report.other_status, report.dropped), (report.due, 0, 0, 0), "{report:?}");
    assert!(report.statuses.keys().eq(&[200, 403]), "both verdicts were seen, and no other: {report:?}");
}

#[test]
fn a_drain_lets_streams_finish() {
    let directory = tempfile::tempdir().unwrap();
    let options =
        MockOptions { say: Some(SAY.repeat(4)), between_tokens: Duration::from_millis(20), ..MockOptions::default() };
    let mock = mock_model::spawn(options).unwrap();
    let gateway = start(directory.path(), &mock);
    let token = gateway.token("alice", "ml-apps");
    let mut client = Client::connect(gateway.address);
    client.send(chat_request(&token, &chat_body("m", "hi", true)).as_bytes());
    assert!(client.wait_for("data: "));
    let mut idle = Client::connect(gateway.address);
    gateway.signal(libc::SIGTERM);
    let answer = client.answer();
    assert!(answer.text().trim_end().ends_with("[DONE]"), "{}", answer.text());
    assert!(idle.is_closed());
    assert_eq!(gateway.wait(), Some(0));
}
