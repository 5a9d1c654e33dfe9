//! The array of `publish`: what is forwarded is well formed for every receiver, whatever the publisher sent.
//!
//! Input: one byte for the number of attachments, then the text of a socket.io packet or of the array alone.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use outpost::wire::{
    frame::{Attachments, Frame},
    json::{Raw, Scanner},
    socketio::{self, Packet},
};

fn check(argument: Raw<'_>, source: &Bytes, offset: usize, attachments: usize) {
    let given: Attachments = (0..attachments).map(|n| Bytes::from(vec![n as u8; n])).collect();
    let Ok(publication) = Frame::decode(argument, source, offset, given) else { return };
    let frame = publication.frame;
    let kept = frame.attachments().len();
    assert!(kept <= attachments);

    // What a receiver gets.
    let text = std::str::from_utf8(frame.text()).expect("text is UTF-8");
    let delivered = format!("[{},{text}]", publication.subject.text());
    let mut scanner = Scanner::new(&delivered);
    let value = scanner.value().expect("what is forwarded is JSON");
    scanner.finish().expect("and nothing else");
    if let Ok(tree) = serde_json::from_str::<serde_json::Value>(&delivered) {
        let parts = tree.as_array().expect("an array");
        assert!((6..=7).contains(&parts.len()), "targets are stripped");
        let without_subject = serde_json::Value::from(&parts[1..]);
        assert!(
            kept == 0 || socketio::count_placeholders(&without_subject) >= kept,
            "an attachment without a placeholder"
        );
        let numbers = numbers(&without_subject);
        assert!(numbers.iter().all(|n| n.is_some_and(|n| (n as usize) < kept)), "a placeholder without an attachment");
    }

    // Decoding what was forwarded gives the same frame again.
    let source = Bytes::copy_from_slice(delivered.as_bytes());
    let again = Frame::decode(value, &source, 0, frame.attachments().iter().cloned().collect());
    let again = again.expect("what is forwarded is a frame").frame;
    assert_eq!(again.text(), frame.text());
    assert_eq!(again.fields(), frame.fields());
    assert_eq!((again.is_last(), again.is_whole(), again.bytes()), (frame.is_last(), frame.is_whole(), frame.bytes()));

    // The form made in process says the same.
    if let Some(fields) = frame.fields() {
        let made = Frame::new(fields.clone());
        assert_eq!(made.is_whole(), fields.done && fields.seq == 0);
        assert!(std::str::from_utf8(made.text()).is_ok());
    }
}

/// Numbers of all placeholders.
fn numbers(value: &serde_json::Value) -> Vec<Option<u64>> {
    use serde_json::Value;
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        Value::Object(map) if map.get("_placeholder") == Some(&Value::Bool(true)) => {
            vec![map.get("num").and_then(Value::as_u64)]
        }
        Value::Object(map) => map.values().flat_map(numbers).collect(),
        _ => Vec::new(),
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&attachments, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let attachments = usize::from(attachments % 12);
    let source = Bytes::copy_from_slice(text.as_bytes());
    let mut scanner = Scanner::new(text);
    if let Ok(argument) = scanner.value() {
        check(argument, &source, 0, attachments);
    }
    if let Ok(packet) = Packet::decode(text)
        && let Ok(event) = packet.event()
        && let Some(argument) = event.argument
    {
        check(argument, &source, packet.data_start, packet.attachments);
    }
});
