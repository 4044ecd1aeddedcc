use model::*;
use dynamo_protocol::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let mut spec = Spec::new(a[1].parse().unwrap());
    for w in &a[2..] {
        let (k, v) = w.split_once('=').unwrap_or((w, "1"));
        let n = || v.parse::<usize>().unwrap();
        match k {
            "nodes" => spec.nodes = n(), "n" => spec.n = n(), "r" => spec.r = n(), "w" => spec.w = n(),
            "sloppy" => { spec.quorum = Quorum::Sloppy; spec.nodes = 4 }
            "paper" => spec.versioning = Versioning::Paper,
            "lww" => spec.versioning = Versioning::Lww,
            "atomic" => spec.read = ReadMode::Atomic,
            "c" => { spec.faults.crashes = n() as u8; spec.faults.restarts = n() as u8 }
            "part" => spec.faults.partitions = n() as u8,
            "wipe" => { spec.faults.wipes = n() as u8; spec.faults.restarts += n() as u8 }
            "forget" => spec.faults.forgotten = n() as u8,
            "hedge" => spec.faults.hedges = n() as u8,
            "loss" => spec.faults.losses = n() as u8,
            "norenew" => spec.renew = false,
            "none" => spec.reductions = Reductions::NONE,
            "without" => spec.reductions = Reductions::without(v),
            _ => panic!("{k}"),
        }
    }
    let bench = Bench::new(spec).unwrap();
    let mut search = Search::new(&bench, CLAIMS.len());
    let mut last = std::time::Instant::now();
    let out = search.run(&Budget { time: std::time::Duration::from_secs(120), ..Budget::NONE }, &mut |p| if last.elapsed().as_secs() >= 5 { last = std::time::Instant::now(); eprintln!("{p:?}") });
    println!("complete {} states {} generated {} depth {} {:.2}s mem {}M {}", out.complete, out.progress.states, out.progress.generated, out.progress.depth, out.progress.elapsed.as_secs_f64(), out.progress.memory>>20, bench.sizes());
    for (c, f) in CLAIMS.iter().zip(&out.found) {
        if let Some(p) = f {
            println!("{} {} {} steps {}", if c.kind == Kind::Always {"BROKEN"} else {"shown"}, c.name, p.len(), if (c.promised)(bench.spec()) {"(promised)"} else {""});
            if c.kind == Kind::Always && (c.promised)(bench.spec()) { println!("{}", bench.trace(p).join("\n")) }
        }
    }
}
