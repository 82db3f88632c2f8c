//! From a host and a port to a node that answers there.

use super::{ConnectError, Node, Peer, Wanted};
use futures_util::{StreamExt, stream::FuturesUnordered};
use serde::{Deserialize, Serialize};
use std::{fmt, io, net::SocketAddr, str::FromStr, time::Duration};
use tokio::time::{sleep, timeout};

/// How long looking up a name may take.
const LOOKUP_MAX: Duration = Duration::from_secs(10);

/// The most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// The head start of each address before the next one (RFC 8305, "Connection Attempt Delay").
const HEAD_START: Duration = Duration::from_millis(250);

/// `host:port`, the host an IP address or a name, which is looked up each time when it is connected to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PeerAddress(String);

/// Why a text is no address to connect to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address to connect to: host and port such as 10.0.0.1:7400 are expected")]
pub struct InvalidPeerAddress(String);

impl PeerAddress {
    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The IP addresses of the host, with the port: at least one, at most 8, in the order in which the system names
    /// them.
    pub async fn look_up(&self) -> io::Result<Vec<SocketAddr>> {
        let found = timeout(LOOKUP_MAX, tokio::net::lookup_host(self.as_str())).await;
        let mut addresses = Vec::new();
        for address in found.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? {
            if addresses.len() < ADDRESSES_MAX && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(addresses) }
    }

    /// Races the addresses of a host, of which there is at least one: each has a head start of 250 ms. Where none has
    /// who is looked for, the error is that of the first address where somebody was, else that of the last.
    pub async fn first_that_answers<T, F>(
        addresses: &[SocketAddr],
        connect: impl Fn(SocketAddr) -> F,
    ) -> Result<T, ConnectError>
    where
        F: Future<Output = Result<T, ConnectError>>,
    {
        let mut waiting = addresses.iter().copied();
        let mut attempts = FuturesUnordered::new();
        let mut failure: Option<ConnectError> = None;
        attempts.extend(waiting.next().map(&connect));
        loop {
            let outcome = tokio::select! {
                Some(outcome) = attempts.next() => outcome,
                () = sleep(HEAD_START), if waiting.len() > 0 => {
                    attempts.extend(waiting.next().map(&connect));
                    continue;
                }
            };
            match outcome {
                Ok(connected) => return Ok(connected),
                Err(error) => {
                    let somebody_was_there = matches!(
                        failure,
                        Some(ConnectError::Refused { .. } | ConnectError::OtherRole { .. })
                    );
                    if !somebody_was_there {
                        failure = Some(error);
                    }
                    // The next one need not wait for its turn.
                    attempts.extend(waiting.next().map(&connect));
                }
            }
            if let Some(failure) = failure.take_if(|_| attempts.is_empty()) {
                return Err(failure);
            }
        }
    }
}

impl From<SocketAddr> for PeerAddress {
    fn from(address: SocketAddr) -> Self {
        Self(address.to_string())
    }
}

impl From<PeerAddress> for String {
    fn from(address: PeerAddress) -> Self {
        address.0
    }
}

impl FromStr for PeerAddress {
    type Err = InvalidPeerAddress;

    fn from_str(text: &str) -> Result<Self, InvalidPeerAddress> {
        let named = text.rsplit_once(':').is_some_and(|(host, port)| {
            let label = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
            !host.is_empty() && host.bytes().all(label) && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        let numeric = text.parse::<SocketAddr>().is_ok_and(|address| address.port() > 0);
        if named || numeric {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidPeerAddress(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for PeerAddress {
    type Error = InvalidPeerAddress;
    fn try_from(text: String) -> Result<Self, InvalidPeerAddress> {
        text.parse()
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Node {
    /// Looks the host up, and connects to who is `wanted` at whichever of its addresses answers first: each has a
    /// head start of 250 ms, so a dead first address costs that and no more. Where there is a session with a wanted
    /// node already, that one is returned.
    pub async fn connect_to(&self, wanted: Wanted, address: &PeerAddress) -> Result<Peer, ConnectError> {
        let addresses = address.look_up().await.map_err(|error| ConnectError::Lookup {
            peer: wanted.clone(),
            host: address.to_string(),
            reason: error.to_string(),
        })?;
        PeerAddress::first_that_answers(&addresses, |address| self.dial(wanted.clone(), address)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Refusal;
    use swarm_protocols::Role;
    use tokio::time::Instant;

    const WANTED: Wanted = Wanted::Any(Role::Coordinator);

    fn addresses() -> Vec<SocketAddr> {
        (1..=3).map(|port| ([127, 0, 0, 1], port).into()).collect()
    }

    fn silent(address: SocketAddr) -> ConnectError {
        ConnectError::TimedOut { peer: WANTED, address, after: Duration::from_secs(5) }
    }

    fn refused(address: SocketAddr) -> ConnectError {
        let (refusal, reason) = (Refusal::Certificate, "no".to_owned());
        ConnectError::Refused { peer: WANTED, address, refusal, reason }
    }

    #[tokio::test(start_paused = true)]
    async fn s13_a_dead_first_address_costs_a_head_start_and_no_more() {
        let (began, addresses) = (Instant::now(), addresses());
        let reached = PeerAddress::first_that_answers(&addresses, async |address| match address.port() {
            3 => Ok(3),
            _ => std::future::pending().await,
        });
        assert_eq!(reached.await, Ok(3));
        let took = began.elapsed();
        assert!(took >= 2 * HEAD_START && took < 2 * HEAD_START + Duration::from_millis(10), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn every_address_is_tried_and_a_refusal_says_more_than_silence() {
        let (began, addresses) = (Instant::now(), addresses());
        let failed = PeerAddress::first_that_answers(&addresses, async |address| match address.port() {
            2 => Err::<(), _>(refused(address)),
            _ => Err(silent(address)),
        });
        assert_eq!(failed.await, Err(refused(addresses[1])));
        assert_eq!(began.elapsed(), Duration::ZERO, "nobody waits for an address that has failed");
        let failed = PeerAddress::first_that_answers(&addresses, async |address| {
            sleep(Duration::from_secs(5)).await;
            Err::<(), _>(silent(address))
        });
        assert_eq!(failed.await, Err(silent(addresses[2])));
        assert_eq!(began.elapsed(), 2 * HEAD_START + Duration::from_secs(5));
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["127.0.0.1:7400", "[::1]:7400", "hub.example:7400", "hub:1"] {
            assert_eq!(good.parse::<PeerAddress>().unwrap().as_str(), good);
        }
        for bad in
            ["", "hub", "hub:", ":1", "hub:0", "127.0.0.1:0", "hub:65536", "a b:1", "::1:7400", "hub:x"]
        {
            assert!(bad.parse::<PeerAddress>().is_err(), "{bad:?} passed");
        }
    }
}
