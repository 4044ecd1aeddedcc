//! Private keys that are locked, and the passphrases that open them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use console::Term;

use super::{Inventory, InventoryError, Secret};

/// How an OpenSSH key begins that is not locked: its magic word and the cipher "none".
const OPEN: &str = "b3BlbnNzaC1rZXktdjEAAAAABG5vbm";

/// Does this text of a private key need a passphrase?
fn is_locked(key: &str) -> bool {
    let mut lines = key.lines().map(str::trim);
    match lines.find(|line| line.starts_with("-----BEGIN ")) {
        Some("-----BEGIN OPENSSH PRIVATE KEY-----") => {
            !lines.next().is_some_and(|line| line.starts_with(OPEN))
        }
        Some("-----BEGIN ENCRYPTED PRIVATE KEY-----") => true,
        Some(_) => lines.any(|line| line.starts_with("Proc-Type:") && line.ends_with("ENCRYPTED")),
        None => false,
    }
}

impl Inventory {
    /// Asks whoever sits at the terminal for the passphrases that the inventory does not name, for
    /// each locked key once.
    ///
    /// # Errors
    /// If there is nobody to ask.
    pub fn unlock(&mut self) -> Result<(), InventoryError> {
        self.unlock_with(ask)
    }

    fn unlock_with(
        &mut self,
        mut ask: impl FnMut(&Path) -> io::Result<Option<Secret>>,
    ) -> Result<(), InventoryError> {
        let mut asked: BTreeMap<PathBuf, Secret> = BTreeMap::new();
        for host in self.hosts.iter_mut().filter(|host| host.passphrase.is_none()) {
            let Some(key) = &host.key else { continue };
            // A key that cannot be read is the session's to complain of.
            if !std::fs::read_to_string(key).is_ok_and(|text| is_locked(&text)) {
                continue;
            }
            let secret = match asked.get(key) {
                Some(secret) => secret.clone(),
                None => ask(key).ok().flatten().ok_or_else(|| nobody(&host.name, key))?,
            };
            asked.insert(key.clone(), secret.clone());
            host.passphrase = Some(secret);
        }
        Ok(())
    }
}

fn nobody(host: &str, key: &Path) -> InventoryError {
    InventoryError(format!(
        "{host}: key {} is locked and there is no terminal to ask for its passphrase: say \
         passphrase_env = \"VARIABLE\", or leave `key` out and add it to an SSH agent",
        key.display()
    ))
}

/// Reads a passphrase that is not shown.
fn ask(key: &Path) -> io::Result<Option<Secret>> {
    let terminal = Term::stderr();
    if !terminal.is_term() {
        return Ok(None);
    }
    terminal.write_str(&format!("passphrase of {}: ", key.display()))?;
    terminal.read_secure_line().map(|line| Some(Secret::new(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_key_is_told_from_an_open_one() {
        let openssh = |body: &str| format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END");
        assert!(!is_locked(&openssh("b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ")));
        assert!(is_locked(&openssh("b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0")));
        assert!(is_locked("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMII"));
        assert!(is_locked("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x"));
        assert!(!is_locked("-----BEGIN RSA PRIVATE KEY-----\nMII"));
        assert!(!is_locked("no key"));
    }

    #[test]
    fn a_passphrase_is_asked_for_once_a_key_and_only_where_nobody_said_it() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("open", "-----BEGIN RSA PRIVATE KEY-----\nM"), ("locked", LOCKED)] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let key = |name: &str| format!("key = '{}'", dir.path().join(name).display());
        let host = |index: u8, more: &str| {
            format!("[[host]]\naddress = '127.0.0.{index}'\nuser = 'me'\n{more}\n")
        };
        let said = format!("{}\npassphrase = 'said'", key("locked"));
        let text = [host(1, &key("open")), host(2, &key("locked")), host(3, &key("locked"))];
        let text = "known_hosts = 'k'\n".to_owned() + &text.concat() + &host(4, &said);
        let mut inventory = Inventory::parse(&text, "x").unwrap();
        let mut asked = 0;
        let secret = |_: &Path| {
            asked += 1;
            Ok(Some(Secret::new("asked".to_owned())))
        };
        inventory.clone().unlock_with(secret).unwrap();
        assert_eq!(asked, 1);
        let error = inventory.unlock_with(|_| Ok(None)).unwrap_err().0;
        assert!(error.contains("127.0.0.2: key") && error.contains("passphrase_env"), "{error}");
    }

    const LOCKED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMII";
}
