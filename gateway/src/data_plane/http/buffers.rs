//! Receive buffers of one core, used again and again.

use std::cell::RefCell;

/// What one read may bring at most, in bytes; also the default bound of a request's head.
const BUFFER_BYTES: usize = 32 * 1024;
/// Buffers that are kept while nobody needs them.
const KEPT_MAX: usize = 64;

thread_local! {
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer with whatever was in it before.
pub(super) fn take() -> Vec<u8> {
    KEPT.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; BUFFER_BYTES])
}

/// Keeps the buffer for the next who needs one; not one that has grown.
pub(super) fn give_back(buffer: Vec<u8>) {
    if buffer.len() == BUFFER_BYTES {
        // While the thread ends there is nothing to keep it in.
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.len() < KEPT_MAX {
                kept.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_unless_they_grew() {
        let mut first = take();
        first[0] = 7;
        let place = first.as_ptr();
        give_back(first);
        let again = take();
        assert_eq!((again.as_ptr(), again.len()), (place, BUFFER_BYTES));
        give_back(vec![0; 2 * BUFFER_BYTES]);
        give_back(Vec::new());
        assert_eq!(KEPT.with_borrow(Vec::len), 0);
        (0..2 * KEPT_MAX).for_each(|_| give_back(vec![0; BUFFER_BYTES]));
        assert_eq!(KEPT.with_borrow(Vec::len), KEPT_MAX);
    }
}
