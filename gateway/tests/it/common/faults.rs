//! A wall clock that is turned and a disk that fails under the real binary, by a library that is loaded in front of the C library.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/common/faults.c");

/// What the library is told. Counts from the start of the program that it is loaded into.
pub struct Faults {
    library: PathBuf,
    orders: PathBuf,
}

impl Faults {
    /// Builds the library and orders nothing yet.
    pub fn build(directory: &Path) -> Self {
        let (library, orders) = (directory.join("faults.so"), directory.join("faults"));
        let built =
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(SOURCE).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        std::fs::write(&orders, [0; 32]).unwrap();
        Self { library, orders }
    }

    /// The variables that load it.
    pub fn variables(&self) -> [(&'static str, &Path); 2] {
        [("LD_PRELOAD", &self.library), ("SALLYPORT_TEST_FAULTS", &self.orders)]
    }

    /// Seconds that the wall clock is off.
    pub fn turn_clock(&self, by_s: i64) {
        self.order(0, by_s);
    }

    /// Every n-th write or sync of the log fails with this error; 0 for none.
    pub fn fail_writes(&self, every: i64, errno: i32) {
        self.order(2, i64::from(errno));
        self.order(1, every);
    }

    /// Writes and syncs of the log that were looked at.
    pub fn writes(&self) -> i64 {
        let mut bytes = [0; 8];
        std::fs::File::open(&self.orders).unwrap().read_exact_at(&mut bytes, 24).unwrap();
        i64::from_ne_bytes(bytes)
    }

    fn order(&self, slot: u64, value: i64) {
        let file = std::fs::File::options().write(true).open(&self.orders).unwrap();
        file.write_all_at(&value.to_ne_bytes(), slot * 8).unwrap();
    }
}
