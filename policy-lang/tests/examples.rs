//! Every policy under `examples/` is formatted, loads and has nothing to warn of.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use policy_lang::{Source, format_source, load_path};
use std::fs;
use std::path::{Path, PathBuf};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

fn policies(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(policies(&path));
        } else if path.extension().is_some_and(|extension| extension == "policy") {
            found.push(path);
        }
    }
    found
}

#[test]
fn examples_are_formatted() {
    let found = policies(&examples());
    assert!(found.len() >= 4, "{found:?}");
    for path in found {
        let source = Source { name: path.display().to_string(), text: fs::read_to_string(&path).unwrap() };
        let formatted = format_source(&source).unwrap_or_else(|found| panic!("{}", found.render_all(false)));
        let differs = source.text.lines().zip(formatted.lines()).find(|(a, b)| a != b);
        assert!(source.text == formatted, "{}: {differs:?}", path.display());
    }
}

#[test]
fn example_sets_load() {
    let sets = fs::read_dir(examples().join("policies")).unwrap().map(|entry| entry.unwrap().path());
    for set in sets.chain([examples().join("quickstart.policy")]) {
        let loaded = load_path(&set).unwrap_or_else(|found| panic!("{}", found.render_all(false)));
        let warnings = loaded.diagnostics().render_all(false);
        assert!(loaded.warnings.is_empty(), "{warnings}");
    }
}
