//! From files to a program.

use crate::check::{self, Outline};
use crate::codes::Code;
use crate::date::Date;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::limits::{ERRORS_MAX, FILE_BYTES_MAX, FILES_MAX, SET_BYTES_MAX};
use crate::lower::{Expiry, lower};
use crate::parse::{Cache, parse_item, parse_item_cached};
use crate::program::Program;
use crate::scanner::scan;
use crate::source::{Source, Sources};
use crate::syntax::Item;
use crate::walk;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;

/// A policy set that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What calls are judged by.
    pub program: Arc<Program>,
    /// What is probably not as meant.
    pub warnings: Vec<Diagnostic>,
    /// What ends on a day.
    expiries: Vec<Expiry>,
    outlines: Vec<Outline>,
    /// The texts, for showing the warnings.
    pub sources: Sources,
}

/// Days before its end from which an `until` is warned of (POLICY-LANGUAGE §4).
const WARN_DAYS: i64 = 14;

impl Loaded {
    /// Warnings of every `until` that is over on a day or will be within two weeks. This crate has no clock: the caller says what day it is.
    #[must_use]
    pub fn expiring(&self, today: Date) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        for expiry in &self.expiries {
            let left = expiry.last - today.days();
            let last = Date::from_days(expiry.last);
            let (code, message, help) = match left {
                ..0 => (
                    Code::Expired,
                    format!("this ended on {last}: in `{}` it has no effect any more", expiry.rule),
                    "remove it, or agree on a new day",
                ),
                0..=WARN_DAYS => (
                    Code::ExpiresSoon,
                    format!("this ends with {last}, in {left} days: from then on `{}` is stricter", expiry.rule),
                    "agree on a new day, or tell those whom it concerns",
                ),
                _ => continue,
            };
            found.push(Diagnostic::warning(code, message).label(expiry.span, "").help(help));
        }
        found
    }

    /// What the set says that cannot be as meant: conditions that never or always hold, rules that add nothing to others or never have the
    /// word, masks that never matter, bounds that contradict each other. At most 100 findings; the contradictions are errors. Takes up to a
    /// few seconds for 10,000 rules, so loading does not do it: where bounds contradict, a loaded set keeps more.
    #[must_use]
    pub fn check(&self) -> Vec<Diagnostic> {
        let mut found = check::findings(&self.program, &self.outlines);
        sort(&mut found);
        found
    }

    /// The warnings as [`Diagnostics`], for rendering.
    #[must_use]
    pub fn diagnostics(&self) -> Diagnostics {
        Diagnostics { list: self.warnings.clone(), sources: self.sources.clone() }
    }
}

/// Loads a policy file, or every `*.policy` file below a directory as one set.
///
/// A file may import others below its own directory; they bring names and no rules. In a directory all files are part of the set.
/// Names that begin with a dot are left out, so a mounted Kubernetes ConfigMap (files that are links into `..data`) is read once.
///
/// # Errors
/// Everything that is wrong with the set, unreadable files included; at most 100 findings.
pub fn load_path(path: &Path) -> Result<Loaded, Diagnostics> {
    read_and_load(path, None)
}

/// [`load_path`] for a set that was loaded with the same cache before: items that have not changed are not parsed again.
///
/// # Errors
/// As [`load_path`]; what could be parsed is kept nevertheless.
pub fn load_path_cached(path: &Path, cache: &mut Cache) -> Result<Loaded, Diagnostics> {
    read_and_load(path, Some(cache))
}

fn read_and_load(path: &Path, cache: Option<&mut Cache>) -> Result<Loaded, Diagnostics> {
    let (root, files) =
        walk::read(path).map_err(|error| Diagnostics { list: vec![*error], sources: Sources::default() })?;
    let mut sources = Sources::new(files, root);
    if !path.is_dir() {
        let directory = path.parent().unwrap_or(Path::new(""));
        add_imports(directory, &mut sources)
            .map_err(|error| Diagnostics { list: vec![*error], sources: sources.clone() })?;
    }
    load(sources, cache)
}

/// Reads what a single file imports, and what that imports. An import that leads nowhere is reported with its place later.
fn add_imports(directory: &Path, sources: &mut Sources) -> Result<(), Box<Diagnostic>> {
    let mut next = 0;
    while let Some(source) = sources.files().get(next) {
        let mut wanted = Vec::new();
        for raw in scan(next, &source.text, &mut Vec::new()).into_iter().filter(|raw| raw.word == "import") {
            if let Ok(Item::Import(import)) = parse_item(&source.text, raw) {
                wanted.extend(crate::source::relative(&source.name, &import.path.node));
            }
        }
        for name in wanted {
            let is_known = sources.files().iter().any(|known| known.name == name);
            if is_known || sources.files().len() >= FILES_MAX {
                continue;
            }
            if let Some(text) = walk::read_import(&directory.join(&name))? {
                sources.add_library(Source { name, text });
            }
        }
        next += 1;
    }
    Ok(())
}

/// Loads texts as one set, in the given order.
///
/// # Errors
/// Everything that is wrong with the set; at most 100 findings.
pub fn load_sources(sources: Vec<Source>) -> Result<Loaded, Diagnostics> {
    load(Sources::new(sources, String::new()), None)
}

/// [`load_sources`] with a cache, as [`load_path_cached`].
///
/// # Errors
/// As [`load_sources`].
pub fn load_sources_cached(sources: Vec<Source>, cache: &mut Cache) -> Result<Loaded, Diagnostics> {
    load(Sources::new(sources, String::new()), Some(cache))
}

fn load(sources: Sources, cache: Option<&mut Cache>) -> Result<Loaded, Diagnostics> {
    let mut errors = Vec::new();
    let checked = match check_bounds(&sources) {
        Err(error) => {
            errors.push(*error);
            None
        }
        Ok(()) => {
            let items = parse(&sources, cache, &mut errors);
            Some(lower(&items, &sources, &mut errors))
        }
    };
    let (Some(checked), true) = (checked, errors.is_empty()) else {
        sort(&mut errors);
        errors.truncate(ERRORS_MAX);
        return Err(Diagnostics { list: errors, sources });
    };
    let mut warnings = checked.warnings;
    let program = Program {
        name: checked.name,
        version: checked.version,
        digest: digest(&sources),
        docs: checked.docs,
        rules: checked.rules,
        atoms: checked.atoms,
        invariants: checked.invariants,
        tests: checked.tests,
    };
    sort(&mut warnings);
    Ok(Loaded { program: Arc::new(program), warnings, expiries: checked.expiries, outlines: checked.outlines, sources })
}

fn check_bounds(sources: &Sources) -> Result<(), Box<Diagnostic>> {
    let files = sources.files();
    if files.is_empty() {
        return Err(Box::new(
            Diagnostic::error(Code::NoFiles, "there is no policy file").help("policy files end in `.policy`"),
        ));
    }
    if files.len() > FILES_MAX {
        return Err(Box::new(Diagnostic::error(
            Code::TooManyFiles,
            format!("the set has {} files, the limit is {FILES_MAX}", files.len()),
        )));
    }
    let mut total = 0_usize;
    for (index, file) in files.iter().enumerate() {
        check_file_size(&sources.display_name(index), file.text.len())?;
        total = total.saturating_add(file.text.len());
    }
    check_set_size(total)
}

pub(crate) fn check_file_size(name: &str, bytes: usize) -> Result<(), Box<Diagnostic>> {
    match bytes > FILE_BYTES_MAX {
        true => Err(Box::new(
            Diagnostic::error(Code::FileTooLarge, format!("{name} is larger than {FILE_BYTES_MAX} bytes"))
                .help("split it: all files of a directory are one set"),
        )),
        false => Ok(()),
    }
}

pub(crate) fn check_set_size(bytes: usize) -> Result<(), Box<Diagnostic>> {
    match bytes > SET_BYTES_MAX {
        true => Err(Box::new(Diagnostic::error(
            Code::SetTooLarge,
            format!("the files of the set are larger than {SET_BYTES_MAX} bytes together"),
        ))),
        false => Ok(()),
    }
}

/// Every item on its own, so that one mistake hides no other.
fn parse(sources: &Sources, mut cache: Option<&mut Cache>, errors: &mut Vec<Diagnostic>) -> Vec<(usize, Item)> {
    let mut items = Vec::new();
    for (file, source) in sources.files().iter().enumerate() {
        for raw in scan(file, &source.text, errors) {
            if raw.broken {
                continue;
            }
            match parse_item_cached(&source.text, raw, cache.as_deref_mut()) {
                Ok(item) => items.push((file, item)),
                Err(error) => errors.push(*error),
            }
        }
    }
    if let Some(cache) = cache {
        cache.turn();
    }
    items
}

/// In file order; findings without a place come last.
fn sort(list: &mut [Diagnostic]) {
    list.sort_by_key(|diagnostic| {
        let place = diagnostic.labels.first().map(|label| (label.file, label.span.start));
        (diagnostic.severity == Severity::Warning, place.is_none(), place)
    });
}

/// SHA-256 over name and content of every file, each preceded by its length (64 bits, big endian).
fn digest(sources: &Sources) -> String {
    let mut hash = Sha256::new();
    for file in sources.files() {
        for part in [&file.name, &file.text] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
    }
    hex::encode(hash.finalize())
}
