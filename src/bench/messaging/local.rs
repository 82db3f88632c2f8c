//! An actor of the same thread, through a mailbox and as bare actix has it.

use std::time::{Duration, Instant};

use actix::{Actor, Addr, MailboxError};
use serde_json::json;
use swarm_actors::{AskError, Mailbox};
use swarm_protocols::{Blob, NoError};

use super::echo::{CountNotes, EchoActor, Echoing, Note};
use super::floor::lost;
use super::rounds::in_turns;
use super::{Bench, MessagingError};
use crate::bench::Side;

const ASK: &str = "local_ask_ns";
const TELLS: &str = "local_tells_per_second";

/// How many messages go between two looks at the clock. So many tells are on their way at most, because an answer is
/// awaited behind them.
const RUN: u64 = 1000;

pub(super) async fn measure(bench: &mut Bench<'_>) -> Result<(), MessagingError> {
    let mut inbox = None;
    let address = EchoActor::create(|context| {
        inbox = Some(Mailbox::<Echoing>::within(context));
        EchoActor::default()
    });
    let mailbox = inbox.expect("an actor is made before it is started");
    let sides = [Side::Floor, Side::Swarm];
    if bench.wants(ASK) {
        let rounds = in_turns(ASK, &sides, bench.time, async |side, time| match side {
            Side::Swarm => ns_each(time, async || ask(&mailbox).await.map_err(lost)).await,
            Side::Floor | Side::Callers => {
                ns_each(time, async || bare_ask(&address).await.map_err(lost)).await
            }
        });
        bench.print(ASK, "ns", json!({}), &rounds.await?, |ns| Some(*ns))?;
    }
    if bench.wants(TELLS) {
        let rounds = in_turns(TELLS, &sides, bench.time, async |side, time| match side {
            Side::Swarm => ns_each(time, async || tell(&mailbox).await).await,
            Side::Floor | Side::Callers => {
                ns_each(time, async || bare_tell(&address).await.map_err(lost)).await
            }
        });
        bench.print(TELLS, "1/s", json!({}), &rounds.await?, |ns| Some(1e9 / *ns))?;
    }
    Ok(())
}

/// Repeats a run of [`RUN`] messages until `time` is over, and says how long one took.
async fn ns_each(
    time: Duration,
    mut run: impl AsyncFnMut() -> Result<(), MessagingError>,
) -> Result<f64, MessagingError> {
    let (began, mut messages) = (Instant::now(), 0);
    while messages == 0 || began.elapsed() < time {
        run().await?;
        messages += RUN;
    }
    Ok(began.elapsed().as_nanos() as f64 / messages as f64)
}

async fn ask(mailbox: &Mailbox<Echoing>) -> Result<(), AskError<NoError>> {
    for _ in 0..RUN {
        mailbox.ask(CountNotes).await?;
    }
    Ok(())
}

async fn bare_ask(address: &Addr<EchoActor>) -> Result<(), MailboxError> {
    for _ in 0..RUN {
        address.send(CountNotes).await?;
    }
    Ok(())
}

async fn tell(mailbox: &Mailbox<Echoing>) -> Result<(), MessagingError> {
    for _ in 0..RUN {
        mailbox.tell(Note(Blob::from(Vec::new()))).await.map_err(lost)?;
    }
    mailbox.ask(CountNotes).await.map(drop).map_err(lost)
}

async fn bare_tell(address: &Addr<EchoActor>) -> Result<(), MailboxError> {
    for _ in 0..RUN {
        address.do_send(Note(Blob::from(Vec::new())));
    }
    address.send(CountNotes).await.map(drop)
}
