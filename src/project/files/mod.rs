//! The project's files, as others than programs in the project see them.
//!
//! [`Home`] turns paths from outside into open files and folders and decides how far they reach. [`Partial`] writes a file
//! that nobody sees half. [`archive`] packs a folder. All of it blocks: it is run by [`Threads`].

pub mod archive;
mod error;
mod home;
mod partial;
#[cfg(test)]
mod tests;
mod threads;

pub use error::{Error, Result};
pub use home::{Home, Opened};
pub use partial::{Partial, Partials};
pub use threads::Threads;
