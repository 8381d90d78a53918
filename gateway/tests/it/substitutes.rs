//! `as hash` and `as token` through the real binary: what the model gets, what comes back, what is written down.

use serde_json::{Value, json};

use crate::common::{Answer, Client, any_file_contains, chat_body, chat_request, sallyport, stream_text};
use crate::dialects::{House, answer, chunked, house_with};

const POLICY: &str = r#"
policy "substitutes" version 1
detector file_no = /FN-[0-9]{4}/
rule access.apps { when identity in group("ml-apps") allow }
rule data.tokens {
    mask request text with detect(email, us_ssn, file_no) as token
    mask request $.user as hash
}
rule data.answers { mask response text with detect(email) as hash }
"#;
const MAIL: &str = "bob.smith@example.com";
const FILE: &str = "FN-7341";
const JSON: &str = "Content-Type: application/json\r\n";

/// Says again what it was told: whole, or in a stream cut as the model's name says.
fn parrot(request: &[u8]) -> Vec<u8> {
    let at = memchr::memmem::find(request, b"\r\n\r\n").unwrap() + 4;
    let Ok(body) = serde_json::from_slice::<Value>(&request[at..]) else {
        return answer("", b"");
    };
    let (model, said) = (body["model"].as_str().unwrap(), body["messages"][0]["content"].as_str().unwrap());
    if body["stream"] != true {
        let message = json!({ "role": "assistant", "content": said,
            "tool_calls": [{ "id": "1", "type": "function", "function": { "name": "f",
                "arguments": json!({ "to": said }).to_string().replace('<', "\\u003c") } }] });
        let whole = json!({ "model": model, "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }] });
        return answer(JSON, whole.to_string().as_bytes());
    }
    let event = |delta: Value, finish: Option<&str>| {
        let event = json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] });
        format!("data: {event}\n\n")
    };
    let mut stream = String::new();
    match model.strip_prefix("cut-").map(|cut| cut.parse::<usize>().unwrap()) {
        Some(cut) => {
            let (one, two) = said.split_at(cut.min(said.len()));
            stream += &event(json!({ "content": one }), None);
            stream += &event(json!({ "content": two }), None);
        }
        None => {
            let arguments = json!({ "to": said }).to_string();
            for piece in arguments.as_bytes().chunks(3) {
                let piece = String::from_utf8_lossy(piece);
                let call = json!({ "index": 0, "function": { "arguments": piece } });
                stream += &event(json!({ "tool_calls": [call] }), None);
            }
        }
    }
    stream += &event(json!({}), Some("stop"));
    stream += "data: [DONE]\n\n";
    chunked("Content-Type: text/event-stream\r\n", stream.as_bytes())
}

fn send(house: &House, request: &str) -> Answer {
    let mut client = Client::connect(house.gateway.address);
    client.send(request.as_bytes());
    client.answer()
}

fn ask(house: &House, token: &str, model: &str, text: &str, stream: bool) -> Answer {
    send(house, &chat_request(token, &chat_body(model, text, stream)))
}

/// What the model was told last.
fn told(house: &House) -> String {
    let request = house.last_request();
    let body: Value = serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    body["messages"][0]["content"].as_str().unwrap().to_owned()
}

#[test]
fn a_token_hides_from_the_model_and_comes_back_to_the_caller() {
    let house = house_with(POLICY, Box::new(parrot));
    let text = format!("mail {MAIL} about {FILE} and {MAIL}");
    let whole = ask(&house, &house.token, "m", &text, false);
    assert_eq!(whole.status, 200, "{}", whole.text());
    let hidden = told(&house);
    assert!(hidden.starts_with("mail <EMAIL_1_") && hidden.contains("about <FILE_NO_1_"), "{hidden}");
    assert_eq!(hidden.split(' ').nth(1), hidden.split(' ').next_back(), "one value, one token");
    let body: Value = serde_json::from_slice(&whole.body).unwrap();
    let message = &body["choices"][0]["message"];
    assert_eq!(message["content"], text.as_str());
    let arguments = message["tool_calls"][0]["function"]["arguments"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(arguments).unwrap()["to"], text.as_str());

    // However the stream is cut, and in the same words each time.
    for cut in 0..=hidden.len() {
        let streamed = ask(&house, &house.token, &format!("cut-{cut}"), &text, true);
        assert_eq!(stream_text(&streamed.text()), text, "cut at {cut}: {}", streamed.text());
        assert!(streamed.text().ends_with("data: [DONE]\n\n"));
        assert_eq!(told(&house), hidden);
    }
    let streamed = ask(&house, &house.token, "tools", &text, true).text();
    let arguments: String = streamed
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
        .filter_map(|event| {
            Some(event["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].as_str()?.to_owned())
        })
        .collect();
    assert_eq!(serde_json::from_str::<Value>(&arguments).unwrap()["to"], text.as_str(), "{streamed}");

    // A later call of the same caller gets it back, one of another does not.
    let token = hidden.split(' ').nth(1).unwrap();
    let later = ask(&house, &house.token, "m", &format!("again {token}"), false);
    assert!(later.text().contains(MAIL), "{}", later.text());
    let other = house.gateway.token("mallory", "ml-apps");
    let foreign = ask(&house, &other, "m", &format!("again {token}"), false);
    assert!(!foreign.text().contains(MAIL) && foreign.text().contains("EMAIL_1_"), "{}", foreign.text());

    // What is written down has the tokens, not the values; the story says what was done.
    let data = house.gateway.data.clone();
    let story =
        String::from_utf8(sallyport(&["audit", "show", &whole.request_id(), "--data", data.to_str().unwrap()]).stdout)
            .unwrap();
    assert!(story.contains(token) && !story.contains(MAIL) && !story.contains(FILE), "{story}");
    assert!(story.contains("restore"), "{story}");
    let House { gateway, .. } = house;
    assert_eq!(gateway.stop(), Some(0));
    for needle in [MAIL, FILE, token] {
        assert_eq!(any_file_contains(&data, needle.as_bytes()), None, "{needle}");
    }
}

#[test]
fn tenants_have_hashes_of_their_own() {
    let house = house_with(POLICY, Box::new(parrot));
    let data = house.gateway.data.to_str().unwrap().to_owned();
    let key = |subject: &str, tenant: &str| {
        let issued = sallyport(&[
            "keys",
            "issue",
            "--subject",
            subject,
            "--tenant",
            tenant,
            "--group",
            "ml-apps",
            "--data",
            &data,
        ]);
        assert!(issued.status.success(), "{}", String::from_utf8_lossy(&issued.stderr));
        String::from_utf8(issued.stdout).unwrap().trim().to_owned()
    };
    let keys = [key("one", "red"), key("two", "red"), key("one", "blue")];
    let body = format!(r#"{{"model":"m","user":"{MAIL}","messages":[{{"role":"user","content":"x"}}]}}"#);
    let mut hashes = Vec::new();
    for key in &keys {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        // The running gateway sees new keys after a moment.
        while send(&house, &chat_request(key, &body)).status != 200 {
            assert!(std::time::Instant::now() < deadline, "the key does not count");
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        let request = house.last_request();
        let sent: Value = serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        hashes.push(sent["user"].as_str().unwrap().to_owned());
    }
    assert!(hashes[0].starts_with("[MASKED_") && hashes[0].len() == 19, "{hashes:?}");
    assert_eq!(hashes[0], hashes[1], "one tenant");
    assert_ne!(hashes[0], hashes[2], "another tenant");
}

#[test]
fn what_can_never_be_put_back_is_refused_at_load() {
    let directory = tempfile::tempdir().unwrap();
    let check = |mask: &str| {
        let file = directory.path().join("t.policy");
        std::fs::write(&file, format!("policy \"t\" version 1\nrule a {{ {mask} }}\nrule b {{ allow }}\n")).unwrap();
        let checked = sallyport(&["policy", "check", file.to_str().unwrap()]);
        String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned()
    };
    assert!(check("mask response text with detect(email) as token").contains("can never be put back"));
    let literal = check("mask response text with /secret/ as \"ask bob@example.com\"");
    assert!(literal.contains("would itself be found by email"), "{literal}");
    assert!(check("mask response text with /secret/ as \"no secret\"").contains("found by regex"));
    assert!(!check("mask response text with /secret/ as \"(gone)\"").contains("found by"));
}
