//! Anthropic Messages, token counting and message batches.

use super::stream_table::{ChannelSpec, Ends, EventSpec, Marks, StreamTable};
use super::table::{Line, Part, Role::*, Table};
use super::text_kind::TextKind::{Json as JsonText, Plain};
use std::sync::OnceLock;

/// A content block. What is not named is text.
const BLOCK: &[Line] = &[
    ("**", Text),
    ("type", Name),
    ("id", Name),
    ("name", Name),
    ("tool_use_id", Name),
    ("server_name", Name),
    ("cache_control", Name),
    ("caller", Name),
    ("thinking", Signed),
    ("signature", Name),
    ("data", Opaque),
    ("input", Tree),
    ("file_id", Reference),
    ("encrypted_content", Opaque),
    ("citations[].type", Name),
    ("citations[].encrypted_index", Opaque),
    ("citations[].file_id", Name),
    ("source.type", Name),
    ("source.media_type", Name),
    ("source.data", Source),
    ("source.url", Reference),
    ("source.file_id", Reference),
    ("source.content", Text),
];

const ERROR: &[Line] = &[
    ("type", Name),
    ("request_id", Name),
    ("error", Text),
    ("error.type", Name),
    ("error.message", Text),
    ("error.**", Text),
    ("message", Text),
    ("detail", Text),
];

const REQUEST_MEMBERS: &[Line] = &[
    ("model", Name),
    ("system", Text),
    ("messages[].role", Name),
    ("messages[].content", Text),
    ("messages[].content[].content", Text),
    ("tools[].type", Name),
    ("tools[].name", Name),
    ("tools[].description", Text),
    ("tools[].input_schema.**", Text),
    ("tools[].input_examples.**", Text),
    ("tools[].user_location.**", Text),
    ("tool_choice", Name),
    ("metadata.user_id", Text),
    ("stop_sequences", Text),
    ("thinking", Name),
    ("mcp_servers", Name),
    ("container", Name),
    ("service_tier", Name),
    ("output_format.schema.**", Text),
    ("output_config.format.schema.**", Text),
];

/// `POST /v1/messages` and `/v1/messages/count_tokens`
pub(crate) static REQUEST: Table = Table::new(&[
    ("", REQUEST_MEMBERS),
    ("system[]", BLOCK),
    ("messages[].content[]", BLOCK),
    ("messages[].content[].content[]", BLOCK),
    ("messages[].content[].source.content[]", BLOCK),
]);

/// `POST /v1/messages/batches`
pub(crate) static BATCH_REQUEST: Table = Table::new(&[
    ("requests[]", &[("custom_id", Name)]),
    ("requests[].params", REQUEST_MEMBERS),
    ("requests[].params.system[]", BLOCK),
    ("requests[].params.messages[].content[]", BLOCK),
    ("requests[].params.messages[].content[].content[]", BLOCK),
    ("requests[].params.messages[].content[].source.content[]", BLOCK),
]);

const MESSAGE: &[Line] = &[
    ("id", Name),
    ("type", Name),
    ("role", Name),
    ("model", Model),
    ("container", Name),
    ("content", Text),
    ("content[].content", Text),
    ("stop_reason", Finish),
    ("stop_sequence", Text),
    ("stop_details", Name),
    ("context_management", Name),
    ("usage.input_tokens", InputTokens),
    ("usage.output_tokens", OutputTokens),
    ("usage.service_tier", Name),
    ("usage.speed", Name),
    ("diagnostics", Name),
    ("usage.inference_geo", Name),
];

/// The answer.
pub(crate) static ANSWER: Table = Table::new(&[
    ("", ERROR),
    ("", MESSAGE),
    ("", &[("input_tokens", InputTokens), ("processing_status", Name), ("results_url", Name)]),
    ("content[]", BLOCK),
    ("content[].content[]", BLOCK),
]);

const INDEX: &[&str] = &["index"];
const TYPE: &[Line] = &[("type", Name)];

const fn event(name: &'static str, parts: &'static [Part], indices: &'static [&'static str], ends: Ends) -> EventSpec {
    EventSpec { name, parts, indices, ends }
}

/// The streamed form.
pub(crate) static STREAM: StreamTable = StreamTable {
    channels: &[
        ChannelSpec { whole: "content[].text", kind: Plain, event: "" },
        ChannelSpec { whole: "content[].input", kind: JsonText, event: "" },
        ChannelSpec { whole: "content[].thinking", kind: Plain, event: "" },
    ],
    marks: Marks::Event,
    automata: OnceLock::new(),
    events: &[
        event(
            "content_block_delta",
            &[
                ("", TYPE),
                (
                    "delta",
                    &[
                        ("type", Name),
                        ("text", Piece(0)),
                        ("partial_json", Piece(1)),
                        ("thinking", Piece(2)),
                        ("signature", Signature),
                        ("citation", Whole("content[].citations[]")),
                    ],
                ),
            ],
            INDEX,
            Ends::Nothing,
        ),
        event(
            "content_block_start",
            &[("", TYPE), ("content_block", &[("", Whole("content[]"))])],
            INDEX,
            Ends::Nothing,
        ),
        event("content_block_stop", &[("", TYPE)], INDEX, Ends::Numbered),
        event("message_start", &[("", TYPE), ("message", &[("", Whole(""))])], &[], Ends::Nothing),
        event(
            "message_delta",
            &[
                ("", TYPE),
                (
                    "",
                    &[
                        ("delta.stop_reason", Finish),
                        ("delta.stop_sequence", Text),
                        ("delta.stop_details", Name),
                        ("delta.container", Name),
                        ("usage.input_tokens", InputTokens),
                        ("usage.output_tokens", OutputTokens),
                        ("context_management", Name),
                    ],
                ),
            ],
            &[],
            Ends::Stream,
        ),
        event("message_stop", &[("", TYPE)], &[], Ends::Stream),
        event("ping", &[("", TYPE)], &[], Ends::Nothing),
        event("error", &[("", ERROR)], &[], Ends::Stream),
    ],
};
