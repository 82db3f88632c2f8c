//! The promises of the test kit, one by one.

mod bad_network;
mod carry;
mod links;
mod mocks;
mod order;
mod probes;
mod rules;

use super::*;
use crate::{AskError, Mailbox};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    future::{Future, IntoFuture},
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};
use swarm_protocols::{DeliveryError, Request, protocol};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Request)]
#[request(name = "echo", reply = Vec<u8>)]
struct Echo(Vec<u8>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Request)]
#[request(name = "open", reply = u8, error = Locked)]
struct Open(u8);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Locked;

impl fmt::Display for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is locked")
    }
}

impl std::error::Error for Locked {}

protocol! { Service = "service" { Echo, Open } }

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// What a test that fails would print, on a clock that stands still. There is no actix system.
fn panic_of(test: impl Future<Output = ()>) -> String {
    let panic = catch_unwind(AssertUnwindSafe(|| without_actix(test))).expect_err("the test passed");
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => (*panic.downcast::<&str>().unwrap()).to_owned(),
    }
}

fn without_actix<T>(test: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(test)
}
