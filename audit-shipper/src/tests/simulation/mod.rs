//! Crashes and failures on a simulated disk, from seeds. A failure prints its seed; `SALLYPORT_SIM_SEED=n` runs that one.

mod crashes;
mod disk;
mod faults;
