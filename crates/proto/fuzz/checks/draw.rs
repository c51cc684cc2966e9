//! Structured fuzzing: draws values of any deserializable type from bytes, so fuzzers and property tests
//! shrink the bytes.
//!
//! A [`Draw`] is a deserializer that takes each choice (variant, list length, number) from the next bytes,
//! and zeros after the last one. New messages, variants and fields are therefore drawn without a change here.
//! More often than not numbers are small or edge cases, and peers are from a small cast, since messages to
//! unknown peers have no effect.

use serde::de::value::{Error, SeqDeserializer};
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, SeqAccess, VariantAccess, Visitor,
};

use plenary_proto::PeerId;

/// Attempts to draw one value. An attempt fails when a list or text is longer than its type allows.
const TRIES: usize = 4;

/// The bytes that choices are taken from.
#[derive(Debug)]
pub(crate) struct Draw<'a> {
    bytes: &'a [u8],
    cast: &'a [PeerId],
}

impl<'a> Draw<'a> {
    /// Creates a draw from `bytes`. Most peers are drawn from `cast`, which must not be empty.
    pub(crate) fn new(bytes: &'a [u8], cast: &'a [PeerId]) -> Draw<'a> {
        Draw { bytes, cast }
    }

    /// Whether all bytes are used up.
    pub(crate) fn is_over(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Draws a value; `None` when all attempts failed.
    pub(crate) fn value<T: de::DeserializeOwned>(&mut self) -> Option<T> {
        (0..TRIES).find_map(|_| T::deserialize(&mut *self).ok())
    }

    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *byte
    }

    fn wide(&mut self, bytes: usize) -> u64 {
        (0..bytes).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    fn number(&mut self) -> u64 {
        const EDGES: [u64; 8] =
            [0, 1, u64::MAX, u32::MAX as u64, u16::MAX as u64, i64::MAX as u64, 1 << 63, 1_000_000];
        match self.byte() % 8 {
            0..=3 => u64::from(self.byte() % 8),
            4 => self.wide(1),
            5 => self.wide(3),
            6 => self.wide(8),
            _ => EDGES[usize::from(self.byte() % 8)],
        }
    }

    fn len(&mut self) -> usize {
        match self.byte() % 16 {
            len @ 0..=11 => usize::from(len % 4),
            12..=14 => usize::from(self.byte() % 16),
            _ => usize::from(self.byte()),
        }
    }

    fn peer(&mut self) -> PeerId {
        match self.byte() {
            255 => PeerId(std::array::from_fn(|_| self.byte())),
            at => self.cast[usize::from(at) % self.cast.len()],
        }
    }
}

macro_rules! numbers {
    ($($method:ident: $visit:ident as $type:ty),* $(,)?) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(self.number() as $type)
        }
    )* };
}

impl<'de> Deserializer<'de> for &mut Draw<'_> {
    type Error = Error;

    numbers! {
        deserialize_u16: visit_u16 as u16,
        deserialize_u32: visit_u32 as u32,
        deserialize_u64: visit_u64 as u64,
        deserialize_i8: visit_i8 as i8,
        deserialize_i16: visit_i16 as i16,
        deserialize_i32: visit_i32 as i32,
        deserialize_i64: visit_i64 as i64,
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(de::Error::custom("messages say what they are made of"))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bool(self.byte() % 2 == 1)
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u8(self.byte())
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let text: String = (0..self.len()).map(|_| char::from(self.byte())).collect();
        visitor.visit_string(text)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.byte() % 2 == 1 { visitor.visit_some(self) } else { visitor.visit_none() }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        let whole = self.peer().0;
        let bytes = match name {
            "PeerId" => &whole[..],
            "ShortId" => &whole[..8],
            _ => return visitor.visit_newtype_struct(self),
        };
        visitor.visit_newtype_struct(SeqDeserializer::new(bytes.iter().copied()))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let left = self.len();
        visitor.visit_seq(Items { draw: self, left })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Items { draw: self, left: len })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let variant = u32::from(self.byte()) % (variants.len() as u32).max(1);
        visitor.visit_enum(Variant { draw: self, variant })
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    serde::forward_to_deserialize_any! {
        i128 u128 f32 f64 char bytes byte_buf unit_struct tuple_struct map identifier ignored_any
    }
}

/// Sequence of a drawn number of items.
struct Items<'d, 'a> {
    draw: &'d mut Draw<'a>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.draw).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// A drawn variant, and the source of its fields.
struct Variant<'d, 'a> {
    draw: &'d mut Draw<'a>,
    variant: u32,
}

impl<'de, 'd, 'a> EnumAccess<'de> for Variant<'d, 'a> {
    type Error = Error;
    type Variant = &'d mut Draw<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self::Variant), Error> {
        let variant: de::value::U32Deserializer<Error> = self.variant.into_deserializer();
        Ok((seed.deserialize(variant)?, self.draw))
    }
}

impl<'de> VariantAccess<'de> for &mut Draw<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(fields.len(), visitor)
    }
}
