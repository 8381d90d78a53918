//! The scanner against serde_json.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use policy_compiler::json::{DEPTH_MAX, Document, JsonErrorKind, Kind, NodeId, unescape, write_string};
use proptest::prelude::*;
use serde_json::Value;

/// The value that the tape stands for; of members that occur twice the last.
fn value(document: &Document<'_>, node: NodeId) -> Value {
    match document.kind(node) {
        Kind::Null => Value::Null,
        Kind::True => Value::Bool(true),
        Kind::False => Value::Bool(false),
        Kind::String => Value::String(document.string(node).unwrap().into_owned()),
        Kind::Number => serde_json::from_slice(document.raw(node)).unwrap(),
        Kind::Array => document.children(node).map(|child| value(document, child)).collect(),
        Kind::Object => Value::Object(
            document
                .children(node)
                .map(|child| (document.key(child).unwrap().into_owned(), value(document, child)))
                .collect(),
        ),
    }
}

/// Accepts and refuses as serde_json does. Documented differences: lone surrogates are accepted, as the grammar does;
/// numbers beyond `f64` are accepted, since nothing converts them.
fn agree(text: &[u8]) {
    let ours = Document::parse(text);
    let theirs = serde_json::from_slice::<Value>(text);
    match (ours, theirs) {
        (Ok(document), Ok(theirs)) => assert_eq!(value(&document, document.root()), theirs),
        (Err(_), Err(_)) => {}
        (Ok(_), Err(error)) => {
            let message = error.to_string();
            assert!(
                message.contains("surrogate") || message.contains("hex escape") || message.contains("out of range"),
                "{message}: {}",
                String::from_utf8_lossy(text)
            );
        }
        (Err(error), Ok(_)) => panic!("{error}: {}", String::from_utf8_lossy(text)),
    }
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[\"\\\\\u{0}-\u{1f}é😀]{0,9}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn values_are_the_same(json in json(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&json) } else { serde_json::to_string(&json) }.unwrap();
        agree(text.as_bytes());
        // Ranges are the source of the values.
        let document = Document::parse(text.as_bytes()).unwrap();
        for node in document.subtree(document.root()) {
            prop_assert!(Document::parse(document.raw(node)).is_ok());
        }
    }

    #[test]
    fn one_changed_byte_is_judged_alike(json in json(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut text = serde_json::to_vec(&json).unwrap();
        let at = at.index(text.len());
        text[at] = byte;
        agree(&text);
        text.remove(at);
        agree(&text);
    }

    #[test]
    fn near_json_is_judged_alike(text in r#"(\{|\}|\[|\]|,|:|"|\\|\\u00|d8|e0|a|0|1|-|\+|\.|e|true|null| |\t){0,14}"#) {
        agree(text.as_bytes());
    }

    #[test]
    fn numbers_are_judged_alike(text in "[-+0-9.eE]{0,9}") {
        agree(text.as_bytes());
    }

    #[test]
    fn written_strings_read_the_same(text in any::<String>()) {
        let mut written = Vec::new();
        write_string(text.as_bytes(), &mut written);
        prop_assert_eq!(serde_json::from_slice::<String>(&written).unwrap(), text.clone());
        prop_assert_eq!(unescape(&written[1..written.len() - 1]), text);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        agree(&bytes);
    }
}

#[test]
fn what_is_refused_and_where() {
    let offence = |text: &[u8]| {
        let error = Document::parse(text).unwrap_err();
        (error.offset, error.kind)
    };
    assert_eq!(offence(b""), (0, JsonErrorKind::End));
    assert_eq!(offence(b"{} x"), (3, JsonErrorKind::Trailing));
    assert_eq!(offence(b"\"\xff\""), (1, JsonErrorKind::Utf8));
    assert_eq!(offence(b"\"a\n\""), (2, JsonErrorKind::Control));
    assert_eq!(offence(br#""\x""#), (1, JsonErrorKind::Escape));
    assert_eq!(offence(b"-x"), (0, JsonErrorKind::Number));
    assert_eq!(offence(b"[1,]"), (3, JsonErrorKind::Byte));
    assert_eq!(offence(b"{\"a\":1"), (6, JsonErrorKind::End));
    assert_eq!(offence("\u{feff}{}".as_bytes()), (0, JsonErrorKind::Byte));
    assert!(Document::parse("[".repeat(DEPTH_MAX).as_bytes()).is_err_and(|error| error.kind == JsonErrorKind::End));
    assert_eq!(offence("[".repeat(DEPTH_MAX + 1).as_bytes()), (DEPTH_MAX, JsonErrorKind::Depth));
}

#[test]
fn long_strings_end_where_they_end() {
    for length in 0..40 {
        for special in ["\\n", "", "\u{7f}", "é"] {
            let text = format!("\"{}{special}\"", "a".repeat(length));
            let document = Document::parse(text.as_bytes()).unwrap();
            assert_eq!(document.range(document.root()), 0..text.len());
        }
    }
}

#[test]
fn members_are_found_by_meaning_and_only_once() {
    let document = Document::parse(br#"{"m\u006fdel":"a","x":1,"x":2}"#).unwrap();
    let root = document.root();
    let model = document.get(root, "model").unwrap().unwrap();
    assert_eq!(document.string(model).unwrap(), "a");
    assert!(document.get(root, "x").is_err());
    assert_eq!(document.get(root, "y"), Ok(None));
    assert!(document.distinct_keys(root).is_err());
}
