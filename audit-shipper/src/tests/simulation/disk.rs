//! A disk that crashes, fails and fills up when it is told to, from a seed. Writes tear at sectors, in any order.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use crate::Durability;
use crate::error::EvidenceError;
use crate::wal::disk::{Disk, ReadSegment, WriteSegment};

const SECTOR_BYTES: usize = 512;

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same on every machine.
#[derive(Clone, Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// The power goes at the write with this number, counted down.
    CrashIn(u64),
    /// Every n-th call fails with EIO; how much of a write got through is left to chance.
    FailEvery(u64),
    /// No new segment can be made (ENOSPC).
    Full,
}

#[derive(Debug)]
struct State {
    segments: BTreeMap<u32, Vec<u8>>,
    random: Random,
    fault: Fault,
    calls: u64,
    crashed: bool,
}

#[derive(Clone, Debug)]
pub(super) struct SimulatedDisk(std::sync::Arc<Mutex<State>>);

enum Luck {
    Good,
    Bad,
}

impl SimulatedDisk {
    pub(super) fn new(seed: u64) -> Self {
        let state =
            State { segments: BTreeMap::new(), random: Random(seed), fault: Fault::None, calls: 0, crashed: false };
        Self(std::sync::Arc::new(Mutex::new(state)))
    }

    pub(super) fn set(&self, fault: Fault) {
        self.state().fault = fault;
    }

    /// Turns it on again after a crash; returns whether there was one.
    pub(super) fn reboot(&self) -> bool {
        let mut state = self.state();
        state.fault = Fault::None;
        std::mem::take(&mut state.crashed)
    }

    /// Changes one bit of what is stored.
    pub(super) fn rot(&self, segment: u32, offset: usize, bit: u8) {
        if let Some(byte) = self.state().segments.get_mut(&segment).and_then(|bytes| bytes.get_mut(offset)) {
            *byte ^= 1 << (bit % 8);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    /// Counts a call that changes something.
    fn changing(&mut self) -> Result<Luck, EvidenceError> {
        self.reading()?;
        match &mut self.fault {
            Fault::CrashIn(0) => {
                self.crashed = true;
                Ok(Luck::Bad)
            }
            Fault::CrashIn(left) => {
                *left -= 1;
                Ok(Luck::Good)
            }
            Fault::FailEvery(n) if self.calls.is_multiple_of(*n) => Ok(Luck::Bad),
            _ => Ok(Luck::Good),
        }
    }

    /// Counts a call that changes nothing.
    fn reading(&mut self) -> Result<(), EvidenceError> {
        self.calls += 1;
        if self.crashed { Err(failed("the power is off")) } else { Ok(()) }
    }

    /// Each sector reaches the disk, or does not.
    fn write(&mut self, number: u32, offset: u64, bytes: &[u8], luck: &Luck) -> Result<(), EvidenceError> {
        let Some(segment) = self.segments.get_mut(&number) else { return Err(failed("no such segment")) };
        let start = usize::try_from(offset).unwrap();
        // Sometimes everything got through before the power went, sometimes nothing.
        let (all, nothing) = (self.random.below(8) == 0, self.random.below(8) == 0);
        for (index, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
            let lands = match luck {
                Luck::Good => true,
                Luck::Bad => all || (!nothing && self.random.below(2) == 0),
            };
            if lands {
                let at = start + index * SECTOR_BYTES;
                segment[at..at + sector.len()].copy_from_slice(sector);
            }
        }
        match luck {
            Luck::Good => Ok(()),
            Luck::Bad => Err(failed("input/output error")),
        }
    }
}

fn failed(reason: &str) -> EvidenceError {
    EvidenceError::Io { action: "use", path: "the simulated disk".into(), reason: reason.to_owned() }
}

impl Disk for SimulatedDisk {
    fn segments(&self) -> Result<Vec<u32>, EvidenceError> {
        let mut state = self.state();
        state.reading()?;
        Ok(state.segments.keys().copied().collect())
    }

    fn reader(&self, number: u32) -> Result<Option<Box<dyn ReadSegment>>, EvidenceError> {
        let mut state = self.state();
        state.reading()?;
        Ok(state.segments.contains_key(&number).then(|| Box::new(Open(self.clone(), number)) as Box<dyn ReadSegment>))
    }

    fn writer(&self, number: u32, _: Durability, _: u64) -> Result<Box<dyn WriteSegment>, EvidenceError> {
        let mut state = self.state();
        state.reading()?;
        if state.segments.contains_key(&number) {
            Ok(Box::new(Open(self.clone(), number)))
        } else {
            Err(failed("absent"))
        }
    }

    fn create(&self, number: u32, bytes: u64) -> Result<(), EvidenceError> {
        let mut state = self.state();
        if state.fault == Fault::Full {
            return Err(failed("no space left on device"));
        }
        match state.changing()? {
            Luck::Good => {
                state.segments.insert(number, vec![0; usize::try_from(bytes).unwrap()]);
                Ok(())
            }
            // It is renamed into place when it is whole.
            Luck::Bad => Err(failed("input/output error")),
        }
    }

    fn zero(&self, number: u32, from: u64, until: u64) -> Result<(), EvidenceError> {
        let mut state = self.state();
        let luck = state.changing()?;
        state.write(number, from, &vec![0; usize::try_from(until - from).unwrap()], &luck)
    }

    fn extend(&self, number: u32, bytes: u64) -> Result<(), EvidenceError> {
        let mut state = self.state();
        let bytes = usize::try_from(bytes).unwrap();
        if state.segments.get(&number).is_some_and(|segment| segment.len() < bytes) {
            state.changing()?;
            state.segments.get_mut(&number).unwrap().resize(bytes, 0);
        }
        Ok(())
    }

    fn remove(&self, number: u32) -> Result<(), EvidenceError> {
        let mut state = self.state();
        match state.changing()? {
            Luck::Good => {
                state.segments.remove(&number);
                Ok(())
            }
            Luck::Bad => Err(failed("input/output error")),
        }
    }

    fn sync(&self, _: u32) -> Result<(), EvidenceError> {
        self.state().reading()
    }
}

/// An open segment.
struct Open(SimulatedDisk, u32);

impl ReadSegment for Open {
    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, EvidenceError> {
        let mut state = self.0.state();
        state.reading()?;
        if let Fault::FailEvery(n) = state.fault
            && state.calls.is_multiple_of(n)
        {
            return Err(failed("input/output error"));
        }
        let Some(segment) = state.segments.get(&self.1) else { return Ok(Vec::new()) };
        let start = usize::try_from(offset).unwrap().min(segment.len());
        Ok(segment[start..(start + length).min(segment.len())].to_vec())
    }
}

impl WriteSegment for Open {
    fn bytes(&self) -> u64 {
        self.0.state().segments.get(&self.1).map_or(0, |segment| segment.len() as u64)
    }

    fn is_direct(&self) -> bool {
        true
    }

    fn write(&self, block: &[u8], offset: u64) -> Result<(), EvidenceError> {
        let mut state = self.0.state();
        let luck = state.changing()?;
        state.write(self.1, offset, block, &luck)
    }

    fn check(&self, _: Option<(u64, usize, u32)>) -> Result<(), EvidenceError> {
        Ok(())
    }
}
