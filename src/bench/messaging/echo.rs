//! The actor that is asked.

use actix::{Actor, Context, Handler};
use serde::{Deserialize, Serialize};
use swarm_actors::Call;
use swarm_protocols::{Blob, NoError, Request, protocol};

/// Answers with the same bytes.
#[derive(Debug, Serialize, Deserialize, Request)]
#[request(name = "echo", reply = Blob)]
pub(super) struct Echo(pub(super) Blob);

protocol! { pub(super) Echoing = "echoing" { Echo } }

pub(super) struct EchoActor;

impl Actor for EchoActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        // A message beyond the 16 of the default makes actix allocate a sender and park it.
        context.set_mailbox_capacity(4096);
    }
}

impl Handler<Call<Echo>> for EchoActor {
    type Result = Result<Blob, NoError>;

    fn handle(&mut self, call: Call<Echo>, _: &mut Self::Context) -> Self::Result {
        Ok(call.request.0)
    }
}
