//! A candidate whose processor is taken after it has joined loses the next vote for it: the benchmark that it repeats
//! once a minute enters its claim.

use std::io;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::running::{Running, wait_until};
use plenary::{HostOptions, Options, Room};
use plenary_media::source::TestSource;
use plenary_proto::Tally;
use plenary_proto::message::{Consent, ProgramFormat};

/// The processor of the busy candidate, and the one of all others.
const BUSY_CORE: &str = "0";
const CALM_CORE: &str = "1";
/// Programs that take the busy candidate's processor.
const BUSY_LOOPS: usize = 4;
/// Factor by which the busy candidate's codecs must have become slower in claims: a fair scheduler leaves it a fifth of
/// its core.
const SLOWER: u32 = 2;
/// Time after which an idle candidate has repeated its benchmark: once a minute, three parts with pauses in between.
const BENCH_S: u64 = 75;

/// Busy loop on one processor, killed when dropped.
struct BusyLoop(Child);

impl BusyLoop {
    fn start() -> BusyLoop {
        // a limit of its own, should this process be killed
        let endless = "while :; do :; done";
        let args = ["-c", BUSY_CORE, "timeout", "300", "bash", "-c", endless];
        BusyLoop(Command::new("taskset").args(args).stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for BusyLoop {
    fn drop(&mut self) {
        // SAFETY: the child was not waited for yet, so the id is still its own; `timeout` passes the signal on
        unsafe { libc::kill(self.0.id() as libc::pid_t, libc::SIGTERM) };
        let _ = self.0.wait();
    }
}

/// Moves all threads of a process to one processor.
fn pin(process: u32, core: &str) -> io::Result<()> {
    let pinned = Command::new("taskset").args(["-a", "-c", "-p", core]).arg(process.to_string()).output()?;
    assert!(pinned.status.success(), "{}", String::from_utf8_lossy(&pinned.stderr));
    Ok(())
}

#[test]
#[ignore = "a minute and a half of real time: ./run nightly rooms"]
fn a_candidate_whose_processor_is_taken_loses_the_next_vote() {
    pin(std::process::id(), CALM_CORE).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        // half a frame interval of this program is 33 ms: what a mixer may take for a picture
        let program = ProgramFormat { width: 1280, height: 720, fps: 15, bitrate_bps: 1_000_000 };
        let host = HostOptions::default().program(program).mixers(1);
        let options = Options::speaker("ada").mix(Consent::Never);
        let room = Room::host(options, host).await.unwrap();
        room.publish(Box::new(TestSource::new(0, 320, 180, 15))).await.unwrap().detach();
        let invite = room.invite().unwrap().to_string();
        let candidates: Vec<_> = (0..3).map(|_| Running::start(&["mixer", &invite])).collect();
        wait_until("standby of three candidates", || {
            let now = room.snapshot();
            now.stage.len() == 4 && now.mixers.len() == 1 && now.standbys.len() == 1 && now.scores.len() == 3
        });
        let opening = room.snapshot();
        let (mixer, standby) = (opening.mixers[0], opening.standbys[0]);
        let third =
            opening.scores.iter().map(|tally| tally.peer).find(|peer| *peer != mixer && *peer != standby);
        let third = third.unwrap();

        let said = format!("in the room as {standby:?}");
        let busy = candidates.iter().find(|candidate| candidate.stderr.so_far().contains(&said)).unwrap();
        pin(busy.id(), BUSY_CORE).unwrap();
        let _loops: Vec<_> = (0..BUSY_LOOPS).map(|_| BusyLoop::start()).collect();
        tokio::time::sleep(Duration::from_secs(BENCH_S)).await;

        room.as_host().unwrap().set_mixers(2).await.unwrap();
        wait_until("second mixer", || room.snapshot().mixers.len() == 2);
        let after = room.snapshot();
        let encode_us = |peer| {
            let of = |tally: &&Tally| tally.peer == peer;
            let at = |scores: &[Tally]| scores.iter().find(of).and_then(|tally| tally.encode_us);
            (at(&opening.scores), at(&after.scores))
        };
        let seen = format!("busy {:?}, idle {:?}", encode_us(standby), encode_us(third));
        assert!(after.mixers.contains(&mixer), "the sitting mixer stays: {seen}");
        assert!(after.mixers.contains(&third), "the idle candidate wins against the busy one: {seen}");
        let (Some(before_us), Some(after_us)) = encode_us(standby) else { panic!("{seen}") };
        assert!(after_us > SLOWER * before_us, "{seen}");
        room.close().await;
    });
}
