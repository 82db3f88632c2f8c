//! The transport parameters of a node's connections.

use swarm_protocols::session::Timing;

/// How many streams a peer may have open at once in the beginning. Every stream allowed costs the
/// allowing side about half a kilobyte, used or not.
pub const STREAMS_MIN: u32 = 100;

/// The most streams that a busy peer is allowed to have open at once.
pub const STREAMS_MAX: u32 = 1024;

/// How many bytes of a connection may have come and not been read, over all its streams. A node divides
/// [its memory](crate::NodeConfig::memory_bytes) among its connections, and gives each this much where it has few.
pub const RECEIVE_WINDOW: u32 = 16 << 20;

/// The transport parameters of the connections of a node whose sessions wait so long.
///
/// A session finds out by itself whether its peer is silent, and has to be the first: QUIC gives up half as long again
/// after. It sends nothing by itself to keep a connection alive, as the heartbeat of a session does that.
pub fn parameters(timing: &Timing) -> quinn::TransportConfig {
    let mut config = quinn::TransportConfig::default();
    let idle = timing.silence + timing.silence / 2;
    config
        .max_concurrent_bidi_streams(STREAMS_MIN.into())
        .max_concurrent_uni_streams(0_u8.into())
        .receive_window(RECEIVE_WINDOW.into())
        .datagram_receive_buffer_size(None)
        // One that QUIC cannot count is longer than any session lasts.
        .max_idle_timeout(idle.try_into().ok());
    config
}

/// How many streams a peer that has `open` of the `allowed` ones should be allowed from now on, if
/// more than before: idle connections stay cheap, busy ones are not throttled.
pub fn more_streams(open: u32, allowed: u32) -> Option<u32> {
    (open > allowed / 4 * 3 && allowed < STREAMS_MAX).then(|| (allowed * 4).min(STREAMS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn s6_quic_gives_up_on_a_silent_peer_after_the_session_does() {
        for seconds in [10, 60, 86_400] {
            let timing = Timing { silence: Duration::from_secs(seconds), ..Timing::default() };
            let idle = format!("max_idle_timeout: Some({})", seconds * 1_500);
            let written = format!("{:?}", parameters(&timing));
            assert!(written.contains(&idle), "{written}");
        }
    }

    #[test]
    fn a_busy_peer_is_allowed_more_streams_up_to_the_limit() {
        assert_eq!(more_streams(75, STREAMS_MIN), None);
        assert_eq!(more_streams(76, STREAMS_MIN), Some(400));
        assert_eq!(more_streams(301, 400), Some(STREAMS_MAX));
        assert_eq!(more_streams(STREAMS_MAX, STREAMS_MAX), None);
    }
}
