//! One client: its requests and its typing, in order.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{
    FutureExt,
    future::{BoxFuture, join_all, ready},
    stream::{FuturesUnordered, StreamExt},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    error::Error,
    members::Ticket,
    peer::{Arrival, Arrivals, Link, Peer, Responder},
    registry::Registry,
    request::{Answer, Input, Notice, Request, WireSize, count, size},
    session::{Command, Ended, INPUT_PIECE_BYTES, Session},
};

/// Typing of one client that waits for its program. When there is more, the client is not read from.
const WAITING_INPUT_BYTES: usize = 4 << 20;
/// Requests of one client that are being answered. When there are more, the client is not read from.
const WAITING_ANSWERS: usize = 64;
/// How long typing of a client that has left waits for the program.
const LATE_TYPING: Duration = Duration::from_secs(10);

/// An answer that may take a while.
type Pending = BoxFuture<'static, Result<Answer, Error>>;

/// Serves one client until its socket is closed.
pub(super) async fn serve(registry: Arc<Registry>, peer: Arc<dyn Peer>, mut arrivals: Arrivals) {
    let shutdown = registry.surroundings().shutdown.clone();
    let link = Link::new(peer, &registry.surroundings().tasks);
    let mut connection = Connection { registry, link, attached: None, typing: VecDeque::new(), typing_bytes: 0 };
    let mut answers = FuturesUnordered::new();
    loop {
        let input = connection.input();
        let ready = connection.typing_bytes < WAITING_INPUT_BYTES && answers.len() < WAITING_ANSWERS;
        tokio::select! {
            () = shutdown.cancelled() => break,
            arrival = arrivals.next(), if ready => match arrival {
                None => break,
                Some(Arrival::Input(input)) => connection.take_input(input),
                Some(Arrival::Request(request, responder)) => {
                    let answer = connection.answer(request, responder).await;
                    answers.push(answer);
                }
                Some(Arrival::Noise) => {}
            },
            Some(()) = answers.next(), if !answers.is_empty() => {}
            () = pass_on(input, &mut connection.typing, &mut connection.typing_bytes) => {}
        }
    }
    connection.let_go();
}

/// Passes one piece of typing on when the program takes it. Never done without typing or without a program.
async fn pass_on(input: Option<mpsc::Sender<String>>, typing: &mut VecDeque<String>, bytes: &mut usize) {
    let (Some(input), false) = (input, typing.is_empty()) else { return std::future::pending().await };
    match input.reserve().await {
        Ok(permit) => {
            if let Some(piece) = typing.pop_front() {
                *bytes = bytes.saturating_sub(piece.len());
                permit.send(piece);
            }
        }
        Err(_ended) => {
            typing.clear();
            *bytes = 0;
        }
    }
}

struct Connection {
    registry: Arc<Registry>,
    link: Link,
    attached: Option<(Session, Ticket)>,
    /// What the client typed, in pieces.
    typing: VecDeque<String>,
    typing_bytes: usize,
}

impl Connection {
    fn session(&self) -> Option<&Session> {
        self.attached.as_ref().map(|(session, _)| session).filter(|session| !session.has_ended())
    }

    fn input(&self) -> Option<mpsc::Sender<String>> {
        if self.typing.is_empty() {
            return None;
        }
        self.attached.as_ref().map(|(session, _)| session.input().clone())
    }

    /// Leaves the session. What was typed before still counts, if the program takes it soon.
    fn let_go(&mut self) {
        let typing = std::mem::take(&mut self.typing);
        self.typing_bytes = 0;
        let Some((session, _leaves)) = self.attached.take() else { return };
        let surroundings = self.registry.surroundings();
        if typing.is_empty() || session.has_ended() || surroundings.shutdown.is_cancelled() {
            return;
        }
        surroundings.tasks.spawn(timeout(LATE_TYPING, async move {
            for piece in typing {
                if session.input().send(piece).await.is_err() {
                    return;
                }
            }
        }));
    }

    /// Data without a session, and answers of an emulator that doesn't lead, are dropped.
    fn take_input(&mut self, input: Input) {
        let Some((session, ticket)) = &self.attached else { return };
        if !session.has_ended() && session.accepts(Some(ticket.key), input.kind) {
            self.typing_bytes += input.data.len();
            self.typing.extend(pieces(&input.data).map(str::to_owned));
        }
    }

    /// Does what is wanted; what is left is to wait for the result and to send it.
    async fn answer(
        &mut self,
        request: Result<Box<Request>, Error>,
        responder: Box<dyn Responder>,
    ) -> BoxFuture<'static, ()> {
        let request = match request {
            Ok(request) => *request,
            Err(error) => return responder.respond(Err(error)),
        };
        if request.cmd == "spawn" {
            return match self.spawn(request).await {
                Ok((answer, opened)) => async move {
                    responder.respond(Ok(answer)).await;
                    opened.cancel();
                }
                .boxed(),
                Err(error) => responder.respond(Err(error)),
            };
        }
        match self.handle(request).await {
            Ok(pending) => async move { responder.respond(pending.await).await }.boxed(),
            Err(error) => responder.respond(Err(error)),
        }
    }

    async fn spawn(&mut self, request: Request) -> Result<(Answer, tokio_util::sync::CancellationToken), Error> {
        self.let_go();
        let (session, attached) = self.registry.spawn(request, self.link.clone()).await?;
        let opened = attached.ticket.opened();
        self.attached = Some((session, attached.ticket));
        let answer =
            Answer::Spawned { pid: attached.pid, history: attached.history, history_omitted: attached.omitted };
        Ok((answer, opened))
    }

    async fn handle(&mut self, request: Request) -> Result<Pending, Error> {
        let done = |answer| Ok(ready(Ok(answer)).boxed());
        match request.cmd.as_str() {
            "resize" => {
                let size = size(request.rows, request.cols)
                    .ok_or(Error::Invalid("rows and cols must be numbers from 1 to 10000"))?;
                if let Some(session) = self.session() {
                    session.tell(Command::Resize(size)).await;
                }
                done(Answer::Nothing)
            }
            "sizes" => self.sizes(&request).await,
            "history" => {
                let limit = request.limit.map_or(usize::MAX, count);
                match self.meant(&request).await? {
                    Some(session) => {
                        done(session.ask(|reply| Command::History(limit, reply)).await.unwrap_or_default().into())
                    }
                    None => done(String::new().into()),
                }
            }
            "cwd" => match self.meant(&request).await? {
                Some(session) => {
                    let directory = session.ask(Command::Directory).await.ok().flatten();
                    done(directory.map_or(Answer::Nothing, Answer::Text))
                }
                None => done(Answer::Nothing),
            },
            "state" => {
                let running = match &request.id {
                    Some(id) => self.registry.get(id).await.is_some(),
                    None => self.session().is_some(),
                };
                done(Answer::Text(if running { "running" } else { "off" }.to_owned()))
            }
            "env" => {
                let text = |text: &std::ffi::OsString| text.to_string_lossy().into_owned();
                let environment = &self.registry.surroundings().environment;
                done(Answer::Environment(environment.iter().map(|(name, value)| (text(name), text(value))).collect()))
            }
            "broadcast" => {
                let event = request.event.ok_or(Error::Invalid("event is missing"))?;
                if let Some(session) = self.session() {
                    session.tell(Command::Broadcast(Notice::Broadcast { event, payload: request.payload })).await;
                }
                done(Answer::Nothing)
            }
            "destroy" => {
                let Some(session) = self.meant(&request).await? else { return done(Answer::Nothing) };
                let (reply, ended) = oneshot::channel();
                session.tell(Command::Destroy(reply)).await;
                // An error means that it had ended already.
                Ok(ended.map(|_| Ok(Answer::Nothing)).boxed())
            }
            "write" => self.write(request).await,
            "list" => {
                let registry = self.registry.clone();
                Ok(async move { Ok(Answer::List(registry.list().await)) }.boxed())
            }
            other => Err(Error::UnknownCommand(other.chars().take(100).collect())),
        }
    }

    /// The session that a request names, or else the socket's.
    async fn meant(&self, request: &Request) -> Result<Option<Session>, Error> {
        match &request.id {
            Some(id) => self.registry.get(id).await.map(Some).ok_or(Error::NoSession),
            None => Ok(self.session().cloned()),
        }
    }

    async fn sizes(&mut self, request: &Request) -> Result<Pending, Error> {
        let wait = request.sizes_wait();
        let peers = match self.session() {
            Some(session) => session.ask(Command::Peers).await.unwrap_or_else(|Ended| Vec::new()),
            None => Vec::new(),
        };
        Ok(async move {
            let answers = join_all(peers.iter().map(|peer| peer.request(&Notice::Size, wait))).await;
            Ok(Answer::Sizes(answers.iter().flatten().filter_map(WireSize::of).collect()))
        }
        .boxed())
    }

    async fn write(&mut self, request: Request) -> Result<Pending, Error> {
        let kind = request.kind();
        let session = self.meant(&request).await?.ok_or(Error::NoSession)?;
        let input = request.input.ok_or(Error::Invalid("input is missing"))?;
        let member = self.attached.as_ref().filter(|_| request.id.is_none()).map(|(_, ticket)| ticket.key);
        if !session.accepts(member, kind) {
            return Ok(ready(Ok(Answer::Nothing)).boxed());
        }
        Ok(async move {
            for piece in pieces(&input) {
                session.input().send(piece.to_owned()).await.map_err(|_| Error::NoSession)?;
            }
            Ok(Answer::Nothing)
        }
        .boxed())
    }
}

impl From<String> for Answer {
    fn from(text: String) -> Self {
        Answer::Text(text)
    }
}

/// Pieces of a text, none longer than the program's queue takes, none with half a character.
fn pieces(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let (piece, rest) = text.split_at_checked(text.floor_char_boundary(INPUT_PIECE_BYTES))?;
        text = rest;
        Some(piece).filter(|piece| !piece.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_pieces_are_short_and_complete() {
        let text = "€".repeat(1000);
        let parts: Vec<&str> = pieces(&text).collect();
        assert_eq!(parts.concat(), text);
        assert!(parts.iter().all(|piece| piece.len() <= INPUT_PIECE_BYTES));
        assert_eq!(parts.len(), 3);
        assert_eq!(pieces("").count(), 0);
        assert_eq!(pieces("ls\r").collect::<Vec<_>>(), ["ls\r"]);
    }
}
