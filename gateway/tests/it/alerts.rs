//! What the gateway itself raises, over the real binary: text that cannot be masked, evidence that cannot be written, a caller who
//! does much more than usual; and that a call which waits counts once.

use serde_json::json;

use crate::common::faults::Faults;
use crate::common::run::{House, Running};
use crate::common::{Client, binary, chat_body, chat_request};
use crate::issuer::now_unix_s;
use crate::notify::{Got, KEY, audit, house_with, ids, receiver, take};
use load_tests::mock_model::MockOptions;

const POLICY: &str = r#"
policy "watching" version 1
rule access.all { when identity in group("ml-apps") allow }
rule mask.block { mask response text with /KEY[a-z]*END/ as label }
rule people.held {
    when model == "held"
    require approval from group("ml-leads") by 1 within 15m valid 1h
    alert "held" severity low
}
"#;
const HOUR_S: i64 = 3600;

fn alerts(address: std::net::SocketAddr) -> (String, [(&'static str, String); 2]) {
    let rest = "[approvals]\nhold = \"60s\"\n[alerts]\nnotify = [{ webhook = \"file:hook\", secret = \"file:key\" }]\nvolume_hours = 1\n\
                volume_deviations = 1\nvolume_calls_min = 10\n";
    (rest.to_owned(), [("hook", format!("http://{address}/alerts")), ("key", KEY.to_owned())])
}

fn start(house: &House, faults: &Faults) -> Running {
    let mut command = house.command();
    command.envs(faults.variables());
    Running::spawn(command)
}

/// A token of the time that the gateway lives in.
fn token(house: &House, faults: &Faults, user: &str, group: &str) -> String {
    let mut command = binary();
    command.args(["token", "--user", user, "--group", group, "--data"]).arg(house.path("data"));
    let output = command.envs(faults.variables()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn kind(got: &Got) -> (String, String) {
    let text = |name: &str| got.body["data"][name].as_str().unwrap().to_owned();
    (text("kind"), text("severity"))
}

fn of(kind: &str, severity: &str) -> (String, String) {
    (kind.to_owned(), severity.to_owned())
}

#[test]
fn text_that_cannot_be_masked_and_evidence_that_cannot_be_written_are_told() {
    let (address, got) = receiver(200);
    let (rest, secrets) = alerts(address);
    // Longer than a match may stay undecided.
    let options = MockOptions { say: Some(format!("KEY{}", "a".repeat(40_000))), ..MockOptions::default() };
    let (house, _mock) = house_with(POLICY, &rest, &secrets, options);
    let faults = Faults::build(house.directory.path());
    let mut running = start(&house, &faults);
    let alice = house.token();

    let withheld = Client::connect(running.address).chat(&alice, &chat_body("m", "hello", false));
    assert_eq!(withheld.status, 502, "{}", withheld.text());
    assert!(withheld.text().contains("cannot_mask"), "{}", withheld.text());
    let told = take(&got);
    assert_eq!(kind(&told), of("masker", "high"));
    assert_eq!(told.body["data"]["call"], withheld.request_id());
    // A stream is cut with an error event; the same alert is not told twice, only counted.
    let mut stream = Client::connect(running.address);
    stream.send(chat_request(&alice, &chat_body("m", "hello", true)).as_bytes());
    assert!(stream.wait_for("could not be masked"));
    running.wait_until("the second was counted", |running| {
        running.metric(&alice, "sallyport_alerts_total{kind=\"masker\",severity=\"high\"}") == 2
    });

    faults.fail_writes(1, libc::EIO);
    let refused = Client::connect(running.address).chat(&alice, &chat_body("m", "hello", false));
    assert_eq!(refused.status, 503, "{}", refused.text());
    let told = take(&got);
    assert_eq!(kind(&told), of("evidence", "critical"));
    assert_eq!(running.metric(&alice, "sallyport_alerts_total{kind=\"evidence\",severity=\"critical\"}"), 1);
    faults.fail_writes(0, 0);
    running.stop();
    let found = audit(&house, &["audit", "search", "kind:alert"]);
    assert!(!ids(&found).is_empty(), "{found}");
}

#[test]
fn a_caller_who_does_much_more_than_usual_is_told_of_and_a_call_that_waits_counts_once() {
    let (address, got) = receiver(200);
    let (rest, secrets) = alerts(address);
    let (house, _mock) = house_with(POLICY, &rest, &secrets, MockOptions::default());
    let faults = Faults::build(house.directory.path());
    // In the middle of an hour, so that none ends while this runs.
    let half_past = HOUR_S / 2 - now_unix_s().cast_signed() % HOUR_S;
    faults.turn_clock(half_past);
    let mut running = start(&house, &faults);
    let calls = |running: &Running, user: &str, number: u32| {
        let caller = token(&house, &faults, user, "ml-apps");
        let mut client = Client::connect(running.address);
        for _ in 0..number {
            assert_eq!(client.chat(&caller, &chat_body("m", "hello", false)).status, 200);
        }
    };
    // The hour in which a caller was first seen does not count; then there is one of history.
    for (hour, number) in [(0, 1), (1, 5)] {
        faults.turn_clock(half_past + hour * HOUR_S);
        calls(&running, "alice", number);
        calls(&running, "bob", number);
        // The core's queue is emptied by the clock of that hour.
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    faults.turn_clock(half_past + 2 * HOUR_S);
    // Nine calls, of which one waits: judged ten times, and still below what is looked at.
    calls(&running, "bob", 8);
    let bob = token(&house, &faults, "bob", "ml-apps");
    let grace = token(&house, &faults, "grace", "ml-leads");
    let mut held = Client::connect(running.address);
    held.send(chat_request(&bob, &chat_body("held", "hello", false)).as_bytes());
    let low = take(&got);
    assert_eq!((kind(&low), &low.body["data"]["name"]), (of("policy", "low"), &json!("held")));
    let mut waiting = String::new();
    running.wait_until("the call waits", |running| {
        let listed: serde_json::Value =
            serde_json::from_str(&running.get("/api/v1/approvals?status=pending", &grace).text()).unwrap();
        listed["approvals"][0]["id"].as_str().unwrap_or_default().clone_into(&mut waiting);
        !waiting.is_empty()
    });
    let mut lead = Client::connect(running.admin);
    let body = json!({ "reason": "fine" }).to_string();
    let head = format!(
        "POST /api/v1/approvals/{waiting}/approve HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {grace}\r\n"
    );
    lead.send(
        format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes(),
    );
    assert_eq!(lead.answer().status, 200);
    assert_eq!(held.answer().status, 200);
    let total = |running: &Running, line: &str| running.metric(&grace, &format!("sallyport_alerts_total{{{line}}}"));
    calls(&running, "alice", 30);
    let told = take(&got);
    assert_eq!((kind(&told), &told.body["data"]["subject"]), (of("volume", "medium"), &json!("alice")));
    assert_eq!(total(&running, "kind=\"volume\",severity=\"medium\""), 1, "bob is as quiet as he was");
    assert_eq!(total(&running, "kind=\"policy\",severity=\"low\""), 1, "the call that waited raised it once");
    calls(&running, "bob", 1);
    assert_eq!(take(&got).body["data"]["subject"], "bob", "the tenth");
    assert_eq!(running.stop(), Some(0));
}
