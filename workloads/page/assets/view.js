// What is looked at: a stretch of time, and which operations. All charts show the same.
const view = { from: 0, to: END, key: '', f: '', outcome: '', node: '', selected: -1, lanes: 'process' };
let shown = null; // the rows that pass the filters, in order of their beginning
let notOk = []; // those of them that were not answered ok
let marked = []; // those of them that something is wrong with
const charts = [];

function refilter() {
  const key = view.key === '' ? -1 : T.keys.indexOf(view.key);
  const f = view.f === '' ? -1 : +view.f, node = view.node === '' ? -1 : +view.node;
  const outcome = view.outcome === '' ? -1 : +view.outcome;
  unknownKey = view.key !== '' && key < 0;
  const rows = new Uint32Array(T.rows);
  let count = 0;
  const { what, node: nodes, key: keys } = C;
  for (let row = 0; row < T.rows; row++) {
    if (key >= 0 && keys[row] !== key) continue;
    if (f >= 0 && what[row] >> 2 !== f) continue;
    if (node >= 0 && nodes[row] !== node) continue;
    if (outcome >= 0 && Math.min(what[row] & 3, 2) !== outcome) continue;
    rows[count++] = row;
  }
  shown = rows.subarray(0, unknownKey ? 0 : count);
  marked = [];
  notOk = [];
  levelsMade = {};
  for (const row of shown) {
    if (C.marks[row] & MARKED) marked.push(row);
    if (what[row] & 3) notOk.push(row);
  }
  tell();
  redraw();
}

let unknownKey = false; // a key is looked for that is none
function tell() {
  const all = T.rows, count = shown.length;
  const time = view.to - view.from < END * .999 ? `, ${seconds(view.from)} to ${seconds(view.to)}` : '';
  $('shown').textContent = unknownKey ? `no key is called that` :
    (count === all ? `all ${grouped(all)} operations` : `${grouped(count)} of ${grouped(all)} operations`) + time;
}

// The first place among the rows shown whose operation begins at or after a time.
const placeOf = time => placeIn(shown, time);
const notOkFrom = time => placeIn(notOk, time);
function placeIn(rows, time) {
  const start = C.start, limit = time / SECONDS;
  let low = 0, high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (start[rows[middle]] < limit) low = middle + 1; else high = middle;
  }
  return low;
}

function look(from, to) {
  const least = Math.max(T.unit / 1e9 * 4, 2e-6);
  let width = Math.min(Math.max(to - from, least), END * 1.02);
  let middle = (from + to) / 2;
  from = Math.min(Math.max(middle - width / 2, -END * .01), END * 1.01 - width);
  view.from = from;
  view.to = from + width;
  redraw();
}
const zoom = (factor, at = (view.from + view.to) / 2) =>
  look(at - (at - view.from) * factor, at + (view.to - at) * factor);
const move = share => { const by = (view.to - view.from) * share; look(view.from + by, view.to + by); };
const lookAtAll = () => look(0, END);

function select(row, near = true) {
  view.selected = row;
  if (row >= 0 && near) {
    const from = startOf(row), took = Math.min(endOf(row) - from, 5);
    const width = Math.min(Math.max(took * 12, 40 * SECONDS), Math.max(view.to - view.from, took * 3));
    const inside = from >= view.from && from + took <= view.to && (view.to - view.from) < took * 60;
    if (!inside) look(from + took / 2 - width / 2, from + took / 2 + width / 2);
  }
  detail(row);
  redraw();
}

// The next thing that is wrong after what is selected or looked at.
function step(by) {
  if (marked.length === 0) return;
  let at;
  if (view.selected >= 0 && C.marks[view.selected] & MARKED) at = marked.indexOf(view.selected) + by;
  else at = marked.findIndex(row => startOf(row) >= view.from);
  select(marked[Math.min(Math.max(at, 0), marked.length - 1)]);
}

let asked = false;
function redraw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    tell();
    for (const chart of charts) if (chart.visible) chart.draw(); else chart.stale = true;
  });
}
