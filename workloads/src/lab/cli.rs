//! `dyno lab`.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::Command;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Lab, LabError, Wanted, default_dir, host, keeper, tools};
use crate::line::one_line;
use crate::verdict::{BROKEN, VALID};

/// Tells a command that it runs in the lab of this folder.
pub(crate) const WITHIN: &str = "DYNO_LAB_EXEC";

/// Hosts on one machine, each with its own sshd.
#[derive(Debug, Args)]
pub struct LabArgs {
    #[command(subcommand)]
    command: LabCommand,
}

#[derive(Debug, Subcommand)]
enum LabCommand {
    /// Bring a lab up; it stays until `down`. One that is up already is left as it is.
    Up {
        /// How many hosts.
        #[arg(long, default_value_t = 5)]
        nodes: u16,
        #[command(flatten)]
        place: Place,
    },
    /// Say whether a lab is up, and what its hosts are.
    Status {
        /// As one line of JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// End a lab; nothing of it is left.
    Down {
        #[command(flatten)]
        place: Place,
    },
    /// Run a command where the driver must stand, or on a host of the lab.
    Exec {
        #[command(flatten)]
        place: Place,
        /// The host; without one, the command sees all hosts from the hub of their networks.
        host: Option<String>,
        /// The command, after `--`.
        #[arg(last = true, required = true)]
        command: Vec<std::ffi::OsString>,
    },
    #[command(hide = true)]
    Keeper,
    #[command(hide = true)]
    Host,
}

#[derive(Debug, Args)]
struct Place {
    /// The lab's folder: its keys, logs, and its hosts' homes.
    #[arg(long, default_value_os_t = default_dir())]
    dir: PathBuf,
}

/// Does what it is told: 0, or 255 with one line about what was in the way, or the command's status.
#[must_use]
pub fn run(args: LabArgs) -> u8 {
    let done = match args.command {
        LabCommand::Up { nodes, place } => up(&Wanted { dir: place.dir, hosts: nodes }),
        LabCommand::Status { json, place } => status(&place, json),
        LabCommand::Down { place } => down(&place),
        LabCommand::Exec { place, host, command } => exec(&place, host.as_deref(), &command),
        LabCommand::Keeper => keeper::run().map(|()| VALID).map_err(LabError),
        LabCommand::Host => host::run().map(|()| VALID).map_err(LabError),
    };
    done.unwrap_or_else(|error| {
        eprintln!("{}", one_line(&error));
        BROKEN
    })
}

fn up(wanted: &Wanted) -> Result<u8, LabError> {
    let lab = Lab::up(wanted)?;
    let (hosts, ms) = (lab.state().hosts.len(), lab.state().up_ms);
    println!("{hosts} hosts up in {ms} ms; inventory: {}", lab.hosts_file().display());
    println!(
        "dyno lab exec --dir {} -- COMMAND runs a command that sees them",
        lab.dir().display()
    );
    Ok(VALID)
}

fn status(place: &Place, json: bool) -> Result<u8, LabError> {
    let lab = Lab::find(&place.dir)?;
    if json {
        let state = lab.as_ref().map(Lab::state);
        println!("{}", json!({"schema": 1, "up": lab.is_some(), "dir": place.dir, "lab": state}));
        return Ok(exit(lab.is_some()));
    }
    let Some(lab) = lab else {
        println!("no lab is up in {}", place.dir.display());
        return Ok(exit(false));
    };
    let (dir, state) = (lab.dir().display(), lab.state());
    println!("up in {dir} under process {}, after {} ms", state.parent.pid, state.up_ms);
    for host in &lab.state().hosts {
        println!("{:<4} ssh {}  data {}", host.name, host.management, host.data);
    }
    Ok(exit(true))
}

/// As `grep` does: 1 is "no", not an error.
fn exit(yes: bool) -> u8 {
    if yes { VALID } else { 1 }
}

fn down(place: &Place) -> Result<u8, LabError> {
    match Lab::find(&place.dir)? {
        Some(lab) => {
            let ended = lab.down()?;
            println!("ended in {} ms", ended.as_millis());
        }
        None if place.dir.exists() => super::remove(&place.dir)?,
        None => println!("no lab is up in {}", place.dir.display()),
    }
    Ok(VALID)
}

fn exec(place: &Place, host: Option<&str>, command: &[std::ffi::OsString]) -> Result<u8, LabError> {
    let dir = place.dir.display();
    let lab = Lab::find(&place.dir)?
        .ok_or_else(|| LabError(format!("none is up in {dir}: `dyno lab up --dir {dir}` first")))?;
    let (program, args) = command.split_first().expect("clap asks for at least one");
    let mut command = Command::new(program);
    command.args(args);
    let failed = |error| LabError(format!("{}: {error}", program.to_string_lossy()));
    let Some(host) = host else {
        lab.enter()?;
        // What a run inside says to do it again begins with this command.
        command.env(WITHIN, &place.dir);
        return Err(failed(command.exec()));
    };
    lab.enter_host(host)?;
    // A child: only what is born after one has entered has a process id there.
    let ended = command.env("HOME", host::HOME).env("PATH", tools::path()).status();
    let ended = ended.map_err(failed)?;
    // As a shell says it.
    let status = ended.code().or_else(|| ended.signal().map(|signal| 128 + signal));
    Ok(status.and_then(|status| u8::try_from(status).ok()).unwrap_or(BROKEN))
}
