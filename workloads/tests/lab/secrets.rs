//! Secrets that a run is given are found nowhere in what it leaves.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::bench::{Lab, verdict};
use super::common::has_lab;

/// Of the key of host n1, in the driver's environment.
const PASSPHRASE: &str = "planted-passphrase-5Zk1";
/// Of the key of host n2, in the inventory.
const CONFIG: &str = "planted-config-8Qw7";
/// In the environment of the nodes.
const ENVIRONMENT: &str = "planted-environment-3Vd9";

/// A copy of the lab's key that a passphrase locks.
fn lock_key(lab: &Lab, name: &str, passphrase: &str) -> String {
    let key = lab.dir.join(name);
    fs::copy(lab.dir.join("driver_key"), &key).unwrap();
    let words = ["-q", "-p", "-P", "", "-N", passphrase, "-f"];
    let locked = Command::new("ssh-keygen").args(words).arg(&key).output().unwrap();
    assert!(locked.status.success(), "{locked:?}");
    key.display().to_string()
}

/// Every file under a folder that holds one of the secrets.
fn found_in(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found_in(&path, found);
        } else if let Ok(bytes) = fs::read(&path) {
            for secret in [PASSPHRASE, CONFIG, ENVIRONMENT] {
                if bytes.windows(secret.len()).any(|window| window == secret.as_bytes()) {
                    found.push(format!("{secret} in {}", path.display()));
                }
            }
        }
    }
}

#[test]
fn planted_secrets_are_in_no_result_and_in_no_log() {
    if !has_lab() {
        return;
    }
    let lab = Lab::up(2);
    let (one, two) = (lock_key(&lab, "key-1", PASSPHRASE), lock_key(&lab, "key-2", CONFIG));
    let host = |index: u8, more: &str| {
        format!(
            "[[host]]\nname = 'n{index}'\naddress = '10.77.1.{index}'\n\
             data = '10.78.1.{index}'\n{more}\n"
        )
    };
    let inventory = format!(
        "known_hosts = '{}/known_hosts'\nuser = '{}'\n[env]\nPLANTED = '{ENVIRONMENT}'\n{}{}",
        lab.dir.display(),
        lab.user(),
        host(1, &format!("key = '{one}'\npassphrase_env = 'KEY_PASSPHRASE'")),
        host(2, &format!("key = '{two}'\npassphrase = '{CONFIG}'")),
    );
    let elsewhere = tempfile::tempdir().unwrap();
    let hosts = elsewhere.path().join("hosts.toml");
    fs::write(&hosts, inventory).unwrap();
    let out = lab.dir.join("out");
    let flags = ["--nodes", "2", "-n", "2", "-r", "1", "-w", "1", "--faults", "kill"];
    let flags = [&flags[..], &["--time", "2s", "--json", "--log", "trace"]].concat();
    let run = lab.test(&hosts, &out, &flags).env("KEY_PASSPHRASE", PASSPHRASE).output().unwrap();
    assert_eq!(verdict(&out)["harness"], "valid", "{}", verdict(&out));
    fs::write(out.join("said"), [run.stdout, run.stderr].concat()).unwrap();
    let mut logs = fs::read_dir(out.join("latest/logs")).unwrap().flatten();
    let trace = |entry: &fs::DirEntry| {
        String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).contains("TRACE")
    };
    assert!(logs.all(|log| trace(&log)), "every log has the finest level");
    let mut found = Vec::new();
    // The results, and the hosts' homes with all they logged and stored.
    found_in(&lab.dir, &mut found);
    assert!(found.is_empty(), "{found:#?}");
    // A passphrase that does not fit is one line, without it.
    let wrong = lab.test(&hosts, &out, &flags).env("KEY_PASSPHRASE", CONFIG).output().unwrap();
    assert_eq!(wrong.status.code(), Some(255));
    let reason = verdict(&out)["reasons"]["harness"].to_string();
    assert!(reason.contains("n1: user") && reason.contains("key-1"), "{reason}");
    assert!(!reason.contains("planted"), "{reason}");
}
