//! The commands which change a running lab. One text form serves the command line, the control
//! socket and the schedule of a scenario.

use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use toml::Table;

use crate::units::Span;

#[derive(Debug)]
pub(crate) enum Command {
    Set {
        hosts: Pattern,
        change: Table,
    },
    /// Without a peer: unplug the hosts. With one: break only the path between the two.
    Cut {
        hosts: Pattern,
        peers: Option<Pattern>,
    },
    Heal {
        hosts: Pattern,
        peers: Option<Pattern>,
    },
    /// Kill all programs in these hosts, and unplug the hosts, as if their machines had crashed.
    Kill {
        hosts: Pattern,
    },
    /// Stop all programs in these hosts for a time, as if their machines were suspended.
    Stall {
        hosts: Pattern,
        last: Span,
    },
    /// Move these hosts to another network and give them new addresses. `nat` names a NAT of the scenario, a kind of
    /// NAT, or `none`; by default the new NAT has the kind of the old one.
    Move {
        hosts: Pattern,
        nat: Option<String>,
    },
    /// Tell the addresses of these hosts.
    Where {
        hosts: Pattern,
    },
    Stats,
}

impl FromStr for Command {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut words = text.split_whitespace();
        let verb = words.next().context("empty command")?;
        if verb == "stats" {
            return Ok(Command::Stats);
        }
        let hosts = words.next().map(Pattern::new).context("which host?")?;
        if verb == "set" {
            let mut change = Table::new();
            for word in words {
                let (key, value) =
                    word.split_once('=').with_context(|| format!("{word:?} is not KEY=VALUE"))?;
                change.insert(key.to_owned(), value.into());
            }
            return Ok(Command::Set { hosts, change });
        }
        let word = words.next();
        ensure!(words.next().is_none(), "too many words in {text:?}");
        let peers = word.map(Pattern::new);
        match verb {
            "kill" | "where" => {
                ensure!(word.is_none(), "too many words in {text:?}");
                Ok(if verb == "kill" { Command::Kill { hosts } } else { Command::Where { hosts } })
            }
            "stall" => Ok(Command::Stall { hosts, last: word.context("for how long?")?.parse()? }),
            "move" => Ok(Command::Move { hosts, nat: word.map(str::to_owned) }),
            "cut" => Ok(Command::Cut { hosts, peers }),
            "heal" => Ok(Command::Heal { hosts, peers }),
            _ => bail!("unknown command {verb:?}: use set, cut, heal, kill, stall, move, where or stats"),
        }
    }
}

/// A host's name, or the beginning of several hosts' names and `*`.
#[derive(Debug)]
pub(crate) struct Pattern(String);

impl Pattern {
    fn new(text: &str) -> Self {
        Pattern(text.to_owned())
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == self.0,
        }
    }
}
