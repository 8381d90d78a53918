//! Finds and reads the files of a set. The only I/O of this crate.

use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::limits::{DIRECTORY_DEPTH_MAX, DIRECTORY_ENTRIES_MAX, FILE_BYTES_MAX, FILES_MAX};
use crate::load::{check_file_size, check_set_size};
use crate::source::Source;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

type Found<T> = Result<T, Box<Diagnostic>>;

/// The texts below a path in digest order, and what to put before their names in messages.
pub(crate) fn read(path: &Path) -> Found<(String, Vec<Source>)> {
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !metadata.is_dir() {
        let name = path.file_name().unwrap_or(path.as_os_str());
        let name = name.to_string_lossy().into_owned();
        let shown = path.to_string_lossy();
        let root = shown.strip_suffix(name.as_str()).unwrap_or("").to_owned();
        let text = read_file(path)?;
        return Ok((root, vec![Source { name, text }]));
    }
    let mut walk = Walk { files: Vec::new(), seen: HashSet::new(), entries: 0 };
    walk.directory(path, "", 0)?;
    if walk.files.is_empty() {
        return Err(Box::new(
            Diagnostic::error(Code::NoFiles, format!("there is no policy file in {}", path.display()))
                .help("policy files end in `.policy`"),
        ));
    }
    // The order of the digest must not depend on the file system.
    walk.files.sort();
    let mut sources = Vec::with_capacity(walk.files.len());
    let mut total = 0_usize;
    for (name, path) in walk.files {
        let text = read_file(&path)?;
        total = total.saturating_add(text.len());
        check_set_size(total)?;
        sources.push(Source { name, text });
    }
    let shown = path.to_string_lossy();
    Ok((format!("{}/", shown.trim_end_matches('/')), sources))
}

struct Walk {
    /// Name below the root, and path.
    files: Vec<(String, PathBuf)>,
    /// Directories by their real path: a link back to one is not followed again.
    seen: HashSet<PathBuf>,
    entries: usize,
}

impl Walk {
    fn directory(&mut self, path: &Path, name: &str, depth: usize) -> Found<()> {
        if depth > DIRECTORY_DEPTH_MAX {
            return Err(too_many(path, &format!("directories are more than {DIRECTORY_DEPTH_MAX} deep")));
        }
        let real = fs::canonicalize(path).map_err(|error| unreadable(path, &error))?;
        if !self.seen.insert(real) {
            return Ok(());
        }
        let entries = fs::read_dir(path).map_err(|error| unreadable(path, &error))?;
        let mut names = Vec::new();
        for entry in entries {
            self.entries += 1;
            if self.entries > DIRECTORY_ENTRIES_MAX {
                return Err(too_many(path, &format!("there are more than {DIRECTORY_ENTRIES_MAX} entries")));
            }
            let entry = entry.map_err(|error| unreadable(path, &error))?;
            names.push(entry.file_name());
        }
        // Which of two links to one directory counts must not depend on the file system either.
        names.sort();
        for file_name in names {
            let Some(file_name) = file_name.to_str() else {
                continue;
            };
            if !file_name.starts_with('.') {
                self.entry(&path.join(file_name), &format!("{name}{file_name}"), depth)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, name: &str, depth: usize) -> Found<()> {
        let is_policy = name.ends_with(".policy");
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            // A link that leads nowhere matters only where a policy should be.
            Err(_) if !is_policy => return Ok(()),
            Err(error) => return Err(unreadable(path, &error)),
        };
        if metadata.is_dir() {
            return self.directory(path, &format!("{name}/"), depth + 1);
        }
        if is_policy {
            if self.files.len() >= FILES_MAX {
                return Err(too_many(path, &format!("there are more than {FILES_MAX} policy files")));
            }
            self.files.push((name.to_owned(), path.to_owned()));
        }
        Ok(())
    }
}

/// An imported file, if it is there.
pub(crate) fn read_import(path: &Path) -> Found<Option<String>> {
    match path.is_file() {
        true => read_file(path).map(Some),
        false => Ok(None),
    }
}

fn read_file(path: &Path) -> Found<String> {
    let fail = |error: io::Error| unreadable(path, &error);
    // A named pipe would block for ever.
    if !fs::metadata(path).map_err(fail)?.is_file() {
        return Err(fail(io::Error::other("not a regular file")));
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(fail)?.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(fail)?;
    check_file_size(&path.to_string_lossy(), bytes.len())?;
    String::from_utf8(bytes).map_err(|error| {
        Box::new(Diagnostic::error(
            Code::NotUtf8,
            format!("{} is not UTF-8 at byte {}", path.display(), error.utf8_error().valid_up_to()),
        ))
    })
}

fn unreadable(path: &Path, error: &io::Error) -> Box<Diagnostic> {
    Box::new(Diagnostic::error(Code::Unreadable, format!("{} cannot be read: {error}", path.display())))
}

fn too_many(path: &Path, what: &str) -> Box<Diagnostic> {
    Box::new(Diagnostic::error(Code::TooManyFiles, what).help(format!("seen at {}", path.display())))
}
