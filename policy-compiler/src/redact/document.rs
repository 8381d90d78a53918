//! Masks the texts of one JSON document: of a whole body, or of an event that carries parts of one.

use super::edits::Edits;
use super::plan::MaskPlan;
use super::text::{TextHit, TextMasks, TextRedactor};
use super::{Hit, RedactError, Tier};
use crate::detect::NUMBER_BYTES_MIN;
use crate::dialect::{Operation, SlotForm, Slots, Taken, TextKind};
use crate::json::{self, Document, Kind, NodeId, write_string};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Choices and items whose text was changed; `None` is what belongs to no single one.
pub(super) type Changed = BTreeSet<Option<u32>>;

/// A part of a document that is a part of the non-streamed form.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Where it stands in the document.
    pub(crate) node: NodeId,
    /// Where it stands in the whole form.
    pub(crate) way: Vec<Taken>,
}

/// What one value gets.
#[derive(Debug)]
struct Job {
    form: SlotForm,
    channel: Option<String>,
    group: Option<u32>,
    dialect_text: bool,
    masks: Vec<usize>,
    part: usize,
}

/// Gathers what is to be done to a document, then does it.
#[derive(Debug)]
pub(super) struct Masker<'a, 'b> {
    plan: &'a MaskPlan,
    operation: Operation,
    document: &'a Document<'b>,
    parts: Vec<Part>,
    jobs: BTreeMap<NodeId, Job>,
    /// What is replaced altogether: nothing inside is edited again.
    replaced: BTreeMap<NodeId, (Vec<u8>, Option<Hit>)>,
    echoes: Vec<(NodeId, Option<u32>)>,
    /// JSON values that are masked leaf by leaf.
    leafwise: Vec<NodeId>,
    /// Members and elements that are taken out.
    removed: BTreeSet<NodeId>,
    dropped: Vec<Hit>,
}

impl<'a, 'b> Masker<'a, 'b> {
    /// Nothing to do yet.
    pub(super) fn new(plan: &'a MaskPlan, operation: Operation, document: &'a Document<'b>) -> Self {
        let whole = Part { node: document.root(), way: Vec::new() };
        Self {
            plan,
            operation,
            document,
            parts: vec![whole],
            jobs: BTreeMap::new(),
            replaced: BTreeMap::new(),
            echoes: Vec::new(),
            leafwise: Vec::new(),
            removed: BTreeSet::new(),
            dropped: Vec::new(),
        }
    }

    /// Texts that stand in the document itself.
    pub(super) fn add_slots(&mut self, slots: Slots) {
        self.add_slots_of(slots, 0);
    }

    /// A part of the non-streamed form, with its texts and what the paths of the policy select in it.
    pub(super) fn add_part(&mut self, part: Part, slots: Slots) -> Result<(), RedactError> {
        let number = self.parts.len();
        self.parts.push(part.clone());
        self.add_slots_of(slots, number);
        self.select(&part, number)
    }

    /// A whole body.
    pub(super) fn add_whole(&mut self, slots: Slots) -> Result<(), RedactError> {
        let whole = Part { node: self.document.root(), way: Vec::new() };
        self.add_slots(slots);
        self.select(&whole, 0)
    }

    fn add_slots_of(&mut self, slots: Slots, part: usize) {
        for slot in slots.texts {
            let job = Job {
                form: slot.form,
                channel: Some(slot.channel),
                group: slot.group,
                dialect_text: true,
                masks: Vec::new(),
                part,
            };
            self.jobs.insert(slot.node, job);
        }
        self.echoes.extend(slots.echoes);
        for node in slots.unread {
            self.replaced.insert(node, (nothing(self.document.kind(node)), None));
        }
    }

    fn select(&mut self, part: &Part, number: usize) -> Result<(), RedactError> {
        for (mask, nodes) in self.plan.selected(self.document, part)? {
            for node in nodes {
                self.select_node(node, mask, number);
            }
        }
        Ok(())
    }

    fn select_node(&mut self, node: NodeId, mask: usize, part: usize) {
        if let Some(rule) = self.plan.drops(mask) {
            if self.removed.insert(node) {
                let hit = self.whole_hit(node, part, rule, "drop");
                self.dropped.push(hit);
            }
            return;
        }
        let leaf = matches!(self.document.kind(node), Kind::String | Kind::Number);
        let empty = self.document.children(node).next().is_none();
        match self.plan.whole_replacement(mask, self.document.raw(node)) {
            Some((whole, text)) if !leaf => {
                let container = matches!(self.document.kind(node), Kind::Object | Kind::Array);
                if self.document.kind(node) != Kind::Null && !(container && empty) && !self.replaced.contains_key(&node)
                {
                    let mut quoted = Vec::new();
                    write_string(&text, &mut quoted);
                    let hit = self.whole_hit(node, part, &whole.rule, whole.transform.name());
                    self.replaced.insert(node, (quoted, Some(hit)));
                }
            }
            _ if self.jobs.get(&node).is_some_and(|job| job.form == SlotForm::Tree) => {
                if let Some(job) = self.jobs.get_mut(&node) {
                    job.masks.push(mask);
                }
            }
            _ => {
                self.split_trees_around(node);
                for below in self.document.subtree(node) {
                    if matches!(self.document.kind(below), Kind::String | Kind::Number) {
                        self.job(below, part).masks.push(mask);
                    }
                }
            }
        }
    }

    /// A path reaches into a JSON value, or holds it: its leaves are masked one by one then.
    fn split_trees_around(&mut self, node: NodeId) {
        let range = self.document.range(node);
        let meets = |tree: &NodeId| {
            let tree = self.document.range(*tree);
            tree.start < range.end && range.start < tree.end
        };
        let trees: Vec<NodeId> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.form == SlotForm::Tree)
            .map(|(node, _)| *node)
            .filter(meets)
            .collect();
        for tree in trees {
            let Some(job) = self.jobs.remove(&tree) else { continue };
            self.leafwise.push(tree);
            for below in self.document.subtree(tree) {
                if matches!(self.document.kind(below), Kind::String | Kind::Number) {
                    let leaf = self.job(below, job.part);
                    leaf.dialect_text = true;
                    leaf.group = job.group;
                    leaf.channel.clone_from(&job.channel);
                }
            }
        }
    }

    fn job(&mut self, node: NodeId, part: usize) -> &mut Job {
        self.jobs.entry(node).or_insert(Job {
            form: SlotForm::String(TextKind::Plain),
            channel: None,
            group: None,
            dialect_text: false,
            masks: Vec::new(),
            part,
        })
    }

    /// These are taken out; who asked for it knows already.
    pub(super) fn take_out(&mut self, nodes: impl IntoIterator<Item = NodeId>) {
        self.removed.extend(nodes);
    }

    /// These are masked elsewhere.
    pub(super) fn leave(&mut self, nodes: impl IntoIterator<Item = NodeId>) {
        for node in nodes {
            self.jobs.remove(&node);
        }
    }

    /// For a plan that looks everywhere: every string, number and member name. Call it before [`Self::leave`].
    pub(super) fn add_everything(&mut self) {
        self.jobs.retain(|_, job| job.form != SlotForm::Tree);
        for node in self.document.subtree(self.document.root()) {
            if matches!(self.document.kind(node), Kind::String | Kind::Number) {
                self.job(node, 0).dialect_text = true;
            }
        }
        self.leafwise = vec![self.document.root()];
    }

    /// Masks. `changed` says whose text was changed outside this document already, and then also what was in it.
    pub(super) fn run(
        mut self,
        changed: &mut Changed,
        edits: &mut Edits,
        hits: &mut Vec<Hit>,
    ) -> Result<(), RedactError> {
        for node in std::mem::take(&mut self.leafwise) {
            self.mask_names(node, edits, hits)?;
        }
        let mut behind = 0;
        for (node, (text, hit)) in std::mem::take(&mut self.replaced) {
            let range = self.document.range(node);
            if range.start >= behind {
                behind = range.end;
                edits.add(range, text);
                if let Some(hit) = hit {
                    changed.insert(None);
                    hits.push(hit);
                }
            }
        }
        for (node, job) in std::mem::take(&mut self.jobs) {
            if !edits.cover(&self.document.range(node)) {
                self.mask_value(node, &job, changed, edits, hits)?;
            }
        }
        if !self.dropped.is_empty() {
            changed.insert(None);
            hits.append(&mut self.dropped);
        }
        self.drop_echoes(changed, edits)?;
        self.remove(edits);
        Ok(())
    }

    fn mask_value(
        &mut self,
        node: NodeId,
        job: &Job,
        changed: &mut Changed,
        edits: &mut Edits,
        hits: &mut Vec<Hit>,
    ) -> Result<(), RedactError> {
        let kind = match job.form {
            SlotForm::String(kind) => kind,
            SlotForm::Tree => TextKind::Json,
            SlotForm::Signed => TextKind::Plain,
        };
        let text = match job.form {
            SlotForm::Tree => Cow::Borrowed(self.document.raw(node)),
            _ => text_of(self.document, node),
        };
        // Without a name to go by, the built-in detectors find nothing in a number this short.
        let short_number = self.document.kind(node) == Kind::Number
            && text.len() < NUMBER_BYTES_MIN
            && self.document.key(node).is_none();
        if short_number && job.masks.is_empty() {
            return Ok(());
        }
        let masks = self.plan.of_text(job.dialect_text, &job.masks);
        if masks.is_empty() {
            return Ok(());
        }
        let (masked, found) = mask_member(kind, &masks, enclosing_key(self.document, node).as_deref(), &text)?;
        if let Some(masked) = masked {
            changed.insert(job.group);
            if job.form == SlotForm::Tree {
                edits.add(self.document.range(node), masked);
            } else {
                let mut quoted = Vec::with_capacity(masked.len() + 2);
                write_string(&masked, &mut quoted);
                edits.add(self.document.range(node), quoted);
            }
            if job.form == SlotForm::Signed && !self.plan.everywhere() {
                self.unsign(node, edits);
            }
        }
        if !found.is_empty() {
            let pointer = self.pointer(node, job.part);
            let channel = job.channel.as_deref().unwrap_or(&pointer);
            hits.extend(found.into_iter().map(|hit| hit.at(&pointer, channel)));
        }
        Ok(())
    }

    /// A signature holds for the unmasked text only: the block goes, or where it cannot, its signature.
    fn unsign(&mut self, text: NodeId, edits: &mut Edits) {
        let Some(block) = self.document.parent(text) else { return };
        let list = self.document.parent(block);
        if list.is_some_and(|list| self.document.kind(list) == Kind::Array) {
            self.removed.insert(block);
        } else if let Ok(Some(signature)) = self.document.get(block, "signature") {
            edits.add(self.document.range(signature), b"\"\"".to_vec());
        }
    }

    /// Takes members and elements out, each with the comma behind it; the last ones go with the comma before them.
    fn remove(&self, edits: &mut Edits) {
        let holders: BTreeSet<NodeId> = self.removed.iter().filter_map(|node| self.document.parent(*node)).collect();
        // A member begins with its name.
        let start = |node: NodeId| self.document.key_range(node).unwrap_or_else(|| self.document.range(node)).start;
        for holder in holders {
            let entries: Vec<NodeId> = self.document.children(holder).collect();
            let kept = entries.iter().rposition(|entry| !self.removed.contains(entry));
            for (number, pair) in entries.windows(2).enumerate() {
                if let [entry, next] = pair
                    && self.removed.contains(entry)
                    && kept.is_some_and(|kept| number < kept)
                {
                    edits.add(start(*entry)..start(*next), Vec::new());
                }
            }
            let holder = self.document.range(holder);
            let from =
                kept.and_then(|kept| entries.get(kept)).map_or(holder.start + 1, |kept| self.document.range(*kept).end);
            let to = entries.last().map_or(from, |last| self.document.range(*last).end);
            if from < to {
                edits.add(from..to, Vec::new());
            }
        }
    }

    /// What repeats a changed text goes, and what would spell something by itself.
    fn drop_echoes(&self, changed: &Changed, edits: &mut Edits) -> Result<(), RedactError> {
        let masks = self.plan.of_text(true, &[]);
        for &(node, group) in &self.echoes {
            let stale = changed.contains(&None) || changed.contains(&group) || (group.is_none() && !changed.is_empty());
            if stale || self.spells(node, &masks)? {
                edits.add(self.document.range(node), nothing(self.document.kind(node)));
            }
        }
        Ok(())
    }

    fn spells(&self, node: NodeId, masks: &TextMasks) -> Result<bool, RedactError> {
        for below in self.document.subtree(node) {
            if self.document.kind(below) == Kind::String {
                let (_, hits) = mask_text(TextKind::Plain, masks, &text_of(self.document, below))?;
                if !hits.is_empty() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn mask_names(&self, root: NodeId, edits: &mut Edits, hits: &mut Vec<Hit>) -> Result<(), RedactError> {
        let masks = self.plan.of_text(true, &[]);
        for node in self.document.subtree(root) {
            let (Some(raw), Some(range)) = (self.document.raw_key(node), self.document.key_range(node)) else {
                continue;
            };
            let (masked, found) = mask_text(TextKind::Plain, &masks, &unescaped(raw))?;
            if let Some(masked) = masked {
                let mut quoted = Vec::new();
                write_string(&masked, &mut quoted);
                edits.add(range, quoted);
                let pointer = self.pointer(node, 0);
                hits.extend(found.into_iter().map(|hit| hit.at(&pointer, "name")));
            }
        }
        Ok(())
    }

    fn whole_hit(&self, node: NodeId, part: usize, rule: &Arc<str>, action: &'static str) -> Hit {
        let pointer = self.pointer(node, part);
        Hit {
            rule: Arc::clone(rule),
            detector: Arc::from("value"),
            tier: Tier::Path,
            channel: pointer.clone(),
            pointer,
            offset: 0,
            length: u32::try_from(self.document.range(node).len()).unwrap_or(u32::MAX),
            action,
        }
    }

    /// A JSON pointer (RFC 6901) into the whole form that names members only from the dialect's tables (DECISIONS 20).
    fn pointer(&self, node: NodeId, part: usize) -> String {
        let base = self.parts.get(part);
        let root = base.map_or(self.document.root(), |part| part.node);
        let mut steps = Vec::new();
        let mut at = node;
        while at != root
            && let Some(parent) = self.document.parent(at)
        {
            steps.push(match self.document.key(at) {
                Some(key) if self.operation.names(&key) => key.into_owned(),
                Some(_) => "*".to_owned(),
                None => self.document.children(parent).position(|child| child == at).unwrap_or_default().to_string(),
            });
            at = parent;
        }
        let mut pointer = base.map_or_else(String::new, |part| pointer_to(&part.way));
        for step in steps.iter().rev() {
            pointer.push('/');
            pointer.push_str(step);
        }
        pointer
    }
}

/// A way as a JSON pointer.
pub(super) fn pointer_to(way: &[Taken]) -> String {
    let mut pointer = String::new();
    for step in way {
        pointer.push('/');
        match step {
            Taken::Name(name) => pointer.push_str(name),
            Taken::At(at) => pointer.push_str(&at.to_string()),
        }
    }
    pointer
}

/// What stands in the place of something that goes: nothing, in the form that its readers expect.
fn nothing(kind: Kind) -> Vec<u8> {
    match kind {
        Kind::Array => b"[]".to_vec(),
        Kind::String => b"\"\"".to_vec(),
        Kind::Number => b"0".to_vec(),
        _ => b"null".to_vec(),
    }
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

/// The text of a string, the spelling of anything else.
pub(super) fn text_of<'b>(document: &Document<'b>, node: NodeId) -> Cow<'b, [u8]> {
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
