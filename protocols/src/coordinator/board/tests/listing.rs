//! What a board shows of itself.

use super::*;
use crate::coordinator::TaskState;

/// Id, state, parts done, assigned and in all, age in seconds.
type Line = (TaskId, TaskState, (u32, u32, u32), u64);

fn shown(bench: &Bench) -> Vec<Line> {
    let line = |task: TaskSummary| {
        assert_eq!(task.kind, "look");
        let Progress { done, assigned, total } = task.progress;
        (task.id, task.state, (done, assigned, total), task.age.as_secs())
    };
    bench.board.tasks(bench.now).into_iter().map(line).collect()
}

#[test]
fn tasks_are_listed_by_urgency_and_after_them_those_that_ended() {
    let parts: Vec<ContentHash> = (0..2).map(|n| part_of("a", n)).collect();
    let mut bench = Bench::with_agents(&["a"]);
    bench.submit(task(1, &parts));
    bench.pass(Duration::from_secs(2));
    bench.submit(task(2, &parts[..1]));
    bench.submit(NewTask { priority: TaskPriority::MAX, ..task(3, &parts[1..]) });
    assert_eq!(
        shown(&bench),
        [
            (id(3), TaskState::Queued, (0, 0, 1), 0),
            (id(1), TaskState::Running, (0, 1, 2), 2),
            (id(2), TaskState::Queued, (0, 0, 1), 0),
        ]
    );
    assert_eq!(bench.board.load(), (2, 1));
    let slots: Vec<_> = bench.board.slots().map(|(id, held, of)| (id.as_str(), held, of.get())).collect();
    assert_eq!(slots, [("a", 1, 1)]);

    bench.complete(given("a", 1, 0, 1), 0);
    bench.pass(Duration::from_secs(3));
    bench.complete(given("a", 3, 0, 1), 0);
    assert!(bench.board.cancel(id(2), bench.now));
    bench.pass(Duration::from_secs(60));
    bench.fail(given("a", 1, 1, 1), Retry::Never);
    let failed = TaskState::Failed { reason: part_failed(1, 1, "a", "broken").to_string() };
    assert_eq!(
        shown(&bench),
        [
            (id(1), failed, (1, 0, 2), 65),
            (id(2), TaskState::Cancelled, (0, 0, 1), 3),
            (id(3), TaskState::Done, (1, 0, 1), 3),
        ]
    );
    assert_eq!(bench.board.load(), (0, 0));
}

#[test]
fn the_oldest_of_too_many_ended_tasks_are_forgotten() {
    let part = part_of("a", 0);
    let mut bench = Bench::with_agents(&["a"]);
    let count = LISTED_MAX as u128 + 5;
    for number in 0..count {
        bench.submit(task(number, &[part]));
        bench.complete(given("a", number, 0, 1), 0);
    }
    let listed = shown(&bench);
    assert_eq!(listed.len(), LISTED_MAX);
    assert_eq!((listed[0].0, listed[LISTED_MAX - 1].0), (id(count - 1), id(5)));
}
