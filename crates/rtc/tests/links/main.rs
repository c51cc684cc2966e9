//! Links between peers of one process, over real WebRTC on loopback.

mod channels;
mod media;
mod network;
mod opening;
mod raw;
mod sdp;
mod standard;
mod support;
