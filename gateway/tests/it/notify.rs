//! People are told: alerts at a webhook, approvals in Slack, over the real binary.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use crate::common::run::{House, Running};
use crate::common::{Answer, Client, chat_body, chat_request, sallyport, token};
use load_tests::mock_model::{self, MockHandle, MockOptions};

pub const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SIGNING_SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
const ALERTING: &str = r#"
policy "alerts" version 1
rule access.chat { when model in { "m", "finetune-model" } allow }
rule watch.probing { when request.text matches /(?i)dump.{0,40}weights/ deny "No." alert "probing" severity high }
rule people.finetune {
    when model == "finetune-model"
    require approval from group("ml-leads") by 1 within 15m valid 1h
}
"#;

/// What a receiver got: the path, the fields and the body.
#[derive(Debug)]
pub struct Got {
    path: String,
    head: String,
    pub body: Value,
}

/// A receiver that answers everything with a status.
pub fn receiver(status: u16) -> (SocketAddr, Receiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, got) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut text, mut buffer) = (Vec::new(), [0; 16 * 1024]);
            let (head, body) = loop {
                let read = stream.read(&mut buffer).unwrap();
                assert!(read > 0, "the sender left");
                text.extend_from_slice(&buffer[..read]);
                let whole = String::from_utf8_lossy(&text).into_owned();
                let Some((head, body)) = whole.split_once("\r\n\r\n") else { continue };
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                if body.len() >= length.parse::<usize>().unwrap() {
                    break (head.to_owned(), body.to_owned());
                }
            };
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
            let path = head.split(' ').nth(1).unwrap().to_owned();
            if sender.send(Got { path, head, body: serde_json::from_str(&body).unwrap() }).is_err() {
                return;
            }
        }
    });
    (address, got)
}

pub fn take(got: &Receiver<Got>) -> Got {
    got.recv_timeout(Duration::from_secs(60)).expect("a message")
}

fn house(policy: &str, rest: &str, secrets: &[(&str, String)]) -> (House, MockHandle) {
    house_with(policy, rest, secrets, MockOptions::default())
}

pub fn house_with(policy: &str, rest: &str, secrets: &[(&str, String)], model: MockOptions) -> (House, MockHandle) {
    let house = House::new();
    let mock = mock_model::spawn(model).unwrap();
    std::fs::write(house.path("test.policy"), policy).unwrap();
    for (name, value) in secrets {
        std::fs::write(house.path(name), value).unwrap();
    }
    house.configure("", &format!("[[upstream]]\nname = \"chat\"\nendpoints = [\"{}\"]\n{rest}", mock.url()));
    let file = house.path("sallyport.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("auditor = [\"*\"]", "approver = [\"*\"]\nauditor = [\"*\"]")).unwrap();
    (house, mock)
}

pub fn audit(house: &House, args: &[&str]) -> String {
    let data = house.path("data");
    let output = sallyport(&[args, &["--data", data.to_str().unwrap()]].concat());
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

pub fn ids(table: &str) -> Vec<String> {
    let id = |word: &&str| word.len() == 26 && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    table.lines().filter_map(|line| line.split_whitespace().find(id)).map(str::to_owned).collect()
}

#[test]
fn an_alert_fired_a_hundred_times_is_told_once() {
    let (address, got) = receiver(200);
    let rest = "[alerts]\nnotify = [{ webhook = \"file:hook\", secret = \"file:key\" }]\ndenials = 50\n\
                restricted_models = [\"secret-*\"]\n";
    let secrets = [("hook", format!("http://{address}/alerts")), ("key", KEY.to_owned())];
    let (house, _mock) = house(ALERTING, rest, &secrets);
    let mut running = house.start();
    let caller = house.token();
    let mut client = Client::connect(running.address);
    for _ in 0..100 {
        assert_eq!(client.chat(&caller, &chat_body("m", "please dump the weights", false)).status, 403);
    }
    let first = take(&got);
    assert_eq!(first.path, "/alerts");
    assert!(first.head.contains("webhook-signature: v1,") && first.head.contains("webhook-id: msg_"), "{}", first.head);
    let data = &first.body["data"];
    assert_eq!(first.body["type"], "alert.raised");
    assert_eq!((&data["kind"], &data["severity"]), (&json!("policy"), &json!("high")));
    assert_eq!((&data["name"], &data["rule"]), (&json!("probing"), &json!("watch.probing")));
    assert_eq!(data["subject"], "alice");
    let denials = take(&got);
    assert_eq!(
        (&denials.body["data"]["kind"], &denials.body["data"]["severity"]),
        (&json!("denials"), &json!("medium"))
    );
    running.wait_until("every one was counted", |running| {
        running.metric(&caller, "sallyport_alerts_total{kind=\"policy\",severity=\"high\"}") == 100
    });
    assert_eq!(running.metric(&caller, "sallyport_alerts_suppressed_total{reason=\"duplicate\"}"), 99);

    assert_eq!(client.chat(&caller, &chat_body("secret-7", "hello", false)).status, 403);
    let restricted = take(&got);
    assert_eq!(
        (&restricted.body["data"]["kind"], &restricted.body["data"]["model"]),
        (&json!("restricted_model"), &json!("secret-7"))
    );

    // Policy files, then a configuration, that are no good: the old ones stay, and people hear of it.
    std::fs::write(house.path("test.policy"), "policy \"broken").unwrap();
    let reload = take(&got);
    assert_eq!((&reload.body["data"]["kind"], &reload.body["data"]["name"]), (&json!("reload"), &Value::Null));
    assert_eq!(client.chat(&caller, &chat_body("m", "hello", false)).status, 200);
    std::fs::write(house.path("sallyport.toml"), "nonsense = true").unwrap();
    assert_eq!(take(&got).body["data"]["name"], "configuration");
    assert!(got.try_recv().is_err(), "nothing was told twice");
    running.wait_until("all were sent", |running| {
        running.metric(&caller, "sallyport_notifications_total{way=\"webhook\",result=\"sent\"}") == 5
    });
    assert_eq!(running.stop(), Some(0));

    // In the evidence once, under the caller's name, and what was told names its record.
    let found = audit(&house, &["audit", "search", "kind:alert"]);
    assert_eq!(ids(&found).len(), 5, "{found}");
    let record = first.body["data"]["record"].as_str().unwrap();
    let shown = audit(&house, &["audit", "show", record]);
    assert!(shown.contains("probing") && shown.contains("alice"), "{shown}");
    assert!(audit(&house, &["audit", "search", "kind:alert subject:alice"]).contains(record));
}

#[test]
fn a_message_that_is_given_up_is_written_down() {
    let (address, got) = receiver(410);
    let rest = "[alerts]\nnotify = [{ webhook = \"file:hook\", secret = \"file:key\" }]\n";
    let secrets = [("hook", format!("http://{address}/very-secret")), ("key", KEY.to_owned())];
    let (house, _mock) = house(ALERTING, rest, &secrets);
    let mut running = house.start();
    let caller = house.token();
    Client::connect(running.address).chat(&caller, &chat_body("m", "dump weights", false));
    take(&got);
    running.wait_until("it is given up", |running| {
        running.metric(&caller, "sallyport_notifications_total{way=\"webhook\",result=\"given_up\"}") == 1
    });
    assert_eq!(running.stop(), Some(0));
    let found = audit(&house, &["audit", "search", "kind:admin"]);
    let shown: Vec<String> = ids(&found).iter().map(|id| audit(&house, &["audit", "show", id])).collect();
    let record = shown.iter().find(|text| text.contains("message_given_up")).unwrap_or_else(|| panic!("{found}"));
    assert!(record.contains("410") && !record.contains("very-secret"), "{record}");
}

/// A gateway whose approvals are told to, and decided in, Slack; and Slack.
struct Slack {
    house: House,
    running: Running,
    got: Receiver<Got>,
    /// What came while something else was waited for: answers and messages overtake each other.
    early: RefCell<Vec<Got>>,
    address: SocketAddr,
    _mock: MockHandle,
}

impl Slack {
    fn start() -> Self {
        let (address, got) = receiver(200);
        let user = |id: &str, subject: &str| {
            format!(
                "[[approvals.slack.user]]\nid = \"{id}\"\nsubject = \"{subject}\"\nissuer = \"https://idp.example.com\"\n\
                 groups = [\"ml-leads\"]\n"
            )
        };
        let rest = format!(
            "[approvals]\nnotify = [{{ slack_webhook = \"file:slack\" }}]\n[approvals.slack]\nsigning_secret = \"file:signing\"\n\
             team = \"T1\"\n{}{}",
            user("U1", "grace"),
            user("U2", "alice")
        );
        let secrets = [("slack", format!("http://{address}/hook")), ("signing", SIGNING_SECRET.to_owned())];
        let (house, mock) = house(ALERTING, &rest, &secrets);
        let running = house.start();
        Self { house, running, got, early: RefCell::default(), address, _mock: mock }
    }

    /// The next message at a path.
    fn take(&self, path: &str) -> Value {
        let at = self.early.borrow().iter().position(|got| got.path == path);
        if let Some(at) = at {
            return self.early.borrow_mut().remove(at).body;
        }
        loop {
            let got = take(&self.got);
            if got.path == path {
                return got.body;
            }
            self.early.borrow_mut().push(got);
        }
    }

    /// Someone calls, and people are asked: the request's id, and the caller's connection.
    fn asked(&self, text: &str) -> (String, Client) {
        let caller = token(&self.house.path("data"), &["--user", "alice", "--group", "ml-apps"]);
        let mut client = Client::connect(self.running.address);
        client.send(chat_request(&caller, &chat_body("finetune-model", text, false)).as_bytes());
        let message = self.take("/hook");
        let shown = message.to_string();
        assert!(
            shown.contains("alice") && shown.contains("finetune-model") && shown.contains("1 of ml-leads"),
            "{shown}"
        );
        assert!(!shown.contains("536-22-8145"), "{shown}");
        let blocks = message["blocks"].as_array().unwrap();
        let button = &blocks.last().unwrap()["elements"][0];
        assert_eq!(button["action_id"], "approve");
        (button["value"].as_str().unwrap().to_owned(), client)
    }

    fn pressed(&self, user: &str, team: &str, action: &str, id: &str, reason: Option<&str>) -> String {
        let payload = json!({
            "type": "block_actions",
            "user": { "id": user },
            "team": { "id": team },
            "response_url": format!("http://{}/reply", self.address),
            "actions": [{ "action_id": action, "value": id }],
            "state": { "values": { "reason": { "reason": { "value": reason } } } },
        });
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("payload", &payload.to_string()).finish()
    }

    fn post(&self, body: &str, at_unix_s: u64, secret: &str) -> Answer {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, format!("v0:{at_unix_s}:{body}").as_bytes());
        let mut client = Client::connect(self.running.admin);
        client.send(
            format!(
                "POST /slack/interactions HTTP/1.1\r\nHost: admin\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                 X-Slack-Request-Timestamp: {at_unix_s}\r\nX-Slack-Signature: v0={}\r\nContent-Length: {}\r\n\r\n{body}",
                hex::encode(tag),
                body.len()
            )
            .as_bytes(),
        );
        client.answer()
    }

    /// Pressed, signed by Slack now; what Slack is told in return.
    fn press(&self, user: &str, action: &str, id: &str, reason: Option<&str>) -> Value {
        let answer = self.post(&self.pressed(user, "T1", action, id, reason), now(), SIGNING_SECRET);
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.take("/reply")
    }
}

#[expect(clippy::disallowed_methods, reason = "Slack signs the time of its own clock")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn slack_decides_as_any_other_way_does() {
    let slack = Slack::start();
    let (id, mut caller) = slack.asked("my number is 536-22-8145");

    // Who is unknown, who asked, and who gives no reason, decides nothing.
    let text = |reply: &Value| {
        assert_eq!(reply["replace_original"], false, "{reply}");
        reply["text"].as_str().unwrap().to_owned()
    };
    assert!(text(&slack.press("U9", "approve", &id, None)).contains("does not know who you are"));
    assert!(text(&slack.press("U2", "approve", &id, None)).contains("own request"));
    assert!(text(&slack.press("U1", "deny", &id, None)).contains("needs a reason"));
    assert!(text(&slack.press("U1", "approve", "01hzy3v7k2m9q4t8w6x5n0c1bd", None)).contains("no request"));

    // Not from Slack, too old, from another workspace.
    let body = slack.pressed("U1", "T1", "approve", &id, Some("fine"));
    assert_eq!(slack.post(&body, now(), "guessed").status, 401);
    assert_eq!(slack.post(&body, now() - 400, SIGNING_SECRET).status, 401);
    assert_eq!(slack.post(&slack.pressed("U1", "T2", "approve", &id, None), now(), SIGNING_SECRET).status, 403);
    // Opening the page is a button, too, and decides nothing.
    assert_eq!(slack.post(&slack.pressed("U1", "T1", "open", &id, None), now(), SIGNING_SECRET).status, 200);

    let reply = slack.press("U1", "approve", &id, Some("fine"));
    assert_eq!((&reply["replace_original"], &reply["text"]), (&json!(true), &json!("grace approved the call.")));
    let answer = caller.answer();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(slack.take("/hook").to_string().contains("grace approved a request of alice"));

    // The same request again: by then another call of the same kind waits.
    let (again, mut caller) = slack.asked("another");
    let body = slack.pressed("U1", "T1", "deny", &again, Some("too costly"));
    let at = now();
    assert_eq!(slack.post(&body, at, SIGNING_SECRET).status, 200);
    assert!(slack.take("/hook").to_string().contains("too costly"));
    assert_eq!(slack.take("/reply")["text"], "grace denied the call.");
    assert_eq!(slack.post(&body, at, SIGNING_SECRET).status, 401, "replayed");
    let refused = caller.answer();
    assert!(refused.status == 403 && refused.text().contains("too costly"), "{}", refused.text());

    let Slack { house, running, .. } = slack;
    assert_eq!(running.stop(), Some(0));
    let found = audit(&house, &["audit", "search", "kind:approval subject:grace"]);
    assert_eq!(ids(&found).len(), 2, "{found}");
    let refused = audit(&house, &["audit", "search", "kind:admin"]);
    let shown: String = ids(&refused).iter().map(|id| audit(&house, &["audit", "show", id])).collect();
    for why in ["does not know who you are", "signature is wrong", "sent again", "another workspace", "own request"] {
        assert!(shown.contains(why), "{why} is not in\n{shown}");
    }
}
