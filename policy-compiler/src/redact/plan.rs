//! Which masks meet which text.

use super::Tier;
use super::channel::{Use, UseSet, Wanted};
use super::document::Part;
use super::text::{TextMasks, WholeMask};
use super::transform::Transform;
use crate::detect::{DetectorIndex, Pattern, Words, detector, index_of};
use crate::dialect::{Operation, Step, Taken, WalkError, steps};
use crate::json::{Document, NodeId};
use policy_lang::catalogue::{DetectorTier, detectors};
use policy_lang::{JsonPath, Mask, Matcher, PathSegment, Selector, Side, Transform as MaskTransform};
use std::sync::Arc;

/// What stands in the place of a regex hit or a whole value.
const MASKED: &str = "[MASKED]";
/// The rule named by the hits of the recorded copy's own detectors (DECISIONS 15).
const RECORD_RULE: &str = "record";

/// The masks of one call and one side, compiled. Cheap to clone; one plan serves any number of calls and threads.
///
/// Making a plan compiles its regexes, so plans are kept with the policy, by the set of masks that a decision names.
#[derive(Clone, Debug)]
pub struct MaskPlan {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    side: Side,
    masks: Vec<PlannedMask>,
    everywhere: bool,
    /// The masks of a text that no path selects.
    of_texts: TextMasks,
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
    /// The language has it, the redactor not yet.
    #[error("rule {rule}: {what} cannot be carried out by this version")]
    NotYet {
        /// Whose it is.
        rule: String,
        /// What it asked for.
        what: &'static str,
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
        let rule: Arc<str> = Arc::from(RECORD_RULE);
        planned.push(PlannedMask {
            rule: Arc::clone(&rule),
            path: None,
            uses: detectors()
                .iter()
                .filter(|detector| detector.tier == DetectorTier::Validated)
                .filter_map(|detector| use_of(index_of(detector.id)?, &rule, &MaskTransform::Label))
                .collect(),
            whole: None,
            drops: false,
        });
        Ok(Self::with(side, planned, true))
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
        let of_texts = combine(masks.iter().filter(|mask| mask.path.is_none()));
        Self { inner: Arc::new(Inner { side, masks, everywhere, of_texts }) }
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
            // What is not there cannot be told from what is still to come.
            (mask.drops || !channels.iter().any(|channel| leads_to(path, channel.whole))).then_some(&*mask.rule)
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

    /// What stands in the place of a value that is no text, if that mask replaces whole values.
    pub(crate) fn whole_replacement(&self, number: usize) -> Option<(&WholeMask, &[u8])> {
        let whole = self.inner.masks.get(number)?.whole.as_ref()?;
        Some(match &whole.transform {
            Transform::Literal(literal) => (whole, literal.as_bytes()),
            Transform::Label(_) | Transform::Last4 => (whole, MASKED.as_bytes()),
        })
    }

    /// The masks that meet a text: those for all texts if it is one of the dialect's, and those with these numbers.
    pub(crate) fn of_text(&self, dialect_text: bool, numbers: &[usize]) -> TextMasks {
        if numbers.is_empty() && dialect_text {
            return self.inner.of_texts.clone();
        }
        combine(
            self.inner
                .masks
                .iter()
                .enumerate()
                .filter(|(number, mask)| (dialect_text && mask.path.is_none()) || numbers.contains(number))
                .map(|(_, mask)| mask),
        )
    }

    /// The masks that meet a channel of a stream, whose place in the whole form this is.
    pub(crate) fn of_channel(&self, way: &[Taken]) -> TextMasks {
        let is_at = |path: &JsonPath| {
            path.segments.len() == way.len()
                && path.segments.iter().zip(way).all(|(segment, step)| fits(segment, *step))
        };
        let masks = self.inner.masks.iter().enumerate();
        let numbers: Vec<usize> =
            masks.filter(|(_, mask)| mask.path.as_ref().is_some_and(is_at)).map(|(number, _)| number).collect();
        self.of_text(true, &numbers)
    }
}

/// Whether a segment of a path takes this step.
fn fits(segment: &PathSegment, step: Taken) -> bool {
    match (segment, step) {
        (PathSegment::Key(key), Taken::Name(name)) => key == name,
        (PathSegment::Index(index), Taken::At(at)) => *index == at,
        (PathSegment::Wildcard, _) => true,
        _ => false,
    }
}

/// Whether the path leads to this place of the whole form, and to nothing else.
fn leads_to(path: &JsonPath, place: &'static str) -> bool {
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
    let not_yet = |what| PlanError::NotYet { rule: rule.to_owned(), what };
    match mask.transform {
        MaskTransform::Hash => return Err(not_yet("`as hash`")),
        MaskTransform::Token => return Err(not_yet("`as token`")),
        MaskTransform::Label | MaskTransform::Last4 | MaskTransform::Literal(_) | MaskTransform::Drop => {}
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
                    transform: match &mask.transform {
                        MaskTransform::Label => {
                            Transform::Literal(Arc::from(format!("[{}]", detector.name.to_uppercase())))
                        }
                        other => transform(other, MASKED),
                    },
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
    match wanted {
        MaskTransform::Label => Transform::Label(label),
        MaskTransform::Last4 => Transform::Last4,
        MaskTransform::Literal(literal) => Transform::Literal(Arc::from(literal.as_str())),
        // Refused where plans are made; the most destructive form if one ever came here.
        MaskTransform::Hash | MaskTransform::Token | MaskTransform::Drop => Transform::Label(label),
    }
}

/// Several masks on one text.
fn combine<'m>(masks: impl Iterator<Item = &'m PlannedMask>) -> TextMasks {
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
    TextMasks { uses: UseSet::new(uses), whole }
}
