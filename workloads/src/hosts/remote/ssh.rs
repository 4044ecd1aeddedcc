//! The channel to an agent over SSH.
//!
//! Hard-won rules of libssh2: a session belongs to one thread; a channel is closed before it is dropped; a
//! session that has failed or timed out once is never used again, and is dropped where nobody
//! waits, for that too may take its whole timeout.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ssh2::{Channel, OpenFlags, OpenType, RenameFlags, Session, Sftp};

use super::host_key::{self, Verdict};
use super::{Binary, Host, Link, Remote, RemoteError};

/// How long a host may take to answer the dial, and each step of the setup, at most.
const SETUP: Duration = Duration::from_secs(10);
/// How long a channel may take to say goodbye.
const GOODBYE: Duration = Duration::from_millis(500);
/// The size at which writing by SFTP was fastest.
const CHUNK: usize = 256 << 10;
/// A program that was sent so long ago is that of an earlier build.
const OLD: Duration = Duration::from_secs(7 * 24 * 3600);
/// What a host says when it fails is not longer.
const COMPLAINT: u64 = 4 << 10;

/// A host reached by SSH.
#[derive(Clone, Debug)]
pub struct Ssh {
    /// The host.
    pub host: Host,
    /// The keys of the hosts.
    pub known_hosts: PathBuf,
    /// Whether a host of which nothing is known is believed, and remembered.
    pub accept_new: bool,
    /// What runs there as the agent and as the node.
    pub binary: Binary,
}

impl Remote for Ssh {
    fn dial(&self, patience: Duration) -> Result<Box<dyn Link>, RemoteError> {
        let session = self.session(patience.min(SETUP))?;
        // From here on a failure costs a session, which must not be dropped on this thread.
        let mut session = Discarded(Some(session));
        let channel = self.agent_channel(session.get())?;
        let session = session.0.take().expect("put there above");
        Ok(Box::new(SshLink { session: Some(session), channel: Some(channel) }))
    }
}

impl Ssh {
    /// A session with a host that has proved who it is, to which we have proved who we are.
    fn session(&self, patience: Duration) -> Result<Session, RemoteError> {
        let session = self.known_session(patience)?;
        let mut session = Discarded(Some(session));
        self.authenticate(session.get())?;
        Ok(session.0.take().expect("put there above"))
    }

    fn known_session(&self, patience: Duration) -> Result<Session, RemoteError> {
        let (session, verdict) = self.shake_hands(None, patience)?;
        match verdict {
            Verdict::Known => return Ok(session),
            Verdict::Unknown if self.accept_new => {
                host_key::accept(&session, &self.host, &self.known_hosts)?;
                return Ok(session);
            }
            Verdict::Unknown => return Err(self.refused("is not in", "--accept-new adds it")),
            Verdict::Differs => drop(Discarded(Some(session))),
        }
        // The file may know the host by a key of another kind: only an exact match is good enough.
        for kind in host_key::KINDS {
            match self.shake_hands(Some(kind), patience) {
                Ok((session, Verdict::Known)) => return Ok(session),
                Ok((session, _)) => drop(Discarded(Some(session))),
                // It has no key of that kind, or went away: what counts is that nothing matched.
                Err(_) => {}
            }
        }
        let mend = "if the host was made anew, take its old line out; else somebody stands between";
        Err(self.refused("is another than that in", mend))
    }

    fn refused(&self, what: &str, mend: &str) -> RemoteError {
        let file = self.known_hosts.display();
        RemoteError::lasting(&self.host.name, format!("its host key {what} {file}: {mend}"))
    }

    fn shake_hands(
        &self,
        kind: Option<&str>,
        patience: Duration,
    ) -> Result<(Session, Verdict), RemoteError> {
        let passing = |error: &dyn std::fmt::Display| RemoteError::passing(&self.host.name, error);
        let socket = self.connect(patience)?;
        let mut session = Session::new().map_err(|error| passing(&error))?;
        session.set_timeout(millis(patience));
        host_key::prefer(&session, kind).map_err(|error| passing(&error))?;
        session.set_tcp_stream(socket);
        if let Err(error) = session.handshake() {
            drop(Discarded(Some(session)));
            return Err(passing(&format!("SSH handshake: {error}")));
        }
        match host_key::check(&session, &self.host, &self.known_hosts) {
            Ok(verdict) => Ok((session, verdict)),
            Err(error) => {
                drop(Discarded(Some(session)));
                Err(error)
            }
        }
    }

    fn connect(&self, patience: Duration) -> Result<TcpStream, RemoteError> {
        let host = &self.host;
        let at = format!("{}:{}", host.address, host.port);
        let passing = |error: &dyn std::fmt::Display| {
            RemoteError::passing(&host.name, format!("{at}: {error}"))
        };
        let addresses = (host.address.as_str(), host.port).to_socket_addrs();
        let addresses: Vec<SocketAddr> = addresses.map_err(|error| passing(&error))?.collect();
        let mut last = io::Error::other("has no address");
        for address in addresses {
            match TcpStream::connect_timeout(&address, patience) {
                Ok(socket) => {
                    // Requests are small and each is waited for.
                    socket.set_nodelay(true).map_err(|error| passing(&error))?;
                    return Ok(socket);
                }
                Err(error) => last = error,
            }
        }
        Err(passing(&last))
    }

    fn authenticate(&self, session: &Session) -> Result<(), RemoteError> {
        let host = &self.host;
        let done = match &host.key {
            Some(key) => {
                if let Err(error) = File::open(key) {
                    let reason = format!("key {}: {error}", key.display());
                    return Err(RemoteError::lasting(&host.name, reason));
                }
                let passphrase = host.passphrase.as_ref().map(super::Secret::reveal);
                session.userauth_pubkey_file(&host.user, None, key, passphrase)
            }
            None => by_agent(session, &host.user),
        };
        done.map_err(|error| {
            let with = match &host.key {
                Some(key) => format!("key {}", key.display()),
                None => "the SSH agent's keys".to_owned(),
            };
            let reason = format!("user {} with {with}: {error}", host.user);
            // The connection may have died in the middle; a refusal will not change.
            if session.authenticated() || is_refusal(&error) {
                RemoteError::lasting(&host.name, reason)
            } else {
                RemoteError::passing(&host.name, reason)
            }
        })
    }

    /// The one command a remote shell sees: fixed, but for a hash in hexadecimal digits.
    fn command(&self) -> String {
        let sudo = if self.host.sudo { "sudo -n " } else { "" };
        format!("exec {sudo}{} agent", self.binary.place())
    }

    fn agent_channel(&self, session: &Session) -> Result<Channel, RemoteError> {
        self.upload(session)?;
        let passing = |error: &dyn std::fmt::Display| RemoteError::passing(&self.host.name, error);
        let mut channel = session.channel_session().map_err(|error| passing(&error))?;
        if let Err(error) = channel.exec(&self.command()) {
            close(&mut channel);
            return Err(passing(&format!("the agent does not start: {error}")));
        }
        Ok(channel)
    }

    /// Sees to it that the host has our program.
    fn upload(&self, session: &Session) -> Result<(), RemoteError> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            RemoteError::passing(&self.host.name, format!("upload: {what}: {error}"))
        };
        let sftp = session.sftp().map_err(|error| failed("no SFTP", &error))?;
        let place = self.binary.place();
        let place = Path::new(&place);
        if sftp.stat(place).is_ok_and(|there| there.size == Some(self.binary.size)) {
            return Ok(());
        }
        tracing::info!(host = %self.host.name, bytes = self.binary.size, "upload");
        for folder in [".dyno", Binary::FOLDER] {
            // It may be there; if it is not, what follows says so.
            let _ = sftp.mkdir(Path::new(folder), 0o700);
        }
        // Under a name of its own until it is whole: two drivers may be at it.
        let partial = format!("{}/upload-{:016x}", Binary::FOLDER, super::unique());
        let partial = Path::new(&partial);
        let written = self.write(&sftp, partial).and_then(|()| {
            let flags = RenameFlags::OVERWRITE | RenameFlags::ATOMIC | RenameFlags::NATIVE;
            let renamed = sftp.rename(partial, place, Some(flags)).map_err(io::Error::from);
            // Another driver's copy, of the same content, is as good.
            renamed.or_else(|error| sftp.stat(place).map(drop).map_err(|_| error))
        });
        prune(&sftp, place);
        written.map_err(|error| {
            // Not to fill a disk that may be full already.
            let _ = sftp.unlink(partial);
            // All that SFTP has to say of a full disk is "failure".
            failed(&partial.display().to_string(), &format!("{error} (is the disk full?)"))
        })
    }

    fn write(&self, sftp: &Sftp, to: &Path) -> io::Result<()> {
        let mut from = File::open(&self.binary.path)?;
        let flags = OpenFlags::WRITE | OpenFlags::TRUNCATE | OpenFlags::CREATE;
        let mut file = sftp.open_mode(to, flags, 0o700, OpenType::File)?;
        let mut chunk = vec![0; CHUNK];
        let mut total = 0;
        loop {
            let count = from.read(&mut chunk)?;
            if count == 0 {
                break;
            }
            total += count as u64;
            file.write_all(&chunk[..count])?;
        }
        file.close()?;
        if total != self.binary.size {
            return Err(io::Error::other(format!("{} has changed", self.binary.path.display())));
        }
        Ok(())
    }
}

/// Removes programs that were sent long ago: every build that ever ran would stay otherwise. One that still
/// runs goes on without its file, and one that is missed is sent again.
fn prune(sftp: &Sftp, but: &Path) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // What cannot be read or removed stays.
    for (path, stat) in sftp.readdir(Path::new(Binary::FOLDER)).unwrap_or_default() {
        let is_old = stat.mtime.is_some_and(|sent| sent + OLD.as_secs() < now.as_secs());
        if is_old && path != but {
            let _ = sftp.unlink(&path);
        }
    }
}

fn by_agent(session: &Session, user: &str) -> Result<(), ssh2::Error> {
    let mut agent = session.agent()?;
    agent.connect()?;
    agent.list_identities()?;
    let mut last = ssh2::Error::from_errno(ssh2::ErrorCode::Session(NO_IDENTITY));
    for identity in agent.identities()? {
        match agent.userauth(user, &identity) {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// libssh2: authentication by public key failed, no method is supported.
const NO_IDENTITY: i32 = -18;
/// libssh2: what means "no" and not "I did not hear": authentication failed, the public key was not
/// verified, the key file cannot be read or opened with that passphrase.
const REFUSALS: [i32; 4] = [-18, -19, -16, -48];

fn is_refusal(error: &ssh2::Error) -> bool {
    matches!(error.code(), ssh2::ErrorCode::Session(code) if REFUSALS.contains(&code))
}

fn millis(patience: Duration) -> u32 {
    // Zero would mean to wait for ever.
    u32::try_from(patience.as_millis()).unwrap_or(u32::MAX).max(1)
}

fn close(channel: &mut Channel) {
    // Whatever fails, the session is thrown away next.
    let _ = channel.close().and_then(|()| channel.wait_close());
}

/// A session that is dropped where nobody waits for it.
struct Discarded(Option<Session>);

impl Discarded {
    fn get(&self) -> &Session {
        self.0.as_ref().expect("taken only at the end")
    }
}

impl Drop for Discarded {
    fn drop(&mut self) {
        if let Some(session) = self.0.take() {
            std::thread::spawn(move || {
                session.set_timeout(millis(GOODBYE));
                drop(session);
            });
        }
    }
}

/// A channel and its session, which serves nothing else.
struct SshLink {
    session: Option<Session>,
    channel: Option<Channel>,
}

impl SshLink {
    fn channel(&mut self) -> &mut Channel {
        self.channel.as_mut().expect("taken only by drop")
    }
}

impl Read for SshLink {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.channel().read(buffer)
    }
}

impl Write for SshLink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.channel().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.channel().flush()
    }
}

impl Link for SshLink {
    fn set_patience(&mut self, patience: Duration) {
        if let Some(session) = &self.session {
            session.set_timeout(millis(patience));
        }
    }

    fn complaint(&mut self) -> Option<String> {
        self.set_patience(GOODBYE);
        let channel = self.channel();
        let mut said = Vec::new();
        // What came before it failed is what we want.
        let _ = channel.stderr().take(COMPLAINT).read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said);
        let said = said.lines().map(str::trim).filter(|line| !line.is_empty());
        let said = said.collect::<Vec<_>>().join("; ");
        if !said.is_empty() {
            return Some(said);
        }
        let ended = channel.eof().then(|| channel.exit_status().ok()).flatten();
        ended.filter(|status| *status != 0).map(|status| format!("it ended with status {status}"))
    }
}

impl Drop for SshLink {
    fn drop(&mut self) {
        let (session, channel) = (self.session.take(), self.channel.take());
        std::thread::spawn(move || {
            if let Some(session) = &session {
                session.set_timeout(millis(GOODBYE));
            }
            if let Some(mut channel) = channel {
                close(&mut channel);
            }
            drop(session);
        });
    }
}
