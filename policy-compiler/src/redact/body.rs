//! Whole JSON bodies.

use super::plan::MaskPlan;
use super::text::{TextHit, TextMasks, TextRedactor};
use super::{ChannelCoverage, Coverage, Hit, RedactError, Redacted, Tier};
use crate::detect::NUMBER_BYTES_MIN;
use crate::dialect::{AnswerInfo, Operation, Slots, TextKind, answer_slots, is_schema_name, prompt_slots};
use crate::json::{self, Document, JsonError, Kind, NodeId, write_string};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// Masks the body of a request.
///
/// # Errors
/// [`RedactError`]; the body must not be used then. With an empty plan there is none, and the body is not read.
pub fn redact_request<'b>(operation: Operation, plan: &MaskPlan, body: &'b [u8]) -> Result<Redacted<'b>, RedactError> {
    if plan.is_empty() || body.is_empty() {
        return Ok(Redacted::untouched(body));
    }
    match Document::parse(body) {
        Ok(document) => {
            let slots = match operation {
                Operation::ChatCompletions => slots_or_everything(plan, prompt_slots(&document))?,
                Operation::ListModels => Slots::default(),
            };
            redact_document(plan, &document, &slots)
        }
        Err(error) => redact_raw(plan, body, error),
    }
}

/// Masks a whole answer and reads what it says about itself.
///
/// # Errors
/// [`RedactError`]; the body must not be used then. With an empty plan there is none.
pub fn redact_answer<'b>(
    operation: Operation,
    plan: &MaskPlan,
    body: &'b [u8],
) -> Result<(Redacted<'b>, AnswerInfo), RedactError> {
    let mut info = AnswerInfo::default();
    let document = match Document::parse(body) {
        Ok(document) => document,
        Err(_) if plan.is_empty() || body.is_empty() => {
            return Ok((Redacted::untouched(body), info));
        }
        Err(error) => return redact_raw(plan, body, error).map(|redacted| (redacted, info)),
    };
    if operation == Operation::ChatCompletions {
        info.read(&document);
    }
    if plan.is_empty() {
        return Ok((Redacted::untouched(body), info));
    }
    let slots = slots_or_everything(plan, answer_slots(&document))?;
    Ok((redact_document(plan, &document, &slots)?, info))
}

/// A plan that looks everywhere needs no slots to find every text, so a body with double members does not stop it.
pub(super) fn slots_or_everything(
    plan: &MaskPlan,
    slots: Result<Slots, json::Duplicate>,
) -> Result<Slots, RedactError> {
    match slots {
        Ok(slots) => Ok(slots),
        Err(json::Duplicate) if plan.everywhere() => Ok(Slots::default()),
        Err(json::Duplicate) => Err(RedactError::Duplicate),
    }
}

fn redact_document<'b>(plan: &MaskPlan, document: &Document<'b>, slots: &Slots) -> Result<Redacted<'b>, RedactError> {
    let mut edits = Edits::default();
    let mut hits = Vec::new();
    mask_document(plan, document, slots, &BTreeSet::new(), &mut edits, &mut hits)?;
    Ok(Redacted { body: edits.apply(document.bytes()), hits, coverage: coverage(slots) })
}

/// Text that is no JSON: one channel for a plan that looks everywhere, else an error.
fn redact_raw<'b>(plan: &MaskPlan, body: &'b [u8], error: JsonError) -> Result<Redacted<'b>, RedactError> {
    if !plan.everywhere() {
        return Err(RedactError::Json(error));
    }
    let (text, hits) = mask_text(TextKind::Plain, &plan.of_text(true, &[]), body)?;
    Ok(Redacted {
        hits: hits.into_iter().map(|hit| hit.at("", "body")).collect(),
        body: text.map_or(Cow::Borrowed(body), Cow::Owned),
        coverage: vec![ChannelCoverage { channel: "body".to_owned(), coverage: Coverage::Scanned }],
    })
}

pub(super) fn coverage(slots: &Slots) -> Vec<ChannelCoverage> {
    let scanned = slots.texts.iter().map(|slot| (&slot.channel, Coverage::Scanned));
    let opaque = slots.opaque.iter().map(|channel| (channel, Coverage::Opaque));
    scanned.chain(opaque).map(|(channel, coverage)| ChannelCoverage { channel: channel.clone(), coverage }).collect()
}

/// Masks one whole text. `None` if nothing changes.
pub(super) fn mask_text(
    kind: TextKind,
    masks: &TextMasks,
    text: &[u8],
) -> Result<(Option<Vec<u8>>, Vec<TextHit>), RedactError> {
    mask_member(kind, masks, None, text)
}

/// The same for the value of a member, whose name is context.
fn mask_member(
    kind: TextKind,
    masks: &TextMasks,
    key: Option<&str>,
    text: &[u8],
) -> Result<(Option<Vec<u8>>, Vec<TextHit>), RedactError> {
    let mut redactor = TextRedactor::of_member(kind, masks, key);
    let mut out = Vec::with_capacity(text.len());
    redactor.push(text, &mut out)?;
    redactor.finish(&mut out)?;
    let hits = redactor.take_hits();
    let changed = !hits.is_empty() && out != text;
    Ok((changed.then_some(out), hits))
}

/// What one leaf gets.
#[derive(Default)]
struct Job<'s> {
    kind: Option<TextKind>,
    channel: Option<&'s str>,
    dialect_text: bool,
    masks: Vec<usize>,
}

/// Masks every text of a document but those of `done`.
pub(super) fn mask_document(
    plan: &MaskPlan,
    document: &Document<'_>,
    slots: &Slots,
    done: &BTreeSet<NodeId>,
    edits: &mut Edits,
    hits: &mut Vec<Hit>,
) -> Result<(), RedactError> {
    // What is replaced altogether, by first byte: nothing inside is edited again.
    let mut replaced: BTreeMap<NodeId, Vec<u8>> = BTreeMap::new();
    for &echo in &slots.echoes {
        replaced.insert(echo, b"null".to_vec());
    }
    let mut jobs: BTreeMap<NodeId, Job<'_>> = BTreeMap::new();
    for slot in &slots.texts {
        let job = jobs.entry(slot.node).or_default();
        job.kind = Some(slot.kind);
        job.channel = Some(&slot.channel);
        job.dialect_text = true;
    }
    for (number, nodes) in plan.selected(document)? {
        for node in nodes {
            let leaf = matches!(document.kind(node), Kind::String | Kind::Number);
            match plan.whole_replacement(number) {
                Some((whole, text)) if !leaf => {
                    if document.kind(node) != Kind::Null && !replaced.contains_key(&node) {
                        let mut quoted = Vec::new();
                        write_string(text, &mut quoted);
                        replaced.insert(node, quoted);
                        hits.push(whole_hit(document, node, &whole.rule, whole.transform.name()));
                    }
                }
                _ => {
                    for below in document.subtree(node) {
                        if matches!(document.kind(below), Kind::String | Kind::Number) {
                            jobs.entry(below).or_default().masks.push(number);
                        }
                    }
                }
            }
        }
    }
    if plan.everywhere() {
        for node in document.subtree(document.root()) {
            if matches!(document.kind(node), Kind::String | Kind::Number) {
                jobs.entry(node).or_default().dialect_text = true;
            }
        }
        mask_keys(plan, document, edits, hits)?;
    }
    for node in done {
        jobs.remove(node);
    }
    let mut behind = 0;
    for (node, text) in replaced {
        let range = document.range(node);
        if range.start >= behind {
            behind = range.end;
            edits.add(range, text);
        }
    }
    for (node, job) in jobs {
        if !edits.cover(&document.range(node)) {
            mask_leaf(plan, document, node, &job, edits, hits)?;
        }
    }
    Ok(())
}

fn mask_leaf(
    plan: &MaskPlan,
    document: &Document<'_>,
    node: NodeId,
    job: &Job<'_>,
    edits: &mut Edits,
    hits: &mut Vec<Hit>,
) -> Result<(), RedactError> {
    let text = text_of(document, node);
    // Without a name to go by, the built-in detectors find nothing in a number this short.
    let short_number =
        document.kind(node) == Kind::Number && text.len() < NUMBER_BYTES_MIN && document.key(node).is_none();
    if short_number && job.masks.is_empty() {
        return Ok(());
    }
    let masks = plan.of_text(job.dialect_text, &job.masks);
    if masks.is_empty() {
        return Ok(());
    }
    let kind = job.kind.unwrap_or(TextKind::Plain);
    let (masked, found) = mask_member(kind, &masks, enclosing_key(document, node).as_deref(), &text)?;
    if let Some(masked) = masked {
        let mut quoted = Vec::with_capacity(masked.len() + 2);
        write_string(&masked, &mut quoted);
        edits.add(document.range(node), quoted);
    }
    if !found.is_empty() {
        let pointer = pointer(document, node);
        let channel = job.channel.unwrap_or(&pointer);
        hits.extend(found.into_iter().map(|hit| hit.at(&pointer, channel)));
    }
    Ok(())
}

/// The name of the member that holds a value, or the array that holds it.
fn enclosing_key<'b>(document: &'b Document<'_>, node: NodeId) -> Option<Cow<'b, str>> {
    let mut at = node;
    loop {
        if let Some(key) = document.key(at) {
            return Some(key);
        }
        at = document.parent(at)?;
    }
}

fn mask_keys(
    plan: &MaskPlan,
    document: &Document<'_>,
    edits: &mut Edits,
    hits: &mut Vec<Hit>,
) -> Result<(), RedactError> {
    let masks = plan.of_text(true, &[]);
    for node in document.subtree(document.root()) {
        let (Some(raw), Some(range)) = (document.raw_key(node), document.key_range(node)) else {
            continue;
        };
        let (masked, found) = mask_text(TextKind::Plain, &masks, &unescaped(raw))?;
        if let Some(masked) = masked {
            let mut quoted = Vec::new();
            write_string(&masked, &mut quoted);
            edits.add(range, quoted);
            let pointer = pointer(document, node);
            hits.extend(found.into_iter().map(|hit| hit.at(&pointer, "name")));
        }
    }
    Ok(())
}

fn whole_hit(document: &Document<'_>, node: NodeId, rule: &Arc<str>, action: &'static str) -> Hit {
    let pointer = pointer(document, node);
    Hit {
        rule: Arc::clone(rule),
        detector: Arc::from("value"),
        tier: Tier::Path,
        channel: pointer.clone(),
        pointer,
        offset: 0,
        length: u32::try_from(document.range(node).len()).unwrap_or(u32::MAX),
        action,
    }
}

/// The text of a string, the spelling of anything else.
fn text_of<'b>(document: &Document<'b>, node: NodeId) -> Cow<'b, [u8]> {
    match document.raw_string(node) {
        Some(raw) => unescaped(raw),
        None => Cow::Borrowed(document.raw(node)),
    }
}

fn unescaped(raw: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\\', raw).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut text = Vec::with_capacity(raw.len());
    let mut carry = None;
    json::unescape_carrying(raw, &mut carry, &mut text);
    json::finish_carry(&mut carry, &mut text);
    Cow::Owned(text)
}

/// A JSON pointer (RFC 6901) that names members only from the dialect's schema (DECISIONS 20).
fn pointer(document: &Document<'_>, node: NodeId) -> String {
    let mut steps = Vec::new();
    let mut at = node;
    while let Some(parent) = document.parent(at) {
        steps.push(match document.key(at) {
            Some(key) if is_schema_name(&key) => key.into_owned(),
            Some(_) => "*".to_owned(),
            None => document.children(parent).position(|child| child == at).unwrap_or_default().to_string(),
        });
        at = parent;
    }
    steps.iter().rev().fold(String::new(), |mut pointer, step| {
        pointer.push('/');
        pointer.push_str(step);
        pointer
    })
}

/// Replacements in a text, by place.
#[derive(Debug, Default)]
pub(super) struct Edits {
    by_start: BTreeMap<usize, (usize, Vec<u8>)>,
}

impl Edits {
    /// Replaces a range. Ranges do not overlap.
    pub(super) fn add(&mut self, range: Range<usize>, text: Vec<u8>) {
        self.by_start.insert(range.start, (range.end, text));
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.by_start.is_empty()
    }

    /// Whether a replacement holds this range.
    pub(super) fn cover(&self, range: &Range<usize>) -> bool {
        self.by_start.range(..=range.start).next_back().is_some_and(|(_, (end, _))| *end >= range.end)
    }

    /// The text with its replacements.
    pub(super) fn apply<'b>(&self, text: &'b [u8]) -> Cow<'b, [u8]> {
        if self.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = Vec::with_capacity(text.len() + 32);
        let mut at = 0;
        for (&start, (end, replacement)) in &self.by_start {
            // A replacement inside another one is void.
            if start < at {
                continue;
            }
            out.extend_from_slice(text.get(at..start).unwrap_or_default());
            out.extend_from_slice(replacement);
            at = *end;
        }
        out.extend_from_slice(text.get(at..).unwrap_or_default());
        Cow::Owned(out)
    }
}
