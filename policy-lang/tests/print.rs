//! What is printed loads to what was printed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use policy_lang::{Place, Program, Source, load_sources, print};
use world::load;

/// Everything that a program says, without where it was written.
fn essence(program: &Program) -> String {
    let mut program = program.clone();
    program.digest.clear();
    program.rules.iter_mut().for_each(|rule| rule.place = Place::default());
    program.invariants.list.iter_mut().for_each(|invariant| invariant.place = Place::default());
    for test in &mut program.tests {
        test.place = Place::default();
        test.expects.iter_mut().for_each(|expect| expect.place = Place::default());
    }
    format!("{program:#?}")
}

fn round_trip(program: &Program) -> String {
    let text = print(program);
    let source = Source { name: "printed.policy".to_owned(), text: text.clone() };
    let again = load_sources(vec![source]).unwrap_or_else(|found| panic!("{}\n{text}", found.render_all(false)));
    assert_eq!(essence(program), essence(&again.program), "{text}");
    assert_eq!(print(&again.program), text);
    text
}

/// Every production of the grammar at least once.
const WHOLE: &str = r#"
claim mfa : bool default false
claim level : number from "https://example.com/level" default -3
claim org : string
claim teams : list from "a.teams"
claim seen : string from "never tested, only present"
set a : model = { "x", ~"y*" } except { "x" }
set b : ip = { 10.0.0.0/8, ::1 } except { 10.1.0.0/16 }
detector mrn = /MRN \/ [0-9]{6}\b/ near { "record", "Patient No" }
let deep = not (model in { a } or not (dialect == "openai" and (upstream is absent or env.site != "eu")))
/// First line.
///
///   indented
rule conditions {
    when deep and (request.ip in b or request.ip == 192.0.2.7 or request.ip not in { 2001:db8::/32 })
        and identity in group("g", "h") and "s" in identity.scopes and "g" not in identity.groups
        and not identity.mfa and identity.level >= 2 and identity.org is present and identity.org in { "o", ~"p?" }
        and identity.teams is present and "t" in identity.teams and identity.teams not in { "u" }
        and identity.seen is absent and request.tool_names in { "shell" } and request.tool_names is absent
        and request.size <= 512KiB and request.size != 1000 and time.date < 2027-01-01 and time.weekday in { sat, sun }
        and time.hour != 3 and not time.hour < 2 and request.risk >= 70 and request.stream and not request.stream == false
        and request.method in { DELETE, ~"P*" } and identity.kind != service and request.image_count > 0
        and request.header("X-A") is present and request.header("x-a") != "1" and request.tokens_requested is absent
        and request $.a["b c"][0][*].d is present and request $.a["b c"][0][*].d in { "é", "\"\\\n\t\u{200b}" }
        and request $.n is present and request $.n < 3 and request $.t is present and request $.t != true
        and request $.s is present and request $.s matches /a\/b\\/ and not request $.s contains "x"
        and request.text finds detect(email, mrn, family(pii)) and request.text matches /(?i)x{2}/
    unless identity.subject == "root" until 2030-12-31
    deny "No." status 404
}
rule plain { allow }
rule until { when model == "m" allow until 2031-01-01 }
rule needs {
    require approval from group("leads", "others") by 2 within 90s valid 2h
    require purpose in { "care", ~"t*" } with basis in { "consent" } from header or claim
    require grant from group("leads") within 5m for 1d
    purpose "care" basis "consent"
    risk 40 "exports"
    limit requests 5/s per identity.subject, request.ip, request.header("x-k"), identity.org burst 10
    limit tokens 200_000/h
    limit request.size to 512KiB
    limit request.tokens_requested to 100_000
    record at least full
    retain at least 6y
    retain at most 2200d
    seal request
    alert "busy" severity critical
    alert "dull"
    mask request text with detect(us_ssn), /x+\/y/, detect(credit_card, mrn), detect(email) as label
    mask request text with detect(us_ssn) as last4
    mask record response $.a as "gone"
    mask response text with detect(email) as hash
    mask request $.b as token
    drop request $.c
    drop record response $.d[*]
}
rule answers shadow {
    when response.status >= 500 or response.size > 1MB or response.text contains "x"
        or (response.tokens is present and response.tokens > 3)
        or (response.finish_reason is present and response.finish_reason == "length")
        or (response $.e is present and response $.e == 2)
    deny "Not this." hold
    alert "answer" severity low
}
invariant "i" {
    never allow when model == "m" and not identity.mfa
    always deny when request.method == TRACE
}
test "t" {
    given identity { "subject": "s", "groups": ["g"], "mfa": true }
    given request { "path": "/v1", "n": -1.5e3, "o": {}, "p": [null, [], "\u202e \n é"] }
    given response { "choices": [] }
    given time { "hour": 3 }
    given env { "site": "eu" }
    expect deny by plain status 404
    expect pending
    expect not fires until
    expect fires answers
    expect record response $.a == { "b": [1, 2] }
    expect request $.a is absent
    expect response $.a is present
}
"#;

#[test]
fn a_printed_program_loads_to_itself() {
    let loaded = load(WHOLE);
    insta::assert_snapshot!(round_trip(&loaded.program));
}

#[test]
fn parts_of_a_program_are_readable_alone() {
    let program = load(WHOLE).program;
    let rule = program.rules.iter().find(|rule| rule.name == "until").unwrap();
    assert_eq!(rule.condition.display(&program.atoms).to_string(), "model == \"m\" and time.date <= 2031-01-01");
    let atom = program.atoms.iter().find(|atom| atom.operand() == "request.size").unwrap();
    assert_eq!(atom.to_string(), "request.size <= 512KiB");
    let effects = &program.rules.iter().find(|rule| rule.name == "needs").unwrap().effects;
    assert_eq!(effects[2].to_string(), "require grant from group(\"leads\") within 5m for 1d");
}

#[test]
fn a_set_of_nothing_but_differences_has_no_empty_leaf() {
    let program = load("set a : model = { ~\"x*\" } except { \"xy\" }\nrule r { when model in { a } allow }").program;
    assert_eq!(program.rules[0].condition.display(&program.atoms).to_string(), "model == ~\"x*\" and model != \"xy\"");
}
