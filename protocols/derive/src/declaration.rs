//! What the attribute `request` says, and the code that it stands for.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::{
    Attribute, DeriveInput, Error, Ident, LitInt, LitStr, Path, Result, Type,
    ext::IdentExt,
    meta::ParseNestedMeta,
    parse::{Parse, ParseStream},
};

/// The declaration of one request.
pub(crate) struct Declaration {
    request: Ident,
    name: LitStr,
    version: u16,
    reply: Option<Type>,
    error: Option<Type>,
    protocols: Option<Path>,
}

impl Declaration {
    /// Reads the attributes of the type that derives it.
    pub(crate) fn parse(input: &DeriveInput) -> Result<Self> {
        if !input.generics.params.is_empty() {
            let fault = "a request has no parameters, since all requests of one name have one layout: derive \
                 `Request` for a type of its own, such as `struct GetPrice(Get<Price>)`";
            return Err(Error::new_spanned(&input.generics, fault));
        }
        let mut keys = Keys::default();
        for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("request")) {
            keys.read(attribute)?;
        }
        let name = keys.name.ok_or_else(|| {
            let example = in_words(&input.ident.unraw().to_string());
            let fault = format!("a request has a name on the wire: write `#[request(name = \"{example}\")]`");
            Error::new(input.ident.span(), fault)
        })?;
        Ok(Self {
            request: input.ident.clone(),
            name,
            version: keys.version.unwrap_or(1),
            reply: keys.reply,
            error: keys.error,
            protocols: keys.protocols,
        })
    }

    /// The implementation of `Request`, for code that knows `swarm-protocols` as `protocols`.
    pub(crate) fn expand(&self, protocols: &TokenStream) -> TokenStream {
        let Self { request, name, version, .. } = self;
        let protocols = self.protocols.as_ref().map_or_else(|| protocols.clone(), ToTokens::to_token_stream);
        let reply = self.reply.as_ref().map_or_else(|| quote!(()), ToTokens::to_token_stream);
        let error =
            self.error.as_ref().map_or_else(|| quote!(#protocols::NoError), ToTokens::to_token_stream);
        let fault = format!(
            "{:?} is not a valid name: 63 or fewer lower-case letters, digits and inner hyphens are \
             expected",
            name.value()
        );
        // With the place of the name, so that a wrong one is what the compiler shows.
        let check = quote_spanned!(name.span()=> assert!(#protocols::is_name(#name), "{}", #fault));
        quote! {
            const _: () = #check;

            #[automatically_derived]
            impl #protocols::Request for #request {
                const NAME: &'static str = #name;
                const VERSION: u16 = #version;
                type Reply = #reply;
                type Error = #error;
            }
        }
    }
}

/// The keys that were found so far.
#[derive(Default)]
struct Keys {
    name: Option<LitStr>,
    version: Option<u16>,
    reply: Option<Type>,
    error: Option<Type>,
    protocols: Option<Path>,
}

impl Keys {
    fn read(&mut self, attribute: &Attribute) -> Result<()> {
        attribute.parse_nested_meta(|meta| {
            let key = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
            match key.as_str() {
                "name" => set(
                    &mut self.name,
                    &meta,
                    "a text such as `name = \"match-pattern\"`",
                    <LitStr as Parse>::parse,
                ),
                "version" => set(&mut self.version, &meta, "a number such as `version = 2`", version),
                "reply" => set(&mut self.reply, &meta, "a type such as `reply = Matches`", Type::parse),
                "error" => set(&mut self.error, &meta, "a type such as `error = MatchError`", Type::parse),
                "crate" => set(
                    &mut self.protocols,
                    &meta,
                    "a path such as `crate = actix_swarm::protocols`",
                    Path::parse_mod_style,
                ),
                _ => Err(meta.error("the keys are `name`, `version`, `reply`, `error` and `crate`")),
            }
        })
    }
}

/// Reads `= value` into its place, which must be free.
fn set<T>(
    place: &mut Option<T>,
    meta: &ParseNestedMeta<'_>,
    wanted: &str,
    parse: fn(ParseStream<'_>) -> Result<T>,
) -> Result<()> {
    if place.is_some() {
        return Err(meta.error("this is said twice: remove one"));
    }
    let value = meta.value().map_err(|error| Error::new(error.span(), format!("{wanted} is expected")))?;
    let value = parse(value).map_err(|error| Error::new(error.span(), format!("{wanted} is expected")))?;
    *place = Some(value);
    Ok(())
}

fn version(input: ParseStream<'_>) -> Result<u16> {
    let number: LitInt = input.parse()?;
    number.base10_parse()
}

/// `MatchPattern` as `match-pattern`.
fn in_words(ident: &str) -> String {
    let mut words = String::new();
    for (at, letter) in ident.char_indices() {
        if letter.is_uppercase() && at > 0 {
            words.push('-');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(source: &str) -> std::result::Result<String, String> {
        let input = syn::parse_str(source).expect("a type");
        let declaration = Declaration::parse(&input).map_err(|error| error.to_string())?;
        Ok(declaration.expand(&quote!(::swarm_protocols)).to_string())
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let short = expanded(r#"#[request(name = "close")] struct Close;"#).unwrap();
        let long = r#"#[request(name = "close", version = 1, reply = (), error = ::swarm_protocols::NoError)]
            struct Close;"#;
        assert_eq!(short, expanded(long).unwrap());
    }

    #[test]
    fn keys_may_be_spread_over_attributes() {
        let apart = "#[request(name = \"get\")] #[request(version = 7, reply = Vec<u8>)] enum Get { All }";
        let expanded = expanded(apart).unwrap();
        assert!(expanded.contains("const VERSION : u16 = 7u16"), "{expanded}");
        assert!(expanded.contains("type Reply = Vec < u8 >"), "{expanded}");
    }

    #[test]
    fn another_path_of_the_crate_is_used_throughout() {
        let expanded = expanded(r#"#[request(name = "get", crate = crate::far)] struct Get;"#).unwrap();
        assert!(!expanded.contains("swarm_protocols"), "{expanded}");
        assert!(expanded.contains("impl crate :: far :: Request for Get"), "{expanded}");
    }

    #[test]
    fn a_fault_says_what_to_write() {
        for (source, fault) in [
            ("struct MatchPattern;", r#"write `#[request(name = "match-pattern")]`"#),
            ("#[request(version = 2)] struct Get;", r#"write `#[request(name = "get")]`"#),
            ("#[request(name = get)] struct Get;", r#"a text such as `name = "match-pattern"` is expected"#),
            ("#[request(name)] struct Get;", r#"a text such as `name = "match-pattern"` is expected"#),
            (r#"#[request(name = "get", version = "2")] struct Get;"#, "a number such as `version = 2` is"),
            (r#"#[request(name = "get", version = 65536)] struct Get;"#, "a number such as `version = 2` is"),
            (r#"#[request(name = "get", reply = 3)] struct Get;"#, "a type such as `reply = Matches` is"),
            (r#"#[request(name = "get", replies = u8)] struct Get;"#, "the keys are `name`, `version`"),
            (r#"#[request(name = "get", name = "got")] struct Get;"#, "said twice"),
            (r#"#[request(name = "get")] struct Get<T>(T);"#, "a request has no parameters"),
            (r#"#[request(name = "get")] struct Get<'a>(&'a str);"#, "a request has no parameters"),
        ] {
            let error = expanded(source).expect_err(source);
            assert!(error.contains(fault), "{source}: {error}");
        }
    }
}
