//! Sharing the memory of a message with what is decoded from it, which serde has no way to say.

use bytes::Bytes;
use std::cell::RefCell;

/// Shorter runs of bytes are copied: they would keep a whole message in memory.
const SHARED_BYTES_MIN: usize = 4 << 10;

thread_local! {
    /// The message that is being decoded.
    static MESSAGE: RefCell<Bytes> = const { RefCell::new(Bytes::new()) };
}

/// Does `decode`, in which parts of `message` can be [shared].
pub(super) fn from<T>(message: &Bytes, decode: impl FnOnce() -> T) -> T {
    if message.len() < SHARED_BYTES_MIN {
        return decode();
    }
    let _restored = Restored(MESSAGE.replace(message.clone()));
    decode()
}

/// Puts back what was there before, also after a panic.
struct Restored(Bytes);

impl Drop for Restored {
    fn drop(&mut self) {
        MESSAGE.set(std::mem::take(&mut self.0));
    }
}

/// The same bytes without a copy, where they are many and lie in the message that is being decoded.
pub(crate) fn shared(bytes: &[u8]) -> Option<Bytes> {
    if bytes.len() < SHARED_BYTES_MIN {
        return None;
    }
    MESSAGE.with_borrow(|message| {
        let (whole, part) = (message.as_ptr_range(), bytes.as_ptr_range());
        (whole.start <= part.start && part.end <= whole.end).then(|| message.slice_ref(bytes))
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        Blob,
        wire::codec::{decode, decode_shared, encode},
    };
    use bytes::Bytes;

    fn lies_in(blob: Blob, message: &Bytes) -> bool {
        message.as_ptr_range().contains(&Bytes::from(blob).as_ptr())
    }

    #[test]
    fn long_blobs_share_the_memory_of_their_message_and_short_ones_do_not() {
        let sent = [4096, 4095, 10_000].map(|length| Blob::from(vec![length as u8; length]));
        let message = Bytes::from(encode(&sent).unwrap());
        let got: [Blob; 3] = decode_shared(&message).unwrap();
        assert_eq!(got, sent);
        assert_eq!(got.map(|blob| lies_in(blob, &message)), [true, false, true]);
    }

    #[test]
    fn what_is_decoded_elsewhere_or_after_a_panic_shares_nothing() {
        #[derive(Debug)]
        struct Panics;
        impl<'de> serde::Deserialize<'de> for Panics {
            fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
                panic!("as a user's code may")
            }
        }
        let message = Bytes::from(encode(&Blob::from(vec![7; 5000])).unwrap());
        let panicked = std::panic::catch_unwind(|| decode_shared::<Panics>(&message).map(drop));
        assert!(panicked.is_err());
        assert!(!lies_in(decode(&message).unwrap(), &message));
    }
}
