//! A client that knows the ring, and asks a home of each key: no node forwards for it (paper, section 6.4).

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use dynamo_protocol::{Epoch, Key, NodeId, View};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

use super::{Admin, Client, ClientError, Got, Written};
use crate::chance;
use crate::tls::Tls;
use crate::wire::{name_context, named_context};

/// How old a ring may become: the paper's.
const REFRESH: Duration = Duration::from_secs(10);
/// How many nodes are asked, one after the other, if the first ones surely did nothing.
const TRIES: usize = 3;

/// How long a get waits for its node before another is asked as well, if nothing is known of the node.
const HEDGE: Duration = Duration::from_millis(20);
/// Else so many times what its answers took lately, within bounds: what is shorter is chance, and what is
/// longer its caller would notice.
const HEDGE_FACTOR: u32 = 4;
const HEDGE_BOUNDS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));
/// One more node is asked for every so many requests at most, and for so many at once: asking twice is no
/// way to deal with a cluster that has too much to do.
const MORE_ONE_IN: u32 = 10;
const MORE_AT_ONCE: u32 = 10;

/// A client of a whole cluster. Cheap to clone; all clones share what they know and their sessions, one for
/// each node.
///
/// It learns the ring from any of its seeds when it is first used, again every ten seconds, and at once when
/// a node answers under a later epoch.
///
/// A get is asked of the home that answers soonest lately, and of another one as well if that takes long. Its
/// context names the node that answered, and the put that is made of it goes there first: it has what was
/// read (paper, section 5). Where a request was surely not applied the key's next home is asked; gets are
/// asked again in any case, puts and deletes that may have been applied are not: each would be another
/// version.
///
/// ```no_run
/// use dynamo_node::{ClientError, ClusterClient};
///
/// # async fn example() -> Result<(), ClientError> {
/// let client = ClusterClient::new(["10.0.0.1:4000", "10.0.0.2:4000"]);
/// let read = client.get("cart").await?;
/// let merged = read.values.concat();
/// let kept = client.put("cart", read.context, [&merged[..], b"bread "].concat()).await;
/// let said = match &kept {
///     Ok(written) => format!("kept; get it before it is overwritten: {}", written.context.is_none()),
///     Err(ClientError::Overloaded { retry_after, .. }) => format!("again in {retry_after:?}"),
///     Err(ClientError::Refused(why)) => format!("not applied: {why}"),
///     Err(ClientError::Indeterminate(why)) => format!("read to find out: {why}"),
/// };
/// # let _ = said;
/// # kept.map(drop)
/// # }
/// ```
///
/// Needs a tokio runtime.
#[derive(Clone, Debug)]
pub struct ClusterClient {
    shared: Arc<Shared>,
    deadline: Duration,
}

#[derive(Debug)]
struct Shared {
    seeds: Vec<String>,
    tls: Option<Arc<Tls>>,
    ring: RwLock<Option<Arc<Known>>>,
    refreshes: AtomicBool,
    /// By address.
    clients: Mutex<HashMap<String, Member>>,
    more: More,
}

/// A node that is asked.
#[derive(Clone, Debug)]
struct Member {
    client: Client,
    pace: Arc<Pace>,
}

/// What answers of a node took lately, in microseconds; 0 if it has not answered.
#[derive(Debug, Default)]
struct Pace(AtomicU64);

/// How many more nodes may be asked than there are requests, in parts of one.
#[derive(Debug)]
struct More(AtomicU32);

/// The ring, as a member told it.
#[derive(Debug)]
struct Known {
    view: View,
    addresses: BTreeMap<NodeId, String>,
    read: Instant,
}

impl ClusterClient {
    /// A client of the cluster whose members are at `seeds`, `host:port` each: one that answers is enough.
    #[must_use]
    pub fn new(seeds: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::over(seeds.into_iter().map(Into::into).collect(), None)
    }

    /// The same over TLS.
    #[must_use]
    pub fn over_tls(seeds: impl IntoIterator<Item = impl Into<String>>, tls: Arc<Tls>) -> Self {
        Self::over(seeds.into_iter().map(Into::into).collect(), Some(tls))
    }

    fn over(seeds: Vec<String>, tls: Option<Arc<Tls>>) -> Self {
        let shared = Shared {
            seeds,
            tls,
            ring: RwLock::new(None),
            refreshes: AtomicBool::new(false),
            clients: Mutex::default(),
            more: More(AtomicU32::new(MORE_AT_ONCE * MORE_ONE_IN)),
        };
        Self { shared: Arc::new(shared), deadline: Duration::from_secs(2) }
    }

    /// The same client with another deadline for each node that it asks.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// All versions of a key, and their context: as [`Client::get`].
    ///
    /// # Errors
    /// What the last node said, if none of those that were asked has answered.
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<Got, ClientError> {
        let (key, ring) = (key.into(), self.ring().await?);
        let mut members = self.readers(&ring, &key).into_iter();
        let mut asked = FuturesUnordered::new();
        let mut last = unknown();
        self.shared.more.earn();
        let (mut may_hedge, mut patience) = (true, HEDGE);
        loop {
            if asked.is_empty() {
                let Some(reader) = members.next() else { break };
                patience = reader.1.pace.patience();
                asked.push(self.read(&ring, &key, reader));
            }
            tokio::select! {
                biased;
                Some((node, answer)) = asked.next() => match answer {
                    Ok(got) => {
                        let context = name_context(&got.context, node);
                        return Ok(Got { context, ..got });
                    }
                    Err(error @ ClientError::Overloaded { .. }) if !self.shared.more.take() => {
                        return Err(error);
                    }
                    Err(error) => last = error,
                },
                () = tokio::time::sleep(patience), if may_hedge && members.len() > 0 => {
                    may_hedge = false;
                    let more = self.shared.more.take().then(|| members.next()).flatten();
                    more.into_iter().for_each(|more| asked.push(self.read(&ring, &key, more)));
                }
            }
        }
        // None of those that should have it has answered: the ring may be another.
        self.refresh_soon();
        Err(last)
    }

    /// A new version of a key: as [`Client::put`].
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it was surely not applied.
    pub async fn put(
        &self,
        key: impl Into<Bytes>,
        context: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) -> Result<Written, ClientError> {
        let (key, (by, context), value) =
            (key.into(), named_context(&context.into()), value.into());
        let put = |client: Client| {
            let (key, context, value) = (key.clone(), context.clone(), value.clone());
            async move { client.put(key, context, value).await }
        };
        self.change(&key, by, put).await
    }

    /// A tombstone: as [`Client::delete`].
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it was surely not applied.
    pub async fn delete(
        &self,
        key: impl Into<Bytes>,
        context: impl Into<Bytes>,
    ) -> Result<Written, ClientError> {
        let (key, (by, context)) = (key.into(), named_context(&context.into()));
        let delete = |client: Client| {
            let (key, context) = (key.clone(), context.clone());
            async move { client.delete(key, context).await }
        };
        self.change(&key, by, delete).await
    }

    /// Asks one node after the other to change `key`, as long as each has surely not done it: `by` first,
    /// if it is a home.
    async fn change<F: Future<Output = Result<Written, ClientError>>>(
        &self,
        key: &Bytes,
        by: Option<NodeId>,
        ask: impl Fn(Client) -> F,
    ) -> Result<Written, ClientError> {
        let ring = self.ring().await?;
        let (homes, fallbacks) = ring.view.preference_list(&Key(key.clone()));
        let by = by.filter(|node| homes.contains(node));
        let others = homes.iter().chain(fallbacks).copied().filter(|node| Some(*node) != by);
        let nodes = by.into_iter().chain(others);
        let mut last = unknown();
        self.shared.more.earn();
        let members = nodes.filter_map(|node| Some((node, self.member(&ring, node)?)));
        for (node, member) in members.take(TRIES) {
            let answer = member.pace.of(ask(member.client.clone())).await;
            self.heard(&ring, &member);
            last = match answer {
                Err(error @ ClientError::Overloaded { .. }) if self.shared.more.take() => error,
                Err(error @ ClientError::Refused(_)) => error,
                Err(error) => return Err(error),
                Ok(Written { context }) => {
                    return Ok(Written { context: context.map(|it| name_context(&it, node)) });
                }
            };
        }
        // None of those that should have it took it: the ring may be another.
        self.refresh_soon();
        Err(last)
    }

    /// Whom a get of `key` is asked of, in this order: of two homes that are drawn the one that has been
    /// quicker, so that no node has all gets, then the others, then who stands in for them.
    fn readers(&self, ring: &Known, key: &Bytes) -> Vec<(NodeId, Member)> {
        let (homes, fallbacks) = ring.view.preference_list(&Key(key.clone()));
        let member = |node: &NodeId| Some((*node, self.member(ring, *node)?));
        let mut members: Vec<_> = homes.iter().filter_map(member).collect();
        members.sort_by_cached_key(|_| chance::draw());
        if let [(_, first), (_, second), ..] = &members[..]
            && second.pace.micros() < first.pace.micros()
        {
            members.swap(0, 1);
        }
        members.extend(fallbacks.iter().filter_map(member));
        members.truncate(TRIES);
        members
    }

    async fn read(
        &self,
        ring: &Known,
        key: &Bytes,
        (node, member): (NodeId, Member),
    ) -> (NodeId, Result<Got, ClientError>) {
        let answer = member.pace.of(member.client.get(key.clone())).await;
        self.heard(ring, &member);
        (node, answer)
    }

    /// A node that answers under a later epoch knows another ring.
    fn heard(&self, ring: &Known, member: &Member) {
        if Epoch(member.client.epoch()) > ring.view.epoch() {
            self.refresh_soon();
        }
    }

    /// A node, if it is known where it is.
    fn member(&self, ring: &Known, node: NodeId) -> Option<Member> {
        let address = ring.addresses.get(&node)?;
        // Nothing in it is ever left half-changed.
        let mut clients = self.shared.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(member) = clients.get(address) {
            return Some(member.clone());
        }
        let client = Client::over(address.to_owned(), self.shared.tls.clone());
        let client = client.with_deadline(self.deadline);
        let member = Member { client, pace: Arc::default() };
        clients.insert(address.to_owned(), member.clone());
        Some(member)
    }

    /// The ring as far as it is known; one that is too old is used while it is read again.
    async fn ring(&self) -> Result<Arc<Known>, ClientError> {
        let known = self.shared.ring.read().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(known) => {
                if known.read.elapsed() > REFRESH {
                    self.refresh_soon();
                }
                Ok(known)
            }
            None => self.shared.refresh(self.deadline).await,
        }
    }

    fn refresh_soon(&self) {
        if self.shared.refreshes.swap(true, Ordering::AcqRel) {
            return;
        }
        let (shared, deadline) = (Arc::clone(&self.shared), self.deadline);
        tokio::spawn(async move {
            if let Err(error) = shared.refresh(deadline).await {
                tracing::debug!(%error, "the ring could not be read again");
            }
            shared.refreshes.store(false, Ordering::Release);
        });
    }
}

impl Pace {
    /// Has `answer` counted, whatever it is; given up before it comes it counts as slow.
    async fn of<T>(
        &self,
        answer: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let waiting = Waiting { pace: self, since: Instant::now() };
        let answer = answer.await;
        drop(waiting);
        answer
    }

    fn micros(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn note(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let before = self.micros();
        // An eighth of each: a slow answer shows at once, and is forgotten after some quick ones.
        let now = if before == 0 { took } else { before - before / 8 + took / 8 };
        self.0.store(now.max(1), Ordering::Relaxed);
    }

    /// How long a get waits before another node is asked as well.
    fn patience(&self) -> Duration {
        let (least, most) = HEDGE_BOUNDS;
        match self.micros() {
            0 => HEDGE,
            micros => (Duration::from_micros(micros) * HEDGE_FACTOR).clamp(least, most),
        }
    }
}

/// A request under way.
struct Waiting<'a> {
    pace: &'a Pace,
    since: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pace.note(self.since.elapsed());
    }
}

impl More {
    const MOST: u32 = MORE_AT_ONCE * MORE_ONE_IN;

    /// A request was made.
    fn earn(&self) {
        let earned = |parts: u32| (parts < Self::MOST).then_some(parts + 1);
        // As much as there may be is there.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earned);
    }

    /// Whether another node may be asked as well.
    fn take(&self) -> bool {
        let taken = |parts: u32| parts.checked_sub(MORE_ONE_IN);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }
}

fn unknown() -> ClientError {
    ClientError::Refused("nobody knows where the key's homes are".to_owned())
}

impl Shared {
    /// Asks those who are known, and then the seeds, until one tells the ring.
    async fn refresh(&self, deadline: Duration) -> Result<Arc<Known>, ClientError> {
        let known = self.ring.read().unwrap_or_else(PoisonError::into_inner).clone();
        let members = known.iter().flat_map(|known| known.addresses.values());
        let mut last = ClientError::Refused("no member's address was given".to_owned());
        for address in members.chain(&self.seeds) {
            let admin = Admin::new(address.as_str()).with_deadline(deadline).over(self.tls.clone());
            let report = match admin.ring().await {
                Ok(report) => report,
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            let view = View::of(&report.settings, report.epochs);
            let view = view.map_err(|error| ClientError::Refused(error.to_string()))?;
            // One that is behind tells what is known better already.
            if known.as_ref().is_some_and(|known| known.view.epoch() > view.epoch()) {
                continue;
            }
            let new = Known { view, addresses: report.addresses, read: Instant::now() };
            let new = Arc::new(new);
            *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&new));
            return Ok(new);
        }
        Err(last)
    }
}
