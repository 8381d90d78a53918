//! `sallyport policy fmt`

use super::super::Failure;
use super::set::{print, there};
use policy_lang::{Diagnostics, Source};
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

/// Bytes read from standard input: more than a policy file may have, so that its own error is reported.
const INPUT_BYTES_MAX: u64 = 2 << 20;
/// Directories below one another.
const DEPTH_MAX: usize = 16;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// A `.policy` file, a directory of them, or `-` for standard input to standard output
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Changes nothing; exit code 1 and a list if some file is not in its form
    #[arg(long)]
    check: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    if args.paths.iter().any(|path| path.as_os_str() == "-") {
        return match args.paths.as_slice() {
            [_] => standard_input(args.check),
            _ => Err(Failure::usage("`-` stands alone")),
        };
    }
    there(&args.paths)?;
    let mut files = Vec::new();
    for path in &args.paths {
        collect(path, 0, &mut files).map_err(|error| Failure::cannot_tell(format!("{}: {error}", path.display())))?;
    }
    let (mut differ, mut broken) = (Vec::new(), String::new());
    for file in &files {
        match format_file(file, args.check) {
            Ok(true) => {}
            Ok(false) => differ.push(file.display().to_string()),
            Err(text) => broken += &text,
        }
    }
    for name in &differ {
        print(&format!("{} {name}\n", if args.check { "not in its form:" } else { "formatted" }));
    }
    eprint!("{broken}");
    let good = broken.is_empty() && (differ.is_empty() || !args.check);
    if good { Ok(()) } else { Err(Failure::bad("")) }
}

fn standard_input(check: bool) -> Result<(), Failure> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(INPUT_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| Failure::cannot_tell(format!("standard input: {error}")))?;
    let formatted = format("-", &text).map_err(|found| {
        eprint!("{found}");
        Failure::bad("")
    })?;
    if check {
        return if formatted == text { Ok(()) } else { Err(Failure::bad("standard input is not in its form")) };
    }
    print(&formatted);
    Ok(())
}

/// Every policy file below a path, in name order; names that begin with a dot are left out, as when a set is loaded.
fn collect(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    if depth > DEPTH_MAX {
        return Err(std::io::Error::other(format!("directories are more than {DEPTH_MAX} deep")));
    }
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<_>>()?;
    entries.sort();
    for entry in entries {
        let name = entry.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let wanted = entry.is_dir() || name.ends_with(".policy");
        if wanted && !name.starts_with('.') {
            collect(&entry, depth + 1, files)?;
        }
    }
    Ok(())
}

/// Whether the file is in its form already.
fn format_file(path: &Path, check: bool) -> Result<bool, String> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| format!("error: {name}: {error}\n"))?;
    let formatted = format(&name, &text)?;
    if formatted == text {
        return Ok(true);
    }
    if !check {
        replace(path, &formatted).map_err(|error| format!("error: {name}: {error}\n"))?;
    }
    Ok(false)
}

/// Written beside the file and renamed, so that a gateway that watches it never reads half of it.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    // The file itself, not a link to it.
    let path = path.canonicalize()?;
    let mut name = path.file_name().map(std::ffi::OsStr::to_owned).unwrap_or_default();
    name.push(".formatted");
    let beside = path.with_file_name(name);
    std::fs::write(&beside, text)?;
    std::fs::set_permissions(&beside, std::fs::metadata(&path)?.permissions())?;
    std::fs::rename(&beside, &path)
}

fn format(name: &str, text: &str) -> Result<String, String> {
    let found = |found: Diagnostics| found.render_all(std::io::stderr().is_terminal());
    policy_lang::format_source(&Source { name: name.to_owned(), text: text.to_owned() }).map_err(found)
}
