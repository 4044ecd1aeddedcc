//! What an agent does on its host for one run.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use futures::future::try_join_all;

use super::facts;
use super::links::Links;
use super::node::{Node, read_some};
use super::probe::Prober;
use super::proto::{Answer, Hello, NodeLife, Probe, Request, Welcome, Whose};
use super::relay::LOG;
use crate::hosts::remote::check_dir;

/// A host in the hands of one run.
pub(super) struct Host {
    run: u64,
    node: Node,
    links: Links,
    prober: Prober,
    /// Where the node listens.
    data: IpAddr,
    /// The agent's own log, and where in it this run begins.
    log: PathBuf,
    log_from: u64,
}

impl Host {
    /// Takes the host for a run: its node has a new, empty disk.
    pub(super) async fn take(hello: &Hello, folder: &Path) -> Result<Self, String> {
        let dir = match &hello.dir {
            Some(dir) => {
                check_dir(dir)?;
                // A folder of our own in it: what else is there is not ours to empty.
                dir.join("dyno")
            }
            None => folder.to_owned(),
        };
        let at = |error: io::Error, what: &str| format!("{what}: {error}");
        let prober = Prober::open(hello.data).await;
        let prober = prober
            .map_err(|error| format!("{}: {error}: is it an address of this host?", hello.data))?;
        // Last, so that no disk stays mounted of a host that is not taken.
        let node = Node::new(&dir, hello.own_disk)
            .map_err(|error| at(error, &dir.display().to_string()))?;
        let log = folder.join(LOG);
        let log_from = log.metadata().map_or(0, |meta| meta.len());
        let links = Links::new(hello.node);
        Ok(Self { run: hello.run, node, links, prober, data: hello.data, log, log_from })
    }

    pub(super) fn is_of(&self, run: u64) -> bool {
        self.run == run
    }

    pub(super) fn welcome(&self, leftovers: Vec<String>) -> Result<Answer, String> {
        let probe = self.prober.port().map_err(|error| error.to_string())?;
        let data_dir = self.node.data_dir();
        Ok(Answer::Welcome(Welcome { probe, data_dir, leftovers, log_from: self.log_from }))
    }

    pub(super) fn life(&self) -> NodeLife {
        self.node.life()
    }

    /// Does what it is told.
    pub(super) async fn handle(&mut self, request: Request) -> Result<Answer, String> {
        match request {
            Request::Hello(_) | Request::Bye => Err("not a request to a host".to_owned()),
            Request::Beat => Ok(()),
            Request::Peers(peers) => self.links.set_peers(peers),
            Request::PrepareLinks(means) => self.links.prepare(&means, self.data).await,
            Request::Start(spec) => self.node.start(spec).await,
            Request::Kill => {
                self.node.kill().await;
                Ok(())
            }
            Request::Pause => self.node.pause().await,
            Request::Resume => self.node.resume().await,
            Request::Wipe => self.node.wipe(),
            Request::Damage(damage) => return self.node.damage(damage).map(Answer::Damaged),
            Request::Shape(fault, shapes) => self.links.install(fault, shapes).await,
            Request::Unshape(fault) => self.links.heal(fault).await,
            Request::HealAll => self.links.heal_all().await,
            Request::Changed => return Ok(Answer::Changed(self.links.changed())),
            Request::Probe(probes) => return self.probe(probes).await,
            Request::Heard(nonce) => return Ok(Answer::Heard(self.prober.heard(nonce))),
            Request::Log(Whose::Node, from) => return self.node.read_log(from).map(Answer::Log),
            Request::Log(Whose::Agent, from) => {
                return read_some(&self.log, from).map(Answer::Log);
            }
            Request::Why => return Ok(Answer::Why(self.node.why())),
            Request::Facts => return Ok(Answer::Facts(facts::all(self.data).await)),
        }
        .map(|()| Answer::Done)
    }

    async fn probe(&self, probes: Vec<Probe>) -> Result<Answer, String> {
        let each = probes.iter().map(async |probe| {
            let peer = self.links.peer(probe.to)?;
            Ok(self.prober.probe(peer, probe).await)
        });
        try_join_all(each).await.map(Answer::Probed)
    }

    /// Heals everything and ends the node.
    pub(super) async fn release(&mut self) -> Result<(), String> {
        // The node first: whatever becomes of the rest, none runs on.
        self.node.kill().await;
        let released = self.node.release();
        self.links.close().await.and(released)
    }
}

/// Where an agent has what is its own.
pub(super) fn absolute(folder: &Path) -> io::Result<PathBuf> {
    folder.canonicalize()
}
