//! Speech, images, files and batches.

use super::common::{ERROR, LIST, OPENAI_CALLER, OPENAI_HEAD};
use super::stream_table::{ChannelSpec, Ends, EventSpec, Marks, StreamTable};
use super::table::{Line, Part, Role::*, Table};
use super::text_kind::TextKind::Plain;
use std::sync::OnceLock;

/// `POST /v1/audio/speech`, `/v1/images/generations`
pub(crate) static PROMPT_REQUEST: Table = Table::new(&[
    ("", OPENAI_CALLER),
    ("", &[("input", Text), ("instructions", Text), ("prompt", Text), ("voice", Name)]),
]);

/// Fields of a form that are text; files are opaque.
pub(crate) const FORM_TEXTS: [&str; 4] = ["prompt", "user", "instructions", "metadata"];

/// The answer of a transcription. Segments and words repeat the text in pieces.
pub(crate) static TRANSCRIPT: Table = Table::new(&[
    ("", OPENAI_HEAD),
    ("", ERROR),
    (
        "",
        &[
            ("text", Text),
            ("task", Name),
            ("language", Name),
            ("segments", Echo),
            ("words", Echo),
            ("logprobs", Echo),
            ("usage.type", Name),
            ("usage.input_tokens", InputTokens),
            ("usage.output_tokens", OutputTokens),
        ],
    ),
]);

const fn event(name: &'static str, parts: &'static [Part], ends: Ends) -> EventSpec {
    EventSpec { name, parts, indices: &[], ends }
}

const TYPE: &[Line] = &[("type", Name)];

/// Its streamed form.
pub(crate) static TRANSCRIPT_STREAM: StreamTable = StreamTable {
    channels: &[
        ChannelSpec { whole: "text", kind: Plain, event: "" },
        // Segments are pieces of one text, too.
        ChannelSpec { whole: "text", kind: Plain, event: "" },
    ],
    marks: Marks::Event,
    automata: OnceLock::new(),
    events: &[
        event(
            "transcript.text.delta",
            &[("", TYPE), ("", &[("delta", Piece(0)), ("logprobs", Echo), ("segment_id", Name)])],
            Ends::Nothing,
        ),
        event(
            "transcript.text.segment",
            &[("", TYPE), ("", &[("text", Piece(1)), ("id", Name), ("speaker", Name)])],
            Ends::Nothing,
        ),
        event(
            "transcript.text.done",
            &[
                ("", TYPE),
                (
                    "",
                    &[
                        ("text", Whole("text")),
                        ("logprobs", Echo),
                        ("usage.input_tokens", InputTokens),
                        ("usage.output_tokens", OutputTokens),
                        ("usage.total_tokens", TotalTokens),
                    ],
                ),
            ],
            Ends::Stream,
        ),
        event("error", &[("", TYPE), ("", ERROR)], Ends::Stream),
    ],
};

/// Images.
pub(crate) static IMAGES: Table = Table::new(&[
    ("", ERROR),
    (
        "",
        &[
            ("data[].url", Opaque),
            ("data[].b64_json", Opaque),
            ("data[].revised_prompt", Text),
            ("output_format", Name),
            ("size", Name),
            ("quality", Name),
            ("background", Name),
            ("usage.input_tokens", InputTokens),
            ("usage.output_tokens", OutputTokens),
            ("usage.total_tokens", TotalTokens),
        ],
    ),
]);

const FILE: &[Line] = &[
    ("id", Name),
    ("object", Name),
    ("filename", Text),
    ("purpose", Name),
    ("status", Name),
    ("status_details", Text),
    ("endpoint", Name),
    ("completion_window", Name),
    ("input_file_id", Reference),
    ("output_file_id", Reference),
    ("error_file_id", Reference),
    ("metadata.**", Text),
    ("errors.object", Name),
    ("errors.data[].code", Name),
    ("errors.data[].message", Text),
    ("errors.data[].param", Name),
];

/// Files and batches: their descriptions, not their content.
pub(crate) static DESCRIPTION: Table = Table::new(&[("", ERROR), ("", LIST), ("", FILE), ("data[]", FILE)]);
/// `POST /v1/batches`
pub(crate) static BATCH_REQUEST: Table = Table::new(&[("", FILE)]);
/// `GET /v1/models` and the like: names only.
pub(crate) static NAMES: Table = Table::new(&[("", ERROR), ("", LIST)]);
