//! API dialects: which operation a request is, where its texts, model and usage are, how it streams, how errors look
//! (DIALECTS.md).
//!
//! Each API is a table of places (`table`), walked once per message (`walk`, `slots`); `operation` says which tables an
//! operation has, `stream_table` how its answer streams. `docs/dialects.md` tells the same for people.

mod answer;
mod answer_view;
mod anthropic;
mod asked;
mod batch;
mod common;
#[cfg(test)]
mod completeness;
mod custom;
mod error;
mod form;
mod kserve;
mod media;
mod openai_chat;
mod operation;
mod request;
mod request_view;
mod responses;
mod route;
mod slots;
mod stream_table;
mod table;
mod text_kind;
mod tgi;
mod vectors;
mod walk;

pub use answer::{AnswerInfo, Usage};
pub use answer_view::{Answer, AnswerError};
pub use custom::{Custom, CustomError, CustomRoute};
pub use error::{ErrorKind, error_body, stream_error_event};
pub use form::{BodyForm, FormError, MultipartPart, multipart_parts};
pub use operation::{ErrorShape, Operation};
pub use request::{BatchLine, CHOICES_MAX, Request, RequestError, with_usage};
pub use request_view::RequestBefore;
pub use route::{errors_of, method_of, model_in_path, normalised_path, route, route_among};

pub(crate) use batch::{batch_line, form_texts, is_batch_form};
pub(crate) use form::{lines, tensor_elements};
pub(crate) use slots::{Slot, SlotForm, Slots, name_of, slots, slots_at, way_to};
pub(crate) use stream_table::{ChannelSpec, Ends, EventSpec, Marks, StreamTable};
pub(crate) use table::{Automaton, Role, Step, Table, steps};
pub(crate) use text_kind::TextKind;
pub(crate) use walk::{Found, Indices, Numbering, Taken, WalkError, index, walk};
