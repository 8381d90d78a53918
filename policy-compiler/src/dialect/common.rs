//! Lines that several APIs share.

use super::table::{Line, Role::*};

/// How servers tell errors, in a body or in an event: the text likes to quote the request.
pub(crate) const ERROR: &[Line] = &[
    ("error", Text),
    ("error.message", Text),
    ("error.type", Name),
    ("error.code", Name),
    ("error.param", Name),
    ("error.**", Text),
    ("error_type", Name),
    ("message", Text),
    ("detail", Text),
];

/// What OpenAI's answers say about themselves.
pub(crate) const OPENAI_HEAD: &[Line] = &[
    ("id", Name),
    ("object", Name),
    ("model", Model),
    ("system_fingerprint", Name),
    ("service_tier", Name),
    ("obfuscation", Name),
    ("metadata.**", Text),
    ("moderation.**", Text),
    ("request_id", Name),
    ("usage.prompt_tokens", InputTokens),
    ("usage.completion_tokens", OutputTokens),
    ("usage.total_tokens", TotalTokens),
    // llama.cpp repeats the request and its own whole answer there when it is asked to be verbose.
    ("__verbose.**", Text),
    ("kv_transfer_params", Opaque),
    ("prompt_text", Text),
    ("prompt_token_ids", Unread),
    ("prompt_logprobs", Unread),
];

/// Who asks, and what they attach to the call.
pub(crate) const OPENAI_CALLER: &[Line] = &[
    ("model", Name),
    ("user", Text),
    ("safety_identifier", Text),
    ("prompt_cache_key", Text),
    ("metadata.**", Text),
    ("service_tier", Name),
    ("stop", Text),
];

/// One page of a list.
pub(crate) const LIST: &[Line] =
    &[("object", Name), ("first_id", Name), ("last_id", Name), ("data[].id", Name), ("data[].object", Name)];
