//! Asking whether a UDP port is closed.

use std::{
    future::pending,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    net::UdpSocket,
    time::{sleep, timeout},
};

/// What is said of an address whose port is closed.
pub const NOBODY_LISTENS: &str = "nobody listens there; a node listens on a UDP port";

/// How long somebody has to be heard after another machine has said that a port is closed: a firewall there may say so to
/// the port that asks, and let the one through that dials.
const OTHERS_MAX: Duration = Duration::from_secs(1);

/// How long somebody who is there usually takes to answer.
const ANSWER_USUAL: Duration = Duration::from_millis(20);

/// Whose port is closed.
enum Closed {
    OfThisMachine,
    OfAnother,
}

/// Whether the machine at `address` says `within` a time that its UDP port is closed. A machine says it of its own ports
/// at once; others may be behind something that says nothing, so `false` means that it is not known.
pub async fn is_port_closed(address: SocketAddr, within: Duration) -> bool {
    timeout(within, closed(address)).await.is_ok_and(|closed| closed.is_some())
}

/// Completes when nobody is going to answer from `address`: at once where it is of this machine and its port is closed, a
/// second after another machine has said so, and never where nothing is said.
pub(crate) async fn nobody_listens(address: SocketAddr) {
    // Most answer before that, and the question is not needed.
    sleep(ANSWER_USUAL).await;
    match closed(address).await {
        Some(Closed::OfThisMachine) => {}
        Some(Closed::OfAnother) => sleep(OTHERS_MAX).await,
        None => pending().await,
    }
}

/// Waits until it is said that the port is closed; `None` where it cannot be asked, or somebody answers.
///
/// To a socket that is connected, the ICMP message about it is an error. A node ignores the datagram, as it is none of
/// QUIC.
async fn closed(address: SocketAddr) -> Option<Closed> {
    // An endpoint for both families has the older one's addresses in the form of the newer one.
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    let here: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((here, 0)).await.ok()?;
    socket.connect(address).await.ok()?;
    socket.send(&[0]).await.ok()?;
    let refused =
        socket.recv(&mut [0]).await.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
    // What a machine sends to itself comes from where it goes.
    let is_own = address.ip().is_loopback() || socket.local_addr().is_ok_and(|own| own.ip() == address.ip());
    refused.then_some(if is_own { Closed::OfThisMachine } else { Closed::OfAnother })
}
