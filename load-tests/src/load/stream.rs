//! What is seen in an event stream: which events carry text, how it ends, what it says about usage.

use std::time::{Duration, Instant};

use memchr::memmem;

use super::histogram::Times;
use crate::wire::EventSink;

/// Members whose value is text that a reader sees, in every API that streams: OpenAI (chat, completions, responses),
/// Anthropic, TGI, Triton.
const TEXT_MEMBERS: [&str; 9] = [
    "\"content\":",
    "\"text\":",
    "\"delta\":",
    "\"arguments\":",
    "\"reasoning_content\":",
    "\"reasoning\":",
    "\"partial_json\":",
    "\"thinking\":",
    "\"text_output\":",
];

/// Members that count output tokens.
const USAGE_MEMBERS: [&str; 3] = ["\"completion_tokens\":", "\"output_tokens\":", "\"generated_tokens\":"];

/// What was seen of one stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) events: u64,
    /// Events that carry text.
    pub(super) tokens: u64,
    pub(super) first_event: Option<Instant>,
    pub(super) first_token: Option<Instant>,
    pub(super) last_token: Option<Instant>,
    /// Output tokens as the server counted them.
    pub(super) usage: Option<u64>,
    pub(super) errors: u64,
    /// Whether the event came with which the API ends its streams.
    pub(super) done: bool,
}

/// A stream that is read now.
pub(super) struct Reading<'a> {
    pub(super) seen: &'a mut Seen,
    pub(super) now: Instant,
    /// Where gaps between tokens go, if they are measured.
    pub(super) gaps: Option<&'a mut Times>,
}

impl EventSink for Reading<'_> {
    fn event(&mut self, data: &[u8]) {
        let seen = &mut *self.seen;
        seen.events += 1;
        seen.first_event.get_or_insert(self.now);
        if data == b"[DONE]" || is_end(data) {
            seen.done = true;
        } else if is_error(data) {
            seen.errors += 1;
        }
        if carries_text(data) {
            seen.tokens += 1;
            seen.first_token.get_or_insert(self.now);
            if let (Some(last), Some(gaps)) = (seen.last_token, &mut self.gaps) {
                gaps.record(self.now.saturating_duration_since(last));
            }
            seen.last_token = Some(self.now);
        }
        if let Some(tokens) = usage(data) {
            seen.usage = Some(tokens);
        }
    }
}

impl Seen {
    /// From the first token to the last, over the gaps between them. `None` for fewer than two.
    pub(super) fn per_token(&self) -> Option<Duration> {
        let gaps = u32::try_from(self.tokens.checked_sub(1)?).ok().filter(|gaps| *gaps > 0)?;
        Some(self.last_token?.saturating_duration_since(self.first_token?) / gaps)
    }
}

/// Output tokens that an answer says it has, wherever it says so.
pub(super) fn usage(json: &[u8]) -> Option<u64> {
    USAGE_MEMBERS.iter().find_map(|member| {
        let at = memmem::rfind(json, member.as_bytes())? + member.len();
        let digits: Vec<u8> =
            json[at..].iter().copied().skip_while(|b| *b == b' ').take_while(u8::is_ascii_digit).collect();
        std::str::from_utf8(&digits).ok()?.parse().ok()
    })
}

/// Whether some text member has a string that is not empty.
fn carries_text(data: &[u8]) -> bool {
    // Events of OpenAI's responses that are no deltas repeat text that was already there.
    if memmem::find(data, b"\"type\":\"response.").is_some() && memmem::find(data, b".delta\"").is_none() {
        return false;
    }
    TEXT_MEMBERS.iter().any(|member| {
        memmem::find_iter(data, member.as_bytes()).any(|at| {
            let mut value = data[at + member.len()..].iter().copied().skip_while(|byte| *byte == b' ');
            value.next() == Some(b'"') && value.next().is_some_and(|byte| byte != b'"')
        })
    })
}

fn is_error(data: &[u8]) -> bool {
    data.starts_with(b"{\"error\"") || data.starts_with(b"{\"type\":\"error\"")
}

/// Ends of Anthropic's, of OpenAI's responses and of TGI's streams; the others end with `[DONE]`.
fn is_end(data: &[u8]) -> bool {
    const ENDS: [&[u8]; 4] = [
        b"\"type\":\"message_stop\"",
        b"\"type\":\"response.completed\"",
        b"\"type\":\"response.incomplete\"",
        b"\"generated_text\":\"",
    ];
    ENDS.iter().any(|end| memmem::find(data, end).is_some())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn tells_events_apart() {
        for (data, text, done, tokens) in [
            (r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#, false, false, None),
            (r#"{"choices":[{"delta":{"content":"Hi"}}]}"#, true, false, None),
            (r#"{"choices":[{"delta":{"content": " there"}}]}"#, true, false, None),
            (
                r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":41,"total_tokens":44}}"#,
                false,
                false,
                Some(41),
            ),
            (r#"{"type":"response.output_text.delta","delta":"Hi"}"#, true, false, None),
            (r#"{"type":"response.output_text.done","text":"Hi there"}"#, false, false, None),
            (
                r#"{"type":"response.completed","response":{"output":[{"content":[{"text":"Hi"}]}],"usage":{"output_tokens": 7}}}"#,
                false,
                true,
                Some(7),
            ),
            (
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}"#,
                true,
                false,
                None,
            ),
            (r#"{"type":"message_stop"}"#, false, true, None),
            (r#"{"token":{"id":1,"text":"Hi"},"generated_text":null}"#, true, false, None),
            (
                r#"{"token":{"id":1,"text":"!"},"generated_text":"Hi!","details":{"generated_tokens":2}}"#,
                true,
                true,
                Some(2),
            ),
            (r#"{"model_name":"m","text_output":"Hi"}"#, true, false, None),
        ] {
            let mut seen = Seen::default();
            Reading { seen: &mut seen, now: Instant::now(), gaps: None }.event(data.as_bytes());
            assert_eq!((seen.tokens == 1, seen.done, seen.usage), (text, done, tokens), "{data}");
        }
    }

    #[test]
    fn both_definitions_of_the_gap() {
        let (start, mut seen, mut gaps) = (Instant::now(), Seen::default(), Times::default());
        for ms in [200, 220, 260] {
            let now = start + Duration::from_millis(ms);
            Reading { seen: &mut seen, now, gaps: Some(&mut gaps) }.event(br#"{"text_output":"x"}"#);
        }
        assert_eq!((gaps.count(), seen.per_token()), (2, Some(Duration::from_millis(30))));
        assert!((20_000_000..20_100_000).contains(&gaps.at(0.5)), "{}", gaps.at(0.5));
    }
}
