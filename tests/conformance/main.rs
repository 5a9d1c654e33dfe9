//! Conformance of the Rust client with conat-wire.md §26: items 99–131 and 138–153. Items of the server are in `wire/`, for
//! stock clients.
