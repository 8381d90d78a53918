//! Two rules: one that adds nothing to the other, one that never has the word, an `allow` that is always denied, masks that never matter.

use super::covers::{Cover, contains, mask_covers};
use super::index::Index;
use super::search::Want;
use super::{Checker, Fires};
use crate::codes::Code;
use crate::decision::Truth;
use crate::diagnostic::Diagnostic;
use crate::program::{Effect, Mask, Rule};

/// What one rule makes of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    /// The other one adds nothing.
    Redundant,
    /// Both deny, and the caller always hears this one.
    Shadowed,
    /// The other one allows what this one denies.
    Denied,
    /// Effects of the other one (its position, the position here) never matter.
    Mask(usize, usize, Cover),
}

impl Checker<'_> {
    pub(super) fn pairs(&mut self) {
        let index = Index::new(self.program);
        for (id, fires) in std::mem::take(&mut self.fires).into_iter().enumerate() {
            let Some(rule) = self.program.rules.get(id).filter(|rule| !rule.shadow) else {
                continue;
            };
            if self.is_full() {
                return;
            }
            self.masks_of_one(id, rule);
            let Fires::On(call) = fires else {
                continue;
            };
            let mut candidates: Vec<usize> = index.candidates(&call).filter(|other| *other != id).collect();
            candidates.sort_unstable();
            candidates.dedup();
            for other in candidates {
                let Some(stronger) = self.program.rules.get(other) else {
                    continue;
                };
                if !self.pairs_left.spend(1) {
                    self.undecided += 1;
                    return;
                }
                let Some(relation) = relation((id, rule), (other, stronger)) else {
                    continue;
                };
                // What follows on every call follows on this one.
                if call.judge(&stronger.condition, &self.program.atoms) == Truth::False {
                    continue;
                }
                if self.follows((id, rule), (other, stronger), relation) {
                    self.report(id, other, relation, call.to_json());
                    break;
                }
            }
        }
    }

    /// Whether the relation of the effects is one of the rules: on every call where the one holds the other does.
    fn follows(&mut self, (id, rule): (usize, &Rule), (other, stronger): (usize, &Rule), relation: Relation) -> bool {
        let (weak, strong) = (&rule.condition, &stronger.condition);
        let mut never = |goals: &[_]| self.possible(goals) == Some(false);
        match relation {
            Relation::Denied | Relation::Shadowed => never(&[(weak, Want::True), (strong, Want::False)]),
            Relation::Mask(..) => never(&[(weak, Want::True), (strong, Want::NotTrue)]),
            Relation::Redundant => {
                let denies = stronger.effects.iter().any(|effect| matches!(effect, Effect::Deny { .. }));
                // A rule that cannot be judged and restricts denies: that must not be lost with it.
                let errors_too = |never: &mut dyn FnMut(&[_]) -> bool| {
                    !rule.restricts()
                        || (never(&[(weak, Want::NotFalse), (weak, Want::NotTrue), (strong, Want::False)])
                            && (denies
                                || never(&[(weak, Want::NotFalse), (weak, Want::NotTrue), (strong, Want::True)])))
                };
                if !never(&[(weak, Want::True), (strong, Want::NotTrue)]) || !errors_too(&mut never) {
                    return false;
                }
                // Of two rules that say the same the later one is told.
                let same = contains(rule, stronger) && never(&[(strong, Want::True), (weak, Want::NotTrue)]);
                !same || other < id
            }
        }
    }

    fn report(&mut self, id: usize, other: usize, relation: Relation, call: serde_json::Value) {
        let (Some(rule), Some(stronger)) = (self.program.rules.get(id), self.program.rules.get(other)) else {
            return;
        };
        let (Some(at), Some(there)) = (self.name(id), self.name(other)) else {
            return;
        };
        let (name, by) = (&rule.name, &stronger.name);
        let finding = match relation {
            Relation::Redundant => Diagnostic::warning(Code::Redundant, format!("`{name}` adds nothing to `{by}`"))
                .label(at, "wherever this holds …")
                .label(there, "… this holds and does the same")
                .help("remove it, or say how it differs")
                .witness(call, "a call on which both hold"),
            Relation::Shadowed => {
                Diagnostic::warning(Code::Shadowed, format!("no caller ever reads the text of `{name}`"))
                    .label(at, "wherever this denies …")
                    .label(there, "… this denies as well, and the lowest name speaks")
                    .help("make the other rule narrower, or this one's name lower")
                    .witness(call, "a call that both deny")
            }
            Relation::Denied => {
                Diagnostic::warning(Code::AlwaysDenied, format!("whatever `{name}` allows, `{by}` denies"))
                    .label(at, "this never lets a call through")
                    .label(there, "a denial always counts more")
                    .help("order does not matter: make the denial narrower, or give it an `unless`")
                    .witness(call, "a call that the one allows and the other denies")
            }
            Relation::Mask(own, theirs, cover) => {
                let effect = |rule: usize, position: usize, or| {
                    self.outlines.get(rule).and_then(|outline| outline.effects.get(position)).copied().unwrap_or(or)
                };
                let (span, first) = (effect(id, own, at), effect(other, theirs, there));
                mask_finding(cover)
                    .label(span, "this has nothing left to mask")
                    .label(first, first_label(cover))
                    .witness(call, "a call on which both take place")
            }
        };
        self.found.push(finding);
    }

    /// Masks within one rule take place together.
    fn masks_of_one(&mut self, id: usize, rule: &Rule) {
        let masks: Vec<(usize, &Mask)> = masks(rule).collect();
        for (position, mask) in &masks {
            let stronger = masks.iter().filter(|(other, _)| other != position);
            let cover = stronger.filter_map(|(other, own)| Some((*other, mask_covers(own, mask)?))).next();
            let Some((other, cover)) = cover else {
                continue;
            };
            let effects = self.outlines.get(id).map_or(&[][..], |outline| &outline.effects);
            if let (Some(span), Some(first)) = (effects.get(*position), effects.get(other)) {
                let found =
                    mask_finding(cover).label(*span, "this has nothing left to mask").label(*first, first_label(cover));
                self.found.push(found);
            }
        }
        let denial = rule.effects.iter().position(|effect| matches!(effect, Effect::Deny { .. }));
        if let (Some(denial), Some((mask, _))) = (denial, masks.first())
            && rule.phase == crate::program::Phase::Request
        {
            let effects = self.outlines.get(id).map_or(&[][..], |outline| &outline.effects);
            if let (Some(span), Some(deny)) = (effects.get(*mask), effects.get(denial)) {
                self.found.push(
                    Diagnostic::warning(Code::MaskNeverMatters, "this mask can never matter")
                        .label(*span, "nothing goes on that could be masked")
                        .label(*deny, "the same rule denies the call")
                        .help("leave the mask out, or give it a rule of its own"),
                );
            }
        }
    }
}

fn masks(rule: &Rule) -> impl Iterator<Item = (usize, &Mask)> {
    rule.effects.iter().enumerate().filter_map(|(position, effect)| match effect {
        Effect::Mask(mask) => Some((position, mask)),
        _ => None,
    })
}

fn mask_finding(cover: Cover) -> Diagnostic {
    match cover {
        Cover::BelowDrop => Diagnostic::warning(Code::MaskBelowDrop, "this mask is below a path that is dropped")
            .help("leave the mask out, or drop less"),
        Cover::Stronger => Diagnostic::warning(Code::MaskNeverMatters, "this mask can never matter")
            .help("where two masks cover the same bytes the more destructive wins: leave this one out"),
    }
}

fn first_label(cover: Cover) -> &'static str {
    match cover {
        Cover::BelowDrop => "the whole of this is taken out",
        Cover::Stronger => "this masks the same at least as thoroughly",
    }
}

/// Whether callers may hear a text of the rule.
fn speaks(rule: &Rule) -> bool {
    let text =
        |effect: &Effect| matches!(effect, Effect::Deny { .. } | Effect::RequirePurpose(_) | Effect::LimitField { .. });
    rule.effects.iter().any(text)
}

/// What the effects of the second rule would make of the first, were both to hold.
fn relation((id, rule): (usize, &Rule), (other, stronger): (usize, &Rule)) -> Option<Relation> {
    if rule.phase != stronger.phase {
        return None;
    }
    // The caller hears the lowest name: without a rule that speaks, a third one between the two might.
    if contains(stronger, rule) && (other < id || !speaks(rule)) {
        return Some(Relation::Redundant);
    }
    let denies = |rule: &Rule| rule.effects.iter().any(|effect| matches!(effect, Effect::Deny { .. }));
    if denies(stronger) && rule.effects.contains(&Effect::Allow) {
        return Some(Relation::Denied);
    }
    if denies(stronger) && denies(rule) && other < id && rule.effects.len() == 1 {
        return Some(Relation::Shadowed);
    }
    masks(rule).find_map(|(own, mask)| {
        masks(stronger).find_map(|(theirs, strong)| {
            let cover = mask_covers(strong, mask)?;
            // Of two that make each other pointless the later one is told.
            (mask_covers(mask, strong).is_none() || other < id).then_some(Relation::Mask(own, theirs, cover))
        })
    })
}
