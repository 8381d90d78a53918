//! What is sent: one request, or several by weight, or what was recorded, in its order.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::random::mix;

/// Requests and how often each is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mix {
    requests: Vec<MixRequest>,
    /// Weights summed up to and including each request; empty: in order, again from the first when all were sent.
    cumulative: Vec<f64>,
}

/// One kind of request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MixRequest {
    /// The method, such as `POST`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers of this request; they replace those of the plan with the same name.
    pub headers: Vec<(String, String)>,
    /// The body, sent as it is.
    #[serde(with = "in_base64")]
    pub body: Bytes,
    /// Whether the answer is an event stream.
    pub stream: bool,
}

/// A body may be any bytes; JSON has only text.
mod in_base64 {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(body: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(body))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map(Bytes::from).map_err(D::Error::custom)
    }
}

/// One line of a mix file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(default = "one")]
    weight: f64,
    #[serde(default = "post")]
    method: String,
    path: Option<String>,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    body: Value,
}

fn one() -> f64 {
    1.0
}

fn post() -> String {
    "POST".to_owned()
}

impl Mix {
    /// The same request every time.
    pub fn single(request: MixRequest) -> Self {
        Self { requests: vec![request], cumulative: Vec::new() }
    }

    /// Requests in the order given.
    pub fn in_order(requests: Vec<MixRequest>) -> Self {
        Self { requests, cumulative: Vec::new() }
    }

    /// Reads a mix file: one JSON object per line with `weight`, `method`, `path`, `headers` and `body` (an object, sent as
    /// JSON, or a string, sent as it is). Only `body` has no default; `path` is that of the target, `weight` 1.
    ///
    /// # Errors
    /// A sentence that names the line.
    pub fn parse(text: &str, target_path: &str) -> Result<Self, String> {
        let (mut requests, mut cumulative, mut sum) = (Vec::new(), Vec::new(), 0.0);
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let at = number + 1;
            let line: Line = serde_json::from_str(line).map_err(|error| format!("line {at}: {error}"))?;
            if !(line.weight > 0.0 && line.weight.is_finite()) {
                return Err(format!("line {at}: a weight of {} is not above 0", line.weight));
            }
            sum += line.weight;
            cumulative.push(sum);
            let path = line.path.unwrap_or_else(|| target_path.to_owned());
            let request = MixRequest::new(line.method, path, line.headers.into_iter().collect(), body_of(&line.body));
            requests.push(request.map_err(|error| format!("line {at}: {error}"))?);
        }
        if requests.is_empty() {
            Err("there is no request in it".to_owned())
        } else {
            Ok(Self { requests, cumulative })
        }
    }

    /// The kinds of requests.
    pub fn requests(&self) -> &[MixRequest] {
        &self.requests
    }

    /// Which request is sent as number `number`. The choice depends on nothing but the seed and the number.
    pub(super) fn choose(&self, seed: u64, number: u64) -> usize {
        let Some(sum) = self.cumulative.last() else {
            return usize::try_from(number % self.requests.len().max(1) as u64).unwrap_or(0);
        };
        let unit = (mix(seed ^ mix(number)) >> 11) as f64 / (1_u64 << 53) as f64;
        self.cumulative.partition_point(|upto| *upto <= unit * sum).min(self.requests.len() - 1)
    }
}

impl MixRequest {
    /// A request; whether it asks for a stream is read from its body and path.
    ///
    /// # Errors
    /// When a method, path or header would break the request apart.
    pub fn new(method: String, path: String, headers: Vec<(String, String)>, body: Bytes) -> Result<Self, String> {
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(format!("`{method}` is not a method"));
        }
        if !path.starts_with('/') || path.bytes().any(|byte| byte <= b' ' || byte >= 0x7f) {
            return Err(format!("`{path}` is not a path: it starts with / and has no spaces"));
        }
        for (name, value) in &headers {
            let broken = value.bytes().any(|byte| byte < b' ' && byte != b'\t');
            if name.is_empty()
                || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
                || broken
            {
                return Err(format!("`{name}: {value}` is not a header"));
            }
        }
        let stream = path.contains("/generate_stream") || asks_for_stream(&body);
        Ok(Self { method, path, headers, body, stream })
    }
}

fn body_of(value: &Value) -> Bytes {
    match value {
        Value::Null => Bytes::new(),
        Value::String(text) => Bytes::from(text.clone()),
        other => Bytes::from(other.to_string()),
    }
}

fn asks_for_stream(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Asks {
        #[serde(default)]
        stream: bool,
    }
    serde_json::from_slice::<Asks>(body).is_ok_and(|asks| asks.stream)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn weights_are_kept() {
        let text = "{\"weight\":3,\"body\":{\"stream\":true}}\n\n{\"method\":\"GET\",\"path\":\"/v1/models\",\"headers\":{\"x-a\":\"b\"}}\n";
        let mix = Mix::parse(text, "/v1/x").unwrap();
        let [first, second] = mix.requests() else { panic!("two requests") };
        assert!(
            first.stream && first.path == "/v1/x" && first.method == "POST" && &first.body[..] == b"{\"stream\":true}"
        );
        assert!(!second.stream && second.body.is_empty() && second.headers == [("x-a".to_owned(), "b".to_owned())]);
        let firsts = (0..40_000).filter(|number| mix.choose(1, *number) == 0).count();
        assert!((29_500..30_500).contains(&firsts), "{firsts}");
        assert_eq!(mix.choose(9, 123), mix.choose(9, 123));
    }

    #[test]
    fn errors_name_the_line() {
        for (text, part) in [
            ("", "no request"),
            ("{}\n{\"weight\":0}", "line 2: a weight"),
            ("{\"wait\":1}", "line 1: unknown field"),
            ("{\"path\":\"v1\"}", "not a path"),
            ("{\"method\":\"GET X\"}", "not a method"),
            ("{\"headers\":{\"a b\":\"c\"}}", "not a header"),
            ("{\"headers\":{\"a\":\"c\\r\\nd: e\"}}", "not a header"),
        ] {
            let error = Mix::parse(text, "/").unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
