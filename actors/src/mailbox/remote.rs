//! A mailbox whose actor is on another node.

use super::{AskError, Back, ask::AskResult};
use crate::{
    call::Origin,
    session::{Posting, Sending, Way, WireBulk, WireCall, unfit, with_scratch},
    workers::HERE_BYTES_MAX,
};
use bytes::Bytes;
use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use swarm_protocols::{
    Accepts, Delivery, DeliveryError, MailboxAddress, Protocol, Request, Visitor,
    wire::{
        codec::{self, EncodeError, MESSAGE_BYTES_MAX},
        control::Route,
        frame::{Answered, Intent},
    },
};
use tokio::{runtime::Handle, task::JoinHandle};

/// A mailbox on another node.
pub(crate) struct Remote<P: Protocol> {
    way: Arc<Way>,
    address: MailboxAddress,
    routes: Vec<Result<u32, Other>>,
    /// How to ask when the session is lost, where that is wanted.
    back: Option<Arc<dyn Back<P>>>,
    protocol: PhantomData<fn() -> P>,
}

/// The highest version of a request that the peer accepts, where that is not ours, and it accepts one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Other(pub(crate) Option<u16>);

/// A request that the peer does not accept in our version: its name, and our version.
pub(crate) type Incompatible = (&'static str, u16, Other);

impl<P: Protocol> Remote<P> {
    /// `routes[P::INDEX]` is the peer's number for each request of the protocol that it accepts.
    pub(crate) fn new(way: Arc<Way>, address: MailboxAddress, routes: Vec<Result<u32, Other>>) -> Self {
        Self { way, address, routes, back: None, protocol: PhantomData }
    }

    /// Gets back to its node where the session is lost.
    pub(crate) fn coming_back(&self, back: Arc<dyn Back<P>>) -> Self {
        let Self { way, address, routes, protocol, .. } = self;
        let (way, address, routes) = (Arc::clone(way), address.clone(), routes.clone());
        Self { way, address, routes, back: Some(back), protocol: *protocol }
    }

    /// Asks in another way where the session is lost and the request may be asked again: with whom, and what for.
    pub(super) fn anew<R: Request>(&self) -> Option<(Arc<dyn Back<P>>, u32)>
    where
        P: Accepts<R>,
    {
        let back = self.back.as_ref().filter(|_| R::IDEMPOTENT && self.way.is_lost())?;
        Some((Arc::clone(back), self.route::<R>().ok()?))
    }

    /// Finds the requests of the protocol among the routes that the peer has for the mailbox. At least one has to be
    /// there; else the first one is the error.
    pub(crate) fn matched(
        way: Arc<Way>,
        address: MailboxAddress,
        offered: &[Route],
    ) -> Result<Self, Incompatible> {
        let mut matcher = RouteMatcher { offered, routes: Vec::new(), other: None };
        P::visit(&mut matcher);
        match matcher.other {
            Some(other) if matcher.routes.iter().all(Result::is_err) => Err(other),
            _ => Ok(Self::new(way, address, matcher.routes)),
        }
    }

    pub(crate) fn address(&self) -> &MailboxAddress {
        &self.address
    }

    pub(crate) fn way(&self) -> &Arc<Way> {
        &self.way
    }

    /// The peer's number for a request, if it accepts it.
    pub(crate) fn route<R: Request>(&self) -> Result<u32, DeliveryError>
    where
        P: Accepts<R>,
    {
        self.routes[P::INDEX].map_err(|Other(offered)| DeliveryError::Incompatible {
            request: R::NAME.to_owned(),
            wanted: R::VERSION,
            offered,
        })
    }

    pub(crate) fn ask<R: Request>(&self, request: &R, sending: Sending, origin: Origin) -> RemoteCall<R>
    where
        P: Accepts<R>,
    {
        RemoteCall::Asked(self.call(request, sending, asking(origin)))
    }

    /// Asks as one of many, whose end the `bulk` knows by this number; yields the call where it takes another way.
    pub(crate) fn ask_in_bulk<R: Request>(
        &self,
        bulk: &mut WireBulk,
        number: u64,
        request: &R,
        sending: Sending,
    ) -> Option<RemoteCall<R>>
    where
        P: Accepts<R>,
    {
        let asked = self.encoded(request, |route, payload| {
            match self.way.call_in_bulk(bulk, number, route, payload, sending) {
                Some(Ok(())) => Ok(None),
                Some(Err(error)) => Err(error),
                None => Ok(Some(self.way.call(route, payload, sending, Intent::Ask))),
            }
        });
        asked.unwrap_or_else(|error| Some(WireCall::Refused(Some(error)))).map(RemoteCall::Asked)
    }

    /// Asks what is encoded already.
    pub(crate) fn ask_encoded<R: Request>(
        &self,
        request: &Bytes,
        sending: Sending,
        origin: Origin,
    ) -> RemoteCall<R>
    where
        P: Accepts<R>,
    {
        let call = match self.route::<R>() {
            Ok(route) => self.way.call_shared(route, request, &Bytes::new(), sending, asking(origin)),
            Err(error) => WireCall::Refused(Some(error)),
        };
        RemoteCall::Asked(call)
    }

    /// Hands a message over that is not answered.
    pub(crate) fn post<R: Request>(
        &self,
        message: &R,
        sending: Sending,
    ) -> Result<Option<Posting>, DeliveryError>
    where
        P: Accepts<R>,
    {
        self.encoded(message, |route, payload| self.way.post(route, payload, sending))
    }

    /// Tells at once; completes when the mailbox there has accepted.
    pub(crate) fn tell<R: Request>(
        &self,
        request: &R,
        sending: Sending,
    ) -> impl Future<Output = Result<(), DeliveryError>> + use<P, R>
    where
        P: Accepts<R>,
    {
        let told = self.call(request, sending, Intent::Tell);
        async move {
            match told.await? {
                Answered::Accepted => Ok(()),
                Answered::Undelivered(error) => Err(error),
                Answered::Reply(_) | Answered::Failed(_) => {
                    Err(unfit("a handler's answer to a told message"))
                }
            }
        }
    }

    fn call<R: Request>(&self, request: &R, sending: Sending, intent: Intent) -> WireCall
    where
        P: Accepts<R>,
    {
        self.encoded(request, |route, payload| Ok(self.way.call(route, payload, sending, intent)))
            .unwrap_or_else(|error| WireCall::Refused(Some(error)))
    }

    /// Does something with the peer's number for a request, and the encoded request.
    fn encoded<R: Request, T>(
        &self,
        request: &R,
        act: impl FnOnce(u32, &mut Vec<u8>) -> Result<T, DeliveryError>,
    ) -> Result<T, DeliveryError>
    where
        P: Accepts<R>,
    {
        let route = self.route::<R>()?;
        with_scratch(|payload| {
            let encoded = codec::encode_into(request, payload);
            encoded.map_err(|error| unencodable::<R>(error, self.way.message_bytes_max()))?;
            act(route, payload)
        })
    }
}

fn asking(origin: Origin) -> Intent {
    origin.on_behalf_of.map_or(Intent::Ask, |principal| Intent::AskFor(*principal))
}

/// A request that cannot be encoded, for one who takes messages of up to `limit` bytes.
pub(super) fn unencodable<R: Request>(error: EncodeError, limit: u64) -> DeliveryError {
    match error {
        // How much longer it is, nobody has counted.
        EncodeError::TooLarge => DeliveryError::TooLarge { bytes: MESSAGE_BYTES_MAX as u64 + 1, limit },
        error => {
            let reason = format!("{}: {error}", R::NAME);
            DeliveryError::Codec { reason, delivery: Delivery::NotSent }
        }
    }
}

struct RouteMatcher<'a> {
    offered: &'a [Route],
    routes: Vec<Result<u32, Other>>,
    other: Option<Incompatible>,
}

impl<P: Protocol> Visitor<P> for RouteMatcher<'_> {
    fn request<R: Request>(&mut self)
    where
        P: Accepts<R>,
    {
        let named = || self.offered.iter().filter(|route| route.request == R::NAME);
        match named().find(|route| route.version == R::VERSION) {
            Some(route) => self.routes.push(Ok(route.id)),
            None => {
                let other = Other(named().map(|route| route.version).max());
                self.routes.push(Err(other));
                self.other.get_or_insert((R::NAME, R::VERSION, other));
            }
        }
    }
}

/// A request to another node that has no answer yet. Dropping it cancels the request.
pub(crate) enum RemoteCall<R: Request> {
    Asked(WireCall),
    /// A long answer is there, and is decoded on a thread of its own.
    Decoding(JoinHandle<AskResult<R>>),
}

impl<R: Request> RemoteCall<R> {
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<AskResult<R>> {
        loop {
            match self {
                Self::Asked(call) => match Self::read(ready!(Pin::new(call).poll(cx))) {
                    Ok(result) => return Poll::Ready(result),
                    Err(decoding) => *self = decoding,
                },
                Self::Decoding(decoding) => {
                    let panicked = || undecodable_answer(R::NAME, "decoding it panicked").into();
                    return Pin::new(decoding)
                        .poll(cx)
                        .map(|decoded| decoded.unwrap_or_else(|_| Err(panicked())));
                }
            }
        }
    }

    /// Decodes an answer, or begins to where it is long.
    pub(crate) fn read(answered: Result<Answered, DeliveryError>) -> Result<AskResult<R>, Self> {
        match answered {
            // Who asks outside a runtime holds up nobody else.
            Ok(answered)
                if is_long(&answered)
                    && let Ok(runtime) = Handle::try_current() =>
            {
                Err(Self::Decoding(runtime.spawn_blocking(move || read::<R>(Ok(answered)))))
            }
            answered => Ok(read::<R>(answered)),
        }
    }
}

fn is_long(answered: &Answered) -> bool {
    matches!(answered, Answered::Reply(bytes) | Answered::Failed(bytes) if bytes.len() > HERE_BYTES_MAX)
}

fn read<R: Request>(answered: Result<Answered, DeliveryError>) -> AskResult<R> {
    match answered? {
        Answered::Reply(bytes) => decode(&bytes, R::NAME),
        Answered::Failed(bytes) => Err(AskError::Handler(decode::<R::Error, R::Error>(&bytes, R::NAME)?)),
        Answered::Undelivered(error) => Err(error.into()),
        Answered::Accepted => Err(unfit("an acceptance as the answer to a request").into()),
    }
}

fn decode<T: serde::de::DeserializeOwned, E: std::error::Error>(
    bytes: &Bytes,
    name: &str,
) -> Result<T, AskError<E>> {
    codec::decode_shared(bytes).map_err(|error| undecodable_answer(name, error).into())
}

fn undecodable_answer(name: &str, fault: impl fmt::Display) -> DeliveryError {
    let reason = format!("the answer to {name}: {fault}");
    DeliveryError::Codec { reason, delivery: Delivery::Delivered }
}
