//! Attempts that fail, take too long or are not begun.

use super::*;

#[test]
fn when_a_lease_runs_out_another_agent_is_asked_and_the_late_answer_counts() {
    let mut bench = Bench::with_agents(&["b"]);
    bench.join("a", 2);
    bench.submit(task(1, &["a"]));
    bench.pass(LEASE - Duration::from_nanos(1));
    assert_eq!(bench.commands(), ["a does 1.0#1"]);
    assert_eq!(bench.board.next_timeout(), bench.now.after(Duration::from_nanos(1)));
    bench.pass(Duration::from_nanos(1));
    assert_eq!(bench.commands(), ["b does 1.0#2"]);

    // Though `a` has a second slot, it is given nothing while it owes an answer.
    bench.submit(task(2, &["a"]));
    assert_eq!(bench.commands(), [""; 0]);
    bench.answer(given("a", 1, 0, 1), 1);
    assert_eq!(bench.commands(), ["b leaves 1.0#2", "1 done: 1@a", "a does 2.0#1"]);
    bench.answer(given("b", 1, 0, 2), 2);
    assert_eq!(bench.commands(), [""; 0], "it was withdrawn");
}

#[test]
fn t1_a_part_that_takes_every_agent_longer_than_its_lease_is_done_once() {
    let mut bench = Bench::with_agents(&["a", "b", "c", "d"]);
    bench.submit(task(1, &["a"]));
    bench.wait(LEASE * 3 / 2);
    let commands = bench.commands();
    let [first, second] = &commands[..] else { panic!("{commands:?}") };
    assert!(first.ends_with("does 1.0#1") && second.ends_with("does 1.0#2"), "{commands:?}");
    bench.answer(given(&first[..1], 1, 0, 1), 1);
    assert_eq!(
        bench.commands(),
        [format!("{} leaves 1.0#2", &second[..1]), format!("1 done: 1@{}", &first[..1])]
    );
}

#[test]
fn parts_that_wait_for_a_silent_agent_move_too() {
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &["a"]));
    bench.submit(task(2, &["a"]));
    bench.pass(LEASE);
    assert_eq!(bench.commands(), ["a does 1.0#1", "b does 1.0#2"]);
    bench.answer(given("b", 1, 0, 2), 1);
    assert_eq!(bench.commands(), ["a leaves 1.0#1", "1 done: 1@b", "b does 2.0#1"]);
}

#[test]
fn an_agent_that_was_outrun_by_more_than_a_lease_pauses_for_one() {
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &["a"]));
    bench.pass(LEASE);
    bench.answer(given("b", 1, 0, 2), 1);
    bench.submit(task(2, &["a", "a"]));
    assert_eq!(
        bench.commands(),
        ["a does 1.0#1", "b does 1.0#2", "a leaves 1.0#1", "1 done: 1@b", "b does 2.0#1"]
    );
    bench.wait(LEASE - SECOND);
    assert_eq!(bench.commands(), [""; 0]);
    bench.lose("b");
    bench.wait(SECOND);
    assert_eq!(bench.commands(), ["a does 2.0#2"], "it is asked again at the end of its pause");
}

#[test]
fn with_one_agent_a_lease_is_renewed() {
    let mut bench = Bench::with_agents(&["a"]);
    bench.submit(task(1, &["a", "a"]));
    (0..5).for_each(|_| bench.pass(LEASE));
    assert_eq!(bench.commands(), ["a does 1.0#1"]);
    assert_eq!(bench.board.next_timeout(), bench.now.after(LEASE));
    bench.join("b", 1);
    assert_eq!(bench.commands(), ["b does 1.1#1"]);
    bench.answer(given("b", 1, 1, 1), 11);
    bench.pass(LEASE);
    assert_eq!(bench.commands(), ["b does 1.0#2"], "now there is another to ask");
    bench.answer(given("a", 1, 0, 1), 10);
    assert_eq!(bench.commands(), ["b leaves 1.0#2", "1 done: 10@a 11@b"]);
}

#[test]
fn t3_what_fails_goes_to_an_agent_that_did_not_fail_it_yet() {
    let mut bench = Bench::with_agents(&["a", "b", "c", "d"]);
    bench.submit(task(1, &["a"]));
    let mut asked = BTreeSet::new();
    // One after the other, also beyond the attempts that a part has: the last of them may be the honest one.
    for attempt in 1..=4 {
        let commands = bench.commands();
        let [command] = &commands[..] else { panic!("{commands:?}") };
        let agent = command.strip_suffix(&format!(" does 1.0#{attempt}")).unwrap().to_owned();
        bench.fail(given(&agent, 1, 0, attempt), wrong());
        assert!(asked.insert(agent), "{command}, though it failed");
    }
    let commands = bench.commands();
    assert!(commands[0].starts_with("1 failed: part 0 failed after 4 attempts"), "{commands:?}");
}

#[test]
fn t5_a_part_that_takes_agents_down_is_not_given_to_all_of_them() {
    let mut bench = Bench::with_agents(&["a", "b", "c", "d"]);
    bench.submit(task(1, &["a"]));
    for attempt in 1..=3 {
        let commands = bench.commands();
        let agent = commands[0].strip_suffix(&format!(" does 1.0#{attempt}")).unwrap();
        bench.lose(agent);
    }
    let commands = bench.commands();
    assert!(commands[0].starts_with("1 failed: part 0 failed after 3 attempts"), "{commands:?}");
}

#[test]
fn a1_an_agent_whose_answer_made_way_was_not_taken_down_by_the_part() {
    let bytes = |number, homes: &[&str]| NewTask::new(task(number, homes), None).unwrap().bytes();
    let bytes_max = bytes(1, &["a", "b"]) + bytes(2, &["b"]) + 3_600;
    let mut bench = Bench::with_config(BoardConfig { bytes_max, ..config() }, &[]);
    ["a", "b", "c", "d", "e"].iter().for_each(|agent| bench.join(agent, 9));
    bench.submit(task(1, &["a", "b"]));
    // More often than there are attempts.
    for attempt in 1..=4 {
        let agent = bench.asked(&format!("1.0#{attempt}"));
        bench.answer_with(given(&agent, 1, 0, attempt), vec![0; 3_000].into());
        let other = u128::from(attempt) + 1;
        bench.submit_of("other", task(other, &["b"]));
        let agent = bench.asked(&format!("{other}.0#1"));
        bench.answer_with(given(&agent, other, 0, 1), vec![1; 700].into());
    }
    bench.asked("1.0#5");
}

#[test]
fn a1_no_single_word_ends_a_task_and_two_of_the_only_agent_do() {
    let mut bench = Bench::with_agents(&["a"]);
    bench.submit(task(1, &["a"]));
    bench.fail(given("a", 1, 0, 1), wrong());
    assert_eq!(bench.commands(), ["a does 1.0#1", "a does 1.0#2"]);
    bench.fail(given("a", 1, 0, 2), wrong());
    let commands = bench.take_commands();
    let [Command::Failed { error, .. }] = &commands[..] else { panic!("{commands:?}") };
    let cause = "it answered with an error".to_owned();
    let handlers = Some(vec![7].into());
    assert_eq!(
        *error,
        TaskError::PartFailed { part: 0, attempts: 2, agent: node("a"), cause, error: handlers }
    );
}

#[test]
fn a_part_that_every_agent_fails_ends_its_task_and_withdraws_the_rest() {
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &["a", "b"]));
    bench.fail(given("b", 1, 1, 1), wrong());
    assert_eq!(bench.commands(), ["a does 1.0#1", "b does 1.1#1"], "part 1 waits for `a`");
    bench.answer(given("a", 1, 0, 1), 0);
    bench.submit(task(2, &["b"]));
    bench.fail(given("a", 1, 1, 2), Failure::Invalid { cause: "undecodable".into() });
    assert_eq!(
        bench.commands(),
        [
            "a does 1.1#2",
            "b does 2.0#1",
            "1 failed: part 1 failed after 2 attempts, the last at a: undecodable"
        ]
    );
}

#[test]
fn the_last_agent_that_could_still_answer_is_waited_for() {
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &["a"]));
    bench.pass(LEASE);
    bench.fail(given("b", 1, 0, 2), wrong());
    assert_eq!(bench.commands(), ["a does 1.0#1", "b does 1.0#2"]);
    bench.wait(3 * LEASE);
    assert_eq!(bench.commands(), [""; 0]);
    bench.answer(given("a", 1, 0, 1), 1);
    assert_eq!(bench.commands(), ["1 done: 1@a"]);
}

#[test]
fn a2_an_agent_that_failed_what_another_answers_pauses_longer_each_time() {
    let mut bench = Bench::with_agents(&["a", "b"]);
    let mut pauses = Vec::new();
    for number in 1..=4 {
        bench.submit(task(number, &["a"]));
        bench.fail(given("a", number, 0, 1), wrong());
        bench.answer(given("b", number, 0, 2), 0);
        let start = bench.now;
        bench.submit(task(99, &["a", "a"]));
        pauses.push(bench.board.agents.0[&node("a")].standing.paused_until.unwrap().since(start).as_millis());
        bench.cancel(99);
        bench.wait(10 * SECOND);
    }
    assert_eq!(pauses, [50, 100, 200, 400]);
    bench.submit(task(5, &["a"]));
    bench.answer(given("a", 5, 0, 1), 0);
    assert_eq!(bench.board.agents.0[&node("a")].standing.paused_until, None);
}

#[test]
fn a2_the_standing_of_an_agent_outlasts_its_sessions() {
    // Whether the end of its session or of what it was asked is noticed first.
    for asks_end_first in [false, true] {
        let mut bench = Bench::with_agents(&["a", "b"]);
        let mut pauses = Vec::new();
        for number in 1..=4 {
            bench.submit(task(number, &["a"]));
            bench.pass(20 * SECOND);
            if asks_end_first {
                bench.fail(given("a", number, 0, 1), lost());
            }
            bench.lose("a");
            bench.answer(given("b", number, 0, 2), 0);
            bench.join("a", 1);
            let until = bench.board.agents.0[&node("a")].standing.paused_until.unwrap();
            pauses.push(until.since(bench.now).as_millis());
            bench.wait(until.since(bench.now) + SECOND);
        }
        // It left, and another one answered what it had.
        assert_eq!(pauses, [100, 20_000, 40_000, 60_000]);
        bench.submit(task(5, &["a"]));
        bench.answer(given("a", 5, 0, 1), 0);
        bench.lose("a");
        bench.join("a", 1);
        bench.submit(task(6, &["a"]));
        bench.answer(given("a", 6, 0, 1), 0);
    }
}

#[test]
fn a2_the_standing_of_those_who_left_is_bounded() {
    let mut bench = Bench::with_agents(&[]);
    bench.submit(task(1, &["a"]));
    for number in 0..1_001 {
        let agent = format!("liar-{number}");
        bench.join(&agent, 1);
        bench.fail(given(&agent, 1, 0, number + 1), busy());
        bench.lose(&agent);
        bench.pass(Duration::from_millis(1));
    }
    let pauses = |bench: &mut Bench, agent: &str| {
        bench.join(agent, 1);
        bench.board.agents.0[&node(agent)].standing.paused_until.is_some()
    };
    assert!(!pauses(&mut bench, "liar-0") && pauses(&mut bench, "liar-1000"));
}

#[test]
fn what_is_not_begun_spends_no_attempt_and_goes_elsewhere() {
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &["a"]));
    bench.fail(given("a", 1, 0, 1), busy());
    assert_eq!(bench.commands(), ["a does 1.0#1", "b does 1.0#2"]);
    bench.fail(given("b", 1, 0, 2), busy());
    assert_eq!(bench.commands(), [""; 0], "both pause");
    bench.wait(Duration::from_millis(49));
    assert_eq!(bench.commands(), [""; 0]);
    for _ in 0..10 {
        bench.wait(10 * SECOND);
        let commands = bench.commands();
        let [command] = &commands[..] else { panic!("{commands:?}") };
        let (agent, attempt) = command.split_once(" does 1.0#").unwrap();
        bench.fail(given(agent, 1, 0, attempt.parse().unwrap()), busy());
    }
    bench.wait(10 * SECOND);
    let command = bench.commands().remove(0);
    bench.answer(given(&command[..1], 1, 0, 13), 1);
    assert_eq!(bench.commands(), [format!("1 done: 1@{}", &command[..1])]);
}

#[test]
fn an_agent_that_refuses_a_part_for_good_takes_other_work_at_once() {
    let mut bench = Bench::with_agents(&["a"]);
    bench.submit(task(1, &["a"]));
    bench.submit(task(2, &["a"]));
    bench.fail(given("a", 1, 0, 1), denied());
    assert_eq!(bench.commands(), ["a does 1.0#1", "a does 1.0#2"]);
    bench.fail(given("a", 1, 0, 2), denied());
    let commands = bench.commands();
    assert!(commands[0].starts_with("1 failed: part 0 failed"), "{commands:?}");
    assert_eq!(commands[1..], ["a does 2.0#1"], "no time has passed");
}

#[test]
fn an_agent_cannot_ask_for_a_pause_without_end() {
    let mut bench = Bench::with_agents(&["a"]);
    bench.submit(task(1, &["a"]));
    bench.fail(
        given("a", 1, 0, 1),
        Failure::NotBegun { cause: "overloaded".into(), again: Some(Duration::MAX) },
    );
    bench.wait(59 * SECOND);
    assert_eq!(bench.commands(), ["a does 1.0#1"]);
    bench.wait(SECOND);
    assert_eq!(bench.commands(), ["a does 1.0#2"]);
}

#[test]
fn a_part_that_nobody_may_do_fails_without_an_attempt() {
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &["a"]));
    bench.fail(given("a", 1, 0, 1), denied());
    bench.fail(given("b", 1, 0, 2), denied());
    assert_eq!(
        bench.commands(),
        [
            "a does 1.0#1",
            "b does 1.0#2",
            "1 failed: part 0 failed after 0 attempts, the last at b: not permitted"
        ]
    );
}

#[test]
fn an_agent_that_is_always_busy_does_not_hold_up_the_verdict_of_the_others() {
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &["a"]));
    bench.fail(given("a", 1, 0, 1), wrong());
    for attempt in 2..=4 {
        bench.fail(given("b", 1, 0, attempt), busy());
        bench.wait(10 * SECOND);
    }
    assert_eq!(
        bench.commands(),
        [
            "a does 1.0#1",
            "b does 1.0#2",
            "b does 1.0#3",
            "b does 1.0#4",
            "1 failed: part 0 failed after 1 attempts, the last at b: overloaded"
        ]
    );
}

#[test]
fn lost_agents_spend_attempts_until_every_agent_has_tried() {
    let mut bench = Bench::with_agents(&["a"]);
    bench.submit(task(1, &["a"]));
    for _ in 0..2 {
        bench.lose("a");
        bench.join("a", 1);
        bench.wait(SECOND);
    }
    bench.join("b", 1);
    bench.lose("a");
    assert_eq!(bench.commands(), ["a does 1.0#1", "a does 1.0#2", "a does 1.0#3", "b does 1.0#4"]);
    bench.fail(given("b", 1, 0, 4), lost());
    assert_eq!(
        bench.commands(),
        ["1 failed: part 0 failed after 4 attempts, the last at b: its actor stopped"],
        "three attempts are spent, and every agent has tried it"
    );
}

#[test]
fn an_agent_tries_again_while_the_other_hangs_but_leaves_it_an_attempt() {
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(SubmitTask { avoid: BTreeSet::from([node("a")]), ..task(1, &["b"]) });
    bench.pass(LEASE);
    bench.submit(task(2, &["a"]));
    bench.fail(given("a", 2, 0, 1), lost());
    assert_eq!(bench.commands(), ["b does 1.0#1", "a does 2.0#1", "a does 2.0#2"]);
    bench.fail(given("a", 2, 0, 2), lost());
    assert_eq!(bench.commands(), [""; 0], "the last of three attempts is for `b`");
    bench.answer(given("b", 1, 0, 1), 1);
    assert_eq!(bench.commands(), ["1 done: 1@b", "b does 2.0#3"]);
}

#[test]
fn t4_what_a_lost_agent_is_known_not_to_have_begun_spends_no_attempt() {
    let mut bench = Bench::with_agents(&["a"]);
    bench.submit(task(1, &["a"]));
    for attempt in 1..=5 {
        bench.fail(given("a", 1, 0, attempt), busy());
        bench.lose("a");
        bench.join("a", 1);
        bench.wait(SECOND);
    }
    bench.answer(given("a", 1, 0, 6), 1);
    assert_eq!(bench.commands().last().unwrap(), "1 done: 1@a");
}

#[test]
fn an_agent_that_did_not_answer_at_all_pauses_and_the_part_goes_on() {
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &["a"]));
    bench.fail(given("a", 1, 0, 1), Failure::TimedOut { after: 5 * LEASE });
    bench.submit(task(2, &["a"]));
    bench.answer(given("b", 1, 0, 2), 1);
    assert_eq!(bench.commands(), ["a does 1.0#1", "b does 1.0#2", "1 done: 1@b", "b does 2.0#1"]);
}

#[test]
fn reports_about_what_nobody_holds_change_nothing() {
    let mut bench = Bench::with_agents(&["a"]);
    bench.submit(task(1, &["a"]));
    for stale in [given("a", 1, 0, 2), given("a", 1, 1, 1), given("b", 1, 0, 1), given("a", 2, 0, 1)] {
        bench.answer(stale.clone(), 0);
        bench.fail(stale, wrong());
    }
    bench.answer(given("a", 1, 0, 1), 1);
    bench.answer(given("a", 1, 0, 1), 2);
    assert_eq!(bench.commands(), ["a does 1.0#1", "1 done: 1@a"]);
}

#[test]
fn an_agent_that_failed_a_part_pauses_for_it_once_though_the_answer_is_revoked() {
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(SubmitTask { waiting: Waiting::ForAnyone, ..task(1, &["a", "b"]) });
    bench.join("c", 1);
    bench.fail(given("a", 1, 0, 1), wrong());
    let is_paused = |bench: &Bench| bench.board.agents.0[&node("a")].standing.paused_until.is_some();
    bench.answer_with(given("c", 1, 0, 2), vec![0; ANSWER_BYTES_MAX].into());
    assert!(is_paused(&bench));
    bench.wait(SECOND);
    bench.answer(given("b", 1, 1, 1), 11);
    bench.answer(given("b", 1, 0, 3), 10);
    assert_eq!(bench.commands().last().unwrap(), "1 done: 10@b 11@b");
    assert!(!is_paused(&bench));
}

#[test]
fn one_that_has_answered_is_asked_before_those_that_hung() {
    let mut bench = Bench::with_agents(&["a", "b", "c", "d", "e"]);
    bench.submit(task(1, &["a"]));
    let asked = |bench: &mut Bench, number: u128, attempt: u32, honest: Option<&str>| {
        let agent = bench.asked(&format!("{number}.0#{attempt}"));
        if attempt == 5 || honest == Some(&agent) {
            bench.answer(given(&agent, number, 0, attempt), 1);
            // As long as the others pause.
            bench.wait(2 * LEASE);
            bench.submit(task(number + 1, &["a"]));
        } else {
            bench.wait(LEASE);
        }
        agent
    };
    // All but the last one hang.
    let honest = (1..=5).map(|attempt| asked(&mut bench, 1, attempt, None)).last().unwrap();
    for number in 2..12 {
        // Nor are others asked before one that has answered.
        bench.join(&format!("new-{number}"), 1);
        let attempts = (1..).find(|attempt| asked(&mut bench, number, *attempt, Some(&honest)) == honest);
        assert!(attempts <= Some(2), "{attempts:?} of task {number}");
    }
}

#[test]
fn an_answer_without_room_spends_an_attempt_and_is_not_held_against_its_agent() {
    let mut bench = Bench::with_agents(&["a", "b"]);
    let no_room = || Failure::NoRoom { cause: "there is no room".into() };
    bench.submit(task(1, &["a"]));
    bench.fail(given("a", 1, 0, 1), no_room());
    bench.answer(given("b", 1, 0, 2), 1);
    let doubts = |agent: &str| bench.board.agents.0[&node(agent)].doubts();
    assert_eq!((doubts("a"), doubts("b")), (1, 0), "it has only never answered");
    assert_eq!(bench.board.agents.0[&node("a")].standing.paused_until, None);
    bench.lose("b");
    bench.submit(task(2, &["a"]));
    (1..=3).for_each(|attempt| bench.fail(given("a", 2, 0, attempt), no_room()));
    let commands = bench.commands();
    let ended = "2 failed: part 0 failed after 3 attempts, the last at a: there is no room";
    assert_eq!(commands.last().map(String::as_str), Some(ended), "{commands:?}");
}
