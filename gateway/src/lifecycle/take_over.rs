//! Replacing a running gateway by a new process without dropping a connection.
//!
//! The running one listens on a Unix socket in its data directory. A successor that is ready to serve asks there for the
//! listening sockets (SCM_RIGHTS). From then on the old process accepts nothing, finishes its calls and ends; new connections
//! wait in the sockets' queues. The successor begins to accept when it has the evidence, which one process writes at a time.

use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The socket's name in the data directory.
const SOCKET: &str = "take-over.sock";
/// Descriptors in one message (SCM_MAX_FD is 253).
const SOCKETS_MAX: usize = 240;
/// What goes with the descriptors: so many, in four bytes.
const MESSAGE_BYTES: usize = 4;
/// What the successor answers when it has them.
const TAKEN: u8 = 1;
/// How long either side waits for the other.
const WITHIN: Duration = Duration::from_secs(10);

/// Why the sockets were not handed over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeOverError {
    /// The other process.
    #[error("the running gateway does not hand its sockets over at {path}: {cause}")]
    Handshake { path: PathBuf, cause: io::Error },
    /// What it sent.
    #[error("the running gateway handed {got} sockets over where it promised {promised}")]
    Incomplete { got: usize, promised: usize },
}

/// The sockets that a successor can have; none once they are closed.
#[derive(Clone, Debug)]
pub(crate) struct Offer(Arc<Mutex<Vec<TcpListener>>>);

impl Offer {
    pub(crate) fn new(sockets: Vec<TcpListener>) -> Self {
        Self(Arc::new(Mutex::new(sockets)))
    }

    /// Closes them: while they are open here, the kernel goes on taking connections that nobody serves.
    pub(crate) fn withdraw(&self) {
        self.take();
    }

    fn take(&self) -> Vec<TcpListener> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put_back(&self, sockets: Vec<TcpListener>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = sockets;
    }

    /// Waits on a thread of its own for a successor; calls `handed_over` once, when one has the sockets.
    ///
    /// # Errors
    /// The Unix socket cannot be made; everything else works without it.
    pub(crate) fn listen(&self, data: &Path, handed_over: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let path = data.join(SOCKET);
        // The evidence's lock is ours, so whoever left this socket is gone.
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        let offer = self.clone();
        let wait = move || {
            for successor in listener.incoming() {
                match successor.and_then(|successor| offer.hand_over(&successor)) {
                    Ok(()) => {
                        // First, so that a next successor does not find a process on its way out.
                        drop(std::fs::remove_file(&path));
                        return handed_over();
                    }
                    Err(error) => tracing::warn!(%error, "the listening sockets were not handed over"),
                }
            }
        };
        std::thread::Builder::new().name("take-over".to_owned()).spawn(wait).map(drop)
    }

    fn hand_over(&self, successor: &UnixStream) -> io::Result<()> {
        let peer = rustix::net::sockopt::socket_peercred(successor)?;
        if peer.uid != rustix::process::geteuid() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "another user asks for them"));
        }
        successor.set_read_timeout(Some(WITHIN))?;
        successor.set_write_timeout(Some(WITHIN))?;
        let sockets = self.take();
        if sockets.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the gateway is on its way down"));
        }
        let sent = send(successor, &sockets).and_then(|()| {
            let mut answer = [0];
            io::Read::read_exact(&mut &*successor, &mut answer)?;
            if answer == [TAKEN] { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
        });
        if sent.is_err() {
            self.put_back(sockets);
        }
        sent
    }
}

fn send(successor: &UnixStream, sockets: &[TcpListener]) -> io::Result<()> {
    let count = u32::try_from(sockets.len()).unwrap_or(u32::MAX).to_be_bytes();
    let descriptors: Vec<_> = sockets.iter().take(SOCKETS_MAX).map(TcpListener::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("too many sockets for one message"));
    }
    retry_on_intr(|| sendmsg(successor, &[IoSlice::new(&count)], &mut control, SendFlags::NOSIGNAL))?;
    Ok(())
}

/// Takes the listening sockets of the gateway that runs with this data directory. From then on it drains. `None` when no
/// gateway runs there.
///
/// # Errors
/// [`TakeOverError`]; the other one goes on then.
pub(crate) fn take(data: &Path) -> Result<Option<Vec<TcpListener>>, TakeOverError> {
    let path = data.join(SOCKET);
    let running = match UnixStream::connect(&path) {
        Ok(running) => running,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(cause) => return Err(TakeOverError::Handshake { path, cause }),
    };
    let failed = |cause| TakeOverError::Handshake { path: path.clone(), cause };
    running.set_read_timeout(Some(WITHIN)).map_err(failed)?;
    let (sockets, promised) = receive(&running).map_err(failed)?;
    if sockets.len() != promised || sockets.is_empty() {
        return Err(TakeOverError::Incomplete { got: sockets.len(), promised });
    }
    io::Write::write_all(&mut &running, &[TAKEN]).map_err(failed)?;
    Ok(Some(sockets))
}

fn receive(running: &UnixStream) -> io::Result<(Vec<TcpListener>, usize)> {
    let mut count = [0; MESSAGE_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got =
        retry_on_intr(|| recvmsg(running, &mut [IoSliceMut::new(&mut count)], &mut control, RecvFlags::CMSG_CLOEXEC))?;
    if got.bytes < MESSAGE_BYTES {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut sockets = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            sockets.extend(descriptors.map(TcpListener::from));
        }
    }
    Ok((sockets, u32::from_be_bytes(count) as usize))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn sockets_and_what_waits_in_them_change_hands_once() {
        let data = tempfile::tempdir().unwrap();
        assert!(take(data.path()).unwrap().is_none(), "nobody runs here");
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = first.local_addr().unwrap();
        let offer = Offer::new(vec![first.try_clone().unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()]);
        let (handed_over, is_handed_over) = mpsc::channel();
        offer.listen(data.path(), move || handed_over.send(()).unwrap()).unwrap();
        let _waiting = std::net::TcpStream::connect(address).unwrap();
        drop(first);

        let taken = take(data.path()).unwrap().expect("a gateway runs here");
        is_handed_over.recv_timeout(WITHIN).unwrap();
        assert_eq!(taken.iter().map(|own| own.local_addr().unwrap().port()).collect::<Vec<_>>().len(), 2);
        assert!(taken[0].accept().is_ok(), "the connection waited in the queue");
        assert!(take(data.path()).unwrap().is_none(), "only once");
    }

    #[test]
    fn withdrawn_sockets_are_closed() {
        let data = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let offer = Offer::new(vec![listener]);
        offer.listen(data.path(), || panic!("nothing is handed over")).unwrap();
        offer.withdraw();
        assert!(take(data.path()).is_err());
        assert!(std::net::TcpStream::connect(address).is_err());
    }
}
