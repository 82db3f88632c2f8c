//! The transport parameters of a node's connections, and the socket below them.

use quinn::congestion::{BbrConfig, ControllerFactory, CubicConfig, NewRenoConfig};
use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
};
use swarm_protocols::session::Timing;

/// How many streams a peer may have open at once in the beginning. Every stream allowed costs the
/// allowing side about half a kilobyte, used or not.
pub const STREAMS_MIN: u32 = 100;

/// The most streams that a busy peer is allowed to have open at once.
pub const STREAMS_MAX: u32 = 1024;

/// How many bytes of a connection may have come and not been read, over all its streams. A node divides
/// [its memory](crate::NodeConfig::memory_bytes) among its connections, and gives each this much where it has few.
pub const RECEIVE_WINDOW: u32 = 16 << 20;

/// The longest datagram that is sent and taken, where the path carries it, in bytes: QUIC finds that out (RFC 8899), and
/// begins with 1,200. Ten of them are handed to the system at once, which takes 65,507 bytes.
const DATAGRAM_BYTES_MAX: u16 = 6_500;

/// How many bytes the system is asked to hold in each direction for a node between two of its looks, as far as it
/// [allows](https://docs.kernel.org/admin-guide/sysctl/net.html#rmem-max). What finds no room is lost: of long datagrams
/// in bursts the 208 KiB of a Linux by default lose so many that a connection comes down to a fraction of its rate.
const SOCKET_BYTES: usize = 4 << 20;

/// How a connection finds out how fast its path takes data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CongestionControl {
    /// CUBIC (RFC 9438): takes a loss for a sign that a queue is full.
    #[default]
    Cubic,
    /// NewReno (RFC 9002): likewise, and recovers slowly where the round trip is long.
    NewReno,
    /// BBR: goes by delivery rate and round trip, so that random losses, as of radio links, do not slow it down. That of
    /// [`quinn`], which calls it experimental.
    Bbr,
}

/// How many bytes a connection sends before it has heard how its path takes them: 32 packets, as Chromium does. With the
/// ten of RFC 9002 two datagrams of full length would be more than it may send, and what comes behind a probe of the path
/// would wait several round trips.
const INITIAL_WINDOW: u64 = 32 * 1_200;

impl CongestionControl {
    fn factory(self) -> Arc<dyn ControllerFactory + Send + Sync> {
        match self {
            Self::Cubic => Arc::new(CubicConfig::default().initial_window(INITIAL_WINDOW).clone()),
            Self::NewReno => Arc::new(NewRenoConfig::default().initial_window(INITIAL_WINDOW).clone()),
            Self::Bbr => Arc::new(BbrConfig::default().initial_window(INITIAL_WINDOW).clone()),
        }
    }
}

/// The transport parameters of the connections of a node whose sessions wait so long.
///
/// A session finds out by itself whether its peer is silent, and has to be the first: QUIC gives up half as long again
/// after. It sends nothing by itself to keep a connection alive, as the heartbeat of a session does that.
pub fn parameters(timing: &Timing, congestion: CongestionControl) -> quinn::TransportConfig {
    let mut config = quinn::TransportConfig::default();
    let idle = timing.silence + timing.silence / 2;
    let mut discovery = quinn::MtuDiscoveryConfig::default();
    discovery.upper_bound(DATAGRAM_BYTES_MAX);
    config
        .mtu_discovery_config(Some(discovery))
        .congestion_controller_factory(congestion.factory())
        .max_concurrent_bidi_streams(STREAMS_MIN.into())
        .max_concurrent_uni_streams(0_u8.into())
        .receive_window(RECEIVE_WINDOW.into())
        .datagram_receive_buffer_size(None)
        // One that QUIC cannot count is longer than any session lasts.
        .max_idle_timeout(idle.try_into().ok());
    config
}

/// An endpoint on a socket of its own with long buffers, for connections whose configurations have these [`parameters`]. It
/// takes datagrams as long as they send.
///
/// # Errors
/// Where no socket can be bound to the address, or there is no runtime.
pub fn endpoint(
    mut config: quinn::EndpointConfig,
    server: Option<quinn::ServerConfig>,
    address: SocketAddr,
) -> io::Result<quinn::Endpoint> {
    let socket = UdpSocket::bind(address)?;
    let options = socket2::SockRef::from(&socket);
    // As far as the system lets them grow.
    let _ = options.set_recv_buffer_size(SOCKET_BYTES);
    let _ = options.set_send_buffer_size(SOCKET_BYTES);
    if let (Ok(receive), Ok(send)) = (options.recv_buffer_size(), options.send_buffer_size())
        && receive.min(send) < SOCKET_BYTES
    {
        tracing::debug!(receive, send, "the buffers of the socket are shorter than {SOCKET_BYTES} bytes");
    }
    config.max_udp_payload_size(DATAGRAM_BYTES_MAX).map_err(io::Error::other)?;
    let runtime = quinn::default_runtime().ok_or_else(|| io::Error::other("there is no runtime"))?;
    quinn::Endpoint::new(config, server, socket, runtime)
}

/// How many streams a peer that has `open` of the `allowed` ones should be allowed from now on, if
/// more than before: idle connections stay cheap, busy ones are not throttled.
pub fn more_streams(open: u32, allowed: u32) -> Option<u32> {
    (open > allowed / 4 * 3 && allowed < STREAMS_MAX).then(|| (allowed * 4).min(STREAMS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Authority, EarlyData, KeyExchange, Validity, server_name};
    use quinn::congestion::{Bbr, Cubic, NewReno};
    use std::time::{Duration, SystemTime};
    use swarm_protocols::Role;

    #[test]
    fn s6_quic_gives_up_on_a_silent_peer_after_the_session_does() {
        for seconds in [10, 60, 86_400] {
            let timing = Timing { silence: Duration::from_secs(seconds), ..Timing::default() };
            let idle = format!("max_idle_timeout: Some({})", seconds * 1_500);
            let written = format!("{:?}", parameters(&timing, CongestionControl::default()));
            assert!(written.contains(&idle), "{written}");
        }
    }

    /// Both ends of a connection over loopback.
    async fn connected(parameters: quinn::TransportConfig) -> [quinn::Connection; 2] {
        let day = Validity::starting(SystemTime::now(), Duration::from_secs(86_400)).unwrap();
        let authority = Authority::new("paths", day).unwrap();
        let issue = |id: &str, role| authority.issue(&id.parse().unwrap(), role, day).unwrap();
        let (listener, dialler) = (issue("hub", Role::Coordinator), issue("a", Role::Agent));
        let parameters = Arc::new(parameters);
        let mut server = listener.server_config(KeyExchange::default(), EarlyData::Refused);
        server.transport_config(Arc::clone(&parameters));
        let mut client = dialler.client_config(None, KeyExchange::default(), EarlyData::Refused);
        client.transport_config(parameters);
        let (config, loopback) = (quinn::EndpointConfig::default(), SocketAddr::from(([127, 0, 0, 1], 0)));
        let listening = endpoint(config.clone(), Some(server), loopback).unwrap();
        let dialling = endpoint(config, None, loopback).unwrap();
        let address = listening.local_addr().unwrap();
        let (from, to) = futures_util::join!(
            async { dialling.connect_with(client, address, server_name(None)).unwrap().await.unwrap() },
            async { listening.accept().await.unwrap().await.unwrap() },
        );
        [from, to]
    }

    #[actix_rt::test]
    async fn datagrams_grow_to_what_the_path_carries() {
        let [from, to] = connected(parameters(&Timing::default(), CongestionControl::default())).await;
        let grows = async {
            while [&from, &to].iter().any(|end| end.stats().path.current_mtu < DATAGRAM_BYTES_MAX) {
                let (mut send, mut recv) = from.open_bi().await.unwrap();
                send.write_all(&[7]).await.unwrap();
                send.finish().unwrap();
                let (mut answer, mut asked) = to.accept_bi().await.unwrap();
                answer.write_all(&asked.read_to_end(1).await.unwrap()).await.unwrap();
                answer.finish().unwrap();
                assert_eq!(recv.read_to_end(1).await.unwrap(), [7]);
            }
        };
        tokio::time::timeout(Duration::from_secs(20), grows).await.expect("loopback carries them");
    }

    #[actix_rt::test]
    async fn a_connection_is_controlled_as_it_was_asked_for() {
        for congestion in [CongestionControl::Cubic, CongestionControl::NewReno, CongestionControl::Bbr] {
            let [from, _to] = connected(parameters(&Timing::default(), congestion)).await;
            let state = from.congestion_state().into_any();
            let found = [state.is::<Cubic>(), state.is::<NewReno>(), state.is::<Bbr>()];
            let asked = [CongestionControl::Cubic, CongestionControl::NewReno, CongestionControl::Bbr]
                .map(|of| of == congestion);
            assert_eq!(found, asked);
            assert_eq!(from.congestion_state().initial_window(), INITIAL_WINDOW);
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
