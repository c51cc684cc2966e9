//! Bit rates of the peers on the program's way.

use std::time::Duration;

use plenary::{Options, Room};

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_gets_the_rates_of_both_peers_above_it_only_when_it_asks() {
    let ada = Room::host(quick(Options::speaker("Ada")), small().k1(1)).await.unwrap();
    let mut application = Application::new(ada.publish_encoded().await.unwrap(), ada.clock());
    let ben = join(&ada, quick(Options::viewer("Ben"))).await;
    application.push_during(until(&ben, "the program", |ben| ben.parent.is_some())).await;
    let cem = join(&ada, quick(Options::viewer("Cem"))).await;
    application.push_during(until(&cem, "a place below Ben", |cem| cem.parent == Some(ben.me()))).await;
    assert_eq!(cem.snapshot().rates_above, []);
    let all = async {
        loop {
            cem.ask_rates().await.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
            let rates = cem.snapshot().rates_above;
            if rates.len() == 2 && rates.iter().all(|of| of.sent_bps > 0 && of.received_bps > 0) {
                return rates;
            }
        }
    };
    let rates = application.push_during(within("the rates of both", all)).await;
    let seen: Vec<_> = rates.iter().map(|of| (of.peer, of.children)).collect();
    assert_eq!(seen, [(ada.me().short(), 1), (ben.me().short(), 1)]);
    for room in [cem, ben, ada] {
        room.close().await;
    }
}
