//! How long a page takes to be usable, and how smoothly it is dragged and zoomed: measured and printed.

use std::path::Path;

use serde_json::{Value, json};

use crate::chromium::Chromium;
use crate::common::has_chromium;
use crate::page_of_a_run;

/// Looks at four stretches of time, each shorter than the one before, moved by a pointer at each frame; then
/// zooms by keys. Gives the time from each frame to the next, in milliseconds.
const DRAG: &str = r"(async () => {
  const next = () => new Promise(done => requestAnimationFrame(done));
  const canvas = document.getElementById('latency-chart');
  canvas.scrollIntoView({ block: 'start' });
  canvas.focus();
  const times = [];
  let last = await next();
  const frame = async () => { const now = await next(); times.push(now - last); last = now; };
  const press = key => canvas.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
  for (const nearer of [0, 2, 3, 3]) {
    for (let at = 0; at < nearer; at++) press('+');
    await next(); await next(); last = await next();
    const send = (kind, x) => {
      const box = canvas.getBoundingClientRect();
      canvas.dispatchEvent(new PointerEvent(kind,
        { clientX: box.x + x, clientY: box.y + 100, bubbles: true, pointerType: 'pen', pointerId: 1 }));
    };
    send('pointerdown', 700);
    for (let x = 700; x > 300; x -= 4) { send('pointermove', x); await frame(); }
    send('pointerup', 300);
  }
  for (const key of '0++++++++----------++++')
    for (let held = 0; held < 3; held++) { press(key); await frame(); }
  return times;
})()";

fn share_of(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

#[test]
#[ignore = "a measurement: PAGE=FILE says of which page; run it with --nocapture on a quiet machine"]
fn how_soon_a_page_is_usable_and_how_smooth_it_is() {
    if !has_chromium() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let page = std::env::var("PAGE").map_or_else(
        |_| page_of_a_run(out.path(), "lww"),
        |page| Path::new(&page).canonicalize().unwrap(),
    );
    let bytes = std::fs::metadata(&page).unwrap().len();
    let mut browser = Chromium::start();
    browser.open(&page, 1280, 800);
    let ready = browser.run("+document.documentElement.dataset.ready").as_f64().unwrap();
    let shown = browser.run("document.getElementById('shown').textContent");
    let times = browser.run(DRAG);
    let mut times: Vec<f64> = times.as_array().unwrap().iter().filter_map(Value::as_f64).collect();
    times.sort_by(f64::total_cmp);
    browser.ask("HeapProfiler.enable", json!({}));
    browser.ask("HeapProfiler.collectGarbage", json!({}));
    let heap = browser.ask("Runtime.getHeapUsage", json!({}));
    let heap = ["usedSize", "backingStorageSize"].map(|of| heap[of].as_f64().unwrap_or(0.0) / 1e6);
    println!(
        "{bytes} bytes, {}; usable after {ready:.0} ms; {} frames: p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms; \
         heap {:.0} MB and {:.0} MB of columns",
        shown.as_str().unwrap(),
        times.len(),
        share_of(&times, 0.5),
        share_of(&times, 0.99),
        share_of(&times, 1.0),
        heap[0],
        heap[1],
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
