use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::*;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
/// Long enough for any machine.
const SOON: Duration = Duration::from_secs(10);
/// Long enough for bytes that are not held to pass; only a wrong pass can come of its shortness.
const A_WHILE: Duration = Duration::from_millis(50);

/// Two nodes that are plain listeners, and a connection that A has dialled to B.
struct Bench {
    net: Net,
    listener: TcpListener,
    a: TcpStream,
    b: TcpStream,
}

impl Bench {
    async fn new() -> Self {
        let net = Net::open(&[A, B], 1).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        net.set_upstream(B, Some(listener.local_addr().unwrap()));
        let (a, b) = dial(&net, &listener).await;
        Self { net, listener, a, b }
    }
}

async fn dial(net: &Net, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let a = TcpStream::connect(net.address(End::Node(A), B)).await.unwrap();
    let (b, _) = timeout(SOON, listener.accept()).await.unwrap().unwrap();
    (a, b)
}

async fn hears(socket: &mut TcpStream, said: &[u8]) {
    let mut heard = vec![0; said.len()];
    timeout(SOON, socket.read_exact(&mut heard)).await.expect("in time").unwrap();
    assert_eq!(heard, said);
}

async fn hears_nothing(socket: &mut TcpStream) {
    let mut heard = [0; 1];
    assert!(timeout(A_WHILE, socket.read(&mut heard)).await.is_err());
}

#[tokio::test]
async fn bytes_pass_both_ways() {
    let mut bench = Bench::new().await;
    bench.a.write_all(b"there").await.unwrap();
    hears(&mut bench.b, b"there").await;
    bench.b.write_all(b"back").await.unwrap();
    hears(&mut bench.a, b"back").await;
}

#[tokio::test]
async fn a_cut_holds_one_direction_on_connections_dialled_by_either_until_it_is_healed() {
    let mut bench = Bench::new().await;
    bench.net.install(1, vec![(Pair::nodes(B, A), Shape::CUT)]);
    bench.b.write_all(b"held").await.unwrap();
    bench.a.write_all(b"passes").await.unwrap();
    hears(&mut bench.b, b"passes").await;
    hears_nothing(&mut bench.a).await;
    // A connection made while the cut is in force obeys it too.
    let (mut late_a, mut late_b) = dial(&bench.net, &bench.listener).await;
    late_b.write_all(b"held").await.unwrap();
    hears_nothing(&mut late_a).await;
    bench.net.heal(1);
    hears(&mut bench.a, b"held").await;
    hears(&mut late_a, b"held").await;
}

#[tokio::test]
async fn a_cut_hides_even_the_end_of_a_connection() {
    let mut bench = Bench::new().await;
    bench.net.install(1, vec![(Pair::nodes(A, B), Shape::CUT)]);
    drop(bench.a);
    hears_nothing(&mut bench.b).await;
    bench.net.heal(1);
    let mut heard = Vec::new();
    timeout(SOON, bench.b.read_to_end(&mut heard)).await.unwrap().unwrap();
    assert!(heard.is_empty());
}

#[tokio::test]
async fn faults_on_one_flow_add_up_and_heal_apart() {
    let bench = Bench::new().await;
    let flow = Pair::nodes(A, B);
    let slow = Shape::slow(Duration::from_millis(5), Duration::ZERO);
    bench.net.install(1, vec![(flow, Shape::CUT)]);
    bench.net.install(2, vec![(flow, slow)]);
    bench.net.install(3, vec![(flow, slow)]);
    assert!(bench.net.shape(flow).cut);
    bench.net.heal(1);
    assert_eq!(bench.net.shape(flow).delay, Duration::from_millis(10));
    assert_eq!(bench.net.shape(flow.back()), Shape::PASS);
    bench.net.heal_all();
    assert_eq!(bench.net.shape(flow), Shape::PASS);
}

#[tokio::test]
async fn delayed_bytes_come_late_and_in_order() {
    let mut bench = Bench::new().await;
    let delay = Duration::from_millis(40);
    bench.net.install(1, vec![(Pair::nodes(A, B), Shape::slow(delay, delay))]);
    let started = Instant::now();
    for byte in 0..20 {
        bench.a.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    hears(&mut bench.b, &(0..20).collect::<Vec<u8>>()).await;
    assert!(started.elapsed() >= delay);
}

#[tokio::test]
async fn a_narrow_link_takes_its_time() {
    let mut bench = Bench::new().await;
    let narrow = Shape { rate: Some(100_000), ..Shape::PASS };
    bench.net.install(1, vec![(Pair::nodes(A, B), narrow)]);
    let started = Instant::now();
    bench.a.write_all(&[7; 20_000]).await.unwrap();
    hears(&mut bench.b, &[7; 20_000]).await;
    assert!(started.elapsed() >= Duration::from_millis(150), "{:?}", started.elapsed());
}

#[tokio::test]
async fn bytes_are_changed_one_way_and_counted_and_not_after_the_heal() {
    let mut bench = Bench::new().await;
    let share = Shape { corrupt: 1_000_000, ..Shape::PASS };
    bench.net.install(1, vec![(Pair::nodes(A, B), share)]);
    bench.a.write_all(&[0; 1000]).await.unwrap();
    let mut heard = [0; 1000];
    timeout(SOON, bench.b.read_exact(&mut heard)).await.unwrap().unwrap();
    let others = heard.iter().filter(|byte| **byte != 0).count() as u64;
    assert!(others > 0 && bench.net.changed(A) == others && bench.net.changed(B) == 0);
    bench.b.write_all(b"back").await.unwrap();
    hears(&mut bench.a, b"back").await;
    bench.net.heal(1);
    bench.a.write_all(b"as it is").await.unwrap();
    hears(&mut bench.b, b"as it is").await;
}

#[tokio::test]
async fn a_reset_breaks_open_connections_and_new_ones_until_it_is_healed() {
    let mut bench = Bench::new().await;
    bench.net.install(1, vec![(Pair::nodes(A, B), Shape::RESET)]);
    for socket in [&mut bench.a, &mut bench.b] {
        let error = timeout(SOON, socket.read(&mut [0])).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
    let mut late = TcpStream::connect(bench.net.address(End::Node(A), B)).await.unwrap();
    assert!(timeout(SOON, late.read(&mut [0])).await.unwrap().is_err());
    bench.net.heal(1);
    let (mut a, mut b) = dial(&bench.net, &bench.listener).await;
    a.write_all(b"again").await.unwrap();
    hears(&mut b, b"again").await;
}

#[tokio::test]
async fn who_dials_a_dead_process_is_told_at_once() {
    let bench = Bench::new().await;
    bench.net.set_upstream(B, None);
    let mut dialled = TcpStream::connect(bench.net.address(End::Node(A), B)).await.unwrap();
    assert!(timeout(SOON, dialled.read(&mut [0])).await.unwrap().is_err());
}

#[tokio::test]
async fn held_bytes_are_bounded_and_none_is_lost() {
    let mut bench = Bench::new().await;
    bench.net.install(1, vec![(Pair::nodes(A, B), Shape::CUT)]);
    let mut written = 0;
    let chunk = [9; 64 << 10];
    while let Ok(count) = timeout(Duration::from_millis(200), bench.a.write(&chunk)).await {
        written += count.unwrap();
        assert!(written < 64 << 20, "a cut link took 64 MiB");
    }
    bench.net.heal(1);
    let mut heard = vec![0; written];
    timeout(SOON, bench.b.read_exact(&mut heard)).await.unwrap().unwrap();
    assert!(heard.iter().all(|byte| *byte == 9));
}

/// An HTTP/2 server that answers pings, as a node does.
async fn serve_pings(listener: TcpListener) {
    while let Ok((socket, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut connection = h2::server::handshake(socket).await.unwrap();
            while connection.accept().await.is_some() {}
        });
    }
}

#[tokio::test]
async fn a_ping_tells_which_direction_is_cut() {
    let net = Net::open(&[A, B], 1).await.unwrap();
    for node in [A, B] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        net.set_upstream(node, Some(listener.local_addr().unwrap()));
        tokio::spawn(serve_pings(listener));
    }
    let ping =
        |from, to, patience| net.ping(Ping { from: End::Node(from), to, patience, weight: 0 });
    assert!(ping(A, B, SOON).await.shows(false, false));
    net.install(1, vec![(Pair::nodes(A, B), Shape::CUT)]);
    let (there, back) = tokio::join!(ping(A, B, A_WHILE * 4), ping(B, A, A_WHILE * 4));
    assert!(there.shows(true, false), "{there:?}");
    assert!(back.shows(false, true), "{back:?}");
    net.heal(1);
    assert!(ping(A, B, SOON).await.shows(false, false));
    assert!(ping(B, A, SOON).await.shows(false, false));
}
