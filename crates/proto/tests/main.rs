//! The brain and its formats from outside, in one binary.

mod balance;
mod children;
mod corpus;
mod identity;
mod measuring;
mod message;
mod near;
mod parents;
mod places;
mod room;
mod samples;
mod seal;
mod search;
mod uplink;
