//! Requests that are passed on without being opened, and for whom that is allowed.

use super::*;
use crate::{Caller, EncodedAskError, EncodedMailbox};
use bytes::Bytes;
use swarm_protocols::wire::codec;

fn desk() -> Caller {
    Caller { node: "desk".parse().unwrap(), role: Role::Operator }
}

fn echo(bytes: &[u8]) -> Bytes {
    codec::encode(&Echo(bytes.to_vec())).unwrap().into()
}

fn reply(bytes: &[u8]) -> Bytes {
    codec::encode(&bytes.to_vec()).unwrap().into()
}

/// The mailbox of an agent that works for operators through coordinators, as a node of this role finds it.
async fn found_by(role: Role) -> (EncodedMailbox, Probe<Service>, [Node; 2]) {
    let (hub, agent, _cut) = pair(memory("hub", role), memory("agent", Role::Agent)).await;
    let (mailbox, probe) = Probe::<Service>::new();
    let exposing = agent.expose("service", mailbox).allow_through_coordinator(Role::Operator);
    exposing.register().await.unwrap().detach();
    let mailbox = loop {
        match hub.resolve_encoded("agent/service").await {
            Err(ResolveError::NotFound { .. }) => tokio::task::yield_now().await,
            found => break found.unwrap(),
        }
    };
    (mailbox, probe, [hub, agent])
}

fn not_permitted(reason: &str) -> Result<Bytes, EncodedAskError> {
    Err(DeliveryError::NotPermitted { reason: reason.into() }.into())
}

#[actix::test]
async fn a_coordinator_passes_on_what_it_cannot_read_and_says_for_whom() {
    tokio::time::pause();
    let (mailbox, mut probe, _nodes) = found_by(Role::Coordinator).await;
    assert_eq!((mailbox.protocol(), mailbox.accepts("echo", 1)), ("service", true));
    let ask = mailbox.ask("echo", 1, echo(&[7])).on_behalf_of(desk()).into_future();
    let (answer, ()) = tokio::join!(ask, async {
        let asked = probe.expect::<Echo>().await;
        assert_eq!(asked.caller().map(|caller| caller.node.as_str()), Some("hub"));
        assert_eq!(asked.on_behalf_of(), Some(&desk()));
        asked.reply(Ok(vec![8]));
    });
    assert_eq!(answer, Ok(reply(&[8])));
    let failing = codec::encode(&Misbehave::Fail).unwrap();
    let ask = mailbox.ask("misbehave", 1, failing.into()).on_behalf_of(desk()).into_future();
    let (answer, ()) = tokio::join!(ask, async {
        probe.expect::<Misbehave>().await.reply(Err(Refusal("no".into())));
    });
    let refusal = codec::encode(&Refusal("no".into())).unwrap();
    assert_eq!(answer, Err(EncodedAskError::Handler(refusal.into())));
}

#[actix::test]
async fn nobody_gets_through_a_coordinator_or_past_it_unless_the_agent_says_so() {
    tokio::time::pause();
    let (mailbox, mut probe, _nodes) = found_by(Role::Coordinator).await;
    let for_agent = Caller { role: Role::Agent, ..desk() };
    let answer = mailbox.ask("echo", 1, echo(&[])).on_behalf_of(for_agent).await;
    let reason = "service may not be called for the role agent through the role coordinator";
    assert_eq!(answer, not_permitted(reason));
    let answer = mailbox.ask("echo", 1, echo(&[])).await;
    assert_eq!(answer, not_permitted("service may not be called by the role coordinator"), "for itself");
    // Only of coordinators it is believed for whom they ask.
    for role in [Role::Operator, Role::Agent] {
        let (mailbox, mut probe, _nodes) = found_by(role).await;
        let answer = mailbox.ask("echo", 1, echo(&[])).on_behalf_of(desk()).await;
        let reason = format!("service may not be called for the role operator through the role {role}");
        assert_eq!(answer, not_permitted(&reason));
        probe.expect_none(Duration::from_secs(1)).await;
    }
    probe.expect_none(Duration::from_secs(1)).await;
}

#[actix::test]
async fn a_mailbox_of_this_process_takes_encoded_requests_as_well() {
    let mailbox = EncodedMailbox::from(server());
    assert_eq!(mailbox.ask("echo", 1, echo(&[1, 2])).await, Ok(reply(&[1, 2])));
    let Err(EncodedAskError::Delivery(error)) = mailbox.ask("echo", 1, Bytes::from_static(&[9])).await else {
        panic!("half a request was handled")
    };
    assert!(matches!(error, DeliveryError::Codec { delivery: Delivery::NotSent, .. }), "{error}");
    let unknown = mailbox.ask("echo", 2, echo(&[])).await;
    let what = "echo version 2 of service".to_owned();
    assert_eq!(unknown, Err(DeliveryError::NotExposed { what }.into()));
    let after = Duration::from_millis(1);
    let never = codec::encode(&Misbehave::Never).unwrap();
    let answer = mailbox.ask("misbehave", 1, never.into()).timeout(after).await;
    assert_eq!(answer, Err(DeliveryError::TimedOut { after, delivery: Delivery::Unknown }.into()));
}
