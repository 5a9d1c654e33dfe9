//! What the project does: terminals.

pub mod terminal;
