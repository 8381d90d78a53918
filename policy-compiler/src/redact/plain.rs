//! Plain text outside any API: a log, a file, what comes through a pipe.

use super::plan::MaskPlan;
use super::text::TextRedactor;
use super::{Hit, RedactError};
use crate::dialect::TextKind;

/// Masks one text that comes in pieces. The masks of a plan that are for all text meet it; those with a path do not.
#[derive(Debug)]
pub struct PlainRedactor {
    redactor: TextRedactor,
    hits: Vec<Hit>,
}

impl PlainRedactor {
    /// The state before the first piece.
    #[must_use]
    pub fn new(plan: &MaskPlan) -> Self {
        Self { redactor: TextRedactor::new(TextKind::Plain, &plan.of_text(true, &[])), hits: Vec::new() }
    }

    /// Takes a piece and appends what can be released.
    ///
    /// # Errors
    /// [`RedactError::Ceiling`]: the rest must not be released.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), RedactError> {
        self.redactor.push(piece, out)?;
        self.take_hits();
        Ok(())
    }

    /// Ends the text and appends the rest.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), RedactError> {
        self.redactor.finish(out)?;
        self.take_hits();
        Ok(())
    }

    /// What was masked since the last call.
    pub fn take(&mut self) -> Vec<Hit> {
        std::mem::take(&mut self.hits)
    }

    fn take_hits(&mut self) {
        self.hits.extend(self.redactor.take_hits().into_iter().map(|hit| hit.at("", "text")));
    }
}
