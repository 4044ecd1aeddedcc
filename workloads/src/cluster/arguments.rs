//! The command line of a node, the same wherever it runs.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use dynamo_node::TlsFiles;
use dynamo_protocol::{NodeId, Settings, Zone};

use super::members::Origin;
use crate::plan::ClusterPlan;

/// What differs from node to node.
pub(super) struct Arguments<'a> {
    pub(super) id: NodeId,
    /// The members of the genesis.
    pub(super) founders: &'a [NodeId],
    pub(super) listen: SocketAddr,
    pub(super) data: &'a Path,
    /// Where each peer is dialled.
    pub(super) peers: Vec<(NodeId, SocketAddr)>,
    pub(super) beginning: Beginning,
    /// Its driver may falsify its world, and tells it of peers that are no members yet.
    pub(super) hooks: bool,
    /// Its certificate, if it has one.
    pub(super) tls: Option<TlsFiles>,
    /// Where the node records its steps, if it does.
    pub(super) record: Option<&'a Path>,
}

/// How a node comes to be one of the cluster's.
pub(super) enum Beginning {
    /// The cluster begins now, and empty disks are as they should be.
    Genesis,
    /// It was in the genesis.
    Member,
    /// It joins through one of these, or did.
    Joins(Vec<SocketAddr>),
    /// It replaces a directory that was lost, through one of these, or did.
    Replaces(Vec<SocketAddr>),
}

impl Beginning {
    /// Of a node that starts again, or for the first time in this way; `seeds` are asked.
    pub(super) fn again(way: Origin, seeds: Vec<SocketAddr>) -> Self {
        match way {
            Origin::Founder => Self::Member,
            Origin::Joins => Self::Joins(seeds),
            Origin::Replaces => Self::Replaces(seeds),
        }
    }

    fn command(&self) -> &'static str {
        match self {
            Self::Genesis | Self::Member => "serve",
            Self::Joins(_) => "join",
            Self::Replaces(_) => "replace",
        }
    }
}

impl Arguments<'_> {
    /// Everything after the program's name.
    pub(super) fn of(&self, plan: &ClusterPlan) -> Vec<OsString> {
        let zone = |id| Zone::in_turn(id, plan.zones);
        let members: Vec<_> = self.founders.iter().map(|id| member(*id, zone(*id))).collect();
        let command = self.beginning.command();
        let mut words: Vec<OsString> =
            ["node", command, "--exit-with-stdin"].map(Into::into).into();
        words.extend(["--data".into(), self.data.into()]);
        let mut set = |flag: &str, value: String| words.extend([flag.into(), value.into()]);
        set("--listen", self.listen.to_string());
        set("--id", self.id.0.to_string());
        match &self.beginning {
            Beginning::Genesis | Beginning::Member => set("--members", members.join(",")),
            Beginning::Joins(seeds) | Beginning::Replaces(seeds) => {
                seeds.iter().for_each(|seed| set("--seed", seed.to_string()));
                let joins = matches!(self.beginning, Beginning::Joins(_));
                if let Some(zone) = zone(self.id).filter(|_| joins) {
                    set("--zone", zone.0.to_string());
                }
            }
        }
        for (peer, address) in &self.peers {
            set("--peer", format!("{}={address}", peer.0));
        }
        for (flag, value) in [
            ("--settings", json(&plan.settings)),
            ("--tokens", plan.tokens.to_string()),
            ("--engine", plan.engine.to_string()),
            ("--durability", plan.durability.to_string()),
        ] {
            set(flag, value);
        }
        if let Some(TlsFiles { certificate, key, authority }) = &self.tls {
            for (flag, file) in
                [("--tls-certificate", certificate), ("--tls-key", key), ("--tls-ca", authority)]
            {
                set(flag, file.display().to_string());
            }
        }
        if let Some(level) = crate::log::asked() {
            set("--log", level.to_owned());
        }
        if let Some(folder) = self.record {
            words.extend(["--record".into(), folder.into()]);
        }
        words.extend(seeded_bug());
        if matches!(self.beginning, Beginning::Genesis) {
            words.push("--genesis".into());
        }
        // A test bed is a network of its own.
        if !self.listen.ip().is_loopback() {
            words.push("--plaintext".into());
        }
        if self.hooks {
            words.push("--fault-hooks".into());
        }
        words
    }
}

/// Has a node act on the seeded bug that is on in this process, if one is.
#[cfg(feature = "mutants")]
pub(crate) fn seeded_bug() -> Vec<OsString> {
    let active = dynamo_protocol::mutant::active();
    active.map_or_else(Vec::new, |mutant| vec!["--mutant".into(), mutant.name().into()])
}

/// Has a node act on the seeded bug that is on in this process: in this build none is.
#[cfg(not(feature = "mutants"))]
pub(crate) fn seeded_bug() -> Vec<OsString> {
    Vec::new()
}

/// As `dyno node serve --members` takes it.
pub(crate) fn member(id: NodeId, zone: Option<Zone>) -> String {
    zone.map_or_else(|| id.0.to_string(), |zone| format!("{}@{}", id.0, zone.0))
}

/// As `dyno node serve --settings` takes them.
pub(crate) fn json(settings: &Settings) -> String {
    serde_json::to_string(settings).expect("settings are plain data")
}
