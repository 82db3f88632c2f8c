//! Timing two sides in turns, so that whatever disturbs the machine disturbs both. What is measured is the processor time
//! of the thread: that of other processes, which would come between the turns of the slower side, does not count.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::bench::median;

/// Milliseconds of both sides, medians.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timed {
    pub(super) swarm_ms: f64,
    pub(super) floor_ms: f64,
}

impl Timed {
    /// As a figure in another unit, or of a part of what was timed.
    pub(super) fn times(self, factor: f64) -> Self {
        Self { swarm_ms: self.swarm_ms * factor, floor_ms: self.floor_ms * factor }
    }
}

/// Takes both sides through `inputs`, one input after the other, until each side had its `time` and every input its
/// turn. The medians are over all turns. The first input is a warm-up and comes again.
pub(super) fn in_turns<I: Copy, R, S>(
    time: Duration,
    inputs: &[I],
    mut swarm: impl FnMut(I) -> R,
    mut floor: impl FnMut(I) -> S,
) -> Timed {
    let (mut swarm_ms, mut floor_ms) = (Vec::new(), Vec::new());
    if let Some(&first) = inputs.first() {
        black_box(swarm(first));
        black_box(floor(first));
    }
    let began = Instant::now();
    while swarm_ms.len() < inputs.len() || began.elapsed() < 2 * time {
        let input = inputs[swarm_ms.len() % inputs.len()];
        swarm_ms.push(milliseconds(|| swarm(input)));
        floor_ms.push(milliseconds(|| floor(input)));
    }
    Timed { swarm_ms: median(&mut swarm_ms), floor_ms: median(&mut floor_ms) }
}

/// The same for a control that takes much longer than ours: ours has a turn before and one after each of its turns.
pub(super) fn around<R, S>(
    time: Duration,
    mut swarm: impl FnMut() -> R,
    mut floor: impl FnMut() -> S,
) -> Timed {
    let (mut swarm_ms, mut floor_ms) = (Vec::new(), Vec::new());
    black_box(swarm());
    let began = Instant::now();
    while floor_ms.is_empty() || began.elapsed() < 2 * time {
        swarm_ms.push(milliseconds(&mut swarm));
        floor_ms.push(milliseconds(&mut floor));
        swarm_ms.push(milliseconds(&mut swarm));
        swarm_ms.push(milliseconds(&mut swarm));
    }
    Timed { swarm_ms: median(&mut swarm_ms), floor_ms: median(&mut floor_ms) }
}

fn milliseconds<R>(work: impl FnOnce() -> R) -> f64 {
    let began = processor_time();
    black_box(work());
    (processor_time() - began).as_secs_f64() * 1e3
}

/// What this thread has used so far.
#[cfg(unix)]
fn processor_time() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Where there is no such clock, the time that passed.
#[cfg(not(unix))]
fn processor_time() -> Duration {
    static BEGAN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    BEGAN.elapsed()
}
