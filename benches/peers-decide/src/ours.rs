//! Our own side: the set as policy text, decisions with facts made from the call's texts, only the caller's part at hand.

use crate::set::{Call, Rule, teams_of};
use policy_compiler::{CompileOptions, CompiledPolicy, Engine, IdentityFacts, compile_with};
use policy_lang::schema::{IntField, StrField};
use policy_lang::{Facts, Source, Verdict, load_sources};

const RULES_PER_FILE: usize = 2_000;

pub struct Ours {
    policy: CompiledPolicy,
    callers: Vec<(Vec<String>, IdentityFacts)>,
}

impl Ours {
    /// `texts` are the rules; a file is at most 1 MiB, so they become several.
    pub fn new(texts: &[String], rules: usize, options: CompileOptions) -> Self {
        let source = |(number, texts): (usize, &[String])| Source {
            name: format!("bench-{number}.policy"),
            text: format!("policy \"bench\" version 1\n{}", texts.concat()),
        };
        let program = match load_sources(texts.chunks(RULES_PER_FILE).enumerate().map(source).collect()) {
            Ok(loaded) => loaded.program,
            Err(found) => panic!("{}", found.render_all(false)),
        };
        let policy = compile_with(program, options);
        assert!(options.interpreter_only || *policy.engine() == Engine::Native, "{}", policy.describe());
        let caller = |number| {
            let groups = teams_of(number, rules).to_vec();
            let facts = policy.identity_facts(&Facts { groups: &groups, ..Facts::empty() });
            (groups, facts)
        };
        Self { callers: (0..crate::set::CALLERS).map(caller).collect(), policy }
    }

    pub fn describe(&self) -> String {
        self.policy.describe()
    }

    pub fn is_forwarded(&self, call: &Call) -> bool {
        self.decide(call).verdict == Verdict::Forward
    }

    #[inline]
    pub fn decide(&self, call: &Call) -> policy_lang::Decision {
        let (groups, caller) = &self.callers[call.caller];
        let mut strings = [""; StrField::COUNT];
        strings[StrField::Model as usize] = &call.model;
        strings[StrField::Endpoint as usize] = &call.endpoint;
        strings[StrField::Method as usize] = "POST";
        strings[StrField::Dialect as usize] = "openai";
        let mut ints = [None; IntField::COUNT];
        ints[IntField::RequestSize as usize] = Some(call.size);
        ints[IntField::Hour as usize] = Some(12);
        let facts = Facts { strings, ints, bools: [Some(false)], groups, ..Facts::empty() };
        self.policy.decide_for(caller, &facts)
    }
}

/// The published set.
pub fn texts(rules: &[Rule]) -> Vec<String> {
    let rule = |rule: &Rule| {
        let [first, second] = &rule.models;
        let size = match (rule.denies, rule.bounded) {
            (true, _) => format!(" and request.size > {}B", rule.bound),
            (false, true) => format!(" and request.size <= {}B", rule.bound),
            (false, false) => String::new(),
        };
        // One allowing rule in three also obliges.
        let effect = match (rule.denies, rule.bounded) {
            (true, _) => "deny \"Not so large a body.\" status 413",
            (false, true) => "allow record at least full",
            (false, false) => "allow",
        };
        format!(
            "rule {} {{\n    when  identity in group(\"{}\") and model in {{ \"{first}\", \"{second}\" }} and request.endpoint == \"{}\"{size}\n    {effect}\n}}\n",
            rule.name, rule.team, rule.endpoint
        )
    };
    rules.iter().map(rule).collect()
}

/// The worst case: no part of any rule can be looked up.
pub fn worst_texts(rules: &[Rule]) -> Vec<String> {
    let rule = |(number, rule): (usize, &Rule)| {
        let [first, second] = &rule.models;
        format!(
            "rule {} {{\n    when  (model in {{ \"{first}\", \"{second}\" }} or request.size > {}B) and (identity in group(\"{}\") or request.size > {}B)\n    allow\n}}\n",
            rule.name,
            1_000_000 + number,
            rule.team,
            2_000_000 + number
        )
    };
    rules.iter().enumerate().map(rule).collect()
}
