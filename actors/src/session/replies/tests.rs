use super::*;
use crate::budget::Budget;
use swarm_protocols::Role;

#[test]
fn a7_answers_that_nobody_takes_any_more_give_their_room_back_though_somebody_knows_their_stream() {
    let node = "peer".parse().unwrap();
    let share = Budget::new(128 << 20, 0).share(&node);
    let caller = Arc::new(Caller { node, role: Role::Operator });
    let replies = Replies::new(&caller, 64 << 20, None, &Received::default(), &Arc::default(), &share);
    let key = replies.begin(0, None).ok().unwrap();
    replies.answer(key, Ok(Answer::Reply), &mut vec![0; 30 << 20]);
    assert!(share.take(30 << 20).is_none());
    replies.close();
    assert!(share.take(30 << 20).is_some());
}

#[test]
fn a7_what_no_handler_saw_is_answered_so_where_there_is_no_room_for_answers_too() {
    let node = "peer".parse().unwrap();
    let share = Budget::new(0, 0).share(&node);
    let caller = Arc::new(Caller { node, role: Role::Operator });
    let replies = Replies::new(&caller, 64 << 20, None, &Received::default(), &Arc::default(), &share);
    let key = replies.begin(9, None).ok();
    replies.refuse(
        key,
        None,
        &DeliveryError::Codec { reason: "x".repeat(64 << 10), delivery: Delivery::NotSent },
    );
    let (gate, mut batch) = (crate::gate::Gate::new(8), Batch { answers_max: 3, ..Batch::default() });
    let forms = [Ok(Answer::Reply), Err(DeliveryError::Stopped), Err(DeliveryError::Draining)];
    for (correlation, form) in (0..).zip(forms) {
        let key = replies.begin(correlation, None).ok().unwrap();
        let (mut in_mailbox, mut with_session) = (gate.enter_many(1), gate.enter_many(1));
        let places = [&mut in_mailbox, &mut with_session];
        batch.answer(&replies, (key, None), places, form, &mut vec![7; 5]);
    }
    let mut reader = FrameReader::new(1 << 20);
    let taken = replies.poll_take(&mut Context::from_waker(std::task::Waker::noop()));
    let Poll::Ready((Some(bytes), None)) = taken else { panic!("nothing is to be written") };
    reader.feed(bytes);
    let mut errors = Vec::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        let Frame::Answer { answer: Answered::Undelivered(error), .. } = Frame::decode(frame).unwrap() else {
            panic!("there was room")
        };
        errors.push(error);
    }
    let no_room = no_room(5, Delivery::Delivered);
    assert_eq!(errors[1..], [no_room, DeliveryError::Stopped, DeliveryError::Draining]);
}

#[test]
fn a_batch_is_of_many_answers_where_handlers_are_fast_and_of_one_where_they_are_slow() {
    let after =
        |took| move |answers: &usize| Some(answers_max_after(*answers, took)).filter(|next| next != answers);
    let grown: Vec<usize> = std::iter::successors(Some(0), after(Duration::ZERO)).collect();
    assert_eq!(grown, [0, 1, 2, 4, 8, 16, 32, 64]);
    let shrunk: Vec<usize> = std::iter::successors(Some(64), after(2 * BATCH_TIME_MAX)).collect();
    assert_eq!(shrunk, [64, 32, 16, 8, 4, 2, 1]);
}
