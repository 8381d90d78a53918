//! The control plane: one thread with everything that is not on the way of a call.
//!
//! * [`api`]: the admin port, for those whom [`access`] lets in; [`login`] and [`sessions`] for browsers.
//! * [`keys`], [`introspection`], [`identity_files`]: what callers are checked against. [`credentials`]: what model servers get.
//! * [`policy`]: watching and reloading policy files. [`reload`]: the same for the configuration.
//! * [`approvals`]: deciding on requests for approval, and bringing them back at the start.
//! * [`findings`]: what the cores found out about limits and native code, as notes.
//! * [`journal`]: its own notes in the evidence: policy activations, approvals asked for and decided.
//! * [`pages`]: the console; [`overview`], [`policy_view`], [`upstreams`], [`live`]: what it and the admin API show.
//! * [`notices`], [`alerts`]: telling people. [`links`], [`slack`]: what they answer with.
//! * [`evidence`]: searching, proving, exporting and erasing evidence; [`public_log`] shows what everybody may see of it,
//!   [`retention`] lets it lapse.
//!
//! It ends when the data plane has drained, so that health and approvals are there to the last call.

mod access;
mod alerts;
mod api;
mod approvals;
mod cookies;
mod credentials;
mod error;
mod evidence;
mod findings;
mod http;
mod identity_files;
mod introspection;
mod journal;
mod keys;
mod links;
mod live;
mod login;
mod notices;
mod openapi;
mod overview;
mod pages;
mod policy;
mod policy_view;
mod public_log;
mod reload;
mod retention;
mod sessions;
mod slack;
mod upstreams;

pub(crate) use identity_files::{API_KEYS_FILE, IdentityFileError};

use crate::approvals::Event;
use crate::identity::OpaqueToken;
use crate::shared::Shared;
use crate::telemetry::{Post, Shipper};
use audit_shipper::{EvidenceError, Producer};
use cookies::Cookies;
use http::Http;
use identity_files::IdentityFiles;
use journal::Journal;
use login::Provider;
use notices::People;
use sessions::Sessions;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc as std_mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};

/// At the end, the last lines and traces may take so long.
const TELEMETRY_AT_END: Duration = Duration::from_secs(2);
/// How often lapsed requests for approval are swept.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// How long the start waits for the first answer of the issuers; the cores start without it after that.
const FIRST_KEYS_WITHIN: Duration = Duration::from_secs(10);

/// Why the control plane did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    /// The admin port.
    #[error(
        "cannot listen on the admin address {address}: {cause}; is another gateway running? Choose another with --admin"
    )]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The public log's port.
    #[error(
        "cannot listen on the address of the public log {address}: {cause}; choose another as `[evidence] public_log`"
    )]
    PublicLog {
        /// Which address.
        address: SocketAddr,
        /// What the system says.
        cause: std::io::Error,
    },
    /// Its thread or runtime.
    #[error("cannot start the control plane: {0}")]
    Thread(std::io::Error),
    /// The policy set that is to be active could not be written down.
    #[error("cannot record the start in the evidence: {0}")]
    Evidence(#[from] EvidenceError),
    /// The file of used links.
    #[error(
        "cannot tell which links in mails were used: {0}; mend or remove the file links-used in the data directory"
    )]
    Links(std::io::Error),
    /// The file of API keys or the revocation list.
    #[error("cannot start without knowing who may call: {0}")]
    IdentityFile(#[from] IdentityFileError),
}

/// The running control plane.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    /// Where the admin API listens, with the real port.
    pub(crate) address: SocketAddr,
    thread: JoinHandle<()>,
}

/// What only the control plane holds.
#[derive(Debug)]
pub(crate) struct Own {
    /// Its writing end of the evidence.
    pub(crate) producer: Producer,
    /// What happens to requests for approval.
    pub(crate) events: mpsc::Receiver<Event>,
    /// Opaque tokens that cores want to know about.
    pub(crate) opaque_tokens: mpsc::Receiver<OpaqueToken>,
}

/// What the tasks of the control plane share.
struct Control {
    shared: Arc<Shared>,
    journal: Journal,
    /// Held over a reload, so that one runs at a time.
    reloading: Mutex<()>,
    /// What the policy set was parsed from last.
    parsed: policy::Parsed,
    /// Held over a decision on an approval: it is examined, written down, then taken.
    deciding: Mutex<()>,
    /// Figures of the last quarter of an hour, for the console.
    history: overview::History,
    sessions: Sessions,
    cookies: Cookies,
    /// Where people sign in, if that is configured.
    provider: Option<Provider>,
    /// Those who are told, and what they were told.
    people: People,
    http: Arc<Http>,
}

impl ControlPlane {
    /// Listens on the admin port and starts the thread; returns when the active policy set is in the evidence and the
    /// issuers' keys were asked for once (whatever they answered).
    ///
    /// # Errors
    /// [`ControlError`]
    pub(crate) fn start(shared: Arc<Shared>, own: Own) -> Result<Self, ControlError> {
        let asked = shared.config.admin.address;
        let failed = |cause| ControlError::Listen { address: asked, cause };
        let listener = std::net::TcpListener::bind(asked).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let public_log = shared.config.evidence.public_log.map(bind_public_log).transpose()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(ControlError::Thread)?;
        let (ready, is_ready) = std_mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("control".to_owned()).spawn(move || {
            runtime.block_on(run(shared, own, Listeners { admin: listener, public_log }, ready));
            // Whatever still runs belongs to nobody now.
            runtime.shutdown_background();
        });
        let thread = thread.map_err(ControlError::Thread)?;
        match is_ready.recv() {
            Ok(Ok(())) => Ok(Self { address, thread }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ControlError::Thread(std::io::Error::other("its thread ended at once"))),
        }
    }

    /// Waits until it has ended, which it does when the life cycle says that the data plane has drained.
    pub(crate) fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the control plane's thread panicked");
        }
    }
}

struct Listeners {
    admin: std::net::TcpListener,
    public_log: Option<std::net::TcpListener>,
}

fn bind_public_log(address: SocketAddr) -> Result<std::net::TcpListener, ControlError> {
    let bind = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        tracing::info!(public_log = %listener.local_addr()?, "everybody may read the public part of the log");
        Ok(listener)
    };
    bind().map_err(|cause| ControlError::PublicLog { address, cause })
}

async fn run(
    shared: Arc<Shared>,
    own: Own,
    listeners: Listeners,
    ready: std_mpsc::SyncSender<Result<(), ControlError>>,
) {
    let http = Arc::<Http>::default();
    let (admin, settings) = (&shared.config.admin, &shared.config.identity);
    let provider = match (&admin.login, &admin.url) {
        (Some(login), Some(url)) => Some(Provider::new(login, url, settings, Arc::clone(&http))),
        _ => None,
    };
    let people = match People::new(&shared) {
        Ok(people) => people,
        Err(error) => {
            let _ = ready.send(Err(ControlError::Links(error)));
            return;
        }
    };
    let control = Arc::new(Control {
        people,
        sessions: Sessions::default(),
        cookies: Control::make_cookies(&shared),
        provider,
        http: Arc::clone(&http),
        shared: Arc::clone(&shared),
        journal: Journal::new(own.producer),
        reloading: Mutex::default(),
        parsed: policy::Parsed::default(),
        deciding: Mutex::default(),
        history: overview::History::default(),
    });
    let mut files = IdentityFiles::new(&control);
    let begun = async {
        control.record_start().await?;
        files.load(&control).await?;
        approvals::restore(&control).await?;
        Ok(())
    };
    let begun = begun.await;
    let good = begun.is_ok();
    if good {
        // Elapsed: the cores start with what is known, and the tasks go on.
        let _ = tokio::time::timeout(FIRST_KEYS_WITHIN, first_round(&control)).await;
    }
    // The receiver waits until it hears from us, so it is there.
    let _ = ready.send(begun);
    if !good {
        return;
    }
    tokio::spawn(introspection::run(Arc::clone(&shared), http, own.opaque_tokens));
    tokio::spawn(files.watch(Arc::clone(&control)));
    tokio::spawn(policy::watch(Arc::clone(&control)));
    tokio::spawn(reload::watch(Arc::clone(&control)));
    tokio::spawn(sweep(Arc::clone(&control)));
    tokio::spawn(overview::keep_history(Arc::clone(&control)));
    tokio::spawn(alerts::watch(Arc::clone(&control)));
    let notices = tokio::spawn(notices::record_given_up(Arc::clone(&control)));
    let index = evidence::keep_index(&shared);
    if let Err(error) = &index {
        tracing::warn!(%error, "nothing will be indexed; searches read the log");
    }
    tokio::spawn(retention::keep(Arc::clone(&control)));
    if let Some(listener) = listeners.public_log {
        tokio::spawn(public_log::serve(Arc::clone(&control), listener));
    }
    tokio::spawn(approvals::keep_place(Arc::clone(&control)));
    let recorder = tokio::spawn(journal::record_approvals(Arc::clone(&control), own.events));
    let telemetry = tokio::spawn(Shipper::new(Arc::clone(&control.shared), Collector(Arc::clone(&control.http))).run());
    api::serve(Arc::clone(&control), listeners.admin).await;
    recorder.abort();
    approvals::note_place(&control).await;
    // It ends by itself when the data plane has drained; a collector that is slow then does not keep us.
    let _ = tokio::time::timeout(TELEMETRY_AT_END, telemetry).await;
    control.record_summaries().await;
    control.end_notices(notices).await;
    if let Ok(index) = index {
        let _ = tokio::task::spawn_blocking(move || index.join()).await;
    }
}

/// Asks once for everything that callers and model servers need from elsewhere, and has it kept fresh from then on.
async fn first_round(control: &Control) {
    let (shared, http) = (&control.shared, &control.http);
    let verifiers = [Some(&shared.verifier), control.provider.as_ref().map(|provider| &provider.verifier)];
    let mut rounds = tokio::task::JoinSet::new();
    for verifier in verifiers.into_iter().flatten() {
        rounds.spawn(keys::Refresher::new(Arc::clone(verifier), Arc::clone(http), Arc::clone(shared)).start());
    }
    let slots = shared.live.current().fleet.credentials().cloned().collect();
    rounds.spawn(credentials::keep_fresh(slots, shared.clock.clone(), Arc::clone(http)));
    // Dropped early, the tasks that it started go on: they are spawned on their own.
    while rounds.join_next().await.is_some() {}
}

/// Traces go out by the control plane's own client.
struct Collector(Arc<Http>);

impl Post for Collector {
    async fn post_json(&self, url: &str, body: String) -> Result<(), String> {
        self.0.post_json(url, body).await.map_err(|error| error.to_string())
    }
}

async fn sweep(control: Arc<Control>) {
    let mut every = tokio::time::interval(SWEEP_EVERY);
    let mut forgotten = 0;
    loop {
        every.tick().await;
        control.shared.approvals.sweep();
        control.record_summaries().await;
        control.record_findings(&mut forgotten).await;
    }
}
