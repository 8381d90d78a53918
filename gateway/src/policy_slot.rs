//! The active policy set: swapped whole, read by every core without a lock.

use arc_swap::{ArcSwap, ArcSwapOption};
use policy_lang::Program;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One activated policy set.
#[derive(Debug)]
pub struct ActivePolicy {
    /// Grows by one with every activation; 1 is the set loaded at start-up.
    pub generation: u64,
    /// The checked program.
    pub program: Arc<Program>,
}

/// Holds the active set and what went wrong with the last reload.
#[derive(Debug)]
pub struct PolicySlot {
    generation: AtomicU64,
    current: ArcSwap<ActivePolicy>,
    last_error: ArcSwapOption<String>,
}

impl PolicySlot {
    /// A slot with the first set, generation 1.
    #[must_use]
    pub fn new(program: Arc<Program>) -> Self {
        Self {
            generation: AtomicU64::new(1),
            current: ArcSwap::from_pointee(ActivePolicy { generation: 1, program }),
            last_error: ArcSwapOption::empty(),
        }
    }

    /// The generation of the active set: one atomic load. A core that holds an older [`ActivePolicy`] fetches
    /// [`PolicySlot::current`] between two requests.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The active set.
    #[must_use]
    pub fn current(&self) -> Arc<ActivePolicy> {
        self.current.load_full()
    }

    /// Activates a set, forgets the last error and returns the new generation.
    pub fn replace(&self, program: Arc<Program>) -> u64 {
        let generation = self.current.load().generation + 1;
        self.current.store(Arc::new(ActivePolicy { generation, program }));
        // After the set itself, so that who sees the new number finds at least that set.
        self.generation.store(generation, Ordering::Release);
        self.last_error.store(None);
        generation
    }

    /// Keeps the active set and remembers why its successor was not taken.
    pub fn reject(&self, diagnostics: String) {
        self.last_error.store(Some(Arc::new(diagnostics)));
    }

    /// Why the newest files on disk are not the active set; none when they are.
    #[must_use]
    pub fn last_error(&self) -> Option<Arc<String>> {
        self.last_error.load_full()
    }
}
