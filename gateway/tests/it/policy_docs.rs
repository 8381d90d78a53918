//! The pages about policies are true: every policy in them loads and passes its tests, every command prints what is shown.
//!
//! `SALLYPORT_UPDATE_DOCS=1 cargo nextest run -p gateway policy_docs` writes the real output into the pages.

use policy_compiler::PolicyHost;
use policy_lang::testing::{run_tests, to_text};
use policy_lang::{Source, load_sources};
use std::path::{Path, PathBuf};
use std::process::Command;

const PAGES: [&str; 4] =
    ["docs/policy/language.md", "docs/policy/recipes.md", "docs/policy/tools.md", "docs/policy/tutorial.md"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A fenced block: its language, the lines between its fences, and the number of the first of them.
struct Block {
    language: String,
    lines: Vec<String>,
    first: usize,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    // The fence that is open: output with fences of its own stands between longer ones.
    let mut open: Option<&str> = None;
    for (number, line) in page.lines().enumerate() {
        let ticks = line.len() - line.trim_start_matches('`').len();
        match open {
            None if ticks >= 3 => {
                let (fence, language) = line.split_at(ticks);
                blocks.push(Block { language: language.to_owned(), lines: Vec::new(), first: number + 1 });
                open = Some(fence);
            }
            Some(fence) if line == fence => open = None,
            Some(_) => blocks.last_mut().unwrap().lines.push(line.to_owned()),
            None => {}
        }
    }
    assert_eq!(open, None, "a fence is not closed");
    blocks
}

#[test]
fn every_policy_in_the_pages_is_good() {
    let mut count = 0;
    for page in PAGES {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        for block in blocks(&text).iter().filter(|block| block.language == "policy") {
            let mut policy = block.lines.join("\n");
            // Fragments show one thing; what every set needs besides is added behind them, so that lines keep their numbers.
            if !policy.contains("policy \"") {
                policy += "\npolicy \"page\" version 1\n";
            }
            let name = format!("{page}:{}", block.first);
            let loaded = load_sources(vec![Source { name: name.clone(), text: policy }])
                .unwrap_or_else(|found| panic!("{}", found.render_all(false)));
            let host = PolicyHost::new(&loaded.program).unwrap();
            let report = run_tests(&loaded, &host, "");
            assert!(report.passed(), "{name}\n{}", to_text(&report, &loaded.sources, false));
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}

#[test]
fn every_command_in_the_pages_prints_what_is_shown() {
    let update = std::env::var_os("SALLYPORT_UPDATE_DOCS").is_some();
    let mut count = 0;
    for page in PAGES {
        let path = root().join(page);
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        // From the end, so that the numbers of earlier lines stay true.
        for block in blocks(&text).iter().rev().filter(|block| block.language == "console") {
            let mut shown = Vec::new();
            for command in block.lines.iter().filter_map(|line| line.strip_prefix("$ ")) {
                shown.push(format!("$ {command}"));
                shown.extend(output(command).lines().map(str::to_owned));
                count += 1;
            }
            if update {
                lines.splice(block.first..block.first + block.lines.len(), shown);
            } else {
                assert_eq!(block.lines.join("\n"), shown.join("\n"), "{page}:{}", block.first);
            }
        }
        if update {
            std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        }
    }
    assert!(count >= 8, "{count}");
}

/// Both outputs of a command, run in the root of the project. No shell: words are separated by spaces.
fn output(command: &str) -> String {
    let mut words = command.split(' ');
    assert_eq!(words.next(), Some("sallyport"), "{command}");
    let output = Command::new(env!("CARGO_BIN_EXE_sallyport")).current_dir(root()).args(words).output().unwrap();
    assert!(output.status.code().is_some_and(|code| code <= 1), "{command}");
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}
