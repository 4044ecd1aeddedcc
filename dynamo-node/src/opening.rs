//! What a node starts on: its directory, the membership it goes by, and the records.

use std::collections::BTreeMap;
use std::sync::Arc;

use dynamo_protocol::membership::{HistoryError, Membership};
use dynamo_protocol::mutant::{Mutant, mutated};
use dynamo_protocol::{Change, Enrolment, Identity, NodeId, Start, Store, View, ViewError};

use crate::chance;
use crate::config::{Options, Storage};
use crate::hooks::Hook;
use crate::join::{self, JoinError, Joined};
use crate::record::Recorder;
use crate::server::StartError;
use crate::storage::{
    Directory, EngineError, EngineKind, Origin, Owner, Records, Space, addresses, peers, place_of,
};

/// Of a cluster that begins, all addresses are told.
fn check_addresses(options: &Options, view: &View) -> Result<(), StartError> {
    if !view.contains(options.me) {
        return Err(ViewError::NotAMember(options.me).into());
    }
    let peers: Vec<_> = view.ids().filter(|member| *member != options.me).collect();
    if let Some(peer) = peers.iter().find(|peer| !options.peers.contains_key(peer)) {
        return Err(StartError::NoAddress(peer.0));
    }
    // A test driver knows who will join.
    let is_known = |id: &NodeId| peers.contains(id) || options.fault_hooks && *id != options.me;
    if let Some(other) = options.peers.keys().find(|id| !is_known(id)) {
        return Err(StartError::NotAPeer(other.0));
    }
    Ok(())
}

/// A node's directory, and all that is read from it.
pub(crate) struct Opened {
    pub(crate) directory: Arc<Directory>,
    /// The membership it starts in.
    pub(crate) view: Arc<View>,
    /// Where members said that they are reached.
    pub(crate) addresses: BTreeMap<NodeId, String>,
    pub(crate) start: Start,
    pub(crate) store: Records,
    pub(crate) recorder: Option<Recorder>,
}

/// Opens the directory, becomes a member if that is asked for, and reads what is there.
pub(crate) async fn open(
    options: &Options,
    incarnation: u64,
    hook: Option<&Arc<Hook>>,
) -> Result<Opened, StartError> {
    if options.genesis && options.join.is_some() {
        return Err(JoinError::Genesis.into());
    }
    let mut directory = blocking(options, |options| open_directory(&options)).await?;
    if let Some(join) = &options.join
        && join::is_due(options, &directory.meta, &directory.enrolment)
    {
        let Joined { epochs, addresses } = join::join(options, join, &directory.meta).await?;
        directory.enrol(Enrolment::told(options.me, directory.meta, epochs), &addresses)?;
    }
    if let Some(hook) = hook {
        hook.onto(&mut directory);
    }
    blocking(options, move |options| read(&options, directory, incarnation)).await
}

/// Reading files takes as long as it takes: not on a thread that serves.
async fn blocking<T: Send + 'static>(
    options: &Options,
    work: impl FnOnce(Options) -> Result<T, StartError> + Send + 'static,
) -> Result<T, StartError> {
    let options = options.clone();
    // Under virtual time there are no threads: who waits for one would not know for how long.
    #[cfg(feature = "simulation")]
    if crate::simulation::is_here() {
        return work(options);
    }
    let done = tokio::task::spawn_blocking(move || work(options)).await;
    done.map_err(|error| StartError::System { what: "open", error: std::io::Error::other(error) })?
}

/// Opens the directory, or makes it. What was told is looked at before one is made.
fn open_directory(options: &Options) -> Result<Directory, StartError> {
    let is_there = options.storage.directory().is_some_and(|path| path.exists());
    match &options.view {
        Some(view) if !is_there && options.stepped.is_none() => check_addresses(options, view)?,
        None if !is_there && options.join.is_none() => return Err(StartError::NoMembership),
        Some(_) | None => {}
    }
    let identity = options.stepped.and_then(|nonces| nonces.identity);
    let origin = Origin { genesis: options.genesis, identity };
    Ok(match &options.storage {
        Storage::Memory => Directory::in_memory(origin),
        Storage::Disk(path) => Directory::open(path, &owner(options), origin)?,
        Storage::Redb(path) => {
            Directory::open_with(EngineKind::Redb, path, &owner(options), origin)?
        }
        #[cfg(feature = "simulation")]
        Storage::Simulated(path) => {
            Directory::open_with(EngineKind::Simulated, path, &owner(options), origin)?
        }
    })
}

fn owner(options: &Options) -> Owner {
    let (cluster, versioning) = (options.cluster.clone(), options.settings.versioning);
    Owner { node: options.me, cluster, versioning }
}

fn read(
    options: &Options,
    mut directory: Directory,
    incarnation: u64,
) -> Result<Opened, StartError> {
    let versioning = options.settings.versioning;
    let view = membership(options, &mut directory)?;
    let mut store = Records::open(&directory, versioning)?;
    if mutated(Mutant::HintsVolatile) {
        forget_hints(&directory, &mut store)?;
    }
    let heard = peers::read(&*directory.engine)?;
    let spare = match options.stepped {
        Some(nonces) => nonces.spare,
        // A directory made just now cannot have been rolled back.
        None => (!directory.is_new).then(|| Identity(chance::draw())),
    };
    let Enrolment { ballots, counted, .. } = directory.enrolment.clone();
    let start = Start { meta: directory.meta, heard, incarnation, spare, ballots, counted };
    let mut recorder = None;
    if let Some(folder) = &options.record {
        let system = |error| StartError::System { what: "begin the record", error };
        let cluster = (options.me, &options.settings, &view);
        let recording = Recorder::create(folder, cluster, start.clone());
        let recording = recorder.insert(recording.map_err(system)?);
        store.visit(|place, record| recording.stored(place, record))?;
    }
    let addresses = addresses::read(&*directory.engine)?;
    let (directory, view) = (Arc::new(directory), Arc::new(view));
    Ok(Opened { directory, view, addresses, start, store, recorder })
}

/// The membership that the node starts in: the one its directory knows, or else, and from then on, the one
/// that it is told.
fn membership(options: &Options, directory: &mut Directory) -> Result<View, StartError> {
    let epochs = &directory.enrolment.epochs;
    if epochs.is_empty() {
        let view = options.view.clone().ok_or(StartError::NoMembership)?;
        if options.stepped.is_none() {
            check_addresses(options, &view)?;
        } else if !view.contains(options.me) {
            return Err(ViewError::NotAMember(options.me).into());
        }
        let epochs = view.history().epochs().to_vec();
        let kept = Enrolment { epochs, ..Enrolment::default() };
        directory.enrol((directory.meta, kept), &BTreeMap::new())?;
        return Ok(view);
    }
    let view = View::of(&options.settings, epochs.clone())?;
    let genesis = |view: &View| view.history().epochs()[0].clone();
    if let Some(told) = options.view.as_ref().map(genesis).filter(|told| *told != genesis(&view)) {
        let (found, told) = (members(&genesis(&view)), members(&told));
        return Err(StartError::AnotherGenesis { found, told });
    }
    let latest = view.history().latest();
    let gone = latest.gone().contains(&directory.meta.directory(options.me));
    if gone || !view.contains(options.me) {
        let (epoch, node) = (latest.epoch(), options.me);
        return Err(StartError::Removed { epoch, node });
    }
    let (voted, have) = (directory.enrolment.ballots, latest.epoch());
    match voted.map(|ballots| ballots.epoch).filter(|voted| *voted > view.history().next()) {
        Some(voted) => Err(ViewError::from(HistoryError::Lost { have, voted }).into()),
        None => Ok(view),
    }
}

/// In words.
fn members(membership: &Membership) -> String {
    let seats = membership.seats().iter();
    let seats: Vec<_> =
        seats.map(|seat| format!("{} ({} tokens)", seat.node, seat.tokens)).collect();
    seats.join(", ")
}

/// A seeded bug: hints do not outlive the process.
fn forget_hints(directory: &Directory, store: &mut Records) -> Result<(), EngineError> {
    let mut hints = Vec::new();
    directory.engine.scan(Space::Hints, &[], &mut |key, _| {
        hints.extend(place_of(Space::Hints, key).map(Change::Remove));
        true
    })?;
    // Nothing of it can fail: it lies in memory.
    let _ = store.apply(hints);
    if let Some(batch) = store.take_batch() {
        let number = batch.number;
        directory.commit(batch)?;
        store.committed(number);
    }
    Ok(())
}
