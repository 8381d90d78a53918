//! One rule by itself: conditions that never or always hold, exceptions that leave nothing, approvals that only the requester could give.

use super::search::{Answer, Want};
use super::{Checker, Fires, Outline};
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::program::{Atom, Condition, Effect, Rule};
use crate::schema::StrField;
use crate::source::Span;

/// Parts of an `and` that are looked at two by two to show which of them go against each other.
const PARTS_MAX: usize = 12;

impl Checker<'_> {
    pub(super) fn each_rule(&mut self) {
        let (rules, outlines) = (&self.program.rules, self.outlines);
        for (rule, outline) in rules.iter().zip(outlines) {
            let fires = match self.is_full() {
                true => Fires::Unknown,
                false => self.rule(rule, outline),
            };
            self.fires.push(fires);
        }
    }

    fn rule(&mut self, rule: &Rule, outline: &Outline) -> Fires {
        let fires = match self.solver.ask(&[(&rule.condition, Want::True)]) {
            Answer::No => Fires::Never,
            Answer::Unknown => {
                self.undecided += 1;
                Fires::Unknown
            }
            Answer::Yes(model) => {
                self.witness(&model, &[&rule.condition]).map_or(Fires::Unknown, |witness| Fires::On(Box::new(witness)))
            }
        };
        if matches!(fires, Fires::Never) {
            self.why_never(rule, outline);
            return fires;
        }
        let when: Vec<&Condition> = outline.when.iter().map(|(condition, _)| condition).collect();
        if let (Some((_, first)), Some((_, last))) = (outline.when.first(), outline.when.last()) {
            let always = when.iter().all(|part| self.possible(&[(part, Want::False)]) == Some(false));
            if always {
                self.found.push(
                    Diagnostic::warning(Code::AlwaysTrue, "this condition holds for every call")
                        .label(Span { end: last.end, ..*first }, "nothing is ruled out here")
                        .help("leave `when` out if every call is meant"),
                );
            }
        }
        for (exception, span) in &outline.unless {
            if self.possible(&[(exception, Want::True)]) == Some(false) {
                self.found.push(
                    Diagnostic::warning(Code::NeverTrue, "this exception never applies")
                        .label(*span, "no call meets this")
                        .help("leave it out, or say what is excepted"),
                );
            } else if !when.is_empty() {
                let mut goals: Vec<(&Condition, Want)> = when.iter().map(|part| (*part, Want::True)).collect();
                goals.push((exception, Want::True));
                if self.possible(&goals) == Some(false) {
                    self.found.push(
                        Diagnostic::warning(Code::NeverTrue, "this exception never applies here")
                            .label(*span, "no call that meets `when` meets this")
                            .label(outline.when.first().map_or(*span, |(_, span)| *span), "what the rule is about")
                            .help("leave it out, or say what is excepted"),
                    );
                }
            }
        }
        self.own_approval(rule, outline);
        fires
    }

    fn why_never(&mut self, rule: &Rule, outline: &Outline) {
        let name = &rule.name;
        let parts: Vec<(&Condition, Span)> = outline.when.iter().map(|(condition, span)| (condition, *span)).collect();
        let goals: Vec<(&Condition, Want)> = parts.iter().map(|(part, _)| (*part, Want::True)).collect();
        if let Answer::Yes(model) = self.solver.ask(&goals) {
            self.cancelled(rule, outline, &model);
            return;
        }
        let mut error =
            Diagnostic::warning(Code::NeverTrue, format!("`{name}` never holds: no call meets its condition"));
        let alone = parts.iter().find(|(part, _)| self.solver_says_no(&[(part, Want::True)]));
        if let Some((_, span)) = alone {
            self.found.push(error.label(*span, "no call meets this").help("the rule does nothing as it stands"));
            return;
        }
        let few = parts.get(..PARTS_MAX.min(parts.len())).unwrap_or(&parts).to_vec();
        for (position, (second, at)) in few.iter().enumerate() {
            for (first, other) in few.iter().take(position) {
                if self.solver_says_no(&[(first, Want::True), (second, Want::True)]) {
                    self.found.push(
                        error
                            .label(*at, "no call meets this …")
                            .label(*other, "… and this as well")
                            .help("if either is enough, join them with `or`"),
                    );
                    return;
                }
            }
        }
        if let (Some((_, first)), Some((_, last))) = (parts.first(), parts.last()) {
            error = error.label(Span { end: last.end, ..*first }, "no call meets all of this");
        } else if let Some(span) = outline.name {
            error = error.label(span, "");
        }
        self.found.push(error.help("the rule does nothing as it stands"));
    }

    fn solver_says_no(&mut self, goals: &[(&Condition, Want)]) -> bool {
        matches!(self.solver.ask(goals), Answer::No)
    }

    /// `when` lets calls in, the exceptions take every one of them away.
    fn cancelled(&mut self, rule: &Rule, outline: &Outline, model: &super::Model) {
        let mut goals: Vec<(&Condition, Want)> = outline.when.iter().map(|(part, _)| (part, Want::True)).collect();
        let mut last = outline.unless.last();
        for exception in &outline.unless {
            goals.push((&exception.0, Want::NotTrue));
            if self.solver_says_no(&goals) {
                last = Some(exception);
                break;
            }
        }
        let Some((_, span)) = last else {
            return;
        };
        let mut error = Diagnostic::warning(
            Code::UnlessCancels,
            format!("`{}` never holds: its exceptions take away every call that it is about", rule.name),
        )
        .label(*span, "this leaves nothing");
        if let (Some((_, first)), Some((_, end))) = (outline.when.first(), outline.when.last()) {
            error = error.label(Span { end: end.end, ..*first }, "of what is let in here");
        }
        let when: Vec<&Condition> = outline.when.iter().map(|(part, _)| part).collect();
        if let Some(witness) = self.witness(model, &when) {
            error = error.witness(witness.to_json(), "a call that `when` lets in and the exception takes away");
        }
        self.found.push(error.help("make the exception narrower than the rule"));
    }

    /// Who is in a group is not in a policy. What can be decided: the rule is about named callers only, and asks each of them to be in
    /// every group that may approve: then the only members that the policy knows of are the requesters themselves.
    fn own_approval(&mut self, rule: &Rule, outline: &Outline) {
        for (effect, span) in rule.effects.iter().zip(&outline.effects) {
            let groups = match effect {
                Effect::RequireApproval(approval) => &approval.groups,
                Effect::RequireGrant(grant) => &grant.groups,
                _ => continue,
            };
            let Some(subjects) = outline.when.iter().find_map(|(part, span)| Some((self.names_subjects(part)?, *span)))
            else {
                continue;
            };
            let in_all = groups.iter().all(|group| {
                let atom =
                    self.program.atoms.iter().position(|atom| matches!(atom, Atom::InGroup(name) if name == group));
                let atom =
                    atom.and_then(|id| u32::try_from(id).ok()).map(|id| Condition::Atom(crate::program::AtomId(id)));
                atom.is_some_and(|member| {
                    self.solver_says_no(&[(&rule.condition, Want::True), (&member, Want::NotTrue)])
                })
            });
            if in_all {
                let (count, at) = subjects;
                self.found.push(
                    Diagnostic::warning(
                        Code::OwnApproval,
                        "as far as this policy tells, only the requester could give this approval",
                    )
                    .label(*span, "nobody approves what they asked for themselves")
                    .label(
                        at,
                        match count {
                            1 => "the rule is about one caller, who has to be in the approving group",
                            _ => "the rule is about these callers, who have to be in the approving group",
                        },
                    )
                    .help("name a group of other people"),
                );
            }
        }
    }

    /// How many callers a condition names, if it names them.
    fn names_subjects(&self, condition: &Condition) -> Option<usize> {
        let Condition::Atom(id) = condition else {
            return None;
        };
        match self.program.atoms.get(id.0 as usize)? {
            Atom::StrIn { field: StrField::Subject, set } if set.globs.is_empty() => Some(set.literals.len()),
            _ => None,
        }
    }
}
