//! KServe v2 (Open Inference Protocol) and Triton's generate extension.

use super::stream_table::{ChannelSpec, Ends, EventSpec, Marks, StreamTable};
use super::table::{Line, Role::*, Table};
use super::text_kind::TextKind::Plain;
use std::sync::OnceLock;

const TENSOR: &[Line] = &[
    ("name", Name),
    ("datatype", Name),
    ("data", Tensor),
    // Its bytes never pass here.
    ("parameters.shared_memory_region", Hidden),
    ("parameters.*", Name),
];

/// `POST /v2/models/{m}[/versions/{v}]/infer`
pub(crate) static INFER_REQUEST: Table = Table::new(&[
    ("", &[("id", Name), ("parameters.**", Text)]),
    ("inputs[]", TENSOR),
    ("outputs[]", &[("name", Name), ("parameters.shared_memory_region", Hidden), ("parameters.*", Name)]),
]);

/// The answer to it.
pub(crate) static INFER_ANSWER: Table = Table::new(&[
    ("", &[("id", Name), ("model_name", Model), ("model_version", Name), ("parameters.**", Text), ("error", Text)]),
    ("outputs[]", TENSOR),
]);

/// `…/generate`: every member is an input.
pub(crate) static GENERATE_REQUEST: Table = Table::new(&[("", &[("**", Text), ("id", Name)])]);

const GENERATE_HEAD: &[Line] =
    &[("id", Name), ("model_name", Model), ("model_version", Name), ("finish_reason", Finish), ("error", Text)];

/// The answer to it: every member is an output.
pub(crate) static GENERATE_ANSWER: Table =
    Table::new(&[("", GENERATE_HEAD), ("", &[("**", Text), ("text_output", Text)])]);

/// `…/generate_stream`
pub(crate) static GENERATE_STREAM: StreamTable = StreamTable {
    channels: &[ChannelSpec { whole: "text_output", kind: Plain, event: "text_output" }],
    marks: Marks::Event,
    automata: OnceLock::new(),
    events: &[EventSpec {
        name: "",
        parts: &[("", GENERATE_HEAD), ("", &[("**", Text), ("text_output", Piece(0))])],
        indices: &[],
        ends: Ends::Nothing,
    }],
};

/// Operations that change or tell the state of the server; their members are settings.
pub(crate) static SETTINGS: Table = Table::new(&[("", &[("error", Text)])]);
