//! Descriptors that the process was started with (sd_listen_fds(3)).

use std::io;
use std::net::TcpListener;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// The first descriptor that is passed on.
const FIRST: RawFd = 3;
/// More are not believed.
const COUNT_MAX: RawFd = 1024;

/// The listeners that a service manager passes to this very process; none the second time.
///
/// # Errors
/// A descriptor that is promised is not open.
pub(crate) fn inherited_listeners() -> io::Result<Vec<TcpListener>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    let count = number("LISTEN_FDS").and_then(|count| RawFd::try_from(count).ok()).unwrap_or(0);
    if number("LISTEN_PID") != Some(std::process::id()) || count == 0 || TAKEN.swap(true, Ordering::AcqRel) {
        return Ok(Vec::new());
    }
    (FIRST..FIRST + count.min(COUNT_MAX)).map(take).collect()
}

fn take(fd: RawFd) -> io::Result<TcpListener> {
    // SAFETY: fcntl(2) with these commands takes no pointers. It also tells whether the descriptor is open.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open, LISTEN_PID says that it was passed to this process for it to own, and it is taken once.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok(owned.into())
}
