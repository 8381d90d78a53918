//! Lets `src/data_plane/rt/ring_flags.rs` stand between glommio and its bundled liburing.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-bins=-Wl,--wrap=io_uring_queue_init_params");
}
