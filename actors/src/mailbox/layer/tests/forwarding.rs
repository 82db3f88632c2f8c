//! Calls that an actor hands on.

use super::*;

struct Forwarder(Mailbox<Disk>);

impl Actor for Forwarder {
    type Context = Context<Self>;
}

impl Handler<Call<Read>> for Forwarder {
    type Result = Answer<Read>;

    fn handle(&mut self, call: Call<Read>, _: &mut Self::Context) -> Self::Result {
        call.forward(&self.0)
    }
}

impl Handler<Call<Append>> for Forwarder {
    type Result = Answer<Append>;

    fn handle(&mut self, call: Call<Append>, _: &mut Self::Context) -> Self::Result {
        call.forward(&self.0)
    }
}

fn forwarder() -> (Mailbox<Disk>, Probe<Disk>) {
    let (inner, probe) = Probe::new();
    (Mailbox::start(Forwarder(inner)), probe)
}

#[actix::test]
async fn a_forwarded_call_keeps_its_deadline_and_priority_and_brings_the_answer_back() {
    tokio::time::pause();
    let ((disk, mut probe), began) = (forwarder(), Instant::now());
    let ask = disk.ask(Read(7)).timeout(50 * MS).priority(Priority::High).into_future();
    let (answer, ()) = tokio::join!(ask, async {
        let asked = probe.expect::<Read>().await;
        assert_eq!((asked.deadline(), asked.priority()), (Some(began + 50 * MS), Priority::High));
        asked.reply(Ok(8));
    });
    assert_eq!(answer, Ok(8));
    let (answer, ()) = tokio::join!(disk.ask(Read(7)), async {
        probe.expect::<Read>().await.fail(Broken);
    });
    assert_eq!(answer, Err(AskError::Handler(Broken)));
}

#[actix::test]
async fn a_delivery_error_of_the_other_mailbox_reaches_the_asker_as_it_is() {
    tokio::time::pause();
    let refusing = Breaker { inner: Probe::new().0, state: Arc::default() };
    let until = Instant::now() + 1000 * MS;
    *refusing.state.lock().unwrap() = BreakerState { misses: 2, open_until: Some(until) };
    let disk: Mailbox<Disk> = Mailbox::start(Forwarder(Mailbox::layered(refusing)));
    let refused = DeliveryError::Overloaded { retry_after: 1000 * MS };
    assert_eq!(disk.ask(Read(7)).await, Err(refused.into()));
}

#[actix::test]
async fn cancelling_a_forwarded_call_cancels_the_other_one() {
    tokio::time::pause();
    let (disk, mut probe) = forwarder();
    let ask = disk.ask(Read(7)).into_future();
    let asked = probe.expect::<Read>().await;
    assert!(!asked.cancellation().is_cancelled());
    drop(ask);
    asked.hold().await;
}

#[actix::test]
async fn a_told_message_is_told_on() {
    tokio::time::pause();
    let (disk, mut probe) = forwarder();
    disk.tell(Append(7)).await.unwrap();
    let told = probe.expect::<Append>().await;
    assert!(told.is_told() && told.request() == &Append(7));
}
