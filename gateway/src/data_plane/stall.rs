//! Whether a core keeps up: a task that should wake up at a steady pace and notes when it does not. A core that stands still, because
//! something computes without a pause or the machine takes the processor away, stands still for all of its calls.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::core::Core;
use super::rt;

/// How often a core shows that it lives.
const BEAT: Duration = Duration::from_millis(50);
/// So much later than it should is a stall.
const LATE: Duration = Duration::from_millis(100);

/// Beats for core number `index` until `alive` says no.
pub(super) async fn watch(core: Rc<Core>, index: usize, alive: impl Fn() -> bool) {
    let cores = &core.shared.metrics.cores;
    let mut last = Instant::now();
    cores.beat(index);
    while alive() {
        rt::sleep(BEAT).await;
        let late = last.elapsed().saturating_sub(BEAT);
        last = Instant::now();
        cores.beat(index);
        if late >= LATE {
            cores.stalled(index, late);
            tracing::warn!(core = index, late_ms = late.as_millis(), "a core stood still");
        }
    }
    cores.ended(index);
}
