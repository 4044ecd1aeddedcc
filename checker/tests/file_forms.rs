//! One history in every form that a file of one can have: whole and cut, plain and packed, through a pipe.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "common/files.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod files;

use std::io::Write;
use std::path::Path;
use std::process::Command;

use checker::generate::{Settings, generate};
use checker::history::History;
use checker::history::op::{Kind, Op, Process};
use files::{done, file, judge, two_writes};
use rand::prelude::*;
use serde_json::{Value, json};

/// The same history in every form of others, with an index or without, with noise in its times.
fn forms(history: &History, rng: &mut StdRng) -> Vec<(&'static str, String)> {
    let mut forms = [("edn", String::new()), ("json", String::new()), ("log", String::new())];
    let coarse = rng.random_bool(0.5);
    for op in history {
        let kind = format!("{:?}", op.kind).to_lowercase();
        let noise = rng.random_range(0..400);
        let time = if coarse { op.time / 1_000_000_000 } else { op.time / 8 + noise };
        let value = op.value.clone().unwrap_or_default();
        let text = value.to_string().replace("null", "nil").replace(',', " ");
        let (index, process, f) = (op.index, op.process, &op.f);
        forms[0].1 += &format!(
            "{{:type :{kind}, :f :{f}, :value {text}, :process {process}, :time {time}, :index {index}}}\n"
        );
        let json = json!({
            "type": kind, "f": f, "value": value, "process": process, "time": time, "index": index,
        });
        forms[1].1 += &format!("{json}\n");
        forms[2].1 += &format!("INFO  jepsen.util - {process}\t:{kind}\t:{f}\t{text}\n");
    }
    forms.into()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// Gives bytes through a pipe with a name.
fn through_pipe(dir: &Path, bytes: &[u8], judge: impl FnOnce(&str) -> String) -> String {
    let pipe = dir.join("pipe");
    let _ = std::fs::remove_file(&pipe);
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::thread::scope(|scope| {
        let path = pipe.clone();
        // Who refuses what comes does not read it to its end.
        scope.spawn(move || _ = std::fs::write(path, bytes));
        judge(pipe.to_str().unwrap())
    })
}

#[test]
fn a_verdict_is_the_same_in_every_form_from_file_pipe_and_gzip() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = StdRng::seed_from_u64(11);
    let mut seen = [0; 2];
    for round in 0..24 {
        let spec = ["register", "cas-register", "queue", "set"][round % 4];
        let violations = round as u64 / 4 % 2;
        let settings = Settings {
            spec: spec.to_owned(),
            ops: rng.random_range(20..80),
            violations,
            indeterminate: 0.02,
            seed: round as u64,
            ..Settings::default()
        };
        let mut ops: Vec<Op> = Vec::new();
        generate(&settings, |op| {
            ops.push(Op { key: None, ..op.clone() });
            Ok(())
        })
        .unwrap();
        let history = History::numbered(ops).unwrap();
        let own: String =
            history.iter().map(|op| serde_json::to_string(op).unwrap() + "\n").collect();
        let mut packed = checker::formats::compact::Writer::new(Vec::new()).unwrap();
        history.iter().for_each(|op| packed.append(op).unwrap());
        let mut files = vec![("own", own.into_bytes()), ("compact", packed.finish().unwrap())];
        files.extend(forms(&history, &mut rng).into_iter().map(|(name, text)| (name, text.into())));
        let mut verdicts = Vec::new();
        for (form, bytes) in files {
            let ask = |file: &str| judge(&["--spec", spec, file]).0;
            let plain = ask(&file(dir.path(), "plain", &bytes));
            let packed = gzip(&bytes);
            assert_eq!(plain, ask(&file(dir.path(), "packed", &packed)), "{form}, gzip");
            assert_eq!(plain, through_pipe(dir.path(), &bytes, ask), "{form}, pipe");
            assert_eq!(plain, through_pipe(dir.path(), &packed, ask), "{form}, gzip in a pipe");
            verdicts.push((form, plain));
        }
        let first = verdicts[0].1.clone();
        assert!(
            verdicts.iter().all(|(_, verdict)| *verdict == first),
            "{spec} {round}: {verdicts:?}"
        );
        seen[usize::from(first == "invalid")] += 1;
    }
    assert!(seen[0] >= 8 && seen[1] >= 8, "{seen:?}");
}

#[test]
fn a_pipe_is_read_from_its_first_byte_and_a_folder_by_its_history() {
    let dir = tempfile::tempdir().unwrap();
    // More than one buffer, with what matters at the beginning.
    let mut text = done("0", "write", "1", "1");
    for n in 0..4000 {
        text += &format!("{{:process :nemesis, :type :info, :f :note, :value \"{n:040}\"}}\n");
    }
    text += &done("1", "read", "nil", "1");
    let ask = |file: &str| judge(&[file]).0;
    assert_eq!(through_pipe(dir.path(), text.as_bytes(), ask), "valid");
    let run = dir.path().join("run");
    std::fs::create_dir(&run).unwrap();
    let (verdict, said) = judge(&[run.to_str().unwrap()]);
    assert_eq!(verdict, "refused");
    assert!(said.contains("history.jsonl"), "{said}");
    std::fs::write(run.join("history.edn.gz"), gzip(text.as_bytes())).unwrap();
    assert_eq!(ask(run.to_str().unwrap()), "valid");
    std::fs::write(run.join("history.edn"), two_writes("1")).unwrap();
    assert_eq!(ask(run.to_str().unwrap()), "invalid");
}

#[test]
fn what_is_packed_and_cut_is_judged_up_to_the_cut() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = two_writes("1");
    for n in 10..3000 {
        text += &done("0", "write", &n.to_string(), &n.to_string());
    }
    let packed = gzip(text.as_bytes());
    let (verdict, said) = judge(&[&file(dir.path(), "cut", &packed[..packed.len() / 2])]);
    assert_eq!(verdict, "invalid", "{said}");
    assert!(said.contains("cut short"), "{said}");
    let zstd = b"\x28\xb5\x2f\xfd and so on";
    let (verdict, said) = judge(&[&file(dir.path(), "other", zstd)]);
    assert!(verdict == "refused" && said.contains("zstd -dc"), "{said}");
}

#[test]
fn no_bytes_whatever_make_it_panic() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = StdRng::seed_from_u64(3);
    let parts: [&[u8]; 36] = [
        b"{:process 0, :type :invoke, :f :write, :value [1 2]}\n",
        b"{:process 0, :type :ok, :f :write, :value ",
        b"0\t:invoke\t:read\tnil\n",
        b"0 :ok :read ",
        b"{\"process\": \"a\", \"type\": \"ok\"",
        b"[",
        b"{",
        b"#{",
        b"(",
        b"]",
        b"}",
        b")",
        b"#_",
        b"##Inf ",
        b"#\"",
        b"\"",
        b"\\",
        b"\\u12",
        b"^",
        b"'",
        b"#:a",
        b"#<",
        b">",
        b"#object[",
        b":time 1e999 ",
        b":index 3 ",
        b":process :x ",
        b"\xff",
        b"\0",
        b"\xef\xbb\xbf",
        b"\x1f\x8b",
        b"-",
        b"0x",
        b"2r",
        b":",
        b"\n",
    ];
    for round in 0..6000 {
        let mut bytes = Vec::new();
        for _ in 0..rng.random_range(1..14) {
            bytes.extend_from_slice(parts[rng.random_range(0..parts.len())]);
        }
        let args: &[&str] =
            [&["--lenient"][..], &["--keyed"], &["--order", "time"], &[]][round % 4];
        let file = file(dir.path(), "bytes", &bytes);
        let (_, said) = judge(&[args, &[file.as_str()]].concat());
        let told: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
        let reason = told["reason"].as_str().unwrap_or_default();
        assert!(!reason.contains("panick"), "{}: {reason}", bytes.escape_ascii());
    }
}

#[test]
fn a_place_in_the_file_is_known_of_every_op() {
    let text = format!("; a comment\n{}", two_writes("2"));
    let read = checker::formats::from_reader(
        text.as_bytes(),
        &checker::formats::Options::default(),
        &mut checker::budget::Budget::UNLIMITED.start(),
    );
    let history = read.unwrap();
    assert_eq!(history.place(0), Some((2, 0)));
    assert_eq!(history.place(5), Some((7, 5)));
    assert_eq!(history.ops()[5].kind, Kind::Ok);
    assert_eq!(history.ops()[5].process, Process::Client(1));
}
