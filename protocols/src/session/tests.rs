use super::*;
use crate::wire::{codec::BINCODE_2, control::Limits};
use proptest::prelude::*;

#[expect(clippy::disallowed_methods, reason = "an origin for virtual time; nothing measures it")]
fn origin() -> Instant {
    Instant::now()
}

fn id(text: &str) -> NodeId {
    text.parse().unwrap()
}

fn hello(node: &str) -> Hello {
    Hello {
        node: id(node),
        incarnation: 7,
        wire_versions: WIRE_VERSIONS,
        codecs: vec![BINCODE_2],
        agent_type: "pattern-matcher".into(),
        capabilities: vec!["pattern-matcher".into()],
        limits: Limits::default(),
        routes: vec![route(0)],
    }
}

fn route(id: u32) -> Route {
    Route {
        id,
        mailbox: "matcher".parse().unwrap(),
        protocol: "pattern-matcher".into(),
        request: "find-similar".into(),
        version: 1,
    }
}

fn actions(session: &mut Session) -> Vec<Action> {
    std::iter::from_fn(|| session.poll()).collect()
}

fn session_id() -> Uuid {
    Uuid::from_u128(1)
}

/// Dialler `a` and acceptor `b`, open, with nothing left to do but answer the first pings.
fn open_pair(now: Instant) -> (Session, Session) {
    let mut a = Session::dial(hello("a"), id("b"), Timing::default(), now);
    let mut b = Session::accept(hello("b"), id("a"), Timing::default(), now);
    deliver(&mut a, &mut b, now);
    b.admit(session_id(), now);
    deliver(&mut b, &mut a, now);
    deliver(&mut a, &mut b, now);
    deliver(&mut b, &mut a, now);
    assert_eq!((a.state, b.state), (State::Open, State::Open));
    (a, b)
}

/// Performs what `from` says and hands its frames to `to`; returns what else it said.
fn deliver(from: &mut Session, to: &mut Session, now: Instant) -> Vec<Action> {
    let mut rest = Vec::new();
    for action in actions(from) {
        match action {
            Action::Send(control) => to.handle(control, now),
            other => rest.push(other),
        }
    }
    rest
}

#[test]
fn a_handshake_opens_both_sides_under_one_id() {
    let now = origin();
    let mut a = Session::dial(hello("a"), id("b"), Timing::default(), now);
    let mut b = Session::accept(hello("b"), id("a"), Timing::default(), now);
    assert_eq!(deliver(&mut a, &mut b, now), []);
    assert_eq!(actions(&mut b), [Action::Admit { node: id("a"), incarnation: 7 }]);
    b.admit(session_id(), now);
    let opened = deliver(&mut b, &mut a, now);
    assert_eq!(opened, [Action::Open { session: session_id(), peer: Box::new(hello("a")) }]);
    let opened = Action::Open { session: session_id(), peer: Box::new(hello("b")) };
    assert_eq!(actions(&mut a), [opened, Action::Send(Control::Ping(1)), Action::Send(Control::Pong(1))]);
}

#[test]
fn a_hello_under_another_name_is_refused() {
    let now = origin();
    let mut b = Session::accept(hello("b"), id("a"), Timing::default(), now);
    b.handle(Control::Hello(hello("c")), now);
    let said = actions(&mut b);
    let [Action::Send(Control::Refuse(refuse)), Action::Close(CloseCode::Refused, _)] = &said[..] else {
        panic!("{said:?}");
    };
    assert_eq!(refuse.cause, RefuseCause::WrongIdentity);
    assert_eq!(refuse.reason, "the certificate is that of a, the hello of c");
}

#[test]
fn no_common_version_or_codec_is_refused_by_name() {
    let now = origin();
    let strangers = [Hello { wire_versions: (2, 9), ..hello("a") }, Hello { codecs: vec![99], ..hello("a") }];
    for stranger in strangers {
        let mut b = Session::accept(hello("b"), id("a"), Timing::default(), now);
        b.handle(Control::Hello(stranger), now);
        let said = actions(&mut b);
        let Action::Send(Control::Refuse(refuse)) = &said[0] else { panic!("{said:?}") };
        assert_eq!(refuse.cause, RefuseCause::Incompatible);
        assert!(refuse.reason.contains("wire versions 1 to 1"), "{}", refuse.reason);
    }
}

#[test]
fn a_hello_that_breaks_a_limit_is_refused() {
    let now = origin();
    let bad = [
        Hello { capabilities: vec!["x".into(); 65], ..hello("a") },
        Hello { agent_type: "x".repeat(129), ..hello("a") },
        Hello { limits: Limits { in_flight: 0, ..Limits::default() }, ..hello("a") },
        Hello { routes: vec![route(1), route(1)], ..hello("a") },
    ];
    for hello_of_a in bad {
        let mut b = Session::accept(hello("b"), id("a"), Timing::default(), now);
        b.handle(Control::Hello(hello_of_a), now);
        let said = actions(&mut b);
        assert!(
            matches!(&said[0], Action::Send(Control::Refuse(r)) if r.cause == RefuseCause::Malformed),
            "{said:?}"
        );
    }
}

#[test]
fn the_longest_hello_fits_into_a_control_frame() {
    let long = |text: &str| text.repeat(CAPABILITIES_MAX.1);
    let routes = (0..ROUTES_MAX as u32).map(|id| Route {
        id,
        mailbox: "x".repeat(63).parse().unwrap(),
        protocol: long("y"),
        request: long("z"),
        version: u16::MAX,
    });
    let longest = Hello {
        agent_type: long("t"),
        capabilities: vec![long("c"); CAPABILITIES_MAX.0],
        routes: routes.collect(),
        ..hello("a")
    };
    assert_eq!(check(&longest), Ok(()));
    let mut bytes = Vec::new();
    Control::Hello(longest).encode(&mut bytes).unwrap();
    assert!(bytes.len() < crate::wire::frame::CONTROL_BYTES_MAX, "{} bytes", bytes.len());
}

#[test]
fn a_refused_dialler_hears_the_reason() {
    let now = origin();
    let mut a = Session::dial(hello("a"), id("b"), Timing::default(), now);
    let mut b = Session::accept(hello("b"), id("a"), Timing::default(), now);
    deliver(&mut a, &mut b, now);
    b.refuse(RefuseCause::AlreadyConnected, "a is connected".into());
    deliver(&mut b, &mut a, now);
    assert_eq!(actions(&mut a), [Action::Close(CloseCode::Refused, "a is connected".into())]);
}

#[test]
fn a_handshake_that_stalls_ends_in_time() {
    let now = origin();
    let mut b = Session::accept(hello("b"), id("a"), Timing::default(), now);
    assert_eq!(b.next_timeout(), Some(now + Timing::default().handshake));
    b.handle_timeout(now + Timing::default().handshake - Duration::from_millis(1));
    assert_eq!(actions(&mut b), []);
    b.handle_timeout(now + Timing::default().handshake);
    assert!(matches!(&actions(&mut b)[..], [Action::Close(CloseCode::HandshakeTimeout, _)]));
    assert_eq!(b.next_timeout(), None);
}

#[test]
fn pings_go_out_on_time_and_measure_the_round_trip() {
    let start = origin();
    let (mut a, mut b) = open_pair(start);
    actions(&mut a);
    let due = start + Timing::default().heartbeat;
    assert_eq!(a.next_timeout(), Some(due));
    a.handle_timeout(due);
    deliver(&mut a, &mut b, due);
    let later = due + Duration::from_millis(3);
    deliver(&mut b, &mut a, later);
    assert_eq!(actions(&mut a), [Action::RoundTrip(Duration::from_millis(3))]);
}

#[test]
fn a_silent_peer_is_given_up() {
    let start = origin();
    let (mut a, _) = open_pair(start);
    actions(&mut a);
    let closed = loop {
        let now = a.next_timeout().unwrap();
        a.handle_timeout(now);
        if let Some(Action::Close(code, _)) = actions(&mut a).pop() {
            break (code, now);
        }
    };
    assert_eq!(closed, (CloseCode::Silent, start + Timing::default().silence));
}

#[test]
fn a_side_that_slept_asks_before_it_gives_the_peer_up() {
    let start = origin();
    let (mut a, _) = open_pair(start);
    actions(&mut a);
    let late = start + 10 * Timing::default().silence;
    a.handle_timeout(late);
    assert_eq!(actions(&mut a), [Action::Send(Control::Ping(2))]);
    a.handle_timeout(late + Timing::default().heartbeat);
    assert_eq!(actions(&mut a), [Action::Send(Control::Ping(3))]);
    let closed = loop {
        let now = a.next_timeout().unwrap();
        a.handle_timeout(now);
        if let Some(Action::Close(code, _)) = actions(&mut a).pop() {
            break (code, now);
        }
    };
    assert_eq!(closed, (CloseCode::Silent, late + Timing::default().silence));
}

#[test]
fn routes_are_told_and_ids_are_never_used_twice() {
    let now = origin();
    let (mut a, mut b) = open_pair(now);
    actions(&mut b);
    a.change_routes(RouteChange { added: vec![route(1)], removed: vec![0] });
    deliver(&mut a, &mut b, now);
    let told = RouteChange { added: vec![route(1)], removed: vec![0] };
    assert_eq!(actions(&mut b), [Action::Routes(told)]);
    b.handle(Control::Routes(RouteChange { added: vec![route(0)], removed: vec![] }), now);
    assert_eq!(
        actions(&mut b),
        [Action::Close(CloseCode::ProtocolViolation, "route 0 was given before".into())]
    );
}

#[test]
fn routes_that_come_during_the_handshake_are_not_lost() {
    let now = origin();
    let mut a = Session::dial(hello("a"), id("b"), Timing::default(), now);
    let mut b = Session::accept(hello("b"), id("a"), Timing::default(), now);
    b.change_routes(RouteChange { added: vec![route(1)], removed: vec![0] });
    deliver(&mut a, &mut b, now);
    a.change_routes(RouteChange { added: vec![route(1)], removed: vec![] });
    assert_eq!(actions(&mut a), [], "told before the acceptor may hear it");
    b.admit(session_id(), now);
    deliver(&mut b, &mut a, now);
    deliver(&mut a, &mut b, now);
    assert_eq!(b.peer_routes, BTreeSet::from([0, 1]));
    assert_eq!(a.peer_routes, BTreeSet::from([1]));
}

#[test]
fn a_frame_out_of_place_ends_the_session() {
    let now = origin();
    let mut b = Session::accept(hello("b"), id("a"), Timing::default(), now);
    b.handle(Control::Ping(1), now);
    assert_eq!(
        actions(&mut b),
        [Action::Close(CloseCode::ProtocolViolation, "a ping came while awaiting the hello".into())]
    );
    let (mut a, _) = open_pair(now);
    actions(&mut a);
    a.handle(Control::Pong(99), now);
    assert!(matches!(&actions(&mut a)[..], [Action::Close(CloseCode::ProtocolViolation, _)]));
}

fn control() -> impl Strategy<Value = Control> {
    prop_oneof![
        Just(Control::Hello(hello("a"))),
        Just(Control::Hello(hello("c"))),
        Just(Control::Refuse(Refuse { cause: RefuseCause::Unavailable, reason: "no".into() })),
        (0..4_u32, 0..4_u32).prop_map(|(added, removed)| {
            Control::Routes(RouteChange { added: vec![route(added)], removed: vec![removed] })
        }),
        (0..5_u64).prop_map(Control::Ping),
        (0..5_u64).prop_map(Control::Pong),
        Just(Control::Drain),
    ]
}

proptest! {
    /// Whatever a peer sends and however long it takes, there is one end, it is the last action,
    /// and the session opens only after admission.
    #[test]
    fn any_order_of_events_keeps_the_rules(
        events in prop::collection::vec((control(), 0..4000_u64, any::<bool>()), 0..40)
    ) {
        let mut now = origin();
        let mut b = Session::accept(hello("b"), id("a"), Timing::default(), now);
        let (mut asked, mut closed) = (false, false);
        for (control, pause, admit) in events {
            now += Duration::from_millis(pause);
            b.handle_timeout(now);
            b.handle(control, now);
            if asked && admit {
                b.admit(session_id(), now);
            }
            for action in actions(&mut b) {
                prop_assert!(!closed, "{action:?} after the end");
                match action {
                    Action::Admit { .. } => asked = true,
                    Action::Open { .. } | Action::Routes(_) => prop_assert!(asked),
                    Action::Close(..) => closed = true,
                    _ => {}
                }
            }
        }
        prop_assert_eq!(closed, b.next_timeout().is_none());
    }
}

#[test]
fn a_probe_is_answered_by_a_pong_to_it_and_by_nothing_before() {
    let start = origin();
    let (mut a, mut b) = open_pair(start);
    actions(&mut a);
    let now = start + Duration::from_millis(10);
    a.probe(now);
    assert_eq!(actions(&mut a), [Action::Send(Control::Ping(2))]);
    // What was on its way before says nothing, and a second probe changes nothing.
    a.handle(Control::Pong(1), now);
    a.handle(Control::Ping(9), now);
    a.probe(now);
    assert_eq!(actions(&mut a), [Action::Send(Control::Pong(9))]);
    b.handle(Control::Ping(2), now);
    let answered = [Action::Answered, Action::RoundTrip(Duration::ZERO)];
    deliver(&mut b, &mut a, now);
    assert_eq!(actions(&mut a), answered);
    assert_eq!(a.next_timeout(), Some(now + Timing::default().heartbeat));
}

#[test]
fn a_probe_fails_after_a_quarter_of_a_handshake_and_the_session_goes_on() {
    let start = origin();
    let (mut a, _) = open_pair(start);
    a.probe(start);
    let due = start + Timing::default().handshake / 4;
    assert_eq!(a.next_timeout(), Some(due));
    actions(&mut a);
    a.handle_timeout(due);
    assert_eq!(actions(&mut a), [Action::Unanswered]);
    assert_eq!(a.state, State::Open);
}

#[test]
fn s8_a_peer_that_was_not_heard_for_a_heartbeat_is_probed_when_it_is_checked() {
    let start = origin();
    let (mut a, mut b) = open_pair(start);
    actions(&mut a);
    let late = start + Timing::default().heartbeat;
    assert!(a.check(late));
    assert_eq!(actions(&mut a), []);
    let later = late + Duration::from_millis(1);
    assert!(!a.check(later) && !a.check(later));
    assert_eq!(actions(&mut a), [Action::Send(Control::Ping(2))]);
    b.handle(Control::Ping(2), later);
    deliver(&mut b, &mut a, later);
    assert!(actions(&mut a).contains(&Action::Answered) && a.check(later));
}

#[test]
fn s8_a_peer_of_which_something_is_expected_is_probed_once_it_was_not_heard_for_half_a_heartbeat() {
    let start = origin();
    let (mut a, _) = open_pair(start);
    actions(&mut a);
    let late = start + Timing::default().heartbeat / 2;
    a.expect(late);
    assert_eq!(actions(&mut a), []);
    a.expect(late + Duration::from_millis(1));
    a.expect(late + Duration::from_millis(2));
    assert_eq!(actions(&mut a), [Action::Send(Control::Ping(2))]);
}

#[test]
fn a_side_that_slept_probes_again_before_it_judges() {
    let start = origin();
    let (mut a, _) = open_pair(start);
    a.probe(start);
    actions(&mut a);
    let late = start + Duration::from_secs(60);
    a.handle_timeout(late);
    assert_eq!(actions(&mut a), [Action::Send(Control::Ping(3))]);
    a.handle(Control::Pong(3), late);
    assert!(actions(&mut a).contains(&Action::Answered));
}
