//! The command line and whole processes of it, in one binary; and the rules of the source tree.

mod architecture;
mod asleep;
mod bad_input;
mod bench;
mod besieged;
mod busy_candidate;
mod ceilings;
mod clocks;
mod constants;
mod demo;
mod embedding;
mod genuine;
mod governing;
mod hostile;
mod hostile_peer;
mod moving;
mod one_port;
mod processes;
mod prose;
mod restarts;
mod running;
mod secrets;
mod secure;
mod services;
mod topology;
