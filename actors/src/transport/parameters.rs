//! The transport parameters of a node's connections.

use std::{sync::Arc, time::Duration};

/// How many streams a peer may have open at once in the beginning. Every stream allowed costs the
/// allowing side about half a kilobyte, used or not.
pub const STREAMS_MIN: u32 = 100;

/// The most streams that a busy peer is allowed to have open at once.
pub const STREAMS_MAX: u32 = 1024;

/// How many bytes of a connection may have come and not been read, over all its streams.
pub const RECEIVE_WINDOW: u32 = 16 << 20;

/// The transport parameters of every connection.
pub fn parameters() -> Arc<quinn::TransportConfig> {
    let mut config = quinn::TransportConfig::default();
    let idle = Duration::from_secs(15);
    config
        .max_concurrent_bidi_streams(STREAMS_MIN.into())
        .max_concurrent_uni_streams(0_u8.into())
        .receive_window(RECEIVE_WINDOW.into())
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(idle.try_into().expect("15 s is a valid idle timeout")));
    Arc::new(config)
}

/// How many streams a peer that has `open` of the `allowed` ones should be allowed from now on, if
/// more than before: idle connections stay cheap, busy ones are not throttled.
pub fn more_streams(open: u32, allowed: u32) -> Option<u32> {
    (open > allowed / 4 * 3 && allowed < STREAMS_MAX).then(|| (allowed * 4).min(STREAMS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_peer_is_allowed_more_streams_up_to_the_limit() {
        assert_eq!(more_streams(75, STREAMS_MIN), None);
        assert_eq!(more_streams(76, STREAMS_MIN), Some(400));
        assert_eq!(more_streams(301, 400), Some(STREAMS_MAX));
        assert_eq!(more_streams(STREAMS_MAX, STREAMS_MAX), None);
    }
}
