//! A mailbox whose actor is on another node.

use super::{AskError, ask::AskResult};
use crate::{
    call::Origin,
    session::{Posting, Sending, Way, WireCall, unfit, with_scratch},
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
        Self { way, address, routes, protocol: PhantomData }
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
        let route = self.route::<R>()?;
        with_scratch(|payload| {
            let encoded = codec::encode_into(message, payload);
            encoded.map_err(|error| unencodable::<R>(error, self.way.message_bytes_max()))?;
            self.way.post(route, payload, sending)
        })
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
        let route = match self.route::<R>() {
            Ok(route) => route,
            Err(error) => return WireCall::Refused(Some(error)),
        };
        with_scratch(|payload| match codec::encode_into(request, payload) {
            Ok(()) => self.way.call(route, payload, sending, intent),
            Err(error) => WireCall::Refused(Some(unencodable::<R>(error, self.way.message_bytes_max()))),
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
                Self::Asked(call) => match ready!(Pin::new(call).poll(cx)) {
                    // Who polls it outside a runtime holds up nobody else.
                    Ok(answered)
                        if is_long(&answered)
                            && let Ok(runtime) = Handle::try_current() =>
                    {
                        *self = Self::Decoding(runtime.spawn_blocking(move || read::<R>(Ok(answered))));
                    }
                    answered => return Poll::Ready(read::<R>(answered)),
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
    bytes: &[u8],
    name: &str,
) -> Result<T, AskError<E>> {
    codec::decode(bytes).map_err(|error| undecodable_answer(name, error).into())
}

fn undecodable_answer(name: &str, fault: impl fmt::Display) -> DeliveryError {
    let reason = format!("the answer to {name}: {fault}");
    DeliveryError::Codec { reason, delivery: Delivery::Delivered }
}
