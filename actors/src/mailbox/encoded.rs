//! [`EncodedMailbox`]: a mailbox whose protocol is known by its name alone.

use super::{
    Mailbox, Remote, TIMEOUT_MAX, Target,
    ask::{SENDING_DEFAULT, sending_options},
    served::requests_of,
};
use crate::{
    call::{Caller, Origin, Priority},
    session::{ExposedRequest, Handle, Sending, Way, unfit},
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::{fmt, future::IntoFuture, sync::Arc, time::Duration};
use swarm_protocols::{
    Accepts, DeliveryError, Protocol, Request, Visitor,
    wire::{
        control::Route,
        frame::{Answered, Intent},
    },
};

/// A mailbox for those who pass requests on without knowing their types: a coordinator, a gateway. Requests are
/// named, and encoded by somebody else; replies and errors come back as they are.
///
/// Made from a [`Mailbox`], or found with [`Node::resolve_encoded`](crate::Node::resolve_encoded). It lives as long
/// as the mailbox it was made from would.
#[derive(Clone)]
pub struct EncodedMailbox {
    protocol: Arc<str>,
    requests: Arc<[Known]>,
}

struct Known {
    name: String,
    version: u16,
    place: Place,
}

#[derive(Clone)]
enum Place {
    Here(Arc<dyn Handle>),
    There(Arc<Way>, u32),
}

/// Why an encoded request brought no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodedAskError {
    /// The handler answered with its own error, which is encoded here.
    #[error("the handler answered with its own error")]
    Handler(Bytes),
    /// The handler gave no answer.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
}

impl EncodedMailbox {
    pub(crate) fn of_routes(protocol: &str, way: &Arc<Way>, routes: Vec<Route>) -> Self {
        let known = |Route { id, request, version, .. }| Known {
            name: request,
            version,
            place: Place::There(Arc::clone(way), id),
        };
        Self { protocol: protocol.into(), requests: routes.into_iter().map(known).collect() }
    }

    /// The name of its protocol.
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// Whether it is that of a peer that has said that it takes nothing new.
    pub fn is_draining(&self) -> bool {
        self.requests.iter().any(|known| matches!(&known.place, Place::There(way, _) if way.is_draining()))
    }

    /// Whether it accepts this version of this request.
    pub fn accepts(&self, request: &str, version: u16) -> bool {
        self.find(request, version).is_some()
    }

    fn find(&self, request: &str, version: u16) -> Option<&Place> {
        let found = self.requests.iter().find(|known| known.name == request && known.version == version);
        found.map(|known| &known.place)
    }

    /// Asks the actor. Nothing happens before the result is awaited.
    pub fn ask(&self, request: &str, version: u16, payload: Bytes) -> EncodedAsk {
        let place = self.find(request, version).cloned().ok_or_else(|| {
            let named = self.requests.iter().filter(|known| known.name == request);
            let offered = named.map(|known| known.version).max();
            DeliveryError::Incompatible { request: request.to_owned(), wanted: version, offered }
        });
        EncodedAsk { place, payload, content: Bytes::new(), sending: SENDING_DEFAULT, on_behalf_of: None }
    }
}

impl<P: Protocol> From<Mailbox<P>> for EncodedMailbox {
    fn from(mailbox: Mailbox<P>) -> Self {
        let requests = match &mailbox.target {
            Target::Local(_) | Target::Layered(_) => {
                let known = |ExposedRequest { name, version, handler, .. }: ExposedRequest| Known {
                    name: name.to_owned(),
                    version,
                    place: Place::Here(handler),
                };
                requests_of(&mailbox).into_iter().map(known).collect()
            }
            Target::Remote(remote) => {
                let mut routes = RemoteRoutes { remote, known: Vec::with_capacity(P::REQUESTS) };
                P::visit(&mut routes);
                routes.known
            }
        };
        Self { protocol: P::NAME.into(), requests: requests.into() }
    }
}

struct RemoteRoutes<'a, P: Protocol> {
    remote: &'a Remote<P>,
    known: Vec<Known>,
}

impl<P: Protocol> Visitor<P> for RemoteRoutes<'_, P> {
    fn request<R: Request>(&mut self)
    where
        P: Accepts<R>,
    {
        if let Ok(route) = self.remote.route::<R>() {
            let place = Place::There(Arc::clone(self.remote.way()), route);
            self.known.push(Known { name: R::NAME.to_owned(), version: R::VERSION, place });
        }
    }
}

impl fmt::Debug for EncodedMailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncodedMailbox({})", self.protocol)
    }
}

/// An encoded request about to be asked. Await it.
#[must_use = "nothing is asked before it is awaited"]
pub struct EncodedAsk {
    place: Result<Place, DeliveryError>,
    payload: Bytes,
    /// The rest of the payload.
    content: Bytes,
    sending: Sending,
    on_behalf_of: Option<Caller>,
}

impl EncodedAsk {
    sending_options!();

    /// Ends the payload with content that others share: it is not copied on its way to another node.
    pub(crate) fn with_content(mut self, content: Bytes) -> Self {
        self.content = content;
        self
    }

    /// Asks for another node, whose request this is. The callee decides whether it works for that node's role through
    /// this one, which has to be a coordinator.
    pub fn on_behalf_of(mut self, principal: Caller) -> Self {
        self.on_behalf_of = Some(principal);
        self
    }
}

impl IntoFuture for EncodedAsk {
    type Output = Result<Bytes, EncodedAskError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let EncodedAsk { place, payload, content, sending, on_behalf_of } = self;
        Box::pin(async move {
            let answered = match place? {
                Place::Here(handler) => {
                    let origin = Origin { caller: None, on_behalf_of: on_behalf_of.map(Box::new) };
                    let payload = match content.is_empty() {
                        true => payload,
                        false => [payload, content].concat().into(),
                    };
                    handler.ask(payload, sending, origin).await
                }
                Place::There(way, route) => {
                    let intent = on_behalf_of.map_or(Intent::Ask, Intent::AskFor);
                    way.call_shared(route, &payload, &content, sending, intent).await?
                }
            };
            match answered {
                Answered::Reply(reply) => Ok(reply),
                Answered::Failed(error) => Err(EncodedAskError::Handler(error)),
                Answered::Undelivered(error) => Err(error.into()),
                Answered::Accepted => Err(unfit("an acceptance as the answer to a request").into()),
            }
        })
    }
}
