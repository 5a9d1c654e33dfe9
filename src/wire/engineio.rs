//! engine.io v4 over WebSocket: text packets and the handshake query (conat-wire.md §§2.1–2.3).

use serde_json::json;
use thiserror::Error;

/// A text packet a peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `0`: the server's first message, JSON.
    Open(&'a str),
    /// `1`: the peer wants the session closed.
    Close,
    /// `2`: heartbeat, server to client only.
    Ping,
    /// `3`: answer to a heartbeat.
    Pong,
    /// `4`: a socket.io packet follows.
    Message(&'a str),
    /// `5`: part of an upgrade from polling.
    Upgrade,
    /// `6`: does nothing.
    Noop,
}

/// A text that is no packet.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("unknown engine.io packet type")]
pub struct UnknownPacket;

impl<'a> Packet<'a> {
    /// Takes a text message apart.
    ///
    /// # Errors
    /// The first character is no packet type.
    pub fn decode(text: &'a str) -> Result<Packet<'a>, UnknownPacket> {
        let rest = text.get(1..).unwrap_or_default();
        Ok(match text.as_bytes().first() {
            Some(b'0') => Packet::Open(rest),
            Some(b'1') => Packet::Close,
            Some(b'2') => Packet::Ping,
            Some(b'3') => Packet::Pong,
            Some(b'4') => Packet::Message(rest),
            Some(b'5') => Packet::Upgrade,
            Some(b'6') => Packet::Noop,
            _ => return Err(UnknownPacket),
        })
    }
}

/// The open packet as text; times in milliseconds.
pub fn open_packet(sid: &str, ping_interval_ms: u64, ping_timeout_ms: u64, max_payload: usize) -> String {
    // Written by hand to keep the field order that recorded traffic shows.
    let sid = json!(sid);
    format!(
        r#"0{{"sid":{sid},"upgrades":[],"pingInterval":{ping_interval_ms},"pingTimeout":{ping_timeout_ms},"maxPayload":{max_payload}}}"#
    )
}

/// Why a handshake is refused; becomes HTTP 400 with this code and message (§2.1).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum HandshakeError {
    /// `transport` is missing or not `websocket` (polling is not offered, §20.1).
    #[error("Transport unknown")]
    UnknownTransport,
    /// `sid` names no session: with WebSocket only, there is never one to resume.
    #[error("Session ID unknown")]
    UnknownSession,
    /// Not a GET.
    #[error("Bad handshake method")]
    BadMethod,
    /// For example a WebSocket handshake without upgrade.
    #[error("Bad request")]
    BadRequest,
    /// `EIO` is missing or not 4.
    #[error("Unsupported protocol version")]
    UnsupportedVersion,
}

impl HandshakeError {
    /// The code in the body.
    pub fn code(self) -> u8 {
        match self {
            HandshakeError::UnknownTransport => 0,
            HandshakeError::UnknownSession => 1,
            HandshakeError::BadMethod => 2,
            HandshakeError::BadRequest => 3,
            HandshakeError::UnsupportedVersion => 5,
        }
    }

    /// The JSON body of the answer.
    pub fn body(self) -> String {
        format!(r#"{{"code":{},"message":"{self}"}}"#, self.code())
    }
}

/// Checks a handshake in the order stock servers do. `is_upgrade` says whether the request asks for a WebSocket.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_handshake(method: &str, query: &str, is_upgrade: bool) -> Result<(), HandshakeError> {
    let parameter = |name: &str| {
        query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then_some(value)
        })
    };
    if parameter("transport") != Some("websocket") {
        return Err(HandshakeError::UnknownTransport);
    }
    if parameter("sid").is_some() {
        return Err(HandshakeError::UnknownSession);
    }
    if method != "GET" {
        return Err(HandshakeError::BadMethod);
    }
    if !is_upgrade {
        return Err(HandshakeError::BadRequest);
    }
    if parameter("EIO") != Some("4") {
        return Err(HandshakeError::UnsupportedVersion);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshake_errors_come_in_the_stock_order() {
        use HandshakeError::*;
        let ok = "EIO=4&transport=websocket";
        assert_eq!(check_handshake("GET", ok, true), Ok(()));
        assert_eq!(check_handshake("GET", "EIO=4&transport=websocket&t=abc", true), Ok(()));
        assert_eq!(check_handshake("GET", "EIO=4&transport=polling", false), Err(UnknownTransport));
        assert_eq!(check_handshake("GET", "", false), Err(UnknownTransport));
        assert_eq!(check_handshake("GET", "EIO=4&transport=websocket&sid=x", true), Err(UnknownSession));
        assert_eq!(check_handshake("POST", ok, true), Err(BadMethod));
        // Recorded from a stock server: without upgrade the version is not even looked at.
        assert_eq!(check_handshake("GET", "EIO=3&transport=websocket", false), Err(BadRequest));
        assert_eq!(check_handshake("GET", "EIO=3&transport=websocket", true), Err(UnsupportedVersion));
        assert_eq!(check_handshake("GET", "transport=websocket", true), Err(UnsupportedVersion));
    }

    #[test]
    fn open_packet_matches_recorded_traffic() {
        assert_eq!(
            open_packet("sMtu9Ky8X7PHmrJ6AAAN", 25_000, 20_000, 8_000_000),
            r#"0{"sid":"sMtu9Ky8X7PHmrJ6AAAN","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":8000000}"#
        );
    }

    #[test]
    fn a_multibyte_first_character_is_refused() {
        assert_eq!(Packet::decode("é"), Err(UnknownPacket));
        assert_eq!(Packet::decode(""), Err(UnknownPacket));
        assert_eq!(Packet::decode("4é"), Ok(Packet::Message("é")));
    }
}
