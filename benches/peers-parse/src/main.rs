//! Parses 1,000 equivalent rules by policy-lang, cedar-policy and regorus in turn, and prints medians of CPU time and ratios.
//!
//! policy-lang is timed for the whole way to a checked program, the peers for parsing alone, which is less. A reload with a cache, after
//! one rule has changed, is printed beside it. `cargo run --release`; with `ours` as argument only policy-lang runs, for profilers.

use std::cell::RefCell;
use std::hint::black_box;
use std::time::Duration;

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

/// Loads the set again after one of its rules has changed.
fn reload(text: &str) -> usize {
    thread_local! {
        static STATE: RefCell<(policy_lang::Cache, usize)> = RefCell::default();
    }
    STATE.with_borrow_mut(|(cache, version)| {
        *version += 1;
        let text = text.replacen("512KiB", &format!("{}KiB", 512 + *version), 1);
        let source = policy_lang::Source { name: "bench.policy".to_owned(), text };
        policy_lang::load_sources_cached(vec![source], cache).map_or(0, |loaded| loaded.program.rules.len())
    })
}

/// CPU time of this thread: what else runs on the machine does not count.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
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
    let contenders: [(&str, &str, fn(&str) -> usize); 4] = [
        ("policy-lang, load (parse, names, types, program)", &ours, load),
        ("policy-lang, load again after one change", &ours, reload),
        ("cedar-policy 4.14, parse", &cedar, parse_cedar),
        ("regorus 0.14, parse", &rego, parse_rego),
    ];
    let mut times: [Vec<Duration>; 4] = Default::default();
    // In turn, so that what else the machine does falls on all alike.
    for _ in 0..ROUNDS {
        for ((name, text, parse), times) in contenders.iter().zip(&mut times) {
            let start = cpu_time();
            let rules = black_box(parse(black_box(text)));
            times.push(cpu_time() - start);
            assert_eq!(rules, RULES, "{name} does not read its own rules");
        }
    }
    let medians = times.map(|mut times| {
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default().as_secs_f64() * 1e3
    });
    let [_, _, reference, _] = medians;
    println!("| parser | KiB | median ms of CPU | ÷ cedar |\n|---|--:|--:|--:|");
    for ((name, text, _), median) in contenders.iter().zip(medians) {
        println!("| {name} | {} | {median:.2} | {:.2} |", text.len() / 1024, median / reference);
    }
}
