//! What can be done on this host: tried, not guessed, and nothing of the host's touched.

use std::net::IpAddr;

use tokio::task::spawn_blocking;

use super::netem::Netem;
use super::nft;
use super::proto::{Fact, Means};
use super::redirect;
use crate::hosts::image;
use crate::nemesis::faults::kind::Needs;
use crate::plan::FaultName;

/// Everything there is to know, in the order of the table of faults. `data` is where the node listens.
pub(super) async fn all(data: IpAddr) -> Vec<Fact> {
    let (aside, cuts, netem) = tokio::join!(redirect::can_redirect(), cuts(), Netem::open(data));
    let aside = aside.map(|()| "redirecting proxy".to_owned());
    let netem = netem.map(|_| "netem".to_owned());
    let cuts = cuts.map(|()| "nftables, a table of our own".to_owned());
    let means = |means| match means {
        Means::Rules => cuts.clone(),
        Means::Queues => netem.clone().or_else(|_| aside.clone()),
        Means::Proxy => aside.clone(),
    };
    let tried = |fault: &FaultName| match fault.nature().needs {
        Needs::Node(how) | Needs::Hooks(how) => Ok(how.to_owned()),
        Needs::Links(of) => means(of),
    };
    let faults = FaultName::ALL.iter().map(|fault| fact(fault.as_str(), tried(fault)));
    faults.chain([fact("own_disks", own_disks().await)]).collect()
}

/// What `cluster.own_disks` takes.
async fn own_disks() -> Result<String, String> {
    let lacks = spawn_blocking(image::lacks).await.map_err(|error| error.to_string())?;
    lacks.map_or_else(|| Ok("ext4 on an image, mounted for the node alone".to_owned()), Err)
}

fn fact(name: &str, tried: Result<String, String>) -> Fact {
    let can = tried.is_ok();
    Fact { name: name.to_owned(), can, how: tried.unwrap_or_else(|error| error) }
}

/// A rule that drops what nobody sends: from an address kept for examples (RFC 5737).
async fn cuts() -> Result<(), String> {
    let nobody = [IpAddr::from([192, 0, 2, 1])].into();
    nft::run(&nft::cut(&nobody)).await?;
    nft::run(&nft::replace(nft::CUTS)).await
}
