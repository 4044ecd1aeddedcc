//! Which hosts there are and how they are reached: a TOML file, or names in a flag.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use super::Secret;
use dyno_command::one_line;

/// Where a node listens if nobody says.
const NODE_PORT: u16 = 7117;
/// Sessions set up at a time if nobody says: more make a small driver slower, not faster.
const PARALLEL: usize = 16;
/// The longest name a host can have in the domain name system.
const LONGEST_NAME: usize = 253;

/// All hosts.
#[derive(Clone, Debug)]
pub struct Inventory {
    /// In the order of the file; the first is node n1's.
    pub hosts: Vec<Host>,
    /// The keys of the hosts.
    pub known_hosts: PathBuf,
    /// How many sessions are set up at a time.
    pub parallel: usize,
}

/// A host and how it is reached.
#[derive(Clone, Debug)]
pub struct Host {
    /// In messages and logs.
    pub name: String,
    /// Where its sshd listens, as its key is known.
    pub address: String,
    /// The port of its sshd.
    pub port: u16,
    /// Who logs in.
    pub user: String,
    /// Whether the agent is started with `sudo -n`.
    pub sudo: bool,
    /// The private key; without one, the SSH agent's keys are tried.
    pub key: Option<PathBuf>,
    /// What opens the private key.
    pub passphrase: Option<Secret>,
    /// Where its node listens, and what links to it are named by.
    pub data: IpAddr,
    /// The port of its node.
    pub node_port: u16,
    /// Where its node's disk and log are; under the user's home if nobody says.
    pub dir: Option<PathBuf>,
    /// Added to the environment of its node.
    pub env: BTreeMap<String, Secret>,
}

/// An inventory that cannot be used, and the mend. One line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct InventoryError(pub String);

/// What may be said of all hosts, and of each in its place: written here once. (Serde's own way to
/// share fields, `flatten`, forgets on which line a mistake is.)
macro_rules! settings {
    ($($field:ident: $type:ty,)*) => {
        /// How a host is reached and how its node is run.
        #[derive(Clone, Debug)]
        struct Settings {
            $($field: Option<$type>,)*
            env: BTreeMap<String, Secret>,
        }

        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct FileForm {
            known_hosts: Option<PathBuf>,
            parallel: Option<usize>,
            $($field: Option<$type>,)*
            #[serde(default)]
            env: BTreeMap<String, Secret>,
            #[serde(default)]
            host: Vec<HostForm>,
        }

        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct HostForm {
            name: Option<String>,
            address: String,
            data: Option<String>,
            $($field: Option<$type>,)*
            #[serde(default)]
            env: BTreeMap<String, Secret>,
        }

        impl FileForm {
            fn settings(&self) -> Settings {
                Settings { $($field: self.$field.clone(),)* env: self.env.clone() }
            }
        }

        impl HostForm {
            /// Its own settings, and those of all where it has none.
            fn settings(&self, mut all: Settings) -> Settings {
                if self.key.is_some() || self.passphrase.is_some() || self.passphrase_env.is_some()
                {
                    // A passphrase goes with its key.
                    (all.passphrase, all.passphrase_env) = (None, None);
                }
                all.env.extend(self.env.clone());
                Settings { $($field: self.$field.clone().or(all.$field),)* env: all.env }
            }
        }
    };
}

settings! {
    user: String,
    port: u16,
    sudo: bool,
    key: PathBuf,
    passphrase: Secret,
    passphrase_env: String,
    node_port: u16,
    dir: PathBuf,
}

impl Inventory {
    /// Reads what `--hosts` names: a file, or hosts separated by commas.
    ///
    /// # Errors
    /// Names the place and the mend.
    pub fn read(hosts: &str) -> Result<Self, InventoryError> {
        let path = Path::new(hosts);
        if hosts.ends_with(".toml") || path.is_file() {
            let what = "an inventory is a TOML file with a [[host]] for each host: see docs/ssh.md";
            let text = dyno_command::read_text(path, what).map_err(InventoryError)?;
            return Self::parse(&text, hosts);
        }
        let form = FileForm { host: hosts.split(',').map(named).collect(), ..FileForm::default() };
        Self::checked(form, "--hosts")
    }

    /// Parses an inventory; `origin` names it in errors.
    ///
    /// # Errors
    /// Names the place and the mend.
    pub fn parse(text: &str, origin: &str) -> Result<Self, InventoryError> {
        let form = toml::from_str(text).map_err(|error| {
            // Not the whole error: it quotes the line, and the line may hold a secret.
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
            InventoryError(format!("{origin}:{line}: {}", one_line(&error.message())))
        })?;
        Self::checked(form, origin)
    }

    fn checked(form: FileForm, origin: &str) -> Result<Self, InventoryError> {
        if form.host.is_empty() {
            return Err(refuse(origin, &"names no host: add [[host]] with an address"));
        }
        let known_hosts = match &form.known_hosts {
            Some(path) => path.clone(),
            None => home(origin, "known_hosts")?.join(".ssh/known_hosts"),
        };
        let parallel = form.parallel.unwrap_or(PARALLEL);
        if parallel == 0 {
            return Err(refuse(origin, &"parallel = 0: at least 1 is needed"));
        }
        let all = form.settings();
        let hosts: Result<Vec<_>, _> = (form.host.iter().zip(1..))
            .map(|(host, index)| host.resolve(&all, index).map_err(|e| refuse(origin, &e)))
            .collect();
        let inventory = Self { hosts: hosts?, known_hosts, parallel };
        inventory.check_apart().map_err(|error| refuse(origin, &error))?;
        Ok(inventory)
    }

    /// Two nodes cannot be told apart on the network by one address, nor in messages by one name.
    fn check_apart(&self) -> Result<(), String> {
        let (mut names, mut data) = (BTreeSet::new(), BTreeSet::new());
        for host in &self.hosts {
            if !names.insert(&host.name) {
                return Err(format!("two hosts are called {}", host.name));
            }
            if !data.insert(host.data) {
                return Err(format!(
                    "{}: another host has the data address {}",
                    host.name, host.data
                ));
            }
        }
        Ok(())
    }

    /// The first so many hosts.
    ///
    /// # Errors
    /// If there are not so many.
    pub fn take(mut self, nodes: usize) -> Result<Self, InventoryError> {
        if self.hosts.len() < nodes {
            let have = self.hosts.len();
            let error = format!("{nodes} nodes need as many hosts: the inventory has {have}");
            return Err(InventoryError(error));
        }
        self.hosts.truncate(nodes);
        Ok(self)
    }
}

/// `user@host:port`, of which the host alone must be there.
fn named(text: &str) -> HostForm {
    let (user, rest) = match text.trim().rsplit_once('@') {
        Some((user, rest)) => (Some(user.to_owned()), rest),
        None => (None, text.trim()),
    };
    // More than one colon is an IPv6 address, not a port.
    let (address, port) = match rest.split_once(':') {
        Some((address, port)) if !port.contains(':') => match port.parse() {
            Ok(port) => (address, Some(port)),
            Err(_) => (rest, None),
        },
        _ => (rest, None),
    };
    HostForm { address: address.to_owned(), user, port, ..HostForm::default() }
}

impl HostForm {
    fn resolve(&self, all: &Settings, index: usize) -> Result<Host, String> {
        let nth = format!("host {index}");
        check_address(&self.address).map_err(|error| format!("{nth}: address {error}"))?;
        let name = self.name.clone().unwrap_or_else(|| self.address.clone());
        check_address(&name).map_err(|error| format!("{nth}: name {error}"))?;
        let at = |error: String| format!("host {name}: {error}");
        let settings = self.settings(all.clone());
        let user = settings.user.or_else(own_name);
        let user = user.ok_or_else(|| at("no user: say user = \"...\"".to_owned()))?;
        check_user(&user).map_err(at)?;
        settings.dir.as_deref().map_or(Ok(()), check_dir).map_err(at)?;
        settings.env.iter().try_for_each(|(key, value)| check_env(key, value)).map_err(at)?;
        let passphrase = match (settings.passphrase, settings.passphrase_env) {
            (Some(_), Some(_)) => Err("passphrase and passphrase_env: say one".to_owned()),
            (Some(secret), None) => Ok(Some(secret)),
            (None, variable) => variable.as_deref().map(passphrase_in).transpose(),
        };
        Ok(Host {
            data: self.data_address().map_err(at)?,
            address: self.address.clone(),
            port: settings.port.unwrap_or(22),
            user,
            sudo: settings.sudo.unwrap_or(false),
            passphrase: passphrase.map_err(at)?,
            key: settings.key,
            node_port: settings.node_port.unwrap_or(NODE_PORT),
            dir: settings.dir,
            env: settings.env,
            name,
        })
    }

    fn data_address(&self) -> Result<IpAddr, String> {
        let data = self.data.as_ref().unwrap_or(&self.address);
        check_address(data).map_err(|error| format!("data {error}"))?;
        let found = (data.as_str(), 0).to_socket_addrs();
        let found = found.map_err(|error| format!("{data}: {error}"))?;
        // The redirecting proxy speaks IPv4 only, so where there is a choice it is taken.
        let mut found: Vec<_> = found.map(|address| address.ip()).collect();
        found.sort_by_key(IpAddr::is_ipv6);
        found.first().copied().ok_or_else(|| format!("{data}: has no address"))
    }
}

fn refuse(origin: &str, error: &dyn std::fmt::Display) -> InventoryError {
    InventoryError(format!("{}: {error}", printable(origin)))
}

/// A text as part of one line, whatever is in it.
fn printable(text: &str) -> String {
    text.escape_debug().to_string()
}

fn home(origin: &str, setting: &str) -> Result<PathBuf, InventoryError> {
    let none = || refuse(origin, &format!("HOME is not set: say {setting} = \"...\""));
    std::env::home_dir().filter(|home| home.is_absolute()).ok_or_else(none)
}

fn own_name() -> Option<String> {
    std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).ok()
}

/// A host's name or address: what the domain name system and IP allow and nothing else.
fn check_address(text: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_name = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.len() <= LONGEST_NAME
        && text.chars().all(plain)
        && !text.contains("..");
    if is_name || text.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let text = printable(text);
    Err(format!("`{text}` is no host: letters, digits, `.`, `-`, or an IP address"))
}

fn check_user(user: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let starts = user.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if starts && user.len() <= 64 && user.chars().all(plain) {
        return Ok(());
    }
    if user.contains(':') {
        // What follows the colon may well be a password: it is not repeated.
        return Err(
            "user holds a `:`: hosts are reached with keys, never with passwords".to_owned()
        );
    }
    Err(format!("user `{}` is no user's name: letters, digits, `.`, `-`, `_`", printable(user)))
}

/// A folder of a host. No shell reads it; what is refused is what could only be a mistake.
pub(crate) fn check_dir(dir: &Path) -> Result<(), String> {
    let text = dir.to_str().ok_or("dir is not UTF-8")?;
    let parent = text.split('/').any(|part| part == "..");
    if dir.is_absolute() && dir.parent().is_some() && !parent && !text.contains(char::is_control) {
        return Ok(());
    }
    let text = printable(text);
    Err(format!("dir `{text}`: write an absolute path below /, without `..`"))
}

fn check_env(key: &str, value: &Secret) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts || !key.chars().all(plain) {
        let key = printable(key);
        return Err(format!("env `{key}` names no variable: letters, digits, `_`"));
    }
    if value.reveal().contains('\0') {
        return Err(format!("env {key} holds a NUL, which no variable can"));
    }
    Ok(())
}

fn passphrase_in(variable: &str) -> Result<Secret, String> {
    check_env(variable, &Secret::new(String::new()))
        .map_err(|error| format!("passphrase_{error}"))?;
    std::env::var(variable)
        .map(Secret::new)
        .map_err(|_| format!("passphrase_env: the variable {variable} is not set"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Inventory::parse(text, "hosts.toml").unwrap_err().0
    }

    #[test]
    fn a_host_overrides_what_all_have() {
        let text = "user = 'all'\nknown_hosts = 'k'\n[env]\nA = '1'\nB = '2'\n\
                    [[host]]\naddress = '127.0.0.1'\n\
                    [[host]]\nname = 'two'\naddress = '127.0.0.2'\ndata = '127.1.0.2'\nport = 2222\n\
                    user = 'me'\nsudo = true\nenv = { B = '3' }\n";
        let inventory = Inventory::parse(text, "x").unwrap();
        let [one, two] = &inventory.hosts[..] else { panic!("two hosts") };
        assert_eq!((one.name.as_str(), one.user.as_str(), one.port), ("127.0.0.1", "all", 22));
        assert_eq!((two.name.as_str(), two.user.as_str(), two.port), ("two", "me", 2222));
        assert_eq!((one.sudo, two.sudo), (false, true));
        assert_eq!(two.data, "127.1.0.2".parse::<IpAddr>().unwrap());
        assert_eq!((one.env["B"].reveal(), two.env["B"].reveal()), ("2", "3"));
        assert!(inventory.take(3).unwrap_err().0.contains("has 2"));
    }

    #[test]
    fn hosts_are_named_in_a_flag_too() {
        let form = named("me@10.0.0.1:2222");
        assert_eq!(
            (form.user.as_deref(), &*form.address, form.port),
            (Some("me"), "10.0.0.1", Some(2222))
        );
        assert_eq!(named("::1").address, "::1");
        assert_eq!(named(" n1 ").address, "n1");
    }

    #[test]
    fn what_no_inventory_can_say_is_refused_with_its_place() {
        assert!(error("").contains("no host"));
        assert!(
            error("[[host]]\naddress = '127.0.0.1'\ncolour = 'red'\n").starts_with("hosts.toml:3")
        );
        // With a user: the one who runs this need not have $USER set.
        let twice = "[[host]]\nname = 'a'\nuser = 'me'\naddress = '127.0.0.1'\n";
        assert!(error(&twice.repeat(2)).contains("two hosts"));
        let same = twice.to_owned() + "[[host]]\nuser = 'me'\naddress = '127.0.0.1'\n";
        assert!(error(&same).contains("data address"));
    }

    #[test]
    fn a_mistake_in_the_file_shows_no_secret() {
        let text = "[env]\nTOKEN = 'hunter2\n[[host]]\naddress = 'n1'\n";
        assert!(!error(text).contains("hunter2"), "{}", error(text));
        let text = "[[host]]\naddress = '127.0.0.1'\nenv = { 'a b' = 'hunter2' }\n";
        assert!(!error(text).contains("hunter2"), "{}", error(text));
    }

    #[test]
    fn hostile_strings_are_one_clear_error_each() {
        for hostile in crate::hosts::remote::tests::HOSTILE {
            let quoted = toml::Value::String((*hostile).to_owned());
            for setting in ["name", "data", "user", "dir", "passphrase_env"] {
                let address = "address = '127.0.0.1'";
                let text = format!("[[host]]\n{address}\n{setting} = {quoted}\n");
                assert_one_line(hostile, Inventory::parse(&text, "x"));
            }
            assert_one_line(
                hostile,
                Inventory::parse(&format!("[[host]]\naddress = {quoted}\n"), "x"),
            );
            let key = format!("[[host]]\naddress = '127.0.0.1'\nenv = {{ {quoted} = '1' }}\n");
            assert_one_line(hostile, Inventory::parse(&key, "x"));
            assert_one_line(hostile, Inventory::read(hostile));
        }
    }

    fn assert_one_line(hostile: &str, parsed: Result<Inventory, InventoryError>) {
        let error = parsed.expect_err(hostile).0;
        assert!(!error.contains(char::is_control), "{hostile:?}: {error:?}");
    }
}
