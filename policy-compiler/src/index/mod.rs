//! Which rules can hold at all, found without looking at each: bit-vectors per value of an attribute, ANDed.
//!
//! A rule has a *slot*, or several: one for each way in which it can hold, where it joins different attributes by `or`. For every
//! attribute that many rules restrict (model, endpoint, address, groups…) there is a row of slots per class of values: those of the
//! rules that allow this class or do not look at the attribute. The AND of the rows of a call is a superset of the rules that are
//! true or errors; a summary of one bit per word skips what is zero. The part for the caller is computed once per token. Slots are
//! sorted so that rules alike in their rarest values stand in the same words.
//!
//! Parts of a condition that the index has settled are left out of the rule's code; a rule of which nothing is left holds when
//! its bit does. Rules that can never hold and rules of the response phase have no slot.
//!
//! Rules cannot be left unjudged once a denial is known, since the trace records all that held; restricting rules still come first.

mod attributes;
mod lists;
mod rows;
mod ways;

pub(crate) use lists::Lists;

use crate::native::{IdentityFacts, Plan, Slots};
use crate::planted::planted;
use attributes::{Attribute, Need, is_in_head, need, value_count};
use policy_lang::{Condition, Effect, Phase, Program};
use rows::{Row, Rows, pack, summaries};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use ways::ways;

/// Attributes of calls that are looked up; each costs a look-up per call.
const CALL_ATTRIBUTES_MAX: usize = 4;
/// An attribute is worth its look-up when it restricts at least one in so many rules.
const RESTRICTED_ONE_IN: usize = 16;
/// Below so many rules straight-line code always wins.
const RULES_MIN: usize = 32;

/// Groups, scopes and the like that a caller is assumed to have, to estimate how many rules stay candidates.
const MEMBERSHIPS_ASSUMED: f64 = 8.0;
/// Estimates in nanoseconds, measured once on a current server processor: a node of straight-line code…
const STRAIGHT_NODE_NS: f64 = 0.45;
/// …the look-ups of the index…
const INDEX_NS: f64 = 40.0;
/// …and a candidate whose code is called.
const CANDIDATE_NS: f64 = 7.0;

/// An index over the rules of one program.
#[derive(Debug)]
pub(crate) struct Index {
    /// By slot: the rule.
    pub(crate) rules: Vec<u32>,
    /// The slots of rules that hold when they are candidates.
    pub(crate) exact: Vec<u64>,
    /// The slots of rules that add to `request.risk`.
    pub(crate) risk: Vec<u64>,
    /// All slots.
    all: Vec<u64>,
    texts: Vec<TextRows>,
    address: Option<Rows>,
    callers: Vec<CallerRows>,
}

/// A rule in its slot: what of its condition is left for code, as a conjunction.
pub(crate) struct Slotted<'p> {
    pub(crate) rule: usize,
    pub(crate) left: Vec<&'p Condition>,
}

#[derive(Debug)]
struct TextRows {
    field: usize,
    classes: Rows,
    /// Rules that the end of a text makes candidates; none when no condition has a suffix.
    suffixes: Option<Rows>,
}

/// An attribute of callers.
#[derive(Debug)]
struct CallerRows {
    /// The slots of rules that do not look at it.
    always: Vec<u64>,
    /// By bit of the caller (claims behind them): slots.
    slots: Lists,
}

/// The rows of one call.
#[derive(Clone, Copy, Default)]
struct CallRows<'a> {
    row: Row<'a>,
    /// What the end of a text adds.
    more: Row<'a>,
}

impl Index {
    /// An index over the rules, when it is estimated to be faster than judging them all (or `forced`).
    pub(crate) fn new<'p>(program: &'p Program, plan: &Plan, forced: bool) -> Option<(Self, Vec<Slotted<'p>>)> {
        let mut analysed: Vec<Analysed<'p>> = analyse(program, plan, forced);
        if program.rules.len() <= RULES_MIN && !forced {
            return None;
        }
        let attributes = choose_attributes(plan, &analysed);
        for rule in &mut analysed {
            rule.take(&attributes);
        }
        if !forced && !pays(&analysed, &attributes, plan) {
            return None;
        }
        let by_selectivity = by_selectivity(&attributes, &analysed, plan);
        analysed.sort_by_cached_key(|rule| rule.place(program, &by_selectivity));
        let mut index = Self::over(program, plan, &attributes, &analysed);
        let slotted = analysed.into_iter().enumerate().map(|(slot, rule)| {
            let left = rule.left(&index);
            if left.is_empty()
                && let Some(word) = index.exact.get_mut(slot / 64)
            {
                *word |= 1 << (slot % 64);
            }
            Slotted { rule: rule.rule, left }
        });
        let slotted = slotted.collect();
        Some((index, slotted))
    }

    fn over(program: &Program, plan: &Plan, attributes: &[Attribute], rules: &[Analysed<'_>]) -> Self {
        let words = rules.len().div_ceil(64);
        let mut all = vec![0; words];
        let mut risk = vec![0; words];
        for (slot, rule) in rules.iter().enumerate() {
            set(&mut all, slot);
            if program.rules.get(rule.rule).is_some_and(|rule| risk_points(rule) > 0) {
                set(&mut risk, slot);
            }
        }
        let mut index = Self {
            rules: rules.iter().map(|rule| rule.rule as u32).collect(),
            exact: vec![0; words],
            risk,
            all,
            texts: Vec::new(),
            address: None,
            callers: Vec::new(),
        };
        for attribute in attributes {
            index.add(plan, *attribute, rules);
        }
        index
    }

    fn add(&mut self, plan: &Plan, attribute: Attribute, rules: &[Analysed<'_>]) {
        let mut always = vec![0; self.all.len()];
        let (mut values, mut ends) = (Vec::new(), Vec::new());
        for (slot, rule) in rules.iter().enumerate() {
            match rule.taken.get(&attribute).and_then(|part| rule.needs.get(part)) {
                None if planted!(RowsForgetTheDefault) && !attribute.of_caller() => {}
                None if planted!(MemberRowsForgetTheDefault) && attribute.of_caller() => {}
                None => set(&mut always, slot),
                Some(need) => {
                    values.extend(need.values.iter().map(|value| (*value, slot as u32)));
                    ends.extend(need.suffixes.iter().map(|value| (*value, slot as u32)));
                }
            }
        }
        match attribute {
            Attribute::Text(field) => {
                let Some(texts) = plan.texts.get(field) else { return };
                let classes = Rows::new(texts.class_count(), &always, values.into_iter());
                let none = vec![0; always.len()];
                let suffixes = (!ends.is_empty()).then(|| Rows::new(texts.suffix_count(), &none, ends.into_iter()));
                self.texts.push(TextRows { field, classes, suffixes });
            }
            Attribute::Address => {
                self.address = Some(Rows::new(plan.addresses.count(), &always, values.into_iter()));
            }
            Attribute::Groups | Attribute::Scopes | Attribute::CallerText(_) | Attribute::Claims => {
                let slots = Lists::new(plan.members + plan.claims.len(), values);
                self.callers.push(CallerRows { always, slots });
            }
        }
    }

    /// Whether a bit of this attribute's rows says that the part is not false; otherwise it may be that of another class.
    fn settles(&self, attribute: Attribute) -> bool {
        match attribute {
            Attribute::Text(field) => self.texts.iter().any(|rows| {
                let shares = |rows: &Rows| rows.shared;
                rows.field == field && !shares(&rows.classes) && !rows.suffixes.as_ref().is_some_and(shares)
            }),
            _ => true,
        }
    }

    /// The candidates that the caller leaves, into `caller.candidates`; `members` and `claims` are judged.
    pub(crate) fn narrow(&self, plan: &Plan, caller: &mut IdentityFacts) {
        let mut candidates = self.all.clone();
        for rows in &self.callers {
            let mut row = rows.always.clone();
            let mut hold = |value: u32| rows.slots.of(value).iter().for_each(|slot| set(&mut row, *slot as usize));
            for (place, word) in caller.members.iter().enumerate() {
                bits(*word).for_each(|bit| hold((place * 64 + bit) as u32));
            }
            for (claim, truth) in caller.claims.iter().enumerate() {
                if *truth != 0 {
                    hold((plan.members + claim) as u32);
                }
            }
            for (word, row) in candidates.iter_mut().zip(row) {
                *word &= row;
            }
        }
        caller.candidates.clear();
        pack(&candidates, &mut caller.candidates);
    }

    /// Calls `visit` for every word of slots with candidates. `caller` was narrowed by this index.
    #[inline]
    pub(crate) fn candidates(&self, slots: &Slots, caller: &IdentityFacts, visit: impl FnMut(usize, u64)) {
        self.join(self.rows(slots, true), caller, visit);
    }

    /// The same of a call whose body was not read; its model may be known from the path.
    pub(crate) fn head_candidates(
        &self,
        slots: &Slots,
        caller: &IdentityFacts,
        knows_model: bool,
        visit: impl FnMut(usize, u64),
    ) {
        self.join(self.rows(slots, knows_model), caller, visit);
    }

    #[inline]
    fn rows<'a>(&'a self, slots: &Slots, knows_model: bool) -> ([CallRows<'a>; CALL_ATTRIBUTES_MAX], usize) {
        let mut rows = [CallRows::default(); CALL_ATTRIBUTES_MAX];
        let mut count = 0;
        let mut push = |row: CallRows<'a>| {
            if let Some(free) = rows.get_mut(count) {
                *free = row;
                count += 1;
            }
        };
        for text in &self.texts {
            if !knows_model && !is_in_head(Attribute::Text(text.field)) {
                continue;
            }
            let class = slots.strings.get(text.field).copied().unwrap_or_default();
            let suffix = slots.suffixes.get(text.field).copied().unwrap_or_default();
            let more = text.suffixes.as_ref().filter(|_| suffix != 0).map(|rows| rows.row(suffix));
            push(CallRows { row: text.classes.row(class), more: more.unwrap_or_default() });
        }
        // Where the address is unknown, conditions on it are errors, which no row tells.
        if let Some(address) = self.address.as_ref().filter(|_| slots.address_known == 1) {
            push(CallRows { row: address.row(slots.address), more: Row::default() });
        }
        (rows, count)
    }

    #[inline]
    fn join(
        &self,
        (rows, count): ([CallRows<'_>; CALL_ATTRIBUTES_MAX], usize),
        caller: &IdentityFacts,
        mut visit: impl FnMut(usize, u64),
    ) {
        let rows = rows.get(..count).unwrap_or_default();
        let candidates = Row(&caller.candidates);
        let summaries = summaries(self.all.len());
        for place in 0..summaries {
            let mut summary = rows.iter().fold(candidates.summary(place), |summary, row| summary & row.summary(place));
            if planted!(SummaryLosesAWord) {
                summary &= !2;
            }
            while summary != 0 {
                let bit = summary.trailing_zeros();
                summary &= summary - 1;
                let own = candidates.word(place, bit, summaries);
                let slots = rows.iter().fold(own, |slots, row| slots & row.word(place, bit, summaries));
                if slots != 0 {
                    visit(place * 64 + bit as usize, slots);
                }
            }
        }
    }
}

impl CallRows<'_> {
    #[inline]
    fn summary(&self, place: usize) -> u64 {
        self.row.summary(place) | self.more.summary(place)
    }

    #[inline]
    fn word(&self, place: usize, bit: u32, summaries: usize) -> u64 {
        let more = if self.more.0.is_empty() { 0 } else { self.more.word(place, bit, summaries) };
        self.row.word(place, bit, summaries) | more
    }
}

/// The points that an enforced rule adds to `request.risk`.
pub(crate) fn risk_points(rule: &policy_lang::Rule) -> i64 {
    if rule.shadow && !planted!(ShadowRiskCounts) {
        return 0;
    }
    let points = rule.effects.iter().map(|effect| match effect {
        Effect::Risk { points, .. } => i64::from(*points),
        _ => 0,
    });
    points.sum()
}

/// A rule, or one of the ways in which it can hold, and what of it an index can use.
struct Analysed<'p> {
    rule: usize,
    parts: Vec<&'p Condition>,
    /// By part.
    needs: HashMap<usize, Need>,
    /// Which part the index uses for an attribute.
    taken: BTreeMap<Attribute, usize>,
}

fn analyse<'p>(program: &'p Program, plan: &Plan, forced: bool) -> Vec<Analysed<'p>> {
    let rules = program.rules.iter().enumerate().filter(|(_, rule)| rule.phase == Phase::Request);
    let analysed = rules.flat_map(|(number, rule)| {
        ways(program, plan, rule, forced).into_iter().map(move |parts| {
            let needs = parts.iter().enumerate().filter_map(|(place, part)| Some((place, need(program, plan, part)?)));
            Analysed { rule: number, needs: needs.collect(), parts, taken: BTreeMap::new() }
        })
    });
    analysed.collect()
}

/// The attributes that restrict the most rules.
fn choose_attributes(plan: &Plan, rules: &[Analysed<'_>]) -> Vec<Attribute> {
    let mut restricted: BTreeMap<Attribute, usize> = BTreeMap::new();
    for rule in rules {
        let mut attributes: Vec<_> = rule.needs.values().map(|need| need.attribute).collect();
        attributes.sort_unstable();
        attributes.dedup();
        for attribute in attributes {
            *restricted.entry(attribute).or_default() += 1;
        }
    }
    let words = rules.len().div_ceil(64);
    let worth = |(attribute, count): &(Attribute, usize)| {
        // Rows that all classes share tell nothing.
        let tells = attribute.of_caller() || Rows::affordable(value_count(plan, *attribute), words) > 1;
        count * RESTRICTED_ONE_IN >= rules.len() && tells
    };
    let mut chosen: Vec<(Attribute, usize)> = restricted.into_iter().filter(worth).collect();
    chosen.sort_by_key(|(attribute, count)| (Reverse(*count), *attribute));
    let mut of_calls = 0;
    chosen.retain(|(attribute, _)| {
        of_calls += usize::from(!attribute.of_caller());
        attribute.of_caller() || of_calls <= CALL_ATTRIBUTES_MAX
    });
    chosen.into_iter().map(|(attribute, _)| attribute).collect()
}

/// How likely a need is met, for the estimate.
fn chance(need: &Need, plan: &Plan) -> f64 {
    let values = (need.values.len() + need.suffixes.len()) as f64;
    let assumed = if need.attribute.of_caller() { MEMBERSHIPS_ASSUMED } else { 1.0 };
    (values * assumed / value_count(plan, need.attribute).max(1) as f64).min(1.0)
}

/// Whether the index is estimated to be faster than straight-line code.
fn pays(rules: &[Analysed<'_>], attributes: &[Attribute], plan: &Plan) -> bool {
    let candidates: f64 = rules
        .iter()
        .map(|rule| {
            let chances = attributes.iter().filter_map(|attribute| rule.taken.get(attribute));
            chances.filter_map(|part| rule.needs.get(part)).map(|need| chance(need, plan)).product::<f64>()
        })
        .sum();
    // The ways of a rule stand one behind the other.
    let whole = rules.chunk_by(|left, right| left.rule == right.rule).filter_map(<[_]>::first);
    let nodes: usize = whole.map(|rule| 2 + rule.parts.len() * 2).sum();
    INDEX_NS + candidates * CANDIDATE_NS < nodes as f64 * STRAIGHT_NODE_NS
}

/// The rarest first: slots are sorted by it.
fn by_selectivity(attributes: &[Attribute], rules: &[Analysed<'_>], plan: &Plan) -> Vec<Attribute> {
    let mean = |attribute: &Attribute| {
        let needs = rules.iter().filter_map(|rule| rule.needs.get(rule.taken.get(attribute)?));
        let (sum, count) = needs.fold((0.0, 0), |(sum, count), need| (sum + chance(need, plan), count + 1));
        sum / f64::from(count.max(1))
    };
    let mut sorted: Vec<(f64, Attribute)> = attributes.iter().map(|attribute| (mean(attribute), *attribute)).collect();
    sorted.sort_by(|left, right| left.0.total_cmp(&right.0).then(left.1.cmp(&right.1)));
    sorted.into_iter().map(|(_, attribute)| attribute).collect()
}

impl<'p> Analysed<'p> {
    /// Of several parts on one attribute the one with the fewest values.
    fn take(&mut self, attributes: &[Attribute]) {
        for attribute in attributes {
            let own = self.needs.iter().filter(|(_, need)| need.attribute == *attribute);
            let best = own.min_by_key(|(place, need)| (need.values.len() + need.suffixes.len(), **place));
            if let Some((place, _)) = best {
                self.taken.insert(*attribute, *place);
            }
        }
    }

    /// The parts that remain once the index was asked.
    fn left(&self, index: &Index) -> Vec<&'p Condition> {
        let settled = |place: usize| {
            let Some(need) = self.needs.get(&place) else { return false };
            let taken = self.taken.get(&need.attribute) == Some(&place) || planted!(OtherAttributesSettle);
            taken && (need.exact || planted!(ErrorsSettle)) && index.settles(need.attribute)
        };
        let left = self.parts.iter().enumerate().filter(|(place, _)| !settled(*place)).map(|(_, part)| *part);
        let mut left: Vec<_> = left.collect();
        if planted!(PartlySettledIsExact) && left.len() == 1 {
            left.clear();
        }
        left
    }

    /// Rules that add risk, then those that restrict; among them the like beside the like.
    fn place(&self, program: &Program, attributes: &[Attribute]) -> (bool, bool, Vec<u32>, usize) {
        let rule = program.rules.get(self.rule);
        let adds_risk = rule.is_some_and(|rule| risk_points(rule) > 0);
        let restricts = rule.is_some_and(policy_lang::Rule::restricts);
        let first = |attribute: &Attribute| {
            let need = self.taken.get(attribute).and_then(|part| self.needs.get(part));
            need.and_then(|need| need.values.first().or(need.suffixes.first())).copied().unwrap_or(u32::MAX)
        };
        (!adds_risk, !restricts, attributes.iter().map(first).collect(), self.rule)
    }
}

/// The places of the bits that are set.
pub(crate) fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros() as usize;
        (word != 0).then(|| {
            word &= word - 1;
            bit
        })
    })
}

pub(crate) fn set(bits: &mut [u64], bit: usize) {
    if let Some(word) = bits.get_mut(bit / 64) {
        *word |= 1 << (bit % 64);
    }
}
