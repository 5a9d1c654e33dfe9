//! Pure codecs: no I/O, no clock, no allocation in proportion to a number a peer merely claims.
//!
//! | module | what it is | conat-wire.md |
//! |---|---|---|
//! | [`subject`] | subjects and patterns | §4 |

pub mod subject;
