//! Explanations for people and for machines.

use super::{Explanation, Node, NodeKind, RuleExplained};
use crate::decision::{Decision, Truth, Verdict};
use crate::program::{Effect, Program, RecordLevel, Rule, RuleId};
use crate::source::Sources;
use crate::testing::words;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// A tree for a terminal, in colours if asked for: the verdict, why, what is missing, what the call owes, then every rule.
#[must_use]
pub fn to_text(explanation: &Explanation, program: &Program, sources: &Sources, color: bool) -> String {
    Text { program, sources, color, out: String::new() }.write(explanation)
}

struct Text<'t> {
    program: &'t Program,
    sources: &'t Sources,
    color: bool,
    out: String,
}

impl Text<'_> {
    fn write(mut self, explanation: &Explanation) -> String {
        let outcome = &explanation.outcome;
        let _ = writeln!(
            self.out,
            "{}",
            self.paint(&words::verdict(self.program, outcome), verdict_color(&outcome.verdict))
        );
        if let (Verdict::Deny(denial), None) = (&outcome.verdict, &outcome.refused) {
            let _ = writeln!(self.out, "the caller reads: {}", denial.text);
        }
        if let Some(closest) = &explanation.closest {
            let _ = writeln!(self.out, "{}", closest.words(self.program));
        }
        let owed = owed(self.program, explanation);
        if !owed.is_empty() {
            self.out += "\nwhat the call owes\n";
            for (rule, effect) in owed {
                let _ = writeln!(self.out, "    {effect}  ({rule})");
            }
        }
        self.rules("rules that hold", explanation, Truth::True);
        self.rules("rules that cannot be judged", explanation, Truth::Error);
        self.rules("rules that do not hold", explanation, Truth::False);
        if !explanation.waiting.is_empty() {
            self.out += "\nrules about the answer, which is not there\n";
            for rule in &explanation.waiting {
                let _ = writeln!(self.out, "    {}", words::rule_name(self.program, *rule));
            }
        }
        self.out
    }

    fn rules(&mut self, title: &str, explanation: &Explanation, truth: Truth) {
        let mut chosen = explanation.rules.iter().filter(|explained| explained.truth == truth).peekable();
        if chosen.peek().is_some() {
            let _ = writeln!(self.out, "\n{title}");
        }
        for explained in chosen {
            self.rule(explained);
        }
    }

    fn rule(&mut self, explained: &RuleExplained) {
        let Some(rule) = self.program.rules.get(explained.rule.0 as usize) else {
            return;
        };
        let (line, _) = self.sources.position(rule.place.file, rule.place.span.start);
        let name = self.paint(&rule.name, "1");
        let shadow = if rule.shadow { " (shadow)" } else { "" };
        let _ = writeln!(self.out, "    {name}{shadow}  {}:{line}", self.sources.display_name(rule.place.file));
        self.node(&explained.condition, 2);
        let effects: Vec<String> = rule.effects.iter().map(words::effect).collect();
        let _ = writeln!(self.out, "        => {}", effects.join(", "));
    }

    fn node(&mut self, node: &Node, depth: usize) {
        let indent = "    ".repeat(depth);
        let mark = match (node.decisive, node.truth) {
            (false, _) => self.paint(".", "2"),
            (true, Truth::True) => self.paint("+", "32"),
            (true, Truth::False) => self.paint("-", "31"),
            (true, Truth::Error) => self.paint("!", "33"),
        };
        let (text, parts): (String, &[Node]) = match &node.kind {
            NodeKind::Always => ("always".to_owned(), &[]),
            NodeKind::Never => ("never".to_owned(), &[]),
            NodeKind::Leaf { text, found } => (format!("{text}  {}", self.paint(&format!("[{found}]"), "2")), &[]),
            NodeKind::Not(inner) => match &inner.kind {
                NodeKind::Leaf { text, found } => {
                    (format!("not {text}  {}", self.paint(&format!("[{found}]"), "2")), &[])
                }
                _ => ("not".to_owned(), std::slice::from_ref(inner.as_ref())),
            },
            NodeKind::All(parts) => ("all of".to_owned(), parts),
            NodeKind::Any(parts) => ("any of".to_owned(), parts),
        };
        let _ = writeln!(self.out, "{indent}{mark} {text}");
        for part in parts {
            self.node(part, depth + 1);
        }
    }

    fn paint(&self, text: &str, code: &str) -> String {
        match self.color {
            true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        }
    }
}

fn verdict_color(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Forward => "1;32",
        Verdict::Pending(_) => "1;33",
        Verdict::Deny(_) => "1;31",
    }
}

/// What the rules that hold bring beside allowing and denying, if the call is not refused: rule and effect.
fn owed(program: &Program, explanation: &Explanation) -> Vec<(String, String)> {
    if matches!(explanation.outcome.verdict, Verdict::Deny(_)) {
        return Vec::new();
    }
    let fired = explanation.outcome.decisions().flat_map(|decision| &decision.fired);
    let rules = fired.filter_map(|rule: &RuleId| program.rules.get(rule.0 as usize));
    let of_rule = |rule: &Rule| {
        let effects = rule.effects.iter().filter(|effect| !matches!(effect, Effect::Allow | Effect::Deny { .. }));
        effects.map(|effect| (rule.name.clone(), words::effect(effect))).collect::<Vec<_>>()
    };
    rules.flat_map(of_rule).collect()
}

/// The same for machines.
#[must_use]
pub fn to_json(explanation: &Explanation, program: &Program, sources: &Sources) -> Value {
    let outcome = &explanation.outcome;
    let name = |rule: &RuleId| words::rule_name(program, *rule).to_owned();
    let (verdict, status, text) = match &outcome.verdict {
        Verdict::Forward => ("allow", None, None),
        Verdict::Pending(_) => ("pending", None, None),
        Verdict::Deny(denial) => ("deny", Some(denial.status), Some(denial.text.as_str())),
    };
    let rule = |explained: &RuleExplained| {
        let rule = program.rules.get(explained.rule.0 as usize);
        json!({
            "rule": name(&explained.rule),
            "file": rule.map(|rule| sources.display_name(rule.place.file)),
            "line": rule.map(|rule| sources.position(rule.place.file, rule.place.span.start).0),
            "shadow": rule.is_some_and(|rule| rule.shadow),
            "holds": truth(explained.truth),
            "condition": node(&explained.condition),
            "effects": rule.map(|rule| rule.effects.iter().map(words::effect).collect::<Vec<_>>()),
        })
    };
    json!({
        "verdict": verdict,
        "status": status,
        "text": text,
        "refused": outcome.refused,
        "reasons": outcome.decisions().flat_map(|decision| &decision.reasons).map(|reason| json!({
            "rule": reason.rule.as_ref().map(name),
            "reason": words::reason(program, reason),
        })).collect::<Vec<_>>(),
        "closest_allow": explanation.closest.as_ref().map(|closest| json!({
            "rule": name(&closest.rule),
            "missing": closest.missing,
        })),
        "owes": owed(program, explanation)
            .into_iter()
            .map(|(rule, effect)| json!({ "rule": rule, "effect": effect }))
            .collect::<Vec<_>>(),
        "recorded": outcome.request.as_ref().map(recorded),
        "rules": explanation.rules.iter().map(rule).collect::<Vec<_>>(),
        "waiting": explanation.waiting.iter().map(name).collect::<Vec<_>>(),
    })
}

fn recorded(decision: &Decision) -> Value {
    let owes = &decision.obligations;
    json!({
        "payload": if owes.record == RecordLevel::Full { "full" } else { "metadata" },
        "retain_at_least_s": owes.retain_at_least.map(|time| time.as_secs()),
        "retain_at_most_s": owes.retain_at_most.map(|time| time.as_secs()),
        "sealed_request": owes.seal_request,
        "sealed_response": owes.seal_response,
        "purpose": owes.purpose.as_ref().map(|purpose| json!({ "purpose": purpose.purpose, "basis": purpose.basis })),
    })
}

fn node(node: &Node) -> Value {
    let holds = truth(node.truth);
    match &node.kind {
        NodeKind::Always => json!({ "holds": holds, "always": true }),
        NodeKind::Never => json!({ "holds": holds, "always": false }),
        NodeKind::Leaf { text, found } => json!({ "holds": holds, "test": text, "found": found }),
        NodeKind::Not(inner) => json!({ "holds": holds, "not": self::node(inner) }),
        NodeKind::All(parts) => json!({ "holds": holds, "all": parts.iter().map(self::node).collect::<Vec<_>>() }),
        NodeKind::Any(parts) => json!({ "holds": holds, "any": parts.iter().map(self::node).collect::<Vec<_>>() }),
    }
}

/// `null` for what could not be judged.
fn truth(truth: Truth) -> Option<bool> {
    match truth {
        Truth::True => Some(true),
        Truth::False => Some(false),
        Truth::Error => None,
    }
}
