//! A whole answer as policies read it.

use super::answer::AnswerInfo;
use super::operation::Operation;
use super::request::{texts, visit_values};
use super::slots::{Slots, slots};
use crate::json::{Document, JsonError};
use policy_lang::{BodyView, JsonPath, JsonValue, Unreadable};
use std::borrow::Cow;

/// Why an answer cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It is not JSON.
    #[error("the answer is no JSON: {0}")]
    Json(#[from] JsonError),
    /// It is not what the operation answers.
    #[error("the answer cannot be read as one of this operation")]
    Shape,
}

/// A whole JSON answer, read once.
#[derive(Clone, Debug)]
pub struct Answer<'b> {
    document: Document<'b>,
    texts: Vec<Cow<'b, str>>,
    hidden: bool,
    info: AnswerInfo,
}

impl<'b> Answer<'b> {
    /// Reads the body of an answer.
    ///
    /// # Errors
    /// [`AnswerError`]
    pub fn parse(operation: Operation, body: &'b [u8]) -> Result<Self, AnswerError> {
        let document = Document::parse(body)?;
        let mut info = AnswerInfo::default();
        let slots = match operation.answer_table() {
            Some(table) => slots(&document, table, &mut info).map_err(|_| AnswerError::Shape)?,
            None => Slots::default(),
        };
        let texts = texts(&document, &slots);
        Ok(Self { texts, hidden: !slots.hidden.is_empty(), info, document })
    }

    /// What it says about itself.
    #[must_use]
    pub fn info(&self) -> &AnswerInfo {
        &self.info
    }
}

impl BodyView for Answer<'_> {
    fn texts(&self) -> Result<&[Cow<'_, str>], Unreadable> {
        if self.hidden { Err(Unreadable) } else { Ok(&self.texts) }
    }

    fn values(&self, path: &JsonPath, visit: &mut dyn FnMut(JsonValue<'_>) -> bool) -> Result<(), Unreadable> {
        visit_values(&self.document, path, visit)
    }
}
