//! The client's side of the bus.
