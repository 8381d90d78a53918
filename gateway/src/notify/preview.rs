//! The little that a message shows of a request: its beginning, masked, on one line.

use crate::recorded_text::masked;
use serde_json::Value;

/// Characters that are shown.
const CHARS_MAX: usize = 300;

/// The beginning of a request that is masked already, as policy asks, with every built-in detector of tier V run over it once
/// more: a message leaves the house. `None` where the request cannot be read as a whole, since what is cut or escaped could
/// hide what the detectors look for.
pub(crate) fn of_request(masked: &str) -> Option<String> {
    let body: Value = serde_json::from_str(masked).ok()?;
    // What people wrote first; else everything.
    let mut texts = Vec::new();
    for member in ["messages", "input", "prompt", "contents", "inputs", "query", "text"] {
        if let Some(value) = body.get(member) {
            gather(value, &mut texts);
        }
    }
    let text = if texts.is_empty() { body.to_string() } else { texts.join(" | ") };
    Some(line(&text, CHARS_MAX))
}

/// Text that a caller chose, fit for a message: masked, on one line, cut.
pub(crate) fn line(text: &str, chars_max: usize) -> String {
    let masked = masked(text);
    let mut line = String::new();
    let mut chars = 0;
    for word in masked.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
            chars += 1;
        }
        for c in word.chars() {
            if chars >= chars_max {
                line.push('…');
                return line;
            }
            line.push(c);
            chars += 1;
        }
    }
    line
}

/// Texts of messages, without their roles, types and ids.
fn gather(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| gather(value, texts)),
        Value::Object(members) => {
            for name in ["content", "text", "parts", "input", "data"] {
                if let Some(value) = members.get(name) {
                    gather(value, texts);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_people_wrote_is_shown_masked_and_short() {
        let body = r#"{"model":"m","messages":[{"role":"system","content":"Be\nbrief."},
            {"role":"user","content":[{"type":"text","text":"card \u0034111 1111 1111 1111"}]}]}"#;
        assert_eq!(of_request(body).unwrap(), "Be brief. | card [CREDIT_CARD]");
        let long = serde_json::json!({ "prompt": "é".repeat(1000) }).to_string();
        assert_eq!(of_request(&long).unwrap().chars().count(), CHARS_MAX + 1);
        assert_eq!(of_request("{\"messages\":[{\"content\":\"cut off"), None);
        assert_eq!(of_request("{\"n\":1}").unwrap(), "{\"n\":1}");
        assert_eq!(line("a\r\nBcc: x\u{7}", 50), "a Bcc: x");
    }
}
