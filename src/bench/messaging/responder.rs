//! The answering process. It learns who it is from the first line of its stdin, says on stdout where it listens, says
//! there what it has used at every further line, and ends when its stdin does.

use std::io::{BufRead as _, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use swarm_actors::identity::{EarlyData, Identity, IdentityPem, KeyExchange, PrivateKeyPem};
use swarm_actors::{Mailbox, Node, NodeConfig, transport};
use swarm_protocols::{Role, session::Timing};

use super::MessagingError;
use super::echo::{EchoActor, Echoing};
use super::floor;
use super::usage::Usage;

/// The longest first line that is read.
const ORDERS_BYTES_MAX: u64 = 64 << 10;

/// It ends after this time in any case: twice what the longest run takes.
const LIFETIME: Duration = Duration::from_secs(7200);

/// Who the responder is.
#[derive(Serialize, Deserialize)]
pub(super) struct Orders {
    certificate: String,
    key: String,
    authority: String,
}

/// Where the responder listens.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Addresses {
    pub(super) node: SocketAddr,
    pub(super) floor: SocketAddr,
}

impl Orders {
    pub(super) fn new(identity: &Identity) -> Self {
        let IdentityPem { certificate, key, authority } = identity.to_pem().clone();
        Self { certificate, key: key.as_str().to_owned(), authority }
    }

    pub(super) fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("three texts are valid JSON");
        line.push(b'\n');
        line
    }

    fn read() -> Result<Identity, MessagingError> {
        let mut line = String::new();
        let mut stdin = std::io::stdin().lock().take(ORDERS_BYTES_MAX);
        stdin.read_line(&mut line).map_err(failed)?;
        let Orders { certificate, key, authority } = serde_json::from_str(&line).map_err(failed)?;
        Identity::from_pem(IdentityPem { certificate, key: PrivateKeyPem::new(key), authority })
            .map_err(failed)
    }
}

fn failed(error: impl std::error::Error) -> MessagingError {
    MessagingError::Start(error.to_string())
}

/// Answers until stdin ends.
pub(crate) fn run() -> Result<(), MessagingError> {
    let identity = Orders::read()?;
    let (line, mut lines) = tokio::sync::mpsc::channel(1);
    // A thread of its own, because the end of a runtime would wait for one that reads stdin.
    std::thread::spawn(move || {
        let lines = std::io::stdin().lock().lines();
        for _ in lines.map_while(Result::ok) {
            if line.blocking_send(()).is_err() {
                return;
            }
        }
    });
    actix_rt::System::new().block_on(async {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let node = Node::start(NodeConfig::new(identity.clone(), loopback)).await.map_err(failed)?;
        let mailbox = Mailbox::<Echoing>::start(EchoActor::default());
        node.expose("echo", mailbox).allow(Role::Operator).register().await.map_err(failed)?.detach();

        let mut config = identity.server_config(KeyExchange::default(), EarlyData::Allowed);
        config.transport_config(
            transport::parameters(&Timing::default(), transport::CongestionControl::default()).into(),
        );
        let endpoint =
            transport::endpoint(quinn::EndpointConfig::default(), Some(config), loopback).map_err(failed)?;
        let floor = endpoint.local_addr().map_err(failed)?;
        actix_rt::spawn(floor::serve(endpoint));

        let node = node.address().unwrap_or(loopback);
        say(&Addresses { node, floor })?;
        let answers = async {
            while lines.recv().await.is_some() {
                say(&Usage::now())?;
            }
            Ok(())
        };
        // Its time is over: that is an end like the other.
        tokio::time::timeout(LIFETIME, answers).await.unwrap_or(Ok(()))
    })
}

fn say(what: &impl Serialize) -> Result<(), MessagingError> {
    let line = serde_json::to_string(what).map_err(failed)?;
    writeln!(std::io::stdout(), "{line}").map_err(failed)
}
