//! What changes the evidence's keys or opens what is sealed: each leaves a record. There is one writer, so no gateway may run on
//! the data directory meanwhile; beside a running one, the admin API does the same.

use super::{Place, cannot_tell};
use crate::cli::Failure;
use audit_shipper::read::{self, Source};
use audit_shipper::{
    Caller, CallerKind, Erasure, Evidence, EvidenceError, Note, NoteKind, Options, Producer, RecordId, Unsealer,
};
use std::io::Write;
use std::path::PathBuf;

/// Who does it, and why.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Accountable {
    /// Why this is lawful; kept in the evidence
    #[arg(long, value_name = "TEXT")]
    basis: String,
    /// Your name, for the evidence
    #[arg(long = "as", value_name = "NAME", env = "USER", default_value = "")]
    name: String,
}

/// Whose records.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Whose {
    /// The `sub` claim
    #[arg(long, value_name = "SUB")]
    subject: String,
    /// The tenant
    #[arg(long, value_name = "TENANT", default_value = "default")]
    tenant: String,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Erase {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    accountable: Accountable,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Hold {
    #[command(flatten)]
    whose: Whose,
    /// End the hold
    #[arg(long)]
    release: bool,
    #[command(flatten)]
    accountable: Accountable,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Expire {
    /// How long records are kept, in days
    #[arg(long, value_name = "DAYS")]
    older_than_days: u32,
    #[command(flatten)]
    accountable: Accountable,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Unseal {
    /// The id of a call
    id: String,
    /// The private key, as age-keygen writes it
    #[arg(long, value_name = "FILE")]
    identity: PathBuf,
    #[command(flatten)]
    accountable: Accountable,
    #[command(flatten)]
    place: Place,
}

pub(super) fn erase(args: Erase, out: &mut dyn Write) -> Result<(), Failure> {
    let what = Erasure::Subject { tenant: args.whose.tenant, subject: args.whose.subject };
    destroy(&what, &args.accountable, args.place, out)
}

pub(super) fn expire(args: Expire, out: &mut dyn Write) -> Result<(), Failure> {
    destroy(&Erasure::OlderThan { days: args.older_than_days }, &args.accountable, args.place, out)
}

fn destroy(what: &Erasure, by: &Accountable, place: Place, out: &mut dyn Write) -> Result<(), Failure> {
    let source = Source::from(place);
    let keys = with_log(&source, |evidence, producer| {
        evidence.erase(producer, what, &by.actor(), &by.basis).map_err(Failure::bad)
    })?;
    let _ = match keys {
        0 => writeln!(out, "there was nothing to erase"),
        1 => writeln!(out, "erased: 1 key destroyed; `audit verify` tells that it is proved"),
        _ => writeln!(out, "erased: {keys} keys destroyed; `audit verify` tells that it is proved"),
    };
    Ok(())
}

pub(super) fn hold(args: Hold, out: &mut dyn Write) -> Result<(), Failure> {
    let (whose, by) = (&args.whose, &args.accountable);
    with_log(&args.place.into(), |evidence, producer| {
        let note = evidence
            .hold(&whose.tenant, &whose.subject, !args.release, &by.actor(), &by.basis)
            .map_err(Failure::bad)?;
        producer.note(&note).commit.wait_blocking().map_err(Failure::bad)
    })?;
    let _ = writeln!(out, "{}", if args.release { "the hold has ended" } else { "on hold: nothing of it is erased" });
    Ok(())
}

pub(super) fn unseal(args: Unseal, out: &mut dyn Write) -> Result<(), Failure> {
    let id: RecordId = args.id.parse().map_err(Failure::usage)?;
    let text = std::fs::read_to_string(&args.identity)
        .map_err(|error| Failure::cannot_tell(format!("cannot read {}: {error}", args.identity.display())))?;
    let unsealer: Unsealer = text.parse().map_err(Failure::usage)?;
    let source = Source::from(args.place);
    // Recorded first: what cannot be recorded is not opened.
    with_log(&source, |_, producer| {
        let mut note = Note::new(NoteKind::Access, "unsealed");
        note.actor = args.accountable.actor();
        note.about = Some(id);
        note.text.clone_from(&args.accountable.basis);
        producer.note(&note).commit.wait_blocking().map_err(Failure::bad)
    })?;
    let originals = read::unsealed(&source, id, &unsealer).map_err(cannot_tell)?;
    if originals.is_empty() {
        return Err(Failure::bad(format!("nothing is sealed in {id}")));
    }
    for original in originals {
        let _ = out.write_all(&original.text);
        let _ = writeln!(out);
        if !original.is_whole {
            let _ = out.flush();
            eprintln!("sallyport: the end of this one is missing: the gateway was killed while the answer passed");
        }
    }
    Ok(())
}

impl Accountable {
    fn actor(&self) -> Caller {
        Caller { subject: self.name.clone(), kind: CallerKind::User, ..Caller::default() }
    }
}

/// Opens the log for writing.
fn with_log<T>(
    source: &Source,
    change: impl FnOnce(&Evidence, &mut Producer) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let options = Options { producers: 1, ..source.options().map_err(cannot_tell)? };
    let evidence = Evidence::open(options).map_err(|error| match error {
        EvidenceError::Locked { .. } => Failure::bad(
            "a gateway is running on this data directory: use its admin API (POST /api/v1/evidence/…), or stop it first",
        ),
        error => Failure::bad(error),
    })?;
    let mut producer = evidence.producer(0).ok_or_else(|| Failure::bad("the evidence has no producer"))?;
    let changed = change(&evidence, &mut producer)?;
    evidence.close().map_err(Failure::bad)?;
    Ok(changed)
}
