//! Lines that run beside each other, in real rooms on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use plenary::{Consent, HostOptions, Options};

use super::*;

/// Limit on hanging, also on a machine that is busy with other work.
const PATIENCE: Duration = Duration::from_secs(60);

async fn host() -> Room {
    let options = Options::viewer("Ada").mix(Consent::Never);
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Room::host(options, HostOptions::default().listen(Some(listen))).await.unwrap()
}

/// Gives a console these lines; returns the answers in the order in which they came, with their times.
async fn answers(room: &Room, lines: &[&str]) -> Vec<(String, Duration)> {
    let (say, given) = mpsc::channel(lines.len());
    for line in lines {
        say.send((*line).to_owned()).await.unwrap();
    }
    drop(say);
    let (told, begun) = (parking_lot::Mutex::new(Vec::new()), Instant::now());
    let console = Console { room: room.clone(), files: Files::default(), settings: Mutex::new(()) };
    let tell = |answer: &str| told.lock().push((answer.to_owned(), begun.elapsed()));
    tokio::time::timeout(PATIENCE, carry_out_all(&console, given, tell)).await.unwrap();
    told.into_inner()
}

#[test]
fn of_a_line_that_is_too_long_no_part_is_a_command() {
    let lines = format!("/who\n{}/end\n/hands\n{}", "x".repeat(LINE_LEN_MAX as usize), "y".repeat(5_000));
    let mut read = Vec::new();
    read_lines(lines.as_bytes(), |line| {
        read.push(line);
        true
    });
    assert_eq!(read, ["/who\n", "/hands\n"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_waits_for_the_answer_of_no_other() {
    let ada = host().await;
    let zoe = Options::viewer("Zoe").mix(Consent::Never);
    let zoe = Room::join(ada.invite().unwrap(), zoe).await.unwrap();
    let told = answers(&ada, &["/promote Zoe", "/remove Ada", "/who", "/remove Zoe", "/who"]).await;
    let time = |part: &str| {
        let found = told.iter().find(|(answer, _)| answer.contains(part));
        found.unwrap_or_else(|| panic!("no {part:?} in {told:#?}")).1
    };
    time("Zoe is offered the floor, and has to accept");
    time("can't do this to itself");
    let unanswered = time("has not accepted the floor for 10 s");
    // far less than the ten seconds of the offer, and enough for a busy machine
    assert!(time("Zoe is removed") < unanswered - Duration::from_secs(5), "{told:#?}");
    assert!(time("\"Zoe\"  watches") < unanswered - Duration::from_secs(5), "{told:#?}");
    zoe.close().await;
    ada.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_changed_in_the_order_of_their_lines() {
    let ada = host().await;
    let lines = ["/lock", "/unlock", "/lobby on", "/lobby off", "/mixers 3", "/mixers 0"];
    let told = answers(&ada, &lines).await;
    let told: Vec<_> = told.iter().map(|(answer, _)| &**answer).collect();
    let expected = [
        "locked: nobody new is admitted",
        "unlocked",
        "newcomers wait in the lobby",
        "newcomers come in at once",
        "3 mixers",
        "as many mixers as needed",
    ];
    assert_eq!(told, expected);
    ada.close().await;
}
