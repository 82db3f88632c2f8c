//! Which requests have no answer yet, and who works on them.

use crate::call::{CallKey, CallState};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Numbers below this are found by position, where those before them came too. Callers that give the smallest free
/// number stay below, as no more requests than that may be in flight unless a node raises its limit.
const DENSE: u64 = 4096;

/// Why a request is not begun.
pub(in crate::session) enum Unfit {
    /// It has the number of another one that is not answered yet.
    Duplicate,
    /// Nobody takes answers any more.
    Closed,
}

/// The requests that have no answer yet, by their number.
#[derive(Default)]
pub(super) struct Unanswered {
    dense: Vec<Option<Entry>>,
    sparse: HashMap<u64, Entry>,
    count: usize,
    serial: u32,
}

pub(super) struct Entry {
    /// Which of the requests that had this number.
    serial: u32,
    stage: Stage,
}

enum Stage {
    /// Nobody asked whether it is cancelled.
    Unwatched,
    Cancelled,
    Watched(Arc<CallState>),
}

impl Unanswered {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes note of a request; one that had its number is cancelled, and so is the stream.
    pub(super) fn insert(&mut self, correlation: u64, stream: Option<u32>) -> Result<CallKey, Unfit> {
        let number = number(correlation, stream);
        self.serial = self.serial.wrapping_add(1);
        let entry = Entry { serial: self.serial, stage: Stage::Unwatched };
        // A number takes no more room than one request, whichever the peer chooses.
        if number < DENSE && position(number) == self.dense.len() {
            self.dense.push(self.sparse.remove(&number));
        }
        let before = match self.dense.get_mut(position(number)) {
            Some(dense) => dense.replace(entry),
            None => self.sparse.insert(number, entry),
        };
        self.count += usize::from(before.is_none());
        match before {
            Some(before) => {
                if let Stage::Watched(state) = before.stage {
                    state.cancel();
                }
                Err(Unfit::Duplicate)
            }
            None => Ok(CallKey { correlation, stream, serial: self.serial }),
        }
    }

    /// The request of this number.
    pub(super) fn get(&mut self, number: u64) -> Option<&mut Entry> {
        match self.dense.get_mut(position(number)) {
            Some(dense) => dense.as_mut(),
            None => self.sparse.get_mut(&number),
        }
    }

    /// The request of this key, if that is not answered.
    pub(super) fn find(&mut self, key: CallKey) -> Option<&mut Entry> {
        self.get(number(key.correlation, key.stream)).filter(|entry| entry.serial == key.serial)
    }

    /// Takes a request off, with what it is watched with.
    pub(super) fn remove(&mut self, key: CallKey, cancelled: &AtomicUsize) -> Option<Arc<CallState>> {
        self.find(key)?;
        let number = number(key.correlation, key.stream);
        let removed = match self.dense.get_mut(position(number)) {
            Some(dense) => dense.take(),
            None => self.sparse.remove(&number),
        };
        self.count -= 1;
        match removed?.stage {
            Stage::Watched(state) => Some(state),
            Stage::Unwatched => None,
            Stage::Cancelled => {
                cancelled.fetch_sub(1, Ordering::Release);
                None
            }
        }
    }

    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.dense.iter_mut().flatten().chain(self.sparse.values_mut())
    }
}

/// That under which a request is found: the peer chooses that of those that share a stream.
fn number(correlation: u64, stream: Option<u32>) -> u64 {
    stream.map_or(correlation, u64::from)
}

fn position(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl Entry {
    /// Whether it was cancelled, and nobody watches it.
    pub(super) fn is_cancelled(&self) -> bool {
        matches!(self.stage, Stage::Cancelled)
    }

    /// Cancels it, and counts it among the `cancelled` where nobody watches it.
    pub(super) fn cancel(&mut self, cancelled: &AtomicUsize) {
        match &self.stage {
            Stage::Watched(state) => state.cancel(),
            Stage::Cancelled => {}
            Stage::Unwatched => {
                self.stage = Stage::Cancelled;
                cancelled.fetch_add(1, Ordering::Release);
            }
        }
    }

    /// The state of the call, made when it is first asked for.
    pub(super) fn watch(&mut self, cancelled: &AtomicUsize) -> Arc<CallState> {
        if let Stage::Watched(state) = &self.stage {
            return Arc::clone(state);
        }
        let state = Arc::<CallState>::default();
        if matches!(self.stage, Stage::Cancelled) {
            cancelled.fetch_sub(1, Ordering::Release);
            state.cancel();
        }
        self.stage = Stage::Watched(Arc::clone(&state));
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a7_a_request_takes_the_room_of_one_whatever_its_number_is() {
        let mut unanswered = Unanswered::default();
        let keys = [4_095, 1, 0, 1 << 40].map(|number| unanswered.insert(number, None).ok().unwrap());
        assert_eq!((unanswered.count, unanswered.dense.len()), (4, 1));
        for key in keys {
            assert!(
                unanswered.find(key).is_some() && unanswered.insert(key.correlation, None).is_err(),
                "{key:?}"
            );
        }
        let again = [1, 2].map(|number| unanswered.insert(number, None).ok());
        assert!(again[0].is_none() && again[1].is_some() && unanswered.dense.len() == 3);
        let numbers = unanswered.all().count();
        assert_eq!((unanswered.count, numbers), (5, 5));
    }
}
