//! The terminal service over the bus, with real programs (project.md §11 and §22 G).

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod harness;
mod items;
