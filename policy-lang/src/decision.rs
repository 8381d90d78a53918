//! From "which rules hold" to what happens: the meaning of POLICY-LANGUAGE §4, shared by interpreter and native code.

use crate::facts::{DeclaredPurpose, Facts};
use crate::outline::{Outline, Outlines};
use crate::program::{
    ApprovalRequirement, Effect, GrantRequirement, Mask, Phase, Program, PurposeRequirement, RateLimit, RecordBound,
    RecordLevel, Rule, RuleId, Severity, Side, SourceKind,
};
use crate::schema::IntField;
use smallvec::SmallVec;
use smol_str::SmolStr;
use std::time::Duration;

/// How one rule came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Truth {
    /// Its condition does not hold.
    False = 0,
    /// Its condition could not be judged.
    Error = 1,
    /// Its condition holds.
    True = 2,
}

/// Which rules were true and which were errors, by [`RuleId`]. Rules of another phase are false.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// One byte per rule, a [`Truth`].
    pub truths: Vec<Truth>,
}

/// Rules in name order. The few that most calls meet need no memory of their own.
pub type Rules = SmallVec<[RuleId; 4]>;

/// The outcome of judging one call.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// What happens.
    pub verdict: Verdict,
    /// Rules that held (enforced ones), in name order.
    pub fired: Rules,
    /// Shadow rules that held.
    pub shadow_fired: Rules,
    /// Rules that could not be judged.
    pub errors: Rules,
    /// Everything that stood against the call, in the order of §4; empty unless the verdict is a denial.
    pub reasons: SmallVec<[Reason; 2]>,
    /// What the call owes if it goes forward.
    pub obligations: Obligations,
}

/// What happens to the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to the model.
    Forward,
    /// It waits for people.
    Pending(Requirements),
    /// It is refused.
    Deny(Denial),
}

/// What people must agree to before the call goes forward; sorted, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    /// Approvals of this call.
    pub approvals: Vec<ApprovalRequirement>,
    /// Access for a time.
    pub grants: Vec<GrantRequirement>,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// For the caller. Those of rules are shared, not copied.
    pub text: SmolStr,
    /// HTTP status.
    pub status: u16,
    /// The rule whose text it is; none when no rule allows the call.
    pub rule: Option<RuleId>,
}

/// One thing that stood against the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// What it was.
    pub kind: ReasonKind,
    /// Whose it was; none when no rule allows the call.
    pub rule: Option<RuleId>,
}

/// What stood against a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasonKind {
    /// A rule that denies held.
    Denied,
    /// A rule that restricts could not be judged.
    Unjudged,
    /// No rule allows the call.
    NotAllowed,
    /// Its purpose is missing or does not fit.
    Purpose,
    /// A number of it is over a bound.
    Limit,
}

/// What a forwarded call owes. Effects are given as (rule, index of the effect in the rule): the program holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obligations {
    /// Masks and drops of the rules that held.
    pub masks: Vec<(RuleId, u32)>,
    /// Rate limits to charge.
    pub limits: Vec<(RuleId, u32)>,
    /// Alerts to raise, also of a refused call.
    pub alerts: Vec<(RuleId, u32)>,
    /// How much of the payload is kept.
    pub record: RecordLevel,
    /// The payload is kept at least this long.
    pub retain_at_least: Option<Duration>,
    /// And at most this long.
    pub retain_at_most: Option<Duration>,
    /// The original of the request is kept sealed.
    pub seal_request: bool,
    /// The original of the answer is kept sealed.
    pub seal_response: bool,
    /// The purpose of the call, as recorded.
    pub purpose: Option<Purpose>,
}

impl Default for Obligations {
    fn default() -> Self {
        Self {
            masks: Vec::new(),
            limits: Vec::new(),
            alerts: Vec::new(),
            record: RecordLevel::Full,
            retain_at_least: None,
            retain_at_most: None,
            seal_request: false,
            seal_response: false,
            purpose: None,
        }
    }
}

/// Why a call is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// Its name.
    pub purpose: String,
    /// The lawful basis, or empty.
    pub basis: String,
    /// Who said so.
    pub source: SourceKind,
}

impl Decision {
    /// Nothing stands against the call yet. No default that anybody else could take for a judgement.
    fn open() -> Self {
        Self {
            verdict: Verdict::Forward,
            fired: Rules::new(),
            shadow_fired: Rules::new(),
            errors: Rules::new(),
            reasons: SmallVec::new(),
            obligations: Obligations::default(),
        }
    }
}

const UNJUDGED: SmolStr = SmolStr::new_static("The policy could not be judged for this call.");
const NOT_ALLOWED: SmolStr = SmolStr::new_static("No rule allows this call.");

/// Draws the conclusion of the request phase from a trace. Total: a trace shorter than the rule list counts the missing rules as errors.
#[must_use]
pub fn conclude(program: &Program, trace: &Trace, facts: &Facts<'_>) -> Decision {
    draw(program, trace, facts, Phase::Request)
}

/// Draws the conclusion of the response phase: the verdict is a denial or [`Verdict::Forward`], the obligations are those of
/// response-phase rules alone.
#[must_use]
pub fn conclude_response(program: &Program, trace: &Trace, facts: &Facts<'_>) -> Decision {
    draw(program, trace, facts, Phase::Response)
}

/// Draws the conclusion of the request phase from the rules that held or could not be judged alone: what [`conclude`] says of a
/// trace in which all other rules are false. `hits` come in ascending order of their ids, each once, none of them false or of
/// another phase. `outlines` are those of the program; `risk` is `request.risk`, whatever the facts say of it.
#[must_use]
pub fn conclude_hits(
    program: &Program,
    outlines: &Outlines,
    hits: &[(RuleId, Truth)],
    facts: &Facts<'_>,
    risk: Option<i64>,
) -> Decision {
    let mut decision = Decision::open();
    decision.fired = Rules::with_capacity(hits.len());
    let mut drawing = Drawing::new(&mut decision);
    for (id, truth) in hits {
        drawing.hit_outlined(program, outlines, *id, *truth);
    }
    drawing.finish_request(facts, risk);
    decision
}

fn draw(program: &Program, trace: &Trace, facts: &Facts<'_>, phase: Phase) -> Decision {
    let mut decision = Decision::open();
    let mut drawing = Drawing::new(&mut decision);
    for (index, rule) in program.rules.iter().enumerate().filter(|(_, rule)| rule.phase == phase) {
        let id = RuleId(u32::try_from(index).unwrap_or(u32::MAX));
        drawing.hit(id, rule, trace.truths.get(index).copied().unwrap_or(Truth::Error));
    }
    match phase {
        Phase::Request => drawing.finish_request(facts, facts.int(IntField::Risk)),
        Phase::Response => drawing.finish(),
    }
    decision
}

/// Collects what the rules that held bring. The decision is written where it will stand: it is large to move.
struct Drawing<'d, 'p> {
    decision: &'d mut Decision,
    allowed: bool,
    required: Requirements,
    purposes_required: Vec<(RuleId, &'p PurposeRequirement)>,
    purposes_given: Vec<DeclaredPurpose<'p>>,
    numbers: Vec<(RuleId, IntField, i64)>,
    record_at_least: Option<RecordLevel>,
    record_at_most: Option<RecordLevel>,
}

impl<'d, 'p> Drawing<'d, 'p> {
    fn new(decision: &'d mut Decision) -> Self {
        Self {
            decision,
            allowed: false,
            required: Requirements::default(),
            purposes_required: Vec::new(),
            purposes_given: Vec::new(),
            numbers: Vec::new(),
            record_at_least: None,
            record_at_most: None,
        }
    }

    fn hit(&mut self, id: RuleId, rule: &'p Rule, truth: Truth) {
        match truth {
            Truth::False => {}
            Truth::Error => {
                self.decision.errors.push(id);
                if rule.restricts() && !rule.shadow {
                    self.against(ReasonKind::Unjudged, Some(id), UNJUDGED, 403);
                }
            }
            Truth::True if rule.shadow => self.decision.shadow_fired.push(id),
            Truth::True => {
                self.decision.fired.push(id);
                self.fire(id, rule);
            }
        }
    }

    /// The same without a look at the rule, unless its effects are uncommon.
    #[inline]
    fn hit_outlined(&mut self, program: &'p Program, outlines: &Outlines, id: RuleId, truth: Truth) {
        let Some(outline) = outlines.of(id) else { return };
        match truth {
            Truth::False => {}
            Truth::Error => {
                self.decision.errors.push(id);
                if outline.has(Outline::RESTRICTS) && !outline.has(Outline::SHADOW) {
                    self.against(ReasonKind::Unjudged, Some(id), UNJUDGED, 403);
                }
            }
            Truth::True if outline.only_allows() => {
                self.decision.fired.push(id);
                self.allowed = true;
            }
            Truth::True if outline.has(Outline::SHADOW) => self.decision.shadow_fired.push(id),
            Truth::True => {
                self.decision.fired.push(id);
                match program.rules.get(id.0 as usize) {
                    Some(rule) if outline.has(Outline::LOOKED_UP) => self.fire(id, rule),
                    _ => self.fire_outlined(id, outline, outlines),
                }
            }
        }
    }

    fn finish_request(&mut self, facts: &Facts<'_>, risk: Option<i64>) {
        if !self.allowed {
            self.against(ReasonKind::NotAllowed, None, NOT_ALLOWED, 403);
        }
        self.judge_purposes(facts);
        self.judge_numbers(facts, risk);
        self.finish();
    }

    fn fire(&mut self, id: RuleId, rule: &'p Rule) {
        for (position, effect) in rule.effects.iter().enumerate() {
            let handle = (id, u32::try_from(position).unwrap_or(u32::MAX));
            match effect {
                Effect::Allow => self.allowed = true,
                Effect::Deny { text, status, .. } => self.against(ReasonKind::Denied, Some(id), text.into(), *status),
                Effect::RequireApproval(requirement) => self.required.approvals.push(requirement.clone()),
                Effect::RequireGrant(requirement) => self.required.grants.push(requirement.clone()),
                Effect::RequirePurpose(requirement) => self.purposes_required.push((id, requirement)),
                Effect::Purpose { purpose, basis } => self.purposes_given.push(DeclaredPurpose {
                    purpose,
                    basis: basis.as_deref().unwrap_or(""),
                    source: SourceKind::Policy,
                }),
                // Summed up before the rules that read it are judged.
                Effect::Risk { .. } => {}
                Effect::Mask(_) => self.decision.obligations.masks.push(handle),
                Effect::LimitRate(_) => self.decision.obligations.limits.push(handle),
                Effect::LimitField { field, max } => self.numbers.push((id, *field, *max)),
                Effect::Record { bound, level } => self.record(*bound, *level),
                Effect::Retain { bound: RecordBound::AtLeast, time } => {
                    let longest = self.decision.obligations.retain_at_least.max(Some(*time));
                    self.decision.obligations.retain_at_least = longest;
                }
                Effect::Retain { bound: RecordBound::AtMost, time } => {
                    let shortest = self.decision.obligations.retain_at_most.map_or(*time, |other| other.min(*time));
                    self.decision.obligations.retain_at_most = Some(shortest);
                }
                Effect::Seal(Side::Request) => self.decision.obligations.seal_request = true,
                Effect::Seal(Side::Response) => self.decision.obligations.seal_response = true,
                Effect::Alert { .. } => self.decision.obligations.alerts.push(handle),
            }
        }
    }

    fn fire_outlined(&mut self, id: RuleId, outline: Outline, outlines: &Outlines) {
        self.allowed |= outline.has(Outline::ALLOWS);
        if let Some((text, status)) = outlines.denial(outline) {
            self.against(ReasonKind::Denied, Some(id), text.clone(), status);
        }
        for bound in [RecordBound::AtLeast, RecordBound::AtMost] {
            for level in [RecordLevel::Metadata, RecordLevel::Full] {
                if outline.has(Outline::record(bound, level)) {
                    self.record(bound, level);
                }
            }
        }
        let obligations = &mut self.decision.obligations;
        obligations.seal_request |= outline.has(Outline::SEALS_REQUEST);
        obligations.seal_response |= outline.has(Outline::SEALS_RESPONSE);
        for (handles, mut positions) in [
            (&mut obligations.masks, outline.masks),
            (&mut obligations.limits, outline.limits),
            (&mut obligations.alerts, outline.alerts),
        ] {
            while positions != 0 {
                handles.push((id, positions.trailing_zeros()));
                positions &= positions - 1;
            }
        }
    }

    fn record(&mut self, bound: RecordBound, level: RecordLevel) {
        match bound {
            RecordBound::AtLeast => self.record_at_least = self.record_at_least.max(Some(level)),
            RecordBound::AtMost => {
                self.record_at_most = Some(self.record_at_most.map_or(level, |other| other.min(level)));
            }
        }
    }

    /// The caller hears the first reason; all are recorded. Rules come in name order, so it is the one with the lowest name.
    fn against(&mut self, kind: ReasonKind, rule: Option<RuleId>, text: SmolStr, status: u16) {
        self.decision.reasons.push(Reason { kind, rule });
        if self.decision.verdict == Verdict::Forward {
            self.decision.verdict = Verdict::Deny(Denial { text, status, rule });
        }
    }

    fn judge_purposes(&mut self, facts: &Facts<'_>) {
        let declared = || facts.purposes.iter().chain(&self.purposes_given);
        let unmet: Vec<_> = self
            .purposes_required
            .iter()
            .filter(|(_, wanted)| !declared().any(|given| wanted.accepts(given)))
            .map(|(rule, wanted)| (*rule, wanted.complaint()))
            .collect();
        // The best source first; of one source the first by name of the rule.
        let best = declared().filter(|given| !given.purpose.is_empty()).min_by_key(|given| given.source);
        self.decision.obligations.purpose = best.map(|given| Purpose {
            purpose: given.purpose.to_owned(),
            basis: given.basis.to_owned(),
            source: given.source,
        });
        for (rule, complaint) in unmet {
            self.against(ReasonKind::Purpose, Some(rule), complaint.into(), 403);
        }
    }

    fn judge_numbers(&mut self, facts: &Facts<'_>, risk: Option<i64>) {
        for (rule, field, max) in std::mem::take(&mut self.numbers) {
            let (_, name) = IntField::ALL.get(field as usize).copied().unwrap_or((field, "a number"));
            let number = if field == IntField::Risk { risk } else { facts.int(field) };
            match number {
                Some(found) if found <= max => {}
                Some(_) => {
                    let status = if field == IntField::RequestSize { 413 } else { 400 };
                    let text = format!("{name} is over the limit of {max}.");
                    self.against(ReasonKind::Limit, Some(rule), text.into(), status);
                }
                // What the caller leaves open cannot be held to a bound.
                None => {
                    let text = format!("{name} must be given, at most {max}.");
                    self.against(ReasonKind::Limit, Some(rule), text.into(), 400);
                }
            }
        }
    }

    fn finish(&mut self) {
        if !self.required.is_empty() && self.decision.verdict == Verdict::Forward {
            let mut required = std::mem::take(&mut self.required);
            required.approvals.sort();
            required.approvals.dedup();
            required.grants.sort();
            required.grants.dedup();
            self.decision.verdict = Verdict::Pending(required);
        }
        // Where bounds contradict, keeping more is the stricter reading; the default is to keep all.
        let at_most = self.record_at_most.unwrap_or(RecordLevel::Full);
        self.decision.obligations.record = self.record_at_least.map_or(at_most, |least| least.max(at_most));
    }
}

impl PurposeRequirement {
    /// Whether a declared purpose fits.
    #[must_use]
    pub fn accepts(&self, declared: &DeclaredPurpose<'_>) -> bool {
        self.from.contains(&declared.source)
            && self.purposes.contains(declared.purpose)
            && self.bases.as_ref().is_none_or(|bases| bases.contains(declared.basis))
    }

    /// For the caller: names the accepted purposes (§4.3).
    fn complaint(&self) -> String {
        let list = |set: &crate::program::StrSet| {
            let all: Vec<&str> = set.literals.iter().chain(&set.globs).map(String::as_str).collect();
            all.join(", ")
        };
        let mut text = format!("This call needs a declared purpose: {}", list(&self.purposes));
        if let Some(bases) = &self.bases {
            text += &format!(" (on the basis of {})", list(bases));
        }
        text + "."
    }
}

impl Requirements {
    /// Whether nobody has to be asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.approvals.is_empty() && self.grants.is_empty()
    }
}

impl Obligations {
    /// What several calls owe that are sent as one (the lines of a batch): everything, and the stricter bound of each kind.
    pub fn join(&mut self, other: Self) {
        let join = |into: &mut Vec<(RuleId, u32)>, from: Vec<(RuleId, u32)>| {
            into.extend(from);
            into.sort_unstable();
            into.dedup();
        };
        join(&mut self.masks, other.masks);
        join(&mut self.limits, other.limits);
        join(&mut self.alerts, other.alerts);
        self.record = self.record.max(other.record);
        self.retain_at_least = self.retain_at_least.max(other.retain_at_least);
        self.retain_at_most = match (self.retain_at_most, other.retain_at_most) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        self.seal_request |= other.seal_request;
        self.seal_response |= other.seal_response;
        self.purpose = self.purpose.take().or(other.purpose);
    }

    /// The mask effects themselves.
    pub fn resolve<'p>(&'p self, program: &'p Program) -> impl Iterator<Item = (&'p str, &'p Mask)> + 'p {
        self.masks.iter().filter_map(|handle| match effect(program, *handle)? {
            (rule, Effect::Mask(mask)) => Some((rule, mask)),
            _ => None,
        })
    }

    /// The rate limits themselves.
    pub fn resolve_limits<'p>(&'p self, program: &'p Program) -> impl Iterator<Item = (&'p str, &'p RateLimit)> + 'p {
        self.limits.iter().filter_map(|handle| match effect(program, *handle)? {
            (rule, Effect::LimitRate(limit)) => Some((rule, limit)),
            _ => None,
        })
    }

    /// The alerts themselves: rule, name, severity.
    pub fn resolve_alerts<'p>(
        &'p self,
        program: &'p Program,
    ) -> impl Iterator<Item = (&'p str, &'p str, Severity)> + 'p {
        self.alerts.iter().filter_map(|handle| match effect(program, *handle)? {
            (rule, Effect::Alert { name, severity }) => Some((rule, name.as_str(), *severity)),
            _ => None,
        })
    }
}

fn effect(program: &Program, (rule, effect): (RuleId, u32)) -> Option<(&str, &Effect)> {
    let rule = program.rules.get(rule.0 as usize)?;
    Some((rule.name.as_str(), rule.effects.get(effect as usize)?))
}
