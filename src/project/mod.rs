//! What the project does: files, terminals.

pub mod files;
pub mod terminal;
