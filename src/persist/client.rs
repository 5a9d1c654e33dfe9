//! The client of a persist service.
