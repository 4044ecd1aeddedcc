//! `dyno lab`.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::Command;

use clap::{Args, Subcommand};
use dyno_command::{document, output, within};
use serde_json::json;

use super::{Lab, LabError, MOST_HOSTS, Wanted, default_dir, host, keeper, tools};
use crate::run::verdict::{BROKEN, REFUSED, VALID};

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
        #[arg(long, default_value_t = 5, value_parser = within(1, MOST_HOSTS))]
        nodes: u16,
        /// Print one line of JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Say whether a lab is up, and what its hosts are.
    Status {
        /// Print one line of JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// End a lab; nothing of it is left.
    Down {
        /// Print one line of JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Remove what is left of labs whose driver was killed; every new lab does so too.
    Sweep {
        /// Print one line of JSON.
        #[arg(long)]
        json: bool,
    },
    /// Run a command where all hosts of the lab can be reached, as the driver must, or on one host.
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
    #[arg(long, value_name = "DIR", default_value_os_t = default_dir())]
    dir: PathBuf,
}

/// Does what it is told: 0; 254 if there is no lab to do it to; 255 with one line about what was in the
/// way; or the command's status.
#[must_use]
pub fn run(args: LabArgs) -> u8 {
    let done = match args.command {
        LabCommand::Up { nodes, json, place } => up(&Wanted { dir: place.dir, hosts: nodes }, json),
        LabCommand::Status { json, place } => status(&place, json),
        LabCommand::Down { json, place } => down(&place, json),
        LabCommand::Sweep { json } => swept(json),
        LabCommand::Exec { place, host, command } => exec(&place, host.as_deref(), &command),
        LabCommand::Keeper => keeper::run().map(|()| VALID).map_err(LabError),
        LabCommand::Host => host::run().map(|()| VALID).map_err(LabError),
    };
    done.unwrap_or_else(|error| {
        output::refuse(error);
        BROKEN
    })
}

fn up(wanted: &Wanted, json: bool) -> Result<u8, LabError> {
    let lab = Lab::up(wanted)?;
    let (dir, state, inventory) = (lab.dir(), lab.state(), lab.hosts_file());
    if json {
        let body = json!({ "up": true, "dir": dir, "inventory": inventory, "lab": state });
        output::say(document("lab up", None, body));
        return Ok(VALID);
    }
    let (hosts, ms) = (state.hosts.len(), state.up_ms);
    output::say(format_args!("{hosts} hosts up in {ms} ms; inventory: {}", inventory.display()));
    let exec = format!("dyno lab exec --dir {} -- COMMAND", dir.display());
    output::say(format_args!("{exec} runs a command that sees them"));
    Ok(VALID)
}

fn status(place: &Place, json: bool) -> Result<u8, LabError> {
    let lab = Lab::find(&place.dir)?;
    if json {
        let state = lab.as_ref().map(Lab::state);
        let body = json!({ "up": lab.is_some(), "dir": place.dir, "lab": state });
        output::say(document("lab status", None, body));
    }
    let Some(lab) = lab else { return Ok(none_is_up(place)) };
    if !json {
        let (dir, state) = (lab.dir().display(), lab.state());
        let (parent, ms) = (state.parent.pid, state.up_ms);
        output::say(format_args!("up in {dir} under process {parent}, after {ms} ms"));
        for host in &state.hosts {
            let (name, data) = (&host.name, &host.data);
            output::say(format_args!("{name:<4} ssh {}  data {data}", host.management));
        }
    }
    Ok(VALID)
}

/// There is nothing to tell of or to run in.
fn none_is_up(place: &Place) -> u8 {
    let dir = place.dir.display();
    output::refuse(format_args!("no lab is up in {dir}: `dyno lab up --dir {dir}` brings one up"));
    REFUSED
}

fn down(place: &Place, json: bool) -> Result<u8, LabError> {
    let lab = Lab::find(&place.dir)?;
    let was_up = lab.is_some();
    let ended = match lab {
        Some(lab) => Some(lab.down()?),
        None if place.dir.exists() => {
            super::remove(&place.dir)?;
            None
        }
        None => None,
    };
    if json {
        let ms = ended.map(|ended| ended.as_millis());
        let body = json!({ "was_up": was_up, "dir": place.dir, "ended_ms": ms });
        output::say(document("lab down", None, body));
        return Ok(VALID);
    }
    match ended {
        Some(ended) => output::say(format_args!("ended in {} ms", ended.as_millis())),
        None => output::say(format_args!("no lab is up in {}", place.dir.display())),
    }
    Ok(VALID)
}

fn swept(json: bool) -> Result<u8, LabError> {
    let swept = super::sweep()?;
    if json {
        output::say(document("lab sweep", None, json!({ "swept": swept })));
        return Ok(VALID);
    }
    for dir in &swept {
        output::say(format_args!("{}: removed", dir.display()));
    }
    if swept.is_empty() {
        output::say("nothing was left");
    }
    Ok(VALID)
}

fn exec(place: &Place, host: Option<&str>, command: &[std::ffi::OsString]) -> Result<u8, LabError> {
    let Some(lab) = Lab::find(&place.dir)? else { return Ok(none_is_up(place)) };
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
