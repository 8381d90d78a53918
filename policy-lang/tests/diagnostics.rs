//! Every diagnostic as people see it. A case in `tests/diagnostics` is a `.policy` file, or a directory of them that is one set; its golden
//! text lies beside it, and where there is one a right example (`….right.policy`). The name of a case begins with the code that it is
//! about. What is too large for a file is built in `generated.rs`. `docs/policy/diagnostics.md` is made from all of these.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "diagnostics/generated.rs"]
mod generated;
#[path = "diagnostics/page.rs"]
mod page;

use policy_lang::{Code, Date, Diagnostic, Diagnostics, Loaded, Source, load_sources};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The day on which the cases are looked at.
const TODAY: &str = "2027-01-15";

/// One case: its name, and its files or what came of building them.
struct Case {
    name: String,
    files: Vec<Source>,
    found: Diagnostics,
    right: Option<Vec<Source>>,
}

impl Case {
    fn code(&self) -> &str {
        self.name.split('_').next().unwrap()
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics")
}

fn cases() -> Vec<Case> {
    let mut names: Vec<String> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() || path.extension().is_some_and(|extension| extension == "policy"))
        .map(|path| path.file_name().unwrap().to_str().unwrap().trim_end_matches(".policy").to_owned())
        .filter(|name| !name.ends_with(".right"))
        .collect();
    names.sort();
    let written = names.into_iter().map(|name| {
        let files = sources(&name).unwrap();
        let right = sources(&format!("{name}.right"));
        Case { found: findings(load_sources(files.clone())), name, files, right }
    });
    let built = generated::cases().into_iter().map(|(name, loaded)| Case {
        right: sources(&format!("{name}.right")),
        name: name.to_owned(),
        files: Vec::new(),
        found: findings(loaded),
    });
    let mut cases: Vec<Case> = written.chain(built).collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

/// A file, or all files of a directory by their names below it.
fn sources(name: &str) -> Option<Vec<Source>> {
    let file = directory().join(format!("{name}.policy"));
    if let Ok(text) = fs::read_to_string(file) {
        return Some(vec![Source { name: "case.policy".to_owned(), text }]);
    }
    let root = directory().join(name);
    let mut open = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        for entry in fs::read_dir(path).ok()? {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            found.push(Source { name, text: fs::read_to_string(&path).unwrap() });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Some(found)
}

/// All that `policy check` shows.
fn findings(loaded: Result<Loaded, Diagnostics>) -> Diagnostics {
    match loaded {
        Ok(loaded) => {
            let mut found = loaded.diagnostics();
            found.list.extend(loaded.expiring(Date::parse(TODAY).unwrap()));
            found.list.extend(loaded.check());
            found
        }
        Err(diagnostics) => diagnostics,
    }
}

#[test]
fn golden() {
    for case in cases() {
        let Case { name, found, .. } = &case;
        let codes: Vec<&str> = found.list.iter().map(|d| d.code).collect();
        assert!(codes.contains(&case.code()), "{name} shows {codes:?}");
        insta::with_settings!({
            snapshot_path => "diagnostics",
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!(name.as_str(), found.render_all(false));
        });
    }
}

/// By definition there is no text that leads to this one.
fn needs_case(code: Code) -> bool {
    code != Code::Internal
}

#[test]
fn every_code_has_a_case() {
    let cases = cases();
    for (_, text, meaning) in Code::ALL.iter().filter(|(code, ..)| needs_case(*code)) {
        assert!(cases.iter().any(|case| case.code() == *text), "no case for {text} ({meaning})");
        let built = cases.iter().any(|case| case.code() == *text && case.files.is_empty());
        let right = cases.iter().any(|case| case.code() == *text && case.right.is_some());
        assert!(built || right, "no right example for {text} ({meaning})");
    }
}

#[test]
fn right_examples_are_right() {
    let mut wrong = String::new();
    for case in cases() {
        let Some(right) = &case.right else {
            continue;
        };
        let found = findings(load_sources(right.clone()));
        if !found.list.is_empty() {
            wrong += &format!("{}\n{}\n", case.name, found.render_all(false));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A text to which all patches were applied has none of the findings that had one.
#[test]
fn patches_mend() {
    let mut mended = BTreeSet::new();
    for case in cases() {
        let with_patch: Vec<&Diagnostic> = case.found.list.iter().filter(|found| found.patch.is_some()).collect();
        if with_patch.is_empty() || case.files.is_empty() {
            continue;
        }
        let mut files = case.files.clone();
        let mut patches: Vec<_> = with_patch.iter().filter_map(|found| found.patch.as_ref()).collect();
        // From the end, so that places stay.
        patches.sort_by_key(|patch| std::cmp::Reverse((patch.file, patch.span.start)));
        patches.dedup();
        for patch in patches {
            files[patch.file].text.replace_range(patch.span.clone(), &patch.replacement);
        }
        let after = findings(load_sources(files.clone()));
        let like = |list: &[&Diagnostic], found: &Diagnostic| {
            list.iter().filter(|other| other.code == found.code && other.message == found.message).count()
        };
        let (before, later): (Vec<_>, Vec<_>) = (case.found.list.iter().collect(), after.list.iter().collect());
        for found in &with_patch {
            let others = like(&before, found) - like(&with_patch, found);
            let is_mended = like(&later, found) <= others;
            assert!(is_mended, "{}: {}\n{}", case.name, found.message, after.render_all(false));
            mended.insert(found.code);
        }
    }
    assert!(mended.len() >= 13, "only {mended:?} have a patch");
}

#[test]
fn codes_are_unique() {
    let codes: BTreeSet<&str> = Code::ALL.iter().map(|(_, text, _)| *text).collect();
    assert_eq!(codes.len(), Code::ALL.len());
}

#[test]
fn json_has_places() {
    let text = "policy \"p\" version 1\nrule a { alow }\n";
    let source = Source { name: "a.policy".to_owned(), text: text.to_owned() };
    let found = load_sources(vec![source]).unwrap_err();
    insta::assert_snapshot!(serde_json::to_string_pretty(&found.to_json()).unwrap());
    assert_eq!(
        found.to_string(),
        "a.policy:2:10: expected a clause (`when`, `allow`, `deny`, `require`, `mask`, …), found `alow` [SP0101]"
    );
    assert!(found.render_all(true).contains("\u{1b}["));
}

/// The required members of SARIF 2.1.0 and what its text demands of them.
#[test]
fn sarif_has_what_the_standard_demands() {
    for case in cases() {
        let log = case.found.to_sarif();
        assert_eq!(log["version"], "2.1.0");
        assert!(log["$schema"].as_str().unwrap().ends_with("sarif-schema-2.1.0.json"));
        let [run] = log["runs"].as_array().unwrap().as_slice() else {
            panic!("not one run");
        };
        let driver = &run["tool"]["driver"];
        assert!(!driver["name"].as_str().unwrap().is_empty());
        let rules = driver["rules"].as_array().unwrap();
        let results = run["results"].as_array().unwrap();
        assert_eq!(results.len(), case.found.list.len());
        for result in results {
            assert!(!result["message"]["text"].as_str().unwrap().is_empty());
            assert!(["error", "warning"].contains(&result["level"].as_str().unwrap()));
            let rule = &rules[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
            assert_eq!(rule["id"], result["ruleId"]);
            assert!(!rule["shortDescription"]["text"].as_str().unwrap().is_empty());
            let empty = Vec::new();
            let places = |member: &str| result[member].as_array().unwrap_or(&empty).clone();
            for place in places("locations").iter().chain(&places("relatedLocations")) {
                let place = &place["physicalLocation"];
                assert!(!place["artifactLocation"]["uri"].as_str().unwrap().contains(' '));
                let at = |member: &str| place["region"][member].as_u64().unwrap();
                assert!(at("startLine") >= 1 && at("startColumn") >= 1);
                assert!((at("endLine"), at("endColumn")) >= (at("startLine"), at("startColumn")));
            }
            for fix in places("fixes") {
                for change in fix["artifactChanges"].as_array().unwrap() {
                    assert!(change["artifactLocation"]["uri"].is_string());
                    let replacements = change["replacements"].as_array().unwrap();
                    assert!(!replacements.is_empty() && replacements.iter().all(|r| r["deletedRegion"].is_object()));
                }
            }
        }
    }
}

/// The page is made from the cases; with `INSTA_UPDATE=always` it is written anew.
#[test]
fn the_page_shows_every_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/policy/diagnostics.md");
    let page = page::page(&cases());
    if std::env::var("INSTA_UPDATE").is_ok_and(|mode| mode == "always") {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/policy/diagnostics.md is not what the cases say: run the test with INSTA_UPDATE=always"
    );
}
