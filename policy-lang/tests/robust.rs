//! Whatever the text is: no panic, no overflow, a bound and an error for everything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use policy_lang::{Diagnostics, Loaded, Source, load_sources};
use proptest::prelude::*;
use std::fmt::Write as _;

const HEADER: &str = "policy \"p\" version 1\n";
const EXAMPLE: &str = include_str!("../../examples/quickstart.policy");

fn load(texts: Vec<String>) -> Result<Loaded, Diagnostics> {
    let named = texts.into_iter().enumerate();
    load_sources(named.map(|(n, text)| Source { name: format!("{n}.policy"), text }).collect())
}

fn codes(text: String) -> Vec<&'static str> {
    match load(vec![HEADER.to_owned() + &text]) {
        Ok(_) => Vec::new(),
        Err(found) => found.list.iter().map(|d| d.code).collect(),
    }
}

#[test]
fn nesting_has_a_bound_before_recursion() {
    for text in [
        format!("let a = {}", "(".repeat(200_000)),
        format!("rule a {{ when {} allow }}", "{".repeat(200_000)),
        format!("rule a {{ when {}model == \"x\"{} allow }}", "(".repeat(65), ")".repeat(65)),
        format!("rule a {{ when request {} == 1 allow }}", "$[".repeat(100_000)),
    ] {
        assert!(codes(text).contains(&"SP0110"));
    }
    let nots = "not ".repeat(200_000);
    assert_eq!(codes(format!("rule a {{ when {nots} request.stream allow }}")), Vec::<&str>::new());
    let deep = format!("{}request.stream{}", "not (model == \"x\" or ".repeat(40), ")".repeat(40));
    assert_eq!(codes(format!("rule a {{ when {deep} allow }}")), ["SP0603"]);
}

#[test]
fn definitions_of_definitions_have_a_bound() {
    // Each doubles the one before.
    let mut doubling = "let a0 = request.stream and model == \"x\"\n".to_owned();
    let mut sets = "set s0 : model = { \"x\" }\n".to_owned();
    for n in 1..60 {
        writeln!(doubling, "let a{n} = (a{} or model == \"{n}\") and (a{0} or request.stream)", n - 1).unwrap();
        writeln!(sets, "set s{n} : model = {{ s{}, s{0}, \"{n}\" }}", n - 1).unwrap();
    }
    assert!(codes(doubling + "rule a { when a59 allow }").contains(&"SP0603"));
    assert_eq!(codes(sets + "rule a { when model in s59 allow }"), Vec::<&str>::new());

    // Long chains: fine in order, bounded against it.
    let chain = |numbers: Vec<usize>| {
        let lines = numbers.into_iter().map(|n| format!("let a{} = a{n}\n", n + 1));
        format!("{}let a0 = request.stream\nrule a {{ when a10000 allow }}", lines.collect::<String>())
    };
    assert!(codes(chain((0..10_000).collect())).len() <= 1);
    assert!(codes(chain((0..10_000).rev().collect())).contains(&"SP0603"));
}

#[test]
fn rules_have_a_bound() {
    let rules = |n: usize| (0..n).map(|n| format!("rule r{n} {{ allow }}\n")).collect::<String>();
    assert_eq!(codes(rules(10_000)), Vec::<&str>::new());
    assert_eq!(codes(rules(10_001)), ["SP0601"]);
}

#[test]
fn sets_have_bounds() {
    let entries = |n: usize| (0..n).map(|n| format!("\"{n:x}\",")).collect::<String>();
    let set = |n: usize| format!("set s : model = {{ {} }} rule a {{ when model in s allow }}", entries(n));
    assert!(codes(set(100_001)).contains(&"SP0602"));
    // Few entries, used in sets of sets.
    let uses: String = (0..60).map(|n| format!("set t{n} : model = {{ s, \"{n}\" }}\n")).collect();
    let found = codes(format!("set s : model = {{ {} }}\n{uses}", entries(20_000)));
    assert!(found.contains(&"SP0602"));
}

#[test]
fn parts_of_a_rule_have_bounds() {
    let masks = "mask request text\n".repeat(101);
    assert!(codes(format!("rule a {{ {masks} }}")).contains(&"SP0604"));
    let regexes: String = (0..1_001).map(|n| format!("let l{n} = request.text matches /{n}/\n")).collect();
    assert_eq!(codes(format!("{regexes} rule a {{ allow }}")), ["SP0605"]);

    let many = vec!["request.stream"; 10_001].join(" and ");
    assert!(codes(format!("rule a {{ when {many} allow }}")).contains(&"SP0603"));

    assert_eq!(codes(format!("rule a {{ deny \"{}\" }}", "x".repeat(4_097))), ["SP0116"]);
    assert_eq!(codes(format!("rule a {{ when request.text matches /{}/ allow }}", "x".repeat(4_097))), ["SP0116"]);
}

#[test]
fn files_and_findings_have_bounds() {
    assert_eq!(codes("x ".repeat(1 << 19)), ["SP0003"]);
    let full = HEADER.to_owned() + &"\n".repeat((1 << 20) - HEADER.len());
    let found = load(vec![full; 17]).unwrap_err();
    assert_eq!(found.list[0].code, "SP0004");
    assert_eq!(load(Vec::new()).unwrap_err().list[0].code, "SP0002");
    assert_eq!(load(vec![String::new(); 4_097]).unwrap_err().list[0].code, "SP0006");
    // Findings are bounded too.
    assert_eq!(codes("rule a { alow }\n".repeat(1_000)).len(), 100);
}

/// What `check` says of a set, as codes with how often each stands there.
fn checked(text: String) -> Vec<(&'static str, usize)> {
    let loaded = load(vec![HEADER.to_owned() + &text]).unwrap();
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for found in loaded.check() {
        match counts.iter_mut().find(|(code, _)| *code == found.code) {
            Some((_, count)) => *count += 1,
            None => counts.push((found.code, 1)),
        }
    }
    counts
}

#[test]
fn ten_thousand_rules_are_checked() {
    let rules =
        |rule: &dyn Fn(usize) -> String| (0..10_000).map(|n| format!("rule r{n} {{ {} }}\n", rule(n))).collect();
    // Each about a model of its own: nothing to say, and no pair is asked twice.
    assert_eq!(checked(rules(&|n| format!("when model == \"m{n}\" and request.size > {n} allow"))), []);
    assert_eq!(checked(rules(&|n| format!("when identity in group(\"g{n}\") record at least full allow"))), []);
    // All the same: as many findings as are shown.
    assert_eq!(checked(rules(&|_| "allow".to_owned())), [("SP0915", 100)]);
    // Nothing to tell them apart by but ranges: the bound on work is hit, and that is said.
    let found = checked(
        rules(&|n| format!("when request.size == {n} or request.size == {} retain at least {n}s", n + 1))
            .replace("least 0s", "least 1s"),
    );
    assert!(found.iter().any(|(code, _)| *code == "SP0920"), "{found:?}");
    // Bounds against bounds.
    let bound = |n: usize| if n.is_multiple_of(2) { "at least full" } else { "at most metadata" };
    let found = checked(rules(&|n| format!("when model == \"m{n}\" record {}", bound(n))));
    assert!(found.iter().all(|(code, _)| *code == "SP0920"), "{found:?}");
}

#[test]
fn quotes_and_brackets_without_end() {
    for (text, code) in [
        ("\"".repeat((1 << 20) - 100), "SP0101"),
        ("\"\n".repeat((1 << 19) - 100), "SP0106"),
        ("'".repeat((1 << 20) - 100), "SP0101"),
        (")".repeat((1 << 20) - 100), "SP0109"),
        ("{".repeat((1 << 20) - 100), "SP0110"),
        ("/".repeat((1 << 20) - 100), ""),
        (format!("rule a {{ deny {}", "\"x\" ".repeat(200_000)), "SP0108"),
        (format!("rule a {{ when {} allow }}", "model ".repeat(150_000)), "SP0101"),
        (format!("rule a {{ when model in {{ {} }} allow }}", "\"x\" ".repeat(200_000)), "SP0101"),
    ] {
        let found = codes(text);
        assert!(found.len() <= 100);
        match code {
            "" => assert_eq!(found, Vec::<&str>::new()),
            code => assert!(found.contains(&code), "{found:?} instead of {code}"),
        }
    }
}

#[test]
fn regular_expressions_that_explode() {
    for bomb in [
        r"(a{1000}){1000}",
        r"((a*)*)*{1000}{1000}",
        r"(\w{100}){100}",
        r"[\s\S]{0,100000}",
        r"(((((a{9}){9}){9}){9}){9}){9}",
    ] {
        let found = codes(format!("rule a {{ when request.text matches /{bomb}/ allow }}"));
        assert!(matches!(found.as_slice(), ["SP0401" | "SP0402"]), "{bomb}: {found:?}");
    }
    // Linear by construction, whatever it would cost elsewhere.
    assert_eq!(codes("rule a { when request.text matches /(a+)+$/ allow }".to_owned()), Vec::<&str>::new());
}

#[test]
fn long_chains_of_imports() {
    let file = |n: usize| match n {
        0 => format!("{HEADER}import \"1.policy\" as next\nrule a {{ when model in next.all allow }}"),
        n => format!("import \"{}.policy\" as next\nset all : model = {{ \"x{n}\" }}", n + 1),
    };
    let mut texts: Vec<String> = (0..2_000).map(file).collect();
    texts.push("set all : model = { \"end\" }".to_owned());
    assert!(load(texts.clone()).is_ok());
    // The same chain biting its tail.
    *texts.last_mut().unwrap() = "import \"1.policy\" as next\nset all : model = { \"end\" }".to_owned();
    let found = load(texts).unwrap_err();
    assert_eq!(found.list.iter().map(|d| d.code).collect::<Vec<_>>(), ["SP0212"]);
    // Sets through all of them are bounded like every chain of definitions.
    let deep = |n: usize| match n {
        0 => format!("{HEADER}import \"1.policy\" as next\nrule a {{ when model in next.all allow }}"),
        100 => "set all : model = { \"end\" }".to_owned(),
        n => format!("import \"{}.policy\" as next\nset all : model = {{ next.all, \"{n}\" }}", n + 1),
    };
    let found = load((0..=100).map(deep).collect()).unwrap_err();
    assert_eq!(found.list[0].code, "SP0110");
}

/// Every part of the language and some of what it is not.
const PIECES: [&str; 40] = [
    "rule",
    "a.b",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "when",
    "unless",
    "allow",
    "deny",
    "\"x\"",
    "\"",
    "~\"a*\"",
    "/a+/",
    "/",
    "//",
    "///",
    "\n",
    "==",
    "=",
    "!=",
    "in",
    "not",
    "and",
    "or",
    "request",
    "$.a[*]['b']",
    "request.text",
    "model",
    "10.0.0.0/8",
    "512KiB",
    "mask",
    "record at most metadata",
    "require approval from group(",
    "set s : model =",
    "let x =",
    "policy",
    "é\u{202e}",
];

fn is_shown(texts: Vec<String>) {
    let found = match load(texts) {
        Ok(loaded) => {
            let mut found = loaded.diagnostics();
            found.list.extend(loaded.check());
            found
        }
        Err(found) => {
            assert!(!found.list.is_empty());
            assert!(!found.to_string().is_empty());
            found
        }
    };
    assert!(found.list.iter().all(|d| d.code != "SP0999"), "{}", found.render_all(false));
    assert!(!found.render_all(true).is_empty());
    assert!(found.to_json().is_array());
    assert!(found.to_sarif().is_object());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text(text in any::<String>(), other in ".{0,40}") {
        is_shown(vec![text, other]);
    }

    #[test]
    fn any_pieces(pieces in prop::collection::vec(prop::sample::select(PIECES.as_slice()), 0..40)) {
        is_shown(vec![pieces.join(" "), HEADER.to_owned() + &pieces.concat()]);
    }

    /// Pieces cut out of the example, put in, and put elsewhere.
    #[test]
    fn mutated_example(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..30, prop::sample::select(PIECES.as_slice())), 1..6),
    ) {
        let mut text = EXAMPLE.to_owned();
        for (at, length, piece) in cuts {
            let start = text.floor_char_boundary(at.index(text.len()));
            let end = text.floor_char_boundary((start + length).min(text.len()));
            text.replace_range(start..end, piece);
        }
        is_shown(vec![text]);
    }
}
