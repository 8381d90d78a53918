//! A request as policies see it.

use super::answer::AnswerInfo;
use super::form::{BodyForm, FormError, lines, multipart_parts, tensor_elements};
use super::media::FORM_TEXTS;
use super::operation::{Operation, RequestBody, Streams};
use super::route::route;
use super::slots::{SlotForm, Slots, slots};
use super::text_kind::TextKind;
use super::walk::WalkError;
use crate::json::{Document, Duplicate, JsonError, Kind, NodeId};
use policy_lang::JsonPath;
use policy_lang::{BodyView, JsonValue, Unreadable};
use std::borrow::Cow;

/// Choices that one call may ask for.
pub const CHOICES_MAX: u32 = 128;
/// Lines of one batch file.
const LINES_MAX: usize = 50_000;

/// Why a body is no request of its operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
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
    /// Not the form that it says it is.
    #[error(transparent)]
    Form(#[from] FormError),
    /// A line of a batch is no request that is known.
    #[error("line {0} of the batch is not {{\"custom_id\", \"method\", \"url\", \"body\"}} of a known route")]
    Line(usize),
    /// Two lines of a batch ask for two models.
    #[error("line {0} of the batch asks for another model than the lines before it")]
    Models(usize),
}

impl From<Duplicate> for RequestError {
    fn from(_: Duplicate) -> Self {
        Self::Duplicate
    }
}

impl From<WalkError> for RequestError {
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::Duplicate => Self::Duplicate,
            WalkError::Index => Self::Member("index"),
        }
    }
}

/// A line of a batch file: a request of its own.
#[derive(Clone, Debug)]
pub struct BatchLine<'b> {
    /// What it asks for.
    pub operation: Operation,
    /// Its body.
    pub body: &'b [u8],
}

/// A request, read once.
#[derive(Clone, Debug)]
pub struct Request<'b> {
    document: Option<Document<'b>>,
    model: Cow<'b, str>,
    stream: bool,
    choices: u32,
    include_usage: bool,
    texts: Vec<Cow<'b, str>>,
    opaque: Vec<String>,
    hidden: Vec<String>,
    lines: Vec<BatchLine<'b>>,
}

impl<'b> Request<'b> {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`RequestError`]; members that this gateway does not read are not judged.
    pub fn parse(operation: Operation, form: &BodyForm, body: &'b [u8]) -> Result<Self, RequestError> {
        let mut request = Self {
            document: None,
            model: Cow::Borrowed(""),
            stream: operation.spec().streams == Streams::Always,
            choices: 1,
            include_usage: false,
            texts: Vec::new(),
            opaque: Vec::new(),
            hidden: Vec::new(),
            lines: Vec::new(),
        };
        match form {
            BodyForm::Json => request.json(operation, body)?,
            BodyForm::Tensors { json_bytes } => {
                let (json, tail) = body.split_at_checked(*json_bytes).ok_or(FormError::HeaderLength)?;
                request.json(operation, json)?;
                request.tensors(tail)?;
            }
            BodyForm::Form { boundary } => request.form(operation, boundary, body)?,
            BodyForm::Lines => request.batch(body)?,
            BodyForm::Text => request.texts.push(String::from_utf8_lossy(body)),
            BodyForm::Opaque => {}
        }
        Ok(request)
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

    /// Parts with text that cannot be read (token ids, shared memory), by channel name.
    #[must_use]
    pub fn hidden(&self) -> &[String] {
        &self.hidden
    }

    /// The requests of a batch file.
    #[must_use]
    pub fn lines(&self) -> &[BatchLine<'b>] {
        &self.lines
    }

    /// The body as scanned, if it is one JSON text.
    #[must_use]
    pub fn document(&self) -> Option<&Document<'b>> {
        self.document.as_ref()
    }

    fn json(&mut self, operation: Operation, body: &'b [u8]) -> Result<(), RequestError> {
        // Operations with settings only are called without a body too.
        if body.is_empty() && operation.request_table().is_none_or(|table| !table.names("model")) {
            return Ok(());
        }
        let document = Document::parse(body)?;
        let root = document.root();
        if document.kind(root) != Kind::Object {
            return Err(RequestError::NotAnObject);
        }
        document.distinct_keys(root)?;
        // Also checks that the members of what it walks through are distinct.
        let slots = match operation.request_table() {
            Some(table) => slots(&document, table, &mut AnswerInfo::default())?,
            None => Slots::default(),
        };
        check_messages(&document)?;
        // Where an API has no such member, it may mean anything.
        if operation.request_table().is_some_and(|table| table.names("model")) {
            self.model = model(&document)?;
        }
        self.stream = match operation.spec().streams {
            Streams::Always => true,
            Streams::Never => false,
            Streams::ByMember => boolean(&document, root, "stream")?,
        };
        if matches!(operation, Operation::ChatCompletions | Operation::Completions) {
            self.choices = choices(&document)?;
            self.include_usage = match document.get(root, "stream_options")? {
                Some(options) => boolean(&document, options, "include_usage")?,
                None => false,
            };
        }
        if operation == Operation::MessageBatches {
            self.message_batch(&document)?;
        }
        self.texts.extend(texts(&document, &slots));
        self.opaque.extend(slots.opaque);
        self.hidden.extend(slots.hidden);
        self.document = Some(document);
        Ok(())
    }

    fn tensors(&mut self, tail: &'b [u8]) -> Result<(), RequestError> {
        let Some(document) = &self.document else { return Ok(()) };
        for tensor in crate::redact::binary_tensors(document, "inputs", tail)? {
            match tensor.is_bytes {
                true => self.texts.extend(tensor_elements(tensor.data)?.into_iter().map(String::from_utf8_lossy)),
                false => self.opaque.push(tensor.channel),
            }
        }
        Ok(())
    }

    fn form(&mut self, operation: Operation, boundary: &str, body: &'b [u8]) -> Result<(), RequestError> {
        let parts = multipart_parts(boundary, body)?;
        let value = |name: &str| {
            let mut found = parts.iter().filter(|part| part.name == name && !part.is_file);
            let value = found.next().map(|part| body.get(part.content.clone()).unwrap_or_default());
            if found.next().is_some() { Err(RequestError::Duplicate) } else { Ok(value) }
        };
        self.model = value("model")?.map(String::from_utf8_lossy).unwrap_or_default();
        self.stream = match value("stream")? {
            None | Some(b"false" | b"False" | b"") => false,
            Some(b"true" | b"True") => true,
            Some(_) => return Err(RequestError::Member("stream")),
        };
        let is_batch = matches!(operation.spec().request, RequestBody::Upload) && value("purpose")? == Some(b"batch");
        for part in &parts {
            let content = body.get(part.content.clone()).unwrap_or_default();
            if part.is_file && is_batch {
                self.batch(content)?;
            } else if part.is_file {
                self.opaque.push(part.name.clone());
            } else if FORM_TEXTS.contains(&part.name.as_str()) {
                self.texts.push(String::from_utf8_lossy(content));
            }
        }
        Ok(())
    }

    /// Anthropic's batch: each of its requests is one of its own, and all ask for one model.
    fn message_batch(&mut self, document: &Document<'b>) -> Result<(), RequestError> {
        let requests = document.get(document.root(), "requests")?;
        for (number, request) in requests.into_iter().flat_map(|list| document.children(list)).enumerate() {
            let Some(params) = document.get(request, "params")? else { return Err(RequestError::Member("params")) };
            let line = BatchLine { operation: Operation::Messages, body: document.raw(params) };
            let request = Self::parse(line.operation, &BodyForm::Json, line.body)?;
            if number > 0 && request.model != self.model {
                return Err(RequestError::Models(number + 1));
            }
            self.model = request.model;
            self.lines.push(line);
        }
        Ok(())
    }

    /// A batch file: each line is a request of its own, and all ask for one model.
    fn batch(&mut self, body: &'b [u8]) -> Result<(), RequestError> {
        for (number, range) in lines(body).enumerate() {
            let line = RequestError::Line(number + 1);
            if number >= LINES_MAX {
                return Err(line);
            }
            let document = Document::parse(body.get(range).unwrap_or_default())?;
            let root = document.root();
            document.distinct_keys(root)?;
            let text = |name| Ok::<_, Duplicate>(document.get(root, name)?.and_then(|node| document.string(node)));
            let (Some(method), Some(url)) = (text("method")?, text("url")?) else { return Err(line) };
            let operation = route(&method, &url).filter(|operation| operation.request_table().is_some());
            let (Some(operation), Some(inner)) = (operation, document.get(root, "body")?) else { return Err(line) };
            let inner = document.raw(inner);
            let request = Self::parse(operation, &BodyForm::Json, inner)?;
            if number > 0 && request.model != self.model {
                return Err(RequestError::Models(number + 1));
            }
            self.model = request.model;
            self.texts.extend(request.texts);
            self.opaque.extend(request.opaque);
            self.hidden.extend(request.hidden);
            self.lines.push(BatchLine { operation, body: inner });
        }
        Ok(())
    }
}

impl BodyView for Request<'_> {
    fn texts(&self) -> Result<&[Cow<'_, str>], Unreadable> {
        // What carries text past every text test is an error where one is asked for.
        if self.hidden.is_empty() { Ok(&self.texts) } else { Err(Unreadable) }
    }

    fn values(&self, path: &JsonPath, visit: &mut dyn FnMut(JsonValue<'_>) -> bool) -> Result<(), Unreadable> {
        // On an operation without JSON a path is absent (DECISIONS 9).
        self.document.as_ref().map_or(Ok(()), |document| visit_values(document, path, visit))
    }
}

/// Shows the values at a path to a policy.
pub(super) fn visit_values(
    document: &Document<'_>,
    path: &JsonPath,
    visit: &mut dyn FnMut(JsonValue<'_>) -> bool,
) -> Result<(), Unreadable> {
    visit_nodes(document, &document.select(path).map_err(|Duplicate| Unreadable)?, visit)
}

/// The same of nodes.
pub(super) fn visit_nodes(
    document: &Document<'_>,
    nodes: &[NodeId],
    visit: &mut dyn FnMut(JsonValue<'_>) -> bool,
) -> Result<(), Unreadable> {
    for node in nodes {
        let node = *node;
        let value = match document.kind(node) {
            Kind::String => JsonValue::Str(document.string(node).unwrap_or_default()),
            Kind::Number => JsonValue::Number(document.number(node).ok_or(Unreadable)?),
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

/// A streamed request that also asks for the count of tokens; `None` if it asks already, does not stream, or its API counts
/// anyway. The event that carries the count has then to be taken out again.
///
/// # Errors
/// [`RequestError`]
pub fn with_usage(operation: Operation, body: &[u8]) -> Result<Option<Vec<u8>>, RequestError> {
    if !matches!(operation, Operation::ChatCompletions | Operation::Completions) {
        return Ok(None);
    }
    let request = Request::parse(operation, &BodyForm::Json, body)?;
    let Some(document) = request.document().filter(|_| request.stream && !request.include_usage) else {
        return Ok(None);
    };
    let root = document.root();
    let options = document.get(root, "stream_options")?;
    let (range, text): (_, &[u8]) = match options {
        Some(options) if document.kind(options) == Kind::Object => match document.get(options, "include_usage")? {
            Some(given) => (document.range(given), b"true"),
            None => {
                let inside = document.range(options).start + 1;
                let comma: &[u8] = if document.children(options).next().is_some() {
                    b"\"include_usage\":true,"
                } else {
                    b"\"include_usage\":true"
                };
                (inside..inside, comma)
            }
        },
        Some(null) => (document.range(null), b"{\"include_usage\":true}"),
        None => {
            // The object is not empty: it has `stream`.
            let inside = document.range(root).start + 1;
            (inside..inside, b"\"stream_options\":{\"include_usage\":true},")
        }
    };
    let (before, behind) = (body.get(..range.start).unwrap_or_default(), body.get(range.end..).unwrap_or_default());
    Ok(Some([before, text, behind].concat()))
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

/// Every text, and what the strings inside JSON mean where they are written with escapes.
pub(super) fn texts<'b>(document: &Document<'b>, slots: &Slots) -> Vec<Cow<'b, str>> {
    let mut texts = Vec::with_capacity(slots.texts.len());
    for slot in &slots.texts {
        if slot.form == SlotForm::Tree {
            texts.extend(
                document.subtree(slot.node).flat_map(|node| [document.key(node), document.string(node)]).flatten(),
            );
            texts.push(String::from_utf8_lossy(document.raw(slot.node)));
            continue;
        }
        let Some(text) = document.string(slot.node) else {
            continue;
        };
        if slot.form == SlotForm::String(TextKind::Json)
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
