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
/// It is [derived](macro@crate::Request); what is left out is version 1, the reply `()` and [`NoError`].
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use swarm_protocols::{Request, protocol};
///
/// #[derive(Serialize, Deserialize, Request)]
/// #[request(name = "add", reply = i64)]
/// pub struct Add { pub a: i64, pub b: i64 }
///
/// protocol! {
///     /// An actor that calculates.
///     pub Calculator = "calculator" { Add }
/// }
/// ```
pub trait Request: Serialize + DeserializeOwned + Send + 'static {
    /// The stable name on the wire: lower-case words joined by hyphens, a [valid name](crate::is_name).
    const NAME: &'static str;
    /// Raised whenever the layout or the meaning of the request, its reply or its error changes.
    const VERSION: u16;
    /// Whether handling it twice is as good as handling it once. Layers that repeat a request of which it is not
    /// known whether it was handled look at this. The derive sets it by the word `idempotent` among its options.
    const IDEMPOTENT: bool = false;
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

/// A protocol that actors of type `A` serve: they handle every request of it, for each of which `C` can
/// add a port. [`protocol!`](crate::protocol) implements it, so that a handler that was forgotten does
/// not compile.
pub trait ServedBy<A, C>: Protocol {
    /// Adds the port of every request to `ports`, in the order of declaration.
    fn add_all(ports: &mut C);
}

/// A collector of ports, the ways by which actors of type `A` get their requests. It can add one for `R`
/// where `A` handles that.
#[diagnostic::on_unimplemented(
    message = "`{A}` does not handle `{R}`",
    label = "an actor that handles every request of the protocol is expected",
    note = "implement `Handler<Call<{R}>>` for `{A}`"
)]
pub trait Ports<A, R: Request> {
    /// Adds the port of `R`.
    fn add(&mut self);
}

/// Declares a [`Protocol`]: `pub Matcher = "matcher" { MatchPattern, SearchSeries }`.
///
/// See [`Request`] for an example. A name that is not [valid](crate::is_name), of the protocol or of a
/// request, does not compile:
///
/// ```compile_fail
/// # use serde::{Deserialize, Serialize};
/// # use swarm_protocols::{Request, protocol};
/// # #[derive(Serialize, Deserialize, Request)] #[request(name = "add", reply = i64)]
/// # struct Add { a: i64, b: i64 }
/// protocol! { Calculator = "Calculator" { Add } }
/// ```
///
/// Nor do two requests that have one name and one version:
///
/// ```compile_fail
/// # use serde::{Deserialize, Serialize};
/// # use swarm_protocols::{Request, protocol};
/// #[derive(Serialize, Deserialize, Request)]
/// #[request(name = "get")]
/// struct Get;
///
/// #[derive(Serialize, Deserialize, Request)]
/// #[request(name = "get")]
/// struct Fetch;
///
/// protocol! { Shelf = "shelf" { Get, Fetch } }
/// ```
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

        impl<__Actor, __Ports> $crate::ServedBy<__Actor, __Ports> for $name
        where
            $(__Ports: $crate::Ports<__Actor, $request>),+
        {
            fn add_all(ports: &mut __Ports) {
                $($crate::Ports::<__Actor, $request>::add(ports);)+
            }
        }

        const _: () = {
            const NAMES: &[(&str, u16)] =
                &[$((<$request as $crate::Request>::NAME, <$request as $crate::Request>::VERSION)),+];
            assert!($crate::is_name($wire), "{}", $crate::protocol!(@no_name "protocol", $name));
            let mut index = 0;
            $(
                assert!($crate::is_name(NAMES[index].0), "{}", $crate::protocol!(@no_name "request", $request));
                assert!(
                    $crate::is_new(NAMES, index),
                    "{}",
                    concat!(
                        "the request `", stringify!($request), "` of the protocol `", stringify!($name),
                        "` has the name and the version of one before it: give it a name of its own"
                    )
                );
                index += 1;
            )+
            let _all = index;
        };
    };
    (@no_name $what:literal, $item:ty) => {
        concat!(
            "the name of the ", $what, " `", stringify!($item),
            "` is not valid: 63 or fewer lower-case letters, digits and inner hyphens are expected"
        )
    };
    (@index $name:ident, $index:expr; $first:ty $(, $rest:ty)*) => {
        impl $crate::Accepts<$first> for $name {
            const INDEX: usize = $index;
        }
        $crate::protocol!(@index $name, $index + 1; $($rest),*);
    };
    (@index $name:ident, $index:expr;) => {};
}

/// Whether the name and version at `index` differ from those before it. For [`protocol!`](crate::protocol).
#[doc(hidden)]
pub const fn is_new(names: &[(&str, u16)], index: usize) -> bool {
    let mut before = 0;
    while before < index {
        let ((a, a_version), (b, b_version)) = (names[before], names[index]);
        if a_version == b_version && is_same(a.as_bytes(), b.as_bytes()) {
            return false;
        }
        before += 1;
    }
    true
}

/// Whether `Old` is the same request as `New` in a lower version.
#[doc(hidden)]
pub const fn is_older<Old: Request, New: Request>() -> bool {
    Old::VERSION < New::VERSION && is_same(Old::NAME.as_bytes(), New::NAME.as_bytes())
}

/// `==` of texts, which a constant cannot use.
const fn is_same(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

#[cfg(test)]
mod tests {
    use super::is_new;

    #[test]
    fn a_request_is_new_unless_name_and_version_came_before() {
        let names = [("get", 1), ("get", 2), ("set", 1), ("get-all", 1), ("get", 2)];
        let new: Vec<bool> = (0..names.len()).map(|index| is_new(&names, index)).collect();
        assert_eq!(new, [true, true, true, true, false]);
    }
}
