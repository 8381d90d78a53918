//! OpenAI Chat Completions and legacy Completions, with the members that vLLM, llama.cpp and OpenRouter add.

use super::common::{ERROR, LIST, OPENAI_CALLER, OPENAI_HEAD};
use super::stream_table::{ChannelSpec, Ends, EventSpec, Marks, StreamTable};
use super::table::{Line, Role::*, Table};
use super::text_kind::TextKind::{Json as JsonText, Plain};
use std::sync::OnceLock;

/// A content part. What is not named is text: `text`, `refusal` and whatever else a server may read.
const PART: &[Line] = &[
    ("**", Text),
    ("type", Name),
    ("image_url", Opaque),
    ("input_image", Opaque),
    ("input_audio", Opaque),
    ("audio_url", Opaque),
    ("video_url", Opaque),
    ("file.file_data", Opaque),
    ("file.file_id", Reference),
    ("cache_control", Name),
];

/// A message of a prompt or an answer.
const MESSAGE: &[Line] = &[
    ("role", Name),
    ("id", Name),
    ("name", Text),
    ("content", Text),
    ("refusal", Text),
    ("reasoning", Text),
    ("reasoning_content", Text),
    ("reasoning_details[].text", Text),
    ("reasoning_details[].summary", Text),
    ("reasoning_details[].data", Opaque),
    ("reasoning_details[].type", Name),
    ("reasoning_details[].id", Name),
    ("reasoning_details[].format", Name),
    ("reasoning_details[].signature", Name),
    ("tool_call_id", Name),
    ("audio.id", Reference),
    ("audio.data", Opaque),
    ("audio.transcript", Text),
    ("function_call.name", Name),
    ("function_call.arguments", Json),
    ("tool_calls[].id", Name),
    ("tool_calls[].type", Name),
    ("tool_calls[].function.name", Name),
    ("tool_calls[].function.arguments", Json),
    ("tool_calls[].custom.name", Name),
    ("tool_calls[].custom.input", Text),
    ("annotations[].type", Name),
    ("annotations[].url_citation.title", Text),
    ("annotations[].url_citation.url", Text),
    ("annotations[].url_citation.content", Text),
    ("annotations[].url_citation.start_index", Echo),
    ("annotations[].url_citation.end_index", Echo),
    ("logprobs", Echo),
    ("token_ids", Echo),
    ("prompt_token_ids", Unread),
    ("prompt_logprobs", Unread),
];

const REQUEST_MEMBERS: &[Line] = &[
    ("tools[].type", Name),
    ("tools[].function.name", Name),
    ("tools[].function.description", Text),
    ("tools[].function.parameters.**", Text),
    ("tools[].custom.name", Name),
    ("tools[].custom.description", Text),
    ("tools[].custom.format.**", Text),
    ("functions[].name", Name),
    ("functions[].description", Text),
    ("functions[].parameters.**", Text),
    ("prediction.type", Name),
    ("prediction.content", Text),
    ("prediction.content[].**", Text),
    ("prediction.content[].type", Name),
    ("response_format.json_schema.description", Text),
    ("response_format.json_schema.schema.**", Text),
    ("web_search_options.**", Text),
    ("documents[].**", Text),
];

/// `POST /v1/chat/completions`
pub(crate) static CHAT_REQUEST: Table =
    Table::new(&[("", OPENAI_CALLER), ("", REQUEST_MEMBERS), ("messages[]", MESSAGE), ("messages[].content[]", PART)]);

const CHOICE: &[Line] = &[
    ("finish_reason", Finish),
    ("stop_reason", Name),
    ("logprobs", Echo),
    ("token_ids", Echo),
    ("prompt_token_ids", Unread),
    ("prompt_logprobs", Unread),
];

/// The answer to it.
pub(crate) static CHAT_ANSWER: Table = Table::new(&[
    ("", OPENAI_HEAD),
    ("", ERROR),
    ("choices[]", CHOICE),
    ("choices[].message", MESSAGE),
    ("choices[].message.content[]", PART),
]);

/// `GET /v1/chat/completions`: stored answers.
pub(crate) static CHAT_LIST: Table = Table::new(&[
    ("", LIST),
    ("", ERROR),
    ("data[]", OPENAI_HEAD),
    ("data[].metadata", &[("**", Text)]),
    ("data[].choices[]", CHOICE),
    ("data[].choices[].message", MESSAGE),
    ("data[].choices[].message.content[]", PART),
]);

/// `GET /v1/chat/completions/{id}/messages`
pub(crate) static CHAT_MESSAGES: Table = Table::new(&[
    ("", LIST),
    ("", ERROR),
    ("data[]", MESSAGE),
    ("data[].content[]", PART),
    ("data[].content_parts[]", PART),
]);

const DELTA: &[Line] = &[
    ("role", Name),
    ("content", Piece(0)),
    ("refusal", Piece(1)),
    ("reasoning", Piece(2)),
    ("reasoning_content", Piece(3)),
    ("audio.transcript", Piece(4)),
    ("audio.data", Opaque),
    ("audio.id", Name),
    ("function_call.name", Name),
    ("function_call.arguments", Piece(5)),
    ("tool_calls[].id", Name),
    ("tool_calls[].type", Name),
    ("tool_calls[].function.name", Name),
    ("tool_calls[].function.arguments", Piece(6)),
    ("tool_calls[].custom.name", Name),
    ("tool_calls[].custom.input", Piece(7)),
    ("reasoning_details[].text", Piece(8)),
    ("reasoning_details[].summary", Piece(9)),
    ("reasoning_details[].data", Opaque),
    ("reasoning_details[].type", Name),
    ("reasoning_details[].id", Name),
    ("reasoning_details[].format", Name),
    ("reasoning_details[].signature", Name),
    ("annotations", Whole("choices[].message.annotations")),
    ("logprobs", Echo),
    ("token_ids", Echo),
    ("prompt_token_ids", Unread),
    ("prompt_logprobs", Unread),
];

/// Its streamed form.
pub(crate) static CHAT_STREAM: StreamTable = StreamTable {
    channels: &[
        ChannelSpec { whole: "choices[].message.content", kind: Plain, event: "choices[].delta.content" },
        ChannelSpec { whole: "choices[].message.refusal", kind: Plain, event: "choices[].delta.refusal" },
        ChannelSpec { whole: "choices[].message.reasoning", kind: Plain, event: "choices[].delta.reasoning" },
        ChannelSpec {
            whole: "choices[].message.reasoning_content",
            kind: Plain,
            event: "choices[].delta.reasoning_content",
        },
        ChannelSpec {
            whole: "choices[].message.audio.transcript",
            kind: Plain,
            event: "choices[].delta.audio.transcript",
        },
        ChannelSpec {
            whole: "choices[].message.function_call.arguments",
            kind: JsonText,
            event: "choices[].delta.function_call.arguments",
        },
        ChannelSpec {
            whole: "choices[].message.tool_calls[].function.arguments",
            kind: JsonText,
            event: "choices[].delta.tool_calls[].function.arguments",
        },
        ChannelSpec {
            whole: "choices[].message.tool_calls[].custom.input",
            kind: Plain,
            event: "choices[].delta.tool_calls[].custom.input",
        },
        ChannelSpec {
            whole: "choices[].message.reasoning_details[].text",
            kind: Plain,
            event: "choices[].delta.reasoning_details[].text",
        },
        ChannelSpec {
            whole: "choices[].message.reasoning_details[].summary",
            kind: Plain,
            event: "choices[].delta.reasoning_details[].summary",
        },
    ],
    marks: Marks::Finish,
    automata: OnceLock::new(),
    events: &[EventSpec {
        name: "",
        parts: &[
            ("", OPENAI_HEAD),
            ("", ERROR),
            ("choices[]", CHOICE),
            ("choices[].delta", DELTA),
            ("choices[].message", &[("", Whole("choices[].message"))]),
        ],
        indices: &[],
        ends: Ends::Nothing,
    }],
};

/// `POST /v1/completions`
pub(crate) static COMPLETION_REQUEST: Table =
    Table::new(&[("", OPENAI_CALLER), ("", &[("prompt", Prompt), ("prompt_embeds", Hidden), ("suffix", Text)])]);

/// The answer to it.
pub(crate) static COMPLETION_ANSWER: Table =
    Table::new(&[("", OPENAI_HEAD), ("", ERROR), ("choices[]", CHOICE), ("choices[]", &[("text", Text)])]);

/// Its streamed form.
pub(crate) static COMPLETION_STREAM: StreamTable = StreamTable {
    channels: &[ChannelSpec { whole: "choices[].text", kind: Plain, event: "choices[].text" }],
    marks: Marks::Finish,
    automata: OnceLock::new(),
    events: &[EventSpec {
        name: "",
        parts: &[("", OPENAI_HEAD), ("", ERROR), ("choices[]", CHOICE), ("choices[]", &[("text", Piece(0))])],
        indices: &[],
        ends: Ends::Nothing,
    }],
};
