//! Batches: files with one request or answer per line.

use super::form::MultipartPart;
use super::media::FORM_TEXTS;
use super::operation::{Operation, RequestBody};
use super::route::route;
use crate::json::{Document, JsonError, Kind, NodeId};
use policy_lang::Side;
use std::ops::Range;

/// Whether a form's file is a batch.
pub(crate) fn is_batch_form(operation: Operation, parts: &[MultipartPart], body: &[u8]) -> bool {
    let purpose = |part: &MultipartPart| part.name == "purpose" && body.get(part.content.clone()) == Some(b"batch");
    matches!(operation.spec().request, RequestBody::Upload) && parts.iter().any(purpose)
}

/// Whether a field of a form is text.
pub(crate) fn form_texts(name: &str) -> bool {
    FORM_TEXTS.contains(&name)
}

/// What stands in a line: which bytes of it are the body of which operation, and of which side. Nothing: it is no
/// line that is known.
///
/// # Errors
/// The line is no JSON.
pub(crate) fn batch_line(line: &[u8]) -> Result<Vec<(Range<usize>, Operation, Side)>, JsonError> {
    let document = Document::parse(line)?;
    let root = document.root();
    let get = |names: &[&str]| document.descend(root, names).ok().flatten();
    let text = |node: NodeId| document.string(node);
    let mut found = Vec::new();
    // {"custom_id","method","url","body"}: a request, also where its file is read back.
    if let (Some(method), Some(url), Some(body)) =
        (get(&["method"]).and_then(text), get(&["url"]).and_then(text), get(&["body"]))
        && let Some(operation) = route(&method, &url)
    {
        found.push((document.range(body), operation, Side::Request));
        return Ok(found);
    }
    // {"custom_id","response":{"body"},"error"}: an answer says what it is.
    if let Some(body) = get(&["response", "body"]) {
        found.push((document.range(body), answers(&document, body), Side::Response));
    }
    if let Some(error) = get(&["error"]).filter(|error| document.kind(*error) == Kind::Object) {
        found.push((document.range(error), Operation::ChatCompletions, Side::Response));
    }
    // {"custom_id","result":{"message"|"error"}}: Anthropic's.
    if let Some(result) = get(&["result"]) {
        let message = document.get(result, "message").ok().flatten();
        let body = message.or(document.get(result, "error").ok().flatten()).unwrap_or(result);
        found.push((document.range(body), Operation::Messages, Side::Response));
    }
    // Files for training have the request itself.
    for (member, operation) in [("messages", Operation::ChatCompletions), ("prompt", Operation::Completions)] {
        if found.is_empty() && get(&[member]).is_some() {
            found.push((0..line.len(), operation, Side::Request));
        }
    }
    Ok(found)
}

fn answers(document: &Document<'_>, body: NodeId) -> Operation {
    let object = document.get(body, "object").ok().flatten().and_then(|node| document.string(node));
    match object.as_deref() {
        Some("response") => Operation::Responses,
        Some("text_completion") => Operation::Completions,
        Some("list") => Operation::Embeddings,
        _ => Operation::ChatCompletions,
    }
}
