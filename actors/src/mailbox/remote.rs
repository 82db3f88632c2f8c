//! A mailbox whose actor is on another node.

use super::AskError;
use crate::session::{Sending, Way, WireCall, unfit, with_scratch};
use std::{
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use swarm_protocols::{
    Accepts, Delivery, DeliveryError, MailboxAddress, Protocol, Request, Visitor,
    wire::{
        codec::{self, EncodeError, MESSAGE_BYTES_MAX},
        control::Route,
        frame::Answered,
    },
};

/// A mailbox on another node.
pub(crate) struct Remote<P: Protocol> {
    way: Arc<Way>,
    address: MailboxAddress,
    routes: Vec<u32>,
    protocol: PhantomData<fn() -> P>,
}

/// A request that the peer does not accept in our version: its name, our version, and the highest one there, if
/// there is one.
pub(crate) type Incompatible = (&'static str, u16, Option<u16>);

impl<P: Protocol> Remote<P> {
    /// `routes[P::INDEX]` is the peer's number for each request of the protocol.
    pub(crate) fn new(way: Arc<Way>, address: MailboxAddress, routes: Vec<u32>) -> Self {
        Self { way, address, routes, protocol: PhantomData }
    }

    /// Finds the requests of the protocol among the routes that the peer has for the mailbox.
    pub(crate) fn matched(
        way: Arc<Way>,
        address: MailboxAddress,
        offered: &[Route],
    ) -> Result<Self, Incompatible> {
        let mut matcher = RouteMatcher { offered, routes: Ok(Vec::new()) };
        P::visit(&mut matcher);
        Ok(Self::new(way, address, matcher.routes?))
    }

    pub(crate) fn address(&self) -> &MailboxAddress {
        &self.address
    }

    pub(crate) fn way(&self) -> &Arc<Way> {
        &self.way
    }

    pub(crate) fn route<R: Request>(&self) -> u32
    where
        P: Accepts<R>,
    {
        self.routes[P::INDEX]
    }

    pub(crate) fn ask<R: Request>(&self, request: &R, sending: Sending) -> RemoteCall<R>
    where
        P: Accepts<R>,
    {
        RemoteCall(self.call(request, sending), PhantomData)
    }

    pub(crate) async fn tell<R: Request>(&self, request: &R, sending: Sending) -> Result<(), DeliveryError>
    where
        P: Accepts<R>,
    {
        match self.call(request, sending).await? {
            Answered::Accepted => Ok(()),
            Answered::Undelivered(error) => Err(error),
            Answered::Reply(_) | Answered::Failed(_) => Err(unfit("a handler's answer to a told message")),
        }
    }

    fn call<R: Request>(&self, request: &R, sending: Sending) -> WireCall
    where
        P: Accepts<R>,
    {
        with_scratch(|payload| match self.encode(request, payload) {
            Ok(()) => self.way.call(self.route::<R>(), payload, sending),
            Err(error) => WireCall::Refused(Some(error)),
        })
    }

    /// Appends the request to `payload`.
    fn encode<R: Request>(&self, request: &R, payload: &mut Vec<u8>) -> Result<(), DeliveryError> {
        codec::encode_into(request, payload).map_err(|error| match error {
            // How much longer it is, nobody has counted.
            EncodeError::TooLarge => {
                let limit = self.way.message_bytes_max();
                DeliveryError::TooLarge { bytes: MESSAGE_BYTES_MAX as u64 + 1, limit }
            }
            error => {
                let reason = format!("{}: {error}", R::NAME);
                DeliveryError::Codec { reason, delivery: Delivery::NotSent }
            }
        })
    }
}

struct RouteMatcher<'a> {
    offered: &'a [Route],
    routes: Result<Vec<u32>, Incompatible>,
}

impl<P: Protocol> Visitor<P> for RouteMatcher<'_> {
    fn request<R: Request>(&mut self)
    where
        P: Accepts<R>,
    {
        let Ok(routes) = &mut self.routes else { return };
        let named = || self.offered.iter().filter(|route| route.request == R::NAME);
        match named().find(|route| route.version == R::VERSION) {
            Some(route) => routes.push(route.id),
            None => self.routes = Err((R::NAME, R::VERSION, named().map(|route| route.version).max())),
        }
    }
}

/// A request to another node that has no answer yet. Dropping it cancels the request.
pub(crate) struct RemoteCall<R: Request>(WireCall, PhantomData<fn() -> R>);

impl<R: Request> RemoteCall<R> {
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<R::Reply, AskError<R::Error>>> {
        Pin::new(&mut self.0).poll(cx).map(|answered| match answered? {
            Answered::Reply(bytes) => decode(&bytes, R::NAME),
            Answered::Failed(bytes) => Err(AskError::Handler(decode::<R::Error, R::Error>(&bytes, R::NAME)?)),
            Answered::Undelivered(error) => Err(error.into()),
            Answered::Accepted => Err(unfit("an acceptance as the answer to a request").into()),
        })
    }
}

fn decode<T: serde::de::DeserializeOwned, E: std::error::Error>(
    bytes: &[u8],
    name: &str,
) -> Result<T, AskError<E>> {
    codec::decode(bytes).map_err(|error| {
        let reason = format!("the answer to {name}: {error}");
        AskError::Delivery(DeliveryError::Codec { reason, delivery: Delivery::Delivered })
    })
}
