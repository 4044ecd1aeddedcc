//! `dyno test` from end to end: real processes, real faults, real verdicts, real exit statuses.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use checker::history::History;
use serde_json::Value;

const DYNO: &str = env!("CARGO_BIN_EXE_dyno");
/// What the driver promises about the processes it leaves behind.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// A folder for results, and the runs in it.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn out(&self) -> &Path {
        self.dir.path()
    }

    fn latest(&self, name: &str) -> PathBuf {
        self.out().join("latest").join(name)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(DYNO);
        command.arg("test").args(line.split_whitespace()).arg("--out").arg(self.out());
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, line: &str) -> Output {
        let output = self.command(line).output().unwrap();
        assert_eq!(self.survivors(), BTreeSet::new(), "after `dyno test {line}`");
        output
    }

    /// Runs with `--json`; the exit status and the last line on standard output.
    fn judge(&self, line: &str) -> (Option<i32>, Value) {
        let output = self.run(&format!("{line} --json"));
        let text = String::from_utf8(output.stdout).unwrap();
        let last = text.lines().last().unwrap_or_else(|| {
            panic!("no output; {}", String::from_utf8_lossy(&output.stderr));
        });
        let verdict: Value = serde_json::from_str(last).unwrap();
        let kept = fs::read_to_string(self.latest("verdict.json")).unwrap();
        assert_eq!(kept.trim(), last, "what is printed is what is kept");
        (output.status.code(), verdict)
    }

    /// The processes of this bench's nodes: only they have its folder on their command line.
    fn survivors(&self) -> BTreeSet<u32> {
        let folder = self.out().to_str().unwrap();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            line.contains(folder) && line.split('\0').any(|word| word == "serve")
        })
        .collect()
    }

    /// Starts a run and returns when its clients are at work.
    fn started(&self, line: &str) -> Child {
        let mut child =
            self.command(line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        self.works(&mut child);
        child
    }

    /// Returns when the clients of the run are at work: so many puts were acknowledged, half of them adds.
    fn works(&self, child: &mut Child) {
        const PUTS: usize = 80;
        let deadline = Instant::now() + Duration::from_secs(60);
        let acknowledged = |line: &&str| line.contains(r#""type":"ok","f":"put""#);
        let puts = |history: String| history.lines().filter(acknowledged).count();
        while fs::read_to_string(self.latest("history.jsonl")).map_or(0, puts) < PUTS {
            assert!(Instant::now() < deadline, "no work was done");
            assert!(child.try_wait().unwrap().is_none(), "it ended before its time");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn all_are_gone_in_time(&self) {
        let deadline = Instant::now() + GONE_WITHIN;
        while !self.survivors().is_empty() {
            assert!(Instant::now() < deadline, "left behind: {:?}", self.survivors());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Bench {
    /// A run that was not what it should be is gone with its folder: what its nodes had to say is kept.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for log in fs::read_dir(self.latest("logs")).into_iter().flatten().flatten() {
            let text = fs::read_to_string(log.path()).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            let last = &lines[lines.len().saturating_sub(30)..];
            eprintln!("---- {}\n{}", log.file_name().display(), last.join("\n"));
        }
    }
}

fn stands_still(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

/// A short run with kills, with everything else as `more` says.
fn survives_kills(more: &str) -> Bench {
    let bench = Bench::new();
    let (status, verdict) =
        bench.judge(&format!("--nodes 3 --faults kill --time 5s --seed 4 {more}"));
    assert_eq!(status, Some(0), "{more}: {:#}", verdict["reasons"]);
    assert!(count(&verdict["faults"]["kill"]["installed"]) > 0, "{more}");
    bench
}

#[test]
fn nodes_are_tested_on_redb() {
    let bench = survives_kills("--engine redb");
    let setup = fs::read_to_string(bench.latest("plan.toml")).unwrap();
    assert!(setup.contains("engine = \"redb\""), "{setup}");
}

#[test]
fn nodes_are_tested_over_tls() {
    let bench = survives_kills("--tls --durability one");
    assert!(bench.latest("tls").join("n3.pem").exists());
    let setup = fs::read_to_string(bench.latest("plan.toml")).unwrap();
    assert!(setup.contains("tls = true") && setup.contains("durability = \"one\""), "{setup}");
}

#[test]
fn a_run_with_kill_pause_and_partition_is_valid_and_covered() {
    let bench = Bench::new();
    let (status, verdict) = bench.judge("--time 8s --seed 1");
    assert_eq!(status, Some(0), "{:#}", verdict["reasons"]);
    for part in ["verdict", "property", "coverage", "harness"] {
        assert_eq!(verdict[part], "valid", "{part}: {:#}", verdict["reasons"]);
    }
    for name in ["kill", "pause", "partition"] {
        let fault = &verdict["faults"][name];
        assert!(count(&fault["installed"]) > 0 && fault["installed"] == fault["healed"], "{name}");
        assert!(
            count(&fault["ok_gets_during"]) > 0 && count(&fault["ok_puts_during"]) > 0,
            "{name}"
        );
    }
    for mechanism in ["hints_stored", "hints_delivered", "read_repairs"] {
        assert!(count(&verdict["counters"][mechanism]) > 0, "{mechanism}");
    }
    let cart = &verdict["checks"]["cart"];
    assert!(count(&cart["acknowledged"]) > 100);
    assert_eq!(cart["lost"], Value::Array(vec![]));
    everything_is_kept(&bench);
}

fn everything_is_kept(bench: &Bench) {
    let history = History::read(bench.latest("history.jsonl")).unwrap();
    assert!(history.torn().is_none());
    let asked = |f: &str| history.pairs().filter(|pair| pair.f() == f).count();
    assert!(asked("get") > 100 && asked("put") > 100 && asked("home") > 10);
    let again =
        Command::new(DYNO).arg("check").arg(bench.latest("history.jsonl")).output().unwrap();
    assert_eq!(again.status.code(), Some(0), "{}", String::from_utf8_lossy(&again.stdout));
    let plan = fs::read_to_string(bench.latest("plan.toml")).unwrap();
    assert!(plan.contains("seed = 1") && plan.contains("time = \"8s\""), "{plan}");
    for node in 1..=5 {
        let log = fs::read_to_string(bench.latest(&format!("logs/n{node}.log"))).unwrap();
        assert!(!log.is_empty(), "n{node} logged nothing");
    }
}

#[test]
fn last_writer_wins_loses_items_and_the_verdict_names_them() {
    let bench = Bench::new();
    let (status, verdict) = bench.judge("--versioning lww --time 4s --faults partition --seed 2");
    assert_eq!(status, Some(1), "{:#}", verdict["reasons"]);
    assert_eq!(verdict["property"], "invalid");
    let lost = verdict["checks"]["cart"]["lost"].as_array().unwrap();
    assert!(!lost.is_empty());
    let history = History::read(bench.latest("history.jsonl")).unwrap();
    for item in lost {
        let add = history.get(count(&item["add"])).unwrap();
        assert_eq!(add.value.as_ref().unwrap()["add"], item["item"], "the op that added it");
        for read in item["reads"].as_array().unwrap() {
            let read = history.get(count(read)).unwrap();
            assert_eq!(
                read.key.as_deref(),
                item["key"].as_str(),
                "an op that should have shown it"
            );
        }
    }
}

#[test]
fn every_other_fault_can_be_done_and_proven() {
    let bench = Bench::new();
    let (status, verdict) = bench.judge("--faults delay,rate,reset,wipe --time 8s --seed 3");
    assert_eq!(status, Some(0), "{:#}", verdict["reasons"]);
    assert_eq!(verdict["faults"]["wipe"]["installed"], 1, "W - 1 disks");
}

/// Nothing that was changed on the way is stored, or shown to a client: neither by links that carry what they
/// are given, nor by those of TLS.
#[test]
fn bytes_that_are_changed_between_nodes_are_refused() {
    for (tls, refused) in [("", "messages_corrupt"), (" --tls", "links_broken")] {
        let bench = Bench::new();
        let line = format!("--faults corrupt --workload large --time 6s --seed 4{tls}");
        let (_, verdict) = bench.judge(&line);
        for part in ["property", "harness"] {
            assert_eq!(verdict[part], "valid", "{line}: {:#}", verdict["reasons"]);
        }
        let fault = &verdict["faults"]["corrupt"];
        // Pings, by which links are seen to be healed, do not speak TLS.
        assert!(count(&fault["proven"]) > 0, "{fault}");
        assert!(!tls.is_empty() || fault["proven"] == fault["healed"], "{fault}");
        assert!(count(&verdict["counters"][refused]) > 0, "{:#}", verdict["counters"]);
        let log = bench.latest("history.jsonl");
        assert!(fs::read_to_string(log).unwrap().contains(" bytes were changed; nodes refused "));
    }
}

/// Who is hit is known as a fault begins: of real nodes, who has just acknowledged, or whom a hint is for.
#[test]
fn faults_are_aimed_at_what_real_nodes_do() {
    let bench = Bench::new();
    let plan = bench.out().join("aimed.toml");
    let text = r#"
        time = "12s"
        faults = ["partition", "pause"]
        [fault]
        overlap = 1
        shapes = ["one"]
        targets = ["acknowledged", "hinted"]
    "#;
    fs::write(&plan, text).unwrap();
    let (_, verdict) = bench.judge(&format!("{} --seed 2", plan.display()));
    assert_eq!(verdict["property"], "valid", "{:#}", verdict["reasons"]);
    let history = fs::read_to_string(bench.latest("history.jsonl")).unwrap();
    for why in ["it answered the newest acknowledged put", " stored a hint for it"] {
        assert!(history.contains(why), "{why}: {:#}", verdict["reasons"]);
    }
}

#[test]
fn nodes_join_leave_and_are_replaced_while_clients_write() {
    let bench = Bench::new();
    let plan = bench.out().join("changes.toml");
    let faults = r#"faults = ["join", "leave", "replace"]"#;
    fs::write(
        &plan,
        format!("{faults}\ntime = \"12s\"\n[cluster]\nnodes = 6\nexchange = \"100ms\""),
    )
    .unwrap();
    let (status, verdict) = bench.judge(&format!("--plan {} --seed 1", plan.display()));
    assert_eq!(status, Some(0), "{:#}", verdict["reasons"]);
    for name in ["join", "leave", "replace"] {
        let fault = &verdict["faults"][name];
        assert!(count(&fault["healed"]) > 0 && fault["installed"] == fault["healed"], "{name}");
        assert!(count(&fault["moved_keys"]) > 0, "{name}");
    }
    let memberships = verdict["memberships"].as_array().unwrap();
    assert!(memberships.len() > 4, "join, leave in two epochs, replace: {memberships:?}");
    // Who came was written to and read in the end, and who went was not asked any more.
    let last: BTreeSet<_> = memberships.last().unwrap()["seats"]
        .as_array()
        .unwrap()
        .iter()
        .map(|seat| format!("n{}", seat["node"]))
        .collect();
    let history = History::read(bench.latest("history.jsonl")).unwrap();
    let finals = history.pairs().filter(|pair| pair.f() == "get" && pair.is_final());
    let asked: BTreeSet<_> = finals.filter_map(|pair| pair.node().map(str::to_owned)).collect();
    assert_eq!(asked, last);
}

#[test]
fn hints_that_are_lost_are_a_lost_disk_and_no_more() {
    let bench = Bench::new();
    let (status, verdict) = bench.judge("--nodes 6 --faults losehints --time 8s --seed 2");
    assert_eq!(status, Some(0), "{:#}", verdict["reasons"]);
    assert!(count(&verdict["faults"]["losehints"]["proven"]) > 0);
    assert!(
        fs::read_to_string(bench.latest("history.jsonl")).unwrap().contains("hints are removed")
    );
}

#[test]
fn a_disk_that_was_rolled_back_and_one_with_flipped_bits_are_noticed() {
    let bench = Bench::new();
    let line = "--nodes 6 -n 4 -r 2 -w 4 --faults rollback,bitflip --time 8s --seed 6";
    let (status, verdict) = bench.judge(line);
    assert_eq!(status, Some(0), "{:#}", verdict["reasons"]);
    for fault in ["rollback", "bitflip"] {
        assert!(count(&verdict["faults"][fault]["healed"]) >= 1, "{:#}", verdict["faults"]);
    }
}

#[test]
fn a_directory_that_is_put_back_to_an_older_copy_is_noticed_by_peers() {
    let bench = Bench::new();
    let (status, verdict) = bench.judge("--faults rollback --time 6s --seed 1");
    assert_eq!(status, Some(0), "{:#}", verdict["reasons"]);
    assert_eq!(verdict["checks"]["disks"]["judged"], 1);
    let history = History::read(bench.latest("history.jsonl")).unwrap();
    let shown = |part: &str| {
        history.iter().any(|op| {
            op.value.as_ref().is_some_and(|value| value["proof"].to_string().contains(part))
        })
    };
    assert!(shown("its directory is what it was") && shown("its peers told it"));
}

#[test]
fn a_strict_cluster_keeps_its_promise_in_an_open_loop() {
    let bench = Bench::new();
    let line = "--quorum strict --faults kill --rate 200 --time 5s --seed 4";
    let (status, verdict) = bench.judge(line);
    assert_eq!(status, Some(0), "{:#}", verdict["reasons"]);
    assert_eq!(verdict["counters"]["hints_stored"], 0, "strict mode has no fallbacks");
}

#[test]
fn disks_that_fail_clocks_that_are_wrong_and_messages_that_get_lost_are_borne_and_proven() {
    let bench = Bench::new();
    let faults = "powercut,diskfull,eio,slowdisk,clock,loss,duplicate,reorder";
    let (status, verdict) = bench.judge(&format!("--faults {faults} --time 24s --seed 3"));
    assert_eq!(status, Some(0), "{:#}", verdict["reasons"]);
    for name in faults.split(',') {
        let fault = &verdict["faults"][name];
        assert!(count(&fault["proven"]) > 0 && fault["proven"] == fault["installed"], "{name}");
    }
    // Nodes that were told of a failed write ended, and said why: by their own word.
    assert!(count(&verdict["checks"]["disks"]["judged"]) > 0);
    let history = fs::read_to_string(bench.latest("history.jsonl")).unwrap();
    for said in ["the storage failed", "changes were not synced", "a message was lost"] {
        assert!(history.contains(said), "{said}");
    }
}

#[test]
fn a_file_that_lost_its_end_is_noticed() {
    let bench = Bench::new();
    let (status, verdict) = bench.judge("--faults truncate,kill --time 6s --seed 2");
    assert_eq!(status, Some(0), "{:#}", verdict["reasons"]);
    assert_eq!(verdict["faults"]["truncate"]["healed"], 1);
}

#[test]
fn heavy_carts_and_counters_come_back_as_they_were_put() {
    for workload in ["large", "counter", "register"] {
        let bench = Bench::new();
        let line = format!("--workload {workload} --faults kill,partition --time 5s --seed 1");
        let (status, verdict) = bench.judge(&line);
        assert_eq!(status, Some(0), "{workload}: {:#}", verdict["reasons"]);
        let not = verdict["not_entitled"].as_object().map_or(0, serde_json::Map::len);
        assert_eq!(
            not,
            usize::from(workload != "large"),
            "{workload}: sloppy quorums promise less"
        );
    }
}

#[test]
fn a_quiet_run_is_valid_without_faults() {
    let bench = Bench::new();
    let (status, verdict) = bench.judge("--faults none --time 2s --nodes 3 --seed 5");
    assert_eq!(status, Some(0), "{:#}", verdict["reasons"]);
    assert_eq!(verdict["faults"], serde_json::json!({}));
}

#[test]
fn a_driver_that_is_killed_leaves_no_process_and_a_history_that_can_be_read() {
    let bench = Bench::new();
    // Paused processes are the hard ones: they do not see their standard input close.
    let mut child = bench.started("--faults pause --time 60s --seed 6");
    let deadline = Instant::now() + Duration::from_secs(30);
    while !bench.survivors().into_iter().any(stands_still) {
        assert!(Instant::now() < deadline, "nothing was paused");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    bench.all_are_gone_in_time();
    let history = History::read(bench.latest("history.jsonl")).unwrap();
    assert!(history.len() > 20);
}

/// A run that was asked to end in the middle, judged on what there is.
fn is_judged(bench: &Bench, child: &mut Child) {
    assert_eq!(child.wait().unwrap().code(), Some(255));
    bench.all_are_gone_in_time();
    let verdict = fs::read_to_string(bench.latest("verdict.json")).unwrap();
    let verdict: Value = serde_json::from_str(&verdict).unwrap();
    let (whole, harness) = (&verdict["verdict"], &verdict["harness"]);
    assert_eq!(
        (whole, harness),
        (&"unknown".into(), &"unknown".into()),
        "{:#}",
        verdict["reasons"]
    );
    let harness = verdict["reasons"]["harness"].as_array().unwrap();
    let reason = harness[0].as_str().unwrap();
    assert!(reason.starts_with("interrupted at ") && harness.len() == 1, "{harness:?}");
    assert_eq!(verdict["property"], "valid", "{:#}", verdict["reasons"]);
    let cart = &verdict["checks"]["cart"];
    assert!(count(&cart["final_reads"]) > 0 && count(&cart["acknowledged"]) > 20, "{cart:#}");
}

#[test]
fn a_driver_that_is_asked_to_end_reads_what_was_kept_and_judges_it() {
    let bench = Bench::new();
    let mut child = bench.started("--faults pause,kill --time 60s --seed 7");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    is_judged(&bench, &mut child);
}

/// As a terminal does when somebody types ^C: the whole group of the driver is told.
#[test]
fn what_is_typed_at_the_terminal_is_meant_for_the_driver_and_not_for_its_nodes() {
    let bench = Bench::new();
    let mut command = bench.command("--faults none --time 60s --seed 7");
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    bench.works(&mut child);
    let group = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process_group(group, rustix::process::Signal::INT).unwrap();
    is_judged(&bench, &mut child);
}

#[test]
fn a_node_that_somebody_else_ends_is_started_again_and_the_run_is_judged() {
    let bench = Bench::new();
    let mut child = bench.started("--faults none --time 4s --seed 12");
    let victim = bench.survivors().into_iter().next().unwrap();
    let victim = rustix::process::Pid::from_raw(victim.cast_signed()).unwrap();
    rustix::process::kill_process(victim, rustix::process::Signal::KILL).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(255));
    bench.all_are_gone_in_time();
    let verdict = fs::read_to_string(bench.latest("verdict.json")).unwrap();
    let verdict: Value = serde_json::from_str(&verdict).unwrap();
    assert_eq!(verdict["property"], "valid", "{:#}", verdict["reasons"]);
    assert_eq!(verdict["harness"], "unknown");
    let harness = verdict["reasons"]["harness"].as_array().unwrap();
    let reason = harness[0].as_str().unwrap();
    assert!(reason.contains("was ended by somebody else (signal 9) at "), "{harness:?}");
    assert_eq!(harness.len(), 1, "{harness:?}");
    assert!(count(&verdict["checks"]["cart"]["final_reads"]) > 0);
}

#[test]
fn a_driver_that_is_asked_twice_ends_at_once() {
    let bench = Bench::new();
    let mut command = bench.command("--faults pause --time 60s --seed 8");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    bench.works(&mut child);
    for expected in ["asked to end", "interrupted twice"] {
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        assert!(said.any(|line| line.contains(expected)), "not {expected}");
    }
    assert_eq!(child.wait().unwrap().code(), Some(255));
    bench.all_are_gone_in_time();
}

/// The steps of a key are found, also those that name an operation only.
fn told_by_key_and_operation(run: &Path) {
    let told = |flags: &[&str]| {
        let ran = Command::new(DYNO).arg("records").arg(run).args(flags).output().unwrap();
        assert_eq!(ran.status.code(), Some(0), "{ran:?}");
        String::from_utf8(ran.stdout).unwrap()
    };
    let of_key = told(&["--key", "cart-1", "--json"]);
    let steps: Vec<Value> =
        of_key.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let is = |step: &&Value, what: &str| step["input"].as_str().unwrap().contains(what);
    let put = steps.iter().find(|step| is(step, " put key=cart-1 ")).expect("somebody put");
    assert!(steps.iter().any(|step| is(&step, ": stored op=")), "acknowledgements name no key");
    let others = steps.iter().any(|step| is(&step, " key=cart-2"));
    assert!(!others, "what was asked of another key");
    let op = put["ops"][0].as_str().unwrap();
    let of_op = told(&["--op", op]);
    assert!(of_op.contains(&format!("coordinating op={op}")), "{of_op}");
    let node = put["node"].as_str().unwrap();
    assert!(of_op.contains(&format!(" {node} #")) && of_op.contains("reply request="), "{of_op}");
    assert!(told(&["--op", op, "--node", "n9"]).is_empty());
}

#[test]
fn what_nodes_record_replays_through_the_core_however_they_ended() {
    let bench = Bench::new();
    let (status, verdict) =
        bench.judge("--record --nodes 3 -n 3 --faults kill,wipe --time 5s --seed 9");
    assert_eq!(status, Some(0), "{:#}", verdict["reasons"]);
    let records = &verdict["checks"]["records"];
    assert_eq!(records["verdict"], "valid", "{records:#}");
    let together = &verdict["checks"]["white-box"];
    assert_eq!(together["verdict"], "valid", "{together:#}");
    assert!(
        count(&together["acknowledged"]) > 100 && count(&together["restarts"]) > 0,
        "{together:#}"
    );
    let of = |name: &str| -> Vec<u64> {
        (1..=3).map(|node| count(&records["nodes"][format!("n{node}")][name])).collect()
    };
    assert!(of("equal").into_iter().all(|steps| steps > 100), "{records:#}");
    assert!(of("records").into_iter().any(|starts| starts > 1), "nobody was started again");
    let again = Command::new(DYNO)
        .args(["replay", "--json", "--record"])
        .arg(bench.out().join("latest"))
        .output()
        .unwrap();
    let text = String::from_utf8(again.stdout).unwrap();
    let found: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(again.status.code(), Some(0), "{text}");
    // The nodes went on a little, to their end, when the run had been judged.
    assert!(count(&found["steps"]) >= count(&records["steps"]), "{text}");
    told_by_key_and_operation(&bench.out().join("latest"));
    leave_steps_out(&bench.latest("records"));
    let mut lacking = Command::new(DYNO);
    let lacking = lacking.args(["replay", "--record"]).arg(bench.latest("records"));
    let lacking = lacking.output().unwrap();
    let text = String::from_utf8(lacking.stdout).unwrap();
    assert_eq!(lacking.status.code(), Some(1), "{text}");
    assert!(text.contains(" differs") && text.contains("recorded: "), "{text}");
    let nothing = tempfile::tempdir().unwrap();
    let mut refused = Command::new(DYNO);
    let refused = refused.args(["replay", "--record"]).arg(nothing.path()).output().unwrap();
    assert_eq!(refused.status.code(), Some(254));
}

#[test]
fn the_page_of_a_recorded_run_shows_what_nodes_sent_each_other_and_what_they_held() {
    let bench = Bench::new();
    let (status, _) = bench.judge("--record --versioning lww --faults none --time 2s --seed 7");
    assert_eq!(status, Some(1));
    let page = fs::read_to_string(bench.latest("report.html")).unwrap();
    assert!(page.contains("What the nodes sent each other for it"));
    assert!(page.contains("What each replica held when it answered"));
    for part in [": put from client to n", ": store from n", ": fetched from n", ": stored from n"]
    {
        assert!(page.contains(part), "no message is told as {part:?}");
    }
}

/// Takes steps out of the largest record: the core cannot get to what comes after them.
fn leave_steps_out(records: &Path) {
    let files = fs::read_dir(records).unwrap().map(|entry| entry.unwrap().path());
    let largest = files.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let bytes = fs::read(&largest).unwrap();
    let (mut kept, mut rest, mut frame) = (Vec::new(), &bytes[..], 0);
    while let Some((length, _)) = rest.split_first_chunk::<4>() {
        let whole = (u32::from_le_bytes(*length) as usize + 8).min(rest.len());
        if !(20..60).contains(&frame) {
            kept.extend_from_slice(&rest[..whole]);
        }
        (frame, rest) = (frame + 1, &rest[whole..]);
    }
    fs::write(&largest, kept).unwrap();
}

#[test]
fn a_simulated_run_that_records_leaves_a_trace_the_core_agrees_with() {
    let bench = Bench::new();
    let (status, verdict) = bench.judge("--cluster sim --record --time 3s --seed 10");
    assert_eq!(status, Some(0), "{:#}", verdict["reasons"]);
    assert!(count(&verdict["checks"]["records"]["steps"]) > 100);
    let again = Command::new(DYNO).arg("replay").arg(bench.latest("trace.json")).output().unwrap();
    assert_eq!(again.status.code(), Some(0), "{}", String::from_utf8_lossy(&again.stdout));
}

#[test]
fn a_cluster_that_cannot_start_is_reported_with_the_log_and_nothing_is_left() {
    let bench = Bench::new();
    let (status, verdict) = bench.judge("--binary /bin/false --seed 1");
    assert_eq!(status, Some(255));
    assert_eq!((&verdict["verdict"], &verdict["harness"]), (&"unknown".into(), &"invalid".into()));
    let reason = verdict["reasons"]["harness"][0].as_str().unwrap();
    assert!(reason.contains("did not start") && reason.contains("n1.log"), "{reason}");
}

/// Refused in one line on standard error, with status 254, before anything was started.
fn refused(line: &str, expected: &str) {
    let bench = Bench::new();
    let output = bench.run(line);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(254), "`{line}`: {error}");
    assert!(error.contains(expected), "`{line}`: {error}");
    assert_eq!(fs::read_dir(bench.out()).unwrap().count(), 0, "`{line}` left something");
}

#[test]
fn bad_input_is_refused_before_anything_starts() {
    refused("--faults kil", "is `kill` meant?");
    refused("-w 4", "-w: cluster.w = 4: from 1 to 3, which is n");
    refused("-n 9", "-n: cluster.n = 9: from 1 to 5, the number of nodes");
    refused("--nodes 0", "--nodes: cluster.nodes 0: from 1 to 25");
    refused("--time soon", "no length of time");
    refused("--time 0s", "--time: time 0s: from 1ms");
    refused("--quorum weak", "possible values: sloppy, strict");
    refused("--versioning wall", "possible values: dotted, paper, lww");
    refused("--cluster cloud", "`cloud` is not one of local, ssh, lab, sim");
    refused("--seed minus", "invalid value");
    refused("--seed 18446744073709551615", "the largest a plan can hold");
    refused("--rate 0", "--rate: workload.rate 0: from 0.001");
    refused("--concurrency 0", "from 1 to 1000");
    refused("--workload bank", "`bank` is not one of cart");
    refused("--no-such-flag", "unexpected argument");
    refused("no-such-plan.toml", "no-such-plan.toml: No such file");
    refused("--binary /no/such/file", "is no file");
    refused("--faults wipe -w 1 -r 1", "at most W-1 disks");
}

#[test]
fn a_plan_with_a_misspelt_key_is_refused_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nightly.toml");
    fs::write(&path, "time = \"5s\"\n[cluster]\nquroum = \"strict\"\n").unwrap();
    refused(path.to_str().unwrap(), "nightly.toml:3:1: unknown field `quroum`");
}

#[test]
fn results_that_cannot_be_written_are_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = Command::new(DYNO).args(["test", "--out"]).arg(file.path()).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(254), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("results cannot be written"), "{error}");
}

#[test]
fn a_port_in_use_is_a_failure_of_the_node_and_says_so() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = tempfile::tempdir().unwrap();
    let child = Command::new(DYNO)
        .args(["node", "serve", "--id", "1", "--members", "1", "-n", "1", "-r", "1", "-w", "1"])
        .args(["--genesis", "--listen", &address, "--data"])
        .arg(data.path().join("n1"))
        .stderr(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let lines: Vec<_> = BufReader::new(&*output.stderr).lines().map(Result::unwrap).collect();
    assert_eq!(output.status.code(), Some(255), "{lines:?}");
    let last = lines.last().unwrap();
    assert!(last.contains(&address), "{last}");
}

#[test]
fn help_is_no_error() {
    for line in [&["--help"][..], &["test", "--help"], &["--version"]] {
        let output = Command::new(DYNO).args(line).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(!output.stdout.is_empty());
    }
    assert_eq!(Command::new(DYNO).output().unwrap().status.code(), Some(254));
}

/// Nodes that lose patience with each other after two milliseconds, without any fault: fallbacks answer
/// gets of keys that are whole on all their homes.
#[test]
fn nodes_without_patience_make_no_false_accusation() {
    let bench = Bench::new();
    let plan = bench.out().join("impatient.toml");
    let text = "time = \"3s\"\nfaults = []\n[cluster]\nhedge = \"2ms\"\nping = \"5ms\"\n\
                [workload]\nconcurrency = 60\nthink = \"0ms\"\n";
    fs::write(&plan, text).unwrap();
    let (status, verdict) = bench.judge(&format!("{} --seed 3", plan.display()));
    let (property, reasons) = (&verdict["property"], &verdict["reasons"]);
    assert_ne!(property, "invalid", "{reasons:#}");
    // A machine that is busy beyond that may leave it in doubt, and then says so.
    let harness = reasons["harness"].as_array().unwrap();
    assert!(status == Some(0) || !harness.is_empty(), "{reasons:#}");
}
