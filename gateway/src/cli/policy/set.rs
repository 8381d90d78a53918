//! Policy sets as the commands take them: several paths, each one a set.

use super::super::Failure;
use clap::ValueEnum;
use policy_compiler::PolicyHost;
use policy_lang::testing::{TestReport, run_tests};
use policy_lang::{Loaded, load_path};
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

/// Which sets.
#[derive(Debug, clap::Args)]
pub(super) struct Paths {
    /// A `.policy` file, or a directory of them: each is one set
    #[arg(required = true, value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
}

/// How most commands print what they found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// One JSON array with an object for each path
    Json,
}

impl Paths {
    /// Loads every set, or says everything that is wrong with all of them.
    pub(super) fn load(&self) -> Result<Vec<Set>, Failure> {
        there(&self.paths)?;
        let mut sets = Vec::new();
        let mut broken = String::new();
        for path in &self.paths {
            match load(path) {
                Ok(set) => sets.push(set),
                Err(text) => broken += &text,
            }
        }
        match broken.is_empty() {
            true => Ok(sets),
            false => {
                eprint!("{broken}");
                Err(Failure::bad(""))
            }
        }
    }
}

/// A path that is not there says nothing about a policy.
pub(super) fn there(paths: &[PathBuf]) -> Result<(), Failure> {
    for path in paths {
        std::fs::metadata(path).map_err(|error| Failure::cannot_tell(format!("{}: {error}", path.display())))?;
    }
    Ok(())
}

/// A set that can be judged by.
pub(super) struct Set {
    /// The path as given.
    pub(super) name: String,
    pub(super) loaded: Loaded,
    pub(super) host: PolicyHost,
}

fn load(path: &Path) -> Result<Set, String> {
    let loaded = load_path(path).map_err(|found| found.render_all(std::io::stderr().is_terminal()))?;
    let host = PolicyHost::new(&loaded.program).map_err(|error| format!("error: {error}\n"))?;
    Ok(Set { name: path.display().to_string(), loaded, host })
}

impl Set {
    pub(super) fn test(&self, filter: &str) -> TestReport {
        run_tests(&self.loaded, &self.host, filter)
    }

    /// `examples/x: policy "x" version 1`
    pub(super) fn title(&self) -> String {
        let program = &self.loaded.program;
        format!("{}: policy \"{}\" version {}", self.name, program.name, program.version)
    }
}

/// Prints what a command is for. A reader that stopped reading (`| head`) is no failure of ours.
pub(super) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

pub(super) fn color() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
