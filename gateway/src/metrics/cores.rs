//! Whether each core keeps up.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::Page;
use crate::config::CORES_MAX;

/// The signs of life of all cores.
#[derive(Debug)]
pub struct Cores {
    started: Instant,
    cores: Box<[Beats]>,
}

/// Of one core.
#[derive(Debug, Default)]
struct Beats {
    /// Milliseconds since the start at the last beat, and one; 0 while the core does not run.
    last: AtomicU64,
    stalls: AtomicU64,
    stalled_us: AtomicU64,
}

impl Default for Cores {
    fn default() -> Self {
        Self { started: Instant::now(), cores: (0..CORES_MAX).map(|_| Beats::default()).collect() }
    }
}

impl Cores {
    /// The core lives.
    pub fn beat(&self, core: usize) {
        if let Some(beats) = self.cores.get(core) {
            beats.last.store(self.now_ms() + 1, Relaxed);
        }
    }

    /// The core stood still for so long.
    pub fn stalled(&self, core: usize, late: Duration) {
        if let Some(beats) = self.cores.get(core) {
            beats.stalls.fetch_add(1, Relaxed);
            beats.stalled_us.fetch_add(u64::try_from(late.as_micros()).unwrap_or(u64::MAX), Relaxed);
        }
    }

    /// The core is over.
    pub fn ended(&self, core: usize) {
        if let Some(beats) = self.cores.get(core) {
            beats.last.store(0, Relaxed);
        }
    }

    pub(super) fn render(&self, page: &mut Page) {
        let running = || self.cores.iter().enumerate().filter(|(_, beats)| beats.last.load(Relaxed) > 0);
        page.family(
            "sallyport_core_stalls_total",
            "counter",
            "Times that a core did not get to its work for 100 ms or more.",
        );
        for (core, beats) in running() {
            page.sample(&format!("{{core=\"{core}\"}}"), beats.stalls.load(Relaxed));
        }
        page.family("sallyport_core_stalled_seconds_total", "counter", "How long cores stood still at those times.");
        for (core, beats) in running() {
            let stalled_s = Duration::from_micros(beats.stalled_us.load(Relaxed)).as_secs_f64();
            page.sample(&format!("{{core=\"{core}\"}}"), stalled_s);
        }
        page.family(
            "sallyport_core_last_beat_seconds",
            "gauge",
            "Seconds since a core last showed that it lives, which it does every 50 ms.",
        );
        for (core, beats) in running() {
            let age_ms = (self.now_ms() + 1).saturating_sub(beats.last.load(Relaxed));
            page.sample(&format!("{{core=\"{core}\"}}"), Duration::from_millis(age_ms).as_secs_f64());
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_running_cores_are_shown() {
        let cores = Cores::default();
        cores.beat(0);
        cores.beat(3);
        cores.stalled(3, Duration::from_millis(1500));
        cores.beat(7);
        cores.ended(7);
        // A number that no core has changes nothing.
        cores.beat(usize::MAX);
        let mut page = Page::default();
        cores.render(&mut page);
        for line in [
            "sallyport_core_stalls_total{core=\"0\"} 0",
            "sallyport_core_stalls_total{core=\"3\"} 1",
            "sallyport_core_stalled_seconds_total{core=\"3\"} 1.5",
        ] {
            assert!(page.text.lines().any(|own| own == line), "{line} is not in\n{}", page.text);
        }
        assert!(!page.text.contains("core=\"7\"") && !page.text.contains("core=\"1\""), "{}", page.text);
    }
}
