//! Cases as snapshots, and what holds of each: formatted twice is formatted once, and the tree stays.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::format;
use crate::parse::parse_item;
use crate::scanner::scan;

/// The trees of all items without places.
fn trees(text: &str) -> String {
    let mut errors = Vec::new();
    let items: Vec<_> = scan(0, text, &mut errors).into_iter().map(|raw| parse_item(text, raw).unwrap()).collect();
    let written = format!("{items:#?}");
    let is_place = |line: &&str| {
        let line = line.trim_start();
        !["start: ", "end: "].iter().any(|name| line.starts_with(name))
    };
    written.lines().filter(is_place).collect::<Vec<_>>().join("\n")
}

fn check(text: &str) -> String {
    let once = format(text).unwrap_or_else(|found| panic!("{}", found.render_all(false)));
    assert_eq!(trees(text), trees(&once), "{once}");
    let twice = format(&once).unwrap_or_else(|found| panic!("{}", found.render_all(false)));
    let first = once.lines().zip(twice.lines()).find(|(a, b)| a != b);
    assert!(once == twice, "not idempotent: {first:?}");
    once
}

#[test]
fn the_example_of_the_language() {
    let formatted = check(include_str!("../../../examples/policies/hospital/inference.policy"));
    insta::assert_snapshot!(formatted);
}

#[test]
fn definitions() {
    let formatted = check(concat!(
        "\u{feff}\n\n/// Docs.\n///   more\npolicy   \"a\"\n version 1\r\n\n\n\n",
        "import \"b.policy\" as b // trailing\nimport \"c.policy\" as long\n",
        "claim mfa:bool default false // one\nclaim a-long-name : string from \"key\"// two\n\n// own\n",
        "set a:model={\"x\",~\"y*\",}\nset longer : endpoint= { \"/v1\" } union a except {\"/v2\"}\n",
        "set broken : ip = {\n 10.0.0.0/8, ::1, // here\n // there\n fe80::/10 }\n",
        "set long : model = { \"a-model-with-a-long-name\", \"b-model-with-a-long-name\", \"c-model-with-a-long-name\", \"d-model\" }\n",
        "let c = not   (a or b)and c // why\n",
        "let long = model == \"a-model-with-a-long-name\" and identity in group(\"first\", \"second\") or request.size > 512KiB and time.hour < 3\n",
        "detector mrn=/a\\/b/ near {\"x\",\"y\"}  detector n = /x/// end",
    ));
    insta::assert_snapshot!(formatted);
}

#[test]
fn rules() {
    let formatted = check(concat!(
        "rule   one{when model==\"a\" allow}rule two shadow { deny \"No.\"   status 404 }\n",
        "/// Docs\nrule long { when model == \"a-model-with-a-long-name\" and identity in group(\"first\", \"second\") and time.hour < 9 deny \"No.\" }\n",
        "rule many {\n\n when request.risk>=70 or not(purpose is absent or purpose==\"x\")\n unless identity.subject == \"root\" until 2030-01-01\n\n\n",
        "allow // yes\n  // before\n  require approval from group( \"a\" ,\"b\", ) by 2 within 5m valid 1h\nrequire purpose in p with basis in {\"b\"} from claim or header\n",
        "limit requests 5/s per identity.subject, request.header( \"x\" ) burst 10 limit tokens 1/h limit request.size to 1KiB\n",
        "mask record request $.a[ 0 ].b with detect(us_ssn,own.mrn, family( pii )), /x{2}/ as \"gone\" drop response $.c\n",
        "retain at least 6y record at most metadata seal response risk 40 \"why\" alert \"a\" severity high purpose \"p\" basis \"b\" // last\n // end\n}\n",
        "rule limited { limit requests 1/s per purpose\n mask response text }\n",
        "rule wide { when request.text matches /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/ and (model in { \"aaaaaaaaaaaaaaaaaaaaaaaa\", \"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\", \"cccccccccccccccccccccccccc\" } or request.stream)\n deny \"x\" }\n",
    ));
    insta::assert_snapshot!(formatted);
}

#[test]
fn tests_and_invariants() {
    let formatted = check(concat!(
        "invariant \"i\" { never allow when a }\n",
        "invariant \"j\" { never allow when a always deny when b\n }\n",
        "test \"t\" { given identity {} expect allow }\n",
        "test \"u\" {\n given identity {\"a\":[1,-2.5e+3,{\"b\":null}],\"c\":{}} // who\n given time {\"hour\":3}\n",
        "expect deny by a.b status 403 expect fires x expect not fires y expect record response $.a == {\"b\":[]}\nexpect request $.b is absent }\n",
        "test \"v\" { given request {\n\"path\": \"/v1\", // path\n\n// own\n\"messages\": [\n{ \"role\": \"user\" },{}] }\n expect allow }\n",
    ));
    insta::assert_snapshot!(formatted);
}

#[test]
fn comments_stay_wherever_they_stand() {
    // A comment behind every token, and before every token.
    let text = include_str!("../../../examples/policies/hospital/inference.policy");
    let tokens: Vec<String> = super::tokens::lex(text, &scan(0, text, &mut Vec::new()))
        .items
        .iter()
        .flatten()
        .map(|token| token.text.to_owned())
        .collect();
    for (pattern, step) in
        [(" // c\n ", 1), ("\n // c\n ", 1), (" // c\n // d\n\n ", 1), (" // c\n ", 7), ("\n // c\n ", 5)]
    {
        let mut commented = String::new();
        let mut count = 0;
        for (index, token) in tokens.iter().enumerate() {
            commented += token;
            if index % step == 0 {
                commented += pattern;
                count += pattern.matches("//").count();
            } else {
                commented.push(' ');
            }
        }
        let out = check(&commented);
        assert_eq!(out.matches("// c").count() + out.matches("// d").count(), count);
    }
}

#[test]
fn what_does_not_parse_is_refused() {
    let found = format("rule a { when model = \"x\" allow }\nrule b { when ( allow }").unwrap_err();
    let codes: Vec<&str> = found.list.iter().map(|diagnostic| diagnostic.code).collect();
    assert_eq!(codes, ["SP0109", "SP0103"]);
    assert_eq!(format("").unwrap(), "");
    assert_eq!(format("\n // only this\n\n\n// and this  \n").unwrap(), "// only this\n\n// and this\n");
}

/// As large as a file may be; anything worse than linear would be noticed here.
#[test]
fn large_files() {
    let entries: String = (0..10_000).map(|n| format!("\"model-{n}\", ")).collect();
    let rules: String = (0..2_000)
        .map(|n| format!("rule r{n} {{ when model in s and (request.stream or time.hour < {n}) allow }}\n"))
        .collect();
    let json =
        format!("test \"t\" {{ given request {{ \"a\": [{}1] }} expect allow }}", "{ \"b\": [1] }, ".repeat(5_000));
    let once = format(&format!("set s : model = {{ {entries} }}\n{rules}{json}")).unwrap();
    assert_eq!(once.lines().count(), 10_002 + 2_000 + 5_008);
    assert_eq!(format(&once).unwrap(), once);
}
