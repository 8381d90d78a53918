//! OpenAI Responses and Conversations.

use super::common::{ERROR, LIST, OPENAI_CALLER};
use super::stream_table::{ChannelSpec, Ends, EventSpec, Marks, StreamTable};
use super::table::{Line, Part, Role::*, Table};
use super::text_kind::TextKind::{Json as JsonText, Plain};
use std::sync::OnceLock;

/// A content part of an item.
const PART: &[Line] = &[
    ("**", Text),
    ("type", Name),
    ("image_url", Opaque),
    ("input_audio", Opaque),
    ("file_data", Opaque),
    ("data", Opaque),
    ("file_id", Reference),
    ("file_url", Reference),
    ("detail", Name),
    ("annotations[].type", Name),
    ("annotations[].file_id", Name),
    ("annotations[].container_id", Name),
    ("annotations[].start_index", Echo),
    ("annotations[].end_index", Echo),
    ("annotations[].index", Echo),
];

/// An item of input or output. What is not named is kept as it is.
const ITEM: &[Line] = &[
    ("id", ItemId),
    ("type", Name),
    ("object", Name),
    ("status", Name),
    ("role", Name),
    ("phase", Name),
    ("name", Name),
    ("namespace", Name),
    ("call_id", Name),
    ("server_label", Name),
    ("approval_request_id", Name),
    ("container_id", Name),
    ("created_by", Name),
    ("format", Name),
    ("content", Text),
    ("arguments", Json),
    ("input", Text),
    ("code", Text),
    ("reason", Text),
    ("error", Text),
    ("error.**", Text),
    ("error.type", Name),
    ("output", Text),
    ("output.**", Text),
    ("output.type", Name),
    ("output.image_url", Opaque),
    ("output.file_id", Reference),
    ("output[].**", Text),
    ("output[].type", Name),
    ("output[].image_url", Opaque),
    ("output[].file_data", Opaque),
    ("output[].file_id", Reference),
    ("outputs[].type", Name),
    ("outputs[].logs", Text),
    ("outputs[].url", Opaque),
    ("results[].text", Text),
    ("results[].filename", Text),
    ("results[].file_id", Name),
    ("results[].attributes.**", Text),
    ("summary[].type", Name),
    ("summary[].text", Text),
    ("queries", Text),
    ("actions[].**", Text),
    ("actions[].type", Name),
    ("action.**", Text),
    ("action.type", Name),
    ("operation.**", Text),
    ("operation.type", Name),
    ("pending_safety_checks[].**", Text),
    ("acknowledged_safety_checks[].**", Text),
    ("revised_prompt", Text),
    ("result", Opaque),
    ("svg_usage", Name),
    ("background", Name),
    ("size", Name),
    ("quality", Name),
    ("output_format", Name),
    ("fingerprint", Name),
    ("execution", Name),
    ("caller", Name),
    ("environment", Name),
    ("encrypted_content", Reference),
    ("tools[].name", Name),
    ("tools[].**", Text),
];

/// Content parts answer with the tokens of their text.
const LOGPROBS: &[Line] = &[("logprobs", Echo)];
/// In a request they are of another answer's text.
const OLD_LOGPROBS: &[Line] = &[("logprobs", Unread)];

/// What request and answer share.
const SETTINGS: &[Line] = &[
    ("instructions", Text),
    ("instructions[].**", Text),
    ("instructions[].type", Name),
    ("instructions[].role", Name),
    ("previous_response_id", Reference),
    ("conversation", Reference),
    ("prompt.id", Reference),
    ("prompt.version", Name),
    ("prompt.variables.**", Text),
    ("tools[].**", Text),
    ("tools[].type", Name),
    ("tools[].name", Name),
    ("tools[].server_label", Name),
    ("tools[].authorization", Name),
    ("tools[].headers", Name),
    ("tools[].vector_store_ids", Reference),
    ("tool_choice", Name),
    ("text.format.type", Name),
    ("text.format.name", Name),
    ("text.format.description", Text),
    ("text.format.schema.**", Text),
    ("text.verbosity", Name),
    ("reasoning", Name),
    ("truncation", Name),
    ("include", Name),
    ("prompt_cache_retention", Name),
    ("context_management", Name),
    ("access_programs", Name),
    ("prompt_cache_options", Name),
    ("image", Name),
    ("moderation.**", Text),
];

/// `POST /v1/responses`
pub(crate) static REQUEST: Table = Table::new(&[
    ("", OPENAI_CALLER),
    ("", SETTINGS),
    ("", &[("input", Text)]),
    ("input[]", ITEM),
    ("input[].content[]", PART),
    ("input[].content[]", OLD_LOGPROBS),
]);

const ANSWER_HEAD: &[Line] = &[
    ("id", Name),
    ("object", Name),
    ("status", Finish),
    ("model", Model),
    ("incomplete_details.reason", Name),
    ("user", Text),
    ("safety_identifier", Text),
    ("prompt_cache_key", Text),
    ("service_tier", Name),
    ("metadata.**", Text),
    ("billing", Name),
    ("prompt_cache_diagnostics", Name),
    ("input_transformations", Name),
    ("output_text", Text),
    ("usage.input_tokens", InputTokens),
    ("usage.output_tokens", OutputTokens),
    ("usage.total_tokens", TotalTokens),
];

/// The answer to it, and `GET /v1/responses/{id}`.
pub(crate) static ANSWER: Table = Table::new(&[
    ("", ANSWER_HEAD),
    ("", SETTINGS),
    ("", ERROR),
    ("output[]", ITEM),
    ("output[].content[]", PART),
    ("output[].content[]", LOGPROBS),
]);

/// `…/input_items`, `/v1/conversations/{id}/items`
pub(crate) static ITEMS: Table = Table::new(&[
    ("", LIST),
    ("", ERROR),
    ("data[]", ITEM),
    ("data[].content[]", PART),
    ("data[].content[]", LOGPROBS),
]);

/// `POST /v1/conversations/{id}/items`
pub(crate) static ITEMS_REQUEST: Table = Table::new(&[
    ("", &[("metadata.**", Text)]),
    ("items[]", ITEM),
    ("items[].content[]", PART),
    ("items[].content[]", OLD_LOGPROBS),
]);

/// Members of every event.
const EVENT: &[Line] = &[
    ("type", Name),
    ("item_id", Name),
    ("obfuscation", Name),
    ("call_id", Name),
    ("name", Name),
    ("status", Name),
    ("background", Name),
    ("size", Name),
    ("quality", Name),
    ("output_format", Name),
];
const ITEM_INDEX: &[&str] = &["output_index"];
const PART_INDICES: &[&str] = &["output_index", "content_index"];
const COMMAND_INDICES: &[&str] = &["output_index", "command_index"];
const SUMMARY_INDICES: &[&str] = &["output_index", "summary_index"];

const fn event(name: &'static str, parts: &'static [Part], indices: &'static [&'static str], ends: Ends) -> EventSpec {
    EventSpec { name, parts, indices, ends }
}

/// An event that carries the whole response.
const fn state(name: &'static str, ends: Ends) -> EventSpec {
    event(name, &[("", EVENT), ("response", &[("", Whole(""))])], &[], ends)
}

/// An event that carries only names.
const fn progress(name: &'static str) -> EventSpec {
    event(name, &[("", EVENT)], ITEM_INDEX, Ends::Nothing)
}

macro_rules! pieces {
    ($name:literal, $channel:literal, $indices:expr) => {
        event(
            concat!("response.", $name, ".delta"),
            &[("", EVENT), ("", &[("delta", Piece($channel)), ("logprobs", Echo)])],
            $indices,
            Ends::Nothing,
        )
    };
}

macro_rules! repeat {
    ($name:literal, $channel:literal, $indices:expr, $member:literal, $place:literal) => {
        event(
            concat!("response.", $name, ".done"),
            &[("", EVENT), ("", &[($member, Whole($place)), ("logprobs", Echo)])],
            $indices,
            Ends::Channel($channel),
        )
    };
}

macro_rules! carries {
    ($name:literal, $member:literal, $place:literal, $indices:expr, $ends:expr) => {
        event(concat!("response.", $name), &[("", EVENT), ($member, &[("", Whole($place))])], $indices, $ends)
    };
}

const fn channel(whole: &'static str, kind: super::text_kind::TextKind) -> ChannelSpec {
    ChannelSpec { whole, kind, event: "" }
}

/// Its streamed form. Texts repeat in `*.done`, `content_part.done`, `output_item.done` and the last event.
pub(crate) static STREAM: StreamTable = StreamTable {
    channels: &[
        channel("output[].content[].text", Plain),
        channel("output[].content[].refusal", Plain),
        channel("output[].summary[].text", Plain),
        channel("output[].arguments", JsonText),
        channel("output[].input", Plain),
        channel("output[].code", Plain),
        channel("output[].content[].transcript", Plain),
        channel("output[].action.commands[]", Plain),
        channel("output[].output[].stdout", Plain),
        channel("output[].output[].stderr", Plain),
    ],
    marks: Marks::Event,
    automata: OnceLock::new(),
    events: &[
        pieces!("output_text", 0, PART_INDICES),
        repeat!("output_text", 0, PART_INDICES, "text", "output[].content[].text"),
        pieces!("refusal", 1, PART_INDICES),
        repeat!("refusal", 1, PART_INDICES, "refusal", "output[].content[].refusal"),
        pieces!("reasoning_text", 0, PART_INDICES),
        repeat!("reasoning_text", 0, PART_INDICES, "text", "output[].content[].text"),
        pieces!("reasoning_summary_text", 2, SUMMARY_INDICES),
        repeat!("reasoning_summary_text", 2, SUMMARY_INDICES, "text", "output[].summary[].text"),
        pieces!("function_call_arguments", 3, ITEM_INDEX),
        repeat!("function_call_arguments", 3, ITEM_INDEX, "arguments", "output[].arguments"),
        pieces!("mcp_call_arguments", 3, ITEM_INDEX),
        repeat!("mcp_call_arguments", 3, ITEM_INDEX, "arguments", "output[].arguments"),
        pieces!("custom_tool_call_input", 4, ITEM_INDEX),
        repeat!("custom_tool_call_input", 4, ITEM_INDEX, "input", "output[].input"),
        pieces!("code_interpreter_call_code", 5, ITEM_INDEX),
        repeat!("code_interpreter_call_code", 5, ITEM_INDEX, "code", "output[].code"),
        pieces!("audio.transcript", 6, PART_INDICES),
        carries!("shell_call_command.added", "command", "output[].action.commands[]", COMMAND_INDICES, Ends::Nothing),
        pieces!("shell_call_command", 7, COMMAND_INDICES),
        repeat!("shell_call_command", 7, COMMAND_INDICES, "command", "output[].action.commands[]"),
        event(
            "response.shell_call_output_content.delta",
            &[("", EVENT), ("delta", &[("stdout", Piece(8)), ("stderr", Piece(9))])],
            COMMAND_INDICES,
            Ends::Nothing,
        ),
        event(
            "response.shell_call_output_content.done",
            &[("", EVENT), ("", &[("output", Whole("output[].output"))])],
            COMMAND_INDICES,
            Ends::Numbered,
        ),
        progress("response.compaction.compacting"),
        event("response.audio.transcript.done", &[("", EVENT)], PART_INDICES, Ends::Channel(6)),
        event("response.audio.delta", &[("", EVENT), ("", &[("delta", Opaque)])], &[], Ends::Nothing),
        progress("response.audio.done"),
        carries!("content_part.added", "part", "output[].content[]", PART_INDICES, Ends::Nothing),
        carries!("content_part.done", "part", "output[].content[]", PART_INDICES, Ends::Numbered),
        carries!("reasoning_summary_part.added", "part", "output[].summary[]", SUMMARY_INDICES, Ends::Nothing),
        carries!("reasoning_summary_part.done", "part", "output[].summary[]", SUMMARY_INDICES, Ends::Numbered),
        carries!("output_item.added", "item", "output[]", ITEM_INDEX, Ends::Nothing),
        carries!("output_item.done", "item", "output[]", ITEM_INDEX, Ends::Numbered),
        carries!(
            "output_text.annotation.added",
            "annotation",
            "output[].content[].annotations[]",
            PART_INDICES,
            Ends::Nothing
        ),
        event(
            "response.image_generation_call.partial_image",
            &[("", EVENT), ("", &[("partial_image_b64", Opaque)])],
            ITEM_INDEX,
            Ends::Nothing,
        ),
        state("response.created", Ends::Nothing),
        state("response.queued", Ends::Nothing),
        state("response.in_progress", Ends::Nothing),
        state("response.completed", Ends::Stream),
        state("response.incomplete", Ends::Stream),
        state("response.failed", Ends::Stream),
        event("error", &[("", EVENT), ("", ERROR), ("", &[("code", Name), ("param", Name)])], &[], Ends::Stream),
        progress("response.image_generation_call.in_progress"),
        progress("response.image_generation_call.generating"),
        progress("response.image_generation_call.completed"),
        progress("response.web_search_call.in_progress"),
        progress("response.web_search_call.searching"),
        progress("response.web_search_call.completed"),
        progress("response.file_search_call.in_progress"),
        progress("response.file_search_call.searching"),
        progress("response.file_search_call.completed"),
        progress("response.code_interpreter_call.in_progress"),
        progress("response.code_interpreter_call.interpreting"),
        progress("response.code_interpreter_call.completed"),
        progress("response.mcp_call.in_progress"),
        progress("response.mcp_call.completed"),
        progress("response.mcp_call.failed"),
        progress("response.mcp_list_tools.in_progress"),
        progress("response.mcp_list_tools.completed"),
        progress("response.mcp_list_tools.failed"),
    ],
};
