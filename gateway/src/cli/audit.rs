//! `sallyport audit`: reads the evidence of a data directory, also beside a running gateway.

#[path = "audit_change.rs"]
mod change;
#[path = "audit_judge.rs"]
mod judge;
#[path = "audit_replay.rs"]
mod replay;

use super::{DataArg, Failure};
use audit_shipper::read::{self, ExportFormat, Follower, Progress, Query, SearchOptions, Source, Verdict};
use audit_shipper::{Evidence, RecordId};
use clap::Subcommand;
use std::io::{BufWriter, IsTerminal as _, Write as _};
use std::path::PathBuf;

/// How often a followed log is looked at.
const FOLLOW_EVERY: std::time::Duration = std::time::Duration::from_millis(300);

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Prints the records that match, newest last
    Search {
        /// Terms that must all hold, such as: subject:alice decision:deny since:2h
        #[arg(value_name = "TERM")]
        terms: Vec<String>,
        /// One JSON object per line
        #[arg(long)]
        json: bool,
        /// At most so many records, the newest ones
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
        /// Only records before this tree index: the page before
        #[arg(long, value_name = "INDEX")]
        before: Option<u64>,
        /// Go on printing what matches as it ends, until interrupted
        #[arg(long)]
        follow: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Prints everything about one call, refusal or note
    Show {
        /// Its id, as `search` prints it and as `x-sallyport-request-id` carries it
        id: String,
        #[command(flatten)]
        place: Place,
    },
    /// Proves that nothing was changed or removed: exit code 0 sound, 1 tampered, 3 cannot tell
    Verify {
        #[command(flatten)]
        place: Place,
    },
    /// Prints proofs, one JSON object per line, that the records of a call are in the signed log; others can check them
    Prove {
        /// The id of a call or any other record
        id: String,
        #[command(flatten)]
        place: Place,
    },
    /// Writes what matches in a form that others can read
    Export {
        /// Terms that must all hold, as for search
        #[arg(value_name = "TERM")]
        terms: Vec<String>,
        /// Which form
        #[arg(long, value_enum, default_value_t = Format::Jsonl)]
        format: Format,
        /// The file to write, or the directory to make (tlog); without it: standard output
        #[arg(long, value_name = "PATH")]
        to: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// Writes everything that is recorded about a person, one JSON object per line (GDPR Art. 15)
    Dsar {
        /// The `sub` claim
        #[arg(long, value_name = "SUB", required_unless_present = "value")]
        subject: Option<String>,
        /// Something that was masked, such as a number or an address: calls about a person who is not the caller; they are found
        /// where `[evidence] index_values` was on
        #[arg(long, value_name = "VALUE", conflicts_with_all = ["subject", "tenant"])]
        value: Option<String>,
        /// The tenant
        #[arg(long, value_name = "TENANT", default_value = "default")]
        tenant: String,
        #[command(flatten)]
        place: Place,
    },
    /// Emits the recorded answer with its original timing, or judges recorded calls by another policy
    Replay {
        /// The id of a call
        #[arg(required_unless_present = "policy")]
        id: Option<String>,
        /// Judge what was recorded by this policy set instead, the call or all calls: exit code 0 nothing changed, 1 something would
        #[arg(long, value_name = "PATH", conflicts_with_all = ["to", "speed"])]
        policy: Option<PathBuf>,
        /// With --policy: only what matches, as for search
        #[arg(long, value_name = "TERMS", requires = "policy", default_value = "")]
        query: String,
        /// With --policy: the zone in which it sees the time
        #[arg(long, value_name = "ZONE", requires = "policy", default_value = "UTC")]
        zone: String,
        /// So many times as fast; 0 for all at once
        #[arg(long, value_name = "N", default_value_t = 1.0)]
        speed: f64,
        /// Send the recorded (masked) request to this server instead, and compare its answer with the recorded one: exit
        /// code 0 the same, 1 not
        #[arg(long, value_name = "URL")]
        to: Option<String>,
        #[command(flatten)]
        place: Place,
    },
    /// Makes what is derived from the log again: tiles, search index (no gateway may be running)
    Rebuild {
        #[command(flatten)]
        place: Place,
    },
    /// Destroys the keys of a person's records, for good; proofs stay valid (no gateway may be running)
    Erase(change::Erase),
    /// Begins or ends a legal hold on a person's records (no gateway may be running)
    Hold(change::Hold),
    /// Destroys the keys of all months that ended so long ago, but for those on legal hold (no gateway may be running)
    Expire(change::Expire),
    /// Breaks the glass: opens the sealed originals of a call with the private key, and records that (no gateway may be running)
    Unseal(change::Unseal),
}

/// Forms of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// JSON Lines: everything
    Jsonl,
    /// OCSF API Activity
    Ocsf,
    /// Elastic Common Schema
    Ecs,
    /// ArcSight Common Event Format
    Cef,
    /// HTTP Archive
    Har,
    /// A C2SP tlog-tiles directory: leaves, tiles, checkpoint, key
    Tlog,
}

/// Which log.
#[derive(Debug, clap::Args)]
pub(super) struct Place {
    #[command(flatten)]
    data: DataArg,
    /// The log's name, if the data directory holds several
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,
    /// The keystore's key, if it does not lie in the data directory
    #[arg(long, value_name = "FILE")]
    keystore: Option<PathBuf>,
    /// The log's signing or verifier key, if it does not lie in the data directory
    #[arg(long, value_name = "FILE")]
    log_key: Option<PathBuf>,
}

impl From<Place> for Source {
    fn from(place: Place) -> Self {
        let mut source = Self::new(place.data.data);
        source.origin = place.origin;
        source.keystore = place.keystore;
        source.log_key = place.log_key;
        source
    }
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let done = match command {
        Command::Search { terms, json, limit, before, follow, place } => {
            let query = Query::parse(&terms.join(" ")).map_err(Failure::usage)?;
            let source = Source::from(place);
            // Made first: what ends between the two is printed twice rather than never.
            let follower = follow.then(|| Follower::new(&source, &query)).transpose().map_err(Failure::usage)?;
            let rows =
                read::search(&source, &query, SearchOptions { json, limit, before }, &mut out).map_err(cannot_tell)?;
            if let Some(mut follower) = follower {
                loop {
                    follower.poll(json, &mut out).map_err(cannot_tell)?;
                    std::thread::sleep(FOLLOW_EVERY);
                }
            }
            if rows == 0 && !json { Err(Failure { code: 0, message: "no record matches".to_owned() }) } else { Ok(()) }
        }
        Command::Show { id, place } => {
            let record: RecordId = id.parse().map_err(Failure::usage)?;
            let found = read::show(&place.into(), record, &mut out).map_err(cannot_tell)?;
            if found { Ok(()) } else { Err(Failure::bad(format!("there is no record {id}"))) }
        }
        Command::Verify { place } => {
            let verdict = read::verify_with(&place.into(), &mut out, &mut bar()).map_err(cannot_tell)?;
            match verdict {
                Verdict::Sound => Ok(()),
                // The report has said what is wrong.
                verdict => Err(Failure { code: verdict.exit_code(), message: String::new() }),
            }
        }
        Command::Prove { id, place } => {
            let record: RecordId = id.parse().map_err(Failure::usage)?;
            let proofs = read::prove(&place.into(), record).map_err(cannot_tell)?;
            for proof in &proofs {
                let proof = serde_json::to_string(proof).map_err(cannot_tell)?;
                let _ = writeln!(out, "{proof}");
            }
            match proofs.is_empty() {
                true => Err(Failure::bad(format!("there is no record {id} under the newest checkpoint"))),
                false => Ok(()),
            }
        }
        Command::Export { terms, format, to, place } => export(&terms, format, to, place, &mut out),
        Command::Dsar { subject, value, tenant, place } => {
            let source = place.into();
            let written = match value {
                Some(value) => read::dsar_value(&source, &value, &mut out),
                None => read::dsar(&source, &tenant, &subject.unwrap_or_default(), &mut out),
            };
            let written = written.map_err(cannot_tell)?;
            not_recorded();
            eprintln!("sallyport: {written} calls, refusals and notes");
            Ok(())
        }
        Command::Replay { id, policy: Some(policy), query, zone, place, .. } => {
            judge::run(&policy, id.as_deref(), &query, &zone, place, &mut out)
        }
        Command::Replay { id, speed, to, place, .. } => {
            replay::run(&id.unwrap_or_default(), speed, to, place, &mut out)
        }
        Command::Rebuild { place } => {
            let source = Source::from(place);
            let options = source.options().map_err(cannot_tell)?;
            let (evidence, text) = Evidence::open_anew(options).map_err(Failure::bad)?;
            // While the log is ours, so that no gateway that starts meanwhile changes the same index.
            read::update_index(&source, Some(text)).map_err(Failure::bad)?;
            evidence.close().map_err(Failure::bad)?;
            let _ = writeln!(out, "{} records", evidence.status().tree_size);
            Ok(())
        }
        Command::Erase(args) => change::erase(args, &mut out),
        Command::Hold(args) => change::hold(args, &mut out),
        Command::Expire(args) => change::expire(args, &mut out),
        Command::Unseal(args) => change::unseal(args, &mut out),
    };
    // A reader that stopped reading (`| head`) is no failure of ours.
    let _ = out.flush();
    done
}

fn export(
    terms: &[String],
    format: Format,
    to: Option<PathBuf>,
    place: Place,
    out: &mut dyn std::io::Write,
) -> Result<(), Failure> {
    let source = Source::from(place);
    let form = match format {
        Format::Jsonl => ExportFormat::JsonLines,
        Format::Ocsf => ExportFormat::Ocsf,
        Format::Ecs => ExportFormat::Ecs,
        Format::Cef => ExportFormat::Cef,
        Format::Har => ExportFormat::Har,
        Format::Tlog => {
            let to = to.ok_or_else(|| Failure::usage("--format tlog needs --to DIR"))?;
            let leaves = read::export_tlog(&source, &to).map_err(cannot_tell)?;
            let _ = writeln!(out, "{}: {leaves} leaves", to.display());
            return Ok(());
        }
    };
    let query = Query::parse(&terms.join(" ")).map_err(Failure::usage)?;
    not_recorded();
    match to {
        None => read::export(&source, &query, form, out).map(drop).map_err(cannot_tell),
        Some(to) => {
            let file = std::fs::File::create_new(&to)
                .map_err(|error| Failure::bad(format!("cannot make {}: {error}", to.display())))?;
            let mut file = BufWriter::new(file);
            let written = read::export(&source, &query, form, &mut file).map_err(cannot_tell)?;
            file.flush().map_err(|error| Failure::bad(format!("cannot write {}: {error}", to.display())))?;
            let _ = writeln!(out, "{}: {written}", to.display());
            Ok(())
        }
    }
}

/// Reading files leaves no trace in the log; whoever needs one reads by the admin API.
fn not_recorded() {
    eprintln!("sallyport: read from the files; access not recorded");
}

/// Shows on a terminal how far it is; elsewhere it would only be noise.
fn bar() -> impl FnMut(Progress) {
    const WIDTH: u64 = 40;
    let shown = std::io::stderr().is_terminal();
    move |progress: Progress| {
        if !shown || progress.bytes_total == 0 {
            return;
        }
        let done = (progress.bytes * WIDTH / progress.bytes_total).min(WIDTH);
        let bar: String = (0..WIDTH).map(|step| if step < done { '#' } else { '.' }).collect();
        let mib = |bytes: u64| bytes >> 20;
        eprint!(
            "\r[{bar}] {} of {} MiB, {} records ",
            mib(progress.bytes),
            mib(progress.bytes_total),
            progress.records
        );
        if progress.bytes >= progress.bytes_total {
            // The report follows on a clean line.
            eprint!("\r{:1$}\r", "", 100);
        }
    }
}

fn cannot_tell(error: impl ToString) -> Failure {
    Failure::cannot_tell(error)
}
