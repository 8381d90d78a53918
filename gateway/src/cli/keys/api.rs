//! `sallyport keys`: API keys for clients that cannot do OpenID Connect. The file holds hashes; a key is shown once. A running
//! gateway sees changes within a second or two.

use super::{DataArg, Failure, parse_duration, printable};
use crate::clock::Clock;
use crate::control::API_KEYS_FILE;
use crate::identity::{ApiKeyFile, ApiKeys, NewKey, issue};
use clap::Subcommand;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest life of a key.
const TTL_MAX: Duration = Duration::from_hours(24 * 366);

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Issues an API key and prints it, once
    Issue {
        /// Whom its calls are by, as policies and records name it
        #[arg(long, value_name = "NAME")]
        subject: String,
        /// A group of its caller; may be given several times
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
        /// What it may be used for, as policies read it in identity.scopes; may be given several times
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// Its tenant
        #[arg(long, value_name = "TENANT")]
        tenant: Option<String>,
        /// How long it is valid, at most 366 days
        #[arg(long, value_name = "TIME", default_value = "90d", value_parser = days)]
        ttl: Duration,
        #[command(flatten)]
        place: Place,
    },
    /// Lists the keys, without the keys
    List {
        /// One JSON array
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Removes a key: calls with it are refused from then on
    Revoke {
        /// Its id, as `list` prints it
        id: String,
        #[command(flatten)]
        place: Place,
    },
}

/// Which file.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Place {
    #[command(flatten)]
    data: DataArg,
    /// The file of keys, if it does not lie in the data directory ([identity] api_keys)
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Place {
    fn path(&self) -> PathBuf {
        self.file.clone().unwrap_or_else(|| self.data.data.join(API_KEYS_FILE))
    }
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    let now_unix_s = Clock::system().unix_s();
    match command {
        Command::Issue { subject, groups, scopes, tenant, ttl, place } => {
            let named = |text: &str| !text.trim().is_empty() && !text.chars().any(char::is_control);
            if ![&subject].into_iter().chain(&groups).chain(&scopes).chain(&tenant).all(|text| named(text)) {
                return Err(Failure::usage("subject, groups, scopes and tenant are names; one of them is empty"));
            }
            let new = NewKey { subject, tenant, groups, scopes, ttl_s: ttl.as_secs() };
            let (key, token) = issue(new, now_unix_s).map_err(|_| Failure::bad("the machine has no randomness"))?;
            change(&place.path(), |file| {
                file.keys.push(key);
                Ok(())
            })?;
            println!("{token}");
            Ok(())
        }
        Command::List { json, place } => list(&read(&place.path())?, json, now_unix_s),
        Command::Revoke { id, place } => change(&place.path(), |file| {
            let before = file.keys.len();
            file.keys.retain(|key| key.id != id);
            if file.keys.len() == before { Err(Failure::bad(format!("there is no key {id}"))) } else { Ok(()) }
        }),
    }
}

fn list(file: &ApiKeyFile, json: bool, now_unix_s: u64) -> Result<(), Failure> {
    if json {
        println!("{}", serde_json::to_string_pretty(&file.keys).map_err(Failure::cannot_tell)?);
        return Ok(());
    }
    for key in &file.keys {
        let time = |unix_s: u64| {
            let time = i64::try_from(unix_s).ok().and_then(|unix_s| jiff::Timestamp::from_second(unix_s).ok());
            time.map_or_else(|| "?".to_owned(), |time| time.to_string())
        };
        let state = if key.expires_at_unix_s <= now_unix_s { "expired" } else { "expires" };
        println!(
            "{}  {}  groups: {}  scopes: {}  issued {}  {state} {}",
            printable(&key.id),
            printable(&key.subject),
            printable(&key.groups.join(", ")),
            printable(&key.scopes.join(", ")),
            time(key.issued_at_unix_s),
            time(key.expires_at_unix_s),
        );
    }
    Ok(())
}

fn read(path: &Path) -> Result<ApiKeyFile, Failure> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(ApiKeyFile::default()),
        Err(error) => return Err(Failure::cannot_tell(format!("cannot read {}: {error}", path.display()))),
    };
    let broken = |words: String| Failure::bad(format!("{} is not a file of API keys: {words}", path.display()));
    ApiKeys::parse(&bytes).map_err(broken)?;
    serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))
}

/// Changes the file as a whole: readers see the old one or the new one, and two commands at a time take turns.
fn change(path: &Path, how: impl FnOnce(&mut ApiKeyFile) -> Result<(), Failure>) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::bad(format!("cannot write {}: {error}", path.display()));
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    let lock = File::create(path.with_extension("lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let mut file = read(path)?;
    how(&mut file)?;
    let text = serde_json::to_vec_pretty(&file).map_err(Failure::bad)?;
    let new = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        out.write_all(&text)?;
        out.sync_all()?;
        std::fs::rename(&new, path)
    };
    write().map_err(failed)
}

/// Durations as elsewhere, and days: `90d`.
fn days(text: &str) -> Result<Duration, String> {
    let duration = match text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok()) {
        Some(days) => Duration::from_secs(days.saturating_mul(24 * 3600)),
        None => parse_duration(text)?,
    };
    if duration.is_zero() || duration > TTL_MAX {
        return Err("a key lives from one second to 366 days".to_owned());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn place(directory: &Path) -> Place {
        Place { data: DataArg { data: directory.join("data") }, file: None }
    }

    fn issue_one(directory: &Path) {
        run(Command::Issue {
            subject: "batch".to_owned(),
            groups: vec!["ml-apps".to_owned()],
            scopes: Vec::new(),
            tenant: None,
            ttl: Duration::from_hours(1),
            place: place(directory),
        })
        .unwrap();
    }

    #[test]
    fn keys_are_issued_listed_and_revoked() {
        let directory = tempfile::tempdir().unwrap();
        issue_one(directory.path());
        issue_one(directory.path());
        let path = place(directory.path()).path();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let file = read(&path).unwrap();
        assert_eq!(file.keys.len(), 2);
        let id = file.keys.first().unwrap().id.clone();
        run(Command::Revoke { id: id.clone(), place: place(directory.path()) }).unwrap();
        assert_eq!(read(&path).unwrap().keys.len(), 1);
        assert_eq!(run(Command::Revoke { id, place: place(directory.path()) }).unwrap_err().code, 1);
    }

    #[test]
    fn days_have_bounds() {
        assert_eq!(days("90d"), Ok(Duration::from_hours(24 * 90)));
        assert_eq!(days("12h"), Ok(Duration::from_hours(12)));
        for text in ["0d", "367d", "soon", "-1d"] {
            assert!(days(text).is_err(), "{text}");
        }
    }
}
