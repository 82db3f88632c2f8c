//! Finding nodes by their address alone, and what is exposed where.

use super::{hostile::stage, *};

async fn start(identity: Identity) -> Node {
    Node::start(NodeConfig::new(identity, "127.0.0.1:0".parse().unwrap())).await.unwrap()
}

#[actix::test]
async fn a_node_is_found_by_its_address_and_role() {
    let stage = stage().await;
    let address = stage.node.address().unwrap();
    let a = start(stage.operator("a")).await;
    let found = a.connect_any(Role::Agent, address).await.unwrap();
    assert_eq!((found.node.as_str(), found.role), ("b", Role::Agent));
    let service: Mailbox<Service> = a.resolve("b/service").await.unwrap();
    assert_eq!(service.ask(Echo(vec![7])).await, Ok(vec![7]));

    let other = start(stage.operator("other")).await;
    let error = other.connect_any(Role::Coordinator, address).await.unwrap_err();
    assert_eq!(error.to_string(), format!("a coordinator was looked for at {address}, there is the agent b"));
    assert_eq!(other.statistics().await.unwrap().sessions, 0);
}

#[actix::test]
async fn a_refusal_says_whether_it_was_for_a_certificate() {
    let stage = stage().await;
    let address = stage.node.address().unwrap();
    let foreign = Authority::new("foreign", stage.day).unwrap();
    let stranger = start(foreign.issue(&"a".parse().unwrap(), Role::Operator, stage.day).unwrap()).await;
    let error = stranger.connect_any(Role::Agent, address).await.unwrap_err();
    let of = |error: &ConnectError| match error {
        ConnectError::Refused { refusal, .. } => *refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(of(&error), crate::node::Refusal::Certificate, "{error}");

    let twin = stage.authority.issue(&"b".parse().unwrap(), Role::Operator, stage.day).unwrap();
    let error = start(twin).await.connect_any(Role::Agent, address).await.unwrap_err();
    assert_eq!(of(&error), crate::node::Refusal::Session, "{error}");
}

#[actix::test]
async fn a_node_that_only_dials_is_asked_over_the_session_that_it_dialled() {
    let stage = stage().await;
    // Behind NAT nobody can dial it: `b` knows no address of it.
    let hidden = start(stage.operator("hidden")).await;
    hidden.expose("service", server()).allow(Role::Agent).register().await.unwrap().detach();
    hidden.connect("b".parse().unwrap(), stage.node.address().unwrap()).await.unwrap();
    let service: Mailbox<Service> = resolve_soon(&stage.node, "hidden/service").await;
    assert_eq!(service.ask(Echo(vec![9])).await, Ok(vec![9]));
}

fn name(address: &str) -> ExposedName {
    ExposedName { address: address.parse().unwrap(), protocol: "service".into() }
}

#[actix::test]
async fn a_receptionist_hears_of_every_name_that_comes_and_goes() {
    tokio::time::pause();
    let (_, _probe, registration, cut, [a, b]) = probed().await;
    assert_eq!(a.names().await, [name("b/service")]);
    assert_eq!(b.names().await, [name("b/service")]);
    let mut seen = a.subscribe();
    assert_eq!(seen.next().await, Some(NameEvent::Exposed(name("b/service"))));

    let own = a.expose("service", server()).allow(Role::Agent).register().await.unwrap();
    assert_eq!(seen.next().await, Some(NameEvent::Exposed(name("a/service"))));
    b.expose("second", server()).allow(Role::Operator).register().await.unwrap().detach();
    assert_eq!(seen.next().await, Some(NameEvent::Exposed(name("b/second"))));
    drop(registration);
    assert_eq!(seen.next().await, Some(NameEvent::Withdrawn(name("b/service"))));
    drop(own);
    assert_eq!(seen.next().await, Some(NameEvent::Withdrawn(name("a/service"))));
    cut.cut("the cable was pulled");
    assert_eq!(seen.next().await, Some(NameEvent::Withdrawn(name("b/second"))));
    assert_eq!(a.names().await, []);
}
