//! Links between peers of one process, over real WebRTC on loopback.

mod channels;
mod media;
mod network;
mod one_port;
mod opening;
mod raw;
mod relayed;
mod restarts;
mod sdp;
mod standard;
mod support;
mod tunnels;
mod turn_messages;
mod turn_server;
