//! Delay by the kernel, where it has netem: every packet to a peer's data address is late, whatever it
//! carries. What goes to anybody else is not touched.
//!
//! The device's queue is replaced by an HTB tree without any limit, one class a delayed peer, and netem
//! below it. Only a device with the kernel's own queue is used: one that somebody has set up stays.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use super::nft::tool;

/// The handle of our queues, by which they are known: nobody gives it by chance.
const HANDLE: &str = "d190:";
/// A pair of devices nobody has, for trying what the kernel can do to one.
const TRY: [&str; 2] = ["dyno-try", "dyno-try-peer"];
/// So many packets a peer wait at most: what a fast link carries in a second.
const LIMIT: u32 = 100_000;

/// The delay of each peer.
pub(super) type Delays = BTreeMap<IpAddr, (Duration, Duration)>;

/// The queue of the device that has the node's address.
pub(super) struct Netem {
    device: String,
    delays: Delays,
}

impl Netem {
    /// Finds the device; nothing is done to it yet.
    ///
    /// # Errors
    /// Why the kernel cannot delay what leaves by it.
    pub(super) async fn open(data: IpAddr) -> Result<Self, String> {
        can_delay().await?;
        let found = tool("ip", &["-o", "address", "show", "to", &data.to_string()]).await?;
        let device = device(&found).ok_or_else(|| format!("no device has {data}"))?.to_owned();
        let queues = tool("tc", &["qdisc", "show", "dev", &device]).await?;
        if !is_usual(&queues) {
            return Err(format!("device {device} has queues that somebody set up"));
        }
        Ok(Self { device, delays: Delays::new() })
    }

    /// From now on exactly these peers' packets are late.
    pub(super) async fn delay(&mut self, delays: Delays) -> Result<(), String> {
        if delays == self.delays {
            return Ok(());
        }
        if !self.delays.is_empty() {
            clear(&self.device).await?;
            self.delays.clear();
        }
        if !delays.is_empty() {
            let done = batch(&script(&self.device, &delays)).await;
            // Half of a tree would be worse than none.
            if done.is_err() {
                let _ = clear(&self.device).await;
            }
            done?;
        }
        self.delays = delays;
        Ok(())
    }
}

/// The kernel's own queue again.
async fn clear(device: &str) -> Result<(), String> {
    tool("tc", &["qdisc", "delete", "dev", device, "root"]).await.map(drop)
}

/// Removes what a crashed agent left; the devices on which there was something.
pub(super) async fn clear_all() -> Vec<String> {
    // A host without tc has no queues of ours.
    let queues = tool("tc", &["qdisc", "show"]).await.unwrap_or_default();
    let ours = queues.lines().filter(|line| line.starts_with(&format!("qdisc htb {HANDLE} ")));
    let devices = ours.filter_map(|line| line.split_once(" dev ")?.1.split(' ').next());
    let mut cleared = Vec::new();
    for device in devices {
        cleared.push(match clear(device).await {
            Ok(()) => format!("queue of {device}: removed"),
            Err(error) => format!("queue of {device}: not removed: {error}"),
        });
    }
    cleared
}

/// Has the kernel all that is needed? Tried, on devices of our own.
async fn can_delay() -> Result<(), String> {
    tool("ip", &["link", "add", TRY[0], "type", "veth", "peer", "name", TRY[1]]).await?;
    let nobody = IpAddr::from([192, 0, 2, 1]);
    let millisecond = Duration::from_millis(1);
    let tried = batch(&script(TRY[0], &[(nobody, (millisecond, millisecond))].into())).await;
    tool("ip", &["link", "delete", TRY[0]]).await?;
    tried
}

async fn batch(script: &str) -> Result<(), String> {
    super::nft::feed("tc", &["-batch", "-"], script).await
}

fn script(device: &str, delays: &Delays) -> String {
    let mut script = format!("qdisc add dev {device} root handle {HANDLE} htb default 0\n");
    for (index, (peer, (delay, jitter))) in (1..).zip(delays) {
        let class = format!("{HANDLE}{index:x}");
        // netem varies both ways, we only add.
        let (vary, late) = ((*jitter / 2).as_micros(), (*delay + *jitter / 2).as_micros());
        let (protocol, family) = if peer.is_ipv4() { ("ip", "ip") } else { ("ipv6", "ip6") };
        let bits = if peer.is_ipv4() { 32 } else { 128 };
        // A string in memory takes every write.
        let _ = write!(
            script,
            "class add dev {device} parent {HANDLE} classid {class} htb rate 100gbit quantum 60000\n\
             qdisc add dev {device} parent {class} netem delay {late}us {vary}us limit {LIMIT}\n\
             filter add dev {device} parent {HANDLE} protocol {protocol} prio {} u32 \
             match {family} dst {peer}/{bits} flowid {class}\n",
            if peer.is_ipv4() { 1 } else { 2 },
        );
    }
    script
}

/// The device in a line such as `3: eth0    inet 10.0.0.1/24 scope global eth0`.
fn device(addresses: &str) -> Option<&str> {
    let device = addresses.lines().next()?.split_whitespace().nth(1)?;
    device.split('@').next()
}

/// Are all queues of a device the kernel's own? They have no handle.
fn is_usual(queues: &str) -> bool {
    let handles = queues.lines().filter_map(|line| line.split(' ').nth(2));
    handles.into_iter().all(|handle| handle == "0:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_a_class_a_peer_and_leaves_others_alone() {
        let late = (Duration::from_millis(50), Duration::from_millis(20));
        let peers = ["10.0.0.2", "fe80::2"].map(|peer| (peer.parse().unwrap(), late));
        let script = script("eth0", &peers.into());
        assert_eq!(script.lines().count(), 7);
        assert!(script.starts_with("qdisc add dev eth0 root handle d190: htb default 0\n"));
        assert!(script.contains("parent d190:1 netem delay 60000us 10000us limit"), "{script}");
        assert!(script.contains("match ip dst 10.0.0.2/32 flowid d190:1"), "{script}");
        assert!(script.contains("match ip6 dst fe80::2/128 flowid d190:2"), "{script}");
    }

    #[test]
    fn queues_that_somebody_set_up_are_told_from_the_kernels_own() {
        assert!(is_usual("qdisc noqueue 0: root refcnt 2 \n"));
        assert!(is_usual("qdisc mq 0: root \nqdisc fq_codel 0: parent :1 limit 10240p\n"));
        assert!(!is_usual("qdisc htb 1: root refcnt 3 r2q 10\n"));
        let line = "3: eth0    inet 10.0.0.1/24 scope global eth0\\       valid_lft forever";
        assert_eq!(device(line), Some("eth0"));
        assert_eq!(device(""), None);
    }
}
