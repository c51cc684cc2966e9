//! Lists and texts with a maximum length in their type, enforced also while they are deserialized.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{self, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
#[cfg(not(target_arch = "wasm32"))]
use unicode_normalization::UnicodeNormalization as _;

/// Fill level of one list or map of the brain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Description of its items.
    pub of: &'static str,
    /// Present number of items.
    pub len: usize,
    /// Maximum number of items, regardless of peers' input.
    pub max: usize,
}

impl Bound {
    pub(crate) const fn new(of: &'static str, len: usize, max: usize) -> Bound {
        Bound { of, len, max }
    }
}

/// List of at most `MAX` items. Deserializing a longer one fails before its first item is read.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> List<T, MAX> {
    /// Returns an empty list.
    pub const fn new() -> Self {
        List(Vec::new())
    }

    /// Returns the first `MAX` of `items`; the rest is dropped.
    pub fn truncated(items: impl IntoIterator<Item = T>) -> Self {
        List(items.into_iter().take(MAX).collect())
    }

    /// Appends an item, or returns it when the list is full.
    ///
    /// # Errors
    /// The item, when the list has `MAX` items already.
    pub fn push(&mut self, item: T) -> Result<(), T> {
        if self.0.len() >= MAX {
            return Err(item);
        }
        self.0.push(item);
        Ok(())
    }

    /// Returns the items as an unbounded vector.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<T, const MAX: usize> TryFrom<Vec<T>> for List<T, MAX> {
    type Error = Vec<T>;
    fn try_from(items: Vec<T>) -> Result<Self, Vec<T>> {
        if items.len() > MAX { Err(items) } else { Ok(List(items)) }
    }
}

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        List(Vec::new())
    }
}

impl<T, const MAX: usize> Deref for List<T, MAX> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'a, T, const MAX: usize> IntoIterator for &'a List<T, MAX> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<T: fmt::Debug, const MAX: usize> fmt::Debug for List<T, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: Serialize, const MAX: usize> Serialize for List<T, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Items<T, MAX> {
            type Value = List<T, MAX>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX} items")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<List<T, MAX>, A::Error> {
                let len = items.size_hint().unwrap_or(0);
                if len > MAX {
                    return Err(de::Error::invalid_length(len, &self));
                }
                let mut list = Vec::with_capacity(len);
                while let Some(item) = items.next_element()? {
                    if list.len() == MAX {
                        return Err(de::Error::invalid_length(MAX + 1, &self));
                    }
                    list.push(item);
                }
                Ok(List(list))
            }
        }
        deserializer.deserialize_seq(Items(PhantomData))
    }
}

/// Whether a text may hold a character: no control character, no line or paragraph separator, none that
/// reorders the text around it, and none that can't be seen. Names come from strangers, and end on terminals and in
/// pictures: there they could erase, imitate or reverse what stands beside them. The joiners U+200C and U+200D stay:
/// scripts and emoji need them.
fn may_hold(c: char) -> bool {
    let is_unseen = matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}' | '\u{200b}'
        | '\u{2060}'..='\u{2064}' | '\u{206a}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    let reorders =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !(c.is_control() || reorders || is_unseen || matches!(c, '\u{2028}' | '\u{2029}'))
}

/// Returns a text without the characters that a [`Text`] may not hold, for words of others that are shown to a
/// person.
pub fn plain(text: &str) -> String {
    text.chars().filter(|c| may_hold(*c)).collect()
}

/// Returns text in the form in which equal words are equal bytes: composed (Unicode NFC), with any space as a plain one
/// (RFC 8265, 4.2: OpaqueString, and 2.1 for names). Keyboards compose "é" or don't. In a page the window composes what
/// its user types, by the browser's tables: these would add 50 kB to the 416 kB of the page.
pub fn composed(text: &str) -> String {
    let spaced = text.chars().map(|c| if c.is_whitespace() && !c.is_ascii() { ' ' } else { c });
    #[cfg(not(target_arch = "wasm32"))]
    let spaced = spaced.nfc();
    spaced.collect()
}

/// UTF-8 text of at most `MAX` bytes, without control characters, characters that change the direction of writing,
/// and characters that can't be seen. Deserializing another text fails.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    /// Returns the longest prefix of `text` that fits, cut between characters and without those that a text
    /// may not hold.
    pub fn truncated(text: &str) -> Self {
        let text = plain(text);
        let mut end = text.len().min(MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Text(text[..end].to_owned())
    }
}

impl<const MAX: usize> Deref for Text<MAX> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Str<const MAX: usize>;
        impl<const MAX: usize> Visitor<'_> for Str<MAX> {
            type Value = Text<MAX>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a plain text of at most {MAX} bytes")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<MAX>, E> {
                if text.len() > MAX {
                    return Err(E::invalid_length(text.len(), &self));
                }
                if !text.chars().all(may_hold) {
                    return Err(E::invalid_value(Unexpected::Other("a control character"), &self));
                }
                Ok(Text(text.to_owned()))
            }
        }
        deserializer.deserialize_str(Str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_steer_a_terminal_nor_turn_the_text_around_it() {
        let name = "\u{1b}[2J\u{1b}]0;mine\u{7}A\u{202e}da\u{2066}\r\n\u{9b}31m\u{2028}";
        assert_eq!(&*Text::<64>::truncated(name), "[2J]0;mineAda31m");
        assert_eq!(&*Text::<3>::truncated("\u{202e}abcd"), "abc", "what is left out takes no room");
        let zoe = "Zoë \u{1f469}\u{200d}\u{1f680} ليلى";
        assert_eq!(&*Text::<64>::truncated(zoe), zoe, "scripts and emoji stay");
        let read = |text: &str| postcard::from_bytes::<Text<64>>(&postcard::to_allocvec(text).unwrap());
        assert_eq!(read(zoe).as_deref(), Ok(zoe));
        for text in [name, "a\0", "\u{200f}", "\t"] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_name_with_invisible_characters_cannot_pass_for_another() {
        let unseen =
            "\u{200b}\u{2060}\u{feff}\u{ad}\u{34f}\u{180e}\u{2063}\u{3164}\u{2800}\u{fffa}\u{e0041}\u{e007f}";
        assert_eq!(&*Text::<64>::truncated(&format!("A{unseen}da")), "Ada");
        for c in unseen.chars() {
            let bytes = postcard::to_allocvec(&format!("Ada{c}")).unwrap();
            assert!(postcard::from_bytes::<Text<64>>(&bytes).is_err(), "{c:?}");
        }
        let mirza = "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}";
        assert_eq!(&*Text::<64>::truncated(mirza), mirza, "Persian needs the non-joiner");
    }
}
