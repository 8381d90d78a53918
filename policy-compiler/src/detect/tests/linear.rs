//! No input costs more than in proportion to its length: bytes that recognisers ask for are counted, so the machine does not matter.

use super::super::probe::STEPS;
use super::super::{AllGone, Behind, DetectorSet, Question, find_spans, validated};
use super::all;

/// Bytes of the shorter text; longer than anything that a recogniser reads in one go.
const LENGTH: usize = 32 * 1024;
/// Steps that do not depend on the length.
const CONSTANT: u64 = 64 * 1024;

const REPEATED: &[&str] = &[
    "a",
    "1",
    "1 ",
    "1.",
    "a@",
    "a.",
    "@",
    ":",
    "=",
    "::",
    "0:",
    "a:",
    "-",
    "-----BEGIN RSA PRIVATE KEY-----",
    "PuTTY-User-Key-File-2",
    "eyJ1",
    "eyJ1.",
    "eyJhbGciOiJub25lIn0.",
    "bearer ",
    "Basic a ",
    "password=",
    "token: ",
    "://a:",
    "https://a:b",
    "%B4",
    ";4",
    "(4",
    "+1",
    "+1 (",
    "sk-ant-",
    "AKIA",
    "A1",
    "P<",
    "P<\n",
    "bc1q",
    "0x",
    "1A1zP1eP5Q",
    "GB82 ",
    "ssn 1",
    "born 1 ",
    "age 12 ",
    "a_1",
    "%41",
    "&#52;",
    "\\u0034",
    "é",
    "４",
    "[US_SSN]",
    "<EMAIL_1_k7>",
    "4111 ",
    "415-555-2671 ",
    "bob@example.com ",
    "ab-",
    "1-1-",
    "deadbeef-",
    "March 3, 1980 ",
];

fn steps(text: &str, set: &DetectorSet) -> u64 {
    let behind = Behind::default();
    let text = text.as_bytes();
    STEPS.set(0);
    let question =
        Question { text, behind: &behind, last: true, set, key: None, undecided: text.len(), outermost: true };
    find_spans(question, &[], &AllGone);
    STEPS.get()
}

#[test]
fn twice_the_text_is_at_most_twice_the_work() {
    for set in [all(), validated()] {
        for repeated in REPEATED {
            let of = |length: usize| steps(&repeated.repeat(length / repeated.len()), &set);
            let (once, twice) = (of(LENGTH), of(2 * LENGTH));
            assert!(twice <= 2 * once + once / 10 + CONSTANT, "{repeated:?}: {once} steps, {twice} for twice as much");
        }
    }
}
