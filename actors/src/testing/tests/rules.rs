//! [`FakeClock`], with the rule of a session: what the actors rely on, over many histories.

use super::*;
use proptest::prelude::*;
use swarm_protocols::{
    session::{Action, CloseCode, Session, Timing},
    wire::{
        codec::BINCODE_2,
        control::{Control, Hello, Limits, WIRE_VERSIONS, Welcome},
    },
};
use uuid::Uuid;

fn hello(id: &str) -> Hello {
    Hello {
        node: id.parse().unwrap(),
        incarnation: 1,
        wire_versions: WIRE_VERSIONS,
        codecs: vec![BINCODE_2],
        agent_type: String::new(),
        capabilities: vec![],
        limits: Limits::default(),
        routes: vec![],
    }
}

/// The session of a dialler that has just opened.
fn open_session(clock: &FakeClock) -> Session {
    let mut session = Session::dial(hello("a"), "b".parse().unwrap(), Timing::default(), clock.now());
    let (wire_version, codec) = (WIRE_VERSIONS.1, BINCODE_2);
    let welcome = Welcome { session: Uuid::nil(), wire_version, codec, hello: hello("b") };
    session.handle(Control::Welcome(welcome), clock.now());
    session
}

/// The code with which the session wants to be closed, if it does.
fn closed(session: &mut Session) -> Option<CloseCode> {
    std::iter::from_fn(|| session.poll()).find_map(|action| match action {
        Action::Close(code, _) => Some(code),
        _ => None,
    })
}

proptest! {
    #[test]
    fn a_session_ends_when_its_peer_has_been_silent_for_the_bound_and_never_before(
        pauses_ms in prop::collection::vec(0_u64..12_000, 1..50),
    ) {
        let (mut clock, silence) = (FakeClock::new(), Timing::default().silence);
        let mut session = open_session(&clock);
        for pause in pauses_ms.into_iter().map(Duration::from_millis) {
            let (heard, next_frame) = (clock.now(), clock.now() + pause);
            while let Some(timeout) = session.next_timeout().filter(|timeout| *timeout < next_frame) {
                session.handle_timeout(clock.advance_to(timeout));
            }
            let silent = clock.advance_to(next_frame) - heard > silence;
            prop_assert_eq!(closed(&mut session), silent.then_some(CloseCode::Silent));
            if silent {
                prop_assert_eq!(session.next_timeout(), None);
                return Ok(());
            }
            session.handle(Control::Ping(1), clock.now());
        }
    }
}
