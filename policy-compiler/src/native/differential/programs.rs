//! Random programs that use every kind of atom and effect, over a small alphabet so that conditions are often met.

use ipnet::IpNet;
use policy_lang::schema::{BoolField, IntField, StrField};
use policy_lang::{
    ApprovalRequirement, Atom, AtomId, Claim, ClaimTest, ClaimValue, CompareOp, Condition, CustomDetector, Effect,
    GrantRequirement, JsonPath, JsonTest, LimitKind, Mask, PathSegment, Phase, Program, PurposeRequirement, RateLimit,
    RecordBound, RecordLevel, Rule, Selector, Severity, Side, SourceKind, StrSet, TextTest, Transform,
};
use std::time::Duration;

pub(super) const TEXTS: [&str; 8] = ["a", "b", "ab", "abc", "a*", "ü", "bc", "xyz"];
const GLOBS: [&str; 12] = ["*", "a*", "ab*", "abc*", "*c", "*bc", "?b", "x?z", "a*c", "*b*", "ü", "model-1*"];
pub(super) const NAMES: [&str; 5] = ["g1", "g2", "g3", "g4", "g5"];
pub(super) const KEYS: [&str; 3] = ["role", "count", "flag"];
pub(super) const HEADERS: [&str; 2] = ["x-team", "x-kind"];
const NETS: [&str; 8] =
    ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "0.0.0.0/0", "255.0.0.0/8", "2001:db8::/32", "::/0", "ffff::/16"];
pub(super) const PROMPTS: [&str; 4] = ["", "abc", "the 7 weights", "mrn 1"];

/// SplitMix64: the same numbers on every machine.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, count: usize) -> usize {
        (self.next() % count.max(1) as u64) as usize
    }

    pub(super) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// Each item with this chance.
    pub(super) fn some<T: Copy>(&mut self, items: &[T], one_in: usize) -> Vec<T> {
        items.iter().copied().filter(|_| self.one_in(one_in)).collect()
    }
}

pub(super) fn model(number: usize) -> String {
    format!("model-{number:03}")
}

/// A random program. Kinds of atoms and effects go round, so that every program has some of each and a few have all.
pub(super) fn program(random: &mut Random) -> Program {
    let atoms: Vec<Atom> = (0..4 + random.below(20)).map(|_| atom(random)).collect();
    let count = match random.below(24) {
        0 => 65 + random.below(40),
        1 => 0,
        _ => 1 + random.below(12),
    };
    // Sets in which much is refused, and sets in which little is.
    let strictness = random.below(4);
    let mut rules: Vec<Rule> = (0..count).map(|_| rule(random, &atoms, strictness)).collect();
    if !random.one_in(4) && !rules.is_empty() {
        let open = random.below(rules.len());
        rules[open] = Rule { effects: vec![Effect::Allow], ..Rule::default() };
    }
    if random.one_in(4) {
        let effects = vec![Effect::Allow, approval(1)];
        rules.push(Rule { condition: condition(random, atoms.len(), 1), effects, ..Rule::default() });
    }
    for (number, rule) in rules.iter_mut().enumerate() {
        rule.name = format!("rule.{number:04}");
    }
    Program { name: "random".to_owned(), version: 1, digest: "00".to_owned(), rules, atoms, ..Program::default() }
}

fn rule(random: &mut Random, atoms: &[Atom], strictness: usize) -> Rule {
    let phase = if random.one_in(16) { Phase::Response } else { Phase::Request };
    let condition = condition(random, atoms.len(), 3);
    let effects = if phase == Phase::Request && random.below(4) >= strictness {
        vec![Effect::Allow]
    } else {
        (0..random.below(3)).map(|_| effect(random, phase)).collect()
    };
    Rule { shadow: random.one_in(8), phase, condition, effects, ..Rule::default() }
}

/// Most conditions are conjunctions, as people write them; some are anything.
pub(super) fn condition(random: &mut Random, atoms: usize, depth: usize) -> Condition {
    // One id past the end: an atom that does not exist is an error for both.
    let leaf = |random: &mut Random| match random.below(40) {
        0 => Condition::Const(random.one_in(3)),
        1 => Condition::Atom(AtomId(atoms as u32)),
        _ => Condition::Atom(AtomId(random.below(atoms) as u32)),
    };
    if depth == 0 {
        return leaf(random);
    }
    let parts = |random: &mut Random| {
        let count = if random.one_in(12) { 0 } else { 1 + random.below(3) };
        (0..count).map(|_| condition(random, atoms, depth - 1)).collect()
    };
    match random.below(10) {
        0 => Condition::Not(Box::new(condition(random, atoms, depth - 1))),
        1 | 2 => Condition::Any(parts(random)),
        3..=6 => Condition::All(parts(random)),
        _ => leaf(random),
    }
}

fn set(random: &mut Random) -> StrSet {
    let globs = if random.one_in(2) { random.some(&GLOBS, 6) } else { Vec::new() };
    StrSet {
        literals: random.some(&TEXTS, 4).into_iter().map(str::to_owned).collect(),
        globs: globs.into_iter().map(str::to_owned).collect(),
    }
}

fn op(random: &mut Random) -> CompareOp {
    random.pick(&[CompareOp::Eq, CompareOp::Lt, CompareOp::Le, CompareOp::Gt, CompareOp::Ge])
}

fn path(random: &mut Random) -> JsonPath {
    JsonPath { segments: vec![PathSegment::Key(random.pick(&KEYS).to_owned())] }
}

fn text_test(random: &mut Random) -> TextTest {
    match random.below(4) {
        0 => TextTest::Matches("weights".to_owned()),
        1 => TextTest::Contains(random.pick(&["ab", "7"]).to_owned()),
        2 => TextTest::Finds(vec![random.pick(&["us_ssn", "unknown"]).to_owned()]),
        _ => TextTest::FindsCustom(CustomDetector { name: "mrn".to_owned(), regex: "mrn".to_owned(), near: vec![] }),
    }
}

fn json_test(random: &mut Random) -> JsonTest {
    match random.below(4) {
        0 => JsonTest::StrIn(set(random)),
        1 => JsonTest::Int { op: op(random), value: random.below(5) as i64 - 2 },
        2 => JsonTest::Bool(random.one_in(2)),
        _ => JsonTest::Text(text_test(random)),
    }
}

pub(super) const ATOM_KINDS: usize = 19;

fn atom(random: &mut Random) -> Atom {
    let numbers = [i64::MIN, -2, -1, 0, 1, 2, 40, i64::MAX];
    match random.below(ATOM_KINDS + 7) {
        1 => Atom::HasScope(random.pick(&NAMES).to_owned()),
        2 => {
            let nets: Vec<IpNet> = random.some(&NETS, 3).into_iter().map(|net| net.parse().unwrap()).collect();
            Atom::IpIn(nets)
        }
        3 => Atom::IntPresent(random.pick(&IntField::ALL).0),
        4 => Atom::Bool(BoolField::Stream),
        5 => Atom::ToolIn(set(random)),
        6 => {
            let test = match random.below(4) {
                0 => ClaimTest::Bool(random.one_in(2)),
                1 => ClaimTest::Int { op: op(random), value: random.pick(&numbers) },
                2 => ClaimTest::StrIn(set(random)),
                _ => ClaimTest::ListIn(set(random)),
            };
            let key = random.pick(&KEYS).to_owned();
            let default = random.one_in(2).then_some(ClaimValue::Bool(true));
            Atom::Claim { claim: Claim { name: key.clone(), key, default }, test }
        }
        7 => Atom::ClaimPresent(random.pick(&KEYS).to_owned()),
        8 => Atom::EnvIn { name: random.pick(&["site", "nowhere"]).to_owned(), set: set(random) },
        9 => Atom::HeaderPresent(random.pick(&HEADERS).to_owned()),
        10 => Atom::HeaderIn { name: random.pick(&HEADERS).to_owned(), set: set(random) },
        11 => Atom::Text(text_test(random)),
        12 => Atom::JsonPresent(path(random)),
        13 => Atom::Json { path: path(random), test: json_test(random) },
        14 => Atom::ResponseText(text_test(random)),
        15 => Atom::ResponseJsonPresent(path(random)),
        16 => Atom::ResponseJson { path: path(random), test: json_test(random) },
        17 => {
            // Large enough for bitmaps of several words.
            let literals = (0..150).filter(|_| random.one_in(3)).map(model).collect();
            Atom::StrIn { field: StrField::Model, set: StrSet { literals, globs: Vec::new() } }
        }
        0 | 18 | 19 => Atom::InGroup(random.pick(&NAMES).to_owned()),
        20 | 21 => Atom::Int { field: random.pick(&IntField::ALL).0, op: op(random), value: random.pick(&numbers) },
        22 | 23 => Atom::StrIn { field: random.pick(&[StrField::Model, StrField::Endpoint]), set: set(random) },
        _ => Atom::StrIn { field: random.pick(&StrField::ALL).0, set: set(random) },
    }
}

fn approval(by: u32) -> Effect {
    let minute = Duration::from_secs(60);
    let groups = vec!["leads".to_owned()];
    Effect::RequireApproval(ApprovalRequirement { groups, by, within: minute, valid: minute })
}

pub(super) const EFFECT_KINDS: usize = 14;

/// In the response phase only what the language allows there.
fn effect(random: &mut Random, phase: Phase) -> Effect {
    let minute = Duration::from_secs(60);
    let side = if phase == Phase::Request && random.one_in(2) { Side::Request } else { Side::Response };
    let bound = random.pick(&[RecordBound::AtLeast, RecordBound::AtMost]);
    let groups = vec!["leads".to_owned()];
    match random.below(EFFECT_KINDS + 4) {
        0 | 14 | 15 if phase == Phase::Request => approval(1 + random.below(2) as u32),
        1 if phase == Phase::Request => Effect::RequirePurpose(PurposeRequirement {
            purposes: StrSet { literals: vec!["ab".to_owned()], globs: Vec::new() },
            bases: None,
            from: vec![SourceKind::Claim, SourceKind::Policy],
        }),
        2 | 16 if phase == Phase::Request => {
            Effect::RequireGrant(GrantRequirement { groups, within: minute, lasting: minute })
        }
        3 if phase == Phase::Request => Effect::Purpose { purpose: "ab".to_owned(), basis: None },
        4 if phase == Phase::Request => Effect::Risk { points: 1 + random.below(60) as u32, why: String::new() },
        5 if phase == Phase::Request => Effect::LimitRate(RateLimit {
            kind: random.pick(&[LimitKind::Requests, LimitKind::Tokens]),
            amount: 5,
            period: minute,
            keys: Vec::new(),
            burst: None,
        }),
        6 if phase == Phase::Request => Effect::LimitField {
            field: random.pick(&[IntField::RequestSize, IntField::Risk]),
            max: random.below(50) as i64,
        },
        7 if phase == Phase::Request => Effect::Allow,
        8 => {
            Effect::Deny { text: format!("no {}", random.below(3)), status: 400 + random.below(4) as u16, hold: false }
        }
        9 => Effect::Record { bound, level: random.pick(&[RecordLevel::Metadata, RecordLevel::Full]) },
        10 => Effect::Retain { bound, time: Duration::from_secs(random.below(3) as u64) },
        11 => Effect::Seal(side),
        12 => Effect::Alert { name: "alert".to_owned(), severity: Severity::Low },
        _ => Effect::Mask(Mask {
            side,
            record_only: random.one_in(2),
            selector: Selector::Text,
            matchers: Vec::new(),
            transform: Transform::Label,
        }),
    }
}

/// A number for the kind of an atom and for that of an effect, to show that all were made.
pub(super) fn kinds(program: &Program) -> (Vec<std::mem::Discriminant<Atom>>, Vec<std::mem::Discriminant<Effect>>) {
    let effects = program.rules.iter().flat_map(|rule| &rule.effects);
    (program.atoms.iter().map(std::mem::discriminant).collect(), effects.map(std::mem::discriminant).collect())
}
