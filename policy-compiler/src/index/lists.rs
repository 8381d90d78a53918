//! Many short lists of numbers in one piece of memory.

/// By key, which items.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    /// By key: where its items begin; one more for the end.
    starts: Vec<u32>,
    items: Vec<u32>,
}

impl Lists {
    /// From pairs of key and item; keys are below `keys`.
    pub(crate) fn new(keys: usize, mut pairs: Vec<(u32, u32)>) -> Self {
        pairs.sort_unstable();
        pairs.dedup();
        let mut starts = vec![0_u32; keys + 1];
        for (key, _) in &pairs {
            if let Some(count) = starts.get_mut(*key as usize + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        Self { starts, items: pairs.into_iter().map(|(_, item)| item).collect() }
    }

    /// The items of a key, ascending.
    pub(crate) fn of(&self, key: u32) -> &[u32] {
        let bound = |key: usize| self.starts.get(key).copied().unwrap_or_default() as usize;
        self.items.get(bound(key as usize)..bound(key as usize + 1)).unwrap_or_default()
    }
}
