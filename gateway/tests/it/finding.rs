//! Finding calls by what was said and by what was masked, beside the running gateway and after it; judging them again.

use std::path::Path;

use load_tests::mock_model::{self, MockOptions};
use serde_json::Value;

use crate::common::run::House;
use crate::common::{Client, binary, chat_body};

const POLICY: &str = r#"
policy "finding" version 1
rule access { when identity in group("ml-apps") and model in { "m", "n" } allow }
rule mask { mask request text with detect(us_ssn, email) as label }
"#;
/// Otherwise: no numbers, no `n`, and something that only the headers tell.
const OTHER: &str = r#"
policy "other" version 1
rule access { when identity in group("ml-apps") and model == "m" allow }
rule numbers { when request.text finds detect(us_ssn) deny "No numbers." }
rule words { when request.text matches /wombat \d{3}-/ deny "No wombats." }
"#;
const BY_HEADER: &str = r#"
policy "by header" version 1
rule access { when identity in group("ml-apps") and request.header("x-team") is present and request.header("x-team") in { "red" } allow }
rule nobody { when model == "n" deny "No." }
"#;

fn audit(data: &Path, args: &[&str]) -> (i32, String) {
    let output = binary().arg("audit").args(args).arg("--data").arg(data).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text)
}

#[test]
fn calls_are_found_by_words_and_by_values_and_judged_again() {
    let say = Some("Call jane.doe@example.org about the quokka.".to_owned());
    let mock = mock_model::spawn(MockOptions { say, ..MockOptions::default() }).unwrap();
    let house = House::new();
    std::fs::write(house.path("test.policy"), POLICY).unwrap();
    let upstream = format!("[[upstream]]\nname = \"mock\"\nendpoints = [\"{}\"]", mock.url());
    house.configure("", &format!("{upstream}\n[evidence]\nindex_text = true\nindex_values = true"));
    let mut gateway = house.start();
    let token = house.token();
    let ask = |model: &str, text: &str| {
        let answer = Client::connect(gateway.address).chat(&token, &chat_body(model, text, true));
        answer.request_id()
    };
    let number = ask("m", "Whose number is 536-22-8145?");
    let plain = ask("m", "Where does the wombat sleep?");
    let both = ask("m", "The wombat 536-22-8146 is hers");
    let other = ask("n", "Hello there");
    let denied = ask("x", "Not allowed");
    let found = |query: &str| -> Vec<String> {
        let coded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let page = gateway.get(&format!("/api/v1/exchanges?q={coded}"), &token);
        let rows: Value = serde_json::from_slice(&page.body).unwrap();
        rows["exchanges"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    // At once, whatever the index covers.
    assert_eq!(found("text:wombat"), [plain.as_str(), both.as_str()]);
    assert_eq!(found("text:\"the quokka\" model:n"), [other.as_str()]);
    assert_eq!(found("kind:refusal"), [denied.as_str()]);
    let status: Value = serde_json::from_slice(&gateway.get("/api/v1/evidence/status", &token).body).unwrap();
    let written = status["durable"].as_u64().unwrap();
    let data = house.path("data");
    gateway.wait_until("it is indexed", |_| {
        let place = std::fs::read_to_string(data.join("evidence/sallyport.local/index/place")).unwrap_or_default();
        let place: Value = serde_json::from_str(&place).unwrap_or_default();
        place["resume"]["expected"]["index"].as_u64().is_some_and(|index| index >= written)
    });
    let page = gateway.get("/api/v1/exchanges?q=text%3Awombat%20model%3Am", &token).text();
    assert!(page.contains(&plain) && page.contains(&both) && !page.contains(&number), "{page}");
    assert_eq!(gateway.stop(), Some(0));

    let dsar = |value: &str| {
        let (code, lines) = audit(&data, &["dsar", "--value", value]);
        assert_eq!(code, 0, "{lines}");
        [&number, &plain, &both, &other].map(|id| lines.contains(id.as_str()))
    };
    assert_eq!(dsar("536 22 8145"), [true, false, false, false]);
    assert_eq!(dsar("Jane.Doe@example.org"), [true; 4], "also where a stream told it in pieces");
    assert_eq!(dsar("536-22-9999"), [false; 4]);

    std::fs::write(house.path("other.policy"), OTHER).unwrap();
    std::fs::write(house.path("header.policy"), BY_HEADER).unwrap();
    let again = |policy: &str, more: &[&str]| {
        let policy = house.path(policy).display().to_string();
        audit(&data, &[&["replay", "--policy", &policy], more].concat())
    };
    let (code, text) = again("test.policy", &[]);
    assert!(code == 0 && text.contains("5 the same, 0 changed, 0 undecidable"), "{text}");
    let (code, text) = again("other.policy", &[]);
    assert!(code == 1 && text.contains("2 the same, 3 changed, 0 undecidable"), "{text}");
    for id in [&number, &both, &other] {
        assert!(text.contains(&format!("{id} allow -> deny")), "{text}");
    }
    let (code, text) = again("header.policy", &[]);
    assert!(code == 1 && text.contains("0 the same, 1 changed, 4 undecidable") || text.contains("headers"), "{text}");
    assert!(text.contains(&format!("{plain} allow -> undecidable: its headers were not recorded")), "{text}");
    assert!(text.contains(&format!("{other} allow -> deny (")), "{text}");
    let (code, text) = again("other.policy", &[&plain]);
    assert!(code == 0 && text.contains("1 the same"), "{text}");
}
