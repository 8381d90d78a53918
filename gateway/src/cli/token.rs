//! `sallyport token`: prints a development token and nothing else, so that `$(sallyport token …)` works.

use super::{DataArg, Failure, parse_duration};
use crate::clock::Clock;
use crate::dev_issuer::{DevIssuer, DevIssuerError, TokenRequest};
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Whose token it is to be
    #[arg(long, value_name = "NAME")]
    user: String,
    /// A group of the user; may be given several times
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// How long it is valid
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    ttl: Duration,
    #[command(flatten)]
    data: DataArg,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let issuer = DevIssuer::open(&args.data.data).map_err(Failure::cannot_tell)?;
    let request = TokenRequest { user: args.user, groups: args.groups, ttl: args.ttl };
    let token = issuer.mint(&request, Clock::system().unix_s()).map_err(|error| match error {
        DevIssuerError::TtlTooLong => Failure::usage(error),
        other => Failure::cannot_tell(other),
    })?;
    println!("{token}");
    Ok(())
}
