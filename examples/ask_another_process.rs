//! Two processes, one question: an actor is exposed in one of them and asked from the other.
//!
//!     cargo run --example ask_another_process
//!
//! The program starts itself a second time as the process that is asked.

use actix::prelude::*;
use actix_swarm::{
    Call, Mailbox, NoError, Node, NodeConfig, Request, Role,
    identity::{Authority, Identity, IdentityPem, PrivateKeyPem, Validity},
    protocol,
};
use serde::{Deserialize, Serialize};
use std::{
    error::Error,
    io::{BufRead, BufReader, Read, Write, stdin},
    net::SocketAddr,
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

// What both processes know: usually a crate of its own, without actix.

#[derive(Serialize, Deserialize, Request)]
#[request(name = "mean", reply = f64)]
struct Mean {
    prices: Vec<f64>,
}

protocol! { Statistics = "statistics" { Mean } }

// The process that is asked.

struct Statistician;

impl Actor for Statistician {
    type Context = Context<Self>;
}

impl Handler<Call<Mean>> for Statistician {
    type Result = Result<f64, NoError>;

    fn handle(&mut self, call: Call<Mean>, _: &mut Self::Context) -> Self::Result {
        let prices = &call.request.prices;
        Ok(prices.iter().sum::<f64>() / prices.len() as f64)
    }
}

async fn serve(identity: Identity) -> Result<(), Box<dyn Error>> {
    let node = Node::start(NodeConfig::new(identity, "127.0.0.1:0".parse()?)).await?;
    let mailbox = Mailbox::start(Statistician);
    let _exposed = node.expose::<Statistics>("statistics", mailbox).allow(Role::Operator).register().await?;
    println!("{}", node.address().ok_or("no socket")?);
    // Until the process that asks closes this one's standard input.
    actix_rt::task::spawn_blocking(|| stdin().read(&mut [0])).await??;
    node.stop(Duration::from_secs(1)).await;
    Ok(())
}

// The process that asks.

async fn ask(identity: Identity, address: SocketAddr) -> Result<f64, Box<dyn Error>> {
    let node = Node::start(NodeConfig::new(identity, "127.0.0.1:0".parse()?)).await?;
    node.connect("agent-1".parse()?, address).await?;
    let statistics: Mailbox<Statistics> = node.resolve("agent-1/statistics").await?;
    let mean = statistics.ask(Mean { prices: vec![395.1, 396.3, 397.5] }).await?;
    node.stop(Duration::from_secs(1)).await;
    Ok(mean)
}

// Starting both; the second one gets its identity through its standard input.

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some("serve") {
        let mut text = Vec::new();
        stdin().lock().read_until(0, &mut text)?;
        let text = String::from_utf8(text)?;
        let [certificate, key, authority] = text.trim_end_matches('\0').split('#').collect::<Vec<_>>()[..]
        else {
            return Err("certificate, key and authority are expected".into());
        };
        let pem = IdentityPem {
            certificate: certificate.to_owned(),
            key: PrivateKeyPem::new(key.to_owned()),
            authority: authority.to_owned(),
        };
        return serve(Identity::from_pem(pem)?).await;
    }
    let day = Validity::starting(SystemTime::now(), Duration::from_secs(86_400))?;
    let authority = Authority::new("example", day)?;
    let agent = authority.issue(&"agent-1".parse()?, Role::Agent, day)?;
    let operator = authority.issue(&"desk".parse()?, Role::Operator, day)?;

    let mut child = Command::new(std::env::current_exe()?)
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut to_child = child.stdin.take().ok_or("no pipe")?;
    let pem = agent.to_pem();
    write!(to_child, "{}#{}#{}\0", pem.certificate, pem.key.as_str(), pem.authority)?;
    to_child.flush()?;
    let mut address = String::new();
    BufReader::new(child.stdout.take().ok_or("no pipe")?).read_line(&mut address)?;

    println!("process {} answers: the mean is {}", child.id(), ask(operator, address.trim().parse()?).await?);
    drop(to_child);
    child.wait()?;
    Ok(())
}
