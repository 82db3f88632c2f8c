//! The actor that is asked and told, with the settings that every actor has.

use actix::{Actor, Context, Handler, Message};
use serde::{Deserialize, Serialize};
use swarm_actors::Call;
use swarm_protocols::{Blob, NoError, Request, protocol};

/// Is answered with the same bytes.
#[derive(Debug, Serialize, Deserialize, Request)]
#[request(name = "echo", reply = Blob, idempotent)]
pub(super) struct Echo(pub(super) Blob);

/// Is counted, and answered by nothing.
#[derive(Debug, Serialize, Deserialize, Request, Message)]
#[request(name = "note")]
#[rtype(result = "()")]
pub(super) struct Note(pub(super) Blob);

/// How many notes there were so far.
#[derive(Debug, Serialize, Deserialize, Request, Message)]
#[request(name = "count-notes", reply = u64)]
#[rtype(result = "u64")]
pub(super) struct CountNotes;

protocol! { pub(super) Echoing = "echoing" { Echo, Note, CountNotes } }

/// Answers calls of a mailbox, and the same messages without one.
#[derive(Default)]
pub(super) struct EchoActor {
    notes: u64,
}

impl Actor for EchoActor {
    type Context = Context<Self>;
}

impl Handler<Call<Echo>> for EchoActor {
    type Result = Result<Blob, NoError>;

    fn handle(&mut self, call: Call<Echo>, _: &mut Self::Context) -> Self::Result {
        Ok(call.request.0)
    }
}

impl Handler<Call<Note>> for EchoActor {
    type Result = Result<(), NoError>;

    fn handle(&mut self, _: Call<Note>, _: &mut Self::Context) -> Self::Result {
        self.notes += 1;
        Ok(())
    }
}

impl Handler<Call<CountNotes>> for EchoActor {
    type Result = Result<u64, NoError>;

    fn handle(&mut self, _: Call<CountNotes>, _: &mut Self::Context) -> Self::Result {
        Ok(self.notes)
    }
}

impl Handler<Note> for EchoActor {
    type Result = ();

    fn handle(&mut self, _: Note, _: &mut Self::Context) {
        self.notes += 1;
    }
}

impl Handler<CountNotes> for EchoActor {
    type Result = u64;

    fn handle(&mut self, _: CountNotes, _: &mut Self::Context) -> u64 {
        self.notes
    }
}
