//! Asking an actor of the same thread, beside bare actix doing the same.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use actix::{Actor, Context, Handler};
use criterion::{Criterion, criterion_group, criterion_main};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};
use swarm_actors::{Call, Mailbox};
use swarm_protocols::{NoError, Request, protocol};

#[derive(Serialize, Deserialize, actix::Message, Request)]
#[request(name = "next", reply = u64)]
#[rtype(result = "Result<u64, NoError>")]
struct Next(u64);

protocol! { Counting = "counting" { Next } }

struct Counter;

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Handler<Next> for Counter {
    type Result = Result<u64, NoError>;

    fn handle(&mut self, Next(number): Next, _: &mut Self::Context) -> Self::Result {
        Ok(number + 1)
    }
}

impl Handler<Call<Next>> for Counter {
    type Result = Result<u64, NoError>;

    fn handle(&mut self, call: Call<Next>, _: &mut Self::Context) -> Self::Result {
        Ok(call.request.0 + 1)
    }
}

fn local_ask(criterion: &mut Criterion) {
    let system = actix_rt::System::new();
    let mut group = criterion.benchmark_group("local_ask");
    group.measurement_time(Duration::from_secs(3)).sample_size(50);

    group.bench_function("floor", |bencher| {
        bencher.iter_custom(|count| {
            system.block_on(async {
                let address = Counter.start();
                let began = Instant::now();
                for number in 0..count {
                    assert_eq!(address.send(Next(number)).await.unwrap(), Ok(number + 1));
                }
                began.elapsed()
            })
        });
    });
    group.bench_function("swarm", |bencher| {
        bencher.iter_custom(|count| {
            system.block_on(async {
                let mailbox: Mailbox<Counting> = Mailbox::local(Counter.start());
                let began = Instant::now();
                for number in 0..count {
                    assert_eq!(mailbox.ask(Next(number)).await, Ok(number + 1));
                }
                began.elapsed()
            })
        });
    });
    group.finish();
}

criterion_group!(messaging, local_ask);
criterion_main!(messaging);
