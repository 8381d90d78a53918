//! Who calls, over the real binary: keys that change, issuers that fall silent, credentials of every kind, and what is told,
//! recorded and forwarded of them.

use crate::common::{Answer, Client, chat_body};
use crate::issuer::{Configured, Key, TestIssuer, now_unix_s, wait_until};
use load_tests::mock_model::{self, Journal, MockHandle, MockOptions};
use sallyport::identity::REFRESH_AT_MOST_EVERY_S;
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;

fn model() -> MockHandle {
    mock_model::spawn(MockOptions { journal: Journal::in_memory(), ..MockOptions::default() }).unwrap()
}

/// An issuer's and an upstream's part of a configuration.
fn config(issuer: &TestIssuer, model: &MockHandle, more: &str) -> String {
    format!(
        "{more}\n[[issuer]]\nurl = \"{}\"\naudience = [\"inference\"]\n[[upstream]]\nname = \"m\"\nendpoints = [\"{}\"]\n",
        issuer.url(),
        model.url()
    )
}

fn call(address: SocketAddr, token: &str) -> Answer {
    Client::connect(address).chat(token, &chat_body("m", "hi", false))
}

fn status(address: SocketAddr, token: &str) -> u16 {
    call(address, token).status
}

fn raw(address: SocketAddr, lines: &str) -> Answer {
    let body = chat_body("m", "hi", false);
    let mut client = Client::connect(address);
    client.send(
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\n{lines}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
    client.answer()
}

fn admin(address: SocketAddr, method: &str, path: &str, lines: &str, body: &str) -> Answer {
    let mut client = Client::connect(address);
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{lines}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    client.send(text.as_bytes());
    client.answer()
}

fn sallyport(args: &[&str]) -> String {
    let output = crate::common::sallyport(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Everything that can be read about every record.
fn all_records(data: &Path) -> Vec<String> {
    let rows = sallyport(&["audit", "search", "--json", "--limit", "1000", "--data", data.to_str().unwrap()]);
    let id = |row: &str| serde_json::from_str::<serde_json::Value>(row).unwrap()["id"].as_str().unwrap().to_owned();
    rows.lines().map(|row| shown(data, &id(row))).collect()
}

fn shown(data: &Path, id: &str) -> String {
    sallyport(&["audit", "show", id, "--data", data.to_str().unwrap()])
}

#[test]
fn keys_rotate_without_a_failed_call_and_a_silent_issuer_stops_nobody() {
    let (directory, model, issuer) = (tempfile::tempdir().unwrap(), model(), TestIssuer::start());
    let (old, new) = (Key::new("old"), Key::new("new"));
    issuer.publish(&[&old]);
    let gateway = Configured::start(directory.path(), &config(&issuer, &model, ""));
    let claims = issuer.claims("alice", &[]);
    let remembered = old.sign(&claims);
    assert_eq!(status(gateway.address, &remembered), 200);
    // The issuer signs with a key that nobody has seen: the first call looks for it, and passes.
    issuer.publish(&[&old, &new]);
    assert_eq!(status(gateway.address, &new.sign(&claims)), 200);
    let (fetched, since) = (issuer.asked("/keys").len(), now_unix_s());
    // Keys that nobody published are looked for once in a while, not once per token.
    for number in 0..20 {
        let forged = Key::new(&format!("forged-{number}")).sign(&claims);
        let answer = call(gateway.address, &forged);
        assert_eq!(answer.status, 401, "{}", answer.text());
    }
    // Rounds that fell due while the twenty calls were made, plus the one that the first of them may start.
    let due = usize::try_from((now_unix_s() - since) / REFRESH_AT_MOST_EVERY_S).unwrap() + 1;
    assert!(issuer.asked("/keys").len() - fetched <= due, "keys are not fetched once per token");
    issuer.break_down();
    assert_eq!(status(gateway.address, &remembered), 200);
    assert_eq!(status(gateway.address, &new.sign(&issuer.claims("bob", &[]))), 200, "its keys still count");
    drop(issuer);
    assert_eq!(status(gateway.address, &old.sign(&claims)), 200);
}

#[test]
fn a_refusal_says_which_check_failed_and_no_more() {
    let (directory, model, issuer, key) = (tempfile::tempdir().unwrap(), model(), TestIssuer::start(), Key::new("k"));
    issuer.publish(&[&key]);
    let gateway = Configured::start(directory.path(), &config(&issuer, &model, ""));
    let claims = issuer.claims("alice", &[]);
    let good = key.sign(&claims);
    let mut expired = claims.clone();
    expired["exp"] = json!(now_unix_s() - 100);
    let mut elsewhere = claims.clone();
    elsewhere["aud"] = json!("billing");
    let mut text = String::new();
    for lines in [
        String::new(),
        format!("Authorization: Bearer {}\r\n", key.sign(&expired)),
        format!("x-api-key: {}\r\n", key.sign(&elsewhere)),
        format!("Authorization: Bearer {good}\r\nx-api-key: {good}\r\n"),
        "Authorization: Basic YTpi\r\n".to_owned(),
        "api-key: sallyport_0000000000000000_xyz\r\n".to_owned(),
    ] {
        let answer = raw(gateway.address, &lines);
        assert!(answer.text().contains("\"error\":{"), "in the API's shape: {}", answer.text());
        let challenge = answer.field("www-authenticate").expect("RFC 9110 §15.5.2");
        text.push_str(&format!("{} {challenge}\n{}\n", answer.status, answer.text()));
        let record = shown(&gateway.data, &answer.request_id());
        assert!(record.contains("refusal") && record.contains("127.0.0.1"), "{record}");
    }
    insta::assert_snapshot!(text);
    assert_eq!(model.requests_seen(), 0);
    // Who fails too often waits; who is remembered does not even notice. To show nothing is no failure: others behind the same
    // address may have good credentials.
    assert_eq!(status(gateway.address, &good), 200);
    assert!((0..100).all(|_| raw(gateway.address, "").status == 401));
    assert_eq!(status(gateway.address, &key.sign(&issuer.claims("carol", &[]))), 200);
    let bad = "api-key: sallyport_0000000000000000_xyz\r\n";
    let limited = (0..100).map(|_| raw(gateway.address, bad)).find(|answer| answer.status == 429).expect("a limit");
    assert!(limited.field("retry-after").is_some(), "{}", limited.head);
    assert_eq!((status(gateway.address, &good), raw(gateway.address, "").status), (200, 401));
    assert_eq!(raw(gateway.address, &format!("api-key: {}\r\n", key.sign(&issuer.claims("bob", &[])))).status, 429);
    // In one go, so that they fall into one second: all but ten of them cost no record.
    let mut flood = Client::connect(gateway.address);
    flood.send("GET /v1/models HTTP/1.1\r\nHost: gw\r\n\r\n".repeat(200).as_bytes());
    for _ in 0..200 {
        assert!(
            flood.answer().field("x-sallyport-request-id").is_some(),
            "also of those there is a record, in the end"
        );
    }
    let data = gateway.data.clone();
    gateway.stop();
    let records = all_records(&data);
    let counted = records.iter().filter(|record| record.contains("summarised")).count();
    assert!(counted >= 1, "above ten a second refusals are counted in one record: {records:?}");
    assert!(crate::common::sallyport(&["audit", "verify", "--data", data.to_str().unwrap()]).status.success());
}

#[test]
fn api_keys_count_until_they_are_revoked() {
    let (directory, model, issuer, key) = (tempfile::tempdir().unwrap(), model(), TestIssuer::start(), Key::new("k"));
    issuer.publish(&[&key]);
    let gateway = Configured::start(directory.path(), &config(&issuer, &model, ""));
    let data = gateway.data.to_str().unwrap().to_owned();
    let issued =
        sallyport(&["keys", "issue", "--subject", "batch", "--group", "ml", "--scope", "chat", "--data", &data]);
    let token = issued.trim();
    wait_until("the key is known", || status(gateway.address, token) == 200);
    let seen = shown(&gateway.data, &call(gateway.address, token).request_id());
    assert!(seen.contains("batch") && seen.contains("sallyport:api-keys"), "{seen}");
    let listed = sallyport(&["keys", "list", "--data", &data]);
    let id = listed.split_whitespace().next().unwrap();
    assert!(!listed.contains(token) && token.contains(id));
    sallyport(&["keys", "revoke", id, "--data", &data]);
    wait_until("the key is refused", || status(gateway.address, token) == 401);
    let secret = token.splitn(3, '_').nth(2).unwrap();
    assert_eq!(crate::common::any_file_contains(directory.path(), secret.as_bytes()), None);
}

#[test]
fn revocations_count_at_once_and_are_recorded() {
    let (directory, model, issuer, key) = (tempfile::tempdir().unwrap(), model(), TestIssuer::start(), Key::new("k"));
    issuer.publish(&[&key]);
    let list = directory.path().join("revoked.toml");
    std::fs::write(&list, "").unwrap();
    let more = "[identity]\nrevoked = \"file:revoked.toml\"\n";
    let gateway = Configured::start(directory.path(), &config(&issuer, &model, more));
    let mut claims = issuer.claims("alice", &[]);
    claims["jti"] = json!("t-1");
    let (token, other) = (key.sign(&claims), key.sign(&issuer.claims("bob", &[])));
    assert_eq!((status(gateway.address, &token), status(gateway.address, &other)), (200, 200));
    std::fs::write(&list, "[[revoked]]\njti = \"t-1\"\n").unwrap();
    wait_until("the token is revoked", || status(gateway.address, &token) == 401);
    assert_eq!(status(gateway.address, &other), 200);
    // A broken list changes nothing and says so.
    std::fs::write(&list, "[[revoked]]\n").unwrap();
    wait_until("the broken list is told", || gateway.output().contains("must name jti"));
    assert_eq!((status(gateway.address, &token), status(gateway.address, &other)), (401, 200));
    let data = gateway.data.clone();
    gateway.stop();
    let records = all_records(&data);
    let loaded = |record: &&String| record.contains("revocations") && record.contains("loaded");
    assert_eq!(records.iter().filter(loaded).count(), 2, "the empty list and the one with an entry: {records:?}");
    assert!(records.iter().any(|record| record.contains("must name jti")), "the refused one: {records:?}");
}

#[test]
fn opaque_tokens_are_shown_to_their_issuer_once() {
    let (directory, model, issuer) = (tempfile::tempdir().unwrap(), model(), TestIssuer::start());
    issuer.publish(&[&Key::new("k")]);
    std::fs::write(directory.path().join("secret"), "p@ss w:rd\n").unwrap();
    let url = issuer.url();
    issuer.answer("/introspect", move |request| {
        let good = request.body.starts_with("token=opaque-good&");
        (200, json!({ "active": good, "sub": "carol", "iss": url, "groups": ["ml"] }))
    });
    let secret = directory.path().join("secret");
    let text = config(&issuer, &model, "").replace(
        "audience = [\"inference\"]",
        &format!(
            "audience = [\"inference\"]\nintrospection = {{ client_id = \"gw\", client_secret = \"file:{}\" }}",
            secret.display()
        ),
    );
    let gateway = Configured::start(directory.path(), &text);
    for _ in 0..3 {
        assert_eq!(status(gateway.address, "opaque-good"), 200);
        assert_eq!(status(gateway.address, "opaque-bad"), 401);
    }
    let asked = issuer.asked("/introspect");
    assert_eq!(asked.len(), 2, "each token once: {asked:?}");
    // RFC 6749 §2.3.1: both parts are form-encoded before they are put together: gw:p%40ss+w%3Ard
    let basic = asked[0].head.to_ascii_lowercase();
    assert!(basic.contains(&"authorization: basic Z3c6cCU0MHNzK3clM0FyZA==".to_ascii_lowercase()), "{basic}");
    let record = shown(&gateway.data, &call(gateway.address, "opaque-good").request_id());
    assert!(record.contains("carol"), "{record}");
    issuer.break_down();
    assert_eq!(status(gateway.address, "opaque-good"), 200, "remembered");
    assert_eq!(status(gateway.address, "opaque-new"), 503, "nobody can tell");
}

#[test]
fn purposes_are_recorded_with_their_source_and_go_no_further() {
    let (directory, model, issuer, key) = (tempfile::tempdir().unwrap(), model(), TestIssuer::start(), Key::new("k"));
    issuer.publish(&[&key]);
    let more = "[[identity.purpose]]\ngroups = [\"clinicians\"]\npurpose = \"triage\"\n";
    let gateway = Configured::start(directory.path(), &config(&issuer, &model, more));
    let token = key.sign(&issuer.claims("dr-who", &["clinicians"]));
    let said =
        "x-sallyport-purpose: research\r\nx-sallyport-basis: consent\r\nx-sallyport-data-subject: patient-17\r\n";
    let answer = raw(gateway.address, &format!("Authorization: Bearer {token}\r\n{said}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let record = shown(&gateway.data, &answer.request_id());
    let line =
        |name: &str| record.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_default().to_owned();
    assert!(line("purpose").ends_with("triage (by policy)"), "{record}");
    assert!(line("basis").ends_with("consent (by header)"), "{record}");
    assert!(line("about").ends_with("(by header)") && !record.contains("patient-17"), "a pseudonym: {record}");
    let forwarded = &model.journal().entries()[0];
    assert!(
        forwarded.headers.iter().all(|(name, _)| !name.starts_with("x-sallyport-") || name == "x-sallyport-request-id")
    );
    let twice = raw(gateway.address, &format!("Authorization: Bearer {token}\r\n{said}x-sallyport-purpose: other\r\n"));
    assert_eq!(twice.status, 400, "{}", twice.text());
    assert_eq!(model.requests_seen(), 1);
}

#[test]
fn roles_decide_what_is_shown_and_done() {
    let (directory, model, issuer, key) = (tempfile::tempdir().unwrap(), model(), TestIssuer::start(), Key::new("k"));
    issuer.publish(&[&key]);
    let roles = "[admin]\naddress = \"127.0.0.1:0\"\n[admin.roles]\nviewer = [\"staff\"]\nauditor = [\"audit\"]\nadmin = [\"ops\"]\n";
    let gateway = Configured::start(directory.path(), &config(&issuer, &model, roles));
    let of = |group: &str, method: &str, path: &str| {
        let token = key.sign(&issuer.claims("alice", &[group]));
        admin(gateway.admin, method, path, &format!("Authorization: Bearer {token}\r\n"), "").status
    };
    let table = [
        ("GET", "/api/v1/policy", [403, 200, 200, 200]),
        ("GET", "/api/v1/approvals", [403, 200, 200, 200]),
        ("GET", "/metrics", [403, 200, 200, 200]),
        ("GET", "/api/v1/config", [403, 403, 200, 200]),
        ("POST", "/api/v1/policy/reload", [403, 403, 403, 200]),
        ("POST", "/api/v1/approvals/x/approve", [403, 403, 403, 403]),
    ];
    for (method, path, expected) in table {
        let got = ["others", "staff", "audit", "ops"].map(|group| of(group, method, path));
        assert_eq!(got, expected, "{method} {path}");
    }
    let anonymous = admin(gateway.admin, "GET", "/api/v1/policy", "", "");
    assert_eq!((anonymous.status, anonymous.field("www-authenticate").is_some()), (401, true));
    assert_eq!(admin(gateway.admin, "GET", "/healthz", "", "").status, 200);
    let data = gateway.data.clone();
    gateway.stop();
    let records = sallyport(&["audit", "search", "--json", "--limit", "1000", "--data", data.to_str().unwrap()]);
    assert!(records.lines().any(|line| line.contains("\"admin\"") && line.contains("refused")), "{records}");
}

#[test]
fn a_session_of_the_console_needs_its_cookie_and_its_proof() {
    let directory = tempfile::tempdir().unwrap();
    let model = model();
    let policy = directory.path().join("test.policy");
    std::fs::write(&policy, crate::common::POLICY).unwrap();
    let data = directory.path().join("data");
    let setup =
        crate::common::Setup { data: &data, policy: &policy, upstream: model.addr(), cores: 1, extra: Vec::new() };
    let gateway = crate::common::Gateway::start(&setup);
    let (at, form) = (gateway.admin, "user=grace&groups=admins+ml-leads");
    assert!(admin(at, "GET", "/login", "", "").text().contains("<form"));
    assert_eq!(admin(at, "GET", "/", "", "").status, 303);
    assert_eq!(admin(at, "POST", "/login", "Origin: https://evil.example.com\r\n", form).status, 403);
    let mut rebound = Client::connect(at);
    rebound.send(b"GET /login HTTP/1.1\r\nHost: evil.example.com\r\nConnection: close\r\n\r\n");
    assert_eq!(rebound.answer().status, 403);

    let signed_in = admin(at, "POST", "/login", &format!("Origin: http://{at}\r\n"), form);
    assert_eq!(signed_in.status, 200, "{}", signed_in.text());
    let set = signed_in.field("set-cookie").unwrap();
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict"), "{set}");
    let cookie = format!("Cookie: {}\r\n", set.split(';').next().unwrap());
    assert!(admin(at, "GET", "/", &cookie, "").text().contains("grace"));
    let session: serde_json::Value =
        serde_json::from_slice(&admin(at, "GET", "/api/v1/session", &cookie, "").body).unwrap();
    assert_eq!(session["roles"], json!(["viewer", "approver", "admin"]));
    let csrf = session["csrf"].as_str().unwrap();

    // A change needs the proof, from a page of ours.
    let reload = |lines: &str| admin(at, "POST", "/api/v1/policy/reload", lines, "").status;
    assert_eq!(reload(&cookie), 403);
    assert_eq!(reload(&format!("{cookie}x-sallyport-csrf: {}\r\n", csrf.replace(|_| true, "A"))), 403);
    assert_eq!(reload(&format!("{cookie}x-sallyport-csrf: {csrf}\r\nOrigin: https://evil.example.com\r\n")), 403);
    assert_eq!(reload(&format!("{cookie}x-sallyport-csrf: {csrf}\r\nOrigin: http://{at}\r\n")), 200);
    // A cookie that nobody here signed is none.
    let forged = cookie.replacen("session=", "session=A", 1);
    assert_eq!(admin(at, "GET", "/api/v1/session", &forged, "").status, 401);
    // Signing out ends the session, not only the cookie.
    assert_eq!(admin(at, "POST", "/logout", &cookie, "csrf=wrong").status, 403);
    assert_eq!(admin(at, "POST", "/logout", &cookie, &format!("csrf={csrf}")).status, 200);
    assert_eq!(admin(at, "GET", "/api/v1/session", &cookie, "").status, 401);
    let records = sallyport(&["audit", "search", "--json", "--data", data.to_str().unwrap()]);
    for action in ["signed_in", "signed_out"] {
        assert!(records.contains(action), "{action} is not in {records}");
    }
}
