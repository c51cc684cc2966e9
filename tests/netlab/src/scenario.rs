//! The scenario file: which hosts exist, what their links are like, what happens when.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_with::DeserializeFromStr;
use toml::Table;

use crate::command::Command;
use crate::units::{Chance, Rate, Span};

/// A host's access link. `delay`, `jitter` and the losses hold for each direction by itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Link {
    pub(crate) up: Rate,
    pub(crate) down: Rate,
    /// Credit an idle line may save up, as time at its rate: the depth of the token bucket.
    pub(crate) burst: Span,
    /// Longest time a packet may wait for the line; one that would wait longer is dropped.
    pub(crate) queue: Span,
    pub(crate) delay: Span,
    /// Largest deviation of the delay, upwards and downwards; packets keep their order.
    pub(crate) jitter: Span,
    /// This share of packets is held back by `REORDER_HOLD` so that later ones overtake.
    pub(crate) reorder: Chance,
    pub(crate) loss: Chance,
    pub(crate) burst_loss: BurstLoss,
    pub(crate) block: Block,
}

impl Default for Link {
    fn default() -> Self {
        Link {
            up: Rate::Unlimited,
            down: Rate::Unlimited,
            burst: Span::default(),
            queue: "100ms".parse().expect("a valid time"),
            delay: Span::default(),
            jitter: Span::default(),
            reorder: Chance::default(),
            loss: Chance::default(),
            burst_loss: BurstLoss::default(),
            block: Block::default(),
        }
    }
}

impl Link {
    pub(crate) fn from_table(table: &Table) -> Result<Self> {
        Ok(table.clone().try_into()?)
    }
}

/// What a firewall on the link lets through in neither direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Block {
    #[default]
    Off,
    Udp,
}

/// Gilbert-Elliott loss: each packet may start or end a burst, in which all packets are lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, DeserializeFromStr)]
pub(crate) struct BurstLoss {
    pub(crate) enter: Chance,
    pub(crate) leave: Chance,
}

impl FromStr for BurstLoss {
    type Err = anyhow::Error;

    /// `1%/25%`: a burst starts at 1 % of packets and lasts 4 packets on average.
    fn from_str(text: &str) -> Result<Self> {
        if text == "off" {
            return Ok(BurstLoss::default());
        }
        let (enter, leave) =
            text.split_once('/').with_context(|| format!("{text:?}: expected ENTER%/LEAVE% or off"))?;
        Ok(BurstLoss { enter: enter.parse()?, leave: leave.parse()? })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum NatKind {
    FullCone,
    RestrictedCone,
    PortRestricted,
    Symmetric,
    /// An address of its own in the open for one host, as clouds give it: ports stay, all get in.
    OneToOne,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NatSpec {
    pub(crate) kind: NatKind,
    #[serde(default = "default_nat_timeout")]
    pub(crate) timeout: Span,
    #[serde(default)]
    pub(crate) hairpin: bool,
}

fn default_nat_timeout() -> Span {
    "60s".parse().expect("a valid time")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    defaults: Table,
    #[serde(default)]
    nats: BTreeMap<String, NatSpec>,
    hosts: BTreeMap<String, HostEntry>,
    #[serde(default)]
    schedule: Vec<Step>,
}

#[derive(Deserialize)]
struct HostEntry {
    /// Makes hosts `name1` to `nameN` instead of one `name`.
    count: Option<usize>,
    nat: Option<String>,
    #[serde(flatten)]
    link: Table,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    pub(crate) at: Span,
    /// A command, as it would follow `netlab`.
    pub(crate) run: String,
}

/// A scenario with names resolved and addresses given out.
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) nats: Vec<NatPlan>,
    /// The NATs that have a name.
    pub(crate) nat_names: BTreeMap<String, usize>,
    pub(crate) hosts: Vec<HostPlan>,
    pub(crate) addresses: Addresses,
    /// In order of time.
    pub(crate) schedule: VecDeque<Step>,
}

/// Gives out addresses, each of them once.
#[derive(Default)]
pub(crate) struct Addresses {
    public: u32,
    /// Addresses given out behind each NAT.
    behind: BTreeMap<usize, u32>,
}

impl Addresses {
    pub(crate) fn public(&mut self) -> Ipv4Addr {
        self.public += 1;
        Ipv4Addr::from_bits(PUBLIC_BASE + self.public)
    }

    /// The address of one more host behind a NAT or in the open, and the length of its prefix.
    pub(crate) fn host(&mut self, nat: Option<usize>) -> Result<(Ipv4Addr, u8)> {
        let Some(nat) = nat else { return Ok((self.public(), PUBLIC_PREFIX_LENGTH)) };
        let before = self.behind.entry(nat).or_default();
        ensure!(*before < HOSTS_PER_NAT, "too many hosts behind one NAT");
        let bits = PRIVATE_BASE + ((nat as u32) << 8) + 2 + *before;
        *before += 1;
        Ok((Ipv4Addr::from_bits(bits), PRIVATE_PREFIX_LENGTH))
    }
}

pub(crate) struct NatPlan {
    pub(crate) spec: NatSpec,
    pub(crate) public: Ipv4Addr,
}

pub(crate) struct HostPlan {
    pub(crate) name: String,
    pub(crate) nat: Option<usize>,
    pub(crate) address: Ipv4Addr,
    pub(crate) prefix_length: u8,
    /// Kept as text so that a later change can be laid over it.
    pub(crate) link: Table,
}

/// The internet of the lab is the range for benchmarks of RFC 2544: nobody's own, and not private.
const PUBLIC_BASE: u32 = Ipv4Addr::new(198, 18, 0, 0).to_bits();
const PUBLIC_PREFIX_LENGTH: u8 = 15;
/// The n-th NAT has the private subnet 10.x.y.0/24 with x.y = n.
const PRIVATE_BASE: u32 = Ipv4Addr::new(10, 0, 0, 0).to_bits();
const PRIVATE_PREFIX_LENGTH: u8 = 24;
const HOSTS_PER_NAT: u32 = 250;

impl Scenario {
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let file: File = toml::from_str(text)?;
        let mut addresses = Addresses::default();

        let mut nats = Vec::new();
        let mut nat_names = BTreeMap::new();
        for (name, spec) in file.nats {
            nat_names.insert(name, nats.len());
            nats.push(NatPlan { spec, public: addresses.public() });
        }

        let mut hosts: Vec<HostPlan> = Vec::new();
        for (group, entry) in file.hosts {
            let names = match entry.count {
                Some(count) => (1..=count).map(|n| format!("{group}{n}")).collect(),
                None => vec![group],
            };
            let mut link = file.defaults.clone();
            link.extend(entry.link);
            for name in names {
                let nat = match entry.nat.as_deref() {
                    None | Some("none") => None,
                    Some(nat) => Some(match nat_names.get(nat) {
                        Some(&shared) => shared,
                        None => {
                            let spec = own_nat(nat).with_context(|| format!("host {name}"))?;
                            nats.push(NatPlan { spec, public: addresses.public() });
                            nats.len() - 1
                        }
                    }),
                };
                let (address, prefix_length) = addresses.host(nat)?;
                check_host(&name, &link)?;
                ensure!(hosts.iter().all(|host| host.name != name), "two hosts called {name}");
                hosts.push(HostPlan { name, nat, address, prefix_length, link: link.clone() });
            }
        }

        for (id, nat) in nats.iter().enumerate() {
            let behind = hosts.iter().filter(|host| host.nat == Some(id)).count();
            let is_one_to_one = nat.spec.kind == NatKind::OneToOne;
            ensure!(!is_one_to_one || behind <= 1, "one-to-one NAT for {behind} hosts");
        }

        let mut schedule = file.schedule;
        schedule.sort_by_key(|step| step.at.nanos());
        for step in &schedule {
            Command::from_str(&step.run).with_context(|| format!("in step {:?}", step.run))?;
        }
        Ok(Scenario { seed: file.seed, nats, nat_names, hosts, addresses, schedule: schedule.into() })
    }
}

/// A host may name a kind of NAT instead of a shared NAT, and then has one for itself.
pub(crate) fn own_nat(kind: &str) -> Result<NatSpec> {
    let kind = NatKind::deserialize(toml::Value::from(kind))
        .with_context(|| format!("{kind:?} is neither in [nats] nor a kind of NAT"))?;
    Ok(NatSpec { kind, timeout: default_nat_timeout(), hairpin: false })
}

fn check_host(name: &str, link: &Table) -> Result<()> {
    // The name becomes part of an environment variable and of a namespace's file name.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.len() > 32 || !name.chars().all(is_plain) {
        bail!("host name {name:?}: use 1 to 32 letters, digits or underscores");
    }
    Link::from_table(link).with_context(|| format!("host {name}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_scenarios_are_valid() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        for entry in folder.read_dir().unwrap() {
            Scenario::load(&entry.unwrap().path()).unwrap();
        }
    }

    #[test]
    fn gives_addresses_on_the_right_side_of_the_nat() {
        let scenario = Scenario::parse(
            "[nats.flat]\nkind = 'symmetric'\n\
             [hosts.a]\nnat = 'flat'\n[hosts.b]\nnat = 'flat'\n[hosts.c]\ncount = 2",
        )
        .unwrap();
        let addresses: Vec<_> = scenario.hosts.iter().map(|host| host.address.to_string()).collect();
        assert_eq!(addresses, ["10.0.0.2", "10.0.0.3", "198.18.0.2", "198.18.0.3"]);
    }

    #[test]
    fn refuses_unknown_keys_and_names() {
        for text in [
            "[hosts.a]\nspeed = '1mbit'",
            "[hosts.a]\nnat = 'conical'",
            "[nats.n]\nkind = 'one-to-one'\n[hosts.a]\ncount = 2\nnat = 'n'",
            "[hosts.a]\nblock = 'tcp'",
            "[hosts.a-b]",
            "[hosts.a]\n[[schedule]]\nat = '1s'\nrun = 'explode a'",
        ] {
            assert!(Scenario::parse(text).is_err(), "{text}");
        }
    }
}
