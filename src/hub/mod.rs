//! What the hub does: clock, system services, server status. All of them are clients of the bus.

pub mod clock;
pub mod status;
pub mod system;
#[cfg(test)]
mod tests;
