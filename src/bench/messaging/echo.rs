//! The actor that is asked and told, with the settings that every actor has.

use actix::{Actor, Addr, Context, Handler, Message};
use serde::{Deserialize, Serialize};
use swarm_actors::{Call, Mailbox, UnhandledRequest};
use swarm_protocols::{Blob, NoError, Request, protocol};

/// Is answered with the same bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Echo(pub(super) Blob);

impl Request for Echo {
    const NAME: &'static str = "echo";
    const VERSION: u16 = 1;
    type Reply = Blob;
    type Error = NoError;
}

/// Is counted, and answered by nothing.
#[derive(Debug, Serialize, Deserialize, Message)]
#[rtype(result = "()")]
pub(super) struct Note(pub(super) Blob);

impl Request for Note {
    const NAME: &'static str = "note";
    const VERSION: u16 = 1;
    type Reply = ();
    type Error = NoError;
}

/// How many notes there were so far.
#[derive(Debug, Serialize, Deserialize, Message)]
#[rtype(result = "u64")]
pub(super) struct CountNotes;

impl Request for CountNotes {
    const NAME: &'static str = "count-notes";
    const VERSION: u16 = 1;
    type Reply = u64;
    type Error = NoError;
}

protocol! { pub(super) Echoing = "echoing" { Echo, Note, CountNotes } }

/// Answers calls of a mailbox, and the same messages without one.
#[derive(Default)]
pub(super) struct EchoActor {
    notes: u64,
}

impl EchoActor {
    /// The mailbox of one that has started.
    pub(super) fn mailbox(address: Addr<Self>) -> Result<Mailbox<Echoing>, UnhandledRequest> {
        Mailbox::local(address).handles::<Echo>().handles::<Note>().handles::<CountNotes>().build()
    }
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
