//! What model servers get in place of the caller's token, and that no secret shows anywhere else.

use crate::common::{Client, chat_body};
use crate::issuer::{Configured, Key, TestIssuer, wait_until};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use load_tests::mock_model::{self, Journal, MockHandle, MockOptions};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn model() -> MockHandle {
    mock_model::spawn(MockOptions { journal: Journal::in_memory(), ..MockOptions::default() }).unwrap()
}

fn presented(model: &MockHandle, header: &str) -> String {
    model.journal().entries().last().unwrap().header(header).unwrap_or_default().to_owned()
}

#[test]
fn access_tokens_are_renewed_and_files_read_again() {
    let (directory, model, issuer, key) = (tempfile::tempdir().unwrap(), model(), TestIssuer::start(), Key::new("k"));
    issuer.publish(&[&key]);
    let minted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&minted);
    let shown = Arc::new(std::sync::Mutex::new(String::new()));
    let basic = Arc::clone(&shown);
    issuer.answer("/token", move |request| {
        assert!(request.body.contains("grant_type=client_credentials") && request.body.contains("scope=infer+more"));
        let line = request.head.lines().find_map(|line| line.strip_prefix("authorization: Basic ")).unwrap();
        basic.lock().unwrap().replace_range(.., line);
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        (200, json!({ "access_token": format!("access-{number}"), "token_type": "bearer", "expires_in": 3 }))
    });
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "first\n").unwrap();
    let (file, url, token_url) = (secret.display(), model.url(), format!("{}/token", issuer.url()));
    let text = format!(
        "[[issuer]]\nurl = \"{}\"\naudience = [\"inference\"]\n\
         [[upstream]]\nname = \"a\"\nendpoints = [\"{url}\"]\nmatch = {{ path = \"/v1/chat\" }}\n\
         credential = {{ oauth2 = {{ token_url = \"{token_url}\", client_id = \"gw\", client_secret = \"file:{file}\", scopes = [\"infer\", \"more\"] }} }}\n\
         [[upstream]]\nname = \"b\"\nendpoints = [\"{url}\"]\nmatch = {{ path = \"/v1/models\" }}\n\
         credential = {{ header = \"x-model-key\", value = \"file:{file}\" }}\n",
        issuer.url()
    );
    let gateway = Configured::start(directory.path(), &text);
    let token = key.sign(&issuer.claims("alice", &[]));
    let chat = || Client::connect(gateway.address).chat(&token, &chat_body("m", "hi", false)).status;
    let models = || {
        let mut client = Client::connect(gateway.address);
        client.send(
            format!("GET /v1/models HTTP/1.1\r\nHost: gw\r\nx-api-key: {token}\r\nx-model-key: mine\r\n\r\n")
                .as_bytes(),
        );
        client.answer().status
    };
    assert_eq!(chat(), 200);
    assert_eq!(presented(&model, "authorization"), "Bearer access-1");
    wait_until("the token is renewed before it ends", || minted.load(Ordering::SeqCst) >= 3);
    assert_eq!(chat(), 200);
    assert_ne!(presented(&model, "authorization"), "Bearer access-1");
    assert_eq!(models(), 200);
    assert_eq!((presented(&model, "x-model-key"), presented(&model, "x-api-key")), ("first".to_owned(), String::new()));
    std::fs::write(&secret, "second\n").unwrap();
    wait_until("the file is read again", || models() == 200 && presented(&model, "x-model-key") == "second");
    // The next request for a token shows the new secret, too.
    wait_until("the client's secret is read again", || *shown.lock().unwrap() == STANDARD.encode("gw:second"));
    // Without a token that counts, no call goes up.
    issuer.break_down();
    let before = std::cell::Cell::new(0);
    wait_until("the last token has ended", || {
        before.set(model.requests_seen());
        chat() == 502
    });
    assert_eq!(model.requests_seen(), before.get(), "the refused call was not forwarded");
}

#[test]
fn no_planted_secret_shows_anywhere() {
    let (directory, model, issuer, key) = (tempfile::tempdir().unwrap(), model(), TestIssuer::start(), Key::new("k"));
    issuer.publish(&[&key]);
    let planted = |name: &str| format!("planted-{name}-4f1c9a77");
    let names = ["static", "bearer", "oauth", "introspect", "console"];
    let secrets = tempfile::tempdir().unwrap();
    for name in names {
        std::fs::write(secrets.path().join(name), planted(name)).unwrap();
    }
    let file = |name: &str| format!("file:{}", secrets.path().join(name).display());
    issuer.answer("/token", |_| (200, json!({ "access_token": "planted-access-4f1c9a77", "token_type": "Bearer" })));
    issuer.answer("/introspect", |_| (200, json!({ "active": false })));
    let (url, model_url) = (issuer.url(), model.url());
    let text = format!(
        "[admin]\naddress = \"127.0.0.1:0\"\nurl = \"http://127.0.0.1:1\"\n[admin.roles]\nadmin = [\"ops\"]\n\
         [admin.login]\nissuer = \"{url}\"\nclient_id = \"console\"\nclient_secret = \"{}\"\n\
         [[issuer]]\nurl = \"{url}\"\naudience = [\"inference\"]\nintrospection = {{ client_id = \"gw\", client_secret = \"{}\" }}\n\
         [[upstream]]\nname = \"a\"\nendpoints = [\"{model_url}\"]\ncredential = {{ header = \"x-key\", value = \"{}\" }}\n\
         [[upstream]]\nname = \"b\"\nendpoints = [\"{model_url}\"]\nmatch = {{ path = \"/v1/chat\" }}\ncredential = {{ bearer = \"{}\" }}\n\
         [[upstream]]\nname = \"c\"\nendpoints = [\"{model_url}\"]\nmatch = {{ path = \"/v1/models\" }}\n\
         credential = {{ oauth2 = {{ token_url = \"{url}/token\", client_id = \"gw\", client_secret = \"{}\" }} }}\n",
        file("console"),
        file("introspect"),
        file("static"),
        file("bearer"),
        file("oauth"),
    );
    let gateway = Configured::start(directory.path(), &text);
    let token = key.sign(&issuer.claims("alice", &["ops"]));
    let data = gateway.data.to_str().unwrap().to_owned();
    let issued = crate::common::sallyport(&["keys", "issue", "--subject", "batch", "--data", &data]);
    let api_key = String::from_utf8(issued.stdout).unwrap().trim().to_owned();
    let get = |address, path: &str, token: &str| {
        let mut client = Client::connect(address);
        client.send(
            format!("GET {path} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        );
        let answer = client.answer();
        format!("{}{}", answer.head, answer.text())
    };
    wait_until("the API key is known", || {
        Client::connect(gateway.address).chat(&api_key, &chat_body("m", "hi", false)).status == 200
    });
    let mut said = String::new();
    let changed = format!("{}AAAA", &token[..token.len() - 4]);
    for credential in [token.as_str(), &changed, &api_key, "planted-opaque-4f1c9a77"] {
        let answer = Client::connect(gateway.address).chat(credential, &chat_body("m", "hi", false));
        said.push_str(&format!("{}{}", answer.head, answer.text()));
        said.push_str(&get(gateway.address, "/v1/models", credential));
    }
    for path in [
        "/api/v1/config",
        "/api/v1/policy",
        "/api/v1/session",
        "/api/v1/evidence/status",
        "/metrics",
        "/readyz",
        "/login",
        "/login/callback?code=planted-code-4f1c9a77&state=x",
    ] {
        said.push_str(&get(gateway.admin, path, &token));
    }
    assert!(said.contains("(secret)"), "the configuration was shown");
    // The callers' credentials did reach nobody, and the model servers did get theirs.
    let entries = model.journal().entries();
    let forwarded = format!("{:?}", entries.iter().map(|entry| &entry.headers).collect::<Vec<_>>());
    assert!(forwarded.contains("planted-bearer") && forwarded.contains("planted-access"), "{forwarded}");
    assert!(!forwarded.contains(&token) && !forwarded.contains(&api_key));
    said.push_str(&gateway.stop());
    let rows = crate::common::sallyport(&["audit", "search", "--json", "--limit", "1000", "--data", &data]);
    let rows = String::from_utf8(rows.stdout).unwrap();
    said.push_str(&rows);
    for row in rows.lines() {
        let row: serde_json::Value = serde_json::from_str(row).unwrap();
        if let Some(id) = row.get("id").and_then(|id| id.as_str()) {
            said.push_str(
                &String::from_utf8(crate::common::sallyport(&["audit", "show", id, "--data", &data]).stdout).unwrap(),
            );
        }
    }
    assert!(said.contains("alice") && said.contains("batch"), "the evidence was read");
    let api_secret = api_key.splitn(3, '_').nth(2).unwrap();
    let signature = token.rsplit('.').next().unwrap();
    for secret in ["4f1c9a77", api_secret, signature] {
        let at = said.find(secret);
        assert!(
            at.is_none(),
            "{secret} shows in: {}",
            &said[at.unwrap_or(0).saturating_sub(300)..at.unwrap_or(0) + 60]
        );
        assert_eq!(crate::common::any_file_contains(directory.path(), secret.as_bytes()), None, "{secret}");
    }
}
