//! A text channel: the core behind the form that its text has.

use super::arguments::Arguments;
use super::channel::{Core, Masked, Sink, UseSet};
use super::substitutes::Substitutes;
use super::transform::Transform;
use super::{Hit, Tier};
use crate::detect::{CEILING, CeilingExceeded};
use crate::dialect::TextKind;
use std::rc::Rc;
use std::sync::Arc;

/// The masks that meet one text.
#[derive(Clone, Debug)]
pub(crate) struct TextMasks {
    /// What is looked for in it.
    pub(crate) uses: Arc<UseSet>,
    /// What replaces it altogether.
    pub(crate) whole: Option<WholeMask>,
    /// What keyed replacements are made with.
    pub(crate) with: Option<Rc<Substitutes>>,
}

/// A mask without matchers.
#[derive(Clone, Debug)]
pub(crate) struct WholeMask {
    /// The rule that asked for it.
    pub(crate) rule: Arc<str>,
    /// What stands in its place.
    pub(crate) transform: Transform,
}

impl TextMasks {
    /// Whether nothing is masked.
    pub(crate) fn is_empty(&self) -> bool {
        self.uses.is_empty() && self.whole.is_none()
    }
}

/// One hit inside a text, without its place in the body.
#[derive(Clone, Debug)]
pub(crate) struct TextHit {
    pub(crate) rule: Arc<str>,
    pub(crate) detector: Arc<str>,
    pub(crate) tier: Tier,
    pub(crate) offset: u64,
    pub(crate) length: u32,
    pub(crate) action: &'static str,
}

impl TextHit {
    /// The hit of a span.
    pub(crate) fn of(masked: &Masked<'_>) -> Self {
        Self {
            rule: Arc::clone(&masked.by.rule),
            detector: Arc::clone(&masked.by.detector),
            tier: masked.by.tier.shown(masked.by_context),
            offset: masked.offset,
            length: u32::try_from(masked.text.len()).unwrap_or(u32::MAX),
            action: masked.by.transform.name(),
        }
    }

    /// The hit of a whole value.
    pub(crate) fn whole(rule: &Arc<str>, length: usize, action: &'static str) -> Self {
        let (rule, detector) = (Arc::clone(rule), Arc::from("value"));
        Self { rule, detector, tier: Tier::Path, offset: 0, length: u32::try_from(length).unwrap_or(u32::MAX), action }
    }

    /// The hit at its place.
    pub(crate) fn at(self, pointer: &str, channel: &str) -> Hit {
        Hit {
            rule: self.rule,
            detector: self.detector,
            tier: self.tier,
            pointer: pointer.to_owned(),
            channel: channel.to_owned(),
            offset: self.offset,
            length: self.length,
            action: self.action,
        }
    }
}

/// The masking state of one text.
#[derive(Debug)]
pub(crate) struct TextRedactor {
    form: Form,
    with: Option<Rc<Substitutes>>,
    hits: Vec<TextHit>,
}

#[derive(Debug)]
enum Form {
    /// No mask meets it.
    Passes,
    Plain(Core),
    Json(Arguments),
    Whole(Whole),
}

/// A text that is replaced as a whole.
#[derive(Debug)]
struct Whole {
    mask: WholeMask,
    kind: TextKind,
    length: u64,
    /// What a replacement that depends on the value needs to see to the end, and what else is looked for in it.
    held: Vec<u8>,
    /// The value was too long for that, so its label stands there already.
    labelled: bool,
    inside: Arc<UseSet>,
}

impl TextRedactor {
    /// The state before the first piece.
    pub(crate) fn new(kind: TextKind, masks: &TextMasks) -> Self {
        let form = match (&masks.whole, kind) {
            _ if masks.is_empty() => Form::Passes,
            (Some(mask), kind) => Form::Whole(Whole {
                mask: mask.clone(),
                kind,
                length: 0,
                held: Vec::new(),
                labelled: false,
                inside: Arc::clone(&masks.uses),
            }),
            (None, TextKind::Plain) => Form::Plain(Core::new(Arc::clone(&masks.uses))),
            (None, TextKind::Json) => Form::Json(Arguments::new(Arc::clone(&masks.uses))),
        };
        Self { form, with: masks.with.clone(), hits: Vec::new() }
    }

    /// The same, for the value of a JSON member: its name is context for what needs some.
    pub(crate) fn of_member(kind: TextKind, masks: &TextMasks, key: Option<&str>) -> Self {
        let mut redactor = Self::new(kind, masks);
        if let Form::Plain(core) = &mut redactor.form {
            core.set_key(key.map(Arc::from));
        }
        redactor
    }

    /// Takes a piece and appends what can be released.
    ///
    /// # Errors
    /// [`CeilingExceeded`]
    pub(crate) fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), CeilingExceeded> {
        let (hits, with) = (&mut self.hits, self.with.as_deref());
        match &mut self.form {
            Form::Passes => out.extend_from_slice(piece),
            Form::Plain(core) => core.feed(piece, false, &mut Plain { out, hits, with })?,
            Form::Json(arguments) => arguments.push(piece, Written { out, hits, with })?,
            Form::Whole(whole) => whole.push(piece, out, hits),
        }
        Ok(())
    }

    /// Ends the text and appends the rest.
    ///
    /// # Errors
    /// [`CeilingExceeded`]
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), CeilingExceeded> {
        let (hits, with) = (&mut self.hits, self.with.as_deref());
        match &mut self.form {
            Form::Passes => Ok(()),
            Form::Plain(core) => core.feed(&[], true, &mut Plain { out, hits, with }),
            Form::Json(arguments) => arguments.finish(Written { out, hits, with }),
            Form::Whole(whole) => whole.finish(out, hits, with),
        }
    }

    /// The hits since the last call.
    pub(crate) fn take_hits(&mut self) -> Vec<TextHit> {
        std::mem::take(&mut self.hits)
    }
}

/// Where a text goes, and what is noted on the way.
pub(crate) struct Written<'a> {
    pub(crate) out: &'a mut Vec<u8>,
    pub(crate) hits: &'a mut Vec<TextHit>,
    pub(crate) with: Option<&'a Substitutes>,
}

struct Plain<'a> {
    out: &'a mut Vec<u8>,
    hits: &'a mut Vec<TextHit>,
    with: Option<&'a Substitutes>,
}

impl Sink for Plain<'_> {
    fn keep(&mut self, text: &[u8]) {
        self.out.extend_from_slice(text);
    }

    fn mask(&mut self, masked: Masked<'_>) {
        let Some(replacement) = masked.by.transform.apply(masked.text, self.with) else {
            return self.keep(masked.text);
        };
        self.out.extend_from_slice(&replacement);
        self.hits.push(TextHit::of(&masked));
    }
}

impl Whole {
    fn push(&mut self, piece: &[u8], out: &mut Vec<u8>, hits: &mut Vec<TextHit>) {
        if piece.is_empty() || self.labelled {
            return;
        }
        let first = self.length == 0;
        self.length += piece.len() as u64;
        if self.mask.transform.reads_value() {
            self.held.extend_from_slice(piece);
            if self.held.len() > CEILING {
                self.held = Vec::new();
                self.labelled = true;
                self.replace(&TOO_LONG, &[], None, out, hits);
            }
        } else if first {
            let transform = self.mask.transform.clone();
            self.replace(&transform, &[], None, out, hits);
        }
    }

    fn finish(
        &mut self,
        out: &mut Vec<u8>,
        hits: &mut Vec<TextHit>,
        with: Option<&Substitutes>,
    ) -> Result<(), CeilingExceeded> {
        if self.held.is_empty() {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        // A hit inside shares bytes with the whole value: the more destructive transform wins for all of it.
        let mut inner = Strongest(self.mask.transform.clone());
        Core::new(Arc::clone(&self.inside)).feed(&held, true, &mut inner)?;
        self.replace(&inner.0, &held, with, out, hits);
        Ok(())
    }

    fn replace(
        &self,
        transform: &Transform,
        value: &[u8],
        with: Option<&Substitutes>,
        out: &mut Vec<u8>,
        hits: &mut Vec<TextHit>,
    ) {
        if let Some(replacement) = transform.apply(value, with) {
            self.write(&replacement, out);
            hits.push(self.hit(transform));
        }
    }

    fn write(&self, replacement: &[u8], out: &mut Vec<u8>) {
        match self.kind {
            TextKind::Plain => out.extend_from_slice(replacement),
            TextKind::Json => crate::json::write_string(replacement, out),
        }
    }

    fn hit(&self, transform: &Transform) -> TextHit {
        TextHit {
            rule: Arc::clone(&self.mask.rule),
            detector: Arc::from("value"),
            tier: Tier::Path,
            offset: 0,
            length: u32::try_from(self.length).unwrap_or(u32::MAX),
            action: transform.name(),
        }
    }
}

/// What becomes of a whole value that is longer than one that can be held.
const TOO_LONG: Transform = Transform::Label("[MASKED]");

struct Strongest(Transform);

impl Sink for Strongest {
    fn keep(&mut self, _: &[u8]) {}

    fn mask(&mut self, masked: Masked<'_>) {
        if masked.by.transform.mildness() < self.0.mildness() {
            self.0 = masked.by.transform.clone();
        }
    }
}
