//! Scenarios: what happens, and the exact commands that follow.

mod attempts;
mod ended;
mod fixture;
mod listing;
mod shares;
mod simulation;
mod tasks;

use super::*;
use crate::coordinator::{SubmitTask, TaskPriority};
use fixture::*;

#[test]
fn parts_go_to_their_homes_and_answers_come_back_in_order() {
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &["b", "a"]));
    assert_eq!(bench.commands(), ["a does 1.1#1", "b does 1.0#1"]);
    bench.answer(given("a", 1, 1, 1), 11);
    assert_eq!(bench.board.progress(id(1)), Some(Progress { done: 1, assigned: 1, total: 2 }));
    bench.answer(given("b", 1, 0, 1), 10);
    assert_eq!(bench.commands(), ["1 done: 10@b 11@a"]);
    assert_eq!(bench.board.progress(id(1)), None);
    assert_eq!(bench.board.next_timeout(), None);
}

#[test]
fn an_assignment_carries_its_part_and_who_submitted_it() {
    let mut bench = Bench::with_agents(&["a"]);
    bench.submit(task(1, &["a"]));
    let commands = bench.take_commands();
    let [Command::Accepted { .. }, Command::Assign { assignment, task: new }] = &commands[..] else {
        panic!("{commands:?}");
    };
    assert_eq!(new.part(assignment), &task(1, &["a"]).parts[0]);
    assert_eq!(new.submitter().map(|caller| caller.node.as_str()), Some("operator"));
}

#[test]
fn a_part_waits_for_its_home_though_another_agent_is_free() {
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &["a"]));
    bench.submit(task(2, &["a"]));
    assert_eq!(bench.commands(), ["a does 1.0#1"]);
    bench.answer(given("a", 1, 0, 1), 0);
    assert_eq!(bench.commands(), ["1 done: 0@a", "a does 2.0#1"]);
}

#[test]
fn an_agent_never_holds_more_than_its_slots() {
    let mut bench = Bench::with_agents(&[]);
    bench.join("a", 2);
    bench.submit(task(1, &["a"; 4]));
    assert_eq!(bench.commands(), ["a does 1.0#1", "a does 1.1#1"]);
    bench.answer(given("a", 1, 1, 1), 0);
    assert_eq!(bench.commands(), ["a does 1.2#1"]);
}

#[test]
fn the_urgent_go_first_then_the_early() {
    let mut bench = Bench::with_agents(&["a"]);
    bench.submit(task(1, &["a", "a"]));
    bench.submit(task(2, &["a"]));
    bench.submit(SubmitTask { priority: TaskPriority::MAX, ..task(3, &["a"]) });
    for next in [given("a", 1, 0, 1), given("a", 3, 0, 1), given("a", 1, 1, 1)] {
        bench.answer(next, 0);
    }
    assert_eq!(
        bench.commands(),
        ["a does 1.0#1", "a does 3.0#1", "3 done: 0@a", "a does 1.1#1", "1 done: 0@a 0@a", "a does 2.0#1"]
    );
}

#[test]
fn the_parts_of_a_lost_agent_go_to_the_others_at_once() {
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &["a", "a", "b", "b"]));
    assert_eq!(bench.commands(), ["a does 1.0#1", "b does 1.2#1"]);
    bench.lose("a");
    bench.lose("a");
    bench.lose("unknown");
    bench.answer(given("a", 1, 0, 1), 99);
    assert_eq!(bench.commands(), [""; 0]);
    bench.answer(given("b", 1, 2, 1), 12);
    // Part 0 was tried before, part 1 had only waited.
    bench.answer(given("b", 1, 0, 2), 10);
    bench.answer(given("b", 1, 1, 1), 11);
    bench.answer(given("b", 1, 3, 1), 13);
    assert_eq!(
        bench.commands(),
        ["b does 1.0#2", "b does 1.1#1", "b does 1.3#1", "1 done: 10@b 11@b 12@b 13@b"]
    );
}

#[test]
fn a_newcomer_shares_the_parts_that_were_never_assigned() {
    let mut bench = Bench::with_agents(&["a"]);
    bench.submit(task(1, &["a", "a", "b"]));
    assert_eq!(bench.commands(), ["a does 1.0#1"]);
    bench.join("b", 1);
    assert_eq!(bench.commands(), ["b does 1.2#1"]);
    bench.answer(given("b", 1, 2, 1), 12);
    assert_eq!(bench.commands(), [""; 0], "part 1 waits for its home");
}

#[test]
fn a_newcomer_does_not_take_parts_that_were_tried_from_their_home() {
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &["a", "b"]));
    assert_eq!(bench.commands(), ["a does 1.0#1", "b does 1.1#1"]);
    bench.fail(given("a", 1, 0, 1), wrong());
    bench.join("c", 1);
    assert_eq!(bench.commands(), [""; 0]);
    bench.answer(given("b", 1, 1, 1), 11);
    assert_eq!(bench.commands(), ["b does 1.0#2"]);
}

#[test]
fn an_agent_that_joins_again_is_a_fresh_one() {
    let mut bench = Bench::with_agents(&["a"]);
    bench.submit(task(1, &["a"]));
    bench.join("a", 1);
    assert_eq!(bench.commands(), ["a does 1.0#1"], "it left with a part, and pauses");
    bench.wait(SECOND);
    assert_eq!(bench.commands(), ["a does 1.0#2"]);
    bench.answer(given("a", 1, 0, 1), 1);
    bench.answer(given("a", 1, 0, 2), 2);
    assert_eq!(bench.commands(), ["1 done: 2@a"]);
}

#[test]
fn what_waits_for_anyone_goes_to_who_is_free_last_parts_first() {
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(SubmitTask { waiting: Waiting::ForAnyone, ..task(1, &["a", "a", "a", "b", "b", "b"]) });
    assert_eq!(bench.commands(), ["a does 1.0#1", "b does 1.3#1"]);
    // `a` never answers; `b` does its own three and then what waits for `a`, the last one first.
    for part in [3, 4, 5, 2, 1] {
        bench.answer(given("b", 1, part, 1), 0);
    }
    assert_eq!(bench.commands(), ["b does 1.4#1", "b does 1.5#1", "b does 1.2#1", "b does 1.1#1"]);
    assert_eq!(bench.board.progress(id(1)), Some(Progress { done: 5, assigned: 1, total: 6 }));
}

#[test]
fn an_agent_that_drains_gets_nothing_new_and_keeps_what_it_has() {
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &["a", "a", "b"]));
    assert_eq!(bench.commands(), ["a does 1.0#1", "b does 1.2#1"]);
    bench.drain("a");
    bench.answer(given("b", 1, 2, 1), 12);
    bench.answer(given("a", 1, 0, 1), 10);
    assert_eq!(bench.commands(), ["b does 1.1#1"], "part 1 had waited for `a`");
    bench.submit(task(2, &["a"]));
    bench.answer(given("b", 1, 1, 1), 11);
    assert_eq!(bench.commands(), ["1 done: 10@a 11@b 12@b", "b does 2.0#1"]);
}

#[test]
fn t2_the_drain_of_the_only_agent_spends_no_attempt_and_its_successor_does_the_rest() {
    let mut bench = Bench::with_agents(&["a"]);
    bench.submit(task(1, &["a", "a"]));
    bench.fail(given("a", 1, 0, 1), busy());
    bench.drain("a");
    assert_eq!(bench.commands(), ["a does 1.0#1"]);
    bench.wait(AGENT_WAIT / 2);
    bench.join("b", 2);
    bench.answer(given("b", 1, 0, 2), 10);
    bench.answer(given("b", 1, 1, 1), 11);
    assert_eq!(bench.commands(), ["b does 1.0#2", "b does 1.1#1", "1 done: 10@b 11@b"]);
}

#[test]
fn an_agent_is_given_what_it_exposes_now() {
    let mut bench = Bench::with_agents(&["a"]);
    let exposes = |protocols: &[&str]| {
        let protocols = protocols.iter().map(|&name| name.into()).collect();
        Input::AgentChanged { agent: node("a"), protocols }
    };
    bench.apply(exposes(&["searcher"]));
    bench.apply(Input::AgentChanged { agent: node("unknown"), protocols: BTreeSet::new() });
    bench.submit(task(1, &["a", "a"]));
    bench.submit(SubmitTask { protocol: "searcher".into(), ..task(2, &["a"]) });
    assert_eq!(bench.commands(), ["a does 2.0#1"]);
    bench.apply(exposes(&["looker", "searcher"]));
    bench.answer(given("a", 2, 0, 1), 0);
    assert_eq!(bench.commands(), ["2 done: 0@a", "a does 1.0#1"]);
    bench.apply(exposes(&[]));
    bench.answer(given("a", 1, 0, 1), 0);
    assert_eq!(bench.commands(), [""; 0], "part 1 waits for an agent that exposes its protocol");
    bench.join("b", 1);
    assert_eq!(bench.commands(), ["b does 1.1#1"]);
}

#[derive(Debug)]
struct LastAgent;

impl Placement for LastAgent {
    fn place(&self, parts: &[ContentHash], agents: &[NodeId]) -> Vec<usize> {
        vec![agents.len() - 1; parts.len()]
    }
}

#[test]
fn another_rule_may_place_the_parts() {
    let mut board = Board::with_placement(config(), Box::new(LastAgent));
    let protocols = BTreeSet::from(["looker".to_owned()]);
    for agent in ["a", "b"].map(node) {
        let joined = Input::AgentJoined { agent, protocols: protocols.clone(), slots: slots(1, 0) };
        board.apply(joined, Offset::default());
    }
    board.apply(Input::Submitted(new_task(task(1, &["a", "a"]))), Offset::default());
    let assigned = |command| match command {
        Command::Assign { assignment, .. } => Some(assignment),
        _ => None,
    };
    let assigned: Vec<Assignment> = std::iter::from_fn(|| board.poll()).filter_map(assigned).collect();
    assert_eq!(assigned, [given("b", 1, 0, 1)]);
}
