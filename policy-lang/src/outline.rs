//! What each rule brings when it holds, in a few bytes: so that a conclusion touches only the rules whose effects are uncommon.

use crate::effect::{Effect, RecordBound, RecordLevel, Side};
use crate::program::{Program, Rule, RuleId};
use smol_str::SmolStr;
use std::collections::HashMap;

/// Effects of a rule that have a bit in [`Outline`]'s sets of handles.
const EFFECTS_MAX: usize = u16::BITS as usize;

/// The outlines of all rules of a program, ten bytes each, and their distinct denials.
#[derive(Clone, Debug, Default)]
pub struct Outlines {
    rules: Vec<Outline>,
    denials: Vec<(SmolStr, u16)>,
}

/// What one rule brings. `masks`, `limits` and `alerts` are sets of positions of effects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outline {
    flags: u16,
    /// One more than its place in the denials; 0 is none.
    denial: u16,
    pub(crate) masks: u16,
    pub(crate) limits: u16,
    pub(crate) alerts: u16,
}

impl Outlines {
    /// Looks at every rule of the program once.
    #[must_use]
    pub fn new(program: &Program) -> Self {
        let mut outlines = Self { rules: Vec::with_capacity(program.rules.len()), denials: Vec::new() };
        let mut known = HashMap::new();
        for rule in &program.rules {
            let outline = outlines.outline(rule, &mut known);
            outlines.rules.push(outline);
        }
        outlines
    }

    #[inline]
    pub(crate) fn of(&self, rule: RuleId) -> Option<Outline> {
        self.rules.get(rule.0 as usize).copied()
    }

    /// Text and status of the rule's denial.
    #[inline]
    pub(crate) fn denial(&self, outline: Outline) -> Option<(&SmolStr, u16)> {
        let (text, status) = self.denials.get(usize::from(outline.denial).checked_sub(1)?)?;
        Some((text, *status))
    }

    fn outline<'p>(&mut self, rule: &'p Rule, known: &mut HashMap<(&'p str, u16), u16>) -> Outline {
        let mut outline = Outline::default();
        outline.set(Outline::SHADOW, rule.shadow);
        outline.set(Outline::RESTRICTS, rule.restricts());
        outline.set(Outline::LOOKED_UP, rule.effects.len() > EFFECTS_MAX);
        for (position, effect) in rule.effects.iter().enumerate().take(EFFECTS_MAX) {
            let handle = 1 << position;
            match effect {
                Effect::Allow => outline.set(Outline::ALLOWS, true),
                Effect::Deny { text, status, .. } if outline.denial == 0 => {
                    let next = u16::try_from(self.denials.len() + 1).ok();
                    let place = known.get(&(text.as_str(), *status)).copied();
                    match place.or(next) {
                        Some(place) => {
                            outline.denial = place;
                            if known.insert((text, *status), place).is_none() {
                                self.denials.push((text.into(), *status));
                            }
                        }
                        None => outline.set(Outline::LOOKED_UP, true),
                    }
                }
                Effect::Risk { .. } => {}
                Effect::Mask(_) => outline.masks |= handle,
                Effect::LimitRate(_) => outline.limits |= handle,
                Effect::Alert { .. } => outline.alerts |= handle,
                Effect::Record { bound, level } => outline.set(Outline::record(*bound, *level), true),
                Effect::Seal(Side::Request) => outline.set(Outline::SEALS_REQUEST, true),
                Effect::Seal(Side::Response) => outline.set(Outline::SEALS_RESPONSE, true),
                Effect::Deny { .. }
                | Effect::RequireApproval(_)
                | Effect::RequireGrant(_)
                | Effect::RequirePurpose(_)
                | Effect::Purpose { .. }
                | Effect::LimitField { .. }
                | Effect::Retain { .. } => outline.set(Outline::LOOKED_UP, true),
            }
        }
        outline
    }
}

impl Outline {
    pub(crate) const ALLOWS: u16 = 1;
    pub(crate) const SHADOW: u16 = 1 << 1;
    pub(crate) const RESTRICTS: u16 = 1 << 2;
    /// The outline does not hold all of its effects: the rule itself says.
    pub(crate) const LOOKED_UP: u16 = 1 << 3;
    pub(crate) const SEALS_REQUEST: u16 = 1 << 4;
    pub(crate) const SEALS_RESPONSE: u16 = 1 << 5;
    /// Four bits, by bound and level.
    const RECORD_FIRST: u32 = 6;

    pub(crate) const fn record(bound: RecordBound, level: RecordLevel) -> u16 {
        1 << (Self::RECORD_FIRST + bound as u32 * 2 + level as u32)
    }

    #[inline]
    pub(crate) fn has(self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// It allows and does nothing else, and is enforced.
    #[inline]
    pub(crate) fn only_allows(self) -> bool {
        self == Self { flags: Self::ALLOWS, ..Self::default() }
    }

    fn set(&mut self, flag: u16, on: bool) {
        if on {
            self.flags |= flag;
        }
    }
}
