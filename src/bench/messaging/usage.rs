//! What one of the two processes uses.

use serde::{Deserialize, Serialize};

use crate::bench::allocations;

/// What this process has used so far.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Usage {
    /// `None` where the system has no such clock.
    processor_ns: Option<u64>,
    /// Of the thread that everything runs on.
    allocations: u64,
}

impl Usage {
    pub(super) fn now() -> Self {
        Self { processor_ns: processor_ns(), allocations: allocations::of_this_thread() }
    }

    /// Processor time since `before`, in nanoseconds.
    pub(super) fn processor_ns_since(&self, before: &Usage) -> Option<f64> {
        Some((self.processor_ns? - before.processor_ns?) as f64)
    }

    /// Allocations since `before`.
    pub(super) fn allocations_since(&self, before: &Usage) -> f64 {
        (self.allocations - before.allocations) as f64
    }
}

#[cfg(unix)]
fn processor_ns() -> Option<u64> {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Some(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}

#[cfg(not(unix))]
fn processor_ns() -> Option<u64> {
    None
}

/// The memory of another process of this user, where Linux tells. This file is counted page by page; the other
/// numbers that Linux has lag behind by some pages of each processor.
pub(super) fn resident_bytes(process: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
    let kibibytes = text.lines().find_map(|line| line.strip_prefix("Rss:")?.strip_suffix("kB"))?;
    kibibytes.trim().parse::<u64>().ok()?.checked_mul(1024)
}
