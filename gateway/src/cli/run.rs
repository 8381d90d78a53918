//! `sallyport run`: a gateway as a configuration file says.

use super::{Failure, serve};
use crate::config::{self, Config, Endpoint, Upstream};
use crate::shared::Source;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration; examples/sallyport.toml shows every key
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Listen here instead
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Send every call to this model server instead
    #[arg(long, value_name = "URL", value_parser = Endpoint::parse)]
    upstream: Option<Endpoint>,
    /// Use this policy file or directory instead
    #[arg(long, value_name = "PATH")]
    policy: Option<PathBuf>,
    /// Keep evidence and keys here instead
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Serve with so many cores instead
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=200))]
    cores: Option<u8>,
    /// Replace the gateway that runs with the same data directory: take its listening sockets, let it finish its calls
    #[arg(long)]
    take_over: bool,
    /// Check configuration and policies, then end: exit code 0 good, 1 not
    #[arg(long)]
    check: bool,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let config = config::load(&args.config);
    if args.check {
        return check(&args, config);
    }
    super::start_logging("info");
    let config = overridden(config.map_err(Failure::bad)?, &args)?;
    // What the command line says holds after a reload too.
    let take_over = args.take_over;
    let source: Source = Arc::new(move || {
        let config = config::load(&args.config).map_err(|errors| errors.to_string())?;
        overridden(config, &args).map_err(|failure| failure.message)
    });
    let how = serve::How { source: Some(source), dev_issuer: None, take_over };
    serve::serve(config, how, |addresses| {
        tracing::info!(gateway = %addresses.gateway, admin = %addresses.admin, "serving");
    })
}

/// Everything that can be checked without serving; both the configuration and the policies are told about.
fn check(args: &Args, config: Result<Config, config::ConfigErrors>) -> Result<(), Failure> {
    let config = overridden(config.map_err(Failure::bad)?, args)?;
    let policy = serve::load_policy(&config)?;
    let program = policy.compiled.program();
    println!("{}: good; policy \"{}\" with {} rules", args.config.display(), program.name, program.rules.len());
    Ok(())
}

fn overridden(mut config: Config, args: &Args) -> Result<Config, Failure> {
    if let Some(address) = args.listen {
        config.listen.address = address;
    }
    if let Some(endpoint) = &args.upstream {
        config.upstreams = vec![Upstream::single("upstream", endpoint.clone()).map_err(Failure::bad)?];
    }
    if let Some(policy) = &args.policy {
        config.policy.clone_from(policy);
    }
    if let Some(data) = &args.data {
        config.data.clone_from(data);
    }
    if let Some(cores) = args.cores {
        config.listen.cores = Some(usize::from(cores));
    }
    Ok(config)
}
