//! Codecs, sources, capture, mixing and recordings from outside, in one binary.

mod capture;
mod codecs;
mod encoded;
mod file_to_recording;
mod mixing;
mod picture;
mod raw;
mod record;
mod repair;
mod sources;
mod stage;
