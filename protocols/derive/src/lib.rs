//! The derive macro of `swarm_protocols::Request`.

mod declaration;

use declaration::Declaration;
use proc_macro::TokenStream;
use quote::quote;
use syn::DeriveInput;

/// Makes a type a request: `#[request(name = "match-pattern", version = 2, reply = Matches, error = MatchError)]`.
///
/// | key | what it is | without it |
/// |---|---|---|
/// | `name` | the name on the wire: lower-case words joined by hyphens | an error |
/// | `version` | raised whenever layout or meaning change | 1 |
/// | `reply` | the type of what a handler answers | `()` |
/// | `error` | the type of what a handler answers when it fails | `NoError`: it cannot fail |
/// | `crate` | the path of `swarm-protocols`, where it has another one | `::swarm_protocols` |
///
/// The type also derives `Serialize` and `Deserialize` of serde. It has no parameters: all requests of
/// one name have one layout.
#[proc_macro_derive(Request, attributes(request))]
pub fn request(input: TokenStream) -> TokenStream {
    derive(input, quote!(::swarm_protocols))
}

/// [`Request`](macro@Request) as `actix_swarm` exports it, so that a crate that depends on nothing else
/// can derive it.
#[proc_macro_derive(RequestOfActixSwarm, attributes(request))]
pub fn request_of_actix_swarm(input: TokenStream) -> TokenStream {
    derive(input, quote!(::actix_swarm::protocols))
}

fn derive(input: TokenStream, protocols: proc_macro2::TokenStream) -> TokenStream {
    let expanded = syn::parse::<DeriveInput>(input).and_then(|input| Declaration::parse(&input));
    expanded
        .map_or_else(|error| error.into_compile_error(), |declaration| declaration.expand(&protocols))
        .into()
}
