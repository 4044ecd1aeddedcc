//! Redis and etcd: processes of theirs, and callers that speak just enough of their protocols.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use super::load::{Ending, Store};
use super::ports::Port;
use super::{Failure, broken};

/// How long they may take until they serve.
const START: Duration = Duration::from_secs(30);
/// Between two tries whether one does: it says so nowhere.
const TRY: Duration = Duration::from_millis(20);
/// As ours: a request is given up then.
const DEADLINE: Duration = Duration::from_secs(2);
/// Of each kind so many, as of ours.
const SERVERS: usize = 3;

/// Processes of others, until this is dropped.
pub(super) struct Servers {
    children: Vec<Child>,
    pub(super) addresses: Vec<SocketAddr>,
    _ports: Vec<Port>,
}

impl Servers {
    pub(super) fn pids(&self) -> Result<Vec<u32>, Failure> {
        let ended = || Failure::Broken("a server has ended".to_owned());
        self.children.iter().map(|child| child.id().ok_or_else(ended)).collect()
    }
}

/// Whether a program is there.
pub(super) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn spawn(program: &str, words: &[String], folder: &Path, name: &str) -> Result<Child, Failure> {
    let log = File::create(folder.join(format!("{name}.log")));
    let log = log.map_err(|error| broken("write a log", &error))?;
    // Whatever becomes of this process, none of them outlives it.
    let mut command = if is_installed("setpriv") {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", program]);
        command
    } else {
        Command::new(program)
    };
    command.args(words).current_dir(folder).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().map_err(|error| broken(&format!("start {program}"), &error))
}

/// Tries until it works.
async fn until<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> Result<T, Failure> {
    let end = Instant::now() + START;
    while Instant::now() < end {
        if let Some(done) = attempt().await {
            return Ok(done);
        }
        tokio::time::sleep(TRY).await;
    }
    Err(Failure::Broken(format!("{what} does not serve within {START:?}")))
}

/// A Redis server and two that follow it, all in memory.
pub(super) async fn redis(folder: &Path) -> Result<Servers, Failure> {
    let ports = Port::several(SERVERS).map_err(|error| broken("find ports", &error))?;
    let addresses: Vec<_> = ports.iter().map(Port::address).collect();
    let mut children = Vec::new();
    for (number, address) in addresses.iter().enumerate() {
        let port = address.port().to_string();
        let words = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let mut words: Vec<_> = words.map(str::to_owned).into();
        words.extend(["--port".to_owned(), port, "--repl-diskless-sync-delay".into(), "0".into()]);
        if number > 0 {
            let leader = addresses[0].port().to_string();
            words.extend(["--replicaof".to_owned(), "127.0.0.1".to_owned(), leader]);
        }
        children.push(spawn("redis-server", &words, folder, &format!("redis-{number}"))?);
    }
    until("redis-server with two followers", async || {
        let mut caller = RedisCaller::connect(addresses[0]).await.ok()?;
        caller.follow(SERVERS - 1).await.ok()
    })
    .await?;
    Ok(Servers { children, addresses, _ports: ports })
}

/// One connection to a Redis server: a put waits until another server has it, too.
pub(super) struct RedisCaller(Mutex<BufStream<TcpStream>>);

impl RedisCaller {
    pub(super) async fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(Mutex::new(BufStream::new(stream))))
    }

    /// Whether so many servers follow: a write reaches them.
    async fn follow(&mut self, count: usize) -> Result<(), String> {
        let stream = self.0.get_mut();
        let count = count.to_string();
        write(stream, &[&[b"SET", b"ready", b"1"], &[b"WAIT", count.as_bytes(), b"100"]]).await?;
        read(stream).await?;
        match read(stream).await? {
            Said::Number(held) if held.to_string() == count => Ok(()),
            said => Err(format!("{said:?}")),
        }
    }

    async fn talk(&self, commands: &[&[&[u8]]]) -> Result<Vec<Said>, String> {
        let mut stream = self.0.lock().await;
        write(&mut stream, commands).await?;
        let mut said = Vec::new();
        for _ in commands {
            said.push(read(&mut stream).await?);
        }
        Ok(said)
    }
}

/// What a Redis server answers, as far as it is asked.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Line,
    Number(i64),
    Bytes(usize),
    Nothing,
    Error,
}

async fn write(stream: &mut BufStream<TcpStream>, commands: &[&[&[u8]]]) -> Result<(), String> {
    let mut bytes = BytesMut::new();
    for words in commands {
        bytes.put_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in *words {
            bytes.put_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.put_slice(word);
            bytes.put_slice(b"\r\n");
        }
    }
    stream.write_all(&bytes).await.map_err(|error| error.to_string())?;
    stream.flush().await.map_err(|error| error.to_string())
}

async fn read(stream: &mut BufStream<TcpStream>) -> Result<Said, String> {
    let mut line = String::new();
    stream.read_line(&mut line).await.map_err(|error| error.to_string())?;
    let line = line.trim_end();
    let kind = line.get(..1).ok_or("the connection has ended")?;
    let number = || line[1..].parse::<i64>().map_err(|error| format!("{line}: {error}"));
    Ok(match kind {
        "+" => Said::Line,
        "-" => Said::Error,
        ":" => Said::Number(number()?),
        "$" => match usize::try_from(number()?) {
            Ok(length) => {
                let mut bytes = vec![0; length + 2];
                stream.read_exact(&mut bytes).await.map_err(|error| error.to_string())?;
                Said::Bytes(length)
            }
            Err(_) => Said::Nothing,
        },
        _ => return Err(format!("{line:?} is no answer")),
    })
}

impl Store for RedisCaller {
    async fn put(&self, key: &str, value: Bytes) -> Ending {
        let set: &[&[u8]] = &[b"SET", key.as_bytes(), &value];
        // In milliseconds; `DEADLINE`.
        let wait: &[&[u8]] = &[b"WAIT", b"1", b"2000"];
        match self.talk(&[set, wait]).await.as_deref() {
            Ok([Said::Line, Said::Number(1..)]) => Ending::Done,
            Ok([Said::Error, _]) => Ending::Refused,
            Ok(_) | Err(_) => Ending::Unanswered,
        }
    }

    async fn get(&self, key: &str) -> Ending {
        match self.talk(&[&[b"GET", key.as_bytes()]]).await.as_deref() {
            Ok([Said::Bytes(_) | Said::Nothing]) => Ending::Done,
            Ok([Said::Error]) => Ending::Refused,
            Ok(_) | Err(_) => Ending::Unanswered,
        }
    }
}

/// Three etcd servers; each syncs what it writes.
pub(super) async fn etcd(folder: &Path) -> Result<Servers, Failure> {
    let ports = Port::several(2 * SERVERS).map_err(|error| broken("find ports", &error))?;
    let (clients, peers) = ports.split_at(SERVERS);
    let url = |port: &Port| format!("http://{}", port.address());
    let member = |(number, port): (usize, &Port)| format!("m{number}={}", url(port));
    let cluster = peers.iter().enumerate().map(member).collect::<Vec<_>>().join(",");
    let mut children = Vec::new();
    for (number, (client, peer)) in clients.iter().zip(peers).enumerate() {
        let name = format!("m{number}");
        let words: Vec<_> = [
            ("--name", name.clone()),
            ("--data-dir", folder.join(&name).display().to_string()),
            ("--listen-client-urls", url(client)),
            ("--advertise-client-urls", url(client)),
            ("--listen-peer-urls", url(peer)),
            ("--initial-advertise-peer-urls", url(peer)),
            ("--initial-cluster", cluster.clone()),
            ("--initial-cluster-state", "new".to_owned()),
            ("--log-level", "error".to_owned()),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect();
        children.push(spawn("etcd", &words, folder, &name)?);
    }
    let addresses: Vec<_> = clients.iter().map(Port::address).collect();
    for address in &addresses {
        until("etcd", async || {
            let caller = EtcdCaller::connect(*address).await.ok()?;
            (caller.put("ready", Bytes::new()).await == Ending::Done).then_some(())
        })
        .await?;
    }
    Ok(Servers { children, addresses, _ports: ports })
}

/// A caller of an etcd server over gRPC. Those of one server share a connection, as etcd's own clients do.
#[derive(Clone)]
pub(super) struct EtcdCaller {
    address: SocketAddr,
    connection: SendRequest<Bytes>,
}

impl EtcdCaller {
    pub(super) async fn connect(address: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(1 << 20).initial_connection_window_size(1 << 20);
        let made = builder.handshake::<_, Bytes>(stream).await;
        let (connection, driver) = made.map_err(|error| error.to_string())?;
        tokio::spawn(driver);
        Ok(Self { address, connection })
    }

    /// Calls `method` of etcd's service KV; whether it was done.
    async fn call(&self, method: &str, message: &[u8]) -> Result<bool, String> {
        let request =
            http::Request::post(format!("http://{}/etcdserverpb.KV/{method}", self.address))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(())
                .map_err(|error| error.to_string())?;
        let connection = self.connection.clone().ready().await;
        let mut connection = connection.map_err(|error| error.to_string())?;
        let sent = connection.send_request(request, false);
        let (answer, mut body) = sent.map_err(|error| error.to_string())?;
        let mut framed = BytesMut::with_capacity(5 + message.len());
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.len()).map_err(|error| error.to_string())?);
        framed.put_slice(message);
        body.send_data(framed.freeze(), true).map_err(|error| error.to_string())?;
        let mut answer = answer.await.map_err(|error| error.to_string())?.into_body();
        while let Some(data) = answer.data().await {
            let length = data.map_err(|error| error.to_string())?.len();
            let released = answer.flow_control().release_capacity(length);
            released.map_err(|error| error.to_string())?;
        }
        let trailers = answer.trailers().await.map_err(|error| error.to_string())?;
        Ok(trailers.is_some_and(|trailers| trailers.get("grpc-status").is_some_and(|s| s == "0")))
    }

    async fn ask(&self, method: &str, message: &[u8]) -> Ending {
        match tokio::time::timeout(DEADLINE, self.call(method, message)).await {
            Ok(Ok(true)) => Ending::Done,
            Ok(Ok(false)) => Ending::Refused,
            Ok(Err(_)) | Err(_) => Ending::Unanswered,
        }
    }
}

/// A field of bytes, as protobuf has them.
fn field(message: &mut BytesMut, number: u8, bytes: &[u8]) {
    message.put_u8(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        message.put_u8(length as u8 | 0x80);
        length >>= 7;
    }
    message.put_u8(length as u8);
    message.put_slice(bytes);
}

impl Store for EtcdCaller {
    /// `PutRequest { key = 1, value = 2 }`.
    async fn put(&self, key: &str, value: Bytes) -> Ending {
        let mut message = BytesMut::new();
        field(&mut message, 1, key.as_bytes());
        field(&mut message, 2, &value);
        self.ask("Put", &message).await
    }

    /// `RangeRequest { key = 1 }`: linearizable.
    async fn get(&self, key: &str) -> Ending {
        let mut message = BytesMut::new();
        field(&mut message, 1, key.as_bytes());
        self.ask("Range", &message).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_its_length_in_groups_of_seven_bits() {
        let mut message = BytesMut::new();
        field(&mut message, 2, &[7; 300]);
        assert_eq!(&message[..4], &[0x12, 0xac, 0x02, 7]);
        assert_eq!(message.len(), 303);
    }
}
