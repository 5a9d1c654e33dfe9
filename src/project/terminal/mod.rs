//! Terminals: programs in pseudo-terminals that any number of browsers share (project.md §11).

mod connection;
mod control;
mod environment;
mod error;
mod escape;
mod leader;
mod limits;
mod members;
mod output;
mod owner;
mod pace;
mod peer;
mod registry;
mod request;
mod service;
mod session;
mod utf8;

#[cfg(test)]
mod tests;

pub use limits::Limits;
pub use service::{Error, TerminalOptions};
