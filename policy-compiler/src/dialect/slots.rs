//! Where the texts of OpenAI Chat Completions are.
//!
//! Every object on the way to a text must have distinct members: what is judged and masked must be what the server reads.

use crate::json::{Document, Duplicate, Kind, NodeId};

/// What kind of text a slot carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TextKind {
    /// Prose.
    Plain,
    /// JSON, as in the arguments of a function call.
    Json,
}

/// One text in a body: always a string node.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) node: NodeId,
    pub(crate) kind: TextKind,
    /// Its name in records.
    pub(crate) channel: String,
}

/// The texts of a body, in document order per part, and the parts that no text policy can see.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots {
    pub(crate) texts: Vec<Slot>,
    pub(crate) opaque: Vec<String>,
    /// Members that repeat a text in another form; they are dropped with any masking of answers.
    pub(crate) echoes: Vec<NodeId>,
}

/// Content parts whose payload is not text.
const OPAQUE_PARTS: [&str; 6] = ["image_url", "input_audio", "file", "audio_url", "video_url", "input_image"];

/// Members of a choice or delta that repeat its text (`logprobs`; vLLM's token ids).
const ECHOES: [&str; 5] = ["logprobs", "token_ids", "prompt_token_ids", "prompt_text", "prompt_logprobs"];

/// The texts of a request.
pub(crate) fn prompt_slots(document: &Document<'_>) -> Result<Slots, Duplicate> {
    let mut walk = Walk::new(document);
    let root = document.root();
    if !walk.is_object(root)? {
        return Ok(walk.slots);
    }
    for (index, message) in walk.elements(root, "messages")?.into_iter().enumerate() {
        walk.message(message, &format!("messages[{index}]"))?;
    }
    for (index, tool) in walk.elements(root, "tools")?.into_iter().enumerate() {
        if !walk.is_object(tool)? {
            continue;
        }
        for form in ["function", "custom"] {
            if let Some(function) = document.get(tool, form)?
                && walk.is_object(function)?
            {
                let name = format!("tools[{index}].{form}");
                walk.text(function, "description", &name)?;
                for member in ["parameters", "format"] {
                    if let Some(schema) = document.get(function, member)? {
                        walk.strings(schema, &format!("{name}.{member}"));
                    }
                }
            }
        }
    }
    if let Some(prediction) = document.get(root, "prediction")?
        && walk.is_object(prediction)?
    {
        walk.content(prediction, "content", "prediction")?;
    }
    if let Some(metadata) = document.get(root, "metadata")? {
        walk.strings(metadata, "metadata");
    }
    walk.text(root, "user", "")?;
    Ok(walk.slots)
}

/// The texts of an answer, or of one event of a stream that carries whole messages.
pub(crate) fn answer_slots(document: &Document<'_>) -> Result<Slots, Duplicate> {
    let mut walk = Walk::new(document);
    let root = document.root();
    if !walk.is_object(root)? {
        return Ok(walk.slots);
    }
    walk.echoes(root)?;
    for (index, choice) in walk.elements(root, "choices")?.into_iter().enumerate() {
        if !walk.is_object(choice)? {
            continue;
        }
        walk.echoes(choice)?;
        if let Some(message) = document.get(choice, "message")? {
            if walk.is_object(message)? {
                walk.echoes(message)?;
            }
            walk.message(message, &format!("choices[{index}]"))?;
        }
    }
    let mut slots = walk.slots;
    slots.texts.extend(error_slots(document)?);
    Ok(slots)
}

/// The text of an error, which servers like to quote the request in.
fn error_slots(document: &Document<'_>) -> Result<Vec<Slot>, Duplicate> {
    let mut walk = Walk::new(document);
    let root = document.root();
    if let Some(error) = document.get(root, "error")? {
        match document.kind(error) {
            Kind::Object => {
                walk.is_object(error)?;
                walk.text(error, "message", "error")?;
            }
            _ => walk.text(root, "error", "")?,
        }
    }
    // vLLM, FastAPI and TGI put it there.
    for name in ["message", "detail"] {
        walk.text(root, name, "")?;
    }
    Ok(walk.slots.texts)
}

struct Walk<'d, 'b> {
    document: &'d Document<'b>,
    slots: Slots,
}

impl<'d, 'b> Walk<'d, 'b> {
    fn new(document: &'d Document<'b>) -> Self {
        Self { document, slots: Slots::default() }
    }

    /// A message of a prompt or an answer.
    fn message(&mut self, message: NodeId, channel: &str) -> Result<(), Duplicate> {
        if !self.is_object(message)? {
            return Ok(());
        }
        self.content(message, "content", channel)?;
        for name in ["refusal", "name", "reasoning", "reasoning_content"] {
            self.text(message, name, channel)?;
        }
        if let Some(audio) = self.document.get(message, "audio")?
            && self.is_object(audio)?
        {
            self.text(audio, "transcript", &format!("{channel}.audio"))?;
            self.slots.opaque.push(format!("{channel}.audio"));
        }
        if let Some(call) = self.document.get(message, "function_call")?
            && self.is_object(call)?
        {
            self.arguments(call, "arguments", &format!("{channel}.function_call"))?;
        }
        for (index, call) in self.elements(message, "tool_calls")?.into_iter().enumerate() {
            self.tool_call(call, &format!("{channel}.tool_calls[{index}]"))?;
        }
        Ok(())
    }

    fn tool_call(&mut self, call: NodeId, channel: &str) -> Result<(), Duplicate> {
        if !self.is_object(call)? {
            return Ok(());
        }
        if let Some(function) = self.document.get(call, "function")?
            && self.is_object(function)?
        {
            self.arguments(function, "arguments", channel)?;
        }
        if let Some(custom) = self.document.get(call, "custom")?
            && self.is_object(custom)?
        {
            self.text(custom, "input", channel)?;
        }
        Ok(())
    }

    /// A member that is a string or a list of parts.
    fn content(&mut self, object: NodeId, name: &str, channel: &str) -> Result<(), Duplicate> {
        let Some(node) = self.document.get(object, name)? else {
            return Ok(());
        };
        match self.document.kind(node) {
            Kind::String => self.push(node, TextKind::Plain, channel, name),
            Kind::Array => {
                for (index, part) in self.document.children(node).enumerate() {
                    self.part(part, &format!("{channel}.{name}[{index}]"))?;
                }
            }
            _ => self.strings(node, channel),
        }
        Ok(())
    }

    fn part(&mut self, part: NodeId, channel: &str) -> Result<(), Duplicate> {
        if !self.is_object(part)? {
            self.strings(part, channel);
            return Ok(());
        }
        for member in self.document.children(part) {
            let Some(key) = self.document.key(member) else {
                continue;
            };
            if OPAQUE_PARTS.contains(&key.as_ref()) {
                self.slots.opaque.push(format!("{channel}.{key}"));
            } else if key != "type" {
                // `text`, `refusal` and whatever else a server may read.
                self.strings(member, channel);
            }
        }
        Ok(())
    }

    /// A member that is JSON in a string; where a server takes the JSON itself, its strings.
    fn arguments(&mut self, object: NodeId, name: &str, channel: &str) -> Result<(), Duplicate> {
        if let Some(node) = self.document.get(object, name)? {
            match self.document.kind(node) {
                Kind::String => self.push(node, TextKind::Json, channel, name),
                _ => self.strings(node, channel),
            }
        }
        Ok(())
    }

    /// A member that is a string, else nothing.
    fn text(&mut self, object: NodeId, name: &str, channel: &str) -> Result<(), Duplicate> {
        if let Some(node) = self.document.get(object, name)?
            && self.document.kind(node) == Kind::String
        {
            self.push(node, TextKind::Plain, channel, name);
        }
        Ok(())
    }

    /// Every string at or below the node.
    fn strings(&mut self, node: NodeId, channel: &str) {
        for below in self.document.subtree(node) {
            if self.document.kind(below) == Kind::String {
                self.slots.texts.push(Slot { node: below, kind: TextKind::Plain, channel: channel.to_owned() });
            }
        }
    }

    fn push(&mut self, node: NodeId, kind: TextKind, channel: &str, name: &str) {
        let dot = if channel.is_empty() { "" } else { "." };
        self.slots.texts.push(Slot { node, kind, channel: format!("{channel}{dot}{name}") });
    }

    fn echoes(&mut self, object: NodeId) -> Result<(), Duplicate> {
        for name in ECHOES {
            if let Some(node) = self.document.get(object, name)?
                && self.document.kind(node) != Kind::Null
            {
                self.slots.echoes.push(node);
            }
        }
        Ok(())
    }

    fn elements(&self, object: NodeId, name: &str) -> Result<Vec<NodeId>, Duplicate> {
        Ok(match self.document.get(object, name)? {
            Some(node) if self.document.kind(node) == Kind::Array => self.document.children(node).collect(),
            _ => Vec::new(),
        })
    }

    /// Whether it is an object; its members are distinct then.
    fn is_object(&self, node: NodeId) -> Result<bool, Duplicate> {
        if self.document.kind(node) != Kind::Object {
            return Ok(false);
        }
        self.document.distinct_keys(node)?;
        Ok(true)
    }
}

/// Members that the dialect names; records write any other as `*` (DECISIONS 20). Sorted.
const SCHEMA_NAMES: [&str; 40] = [
    "arguments",
    "audio",
    "choices",
    "content",
    "custom",
    "delta",
    "description",
    "detail",
    "error",
    "file",
    "finish_reason",
    "format",
    "function",
    "function_call",
    "id",
    "image_url",
    "index",
    "input",
    "input_audio",
    "logprobs",
    "message",
    "messages",
    "metadata",
    "model",
    "n",
    "name",
    "object",
    "parameters",
    "prediction",
    "reasoning",
    "reasoning_content",
    "refusal",
    "role",
    "stream",
    "text",
    "tool_calls",
    "tools",
    "transcript",
    "usage",
    "user",
];

/// Whether the dialect itself names this member.
pub(crate) fn is_schema_name(name: &str) -> bool {
    SCHEMA_NAMES.binary_search(&name).is_ok()
}
