//! What an answer says about itself, whole or streamed.

use crate::json::{Document, Kind, NodeId};

/// Tokens, as the server counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt.
    pub prompt: u64,
    /// Of the answer.
    pub completion: u64,
    /// Both.
    pub total: u64,
}

/// What an answer says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerInfo {
    /// The model that answered.
    pub model: Option<String>,
    /// Why the last choice ended.
    pub finish_reason: Option<String>,
    /// The last count given.
    pub usage: Option<Usage>,
}

/// Bytes of a model name or finish reason that are kept.
const NAME_BYTES_MAX: usize = 256;

impl AnswerInfo {
    /// Takes what a whole answer or one event of a stream says. Wrong types are left out.
    pub(crate) fn read(&mut self, document: &Document<'_>) {
        let root = document.root();
        if let Some(model) = short_string(document, root, "model") {
            self.model = Some(model);
        }
        if let Ok(Some(usage)) = document.get(root, "usage")
            && document.kind(usage) == Kind::Object
        {
            let count = |name| {
                let node = document.get(usage, name).ok().flatten()?;
                std::str::from_utf8(document.raw(node)).ok()?.parse().ok()
            };
            self.usage = Some(Usage {
                prompt: count("prompt_tokens").unwrap_or_default(),
                completion: count("completion_tokens").unwrap_or_default(),
                total: count("total_tokens").unwrap_or_default(),
            });
        }
        if let Ok(Some(choices)) = document.get(root, "choices") {
            for choice in document.children(choices) {
                if let Some(reason) = finish_reason(document, choice) {
                    self.finish_reason = Some(reason);
                }
            }
        }
    }
}

/// The finish reason of a choice; an empty one is none.
pub(crate) fn finish_reason(document: &Document<'_>, choice: NodeId) -> Option<String> {
    short_string(document, choice, "finish_reason").filter(|reason| !reason.is_empty())
}

fn short_string(document: &Document<'_>, object: NodeId, name: &str) -> Option<String> {
    let node = document.get(object, name).ok().flatten()?;
    let text = document.string(node)?;
    let end = text.floor_char_boundary(NAME_BYTES_MAX);
    text.get(..end).map(str::to_owned)
}
