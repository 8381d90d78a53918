//! API dialects: which operation a request is, where its texts, model and usage are, how errors look (DIALECTS.md).
//!
//! So far: OpenAI Chat Completions and the list of models.

mod answer;
mod error;
mod request;
mod route;
mod slots;

pub use answer::{AnswerInfo, Usage};
pub use error::{ErrorKind, error_body, stream_error_event};
pub use request::{CHOICES_MAX, ChatRequest, RequestError};
pub use route::{Operation, method_of, normalised_path, route};

pub(crate) use answer::finish_reason;
pub(crate) use slots::{Slots, TextKind, answer_slots, is_schema_name, prompt_slots};
