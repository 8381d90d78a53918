//! Rate limits of policies, through the real binary.

use crate::common::run::{House, Running};
use crate::common::{Answer, Client, binary, chat_body, chat_request, sallyport, stream_text, token};
use load_tests::mock_model::{self, MockHandle, MockOptions};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const RULES: &str = r#"
policy "limits" version 1
rule access { allow }
rule record { record at most metadata }
rule limits.burst { when model == "burst" limit requests 3/d per identity.subject }
rule limits.shared { when model == "shared" limit requests 1/d per model, request.header("x-project") }
rule limits.drip { when model == "drip" limit requests 2/s burst 1 }
rule limits.tokens { when model == "tokens" limit tokens 2000/d per identity.subject }
rule limits.people {
    when model == "people"
    limit requests 2/d per identity.subject
    require approval from group("leads") by 1 within 1h valid 1h
}
"#;

/// A model whose answers have some 400 tokens, by its own count.
fn talkative() -> MockHandle {
    let say = Some("word ".repeat(400 * 3 / 5));
    mock_model::spawn(MockOptions { say, ..MockOptions::default() }).unwrap()
}

fn house(rules: &str, model: &MockHandle, more: &str) -> House {
    let house = House::new();
    std::fs::write(house.path("test.policy"), rules).unwrap();
    let upstream = format!("[[upstream]]\nname = \"chat\"\nendpoints = [\"{}\"]\n{more}\n", model.url());
    house.configure("", &upstream);
    house
}

fn on_two_cores(house: &House) -> Running {
    let mut command = binary();
    command.args(["run", "--cores", "2", "--config"]).arg(house.path("sallyport.toml"));
    Running::spawn(command)
}

fn of(house: &House, user: &str) -> String {
    token(&house.path("data"), &["--user", user, "--group", "apps"])
}

fn call(running: &Running, token: &str, model: &str, stream: bool) -> Answer {
    Client::connect(running.address).chat(token, &chat_body(model, "hello", stream))
}

fn wait_s(answer: &Answer) -> u64 {
    answer.field("retry-after").expect("says when to try again").parse().unwrap()
}

#[test]
fn a_burst_passes_on_all_cores_together_and_no_more() {
    let model = mock_model::spawn(MockOptions::default()).unwrap();
    let house = house(RULES, &model, "");
    let (running, alice, bob) = (on_two_cores(&house), of(&house, "alice"), of(&house, "bob"));
    let passed = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        // Connections spread over the cores by themselves.
        for _ in 0..16 {
            let (passed, running, alice) = (Arc::clone(&passed), &running, &alice);
            scope.spawn(move || {
                for _ in 0..2 {
                    match call(running, alice, "burst", false) {
                        answer if answer.status == 200 => passed.fetch_add(1, SeqCst),
                        answer => {
                            assert_eq!(answer.status, 429, "{}", answer.text());
                            0
                        }
                    };
                }
            });
        }
    });
    assert_eq!(passed.load(SeqCst), 3);

    let refused = call(&running, &alice, "burst", false);
    let body: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(body["error"]["code"], "rate_limit_exceeded", "{body}");
    assert_eq!(body["error"]["type"], "rate_limit_error", "{body}");
    assert!(
        body["error"]["message"].as_str().unwrap().starts_with("Too many requests: the limit is 3 per day."),
        "{body}"
    );
    assert!((1..=28_800).contains(&wait_s(&refused)), "a third of a day at most");
    assert!(!refused.text().contains("limits.burst"), "callers are not told the names of rules");

    // Others have accounts of their own.
    assert_eq!(call(&running, &bob, "burst", false).status, 200);
    let metric = "sallyport_limits_exceeded_total{limit=\"policy_requests\"}";
    assert_eq!(running.metric(&alice, metric), 30);
    assert_eq!(running.metric(&alice, "sallyport_limit_accounts"), 2);

    // The refusal is in the evidence, with the rule.
    let data = house.path("data");
    let shown = sallyport(&["audit", "show", &refused.request_id(), "--data", data.to_str().unwrap()]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("limit:limits.burst") && shown.contains("rate_limit_exceeded"), "{shown}");
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn accounts_fill_again_and_belong_to_all_values_together() {
    let model = mock_model::spawn(MockOptions::default()).unwrap();
    let house = house(RULES, &model, "");
    let (mut running, alice) = (house.start(), of(&house, "alice"));
    assert_eq!(call(&running, &alice, "drip", false).status, 200);
    running.wait_until("the account is empty once", |running| call(running, &alice, "drip", false).status == 429);
    running.wait_until("the account fills again", |running| call(running, &alice, "drip", false).status == 200);

    let project = |name: &str| {
        let request = chat_request(&alice, &chat_body("shared", "hello", false));
        let request = request.replace("Host: gw", &format!("Host: gw\r\nX-Project: {name}"));
        Client::connect(running.address).try_answer_to(&request).unwrap().status
    };
    assert_eq!([project("a"), project("a"), project("b"), project("b"), project("c")], [200, 429, 200, 429, 200]);
}

#[test]
fn tokens_are_settled_by_the_count_of_the_answer() {
    let model = talkative();
    let house = house(RULES, &model, "");
    let (running, alice) = (house.start(), of(&house, "alice"));
    // Each call is taken to have 1,000 tokens and has some 400: with the estimates alone the second would not fit.
    for stream in [true, false, true] {
        let answer = call(&running, &alice, "tokens", stream);
        assert_eq!(answer.status, 200, "{}", answer.text());
        if stream {
            assert!(stream_text(&answer.text()).contains("word word"));
            assert!(
                answer.text().contains("[DONE]") && !answer.text().contains("prompt_tokens"),
                "nobody asked for it"
            );
        }
    }
    // Some 1,240 of 2,000 are used: a thousand more do not fit, the hundred that a caller says do.
    let refused = call(&running, &alice, "tokens", false);
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert!(refused.text().contains("token_limit_exceeded"), "{}", refused.text());
    assert!(wait_s(&refused) > 1_000);
    let small = r#"{"model":"tokens","max_tokens":100,"messages":[{"role":"user","content":"x"}]}"#;
    // The mock takes no heed of max_tokens: what it used beyond is a debt.
    let ask = || Client::connect(running.address).chat(&alice, small).status;
    assert_eq!([ask(), ask(), ask()], [200, 200, 429]);
    assert_eq!(running.metric(&alice, "sallyport_limits_exceeded_total{limit=\"policy_tokens\"}"), 2);
    assert_eq!(call(&running, &of(&house, "bob"), "tokens", true).status, 200);
}

#[test]
fn a_call_that_fails_costs_no_tokens() {
    let house = House::new();
    std::fs::write(house.path("test.policy"), RULES).unwrap();
    let dead = crate::common::dead_address();
    house.configure("", &format!("[[upstream]]\nname = \"chat\"\nendpoints = [\"http://{dead}\"]\n"));
    let (running, alice) = (house.start(), of(&house, "alice"));
    for _ in 0..4 {
        assert_eq!(call(&running, &alice, "tokens", true).status, 502);
    }
    assert_eq!(running.metric(&alice, "sallyport_limit_accounts"), 0);
}

#[test]
fn accounts_outlive_a_reload_that_leaves_their_rule_alone() {
    let model = mock_model::spawn(MockOptions::default()).unwrap();
    let house = house(RULES, &model, "");
    let (mut running, alice) = (house.start(), of(&house, "alice"));
    for status in [200, 200, 200, 429] {
        assert_eq!(call(&running, &alice, "burst", false).status, status);
    }
    let mut in_force = |rules: String, generation| {
        std::fs::write(house.path("next"), rules).unwrap();
        std::fs::rename(house.path("next"), house.path("test.policy")).unwrap();
        running.wait_until("the new set is in force", |running| {
            running.metric(&alice, "sallyport_policy_generation") == generation
        });
        call(&running, &alice, "burst", false).status
    };
    let more = RULES.replace("version 1", "version 2") + "rule more { when model == \"x\" deny \"No.\" }\n";
    assert_eq!(in_force(more, 2), 429, "another rule came; this one is what it was");
    assert_eq!(in_force(RULES.replace("limit requests 3/d", "limit requests 4/d"), 3), 200, "the rule changed");
    assert_eq!(in_force(RULES.to_owned(), 4), 429, "the rule is as it was before");
}

#[test]
fn a_call_that_waits_for_people_is_charged_once() {
    let model = mock_model::spawn(MockOptions::default()).unwrap();
    let house = house(RULES, &model, "[approvals]\nhold = \"200ms\"");
    let (running, alice) = (house.start(), of(&house, "alice"));
    let ask = |text: &str| Client::connect(running.address).chat(&alice, &chat_body("people", text, false)).status;
    // The same call again and again is one; another is the second; there is no third.
    assert_eq!([ask("one"), ask("one"), ask("one"), ask("two"), ask("two"), ask("one")], [409; 6]);
    assert_eq!([ask("three"), ask("one"), ask("three")], [429, 409, 429]);
}
