//! Messages whose `Serialize` or `Deserialize` panics.

use super::*;
use serde::{Deserializer, Serializer, de::Error as _};

/// A number that cannot be decoded if it is 13, which panics.
fn decode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    match u8::deserialize(deserializer)? {
        13 => panic!("13 was decoded"),
        14 => Err(D::Error::custom("14 was decoded")),
        number => Ok(number),
    }
}

/// A number that cannot be encoded if it is 7, which panics.
fn encode<S: Serializer>(number: &u8, serializer: S) -> Result<S::Ok, S::Error> {
    assert_ne!(*number, 7, "7 was encoded");
    serializer.serialize_u8(*number)
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Brittle(#[serde(serialize_with = "encode")] u8);

#[derive(Debug, Serialize, Deserialize, Request)]
#[request(name = "give-back", reply = Brittle)]
struct GiveBack(#[serde(deserialize_with = "decode")] u8);

protocol! { BrittleService = "brittle" { GiveBack } }

#[actix::test]
async fn s1_a_message_that_panics_where_it_is_decoded_or_encoded_costs_its_request_and_no_other() {
    let (a, b, _cut) = pair(memory("a", Role::Operator), memory("b", Role::Agent)).await;
    let giver_back = || Answering(|call: Call<GiveBack>| Ok(Brittle(call.request.0)));
    let ways: [(&str, Mailbox<BrittleService>); 2] =
        [("inbox", Mailbox::start(giver_back())), ("address", Mailbox::local(giver_back().start()))];
    for (name, mailbox) in ways {
        b.expose(name, mailbox).allow(Role::Operator).register().await.unwrap().detach();
    }
    for (name, own_stream) in [("inbox", false), ("inbox", true), ("address", false), ("address", true)] {
        let brittle: Mailbox<BrittleService> = resolve_soon(&a, &format!("b/{name}")).await;
        let asked = (0..20_u8).map(|number| {
            let ask = brittle.ask(GiveBack(number));
            if own_stream { ask.on_own_stream() } else { ask }.into_future()
        });
        let answers = futures_util::future::join_all(asked).await;
        for (number, answer) in (0..).zip(answers) {
            match (number, answer) {
                (7 | 13, Err(AskError::Delivery(DeliveryError::Codec { reason, .. }))) => {
                    assert!(reason.contains("panicked"), "{reason}");
                }
                (14, Err(AskError::Delivery(DeliveryError::Codec { reason, .. }))) => {
                    assert!(reason.contains("14 was decoded"), "{reason}");
                }
                (number, answer) => assert_eq!(answer, Ok(Brittle(number))),
            }
        }
        // The lane is the one of before.
        assert_eq!(brittle.ask(GiveBack(1)).await, Ok(Brittle(1)));
    }
    // The session is the one of before.
    assert_eq!(a.statistics().await.unwrap().sessions, 1);
}
