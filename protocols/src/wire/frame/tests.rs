use super::*;
use proptest::prelude::*;

fn frames_of(bytes: &[u8], cuts: &[usize], limit: usize) -> Result<Vec<Bytes>, FrameError> {
    let mut reader = FrameReader::new(limit);
    let (mut found, mut start) = (Vec::new(), 0);
    for end in cuts.iter().copied().chain([bytes.len()]) {
        let end = end.clamp(start, bytes.len());
        reader.feed(Bytes::copy_from_slice(&bytes[start..end]));
        while let Some(frame) = reader.next_frame()? {
            found.push(frame);
        }
        start = end;
    }
    reader.finish().map(|()| found)
}

/// What is on a stream, where plain requests and replies are read in their own way or like all others.
fn decoded(bytes: &[u8], cuts: &[usize], limit: usize, plainly: bool) -> Result<Vec<Frame>, FrameError> {
    let mut reader = FrameReader::new(limit);
    let (mut found, mut start) = (Vec::new(), 0);
    for end in cuts.iter().copied().chain([bytes.len()]) {
        let end = end.clamp(start, bytes.len());
        reader.feed(Bytes::copy_from_slice(&bytes[start..end]));
        loop {
            let next = if plainly { plain(&mut reader) } else { None };
            match next {
                Some(frame) => found.push(frame),
                None => match reader.next_frame()? {
                    Some(frame) => found.push(Frame::decode(frame)?),
                    None => break,
                },
            }
        }
        start = end;
    }
    reader.finish().map(|()| found)
}

fn plain(reader: &mut FrameReader) -> Option<Frame> {
    if let Some((correlation, payload)) = reader.next_reply() {
        return Some(Frame::Answer { correlation, answer: Answered::Reply(payload) });
    }
    reader.next_ask().map(|(head, payload)| Frame::Request { head, payload })
}

fn delivery_error() -> impl Strategy<Value = DeliveryError> {
    let text = "[a-z ]{0,40}";
    prop_oneof![
        text.prop_map(|what| DeliveryError::NotExposed { what }),
        text.prop_map(|reason| DeliveryError::NotPermitted { reason }),
        (0..1_000_000_u64)
            .prop_map(|ms| DeliveryError::Overloaded { retry_after: Duration::from_millis(ms) }),
        text.prop_map(|reason| DeliveryError::Codec { reason, delivery: Delivery::NotSent }),
        text.prop_map(|reason| DeliveryError::Codec { reason, delivery: Delivery::Delivered }),
        (text, any::<u16>(), any::<Option<u16>>()).prop_map(|(request, wanted, offered)| {
            DeliveryError::Incompatible { request, wanted, offered }
        }),
        Just(DeliveryError::Draining),
        Just(DeliveryError::Stopped),
        Just(DeliveryError::Panicked),
        Just(DeliveryError::Cancelled),
        text.prop_map(|reason| DeliveryError::SessionLost { reason, delivery: Delivery::Unknown }),
    ]
}

fn intent() -> impl Strategy<Value = Intent> {
    let roles = prop::sample::select(Role::ALL.as_slice());
    let caller = ("[a-z]([a-z0-9-]{0,61}[a-z0-9])?", roles)
        .prop_map(|(node, role)| Caller { node: node.parse().unwrap(), role });
    prop_oneof![Just(Intent::Ask), Just(Intent::Tell), Just(Intent::Post), caller.prop_map(Intent::AskFor)]
}

fn frame() -> impl Strategy<Value = Frame> {
    let payload = prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from);
    let number = 0..varint::VARINT_MAX;
    prop_oneof![
        (number.clone(), any::<u32>(), number.clone(), intent(), payload.clone()).prop_map(
            |(correlation, route, deadline_ms, intent, payload)| Frame::Request {
                head: RequestHead { correlation, route, deadline_ms, intent },
                payload
            }
        ),
        number.clone().prop_map(|correlation| Frame::Cancel { correlation }),
        (number.clone(), payload.clone())
            .prop_map(|(correlation, payload)| Frame::Part { correlation, payload }),
        (
            number,
            prop_oneof![
                payload.clone().prop_map(Answered::Reply),
                payload.prop_map(Answered::Failed),
                Just(Answered::Accepted),
                delivery_error().prop_map(Answered::Undelivered),
            ]
        )
            .prop_map(|(correlation, answer)| Frame::Answer { correlation, answer }),
    ]
}

fn put(frame: &Frame, out: &mut Vec<u8>) {
    match frame {
        Frame::Request { head, payload } => put_request(head, payload, out),
        Frame::Cancel { correlation } => put_cancel(*correlation, out),
        Frame::Part { correlation, payload } => put_part(*correlation, payload, out),
        Frame::Answer { correlation, answer } => match answer {
            Answered::Reply(payload) => put_outcome(*correlation, false, payload, out),
            Answered::Failed(payload) => put_outcome(*correlation, true, payload, out),
            Answered::Accepted => put_accepted(*correlation, out),
            Answered::Undelivered(error) => put_undelivered(*correlation, error, out),
        },
    }
}

proptest! {
    #[test]
    fn frames_come_back_however_the_stream_is_cut(
        frames in prop::collection::vec(frame(), 0..20),
        mut cuts in prop::collection::vec(0_usize..4000, 0..40),
    ) {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| put(frame, &mut bytes));
        cuts.sort_unstable();
        let found = frames_of(&bytes, &cuts, 4096).unwrap();
        let found: Vec<Frame> = found.into_iter().map(|frame| Frame::decode(frame).unwrap()).collect();
        prop_assert_eq!(found, frames);
    }

    #[test]
    fn plain_frames_are_read_like_all_others_and_so_is_what_is_broken(
        frames in prop::collection::vec(frame(), 0..20),
        mut cuts in prop::collection::vec(0_usize..4000, 0..10),
        broken in prop::option::of((0_usize..4000, any::<u8>())),
        limit in prop::sample::select(vec![40_usize, 4096]),
    ) {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| put(frame, &mut bytes));
        if let Some((at, byte)) = broken && let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        cuts.sort_unstable();
        prop_assert_eq!(decoded(&bytes, &cuts, limit, true), decoded(&bytes, &cuts, limit, false));
    }

    #[test]
    fn garbage_is_an_error_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(frames) = frames_of(&bytes, &[7, 50], 128) {
            for frame in frames {
                let _ignored = (Frame::decode(frame.clone()), Control::decode(frame));
            }
        }
    }
}

#[test]
fn the_layout_is_that_of_the_specification() {
    let mut out = Vec::new();
    let head = RequestHead { correlation: 5, route: 70, deadline_ms: 5000, intent: Intent::Ask };
    put_request(&head, b"ab", &mut out);
    assert_eq!(out, [0x08, 0x10, 0x05, 0x40, 0x46, 0x53, 0x88, b'a', b'b']);
    out.clear();
    put_undelivered(1, &DeliveryError::Overloaded { retry_after: Duration::from_millis(9) }, &mut out);
    assert_eq!(out, [0x04, 0x22, 0x01, 0x03, 0x09]);
    out.clear();
    Control::Ping(3).encode(&mut out).unwrap();
    assert_eq!(out, [0x02, 0x05, 0x03]);
}

#[test]
fn an_oversized_length_is_refused_before_anything_is_kept() {
    let mut bytes = Vec::new();
    varint::put(1 << 40, &mut bytes);
    assert_eq!(frames_of(&bytes, &[], 1000), Err(FrameError::TooLong { bytes: 1 << 40, limit: 1000 }));
    assert_eq!(frames_of(&bytes, &[3], 1000), Err(FrameError::TooLong { bytes: 1 << 40, limit: 1000 }));
}

#[test]
fn half_a_frame_at_the_end_is_seen() {
    let mut bytes = Vec::new();
    put_cancel(9, &mut bytes);
    assert_eq!(frames_of(&bytes[..2], &[], 1000), Err(FrameError::Truncated));
    assert_eq!(frames_of(&bytes, &[1], 1000).unwrap().len(), 1);
}

#[test]
fn reserved_and_misplaced_kinds_are_refused() {
    for kind in [0x00, 0x08, 0x13, 0x14, 0x24, 0x25, 0x26, 0xff] {
        let frame = Bytes::from(vec![kind, 0]);
        assert_eq!(Frame::decode(frame.clone()), Err(FrameError::UnexpectedKind(kind)));
        assert_eq!(Control::decode(frame), Err(FrameError::UnexpectedKind(kind)));
    }
    assert_eq!(Control::decode(Bytes::from_static(&[0x10, 0])), Err(FrameError::UnexpectedKind(0x10)));
}
