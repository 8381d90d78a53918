//! What a leaf says, and what it never says.

use std::sync::Arc;

use super::support::{Bench, call, intent, moment, outcome, policy, refusal};
use crate::blob::RecordKey;
use crate::encode::{self, Item, Tallies, Tally};
use crate::keystore::SubjectKey;
use crate::model::{Detail, MaskHit, Note, NoteKind};
use crate::wal::format::{Entries, EntryKind, MAX_LEAF_BYTES};
use crate::{Caller, RecordId};

fn key(id: u128) -> RecordKey {
    RecordKey::new(RecordId(id), Arc::new(SubjectKey::new([1; 16], [2; 32])))
}

fn leaf_of(item: &Item) -> String {
    let leaf = Entries::new(&item.entries).find(|entry| entry.kind == EntryKind::Leaf).unwrap();
    String::from_utf8(leaf.data.to_vec()).unwrap()
}

/// The leaf, one field per line; digests that differ from run to run are replaced.
fn readable(item: &Item) -> String {
    fn calm(value: &mut serde_json::Value, random: bool) {
        match value {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    let random = ["model", "mac", "body", "blob"].contains(&name.as_str()) || random;
                    calm(value, random);
                }
            }
            serde_json::Value::Array(values) => values.iter_mut().for_each(|value| calm(value, random)),
            serde_json::Value::String(text) if random && text.len() == 64 => *text = "(keyed digest)".to_owned(),
            _ => {}
        }
    }
    let mut leaf: serde_json::Value = serde_json::from_str(&leaf_of(item)).unwrap();
    calm(&mut leaf, false);
    serde_json::to_string_pretty(&leaf).unwrap()
}

fn all_kinds() -> Vec<Item> {
    let note = Note {
        at: moment(),
        actor: Caller { subject: "bob@example.com".to_owned(), ..Caller::default() },
        about: Some(RecordId(1)),
        details: vec![
            ("expires_s".into(), Detail::Number(900)),
            ("binding".into(), Detail::Digest([3; 32])),
            ("request".into(), Detail::Record(RecordId(1))),
            ("rule".into(), Detail::Name("require-approval".to_owned())),
        ],
        text: "looks fine to me".to_owned(),
        ..Note::new(NoteKind::Approval, "approved")
    };
    vec![
        encode::intent(&key(1), RecordId(1), &intent()).unwrap(),
        encode::outcome(&key(2), RecordId(2), RecordId(1), &outcome(), &tallies()).unwrap(),
        encode::refusal(&key(3), RecordId(3), &refusal()).unwrap(),
        encode::note(&key(4), RecordId(4), &note).unwrap(),
        encode::abort(RecordId(5), RecordId(1), &tallies(), "restart").unwrap(),
        encode::boot(RecordId(6), 2, 17, [5; 32], 0, "strict", &[("binary", [6; 32])]).unwrap(),
        encode::gap(RecordId(7), 3, "queue_full").unwrap(),
    ]
}

fn tallies() -> Tallies {
    let mut request = Tally::default();
    request.add(10, &[1; 32]);
    Tallies { request, ..Tallies::default() }
}

#[test]
fn an_intent_reads_like_this() {
    insta::assert_snapshot!(readable(&all_kinds()[0]));
}

#[test]
fn an_outcome_reads_like_this() {
    insta::assert_snapshot!(readable(&all_kinds()[1]));
}

#[test]
fn a_refusal_reads_like_this() {
    insta::assert_snapshot!(readable(&all_kinds()[2]));
}

#[test]
fn a_note_reads_like_this() {
    insta::assert_snapshot!(readable(&all_kinds()[3]));
}

#[test]
fn keys_are_sorted_in_every_leaf() {
    for item in all_kinds() {
        let leaf = leaf_of(&item);
        // serde_json's own map sorts, so what comes back sorted and equal was sorted.
        let sorted: std::collections::BTreeMap<String, serde_json::Value> = serde_json::from_str(&leaf).unwrap();
        assert_eq!(serde_json::to_string(&sorted).unwrap(), leaf);
        assert!(leaf.len() <= MAX_LEAF_BYTES);
    }
}

#[test]
fn a_leaf_stays_small_whatever_it_is_told() {
    let long = "ü".repeat(10_000);
    let mut large = intent();
    large.masks = vec![MaskHit { pointer: long.clone(), rule: long.clone(), ..MaskHit::default() }; 60];
    large.fired = vec![long.clone(); 60];
    large.coverage = (0..1000).map(|number| (format!("{number}{long}").into(), crate::Coverage::Opaque)).collect();
    large.policy = crate::PolicyRef { name: long.clone(), version: long.clone(), ..policy() };
    large.operation = long;
    let leaf = leaf_of(&encode::intent(&key(1), RecordId(1), &large).unwrap());
    assert!(leaf.len() <= MAX_LEAF_BYTES);
    assert!(leaf.contains("\"mask_count\":60"), "the count stays");
}

#[test]
fn nothing_personal_lies_in_the_files() {
    let bench = Bench::new();
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    call(&mut producer);
    let id = producer.new_id();
    producer.refusal(id, &refusal()).commit.wait_blocking().unwrap();
    evidence.close().unwrap();
    let words = [
        "alice",
        "mallory",
        "ml-apps",
        "notebook",
        "192.0.2.7",
        "llm.example.com",
        "/v1/chat",
        "tok-1234",
        "acme",
        "gpt-secret-project",
        "Interns may not",
        "wombat",
        "idp.example.com",
    ];
    let mut files = vec![bench.dir.path().to_path_buf()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.truncate(bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1));
        for word in words {
            let found = bytes.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(!found, "{word} lies in {}", path.display());
        }
    }
}

#[test]
fn the_published_schema_knows_every_field_of_every_kind() {
    let schema: serde_json::Value =
        serde_json::from_str(include_str!("../../../docs/evidence/leaf.schema.json")).unwrap();
    let kinds = schema["allOf"].as_array().unwrap();
    let mut checked = Vec::new();
    for item in all_kinds() {
        let leaf: serde_json::Value = serde_json::from_str(&leaf_of(&item)).unwrap();
        let kind = leaf["t"].as_str().unwrap().to_owned();
        let rule = kinds.iter().find(|rule| rule["if"]["properties"]["t"]["const"] == leaf["t"]).expect(&kind);
        let list = |pointer: &str| rule.pointer(pointer).unwrap().as_array().unwrap().clone();
        let known = list("/then/propertyNames/enum");
        for field in leaf.as_object().unwrap().keys() {
            assert!(known.iter().any(|name| name == field.as_str()), "{kind} has {field}, the schema does not");
            assert!(schema["properties"][field].is_object(), "{field}");
        }
        for required in list("/then/required") {
            assert!(leaf.get(required.as_str().unwrap()).is_some(), "{kind} should have {required}");
        }
        checked.push(kind);
    }
    checked.dedup();
    assert!(checked.len() >= 6, "{checked:?}");
}
