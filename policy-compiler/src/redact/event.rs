//! The texts of one streamed event, and the event that carries what was held back.

use super::RedactError;
use super::paths::{Field, StreamChannel};
use crate::dialect::CHOICES_MAX;
use crate::json::{Document, Kind, NodeId, write_string};
use std::collections::BTreeMap;

/// Tool calls of one choice.
const TOOL_CALLS_MAX: u32 = 128;

/// What an event carries.
#[derive(Debug, Default)]
pub(crate) struct Delta {
    /// Pieces of channels, in document order.
    pub(crate) pieces: Vec<(StreamChannel, NodeId)>,
    /// Choices that end with this event.
    pub(crate) finished: Vec<u32>,
    /// Parts that are not text.
    pub(crate) opaque: Vec<String>,
}

/// Reads the choices of an event.
pub(crate) fn read(document: &Document<'_>) -> Result<Delta, RedactError> {
    let mut delta = Delta::default();
    let root = document.root();
    let Some(choices) = document.get(root, "choices")? else {
        return Ok(delta);
    };
    if document.kind(root) == Kind::Object {
        document.distinct_keys(root)?;
    }
    for (position, choice) in document.children(choices).enumerate() {
        if document.kind(choice) != Kind::Object {
            continue;
        }
        document.distinct_keys(choice)?;
        let index = index(document, choice, position, CHOICES_MAX)?;
        if let Some(node) = document.get(choice, "delta")?
            && document.kind(node) == Kind::Object
        {
            document.distinct_keys(node)?;
            texts(document, node, index, &mut delta)?;
        }
        if crate::dialect::finish_reason(document, choice).is_some() {
            delta.finished.push(index);
        }
    }
    Ok(delta)
}

fn texts(document: &Document<'_>, node: NodeId, choice: u32, delta: &mut Delta) -> Result<(), RedactError> {
    for (field, name) in Field::NAMED {
        if let Some(member) = document.get(node, name)? {
            pieces(document, member, StreamChannel { choice, field }, delta);
        }
    }
    let mut inner = |object: NodeId, holder: &str, name: &str, field: Field| {
        if let Some(holder) = document.get(object, holder)?
            && document.kind(holder) == Kind::Object
        {
            document.distinct_keys(holder)?;
            if let Some(member) = document.get(holder, name)? {
                pieces(document, member, StreamChannel { choice, field }, delta);
            }
        }
        Ok::<_, RedactError>(())
    };
    inner(node, "audio", "transcript", Field::AudioTranscript)?;
    inner(node, "function_call", "arguments", Field::FunctionArguments)?;
    if let Some(calls) = document.get(node, "tool_calls")? {
        for (position, call) in document.children(calls).enumerate() {
            if document.kind(call) != Kind::Object {
                continue;
            }
            document.distinct_keys(call)?;
            let number = index(document, call, position, TOOL_CALLS_MAX)?;
            inner(call, "function", "arguments", Field::ToolArguments(number))?;
            inner(call, "custom", "input", Field::ToolInput(number))?;
        }
    }
    if let Some(audio) = document.get(node, "audio")?
        && document.get(audio, "data")?.is_some()
    {
        delta.opaque.push(format!("choices[{choice}].audio"));
    }
    Ok(())
}

/// A string, or the strings of a list of parts.
fn pieces(document: &Document<'_>, member: NodeId, channel: StreamChannel, delta: &mut Delta) {
    for node in document.subtree(member) {
        let is_type = node != member && document.key(node).as_deref() == Some("type");
        if document.kind(node) == Kind::String && !is_type {
            delta.pieces.push((channel, node));
        }
    }
}

/// The `index` of a choice or call; where there is none, its position.
fn index(document: &Document<'_>, object: NodeId, position: usize, below: u32) -> Result<u32, RedactError> {
    let index = match document.get(object, "index")? {
        Some(node) if document.kind(node) != Kind::Null => {
            std::str::from_utf8(document.raw(node)).ok().and_then(|text| text.parse().ok())
        }
        _ => u32::try_from(position).ok(),
    };
    index.filter(|&index| index < below).ok_or(RedactError::Member("index"))
}

/// Members of the head of an event, as they are written, for [`synthetic`].
pub(crate) fn head(document: &Document<'_>) -> Vec<u8> {
    let mut head = Vec::new();
    for name in ["id", "object", "created", "model", "system_fingerprint"] {
        if let Ok(Some(node)) = document.get(document.root(), name) {
            write_string(name.as_bytes(), &mut head);
            head.push(b':');
            // The line feed of a joined event would end the data line.
            head.extend(document.raw(node).iter().filter(|&&byte| byte != b'\n'));
            head.push(b',');
        }
    }
    head
}

/// One event that carries these texts.
pub(crate) fn synthetic(head: &[u8], texts: &BTreeMap<StreamChannel, Vec<u8>>) -> Vec<u8> {
    let mut choices: BTreeMap<u32, Vec<(Field, &[u8])>> = BTreeMap::new();
    for (channel, text) in texts {
        choices.entry(channel.choice).or_default().push((channel.field, text));
    }
    let mut out = b"data: {".to_vec();
    out.extend_from_slice(head);
    out.extend_from_slice(br#""choices":["#);
    for (position, (choice, fields)) in choices.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        out.extend_from_slice(format!(r#"{{"index":{choice},"delta":{{"#).as_bytes());
        write_delta(fields, &mut out);
        out.extend_from_slice(br#"},"finish_reason":null}"#);
    }
    out.extend_from_slice(b"]}\n\n");
    out
}

fn write_delta(fields: &[(Field, &[u8])], out: &mut Vec<u8>) {
    let mut members: Vec<Vec<u8>> = Vec::new();
    let mut calls: Vec<Vec<u8>> = Vec::new();
    for (field, text) in fields {
        let mut quoted = Vec::new();
        write_string(text, &mut quoted);
        let around = |before: String, after: &str| [before.as_bytes(), &quoted, after.as_bytes()].concat();
        match field {
            Field::ToolArguments(call) => {
                calls.push(around(format!(r#"{{"index":{call},"function":{{"arguments":"#), "}}"))
            }
            Field::ToolInput(call) => calls.push(around(format!(r#"{{"index":{call},"custom":{{"input":"#), "}}")),
            Field::AudioTranscript => {
                members.push(around(r#""audio":{"transcript":"#.to_owned(), "}"));
            }
            Field::FunctionArguments => {
                members.push(around(r#""function_call":{"arguments":"#.to_owned(), "}"));
            }
            named => {
                let name = Field::NAMED.iter().find(|(field, _)| field == named).map_or("content", |(_, name)| *name);
                members.push(around(format!("\"{name}\":"), ""));
            }
        }
    }
    if !calls.is_empty() {
        let list = calls.join(&b","[..]);
        members.push([&br#""tool_calls":["#[..], &list, b"]"].concat());
    }
    out.extend(members.join(&b","[..]));
}
