//! People in the loop, over the real binary: what callers see, what survives, and every way around an approval that we know.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::run::{House, Running};
use crate::common::{Answer, Client, binary, chat_body, chat_request, token};
use load_tests::mock_model::{self, MockHandle, MockOptions};

const POLICY: &str = r#"
policy "approvals" version 1
rule access.all { when identity in group("ml-apps") allow }
rule people.one { when model == "one" require approval from group("ml-leads") by 1 within 15m valid 1h }
rule people.two { when model == "two" require approval from group("ml-leads") by 2 within 15m valid 1h }
rule people.quick { when model == "quick" require approval from group("ml-leads") by 1 within 2s valid 1h }
rule people.access { when model == "granted" require grant from group("ml-leads") within 15m for 1h }
rule risk.export { when request.text contains "export" risk 40 "exports" }
rule risk.records { when request.text contains "records" risk 40 "many records" }
rule people.risky { when request.risk >= 70 require approval from group("ml-leads") by 1 within 15m valid 1h }
"#;
/// Answers at once, so that a test is not held up.
const AT_ONCE: &str = "[approvals]\nhold = \"none\"\n";

/// A gateway with a model behind it.
struct Site {
    house: House,
    mock: MockHandle,
    running: Running,
}

impl Site {
    fn new(approvals: &str) -> Self {
        Self::with(approvals, POLICY, MockOptions::default())
    }

    fn with(approvals: &str, policy: &str, model: MockOptions) -> Self {
        let house = House::new();
        let mock = mock_model::spawn(model).unwrap();
        std::fs::write(house.path("test.policy"), policy).unwrap();
        let upstream = format!(
            "[[upstream]]\nname = \"m\"\nendpoints = [\"http://{}\"]\nmatch = {{ path = \"/\" }}\n",
            mock.addr()
        );
        house.configure("", &format!("{upstream}{approvals}"));
        let path = house.path("sallyport.toml");
        let text =
            std::fs::read_to_string(&path).unwrap().replace("viewer = [\"*\"]", "viewer = [\"*\"]\napprover = [\"*\"]");
        std::fs::write(&path, text).unwrap();
        let running = spawn(&house);
        Self { house, mock, running }
    }

    /// Ends the process (`kill -9` if the signal says so) and starts the next one.
    fn restart(self, signal: i32) -> Self {
        let Self { house, mock, running } = self;
        running.signal(signal);
        running.wait();
        let running = spawn(&house);
        Self { house, mock, running }
    }

    fn token(&self, user: &str, groups: &[&str]) -> String {
        let groups = groups.iter().flat_map(|group| ["--group", group]);
        let args: Vec<&str> = ["--user", user].into_iter().chain(groups).collect();
        token(&self.house.path("data"), &args)
    }

    fn alice(&self) -> String {
        self.token("alice", &["ml-apps"])
    }

    fn lead(&self, user: &str) -> String {
        self.token(user, &["ml-leads"])
    }

    fn chat(&self, token: &str, body: &str) -> Answer {
        Client::connect(self.running.address).chat(token, body)
    }

    /// Sends a call that will be held.
    fn park(&self, token: &str, body: &str) -> Client {
        let mut client = Client::connect(self.running.address);
        client.send(chat_request(token, body).as_bytes());
        client
    }

    fn api(&self, method: &str, path: &str, token: &str, body: &Value) -> (u16, Value) {
        api(self.running.admin, method, path, &format!("Authorization: Bearer {token}\r\n"), body)
    }

    fn decide(&self, id: &str, verb: &str, token: &str) -> u16 {
        self.api("POST", &format!("/api/v1/approvals/{id}/{verb}"), token, &json!({ "reason": "looked at it" })).0
    }

    fn list(&self, query: &str) -> Vec<Value> {
        let (status, page) = self.api("GET", &format!("/api/v1/approvals?{query}"), &self.lead("grace"), &Value::Null);
        assert_eq!(status, 200, "{page}");
        page["approvals"].as_array().unwrap().clone()
    }

    /// The only request that stands so, once there is one.
    fn only(&self, query: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let found = self.list(query);
            if let [one] = found.as_slice() {
                return one["id"].as_str().unwrap().to_owned();
            }
            assert!(found.len() < 2 && Instant::now() < deadline, "{query}: {found:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What became of the request, as the evidence tells it.
    fn history(&self, id: &str) -> Vec<String> {
        let (status, told) =
            self.api("GET", &format!("/api/v1/approvals/{id}/history"), &self.lead("grace"), &Value::Null);
        assert_eq!(status, 200, "{told}");
        let lines = told["history"].as_array().unwrap().iter();
        lines.map(|line| line["action"].as_str().unwrap().to_owned()).collect()
    }

    fn seen_by_model(&self) -> u64 {
        self.mock.requests_seen()
    }

    fn verify(self) {
        let data = self.house.path("data");
        assert_eq!(self.running.stop(), Some(0));
        let verdict = audit(&data, &["verify"]);
        assert!(verdict.0 == 0, "{}", verdict.1);
    }
}

fn spawn(house: &House) -> Running {
    let mut command = binary();
    command.args(["run", "--cores", "2", "--config"]).arg(house.path("sallyport.toml"));
    Running::spawn(command)
}

fn api(at: SocketAddr, method: &str, path: &str, fields: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut client = Client::connect(at);
    client.send(
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {at}\r\n{fields}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
    let answer = client.answer();
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
}

fn audit(data: &Path, args: &[&str]) -> (i32, String) {
    let output = binary().arg("audit").args(args).arg("--data").arg(data).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text)
}

fn body(model: &str) -> String {
    chat_body(model, "hello", false)
}

fn code(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    body["error"]["code"].as_str().unwrap_or_default().to_owned()
}

/// The request that a 409 names.
fn pending(answer: &Answer) -> String {
    assert_eq!((answer.status, code(answer).as_str()), (409, "approval_pending"), "{}", answer.text());
    assert_eq!(answer.field("x-should-retry").as_deref(), Some("true"));
    let retry_after: u64 = answer.field("retry-after").unwrap().parse().unwrap();
    assert!(retry_after <= 60, "{retry_after}");
    let id = answer.field("x-sallyport-approval-id").unwrap();
    assert!(answer.field("x-sallyport-approval-url").unwrap().ends_with(&id) && answer.text().contains(&id));
    id
}

#[test]
fn a_call_that_is_told_to_come_again_passes_once_after_the_approval() {
    let site = Site::new(AT_ONCE);
    let alice = site.alice();
    let id = pending(&site.chat(&alice, &body("one")));
    // Retries attach, on whatever connection and core they come.
    for _ in 0..8 {
        assert_eq!(pending(&site.chat(&alice, &body("one"))), id);
    }
    assert_eq!(site.list("status=pending").len(), 1);
    assert_eq!(site.decide(&id, "approve", &site.lead("grace")), 200);
    let passed = site.chat(&alice, &body("one"));
    assert_eq!((passed.status, site.seen_by_model()), (200, 1), "{}", passed.text());
    // Replayed: the approval is used up, and cannot be given again.
    assert_ne!(pending(&site.chat(&alice, &body("one"))), id);
    assert_eq!(site.decide(&id, "approve", &site.lead("linus")), 409);
    assert_eq!(site.seen_by_model(), 1);
    let (_, view) = site.api("GET", &format!("/api/v1/approvals/{id}"), &site.lead("grace"), &Value::Null);
    assert_eq!(view["used_by"], passed.request_id());
    assert_eq!(
        (&view["status"], &view["kind"], &view["decisions"][0]["by"]),
        (&json!("consumed"), &json!("call"), &json!("grace"))
    );
    assert_eq!(site.history(&id), ["asked", "approved", "used"]);
    site.verify();
}

#[test]
fn only_other_people_of_the_named_group_decide_and_each_counts_once() {
    let site = Site::new(AT_ONCE);
    // Also one who may approve otherwise, and in a second group at that.
    let alice = site.token("alice", &["ml-apps", "ml-leads", "ml-admins"]);
    let id = pending(&site.chat(&alice, &body("two")));
    let refused = |token: &str| {
        let (status, body) =
            site.api("POST", &format!("/api/v1/approvals/{id}/approve"), token, &json!({ "reason": "mine" }));
        (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(refused(&alice), (403, "own_request".to_owned()));
    assert_eq!(refused(&site.token("alice", &["ml-leads"])), (403, "own_request".to_owned()));
    // Who lost the group: the token of today counts.
    assert_eq!(refused(&site.token("grace", &["ml-apps"])), (403, "not_in_group".to_owned()));
    let grace = site.lead("grace");
    let (status, _) = site.api("POST", &format!("/api/v1/approvals/{id}/approve"), &grace, &Value::Null);
    assert_eq!(status, 400, "an approval needs a reason, too");
    // A double click, at the same instant and later.
    let clicks: Vec<u16> = std::thread::scope(|scope| {
        let click = || site.decide(&id, "approve", &grace);
        let clicks: Vec<_> = (0..4).map(|_| scope.spawn(click)).collect();
        clicks.into_iter().map(|click| click.join().unwrap()).collect()
    });
    assert_eq!(clicks.iter().filter(|status| **status == 200).count(), 1, "{clicks:?}");
    assert_eq!(refused(&grace), (409, "already_approved".to_owned()));
    assert_eq!(pending(&site.chat(&alice, &body("two"))), id);
    // Several people at the same instant: one of them settles it.
    let others: Vec<String> = ["linus", "ken", "ada"].iter().map(|who| site.lead(who)).collect();
    let decided: Vec<u16> = std::thread::scope(|scope| {
        let all: Vec<_> = others.iter().map(|who| scope.spawn(|| site.decide(&id, "approve", who))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let mut sorted = decided.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [200, 409, 409], "{decided:?}");
    assert_eq!(site.chat(&alice, &body("two")).status, 200);
    assert_eq!(pending(&site.chat(&alice, &body("two"))).len(), 26);
    assert_eq!(
        (site.seen_by_model(), site.history(&id)),
        (1, ["asked", "approved", "approved", "used"].map(str::to_owned).to_vec())
    );
}

#[test]
fn another_payload_header_or_caller_is_another_call() {
    let policy = format!(
        "{POLICY}\nrule head.read {{ when request.header(\"x-team\") is present and request.header(\"x-team\") in {{ \"red\", \"blue\" }} require approval from group(\"ml-leads\") by 1 within 15m valid 1h }}"
    );
    let site = Site::with(AT_ONCE, &policy, MockOptions::default());
    let alice = site.alice();
    let first = pending(&site.chat(&alice, &body("one")));
    assert_eq!(site.decide(&first, "approve", &site.lead("grace")), 200);
    // Changed by one character, or only spelled differently; or of another person.
    for other in [chat_body("one", "hello!", false), body("one").replace("\"model\":", "\"model\": ")] {
        assert_ne!(pending(&site.chat(&alice, &other)), first);
    }
    assert_ne!(pending(&site.chat(&site.token("bob", &["ml-apps"]), &body("one"))), first);
    let with_field = |field: &str| {
        let request = chat_request(&alice, &body("m")).replacen("Host: gw\r\n", &format!("Host: gw\r\n{field}\r\n"), 1);
        Client::connect(site.running.address).try_answer_to(&request).unwrap()
    };
    let red = pending(&with_field("x-team: red"));
    assert_ne!(pending(&with_field("x-team: blue")), red, "a field that the policy reads");
    assert_eq!(pending(&with_field("x-team: red\r\nx-stainless-retry-count: 1")), red, "a field that it does not read");
    assert_eq!(site.chat(&alice, &body("one")).status, 200, "the approved call itself");
    assert_eq!(site.seen_by_model(), 1);
}

#[test]
fn the_body_is_bound_even_where_the_policy_reads_none() {
    let policy = r#"policy "head" version 1
rule a { when identity in group("ml-apps") allow record at most metadata
         require approval from group("ml-leads") by 1 within 15m valid 1h }"#;
    let policy = policy
        .replace("rule a {", "rule keep.none { record at most metadata }\nrule a {")
        .replace("allow record at most metadata", "allow");
    let site = Site::with(AT_ONCE, &policy, MockOptions::default());
    let alice = site.alice();
    let id = pending(&site.chat(&alice, &body("one")));
    assert_eq!(site.decide(&id, "approve", &site.lead("grace")), 200);
    assert_ne!(pending(&site.chat(&alice, &body("two"))), id);
    assert_eq!((site.chat(&alice, &body("one")).status, site.seen_by_model()), (200, 1));
    // What is not to be kept is shown while it waits, and is not in the evidence.
    let shown = site.api("GET", &format!("/api/v1/approvals/{id}"), &site.lead("grace"), &Value::Null).1;
    assert!(shown["preview"].as_str().unwrap().contains("hello"), "{shown}");
    let site = site.restart(libc::SIGKILL);
    let shown = site.api("GET", &format!("/api/v1/approvals/{id}"), &site.lead("grace"), &Value::Null).1;
    assert!(shown["preview"].as_str().unwrap().contains("not kept"), "{shown}");
}

#[test]
fn an_approval_stands_only_under_the_policy_it_was_asked_for() {
    let site = Site::new("[approvals]\nhold = \"60s\"\n");
    let (alice, grace) = (site.alice(), site.lead("grace"));
    let policy = site.house.path("test.policy");
    let change = |from: &str, to: &str| {
        let generation = || site.running.get("/api/v1/policy", &grace).text();
        let before = generation();
        let text = std::fs::read_to_string(&policy).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(&policy, text.replace(from, to)).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while generation() == before {
            assert!(Instant::now() < deadline, "the policy was not taken: {before}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    // More people are needed by the time one has approved: asked anew.
    let mut held = site.park(&alice, &body("one"));
    let id = site.only("status=pending");
    change(
        "\"one\" require approval from group(\"ml-leads\") by 1",
        "\"one\" require approval from group(\"ml-leads\") by 2",
    );
    assert_eq!(site.decide(&id, "approve", &grace), 200);
    let next = site.only("status=pending");
    assert_ne!(next, id);
    assert_eq!(site.seen_by_model(), 0);
    // Nobody is needed any more: it passes, and uses nothing up.
    assert_eq!(site.decide(&next, "approve", &grace), 200);
    change(
        "\"one\" require approval from group(\"ml-leads\") by 2",
        "\"other\" require approval from group(\"ml-leads\") by 2",
    );
    assert_eq!(site.decide(&next, "approve", &site.lead("linus")), 200);
    assert_eq!((held.answer().status, site.seen_by_model()), (200, 1));
    assert_eq!(site.history(&next), ["asked", "approved", "approved"]);
    // It is forbidden by now: refused, whatever people said.
    let mut held = site.park(&alice, &body("two"));
    let id = site.only("status=pending");
    change(
        "rule people.two { when model == \"two\" require",
        "rule no.two { when model == \"two\" deny \"Closed.\" }\nrule people.two { when model == \"two\" require",
    );
    for who in ["grace", "linus"] {
        assert_eq!(site.decide(&id, "approve", &site.lead(who)), 200);
    }
    let refused = held.answer();
    assert_eq!((refused.status, code(&refused).as_str()), (403, "denied_by_policy"), "{}", refused.text());
    assert_eq!(site.seen_by_model(), 1);
    site.verify();
}

#[test]
fn denied_and_expired_say_so_and_a_denial_stands() {
    let site = Site::new("[approvals]\nhold = \"60s\"\n");
    let alice = site.alice();
    let mut held = site.park(&alice, &body("one"));
    let id = site.only("status=pending");
    let (status, _) = site.api(
        "POST",
        &format!("/api/v1/approvals/{id}/deny"),
        &site.lead("grace"),
        &json!({ "reason": "ask legal first" }),
    );
    assert_eq!(status, 200);
    for answer in [held.answer(), site.chat(&alice, &body("one"))] {
        assert_eq!((answer.status, code(&answer).as_str()), (403, "approval_denied"));
        assert!(answer.text().contains("ask legal first") && answer.text().contains("grace"), "{}", answer.text());
    }
    let lapsed = site.chat(&alice, &body("quick"));
    assert_eq!((lapsed.status, code(&lapsed).as_str()), (403, "approval_expired"), "{}", lapsed.text());
    let id = site.only("status=expired");
    assert_eq!(site.decide(&id, "approve", &site.lead("grace")), 409);
    assert_eq!(site.seen_by_model(), 0);
}

#[test]
fn nothing_is_forgotten_by_a_kill_or_a_drain() {
    let site = Site::new("[approvals]\nhold = \"60s\"\n");
    let alice = site.alice();
    let mut held = site.park(&alice, &body("one"));
    let waiting = site.only("status=pending");
    let site = site.restart(libc::SIGKILL);
    assert!(held.try_answer().is_none());
    // Still listed, and the caller attaches to it.
    assert_eq!(site.only("status=pending"), waiting);
    let mut held = site.park(&alice, &body("one"));
    // A drain tells the caller to come again, and forgets nothing either.
    std::thread::sleep(Duration::from_millis(300));
    let site = site.restart(libc::SIGTERM);
    let told = held.answer();
    assert_eq!((told.status, code(&told).as_str()), (503, "draining"), "{}", told.text());
    assert_eq!(site.only("status=pending"), waiting);
    assert_eq!(site.decide(&waiting, "approve", &site.lead("grace")), 200);
    // Approved and not used: good after the next kill, for one call.
    let site = site.restart(libc::SIGKILL);
    assert_eq!(site.list("status=approved").len(), 1);
    let passed = site.chat(&alice, &body("one"));
    assert_eq!((passed.status, site.seen_by_model()), (200, 1), "{}", passed.text());
    // Used up: the INTENT says so, also to the next process. And who was refused stays refused.
    let mut refused = site.park(&alice, &body("two"));
    let id = site.only("status=pending");
    assert_eq!(site.decide(&id, "deny", &site.lead("grace")), 200);
    assert_eq!(refused.answer().status, 403);
    let site = site.restart(libc::SIGKILL);
    let again = site.chat(&alice, &body("two"));
    assert!(again.status == 403 && again.text().contains("looked at it"), "{}", again.text());
    let mut held = site.park(&alice, &body("one"));
    assert_ne!(site.only("status=pending"), waiting);
    // Settled, so this process never knew it: the log does.
    assert_eq!(site.history(&waiting), ["asked", "approved", "used"]);
    let history =
        |id: &str, token: &str| site.api("GET", &format!("/api/v1/approvals/{id}/history"), token, &Value::Null);
    let (_, told) = history(&waiting, &site.lead("grace"));
    assert_eq!((&told["kind"], &told["status"]), (&json!("call"), &json!("consumed")));
    assert_eq!(history(&waiting[..25], &site.lead("grace")).0, 404);
    assert_eq!(history(&waiting.replace(&waiting[20..], "zzzzzz"), &site.lead("grace")).0, 404);
    site.running.signal(libc::SIGTERM);
    assert_eq!(held.answer().status, 503);
    assert_eq!(site.seen_by_model(), 1);
}

#[test]
fn a_stream_is_held_open_with_comments() {
    let options = MockOptions { say: Some("The answer.".to_owned()), ..MockOptions::default() };
    let site = Site::with("[approvals]\nhold = \"1s\"\ncomment_every = \"200ms\"\n", POLICY, options);
    let alice = site.alice();
    let stream = |model: &str| chat_body(model, "hello", true);
    let mut held = site.park(&alice, &stream("one"));
    // Longer than a plain call is held.
    for _ in 0..2 {
        assert!(held.wait_for(": waiting for approval "));
    }
    let plain = site.chat(&alice, &body("one"));
    pending(&plain);
    let id = site.list("status=pending").iter().find(|own| own["id"] != json!(pending(&plain))).unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(site.decide(&id, "approve", &site.lead("grace")), 200);
    let passed = held.answer();
    assert_eq!(passed.status, 200);
    assert_eq!(passed.field("content-type").as_deref(), Some("text/event-stream"));
    let text = passed.text();
    assert!(text.matches(": waiting for approval").count() >= 2, "{text}");
    let events: String = text.lines().filter(|line| line.starts_with("data:")).collect::<Vec<_>>().join("\n");
    assert!(
        crate::common::stream_text(&events).contains("The answer.") && text.trim_end().ends_with("[DONE]"),
        "{text}"
    );
    let (_, view) = site.api("GET", &format!("/api/v1/approvals/{id}"), &site.lead("grace"), &Value::Null);
    assert_eq!(view["used_by"], passed.request_id(), "the id that was told first is the call's");

    // A refusal after the head is an error event in the API's shape, on a connection that goes on.
    held.send(chat_request(&alice, &stream("two")).as_bytes());
    assert!(held.wait_for(": waiting for approval "));
    let two = site.list("status=pending").iter().find(|own| own["model"] == "two").unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(site.decide(&two, "deny", &site.lead("grace")), 200);
    let refused = held.answer();
    let event = refused.text().lines().find_map(|line| line.strip_prefix("data: ").map(str::to_owned)).unwrap();
    let event: Value = serde_json::from_str(&event).unwrap();
    assert_eq!((refused.status, &event["error"]["code"]), (200, &json!("approval_denied")), "{event}");
    assert!(event["error"]["message"].as_str().unwrap().contains("looked at it"));
    let (_, shown) = audit(&site.house.path("data"), &["show", &refused.request_id()]);
    assert!(shown.contains("approval_denied"), "{shown}");
    assert_eq!(held.chat(&alice, &body("m")).status, 200);
}

#[test]
fn what_the_model_server_says_wrong_is_an_error_event_on_a_held_stream() {
    let answer = b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    let failing = crate::common::fixed_upstream(answer.to_vec(), 4);
    let house = House::new();
    std::fs::write(house.path("test.policy"), POLICY).unwrap();
    house.configure(
        "",
        &format!(
            "[[upstream]]\nname = \"m\"\nendpoints = [\"http://{failing}\"]\nmatch = {{ path = \"/\" }}\n\
             [approvals]\ncomment_every = \"100ms\"\n"
        ),
    );
    let path = house.path("sallyport.toml");
    let text =
        std::fs::read_to_string(&path).unwrap().replace("viewer = [\"*\"]", "viewer = [\"*\"]\napprover = [\"*\"]");
    std::fs::write(&path, text).unwrap();
    let site = Site { running: spawn(&house), mock: mock_model::spawn(MockOptions::default()).unwrap(), house };
    let mut held = site.park(&site.alice(), &chat_body("one", "hello", true));
    assert!(held.wait_for(": waiting for approval "));
    assert_eq!(site.decide(&site.only("status=pending"), "approve", &site.lead("grace")), 200);
    let failed = held.answer();
    assert!(
        failed.status == 200 && failed.text().contains("data: {\"error\"") && failed.text().contains("429"),
        "{}",
        failed.text()
    );
    assert!(!failed.text().contains("[DONE]"));
}

#[test]
fn a_grant_gives_one_person_access_for_a_time() {
    let site = Site::new("[approvals]\nhold = \"60s\"\n");
    let (alice, grace) = (site.alice(), site.lead("grace"));
    let ask = |text: &str| chat_body("granted", text, false);
    let mut held = site.park(&alice, &ask("first"));
    let id = site.only("status=pending&kind=grant");
    // Another call of the same person asks for the same.
    let mut other = site.park(&alice, &ask("second"));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(site.only("status=pending"), id);
    assert_eq!(site.decide(&id, "approve", &site.token("alice", &["ml-leads"])), 403);
    assert_eq!(site.decide(&id, "approve", &grace), 200);
    assert_eq!((held.answer().status, other.answer().status), (200, 200));
    let site = site.restart(libc::SIGKILL);
    assert_eq!(site.chat(&alice, &ask("third")).status, 200);
    // Nobody else has it.
    let mut bob = site.park(&site.token("bob", &["ml-apps"]), &ask("mine"));
    let of_bob = site.only("status=pending&subject=bob");
    assert_eq!(site.decide(&of_bob, "deny", &grace), 200);
    assert_eq!(bob.answer().status, 403);
    // As an operator sees and ends it.
    let approvals = |args: &[&str]| {
        let admin = format!("http://{}", site.running.admin);
        let output =
            binary().arg("approvals").args(args).args(["--admin", &admin, "--token", &grace]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        text
    };
    let listed = approvals(&["list", "--kind", "grant"]);
    assert!(listed.contains("alice wants access by people.access") && listed.contains("until"), "{listed}");
    assert!(approvals(&["show", &id]).contains("looked at it"));
    approvals(&["revoke", &id, "--reason", "left the team"]);
    assert!(approvals(&["history", &id]).contains("left the team"));
    let refused = site.chat(&alice, &ask("fourth"));
    assert!(refused.status == 403 && refused.text().contains("left the team"), "{}", refused.text());
    let site = site.restart(libc::SIGKILL);
    assert_eq!((site.chat(&alice, &ask("fifth")).status, site.seen_by_model()), (403, 3));
    assert_eq!(site.history(&id), ["asked", "approved", "used", "used", "used", "revoked"]);
    site.verify();
}

#[test]
fn an_approval_may_hang_on_the_risk_of_a_call() {
    let site = Site::new(AT_ONCE);
    let alice = site.alice();
    let ask = |text: &str| site.chat(&alice, &chat_body("m", text, false));
    assert_eq!(ask("export this").status, 200);
    assert_eq!(ask("how many records").status, 200);
    let id = pending(&ask("export all records"));
    let (_, view) = site.api("GET", &format!("/api/v1/approvals/{id}"), &site.lead("grace"), &Value::Null);
    assert!(view["rules"].as_array().unwrap().contains(&json!("people.risky")), "{view}");
    assert_eq!(site.decide(&id, "approve", &site.lead("grace")), 200);
    assert_eq!(ask("export all records").status, 200);
    assert_eq!(site.seen_by_model(), 3);
}

#[test]
fn what_waits_is_masked_and_looking_at_it_is_written_down() {
    let site = Site::new(AT_ONCE);
    let id = pending(&site.chat(&site.alice(), &chat_body("one", "my number is 536-22-8145", false)));
    assert_eq!(site.list("status=pending")[0]["preview"], "", "lists show no payload");
    let (_, view) = site.api("GET", &format!("/api/v1/approvals/{id}"), &site.lead("grace"), &Value::Null);
    let preview = view["preview"].as_str().unwrap();
    assert!(preview.contains("[US_SSN]") && !preview.contains("8145"), "{preview}");
    let (status, _) = site.api("GET", "/api/v1/approvals?status=nonsense", &site.lead("grace"), &Value::Null);
    assert_eq!(status, 400);
    let data = site.house.path("data");
    assert_eq!(site.running.stop(), Some(0));
    let (_, read) = audit(&data, &["search", "kind:access"]);
    assert!(read.contains("approval-shown") && read.contains("grace"), "{read}");
}

#[test]
fn a_page_of_another_site_cannot_approve() {
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("test.policy");
    std::fs::write(&policy, crate::common::POLICY).unwrap();
    let mock = mock_model::spawn(MockOptions::default()).unwrap();
    let data = directory.path().join("data");
    let setup =
        crate::common::Setup { data: &data, policy: &policy, upstream: mock.addr(), cores: 1, extra: Vec::new() };
    let gateway = crate::common::Gateway::start(&setup);
    let at = gateway.admin;
    let mut held = Client::connect(gateway.address);
    held.send(chat_request(&gateway.token("alice", "ml-apps"), &body("finetune-model")).as_bytes());
    let form = "user=grace&groups=ml-leads";
    let mut login = Client::connect(at);
    login.send(
        format!(
            "POST /login HTTP/1.1\r\nHost: {at}\r\nOrigin: http://{at}\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        )
        .as_bytes(),
    );
    let cookie = login.answer().field("set-cookie").unwrap();
    let cookie = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
    let deadline = Instant::now() + Duration::from_secs(30);
    let id = loop {
        let (_, page) = api(at, "GET", "/api/v1/approvals", &cookie, &Value::Null);
        if let Some(id) = page["approvals"][0]["id"].as_str() {
            break id.to_owned();
        }
        assert!(Instant::now() < deadline, "{page}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let csrf = api(at, "GET", "/api/v1/session", &cookie, &Value::Null).1["csrf"].as_str().unwrap().to_owned();
    let approve = |fields: &str| {
        api(
            at,
            "POST",
            &format!("/api/v1/approvals/{id}/approve"),
            &format!("{cookie}{fields}"),
            &json!({ "reason": "x" }),
        )
        .0
    };
    assert_eq!(approve(""), 403, "the cookie alone");
    assert_eq!(approve(&format!("x-sallyport-csrf: {}\r\n", csrf.replace(|_| true, "A"))), 403);
    assert_eq!(approve(&format!("x-sallyport-csrf: {csrf}\r\nOrigin: https://evil.example.com\r\n")), 403);
    assert_eq!(mock.requests_seen(), 0);
    assert_eq!(approve(&format!("x-sallyport-csrf: {csrf}\r\nOrigin: http://{at}\r\n")), 200);
    assert_eq!(held.answer().status, 200);
}
