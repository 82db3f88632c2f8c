//! [`Probe`] and [`Asked`].

use super::*;

/// Asks `request`, and lets the test answer it.
async fn answered<R: Request>(
    request: R,
    answer: impl AsyncFnOnce(Asked<R>),
) -> Result<R::Reply, AskError<R::Error>>
where
    Service: swarm_protocols::Accepts<R>,
{
    let (service, mut probe) = Probe::<Service>::new();
    let test = async { answer(probe.expect::<R>().await).await };
    tokio::join!(service.ask(request).timeout(SECOND).into_future(), test).0
}

#[test]
fn a_test_answers_in_every_way_in_which_an_actor_can() {
    without_actix(async {
        assert_eq!(answered(Open(1), async |asked| assert!(asked.reply(Ok(2)))).await, Ok(2));
        let failed = answered(Open(1), async |asked| assert!(asked.fail(Locked))).await;
        assert_eq!(failed, Err(AskError::Handler(Locked)));
        let panicked = answered(Open(1), async |asked| asked.panic()).await;
        assert_eq!(panicked, Err(DeliveryError::Panicked.into()));
        let stopped = answered(Open(1), async |asked| asked.stop()).await;
        assert_eq!(stopped, Err(DeliveryError::Stopped.into()));
        let held = answered(Open(1), async |asked| asked.hold().await).await;
        assert!(matches!(held, Err(AskError::Delivery(DeliveryError::TimedOut { .. }))), "{held:?}");
    });
}

#[test]
fn a_told_message_is_not_held() {
    without_actix(async {
        let (service, mut probe) = Probe::<Service>::new();
        service.tell(Open(1)).await.unwrap();
        tokio::time::timeout(SECOND, probe.expect::<Open>().await.hold()).await.unwrap();
    });
}

#[test]
fn the_message_that_is_wanted_is_found_and_the_others_keep_their_order() {
    without_actix(async {
        let (service, mut probe) = Probe::<Service>::new();
        for number in 0..3 {
            service.tell(Open(number)).await.unwrap();
            service.tell(Echo(vec![number])).await.unwrap();
        }
        assert_eq!(probe.expect_where(|Echo(bytes)| bytes == &[2]).await.request(), &Echo(vec![2]));
        // Found among those put aside, of which some lie before it and some behind.
        let found = probe.expect_where(|open: &Open| open.0 == 1).await;
        assert_eq!(found.request(), &Open(1));
        assert_eq!(probe.expect::<Open>().await.request(), &Open(0));
        assert_eq!(probe.expect_among::<Open>().await.request(), &Open(2));
        assert_eq!(probe.expect::<Echo>().await.request(), &Echo(vec![0]));
        assert_eq!(probe.expect::<Echo>().await.request(), &Echo(vec![1]));
        probe.expect_none(SECOND).await;
    });
}

#[test]
fn a_panic_names_the_line_what_was_expected_and_what_came() {
    let other = panic_of(async {
        let (service, mut probe) = Probe::<Service>::new();
        service.tell(Open(1)).await.unwrap();
        probe.expect::<Echo>().await;
    });
    assert!(other.ends_with("echo was expected, open came"), "{other}");

    let none = panic_of(async {
        let (_service, mut probe) = Probe::<Service>::new();
        probe.expect_within::<Echo>(SECOND).await;
    });
    assert!(none.ends_with("echo was expected, nothing came within 1s"), "{none}");

    let gone = panic_of(async {
        let (service, mut probe) = Probe::<Service>::new();
        drop(service);
        probe.expect::<Echo>().await;
    });
    assert!(gone.ends_with("echo was expected, and every mailbox of the probe is gone"), "{gone}");

    let unwanted = panic_of(async {
        let (service, mut probe) = Probe::<Service>::new();
        for number in 0..3 {
            service.tell(Open(number)).await.unwrap();
        }
        service.tell(Echo(vec![])).await.unwrap();
        probe.expect_where(|open: &Open| open.0 == 7).await;
    });
    let expected = "open for which the condition holds was expected, nothing came within 5s; \
                    what came: 3 open, echo";
    assert!(unwanted.ends_with(expected), "{unwanted}");

    let something = panic_of(async {
        let (service, mut probe) = Probe::<Service>::new();
        service.tell(Open(1)).await.unwrap();
        probe.expect_none(SECOND).await;
    });
    assert!(something.ends_with("nothing was expected, open came"), "{something}");

    for panic in [other, none, gone, unwanted, something] {
        assert!(panic.contains("tests/probes.rs:"), "{panic}");
    }
}

#[test]
fn a_probe_that_nobody_looks_at_is_an_overloaded_actor() {
    without_actix(async {
        let (service, _probe) = Probe::<Service>::new();
        let mut told = 0;
        let refused = loop {
            match service.tell(Open(1)).await {
                Ok(()) => told += 1,
                Err(refused) => break refused,
            }
        };
        assert!(matches!(refused.cause, DeliveryError::Overloaded { .. }), "{refused:?}");
        assert_eq!((told, refused.message), (1024, Some(Open(1))));
    });
}
