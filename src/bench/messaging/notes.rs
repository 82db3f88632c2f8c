//! Messages that are not answered with their bytes: many small ones that nobody waits for, and large ones.

use std::time::Duration;

use futures_util::future::try_join_all;
use quinn::Connection;
use serde_json::json;
use swarm_actors::Mailbox;
use swarm_protocols::Blob;

use super::echo::{CountNotes, Echoing, Note};
use super::floor::{self, lost};
use super::rounds::{for_time, in_turns};
use super::{Bench, MessagingError};
use crate::bench::Side;

const TELLS: &str = "lane_tells_per_second";
const TELL_BYTES: usize = 64;

/// How many tells wait for their mailbox to accept them.
const TELLS_IN_FLIGHT: usize = 1000;

/// How many frames the floor writes before it lets them be sent.
const WRITES: u64 = 64;

const BULK: &str = "bulk_gbit_per_second";
const BULK_BYTES: [usize; 2] = [64 << 10, 1 << 20];

/// How many large messages are on their way.
const BULK_IN_FLIGHT: usize = 8;

/// Tells on a lane. On every side the receiver has taken and counted them when the time ends.
pub(super) async fn measure_tells(bench: &mut Bench<'_>) -> Result<(), MessagingError> {
    if !bench.wants(&format!("{TELLS}-{TELL_BYTES}")) {
        return Ok(());
    }
    let Bench { swarm, floor, time, .. } = bench;
    let sides = [Side::Floor, Side::Swarm];
    let rounds = in_turns(TELLS, &sides, *time, async |side, time| {
        let payload = vec![7; TELL_BYTES];
        match side {
            Side::Swarm => tell(swarm, &payload, time).await,
            Side::Floor | Side::Callers => one_way(floor, &payload, time).await,
        }
    });
    let rounds = rounds.await?;
    let params = json!({ "payload_bytes": TELL_BYTES });
    bench.print(TELLS, "1/s", params, &rounds, |per_second| Some(*per_second))
}

async fn tell(mailbox: &Mailbox<Echoing>, payload: &[u8], time: Duration) -> Result<f64, MessagingError> {
    let count = async || mailbox.ask(CountNotes).await.map_err(lost);
    let before = count().await?;
    let (told, elapsed) = for_time(time, async |over| {
        let one = async || {
            let mut told = 0;
            while !over.get() {
                mailbox.tell(Note(Blob::from(payload.to_vec()))).acknowledged().await.map_err(lost)?;
                told += 1;
            }
            Ok::<u64, MessagingError>(told)
        };
        let told = try_join_all((0..TELLS_IN_FLIGHT).map(|_| one())).await?.iter().sum();
        all_of(told, count().await? - before)
    })
    .await?;
    Ok(told as f64 / elapsed.as_secs_f64())
}

/// The floor: a write for each frame.
async fn one_way(connection: &Connection, payload: &[u8], time: Duration) -> Result<f64, MessagingError> {
    let (told, elapsed) = for_time(time, async |over| {
        let (mut send, recv) = connection.open_bi().await.map_err(lost)?;
        let (frame, mut told) = (floor::one_way(payload), 0);
        while !over.get() {
            // quinn looks through all that is not acknowledged for every packet: as little as that may lie there.
            for _ in 0..WRITES {
                send.write_all(&frame).await.map_err(lost)?;
            }
            told += WRITES;
            tokio::task::yield_now().await;
        }
        all_of(told, floor::end_and_count(send, recv).await?)
    })
    .await?;
    Ok(told as f64 / elapsed.as_secs_f64())
}

fn all_of(told: u64, counted: u64) -> Result<u64, MessagingError> {
    (told == counted).then_some(told).ok_or(MessagingError::Wrong("it counts other messages than were sent"))
}

/// Large messages, a stream each, whose receiver says no more than that it has them.
pub(super) async fn measure_bulk(bench: &mut Bench<'_>) -> Result<(), MessagingError> {
    for bytes in BULK_BYTES {
        if !bench.wants(&format!("{BULK}-{bytes}")) {
            continue;
        }
        let Bench { swarm, floor, time, .. } = bench;
        let (swarm, floor, payload) = (&*swarm, &*floor, &vec![7; bytes]);
        let rounds = in_turns(BULK, &[Side::Floor, Side::Swarm], *time, async |side, time| {
            let (sent, elapsed) = for_time(time, async |over| {
                let one = async || {
                    let mut sent = 0;
                    while !over.get() {
                        match side {
                            Side::Swarm => {
                                swarm.ask(Note(Blob::from(payload.clone()))).await.map_err(lost)?
                            }
                            Side::Floor | Side::Callers => floor::note(floor, payload).await?,
                        }
                        sent += bytes;
                    }
                    Ok::<usize, MessagingError>(sent)
                };
                Ok(try_join_all((0..BULK_IN_FLIGHT).map(|_| one())).await?.iter().sum::<usize>())
            })
            .await?;
            Ok(sent as f64 * 8.0 / 1e9 / elapsed.as_secs_f64())
        });
        let rounds = rounds.await?;
        let params = json!({ "payload_bytes": bytes, "in_flight": BULK_IN_FLIGHT });
        bench.print(BULK, "Gbit/s", params, &rounds, |gbit| Some(*gbit))?;
    }
    Ok(())
}
