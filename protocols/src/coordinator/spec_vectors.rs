//! Holds the tasks that the specification shows against the code.

use super::*;
use crate::wire::{
    codec,
    spec_vectors::{SPEC, block, hex},
};
use std::collections::BTreeMap;

/// Notations and encodings of what the specification shows.
fn values() -> BTreeMap<&'static str, Vec<u8>> {
    fn bytes<T: Serialize>(value: T) -> Vec<u8> {
        codec::encode(&value).unwrap()
    }
    let zeros: ContentHash = codec::decode(&[0; 32]).unwrap();
    let node = |name: &str| -> NodeId { name.parse().unwrap() };
    let id = TaskId::from(Uuid::nil());
    let part = Part { request: "add".into(), version: 1, payload: vec![2, 3].into(), inputs: vec![zeros] };
    let task = SubmitTask {
        id,
        kind: "sum".into(),
        priority: TaskPriority::default(),
        deadline: Some(std::time::Duration::from_secs(7)),
        protocol: "calculator".into(),
        parts: vec![part],
        waiting: Waiting::ForAnyone,
        avoid: BTreeSet::from([node("b")]),
    };
    let answers = vec![PartAnswer { agent: node("a"), reply: vec![5].into() }];
    let failed =
        |error| TaskError::PartFailed { part: 3, attempts: 2, agent: node("a"), cause: "x".into(), error };
    BTreeMap::from([
        ("SubmitTask z16 sum, 7 s, calculator, add", bytes(task)),
        ("CancelTask z16", bytes(CancelTask { id })),
        ("TaskReport 5 of a", bytes(TaskReport { answers })),
        ("QueueFull 300 tasks", bytes(TaskError::QueueFull { limit: QueueLimit::Tasks(300) })),
        ("QueueFull 9 bytes", bytes(TaskError::QueueFull { limit: QueueLimit::Bytes(9) })),
        ("QueueFull 9 bytes of inputs", bytes(TaskError::QueueFull { limit: QueueLimit::Inputs(9) })),
        ("Ended z16", bytes(TaskError::Ended { task: id })),
        ("PartFailed 3, 2, a, x", bytes(failed(None))),
        ("PartFailed 3, 2, a, x, 07", bytes(failed(Some(vec![7].into())))),
        ("MissingContent [z32]", bytes(TaskError::MissingContent { hashes: vec![zeros] })),
    ])
}

#[test]
fn the_tasks_in_the_specification_are_those_of_the_code() {
    let mut values = values();
    let zeros = |count| vec!["00"; count].join(" ");
    for line in block(SPEC, "tasks").lines() {
        let (name, bytes) = line.split_once(" = ").unwrap();
        let expected = values.remove(name).unwrap_or_else(|| panic!("{name} is unknown, or shown twice"));
        let bytes = bytes.replace("z16", &zeros(16)).replace("z32", &zeros(32));
        assert_eq!(hex(&bytes), expected, "{line}: {expected:02x?}");
    }
    assert!(values.is_empty(), "{:?} are not shown", values.keys());
}

#[test]
fn the_limits_of_tasks_in_the_specification_are_those_of_the_code() {
    let text = &SPEC[SPEC.find("## Tasks of a coordinator").unwrap()..];
    for limit in [
        format!("`word` a string of 1 to {WORD_BYTES_MAX}"),
        format!("`slots:N+M`, 1 to {} together", Slots::MAX),
        format!("given {}.", Slots::default().all()),
        format!("1 to {}, their payloads {PAYLOAD_BYTES_MAX} bytes", board::PARTS_MAX),
        format!("given none of it, {AVOIDED_MAX} at most"),
        format!("that it refers to, {INPUTS_MAX} at most"),
        format!("up to {} that ended", board::LISTED_MAX),
        format!("0 to {}, {0} is the most urgent", TaskPriority::MAX),
    ] {
        assert!(text.contains(&limit), "{limit:?} is not said");
    }
}
