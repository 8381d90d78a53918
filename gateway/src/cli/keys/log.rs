//! `sallyport keys`: the log's signing key.

use super::{DataArg, Failure};
use audit_shipper::read::Source;
use audit_shipper::{Caller, CallerKind, EvidenceError, rotate_key, verifier_keys};
use clap::Subcommand;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Prints the log's verifier keys (C2SP form), the one that signs now last: give it to whoever is to check the log
    Show {
        #[command(flatten)]
        place: Place,
    },
    /// Replaces the log's signing key; the old one signs the record that names the new one (no gateway may be running)
    Rotate {
        /// Why; kept in the evidence
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
        /// Your name, for the evidence
        #[arg(long = "as", value_name = "NAME", env = "USER", default_value = "")]
        name: String,
        #[command(flatten)]
        place: Place,
    },
}

/// Which log.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Place {
    #[command(flatten)]
    data: DataArg,
    /// The log's name, if the data directory holds several
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,
    /// The log's signing key, if it does not lie in the data directory
    #[arg(long, value_name = "FILE")]
    log_key: Option<PathBuf>,
    /// The keystore's key, if it does not lie in the data directory
    #[arg(long, value_name = "FILE")]
    keystore: Option<PathBuf>,
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Show { place } => {
            for key in verifier_keys(&options(place)?).map_err(Failure::cannot_tell)? {
                println!("{key}");
            }
            Ok(())
        }
        Command::Rotate { reason, name, place } => {
            let actor = Caller { subject: name, kind: CallerKind::User, ..Caller::default() };
            let rotation = rotate_key(&options(place)?, &actor, &reason).map_err(|error| match error {
                EvidenceError::Locked { .. } => {
                    Failure::bad("a gateway is running on this data directory; stop it first")
                }
                error => Failure::bad(error),
            })?;
            println!("until now  {}\nfrom now   {}", rotation.old, rotation.new);
            Ok(())
        }
    }
}

fn options(place: Place) -> Result<audit_shipper::Options, Failure> {
    let mut source = Source::new(place.data.data);
    source.origin = place.origin;
    source.log_key = place.log_key;
    source.keystore = place.keystore;
    source.options().map_err(Failure::cannot_tell)
}
