//! Tasks that are refused, run out of time, are cancelled or find no agent.

use super::*;

#[test]
fn a5_the_queue_is_bounded_in_tasks_and_in_bytes() {
    let mut bench = Bench::with_config(BoardConfig { bytes_max: 7_700, ..config() }, &["a"]);
    bench.submit(task(1, &["a"; 4]));
    bench.submit(task(2, &["a"; 2]));
    assert_eq!(
        bench.outcome(task(3, &["a"; 2])),
        "3 refused: the coordinator holds at most 7700 bytes of tasks and answers, of one client as many as are left"
    );
    bench.submit(task(3, &["a"]));
    assert_eq!(
        bench.outcome(task(4, &["a"])),
        "4 refused: the coordinator holds at most 6 tasks, of one client as many as are left"
    );
    bench.cancel(3);
    bench.submit(task(4, &["a"]));
    let late = SubmitTask { deadline: Some(Duration::ZERO), ..task(5, &["a"]) };
    assert_eq!(bench.outcome(late), "5 refused: the task was not done by its deadline");
}

#[test]
fn a_task_that_never_fits_is_not_to_be_tried_again() {
    let bytes = new_task(task(1, &["a"; 4])).bytes();
    let outcome = |bytes_max| {
        let mut bench = Bench::with_config(BoardConfig { bytes_max, ..config() }, &["a"]);
        bench.outcome(task(1, &["a"; 4]))
    };
    assert_eq!(outcome(2 * bytes), "1 accepted");
    let refused = outcome(2 * bytes - 1);
    let said = format!(
        "1 refused: the task is invalid: its parts take {bytes} bytes at least, and no client may have more than {}: \
         the coordinator needs more memory (memory_mib of its node)",
        bytes - 1
    );
    assert_eq!(refused, said);
}

#[test]
fn a3_a_client_leaves_room_in_the_queue_for_others() {
    let mut bench = Bench::with_agents(&["a"]);
    let submitted = |bench: &mut Bench, number, client| {
        bench.submit_of(client, task(number, &["a"]));
        let is_accepted = |command: &Command| matches!(command, Command::Accepted { .. });
        bench.take_commands().iter().any(is_accepted)
    };
    let clients = ["x", "x", "x", "x", "y", "y", "z", "w"];
    let accepted = (1..).zip(clients).map(|(number, client)| submitted(&mut bench, number, client));
    assert_eq!(accepted.collect::<Vec<_>>(), [true, true, true, false, true, false, true, true]);
}

#[test]
fn answers_beyond_the_bounds_are_failures_of_their_attempts() {
    let mut bench = Bench::with_config(BoardConfig { bytes_max: 2_000, ..config() }, &["a", "b"]);
    bench.submit(task(1, &["a"]));
    bench.answer_with(given("a", 1, 0, 1), vec![0; 1_500].into());
    bench.answer_with(given("b", 1, 0, 2), vec![1; 1_400].into());
    assert_eq!(bench.commands(), ["a does 1.0#1", "b does 1.0#2", "1 done: 1@b"]);

    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &["a", "b"]));
    bench.answer_with(given("a", 1, 0, 1), vec![0; ANSWER_BYTES_MAX].into());
    bench.answer_with(given("b", 1, 1, 1), vec![0; ANSWER_BYTES_MAX].into());
    bench.answer_with(given("a", 1, 1, 2), vec![0; ANSWER_BYTES_MAX].into());
    assert_eq!(
        bench.commands().last().unwrap(),
        "1 failed: part 1 failed after 2 attempts, the last at a: \
         with its answer those of the task have more than 50331648 bytes"
    );
}

#[test]
fn a1_the_longest_answer_makes_way_for_those_that_find_no_room_beside_it() {
    for leaves in [false, true] {
        let mut bench = Bench::with_agents(&["a", "b"]);
        bench.submit(task(1, &["a", "b"]));
        bench.answer_with(given("a", 1, 0, 1), vec![0; ANSWER_BYTES_MAX].into());
        if leaves {
            bench.lose("a");
        }
        bench.answer(given("b", 1, 1, 1), 1);
        assert_eq!(bench.board.progress(id(1)), Some(Progress { done: 1, assigned: 1, total: 2 }));
        assert_eq!(bench.commands(), ["a does 1.0#1", "b does 1.1#1", "b does 1.0#2"]);
        bench.answer(given("b", 1, 0, 2), 2);
        assert_eq!(bench.commands(), ["1 done: 2@b 1@b"]);
    }
}

#[test]
fn a1_an_answer_makes_way_for_those_to_other_tasks() {
    let mut bench = Bench::with_config(BoardConfig { bytes_max: 5_000, ..config() }, &[]);
    bench.join("a", 2);
    bench.join("b", 2);
    bench.submit(task(1, &["a", "b"]));
    bench.submit(task(2, &["b"]));
    bench.answer_with(given("a", 1, 0, 1), vec![0; 3_000].into());
    bench.answer_with(given("b", 2, 0, 1), vec![2; 1_000].into());
    assert_eq!(bench.commands()[3..], ["2 done: 2@b", "b does 1.0#2"]);
}

#[test]
fn a1_the_agent_whose_answers_take_the_most_makes_way_however_short_each_is() {
    let mut bench = Bench::with_config(BoardConfig { bytes_max: 6_000, ..config() }, &[]);
    bench.join("a", 1);
    bench.join("b", 4);
    bench.submit(task(1, &["a", "b", "b", "b", "b"]));
    for part in 1..=4 {
        bench.answer_with(given("b", 1, part, 1), vec![1; 1_000].into());
    }
    bench.answer_with(given("a", 1, 0, 1), vec![0; 2_000].into());
    let progress = bench.board.progress(id(1)).unwrap();
    assert!(
        matches!(bench.board.tasks.values().next().unwrap().parts[0].state, State::Done(_)),
        "{progress:?}"
    );
}

#[test]
fn a3_of_the_clients_the_one_whose_answers_take_the_most_makes_way() {
    let mut bench = Bench::with_config(BoardConfig { bytes_max: 8_000, ..config() }, &[]);
    for (number, client, agent, homes) in [(1, "x", "a", &["a"; 5][..]), (2, "y", "b", &["b"])] {
        bench.join(agent, 5);
        bench.submit_of(client, task(number, homes));
    }
    for part in 0..4 {
        bench.answer_with(given("a", 1, part, 1), vec![1; 1_000].into());
    }
    bench.commands();
    bench.answer_with(given("b", 2, 0, 1), vec![2; 1_500].into());
    assert_eq!(bench.commands()[..1], ["2 done: 2@b"]);
}

#[test]
fn errors_of_handlers_are_kept_within_bounds() {
    let mut bench = Bench::with_agents(&["a"]);
    bench.submit(task(1, &["a"]));
    let of = |bytes| Failure::Handler { error: vec![0; bytes].into() };
    bench.fail(given("a", 1, 0, 1), of(64 << 10));
    let held = bench.board.bytes;
    bench.fail(given("a", 1, 0, 2), of((64 << 10) + 1));
    assert!(held > 64 << 10 && bench.board.bytes == 0, "{held}");
    let commands = bench.take_commands();
    let Some(Command::Failed { error: TaskError::PartFailed { error, .. }, .. }) = commands.last() else {
        panic!("{commands:?}");
    };
    assert_eq!(*error, None, "it was too long to be kept");
}

#[test]
fn a_deadline_fails_the_task_and_withdraws_its_attempts() {
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(SubmitTask { deadline: Some(5 * SECOND), ..task(1, &["a", "a", "b"]) });
    bench.submit(task(2, &["a"]));
    assert_eq!(bench.board.next_timeout(), bench.now.after(5 * SECOND));
    assert_eq!(bench.commands(), ["a does 1.0#1", "b does 1.2#1"]);
    bench.pass(5 * SECOND);
    assert_eq!(
        bench.commands(),
        [
            "a leaves 1.0#1",
            "b leaves 1.2#1",
            "1 failed: the task was not done by its deadline",
            "a does 2.0#1"
        ]
    );
    bench.submit(SubmitTask { deadline: Some(Duration::MAX), ..task(3, &["b"]) });
    assert_eq!(bench.board.next_timeout(), bench.now.after(LEASE), "what is beyond a century never comes");
}

#[test]
fn a_cancelled_task_is_withdrawn_from_everyone() {
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &["a"]));
    bench.pass(LEASE);
    bench.cancel(1);
    bench.cancel(1);
    assert_eq!(
        bench.commands(),
        [
            "a does 1.0#1",
            "b does 1.0#2",
            "a leaves 1.0#1",
            "b leaves 1.0#2",
            "1 failed: the task was cancelled"
        ]
    );
    bench.submit(task(2, &["a"]));
    assert_eq!(bench.commands(), ["a does 2.0#1"], "that is nothing against `a`");
}

#[test]
fn a_task_waits_for_a_capable_agent_but_not_for_ever() {
    let gone = |number| format!("{number} failed: no agent exposes the protocol \"looker\"");
    let mut bench = Bench::with_agents(&[]);
    bench.apply(Input::AgentJoined { agent: node("c"), protocols: BTreeSet::new(), slots: slots(1, 0) });
    bench.submit(task(1, &["a"]));
    assert_eq!(bench.board.next_timeout(), bench.now.after(AGENT_WAIT));
    bench.pass(AGENT_WAIT);
    assert_eq!(bench.commands(), [gone(1)]);

    bench.submit(task(2, &["a"]));
    bench.pass(AGENT_WAIT / 2);
    bench.join("a", 1);
    bench.pass(SECOND);
    bench.lose("a");
    bench.pass(AGENT_WAIT - SECOND);
    assert_eq!(bench.commands(), ["a does 2.0#1"], "the wait starts anew with each loss");
    bench.pass(SECOND);
    assert_eq!(bench.commands(), [gone(2)]);
}

#[test]
fn a_task_is_not_given_up_while_an_agent_that_drains_works_on_it() {
    let mut bench = Bench::with_agents(&["a"]);
    bench.submit(task(1, &["a", "a"]));
    bench.drain("a");
    bench.wait(2 * AGENT_WAIT);
    assert_eq!(bench.commands(), ["a does 1.0#1"]);
    bench.join("b", 1);
    bench.answer(given("a", 1, 0, 1), 10);
    bench.answer(given("b", 1, 1, 1), 11);
    assert_eq!(bench.commands(), ["b does 1.1#1", "1 done: 10@a 11@b"]);

    bench.drain("b");
    bench.submit(task(2, &["a"]));
    bench.wait(AGENT_WAIT);
    assert_eq!(bench.commands(), ["2 failed: no agent exposes the protocol \"looker\""]);
}

#[test]
fn agents_that_a_task_avoids_get_none_of_it() {
    let avoiding = |number, agents: &[&str]| {
        let avoid = agents.iter().map(|agent| node(agent)).collect();
        SubmitTask { avoid, waiting: Waiting::ForAnyone, ..task(number, &["a", "a"]) }
    };
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(avoiding(1, &["a"]));
    bench.lose("b");
    bench.join("b", 1);
    bench.wait(SECOND);
    bench.answer(given("b", 1, 0, 2), 10);
    bench.answer(given("b", 1, 1, 1), 11);
    assert_eq!(bench.commands(), ["b does 1.0#1", "b does 1.0#2", "b does 1.1#1", "1 done: 10@b 11@b"]);
    bench.submit(avoiding(2, &["a", "b", "elsewhere"]));
    bench.pass(AGENT_WAIT);
    let all = "2 failed: no agent exposes the protocol \"looker\" but those that the task avoids: a, b";
    assert_eq!(bench.commands(), [all]);
}

#[test]
fn a2_whom_a_client_avoids_gets_none_of_its_next_tasks_while_another_is_good() {
    let asking = |number| SubmitTask { waiting: Waiting::ForAnyone, ..task(number, &["b"]) };
    let avoiding = |number| SubmitTask { avoid: BTreeSet::from([node("b")]), ..asking(number) };
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit_of("betrayed", avoiding(1));
    bench.answer(given("a", 1, 0, 1), 10);
    bench.submit_of("betrayed", asking(2));
    bench.answer(given("a", 2, 0, 1), 10);
    assert_eq!(bench.commands(), ["a does 1.0#1", "1 done: 10@a", "a does 2.0#1", "2 done: 10@a"]);

    // Nobody else is told.
    bench.submit_of("other", asking(3));
    bench.answer(given("b", 3, 0, 1), 11);
    assert_eq!(bench.commands(), ["b does 3.0#1", "3 done: 11@b"]);

    bench.lose("a");
    bench.submit_of("betrayed", asking(4));
    bench.answer(given("b", 4, 0, 1), 11);
    assert_eq!(bench.commands(), ["b does 4.0#1", "4 done: 11@b"]);

    bench.join("a", 1);
    bench.pass(Duration::from_secs(600));
    bench.submit_of("betrayed", asking(5));
    assert_eq!(bench.commands(), ["b does 5.0#1"]);
}

#[test]
fn t2_a_board_that_drains_turns_away_what_nobody_here_can_do_and_finishes_the_rest() {
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &["a", "b"]));
    bench.submit(SubmitTask { protocol: "searcher".into(), ..task(2, &["a"]) });
    assert_eq!(bench.commands(), ["a does 1.0#1", "b does 1.1#1"]);
    bench.apply(Input::Draining);
    assert_eq!(bench.commands(), ["2 turned away"]);
    bench.submit(task(3, &["a"]));
    bench.drain("b");
    assert!(bench.commands().is_empty(), "there is still somebody who can do it");
    bench.lose("a");
    assert_eq!(bench.commands(), ["3 turned away"]);
    // What is in progress of it goes on, and after that nobody is left.
    bench.wait(SECOND);
    bench.answer(given("b", 1, 1, 1), 7);
    assert_eq!(bench.commands(), ["1 turned away"]);
    // It is the same task still, which nobody cancelled and which has not failed.
    bench.submit(task(1, &["a", "b"]));
    assert_eq!(bench.commands(), ["1 turned away"]);
    assert_eq!(bench.board.next_timeout(), None);
}
