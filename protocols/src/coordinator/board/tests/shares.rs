//! What clients share: turns, slots and the queue.

use super::*;

/// Who does the parts of which task, in the order in which they were given out, each answered at once.
fn turns(bench: &mut Bench, count: usize) -> Vec<u128> {
    let mut tasks = Vec::new();
    while tasks.len() < count {
        let given: Vec<Assignment> = bench
            .take_commands()
            .into_iter()
            .filter_map(|command| match command {
                Command::Assign { assignment, .. } => Some(assignment),
                _ => None,
            })
            .collect();
        assert!(!given.is_empty(), "nothing more is given out after {tasks:?}");
        for assignment in given {
            tasks.push(uuid::Uuid::from(assignment.task).as_u128());
            bench.answer(assignment, 1);
        }
    }
    tasks
}

#[test]
fn clients_take_turns_whoever_came_first_and_however_many_tasks_they_have() {
    for slots in [1, 2] {
        let mut bench = Bench::with_config(config(), &[]);
        bench.join("a", slots);
        bench.submit_of("x", task(1, &["a"; 6]));
        bench.submit_of("x", task(2, &["a"; 6]));
        bench.submit_of("y", task(3, &["a"; 4]));
        let turns = turns(&mut bench, 8);
        let of_y = turns.iter().filter(|task| **task == 3).count();
        assert!((3..=4).contains(&of_y), "{turns:?}");
    }
}

#[test]
fn the_more_urgent_goes_first_whosever_it_is() {
    let mut bench = Bench::with_agents(&["a"]);
    let urgent = |number| SubmitTask { priority: TaskPriority::MAX, ..task(number, &["a"; 3]) };
    bench.submit_of("y", task(1, &["a"; 3]));
    bench.submit_of("x", urgent(2));
    assert_eq!(turns(&mut bench, 6), [1, 2, 2, 2, 1, 1]);
}

/// Two agents of two slots whose slots are taken by the endless task 1 of `x`.
fn taken() -> Bench {
    let mut bench = Bench::with_config(config(), &[]);
    bench.join("a", 2);
    bench.join("b", 2);
    bench.submit_of(
        "x",
        SubmitTask { waiting: Waiting::ForAnyone, ..task(1, &["a", "b", "a", "b", "a", "b"]) },
    );
    bench.pass(LEASE - SECOND);
    assert_eq!(bench.commands().len(), 4);
    bench
}

#[test]
fn endless_parts_make_way_for_a_client_of_whom_nothing_is_in_progress() {
    let mut bench = taken();
    bench.submit_of("y", task(2, &["a", "a"]));
    bench.submit_of("z", task(3, &["b"]));
    assert_eq!(bench.commands(), [""; 0], "no lease has run out");
    bench.pass(SECOND);
    let commands = bench.commands();
    let count = |what: &str| commands.iter().filter(|command| command.contains(what)).count();
    assert_eq!((count("leaves 1."), count("does 2."), count("does 3.")), (2, 1, 1), "{commands:?}");
    bench.pass(LEASE);
    assert_eq!(bench.commands(), [""; 0], "everybody has a slot");
    // Whoever comes later does not wait for a lease, but the last slot of a client stays its own.
    bench.submit_of("w", task(4, &["a", "b"]));
    bench.submit_of("v", task(5, &["a", "b"]));
    let commands = bench.commands();
    assert_eq!(commands.len(), 2, "{commands:?}");
    assert!(commands[0].contains(" leaves 1.") && commands[1].contains(" does 4."), "{commands:?}");
}

#[test]
fn t1_what_waits_at_an_agent_makes_way_at_once_and_what_it_works_on_after_a_lease() {
    let mut bench = Bench::with_config(config(), &[]);
    bench.join_with("a", slots(2, 2));
    bench.submit_of("x", task(1, &["a"; 6]));
    assert_eq!(bench.commands().len(), 4);
    bench.pass(SECOND);
    bench.submit_of("y", task(2, &["a", "a"]));
    assert_eq!(bench.commands(), ["a leaves 1.3#1", "a does 2.0#1", "a leaves 1.2#1", "a does 2.1#1"]);
    bench.pass(LEASE - 2 * SECOND);
    assert_eq!(bench.commands(), [""; 0], "what it works on it has had for less than a lease");
    bench.pass(SECOND);
    assert_eq!(bench.commands(), ["a leaves 1.1#1", "a does 1.1#2"], "it works on the first part of `y`");
    bench.answer(given("a", 2, 0, 1), 1);
    let parts = &bench.board.tasks.values().next().unwrap().parts;
    assert_eq!(parts.iter().map(|part| part.made_way).collect::<Vec<_>>(), [0, 1, 0, 0, 0, 0]);
    assert!(parts.iter().all(|part| part.begun() <= 1), "making way spends no attempt");
}

#[test]
fn t1_what_an_agent_that_drains_has_makes_no_way_where_no_other_could_do_it() {
    let mut bench = Bench::with_config(config(), &[]);
    bench.join_with("a", slots(1, 2));
    bench.submit_of("x", task(1, &["a"]));
    bench.submit_of("x", task(2, &["a"]));
    bench.submit_of("y", task(3, &["a"]));
    assert_eq!(bench.asked("3.0#1"), "a");
    bench.drain("a");
    bench.wait(2 * AGENT_WAIT);
    assert_eq!(bench.commands(), [""; 0], "it has had the first one for longer than a lease");
    bench.answer(given("a", 1, 0, 1), 1);
    assert_eq!(bench.commands(), ["1 done: 1@a"]);
}

#[test]
fn t1_a_late_part_makes_way_for_what_waits_behind_it_though_it_is_the_only_one_in_progress() {
    let mut bench = Bench::with_config(config(), &[]);
    bench.join_with("a", slots(1, 1));
    bench.submit_of("x", task(1, &["a"; 3]));
    bench.submit_of("y", task(2, &["a"]));
    assert_eq!(bench.commands(), ["a does 1.0#1", "a does 1.1#1", "a leaves 1.1#1", "a does 2.0#1"]);
    bench.pass(LEASE - SECOND);
    assert_eq!(bench.commands(), [""; 0]);
    bench.pass(SECOND);
    let commands = bench.commands();
    assert_eq!(commands[0], "a leaves 1.0#1");
    assert!(commands.len() == 2 && commands[1].starts_with("a does 1."), "{commands:?}");
    bench.answer(given("a", 2, 0, 1), 1);
    assert_eq!(bench.asked("1.1#2"), "a");
}

#[test]
fn t1_a_client_of_one_part_keeps_it_wherever_that_waits() {
    let mut bench = Bench::with_config(config(), &[]);
    bench.join_with("a", slots(1, 1));
    bench.submit_of("x", task(1, &["a"]));
    bench.submit_of("y", task(2, &["a"]));
    bench.submit_of("z", task(3, &["a"]));
    assert_eq!(bench.commands(), ["a does 1.0#1", "a does 2.0#1"]);
    bench.pass(LEASE);
    assert_eq!(bench.commands(), [""; 0]);
    bench.answer(given("a", 1, 0, 1), 1);
    assert_eq!(bench.commands(), ["1 done: 1@a", "a does 3.0#1"]);
}

#[test]
fn t1_the_lease_of_a_part_begins_again_when_its_agent_comes_to_it() {
    let mut bench = Bench::with_config(config(), &[]);
    bench.join_with("a", slots(1, 1));
    bench.submit(task(1, &["a", "a"]));
    bench.join("b", 1);
    assert_eq!(bench.commands(), ["a does 1.0#1", "a does 1.1#1"]);
    bench.pass(LEASE - SECOND);
    bench.answer(given("a", 1, 0, 1), 1);
    bench.pass(LEASE - SECOND);
    assert_eq!(bench.commands(), [""; 0], "it has had the part for less than a lease");
    bench.pass(SECOND);
    assert_eq!(bench.commands(), ["b does 1.1#2"]);
}

#[test]
fn at_an_agent_that_pauses_nothing_makes_way() {
    let mut bench = taken();
    bench.pass(SECOND);
    let held: Vec<Held> = bench.board.agents.0[&node("a")].held.keys().copied().collect();
    let refusal = Failure::NotBegun { cause: "no".into(), again: Some(5 * SECOND) };
    bench.fail(given("a", 1, held[0].part, held[0].attempt), refusal);
    bench.commands();
    bench.submit_of("y", task(2, &["a", "b"]));
    let commands = bench.commands();
    assert!(commands.len() == 2 && commands.iter().all(|command| command.starts_with("b ")), "{commands:?}");
}

#[test]
fn what_is_more_urgent_does_not_make_way_and_what_made_way_spends_no_attempt() {
    let mut bench = taken();
    bench.pass(SECOND);
    bench.submit_of("y", SubmitTask { priority: TaskPriority::MIN, ..task(2, &["a"]) });
    assert_eq!(bench.commands(), [""; 0]);
    for number in 3..5 {
        bench.submit_of("z", task(number, &["a"]));
        let done = bench.asked(&format!("{number}.0#1"));
        bench.answer(given(&done, number, 0, 1), 1);
        bench.commands();
    }
    assert!(bench.board.tasks.values().next().unwrap().parts.iter().all(|part| part.begun() <= 1));
}

#[test]
fn a_part_that_would_fail_without_its_last_attempt_does_not_make_way() {
    let mut bench = Bench::with_config(config(), &[]);
    bench.join("a", 2);
    bench.submit_of("x", task(1, &["a", "a"]));
    for lost in ["b", "c", "d"] {
        bench.join(lost, 2);
        bench.pass(LEASE);
        bench.lose(lost);
    }
    assert_eq!(bench.commands().len(), 8, "three are lost with both parts");
    bench.submit_of("y", task(2, &["a"]));
    bench.pass(LEASE);
    assert_eq!(bench.commands(), [""; 0]);
    bench.answer(given("a", 1, 0, 1), 1);
    bench.answer(given("a", 1, 1, 1), 2);
    assert_eq!(bench.commands(), ["a does 2.0#1", "1 done: 1@a 2@a"]);
}

#[test]
fn long_parts_end_at_last_however_many_short_ones_come() {
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit_of("x", task(1, &["a", "b"]));
    let mut began = BTreeMap::new();
    for number in 2..64 {
        bench.submit_of("y", task(number, &[["a", "b"][number as usize % 2]]));
        loop {
            let is_ripe = |(_, since): &(&Assignment, &Offset)| bench.now.since(**since) >= 3 * LEASE;
            let ripe: Vec<Assignment> = began.iter().filter(is_ripe).map(|(of, _)| of.clone()).collect();
            ripe.into_iter().for_each(|of| bench.answer(of, 1));
            let commands = bench.take_commands();
            if commands.is_empty() {
                break;
            }
            for command in commands {
                match command {
                    Command::Assign { assignment, .. } if assignment.task == id(1) => {
                        began.insert(assignment, bench.now);
                    }
                    Command::Assign { assignment, .. } => bench.answer(assignment, 1),
                    Command::Withdraw { assignment } => {
                        began.remove(&assignment);
                    }
                    Command::Finished { task, .. } if task == id(1) => return,
                    _ => {}
                }
            }
            began
                .retain(|of, _| bench.board.agents.0[&of.agent].held.keys().any(|held| held.task == of.task));
        }
        bench.pass(LEASE);
    }
    panic!("the long parts never end");
}

#[test]
fn an_agent_from_which_a_part_was_withdrawn_is_in_good_standing_again_when_it_answers() {
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit_of("x", task(1, &["a", "b"]));
    bench.pass(LEASE);
    bench.submit_of("y", task(2, &["a"]));
    let agent = bench.asked("2.0#1");
    assert!(!bench.board.agents.0[&node(&agent)].is_good());
    bench.answer(given(&agent, 2, 0, 1), 1);
    assert!(bench.board.agents.0[&node(&agent)].is_good());
}

#[test]
fn a_client_that_has_nothing_finds_room_in_a_queue_that_others_fill() {
    let queue_limit = NonZeroU32::new(1_000).unwrap();
    let mut bench = Bench::with_config(BoardConfig { queue_limit, ..config() }, &[]);
    let mut number = 0;
    let mut submit = |client: &str| {
        number += 1;
        bench.outcome_of(client, task(number, &["a"])).ends_with("accepted")
    };
    assert_eq!((0..).take_while(|_| submit("first")).count(), 375);
    for client in 0..100 {
        let held = (0..).take_while(|_| submit(&format!("client-{client}"))).count();
        assert!(held > 0, "there is no room for client {client}");
    }
}

#[test]
fn no_task_takes_more_than_half_of_the_bytes_that_are_left() {
    let mut bench = Bench::with_config(BoardConfig { bytes_max: 100_000, ..config() }, &[]);
    let mut submit = |number, parts| {
        bench.outcome_of(&format!("client-{number}"), task(number, &vec!["a"; parts])).ends_with("accepted")
    };
    assert_eq!([submit(1, 99), submit(2, 90), submit(3, 45), submit(4, 22)], [false, true, true, true]);
}
