//! Sets of files: order, digest, directories as they come.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use policy_lang::{Diagnostics, Loaded, Source, load_path, load_sources};
use std::fs;
use std::path::{Path, PathBuf};

/// A directory of its own, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("policy-lang-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn load(&self) -> Result<Loaded, Diagnostics> {
        load_path(&self.0)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn code(result: Result<Loaded, Diagnostics>) -> &'static str {
    result.unwrap_err().list[0].code
}

fn names(loaded: &Loaded) -> Vec<&str> {
    loaded.program.rules.iter().map(|rule| rule.name.as_str()).collect()
}

const HEADER: &str = "policy \"p\" version 7\n";

#[test]
fn a_directory_is_one_set() {
    let directory = Directory::new("set");
    directory.write("b.policy", "rule b { allow }");
    directory.write("sub/a.policy", "rule a { allow }");
    directory.write("a.policy", &format!("{HEADER}rule c {{ allow }}"));
    directory.write("readme.txt", "not a policy");
    directory.write(".hidden.policy", "not a policy either");
    let loaded = directory.load().unwrap();
    assert_eq!(names(&loaded), ["a", "b", "c"]);
    assert_eq!((loaded.program.name.as_str(), loaded.program.version), ("p", 7));
    let files: Vec<&str> = loaded.sources.files().iter().map(|file| file.name.as_str()).collect();
    assert_eq!(files, ["a.policy", "b.policy", "sub/a.policy"]);

    // The digest is that of the texts, wherever they lie.
    let again = load_sources(loaded.sources.files().to_vec()).unwrap();
    assert_eq!(loaded.program.digest, again.program.digest);
    let one = load_path(&directory.0.join("a.policy")).unwrap();
    assert_eq!(names(&one), ["c"]);
}

#[test]
fn digest_is_pinned() {
    let file = |name: &str, text: &str| Source { name: name.to_owned(), text: text.to_owned() };
    let text = format!("{HEADER}rule a {{ allow }}\n");
    let digest = |files| load_sources(files).unwrap().program.digest.clone();
    let one = digest(vec![file("a.policy", &text)]);
    assert_eq!(one, "73ce1ac49806d49f93a0382126a91006967f925bcb9242cdcf2028cc05d9dc11");
    assert_ne!(one, digest(vec![file("b.policy", &text)]));
    assert_ne!(one, digest(vec![file("a.policy", &format!("{text} "))]));
    assert_ne!(one, digest(vec![file("a.policy", &text), file("b.policy", "")]));
}

#[test]
fn names_are_local_and_rules_are_not() {
    let file = |name: &str, text: &str| Source { name: name.to_owned(), text: text.to_owned() };
    let found = load_sources(vec![
        file("a.policy", "policy \"p\" version 1\nset s : model = { \"x\" }\nrule a { when model in s allow }\n"),
        file("b.policy", "rule a { allow }\nrule b { when model in s allow }\n"),
        file("c.policy", "set s : model = { \"y\" }\nrule c { when model in s allow }\n"),
    ])
    .unwrap_err();
    insta::assert_snapshot!(found.render_all(false));
}

#[cfg(unix)]
#[test]
fn links_as_kubernetes_mounts_them() {
    use std::os::unix::fs::symlink;
    let directory = Directory::new("configmap");
    directory.write("..2026_01_01/a.policy", &format!("{HEADER}rule a {{ allow }}"));
    symlink("..2026_01_01", directory.0.join("..data")).unwrap();
    symlink("..data/a.policy", directory.0.join("a.policy")).unwrap();
    // A link back up, and one that leads nowhere.
    symlink(".", directory.0.join("loop")).unwrap();
    symlink("nowhere", directory.0.join("gone")).unwrap();
    assert_eq!(names(&directory.load().unwrap()), ["a"]);
    assert_eq!(names(&load_path(&directory.0.join("..data")).unwrap()), ["a"]);

    symlink("nowhere", directory.0.join("gone.policy")).unwrap();
    assert_eq!(code(directory.load()), "SP0001");
}

#[test]
fn what_cannot_be_loaded() {
    let directory = Directory::new("bad");
    assert_eq!(code(load_path(Path::new("no/such/place"))), "SP0001");
    assert_eq!(code(directory.load()), "SP0002");
    directory.write("a.policy", &"x".repeat((1 << 20) + 1));
    assert_eq!(code(directory.load()), "SP0003");
    fs::write(directory.0.join("a.policy"), b"policy \xff").unwrap();
    assert_eq!(code(directory.load()), "SP0005");
    fs::remove_file(directory.0.join("a.policy")).unwrap();
    let deep = vec!["d"; 18].join("/");
    directory.write(&format!("{deep}/a.policy"), HEADER);
    assert_eq!(code(directory.load()), "SP0006");
    let text = directory.load().unwrap_err().render_all(false);
    assert!(text.starts_with("error[SP0006]: directories are more than 16 deep"), "{text}");
}

/// The example and the page about the language say what the language is.
#[test]
fn examples_and_documentation_load() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for entry in fs::read_dir(root.join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "policy") {
            let loaded = load_path(&path).unwrap_or_else(|found| panic!("{}", found.render_all(false)));
            assert_eq!(loaded.warnings, [], "{}", path.display());
        }
    }
    let page = fs::read_to_string(root.join("docs/policy/language.md")).unwrap();
    let blocks: Vec<&str> = page.split("```policy\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 5);
    for block in blocks {
        let header = if block.contains("policy \"") { "" } else { "policy \"docs\" version 1\n" };
        let text = format!("{header}{block}");
        let name = "language.md".to_owned();
        if let Err(found) = load_sources(vec![Source { name, text }]) {
            panic!("{}", found.render_all(false));
        }
    }
}
