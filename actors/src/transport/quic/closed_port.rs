//! Asking whether a UDP port is closed.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use tokio::{net::UdpSocket, time::timeout};

/// Whether the machine at `address` says `within` a time that its UDP port is closed. A machine says it of its own ports
/// at once; others may be behind something that says nothing, so `false` means that it is not known.
///
/// To a socket that is connected, the ICMP message about it is an error. A node ignores the datagram, as it is none of
/// QUIC.
pub async fn is_port_closed(address: SocketAddr, within: Duration) -> bool {
    let refused = timeout(within, refused(address)).await;
    matches!(refused, Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused)
}

async fn refused(address: SocketAddr) -> io::Result<()> {
    // An endpoint for both families has the older one's addresses in the form of the newer one.
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    let here: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((here, 0)).await?;
    socket.connect(address).await?;
    socket.send(&[0]).await?;
    socket.recv(&mut [0]).await.map(drop)
}
