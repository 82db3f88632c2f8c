//! Layers that other nodes ask, and layers over mailboxes of other nodes.

use super::*;
use bytes::Bytes;

/// A node `b` that exposes `mailbox`, as the node `a` of this role finds it.
async fn exposed(mailbox: Mailbox<Disk>, role: Role) -> (Mailbox<Disk>, [crate::Node; 2]) {
    let (a, b, _cut) = pair(MemoryNode::new("a", role), MemoryNode::new("b", Role::Agent)).await;
    let exposing = b.expose("disk", mailbox).allow(role).allow_through_coordinator(Role::Operator);
    exposing.register().await.unwrap().detach();
    (resolve_soon(&a, "b/disk").await, [a, b])
}

#[actix::test]
async fn a_layer_is_exposed_like_an_actor_and_what_lies_behind_it_sees_who_asks() {
    tokio::time::pause();
    let (inner, mut probe) = Probe::new();
    let (inner, ends) = Diary::of(inner);
    let (disk, _nodes) = exposed(retry(inner), Role::Operator).await;
    let began = Instant::now();
    let ask = disk.ask(Read(7)).timeout(60 * MS).priority(Priority::Low).into_future();
    let (answer, ()) = tokio::join!(ask, async {
        probe.expect::<Read>().await.stop();
        let asked = probe.expect::<Read>().await;
        assert_eq!(asked.caller().map(|caller| caller.node.as_str()), Some("a"));
        assert_eq!((asked.deadline(), asked.priority()), (Some(began + 60 * MS), Priority::Low));
        asked.reply(Ok(8));
    });
    assert_eq!(answer, Ok(8));
    ends.lock().unwrap().clear();

    let ask = disk.ask(Read(9)).into_future();
    let asked = probe.expect::<Read>().await;
    drop(ask);
    asked.hold().await;
    assert_eq!(ends.lock().unwrap().iter().map(|end| &end.0).collect::<Vec<_>>(), [&Ended::Cancelled]);

    disk.tell(Append(1)).await.unwrap();
    assert!(probe.expect::<Append>().await.is_told());
}

#[actix::test]
async fn a_refusal_by_a_layer_travels() {
    tokio::time::pause();
    let refusing = Breaker { inner: Probe::new().0, state: Arc::default() };
    let until = Instant::now() + 1000 * MS;
    *refusing.state.lock().unwrap() = BreakerState { misses: 2, open_until: Some(until) };
    let (disk, _nodes) = exposed(Mailbox::layered(refusing), Role::Operator).await;
    let refused = DeliveryError::Overloaded { retry_after: 1000 * MS };
    assert_eq!(disk.ask(Read(7)).await, Err(refused.into()));
}

struct Clumsy(Mailbox<Disk>);

impl Layer<Disk> for Clumsy {
    fn choose(&self, attempt: &Attempt<'_>) -> Result<Choice<Disk>, DeliveryError> {
        assert!(attempt.request != "append", "as the test wants");
        Ok(Choice::new(self.0.clone()))
    }
}

#[actix::test]
async fn a_layer_that_panics_costs_that_call_alone() {
    tokio::time::pause();
    let (inner, mut probe) = Probe::new();
    let (disk, _nodes) = exposed(Mailbox::layered(Clumsy(inner)), Role::Operator).await;
    assert_eq!(disk.ask(Append(7)).await, Err(DeliveryError::Panicked.into()));
    let told = disk.tell(Append(7)).acknowledged().await.unwrap_err();
    assert_eq!(told.cause, DeliveryError::Panicked);
    disk.tell(Append(7)).await.unwrap();
    let (answer, ()) = tokio::join!(disk.ask(Read(7)), async {
        probe.expect::<Read>().await.reply(Ok(8));
    });
    assert_eq!(answer, Ok(8));
}

#[actix::test]
async fn a_mailbox_of_a_third_node_is_passed_on_with_time_and_cancellation() {
    tokio::time::pause();
    let (inner, mut probe) = Probe::new();
    let (far, _far_nodes) = exposed(inner, Role::Agent).await;
    let (disk, _nodes) = exposed(retry(far), Role::Operator).await;
    let began = Instant::now();
    let ask = disk.ask(Read(7)).timeout(50 * MS).into_future();
    let (answer, ()) = tokio::join!(ask, async {
        let asked = probe.expect::<Read>().await;
        assert_eq!(asked.deadline(), Some(began + 50 * MS));
        asked.reply(Ok(8));
    });
    assert_eq!(answer, Ok(8));
    let ask = disk.ask(Read(9)).into_future();
    let asked = probe.expect::<Read>().await;
    drop(ask);
    asked.hold().await;
}

#[actix::test]
async fn layers_of_an_encoded_mailbox_see_for_whom_it_asks() {
    tokio::time::pause();
    let (inner, mut probe) = Probe::new();
    let encoded = EncodedMailbox::from(retry(inner));
    assert!(encoded.accepts("read", 1) && encoded.accepts("append", 1));
    let desk = Caller { node: "desk".parse().unwrap(), role: Role::Operator };
    let payload: Bytes = codec::encode(&Read(7)).unwrap().into();
    let ask = encoded.ask("read", 1, payload).on_behalf_of(desk.clone()).into_future();
    let (answer, ()) = tokio::join!(ask, async {
        probe.expect::<Read>().await.stop();
        let asked = probe.expect::<Read>().await;
        assert_eq!(asked.on_behalf_of(), Some(&desk));
        asked.reply(Ok(8));
    });
    assert_eq!(answer, Ok(Bytes::from(codec::encode(&8_u8).unwrap())));
}
