//! Counts what every thread of this program allocates, for the benchmarks alone. std has no such number, and counting
//! is one addition to a variable of the thread, too little to be seen beside an allocation.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// How often this thread has allocated or reallocated memory so far.
pub(super) fn of_this_thread() -> u64 {
    COUNT.get()
}

fn count() {
    COUNT.set(COUNT.get() + 1);
}

/// The allocator of the system.
struct Counting;

// SAFETY: every call is handed to the system's allocator as it is. Counting neither allocates nor panics: the counter
// needs no memory that is made at its first use, no destructor, and 2^64 allocations take longer than a program runs.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `GlobalAlloc`, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: as above; every pointer comes from the system's allocator.
        unsafe { System.realloc(pointer, layout, bytes) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    fn what_a_thread_allocates_is_counted_for_it_alone() {
        let before = of_this_thread();
        let mut numbers = black_box(Vec::<u64>::with_capacity(4));
        numbers.reserve_exact(black_box(4096));
        drop(black_box(numbers));
        assert_eq!(of_this_thread() - before, 2);
        let elsewhere = std::thread::spawn(|| {
            let before = of_this_thread();
            (0..100).for_each(|number| drop(black_box(Box::new(number))));
            of_this_thread() - before
        });
        let before = of_this_thread();
        assert_eq!(elsewhere.join().unwrap(), 100);
        assert!(of_this_thread() - before < 100);
    }
}
