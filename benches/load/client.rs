//! One client that speaks either protocol: what differs between the two servers is in this file.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use memchr::{memchr, memmem};

use super::socket::{Frame, Opcode, Socket, push_frame};

/// Whose protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A WebSocket message for every packet: engine.io has no other way.
    Outpost,
    /// A WebSocket message for every message that is published.
    Nats,
    /// What goes out with one system call shares a WebSocket message, as NATS clients do it when they are busy.
    Coalesced,
}

/// A message that arrived.
pub struct Delivery<'a> {
    /// What stands before the payload: the event's text, or a line.
    pub head: &'a [u8],
    pub reply: Option<&'a [u8]>,
    pub payload: &'a [u8],
}

/// Messages on their way out, encoded.
pub struct Outgoing {
    kind: Kind,
    frames: Vec<u8>,
    /// NATS: protocol text that is not in a frame yet.
    lines: Vec<u8>,
    next_id: u64,
}

impl Outgoing {
    /// Adds a message. With a reply subject it is a request: acknowledged on Outpost, as its clients do it.
    pub fn publish(&mut self, subject: &[u8], reply: Option<&[u8]>, payload: &[u8]) {
        self.next_id += 1;
        let mut number = itoa::Buffer::new();
        match self.kind {
            Kind::Outpost => {
                let id = number.format(1_000_000_000 + self.next_id).as_bytes();
                const RAW: &[u8] = br#"",0,1,0,{"_placeholder":true,"num":0}"#;
                const ID: &[u8] = br#"",""#;
                match reply {
                    None => {
                        let parts = [br#"451-["publish",[""#.as_slice(), subject, ID, id, RAW, b"]]"];
                        push_frame(&mut self.frames, Opcode::Text, &parts);
                    }
                    Some(reply) => {
                        let mut ack = itoa::Buffer::new();
                        let ack = ack.format(self.next_id).as_bytes();
                        let parts = [
                            b"451-".as_slice(),
                            ack,
                            br#"["publish",[""#,
                            subject,
                            ID,
                            id,
                            RAW,
                            br#",{"CN-Reply":""#,
                            reply,
                            br#""}]]"#,
                        ];
                        push_frame(&mut self.frames, Opcode::Text, &parts);
                    }
                }
                push_frame(&mut self.frames, Opcode::Binary, &[payload]);
            }
            Kind::Nats | Kind::Coalesced => {
                self.lines.extend_from_slice(b"PUB ");
                self.lines.extend_from_slice(subject);
                self.lines.push(b' ');
                if let Some(reply) = reply {
                    self.lines.extend_from_slice(reply);
                    self.lines.push(b' ');
                }
                self.lines.extend_from_slice(number.format(payload.len()).as_bytes());
                self.lines.extend_from_slice(b"\r\n");
                self.lines.extend_from_slice(payload);
                self.lines.extend_from_slice(b"\r\n");
                if self.kind == Kind::Nats {
                    self.frame_lines();
                }
            }
        }
    }

    /// Outpost: adds a message with headers.
    pub fn publish_with(&mut self, subject: &[u8], headers: &str, payload: &[u8]) {
        self.publish_acked(None, subject, headers, payload);
    }

    /// Outpost: adds a request with headers, which is acknowledged.
    pub fn ask_with(&mut self, subject: &[u8], headers: &str, payload: &[u8]) {
        self.publish_acked(Some(self.next_id + 1), subject, headers, payload);
    }

    fn publish_acked(&mut self, ack: Option<u64>, subject: &[u8], headers: &str, payload: &[u8]) {
        self.next_id += 1;
        let (mut number, mut ack_number) = (itoa::Buffer::new(), itoa::Buffer::new());
        let parts = [
            b"451-",
            ack.map_or("", |ack| ack_number.format(ack)).as_bytes(),
            br#"["publish",[""#,
            subject,
            br#"",""#,
            number.format(1_000_000_000 + self.next_id).as_bytes(),
            br#"",0,1,0,{"_placeholder":true,"num":0},"#,
            headers.as_bytes(),
            b"]]",
        ];
        push_frame(&mut self.frames, Opcode::Text, &parts);
        push_frame(&mut self.frames, Opcode::Binary, &[payload]);
    }

    fn text(&mut self, text: &str) {
        match self.kind {
            Kind::Outpost => push_frame(&mut self.frames, Opcode::Text, &[text.as_bytes()]),
            Kind::Nats | Kind::Coalesced => self.lines.extend_from_slice(text.as_bytes()),
        }
    }

    fn frame_lines(&mut self) {
        if !self.lines.is_empty() {
            push_frame(&mut self.frames, Opcode::Binary, &[&self.lines]);
            self.lines.clear();
        }
    }
}

/// A connection that is signed in.
pub struct Client {
    kind: Kind,
    socket: Socket,
    pub outgoing: Outgoing,
    /// NATS: protocol text that came in WebSocket messages, which may end anywhere.
    stream: Vec<u8>,
    subscriptions: u64,
}

impl Client {
    /// Connects and signs in. `early` is published as soon as the protocol lets a client publish.
    pub async fn connect(kind: Kind, address: &str, early: Option<(&[u8], &[u8])>) -> io::Result<Client> {
        let path = match kind {
            Kind::Outpost => "/conat/?EIO=4&transport=websocket",
            Kind::Nats | Kind::Coalesced => "/",
        };
        let socket = Socket::connect(address, path).await?;
        let outgoing = Outgoing { kind, frames: Vec::new(), lines: Vec::new(), next_id: 0 };
        let mut client = Client { kind, socket, outgoing, stream: Vec::new(), subscriptions: 0 };
        match kind {
            Kind::Outpost => {
                client.expect(b"0{").await?;
                client.outgoing.text("40");
                client.flush().await?;
                client.expect(b"40{").await?;
                if let Some((subject, payload)) = early {
                    client.outgoing.publish(subject, None, payload);
                    client.flush().await?;
                }
                let info = client.expect(b"42").await?;
                let ack: String = info[2..].iter().take_while(|b| b.is_ascii_digit()).map(|&b| char::from(b)).collect();
                client.outgoing.text(&format!("43{ack}[]"));
                client.flush().await?;
            }
            Kind::Nats | Kind::Coalesced => {
                client.expect(b"INFO").await?;
                client.outgoing.text(
                    "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"bench\",\"version\":\"1\",\"protocol\":1}\r\n",
                );
                if let Some((subject, payload)) = early {
                    client.outgoing.publish(subject, None, payload);
                }
                client.outgoing.text("PING\r\n");
                client.flush().await?;
                client.expect(b"PONG").await?;
            }
        }
        Ok(client)
    }

    async fn expect(&mut self, prefix: &[u8]) -> io::Result<Vec<u8>> {
        let mut payload = self.socket.next_payload().await?;
        // A NATS server may tell about itself at any time.
        while payload.starts_with(b"INFO") && prefix != b"INFO" {
            payload = self.socket.next_payload().await?;
        }
        if !payload.starts_with(prefix) {
            let (wanted, got) = (String::from_utf8_lossy(prefix), String::from_utf8_lossy(&payload));
            return Err(io::Error::other(format!("expected {wanted}…, got {got}")));
        }
        Ok(payload)
    }

    /// Subscribes and waits until the subscription is in effect.
    pub async fn subscribe(&mut self, pattern: &str) -> io::Result<()> {
        /// A queue group of one's own means that everybody gets everything.
        static QUEUES: AtomicU64 = AtomicU64::new(0);
        self.subscriptions += 1;
        let (id, queue) = (self.subscriptions, QUEUES.fetch_add(1, Ordering::Relaxed));
        match self.kind {
            Kind::Outpost => {
                self.outgoing.text(&format!(r#"42{id}["subscribe",{{"subject":"{pattern}","queue":"q{queue}"}}]"#));
                self.flush().await?;
                self.expect(format!(r#"43{id}[{{"status":"added"}}]"#).as_bytes()).await?;
            }
            Kind::Nats | Kind::Coalesced => {
                self.outgoing.text(&format!("SUB {pattern} {id}\r\nPING\r\n"));
                self.flush().await?;
                self.expect(b"PONG").await?;
            }
        }
        Ok(())
    }

    /// Sends what was added to `outgoing`.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.outgoing.frame_lines();
        if !self.outgoing.frames.is_empty() {
            self.socket.send(&self.outgoing.frames).await?;
            self.outgoing.frames.clear();
        }
        Ok(())
    }

    /// Waits for bytes and hands over every message that is complete with them.
    pub async fn read(&mut self, mut each: impl FnMut(Delivery<'_>, &mut Outgoing)) -> io::Result<()> {
        self.socket.fill().await?;
        match self.kind {
            Kind::Outpost => self.take_packets(&mut each),
            Kind::Nats | Kind::Coalesced => self.take_lines(&mut each),
        }
    }

    fn take_packets(&mut self, each: &mut impl FnMut(Delivery<'_>, &mut Outgoing)) -> io::Result<()> {
        while let Some(frame) = self.socket.peek(0)? {
            let mut end = self.socket.end_of(frame);
            let text = self.socket.payload(frame);
            if frame.opcode == Opcode::Text && text.starts_with(b"451-") {
                let Some(attachment) = self.socket.peek(end)? else { break };
                end = self.socket.end_of(attachment);
                let delivery = Delivery {
                    head: text,
                    reply: string_after(text, br#""CN-Reply":""#),
                    payload: self.socket.payload(attachment),
                };
                each(delivery, &mut self.outgoing);
            } else {
                control(frame, text, &mut self.outgoing)?;
            }
            self.socket.consume(end);
        }
        Ok(())
    }

    fn take_lines(&mut self, each: &mut impl FnMut(Delivery<'_>, &mut Outgoing)) -> io::Result<()> {
        while let Some(frame) = self.socket.peek(0)? {
            if frame.opcode == Opcode::Close {
                return Err(io::Error::other("the server closed the connection"));
            }
            self.stream.extend_from_slice(self.socket.payload(frame));
            self.socket.consume(self.socket.end_of(frame));
        }
        let mut at = 0;
        while let Some(length) = memchr(b'\n', &self.stream[at..]) {
            let line = &self.stream[at..at + length];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let mut next = at + length + 1;
            if let Some(rest) = line.strip_prefix(b"MSG ") {
                let mut words = rest.split(|&b| b == b' ');
                let (_subject, _sid) = (words.next(), words.next());
                let (reply, size) = match (words.next(), words.next()) {
                    (Some(size), None) => (None, size),
                    (reply, Some(size)) => (reply, size),
                    _ => return Err(io::Error::other("malformed MSG")),
                };
                let size = std::str::from_utf8(size).ok().and_then(|text| text.parse::<usize>().ok());
                let size = size.ok_or_else(|| io::Error::other("malformed MSG"))?;
                let Some(payload) = self.stream.get(next..next + size) else { break };
                if self.stream.len() < next + size + 2 {
                    break;
                }
                next += size + 2;
                each(Delivery { head: line, reply, payload }, &mut self.outgoing);
            } else if line == b"PING" {
                self.outgoing.text("PONG\r\n");
            } else if line.starts_with(b"-ERR") {
                return Err(io::Error::other(String::from_utf8_lossy(line).into_owned()));
            }
            at = next;
        }
        self.stream.drain(..at);
        Ok(())
    }
}

fn control(frame: Frame, text: &[u8], outgoing: &mut Outgoing) -> io::Result<()> {
    match (frame.opcode, text) {
        (Opcode::Close, _) => Err(io::Error::other("the server closed the connection")),
        (Opcode::Text, b"2") => {
            outgoing.text("3");
            Ok(())
        }
        (Opcode::Text, text) if memmem::find(text, br#""error":"#).is_some() => {
            Err(io::Error::other(String::from_utf8_lossy(text).into_owned()))
        }
        _ => Ok(()),
    }
}

/// The text between `key` and the next quote. Subjects here need no escapes.
fn string_after<'a>(text: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let start = memmem::find(text, key)? + key.len();
    Some(&text[start..start + memchr(b'"', &text[start..])?])
}
