//! A node inside a web server: axum under `#[tokio::main]`, whose handler asks an actor through a mailbox.
//!
//!     cargo run --example inside_axum            # asks itself once, and stops
//!     cargo run --example inside_axum -- serve   # serves until Ctrl-C or SIGTERM, then drains

use actix::prelude::*;
use actix_swarm::{
    Call, Mailbox, NoError, Node, NodeConfig, Request, Role,
    identity::{Authority, Validity},
    protocol,
};
use axum::{Router, extract::State, http::StatusCode, routing::get};
use serde::{Deserialize, Serialize};
use std::{
    error::Error,
    time::{Duration, SystemTime},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

#[derive(Serialize, Deserialize, Request)]
#[request(name = "mean", version = 1, reply = f64, error = NoError)]
struct Mean {
    prices: Vec<f64>,
}

protocol! { Statistics = "statistics" { Mean } }

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

async fn mean(State(statistics): State<Mailbox<Statistics>>) -> Result<String, StatusCode> {
    let asked = statistics.ask(Mean { prices: vec![395.1, 396.3, 397.5] }).timeout(Duration::from_secs(1));
    asked.await.map(|mean| mean.to_string()).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let day = Validity::starting(SystemTime::now(), Duration::from_secs(86_400))?;
    let identity = Authority::new("example", day)?.issue(&"web".parse()?, Role::Operator, day)?;

    // No actix system runs here, so the node has a thread of its own, and the actor starts there.
    let node = Node::start(NodeConfig::new(identity, "127.0.0.1:0".parse()?)).await?;
    let statistics: Mailbox<Statistics> = node.run(|| Mailbox::start(Statistician)).await;
    let app = Router::new().route("/mean", get(mean)).with_state(statistics);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;

    if std::env::args().nth(1).as_deref() == Some("serve") {
        println!("http://{address}/mean");
        let stopping = node.clone();
        let drained = async move {
            // What is in progress gets ten seconds to finish.
            if let Err(error) = stopping.stop_on_signal(Duration::from_secs(10)).await {
                eprintln!("cannot listen for signals: {error}");
            }
        };
        axum::serve(listener, app).with_graceful_shutdown(drained).await?;
        return Ok(());
    }
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let mut client = TcpStream::connect(address).await?;
    client.write_all(b"GET /mean HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await?;
    println!("{}", answer.lines().last().unwrap_or("no answer"));
    server.abort();
    node.stop(Duration::from_secs(1)).await;
    Ok(())
}
