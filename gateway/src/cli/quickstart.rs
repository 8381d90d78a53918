//! `sallyport` alone: everything embedded, on the loopback, with four calls to paste.

use super::serve::{self, Addresses};
use super::{DEFAULT_DATA, Failure};
use crate::config::{
    Admin, AlertsConfig, ApprovalsConfig, Config, Endpoint, EvidenceConfig, IdentitySettings, Limits, Listen,
    PolicyFacts, RateLimits, RoleGroups, Sampling, TelemetryConfig, Upstream,
};
use crate::dev_issuer::DevIssuer;
use load_tests::mock_model::{self, MockHandle, MockOptions};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The policy that the quickstart writes into its data directory.
const POLICY: &str = include_str!("../../../examples/quickstart.policy");

/// What the mock model says at the end of every answer: a synthetic social security number, streamed in pieces.
const LEAK: &str = "By the way, the patient's social security number is 536-22-8145.";

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Quickstart")]
pub(super) struct Args {
    /// Where callers connect; the loopback only
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where operators connect; the loopback only
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9900")]
    admin: SocketAddr,
    /// A model server to use in place of the mock, such as http://127.0.0.1:8000
    #[arg(long, value_name = "URL", value_parser = Endpoint::parse)]
    upstream: Option<Endpoint>,
    /// A policy file or directory to use in place of the quickstart's
    #[arg(long, value_name = "PATH")]
    policy: Option<PathBuf>,
    /// Where evidence, keys and the policy are kept
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    data: PathBuf,
    /// How many cores serve; without it: all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=200))]
    cores: Option<u8>,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    super::start_logging("warn");
    let mock = match &args.upstream {
        Some(_) => None,
        None => Some(start_mock()?),
    };
    let config = config(&args, mock.as_ref())?;
    DevIssuer::guard(&config).map_err(Failure::usage)?;
    let issuer = DevIssuer::open_or_create(&args.data).map_err(Failure::bad)?;
    if args.policy.is_none() {
        write_policy(&config.policy)?;
    }
    let policy = config.policy.clone();
    serve::serve(config, serve::How { dev_issuer: Some(&issuer), ..serve::How::default() }, |addresses| {
        print!("{}", greeting(&args, &policy, addresses, &program_name()))
    })
}

fn start_mock() -> Result<MockHandle, Failure> {
    let options = MockOptions {
        say: Some(LEAK.to_owned()),
        between_tokens: Duration::from_millis(20),
        models: ["mock-model", "secret-model", "finetune-model"].map(str::to_owned).to_vec(),
        ..MockOptions::default()
    };
    mock_model::spawn(options).map_err(|error| Failure::bad(format!("the mock model cannot start: {error}")))
}

fn config(args: &Args, mock: Option<&MockHandle>) -> Result<Config, Failure> {
    let (name, endpoint) = match (&args.upstream, mock) {
        (Some(endpoint), _) => ("upstream", endpoint.clone()),
        (None, Some(mock)) => ("mock", Endpoint::parse(&mock.url()).map_err(Failure::bad)?),
        (None, None) => return Err(Failure::usage("there is no model server; give one with --upstream")),
    };
    Ok(Config {
        data: args.data.clone(),
        listen: Listen {
            address: args.listen,
            cores: args.cores.map(usize::from),
            proxy_protocol: Vec::new(),
            forwarded_from: Vec::new(),
            tls: None,
            limits: Limits::default(),
        },
        admin: Admin { address: args.admin, development_login: true, roles: roles(), ..Admin::default() },
        issuers: vec![DevIssuer::issuer()],
        identity: IdentitySettings::default(),
        upstreams: vec![Upstream::single(name, endpoint).map_err(Failure::bad)?],
        policy: args.policy.clone().unwrap_or_else(|| args.data.join("policies")),
        facts: PolicyFacts::default(),
        limits: RateLimits::default(),
        sampling: Sampling::default(),
        evidence: EvidenceConfig::default(),
        approvals: ApprovalsConfig::default(),
        alerts: AlertsConfig::default(),
        telemetry: TelemetryConfig::default(),
        files: Vec::new(),
    })
}

/// Whoever has a token may look; the rest goes by group, as it would with a real issuer.
fn roles() -> RoleGroups {
    let only = |group: &str| vec![group.to_owned()];
    RoleGroups { viewer: only("*"), approver: only("ml-leads"), auditor: only("auditors"), admin: only("admins") }
}

/// Writes the policy on the first start; later it belongs to whoever edits it.
fn write_policy(directory: &Path) -> Result<(), Failure> {
    let path = directory.join("quickstart.policy");
    if directory.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(directory)
        .and_then(|()| std::fs::write(&path, POLICY))
        .map_err(|error| Failure::bad(format!("cannot write {}: {error}", path.display())))
}

/// How this program was called, if that works from where the commands are pasted; else its plain name.
fn program_name() -> String {
    let called = std::env::args().next().unwrap_or_default();
    if called.contains('/') { called } else { "sallyport".to_owned() }
}

fn greeting(args: &Args, policy: &Path, addresses: Addresses, program: &str) -> String {
    let data = &args.data;
    let program = quoted(program);
    let elsewhere =
        if data == Path::new(DEFAULT_DATA) { String::new() } else { format!(" --data {}", quoted_path(data)) };
    let admin = match addresses.admin.to_string().as_str() {
        "127.0.0.1:9900" => String::new(),
        address => format!(" --admin http://{address}"),
    };
    let model = match &args.upstream {
        Some(endpoint) => format!("http://{}", endpoint.authority),
        None => "an embedded mock that says a social security number in every answer".to_owned(),
    };
    let call = |model: &str, more: &str| {
        format!(
            "curl -sN http://{}/v1/chat/completions -H \"Authorization: Bearer $({program} token --user alice --group ml-apps{elsewhere})\" \
             -H 'Content-Type: application/json' -d '{{\"model\":\"{model}\"{more},\"messages\":[{{\"role\":\"user\",\"content\":\"Hello!\"}}]}}'",
            addresses.gateway
        )
    };
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "Sallyport {version} is up.

  gateway   http://{gateway}   point your OpenAI SDK's base URL at http://{gateway}/v1
  admin     http://{admin_address}
  console   http://{admin_address}/   (sign in as grace, in the groups that stand there)
  model     {model}
  policy    {policy}   (edit it: changes count at once)
  evidence  {evidence}

  *** DEVELOPMENT ISSUER: whoever can read {data} can be anybody. For trying out, on this machine only. ***

1. An allowed call; its streamed answer comes back masked:
   {allowed}
2. A denied one:
   {denied}
3. One that waits for a person, and (in a second terminal) the person who approves it:
   {pending}
   {program} approvals approve --next --reason \"fine by me\"{admin} --token \"$({program} token --user grace --group ml-leads{elsewhere})\"
   or in the browser: http://{admin_address}/approvals
4. What was written down about all of them, and the proof that nobody changed it:
   {program} audit search{elsewhere} && {program} audit verify{elsewhere}

Ctrl-C lets running calls finish; a second Ctrl-C ends at once.
",
        version = env!("CARGO_PKG_VERSION"),
        gateway = addresses.gateway,
        admin_address = addresses.admin,
        policy = policy.display(),
        evidence = data.join("evidence").display(),
        data = data.join("dev-issuer").display(),
        allowed = call("mock-model", ",\"stream\":true"),
        denied = call("secret-model", ""),
        pending = call("finetune-model", ",\"stream\":true"),
    );
    text
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// As a POSIX shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@%,=".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use clap::Parser as _;

    fn args(line: &[&str]) -> Args {
        crate::cli::Cli::parse_from([&["sallyport"], line].concat()).quickstart
    }

    fn addresses(args: &Args) -> Addresses {
        Addresses { gateway: args.listen, admin: args.admin }
    }

    #[test]
    fn the_greeting_is_short_and_its_commands_can_be_pasted() {
        let args = args(&[]);
        let text = greeting(&args, &args.data.join("policies"), addresses(&args), "target/release/sallyport");
        assert!(text.lines().count() < 30);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn other_places_show_in_the_commands() {
        let args = args(&["--data", "my data", "--admin", "127.0.0.1:1", "--upstream", "http://127.0.0.1:8000"]);
        let text = greeting(&args, &args.data.join("policies"), addresses(&args), "sallyport");
        assert!(text.contains("token --user alice --group ml-apps --data 'my data')"), "{text}");
        assert!(text.contains("--admin http://127.0.0.1:1 --token"), "{text}");
        assert!(text.contains("model     http://127.0.0.1:8000\n"), "{text}");
    }

    #[test]
    fn the_embedded_policy_is_good() {
        let dir = tempfile::tempdir().unwrap();
        let policies = dir.path().join("policies");
        write_policy(&policies).unwrap();
        let prepared = crate::policy_slot::prepare(&policies, false).unwrap();
        assert!(prepared.warnings.is_empty(), "{}", prepared.warnings.render(false));
        // What somebody wrote there stays.
        std::fs::write(policies.join("quickstart.policy"), "mine").unwrap();
        write_policy(&policies).unwrap();
        assert_eq!(std::fs::read_to_string(policies.join("quickstart.policy")).unwrap(), "mine");
    }

    #[test]
    fn only_the_loopback_is_served() {
        for line in [["--listen", "0.0.0.0:8080"], ["--admin", "192.0.2.1:9900"], ["--listen", "[::]:8080"]] {
            let mut args = args(&line);
            args.upstream = Some(Endpoint::parse("http://127.0.0.1:1").unwrap());
            let error = DevIssuer::guard(&config(&args, None).unwrap()).unwrap_err().to_string();
            assert!(error.contains(line[0]) && error.contains(line[1]), "{error}");
        }
        for line in [["--listen", "127.1.2.3:0"], ["--admin", "[::1]:0"]] {
            let mut args = args(&line);
            args.upstream = Some(Endpoint::parse("http://127.0.0.1:1").unwrap());
            DevIssuer::guard(&config(&args, None).unwrap()).unwrap();
        }
    }
}
