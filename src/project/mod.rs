//! What the project does: terminals.
