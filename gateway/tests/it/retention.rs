//! What the policy says about keeping: how long, and what is sealed. And who may read the public part of the log.

use std::path::Path;

use age::secrecy::ExposeSecret as _;
use load_tests::mock_model::{self, MockHandle, MockOptions};

use crate::common::faults::Faults;
use crate::common::run::{House, Running};
use crate::common::{Answer, Client, any_file_contains, binary, chat_body};

const HOUR_S: i64 = 3600;
const DAY_S: i64 = 24 * HOUR_S;

const POLICY: &str = r#"
policy "keeping" version 1
rule access { when identity in group("ml-apps") allow }
rule keep.short { when model == "short-model" retain at most 2h }
rule keep.long { when model == "long-model" retain at least 90d }
"#;

fn house(policy: &str, upstream: &MockHandle, evidence: &str) -> House {
    let house = House::new();
    std::fs::write(house.path("test.policy"), policy).unwrap();
    let upstream = format!("[[upstream]]\nname = \"mock\"\nendpoints = [\"{}\"]", upstream.url());
    house.configure("", &format!("{upstream}\n[evidence]\n{evidence}"));
    house
}

fn mock(say: &str) -> MockHandle {
    mock_model::spawn(MockOptions { say: Some(say.to_owned()), ..MockOptions::default() }).unwrap()
}

fn start(house: &House, faults: &Faults) -> Running {
    let mut command = house.command();
    command.envs(faults.variables());
    Running::spawn(command)
}

/// A token of the time that the gateway lives in.
fn token(house: &House, faults: &Faults) -> String {
    let mut command = binary();
    command.args(["token", "--user", "alice", "--group", "ml-apps", "--data"]).arg(house.path("data"));
    let output = command.envs(faults.variables()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn audit(data: &Path, args: &[&str]) -> (i32, String) {
    let output = binary().arg("audit").args(args).arg("--data").arg(data).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text)
}

#[test]
fn evidence_lapses_when_the_policy_says_and_its_proofs_stay() {
    let mock = mock("The wombat is on file.");
    let house = house(POLICY, &mock, "retain = \"1d\"");
    let faults = Faults::build(house.directory.path());
    let data = house.path("data");
    let gateway = start(&house, &faults);
    let alice = token(&house, &faults);
    let ids = ["short-model", "mock-model", "long-model"].map(|model| {
        let answer = Client::connect(gateway.address).chat(&alice, &chat_body(model, "What is on file?", true));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.request_id()
    });
    assert_eq!(gateway.stop(), Some(0));
    let readable = || ids.each_ref().map(|id| audit(&data, &["show", id]).1.contains("wombat"));
    assert_eq!(readable(), [true; 3]);

    for (passed_s, lapses, left) in
        [(4 * HOUR_S, 1, [false, true, true]), (33 * DAY_S, 2, [false, false, true]), (130 * DAY_S, 3, [false; 3])]
    {
        faults.turn_clock(passed_s);
        let mut gateway = start(&house, &faults);
        let alice = token(&house, &faults);
        gateway.wait_until("the evidence lapses", |gateway| {
            let found = gateway.get("/api/v1/exchanges?q=kind:erasure%20decision:lapsed&limit=9", &alice).text();
            found.matches("\"lapsed\"").count() >= lapses
        });
        assert_eq!(gateway.stop(), Some(0));
        assert_eq!(readable(), left, "after {passed_s} s");
    }
    let (code, report) = audit(&data, &["verify"]);
    assert!(code == 0 && report.contains("erased (proved)"), "{report}");
}

#[test]
fn originals_are_sealed_where_the_policy_says_and_nowhere_else_in_the_clear() {
    const ORIGINAL: &str = "536-22-8145";
    let policy = r#"
policy "sealing" version 1
rule access { when identity in group("ml-apps") allow }
rule mask { mask request text with detect(us_ssn) as label mask response text with detect(us_ssn) as label }
rule seal { when model == "sealed-model" seal request seal response }
rule seal.telling { when response.text contains "number on file" and model in { "asks-model", "cut-model" } seal response }
rule seal.not { when response.text contains "unicorn" and model == "m" seal response }
rule deny.cut { when response.text contains "on file is" and model == "cut-model" deny "No numbers." }
"#;
    let mock = mock(&format!("The number on file is {ORIGINAL}."));
    let key = age::x25519::Identity::generate();
    let house = house(policy, &mock, &format!("seal_to = [\"{}\"]", key.to_public()));
    let gateway = house.start();
    let token = house.token();
    let ask = |model: &str, stream: bool| {
        let body = chat_body(model, &format!("Is {ORIGINAL} hers?"), stream);
        let answer = Client::connect(gateway.address).chat(&token, &body);
        assert!(answer.status == 200 && !answer.text().contains(ORIGINAL), "{}", answer.text());
        answer.request_id()
    };
    let (streamed, whole, unsealed) = (ask("sealed-model", true), ask("sealed-model", false), ask("m", true));
    // Where the answer's own words make it one to keep.
    let telling = [ask("asks-model", true), ask("asks-model", false)];
    let refused = Client::connect(gateway.address).chat(&token, &chat_body("cut-model", "Is it?", false));
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert_eq!(gateway.stop(), Some(0));
    let data = house.path("data");
    assert_eq!(any_file_contains(&data, ORIGINAL.as_bytes()), None);
    assert!(!audit(&data, &["export"]).1.contains(ORIGINAL));
    let identity = house.path("identity.txt");
    std::fs::write(&identity, key.to_string().expose_secret()).unwrap();
    let identity = identity.to_str().unwrap();
    let open = |id: &str| audit(&data, &["unseal", id, "--identity", identity, "--basis", "case 12/26"]);
    for id in [&streamed, &whole] {
        let (code, text) = open(id);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains(&format!("Is {ORIGINAL} hers?")), "{text}");
        let answer = text.split_once("hers?").unwrap().1;
        // Of a stream, the events as they came: the number stands in pieces.
        assert!(answer.contains("chat.completion"), "{text}");
        assert!(answer.contains(ORIGINAL) || answer.contains("[DONE]"), "{text}");
    }
    for id in telling.iter().chain([&refused.request_id()]) {
        let (code, text) = open(id);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("chat.completion") && !text.contains("\"messages\""), "the answer alone: {text}");
        assert!(text.contains(ORIGINAL) || text.contains("[DONE]"), "{text}");
    }
    let (code, text) = open(&unsealed);
    assert!(code == 1 && text.contains("nothing is sealed"), "{text}");
    assert!(audit(&data, &["search", "kind:access"]).1.contains("unsealed"));
    assert_eq!(audit(&data, &["verify"]).0, 0);

    // How long a call is kept cannot hang on its answer.
    let retains = policy.replace("and model == \"m\" seal response", "and model == \"m\" retain at least 90d");
    std::fs::write(house.path("test.policy"), retains).unwrap();
    let refused = house.command().arg("--check").output().unwrap();
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && why.contains("seal.not") && why.contains("before it goes in"), "{why}");
    std::fs::write(house.path("test.policy"), policy).unwrap();

    // Without a key to seal to, the policy is refused.
    let upstream = format!("[[upstream]]\nname = \"mock\"\nendpoints = [\"{}\"]", mock.url());
    house.configure("", &upstream);
    let refused = house.command().arg("--check").output().unwrap();
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && why.contains("`seal`") && why.contains("seal_to"), "{why}");
}

#[test]
fn everybody_may_read_the_public_log_and_nothing_else_on_its_listener() {
    let mock = mock("hello");
    let house = house(POLICY, &mock, "public_log = \"127.0.0.1:0\"");
    let gateway = house.start();
    let log = gateway.log();
    let address = log.split("public_log=").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    let ask = |line: &str| -> Answer {
        let mut client = Client::connect(address);
        client.send(format!("{line} HTTP/1.1\r\nHost: log\r\nConnection: close\r\n\r\n").as_bytes());
        client.answer()
    };
    let note = ask("GET /log/checkpoint");
    assert!(note.status == 200 && note.text().starts_with("sallyport.local\n"), "{}", note.text());
    let size: usize = note.text().lines().nth(1).unwrap().parse().unwrap();
    let tile = ask(&format!("GET /log/tile/0/000.p/{size}"));
    // A newer checkpoint may have replaced the partial tile meanwhile.
    assert!(tile.status == 404 || tile.body.len() == 32 * size, "{}", tile.status);
    for path in ["/", "/metrics", "/api/v1/config", "/log/tile/../log.vkey", "/log/tile/entries/000", "/log/lock"] {
        assert_eq!(ask(&format!("GET {path}")).status, 404, "{path}");
    }
    assert_eq!(ask("POST /log/checkpoint").status, 405);
    assert_eq!(gateway.stop(), Some(0));
}
