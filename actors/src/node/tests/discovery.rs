//! Finding nodes by their address alone, and what is exposed where.

use super::{
    hostile::{in_incarnation, stage, staged},
    *,
};
use std::collections::BTreeSet;
use swarm_protocols::wire::{
    control::{Control, Hello, RouteChange},
    frame::{CONTROL_BYTES_MAX, FrameReader, STREAM_CONTROL},
};

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

#[actix::test]
async fn s17_what_a_change_of_routes_costs_does_not_grow_with_the_routes_that_are_there() {
    const SESSIONS: u32 = 12;
    const ROUTES: u32 = 2_000;
    const CHANGES: u32 = 300;
    let stage = staged(|_| {}).await;
    let mut subscribed = stage.node.subscribe();
    let own = ExposedName { address: "b/service".parse().unwrap(), protocol: "service".into() };
    assert_eq!(subscribed.next().await, Some(NameEvent::Exposed(own)));
    let route = |session: u32, id: u32| Route {
        id,
        mailbox: format!("m{session}-{id}").parse().unwrap(),
        protocol: format!("p{id}"),
        request: "echo".to_owned(),
        version: 1,
    };
    let flood = async {
        let mut sessions = Vec::new();
        for session in 0..SESSIONS {
            let routes = (0..ROUTES).map(|id| route(session, id)).collect();
            let hello = Control::Hello(Hello { routes, ..in_incarnation("mallory", session.into()) });
            let mut bytes = vec![STREAM_CONTROL];
            hello.encode(&mut bytes).unwrap();
            let connection = stage.connect_as(&stage.operator("mallory")).await;
            let (mut send, recv) = connection.open_bi().await.unwrap();
            send.write_all(&bytes).await.unwrap();
            sessions.push((connection, send, recv));
        }
        let (_, send, recv) = &mut sessions[0];
        let mut flood = Vec::new();
        for id in ROUTES..ROUTES + CHANGES {
            let added = vec![route(0, id)];
            Control::Routes(RouteChange { added, removed: vec![] }).encode(&mut flood).unwrap();
            Control::Routes(RouteChange { added: vec![], removed: vec![id] }).encode(&mut flood).unwrap();
        }
        Control::Ping(77).encode(&mut flood).unwrap();
        send.write_all(&flood).await.unwrap();
        let (mut reader, mut answered) = (FrameReader::new(CONTROL_BYTES_MAX), false);
        while !answered {
            reader.feed(recv.read_chunk(usize::MAX, true).await.unwrap().unwrap().bytes);
            while let Some(frame) = reader.next_frame().unwrap() {
                answered |= Control::decode(frame).unwrap() == Control::Pong(77);
            }
        }
        // Asked of the bridge, after what the session has told it.
        let all = (SESSIONS * ROUTES + 1) as usize;
        until("all names are there, and no others", async || stage.node.names().await.len() == all).await;
        sessions
    };
    // With names counted anew for each change it takes minutes.
    let sessions = tokio::time::timeout(Duration::from_secs(20), flood).await.expect("changes are slow");
    let mut there = BTreeSet::new();
    while there.len() < (SESSIONS * ROUTES) as usize {
        match subscribed.next().await.unwrap() {
            NameEvent::Exposed(name) => assert!(there.insert(name)),
            NameEvent::Withdrawn(name) => assert!(there.remove(&name)),
        }
    }
    drop(sessions);
    until("none is left", async || stage.node.names().await.len() == 1).await;
    while !there.is_empty() {
        match subscribed.next().await.unwrap() {
            NameEvent::Exposed(name) => assert!(there.insert(name)),
            NameEvent::Withdrawn(name) => assert!(there.remove(&name)),
        }
    }
}

#[actix::test]
async fn s17_a_name_goes_with_the_last_route_that_offers_it() {
    let stage = staged(|_| {}).await;
    let mut seen = stage.node.subscribe();
    let offered = |name: &str| ExposedName { address: name.parse().unwrap(), protocol: "p".into() };
    assert!(matches!(seen.next().await, Some(NameEvent::Exposed(_))));
    let route = |id: u32, name: &str| Route {
        id,
        mailbox: name.parse().unwrap(),
        protocol: "p".to_owned(),
        request: format!("r{id}"),
        version: 1,
    };
    let open = async |incarnation: u64, routes: Vec<Route>| {
        let mut bytes = vec![STREAM_CONTROL];
        Control::Hello(Hello { routes, ..in_incarnation("desk", incarnation) }).encode(&mut bytes).unwrap();
        let connection = stage.connect_as(&stage.operator("desk")).await;
        let (mut send, recv) = connection.open_bi().await.unwrap();
        send.write_all(&bytes).await.unwrap();
        (connection, send, recv)
    };
    let mut first = open(1, vec![route(0, "x"), route(1, "x")]).await;
    assert_eq!(seen.next().await, Some(NameEvent::Exposed(offered("desk/x"))));
    let second = open(2, vec![route(0, "x"), route(1, "y")]).await;
    assert_eq!(seen.next().await, Some(NameEvent::Exposed(offered("desk/y"))));
    let mut change = async |added: Vec<Route>, removed: Vec<u32>| {
        let mut bytes = Vec::new();
        Control::Routes(RouteChange { added, removed }).encode(&mut bytes).unwrap();
        first.1.write_all(&bytes).await.unwrap();
    };
    // Each of them is followed by one that is told, so that it would be seen if it were told.
    change(vec![], vec![0]).await;
    change(vec![], vec![1]).await;
    change(vec![route(2, "y"), route(3, "z")], vec![]).await;
    assert_eq!(seen.next().await, Some(NameEvent::Exposed(offered("desk/z"))));
    change(vec![route(4, "z")], vec![3]).await;
    change(vec![], vec![4]).await;
    assert_eq!(seen.next().await, Some(NameEvent::Withdrawn(offered("desk/z"))));
    second.0.close(0u32.into(), b"");
    assert_eq!(seen.next().await, Some(NameEvent::Withdrawn(offered("desk/x"))));
    change(vec![], vec![2]).await;
    assert_eq!(seen.next().await, Some(NameEvent::Withdrawn(offered("desk/y"))));
}
