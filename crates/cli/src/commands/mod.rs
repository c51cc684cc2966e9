//! The commands, one file each.

pub(crate) mod bench;
mod floor;
pub(crate) mod govern;
pub(crate) mod host;
pub(crate) mod identity;
pub(crate) mod join;
pub(crate) mod mixer;
pub(crate) mod people;
mod port_map;
pub(crate) mod probe;
pub(crate) mod rendezvous;
pub(crate) mod repair;
mod service;
pub(crate) mod signals;
pub(crate) mod sim;
pub(crate) mod stay;
pub(crate) mod topology;
pub(crate) mod verify;
mod wait;
mod watched;

use crate::descriptors;

/// Creates the tokio runtime of the program, which may open as many files as the system lets it.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    descriptors::raise_limit();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
