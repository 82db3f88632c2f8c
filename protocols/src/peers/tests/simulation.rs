//! Random histories of nodes that dial, stop, are killed, renew their certificates and share an identity, over a
//! network that delivers what was sent on different connections in any order.

use super::*;
use std::collections::BTreeMap;

/// What crosses a connection, in order in each direction.
#[derive(Debug, Clone)]
enum Word {
    Hello(u64),
    Welcome(u64),
    Pong,
    Close,
}

/// What a session tells its owner, in order.
#[derive(Debug, Clone)]
enum Told {
    Asked(u64),
    Opened(u64),
    Confirmed,
    Answered,
    Unanswered,
    Closed,
}

/// One process: its table, and what its watchers know.
struct Process {
    id: NodeId,
    incarnation: u64,
    peers: Peers,
    up: BTreeMap<NodeId, Vec<SessionKey>>,
    told: VecDeque<(SessionKey, Told)>,
}

/// One connection: its ends are sessions of two processes, the dialler's first.
struct Wire {
    ends: [(usize, SessionKey); 2],
    nodes: [NodeId; 2],
    /// The incarnation of the dialler.
    incarnation: u64,
    closed: [bool; 2],
    /// What is on its way to each end.
    to: [VecDeque<Word>; 2],
    certificates: [u8; 2],
}

/// Every process that was ever started; those that were killed are `None`.
struct World {
    processes: Vec<Option<Process>>,
    wires: Vec<Wire>,
    /// The certificate that each identity has now.
    certificates: BTreeMap<NodeId, u8>,
    sessions: u64,
}

impl World {
    fn new() -> Self {
        Self { processes: Vec::new(), wires: Vec::new(), certificates: BTreeMap::new(), sessions: 0 }
    }

    /// Starts a process; the numbers that incarnations have say nothing of their order.
    fn start(&mut self, id: &str) -> usize {
        let number = self.processes.len();
        let incarnation = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.certificates.entry(node(id)).or_insert(1);
        self.processes.push(Some(Process {
            id: node(id),
            incarnation,
            peers: Peers::new(node(id)),
            up: BTreeMap::new(),
            told: VecDeque::new(),
        }));
        number
    }

    fn process(&mut self, number: usize) -> Option<&mut Process> {
        self.processes[number].as_mut()
    }

    fn id(&self, number: usize) -> Option<NodeId> {
        self.processes[number].as_ref().map(|process| process.id.clone())
    }

    /// What is used with a node.
    fn used(&self, number: usize, peer: &NodeId) -> Vec<SessionKey> {
        let process = self.processes[number].as_ref();
        process.and_then(|process| process.up.get(peer).cloned()).unwrap_or_default()
    }

    /// One process dials another, if it is not connected, or to show a renewed certificate.
    fn dial(&mut self, from: usize, to: usize, renewing: bool) {
        let (Some(here), Some(there)) = (self.id(from), self.id(to)) else { return };
        let used = self.used(from, &there);
        if here == there || used.is_empty() == renewing {
            return;
        }
        let certificates = [self.certificates[&here], self.certificates[&there]];
        let keys = [SessionKey(self.sessions + 1), SessionKey(self.sessions + 2)];
        self.sessions += 2;
        let begin = |node: NodeId, side, own: u8, peer: u8, replaces| Beginning {
            node,
            role: Role::Agent,
            side,
            credentials: shown(own, peer),
            replaces,
        };
        let replaces = renewing.then(|| used[0]);
        let [own, peer] = certificates;
        let dialling = begin(there.clone(), Side::Dialler, own, peer, replaces);
        let accepting = begin(here.clone(), Side::Acceptor, peer, own, None);
        let Some(dialler) = self.process(from) else { return };
        let incarnation = dialler.incarnation;
        dialler.peers.begin(keys[0], dialling).unwrap();
        if let Some(acceptor) = self.process(to) {
            acceptor.peers.begin(keys[1], accepting).unwrap();
        }
        self.wires.push(Wire {
            ends: [(from, keys[0]), (to, keys[1])],
            nodes: [here, there],
            incarnation,
            closed: [false; 2],
            to: [VecDeque::new(), VecDeque::from([Word::Hello(incarnation)])],
            certificates,
        });
    }

    /// Kills a process: its peers are told nothing.
    fn kill(&mut self, number: usize) {
        self.processes[number] = None;
        for wire in &mut self.wires {
            for (end, (process, _)) in wire.ends.into_iter().enumerate() {
                if process == number {
                    wire.closed[end] = true;
                    wire.to[1 - end].clear();
                }
            }
        }
    }

    /// Lets the next word arrive at one end of a connection.
    fn deliver(&mut self, wire: usize, end: usize) {
        let Some(word) = self.wires[wire].to[end].pop_front() else { return };
        if self.wires[wire].closed[end] {
            return;
        }
        let (number, session) = self.wires[wire].ends[end];
        let Some(process) = self.processes[number].as_mut() else { return };
        let told: &[Told] = match word {
            Word::Hello(incarnation) => &[Told::Asked(incarnation)],
            Word::Welcome(incarnation) => {
                self.wires[wire].to[1 - end].push_back(Word::Pong);
                &[Told::Opened(incarnation)]
            }
            Word::Pong => &[Told::Confirmed],
            Word::Close => {
                self.wires[wire].closed[end] = true;
                &[Told::Closed]
            }
        };
        process.told.extend(told.iter().map(|told| (session, told.clone())));
    }

    /// A side notices that nobody is there any more.
    fn notice_silence(&mut self, wire: usize, end: usize) {
        let Wire { ends, closed, to, .. } = &mut self.wires[wire];
        if closed[1 - end] && !closed[end] && to[end].is_empty() {
            closed[end] = true;
            let (number, session) = ends[end];
            if let Some(process) = self.processes[number].as_mut() {
                process.told.push_back((session, Told::Closed));
            }
        }
    }

    /// Lets an owner hear the next thing, and does what it says.
    fn hear(&mut self, number: usize) {
        let Some(process) = self.processes[number].as_mut() else { return };
        let Some((session, told)) = process.told.pop_front() else { return };
        match told {
            Told::Asked(incarnation) => process.peers.asked(session, incarnation),
            Told::Opened(incarnation) => process.peers.opened(session, incarnation),
            Told::Confirmed => process.peers.confirmed(session),
            Told::Answered => process.peers.answered(session),
            Told::Unanswered => process.peers.unanswered(session),
            Told::Closed => process.peers.closed(session, "it has ended"),
        }
        while let Some(command) = self.processes[number].as_mut().and_then(|process| process.peers.poll()) {
            self.obey(number, command);
        }
    }

    fn find(&self, session: SessionKey) -> (usize, usize) {
        let ends = self.wires.iter().enumerate().flat_map(|(wire, Wire { ends, .. })| {
            ends.iter().enumerate().map(move |(end, (_, key))| (*key, (wire, end)))
        });
        ends.into_iter().find(|(key, _)| *key == session).unwrap().1
    }

    fn obey(&mut self, number: usize, command: Command) {
        let session = match &command {
            Command::Admit(session)
            | Command::Refuse { session, .. }
            | Command::Probe(session)
            | Command::Up(session)
            | Command::Down { session, .. }
            | Command::Replace { former: session, .. }
            | Command::Drain(session)
            | Command::End { session, .. } => *session,
        };
        let (wire, end) = self.find(session);
        let peer = self.wires[wire].ends[1 - end].0;
        let peer_lives = self.processes[peer].is_some() && !self.wires[wire].closed[1 - end];
        let Some(process) = self.processes[number].as_mut() else { return };
        let Wire { closed, to, ends, nodes, incarnation, .. } = &mut self.wires[wire];
        let node = nodes[1 - end].clone();
        match command {
            Command::Admit(_) if closed[end] => {}
            Command::Admit(_) => {
                process.told.push_back((session, Told::Opened(*incarnation)));
                to[1 - end].push_back(Word::Welcome(process.incarnation));
            }
            Command::Refuse { .. } | Command::End { .. } => {
                if !closed[end] {
                    closed[end] = true;
                    process.told.push_back((ends[end].1, Told::Closed));
                    if peer_lives {
                        to[1 - end].push_back(Word::Close);
                    }
                }
            }
            Command::Probe(_) => {
                let answer = if peer_lives && !closed[end] { Told::Answered } else { Told::Unanswered };
                process.told.push_back((session, answer));
            }
            Command::Up(_) => {
                let used = process.up.entry(node).or_default();
                assert!(used.is_empty(), "two sessions with one node are used");
                used.push(session);
            }
            Command::Down { .. } => {
                assert_eq!(process.up.insert(node, Vec::new()), Some(vec![session]), "down without up");
            }
            Command::Replace { next, .. } => {
                assert_eq!(process.up.insert(node, vec![next]), Some(vec![session]));
                // A retired session ends by itself once nothing is in flight.
                if !closed[end] {
                    closed[end] = true;
                    process.told.push_back((session, Told::Closed));
                    if peer_lives {
                        to[1 - end].push_back(Word::Close);
                    }
                }
                let certificate = |key| {
                    let (wire, end) = self.find(key);
                    self.wires[wire].certificates[1 - end]
                };
                assert!(certificate(next) >= certificate(session), "an earlier certificate");
            }
            Command::Drain(_) => {}
        }
    }

    /// Everything that is under way arrives, in the order that `pick` says.
    fn settle(&mut self, mut pick: impl FnMut(usize) -> usize) {
        loop {
            let mut possible: Vec<(usize, Option<usize>)> = Vec::new();
            for (wire, Wire { to, closed, .. }) in self.wires.iter().enumerate() {
                for end in 0..2 {
                    if !to[end].is_empty() || (closed[1 - end] && !closed[end]) {
                        possible.push((wire, Some(end)));
                    }
                }
            }
            for (number, process) in self.processes.iter().enumerate() {
                if process.as_ref().is_some_and(|process| !process.told.is_empty()) {
                    possible.push((number, None));
                }
            }
            if possible.is_empty() {
                return;
            }
            match possible[pick(possible.len())] {
                (wire, Some(end)) if self.wires[wire].to[end].is_empty() => self.notice_silence(wire, end),
                (wire, Some(end)) => self.deliver(wire, end),
                (number, None) => self.hear(number),
            }
        }
    }

    /// Both ends of everything that is used are those of one connection.
    fn check_agreement(&self) {
        for process in self.processes.iter().flatten() {
            for session in process.up.values().flatten() {
                let (wire, end) = self.find(*session);
                let (other, key) = self.wires[wire].ends[1 - end];
                let other = self.processes[other].as_ref().expect("a session with nobody is used");
                assert_eq!(other.up.get(&process.id), Some(&vec![key]), "the other side uses another one");
            }
        }
    }
}

/// Picks from a list of random numbers, over and over.
fn picks(random: Vec<u16>) -> impl FnMut(usize) -> usize {
    let mut random = random.into_iter().cycle();
    move |count| usize::from(random.next().unwrap_or_default()) % count
}

fn randoms() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(any::<u16>(), 1..200)
}

#[derive(Debug, Clone)]
enum Event {
    Dial(usize, usize),
    Renew(usize),
    ShowRenewed(usize, usize),
    /// Kills the last process with this identity and starts another one.
    Restart(usize),
    /// A second process with the identity of one that may live.
    Impostor(usize),
    Deliver(u16, bool),
    Silence(u16, bool),
    Hear(u16),
}

const IDS: [&str; 3] = ["a", "b", "c"];

fn event() -> impl Strategy<Value = Event> {
    let two = || (0..IDS.len(), 0..IDS.len());
    prop_oneof![
        4 => two().prop_map(|(from, to)| Event::Dial(from, to)),
        1 => (0..IDS.len()).prop_map(Event::Renew),
        2 => two().prop_map(|(from, to)| Event::ShowRenewed(from, to)),
        1 => (0..IDS.len()).prop_map(Event::Restart),
        1 => (0..IDS.len()).prop_map(Event::Impostor),
        12 => (any::<u16>(), any::<bool>()).prop_map(|(wire, end)| Event::Deliver(wire, end)),
        1 => (any::<u16>(), any::<bool>()).prop_map(|(wire, end)| Event::Silence(wire, end)),
        12 => any::<u16>().prop_map(Event::Hear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_happens_one_session_is_used_and_both_sides_end_with_the_same(
        events in prop::collection::vec(event(), 1..120),
        random in randoms(),
    ) {
        let mut world = World::new();
        let mut current: Vec<usize> = IDS.iter().map(|id| world.start(id)).collect();
        for event in events {
            let wires = world.wires.len().max(1);
            match event {
                Event::Dial(from, to) => world.dial(current[from], current[to], false),
                Event::ShowRenewed(from, to) => world.dial(current[from], current[to], true),
                Event::Renew(id) => *world.certificates.get_mut(&node(IDS[id])).unwrap() += 1,
                Event::Restart(id) => {
                    world.kill(current[id]);
                    current[id] = world.start(IDS[id]);
                }
                Event::Impostor(id) => current[id] = world.start(IDS[id]),
                Event::Deliver(wire, end) if !world.wires.is_empty() => {
                    world.deliver(usize::from(wire) % wires, end.into());
                }
                Event::Silence(wire, end) if !world.wires.is_empty() => {
                    world.notice_silence(usize::from(wire) % wires, end.into());
                }
                Event::Hear(number) => world.hear(usize::from(number) % world.processes.len()),
                Event::Deliver(..) | Event::Silence(..) => {}
            }
        }
        world.settle(picks(random));
        world.check_agreement();
    }

    #[test]
    fn two_nodes_that_dial_at_once_end_with_one_session(random in randoms()) {
        let mut world = World::new();
        let (a, b) = (world.start("a"), world.start("b"));
        world.dial(a, b, false);
        world.dial(b, a, false);
        world.settle(picks(random));
        world.check_agreement();
        prop_assert_eq!(world.used(a, &node("b")).len(), 1);
    }

    #[test]
    fn a_process_that_was_killed_and_restarted_gets_in_at_its_first_attempt(random in randoms()) {
        let mut world = World::new();
        let (hub, killed) = (world.start("hub"), world.start("a"));
        world.dial(killed, hub, false);
        let mut pick = picks(random);
        world.settle(&mut pick);
        world.kill(killed);
        let restarted = world.start("a");
        world.dial(restarted, hub, false);
        world.settle(&mut pick);
        world.check_agreement();
        prop_assert_eq!(world.used(restarted, &node("hub")).len(), 1);
    }

    #[test]
    fn a_process_that_answers_is_not_displaced_by_one_with_its_identity(
        restarts in 1..10_usize,
        random in randoms(),
    ) {
        let mut world = World::new();
        let (hub, first) = (world.start("hub"), world.start("a"));
        world.dial(first, hub, false);
        let mut pick = picks(random);
        world.settle(&mut pick);
        let used = world.used(hub, &node("a"));
        for _ in 0..restarts {
            let second = world.start("a");
            world.dial(second, hub, false);
            world.settle(&mut pick);
            prop_assert_eq!(world.used(second, &node("hub")), vec![]);
            world.kill(second);
        }
        prop_assert_eq!(world.used(hub, &node("a")), used);
    }
}
