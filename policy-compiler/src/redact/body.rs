//! Whole bodies, in every form that they have.

use super::document::{Changed, Masker, mask_text};
use super::edits::Edits;
use super::plan::MaskPlan;
use super::tensors::redact_tensors;
use super::{ChannelCoverage, Coverage, Hit, RedactError, Redacted};
use crate::dialect::{
    AnswerInfo, BodyForm, FormError, Operation, Slots, Table, TextKind, WalkError, batch_line, form_texts,
    is_batch_form, lines, multipart_parts, slots,
};
use crate::json::{Document, JsonError};
use policy_lang::Side;
use std::borrow::Cow;

/// Masks the body of a JSON request.
///
/// # Errors
/// As [`redact_request_as`].
pub fn redact_request<'b>(operation: Operation, plan: &MaskPlan, body: &'b [u8]) -> Result<Redacted<'b>, RedactError> {
    redact_request_as(operation, &BodyForm::Json, plan, body)
}

/// Masks a whole JSON answer and reads what it says about itself.
///
/// # Errors
/// As [`redact_answer_as`].
pub fn redact_answer<'b>(
    operation: Operation,
    plan: &MaskPlan,
    body: &'b [u8],
) -> Result<(Redacted<'b>, AnswerInfo), RedactError> {
    redact_answer_as(operation, &BodyForm::Json, plan, body)
}

/// Masks the body of a request.
///
/// # Errors
/// [`RedactError`]; the body must not be used then. With an empty plan there is none, and the body is not read.
pub fn redact_request_as<'b>(
    operation: Operation,
    form: &BodyForm,
    plan: &MaskPlan,
    body: &'b [u8],
) -> Result<Redacted<'b>, RedactError> {
    if plan.is_empty() || body.is_empty() {
        return Ok(Redacted::untouched(body));
    }
    let mut info = AnswerInfo::default();
    let mut json = |body| redact_json(operation, plan, body, operation.request_table(), &mut info);
    match form {
        BodyForm::Json => json(body),
        BodyForm::Tensors { json_bytes } => redact_tensors(plan, "inputs", body, *json_bytes, json),
        BodyForm::Form { boundary } => redact_form(operation, plan, boundary, body),
        BodyForm::Lines => redact_lines(plan, body),
        BodyForm::Text => redact_text(plan, body),
        BodyForm::Opaque => Ok(opaque(body)),
    }
}

/// Masks a whole answer and reads what it says about itself.
///
/// # Errors
/// [`RedactError`]; the body must not be used then. With an empty plan there is none.
pub fn redact_answer_as<'b>(
    operation: Operation,
    form: &BodyForm,
    plan: &MaskPlan,
    body: &'b [u8],
) -> Result<(Redacted<'b>, AnswerInfo), RedactError> {
    let mut info = AnswerInfo::default();
    if body.is_empty() {
        return Ok((Redacted::untouched(body), info));
    }
    let mut json = |body| redact_json(operation, plan, body, operation.answer_table(), &mut info);
    let redacted = match form {
        BodyForm::Json => json(body),
        _ if plan.is_empty() => Ok(Redacted::untouched(body)),
        BodyForm::Tensors { json_bytes } => redact_tensors(plan, "outputs", body, *json_bytes, json),
        BodyForm::Lines => redact_lines(plan, body),
        BodyForm::Text => redact_text(plan, body),
        BodyForm::Opaque | BodyForm::Form { .. } => Ok(opaque(body)),
    };
    Ok((redacted?, info))
}

fn redact_json<'b>(
    operation: Operation,
    plan: &MaskPlan,
    body: &'b [u8],
    table: Option<&Table>,
    info: &mut AnswerInfo,
) -> Result<Redacted<'b>, RedactError> {
    let document = match Document::parse(body) {
        Ok(document) => document,
        Err(_) if plan.is_empty() => return Ok(Redacted::untouched(body)),
        Err(error) => return redact_raw(plan, body, error),
    };
    let found = match table {
        Some(table) => slots(&document, table, info),
        None => Ok(Slots::default()),
    };
    if plan.is_empty() {
        return Ok(Redacted::untouched(body));
    }
    let slots = slots_or_everything(plan, found)?;
    let coverage = coverage(&slots);
    let mut edits = Edits::default();
    let mut hits = Vec::new();
    let mut masker = Masker::new(plan, operation, &document);
    masker.add_whole(slots)?;
    if plan.everywhere() {
        masker.add_everything();
    }
    masker.run(&mut Changed::new(), &mut edits, &mut hits)?;
    Ok(Redacted { body: edits.apply(body), json_bytes: None, hits, coverage })
}

/// A plan that looks everywhere needs no slots to find every text, so a body with double members does not stop it. For any
/// other, text that cannot be read is an error.
pub(super) fn slots_or_everything(plan: &MaskPlan, slots: Result<Slots, WalkError>) -> Result<Slots, RedactError> {
    match slots {
        Ok(slots) if slots.hidden.is_empty() || plan.everywhere() => Ok(slots),
        Ok(_) => Err(RedactError::Hidden),
        Err(_) if plan.everywhere() => Ok(Slots::default()),
        Err(error) => Err(error.into()),
    }
}

/// Text that is no JSON: one channel for a plan that looks everywhere, else an error.
fn redact_raw<'b>(plan: &MaskPlan, body: &'b [u8], error: JsonError) -> Result<Redacted<'b>, RedactError> {
    if plan.everywhere() { redact_text(plan, body) } else { Err(RedactError::Json(error)) }
}

/// A body that is one text.
fn redact_text<'b>(plan: &MaskPlan, body: &'b [u8]) -> Result<Redacted<'b>, RedactError> {
    let (text, hits) = mask_text(TextKind::Plain, &plan.of_text(true, &[]), body)?;
    Ok(Redacted {
        hits: hits.into_iter().map(|hit| hit.at("", "body")).collect(),
        body: text.map_or(Cow::Borrowed(body), Cow::Owned),
        json_bytes: None,
        coverage: vec![ChannelCoverage { channel: "body".to_owned(), coverage: Coverage::Scanned }],
    })
}

fn opaque(body: &[u8]) -> Redacted<'_> {
    let coverage = vec![ChannelCoverage { channel: "body".to_owned(), coverage: Coverage::Opaque }];
    Redacted { coverage, ..Redacted::untouched(body) }
}

pub(super) fn coverage(slots: &Slots) -> Vec<ChannelCoverage> {
    let scanned = slots.texts.iter().map(|slot| (&slot.channel, Coverage::Scanned));
    let opaque = slots.opaque.iter().map(|channel| (channel, Coverage::Opaque));
    let references = slots.references.iter().map(|channel| (channel, Coverage::ByReference));
    let hidden = slots.hidden.iter().map(|channel| (channel, Coverage::Unscannable));
    let mut channels: Vec<ChannelCoverage> = Vec::new();
    for (channel, coverage) in scanned.chain(opaque).chain(references).chain(hidden) {
        let same = |known: &ChannelCoverage| known.channel == *channel && known.coverage == coverage;
        // Every string below one place is the same channel.
        if !channels.last().is_some_and(same) {
            channels.push(ChannelCoverage { channel: channel.clone(), coverage });
        }
    }
    channels
}

/// One JSON text per line: requests of a batch, or their answers.
fn redact_lines<'b>(plan: &MaskPlan, body: &'b [u8]) -> Result<Redacted<'b>, RedactError> {
    let mut edits = Edits::default();
    let mut hits = Vec::new();
    let mut coverage: Vec<ChannelCoverage> = Vec::new();
    for (number, range) in lines(body).enumerate() {
        let line = body.get(range.clone()).unwrap_or_default();
        let bodies = match plan.everywhere() {
            true => vec![(0..line.len(), Operation::ChatCompletions, Side::Response)],
            false => batch_line(line).map_err(RedactError::Json)?,
        };
        if bodies.is_empty() {
            return Err(RedactError::Hidden);
        }
        for (inner, operation, side) in bodies {
            let start = range.start + inner.start;
            let text = line.get(inner).unwrap_or_default();
            let redacted = match side {
                Side::Request => redact_request(operation, plan, text)?,
                Side::Response => redact_answer(operation, plan, text)?.0,
            };
            hits.extend(redacted.hits.into_iter().map(|hit| Hit {
                pointer: format!("/{number}/body{}", hit.pointer),
                channel: format!("[{number}].{}", hit.channel),
                ..hit
            }));
            coverage.extend(
                redacted
                    .coverage
                    .into_iter()
                    .map(|known| ChannelCoverage { channel: format!("[{number}].{}", known.channel), ..known }),
            );
            if let Cow::Owned(masked) = redacted.body {
                edits.add(start..start + text.len(), masked);
            }
        }
    }
    Ok(Redacted { body: edits.apply(body), json_bytes: None, hits, coverage })
}

/// A form: its text fields, and the lines of a batch file.
fn redact_form<'b>(
    operation: Operation,
    plan: &MaskPlan,
    boundary: &str,
    body: &'b [u8],
) -> Result<Redacted<'b>, RedactError> {
    let parts = match multipart_parts(boundary, body) {
        Ok(parts) => parts,
        Err(_) if plan.everywhere() => return redact_text(plan, body),
        Err(error) => return Err(error.into()),
    };
    let batch = is_batch_form(operation, &parts, body);
    let mut edits = Edits::default();
    let mut hits = Vec::new();
    let mut coverage = Vec::new();
    for part in &parts {
        let content = body.get(part.content.clone()).unwrap_or_default();
        let redacted = if part.is_file && batch {
            redact_lines(plan, content)?
        } else if part.is_file && !plan.everywhere() {
            coverage.push(ChannelCoverage { channel: part.name.clone(), coverage: Coverage::Opaque });
            continue;
        } else if plan.everywhere() || form_texts(&part.name) {
            redact_text(plan, content)?
        } else {
            continue;
        };
        let channel = if form_texts(&part.name) || part.is_file { part.name.as_str() } else { "*" };
        hits.extend(redacted.hits.into_iter().map(|hit| Hit {
            pointer: format!("/{channel}{}", hit.pointer),
            channel: channel.to_owned(),
            ..hit
        }));
        coverage.push(ChannelCoverage { channel: channel.to_owned(), coverage: Coverage::Scanned });
        if let Cow::Owned(masked) = redacted.body {
            edits.add(part.content.clone(), masked);
        }
    }
    let masked = edits.apply(body);
    // What was put in must not end the part.
    if let Cow::Owned(masked) = &masked
        && multipart_parts(boundary, masked)?.len() != parts.len()
    {
        return Err(FormError::Multipart("a replacement would end a part").into());
    }
    Ok(Redacted { body: masked, json_bytes: None, hits, coverage })
}
