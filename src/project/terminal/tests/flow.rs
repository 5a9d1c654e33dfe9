use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::{Instant, advance};
use tokio_util::task::TaskTracker;

use super::{
    super::{
        Limits,
        leader::Leadership,
        members::{Event, Members},
        output::Output,
        pace::Audience,
        peer::Link,
    },
    client::*,
};

const INTERVAL: Duration = Duration::from_millis(40);

fn members() -> Members {
    Members::new(Arc::new(Mutex::new(Leadership::new(Duration::from_secs(10), Instant::now()))), INTERVAL)
}

#[tokio::test(start_paused = true)]
async fn flow_first_piece_is_immediate_and_the_rest_is_gathered() {
    let (mut members, mut output) = (members(), Output::new(1000));
    let screen = Arc::new(Screen::default());
    let ticket = members.attach(Link::new(screen.clone(), &TaskTracker::new()), 0, Instant::now());
    output.push("a");
    members.send(&output, Instant::now());
    assert!(screen.data_lengths().is_empty(), "nothing before the answer to spawn");
    ticket.opened().cancel();
    members.send(&output, Instant::now());
    assert_eq!(screen.data_lengths(), [1]);
    for _ in 0..10 {
        output.push("b");
        members.send(&output, Instant::now());
        advance(INTERVAL / 20).await;
    }
    assert_eq!(screen.data_lengths(), [1]);
    let due = members.due(&output).unwrap();
    assert_eq!(due.duration_since(Instant::now()), INTERVAL / 2);
    advance(INTERVAL / 2).await;
    members.send(&output, Instant::now());
    assert_eq!(screen.data_lengths(), [1, 10]);
    assert_eq!(members.due(&output), None);
    // After a pause at once again.
    advance(INTERVAL).await;
    output.push("c");
    assert!(members.due(&output).unwrap() <= Instant::now());
}

#[tokio::test(start_paused = true)]
async fn flow_stalled_socket_goes_on_with_the_newest() {
    let (mut members, mut output) = (members(), Output::new(1000));
    let screen = Arc::new(Screen::default());
    let ticket = members.attach(Link::new(screen.clone(), &TaskTracker::new()), 0, Instant::now());
    ticket.opened().cancel();
    assert_eq!(members.event().await, Event::Opened(ticket.key));
    assert_eq!(members.audience(), Audience::Follows);
    screen.set_stuck(true);
    let stalled = loop {
        output.push(&"x".repeat(200 << 10));
        members.send(&output, Instant::now());
        advance(INTERVAL).await;
        if let Audience::Stalled(since) = members.audience() {
            break since;
        }
    };
    assert!(stalled <= Instant::now());
    let before = screen.data_lengths().len();
    for _ in 0..20 {
        output.push(&"y".repeat(100 << 10));
        members.send(&output, Instant::now());
        advance(INTERVAL).await;
    }
    assert_eq!(screen.data_lengths().len(), before);
    assert_eq!(members.due(&output), None, "no timer for a stalled socket");
    screen.set_stuck(false);
    let event = members.event().await;
    assert_eq!(event, Event::Drained(ticket.key));
    members.handle(event, &output, Instant::now());
    members.send(&output, Instant::now());
    assert_eq!(members.audience(), Audience::Follows);
    assert_eq!(*screen.data_lengths().last().unwrap(), 64 << 10);
    assert_eq!(members.due(&output), None);
    drop(ticket);
    let event = members.event().await;
    members.handle(event, &output, Instant::now());
    assert_eq!((members.len(), members.audience()), (0, Audience::Absent));
}

#[tokio::test(start_paused = true)]
async fn flow_socket_that_only_pauses_misses_nothing() {
    let (mut members, mut output) = (members(), Output::new(1000));
    let screen = Arc::new(Screen::default());
    let ticket = members.attach(Link::new(screen.clone(), &TaskTracker::new()), 0, Instant::now());
    ticket.opened().cancel();
    let mut total = 0;
    while total < 5 << 20 {
        output.push(&"x".repeat(300 << 10));
        total += 300 << 10;
        while let Some(due) = members.due(&output) {
            tokio::time::sleep_until(due).await;
            members.send(&output, Instant::now());
        }
        while members.audience() != Audience::Follows {
            let event = members.event().await;
            members.handle(event, &output, Instant::now());
        }
    }
    while let Some(due) = members.due(&output) {
        tokio::time::sleep_until(due).await;
        members.send(&output, Instant::now());
    }
    assert_eq!(screen.data_lengths().iter().sum::<usize>(), total);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flow_long_paste_is_complete_and_disturbs_nobody() {
    let server = Server::start(Limits::default()).await;
    let (paste, other) = (server.connect(), server.connect());
    // Nothing is read before "go" comes from the other terminal.
    let script =
        "stty raw -echo; echo up; while [ ! -e go ]; do sleep 0.05; done; head -c 1000000 | cksum; echo done; sleep 60";
    paste.spawn(spawn("a", "sh", &["-c", script])).await;
    paste.until_data("up").await;
    let text: String = (0..1_000_000).map(|i| char::from(b'a' + u8::try_from(i % 23).unwrap())).collect();
    paste.type_in(&text).await;
    assert_eq!(paste.request(plain("state")).await.unwrap(), super::super::request::Answer::Text("running".into()));
    other.spawn(spawn("b", "sh", &["-i"])).await;
    other.type_in("touch go; echo other\r").await;
    other.until_data("other\r\n").await;
    paste.until_data("done").await;
    assert!(paste.data().contains(" 1000000"), "{}", paste.data());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flow_endless_output_is_bounded_and_other_terminals_stay_quick() {
    let server = Server::start(Limits::default()).await;
    let (flood, other) = (server.connect(), server.connect());
    flood.spawn(spawn("a", "sh", &["-c", "yes"])).await;
    flood.until_data("y\r\ny").await;
    flood.set_stuck(true);
    other.spawn(spawn("b", "sh", &["-i"])).await;
    let mut slowest = Duration::ZERO;
    for i in 0..20 {
        let begin = Instant::now();
        other.type_in(&format!("echo $((1000+{i}))\r")).await;
        other.until_data(&format!("{}\r\n", 1000 + i)).await;
        slowest = slowest.max(begin.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert!(*flood.screen.taken_while_stuck.lock().unwrap() <= flood.screen.capacity + (512 << 10));
    flood.set_stuck(false);
    let before = flood.data().len();
    flood.until("more", |client| client.data().len() > before).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flow_messages_are_few_and_text() {
    let server = Server::start(Limits { messages_per_second: 10, ..Limits::default() }).await;
    let client = server.connect();
    let begin = Instant::now();
    let script = "i=0; while [ $i -lt 400 ]; do printf '\\342\\202'; printf '\\254'; i=$((i+1)); done; echo; sleep 60";
    client.spawn(spawn("a", "sh", &["-c", script])).await;
    client.until_data(&("€".repeat(400) + "\r\n")).await;
    let allowed = begin.elapsed().as_millis() / 100 + 2;
    assert!(client.log().len() as u128 <= allowed + 1, "{} messages", client.log().len());
    assert_eq!(client.data(), "€".repeat(400) + "\r\n");
    server.stop().await;
}
