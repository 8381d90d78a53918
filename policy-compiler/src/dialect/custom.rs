//! Configured APIs: routes and places for text, model and usage (`dialect = "json"`).

use super::operation::{AnswerBody, ErrorShape, Operation, RequestBody, Spec, Streams};
use super::stream_table::{ChannelSpec, Ends, EventSpec, Marks, StreamTable};
use super::table::{Line, Part, Role, Table};
use super::text_kind::TextKind;
use std::hash::{Hash, Hasher};
use std::sync::OnceLock;

/// An operation of a configured API. Equal only to itself.
#[derive(Clone, Copy, Debug)]
pub struct Custom(&'static Spec);

impl PartialEq for Custom {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Custom {}

impl Hash for Custom {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::ptr::from_ref(self.0).hash(state);
    }
}

impl Custom {
    pub(crate) fn spec(self) -> &'static Spec {
        self.0
    }
}

/// A route of a configured API, as it is written in the configuration. Places are written as in `$.inputs[*].text`: names,
/// `[*]` for every element, `.*` for every member, `..*` at the end for everything below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomRoute {
    /// `POST` or another method.
    pub method: String,
    /// The normalised path; `{model}` and `{id}` stand for one segment.
    pub path: String,
    /// Where the request's texts are.
    pub request_text: Vec<String>,
    /// Where the request names its model, if the path does not.
    pub request_model: Option<String>,
    /// Where the answer's texts are.
    pub response_text: Vec<String>,
    /// Where the pieces of the answer's texts stand in an event, in the order of `response_text`. Empty: it does not stream.
    pub stream_text: Vec<String>,
    /// Where the answer counts the tokens of the prompt.
    pub input_tokens: Option<String>,
    /// Where it counts those of the answer.
    pub output_tokens: Option<String>,
}

/// Why a configured route cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CustomError {
    /// A place is not written as a place.
    #[error("`{0}` is not a place in JSON; write one as in \"$.inputs[*].text\"")]
    Place(String),
    /// A path is not normalised.
    #[error(
        "`{0}` is not a normalised path; begin it with a slash, without a slash at the end, dot segments or a query"
    )]
    Path(String),
    /// More or fewer stream places than texts.
    #[error("`stream_text` needs one place for each of `response_text`, in the same order")]
    Stream,
    /// The model stands somewhere below the first level.
    #[error("`{0}`: the model must be a member of the body itself, as in \"$.model\"")]
    Model(String),
    /// More texts than a stream can number.
    #[error("more than 64 places for text")]
    TooMany,
}

const PLACES_MAX: usize = 64;

impl CustomRoute {
    /// Makes the operation. It lives as long as the program, so make each route once.
    ///
    /// # Errors
    /// [`CustomError`]
    pub fn operation(&self) -> Result<Operation, CustomError> {
        if super::route::normalised_template(&self.path).as_deref() != Some(self.path.as_str()) {
            return Err(CustomError::Path(self.path.clone()));
        }
        if self.request_text.len().max(self.response_text.len()) > PLACES_MAX {
            return Err(CustomError::TooMany);
        }
        let mut request = lines(&self.request_text, Role::Text)?;
        if let Some(model) = &self.request_model {
            let model_place = place(model)?;
            // It is read by that name before anything else is known.
            if model_place != "model" {
                return Err(CustomError::Model(model.clone()));
            }
            request.push((model_place, Role::Name));
        }
        let mut answer = lines(&self.response_text, Role::Text)?;
        let mut usage = Vec::new();
        for (written, role) in [(&self.input_tokens, Role::InputTokens), (&self.output_tokens, Role::OutputTokens)] {
            if let Some(written) = written {
                usage.push((place(written)?, role));
            }
        }
        answer.extend(&usage);
        let streams = if self.stream_text.is_empty() { Streams::Never } else { Streams::ByMember };
        let spec = Spec {
            dialect: "json",
            method: leak(&self.method),
            path: leak(&self.path),
            request: RequestBody::Json(table(request)),
            answer: AnswerBody::Json(table(answer), self.stream(usage)?),
            streams,
            errors: ErrorShape::OpenAi,
        };
        Ok(Operation::Custom(Custom(Box::leak(Box::new(spec)))))
    }

    fn stream(&self, mut members: Vec<Line>) -> Result<Option<&'static StreamTable>, CustomError> {
        if self.stream_text.is_empty() {
            return Ok(None);
        }
        if self.stream_text.len() != self.response_text.len() {
            return Err(CustomError::Stream);
        }
        let mut channels = Vec::new();
        for (number, (event, whole)) in self.stream_text.iter().zip(&self.response_text).enumerate() {
            let (event, whole) = (place(event)?, place(whole)?);
            let number = u8::try_from(number).map_err(|_| CustomError::TooMany)?;
            members.push((event, Role::Piece(number)));
            channels.push(ChannelSpec { whole, kind: TextKind::Plain, event });
        }
        members.extend(super::common::ERROR);
        let parts: &[Part] = vec![("", &*members.leak()) as Part].leak();
        let events = vec![EventSpec { name: "", parts, indices: &[], ends: Ends::Nothing }];
        let table = StreamTable {
            channels: channels.leak(),
            marks: Marks::Event,
            events: events.leak(),
            automata: OnceLock::new(),
        };
        Ok(Some(Box::leak(Box::new(table))))
    }
}

fn table(lines: Vec<Line>) -> &'static Table {
    let parts: Vec<Part> = vec![("", &*lines.leak()), ("", super::common::ERROR)];
    Box::leak(Box::new(Table::new(parts.leak())))
}

fn lines(written: &[String], role: Role) -> Result<Vec<Line>, CustomError> {
    written.iter().map(|written| Ok((place(written)?, role))).collect()
}

/// From `$.a[*].b` to `a[].b`.
fn place(written: &str) -> Result<&'static str, CustomError> {
    let wrong = || CustomError::Place(written.to_owned());
    let rest = written.strip_prefix('$').ok_or_else(wrong)?;
    let rest = match rest.strip_suffix("..*") {
        Some(before) => format!("{before}.**"),
        None => rest.to_owned(),
    };
    let place = rest.replace("[*]", "[]");
    let place = place.strip_prefix('.').unwrap_or(&place);
    let name = |name: &str| {
        let name = name.trim_end_matches("[]");
        !name.is_empty() && !name.contains(|c: char| matches!(c, '[' | ']' | '$' | '"' | '\'') || c.is_whitespace())
    };
    let good = place.split('.').enumerate().all(|(at, part)| name(part) || (at == 0 && part.starts_with("[]")));
    if place.is_empty() || !good {
        return Err(wrong());
    }
    Ok(leak(place))
}

fn leak(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}
