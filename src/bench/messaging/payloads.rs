//! What is asked, and what must come back: the same for all sides.

use std::cell::Cell;

use super::MessagingError;

/// Where the number of a request stands in its payload.
const NUMBER_BYTES: usize = size_of::<u64>();

/// Makes payloads of one length, each with the number of its request, and checks their answers.
#[derive(Debug)]
pub(super) struct Payloads {
    filler: Vec<u8>,
    made: Cell<u64>,
}

impl Payloads {
    /// Of so many bytes, at least 8.
    pub(super) fn new(bytes: usize) -> Self {
        Self { filler: (NUMBER_BYTES..bytes).map(|i| (i % 251) as u8).collect(), made: Cell::new(0) }
    }

    pub(super) fn bytes(&self) -> usize {
        NUMBER_BYTES + self.filler.len()
    }

    /// The payload of the next request, and its number.
    pub(super) fn make(&self) -> (u64, Vec<u8>) {
        let mut payload = Vec::with_capacity(self.bytes());
        (self.append(&mut payload), payload)
    }

    /// Appends the payload of the next request and returns its number.
    pub(super) fn append(&self, out: &mut Vec<u8>) -> u64 {
        let number = self.made.get();
        self.made.set(number + 1);
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&self.filler);
        number
    }

    /// Whether it is what request `number` is answered with: the same bytes.
    pub(super) fn check(&self, number: u64, answer: &[u8]) -> Result<(), MessagingError> {
        let Some((head, filler)) = answer.split_first_chunk() else {
            return Err(MessagingError::Wrong("it is too short"));
        };
        if u64::from_le_bytes(*head) != number || filler != self.filler {
            return Err(MessagingError::Wrong("it holds other bytes"));
        }
        Ok(())
    }
}
