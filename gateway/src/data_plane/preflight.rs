//! Can this machine run io_uring? Asked before the first executor starts, so that the answer is one message, not a panic.

#![allow(unsafe_code, reason = "io_uring_setup has no safe wrapper")]

use std::io;

/// Locked memory that one executor's rings need, in bytes.
const MEMLOCK_BYTES_PER_CORE: u64 = 512 * 1024;
/// `IORING_SETUP` needs a parameter block of this size (struct io_uring_params).
const PARAMS_BYTES: usize = 120;

/// Why the data plane cannot start here.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreflightError {
    /// The kernel has no io_uring.
    #[error(
        "this kernel has no io_uring (io_uring_setup: ENOSYS).\n\
         Sallyport needs Linux 5.8 or newer with CONFIG_IO_URING; in gVisor or similar sandboxes use a runtime that offers it."
    )]
    Missing,
    /// A seccomp profile or a security module forbids it.
    #[error(
        "io_uring is forbidden for this process (io_uring_setup: EPERM).\n\
         Docker:     the default seccomp profile blocks it; run with --security-opt seccomp=PROFILE.json where the profile allows io_uring_setup, io_uring_enter and io_uring_register.\n\
         Kubernetes: securityContext.seccompProfile: {{ type: Localhost, localhostProfile: PROFILE.json }} with the same three calls.\n\
         systemd:    SystemCallFilter=@system-service @io-event io_uring_setup io_uring_enter io_uring_register."
    )]
    Forbidden,
    /// Switched off for the whole machine.
    #[error(
        "io_uring is switched off on this machine (kernel.io_uring_disabled = {0}).\n\
         Allow it with: sysctl kernel.io_uring_disabled=0 (or 1 with this process's group in kernel.io_uring_group)."
    )]
    Disabled(u8),
    /// Too little lockable memory.
    #[error(
        "the limit of locked memory is {have_kib} KiB, but {cores} cores need {need_kib} KiB.\n\
         systemd:    LimitMEMLOCK=infinity in the unit.\n\
         Docker:     --ulimit memlock=-1:-1\n\
         Kubernetes: raise the container runtime's memlock limit, or run fewer cores ([listen] cores = N).\n\
         shell:      ulimit -l {need_kib}"
    )]
    Memlock {
        /// The limit.
        have_kib: u64,
        /// What is needed.
        need_kib: u64,
        /// For so many cores.
        cores: usize,
    },
    /// Anything else that io_uring_setup says.
    #[error("io_uring cannot be set up: {0}")]
    Other(String),
}

/// Checks that `cores` executors can have their rings.
///
/// # Errors
/// [`PreflightError`], whose text says how to allow it.
pub fn check(cores: usize) -> Result<(), PreflightError> {
    if let Some(setting @ 1..) = disabled_setting()
        && (setting >= 2 || try_setup().is_err())
    {
        return Err(PreflightError::Disabled(setting));
    }
    match try_setup().map_err(|error| (error.raw_os_error(), error)) {
        Ok(()) => {}
        Err((Some(libc::ENOSYS), _)) => return Err(PreflightError::Missing),
        Err((Some(libc::EPERM | libc::EACCES), _)) => return Err(PreflightError::Forbidden),
        // Before Linux 5.12 rings count against locked memory.
        Err((Some(libc::ENOMEM), _)) => return Err(memlock(memlock_limit(), cores)),
        Err((_, error)) => return Err(PreflightError::Other(error.to_string())),
    }
    let have = memlock_limit();
    if have < MEMLOCK_BYTES_PER_CORE * cores as u64 {
        return Err(memlock(have, cores));
    }
    Ok(())
}

fn memlock(have: u64, cores: usize) -> PreflightError {
    PreflightError::Memlock { have_kib: have / 1024, need_kib: MEMLOCK_BYTES_PER_CORE * cores as u64 / 1024, cores }
}

fn disabled_setting() -> Option<u8> {
    std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

fn try_setup() -> io::Result<()> {
    let mut params = [0u8; PARAMS_BYTES];
    // SAFETY: io_uring_setup(entries, params) writes at most sizeof(struct io_uring_params) = 120 bytes to `params`, which is
    // zeroed, that large, and lives through the call.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, params.as_mut_ptr()) };
    let Ok(fd @ 0..) = i32::try_from(fd) else { return Err(io::Error::last_os_error()) };
    // SAFETY: the kernel has just given us this descriptor and nobody else knows it.
    unsafe {
        libc::close(fd);
    }
    Ok(())
}

fn memlock_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit writes one struct rlimit to the pointer, which is valid for it.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
    if result == 0 { limit.rlim_cur } else { 0 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_core_can_run_where_the_tests_run() {
        check(1).unwrap();
    }

    #[test]
    fn too_little_locked_memory_is_named_with_its_cure() {
        let text = memlock(64 * 1024, 4).to_string();
        assert!(text.contains("64 KiB") && text.contains("2048 KiB") && text.contains("LimitMEMLOCK"), "{text}");
    }
}
