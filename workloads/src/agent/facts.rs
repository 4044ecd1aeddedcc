//! What can be done on this host: tried, not guessed, and nothing of the host's touched.

use super::nft;
use super::proto::Fact;
use super::redirect;

/// A device nobody has, for trying what the kernel can do to one.
const DEVICE: &str = "dyno-try";

const OTHER_END: &str = "dyno-try-peer";

/// Everything there is to know, in the order of the table of faults.
pub(super) async fn all() -> Vec<Fact> {
    let signals = |name: &str, how: &str| fact(name, Ok(how.to_owned()));
    let (aside, cuts, netem) = tokio::join!(redirect::can_redirect(), cuts(), netem());
    let aside = aside.map(|()| "redirecting proxy".to_owned());
    let mut facts = vec![
        signals("kill", "SIGKILL"),
        signals("pause", "SIGSTOP"),
        signals("wipe", "its disk is emptied"),
        fact("partition", cuts.map(|()| "nftables, a table of our own".to_owned())),
    ];
    for name in ["delay", "rate", "reset"] {
        facts.push(fact(name, aside.clone()));
    }
    for name in ["loss", "duplicate", "reorder"] {
        // What the kernel could do and dyno does not do yet is not available either.
        let why = match &netem {
            Ok(_) => "the kernel has netem, dyno does not use it yet".to_owned(),
            Err(error) => format!("needs netem: {error}"),
        };
        facts.push(fact(name, Err(why)));
    }
    facts
}

fn fact(name: &str, tried: Result<String, String>) -> Fact {
    let can = tried.is_ok();
    Fact { name: name.to_owned(), can, how: tried.unwrap_or_else(|error| error) }
}

/// A rule that drops what nobody sends: from an address kept for examples (RFC 5737).
async fn cuts() -> Result<(), String> {
    let nobody = [std::net::IpAddr::from([192, 0, 2, 1])].into();
    nft::run(&nft::cut(&nobody)).await?;
    nft::run(&nft::replace(nft::CUTS)).await
}

async fn netem() -> Result<(), String> {
    // A pair, as there is no kernel with namespaces but without them.
    tool("ip", &["link", "add", DEVICE, "type", "veth", "peer", "name", OTHER_END]).await?;
    let tried = ["qdisc", "add", "dev", DEVICE, "root", "netem", "delay", "1ms"];
    let tried = tool("tc", &tried).await;
    tool("ip", &["link", "delete", DEVICE]).await?;
    tried
}

async fn tool(program: &str, args: &[&str]) -> Result<(), String> {
    let done = nft::command(program).args(args).output().await;
    let done = done.map_err(|error| format!("{program}: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    Err(format!("{program}: {}", said.lines().next().unwrap_or("failed")))
}
