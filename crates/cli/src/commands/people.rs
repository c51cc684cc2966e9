//! Peers as a console shows and finds them: names in quotes, and ids by which commands mean them.

use std::fmt::Write as _;
use std::time::Duration;

use plenary::Room;
pub(crate) use plenary_body::people::{People, quoted, tidy};

/// Returns the stage and, at the host, the audience.
pub(crate) fn here(room: &Room) -> People {
    let stage = room.snapshot().stage.into_iter().map(|member| (member.peer, member.name));
    let listed = room.as_host().map(|host| host.directory()).unwrap_or_default();
    People::new(stage.chain(listed.into_iter().map(|listed| (listed.peer, listed.name))))
}

/// Returns the peers in the lobby, at the host.
pub(crate) fn waiting(room: &Room) -> People {
    let lobby = room.as_host().map(|host| host.lobby()).unwrap_or_default();
    People::new(lobby.into_iter().map(|newcomer| (newcomer.peer, newcomer.name)))
}

/// Returns everybody that this peer knows of.
pub(crate) fn all(room: &Room) -> People {
    here(room).and(waiting(room))
}

/// Returns what a newcomer does in the lobby.
pub(crate) fn waits(mixes: bool) -> &'static str {
    if mixes { "offers to mix, and waits" } else { "waits in the lobby" }
}

/// Returns the list of all peers that this one knows of: the stage and, at the host, the audience and the lobby.
pub(crate) fn who(room: &Room) -> String {
    let (snapshot, people) = (room.snapshot(), all(room));
    let mut text = String::new();
    let mut line = |peer: &plenary::PeerId, name: &str, what: &str| {
        let _ = writeln!(text, "{}  {}  {what}", people.id(peer), quoted(name));
    };
    for member in &snapshot.stage {
        let mut roles = vec![if member.speaks { "speaks" } else { "mixes if elected" }];
        roles.extend((Some(member.peer) == snapshot.host).then_some("host"));
        roles.extend((!member.named).then_some("guest"));
        roles.extend(snapshot.mixers.contains(&member.peer).then_some("mixer"));
        roles.extend(member.muted.sound.then_some("silent"));
        roles.extend(member.no_solo.then_some("no solo"));
        roles.extend(member.records.then_some("records"));
        roles.extend(member.is_agent.then_some("agent"));
        roles.extend(member.away.then_some("away"));
        line(&member.peer, &member.name, &roles.join(", "));
    }
    let recorders = (snapshot.recorders > 0).then(|| viewers_record(snapshot.recorders) + "\n");
    let recorders = recorders.unwrap_or_default();
    let Ok(host) = room.as_host() else {
        return text + &recorders + "the host alone sees the audience";
    };
    for listed in host.directory() {
        if snapshot.stage.iter().any(|member| member.peer == listed.peer) {
            continue;
        }
        let minutes = Duration::from_secs(listed.here.as_secs());
        let place = listed.parent.map_or("not fed".to_owned(), |parent| {
            format!("depth {} below {}", listed.depth, people.id(&parent))
        });
        line(
            &listed.peer,
            &listed.name,
            &format!("watches for {}, {place}", humantime::format_duration(minutes)),
        );
    }
    for newcomer in host.lobby() {
        line(&newcomer.peer, &newcomer.name, waits(newcomer.mixes));
    }
    let _ = write!(text, "{recorders}{} viewers", snapshot.viewers.unwrap_or(0));
    text
}

/// Returns in words how many viewers record.
pub(crate) fn viewers_record(count: u32) -> String {
    match count {
        0 => "no viewer records any more".to_owned(),
        1 => "1 viewer records, by its own word".to_owned(),
        count => format!("{count} viewers record, by their own word"),
    }
}

/// Returns the list of the peers that ask for the floor.
pub(crate) fn hands(room: &Room) -> Result<String, String> {
    let host = room.as_host().map_err(|error| error.to_string())?;
    let (hands, people) = (host.hands(), all(room));
    let lines = hands.iter().map(|(peer, name)| {
        let id = people.id(peer);
        format!("{id}  {}  /promote {id} or /demote {id}", quoted(name))
    });
    let lines: Vec<String> = lines.collect();
    Ok(if lines.is_empty() { "nobody asks for the floor".to_owned() } else { lines.join("\n") })
}
