//! Which effects make others pointless.

use crate::program::{Effect, JsonPath, Mask, PathSegment, RecordBound, Rule, Selector, Transform};

/// Whether a rule with these effects adds nothing where the other one holds too.
pub(super) fn contains(rule: &Rule, other: &Rule) -> bool {
    other.effects.iter().all(|effect| rule.effects.iter().any(|own| includes(own, effect)))
}

/// Whether the second effect changes nothing where the first takes place. Points and rate limits add up, and alerts name their rule.
fn includes(own: &Effect, other: &Effect) -> bool {
    match (own, other) {
        (Effect::Risk { .. } | Effect::LimitRate(_) | Effect::Alert { .. }, _) => false,
        (Effect::LimitField { field: a, max: own }, Effect::LimitField { field: b, max: other }) => {
            a == b && own <= other
        }
        (Effect::Record { bound: a, level: own }, Effect::Record { bound: b, level: other }) if a == b => match a {
            RecordBound::AtLeast => own >= other,
            RecordBound::AtMost => own <= other,
        },
        (Effect::Retain { bound: a, time: own }, Effect::Retain { bound: b, time: other }) if a == b => match a {
            RecordBound::AtLeast => own >= other,
            RecordBound::AtMost => own <= other,
        },
        (own, other) => own == other,
    }
}

/// How one mask makes another pointless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cover {
    /// The value is dropped with what it is part of.
    BelowDrop,
    /// The same text is masked at least as thoroughly.
    Stronger,
}

/// Whether the first mask leaves nothing for the second to do.
pub(super) fn mask_covers(own: &Mask, other: &Mask) -> Option<Cover> {
    let reaches = own.side == other.side && (!own.record_only || other.record_only);
    if !reaches || own == other {
        return None;
    }
    if let (Transform::Drop, Selector::Path(own), Selector::Path(inner)) =
        (&own.transform, &own.selector, &other.selector)
        && is_below(own, inner)
    {
        return Some(Cover::BelowDrop);
    }
    let all = own.matchers.is_empty()
        || (!other.matchers.is_empty() && other.matchers.iter().all(|m| own.matchers.contains(m)));
    // Two literals on the same bytes: which one stands is decided by the names of the rules.
    let stronger = rank(&own.transform) > rank(&other.transform)
        || (own.transform == other.transform && own.transform != Transform::Token);
    (own.selector == other.selector && all && stronger).then_some(Cover::Stronger)
}

/// Whether everything at the second path is within something at the first.
fn is_below(path: &JsonPath, inner: &JsonPath) -> bool {
    path.segments.len() <= inner.segments.len()
        && path.segments.iter().zip(&inner.segments).all(|(own, other)| own == other || *own == PathSegment::Wildcard)
}

/// The more destructive wins (POLICY-LANGUAGE §4).
fn rank(transform: &Transform) -> u8 {
    match transform {
        Transform::Drop => 5,
        Transform::Literal(_) => 4,
        Transform::Label => 3,
        Transform::Hash => 2,
        Transform::Token => 1,
        Transform::Last4 => 0,
    }
}
