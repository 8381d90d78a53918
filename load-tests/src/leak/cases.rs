//! The cases: which API, where the value stands, how it is split, how it goes over the wire.

use std::fmt;

/// An API and its way of streaming.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Api {
    /// OpenAI chat completions.
    Chat,
    /// OpenAI legacy completions.
    Completions,
    /// OpenAI responses.
    Responses,
    /// Anthropic messages.
    Messages,
}

/// Where the value stands in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The text that is shown.
    Text,
    /// JSON inside a JSON string.
    Arguments,
    /// The fourth of four choices whose events are interleaved.
    Choice,
    /// The second of three calls whose events are interleaved.
    Call,
    /// The text, with its tokens and their bytes beside it.
    Logprobs,
    /// Reasoning.
    Reasoning,
}

/// How the value is split over events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Split {
    /// Not at all.
    Whole,
    /// In its middle.
    Two,
    /// Into characters.
    Characters,
}

/// How the answer goes over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wire {
    /// One JSON body.
    Body,
    /// Server-sent events.
    Events,
    /// With every character of the text escaped.
    Escaped,
    /// With CRLF line ends, a byte order mark and comments.
    Crlf,
    /// Compressed.
    Gzip,
    /// One byte per chunk.
    Bytes,
}

/// The synthetic values, told apart by what a gateway calls them.
pub(crate) const VALUES: [&str; 3] = ["536-22-8145", "4111 1111 1111 1111", "bob@example.com"];

/// One question and the way that its answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    pub(crate) id: usize,
    /// The API.
    pub api: Api,
    /// Where the value stands.
    pub place: Place,
    /// How it is split.
    pub split: Split,
    /// How it goes over the wire.
    pub wire: Wire,
    /// The value.
    pub value: &'static str,
}

impl Api {
    pub(crate) const ALL: [Self; 4] = [Self::Chat, Self::Completions, Self::Responses, Self::Messages];

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
        }
    }

    pub(crate) fn of_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|api| api.path() == path)
    }

    /// Where its answers can carry text.
    pub(crate) fn places(self) -> &'static [Place] {
        match self {
            Self::Chat => {
                &[Place::Text, Place::Arguments, Place::Choice, Place::Call, Place::Logprobs, Place::Reasoning]
            }
            Self::Completions => &[Place::Text, Place::Choice, Place::Logprobs],
            Self::Responses => &[Place::Text, Place::Arguments, Place::Reasoning],
            Self::Messages => &[Place::Text, Place::Arguments, Place::Reasoning],
        }
    }
}

impl Split {
    pub(crate) const ALL: [Self; 3] = [Self::Whole, Self::Two, Self::Characters];
}

impl Wire {
    pub(crate) const STREAMS: [Self; 5] = [Self::Events, Self::Escaped, Self::Crlf, Self::Gzip, Self::Bytes];
}

impl Case {
    /// What asks for this case in a prompt.
    pub(crate) fn word(&self) -> String {
        format!("leak-test-case-{}.", self.id)
    }

    /// The text around the value.
    pub(crate) fn text(&self) -> String {
        format!("On file: {}, and so on.", self.value)
    }

    pub(crate) fn streams(&self) -> bool {
        self.wire != Wire::Body
    }
}

/// Every case.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |api, place, split, wire| {
        let id = cases.len();
        let value = VALUES.get(id % VALUES.len()).copied().unwrap_or_default();
        cases.push(Case { id, api, place, split, wire, value });
    };
    for api in Api::ALL {
        for &place in api.places() {
            for _ in VALUES {
                add(api, place, Split::Whole, Wire::Body);
            }
            for split in Split::ALL {
                for wire in Wire::STREAMS {
                    add(api, place, split, wire);
                }
            }
        }
    }
    cases
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::Messages => "messages",
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Text => "text",
            Self::Arguments => "arguments",
            Self::Choice => "4 choices",
            Self::Call => "3 calls",
            Self::Logprobs => "logprobs",
            Self::Reasoning => "reasoning",
        })
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Whole => "one piece",
            Self::Two => "two pieces",
            Self::Characters => "characters",
        })
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Body => "body",
            Self::Events => "events",
            Self::Escaped => "escaped",
            Self::Crlf => "crlf",
            Self::Gzip => "gzip",
            Self::Bytes => "bytes",
        })
    }
}
