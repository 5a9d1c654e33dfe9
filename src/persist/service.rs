//! The persist service.
