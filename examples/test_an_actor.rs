//! How to test an actor of your own: give it a mock or a probe where it expects another actor, and
//! let the clock stand still.
//!
//! ```text
//! cargo run --example test_an_actor
//! cargo test --example test_an_actor
//! ```

use actix::{Actor, Context, Handler};
use actix_swarm::{
    Answer, Call, Mailbox, Request, protocol,
    testing::{MockActor, Probe},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::Instant;

/// What a thermometer is asked: the temperature in degrees Celsius.
#[derive(Debug, PartialEq, Serialize, Deserialize, Request)]
#[request(name = "read", reply = f64)]
struct Read;

/// What the actor under test is asked.
#[derive(Debug, PartialEq, Serialize, Deserialize, Request)]
#[request(name = "is-freezing", reply = Option<bool>)]
struct IsFreezing;

protocol! { Thermometer = "thermometer" { Read } }
protocol! { FrostWatch = "frost-watch" { IsFreezing } }

/// The actor under test. It knows a protocol, not an actor: the thermometer may be on another
/// machine, or in the hands of a test.
struct Watch {
    thermometer: Mailbox<Thermometer>,
}

impl Actor for Watch {
    type Context = Context<Self>;
}

impl Handler<Call<IsFreezing>> for Watch {
    type Result = Answer<IsFreezing>;

    fn handle(&mut self, call: Call<IsFreezing>, _: &mut Self::Context) -> Self::Result {
        let thermometer = self.thermometer.clone();
        call.answer(async move |_| {
            let celsius = thermometer.ask(Read).timeout(Duration::from_secs(10)).await;
            Ok(celsius.ok().map(|celsius| celsius < 0.0))
        })
    }
}

fn watch(thermometer: Mailbox<Thermometer>) -> Mailbox<FrostWatch> {
    Mailbox::start(Watch { thermometer })
}

async fn a_watch_knows_frost_and_gives_up_on_a_broken_thermometer() {
    tokio::time::pause();

    // A script answers for the thermometer. That it was followed to its end is verified when the
    // guard is dropped.
    let script = MockActor::<Thermometer>::new().once::<Read>(|_| Ok(-3.5)).once::<Read>(|_| Ok(21.0));
    let (thermometer, verified) = script.start();
    let knows = watch(thermometer);
    assert_eq!(knows.ask(IsFreezing).await, Ok(Some(true)));
    assert_eq!(knows.ask(IsFreezing).await, Ok(Some(false)));
    drop(verified);

    // The test itself answers for the thermometer, message by message.
    let (thermometer, mut probe) = Probe::<Thermometer>::new();
    let knows = watch(thermometer);
    let test = async { probe.expect::<Read>().await.panic() };
    let (answer, ()) = tokio::join!(async { knows.ask(IsFreezing).await }, test);
    assert_eq!(answer, Ok(None));

    // The thermometer says nothing. Ten seconds pass at once: the clock jumps when all wait for it.
    let began = Instant::now();
    let test = async { probe.expect::<Read>().await.hold().await };
    let (answer, ()) = tokio::join!(async { knows.ask(IsFreezing).await }, test);
    assert_eq!(answer, Ok(None));
    assert_eq!(began.elapsed().as_secs(), 10);
}

#[actix::main]
async fn main() {
    let began = std::time::Instant::now();
    a_watch_knows_frost_and_gives_up_on_a_broken_thermometer().await;
    println!("Ten seconds of virtual time took {:?}.", began.elapsed());
}

#[cfg(test)]
mod tests {
    #[actix::test]
    async fn a_watch_knows_frost_and_gives_up_on_a_broken_thermometer() {
        super::a_watch_knows_frost_and_gives_up_on_a_broken_thermometer().await;
    }
}
