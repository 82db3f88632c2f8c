//! What the test kit passes on goes through the codec, as it would between two nodes: what cannot travel
//! fails in the unit test.

use crate::call::Outcome;
use serde::{Serialize, de::DeserializeOwned};
use swarm_protocols::{Delivery, DeliveryError, Request, wire::codec};

/// The request as its handler gets it, or what its asker gets.
pub(super) fn request<R: Request>(request: &R) -> Result<R, DeliveryError> {
    carry(request).map_err(|error| {
        let reason = format!("{}: {error}", R::NAME);
        DeliveryError::Codec { reason, delivery: Delivery::NotSent }
    })
}

/// The answer as its asker gets it.
pub(super) fn outcome<R: Request>(outcome: &Outcome<R>) -> Result<Outcome<R>, DeliveryError> {
    let carried = match outcome {
        Ok(reply) => carry(reply).map(Ok),
        Err(error) => carry(error).map(Err),
    };
    carried.map_err(|error| {
        let reason = format!("the answer to {}: {error}", R::NAME);
        DeliveryError::Codec { reason, delivery: Delivery::Delivered }
    })
}

fn carry<T: Serialize + DeserializeOwned>(value: &T) -> Result<T, String> {
    let encoded = codec::encode(value).map_err(|error| error.to_string())?;
    codec::decode(&encoded).map_err(|error| error.to_string())
}
