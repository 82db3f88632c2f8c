//! What an actor has in progress: in which order it came, when it counts, what becomes of it in a panic.

use super::*;

#[derive(Debug, Serialize, Deserialize, Request)]
#[request(name = "note")]
struct Note(u32);

#[derive(Debug, Serialize, Deserialize, Request)]
#[request(name = "count", reply = Vec<u32>)]
struct Count(u32);

protocol! { Ledger = "ledger" { Note, Count } }

/// Writes down in which order its messages came.
#[derive(Default)]
struct Notary(Vec<u32>);

impl Actor for Notary {
    type Context = Context<Self>;
}

impl Handler<Call<Note>> for Notary {
    type Result = Result<(), NoError>;

    fn handle(&mut self, call: Call<Note>, _: &mut Self::Context) -> Self::Result {
        self.0.push(call.request.0);
        Ok(())
    }
}

impl Handler<Call<Count>> for Notary {
    type Result = Result<Vec<u32>, NoError>;

    fn handle(&mut self, call: Call<Count>, _: &mut Self::Context) -> Self::Result {
        self.0.push(call.request.0);
        Ok(self.0.clone())
    }
}

fn notary() -> Mailbox<Ledger> {
    Mailbox::start(Notary::default())
}

/// Asks of two types and tells, far more than an actix mailbox holds at once.
async fn send_a_burst(ledger: &Mailbox<Ledger>) {
    let notes = (0..100_u32).map(|i| ledger.ask(Note(i)).into_future()).collect::<Vec<_>>();
    let counts = (100..130_u32).map(|i| ledger.ask(Count(i)).into_future()).collect::<Vec<_>>();
    let tells = (130..230_u32).map(|i| ledger.tell(Note(i)).into_future()).collect::<Vec<_>>();
    let last = futures_util::future::join_all(tells);
    let (notes, counts, tells) =
        tokio::join!(futures_util::future::join_all(notes), futures_util::future::join_all(counts), last);
    assert!(notes.into_iter().all(|note| note == Ok(())));
    assert!(counts.into_iter().all(|count| count.is_ok()));
    assert!(tells.into_iter().all(|told| told.is_ok()));
}

#[actix::test]
async fn requests_of_several_types_keep_their_order() {
    let ledger = notary();
    send_a_burst(&ledger).await;
    let mut order = ledger.ask(Count(230)).await.unwrap();
    assert_eq!(order.split_off(130).last(), Some(&230));
    assert_eq!(order, (0..130).collect::<Vec<_>>());

    let (ledger, _registration, _cut, _nodes) = served(notary()).await;
    send_a_burst(&ledger).await;
    let mut order = ledger.ask(Count(230)).await.unwrap();
    order.truncate(130);
    assert_eq!(order, (0..130).collect::<Vec<_>>());
}

#[actix::test]
async fn what_an_actor_still_works_on_counts_when_its_asker_has_left() {
    let service = Mailbox::<Service>::local_with(Server.start(), 2);
    assert_eq!(service.ask(Echo(vec![1])).await, Ok(vec![1]));
    // The actor has two calls in its queue whose askers leave before it gets to them.
    for _ in 0..2 {
        drop(service.ask(Misbehave::Never).into_future());
    }
    let full = service.ask(Echo(vec![2])).await;
    assert!(matches!(full, Err(AskError::Delivery(DeliveryError::Overloaded { .. }))), "{full:?}");
    assert!(service.tell(Echo(vec![3])).await.is_err());
    // Once it has got to them they are gone.
    until("it is answered", async || service.ask(Echo(vec![4])).await == Ok(vec![4])).await;
}

#[actix::test]
async fn what_waits_behind_a_panic_is_not_said_to_be_delivered() {
    let through_an_address = || Mailbox::local(Server.start());
    for (service, error) in
        [(server(), DeliveryError::Stopped), (through_an_address(), DeliveryError::Panicked)]
    {
        let first = service.ask(Misbehave::Panic).into_future();
        let behind = service.ask(Echo(vec![1])).into_future();
        let (first, behind) = tokio::join!(first, behind);
        assert_eq!(first, Err(DeliveryError::Panicked.into()));
        assert_eq!(error.delivery(), Delivery::Unknown);
        assert_eq!(behind, Err(error.into()));
    }
}

#[actix::test]
async fn a_node_that_drains_is_said_to_take_no_new_connections() {
    let day = Validity::starting(SystemTime::now(), Duration::from_secs(86_400)).unwrap();
    let authority = Authority::new("test", day).unwrap();
    let start = async |id: &str| {
        let identity = authority.issue(&id.parse().unwrap(), Role::Operator, day).unwrap();
        Node::start(NodeConfig::new(identity, "127.0.0.1:0".parse().unwrap())).await.unwrap()
    };
    let [busy, known, late] = [start("busy").await, start("known").await, start("late").await];
    let _exposed = busy.expose("service", server()).allow(Role::Operator).register().await.unwrap();
    let (name, address) = ("busy".parse::<swarm_protocols::NodeId>().unwrap(), busy.address().unwrap());
    known.connect(name.clone(), address).await.unwrap();
    let service: Mailbox<Service> = known.resolve("busy/service").await.unwrap();
    let _asked = actix_rt::spawn(service.ask(Misbehave::Never).into_future());
    service.ask(Echo(vec![])).await.unwrap();
    let _stopping = actix_rt::spawn(async move { busy.stop(Duration::from_secs(60)).await });
    until("it drains", async || service.ask(Echo(vec![])).await == Err(DeliveryError::Draining.into())).await;
    let refused = late.connect(name, address).await.unwrap_err();
    assert_eq!(refused.to_string(), format!("no session with busy at {address}: busy is stopping"));

    // Once its last session has ended.
    let ended =
        lenient::Server::new(&authority.issue(&"ended".parse().unwrap(), Role::Operator, day).unwrap(), 0);
    ended.endpoint.close(0_u8.into(), b"");
    let address = ended.address();
    let refused = late.connect("ended".parse().unwrap(), address).await.unwrap_err();
    let reason = "it refuses new connections for now: it stops, or had too many attempts from here";
    assert_eq!(refused.to_string(), format!("ended at {address} cannot be reached: {reason}"));
}
