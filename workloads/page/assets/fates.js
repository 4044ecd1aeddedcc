// What became of every acknowledged write: a row a fate, by the time it was sent.
const FATE_ROWS = [
  { fate: 3, name: 'lost', color: 'bad', height: 26 }, { fate: 4, name: 'unreadable', color: 'odd', height: 20 },
  { fate: 6, name: 'resurfaced', color: 'odd', height: 20 }, { fate: 5, name: 'unknown', color: 'dim', height: 20 },
  { fate: 2, name: 'late', color: 'unsure', height: 84 }, { fate: 1, name: 'read', color: 'ok', height: 26 },
];
let fateRows = [], lateMost = 1, lateLeast = 1;

function prepareFates() {
  const count = new Uint32Array(8);
  lateLeast = 65535;
  for (let row = 0; row < T.rows; row++) {
    count[C.marks[row] & FATE]++;
    if (C.late[row] > 0) {
      lateMost = Math.max(lateMost, C.late[row]);
      lateLeast = Math.min(lateLeast, C.late[row]);
    }
  }
  lateLeast = Math.min(lateLeast, lateMost - T.scale.steps * 3);
  let y = 20;
  for (const row of FATE_ROWS) {
    if (count[row.fate] === 0 && row.fate !== 3 && row.fate !== 1) continue;
    fateRows.push({ ...row, y, count: count[row.fate] });
    y += row.height + 5;
  }
  return y + BOTTOM;
}
const lateY = (row, code) => row.y + row.height - 2 - (code - lateLeast) / (lateMost - lateLeast) * (row.height - 6);

function paintFates(chart, context) {
  const width = Math.ceil(chart.plot);
  const from = placeOf(view.from), to = placeOf(view.to);
  const scale = chart.plot / (view.to - view.from);
  const columns = fateRows.map(() => new Uint32Array(width));
  const byFate = new Int8Array(8).fill(-1);
  fateRows.forEach((row, at) => { byFate[row.fate] = at; });
  const late = fateRows.findIndex(row => row.fate === 2);
  const gridHeight = late < 0 ? 0 : fateRows[late].height;
  const grid = new Uint32Array((width >> 1) * gridHeight + gridHeight), half = width >> 1;
  const { start, marks } = C;
  const add = row => {
    const fate = marks[row] & FATE;
    if (fate === 0) return;
    const x = (start[row] * SECONDS - view.from) * scale | 0;
    const place = byFate[fate];
    if (place < 0 || x < 0 || x >= width) return;
    if (place === late) {
      const y = lateY(fateRows[late], C.late[row]) - fateRows[late].y | 0;
      const cell = Math.min(x >> 1, half - 1);
      if (y >= 0 && y < gridHeight) grid[y * half + cell]++;
    } else columns[place][x]++;
  };
  if (isMany(from, to)) {
    const lateRows = levelsMade.late ??= shown.filter(row => (marks[row] & FATE) === 2);
    for (let at = placeIn(lateRows, view.from), end = placeIn(lateRows, view.to); at < end; at++) add(lateRows[at]);
    levels('fates', 8, row => (marks[row] & FATE) === 2 ? -1 : marks[row] & FATE).each(width, (time, of, at) => {
      const x = (time - view.from) * scale | 0;
      if (x >= 0 && x < width) for (let fate = 1; fate < 8; fate++) if (byFate[fate] >= 0) columns[byFate[fate]][x] += of[at + fate];
    });
  } else for (let at = from; at < to; at++) add(shown[at]);
  fateRows.forEach((row, at) => {
    context.fillStyle = ink.lane;
    context.globalAlpha = .35;
    context.fillRect(LEFT, row.y, chart.plot, row.height);
    context.globalAlpha = 1;
    if (at === late) {
      // Each at least two pixels large.
      const thick = new Uint32Array(grid.length);
      for (let i = 0; i < grid.length; i++) if (grid[i]) { thick[i] += grid[i]; if (i >= half) thick[i - half] += grid[i]; }
      paintGrid(context, thick, half, gridHeight, LEFT, row.y, half * 2, row.height, ink.rgb.unsure, 150);
      return;
    }
    let most = 1;
    for (const count of columns[at]) most = Math.max(most, count);
    context.fillStyle = ink[row.color];
    for (let x = 0; x < width; x++) {
      const count = columns[at][x];
      if (count === 0) continue;
      const rare = row.fate === 3 || row.fate === 4 || row.fate === 6;
      context.globalAlpha = rare ? 1 : .3 + .7 * Math.log(1 + count) / Math.log(1 + most);
      context.fillRect(LEFT + x - (rare ? .5 : 0), row.y + 1, rare ? 2 : 1, row.height - 2);
    }
    context.globalAlpha = 1;
  });
  ring(chart, context, row => fatePlace(chart, row));
}

function fatePlace(chart, row) {
  const place = fateRows.find(of => of.fate === (C.marks[row] & FATE));
  if (!place) return [-100, -100];
  return [chart.x(startOf(row)), place.fate === 2 ? lateY(place, C.late[row]) : place.y + place.height / 2];
}
const findFate = (chart, x, y) => nearest(chart, x, y, row => fatePlace(chart, row), 13);

function labelFates(chart, context) {
  context.textAlign = 'right';
  for (const row of fateRows) {
    context.fillStyle = ink.ink;
    context.fillText(row.name, LEFT - 6, row.y + Math.min(row.height / 2, 13) + 4);
    if (row.fate === 2) {
      context.fillStyle = ink.dim;
      context.fillText(span(TOOK[lateMost]), LEFT - 6, row.y + 30);
      context.fillText(span(TOOK[lateLeast]), LEFT - 6, row.y + row.height);
    }
  }
}

// Around what is selected.
function ring(chart, context, place) {
  if (view.selected < 0) return;
  const [x, y] = place(view.selected);
  context.strokeStyle = ink.ink;
  context.lineWidth = 2;
  context.beginPath(); context.arc(x, y, 7, 0, 7); context.stroke();
}
