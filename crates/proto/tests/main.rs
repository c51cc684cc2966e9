//! The brain and its formats from outside, in one binary.

mod corpus;
mod identity;
mod message;
mod places;
mod room;
mod samples;
mod seal;
mod uplink;
