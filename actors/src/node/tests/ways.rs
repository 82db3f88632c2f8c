//! What an asker sees is the same whichever way its request takes to the actor.

use super::until;
use crate::{
    Call, Mailbox, Outcome, Registration,
    node::Node,
    testing::{MemoryNode, pair, resolve_soon},
};
use actix::{
    Actor, ActorFutureExt, Arbiter, AtomicResponse, Context, Handler, ResponseFuture, WrapFuture,
    dev::{MessageResponse, OneshotSender},
};
use futures_util::{FutureExt, future::join_all};
use serde::{Deserialize, Serialize};
use std::{
    future::IntoFuture,
    sync::{Arc, Mutex},
};
use swarm_protocols::{DeliveryError, NoError, Request, Role, protocol};
use tokio::sync::{Semaphore, oneshot};

/// Is written down, and answered at once.
#[derive(Debug, Serialize, Deserialize, Request)]
#[request(name = "write", reply = u32)]
struct Write(u32);

/// Is written down when its turn to be handled has come; the actor handles nothing else until it may go on.
#[derive(Debug, Serialize, Deserialize, Request)]
#[request(name = "hold", reply = u32)]
struct Hold(u32);

/// Is answered when the clerk may go on, which handles others meanwhile.
#[derive(Debug, Serialize, Deserialize, Request)]
#[request(name = "later", reply = u32)]
struct Later(u32);

#[derive(Debug, Serialize, Deserialize, Request)]
#[request(name = "fall")]
struct Fall;

/// Is handled well, and falls when it is turned into an answer.
#[derive(Debug, Serialize, Deserialize, Request)]
#[request(name = "trip")]
struct Trip;

protocol! { Writing = "writing" { Write, Hold, Later, Fall, Trip } }

struct Clerk {
    written: Arc<Mutex<Vec<u32>>>,
    go_on: Arc<Semaphore>,
    stopped: Option<oneshot::Sender<()>>,
}

impl Clerk {
    fn new() -> Self {
        Self { written: Arc::default(), go_on: Arc::new(Semaphore::new(0)), stopped: None }
    }
}

impl Actor for Clerk {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        if let Some(stopped) = self.stopped.take() {
            let _nobody_looks = stopped.send(());
        }
    }
}

impl Handler<Call<Write>> for Clerk {
    type Result = Result<u32, NoError>;

    fn handle(&mut self, call: Call<Write>, _: &mut Self::Context) -> Self::Result {
        self.written.lock().unwrap().push(call.request.0);
        Ok(call.request.0)
    }
}

impl Handler<Call<Hold>> for Clerk {
    type Result = AtomicResponse<Self, Result<u32, NoError>>;

    fn handle(&mut self, call: Call<Hold>, _: &mut Self::Context) -> Self::Result {
        let go_on = Arc::clone(&self.go_on);
        self.written.lock().unwrap().push(call.request.0);
        let held = async move {
            go_on.acquire().await.unwrap().forget();
            Ok(call.request.0)
        };
        AtomicResponse::new(Box::pin(held.into_actor(self).map(|held, _, _| held)))
    }
}

impl Handler<Call<Later>> for Clerk {
    type Result = ResponseFuture<Result<u32, NoError>>;

    fn handle(&mut self, call: Call<Later>, _: &mut Self::Context) -> Self::Result {
        let go_on = Arc::clone(&self.go_on);
        Box::pin(async move {
            go_on.acquire().await.unwrap().forget();
            Ok(call.request.0)
        })
    }
}

impl Handler<Call<Fall>> for Clerk {
    type Result = Result<(), NoError>;

    fn handle(&mut self, _: Call<Fall>, _: &mut Self::Context) -> Self::Result {
        panic!("as the test wants")
    }
}

impl Handler<Call<Trip>> for Clerk {
    type Result = Tripping;

    fn handle(&mut self, _: Call<Trip>, _: &mut Self::Context) -> Self::Result {
        Tripping
    }
}

struct Tripping;

impl MessageResponse<Clerk, Call<Trip>> for Tripping {
    fn handle(self, _: &mut Context<Clerk>, _: Option<OneshotSender<Outcome<Trip>>>) {
        panic!("as the test wants")
    }
}

/// The ways to the same kind of actor.
#[derive(Debug, Clone, Copy)]
enum Way {
    Address,
    Inbox,
    AddressOfAPeer,
    InboxOfAPeer,
}

const WAYS: [Way; 4] = [Way::Address, Way::Inbox, Way::AddressOfAPeer, Way::InboxOfAPeer];

struct Stage {
    mailbox: Mailbox<Writing>,
    written: Arc<Mutex<Vec<u32>>>,
    go_on: Arc<Semaphore>,
    stopped: oneshot::Receiver<()>,
    peer: Option<Peer>,
}

/// The peer whose actor it is, and another actor there.
struct Peer {
    other: Mailbox<Writing>,
    _registrations: [Registration; 2],
    _nodes: [Node; 2],
}

impl Stage {
    async fn set(way: Way) -> Self {
        let (written, go_on) = (Arc::default(), Arc::new(Semaphore::new(0)));
        let (ended, stopped) = oneshot::channel();
        let clerk = Clerk { written: Arc::clone(&written), go_on: Arc::clone(&go_on), stopped: Some(ended) };
        let here = match way {
            Way::Address | Way::AddressOfAPeer => Mailbox::local(clerk.start()),
            Way::Inbox | Way::InboxOfAPeer => Mailbox::start(clerk),
        };
        let (mailbox, peer) = match way {
            Way::Address | Way::Inbox => (here, None),
            Way::AddressOfAPeer | Way::InboxOfAPeer => {
                let node = |id, role| MemoryNode::new(id, role);
                let (a, b, _cut) = pair(node("a", Role::Operator), node("b", Role::Agent)).await;
                let other = Mailbox::start(Clerk::new());
                let _registrations = [expose(&b, "clerk", here).await, expose(&b, "other", other).await];
                let (mailbox, other) = (resolve_soon(&a, "b/clerk").await, resolve_soon(&a, "b/other").await);
                (mailbox, Some(Peer { other, _registrations, _nodes: [a, b] }))
            }
        };
        Self { mailbox, written, go_on, stopped, peer }
    }

    fn written(&self) -> Vec<u32> {
        self.written.lock().unwrap().clone()
    }

    /// Waits until so many have been written.
    async fn until_written(&self, count: usize) {
        until("all is written", async || self.written.lock().unwrap().len() >= count).await;
    }
}

async fn expose(node: &Node, name: &str, mailbox: Mailbox<Writing>) -> Registration {
    node.expose(name, mailbox).allow(Role::Operator).register().await.unwrap()
}

#[actix::test]
async fn c9_requests_and_messages_beyond_the_queue_of_actix_arrive_in_their_order() {
    for way in WAYS {
        let stage = Stage::set(way).await;
        let mut asks = Vec::new();
        for number in 0..600 {
            if number % 3 == 0 {
                stage.mailbox.tell(Write(number)).await.unwrap();
            } else {
                asks.push(stage.mailbox.ask(Write(number)).into_future());
            }
        }
        for ask in asks {
            ask.await.unwrap();
        }
        assert_eq!(stage.written(), (0..600).collect::<Vec<_>>(), "{way:?}");
    }
}

#[actix::test]
async fn the_first_of_many_answers_is_there_while_others_are_still_to_be_handled() {
    let stage = Stage::set(Way::InboxOfAPeer).await;
    let asks: Vec<_> = (0..200).map(|number| stage.mailbox.ask(Write(number)).into_future()).collect();
    let handled_at = join_all(asks.into_iter().map(|ask| async {
        ask.await.unwrap();
        stage.written().len()
    }));
    let first = handled_at.await[0];
    // Actors that are reached through their address get one message each.
    assert!(first < 200 || std::env::var_os("SWARM_TEST_ADDRESSES").is_some(), "{first} were handled");
}

#[actix::test]
async fn an_actor_that_waits_handles_nothing_meanwhile_and_then_goes_on() {
    for way in WAYS {
        let stage = Stage::set(way).await;
        let (held, next) =
            (stage.mailbox.ask(Hold(1)).into_future(), stage.mailbox.ask(Write(2)).into_future());
        stage.until_written(1).await;
        if let Some(peer) = &stage.peer {
            peer.other.ask(Write(6)).await.unwrap();
        }
        assert_eq!(stage.written(), [1], "{way:?}");
        stage.go_on.add_permits(1);
        assert_eq!((held.await, next.await), (Ok(1), Ok(2)), "{way:?}");
    }
}

#[actix::test]
async fn a_told_message_is_accepted_when_it_waits_in_the_mailbox() {
    for way in WAYS {
        let stage = Stage::set(way).await;
        let held = stage.mailbox.ask(Hold(1)).into_future();
        stage.until_written(1).await;
        stage.mailbox.tell(Write(2)).acknowledged().await.unwrap();
        assert_eq!(stage.written(), [1], "{way:?}");
        stage.go_on.add_permits(1);
        assert_eq!(held.await, Ok(1), "{way:?}");
        stage.until_written(2).await;
        assert_eq!(stage.written(), [1, 2], "{way:?}");
    }
}

#[actix::test]
async fn what_is_cancelled_while_it_waits_is_not_handled() {
    for way in WAYS {
        let stage = Stage::set(way).await;
        let held = stage.mailbox.ask(Hold(1)).into_future();
        let unwanted: Vec<_> = (2..5).map(|number| stage.mailbox.ask(Write(number)).into_future()).collect();
        let wanted = stage.mailbox.ask(Write(5)).into_future();
        stage.until_written(1).await;
        drop(unwanted);
        if let Some(peer) = &stage.peer {
            // Behind what cancels, on the same lane.
            peer.other.ask(Write(6)).await.unwrap();
        }
        stage.go_on.add_permits(1);
        assert_eq!((held.await, wanted.await), (Ok(1), Ok(5)), "{way:?}");
        assert_eq!(stage.written(), [1, 5], "{way:?}");
    }
}

#[actix::test]
async fn answers_that_take_time_hold_up_no_others_and_are_dropped_when_nobody_waits() {
    for way in WAYS {
        let stage = Stage::set(way).await;
        let (late, left) =
            (stage.mailbox.ask(Later(1)).into_future(), stage.mailbox.ask(Later(2)).into_future());
        assert_eq!(stage.mailbox.ask(Write(3)).await, Ok(3), "{way:?}");
        drop(left);
        assert_eq!(stage.mailbox.ask(Write(4)).await, Ok(4), "{way:?}");
        stage.go_on.add_permits(1);
        assert_eq!(late.await, Ok(1), "{way:?}");
    }
}

#[actix::test]
async fn a_panic_costs_the_call_itself_and_those_behind_it_and_leaves_answers_before_it() {
    for way in WAYS {
        let stage = Stage::set(way).await;
        let before: Vec<_> = (0..20).map(|number| stage.mailbox.ask(Write(number)).into_future()).collect();
        let fell = stage.mailbox.ask(Fall).into_future();
        let behind: Vec<_> = (0..20).map(|number| stage.mailbox.ask(Write(number)).into_future()).collect();
        assert_eq!(join_all(before).await, (0..20).map(Ok).collect::<Vec<_>>(), "{way:?}");
        assert_eq!(fell.await, Err(DeliveryError::Panicked.into()), "{way:?}");
        let never_begun = match way {
            Way::Inbox | Way::InboxOfAPeer => DeliveryError::Stopped,
            // actix drops what is in its queue while the stack unwinds.
            Way::Address | Way::AddressOfAPeer => DeliveryError::Panicked,
        };
        for ask in behind {
            assert_eq!(ask.await, Err(never_begun.clone().into()), "{way:?}");
        }
        let told = stage.mailbox.tell(Write(1)).acknowledged().await;
        assert_eq!(told.unwrap_err().cause, DeliveryError::Stopped, "{way:?}");
    }
}

#[actix::test]
async fn a_panic_of_what_a_handler_returned_is_answered_too() {
    let stage = Stage::set(Way::InboxOfAPeer).await;
    let (tripped, behind) =
        (stage.mailbox.ask(Trip).into_future(), stage.mailbox.ask(Write(1)).into_future());
    assert_eq!(tripped.await, Err(DeliveryError::Panicked.into()));
    assert_eq!(behind.await, Err(DeliveryError::Stopped.into()));
}

#[actix::test]
async fn an_actor_of_another_thread_answers_over_a_session() {
    let (a, b, _cut) = pair(MemoryNode::new("a", Role::Operator), MemoryNode::new("b", Role::Agent)).await;
    let arbiter = Arbiter::new();
    let (made, mailbox) = oneshot::channel();
    arbiter.spawn_fn(move || {
        let _kept = made.send(Mailbox::start(Clerk::new()));
    });
    let _registration = expose(&b, "clerk", mailbox.await.unwrap()).await;
    let mailbox: Mailbox<Writing> = resolve_soon(&a, "b/clerk").await;
    let asked = join_all((0..2000).map(|number| mailbox.ask(Write(number)).into_future()));
    assert_eq!(asked.await, (0..2000).map(Ok).collect::<Vec<_>>());
    arbiter.stop();
}

#[actix::test]
async fn an_actor_stops_when_nobody_can_ask_it_any_more() {
    for way in [Way::Address, Way::Inbox] {
        let Stage { mailbox, stopped, .. } = Stage::set(way).await;
        let other = mailbox.clone();
        drop(mailbox);
        assert_eq!(other.ask(Write(1)).await, Ok(1));
        drop(other);
        stopped.await.unwrap();
    }
}

#[actix::test]
async fn a_full_mailbox_says_so_whichever_way_leads_to_it() {
    let mut inbox = None;
    let clerk = Clerk::new();
    let go_on = Arc::clone(&clerk.go_on);
    Clerk::create(|context| {
        inbox = Some(Mailbox::<Writing>::within_with(context, 2));
        clerk
    });
    let mailbox = inbox.unwrap();
    let two = [1, 2].map(|number| mailbox.ask(Later(number)).into_future());
    let full = mailbox.ask(Write(3)).into_future().now_or_never().unwrap();
    assert!(matches!(full, Err(crate::AskError::Delivery(DeliveryError::Overloaded { .. }))), "{full:?}");
    go_on.add_permits(2);
    assert_eq!(join_all(two).await, [Ok(1), Ok(2)]);
    assert_eq!(mailbox.ask(Write(3)).await, Ok(3));
}
