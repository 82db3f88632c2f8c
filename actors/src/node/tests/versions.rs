//! Two builds of one protocol, the old and the new one, that ask each other.

use super::*;
use crate::EncodedMailbox;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    net::SocketAddr,
    rc::Rc,
};

mod old {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Request)]
    #[request(name = "find", reply = Found, error = Nothing, idempotent)]
    pub(super) struct Find(pub(super) u32);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Found(pub(super) u32);

    #[derive(Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
    #[error("nothing was found")]
    pub(super) struct Nothing;

    #[derive(Debug, Serialize, Deserialize, Request)]
    #[request(name = "name", reply = String, idempotent)]
    pub(super) struct Name;

    protocol! { pub(super) Finder = "finder" { Find, Name } }
    protocol! { pub(super) Part = "finder" { Name } }

    pub(super) struct Server;

    impl Actor for Server {
        type Context = Context<Self>;
    }

    impl Handler<Call<Find>> for Server {
        type Result = Result<Found, Nothing>;

        fn handle(&mut self, call: Call<Find>, _: &mut Self::Context) -> Self::Result {
            let Find(number) = call.request;
            if number == 0 { Err(Nothing) } else { Ok(Found(number)) }
        }
    }

    impl Handler<Call<Name>> for Server {
        type Result = Result<String, NoError>;

        fn handle(&mut self, _: Call<Name>, _: &mut Self::Context) -> Self::Result {
            Ok("old".to_owned())
        }
    }

    pub(super) async fn expose(node: &Node) {
        let mailbox = Mailbox::<Finder>::start(Server);
        node.expose("finder", mailbox).allow(Role::Operator).register().await.unwrap().detach();
    }
}

mod new {
    use super::*;
    pub(super) use old::Name;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Request)]
    #[request(name = "find", version = 2, reply = Found, error = Nothing, idempotent)]
    pub(super) struct Find {
        pub(super) number: u32,
        pub(super) at_most: u32,
    }

    impl From<old::Find> for Find {
        fn from(old::Find(number): old::Find) -> Self {
            assert!(number != 13, "as the test wants");
            Self { number, at_most: 1 }
        }
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Found(pub(super) Vec<u32>);

    impl From<Found> for old::Found {
        fn from(Found(found): Found) -> Self {
            Self(found[0])
        }
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
    #[error("nothing was found below {0}")]
    pub(super) struct Nothing(pub(super) u32);

    impl From<Nothing> for old::Nothing {
        fn from(_: Nothing) -> Self {
            Self
        }
    }

    protocol! { pub(super) Finder = "finder" { Find, Name } }

    pub(super) struct Server;

    impl Actor for Server {
        type Context = Context<Self>;
    }

    impl Handler<Call<Find>> for Server {
        type Result = Result<Found, Nothing>;

        fn handle(&mut self, call: Call<Find>, _: &mut Self::Context) -> Self::Result {
            let Find { number, at_most } = call.request;
            if number == 0 { Err(Nothing(0)) } else { Ok(Found((0..at_most).map(|i| number + i).collect())) }
        }
    }

    impl Handler<Call<Name>> for Server {
        type Result = Result<String, NoError>;

        fn handle(&mut self, _: Call<Name>, _: &mut Self::Context) -> Self::Result {
            Ok("new".to_owned())
        }
    }

    pub(super) async fn expose(node: &Node) {
        let exposing = node.expose("finder", Mailbox::<Finder>::start(Server));
        let exposing = exposing.also_accepts::<old::Find, Find>().allow(Role::Operator);
        exposing.register().await.unwrap().detach();
    }
}

fn incompatible() -> DeliveryError {
    DeliveryError::Incompatible { request: "find".to_owned(), wanted: 2, offered: Some(1) }
}

#[actix::test]
async fn c7_an_old_client_is_served_by_a_new_server() {
    tokio::time::pause();
    let (a, b, _cut) = pair(memory("a", Role::Operator), memory("b", Role::Agent)).await;
    new::expose(&b).await;
    let finder: Mailbox<old::Finder> = resolve_soon(&a, "b/finder").await;
    assert_eq!(finder.ask(old::Find(7)).await, Ok(old::Found(7)));
    assert_eq!(finder.ask(old::Find(0)).await, Err(AskError::Handler(old::Nothing)));
    assert_eq!(finder.ask(old::Find(13)).await, Err(DeliveryError::Panicked.into()), "its conversion does");
    finder.tell(old::Find(13)).await.unwrap();
    assert_eq!(finder.ask(old::Name).await, Ok("new".to_owned()));
    let finder: Mailbox<new::Finder> = a.resolve("b/finder").await.unwrap();
    assert_eq!(finder.ask(new::Find { number: 7, at_most: 2 }).await, Ok(new::Found(vec![7, 8])));
    let here = b.resolve::<old::Finder>("b/finder").await.unwrap_err();
    assert!(matches!(here, ResolveError::OtherType { .. }), "{here}");
    let encoded = a.resolve_encoded("b/finder").await.unwrap();
    assert_eq!([1, 2, 3].map(|version| encoded.accepts("find", version)), [true, true, false]);
}

#[actix::test]
async fn c7_what_an_old_server_does_not_accept_costs_a_new_client_that_request_alone() {
    tokio::time::pause();
    let (a, b, _cut) = pair(memory("a", Role::Operator), memory("b", Role::Agent)).await;
    old::expose(&b).await;
    let finder: Mailbox<new::Finder> = resolve_soon(&a, "b/finder").await;
    let find = new::Find { number: 7, at_most: 2 };
    assert_eq!(finder.ask(find.clone()).await, Err(incompatible().into()));
    assert_eq!(incompatible().to_string(), "the peer accepts `find` version 1, not 2");
    assert_eq!(incompatible().delivery(), Delivery::NotSent);
    let told = finder.tell(find.clone()).await.unwrap_err();
    assert_eq!((told.message, told.cause), (Some(find.clone()), incompatible()));
    assert_eq!(finder.ask(new::Name).await, Ok("old".to_owned()));
    // A part of the protocol is enough for one who wants no more of it.
    let part: Mailbox<old::Part> = a.resolve("b/finder").await.unwrap();
    assert_eq!(part.ask(old::Name).await, Ok("old".to_owned()));
    assert!(!EncodedMailbox::from(finder.clone()).accepts("find", 2));

    // A node that passes requests on passes that answer on as well.
    let (c, d, _cut) = pair(memory("c", Role::Operator), memory("d", Role::Agent)).await;
    let through = Mailbox::layered(Through(finder));
    d.expose("finder", through).allow(Role::Operator).register().await.unwrap().detach();
    let finder: Mailbox<new::Finder> = resolve_soon(&c, "d/finder").await;
    assert_eq!(finder.ask(find).await, Err(incompatible().into()));
}

struct Through<P: Protocol>(Mailbox<P>);

impl<P: Protocol> crate::Layer<P> for Through<P> {
    fn choose(&self, _: &crate::Attempt<'_>) -> Result<crate::Choice<P>, DeliveryError> {
        Ok(crate::Choice::new(self.0.clone()))
    }
}

/// Two servers that are upgraded one after the other, while clients ask them.
struct Rolling {
    authority: Authority,
    day: Validity,
    addresses: RefCell<Vec<SocketAddr>>,
    ended: Cell<bool>,
    served_by: RefCell<BTreeSet<String>>,
}

const SERVERS: [&str; 2] = ["server-1", "server-2"];

impl Rolling {
    async fn start(&self, id: &str, role: Role, listen: SocketAddr) -> Node {
        let identity = self.authority.issue(&id.parse().unwrap(), role, self.day).unwrap();
        loop {
            match Node::start(NodeConfig::new(identity.clone(), listen)).await {
                Ok(node) => return node,
                // The node before it lets go of its port in its own time.
                Err(StartError::Listen { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Asks until the end, one server after the other, each question until it is answered; yields how many were.
    async fn load<P: Accepts<R> + Accepts<old::Name>, R: Request>(
        &self,
        id: &str,
        find: impl Fn(u32) -> R,
        found: impl Fn(u32, R::Reply) -> bool,
    ) -> u32 {
        let node = self.start(id, Role::Operator, "127.0.0.1:0".parse().unwrap()).await;
        let addresses = self.addresses.borrow().clone();
        for (server, address) in SERVERS.iter().zip(addresses) {
            node.connect(server.parse().unwrap(), address).await.unwrap();
        }
        let mut number = 0;
        while !self.ended.get() {
            number += if number == 12 { 2 } else { 1 };
            let mut attempts = 0;
            loop {
                attempts += 1;
                let server = SERVERS[(number + attempts) as usize % 2];
                assert!(attempts < 10_000, "question {number} is lost");
                let Ok(finder) = node.resolve::<P>(&format!("{server}/finder")).await else { continue };
                match finder.ask(find(number)).await {
                    Ok(reply) => {
                        assert!(found(number, reply), "question {number}");
                        if let Ok(name) = finder.ask(old::Name).await {
                            self.served_by.borrow_mut().insert(format!("{id} by {name}"));
                        }
                        break;
                    }
                    // It is idempotent, and asked again whatever is known of it.
                    Err(AskError::Delivery(error)) => {
                        assert!(!matches!(error, DeliveryError::Incompatible { .. }), "{server}: {error}");
                    }
                    Err(AskError::Handler(error)) => panic!("{error}"),
                }
            }
        }
        number
    }

    async fn until_served(&self, wanted: &[&str]) {
        let served = async {
            while !wanted.iter().all(|wanted| self.served_by.borrow().contains(*wanted)) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), served).await.expect("somebody is not served");
    }
}

#[actix::test]
async fn c7_servers_and_then_clients_are_upgraded_without_a_lost_question() {
    let day = Validity::starting(SystemTime::now(), Duration::from_secs(86_400)).unwrap();
    let rolling = Rc::new(Rolling {
        authority: Authority::new("test", day).unwrap(),
        day,
        addresses: RefCell::default(),
        ended: Cell::new(false),
        served_by: RefCell::default(),
    });
    let mut servers = Vec::new();
    for id in SERVERS {
        let node = rolling.start(id, Role::Agent, "127.0.0.1:0".parse().unwrap()).await;
        old::expose(&node).await;
        rolling.addresses.borrow_mut().push(node.address().unwrap());
        servers.push(node);
    }
    let load = Rc::clone(&rolling);
    let old_client = actix_rt::spawn(async move {
        load.load::<old::Finder, _>("old", old::Find, |number, found| found == old::Found(number)).await
    });
    rolling.until_served(&["old by old"]).await;
    for (id, server) in SERVERS.into_iter().zip(servers) {
        let address = server.address().unwrap();
        server.stop(Duration::from_secs(5)).await;
        drop(server);
        new::expose(&rolling.start(id, Role::Agent, address).await).await;
    }
    rolling.until_served(&["old by new"]).await;
    let load = Rc::clone(&rolling);
    let new_client = actix_rt::spawn(async move {
        let find = |number| new::Find { number, at_most: 2 };
        let found = |number, found| found == new::Found(vec![number, number + 1]);
        load.load::<new::Finder, _>("new", find, found).await
    });
    rolling.until_served(&["new by new"]).await;
    rolling.ended.set(true);
    let (old, new) = tokio::join!(old_client, new_client);
    assert!(old.unwrap() > 0 && new.unwrap() > 0);
}
