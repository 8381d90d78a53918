//! The published set and its calls, once, for every contender.
//!
//! A rule names one team, two models and one endpoint; each tenth rule denies large bodies, one in four of the others bounds the
//! size: a third has a part that no look-up settles, and no two rules the same. There is a team for ten rules (at least 4, at most 1,000) and a model for four.

/// Different calls per kind; each is of one of [`CALLERS`] callers, in shuffled order.
pub const CALLS: usize = 4_096;
/// Callers; each is in four teams.
pub const CALLERS: usize = 256;
/// Over it every denying rule holds; each has a bound of its own a little below.
pub const LARGE: i64 = 1 << 20;
/// Up to it every allowing rule holds; each that has a bound has its own a little above.
pub const MEDIUM: i64 = 512 << 10;

/// What the calls of a run have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A rule allows the call and none denies it.
    Allow,
    /// No rule holds.
    NoMatch,
    /// A rule denies it.
    Deny,
}

impl Kind {
    pub const ALL: [(Self, &str); 3] = [(Self::Allow, "allow"), (Self::NoMatch, "no match"), (Self::Deny, "deny")];
}

/// One rule.
pub struct Rule {
    pub name: String,
    pub team: String,
    pub models: [String; 2],
    pub endpoint: String,
    pub denies: bool,
    /// An allowing rule with a bound on the size.
    pub bounded: bool,
    /// The bound of one that has one, in bytes: no two rules have the same.
    pub bound: i64,
}

pub fn rules(count: usize) -> Vec<Rule> {
    let rule = |number: usize| Rule {
        name: format!("rule-{number:05}"),
        team: team(number % teams(count)),
        models: [model(number % models(count)), model((number + 1) % models(count))],
        endpoint: endpoint(number),
        denies: number % 10 == 9,
        bounded: number % 10 != 9 && number % 4 == 0,
        bound: if number % 10 == 9 { LARGE - number as i64 } else { MEDIUM + number as i64 },
    };
    (0..count).map(rule).collect()
}

/// One call.
pub struct Call {
    pub caller: usize,
    pub model: String,
    pub endpoint: String,
    pub size: i64,
}

/// The teams of a caller.
pub fn teams_of(caller: usize, rules: usize) -> [String; 4] {
    std::array::from_fn(|n| team((caller * 4 + n) % teams(rules)))
}

pub fn calls(count: usize, kind: Kind) -> Vec<Call> {
    let rules = rules(count);
    let mut random = 42_u64;
    let mut below = |count: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % count
    };
    let mut calls = Vec::with_capacity(CALLS);
    while calls.len() < CALLS {
        let number = below(count);
        let rule = &rules[number];
        let denies = kind == Kind::Deny;
        if rule.denies != denies {
            continue;
        }
        // One of the callers of the rule's team.
        let of_team = number % teams(count) / 4;
        let rounds = (CALLERS * 4).div_ceil(teams(count));
        let caller = (of_team + below(rounds) * teams(count) / 4) % CALLERS;
        if !teams_of(caller, count).contains(&rule.team) {
            continue;
        }
        let known = rule.models[below(2)].clone();
        calls.push(Call {
            caller,
            model: if kind == Kind::NoMatch && below(2) == 0 { format!("unknown-{}", below(1_000)) } else { known },
            endpoint: if kind == Kind::NoMatch { "/v1/moderations".to_owned() } else { rule.endpoint.clone() },
            size: if denies { LARGE + 1 + below(1_000) as i64 } else { below(4_096) as i64 },
        });
    }
    calls
}

fn team(number: usize) -> String {
    format!("team-{number:04}")
}

fn teams(rules: usize) -> usize {
    (rules / 10).clamp(4, 1_000)
}

fn model(number: usize) -> String {
    format!("llama-{number:05}")
}

fn models(rules: usize) -> usize {
    rules / 4 + 2
}

fn endpoint(number: usize) -> String {
    let names = ["chat/completions", "completions", "embeddings", "responses", "messages", "rerank", "audio/speech"];
    format!("/v1/{}", names[number % names.len()])
}
