//! `sallyport audit`: reads the evidence of a data directory, also beside a running gateway.

use super::{DataArg, Failure};
use audit_shipper::read::{self, Query, SearchOptions, Source, Verdict};
use audit_shipper::{EvidenceError, RecordId};
use clap::Subcommand;
use std::io::{BufWriter, Write as _};
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
        Command::Verify { place } => match read::verify(&place.into(), &mut out).map_err(cannot_tell)? {
            Verdict::Sound => Ok(()),
            // The report has said what is wrong.
            verdict => Err(Failure { code: verdict.exit_code(), message: String::new() }),
        },
    };
    // A reader that stopped reading (`| head`) is no failure of ours.
    let _ = out.flush();
    done
}

fn cannot_tell(error: EvidenceError) -> Failure {
    Failure::cannot_tell(error)
}
