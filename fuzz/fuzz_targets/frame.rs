//! The array of `publish`: what is forwarded is well formed for every receiver, whatever the publisher sent.
//!
//! Input: one byte for the number of attachments, then the text of a socket.io packet or of the array alone.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outpost::wire::{
    frame::{Frame, Part, Parts, Publication},
    json::{Raw, Scanner},
    socketio::{self, Packet},
};

fn check(argument: Raw<'_>, attachments: usize) {
    const BYTES: [u8; 64] = [7; 64];
    let given: Parts = (0..attachments).map(|n| Part::Lent(&BYTES[..n.min(BYTES.len())])).collect();
    let Ok(publication) = Publication::decode(argument, given) else { return };
    let frame = publication.clone().keep();
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
    let again = Publication::decode(value, frame.attachments().iter().cloned().map(Part::Kept).collect());
    let again = again.expect("what is forwarded is a frame").keep();
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

/// Whether the long way finds no event in a packet without attachments.
fn packet_is_refused(text: &str) -> bool {
    text.starts_with('2') && Packet::decode(text).is_ok_and(|packet| packet.data_start == 1 && packet.event().is_err())
}

fuzz_target!(|data: &[u8]| {
    let Some((&attachments, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let attachments = usize::from(attachments % 12);
    let mut scanner = Scanner::new(text);
    if let Ok(argument) = scanner.value() {
        check(argument, attachments);
    }
    if let Ok(packet) = Packet::decode(text)
        && let Ok(event) = packet.event()
        && let Some(argument) = event.argument
    {
        check(argument, packet.attachments);
        // The short way says what the long way says.
        if let Some(quick) = Publication::scan(packet.data, Part::Lent(b"x")) {
            let long = Publication::decode(argument, Parts::from_iter([Part::Lent(b"x".as_slice())])).expect("a frame");
            assert_eq!(event.name.text(), "\"publish\"");
            assert_eq!((quick.subject.text(), quick.text, quick.encoding), (long.subject.text(), long.text, long.encoding));
            assert_eq!(quick.headers.map(|h| h.text()), long.headers.map(|h| h.text()));
            let (quick, long) = (quick.keep(), long.keep());
            assert_eq!((quick.is_whole(), quick.is_last()), (long.is_whole(), long.is_last()));
        }
    }
    if packet_is_refused(text) {
        assert!(Publication::scan(text.get(1..).unwrap_or_default(), Part::Lent(b"x")).is_none());
    }
});
