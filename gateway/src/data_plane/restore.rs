//! Puts values back where an answer has the tokens of its session: the last step before the caller, behind the recorded copy, which
//! keeps the tokens.

use std::borrow::Cow;

use policy_compiler::dialect::{BodyForm, Operation};
use policy_compiler::redact::{self, Framing, Hit, RedactError, StreamOutput, StreamRedactor};

use super::plans::Plans;

/// The restoring of one stream; it does nothing where the session has no tokens.
pub(super) struct Restoring(Option<StreamRedactor>);

impl Restoring {
    pub(super) fn new(plans: &Plans, operation: Operation, choices: u32, framing: Framing) -> Self {
        Self(plans.restoring().map(|plan| StreamRedactor::new(operation, plan, choices).framed(framing)))
    }

    /// What can be sent of the answer now.
    ///
    /// # Errors
    /// [`RedactError`]: the stream must be cut.
    pub(super) fn push<'b>(&mut self, masked: &'b [u8]) -> Result<Cow<'b, [u8]>, RedactError> {
        let Some(redactor) = &mut self.0 else { return Ok(Cow::Borrowed(masked)) };
        let mut out = StreamOutput::default();
        redactor.push(masked, &mut out)?;
        out.ready.append(&mut out.held);
        Ok(Cow::Owned(out.ready))
    }

    /// Likewise with the last of it.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub(super) fn finish<'b>(&mut self, masked: &'b [u8]) -> Result<Cow<'b, [u8]>, RedactError> {
        let mut last = self.push(masked)?;
        if let Some(redactor) = &mut self.0 {
            let mut out = StreamOutput::default();
            redactor.finish(&mut out)?;
            out.ready.append(&mut out.held);
            last.to_mut().extend(out.ready);
        }
        Ok(last)
    }

    /// Where values were put back.
    pub(super) fn hits(&self) -> &[Hit] {
        self.0.as_ref().map_or(&[], StreamRedactor::hits)
    }
}

/// A whole answer; one that cannot be looked into keeps its tokens, which give nothing away.
pub(super) fn restore_whole<'b>(
    plans: &Plans,
    operation: Operation,
    form: &BodyForm,
    body: Cow<'b, [u8]>,
) -> (Cow<'b, [u8]>, Vec<Hit>) {
    let Some(plan) = plans.restoring() else { return (body, Vec::new()) };
    match redact::redact_answer_as(operation, form, &plan, &body) {
        Ok((restored, _)) if !restored.hits.is_empty() => (Cow::Owned(restored.body.into_owned()), restored.hits),
        _ => (body, Vec::new()),
    }
}
