//! Hugging Face Text Generation Inference: `/generate`, `/generate_stream` and `/`.

use super::common::ERROR;
use super::stream_table::{ChannelSpec, Ends, EventSpec, Marks, StreamTable};
use super::table::{Line, Role::*, Table};
use super::text_kind::TextKind::Plain;
use std::sync::OnceLock;

/// The request; `/` takes a chat in `inputs` too.
pub(crate) static REQUEST: Table = Table::new(&[(
    "",
    &[
        ("model", Name),
        ("inputs", Text),
        ("inputs.**", Text),
        ("parameters.stop", Text),
        ("parameters.grammar.**", Text),
        ("parameters.adapter_id", Name),
    ],
)]);

const DETAILS: &[Line] = &[
    ("finish_reason", Finish),
    ("generated_tokens", OutputTokens),
    ("input_length", InputTokens),
    ("tokens", Echo),
    ("top_tokens", Echo),
    ("prefill", Unread),
    ("best_of_sequences[].generated_text", Text),
    ("best_of_sequences[].finish_reason", Name),
    ("best_of_sequences[].tokens", Echo),
    ("best_of_sequences[].top_tokens", Echo),
    ("best_of_sequences[].prefill", Unread),
];

/// The answer; that of `/` is a list.
pub(crate) static ANSWER: Table = Table::new(&[
    ("", ERROR),
    ("", &[("generated_text", Text)]),
    ("details", DETAILS),
    ("[]", &[("generated_text", Text)]),
    ("[].details", DETAILS),
]);

/// The streamed form: the last event repeats the whole text.
pub(crate) static STREAM: StreamTable = StreamTable {
    channels: &[ChannelSpec { whole: "generated_text", kind: Plain, event: "token.text" }],
    marks: Marks::Event,
    automata: OnceLock::new(),
    events: &[EventSpec {
        name: "",
        parts: &[
            ("", ERROR),
            (
                "",
                &[
                    ("token.text", Piece(0)),
                    ("token.id", Echo),
                    ("top_tokens", Echo),
                    ("generated_text", Whole("generated_text")),
                    ("details", Whole("details")),
                ],
            ),
        ],
        indices: &[],
        ends: Ends::StreamIf("generated_text"),
    }],
};
