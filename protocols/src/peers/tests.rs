use super::*;
use proptest::prelude::*;
use std::time::Duration;

mod simulation;

fn node(id: &str) -> NodeId {
    id.parse().unwrap()
}

/// Certificates are known by number here: a later one has the greater.
fn shown(own: u8, peer: u8) -> Option<Credentials> {
    let issued = SystemTime::UNIX_EPOCH + Duration::from_secs(peer.into());
    Some(Credentials { own: vec![own], peer: vec![peer], issued })
}

/// The sessions of the node `m`, each with the next number.
struct Table {
    peers: Peers,
    begun: u64,
}

impl Table {
    fn new() -> Self {
        Self { peers: Peers::new(node("m")), begun: 0 }
    }

    fn begin(&mut self, id: &str, side: Side, credentials: Option<Credentials>) -> SessionKey {
        self.begin_as(Beginning { node: node(id), role: Role::Agent, side, credentials, replaces: None })
    }

    fn begin_as(&mut self, beginning: Beginning) -> SessionKey {
        self.begun += 1;
        let key = SessionKey(self.begun);
        self.peers.begin(key, beginning).unwrap();
        key
    }

    fn commands(&mut self) -> Vec<Command> {
        std::iter::from_fn(|| self.peers.poll()).collect()
    }

    /// A session that was asked for, admitted and opened.
    fn accepted(&mut self, id: &str, incarnation: u64, credentials: Option<Credentials>) -> SessionKey {
        let key = self.begin(id, Side::Acceptor, credentials);
        self.peers.asked(key, incarnation);
        self.peers.opened(key, incarnation);
        assert_eq!(self.commands(), [Command::Admit(key), Command::Up(key)]);
        key
    }

    fn asks(&mut self, id: &str, incarnation: u64, credentials: Option<Credentials>) -> SessionKey {
        let key = self.begin(id, Side::Acceptor, credentials);
        self.peers.asked(key, incarnation);
        key
    }

    fn refusal(&mut self) -> (RefuseCause, String) {
        match self.commands().as_slice() {
            [Command::Refuse { cause, reason, .. }] => (*cause, reason.clone()),
            other => panic!("{other:?}"),
        }
    }
}

fn end(session: SessionKey, code: CloseCode, reason: &str) -> Command {
    Command::End { session, code, reason: reason.to_owned() }
}

fn down(session: SessionKey, reason: &str) -> Command {
    Command::Down { session, reason: reason.to_owned() }
}

#[test]
fn a_second_session_of_the_same_process_is_refused_at_once() {
    let mut table = Table::new();
    table.accepted("a", 7, shown(1, 1));
    table.asks("a", 7, shown(1, 1));
    assert_eq!(table.refusal(), (RefuseCause::AlreadyConnected, "a is connected already".to_owned()));
}

#[test]
fn s11_another_incarnation_gets_in_when_the_one_before_does_not_answer_whichever_number_it_has() {
    for incarnation in [6, 8] {
        let mut table = Table::new();
        let old = table.accepted("a", 7, shown(1, 1));
        let new = table.asks("a", incarnation, shown(1, 1));
        assert_eq!(table.commands(), [Command::Probe(old)]);
        table.peers.unanswered(old);
        let reason = "another incarnation connected, and this one did not answer";
        let told = "another incarnation of a connected, and this one did not answer";
        let expected = [end(old, CloseCode::Superseded, told), down(old, reason), Command::Admit(new)];
        assert_eq!(table.commands(), expected);
        table.peers.opened(new, incarnation);
        table.peers.closed(old, "it has ended");
        assert_eq!(table.commands(), [Command::Up(new)]);
    }
}

#[test]
fn s12_of_two_processes_with_one_identity_the_first_keeps_its_place_and_the_second_is_told() {
    let mut table = Table::new();
    let first = table.accepted("a", 1, shown(1, 1));
    for restart in 2..10 {
        table.asks("a", restart, shown(1, 1));
        assert_eq!(table.commands(), [Command::Probe(first)]);
        table.peers.answered(first);
        let reason = "a is connected already: another process with its identity answers".to_owned();
        assert_eq!(table.refusal(), (RefuseCause::AlreadyConnected, reason));
    }
    assert!(table.peers.is_holder(first));
}

#[test]
fn one_that_waits_gets_the_slot_when_its_holder_ends_and_a_third_does_not_wait() {
    let mut table = Table::new();
    let old = table.accepted("a", 1, shown(1, 1));
    let new = table.asks("a", 2, shown(1, 1));
    assert_eq!(table.commands(), [Command::Probe(old)]);
    table.asks("a", 3, shown(1, 1));
    let reason = "a is connected already, and another process with its identity waits for that to end";
    assert_eq!(table.refusal(), (RefuseCause::Unavailable, reason.to_owned()));
    table.peers.closed(old, "the cable was pulled");
    assert_eq!(table.commands(), [down(old, "the cable was pulled"), Command::Admit(new)]);
}

#[test]
fn a_probe_costs_nothing_where_the_one_that_waited_has_left() {
    let mut table = Table::new();
    let old = table.accepted("a", 1, shown(1, 1));
    let new = table.asks("a", 2, shown(1, 1));
    table.peers.closed(new, "it has ended");
    table.peers.unanswered(old);
    assert_eq!(table.commands(), [Command::Probe(old)]);
    assert!(table.peers.is_holder(old));
}

#[test]
fn an_earlier_certificate_displaces_nobody() {
    let mut table = Table::new();
    table.accepted("a", 1, shown(1, 2));
    for incarnation in [1, 2] {
        table.asks("a", incarnation, shown(1, 1));
        let (cause, reason) = table.refusal();
        assert_eq!(cause, RefuseCause::AlreadyConnected);
        assert!(reason.starts_with("a is connected already"), "{reason}");
    }
}

#[test]
fn a_renewed_certificate_replaces_the_session_when_the_peer_uses_the_next_one() {
    for confirm in [Peers::confirmed, |peers: &mut Peers, _| peers.peer_drains(SessionKey(1))] {
        let mut table = Table::new();
        let former = table.accepted("a", 1, shown(1, 1));
        let next = table.asks("a", 1, shown(1, 2));
        table.peers.opened(next, 1);
        assert_eq!(table.commands(), [Command::Admit(next)]);
        assert_eq!(table.peers.predecessor(next, 1), Some(former));
        confirm(&mut table.peers, next);
        assert_eq!(table.commands(), [Command::Replace { former, next }]);
        assert_eq!(table.peers.retired(), 1);
        table.peers.closed(former, "it is done");
        assert_eq!((table.commands(), table.peers.retired()), (vec![], 0));
        assert!(table.peers.is_holder(next));
    }
}

#[test]
fn a_session_that_was_dialled_to_replace_another_does_so_only_with_the_same_process() {
    let mut table = Table::new();
    let former = table.begin("a", Side::Dialler, shown(1, 2));
    table.peers.opened(former, 1);
    assert_eq!(table.commands(), [Command::Up(former)]);
    let dialled = |credentials, role| Beginning {
        node: node("a"),
        role,
        side: Side::Dialler,
        credentials,
        replaces: Some(former),
    };
    for (beginning, incarnation) in [
        (dialled(shown(1, 3), Role::Agent), 2),
        (dialled(shown(1, 3), Role::Coordinator), 1),
        (dialled(shown(1, 1), Role::Agent), 1),
    ] {
        let next = table.begin_as(beginning);
        table.peers.opened(next, incarnation);
        assert!(
            matches!(&*table.commands(), [Command::End { session, code: CloseCode::Done, .. }] if *session == next)
        );
    }
    let next = table.begin_as(dialled(shown(1, 3), Role::Agent));
    table.peers.opened(next, 1);
    assert_eq!(table.commands(), [Command::Replace { former, next }]);
}

#[test]
fn of_two_sessions_that_were_dialled_at_once_the_one_of_the_smaller_id_is_kept() {
    for (other, kept) in [("a", Side::Acceptor), ("z", Side::Dialler)] {
        let mut table = Table::new();
        let dialled = table.begin(other, Side::Dialler, shown(1, 1));
        let accepted = table.accepted(other, 1, shown(1, 1));
        table.peers.opened(dialled, 1);
        let duplicate = |session| end(session, CloseCode::Done, "duplicate connection");
        let expected = match kept {
            Side::Acceptor => vec![duplicate(dialled)],
            Side::Dialler => {
                let lost = down(accepted, "another session took over");
                vec![duplicate(accepted), lost, Command::Up(dialled)]
            }
        };
        assert_eq!(table.commands(), expected, "{other}");
    }
}

#[test]
fn an_operator_has_many_sessions_but_not_any_number() {
    let mut table = Table::new();
    let alice = |side| Beginning {
        node: node("alice"),
        role: Role::Operator,
        side,
        credentials: shown(1, 1),
        replaces: None,
    };
    let mut first = None;
    for process in 0..OPERATOR_SESSIONS_MAX.into() {
        let session = table.begin_as(alice(Side::Acceptor));
        table.peers.asked(session, process);
        assert_eq!(table.commands(), [Command::Admit(session)]);
        first.get_or_insert(session);
    }
    let refused = table.begin_as(alice(Side::Acceptor));
    table.peers.asked(refused, 99);
    let reason = "session limit of alice reached (32)".to_owned();
    assert_eq!(table.refusal(), (RefuseCause::Unavailable, reason));
    table.peers.closed(first.unwrap(), "done");
    let again = table.begin_as(alice(Side::Acceptor));
    table.peers.asked(again, 100);
    assert_eq!(table.commands(), [Command::Admit(again)]);
}

#[test]
fn a_node_that_stops_or_is_full_or_is_asked_by_itself_takes_no_session() {
    let mut table = Table::new();
    table.asks("m", 1, None);
    assert_eq!(table.refusal(), (RefuseCause::AlreadyConnected, "m is this node".to_owned()));
    table.peers.stop();
    table.asks("a", 1, None);
    assert_eq!(table.refusal(), (RefuseCause::Unavailable, "m is stopping".to_owned()));
    let dialled = table.begin("a", Side::Dialler, None);
    table.peers.opened(dialled, 1);
    assert_eq!(table.commands(), [end(dialled, CloseCode::Done, "this node is stopping")]);
    let beginning = |number: usize| Beginning {
        node: node(&format!("a{number}")),
        role: Role::Agent,
        side: Side::Acceptor,
        credentials: None,
        replaces: None,
    };
    for number in table.peers.sessions.len()..SESSIONS_MAX {
        table.begin_as(beginning(number));
    }
    let full = table.peers.begin(SessionKey(u64::MAX), beginning(0));
    assert_eq!(full, Err(SessionLimit::All));
    assert_eq!(SessionLimit::All.to_string(), "session limit reached (4096)");
}

#[test]
fn a7_one_node_has_few_sessions_without_a_slot_and_keeps_no_other_node_out() {
    let mut table = Table::new();
    let key = |table: &mut Table, side| {
        table.begun += 1;
        let beginning =
            Beginning { node: node("a"), role: Role::Operator, side, credentials: None, replaces: None };
        (SessionKey(table.begun), beginning)
    };
    let mut silent = Vec::new();
    let refused = loop {
        let (session, beginning) = key(&mut table, Side::Acceptor);
        match table.peers.begin(session, beginning) {
            Ok(()) => silent.push(session),
            Err(refused) => break refused,
        }
    };
    assert_eq!((silent.len(), &refused), (HANDSHAKES_OF_NODE_MAX, &SessionLimit::OfNode(node("a"))));
    assert_eq!(refused.to_string(), "a has 16 sessions in their handshake or about to end");
    table.asks("b", 1, None);
    // What this node dials is not the other's doing, and one that opens makes room.
    let (dialled, beginning) = key(&mut table, Side::Dialler);
    assert_eq!(table.peers.begin(dialled, beginning), Ok(()));
    table.peers.asked(silent[0], 1);
    let (session, beginning) = key(&mut table, Side::Acceptor);
    assert_eq!(table.peers.begin(session, beginning), Ok(()));
    // One that is refused takes its place until it has ended.
    table.peers.stop();
    table.peers.asked(session, 1);
    let (session, beginning) = key(&mut table, Side::Acceptor);
    assert_eq!(table.peers.begin(session, beginning), Err(refused));
}
