//! engine.io and socket.io text: whatever a peer sends is taken apart or refused, and what is taken for JSON is JSON.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outpost::wire::{
    engineio,
    json::{self, Raw, Scanner},
    socketio::{self, MAX_ATTACHMENTS, Packet},
};
use serde::de::IgnoredAny;

/// Walks a value with the scanner's own iterators; every part lies where it says.
fn walk(whole: &str, value: Raw<'_>) {
    assert_eq!(whole.get(value.start()..value.end()), Some(value.text()));
    for element in value.elements().into_iter().flatten() {
        walk(value.text(), element);
    }
    for (name, field) in value.fields() {
        assert!(name.text().starts_with('"'));
        walk(value.text(), field);
    }
    let _ = (value.as_str(), value.as_u64(), value.as_f64(), value.is_truthy());
    if value.text().len() < 200 {
        let _ = value.field("subject");
    }
}

fn check_json(text: &str) {
    let mut scanner = Scanner::new(text);
    let ours = scanner.value().and_then(|value| scanner.finish().map(|()| value));
    let theirs = serde_json::from_str::<IgnoredAny>(text);
    match ours {
        Ok(value) => {
            assert!(theirs.is_ok(), "the scanner takes what serde_json refuses: {text:?}");
            walk(text, value);
            if let Ok(tree) = serde_json::from_str::<serde_json::Value>(text) {
                let count = socketio::count_placeholders(&tree);
                assert!(count == 0 || value.may_hold_placeholder(), "a placeholder got past the scanner: {text:?}");
                for attachments in 0..=MAX_ATTACHMENTS {
                    if socketio::placeholders_are_sound(value, attachments) {
                        assert!(count >= attachments);
                    }
                }
            }
        }
        Err(json::Error::TooDeep) => {}
        Err(json::Error::Malformed(_)) => {
            assert!(theirs.is_err(), "the scanner refuses what serde_json takes: {text:?}")
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    check_json(text);
    let message = match engineio::Packet::decode(text) {
        Ok(engineio::Packet::Message(message)) => message,
        _ => text,
    };
    let Ok(packet) = Packet::decode(message) else { return };
    assert!(packet.attachments <= MAX_ATTACHMENTS);
    assert_eq!(message.get(packet.data_start..), Some(packet.data));
    check_json(packet.data);
    let tree = serde_json::from_str::<Vec<IgnoredAny>>(packet.data);
    if let Ok(event) = packet.event() {
        assert!(tree.is_ok());
        walk(packet.data, event.name);
        event.argument.inspect(|argument| walk(packet.data, *argument));
    }
    if let Ok(argument) = packet.ack_argument() {
        let elements = tree.expect("an acknowledgement's argument came from no array").len();
        assert_eq!(argument.is_some(), elements > 0);
    }
});
