//! Tests of netlab, from inside its hosts. They need root, and are skipped without.

mod hosts;
mod links;
mod nats;
mod rig;
