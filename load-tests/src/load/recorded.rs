//! Traffic as it was: the arrival times, paths and bodies of recorded evidence (`sallyport audit export --format jsonl`) or of an
//! HTTP archive (HAR 1.2, which it exports too, as does every browser).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::mix::{Mix, MixRequest};
use super::schedule::Profile;

/// Largest body that is made up for a call of which only the size is known, in bytes.
const MADE_UP_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Headers of an archive that are the connection's business, or hold somebody's secret.
const NOT_REPEATED: [&str; 12] = [
    "host",
    "content-length",
    "connection",
    "transfer-encoding",
    "authorization",
    "cookie",
    "x-api-key",
    "api-key",
    "accept-encoding",
    "expect",
    "te",
    "upgrade",
];

/// Recorded calls in the order of their arrival.
#[derive(Clone, Debug)]
pub struct Recorded {
    calls: Vec<(Timestamp, MixRequest)>,
    /// Calls whose body was not recorded and was made up in the recorded size.
    pub made_up: usize,
    /// Records that are no calls, or could not be used.
    pub skipped: usize,
}

impl Recorded {
    /// Reads an export, in either form.
    ///
    /// # Errors
    /// When it is neither form, or has no call.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut recorded = Self { calls: Vec::new(), made_up: 0, skipped: 0 };
        let archive = serde_json::from_str::<Value>(text).ok().filter(|value| value.pointer("/log/entries").is_some());
        match archive {
            Some(archive) => {
                for entry in archive.pointer("/log/entries").and_then(Value::as_array).into_iter().flatten() {
                    recorded.add(archive_entry(entry));
                }
            }
            None => {
                for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                    let value = serde_json::from_str(line).map_err(|error| {
                        format!(
                            "line {}: {error}; this is neither JSON Lines of `audit export` nor an HTTP archive",
                            number + 1
                        )
                    })?;
                    recorded.add(evidence_line(&value));
                }
            }
        }
        recorded.calls.sort_by_key(|(at, _)| *at);
        if recorded.calls.is_empty() { Err("there is no call in it".to_owned()) } else { Ok(recorded) }
    }

    fn add(&mut self, call: Option<(Timestamp, MixRequest, bool)>) {
        match call {
            Some((at, request, made_up)) => {
                self.made_up += usize::from(made_up);
                self.calls.push((at, request));
            }
            None => self.skipped += 1,
        }
    }

    /// The arrivals, `speed` times as fast as they were.
    ///
    /// # Errors
    /// When `speed` is not above 0.
    pub fn profile(&self, speed: f64) -> Result<Profile, String> {
        if !(speed > 0.0 && speed.is_finite()) {
            return Err(format!("a speed of {speed} is not above 0"));
        }
        let Some((first, _)) = self.calls.first() else { return Err("there is no call in it".to_owned()) };
        let offset = |at: &Timestamp| Duration::try_from(at.duration_since(*first)).unwrap_or_default().div_f64(speed);
        Ok(Profile::Recorded(self.calls.iter().map(|(at, _)| offset(at)).collect::<Arc<[_]>>()))
    }

    /// The requests, in the same order.
    pub fn mix(&self) -> Mix {
        Mix::in_order(self.calls.iter().map(|(_, request)| request.clone()).collect())
    }
}

/// One entry of an HTTP archive.
fn archive_entry(entry: &Value) -> Option<(Timestamp, MixRequest, bool)> {
    let at = entry.get("startedDateTime")?.as_str()?.parse().ok()?;
    let request = entry.get("request")?;
    let path = path_of(request.get("url")?.as_str()?)?;
    let headers = request.get("headers").and_then(Value::as_array).into_iter().flatten().filter_map(|header| {
        let name = header.get("name")?.as_str()?.to_ascii_lowercase();
        let wanted = !NOT_REPEATED.contains(&name.as_str()) && !name.starts_with(':');
        wanted.then(|| Some((name, header.get("value")?.as_str()?.to_owned()))).flatten()
    });
    let text = request.pointer("/postData/text").and_then(Value::as_str).unwrap_or_default();
    let size = request.get("bodySize").and_then(Value::as_u64).unwrap_or(0);
    let (body, made_up) = body(text, size);
    let method = request.get("method")?.as_str()?.to_owned();
    Some((at, MixRequest::new(method, path, headers.collect(), body).ok()?, made_up))
}

/// One line of the gateway's export: leaf, envelope, payload.
fn evidence_line(line: &Value) -> Option<(Timestamp, MixRequest, bool)> {
    let leaf = line.pointer("/record/leaf")?;
    if leaf.get("t").and_then(Value::as_str) != Some("intent") {
        return None;
    }
    let at = leaf.get("time")?.as_str()?.parse().ok()?;
    let path = path_of(line.pointer("/envelope/path")?.as_str()?)?;
    let method =
        line.pointer("/envelope/method").or_else(|| leaf.get("method")).and_then(Value::as_str).unwrap_or("POST");
    let events = line.pointer("/request/events").and_then(Value::as_array).into_iter().flatten();
    let text: String = events.filter_map(|event| event.get(1)?.as_str()).collect();
    let size = line.pointer("/end/leaf/bytes_in").or_else(|| leaf.get("bytes_in")).and_then(Value::as_u64).unwrap_or(0);
    let (body, made_up) = body(&text, size);
    Some((at, MixRequest::new(method.to_owned(), path, Vec::new(), body).ok()?, made_up))
}

/// The recorded text; where there is none, a chat request of the recorded size.
fn body(text: &str, size: u64) -> (Bytes, bool) {
    if !text.is_empty() || size == 0 {
        return (Bytes::from(text.to_owned()), false);
    }
    let chat =
        |content: &str| json!({"model": "mock-model", "messages": [{"role": "user", "content": content}]}).to_string();
    let filler = usize::try_from(size.min(MADE_UP_BYTES_MAX)).unwrap_or(0).saturating_sub(chat("").len());
    (Bytes::from(chat(&"lorem ipsum ".chars().cycle().take(filler).collect::<String>())), true)
}

/// Path and query of a URL, or of a path.
fn path_of(url: &str) -> Option<String> {
    match url.split_once("://") {
        None => url.starts_with('/').then(|| url.to_owned()),
        Some((_, rest)) => Some(rest.find('/').map_or("/", |at| &rest[at..]).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const LINES: &str = r#"{"record":{"index":4,"leaf":{"t":"intent","time":"2026-05-01T10:00:01.500000Z"}},"envelope":{"path":"/v1/chat/completions"},"end":{"leaf":{"bytes_in":300}}}
{"record":{"index":1,"leaf":{"t":"intent","time":"2026-05-01T10:00:00.000000Z"}},"envelope":{"path":"/v1/embeddings"},"request":{"events":[[0,"{\"stream\":"],[5,"true}"]]}}
{"record":{"index":9,"leaf":{"t":"admin","time":"2026-05-01T10:00:02.000000Z"}}}
"#;

    #[test]
    fn evidence_comes_back_in_its_order_and_at_its_pace() {
        let recorded = Recorded::parse(LINES).unwrap();
        assert_eq!((recorded.made_up, recorded.skipped), (1, 1));
        let mix = recorded.mix();
        let [first, second] = mix.requests() else { panic!("two calls") };
        assert!(first.path == "/v1/embeddings" && first.stream && &first.body[..] == b"{\"stream\":true}");
        assert_eq!(second.body.len(), 300);
        let Profile::Recorded(offsets) = recorded.profile(3.0).unwrap() else { panic!("recorded") };
        assert_eq!(*offsets, [Duration::ZERO, Duration::from_millis(500)]);
        assert!(recorded.profile(0.0).is_err());
    }

    #[test]
    fn archives_lose_their_secrets() {
        let archive = json!({"log": {"entries": [{"startedDateTime": "2026-05-01T10:00:00+02:00", "request": {
            "method": "POST", "url": "https://h:1/v1/messages?beta=1", "postData": {"text": "{}"},
            "headers": [{"name": "Authorization", "value": "Bearer s"}, {"name": "X-Team", "value": "a"}]}}]}});
        let recorded = Recorded::parse(&archive.to_string()).unwrap();
        let request = &recorded.mix().requests()[0].clone();
        assert_eq!(
            (request.path.as_str(), &request.headers[..]),
            ("/v1/messages?beta=1", &[("x-team".to_owned(), "a".to_owned())][..])
        );
        assert!(Recorded::parse("{}").is_err() && Recorded::parse("x").unwrap_err().contains("line 1"));
    }
}
