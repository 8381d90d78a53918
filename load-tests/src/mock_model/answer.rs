//! The JSON of OpenAI's chat completion answers, whole and in chunks.
//!
//! Shapes as in the API reference: `chat.completion` and `chat.completion.chunk`. A stream is a chunk per choice with the
//! role and empty content, then the text, then a chunk per choice with `finish_reason`, then (if asked) one with the
//! usage and no choices, then `data: [DONE]`.

use bytes::Bytes;
use serde::Serialize;

use super::Words;
use super::chat::ChatRequest;
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
    /// The text in pieces of the configured size. Every choice says the same.
    pieces: Vec<String>,
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
        let pieces = pieces(&said, words.chunk, words.random_pieces.then_some(random));
        let (prompt_tokens, completion_tokens) =
            words.usage.unwrap_or((request.prompt_chars.div_ceil(4), pieces.len() * request.choices as usize));
        Self {
            id: format!("chatcmpl-{random:016x}{:016x}", mix(random)),
            model: request.model,
            created,
            choices: request.choices,
            include_usage: request.include_usage,
            pieces,
            usage: Usage { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens },
        }
    }

    /// The text of one piece. Empty past the end.
    pub(crate) fn piece_text(&self, at: usize) -> &str {
        self.pieces.get(at).map_or("", String::as_str)
    }

    /// The whole text.
    pub(crate) fn said(&self) -> String {
        self.pieces.concat()
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
        self.pieces.len()
    }

    /// The body of a whole answer.
    pub(crate) fn whole(&self) -> Bytes {
        let text = self.pieces.concat();
        let choices = (0..self.choices).map(|index| WholeChoice {
            index,
            message: Message { role: "assistant", content: &text, refusal: None },
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
    pub(crate) fn opening(&self) -> Vec<Bytes> {
        self.for_each_choice(&Delta { role: Some("assistant"), content: Some("") }, None)
    }

    /// The events that carry the piece of text number `at`: one per choice. No events past the end.
    pub(crate) fn piece(&self, at: usize) -> Vec<Bytes> {
        let Some(piece) = self.pieces.get(at) else {
            return Vec::new();
        };
        self.for_each_choice(&Delta { role: None, content: Some(piece) }, None)
    }

    /// The events that close a stream, `[DONE]` included.
    pub(crate) fn closing(&self) -> Vec<Bytes> {
        let mut events = self.for_each_choice(&Delta { role: None, content: None }, Some("stop"));
        if self.include_usage {
            events.push(self.event(Vec::new(), Some(self.usage)));
        }
        events.push(Bytes::from_static(b"data: [DONE]\n\n"));
        events
    }

    fn for_each_choice(&self, delta: &Delta<'_>, finish_reason: Option<&'static str>) -> Vec<Bytes> {
        let choice = |index| ChunkChoice { index, delta: *delta, logprobs: None, finish_reason };
        (0..self.choices).map(|index| self.event(vec![choice(index)], None)).collect()
    }

    fn event(&self, choices: Vec<ChunkChoice<'_>>, usage: Option<Usage>) -> Bytes {
        let chunk = Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.model,
            choices,
            // With include_usage every chunk has the member, and it is null in all but the last.
            usage: self.include_usage.then_some(usage),
        };
        Bytes::from([b"data: ", json(&chunk).as_ref(), b"\n\n"].concat())
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

/// Cuts a text into pieces of `chunk` characters; with a seed, of 1 to `chunk` by chance.
fn pieces(text: &str, chunk: usize, random: Option<u64>) -> Vec<String> {
    let chunk = chunk.max(1);
    let mut random = random.map(Random::new);
    let (mut pieces, mut rest) = (Vec::new(), text.chars().peekable());
    while rest.peek().is_some() {
        let size =
            random.as_mut().map_or(chunk, |random| 1 + usize::try_from(random.next() % chunk as u64).unwrap_or(0));
        pieces.push(rest.by_ref().take(size).collect());
    }
    pieces
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
    choices: Vec<ChunkChoice<'a>>,
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
        let mut events = answer.opening();
        events.extend((0..answer.piece_count()).flat_map(|at| answer.piece(at)));
        events.extend(answer.closing());
        insta::assert_snapshot!(String::from_utf8(events.concat()).unwrap());
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
            let pieces = pieces(&text, chunk, random);
            proptest::prop_assert_eq!(pieces.concat(), text);
            proptest::prop_assert!(pieces.iter().all(|p| (1..=chunk.max(1)).contains(&p.chars().count())));
        }
    }
}
