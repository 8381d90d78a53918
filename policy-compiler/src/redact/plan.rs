//! Which masks meet which text.

use super::Tier;
use super::channel::{Use, UseSet, Wanted};
use super::document::{Part, mask_text};
use super::substitutes::{PLACEHOLDER, Substitutes};
use super::text::{TextMasks, WholeMask};
use super::transform::Transform;
use crate::detect::{DetectorIndex, Pattern, Words, detector, index_of};
use crate::dialect::{Operation, Step, Taken, TextKind, WalkError, steps};
use crate::json::{Document, NodeId};
use policy_lang::catalogue::{DetectorTier, detectors};
use policy_lang::{JsonPath, Mask, Matcher, PathSegment, Selector, Side, Transform as MaskTransform};
use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

/// What stands in the place of a regex hit or a whole value.
const MASKED: &str = "[MASKED]";
/// The rule named by the hits of the recorded copy's own detectors (DECISIONS 15).
const RECORD_RULE: &str = "record";
/// The rule named where a value was put back.
const RESTORE_RULE: &str = "token";

/// The masks of one call and one side, compiled. Cheap to clone; one plan serves any number of calls and threads.
///
/// Making a plan compiles its regexes, so plans are kept with the policy, by the set of masks that a decision names.
#[derive(Clone, Debug)]
pub struct MaskPlan {
    inner: Arc<Inner>,
    /// Of one call.
    with: Option<Rc<Substitutes>>,
}

#[derive(Debug)]
struct Inner {
    side: Side,
    masks: Vec<PlannedMask>,
    everywhere: bool,
    /// The masks of a text that no path selects.
    uses_of_texts: Arc<UseSet>,
    whole_of_texts: Option<WholeMask>,
}

#[derive(Debug)]
struct PlannedMask {
    rule: Arc<str>,
    /// `None`: every text of the dialect.
    path: Option<JsonPath>,
    uses: Vec<Use>,
    whole: Option<WholeMask>,
    /// The value itself is taken out.
    drops: bool,
}

/// Why masks cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A regex does not compile within the limits.
    #[error("rule {rule}: the regex cannot be used for masking: {message}")]
    Regex {
        /// Whose it is.
        rule: String,
        /// What is wrong with it.
        message: String,
    },
    /// There is no such detector.
    #[error("rule {rule}: there is no detector {name}")]
    Detector {
        /// Whose it is.
        rule: String,
        /// What it asked for.
        name: String,
    },
    /// A literal would be masked again (DECISIONS 17).
    #[error(
        "rule {rule}: the text {literal:?} in the place of a hit would itself be found by {found}; write another one"
    )]
    Literal {
        /// Whose it is.
        rule: String,
        /// The text.
        literal: String,
        /// What finds it.
        found: String,
    },
    /// Nothing comes after an answer in which a value could be put back.
    #[error("rule {rule}: `as token` in an answer can never be put back; write `as hash` to keep equal texts equal")]
    TokenInAnswer {
        /// Whose it is.
        rule: String,
    },
}

impl MaskPlan {
    /// The masks that change what is delivered: those of `side` that are not for the recorded copy only.
    ///
    /// # Errors
    /// [`PlanError`]
    pub fn new<'m>(side: Side, masks: impl IntoIterator<Item = (&'m str, &'m Mask)>) -> Result<Self, PlanError> {
        let masks = masks.into_iter().filter(|(_, mask)| !mask.record_only);
        Ok(Self::with(side, planned(side, masks)?, false))
    }

    /// The masks of the recorded copy: those of `side` that are for it only, and every built-in detector of tier V over
    /// every string, member name and number of the body (DECISIONS 15).
    ///
    /// # Errors
    /// [`PlanError`]
    pub fn recorded<'m>(side: Side, masks: impl IntoIterator<Item = (&'m str, &'m Mask)>) -> Result<Self, PlanError> {
        let masks = masks.into_iter().filter(|(_, mask)| mask.record_only);
        let mut planned = planned(side, masks)?;
        planned.push(every_validated());
        Ok(Self::with(side, planned, true))
    }

    /// The masks of answers that are errors: what is delivered of them is masked like any text, and by every built-in detector of tier V,
    /// since what stands where in an error nobody knows.
    ///
    /// # Errors
    /// [`PlanError`]
    pub fn of_errors<'m>(masks: impl IntoIterator<Item = (&'m str, &'m Mask)>) -> Result<Self, PlanError> {
        let mut plan = planned(Side::Response, masks.into_iter().filter(|(_, mask)| !mask.record_only))?;
        plan.push(every_validated());
        Ok(Self::with(Side::Response, plan, true))
    }

    /// The masks of `side` over every string, member name and number of a body, whatever API it is of.
    ///
    /// # Errors
    /// [`PlanError`]
    pub fn over_everything<'m>(
        side: Side,
        masks: impl IntoIterator<Item = (&'m str, &'m Mask)>,
    ) -> Result<Self, PlanError> {
        let masks = masks.into_iter().filter(|(_, mask)| !mask.record_only);
        Ok(Self::with(side, planned(side, masks)?, true))
    }

    /// Masks nothing.
    #[must_use]
    pub fn empty(side: Side) -> Self {
        Self::with(side, Vec::new(), false)
    }

    fn with(side: Side, masks: Vec<PlannedMask>, everywhere: bool) -> Self {
        let TextMasks { uses, whole, .. } = combine(masks.iter().filter(|mask| mask.path.is_none()), None);
        let inner = Inner { side, masks, everywhere, uses_of_texts: uses, whole_of_texts: whole };
        Self { inner: Arc::new(inner), with: None }
    }

    /// Puts values back where an answer has the placeholders that stand for them. It looks for nothing else, and what it cannot read
    /// passes as it is: a placeholder that stays gives nothing away.
    ///
    /// # Errors
    /// [`PlanError`] if the pattern of placeholders does not compile.
    pub fn restoring(substitutes: Rc<Substitutes>) -> Result<Self, PlanError> {
        let rule: Arc<str> = Arc::from(RESTORE_RULE);
        let pattern =
            Pattern::new(PLACEHOLDER).map_err(|message| PlanError::Regex { rule: RESTORE_RULE.to_owned(), message })?;
        let uses = vec![Use {
            wanted: Wanted::Regex(Arc::new(pattern), None),
            rule: Arc::clone(&rule),
            detector: Arc::from("token"),
            tier: Tier::Custom,
            transform: Transform::Restore,
        }];
        let mask = PlannedMask { rule, path: None, uses, whole: None, drops: false };
        Ok(Self::with(Side::Response, vec![mask], false).keyed(substitutes))
    }

    /// The same plan for one call, whose hashes and tokens are made with these.
    #[must_use]
    pub fn keyed(mut self, substitutes: Rc<Substitutes>) -> Self {
        self.with = Some(substitutes);
        self
    }

    /// Whether a mask needs the keys of [`Self::keyed`].
    #[must_use]
    pub fn needs_keys(&self) -> bool {
        self.transforms().any(|transform| matches!(transform, Transform::Hash(_) | Transform::Token(_)))
    }

    /// Whether a mask issues tokens.
    #[must_use]
    pub fn issues_tokens(&self) -> bool {
        self.transforms().any(|transform| matches!(transform, Transform::Token(_)))
    }

    fn transforms(&self) -> impl Iterator<Item = &Transform> {
        fn of(mask: &PlannedMask) -> impl Iterator<Item = &Transform> {
            let whole = mask.whole.iter().map(|whole| &whole.transform);
            whole.chain(mask.uses.iter().map(|usage| &usage.transform))
        }
        self.inner.masks.iter().flat_map(of)
    }

    /// Whether it puts values back.
    pub(crate) fn restores(&self) -> bool {
        self.transforms().any(|transform| *transform == Transform::Restore)
    }

    /// Whether nothing is masked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.masks.is_empty()
    }

    /// The side that it is for.
    #[must_use]
    pub fn side(&self) -> Side {
        self.inner.side
    }

    /// The rule of a mask whose path no stream channel of the operation carries: a call that it meets must not be streamed
    /// (DECISIONS 9).
    #[must_use]
    pub fn stream_unmappable(&self, operation: Operation) -> Option<&str> {
        if self.inner.side == Side::Request {
            return None;
        }
        let channels = operation.stream_table().map_or(&[][..], |table| table.channels);
        self.inner.masks.iter().find_map(|mask| {
            let path = mask.path.as_ref()?;
            (!channels.iter().any(|channel| leads_to(path, channel.whole))).then_some(&*mask.rule)
        })
    }

    /// Whether every string, member name and number is looked at.
    pub(crate) fn everywhere(&self) -> bool {
        self.inner.everywhere
    }

    /// The masks whose path leads into a part of the whole form, by their number, with what they select there.
    pub(crate) fn selected(
        &self,
        document: &Document<'_>,
        part: &Part,
    ) -> Result<Vec<(usize, Vec<NodeId>)>, WalkError> {
        let mut selected = Vec::new();
        for (number, mask) in self.inner.masks.iter().enumerate() {
            let Some(path) = &mask.path else { continue };
            let Some((before, behind)) = path.segments.split_at_checked(part.way.len()) else { continue };
            if before.iter().zip(&part.way).all(|(segment, step)| fits(segment, *step)) {
                selected.push((number, document.select_from(part.node, behind)?));
            }
        }
        Ok(selected)
    }

    /// The rule of a mask that takes values out.
    pub(crate) fn drops(&self, number: usize) -> Option<&Arc<str>> {
        self.inner.masks.get(number).filter(|mask| mask.drops).map(|mask| &mask.rule)
    }

    /// What stands in the place of a value that is no text and is spelt like this, if that mask replaces whole values. Nobody could
    /// put an object back where a text stands, so a token becomes the more destructive label.
    pub(crate) fn whole_replacement(&self, number: usize, raw: &[u8]) -> Option<(&WholeMask, Cow<'_, [u8]>)> {
        let whole = self.inner.masks.get(number)?.whole.as_ref()?;
        let text = match &whole.transform {
            Transform::Literal(_) | Transform::Hash(_) => whole.transform.apply(raw, self.with.as_deref())?,
            _ => Cow::Borrowed(MASKED.as_bytes()),
        };
        Some((whole, text))
    }

    /// The masks that meet a text: those for all texts if it is one of the dialect's, and those with these numbers.
    pub(crate) fn of_text(&self, dialect_text: bool, numbers: &[usize]) -> TextMasks {
        if numbers.is_empty() && dialect_text {
            let Inner { uses_of_texts, whole_of_texts, .. } = &*self.inner;
            let (uses, whole) = (Arc::clone(uses_of_texts), whole_of_texts.clone());
            return TextMasks { uses, whole, with: self.with.clone() };
        }
        combine(
            self.inner
                .masks
                .iter()
                .enumerate()
                .filter(|(number, mask)| (dialect_text && mask.path.is_none()) || numbers.contains(number))
                .map(|(_, mask)| mask),
            self.with.clone(),
        )
    }

    /// The masks that meet a channel of a stream, whose place in the whole form this is.
    pub(crate) fn of_channel(&self, way: &[Taken]) -> TextMasks {
        let numbers: Vec<usize> = self.at(way).map(|(number, _)| number).collect();
        self.of_text(true, &numbers)
    }

    /// The rule that takes a channel of a stream out altogether.
    pub(crate) fn drops_channel(&self, way: &[Taken]) -> Option<Arc<str>> {
        self.at(way).find(|(_, mask)| mask.drops).map(|(_, mask)| Arc::clone(&mask.rule))
    }

    /// The masks whose path leads to this place.
    fn at<'a>(&'a self, way: &'a [Taken]) -> impl Iterator<Item = (usize, &'a PlannedMask)> {
        let is_at = move |path: &JsonPath| {
            path.segments.len() == way.len()
                && path.segments.iter().zip(way).all(|(segment, step)| fits(segment, *step))
        };
        self.inner.masks.iter().enumerate().filter(move |(_, mask)| mask.path.as_ref().is_some_and(is_at))
    }
}

/// Whether a segment of a path takes this step.
pub(super) fn fits(segment: &PathSegment, step: Taken) -> bool {
    match (segment, step) {
        (PathSegment::Key(key), Taken::Name(name)) => key == name,
        (PathSegment::Index(index), Taken::At(at)) => *index == at,
        (PathSegment::Wildcard, _) => true,
        _ => false,
    }
}

/// Whether the path leads to this place of the whole form, and to nothing else.
pub(super) fn leads_to(path: &JsonPath, place: &'static str) -> bool {
    let place: Vec<Step> = steps(place).collect();
    place.len() == path.segments.len()
        && place.iter().zip(&path.segments).all(|(step, segment)| match (step, segment) {
            (Step::Name(name), PathSegment::Key(key)) => name == key,
            (Step::Element, PathSegment::Index(_) | PathSegment::Wildcard) => true,
            _ => false,
        })
}

fn planned<'m>(side: Side, masks: impl Iterator<Item = (&'m str, &'m Mask)>) -> Result<Vec<PlannedMask>, PlanError> {
    masks.filter(|(_, mask)| mask.side == side).map(|(rule, mask)| plan_mask(rule, mask)).collect()
}

fn plan_mask(rule: &str, mask: &Mask) -> Result<PlannedMask, PlanError> {
    let name: Arc<str> = Arc::from(rule);
    if mask.transform == MaskTransform::Token && mask.side == Side::Response {
        return Err(PlanError::TokenInAnswer { rule: rule.to_owned() });
    }
    let mut uses = Vec::new();
    for matcher in &mask.matchers {
        match matcher {
            Matcher::Detector(detector) => {
                let usage = index_of(detector).and_then(|index| use_of(index, &name, &mask.transform));
                uses.push(usage.ok_or_else(|| PlanError::Detector { rule: rule.to_owned(), name: detector.clone() })?);
            }
            Matcher::Custom(detector) => {
                let pattern = Pattern::new(&detector.regex)
                    .map_err(|message| PlanError::Regex { rule: rule.to_owned(), message })?;
                let near = (!detector.near.is_empty())
                    .then(|| Arc::new(Words::near(detector.near.iter().map(String::as_str))));
                uses.push(Use {
                    wanted: Wanted::Regex(Arc::new(pattern), near),
                    rule: Arc::clone(&name),
                    detector: Arc::from(detector.name.as_str()),
                    tier: Tier::Custom,
                    transform: own_transform(&mask.transform, &detector.name),
                });
            }
            Matcher::Regex(source) => {
                let pattern =
                    Pattern::new(source).map_err(|message| PlanError::Regex { rule: rule.to_owned(), message })?;
                uses.push(Use {
                    wanted: Wanted::Regex(Arc::new(pattern), None),
                    rule: Arc::clone(&name),
                    detector: Arc::from("regex"),
                    tier: Tier::Custom,
                    transform: transform(&mask.transform, MASKED),
                });
            }
        }
    }
    if let MaskTransform::Literal(literal) = &mask.transform {
        check_literal(rule, literal, &uses)?;
    }
    let drops = mask.transform == MaskTransform::Drop;
    let whole = (mask.matchers.is_empty() && !drops)
        .then(|| WholeMask { rule: Arc::clone(&name), transform: transform(&mask.transform, MASKED) });
    Ok(PlannedMask {
        rule: name,
        path: match &mask.selector {
            Selector::Text => None,
            Selector::Path(path) => Some(path.clone()),
        },
        uses,
        whole,
        drops,
    })
}

/// A literal must pass the detectors of tier V and its own mask, or masking twice would not be masking once.
fn check_literal(rule: &str, literal: &str, uses: &[Use]) -> Result<(), PlanError> {
    let name: Arc<str> = Arc::from(rule);
    let mut all: Vec<Use> = uses.to_vec();
    all.extend(validated_uses(&name));
    let masks = TextMasks { uses: UseSet::new(all), whole: None, with: None };
    let found = match mask_text(TextKind::Plain, &masks, literal.as_bytes()) {
        Ok((_, hits)) => hits.first().map(|hit| hit.detector.to_string()),
        Err(error) => Some(error.to_string()),
    };
    found.map_or(Ok(()), |found| Err(PlanError::Literal { rule: rule.to_owned(), literal: literal.to_owned(), found }))
}

/// Every built-in detector of tier V, over every text.
fn every_validated() -> PlannedMask {
    let rule: Arc<str> = Arc::from(RECORD_RULE);
    PlannedMask { uses: validated_uses(&rule).collect(), rule, path: None, whole: None, drops: false }
}

/// Every built-in detector of tier V.
fn validated_uses(rule: &Arc<str>) -> impl Iterator<Item = Use> {
    detectors()
        .iter()
        .filter(|detector| detector.tier == DetectorTier::Validated)
        .filter_map(|detector| use_of(index_of(detector.id)?, rule, &MaskTransform::Label))
}

/// A built-in detector in use. `last4` of a kind that it does not hide is carried out as the more destructive label.
pub(super) fn use_of(index: DetectorIndex, rule: &Arc<str>, wanted: &MaskTransform) -> Option<Use> {
    let detector = detector(index)?;
    let label = super::transform::label_of(index);
    Some(Use {
        wanted: Wanted::Detector(index),
        rule: Arc::clone(rule),
        detector: Arc::from(detector.id),
        tier: match detector.tier {
            DetectorTier::Validated => Tier::Validated,
            DetectorTier::Context => Tier::Context,
            DetectorTier::OptIn => Tier::OptIn,
        },
        transform: match wanted {
            MaskTransform::Last4 if !detector.takes_last4() => Transform::Label(label),
            wanted => transform(wanted, label),
        },
    })
}

fn transform(wanted: &MaskTransform, label: &'static str) -> Transform {
    let name = || Arc::from(label.trim_matches(['[', ']']));
    match wanted {
        MaskTransform::Label => Transform::Label(label),
        MaskTransform::Last4 => Transform::Last4,
        MaskTransform::Literal(literal) => Transform::Literal(Arc::from(literal.as_str())),
        MaskTransform::Hash => Transform::Hash(name()),
        MaskTransform::Token => Transform::Token(name()),
        // What is taken out leaves nothing to write; the most destructive form if it ever came here.
        MaskTransform::Drop => Transform::Label(label),
    }
}

/// The same for a detector of the policy, whose label is its name.
fn own_transform(wanted: &MaskTransform, name: &str) -> Transform {
    let name = name.to_uppercase();
    match wanted {
        MaskTransform::Label => Transform::Literal(Arc::from(format!("[{name}]"))),
        MaskTransform::Hash => Transform::Hash(Arc::from(name)),
        MaskTransform::Token => Transform::Token(Arc::from(name)),
        other => transform(other, MASKED),
    }
}

/// Several masks on one text.
fn combine<'m>(masks: impl Iterator<Item = &'m PlannedMask>, with: Option<Rc<Substitutes>>) -> TextMasks {
    let mut uses: Vec<Use> = Vec::new();
    let mut whole: Option<WholeMask> = None;
    for mask in masks {
        uses.extend(mask.uses.iter().cloned());
        if let Some(candidate) = &mask.whole
            && whole.as_ref().is_none_or(|known| candidate.transform.mildness() < known.transform.mildness())
        {
            whole = Some(candidate.clone());
        }
    }
    TextMasks { uses: UseSet::new(uses), whole, with }
}
