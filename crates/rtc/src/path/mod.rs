//! Ways between the two ends of a link: the addresses of this end as others see them.

mod nat;
mod reflex;

pub(crate) use nat::{Behaviour, behaviour};
pub(crate) use reflex::{Reflex, Seen};
