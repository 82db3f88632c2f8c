//! What a board shows of itself.

use super::*;
use crate::coordinator::TaskState;

/// Id, state, parts done, assigned and in all, age in seconds.
type Line = (TaskId, TaskState, (u32, u32, u32), u64);

fn listed(bench: &Bench) -> Vec<Line> {
    let line = |task: TaskSummary| {
        assert_eq!(task.kind, "look");
        let Progress { done, assigned, total } = task.progress;
        (task.id, task.state, (done, assigned, total), task.age.as_secs())
    };
    bench.board.tasks(bench.now).into_iter().map(line).collect()
}

#[test]
fn tasks_are_listed_by_urgency_and_after_them_those_that_ended() {
    let mut bench = Bench::with_agents(&["a"]);
    bench.submit(task(1, &["a", "a"]));
    bench.pass(2 * SECOND);
    bench.submit(task(2, &["a"]));
    bench.submit(SubmitTask { priority: TaskPriority::MAX, ..task(3, &["a"]) });
    assert_eq!(
        listed(&bench),
        [
            (id(3), TaskState::Queued, (0, 0, 1), 0),
            (id(1), TaskState::Running, (0, 1, 2), 2),
            (id(2), TaskState::Queued, (0, 0, 1), 0),
        ]
    );
    assert_eq!(bench.board.load(), (2, 1));
    let slots: Vec<_> = bench.board.slots().map(|(id, held, of)| (id.as_str(), held, of.get())).collect();
    assert_eq!(slots, [("a", 1, 1)]);

    bench.answer(given("a", 1, 0, 1), 0);
    bench.pass(3 * SECOND);
    bench.answer(given("a", 3, 0, 1), 0);
    bench.cancel(2);
    bench.pass(20 * SECOND);
    bench.fail(given("a", 1, 1, 1), wrong());
    bench.fail(given("a", 1, 1, 2), wrong());
    let reason = "part 1 failed after 2 attempts, the last at a: it answered with an error".to_owned();
    assert_eq!(
        listed(&bench),
        [
            (id(1), TaskState::Failed { reason }, (1, 0, 2), 25),
            (id(2), TaskState::Cancelled, (0, 0, 1), 3),
            (id(3), TaskState::Done, (1, 0, 1), 3),
        ]
    );
    assert_eq!(bench.board.load(), (0, 0));
}

#[test]
fn nobody_works_on_a_task_that_ended() {
    let mut bench = Bench::with_agents(&["a", "b"]);
    bench.submit(task(1, &["a", "b"]));
    assert_eq!(listed(&bench), [(id(1), TaskState::Running, (0, 2, 2), 0)]);
    bench.cancel(1);
    bench.submit(SubmitTask { deadline: Some(SECOND), ..task(2, &["a", "b"]) });
    bench.pass(SECOND);
    let reason = "the task was not done by its deadline".to_owned();
    let late = (id(2), TaskState::Failed { reason }, (0, 0, 2), 1);
    assert_eq!(listed(&bench), [late, (id(1), TaskState::Cancelled, (0, 0, 2), 0)]);
}

#[test]
fn of_the_tasks_that_ended_the_latest_are_listed() {
    let mut bench = Bench::with_agents(&["a"]);
    let count = LISTED_MAX as u128 + 5;
    for number in 0..count {
        bench.submit(task(number, &["a"]));
        bench.answer(given("a", number, 0, 1), 0);
    }
    let listed = listed(&bench);
    assert_eq!(listed.len(), LISTED_MAX);
    assert_eq!((listed[0].0, listed[LISTED_MAX - 1].0), (id(count - 1), id(5)));
}
