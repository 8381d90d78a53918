//! Parses 1,000 equivalent rules by policy-lang, cedar-policy and regorus in turn, and prints medians and ratios.
//!
//! policy-lang is timed for the whole way to a checked program (`load_sources`) and for formatting's parse alone is not public; the
//! peers are timed for parsing only, which is less work.

use std::hint::black_box;
use std::time::{Duration, Instant};

const RULES: usize = 1_000;
const ROUNDS: usize = 21;

fn ours() -> String {
    let rule = |n: usize| {
        format!(
            "rule team-{n:04}.chat {{\n    when  identity in group(\"team-{n:04}\") and model in {{ \"llama-3.1-8b\", ~\"team-{n:04}-*\" }}\n          \
             and request.endpoint == \"/v1/chat/completions\" and request.size <= 512KiB\n    allow\n}}\n"
        )
    };
    let rules: String = (0..RULES).map(rule).collect();
    format!("policy \"bench\" version 1\n{rules}")
}

fn cedar() -> String {
    let rule = |n: usize| {
        format!(
            "@id(\"team-{n:04}.chat\")\npermit (\n    principal in Group::\"team-{n:04}\",\n    action == Action::\"/v1/chat/completions\",\n    resource\n)\n\
             when {{ (resource.model == \"llama-3.1-8b\" || resource.model like \"team-{n:04}-*\") && context.size <= 524288 }};\n"
        )
    };
    (0..RULES).map(rule).collect()
}

fn rego() -> String {
    let rule = |n: usize| {
        format!(
            "allow contains \"team-{n:04}.chat\" if {{\n    \"team-{n:04}\" in input.identity.groups\n    model_{n:04}\n    \
             input.request.endpoint == \"/v1/chat/completions\"\n    input.request.size <= 524288\n}}\n\
             model_{n:04} if input.model == \"llama-3.1-8b\"\nmodel_{n:04} if startswith(input.model, \"team-{n:04}-\")\n"
        )
    };
    let rules: String = (0..RULES).map(rule).collect();
    format!("package bench\nimport rego.v1\n{rules}")
}

fn load(text: &str) -> usize {
    let source = policy_lang::Source { name: "bench.policy".to_owned(), text: text.to_owned() };
    policy_lang::load_sources(vec![source]).map_or(0, |loaded| loaded.program.rules.len())
}

fn parse_cedar(text: &str) -> usize {
    text.parse::<cedar_policy::PolicySet>().map_or(0, |set| set.policies().count())
}

fn parse_rego(text: &str) -> usize {
    let mut engine = regorus::Engine::new();
    engine.add_policy("bench.rego".to_owned(), text.to_owned()).map_or(0, |_| RULES)
}

fn main() {
    let (ours, cedar, rego) = (ours(), cedar(), rego());
    if std::env::args().any(|argument| argument == "ours") {
        // For profilers.
        for _ in 0..ROUNDS {
            black_box(load(&ours));
        }
        return;
    }
    let contenders: [(&str, &str, fn(&str) -> usize); 3] = [
        ("policy-lang, load (parse, names, types, program)", &ours, load),
        ("cedar-policy 4.14, parse", &cedar, parse_cedar),
        ("regorus 0.14, parse", &rego, parse_rego),
    ];
    let mut times: [Vec<Duration>; 3] = Default::default();
    // In turn, so that what else the machine does falls on all alike.
    for _ in 0..ROUNDS {
        for ((name, text, parse), times) in contenders.iter().zip(&mut times) {
            let start = Instant::now();
            let rules = black_box(parse(black_box(text)));
            times.push(start.elapsed());
            assert_eq!(rules, RULES, "{name} does not read its own rules");
        }
    }
    let medians = times.map(|mut times| {
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default().as_secs_f64() * 1e3
    });
    let [_, reference, _] = medians;
    println!("| parser | KiB | median ms | ÷ cedar |\n|---|--:|--:|--:|");
    for ((name, text, _), median) in contenders.iter().zip(medians) {
        println!("| {name} | {} | {median:.2} | {:.2} |", text.len() / 1024, median / reference);
    }
}
