//! Embeddings, reranking, scoring, classification, moderation.

use super::common::{ERROR, OPENAI_CALLER, OPENAI_HEAD};
use super::table::{Line, Role::*, Table};

const INPUT: &[Line] = &[
    ("input", Prompt),
    ("input[].text", Text),
    ("input[].type", Name),
    ("input[].image_url", Opaque),
    ("inputs", Prompt),
    ("encoding_format", Name),
    ("messages[].role", Name),
    ("messages[].content", Text),
    ("messages[].content[].**", Text),
    ("messages[].content[].type", Name),
    ("messages[].content[].image_url", Opaque),
];

/// `POST /v1/embeddings`, `/pooling`, `/classify`, `/v1/moderations`
pub(crate) static REQUEST: Table = Table::new(&[("", OPENAI_CALLER), ("", INPUT)]);

/// `POST /v1/rerank`, `/score`
pub(crate) static PAIRS_REQUEST: Table = Table::new(&[
    ("", OPENAI_CALLER),
    (
        "",
        &[
            ("query", Prompt),
            ("query.**", Text),
            ("queries", Prompt),
            ("documents", Prompt),
            ("texts", Prompt),
            ("text_1", Prompt),
            ("text_2", Prompt),
            ("data_1", Prompt),
            ("data_2", Prompt),
            ("items", Prompt),
            ("rank_fields", Name),
        ],
    ),
]);

/// Vectors, labels and scores.
pub(crate) static ANSWER: Table = Table::new(&[
    ("", OPENAI_HEAD),
    ("", ERROR),
    (
        "",
        &[
            ("data[].object", Name),
            ("data[].embedding", Opaque),
            ("data[].data", Opaque),
            ("data[].label", Name),
            ("results[].document", Text),
            ("results[].document.**", Text),
            ("results[].text", Text),
            ("usage.input_tokens", InputTokens),
            ("meta", Name),
        ],
    ),
]);
