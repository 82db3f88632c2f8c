//! [`MockActor`].

use super::*;

#[test]
fn a_script_answers_several_requests_behind_one_mailbox() {
    without_actix(async {
        let (service, guard) = MockActor::<Service>::new()
            .on::<Echo>(|echo| Ok(echo.0.clone()))
            .once::<Open>(|_| Err(Locked))
            .times::<Open>(2, |open| Ok(open.0))
            .start();
        assert!(!guard.is_met());
        assert_eq!(service.ask(Echo(vec![1])).await, Ok(vec![1]));
        assert_eq!(service.ask(Open(1)).await, Err(AskError::Handler(Locked)));
        assert_eq!(service.ask(Open(2)).await, Ok(2));
        assert_eq!(service.ask(Echo(vec![2])).await, Ok(vec![2]));
        service.tell(Open(3)).await.unwrap();
        assert!(guard.is_met());
        drop(guard);
        assert_eq!(service.ask(Echo(vec![3])).await, Err(DeliveryError::Stopped.into()));
        assert!(matches!(service.tell(Echo(vec![4])).await.unwrap_err().cause, DeliveryError::Stopped));
    });
}

#[test]
fn a_line_that_is_not_met_panics_where_the_guard_is_dropped() {
    let panic = panic_of(async {
        let (service, _guard) = MockActor::<Service>::new()
            .times::<Open>(2, |open| Ok(open.0))
            .on::<Echo>(|_| Ok(vec![]))
            .start();
        assert_eq!(service.ask(Open(1)).await, Ok(1));
    });
    let (head, line) = panic.split_once('\n').unwrap();
    assert_eq!(head, "the mock of service was not used as its script says:");
    assert!(line.contains("tests/mocks.rs:"), "{line}");
    assert!(line.ends_with("open was expected 2 times, 1 came"), "{line}");
}

#[test]
fn a_request_too_many_fails_the_test_and_not_its_asker() {
    let panic = panic_of(async {
        let (service, _guard) = MockActor::<Service>::new().once::<Open>(|open| Ok(open.0)).start();
        assert_eq!(service.ask(Open(1)).await, Ok(1));
        // Both in the background, where a panic would be lost.
        let asking = service.clone();
        let background =
            tokio::spawn(async move { (asking.ask(Open(2)).await, asking.ask(Echo(vec![])).await) });
        let (open, echo) = background.await.unwrap();
        assert_eq!(open, Err(DeliveryError::Stopped.into()));
        assert_eq!(echo, Err(DeliveryError::Stopped.into()));
    });
    assert!(panic.contains("open was not expected, and came\n"), "{panic}");
    assert!(panic.contains("open was expected 1 times, 1 came"), "{panic}");
    assert!(panic.contains("echo was not expected, and came"), "{panic}");
}

#[test]
fn an_order_is_kept_where_it_is_asked_for() {
    fn script() -> MockActor<Service> {
        let script = MockActor::<Service>::new().once::<Open>(|open| Ok(open.0));
        script.once::<Echo>(|echo| Ok(echo.0.clone())).on::<Open>(|_| Err(Locked))
    }
    without_actix(async {
        let (service, _guard) = script().start();
        assert_eq!(service.ask(Echo(vec![1])).await, Ok(vec![1]));
        assert_eq!(service.ask(Open(1)).await, Ok(1));

        let (service, _guard) = script().in_order().start();
        assert_eq!(service.ask(Open(1)).await, Ok(1));
        assert_eq!(service.ask(Open(2)).await, Err(AskError::Handler(Locked)));
        assert_eq!(service.ask(Echo(vec![1])).await, Ok(vec![1]));
    });
    let panic = panic_of(async {
        let (service, _guard) = script().in_order().start();
        assert_eq!(service.ask(Echo(vec![1])).await, Err(DeliveryError::Stopped.into()));
    });
    assert!(panic.contains("echo was not expected, and came before"), "{panic}");
}

#[test]
fn an_assertion_in_the_script_fails_the_test() {
    let panic = panic_of(async {
        let (service, _guard) = MockActor::<Service>::new()
            .once::<Open>(|open| {
                assert_eq!(open.0, 7, "the seventh door");
                Ok(7)
            })
            .start();
        assert_eq!(service.ask(Open(8)).await, Err(DeliveryError::Panicked.into()));
    });
    assert!(panic.contains("the line for open panicked: "), "{panic}");
    assert!(panic.contains("the seventh door"), "{panic}");
}

#[test]
fn a_test_that_panics_already_is_left_to_it() {
    let panic = panic_of(async {
        let (_service, _guard) = MockActor::<Service>::new().once::<Open>(|open| Ok(open.0)).start();
        panic!("the first cause");
    });
    assert_eq!(panic, "the first cause");
}

#[test]
fn many_faults_are_counted_and_the_first_ones_named() {
    let panic = panic_of(async {
        let (service, _guard) = MockActor::<Service>::new().start();
        for _ in 0..1_000 {
            service.tell(Open(1)).await.unwrap();
        }
    });
    assert!(panic.ends_with("and 992 more"), "{panic}");
}
