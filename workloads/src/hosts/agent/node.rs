//! The node's process on this host.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::proto::{NodeLife, NodeSpec};
use crate::hosts::disk::{self, Damage, remove};
use crate::hosts::image::Image;
use crate::hosts::process::{Life, Process};

/// How much of a log is shipped at a time: it delays no request by more than a few milliseconds.
pub const PIECE: u64 = 1 << 20;
/// How long the kernel may take to stop or continue every thread of a process.
const SIGNALLED: Duration = Duration::from_secs(5);
/// A disk with less room than this is as good as full: it is less than a node writes at a time.
const FULL: u64 = 64 << 10;
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(1);

/// One node, its disk and its log.
pub(super) struct Node {
    dir: PathBuf,
    /// Its disk, if that is one of its own.
    image: Option<Image>,
    process: Option<Process>,
}

impl Node {
    /// A node whose disk, perhaps one of its own, and log are under `dir`, which has neither yet.
    pub(super) fn new(dir: &Path, own_disk: bool) -> io::Result<Self> {
        let dir = dir.join("node");
        // One that an agent left that died badly, whoever asks now.
        Image::of(&dir).release()?;
        remove(&dir)?;
        fs::create_dir_all(&dir)?;
        let dir = dir.canonicalize()?;
        let image = own_disk.then(|| Image::of(&dir));
        image.iter().try_for_each(Image::make)?;
        Ok(Self { dir, image, process: None })
    }

    /// Its disk.
    pub(super) fn data_dir(&self) -> PathBuf {
        self.image.as_ref().map_or(&*self.dir, Image::at).join("data")
    }

    fn log(&self) -> PathBuf {
        self.dir.join("node.log")
    }

    pub(super) fn life(&self) -> NodeLife {
        match self.process.as_ref().map(Process::life) {
            Some(Life::Runs(pid)) => NodeLife::Runs(pid),
            Some(Life::Stopped(pid)) => NodeLife::Stopped(pid),
            Some(Life::Gone) | None => NodeLife::Gone,
        }
    }

    /// Starts it; returns when it serves.
    pub(super) async fn start(&mut self, spec: NodeSpec) -> Result<(), String> {
        if self.life() != NodeLife::Gone {
            return Err("the node runs already".to_owned());
        }
        let failed = |error: io::Error| format!("{}: {error}", self.dir.display());
        // One that did not come back from a power cut is no empty one, which the node would begin anew on.
        if let Some(image) = &self.image
            && !image.is_mounted().map_err(failed)?
        {
            return Err("its disk is not mounted".to_owned());
        }
        let log = OpenOptions::new().create(true).append(true).open(self.log()).map_err(failed)?;
        let dyno = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(dyno);
        command.args(spec.args).current_dir(&self.dir);
        command.envs(spec.env.iter().map(|(key, value)| (key, value.reveal())));
        match Process::start(command, log, spec.patience).await {
            Ok((process, _)) => {
                self.process = Some(process);
                Ok(())
            }
            Err(error) => Err(match last_line(&self.log()) {
                Some(line) => format!("{error}: {line}"),
                None => error,
            }),
        }
    }

    /// Ends it at once; returns when it is gone.
    pub(super) async fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill().await;
        }
    }

    /// Gives its disk back, once it is gone.
    pub(super) fn release(&self) -> Result<(), String> {
        let released = self.image.iter().try_for_each(Image::release);
        released.map_err(|error| error.to_string())
    }

    /// Makes it stand still; returns when it does.
    pub(super) async fn pause(&self) -> Result<(), String> {
        self.running()?.stop().map_err(|error| error.to_string())?;
        self.becomes("stand still", |life| matches!(life, NodeLife::Stopped(_))).await
    }

    /// Lets it go on; returns when it does.
    pub(super) async fn resume(&self) -> Result<(), String> {
        self.running()?.proceed().map_err(|error| error.to_string())?;
        self.becomes("go on", |life| matches!(life, NodeLife::Runs(_))).await
    }

    fn running(&self) -> Result<&Process, String> {
        self.process.as_ref().ok_or_else(|| "the node is down".to_owned())
    }

    async fn becomes(&self, what: &str, done: impl Fn(NodeLife) -> bool) -> Result<(), String> {
        let wait = async {
            while !done(self.life()) {
                tokio::time::sleep(LOOK).await;
            }
        };
        let late = |_| format!("the node does not {what}: it is {:?}", self.life());
        tokio::time::timeout(SIGNALLED, wait).await.map_err(late)
    }

    /// Empties its disk.
    pub(super) fn wipe(&self) -> Result<(), String> {
        if self.life() != NodeLife::Gone {
            return Err("the node is up: its disk cannot be emptied".to_owned());
        }
        let data = self.data_dir();
        remove(&data).map_err(|error| format!("{}: {error}", data.display()))
    }

    /// Damages it.
    pub(super) fn damage(&self, damage: Damage) -> Result<String, String> {
        if self.life() != NodeLife::Gone {
            return Err("the node is up: its disk is not damaged".to_owned());
        }
        disk::damage(&self.data_dir(), damage)
    }

    /// Why it has ended: what the system says, what it said itself, and whether its disk is full, as
    /// then its log may be silent.
    pub(super) fn why(&self) -> String {
        let ended = self.process.as_ref().and_then(|process| *process.watch().borrow());
        let status =
            ended.map_or_else(|| "ended".to_owned(), |status| format!("ended with {status}"));
        let said = last_line(&self.log()).map(|line| format!(": {line}")).unwrap_or_default();
        let full = rustix::fs::statvfs(&self.dir).is_ok_and(|disk| {
            disk.f_bavail.saturating_mul(disk.f_frsize) < FULL || disk.f_favail == 0
        });
        let full = if full {
            format!(" (the disk of {} is full)", self.dir.display())
        } else {
            String::new()
        };
        format!("{status}{said}{full}")
    }

    /// Some of its log, from a place on.
    pub(super) fn read_log(&self, from: u64) -> Result<Vec<u8>, String> {
        read_some(&self.log(), from)
    }
}

/// A piece of a file; nothing, where it ends or there is none.
pub(super) fn read_some(path: &Path, from: u64) -> Result<Vec<u8>, String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file?,
        };
        file.seek(SeekFrom::Start(from))?;
        let mut piece = Vec::new();
        file.take(PIECE).read_to_end(&mut piece)?;
        Ok(piece)
    };
    read().map_err(|error| format!("{}: {error}", path.display()))
}

fn last_line(log: &Path) -> Option<String> {
    let text = fs::read(log).ok()?;
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(4096)..]).into_owned();
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    last.map(|line| line.trim().to_owned())
}
