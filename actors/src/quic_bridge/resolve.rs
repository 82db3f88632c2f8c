//! From a name to a mailbox.

use super::{QuicBridge, Remote};
use crate::{mailbox::Mailbox, node::ResolveError};
use actix::{Handler, Message};
use std::sync::Arc;
use swarm_protocols::{Accepts, MailboxAddress, Protocol, Request, Visitor, wire::control::Route};

/// Find a mailbox here or with a connected peer.
#[derive(Message)]
#[rtype(result = "Result<Mailbox<P>, ResolveError>")]
pub(crate) struct Resolve<P: Protocol> {
    pub(crate) address: MailboxAddress,
    pub(crate) protocol: std::marker::PhantomData<fn() -> P>,
}

impl<P: Protocol> Handler<Resolve<P>> for QuicBridge {
    type Result = Result<Mailbox<P>, ResolveError>;

    fn handle(&mut self, Resolve { address, .. }: Resolve<P>, _: &mut Self::Context) -> Self::Result {
        if address.node == self.local.node {
            return self.routes.local::<P>(address);
        }
        let Some(open) = self.open(&address.node) else {
            let dial = self.known.get(&address.node).copied();
            return Err(ResolveError::NotConnected { address, dial });
        };
        let named = || open.routes.values().filter(|route| route.mailbox == address.name);
        let offered: Vec<&Route> = named().filter(|route| route.protocol == P::NAME).collect();
        if offered.is_empty() {
            return Err(match named().next().map(|route| route.protocol.clone()) {
                Some(offered) => ResolveError::OtherProtocol { address, wanted: P::NAME, offered },
                None => ResolveError::NotFound { address },
            });
        }
        let mut matcher = RouteMatcher { offered: &offered, routes: Ok(Vec::new()) };
        P::visit(&mut matcher);
        let routes = matcher.routes.map_err(|(request, wanted, offered)| ResolveError::Incompatible {
            address: address.clone(),
            request,
            wanted,
            offered,
        })?;
        Ok(Mailbox::from_remote(Remote::new(Arc::clone(&open.way), address, routes)))
    }
}

struct RouteMatcher<'a> {
    offered: &'a [&'a Route],
    routes: Result<Vec<u32>, (&'static str, u16, Option<u16>)>,
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
