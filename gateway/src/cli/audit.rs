//! `sallyport audit`: reads the evidence of a data directory, also beside a running gateway.

use super::{DataArg, Failure};
use audit_shipper::RecordId;
use audit_shipper::read::{self, Progress, Query, SearchOptions, Source, Verdict};
use clap::Subcommand;
use std::io::{BufWriter, IsTerminal as _, Write as _};
use std::path::PathBuf;

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
    /// Writes the log in a form that others can read
    Export {
        /// Which form
        #[arg(long, value_enum, default_value_t = Format::Tlog)]
        format: Format,
        /// The directory to make
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        #[command(flatten)]
        place: Place,
    },
}

/// Forms of an export.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Format {
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
        Command::Search { terms, json, limit, place } => {
            let query = Query::parse(&terms.join(" ")).map_err(Failure::usage)?;
            let rows =
                read::search(&place.into(), &query, SearchOptions { json, limit }, &mut out).map_err(cannot_tell)?;
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
        Command::Export { format: Format::Tlog, to, place } => {
            let leaves = read::export_tlog(&place.into(), &to).map_err(cannot_tell)?;
            let _ = writeln!(out, "{}: {leaves} leaves", to.display());
            Ok(())
        }
    };
    // A reader that stopped reading (`| head`) is no failure of ours.
    let _ = out.flush();
    done
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
