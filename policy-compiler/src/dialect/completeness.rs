//! Every string of every recorded answer stands at a place that the tables name: as text, as opaque, as an echo, as a name.
//! One that does not could carry text past every mask.
//!
//! `tests/recorded/llama.cpp` was recorded from that server; `tests/recorded/sdk` has one answer of every kind that the
//! official SDKs know, made from their own types (`tests/sdk/answers.py`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::operation::Operation;
use super::stream_table::StreamTable;
use super::table::{Automaton, Role};
use super::walk::{Numbering, walk};
use crate::json::{Document, Kind, NodeId};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

/// What stands where, as far as the tables say.
fn listed(
    document: &Document<'_>,
    automaton: &Automaton,
    from: (NodeId, usize, Option<Role>),
) -> Vec<(Range<usize>, Role)> {
    let mut listed = Vec::new();
    walk(document, automaton, from, Numbering::ByPosition, &mut |found| {
        listed.push((document.range(found.node), found.role));
    })
    .unwrap();
    listed
}

/// The places of strings that no line of the tables covers, without their indices.
fn unlisted(document: &Document<'_>, listed: &[(Range<usize>, Role)]) -> BTreeSet<String> {
    let covered = |node: &NodeId| {
        let range = document.range(*node);
        listed.iter().any(|(own, _)| own.start <= range.start && range.end <= own.end)
    };
    let strings = document.subtree(document.root()).filter(|node| document.kind(*node) == Kind::String);
    strings.filter(|node| !covered(node)).map(|node| place(document, node)).collect()
}

fn place(document: &Document<'_>, node: NodeId) -> String {
    let mut steps = Vec::new();
    let mut at = node;
    while let Some(parent) = document.parent(at) {
        steps.push(document.key(at).map_or("[]".to_owned(), |key| format!(".{key}")));
        at = parent;
    }
    steps.reverse();
    let kind =
        document.get(document.root(), "type").unwrap().and_then(|node| document.string(node)).unwrap_or_default();
    format!("{kind}: {}", steps.concat())
}

fn unlisted_in_answer(operation: Operation, text: &[u8]) -> BTreeSet<String> {
    let document = Document::parse(text).unwrap();
    let listed = listed(&document, operation.answer_table().unwrap().automaton(), (document.root(), 0, None));
    unlisted(&document, &listed)
}

fn unlisted_in_event(operation: Operation, table: &'static StreamTable, text: &[u8]) -> BTreeSet<String> {
    let document = Document::parse(text).unwrap();
    let name = document.get(document.root(), "type").unwrap().and_then(|node| document.string(node));
    let Some((_, automaton)) = table.event(name.as_deref()) else {
        return BTreeSet::from([format!("no event is called {name:?}")]);
    };
    let mut all = Vec::new();
    let mut parts = Vec::new();
    walk(&document, automaton, (document.root(), 0, None), Numbering::ByIndex, &mut |found| match found.role {
        Role::Whole(place) => parts.push((found.node, place)),
        role => all.push((document.range(found.node), role)),
    })
    .unwrap();
    let answer = operation.answer_table().unwrap().automaton();
    for (node, place) in parts {
        match answer.find(place) {
            (Some(state), below) => all.extend(listed(&document, answer, (node, state, below))),
            (None, Some(role)) => all.push((document.range(node), role)),
            (None, None) => panic!("{place} leads nowhere"),
        }
    }
    unlisted(&document, &all)
}

fn read(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded").join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty())
}

const RECORDED: [(Operation, &str); 4] = [
    (Operation::ChatCompletions, "chat"),
    (Operation::Completions, "completions"),
    (Operation::Responses, "responses"),
    (Operation::Messages, "messages"),
];

#[test]
fn no_string_of_a_recorded_answer_is_unlisted() {
    let mut unlisted = BTreeSet::new();
    for (operation, name) in RECORDED {
        let table = operation.stream_table().unwrap();
        unlisted.extend(unlisted_in_answer(operation, &read(&format!("llama.cpp/{name}.json"))));
        for data in lines(&read(&format!("llama.cpp/{name}.sse"))).filter_map(|line| line.strip_prefix(b"data: ")) {
            if data != b"[DONE]" {
                unlisted.extend(unlisted_in_event(operation, table, data));
            }
        }
        for answer in lines(&read(&format!("sdk/{name}.jsonl"))) {
            unlisted.extend(unlisted_in_answer(operation, answer));
        }
        if operation != Operation::Completions {
            for event in lines(&read(&format!("sdk/{name}.events.jsonl"))) {
                unlisted.extend(unlisted_in_event(operation, table, event));
            }
        }
    }
    assert!(unlisted.is_empty(), "add lines to the tables for\n{}", Vec::from_iter(unlisted).join("\n"));
}

#[test]
fn every_part_of_an_event_leads_into_its_answer() {
    for operation in Operation::ALL.iter().filter(|operation| operation.stream_table().is_some()) {
        let answer = operation.answer_table().unwrap().automaton();
        for event in operation.stream_table().unwrap().events {
            for (_, role) in event.parts.iter().flat_map(|(_, lines)| *lines) {
                if let Role::Whole(place) = role {
                    assert_ne!(answer.find(place), (None, None), "{operation:?} {}: {place}", event.name);
                }
            }
        }
        for channel in operation.stream_table().unwrap().channels {
            assert_ne!(answer.find(channel.whole), (None, None), "{operation:?}: {}", channel.whole);
        }
    }
}
