//! What an answer says about itself, whole or streamed.

use super::table::Role;
use crate::json::{Document, NodeId};

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
    /// Takes what stands at a place with such a role. Wrong types are left out.
    pub(crate) fn note(&mut self, document: &Document<'_>, node: NodeId, role: Role) {
        match role {
            // Every event of a stream says it again.
            Role::Model if self.model.as_deref().map(str::as_bytes) == document.raw_string(node) => {}
            Role::Model => self.model = short_string(document, node).or(self.model.take()),
            Role::Finish => self.finish_reason = short_string(document, node).or(self.finish_reason.take()),
            Role::InputTokens | Role::OutputTokens | Role::TotalTokens => {
                let Some(count) = std::str::from_utf8(document.raw(node)).ok().and_then(|text| text.parse().ok())
                else {
                    return;
                };
                let usage = self.usage.get_or_insert_default();
                match role {
                    Role::InputTokens => usage.prompt = count,
                    Role::OutputTokens => usage.completion = count,
                    _ => usage.total = count,
                }
                // Anthropic counts the answer's tokens cumulatively and never both.
                usage.total = usage.total.max(usage.prompt.saturating_add(usage.completion));
            }
            _ => {}
        }
    }
}

fn short_string(document: &Document<'_>, node: NodeId) -> Option<String> {
    let text = document.string(node)?;
    let end = text.floor_char_boundary(NAME_BYTES_MAX);
    text.get(..end).filter(|text| !text.is_empty()).map(str::to_owned)
}
