//! One peer of a room in a web page: brain and body, compiled to WebAssembly.
//!
//! The page's worker calls the [`Page`] with each [`Call`] (websocket, data channels, encoded
//! frames, time), and carries out the [`Ask`]s that follow: connections, messages, frames, what to show. The worker
//! contains no rule of the room. The functions of [`abi`] move both as bytes over linear memory, since the module
//! imports nothing.
//!
//! Media goes by RTP. The browser packetizes, encrypts and repairs; frames reach the page whole, by
//! `RTCRtpScriptTransform`.

#![warn(clippy::unwrap_used)]

#[cfg(any(target_family = "wasm", doc))]
pub mod abi;
mod commands;
mod hosting;
mod link;
mod network;
mod page;
mod report;
mod restart;
mod wire;

pub use page::Page;
pub use wire::{Ask, Call, Counts, Entered, Hosting, Opening, OwnCandidate, OwnMedia, Shown};
