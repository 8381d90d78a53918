//! What has been released of a text after each of its characters, for `scripts/oracles/prefix_safety.py`: a line of JSON
//! `{"detectors": [..], "regexes": [..], "text": ".."}` in, `{"at": [..], "out": ".."}` out: after each character, how many characters had come
//! out; and all of it.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use policy_compiler::redact::{MaskPlan, PlainRedactor};
use policy_lang::{Mask, Matcher, Selector, Side, Transform};
use serde_json::{Value, json};
use std::io::BufRead;

fn plan(asked: &Value) -> MaskPlan {
    let names = |member: &str| -> Vec<String> {
        asked[member].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let mut matchers: Vec<Matcher> = names("detectors").into_iter().map(Matcher::Detector).collect();
    matchers.extend(names("regexes").into_iter().map(Matcher::Regex));
    let mask = Mask {
        side: Side::Response,
        record_only: false,
        selector: Selector::Text,
        matchers,
        transform: Transform::Label,
    };
    MaskPlan::new(Side::Response, [("oracle", &mask)]).unwrap()
}

fn main() {
    // Plans are dear and texts many.
    let mut known: Option<(Value, MaskPlan)> = None;
    for line in std::io::stdin().lock().lines() {
        let mut asked: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let text = asked["text"].take();
        if known.as_ref().is_none_or(|(wanted, _)| *wanted != asked) {
            let plan = plan(&asked);
            known = Some((asked, plan));
        }
        let (_, plan) = known.as_ref().unwrap();
        let (mut redactor, mut out) = (PlainRedactor::new(plan), Vec::new());
        let mut at = Vec::new();
        for character in text.as_str().unwrap().chars() {
            redactor.push(character.encode_utf8(&mut [0; 4]).as_bytes(), &mut out).unwrap();
            at.push(std::str::from_utf8(&out).unwrap().chars().count());
        }
        redactor.finish(&mut out).unwrap();
        println!("{}", json!({ "at": at, "out": std::str::from_utf8(&out).unwrap() }));
    }
}
