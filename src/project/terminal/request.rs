//! What clients send and get (§§11.2–11.6, 21.5).

use std::{collections::HashMap, time::Duration};

use rmpv::Value;
use serde::{Deserialize, Serialize};

use crate::host::pty::Size;

/// Largest size a terminal may have, in lines or columns.
const MAX_SIDE: f64 = 10_000.0;
/// Longest wait of `sizes`.
const MAX_SIZES_WAIT: Duration = Duration::from_secs(30);

/// A request of a client, as it is on the wire. Fields of other requests are ignored.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Request {
    /// What is wanted.
    #[serde(default)]
    pub cmd: String,
    /// `spawn`: the program.
    #[serde(default)]
    pub command: Option<String>,
    /// `spawn`: its arguments.
    #[serde(default)]
    pub args: Option<Vec<String>>,
    /// `spawn`: everything else.
    #[serde(default)]
    pub options: Option<SpawnOptions>,
    /// `resize`.
    #[serde(default)]
    pub rows: Option<f64>,
    /// `resize`.
    #[serde(default)]
    pub cols: Option<f64>,
    /// `sizes`: longest time to wait for the clients' answers, in ms.
    #[serde(default)]
    pub wait: Option<f64>,
    /// `broadcast`: name of the event.
    #[serde(default)]
    pub event: Option<String>,
    /// `broadcast`: passed on as it is.
    #[serde(default)]
    pub payload: Option<Value>,
    /// The session that is meant, if not the socket's.
    #[serde(default)]
    pub id: Option<String>,
    /// `write`: what to type.
    #[serde(default)]
    pub input: Option<String>,
    /// `write`: who types.
    #[serde(default)]
    pub kind: Option<String>,
    /// `history`: so many characters at most.
    #[serde(default)]
    pub limit: Option<f64>,
}

/// Options of `spawn`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SpawnOptions {
    /// The session; absent = a private one.
    pub id: Option<String>,
    /// The terminal's file, when it differs from the id.
    pub path: Option<String>,
    /// First directory.
    pub cwd: Option<String>,
    /// Replaces the server's environment.
    pub env: Option<HashMap<String, Value>>,
    /// Goes over the environment.
    pub env0: Option<HashMap<String, Value>>,
    /// First size.
    pub rows: Option<f64>,
    /// First size.
    pub cols: Option<f64>,
    /// The session keeps so many characters.
    pub max_history_length: Option<f64>,
    /// The answer has so many characters of the history at most.
    pub history_limit: Option<f64>,
}

/// A number that came as an integer or a float, as a count.
pub(super) fn count(number: f64) -> usize {
    // Saturates; what is not a number becomes 0.
    number as usize
}

/// The size in a request, or why it is none.
pub(super) fn size(rows: Option<f64>, cols: Option<f64>) -> Option<Size> {
    let side = |n: Option<f64>| n.filter(|n| (1.0..=MAX_SIDE).contains(n)).map(|n| n as u16);
    Some(Size { rows: side(rows)?, cols: side(cols)? })
}

impl Request {
    /// How long `sizes` may take.
    pub(super) fn sizes_wait(&self) -> Duration {
        let ms = self.wait.filter(|ms| ms.is_finite()).unwrap_or(2000.0).max(0.0);
        Duration::try_from_secs_f64(ms / 1000.0).map_or(MAX_SIZES_WAIT, |wait| wait.min(MAX_SIZES_WAIT))
    }

    /// Whether the input of `write` is an emulator's own answer.
    pub(super) fn kind(&self) -> Kind {
        Kind::of(self.kind.as_deref())
    }
}

/// Who made some input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A person.
    User,
    /// The terminal emulator.
    Auto,
}

impl Kind {
    fn of(name: Option<&str>) -> Self {
        if name == Some("auto") { Kind::Auto } else { Kind::User }
    }
}

/// Data of a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Input {
    /// What to type.
    pub data: String,
    /// Who types.
    pub kind: Kind,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WireInput {
    Text(String),
    Tagged {
        data: String,
        #[serde(default)]
        kind: Option<String>,
    },
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match WireInput::deserialize(deserializer)? {
            WireInput::Text(data) => Input { data, kind: Kind::User },
            WireInput::Tagged { data, kind } => Input { data, kind: Kind::of(kind.as_deref()) },
        })
    }
}

/// A request to a client.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "cmd", rename_all = "lowercase")]
pub(super) enum Notice {
    /// How large is your terminal?
    Size,
    /// Something happened.
    Broadcast {
        /// What.
        event: String,
        /// More about it.
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<Value>,
    },
    /// The program ended.
    Exit,
}

impl Notice {
    /// The size changed.
    pub(super) fn resized(size: Size) -> Self {
        let payload = Value::Map(vec![
            (Value::from("rows"), Value::from(size.rows)),
            (Value::from("cols"), Value::from(size.cols)),
        ]);
        Notice::Broadcast { event: "resize".into(), payload: Some(payload) }
    }
}

/// Size in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct WireSize {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

impl WireSize {
    /// A client's answer to `size`; a hidden client has none.
    pub(super) fn of(answer: &Value) -> Option<Self> {
        let side = |name| answer.as_map()?.iter().find(|(key, _)| key.as_str() == Some(name))?.1.as_f64();
        let size = size(side("rows"), side("cols"))?;
        Some(WireSize { rows: size.rows, cols: size.cols })
    }
}

/// One session in the answer to `list`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Listed {
    /// The session.
    pub id: String,
    /// Process id of its program.
    pub pid: i32,
    /// The program.
    pub command: String,
    /// Its directory as in `cwd`.
    pub cwd: Option<String>,
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
    /// Attached sockets.
    pub sockets: usize,
    /// Start, in ms since 1970.
    pub started: u64,
}

/// An answer to a client.
#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Answer {
    /// Nothing to say.
    Nothing,
    /// `history`, `cwd`, `state`.
    Text(String),
    /// `spawn`.
    Spawned {
        /// Process id of the program.
        pid: i32,
        /// Output so far.
        history: String,
        /// Characters of output that are not in it.
        history_omitted: usize,
    },
    /// `sizes`.
    Sizes(Vec<WireSize>),
    /// `env`.
    Environment(HashMap<String, String>),
    /// `list`.
    List(Vec<Listed>),
}

impl From<()> for Answer {
    fn from((): ()) -> Self {
        Answer::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode<T: for<'de> Deserialize<'de>>(json: &str) -> Option<T> {
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        rmp_serde::from_slice(&rmp_serde::to_vec_named(&value).unwrap()).ok()
    }

    #[test]
    fn request_of_the_frontend_is_understood() {
        let request: Request = decode(
            r#"{"cmd":"spawn","command":"bash","options":{"id":"w/.a.term-0.term","cwd":"w","timeout":5000,
                "env0":{"HISTFILE":"$HOME/w/a.term"},"maxHistoryLength":1e3,"rows":40.0}}"#,
        )
        .unwrap();
        let options = request.options.unwrap();
        assert_eq!(options.id.as_deref(), Some("w/.a.term-0.term"));
        assert_eq!(options.max_history_length, Some(1000.0));
        assert_eq!(options.env0.unwrap()["HISTFILE"].as_str(), Some("$HOME/w/a.term"));
        let request: Request = decode(r#"{"cmd":"resize","rows":40,"cols":120.0}"#).unwrap();
        assert_eq!(size(request.rows, request.cols), Some(Size { rows: 40, cols: 120 }));
        assert_eq!(
            decode::<Request>(r#"{"cmd":"sizes","wait":250}"#).unwrap().sizes_wait(),
            Duration::from_millis(250)
        );
        assert_eq!(decode::<Request>(r#"{"cmd":"sizes"}"#).unwrap().sizes_wait(), Duration::from_secs(2));
    }

    #[test]
    fn request_with_an_impossible_size_has_none() {
        for (rows, cols) in [(0.0, 80.0), (24.0, -1.0), (f64::NAN, 80.0), (24.0, 1e9)] {
            assert_eq!(size(Some(rows), Some(cols)), None);
        }
        assert_eq!(size(None, Some(80.0)), None);
    }

    #[test]
    fn input_is_text_or_tagged_text() {
        assert_eq!(decode::<Input>(r#""ls""#), Some(Input { data: "ls".into(), kind: Kind::User }));
        assert_eq!(
            decode::<Input>(r#"{"data":"x","kind":"auto"}"#),
            Some(Input { data: "x".into(), kind: Kind::Auto })
        );
        assert_eq!(decode::<Input>(r#"{"data":"x","kind":"user"}"#).unwrap().kind, Kind::User);
        assert_eq!(decode::<Input>("5"), None);
    }

    #[test]
    fn notices_look_as_clients_expect() {
        let json = |notice: Notice| serde_json::to_value(notice).unwrap();
        assert_eq!(json(Notice::Size), serde_json::json!({"cmd": "size"}));
        assert_eq!(json(Notice::Exit), serde_json::json!({"cmd": "exit"}));
        assert_eq!(
            json(Notice::resized(Size { rows: 4, cols: 5 })),
            serde_json::json!({"cmd": "broadcast", "event": "resize", "payload": {"rows": 4, "cols": 5}})
        );
        assert_eq!(
            json(Notice::Broadcast { event: "leave".into(), payload: None }),
            serde_json::json!({"cmd": "broadcast", "event": "leave"})
        );
    }

    #[test]
    fn size_answers_of_clients_are_read() {
        let answer: Value = decode(r#"{"cols":156,"rows":51.0}"#).unwrap();
        assert_eq!(WireSize::of(&answer), Some(WireSize { rows: 51, cols: 156 }));
        assert_eq!(WireSize::of(&Value::Nil), None);
        assert_eq!(WireSize::of(&Value::from("x")), None);
    }

    #[test]
    fn nothing_is_nil() {
        assert_eq!(serde_json::to_value(Answer::Nothing).unwrap(), serde_json::Value::Null);
    }
}
