//! What a peer sends before it is known: the query of the handshake.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outpost::wire::engineio;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (method, query) = text.split_once('\n').unwrap_or(("GET", text));
    for is_upgrade in [false, true] {
        match engineio::check_handshake(method, query, is_upgrade) {
            Ok(()) => assert!(is_upgrade && method == "GET" && query.contains("transport=websocket")),
            Err(error) => assert!(serde_json::from_str::<serde_json::Value>(&error.body()).is_ok()),
        }
    }
});
