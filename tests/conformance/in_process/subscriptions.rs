//! Subscriptions and refusals: items 118–120.

use outpost::bus::{Code, Error, PublishOptions, SubscribeOptions};
use tokio::time::Instant;

use crate::harness::{Bus, ms, soon, until};

#[tokio::test(start_paused = true)]
async fn wire_118_what_was_refused_is_not_tried_for_a_minute() {
    let bus = Bus::start();
    let client = bus.client().await;
    let publish = || client.publish("secret.x", &1, PublishOptions::default());
    let error = publish().await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }) && error.is_code(403), "{error:?}");
    assert!(error.to_string().contains("permission denied"), "{error}");
    until("the event", || matches!(client.publish_sync("secret.x", &1, None), Err(Error::Denied(_)))).await;
    let (refused, asked) = (Instant::now(), bus.refused());
    let error = publish().await.unwrap_err();
    assert!(matches!(error, Error::Denied(_)), "{error:?}");
    assert_eq!(error.code(), Some(Code::Number(403)));
    // Others are not concerned.
    client.publish("public.x", &1, PublishOptions::default()).await.unwrap();
    let error = client.publish("secret.y", &1, PublishOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    tokio::time::sleep_until(refused + ms(59_000)).await;
    assert!(matches!(publish().await.unwrap_err(), Error::Denied(_)));
    // Only the other subject has got as far as the server.
    assert_eq!(bus.refused(), asked + 1);
    tokio::time::sleep_until(refused + ms(60_100)).await;
    let error = publish().await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    assert_eq!(bus.refused(), asked + 2);
}

#[tokio::test(start_paused = true)]
async fn wire_118_a_refused_publish_without_acknowledgement_is_remembered() {
    let bus = Bus::start();
    let client = bus.client().await;
    // Whether a client in process hears of it at once or by the event is its own affair.
    let _ = client.publish_sync("secret.x", &1, None);
    until("the event", || matches!(client.publish_sync("secret.x", &1, None), Err(Error::Denied(_)))).await;
    let error = client.publish("secret.x", &1, PublishOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::Denied(_)) && error.is_code(403), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn wire_119_two_subscriptions_share_one_on_the_wire() {
    let bus = Bus::start();
    let (client, mut raw) = (bus.client().await, bus.raw());
    let before = bus.subscriptions();
    let mut one = client.subscribe("s.*").await.unwrap();
    let mut two = client.subscribe("s.*").await.unwrap();
    assert_eq!(bus.subscriptions(), before + 1);
    assert_eq!(bus.log.subscribed().iter().filter(|p| *p == "s.*").count(), 1);
    assert_eq!(raw.publish("s.a", "both", None), 1);
    for reader in [&mut one, &mut two] {
        let message = soon(reader.recv()).await.unwrap();
        assert_eq!((message.subject(), message.decode::<String>().unwrap().as_str()), ("s.a", "both"));
        assert!(reader.try_recv().unwrap().is_none());
    }
    drop(one);
    assert_eq!(raw.publish("s.b", "the other", None), 1);
    assert_eq!(soon(two.recv()).await.unwrap().decode::<String>().unwrap(), "the other");
    assert_eq!(bus.subscriptions(), before + 1);
    drop(two);
    until("the end of the subscription", || bus.subscriptions() == before).await;
    assert_eq!(raw.publish("s.c", "nobody", None), 0);
    // The pattern can be had again.
    let mut again = client.subscribe("s.*").await.unwrap();
    assert_eq!(raw.publish("s.d", "again", None), 1);
    assert_eq!(soon(again.recv()).await.unwrap().decode::<String>().unwrap(), "again");
}

#[tokio::test(start_paused = true)]
async fn wire_120_a_pattern_has_one_queue_per_client() {
    let bus = Bus::start();
    let (client, mut raw) = (bus.client().await, bus.raw());
    let mut one = client.subscribe_with("s", SubscribeOptions::queue("a")).await.unwrap();
    let asked = bus.log.subscribed().len();
    let error = client.subscribe_with("s", SubscribeOptions::queue("b")).await.unwrap_err();
    assert!(matches!(&error, Error::OtherQueue { pattern, queue } if pattern == "s" && queue == "a"), "{error:?}");
    let mut two = client.subscribe_with("s", SubscribeOptions::queue("a")).await.unwrap();
    let mut three = client.subscribe("s").await.unwrap();
    assert_eq!(bus.log.subscribed().len(), asked, "the server was asked");
    assert_eq!(raw.publish("s", "x", None), 1);
    for reader in [&mut one, &mut two, &mut three] {
        assert_eq!(soon(reader.recv()).await.unwrap().decode::<String>().unwrap(), "x");
    }
    drop((one, two, three));
    // Nothing is left of the queue.
    let _other = soon(client.subscribe_with("s", SubscribeOptions::queue("b"))).await.unwrap();
}
