//! From a host name to a node that answers.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use swarm_actors::{ConnectError, Wanted};
use tokio::time::timeout;

use super::node_file::PeerAddress;

/// How long looking up a name may take.
const LOOKUP_MAX: Duration = Duration::from_secs(10);

/// The most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// How long one of several addresses has to answer. A single one has as long as the node gives it.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// The addresses of a host, in the order in which the system names them.
pub(crate) async fn look_up(host: &PeerAddress) -> io::Result<Vec<SocketAddr>> {
    let found = timeout(LOOKUP_MAX, tokio::net::lookup_host(host.as_str())).await;
    let mut addresses = Vec::new();
    for address in found.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? {
        if addresses.len() < ADDRESSES_MAX && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(addresses) }
}

/// Connects to the first address where `connect` finds who is `wanted`. If there is none, the error is
/// that of the first address where somebody was, else that of the last.
///
/// # Panics
/// Where there are no addresses.
pub(crate) async fn first_that_answers<T>(
    wanted: &Wanted,
    addresses: &[SocketAddr],
    mut connect: impl AsyncFnMut(SocketAddr) -> Result<T, ConnectError>,
) -> Result<T, ConnectError> {
    let mut failure: Option<ConnectError> = None;
    for &address in addresses {
        let outcome = match addresses {
            [_] => connect(address).await,
            _ => timeout(ANSWER_MAX, connect(address)).await.unwrap_or_else(|_| {
                Err(ConnectError::TimedOut { peer: wanted.clone(), address, after: ANSWER_MAX })
            }),
        };
        match outcome {
            Ok(connected) => return Ok(connected),
            Err(error) => {
                let somebody_was_there =
                    matches!(failure, Some(ConnectError::Refused { .. } | ConnectError::OtherRole { .. }));
                if !somebody_was_there {
                    failure = Some(error);
                }
            }
        }
    }
    Err(failure.expect("there was an address"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_actors::Refusal;
    use swarm_protocols::Role;

    #[test]
    fn every_address_is_tried_and_a_refusal_says_more_than_silence() {
        let wanted = Wanted::Any(Role::Coordinator);
        let addresses: Vec<SocketAddr> = (1..=3).map(|port| ([127, 0, 0, 1], port).into()).collect();
        let silent = |address| ConnectError::TimedOut { peer: wanted.clone(), address, after: ANSWER_MAX };
        let refused = |address| {
            let (refusal, reason) = (Refusal::Certificate, "no".to_owned());
            ConnectError::Refused { peer: wanted.clone(), address, refusal, reason }
        };
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(async {
                let reached = first_that_answers(&wanted, &addresses, async |address| match address.port() {
                    3 => Ok(3),
                    2 => std::future::pending().await,
                    _ => Err(refused(address)),
                });
                assert_eq!(reached.await, Ok(3));
                let failed = first_that_answers(&wanted, &addresses, async |address| match address.port() {
                    2 => Err::<(), _>(refused(address)),
                    _ => Err(silent(address)),
                });
                assert_eq!(failed.await, Err(refused(addresses[1])));
                let failed = first_that_answers(&wanted, &addresses, async |_| {
                    std::future::pending::<Result<(), _>>().await
                });
                assert_eq!(failed.await, Err(silent(addresses[2])));
            });
    }
}
