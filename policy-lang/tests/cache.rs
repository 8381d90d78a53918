//! A set that is loaded again with a cache is the set that is loaded without one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use policy_lang::{Cache, Diagnostics, Loaded, Source, load_sources, load_sources_cached};

const FIRST: &str = "policy \"p\" version 1\nset s : model = { \"a\" }\n/// Docs.\nrule a { when model in s allow }\n\
    rule b { when request $.a is present and request $.a == \"x\" deny \"No.\" status 404 }\n\
    test \"t\" { given request { \"model\": \"a\" } expect fires a }\n";

fn sources(text: &str) -> Vec<Source> {
    ["one.policy", "two.policy"]
        .map(|name| Source { name: name.to_owned(), text: text.replace("rule ", &format!("rule {}-", &name[..3])) })
        .into_iter()
        .map(|source| Source {
            text: source.text.replace("fires ", &format!("fires {}-", &source.name[..3])),
            ..source
        })
        .collect()
}

fn shown(loaded: &Result<Loaded, Diagnostics>) -> String {
    match loaded {
        Ok(loaded) => format!("{:#?} {}", loaded.program, loaded.diagnostics().render_all(false)),
        Err(found) => found.render_all(false),
    }
}

#[test]
fn with_a_cache_as_without() {
    let mut cache = Cache::default();
    let versions = [
        FIRST.to_owned(),
        FIRST.to_owned(),
        // Everything moves.
        format!("// A comment before.\n{FIRST}"),
        // Other docs, one changed rule, one new set that nobody uses.
        FIRST
            .replace("/// Docs.", "/// Other\n/// docs.")
            .replace("404", "410")
            .replace("rule b", "set u : ip = { ::1 }\nrule b"),
        // Mistakes of syntax and of names.
        FIRST.replace("allow", "alow").replace("\"a\" }\n", "nothing }\n"),
        FIRST.to_owned(),
    ];
    for version in versions {
        let plain = load_sources(sources(&version));
        let cached = load_sources_cached(sources(&version), &mut cache);
        assert_eq!(shown(&plain), shown(&cached));
    }
    // The header, set and test are the same text in both files but for the names of rules.
    assert_eq!(cache.len(), 8);
    drop(load_sources_cached(vec![], &mut cache));
    assert!(!cache.is_empty(), "a set that could not be read at all leaves the cache as it is");
    let one = Source { name: "one.policy".to_owned(), text: "policy \"p\" version 1".to_owned() };
    drop(load_sources_cached(vec![one], &mut cache));
    assert_eq!(cache.len(), 1, "what is gone is forgotten");
}
