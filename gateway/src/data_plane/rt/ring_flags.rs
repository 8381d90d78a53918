//! Creates glommio's rings with `IORING_SETUP_COOP_TASKRUN`, which it has no setting for.
//!
//! Without the flag each completion interrupts the core that waits for it; with it completions are handed over the next time that
//! the thread enters the kernel, which this program does all the time. It halves the kernel's share of a proxied request
//! (docs/performance.md). The linker turns glommio's calls of `io_uring_queue_init_params` into calls of the function below
//! (`build.rs`), so this file is part of the program and not of the library.

#![allow(unsafe_code, reason = "a C function that glommio calls is replaced")]

use std::ffi::{c_int, c_uint, c_void};

/// `struct io_uring_params` of `linux/io_uring.h`, as far as it is looked at.
#[repr(C)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    rest: [u32; 27],
}

const _: () = assert!(size_of::<Params>() == 120);

/// `IORING_SETUP_COOP_TASKRUN` of `linux/io_uring.h`; Linux 5.19.
const COOP_TASKRUN: u32 = 1 << 8;
/// `IORING_SETUP_SQPOLL` of `linux/io_uring.h`: such rings have a thread of the kernel's and no use for the flag.
const SQPOLL: u32 = 1 << 1;

unsafe extern "C" {
    fn __real_io_uring_queue_init_params(entries: c_uint, ring: *mut c_void, params: *mut Params) -> c_int;
}

/// Creates a ring with the flag added where the kernel knows it, and as it was asked for otherwise.
///
/// # Safety
/// As for liburing's function: `ring` and `params` point to what the caller owns.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_io_uring_queue_init_params(
    entries: c_uint,
    ring: *mut c_void,
    params: *mut Params,
) -> c_int {
    // SAFETY: the caller's promise; `Params` has the size and layout of struct io_uring_params, which the kernel never changes.
    let asked = unsafe { (*params).flags };
    if asked & SQPOLL == 0 {
        // SAFETY: as above; the call is the one that the caller meant, with one more flag.
        let created = unsafe {
            (*params).flags = asked | COOP_TASKRUN;
            __real_io_uring_queue_init_params(entries, ring, params)
        };
        if created != -libc::EINVAL {
            return created;
        }
        // SAFETY: as above. A kernel that does not know the flag has created nothing.
        unsafe { (*params).flags = asked };
    }
    // SAFETY: the caller's own call.
    unsafe { __real_io_uring_queue_init_params(entries, ring, params) }
}
