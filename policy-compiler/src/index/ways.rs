//! The ways in which a rule can hold: where it joins different attributes by `or`, no single look-up tells whether it can, but one
//! per way does.
//!
//! `(a or b) and c` is `(a and c) or (b and c)` in strong Kleene logic too, so the rule is as true as the truest of its ways.

use super::attributes::{need, parts};
use super::{chance, risk_points};
use crate::native::Plan;
use crate::planted::planted;
use policy_lang::{Condition, Program, Rule};

/// Ways of one rule; a part that would make more of them is left to code.
const WAYS_MAX: usize = 8;
/// The look-ups of all choices together must leave fewer than this share of calls; else the part is left to code.
const CHANCE_MAX: f64 = 0.5;

/// The ways of a rule, each as the parts of a conjunction; none when it can never hold. `forced` makes ways also where that does
/// not pay.
pub(super) fn ways<'p>(program: &Program, plan: &Plan, rule: &'p Rule, forced: bool) -> Vec<Vec<&'p Condition>> {
    let Some(whole) = parts(&rule.condition) else { return Vec::new() };
    // The points of a rule count once, however many ways it holds.
    if risk_points(rule) > 0 {
        return vec![whole];
    }
    let mut ways: Vec<Vec<&Condition>> = vec![Vec::new()];
    for part in whole {
        let choices = choices(program, plan, part, forced).filter(|choices| ways.len() * choices.len() <= WAYS_MAX);
        let mut choices = choices.unwrap_or_else(|| vec![vec![part]]);
        if planted!(LastWayIsLost) && choices.len() > 1 {
            choices.pop();
        }
        let with = |choice: &Vec<&'p Condition>| ways.iter().map(|way| [way.as_slice(), choice].concat()).collect();
        ways = choices.iter().flat_map(|choice| -> Vec<_> { with(choice) }).collect();
    }
    ways
}

/// The choices of a part that joins attributes by `or`, if looking them up one by one narrows down what is judged.
fn choices<'p>(program: &Program, plan: &Plan, part: &'p Condition, forced: bool) -> Option<Vec<Vec<&'p Condition>>> {
    let Condition::Any(choices) = part else { return None };
    if need(program, plan, part).is_some() {
        return None;
    }
    let choices: Vec<Vec<&Condition>> = choices.iter().filter_map(parts).collect();
    let best = |choice: &Vec<&Condition>| {
        let chances = choice.iter().filter_map(|part| need(program, plan, part)).map(|need| chance(&need, plan));
        chances.fold(1.0, f64::min)
    };
    let together: f64 = choices.iter().map(best).sum();
    (forced || together < CHANCE_MAX).then_some(choices)
}
