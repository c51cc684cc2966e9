//! The brain and its formats from outside, in one binary.

mod access;
mod balance;
mod children;
mod corpus;
mod election;
mod failover;
mod identity;
mod limits;
mod measuring;
mod message;
mod mixing;
mod near;
mod newcomers;
mod parents;
mod places;
mod prevote;
mod rendezvous;
mod room;
mod samples;
mod seal;
mod search;
mod solos;
mod sources;
mod squatting;
mod timeouts;
mod uplink;
