//! A client that knows the ring, and asks a home of each key: no node forwards for it (paper, section 6.4).

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dynamo_protocol::{Epoch, Key, NodeId, View};

use super::{Admin, Client, ClientError, Got};
use crate::tls::Tls;

/// How old a ring may become: the paper's.
const REFRESH: Duration = Duration::from_secs(10);
/// How many nodes are asked, one after the other, if the first ones surely did nothing.
const TRIES: usize = 3;

/// A client of a whole cluster. Cheap to clone; all clones share what they know and their sessions, one for
/// each node.
///
/// It learns the ring from any of its seeds when it is first used, again every ten seconds, and at once when
/// a node answers under a later epoch. Where a request was surely not applied the key's next home is asked;
/// gets are asked again in any case, puts and deletes that may have been applied are not.
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
    clients: Mutex<HashMap<String, Client>>,
}

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
        let key = key.into();
        self.each(&key.clone(), true, async |client| client.get(key.clone()).await).await
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
    ) -> Result<(), ClientError> {
        let (key, context, value) = (key.into(), context.into(), value.into());
        let put =
            async |client: Client| client.put(key.clone(), context.clone(), value.clone()).await;
        self.each(&key.clone(), false, put).await
    }

    /// A tombstone: as [`Client::delete`].
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it was surely not applied.
    pub async fn delete(
        &self,
        key: impl Into<Bytes>,
        context: impl Into<Bytes>,
    ) -> Result<(), ClientError> {
        let (key, context) = (key.into(), context.into());
        let delete = async |client: Client| client.delete(key.clone(), context.clone()).await;
        self.each(&key.clone(), false, delete).await
    }

    async fn each<T>(
        &self,
        key: &Bytes,
        again_if_unsure: bool,
        mut ask: impl AsyncFnMut(Client) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let ring = self.ring().await?;
        let (homes, fallbacks) = ring.view.preference_list(&Key(key.clone()));
        let addresses = homes.iter().chain(fallbacks).filter_map(|node| ring.addresses.get(node));
        let mut last = ClientError::Refused("nobody knows where the key's homes are".to_owned());
        for address in addresses.take(TRIES) {
            let client = self.client(address);
            let answer = ask(client.clone()).await;
            if Epoch(client.epoch()) > ring.view.epoch() {
                self.refresh_soon();
            }
            last = match answer {
                Err(error @ ClientError::Refused(_)) => error,
                Err(error @ ClientError::Indeterminate(_)) if again_if_unsure => error,
                answer => return answer,
            };
        }
        // None of those that should have it took it: the ring may be another.
        self.refresh_soon();
        Err(last)
    }

    /// The client of one node.
    fn client(&self, address: &str) -> Client {
        // Nothing in it is ever left half-changed.
        let mut clients = self.shared.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(address) {
            return client.clone();
        }
        let client = Client::over(address.to_owned(), self.shared.tls.clone());
        let client = client.with_deadline(self.deadline);
        clients.insert(address.to_owned(), client.clone());
        client
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
