//! Channels of a stream, and the paths of the non-streamed form that lead to them (DECISIONS 9).

use crate::dialect::TextKind;
use policy_lang::{JsonPath, PathSegment};

/// A text that a stream carries in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StreamChannel {
    /// The choice's index.
    pub(crate) choice: u32,
    /// Which of its texts.
    pub(crate) field: Field,
}

/// The texts of a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Field {
    Content,
    Refusal,
    Reasoning,
    ReasoningContent,
    AudioTranscript,
    FunctionArguments,
    /// By the call's index.
    ToolArguments(u32),
    /// By the call's index.
    ToolInput(u32),
}

enum Step {
    Name(&'static str),
    At(u32),
}

impl Field {
    /// The members that are strings of the message and the delta themselves.
    pub(crate) const NAMED: [(Self, &'static str); 4] = [
        (Self::Content, "content"),
        (Self::Refusal, "refusal"),
        (Self::Reasoning, "reasoning"),
        (Self::ReasoningContent, "reasoning_content"),
    ];

    /// What kind of text it is.
    pub(crate) fn kind(self) -> TextKind {
        match self {
            Self::FunctionArguments | Self::ToolArguments(_) => TextKind::Json,
            _ => TextKind::Plain,
        }
    }

    fn steps(self) -> Vec<Step> {
        use Step::{At, Name};
        match self {
            Self::Content => vec![Name("content")],
            Self::Refusal => vec![Name("refusal")],
            Self::Reasoning => vec![Name("reasoning")],
            Self::ReasoningContent => vec![Name("reasoning_content")],
            Self::AudioTranscript => vec![Name("audio"), Name("transcript")],
            Self::FunctionArguments => vec![Name("function_call"), Name("arguments")],
            Self::ToolArguments(call) => vec![Name("tool_calls"), At(call), Name("function"), Name("arguments")],
            Self::ToolInput(call) => {
                vec![Name("tool_calls"), At(call), Name("custom"), Name("input")]
            }
        }
    }
}

impl StreamChannel {
    /// Whether the path leads to it.
    pub(crate) fn is_at(&self, path: &JsonPath) -> bool {
        let steps = self.steps();
        steps.len() == path.segments.len()
            && steps.iter().zip(&path.segments).all(|(step, segment)| match (step, segment) {
                (Step::Name(name), PathSegment::Key(key)) => name == key,
                (Step::At(at), PathSegment::Index(index)) => at == index,
                (Step::At(_), PathSegment::Wildcard) => true,
                _ => false,
            })
    }

    /// Its JSON pointer in the non-streamed form.
    pub(crate) fn pointer(&self) -> String {
        let mut pointer = String::new();
        for step in self.steps() {
            pointer.push('/');
            match step {
                Step::Name(name) => pointer.push_str(name),
                Step::At(at) => pointer.push_str(&at.to_string()),
            }
        }
        pointer
    }

    /// Its name in records, the same as for the non-streamed form.
    pub(crate) fn name(&self) -> String {
        let choice = self.choice;
        match self.field {
            Field::Content => format!("choices[{choice}].content"),
            Field::Refusal => format!("choices[{choice}].refusal"),
            Field::Reasoning => format!("choices[{choice}].reasoning"),
            Field::ReasoningContent => format!("choices[{choice}].reasoning_content"),
            Field::AudioTranscript => format!("choices[{choice}].audio.transcript"),
            Field::FunctionArguments => format!("choices[{choice}].function_call.arguments"),
            Field::ToolArguments(call) => format!("choices[{choice}].tool_calls[{call}].arguments"),
            Field::ToolInput(call) => format!("choices[{choice}].tool_calls[{call}].input"),
        }
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = vec![Step::Name("choices"), Step::At(self.choice), Step::Name("message")];
        steps.extend(self.field.steps());
        steps
    }
}

/// Whether the path leads to channels and to nothing else.
pub(crate) fn is_channel_path(path: &JsonPath) -> bool {
    let number = |at: usize| match path.segments.get(at) {
        Some(PathSegment::Index(index)) => *index,
        _ => 0,
    };
    let (choice, call) = (number(1), number(4));
    [
        Field::Content,
        Field::Refusal,
        Field::Reasoning,
        Field::ReasoningContent,
        Field::AudioTranscript,
        Field::FunctionArguments,
        Field::ToolArguments(call),
        Field::ToolInput(call),
    ]
    .into_iter()
    .any(|field| StreamChannel { choice, field }.is_at(path))
}
