//! `record` and `retain` of two rules that can hold together and cannot both be met.

use super::search::{Answer, Want};
use super::{BOUNDS_STEPS_MAX, Checker};
use crate::codes::Code;
use crate::diagnostic::{Diagnostic, Severity};
use crate::program::{Effect, RecordBound, Rule};

impl Checker<'_> {
    pub(super) fn contradicting_bounds(&mut self) {
        let bounds = |wanted: RecordBound| {
            let of_rule = move |(id, rule): (usize, &'_ Rule)| -> Vec<(usize, usize)> {
                let positions = rule.effects.iter().enumerate().filter(|(_, effect)| is_bound(effect, wanted));
                positions.map(|(position, _)| (id, position)).collect()
            };
            let enforced = self.program.rules.iter().enumerate().filter(|(_, rule)| !rule.shadow);
            enforced.flat_map(of_rule).collect::<Vec<(usize, usize)>>()
        };
        let (least, most) = (bounds(RecordBound::AtLeast), bounds(RecordBound::AtMost));
        let left = self.solver.total.left();
        for (id, position) in &most {
            for (other, there) in &least {
                if self.is_full() {
                    return;
                }
                if left.saturating_sub(self.solver.total.left()) > BOUNDS_STEPS_MAX || !self.pairs_left.spend(1) {
                    self.undecided += 1;
                    return;
                }
                if id != other {
                    self.compare((*id, *position), (*other, *there));
                }
            }
        }
    }

    fn compare(&mut self, most: (usize, usize), least: (usize, usize)) {
        let (Some(upper), Some(lower)) = (self.program.rules.get(most.0), self.program.rules.get(least.0)) else {
            return;
        };
        let (Some(at_most), Some(at_least)) = (upper.effects.get(most.1), lower.effects.get(least.1)) else {
            return;
        };
        if !cannot_both(at_least, at_most) {
            return;
        }
        let Answer::Yes(model) = self.solver.ask(&[(&upper.condition, Want::True), (&lower.condition, Want::True)])
        else {
            return;
        };
        // Only what the interpreter confirms is a contradiction.
        let Some(witness) = self.witness(&model, &[&upper.condition, &lower.condition]) else {
            return;
        };
        let span = |(rule, position): (usize, usize)| self.outlines.get(rule)?.effects.get(position).copied();
        let (Some(at), Some(there)) = (span(most), span(least)) else {
            return;
        };
        let mut error = Diagnostic::error(
            Code::BoundsContradict,
            format!("`{}` and `{}` contradict each other where both hold", upper.name, lower.name),
        )
        .label(at, "not more than this")
        .label(there, "not less than that")
        .help("let one of them except what the other is about: `unless …`")
        .witness(witness.to_json(), "a call on which both hold");
        // An error must not rest on what a text is assumed to hold.
        if !witness.assuming.is_empty() {
            error.severity = Severity::Warning;
            error = error.note(format!("if a text can be so: {}", witness.assuming.join(" and ")));
        }
        self.found.push(error);
    }
}

fn is_bound(effect: &Effect, wanted: RecordBound) -> bool {
    matches!(effect, Effect::Record { bound, .. } | Effect::Retain { bound, .. } if *bound == wanted)
}

fn cannot_both(least: &Effect, most: &Effect) -> bool {
    match (least, most) {
        (Effect::Record { level: least, .. }, Effect::Record { level: most, .. }) => least > most,
        (Effect::Retain { time: least, .. }, Effect::Retain { time: most, .. }) => least > most,
        _ => false,
    }
}
