//! The JSON of OpenAI's chat completion answers, whole and in chunks.
//!
//! Shapes as in the API reference: `chat.completion` and `chat.completion.chunk`. A stream is a chunk per choice with the
//! role and empty content, then the text, then a chunk per choice with `finish_reason`, then (if asked) one with the
//! usage and no choices, then `data: [DONE]`.

use bytes::Bytes;
use serde::Serialize;

use super::Words;
use super::chat::ChatRequest;
use super::events::Events;
use crate::random::{Random, mix};

/// Characters of the user's message that an answer repeats.
const QUOTED_CHARS_MAX: usize = 120;

/// One answer, ready to be written in either form.
#[derive(Debug)]
pub(crate) struct Answer {
    id: String,
    model: String,
    created: u64,
    choices: u32,
    include_usage: bool,
    /// What is said. Every choice says the same.
    said: String,
    /// Where each piece of the configured size ends in it.
    ends: Vec<usize>,
    usage: Usage,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Usage {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
}

impl Answer {
    /// Makes the answer to a request. `number` is the request's number since the server's start, `created` is in seconds
    /// since 1970.
    pub(crate) fn new(request: ChatRequest, words: &Words, seed: u64, number: u64, created: u64) -> Self {
        let random = mix(seed ^ mix(number));
        let said = sized(text(&request.last_user_text, words.say.as_deref(), random), words.answer_chars);
        let ends = piece_ends(&said, words.chunk, words.random_pieces.then_some(random));
        let (prompt_tokens, completion_tokens) =
            words.usage.unwrap_or((request.prompt_chars.div_ceil(4), ends.len() * request.choices as usize));
        Self {
            id: format!("chatcmpl-{random:016x}{:016x}", mix(random)),
            model: request.model,
            created,
            choices: request.choices,
            include_usage: request.include_usage,
            said,
            ends,
            usage: Usage { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens },
        }
    }

    /// The text of one piece. Empty past the end.
    pub(crate) fn piece_text(&self, at: usize) -> &str {
        let Some(end) = self.ends.get(at) else { return "" };
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        &self.said[start..*end]
    }

    /// The whole text.
    pub(crate) fn said(&self) -> &str {
        &self.said
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn model(&self) -> &str {
        &self.model
    }

    /// Seconds since 1970.
    pub(crate) fn created(&self) -> u64 {
        self.created
    }

    /// Tokens of the prompt and of the answer.
    pub(crate) fn usage(&self) -> (usize, usize) {
        (self.usage.prompt_tokens, self.usage.completion_tokens)
    }

    /// Pieces of text per choice: what stands for tokens here.
    pub(crate) fn piece_count(&self) -> usize {
        self.ends.len()
    }

    /// The body of a whole answer.
    pub(crate) fn whole(&self) -> Bytes {
        let choices = (0..self.choices).map(|index| WholeChoice {
            index,
            message: Message { role: "assistant", content: &self.said, refusal: None },
            logprobs: None,
            finish_reason: "stop",
        });
        json(&Whole {
            id: &self.id,
            object: "chat.completion",
            created: self.created,
            model: &self.model,
            choices: choices.collect(),
            usage: self.usage,
        })
    }

    /// The events that open a stream: one per choice, naming the role.
    pub(crate) fn opening(&self, events: &mut Events) {
        self.for_each_choice(&Delta { role: Some("assistant"), content: Some("") }, None, events);
    }

    /// The events that carry the piece of text number `at`: one per choice. No events past the end.
    pub(crate) fn piece(&self, at: usize, events: &mut Events) {
        if at < self.piece_count() {
            self.for_each_choice(&Delta { role: None, content: Some(self.piece_text(at)) }, None, events);
        }
    }

    /// The events that close a stream, `[DONE]` included.
    pub(crate) fn closing(&self, events: &mut Events) {
        self.for_each_choice(&Delta { role: None, content: None }, Some("stop"), events);
        if self.include_usage {
            self.event(&[], Some(self.usage), events);
        }
        events.push(|out| out.extend_from_slice(b"data: [DONE]\n\n"));
    }

    fn for_each_choice(&self, delta: &Delta<'_>, finish_reason: Option<&'static str>, events: &mut Events) {
        for index in 0..self.choices {
            self.event(&[ChunkChoice { index, delta: *delta, logprobs: None, finish_reason }], None, events);
        }
    }

    fn event(&self, choices: &[ChunkChoice<'_>], usage: Option<Usage>, events: &mut Events) {
        events.json(&Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.model,
            choices,
            // With include_usage every chunk has the member, and it is null in all but the last.
            usage: self.include_usage.then_some(usage),
        });
    }
}

/// An error in OpenAI's shape.
pub(crate) fn error_body(message: &str, kind: &str, code: Option<&str>) -> Bytes {
    json(&ErrorBody { error: ErrorObject { message, kind, param: None, code } })
}

/// The body of `GET /v1/models`.
pub(crate) fn models_body(names: &[String], created: u64) -> Bytes {
    let data = names.iter().map(|id| ModelObject { id, object: "model", created, owned_by: "mock" }).collect();
    json(&ModelList { object: "list", data })
}

/// Something friendly about the message, then the text to say.
fn text(user: &str, say: Option<&str>, random: u64) -> String {
    const OPENINGS: [&str; 4] = ["Happy to help with", "Good question:", "Thank you for asking:", "Let me see,"];
    let opening = OPENINGS[(random % OPENINGS.len() as u64) as usize];
    let quoted: String = user.chars().take(QUOTED_CHARS_MAX).collect();
    let more = if user.chars().nth(QUOTED_CHARS_MAX).is_some() { "…" } else { "" };
    let friendly = match quoted.trim() {
        "" => "Hello! What can I do for you?".to_owned(),
        quoted => format!("{opening} “{quoted}{more}”."),
    };
    match say {
        Some(say) => format!("{friendly} {say}"),
        None => friendly,
    }
}

/// Cuts a text to a length in characters, or repeats it until it has it.
fn sized(text: String, chars: Option<usize>) -> String {
    match chars {
        None => text,
        // The start is what a short answer loses, since the text to say stands at the end.
        Some(chars) => {
            let length = text.chars().count().max(1);
            let filler: String = text.chars().cycle().take(chars.saturating_sub(length)).collect();
            let kept: String = text.chars().skip(length.saturating_sub(chars)).collect();
            filler + &kept
        }
    }
}

/// Cuts a text into pieces of `chunk` characters; with a seed, of 1 to `chunk` by chance. Gives the ends of the pieces.
fn piece_ends(text: &str, chunk: usize, random: Option<u64>) -> Vec<usize> {
    let chunk = chunk.max(1);
    let mut random = random.map(Random::new);
    let mut size =
        move || random.as_mut().map_or(chunk, |random| 1 + usize::try_from(random.next() % chunk as u64).unwrap_or(0));
    let (mut ends, mut left) = (Vec::new(), size());
    for (at, _) in text.char_indices().skip(1) {
        left -= 1;
        if left == 0 {
            ends.push(at);
            left = size();
        }
    }
    if !text.is_empty() {
        ends.push(text.len());
    }
    ends
}

pub(super) fn json(value: &impl Serialize) -> Bytes {
    // Writing these plain structs to memory has no way to fail; an empty body would be seen at once.
    Bytes::from(serde_json::to_vec(value).unwrap_or_default())
}

#[derive(Serialize)]
struct Whole<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<WholeChoice<'a>>,
    usage: Usage,
}

#[derive(Serialize)]
struct WholeChoice<'a> {
    index: u32,
    message: Message<'a>,
    logprobs: Option<()>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
    refusal: Option<()>,
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: &'a [ChunkChoice<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
}

#[derive(Serialize)]
struct ChunkChoice<'a> {
    index: u32,
    delta: Delta<'a>,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

#[derive(Clone, Copy, Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: ErrorObject<'a>,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    param: Option<()>,
    code: Option<&'a str>,
}

#[derive(Serialize)]
struct ModelList<'a> {
    object: &'static str,
    data: Vec<ModelObject<'a>>,
}

#[derive(Serialize)]
struct ModelObject<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn request(stream_usage: bool, choices: u32) -> ChatRequest {
        ChatRequest {
            model: "m".to_owned(),
            stream: true,
            include_usage: stream_usage,
            choices,
            last_user_text: "hi".to_owned(),
            prompt_chars: 2,
        }
    }

    fn words(say: Option<&str>, chunk: usize) -> Words {
        Words { say: say.map(str::to_owned), chunk, random_pieces: false, answer_chars: None, usage: None }
    }

    #[test]
    fn sizes() {
        assert_eq!(sized("abcdef".to_owned(), Some(2)), "ef");
        assert_eq!(sized("abc".to_owned(), Some(8)), "abcababc");
        assert_eq!(sized("abc".to_owned(), None), "abc");
    }

    #[test]
    fn whole_answer() {
        let answer = Answer::new(request(false, 1), &words(Some("SSN 536-22-8145."), 3), 7, 1, 1_700_000_000);
        insta::assert_snapshot!(std::str::from_utf8(&answer.whole()).unwrap());
    }

    #[test]
    fn stream_with_usage_and_two_choices() {
        let answer = Answer::new(request(true, 2), &words(None, 8), 7, 2, 1_700_000_000);
        let mut events = Events::default();
        answer.opening(&mut events);
        (0..answer.piece_count()).for_each(|at| answer.piece(at, &mut events));
        answer.closing(&mut events);
        let all: Vec<&[u8]> = events.iter().collect();
        insta::assert_snapshot!(String::from_utf8(all.concat()).unwrap());
    }

    #[test]
    fn error_and_models() {
        let names = ["a".to_owned(), "b".to_owned()];
        let both = [error_body("no \"x\"", "invalid_request_error", None), models_body(&names, 5)];
        insta::assert_snapshot!(String::from_utf8(both.join(&b'\n')).unwrap());
    }

    proptest::proptest! {
        #[test]
        fn pieces_lose_nothing(text in "\\PC{0,60}", chunk in 0_usize..9, random: Option<u64>) {
            let words = Words { random_pieces: random.is_some(), ..words(None, chunk) };
            let mut answer = Answer::new(request(false, 1), &words, random.unwrap_or(0), 1, 0);
            answer.ends = piece_ends(&text, chunk, random);
            answer.said = text;
            let pieces: Vec<&str> = (0..answer.piece_count()).map(|at| answer.piece_text(at)).collect();
            proptest::prop_assert_eq!(pieces.concat(), answer.said());
            proptest::prop_assert!(pieces.iter().all(|p| (1..=chunk.max(1)).contains(&p.chars().count())));
            proptest::prop_assert_eq!(answer.piece_text(pieces.len()), "");
        }
    }
}
