//! Rooms over real WebRTC on loopback, as an application holds them.

#[cfg(feature = "codecs")]
mod apart;
mod beside;
mod data;
mod degradation;
mod dying;
mod encoded;
mod errors;
mod floor;
mod forgers;
mod governing;
mod honest;
mod layouts;
mod leaving;
mod limits;
mod listeners;
mod live_media;
mod mesh;
mod other_versions;
mod own_codec;
mod program;
mod rates;
mod raw;
mod restart;
mod runtime;
#[cfg(feature = "codecs")]
mod share;
mod solo;

mod support;
mod tracks;
mod trouble;
#[cfg(feature = "codecs")]
mod voices;
