//! Scenarios: what happens, and the exact commands that follow.

mod fixture;
mod listing;
mod simulation;

use super::*;
use fixture::*;

#[test]
fn parts_go_to_their_homes_and_results_come_back_in_order() {
    let (b0, a1) = (part_of("b", 0), part_of("a", 1));
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &[b0, a1]));
    assert_eq!(bench.commands(), [assign("a", 1, 1, 1, a1), assign("b", 1, 0, 1, b0)]);
    assert_eq!(bench.complete(given("a", 1, 1, 1), 11), Completion::Accepted);
    assert_eq!(bench.board.progress(id(1)), Some(Progress { done: 1, assigned: 1, total: 2 }));
    assert_eq!(bench.commands(), []);
    assert_eq!(bench.complete(given("b", 1, 0, 1), 10), Completion::Accepted);
    assert_eq!(bench.commands(), [finished(1, &[10, 11], &["a", "b"])]);
    assert_eq!(bench.board.progress(id(1)), None);
    assert_eq!(bench.board.next_timeout(), None);
}

#[test]
fn a_part_waits_for_its_home_though_another_agent_is_free() {
    let (first, second) = (part_of("a", 0), part_of("a", 1));
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &[first]));
    bench.submit(task(2, &[second]));
    assert_eq!(bench.commands(), [assign("a", 1, 0, 1, first)]);
    bench.complete(given("a", 1, 0, 1), 0);
    assert_eq!(bench.commands(), [finished(1, &[0], &["a"]), assign("a", 2, 0, 1, second)]);
}

#[test]
fn an_agent_never_holds_more_than_its_slots() {
    let parts: Vec<ContentHash> = (0..4).map(|n| part_of("a", n)).collect();
    let mut bench = Bench::with_agents(&[]);
    bench.join("a", 2);
    bench.submit(task(1, &parts));
    assert_eq!(bench.commands(), [assign("a", 1, 0, 1, parts[0]), assign("a", 1, 1, 1, parts[1])]);
    bench.complete(given("a", 1, 1, 1), 0);
    assert_eq!(bench.commands(), [assign("a", 1, 2, 1, parts[2])]);
    bench.fail(given("a", 1, 0, 1), Retry::Elsewhere);
    assert_eq!(bench.commands(), [assign("a", 1, 0, 2, parts[0])]);
}

#[test]
fn the_parts_of_a_lost_agent_go_to_the_others_at_once() {
    let parts = [part_of("a", 0), part_of("a", 1), part_of("b", 2), part_of("b", 3)];
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &parts));
    assert_eq!(bench.commands(), [assign("a", 1, 0, 1, parts[0]), assign("b", 1, 2, 1, parts[2])]);
    bench.lose("a");
    bench.lose("a");
    bench.lose("unknown");
    assert_eq!(bench.complete(given("a", 1, 0, 1), 99), Completion::Fenced);
    assert_eq!(bench.commands(), []);
    bench.complete(given("b", 1, 2, 1), 12);
    // Part 0 was tried before, part 1 had only waited.
    assert_eq!(bench.commands(), [assign("b", 1, 0, 2, parts[0])]);
    bench.complete(given("b", 1, 0, 2), 10);
    assert_eq!(bench.commands(), [assign("b", 1, 1, 1, parts[1])]);
    bench.complete(given("b", 1, 1, 1), 11);
    bench.complete(given("b", 1, 3, 1), 13);
    assert_eq!(bench.commands(), [assign("b", 1, 3, 1, parts[3]), finished(1, &[10, 11, 12, 13], &["b"])]);
}

#[test]
fn a_newcomer_shares_the_parts_that_were_never_assigned() {
    let parts = [part_of("a", 0), part_of("a", 1), part_of("b", 2)];
    let mut bench = Bench::with_agents(&["a"]);
    bench.submit(task(1, &parts));
    assert_eq!(bench.commands(), [assign("a", 1, 0, 1, parts[0])]);
    bench.join("b", 1);
    assert_eq!(bench.commands(), [assign("b", 1, 2, 1, parts[2])]);
    bench.complete(given("b", 1, 2, 1), 12);
    assert_eq!(bench.commands(), [], "part 1 waits for its home");
}

#[test]
fn a_newcomer_does_not_move_parts_that_were_tried() {
    let (tried, busy) = (part_of("a", 0), part_of("b", 1));
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &[tried, busy]));
    assert_eq!(bench.commands(), [assign("a", 1, 0, 1, tried), assign("b", 1, 1, 1, busy)]);
    bench.fail(given("a", 1, 0, 1), Retry::Elsewhere);
    bench.join("c", 1);
    assert_eq!(bench.commands(), [], "placing it anew could lead it back to `a`");
    bench.complete(given("b", 1, 1, 1), 11);
    assert_eq!(bench.commands(), [assign("b", 1, 0, 2, tried)]);
}

#[test]
fn an_agent_that_joins_again_is_a_fresh_one() {
    let part = part_of("a", 0);
    let mut bench = Bench::with_agents(&["a"]);
    bench.submit(task(1, &[part]));
    bench.join("a", 1);
    assert_eq!(bench.commands(), [assign("a", 1, 0, 1, part), assign("a", 1, 0, 2, part)]);
    assert_eq!(bench.complete(given("a", 1, 0, 1), 1), Completion::Fenced);
    assert_eq!(bench.complete(given("a", 1, 0, 2), 2), Completion::Accepted);
    assert_eq!(bench.commands(), [finished(1, &[2], &["a"])]);
}

#[test]
fn an_expired_lease_moves_the_part_and_the_late_completion_is_fenced() {
    let (first, second) = (part_of("a", 0), part_of("a", 1));
    let mut bench = Bench::with_agents(&["b"]);
    bench.join("a", 2);
    bench.submit(task(1, &[first]));
    assert_eq!(bench.commands(), [assign("a", 1, 0, 1, first)]);
    bench.pass(LEASE - Duration::from_nanos(1));
    assert_eq!(bench.commands(), []);
    assert_eq!(bench.board.next_timeout(), Some(bench.now + Duration::from_nanos(1)));
    bench.pass(Duration::from_nanos(1));
    assert_eq!(bench.commands(), [assign("b", 1, 0, 2, first)]);

    // Though `a` has a second slot, it gets nothing while it owes an answer.
    bench.submit(task(2, &[second]));
    assert_eq!(bench.commands(), []);
    assert_eq!(bench.complete(given("a", 1, 0, 1), 99), Completion::Fenced);
    assert_eq!(bench.commands(), [assign("a", 2, 0, 1, second)]);
    assert_eq!(bench.complete(given("b", 1, 0, 2), 1), Completion::Accepted);
    assert_eq!(bench.commands(), [finished(1, &[1], &["b"])]);
    assert_eq!(bench.complete(given("b", 1, 0, 2), 1), Completion::Fenced, "reported twice");
}

#[test]
fn a_fenced_completion_frees_the_slot() {
    let (first, second) = (part_of("a", 0), part_of("a", 1));
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &[first]));
    bench.pass(LEASE);
    bench.lose("b");
    bench.submit(task(2, &[second]));
    assert_eq!(bench.commands(), [assign("a", 1, 0, 1, first), assign("b", 1, 0, 2, first)]);
    assert_eq!(bench.complete(given("a", 1, 0, 1), 99), Completion::Fenced);
    assert_eq!(bench.commands(), [assign("a", 1, 0, 3, first)]);
}

#[test]
fn parts_that_wait_for_a_silent_agent_move_too() {
    let (first, second) = (part_of("a", 0), part_of("a", 1));
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &[first]));
    bench.submit(task(2, &[second]));
    assert_eq!(bench.commands(), [assign("a", 1, 0, 1, first)]);
    bench.pass(LEASE);
    assert_eq!(bench.commands(), [assign("b", 1, 0, 2, first)]);
    bench.complete(given("b", 1, 0, 2), 1);
    assert_eq!(bench.commands(), [finished(1, &[1], &["b"]), assign("b", 2, 0, 1, second)]);
}

#[test]
fn with_one_agent_a_lease_is_renewed() {
    let part = part_of("a", 0);
    let mut bench = Bench::with_agents(&["a"]);
    bench.submit(task(1, &[part]));
    assert_eq!(bench.commands(), [assign("a", 1, 0, 1, part)]);
    for _ in 0..5 {
        bench.pass(LEASE);
    }
    assert_eq!(bench.commands(), []);
    assert_eq!(bench.board.next_timeout(), Some(bench.now + LEASE));
    assert_eq!(bench.complete(given("a", 1, 0, 1), 1), Completion::Accepted);
    assert_eq!(bench.commands(), [finished(1, &[1], &["a"])]);
}

#[test]
fn a_renewed_lease_ends_when_another_agent_is_there() {
    let part = part_of("a", 0);
    let mut bench = Bench::with_agents(&["a"]);
    bench.submit(task(1, &[part]));
    bench.pass(LEASE);
    bench.join("b", 1);
    assert_eq!(bench.commands(), [assign("a", 1, 0, 1, part)]);
    bench.pass(LEASE);
    assert_eq!(bench.commands(), [assign("b", 1, 0, 2, part)]);
}

#[test]
fn nothing_waits_for_an_agent_whose_lease_was_renewed() {
    let (first, second) = (part_of("a", 0), part_of("a", 1));
    let mut bench = Bench::with_agents(&["b"]);
    let capabilities = ["match", "search"].map(String::from).into();
    bench.board.agent_joined(node("a"), capabilities, NonZeroU32::MIN, bench.now);
    bench.submit(NewTask { capability: "search".into(), ..task(1, &[first]) });
    bench.submit(task(2, &[second]));
    assert_eq!(bench.commands(), [assign("a", 1, 0, 1, first)]);
    bench.pass(LEASE);
    assert_eq!(bench.commands(), [assign("b", 2, 0, 1, second)], "only `a` searches, but `b` matches too");
}

#[test]
fn a_failed_part_goes_elsewhere_until_its_attempts_are_spent() {
    let part = part_of("a", 0);
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &[part]));
    bench.fail(given("a", 1, 0, 1), Retry::Elsewhere);
    bench.fail(given("a", 1, 0, 1), Retry::Never);
    assert_eq!(bench.commands(), [assign("a", 1, 0, 1, part), assign("b", 1, 0, 2, part)]);
    bench.fail(given("b", 1, 0, 2), Retry::Elsewhere);
    assert_eq!(bench.commands(), [assign("a", 1, 0, 3, part)]);
    bench.fail(given("a", 1, 0, 3), Retry::Elsewhere);
    assert_eq!(bench.commands(), [failed(1, part_failed(0, 3, "a", "broken"))]);
}

#[test]
fn leases_and_lost_agents_spend_attempts_too() {
    let part = part_of("a", 0);
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &[part]));
    bench.lose("a");
    bench.lose("b");
    bench.join("a", 1);
    bench.join("b", 1);
    assert_eq!(
        bench.commands(),
        [assign("a", 1, 0, 1, part), assign("b", 1, 0, 2, part), assign("a", 1, 0, 3, part)]
    );
    bench.pass(LEASE);
    let error = part_failed(0, 3, "a", "a did not answer within 30s");
    assert_eq!(bench.commands(), [withdraw("a", 1, 0, 3), failed(1, error)]);

    bench.submit(task(2, &[part]));
    for attempt in 1..=3 {
        assert_eq!(bench.commands(), [assign("a", 2, 0, attempt, part)]);
        bench.lose("b");
        bench.join("a", 1);
    }
    assert_eq!(bench.commands(), [failed(2, part_failed(0, 3, "a", "a was lost"))]);
}

#[test]
fn a_part_that_can_never_succeed_ends_its_task() {
    let parts = [part_of("a", 0), part_of("b", 1)];
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &parts));
    bench.commands();
    bench.fail(given("b", 1, 1, 1), Retry::Never);
    assert_eq!(bench.commands(), [withdraw("a", 1, 0, 1), failed(1, part_failed(1, 1, "b", "broken"))]);
}

#[test]
fn the_queue_is_bounded_and_knows_its_tasks() {
    let part = part_of("a", 0);
    let mut bench = Bench::with_agents(&["a"]);
    (1..=3).for_each(|number| bench.submit(task(number, &[part])));
    let refused = |bench: &mut Bench, task: NewTask| bench.board.submit(task, bench.now).unwrap_err();
    assert_eq!(refused(&mut bench, task(2, &[part])), TaskError::Duplicate { task: id(2) });
    assert_eq!(refused(&mut bench, task(4, &[part])), TaskError::QueueFull { limit: QueueLimit::Tasks(3) });
    assert!(matches!(refused(&mut bench, task(4, &[])), TaskError::Invalid { .. }));
    assert!(matches!(refused(&mut bench, task(4, &[part; PARTS_MAX + 1])), TaskError::Invalid { .. }));
    let late = NewTask { deadline: Some(bench.now), ..task(4, &[part]) };
    assert_eq!(refused(&mut bench, late), TaskError::DeadlineExceeded);
    bench.complete(given("a", 1, 0, 1), 1);
    bench.submit(task(4, &[part]));
}

#[test]
fn an_id_is_taken_while_an_agent_still_works_on_an_earlier_run() {
    let part = part_of("a", 0);
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &[part]));
    bench.pass(LEASE);
    bench.complete(given("b", 1, 0, 2), 1);
    assert_eq!(
        bench.board.submit(task(1, &[part]), bench.now),
        Err(TaskError::Duplicate { task: id(1) }),
        "the answer of `a` to the first run would pass for one to the second"
    );
    bench.complete(given("a", 1, 0, 1), 1);
    bench.submit(task(1, &[part]));
}

#[test]
fn a_deadline_fails_the_task_and_withdraws_its_assignments() {
    let parts = [part_of("a", 0), part_of("a", 1), part_of("b", 2)];
    let mut bench = Bench::with_agents(&["a", "b"]);
    let deadline = bench.now + Duration::from_secs(5);
    bench.submit(NewTask { deadline: Some(deadline), ..task(1, &parts) });
    bench.submit(task(2, &[parts[0]]));
    assert_eq!(bench.board.next_timeout(), Some(deadline));
    assert_eq!(bench.commands(), [assign("a", 1, 0, 1, parts[0]), assign("b", 1, 2, 1, parts[2])]);
    bench.pass(Duration::from_secs(5));
    assert_eq!(
        bench.commands(),
        [
            withdraw("a", 1, 0, 1),
            withdraw("b", 1, 2, 1),
            failed(1, TaskError::DeadlineExceeded),
            assign("a", 2, 0, 1, parts[0]),
        ]
    );
    assert_eq!(bench.complete(given("b", 1, 2, 1), 1), Completion::Fenced);
}

#[test]
fn a_cancelled_task_is_withdrawn_from_overdue_agents_too() {
    let part = part_of("a", 0);
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &[part]));
    bench.pass(LEASE);
    bench.commands();
    assert!(bench.board.cancel(id(1), bench.now));
    assert!(!bench.board.cancel(id(1), bench.now));
    assert_eq!(
        bench.commands(),
        [withdraw("a", 1, 0, 1), withdraw("b", 1, 0, 2), failed(1, TaskError::Cancelled)]
    );
}

#[test]
fn a_task_waits_for_a_capable_agent_but_not_for_ever() {
    let part = part_of("a", 0);
    let no_agent = TaskError::NoCapableAgent { protocol: "match".into(), avoided: BTreeSet::new() };
    let mut bench = Bench::with_agents(&[]);
    bench.board.agent_joined(node("c"), BTreeSet::new(), NonZeroU32::MIN, bench.now);
    bench.submit(task(1, &[part]));
    assert_eq!(bench.board.next_timeout(), Some(bench.now + AGENT_WAIT));
    bench.pass(AGENT_WAIT);
    assert_eq!(bench.commands(), [failed(1, no_agent.clone())]);

    bench.submit(task(2, &[part]));
    bench.pass(AGENT_WAIT / 2);
    bench.join("a", 1);
    bench.pass(Duration::from_secs(1));
    bench.lose("a");
    bench.pass(AGENT_WAIT - Duration::from_secs(1));
    assert_eq!(bench.commands(), [assign("a", 2, 0, 1, part)], "the wait starts anew with each loss");
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.commands(), [failed(2, no_agent)]);
}

#[test]
fn the_urgent_go_first_then_the_early() {
    let parts: Vec<ContentHash> = (0..4).map(|n| part_of("a", n)).collect();
    let mut bench = Bench::with_agents(&["a"]);
    bench.submit(task(1, &parts[..2]));
    bench.submit(task(2, &parts[2..3]));
    bench.submit(NewTask { priority: TaskPriority::MAX, ..task(3, &parts[3..]) });
    let mut order = Vec::new();
    while let Some(command) = bench.board.poll() {
        if let Command::Assign { assignment, .. } = command {
            order.push((assignment.task, assignment.part));
            bench.complete(assignment, 0);
        }
    }
    assert_eq!(order, [(id(1), 0), (id(3), 0), (id(1), 1), (id(2), 0)]);
}

#[test]
fn what_waits_for_anyone_goes_to_who_is_free_last_parts_first() {
    let parts: Vec<ContentHash> = (0..6).map(|n| part_of("a", n)).collect();
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(NewTask { waiting: Waiting::ForAnyone, ..task(1, &parts) });
    let held: Vec<Assignment> = assigned(&mut bench);
    let [of_a, mut of_b] = [held[0].clone(), held[1].clone()];
    assert_eq!((of_a.agent.as_str(), of_b.agent.as_str()), ("a", "b"));
    // `a` never answers; `b` does its own three and then what waits for `a`, the last one first.
    let mut done = vec![of_b.part];
    for _ in 0..4 {
        bench.complete(of_b, 0);
        of_b = assigned(&mut bench).remove(0);
        assert_eq!(of_b.agent.as_str(), "b");
        done.push(of_b.part);
    }
    assert!(done[3] > done[4], "{done:?}");
    bench.complete(of_b, 0);
    assert_eq!(assigned(&mut bench), [], "what `a` has in hand stays there until its lease ends");
    assert_eq!(bench.board.progress(id(1)), Some(Progress { done: 5, assigned: 1, total: 6 }));
}

#[test]
fn a_part_that_failed_does_not_come_back_because_its_agent_is_free() {
    let parts: Vec<ContentHash> = (0..2).map(|n| part_of("a", n)).collect();
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(NewTask { waiting: Waiting::ForAnyone, ..task(1, &parts) });
    let held = assigned(&mut bench);
    bench.fail(held[0].clone(), Retry::Elsewhere);
    assert_eq!(assigned(&mut bench), [], "it waits for `b`, though `a` is free");
    bench.complete(held[1].clone(), 0);
    let again = assigned(&mut bench).remove(0);
    assert_eq!((again.agent.as_str(), again.part, again.attempt), ("b", held[0].part, 2));
}

/// What was assigned since the last look.
fn assigned(bench: &mut Bench) -> Vec<Assignment> {
    let assigned = |command| match command {
        Command::Assign { assignment, .. } => Some(assignment),
        _ => None,
    };
    bench.commands().into_iter().filter_map(assigned).collect()
}
