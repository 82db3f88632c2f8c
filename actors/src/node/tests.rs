//! Two nodes that ask each other: over QUIC on loopback where sockets and certificates matter, in
//! memory and in virtual time where only the order of events does.

use super::*;
use crate::{
    AskError, Call, Mailbox, Priority,
    identity::{Authority, Validity},
    testing::{Asked, Cut, MemoryNode, Probe, pair},
};
use actix::{Actor, Context, Handler};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    time::{Duration, SystemTime},
};
use swarm_protocols::{Delivery, DeliveryError, NoError, Request, protocol};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Echo(Vec<u8>);

impl Request for Echo {
    const NAME: &'static str = "echo";
    const VERSION: u16 = 1;
    type Reply = Vec<u8>;
    type Error = NoError;
}

#[derive(Debug, Serialize, Deserialize)]
enum Misbehave {
    Fail,
    Panic,
    PanicLater,
    Stop,
    Never,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

impl Request for Misbehave {
    const NAME: &'static str = "misbehave";
    const VERSION: u16 = 1;
    type Reply = ();
    type Error = Refusal;
}

protocol! { Service = "service" { Echo, Misbehave } }

struct Server;

impl Actor for Server {
    type Context = Context<Self>;
}

impl Handler<Call<Echo>> for Server {
    type Result = Result<Vec<u8>, NoError>;

    fn handle(&mut self, call: Call<Echo>, _: &mut Self::Context) -> Self::Result {
        Ok(call.request.0)
    }
}

impl Handler<Call<Misbehave>> for Server {
    type Result = crate::Answer<Misbehave>;

    fn handle(&mut self, call: Call<Misbehave>, context: &mut Self::Context) -> Self::Result {
        match call.request {
            Misbehave::Panic => panic!("as the test wants"),
            Misbehave::Stop => actix::ActorContext::stop(context),
            _ => {}
        }
        call.answer(async |call| match call.request {
            Misbehave::Fail => Err(Refusal("no".into())),
            Misbehave::PanicLater => panic!("as the test wants"),
            _ => std::future::pending().await,
        })
    }
}

fn server() -> Mailbox<Service> {
    Mailbox::local(Server.start()).handles::<Echo>().handles::<Misbehave>().build().unwrap()
}

fn memory(id: &str, role: Role) -> MemoryNode {
    MemoryNode::new(id, role)
}

/// A caller and a callee in memory, the callee's mailbox being a probe.
async fn probed() -> (Mailbox<Service>, Probe<Service>, Registration, Cut, [Node; 2]) {
    let (a, b, cut) = pair(memory("a", Role::Operator), memory("b", Role::Agent)).await;
    let (mailbox, probe) = Probe::new();
    let registration = b.expose("service", mailbox).allow(Role::Operator).register().await.unwrap();
    let remote = resolve_soon(&a, "b/service").await.unwrap();
    (remote, probe, registration, cut, [a, b])
}

/// Exposing is told to the peer in a frame that takes its time.
async fn resolve_soon<P: Protocol>(node: &Node, address: &str) -> Result<Mailbox<P>, ResolveError> {
    let found = async {
        loop {
            match node.resolve(address).await {
                Err(ResolveError::NotFound { .. }) => tokio::task::yield_now().await,
                other => return other,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(5), found).await.expect("the mailbox is never announced")
}

/// A caller `a` and a callee `b` that exposes a [`Server`], over QUIC on loopback.
async fn over_quic() -> (Mailbox<Service>, Registration, [Node; 2]) {
    let day = Validity::starting(SystemTime::now(), Duration::from_secs(86_400)).unwrap();
    let authority = Authority::new("test", day).unwrap();
    let start = async |id: &str, role| {
        let identity = authority.issue(&id.parse().unwrap(), role, day).unwrap();
        Node::start(NodeConfig::new(identity, "127.0.0.1:0".parse().unwrap())).await.unwrap()
    };
    let (a, b) = (start("a", Role::Operator).await, start("b", Role::Agent).await);
    let registration = b.expose("service", server()).allow(Role::Operator).register().await.unwrap();
    let peer = a.connect("b".parse().unwrap(), b.address().unwrap()).await.unwrap();
    assert_eq!((peer.node.as_str(), peer.role), ("b", Role::Agent));
    (a.resolve("b/service").await.unwrap(), registration, [a, b])
}

#[actix::test]
async fn requests_of_every_size_come_back_over_quic() {
    let (service, _registration, nodes) = over_quic().await;
    for bytes in [0, 1, 63, 1_300, 16_300, 16_400, 1 << 20, 5 << 20] {
        let sent: Vec<u8> = (0..bytes).map(|i| (i % 251) as u8).collect();
        assert_eq!(service.ask(Echo(sent.clone())).await, Ok(sent.clone()), "{bytes} bytes");
        assert_eq!(service.ask(Echo(sent.clone())).on_own_stream().await, Ok(sent), "{bytes} bytes");
    }
    let statistics = nodes[0].statistics().await.unwrap();
    assert_eq!((statistics.sessions, statistics.sent, statistics.received), (1, 16, 0));
    assert!(statistics.p50.is_some() && statistics.p50 <= statistics.p99);
}

#[actix::test]
async fn many_requests_in_flight_get_their_own_answers() {
    let (service, _registration, _nodes) = over_quic().await;
    let asks = (0..2_000_u32).map(async |i| {
        let ask = service.ask(Echo(i.to_le_bytes().to_vec()));
        let answer = match i % 4 {
            0 => ask.on_own_stream().await,
            1 => ask.priority(Priority::High).await,
            2 => ask.priority(Priority::Low).await,
            _ => ask.await,
        };
        assert_eq!(answer, Ok(i.to_le_bytes().to_vec()));
    });
    futures_util::future::join_all(asks).await;
}
