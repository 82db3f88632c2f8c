//! Ids that are submitted again.

use super::*;
use crate::coordinator::TaskState;

fn done(bench: &mut Bench, number: u128) {
    bench.submit(task(number, &["a"]));
    bench.answer(given("a", number, 0, 1), 7);
    bench.commands();
}

#[test]
fn an_id_that_runs_is_joined_by_its_client_and_by_no_other() {
    let mut bench = Bench::with_agents(&["a"]);
    bench.submit(task(1, &["a"]));
    let again = SubmitTask { priority: TaskPriority::MAX, deadline: Some(SECOND), ..task(1, &["a"]) };
    assert_eq!(bench.outcome(again), "1 joined");
    bench.commands();
    bench.apply(Input::Submitted(NewTask::new(task(1, &["a"]), None).unwrap()));
    let of_another_client = bench.commands();
    assert!(of_another_client[0].starts_with("1 refused: the task is invalid"), "{of_another_client:?}");
    let other = "is the id of another task, or of another client's: choose a new one";
    assert_eq!(
        bench.outcome(task(1, &["a", "a"])),
        format!("1 refused: the task is invalid: {} {other}", id(1))
    );
    bench.commands();
    bench.answer(given("a", 1, 0, 1), 7);
    assert_eq!(bench.commands(), ["1 done: 7@a"]);
}

#[test]
fn an_id_that_is_done_is_answered_with_its_result_as_long_as_that_is_held() {
    let mut bench = Bench::with_agents(&["a"]);
    done(&mut bench, 1);
    let again = SubmitTask { priority: TaskPriority::MAX, deadline: Some(SECOND), ..task(1, &["a"]) };
    assert_eq!(bench.outcome(again), "1 repeated: 7@a");
    assert!(bench.outcome(task(1, &["b"])).starts_with("1 refused: the task is invalid"));
    bench.pass(Duration::from_secs(600) - Duration::from_nanos(1));
    assert_eq!(bench.outcome(task(1, &["a"])), "1 repeated: 7@a");
    bench.pass(Duration::from_nanos(1));
    let ended = format!("1 refused: task {} has ended, and its result is no longer held", id(1));
    assert_eq!(bench.outcome(task(1, &["a"])), ended);
    assert!(bench.outcome(task(1, &["b"])).starts_with("1 refused: the task is invalid"));
}

#[test]
fn a_result_is_for_the_client_that_submitted_the_task() {
    let mut bench = Bench::with_agents(&["a"]);
    done(&mut bench, 1);
    bench.apply(Input::Submitted(NewTask::new(task(1, &["a"]), None).unwrap()));
    let commands = bench.commands();
    assert!(commands[0].starts_with("1 refused: the task is invalid"), "{commands:?}");
}

#[test]
fn an_id_that_failed_is_answered_with_its_error() {
    let mut bench = Bench::with_agents(&["a"]);
    bench.submit(SubmitTask { deadline: Some(SECOND), ..task(1, &["a"]) });
    bench.pass(SECOND);
    assert_eq!(bench.outcome(task(1, &["a"])), "1 refused: the task was not done by its deadline");
}

#[test]
fn an_id_that_was_cancelled_begins_anew() {
    let mut bench = Bench::with_agents(&["a"]);
    bench.submit(task(1, &["a"]));
    bench.cancel(1);
    bench.commands();
    done(&mut bench, 1);
    assert_eq!(bench.outcome(task(1, &["a"])), "1 repeated: 7@a");
    assert_eq!(bench.board.tasks(bench.now).len(), 1, "it is listed once");
}

#[test]
fn results_that_are_held_are_bounded_in_bytes_and_the_oldest_go() {
    let mut bench = Bench::with_config(BoardConfig { results_bytes_max: 2 * (96 + 10), ..config() }, &["a"]);
    let mut finish = |number, bytes| {
        bench.submit(task(number, &["a"]));
        bench.answer_with(given("a", number, 0, 1), vec![0; bytes].into());
        (1..=number)
            .map(|number| bench.outcome(task(number, &["a"])).contains("repeated"))
            .collect::<Vec<_>>()
    };
    // The name of the agent counts as well, and 96 bytes for what holds an answer.
    assert_eq!(finish(1, 9), [true]);
    assert_eq!(finish(2, 9), [true, true]);
    assert_eq!(finish(3, 1), [false, true, true]);
    assert_eq!(finish(4, 200), [false, false, false, false], "what is larger than the bound is not held");
}

#[test]
fn the_oldest_of_too_many_ids_are_forgotten() {
    let mut ended = Ended::new(SECOND, 1);
    let count = u128::try_from(ENDED_MAX).unwrap() + 1;
    for number in 0..count {
        let new = new_task(task(number, &["a"]));
        let (body, error) = (new.body(), TaskError::DeadlineExceeded);
        let rank = Rank { urgency: Reverse(TaskPriority::MAX), sequence: 0 };
        let task = Task::new(new, Offset::default());
        let state = TaskState::Failed { reason: error.to_string() };
        let summary = task.summary(rank, state, Offset::default());
        ended.remember(summary, body, Some(Err(error)), Offset::default());
    }
    ended.assert_invariants();
    let is_known = |number| !matches!(ended.known(&new_task(task(number, &["a"]))), Known::New);
    assert_eq!([0, 1, count - 1].map(is_known), [false, true, true]);
}

#[test]
fn a_cancel_that_overtakes_its_task_is_not_lost() {
    let mut bench = Bench::with_agents(&["a"]);
    bench.cancel(1);
    bench.pass(9 * SECOND);
    assert_eq!(bench.outcome(task(1, &["a"])), "1 refused: the task was cancelled");
    bench.submit(task(1, &["a"]));
    bench.cancel(2);
    bench.pass(10 * SECOND);
    bench.submit(task(2, &["a"]));
    // What has ended does not come any more, and what is kept is bounded.
    bench.answer(given("a", 1, 0, 1), 1);
    bench.cancel(1);
    assert_eq!(bench.outcome(task(1, &["a"])), "1 repeated: 1@a");
    (3..=1_003).for_each(|number| bench.cancel(number));
    bench.submit(task(3, &["a"]));
    assert_eq!(bench.outcome(task(4, &["a"])), "4 refused: the task was cancelled");
}

#[test]
fn a_task_that_was_cancelled_twice_before_it_came_is_refused_once() {
    let mut bench = Bench::with_agents(&["a"]);
    bench.cancel(1);
    bench.cancel(1);
    assert_eq!(bench.outcome(task(1, &["a"])), "1 refused: the task was cancelled");
    bench.submit(task(1, &["a"]));
}
