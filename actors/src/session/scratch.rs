//! A buffer for what is encoded, and copied or taken at once.

use std::cell::Cell;

/// A buffer that has grown beyond this is not kept.
const KEPT_BYTES_MAX: usize = 64 << 10;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Hands an empty buffer to `work`. Its memory is that of the last time, so that a small message
/// costs no allocation of its own; within `work` another call gets another buffer.
pub(crate) fn with_scratch<T>(work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let mut buffer = BUFFER.take();
    let result = work(&mut buffer);
    if buffer.capacity() <= KEPT_BYTES_MAX {
        buffer.clear();
        BUFFER.set(buffer);
    }
    result
}
