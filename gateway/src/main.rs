//! The one binary. Everything is in the library; see [`sallyport::cli`].

#[path = "data_plane/rt/ring_flags.rs"]
mod ring_flags;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sallyport::cli::main()
}
