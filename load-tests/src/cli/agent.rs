//! `sallyport-load agent`.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args as ClapArgs;
use load_tests::agents;

/// Send load for a coordinator (`sallyport-load run --agents`)
///
/// Whoever can connect, and knows the secret, makes this machine send requests: without a secret only the loopback is open.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7700")]
    listen: SocketAddr,
    /// Secret that coordinators must know
    #[arg(long, env = "SALLYPORT_AGENT_SECRET", hide_env_values = true, default_value = "")]
    secret: String,
}

pub(crate) fn run(args: Args) -> ExitCode {
    let served = agents::serve(args.listen, &args.secret, |address| {
        // Scripts read this line to learn the port; a closed pipe is no reason to stop.
        let _ = writeln!(io::stdout(), "agent on {address}");
        let _ = io::stdout().flush();
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ agents::AgentError::Unprotected(_)) => super::fail(super::USAGE, error),
        Err(error) => super::fail(super::CANNOT_TELL, error),
    }
}
