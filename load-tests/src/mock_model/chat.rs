//! What a chat completion request asks for, as far as a mock needs to know.

use simd_json::prelude::*;
use simd_json::tape;

/// Most choices that one request may ask for, as in OpenAI's API.
const CHOICES_MAX: u64 = 128;

/// A chat completion request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ChatRequest {
    pub(crate) model: String,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    pub(crate) choices: u32,
    /// Text of the last message whose role is `user`; empty if there is none.
    pub(crate) last_user_text: String,
    /// Characters in all messages.
    pub(crate) prompt_chars: usize,
}

impl ChatRequest {
    /// Reads a request body; the error is the message for OpenAI's error object.
    ///
    /// It walks simd-json's flat tape and never recurses, so nesting in the body costs no stack.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, String> {
        let mut scratch = body.to_vec();
        let tape = simd_json::to_tape(&mut scratch)
            .map_err(|e| format!("We could not parse the JSON body of your request: {e}"))?;
        let root = tape.as_value();
        if !root.is_object() {
            return Err("The JSON body of your request must be an object.".to_owned());
        }
        let model = root.get_str("model").ok_or("you must provide a model parameter")?.to_owned();
        let messages = root.get_array("messages").ok_or("Missing required parameter: 'messages'.")?;
        let mut last_user_text = String::new();
        let mut prompt_chars = 0;
        for message in messages.iter() {
            let text = content_text(&message);
            prompt_chars += text.chars().count();
            if message.get_str("role") == Some("user") {
                last_user_text = text;
            }
        }
        let choices = match root.get("n") {
            None => 1,
            Some(n) if n.is_null() => 1,
            Some(n) => n
                .as_u64()
                .filter(|n| (1..=CHOICES_MAX).contains(n))
                .and_then(|n| u32::try_from(n).ok())
                .ok_or_else(|| format!("Invalid 'n': expected an integer from 1 to {CHOICES_MAX}."))?,
        };
        Ok(Self {
            model,
            stream: root.get_bool("stream").unwrap_or(false),
            include_usage: root.get("stream_options").and_then(|o| o.get_bool("include_usage")).unwrap_or(false),
            choices,
            last_user_text,
            prompt_chars,
        })
    }
}

/// `content` is a string or a list of parts, of which those with `text` count.
fn content_text(message: &tape::Value<'_, '_>) -> String {
    let Some(content) = message.get("content") else {
        return String::new();
    };
    if let Some(text) = content.as_str() {
        return text.to_owned();
    }
    let parts = content.as_array();
    let texts = parts.iter().flat_map(tape::Array::iter).filter_map(|part| part.get_str("text").map(str::to_owned));
    texts.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn reads_what_it_needs() {
        let body = br#"{"model":"m","n":2,"stream":true,"stream_options":{"include_usage":true},"unknown":[{}],
            "messages":[{"role":"system","content":"be kind"},{"role":"user","content":[{"type":"text","text":"hi"},
            {"type":"image_url","image_url":{"url":"x"}},{"type":"text","text":"there"}]},{"role":"assistant","content":null}]}"#;
        let request = ChatRequest::parse(body).unwrap();
        let expected = ChatRequest {
            model: "m".to_owned(),
            stream: true,
            include_usage: true,
            choices: 2,
            last_user_text: "hi there".to_owned(),
            prompt_chars: 15,
        };
        assert_eq!(request, expected);
    }

    #[test]
    fn says_what_is_wrong() {
        for (body, part) in [
            (&b"{"[..], "could not parse"),
            (b"", "could not parse"),
            (b"[]", "must be an object"),
            (br#"{"messages":[]}"#, "model"),
            (br#"{"model":"m"}"#, "messages"),
            (br#"{"model":"m","messages":[],"n":0}"#, "'n'"),
            (br#"{"model":"m","messages":[],"n":1000}"#, "'n'"),
        ] {
            let message = ChatRequest::parse(body).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn deep_nesting_is_no_danger() {
        let deep = format!("{{\"model\":\"m\",\"messages\":[],\"x\":{}{}}}", "[".repeat(500_000), "]".repeat(500_000));
        // Refused or accepted, but never a stack overflow.
        let _ = ChatRequest::parse(deep.as_bytes());
    }
}
