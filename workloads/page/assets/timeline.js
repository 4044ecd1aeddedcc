// Who did what when: a lane a process, or a lane a node with what befell it.
const MOST_DRAWN = 6000;
let laneCount = 1;

function prepareTimeline() {
  laneCount = T.lanes.reduce((most, lane) => Math.max(most, lane + 1), 1);
  const isRead = new Set(['get', 'read', 'home', 'dequeue', 'peek']);
  readFs = T.fs.map(f => isRead.has(f));
}
let readFs = [];
const byNode = () => view.lanes === 'node';
const lanes = () => byNode() ? Math.max(T.nodes.length - 1, 1) : laneCount;
const laneHeight = () => byNode() ? 46 : Math.min(Math.max(560 / lanes(), 2), 24);
const timelineHeight = () => 20 + lanes() * laneHeight() + BOTTOM;
const laneOf = row => byNode() ? C.node[row] - 1 : T.lanes[C.process[row]];
const laneTop = lane => 20 + lane * laneHeight() + (byNode() ? 16 : 0);
const barHeight = () => (byNode() ? 26 : laneHeight()) - (laneHeight() > 6 ? 3 : 0);

function paintTimeline(chart, context) {
  const count = lanes(), high = laneHeight();
  if (high > 5) {
    context.fillStyle = ink.lane;
    context.globalAlpha = .45;
    for (let lane = 0; lane < count; lane++) context.fillRect(LEFT, laneTop(lane), chart.plot, barHeight());
    context.globalAlpha = 1;
  }
  if (byNode()) befell(chart, context);
  // What began before may still go on.
  const from = placeOf(view.from), to = placeOf(view.to);
  const near = to - from <= MOST_DRAWN;
  chart.near = near;
  if (near) paintOps(chart, context, placeOf(view.from - Math.min(longest, (view.to - view.from) * 2)), to);
  else paintDensity(chart, context, from, to);
  chart.flags(row => laneTop(laneOf(row)) + (near && high > 10 ? 3 : 5), !near);
  chosen(chart, context);
}
let longest = 0;

function paintOps(chart, context, from, to) {
  const tall = barHeight();
  for (let at = from; at < to; at++) {
    const row = shown[at], lane = laneOf(row);
    if (lane < 0) continue;
    const x = chart.x(startOf(row)), right = chart.x(endOf(row));
    if (right < LEFT) continue;
    const wide = Math.max(right - x, 1.5), y = laneTop(lane), outcome = C.what[row] & 3;
    if (outcome === 0) {
      context.fillStyle = ink.ok;
      context.globalAlpha = readFs[C.what[row] >> 2] ? .42 : 1;
      context.fillRect(x, y, wide, tall);
      context.globalAlpha = 1;
    } else {
      context.strokeStyle = context.fillStyle = outcome === 1 ? ink.bad : ink.unsure;
      context.globalAlpha = .3;
      context.fillRect(x, y, wide, tall);
      context.globalAlpha = 1;
      context.lineWidth = 1.4;
      if (outcome > 1) context.setLineDash([3, 2]);
      context.strokeRect(x + .5, y + .5, Math.max(wide - 1, 1), tall - 1);
      context.setLineDash([]);
      if (outcome === 1 && tall > 5) {
        context.beginPath(); context.moveTo(x, y); context.lineTo(x + Math.min(wide, tall), y + tall); context.stroke();
      }
    }
    if (wide > 46 && tall > 11) {
      context.save();
      context.beginPath(); context.rect(Math.max(x, LEFT), y, wide, tall); context.clip();
      context.fillStyle = outcome === 0 && !readFs[C.what[row] >> 2] ? ink.paper : ink.ink;
      context.textAlign = 'left';
      const key = C.key[row] ? ' ' + T.keys[C.key[row]] : '';
      context.fillText(`${T.fs[C.what[row] >> 2]}${key} ${titleOf(row)}`, Math.max(x, LEFT) + 4, y + tall / 2 + 4);
      context.restore();
    }
  }
}

function paintDensity(chart, context, from, to) {
  const count = lanes(), width = Math.ceil(chart.plot / 2), scale = width / (view.to - view.from);
  const ok = new Uint32Array(width * count), failed = new Uint32Array(width * count), unknown = new Uint32Array(width * count);
  const { start, what, process, node } = C, nodes = byNode(), laneBy = T.lanes;
  const laneBelow = row => nodes ? node[row] - 1 : laneBy[process[row]];
  const add = row => {
    const lane = laneBelow(row), x = (start[row] * SECONDS - view.from) * scale | 0;
    if (lane < 0 || x < 0 || x >= width) return;
    const outcome = what[row] & 3;
    (outcome === 0 ? ok : outcome === 1 ? failed : unknown)[lane * width + x]++;
  };
  if (isMany(from, to) && count <= 256) {
    levels(nodes ? 'nodes' : 'lanes', count, row => (what[row] & 3) === 0 ? laneBelow(row) : -1).each(width, (time, counts, at) => {
      const x = (time - view.from) * scale | 0;
      if (x >= 0 && x < width) for (let lane = 0; lane < count; lane++) ok[lane * width + x] += counts[at + lane];
    });
    for (let at = notOkFrom(view.from); at < notOk.length && start[notOk[at]] * SECONDS < view.to; at++) add(notOk[at]);
  } else for (let at = from; at < to; at++) add(shown[at]);
  const high = laneHeight(), tall = barHeight();
  let most = 1;
  for (let i = 0; i < ok.length; i++) if (ok[i] > most) most = ok[i];
  const image = new ImageData(width, count), data = image.data, [r, g, b] = ink.rgb.ok, by = 215 / Math.log(1 + most);
  for (let i = 0; i < ok.length; i++) {
    if (ok[i] === 0) continue;
    data[i * 4] = r; data[i * 4 + 1] = g; data[i * 4 + 2] = b; data[i * 4 + 3] = 40 + Math.log(1 + ok[i]) * by;
  }
  scratch.width = width; scratch.height = count;
  scratch.getContext('2d').putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  for (let lane = 0; lane < count; lane++) context.drawImage(scratch, 0, lane, width, 1, LEFT, laneTop(lane), width * 2, tall);
  // Failures below, in half of the lane, so that they are seen whatever their number.
  for (let i = 0; i < failed.length; i++) {
    if (failed[i] === 0 && unknown[i] === 0) continue;
    const lane = i / width | 0, x = LEFT + (i % width) * 2;
    if (failed[i]) { context.fillStyle = ink.bad; context.fillRect(x, laneTop(lane) + tall * .66, 2, Math.max(tall * .34, 1)); }
    if (unknown[i]) { context.fillStyle = ink.unsure; context.fillRect(x, laneTop(lane) + tall * .33, 2, Math.max(tall * .34, 1)); }
  }
}

const BEFELL = { kill: 'killed', pause: 'paused', partition: 'cut off', wipe: 'disk emptied', rollback: 'disk rolled back',
  bitflip: 'bits flipped', delay: 'slow links', rate: 'narrow links', reset: 'links reset' };
function befell(chart, context) {
  for (const band of DATA.bands) {
    if (!band.is_proven) continue;
    const from = Math.max(chart.x(band.from / 1e9), LEFT), to = Math.min(chart.x(band.to / 1e9), LEFT + chart.plot);
    if (to <= LEFT || from >= LEFT + chart.plot) continue;
    const hit = new Set(band.nodes);
    for (const link of band.links) link.split('->').forEach(end => hit.add(end));
    for (const name of hit) {
      const lane = T.nodes.indexOf(name) - 1;
      if (lane < 0) continue;
      const y = laneTop(lane) - 13, down = band.nodes.includes(name);
      context.fillStyle = ink['band-edge'];
      context.globalAlpha = down ? .85 : .4;
      context.fillRect(from, y, Math.max(to - from, 2), 12);
      context.globalAlpha = 1;
      if (to - from > 30) {
        context.save();
        context.beginPath(); context.rect(from, y, to - from, 12); context.clip();
        context.fillStyle = down ? ink.paper : ink.ink;
        context.textAlign = 'left';
        context.fillText(BEFELL[band.fault] || band.fault, from + 3, y + 10);
        context.restore();
      }
    }
  }
}

function labelTimeline(chart, context) {
  const count = lanes(), every = Math.max(1, Math.ceil(13 / laneHeight()));
  context.textAlign = 'right';
  context.fillStyle = ink.dim;
  for (let lane = 0; lane < count; lane += every) {
    const name = byNode() ? T.nodes[lane + 1] || '' : 'lane ' + lane;
    context.fillText(name.length > 9 ? name.slice(0, 8) + '\u2026' : name, LEFT - 6, laneTop(lane) + Math.min(barHeight() / 2 + 4, 18));
  }
}
function chosen(chart, context) {
  if (view.selected < 0) return;
  const from = chart.x(startOf(view.selected)), to = Math.max(chart.x(endOf(view.selected)), from + 4);
  context.strokeStyle = ink.ink;
  context.lineWidth = 2;
  context.strokeRect(from - 2, laneTop(laneOf(view.selected)) - 2, to - from + 4, barHeight() + 4);
}
function findTimeline(chart, x, y) {
  const lane = Math.floor((y - 20) / laneHeight());
  if (lane < 0 || lane >= lanes() || x < LEFT) return -1;
  const time = chart.time(x), slack = (view.to - view.from) * 5 / chart.plot;
  const to = placeOf(time + slack);
  let best = -1, least = Infinity;
  for (let at = placeOf(time - Math.min(longest, (view.to - view.from) * 2) - slack); at < to; at++) {
    const row = shown[at];
    if (laneOf(row) !== lane) continue;
    const from = startOf(row), end = endOf(row);
    let far = time < from ? from - time : time > end ? time - end : 0;
    if (far > slack) continue;
    if (C.marks[row] & MARKED) far -= slack;
    if (far <= least) { least = far; best = row; }
  }
  return best;
}
