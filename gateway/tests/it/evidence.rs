//! Evidence through the real binary: the admin API, erasing, rotating keys, replaying, and refusals summed up.

use std::net::SocketAddr;
use std::path::Path;

use crate::common::{Answer, Client, Gateway, POLICY, Setup, chat_body};
use load_tests::mock_model::{self, MockOptions};
use serde_json::Value;

fn ask(admin: SocketAddr, method: &str, path: &str, token: &str, body: &str) -> Answer {
    let mut client = Client::connect(admin);
    client.send(
        format!(
            "{method} {path} HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
    client.answer()
}

fn sallyport(data: &Path, args: &[&str]) -> (i32, String) {
    let output = crate::common::binary().args(args).arg("--data").arg(data).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text)
}

fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

#[test]
fn evidence_is_searched_proved_exported_and_erased_beside_the_running_gateway() {
    let directory = tempfile::tempdir().unwrap();
    let say = Some("The wombat is on file.".to_owned());
    let mock = mock_model::spawn(MockOptions { say, ..MockOptions::default() }).unwrap();
    let policy = directory.path().join("test.policy");
    std::fs::write(&policy, POLICY).unwrap();
    let data = directory.path().join("data");
    let setup = Setup { data: &data, policy: &policy, upstream: mock.addr(), cores: 1, extra: Vec::new() };
    let gateway = Gateway::start(&setup);
    let alice = gateway.token("alice", "ml-apps");
    let auditor = gateway.token("ann", "auditors");
    let officer = gateway.token("dora", "admins");
    let called = Client::connect(gateway.address).chat(&alice, &chat_body("mock-model", "What is on file?", true));
    assert_eq!(called.status, 200, "{}", called.text());
    let id = called.request_id();
    let admin = gateway.admin;

    // Who may read what people said.
    assert_eq!(ask(admin, "GET", "/api/v1/exchanges", &alice, "").status, 403);
    assert_eq!(ask(admin, "GET", &format!("/api/v1/exchanges/{id}"), &alice, "").status, 403);
    let found = json(&ask(admin, "GET", "/api/v1/exchanges?q=subject:alice&limit=10", &auditor, ""));
    assert_eq!(found["exchanges"][0]["id"], id.as_str(), "{found}");
    let page = ask(admin, "GET", &format!("/api/v1/exchanges/{id}"), &auditor, "");
    assert!(page.text().contains("wombat"), "{}", page.text());
    let exported = ask(admin, "GET", "/api/v1/evidence/export?format=ocsf&q=kind:call", &auditor, "");
    assert!(exported.text().contains("\"class_uid\":6003"), "{}", exported.text());
    assert_eq!(ask(admin, "GET", "/api/v1/evidence/export?format=pdf", &auditor, "").status, 400);
    let verified = json(&ask(admin, "POST", "/api/v1/evidence/verify", &auditor, ""));
    assert_eq!(verified["verdict"], "sound", "{verified}");

    // What is for everybody who is known.
    let event = r#"{"action":"lora_loaded","numbers":{"bytes":42},"text":"adapter seven"}"#;
    assert_eq!(ask(admin, "POST", "/api/v1/events", &alice, event).status, 201);
    assert_eq!(ask(admin, "POST", "/api/v1/events", &alice, r#"{"action":"Free Text!"}"#).status, 400);
    assert_eq!(ask(admin, "GET", "/log/checkpoint", "no-token", "").status, 401);
    let note = ask(admin, "GET", "/log/checkpoint", &alice, "").text();
    let size: u64 = note.lines().nth(1).unwrap().parse().unwrap();
    let tile = ask(admin, "GET", &format!("/log/tile/0/000.p/{size}"), &alice, "");
    // A newer checkpoint may have replaced the partial tile meanwhile.
    assert!(tile.status == 404 || tile.body.len() as u64 == 32 * size, "{}", tile.status);
    for path in ["/log/tile/../checkpoint", "/log/tile/0/..%2f..%2fcheckpoint", "/log/tile/0/abc"] {
        assert_eq!(ask(admin, "GET", path, &alice, "").status, 404, "{path}");
    }

    // Refusals of nobody known: above ten a second, one record stands for many. None is left out.
    for _ in 0..40 {
        let refused = Client::connect(gateway.address).chat("not-a-token", &chat_body("mock-model", "x", false));
        assert_eq!(refused.status, 401);
        assert!(!refused.request_id().is_empty());
    }

    // Erasing.
    let (code, text) = sallyport(&data, &["audit", "erase", "--subject", "alice", "--basis", "a test"]);
    assert!(code == 1 && text.contains("admin API"), "{text}");
    let body = r#"{"subject":"alice","basis":"Art. 17(1)(a)"}"#;
    assert_eq!(ask(admin, "POST", "/api/v1/evidence/erase", &auditor, body).status, 403);
    let hold = r#"{"subject":"alice","basis":"case 12/26","held":true}"#;
    assert_eq!(ask(admin, "POST", "/api/v1/evidence/hold", &officer, hold).status, 200);
    assert_eq!(ask(admin, "POST", "/api/v1/evidence/erase", &officer, body).status, 409);
    assert_eq!(ask(admin, "POST", "/api/v1/evidence/hold", &officer, &hold.replace("true", "false")).status, 200);
    let bob = gateway.token("bob", "ml-apps");
    let other = Client::connect(gateway.address).chat(&bob, &chat_body("mock-model", "And me?", true)).request_id();
    let erased = json(&ask(admin, "POST", "/api/v1/evidence/erase", &officer, body));
    assert_eq!(erased["keys_destroyed"], 1, "{erased}");
    let page = ask(admin, "GET", &format!("/api/v1/exchanges/{id}"), &auditor, "").text();
    assert!(!page.contains("wombat") && page.contains(&id), "{page}");
    let again = Client::connect(gateway.address).chat(&alice, &chat_body("mock-model", "Still there?", true));
    assert_eq!(again.status, 200, "erasing stops nobody from calling");
    assert_eq!(gateway.stop(), Some(0));

    let (code, report) = sallyport(&data, &["audit", "verify"]);
    assert!(code == 0 && report.contains("erased (proved)"), "{report}");
    let (_, lines) = sallyport(&data, &["audit", "export", "kind:refusal"]);
    let counts = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let counts: Vec<u64> = counts.filter_map(|line| line["record"]["leaf"]["count"].as_u64()).collect();
    assert_eq!(counts.iter().sum::<u64>(), 40, "{counts:?}");
    for (query, words) in [("kind:access", "searched"), ("kind:data_load", "lora_loaded"), ("kind:export", "exported")]
    {
        let (_, table) = sallyport(&data, &["audit", "search", query]);
        assert!(table.contains(words), "{query}: {table}");
    }
    let (code, answer) = sallyport(&data, &["audit", "replay", &other, "--speed", "0"]);
    assert!(code == 0 && answer.contains("[DONE]"), "{answer}");
    let (_, theirs) = sallyport(&data, &["audit", "dsar", "--subject", "bob"]);
    assert!(theirs.contains(&other) && !theirs.contains(&id), "{theirs}");

    // A new signing key; the old one can still be followed.
    let (_, old) = sallyport(&data, &["keys", "show"]);
    let (code, rotated) = sallyport(&data, &["keys", "rotate", "--reason", "a test"]);
    assert!(code == 0 && rotated.contains(old.trim()), "{rotated}");
    let given = directory.path().join("given.vkey");
    std::fs::write(&given, old).unwrap();
    let (code, report) = sallyport(&data, &["audit", "verify", "--log-key", given.to_str().unwrap()]);
    assert_eq!(code, 0, "{report}");
    let (code, proofs) = sallyport(&data, &["audit", "prove", &other]);
    assert!(code == 0 && proofs.lines().count() >= 3, "{proofs}");
}
