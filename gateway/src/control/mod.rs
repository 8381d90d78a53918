//! The control plane: one thread with everything that is not on the way of a call.
//!
//! * [`api`]: the admin port. * [`keys`]: issuers' keys. * [`policy`]: watching and reloading policy files.
//! * [`journal`]: its own notes in the evidence: policy activations, approvals asked for and decided.
//!
//! It ends when the data plane has drained, so that health and approvals are there to the last call.

mod api;
mod journal;
mod keys;
mod policy;
mod reload;

use crate::approvals::Event;
use crate::shared::Shared;
use audit_shipper::{EvidenceError, Producer};
use journal::Journal;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc as std_mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};

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
    /// Its thread or runtime.
    #[error("cannot start the control plane: {0}")]
    Thread(std::io::Error),
    /// The policy set that is to be active could not be written down.
    #[error("cannot record the start in the evidence: {0}")]
    Evidence(EvidenceError),
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
}

/// What the tasks of the control plane share.
struct Control {
    shared: Arc<Shared>,
    journal: Journal,
    /// Held over a reload, so that one runs at a time.
    reloading: Mutex<()>,
    /// Held over a decision on an approval: it is examined, written down, then taken.
    deciding: Mutex<()>,
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
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(ControlError::Thread)?;
        let (ready, is_ready) = std_mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("control".to_owned()).spawn(move || {
            runtime.block_on(run(shared, own, listener, ready));
            // Whatever still runs belongs to nobody now.
            runtime.shutdown_background();
        });
        let thread = thread.map_err(ControlError::Thread)?;
        match is_ready.recv() {
            Ok(Ok(())) => Ok(Self { address, thread }),
            Ok(Err(error)) => Err(ControlError::Evidence(error)),
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

async fn run(
    shared: Arc<Shared>,
    own: Own,
    listener: std::net::TcpListener,
    ready: std_mpsc::SyncSender<Result<(), EvidenceError>>,
) {
    let control = Arc::new(Control {
        shared: Arc::clone(&shared),
        journal: Journal::new(own.producer),
        reloading: Mutex::default(),
        deciding: Mutex::default(),
    });
    let recorded = control.record_start().await;
    let good = recorded.is_ok();
    let mut keys = keys::Refresher::new(Arc::clone(&shared));
    if good {
        let _ = tokio::time::timeout(FIRST_KEYS_WITHIN, keys.refresh()).await;
    }
    // The receiver waits until it hears from us, so it is there.
    let _ = ready.send(recorded);
    if !good {
        return;
    }
    tokio::spawn(keys.run());
    tokio::spawn(policy::watch(Arc::clone(&control)));
    tokio::spawn(reload::watch(Arc::clone(&control)));
    tokio::spawn(sweep(Arc::clone(&shared)));
    let approvals = tokio::spawn(journal::record_approvals(Arc::clone(&control), own.events));
    api::serve(control, listener).await;
    approvals.abort();
}

async fn sweep(shared: Arc<Shared>) {
    let mut every = tokio::time::interval(SWEEP_EVERY);
    loop {
        every.tick().await;
        shared.approvals.sweep();
    }
}
