//! CPU time and memory of the process under test, from `/proc`.

use std::fs;
use std::time::{Duration, Instant};

/// `sysconf(_SC_CLK_TCK)`: 100 on every Linux that Rust's standard library runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process and all its threads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process {
    pid: u32,
}

/// A look at its clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    at: Instant,
    cpu: Duration,
}

impl Process {
    pub(super) fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// `None` when there is no such process.
    pub(super) fn look(&self) -> Option<Look> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        // The name is in parentheses and may hold anything; utime and stime are the 12th and 13th fields after it.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
        Some(Look { at: Instant::now(), cpu: Duration::from_secs_f64((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND) })
    }

    /// Cores that it used since then, on average.
    pub(super) fn cores_since(&self, before: Look) -> Option<f64> {
        let now = self.look()?;
        let wall = now.at.duration_since(before.at).as_secs_f64().max(1e-9);
        Some(now.cpu.saturating_sub(before.cpu).as_secs_f64() / wall)
    }

    /// Resident memory in bytes.
    pub(super) fn memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn looks_at_itself() {
        let own = Process::new(std::process::id());
        let before = own.look().unwrap();
        assert!(own.cores_since(before).unwrap() >= 0.0 && own.memory().unwrap() > 100_000);
        assert!(Process::new(u32::MAX).look().is_none());
    }
}
