//! A chat request as policies see it.

use super::slots::{Slots, TextKind, prompt_slots};
use crate::json::{Document, Duplicate, JsonError, Kind, NodeId};
use policy_lang::JsonPath;
use policy_lang::{BodyView, JsonValue, Unreadable};
use std::borrow::Cow;

/// Choices that one call may ask for.
pub const CHOICES_MAX: u32 = 128;

/// Why a body is no chat request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// JSON, but no object.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// A member that is read occurs twice.
    #[error("a member occurs twice, so that two readers could see two requests")]
    Duplicate,
    /// A member has the wrong type or is out of range.
    #[error("`{0}` has the wrong type or is out of range")]
    Member(&'static str),
}

impl From<Duplicate> for RequestError {
    fn from(_: Duplicate) -> Self {
        Self::Duplicate
    }
}

/// A chat request, read once.
#[derive(Clone, Debug)]
pub struct ChatRequest<'b> {
    document: Document<'b>,
    model: Cow<'b, str>,
    stream: bool,
    choices: u32,
    include_usage: bool,
    texts: Vec<Cow<'b, str>>,
    opaque: Vec<String>,
}

impl<'b> ChatRequest<'b> {
    /// Reads the body of `POST /v1/chat/completions`.
    ///
    /// # Errors
    /// [`RequestError`]; members that this gateway does not read are not judged.
    pub fn parse(body: &'b [u8]) -> Result<Self, RequestError> {
        let document = Document::parse(body)?;
        let root = document.root();
        if document.kind(root) != Kind::Object {
            return Err(RequestError::NotAnObject);
        }
        // Also checks that the members of the root and of what it walks through are distinct.
        let slots = prompt_slots(&document)?;
        check_messages(&document)?;
        let model = model(&document)?;
        let stream = boolean(&document, root, "stream")?;
        let choices = choices(&document)?;
        let include_usage = match document.get(root, "stream_options")? {
            Some(options) => boolean(&document, options, "include_usage")?,
            None => false,
        };
        let texts = texts(&document, &slots);
        Ok(Self { document, model, stream, choices, include_usage, texts, opaque: slots.opaque })
    }

    /// The model asked for; empty if none is.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Whether the answer is to be streamed.
    #[must_use]
    pub fn stream(&self) -> bool {
        self.stream
    }

    /// How many choices are asked for, 1 to [`CHOICES_MAX`].
    #[must_use]
    pub fn choices(&self) -> u32 {
        self.choices
    }

    /// Whether the caller wants usage in the stream.
    #[must_use]
    pub fn include_usage(&self) -> bool {
        self.include_usage
    }

    /// Parts that no text policy can see (images, audio, files), by channel name.
    #[must_use]
    pub fn opaque(&self) -> &[String] {
        &self.opaque
    }

    /// The body as scanned.
    #[must_use]
    pub fn document(&self) -> &Document<'b> {
        &self.document
    }
}

impl BodyView for ChatRequest<'_> {
    fn texts(&self) -> Result<&[Cow<'_, str>], Unreadable> {
        Ok(&self.texts)
    }

    fn values(&self, path: &JsonPath, visit: &mut dyn FnMut(JsonValue<'_>) -> bool) -> Result<(), Unreadable> {
        for node in self.document.select(path).map_err(|Duplicate| Unreadable)? {
            let value = match self.document.kind(node) {
                Kind::String => JsonValue::Str(self.document.string(node).unwrap_or_default()),
                Kind::Number => JsonValue::Number(self.document.number(node).ok_or(Unreadable)?),
                Kind::True => JsonValue::Bool(true),
                Kind::False => JsonValue::Bool(false),
                Kind::Null => JsonValue::Null,
                Kind::Object | Kind::Array => JsonValue::Composite,
            };
            if !visit(value) {
                break;
            }
        }
        Ok(())
    }
}

fn check_messages(document: &Document<'_>) -> Result<(), RequestError> {
    let wrong = Err(RequestError::Member("messages"));
    match document.get(document.root(), "messages")? {
        None => Ok(()),
        Some(messages) if document.kind(messages) == Kind::Array => {
            let all_objects = document.children(messages).all(|message| document.kind(message) == Kind::Object);
            if all_objects { Ok(()) } else { wrong }
        }
        Some(_) => wrong,
    }
}

fn model<'b>(document: &Document<'b>) -> Result<Cow<'b, str>, RequestError> {
    let Some(node) = document.get(document.root(), "model")? else {
        return Ok(Cow::Borrowed(""));
    };
    let name = document.string(node).ok_or(RequestError::Member("model"))?;
    // A lone surrogate reads differently in every language.
    if name.contains(char::REPLACEMENT_CHARACTER) {
        return Err(RequestError::Member("model"));
    }
    Ok(name)
}

fn boolean(document: &Document<'_>, object: NodeId, name: &'static str) -> Result<bool, RequestError> {
    match document.get(object, name)?.map(|node| document.kind(node)) {
        None | Some(Kind::Null | Kind::False) => Ok(false),
        Some(Kind::True) => Ok(true),
        // Some servers take "true" or 1 for true.
        Some(_) => Err(RequestError::Member(name)),
    }
}

fn choices(document: &Document<'_>) -> Result<u32, RequestError> {
    let Some(node) = document.get(document.root(), "n")? else {
        return Ok(1);
    };
    if document.kind(node) == Kind::Null {
        return Ok(1);
    }
    std::str::from_utf8(document.raw(node))
        .ok()
        .and_then(|text| text.parse().ok())
        .filter(|n| (1..=CHOICES_MAX).contains(n))
        .ok_or(RequestError::Member("n"))
}

/// Every text, and what the strings inside tool arguments mean where they are written with escapes.
fn texts<'b>(document: &Document<'b>, slots: &Slots) -> Vec<Cow<'b, str>> {
    let mut texts = Vec::with_capacity(slots.texts.len());
    for slot in &slots.texts {
        let Some(text) = document.string(slot.node) else {
            continue;
        };
        if slot.kind == TextKind::Json
            && text.contains('\\')
            && let Ok(inner) = Document::parse(text.as_bytes())
        {
            let strings = inner.subtree(inner.root()).filter_map(|node| inner.string(node));
            texts.extend(strings.map(|string| Cow::Owned(string.into_owned())));
        }
        texts.push(text);
    }
    texts
}
