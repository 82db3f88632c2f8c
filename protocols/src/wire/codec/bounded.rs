//! A serde deserializer over bincode's primitives that bounds nesting and elements.
//!
//! bincode's own deserializer is not wrapped but replaced. It hands itself to visitors and seeds from
//! within, so a wrapper would have to wrap each of those too; and it allocates the claimed length of a
//! string before it looks for the bytes. What is left of it here is all that has a layout of its own:
//! integers, floats, characters and byte runs.
//!
//! Nothing here allocates on a claim: text and byte strings are taken from the message first, and a
//! sequence draws its length from the elements that the message has left before its visitor hears
//! of it.

use super::{DEPTH_MAX, ELEMENTS_FREE, LAYOUT, Layout};
use bincode::{
    BorrowDecode, Decode,
    de::{
        BorrowDecoder, DecoderImpl,
        read::{BorrowReader, Reader},
    },
    error::DecodeError,
    serde::DecodeError as Unsupported,
};
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use std::fmt;

/// Why decoding stopped.
#[derive(Debug)]
pub(super) enum Fault {
    TooDeep,
    TooManyElements,
    Malformed(DecodeError),
}

/// The value at the front of `bytes`, and the bytes after it.
pub(super) fn decode_front<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<(T, &'de [u8]), Fault> {
    let mut source = Source {
        decoder: DecoderImpl::new(Unread(bytes), LAYOUT, ()),
        elements_left: bytes.len().saturating_add(ELEMENTS_FREE),
    };
    let value = T::deserialize(Bounded { source: &mut source, levels_left: DEPTH_MAX })?;
    Ok((value, source.decoder.borrow_reader().0))
}

/// What all values of one message share.
struct Source<'de> {
    decoder: DecoderImpl<Unread<'de>, Layout, ()>,
    elements_left: usize,
}

impl<'de> Source<'de> {
    #[inline]
    fn read<T: Decode<()>>(&mut self) -> Result<T, Fault> {
        Ok(T::decode(&mut self.decoder)?)
    }

    #[inline]
    fn borrow<T: BorrowDecode<'de, ()>>(&mut self) -> Result<T, Fault> {
        Ok(T::borrow_decode(&mut self.decoder)?)
    }

    /// The length of a sequence or map. Every element that encodes to any byte has at least one byte
    /// of its own, so honest lengths add up to no more than the length of the message.
    #[inline]
    fn read_length(&mut self) -> Result<usize, Fault> {
        let length = usize::try_from(self.read::<u64>()?).map_err(|_| Fault::TooManyElements)?;
        self.elements_left = self.elements_left.checked_sub(length).ok_or(Fault::TooManyElements)?;
        Ok(length)
    }
}

/// The place of one value: the rest of the message, and how many levels may begin there.
struct Bounded<'a, 'de> {
    source: &'a mut Source<'de>,
    levels_left: usize,
}

impl<'a, 'de> Bounded<'a, 'de> {
    /// The place of the values within a compound value.
    #[inline]
    fn inside(self) -> Result<Self, Fault> {
        let levels_left = self.levels_left.checked_sub(1).ok_or(Fault::TooDeep)?;
        Ok(Self { levels_left, ..self })
    }

    #[inline]
    fn elements(self, left: usize) -> Result<Elements<'a, 'de>, Fault> {
        Ok(Elements { inside: self.inside()?, left })
    }
}

macro_rules! primitives {
    ($($deserialize:ident => $visit:ident),+ $(,)?) => {$(
        #[inline]
        fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            visitor.$visit(self.source.read()?)
        }
    )+};
}

impl<'de> Deserializer<'de> for Bounded<'_, 'de> {
    type Error = Fault;

    primitives! {
        deserialize_bool => visit_bool,
        deserialize_i8 => visit_i8,
        deserialize_i16 => visit_i16,
        deserialize_i32 => visit_i32,
        deserialize_i64 => visit_i64,
        deserialize_i128 => visit_i128,
        deserialize_u8 => visit_u8,
        deserialize_u16 => visit_u16,
        deserialize_u32 => visit_u32,
        deserialize_u64 => visit_u64,
        deserialize_u128 => visit_u128,
        deserialize_f32 => visit_f32,
        deserialize_f64 => visit_f64,
        deserialize_char => visit_char,
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(self.source.borrow()?)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_string(self.source.borrow::<&str>()?.to_owned())
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_bytes(self.source.borrow()?)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_byte_buf(self.source.borrow::<&[u8]>()?.to_vec())
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let inside = self.inside()?;
        match inside.source.read::<u8>()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(inside),
            tag => Err(de::Error::invalid_value(
                de::Unexpected::Unsigned(tag.into()),
                &"0 or 1 before an optional value",
            )),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self.inside()?)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let length = self.source.read_length()?;
        visitor.visit_seq(self.elements(length)?)
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_seq(self.elements(length)?)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_seq(self.elements(length)?)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let length = self.source.read_length()?;
        visitor.visit_map(self.elements(length)?)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_seq(self.elements(fields.len())?)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_enum(Variant(self.inside()?))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        Err(Fault::Malformed(Unsupported::AnyNotSupported.into()))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        Err(Fault::Malformed(Unsupported::IdentifierNotSupported.into()))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        Err(Fault::Malformed(Unsupported::IgnoredAnyNotSupported.into()))
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The elements of a sequence, the fields of a tuple or struct, the entries of a map.
struct Elements<'a, 'de> {
    inside: Bounded<'a, 'de>,
    left: usize,
}

impl<'de> Elements<'_, 'de> {
    #[inline]
    fn value<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(Bounded { source: self.inside.source, levels_left: self.inside.levels_left })
    }

    #[inline]
    fn next<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                self.value(seed).map(Some)
            }
            None => Ok(None),
        }
    }
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        self.next(seed)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> MapAccess<'de> for Elements<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        self.next(seed)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        self.value(seed)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// The inside of an enum: the index of its variant, then the content. The two are one level.
struct Variant<'a, 'de>(Bounded<'a, 'de>);

impl<'de> Variant<'_, 'de> {
    #[inline]
    fn fields<V: Visitor<'de>>(self, count: usize, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_seq(Elements { inside: self.0, left: count })
    }
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Fault;
    type Variant = Self;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Fault> {
        let index: u32 = self.0.source.read()?;
        let name = seed.deserialize(IntoDeserializer::<Fault>::into_deserializer(index))?;
        Ok((name, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn unit_variant(self) -> Result<(), Fault> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(self.0)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Fault> {
        self.fields(length, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.fields(fields.len(), visitor)
    }
}

/// The bytes of the message that are not read yet. bincode's own reader does not tell them.
struct Unread<'de>(&'de [u8]);

impl<'de> BorrowReader<'de> for Unread<'de> {
    #[inline(always)]
    fn take_bytes(&mut self, length: usize) -> Result<&'de [u8], DecodeError> {
        match self.0.split_at_checked(length) {
            Some((taken, rest)) => {
                self.0 = rest;
                Ok(taken)
            }
            None => Err(DecodeError::UnexpectedEnd { additional: length - self.0.len() }),
        }
    }
}

impl Reader for Unread<'_> {
    #[inline(always)]
    fn read(&mut self, bytes: &mut [u8]) -> Result<(), DecodeError> {
        bytes.copy_from_slice(self.take_bytes(bytes.len())?);
        Ok(())
    }

    #[inline]
    fn peek_read(&mut self, count: usize) -> Option<&[u8]> {
        self.0.get(..count)
    }

    #[inline]
    fn consume(&mut self, count: usize) {
        self.0 = self.0.get(count..).unwrap_or_default();
    }
}

impl From<DecodeError> for Fault {
    #[inline]
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl de::Error for Fault {
    #[cold]
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Malformed(DecodeError::OtherString(message.to_string()))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooDeep => f.write_str("nested too deep"),
            Self::TooManyElements => f.write_str("too many elements"),
            Self::Malformed(DecodeError::OtherString(reason)) => f.write_str(reason),
            Self::Malformed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Fault {}
