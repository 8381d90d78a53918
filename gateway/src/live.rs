//! What a reload replaces: the configuration and all that is made from it, swapped as one value, so that no call sees half
//! of it. A call keeps what it began with.

use crate::config::Config;
use crate::data_plane::upstream::{Fleet, ResolveError};
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One configuration in force.
#[derive(Debug)]
pub struct Live {
    /// Grows by one with every reload; 1 is what the start found.
    pub generation: u64,
    /// The settings. Those that are read at start-up only are told apart in [`crate::shared::Shared::config`].
    pub config: Arc<Config>,
    /// The upstreams, with what is known about their endpoints.
    pub fleet: Fleet,
}

/// Holds the configuration in force. One thread, the control plane's, replaces it.
#[derive(Debug)]
pub struct LiveSlot {
    generation: AtomicU64,
    current: ArcSwap<Live>,
}

impl LiveSlot {
    /// A slot with the first configuration, generation 1. Looks up names: not for a core.
    ///
    /// # Errors
    /// An endpoint's name does not resolve.
    pub fn new(config: Config) -> Result<Self, ResolveError> {
        let fleet = Fleet::resolve(&config, None)?;
        let first = Live { generation: 1, config: Arc::new(config), fleet };
        Ok(Self { generation: AtomicU64::new(1), current: ArcSwap::from_pointee(first) })
    }

    /// The generation in force: one atomic load. A core that holds an older [`Live`] fetches [`LiveSlot::current`] between two
    /// requests.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The configuration in force.
    #[must_use]
    pub fn current(&self) -> Arc<Live> {
        self.current.load_full()
    }

    /// Puts a configuration in force and returns its generation. What is known about endpoints that stay is kept.
    pub fn replace(&self, config: Arc<Config>, fleet: Fleet) -> u64 {
        let generation = self.current.load().generation + 1;
        self.current.store(Arc::new(Live { generation, config, fleet }));
        // After the value itself, so that who sees the new number finds at least that value.
        self.generation.store(generation, Ordering::Release);
        generation
    }
}
