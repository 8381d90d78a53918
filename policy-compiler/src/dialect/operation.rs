//! The operations: what a method and a path mean, and which tables describe what is said.

use super::custom::Custom;
use super::stream_table::StreamTable;
use super::table::Table;
use super::{anthropic, kserve, media, openai_chat, responses, tgi, vectors};

/// How the bytes of a request are read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RequestBody {
    /// It has none that is looked into.
    Nothing,
    /// JSON.
    Json(&'static Table),
    /// JSON with a binary tail (KServe's binary tensor extension).
    Tensors(&'static Table),
    /// `multipart/form-data`; JSON is read along the table.
    Form(&'static Table),
    /// A form with a file, which may be a batch: one request per line.
    Upload,
}

/// How the bytes of an answer are read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AnswerBody {
    /// JSON; its streamed form, if there is one.
    Json(&'static Table, Option<&'static StreamTable>),
    /// JSON with a binary tail.
    Tensors(&'static Table),
    /// JSON, text or subtitles.
    Transcript(&'static Table, &'static StreamTable),
    /// One JSON text per line: answers or requests of a batch.
    Lines,
    /// Sound.
    Opaque,
}

/// How a caller says that the answer is to be streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Streams {
    /// It cannot be.
    Never,
    /// It always is.
    Always,
    /// By the member `stream`.
    ByMember,
}

/// Whose form errors have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ErrorShape {
    /// `{"error":{"message","type","param","code"}}`
    #[default]
    OpenAi,
    /// The same; in a stream an event of type `error`.
    OpenAiResponses,
    /// `{"type":"error","error":{"type","message"}}`
    Anthropic,
    /// `{"error","error_type"}`
    Tgi,
    /// `{"error"}`
    KServe,
}

/// What is known of an operation.
#[derive(Debug)]
pub(crate) struct Spec {
    /// The API, as policies see it in `dialect`.
    pub(crate) dialect: &'static str,
    pub(crate) method: &'static str,
    /// The normalised path; `{model}` and `{id}` stand for one segment.
    pub(crate) path: &'static str,
    pub(crate) request: RequestBody,
    pub(crate) answer: AnswerBody,
    pub(crate) streams: Streams,
    pub(crate) errors: ErrorShape,
}

macro_rules! operations {
    ($($(#[$docs:meta])* $name:ident = $dialect:ident $method:literal $path:literal, $request:expr => $answer:expr, $streams:ident, $errors:ident;)*) => {
        /// What a caller wants.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Operation {
            $($(#[$docs])* #[doc = concat!("`", $method, " ", $path, "`")] $name,)*
            /// An operation of a configured API.
            Custom(Custom),
        }

        impl Operation {
            /// Every operation that this crate knows.
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];

            pub(crate) fn spec(self) -> &'static Spec {
                match self {
                    $(Self::$name => {
                        static SPEC: Spec = Spec {
                            dialect: stringify!($dialect),
                            method: $method,
                            path: $path,
                            request: $request,
                            answer: $answer,
                            streams: Streams::$streams,
                            errors: ErrorShape::$errors,
                        };
                        &SPEC
                    })*
                    Self::Custom(custom) => custom.spec(),
                }
            }
        }
    };
}

use AnswerBody as A;
use RequestBody as R;

operations! {
    ChatCompletions = openai "POST" "/v1/chat/completions", R::Json(&openai_chat::CHAT_REQUEST) => A::Json(&openai_chat::CHAT_ANSWER, Some(&openai_chat::CHAT_STREAM)), ByMember, OpenAi;
    ListModels = openai "GET" "/v1/models", R::Nothing => A::Json(&media::NAMES, None), Never, OpenAi;
    GetModel = openai "GET" "/v1/models/{model}", R::Nothing => A::Json(&media::NAMES, None), Never, OpenAi;
    ListChatCompletions = openai "GET" "/v1/chat/completions", R::Nothing => A::Json(&openai_chat::CHAT_LIST, None), Never, OpenAi;
    GetChatCompletion = openai "GET" "/v1/chat/completions/{id}", R::Nothing => A::Json(&openai_chat::CHAT_ANSWER, None), Never, OpenAi;
    GetChatMessages = openai "GET" "/v1/chat/completions/{id}/messages", R::Nothing => A::Json(&openai_chat::CHAT_MESSAGES, None), Never, OpenAi;
    Completions = openai "POST" "/v1/completions", R::Json(&openai_chat::COMPLETION_REQUEST) => A::Json(&openai_chat::COMPLETION_ANSWER, Some(&openai_chat::COMPLETION_STREAM)), ByMember, OpenAi;
    Responses = openai "POST" "/v1/responses", R::Json(&responses::REQUEST) => A::Json(&responses::ANSWER, Some(&responses::STREAM)), ByMember, OpenAiResponses;
    ResponseInputTokens = openai "POST" "/v1/responses/input_tokens", R::Json(&responses::REQUEST) => A::Json(&responses::ANSWER, None), Never, OpenAi;
    GetResponse = openai "GET" "/v1/responses/{id}", R::Nothing => A::Json(&responses::ANSWER, Some(&responses::STREAM)), Never, OpenAiResponses;
    CancelResponse = openai "POST" "/v1/responses/{id}/cancel", R::Nothing => A::Json(&responses::ANSWER, None), Never, OpenAi;
    DeleteResponse = openai "DELETE" "/v1/responses/{id}", R::Nothing => A::Json(&media::NAMES, None), Never, OpenAi;
    GetResponseInput = openai "GET" "/v1/responses/{id}/input_items", R::Nothing => A::Json(&responses::ITEMS, None), Never, OpenAi;
    CreateConversation = openai "POST" "/v1/conversations", R::Json(&responses::ITEMS_REQUEST) => A::Json(&media::DESCRIPTION, None), Never, OpenAi;
    AddConversationItems = openai "POST" "/v1/conversations/{id}/items", R::Json(&responses::ITEMS_REQUEST) => A::Json(&responses::ITEMS, None), Never, OpenAi;
    GetConversationItems = openai "GET" "/v1/conversations/{id}/items", R::Nothing => A::Json(&responses::ITEMS, None), Never, OpenAi;
    Embeddings = openai "POST" "/v1/embeddings", R::Json(&vectors::REQUEST) => A::Json(&vectors::ANSWER, None), Never, OpenAi;
    Moderations = openai "POST" "/v1/moderations", R::Json(&vectors::REQUEST) => A::Json(&vectors::ANSWER, None), Never, OpenAi;
    Rerank = openai "POST" "/v1/rerank", R::Json(&vectors::PAIRS_REQUEST) => A::Json(&vectors::ANSWER, None), Never, OpenAi;
    RerankV2 = openai "POST" "/v2/rerank", R::Json(&vectors::PAIRS_REQUEST) => A::Json(&vectors::ANSWER, None), Never, OpenAi;
    RerankBare = openai "POST" "/rerank", R::Json(&vectors::PAIRS_REQUEST) => A::Json(&vectors::ANSWER, None), Never, OpenAi;
    Score = openai "POST" "/v1/score", R::Json(&vectors::PAIRS_REQUEST) => A::Json(&vectors::ANSWER, None), Never, OpenAi;
    ScoreBare = openai "POST" "/score", R::Json(&vectors::PAIRS_REQUEST) => A::Json(&vectors::ANSWER, None), Never, OpenAi;
    Pooling = openai "POST" "/pooling", R::Json(&vectors::REQUEST) => A::Json(&vectors::ANSWER, None), Never, OpenAi;
    Classify = openai "POST" "/classify", R::Json(&vectors::REQUEST) => A::Json(&vectors::ANSWER, None), Never, OpenAi;
    Transcriptions = openai "POST" "/v1/audio/transcriptions", R::Form(&media::PROMPT_REQUEST) => A::Transcript(&media::TRANSCRIPT, &media::TRANSCRIPT_STREAM), ByMember, OpenAi;
    Translations = openai "POST" "/v1/audio/translations", R::Form(&media::PROMPT_REQUEST) => A::Transcript(&media::TRANSCRIPT, &media::TRANSCRIPT_STREAM), ByMember, OpenAi;
    Speech = openai "POST" "/v1/audio/speech", R::Json(&media::PROMPT_REQUEST) => A::Opaque, Never, OpenAi;
    Images = openai "POST" "/v1/images/generations", R::Json(&media::PROMPT_REQUEST) => A::Json(&media::IMAGES, None), Never, OpenAi;
    ImageEdits = openai "POST" "/v1/images/edits", R::Form(&media::PROMPT_REQUEST) => A::Json(&media::IMAGES, None), Never, OpenAi;
    ImageVariations = openai "POST" "/v1/images/variations", R::Form(&media::PROMPT_REQUEST) => A::Json(&media::IMAGES, None), Never, OpenAi;
    UploadFile = openai "POST" "/v1/files", R::Upload => A::Json(&media::DESCRIPTION, None), Never, OpenAi;
    ListFiles = openai "GET" "/v1/files", R::Nothing => A::Json(&media::DESCRIPTION, None), Never, OpenAi;
    GetFile = openai "GET" "/v1/files/{id}", R::Nothing => A::Json(&media::DESCRIPTION, None), Never, OpenAi;
    DeleteFile = openai "DELETE" "/v1/files/{id}", R::Nothing => A::Json(&media::DESCRIPTION, None), Never, OpenAi;
    GetFileContent = openai "GET" "/v1/files/{id}/content", R::Nothing => A::Lines, Never, OpenAi;
    CreateBatch = openai "POST" "/v1/batches", R::Json(&media::BATCH_REQUEST) => A::Json(&media::DESCRIPTION, None), Never, OpenAi;
    ListBatches = openai "GET" "/v1/batches", R::Nothing => A::Json(&media::DESCRIPTION, None), Never, OpenAi;
    GetBatch = openai "GET" "/v1/batches/{id}", R::Nothing => A::Json(&media::DESCRIPTION, None), Never, OpenAi;
    CancelBatch = openai "POST" "/v1/batches/{id}/cancel", R::Nothing => A::Json(&media::DESCRIPTION, None), Never, OpenAi;
    Messages = anthropic "POST" "/v1/messages", R::Json(&anthropic::REQUEST) => A::Json(&anthropic::ANSWER, Some(&anthropic::STREAM)), ByMember, Anthropic;
    CountTokens = anthropic "POST" "/v1/messages/count_tokens", R::Json(&anthropic::REQUEST) => A::Json(&anthropic::ANSWER, None), Never, Anthropic;
    MessageBatches = anthropic "POST" "/v1/messages/batches", R::Json(&anthropic::BATCH_REQUEST) => A::Json(&anthropic::ANSWER, None), Never, Anthropic;
    ListMessageBatches = anthropic "GET" "/v1/messages/batches", R::Nothing => A::Json(&media::NAMES, None), Never, Anthropic;
    GetMessageBatch = anthropic "GET" "/v1/messages/batches/{id}", R::Nothing => A::Json(&anthropic::ANSWER, None), Never, Anthropic;
    GetMessageBatchResults = anthropic "GET" "/v1/messages/batches/{id}/results", R::Nothing => A::Lines, Never, Anthropic;
    TgiGenerate = tgi "POST" "/generate", R::Json(&tgi::REQUEST) => A::Json(&tgi::ANSWER, Some(&tgi::STREAM)), ByMember, Tgi;
    TgiGenerateStream = tgi "POST" "/generate_stream", R::Json(&tgi::REQUEST) => A::Json(&tgi::ANSWER, Some(&tgi::STREAM)), Always, Tgi;
    TgiRoot = tgi "POST" "/", R::Json(&tgi::REQUEST) => A::Json(&tgi::ANSWER, Some(&tgi::STREAM)), ByMember, Tgi;
    TgiInfo = tgi "GET" "/info", R::Nothing => A::Json(&media::NAMES, None), Never, Tgi;
    KServeInfer = kserve "POST" "/v2/models/{model}/infer", R::Tensors(&kserve::INFER_REQUEST) => A::Tensors(&kserve::INFER_ANSWER), Never, KServe;
    KServeInferVersion = kserve "POST" "/v2/models/{model}/versions/{id}/infer", R::Tensors(&kserve::INFER_REQUEST) => A::Tensors(&kserve::INFER_ANSWER), Never, KServe;
    KServeGenerate = kserve "POST" "/v2/models/{model}/generate", R::Json(&kserve::GENERATE_REQUEST) => A::Json(&kserve::GENERATE_ANSWER, Some(&kserve::GENERATE_STREAM)), Never, KServe;
    KServeGenerateVersion = kserve "POST" "/v2/models/{model}/versions/{id}/generate", R::Json(&kserve::GENERATE_REQUEST) => A::Json(&kserve::GENERATE_ANSWER, Some(&kserve::GENERATE_STREAM)), Never, KServe;
    KServeGenerateStream = kserve "POST" "/v2/models/{model}/generate_stream", R::Json(&kserve::GENERATE_REQUEST) => A::Json(&kserve::GENERATE_ANSWER, Some(&kserve::GENERATE_STREAM)), Always, KServe;
    KServeGenerateStreamVersion = kserve "POST" "/v2/models/{model}/versions/{id}/generate_stream", R::Json(&kserve::GENERATE_REQUEST) => A::Json(&kserve::GENERATE_ANSWER, Some(&kserve::GENERATE_STREAM)), Always, KServe;
    KServeServer = kserve "GET" "/v2", R::Nothing => A::Json(&kserve::SETTINGS, None), Never, KServe;
    KServeLive = kserve "GET" "/v2/health/live", R::Nothing => A::Json(&kserve::SETTINGS, None), Never, KServe;
    KServeReady = kserve "GET" "/v2/health/ready", R::Nothing => A::Json(&kserve::SETTINGS, None), Never, KServe;
    KServeModel = kserve "GET" "/v2/models/{model}", R::Nothing => A::Json(&kserve::SETTINGS, None), Never, KServe;
    KServeModelReady = kserve "GET" "/v2/models/{model}/ready", R::Nothing => A::Json(&kserve::SETTINGS, None), Never, KServe;
    KServeModelConfig = kserve "GET" "/v2/models/{model}/config", R::Nothing => A::Json(&kserve::SETTINGS, None), Never, KServe;
    KServeIndex = kserve "POST" "/v2/repository/index", R::Json(&kserve::SETTINGS) => A::Json(&kserve::SETTINGS, None), Never, KServe;
    KServeLoad = kserve "POST" "/v2/repository/models/{model}/load", R::Json(&kserve::SETTINGS) => A::Json(&kserve::SETTINGS, None), Never, KServe;
    KServeUnload = kserve "POST" "/v2/repository/models/{model}/unload", R::Json(&kserve::SETTINGS) => A::Json(&kserve::SETTINGS, None), Never, KServe;
    KServeLogging = kserve "POST" "/v2/logging", R::Json(&kserve::SETTINGS) => A::Json(&kserve::SETTINGS, None), Never, KServe;
    KServeTrace = kserve "POST" "/v2/trace/setting", R::Json(&kserve::SETTINGS) => A::Json(&kserve::SETTINGS, None), Never, KServe;
}

impl Operation {
    /// The normalised path, as policies see it in `request.endpoint`. Where a segment is a name or id, it stands for all of
    /// them: `/v2/models/{model}/infer`.
    #[must_use]
    pub fn endpoint(self) -> &'static str {
        self.spec().path
    }

    /// The API it belongs to, as policies see it in `dialect`.
    #[must_use]
    pub fn dialect(self) -> &'static str {
        self.spec().dialect
    }

    /// The method it takes.
    #[must_use]
    pub fn method(self) -> &'static str {
        self.spec().method
    }

    /// Whose form its errors have.
    #[must_use]
    pub fn errors(self) -> ErrorShape {
        self.spec().errors
    }

    /// Whether a body is looked into.
    #[must_use]
    pub fn has_body(self) -> bool {
        !matches!(self.spec().request, RequestBody::Nothing)
    }

    /// Whether its body may hold calls of other operations: a batch. What a policy says of those shows only in the body.
    #[must_use]
    pub fn carries_calls(self) -> bool {
        self == Self::MessageBatches || matches!(self.spec().request, RequestBody::Upload)
    }

    /// Whether its answers can come in events.
    #[must_use]
    pub fn answers_in_events(self) -> bool {
        self.stream_table().is_some()
    }

    /// The table of a JSON request.
    pub(crate) fn request_table(self) -> Option<&'static Table> {
        match self.spec().request {
            RequestBody::Json(table) | RequestBody::Tensors(table) | RequestBody::Form(table) => Some(table),
            RequestBody::Nothing | RequestBody::Upload => None,
        }
    }

    /// The table of a JSON answer.
    pub(crate) fn answer_table(self) -> Option<&'static Table> {
        match self.spec().answer {
            AnswerBody::Json(table, _) | AnswerBody::Tensors(table) | AnswerBody::Transcript(table, _) => Some(table),
            AnswerBody::Lines | AnswerBody::Opaque => None,
        }
    }

    /// The streamed form of its answer.
    pub(crate) fn stream_table(self) -> Option<&'static StreamTable> {
        match self.spec().answer {
            AnswerBody::Json(_, stream) => stream,
            AnswerBody::Transcript(_, stream) => Some(stream),
            AnswerBody::Tensors(_) | AnswerBody::Lines | AnswerBody::Opaque => None,
        }
    }

    /// Whether the dialect itself names this member; records write any other as `*` (DECISIONS 20).
    pub(crate) fn names(self, member: &str) -> bool {
        let tables = [self.request_table(), self.answer_table()];
        tables.into_iter().flatten().any(|table| table.names(member))
    }
}

#[cfg(test)]
mod tests {
    use super::Operation;

    #[test]
    fn batches_carry_calls_and_nothing_else_does() {
        let carries = |operation: &Operation| operation.carries_calls();
        assert!([Operation::MessageBatches, Operation::UploadFile].iter().all(carries));
        // A batch of files names an uploaded one.
        assert!(![Operation::ChatCompletions, Operation::CreateBatch, Operation::Messages].iter().any(carries));
    }
}
