//! Never trust the compiler blindly: native code is compared with the interpreter before it judges a call, and on samples after.

use super::boundary::Boundary;
use policy_lang::{Decision, Facts, Phase, Program, Trace, Truth, conclude, trace, with_risk};
use std::fmt;

/// Boundary requests per program.
const REQUESTS_MAX: usize = 2_000;
/// Rules judged in all requests together; it bounds the time for very large sets (a few tens of milliseconds).
const RULES_JUDGED_MAX: usize = 4_000_000;

/// Native code and interpreter do not say the same. The interpreter is right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Divergence {
    /// The first rule that came out differently; none when only the conclusion did.
    pub rule: Option<String>,
    /// What native code says.
    pub native: String,
    /// What the interpreter says.
    pub interpreted: String,
    /// Number of the boundary request, which are made the same way every time; none on a sampled call.
    pub request: Option<usize>,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("native code disagrees with the interpreter on ")?;
        match &self.rule {
            Some(rule) => write!(f, "rule {rule}")?,
            None => f.write_str("the conclusion")?,
        }
        write!(f, ": {} instead of {}", self.native, self.interpreted)?;
        match self.request {
            Some(request) => write!(f, " (boundary request {request})"),
            None => Ok(()),
        }
    }
}

/// Runs boundary requests through the interpreter and through `judge`.
///
/// # Errors
/// [`Divergence`] at the first request on which they differ.
pub(super) fn replay(program: &Program, judge: impl Fn(&Facts<'_>) -> (Trace, Decision)) -> Result<(), Divergence> {
    let boundary = Boundary::new(program);
    let affordable = RULES_JUDGED_MAX / program.rules.len().max(1);
    for (number, request) in boundary.requests(affordable.min(REQUESTS_MAX)).enumerate() {
        request.with_facts(|facts| match compare(program, facts, judge(facts)) {
            None => Ok(()),
            Some(divergence) => Err(Divergence { request: Some(number), ..divergence }),
        })?;
    }
    Ok(())
}

/// Where native code and interpreter differ on a call.
pub(super) fn compare(program: &Program, facts: &Facts<'_>, native: (Trace, Decision)) -> Option<Divergence> {
    let facts = &with_risk(program, facts);
    let interpreted = trace(program, facts, Phase::Request);
    let (native, decision) = native;
    if interpreted != native {
        let of = |trace: &Trace, index: usize| trace.truths.get(index).copied().unwrap_or(Truth::Error);
        let rules = program.rules.iter().enumerate();
        let mut differing = rules.filter(|(index, _)| of(&interpreted, *index) != of(&native, *index));
        let (rule, index) = differing.next().map_or((None, 0), |(index, rule)| (Some(rule.name.clone()), index));
        let text = |trace: &Trace| format!("{:?}", of(trace, index));
        return Some(Divergence { rule, native: text(&native), interpreted: text(&interpreted), request: None });
    }
    let concluded = conclude(program, &interpreted, facts);
    (concluded != decision).then(|| Divergence {
        rule: None,
        native: format!("{decision:?}"),
        interpreted: format!("{concluded:?}"),
        request: None,
    })
}
