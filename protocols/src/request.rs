//! What a message is: a [`Request`] with its reply and its error, and the [`Protocol`]s that
//! group the requests one kind of actor accepts.

use serde::{Serialize, de::DeserializeOwned};

/// A typed message that is answered.
///
/// It is declared once, in a crate that both sides share, and nothing of it depends on a module
/// path: [`NAME`](Self::NAME) and [`VERSION`](Self::VERSION) are what the wire carries, so moving
/// or renaming the Rust type changes nothing for a peer.
///
/// The values of a wire type nest at most [`DEPTH_MAX`](crate::wire::codec::DEPTH_MAX) levels, and hold
/// at most [`ELEMENTS_FREE`](crate::wire::codec::ELEMENTS_FREE) more elements than bytes, which matters
/// for zero-sized ones only: the decoder refuses what exceeds that.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use swarm_protocols::{NoError, Request, protocol};
///
/// #[derive(Serialize, Deserialize)]
/// pub struct Add { pub a: i64, pub b: i64 }
///
/// impl Request for Add {
///     const NAME: &'static str = "add";
///     const VERSION: u16 = 1;
///     type Reply = i64;
///     type Error = NoError;
/// }
///
/// protocol! {
///     /// An actor that calculates.
///     pub Calculator = "calculator" { Add }
/// }
/// ```
pub trait Request: Serialize + DeserializeOwned + Send + 'static {
    /// The stable name on the wire: lower-case words joined by hyphens.
    const NAME: &'static str;
    /// Raised whenever the layout or the meaning of the request, its reply or its error changes.
    const VERSION: u16;
    /// What a handler answers when it succeeds.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
    /// What a handler answers when it fails; [`NoError`] where it cannot.
    type Error: Serialize + DeserializeOwned + std::error::Error + Send + Sync + 'static;
}

/// The error of a [`Request`] whose handler cannot fail: a type without a value.
///
/// The standard library's `Infallible` would do, but cannot be serialised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum NoError {}

impl std::fmt::Display for NoError {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}

impl std::error::Error for NoError {}

/// The set of requests that one kind of actor accepts. Declared with [`protocol!`](crate::protocol).
pub trait Protocol: Sized + Send + Sync + 'static {
    /// The stable name on the wire.
    const NAME: &'static str;
    /// How many requests belong to it.
    const REQUESTS: usize;
    /// Shows every request of the protocol to `visitor`, in the order of declaration.
    fn visit<V: Visitor<Self>>(visitor: &mut V);
}

/// Membership: protocol `P: Accepts<R>` contains the request `R`.
pub trait Accepts<R: Request>: Protocol {
    /// The position of the request in the declaration.
    const INDEX: usize;
}

/// Receives every request type of a protocol from [`Protocol::visit`]. This is how code that is
/// generic over a protocol, such as the registry of a node, learns the types in it.
pub trait Visitor<P: Protocol> {
    /// Called once for each request.
    fn request<R: Request>(&mut self)
    where
        P: Accepts<R>;
}

/// Declares a [`Protocol`]: `pub Matcher = "matcher" { MatchPattern, SearchSeries }`.
///
/// See [`Request`] for an example.
#[macro_export]
macro_rules! protocol {
    ($(#[$meta:meta])* $vis:vis $name:ident = $wire:literal { $($request:ty),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy)]
        $vis enum $name {}

        impl $crate::Protocol for $name {
            const NAME: &'static str = $wire;
            const REQUESTS: usize = [$(stringify!($request)),+].len();
            fn visit<V: $crate::Visitor<Self>>(visitor: &mut V) {
                $(visitor.request::<$request>();)+
            }
        }

        $crate::protocol!(@index $name, 0usize; $($request),+);
    };
    (@index $name:ident, $index:expr; $first:ty $(, $rest:ty)*) => {
        impl $crate::Accepts<$first> for $name {
            const INDEX: usize = $index;
        }
        $crate::protocol!(@index $name, $index + 1; $($rest),*);
    };
    (@index $name:ident, $index:expr;) => {};
}
