//! Holds the statements of docs/architecture.md that a machine can hold.

use std::path::{Path, PathBuf};

/// Lines of a source file above which it should be two.
const FILE_LINES_MAX: usize = 650;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn rust_files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for room in ["gateway", "policy-lang", "policy-compiler", "audit-shipper", "load-tests", "benches"] {
        collect(&root().join(room), &mut files);
    }
    assert!(files.len() > 50);
    files
}

fn collect(directory: &Path, files: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        // Comparisons with peers are workspaces of their own and build in place.
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            files.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn rooms_import_only_what_they_may() {
    let may: [(&str, &[&str]); 5] = [
        ("policy-lang", &[]),
        ("policy-compiler", &["policy-lang"]),
        ("audit-shipper", &[]),
        ("load-tests", &[]),
        ("gateway", &["policy-lang", "policy-compiler", "audit-shipper", "load-tests"]),
    ];
    let rooms = ["policy-lang", "policy-compiler", "audit-shipper", "load-tests", "gateway", "benches"];
    for (room, allowed) in may {
        let manifest = std::fs::read_to_string(root().join(room).join("Cargo.toml")).unwrap();
        let manifest = manifest.split_once("[package]").unwrap().1;
        for other in rooms.iter().filter(|other| **other != room) {
            let imports = manifest
                .lines()
                .any(|line| line.starts_with(&format!("{other}.")) || line.starts_with(&format!("{other} =")));
            assert!(!imports || allowed.contains(other), "{room} imports {other}");
        }
    }
}

#[test]
fn unsafe_stands_only_where_the_architecture_says() {
    let allowed = [
        "gateway/src/data_plane/rt/",
        "gateway/src/data_plane/preflight.rs",
        "policy-compiler/src/detect/simd.rs",
        "policy-compiler/src/native/",
        "policy-compiler/tests/",
        "audit-shipper/src/wal/",
        "audit-shipper/src/derived.rs",
        "gateway/tests/",
    ];
    for (name, text) in rust_files() {
        let blocks = text.contains("unsafe {") || text.contains("unsafe fn") || text.contains("unsafe impl");
        assert!(!blocks || allowed.iter().any(|place| name.starts_with(place)), "{name} has an unsafe block");
    }
}

#[test]
fn nothing_is_left_half_done() {
    let marks = [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("#[ig", "nore"), concat!("FIX", "ME")];
    for (name, text) in rust_files() {
        for mark in marks {
            assert!(!text.contains(mark), "{name} has {mark}");
        }
    }
}

#[test]
fn files_fit_in_the_head() {
    for (name, text) in rust_files() {
        let lines = text.lines().count();
        assert!(lines <= FILE_LINES_MAX, "{name} has {lines} lines");
    }
}
