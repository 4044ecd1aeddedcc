// How long each operation took, on a logarithmic scale; quantiles; and how many there were a second.
let tookLeast = 1, tookMost = 2;
const FEW = 15000; // as many are drawn one by one

function prepareLatency() {
  tookLeast = 65535;
  for (let row = 0; row < T.rows; row++) {
    const code = C.took[row];
    if (code === 0) continue;
    if (code < tookLeast) tookLeast = code;
    if (code > tookMost) tookMost = code;
  }
  tookLeast = Math.max(1, Math.min(tookLeast, tookMost - T.scale.steps * 4));
  tookMost += Math.ceil(T.scale.steps / 2);
}
function latencyY(chart, code) {
  const top = 22;
  if (code === 0) return top - 6;
  return chart.bottom - 3 - (code - tookLeast) / (tookMost - tookLeast) * (chart.bottom - 3 - top);
}

function paintLatency(chart, context) {
  const from = placeOf(view.from), to = placeOf(view.to);
  const { start, took, what, marks } = C;
  gridLines(chart, context);
  const others = notOk.slice(notOkFrom(view.from), notOkFrom(view.to));
  if (to - from <= FEW) {
    context.fillStyle = ink.ok;
    context.globalAlpha = to - from > 3000 ? .5 : .8;
    const size = to - from > 3000 ? 2.2 : to - from > 500 ? 3 : 5;
    for (let at = from; at < to; at++) {
      const row = shown[at];
      if ((what[row] & 3) !== 0) continue;
      context.fillRect(chart.x(start[row] * SECONDS) - size / 2, latencyY(chart, took[row]) - size / 2, size, size);
    }
    context.globalAlpha = 1;
  } else {
    const width = Math.ceil(chart.plot / 1.5), height = Math.ceil(chart.bottom / 1.5);
    const counts = new Uint32Array(width * height);
    const scale = width / (view.to - view.from);
    const rowY = new Int32Array(TOOK.length);
    for (let code = 0; code < rowY.length; code++) rowY[code] = Math.min(Math.max(latencyY(chart, code) / 1.5 | 0, 0), height - 1) * width;
    if (isMany(from, to)) {
      okLevels().each(width, (time, of, at) => {
        const x = (time - view.from) * scale | 0;
        if (x >= 0 && x < width) for (let code = 0; code < tookMost; code++) counts[rowY[code] + x] += of[at + code];
      });
    } else for (let at = from; at < to; at++) {
      const row = shown[at];
      if ((what[row] & 3) !== 0) continue;
      const x = (start[row] * SECONDS - view.from) * scale | 0;
      if (x >= 0 && x < width) counts[rowY[took[row]] + x]++;
    }
    paintGrid(context, counts, width, height, LEFT, 0, width * 1.5, height * 1.5, ink.rgb.ok, 40);
  }
  if (others.length > 2000) manyNotOk(chart, context, others);
  quantiles(chart, context, from, to);
  if (others.length <= 2000) eachNotOk(chart, context, others);
  chart.flags(() => chart.bottom, to - from > FEW);
  ring(chart, context, row => [chart.x(startOf(row)), latencyY(chart, C.took[row])]);
}

// Far out, what was not ok is a dot of two pixels; failures above the unknown.
function manyNotOk(chart, context, rows) {
  const width = Math.ceil(chart.plot / 2), height = Math.ceil(chart.bottom / 2), scale = width / (view.to - view.from);
  const counts = [new Uint32Array(width * height), new Uint32Array(width * height)];
  for (const row of rows) {
    const x = (C.start[row] * SECONDS - view.from) * scale | 0, y = latencyY(chart, C.took[row]) / 2 | 0;
    if (x >= 0 && x < width && y >= 0 && y < height) counts[(C.what[row] & 3) === 1 ? 1 : 0][y * width + x]++;
  }
  paintGrid(context, counts[0], width, height, LEFT, 0, width * 2, height * 2, ink.rgb.unsure, 120);
  paintGrid(context, counts[1], width, height, LEFT, 0, width * 2, height * 2, ink.rgb.bad, 120);
}

function eachNotOk(chart, context, rows) {
  const { start, took, what } = C, drawn = new Set();
  for (const row of rows) {
    const x = Math.round(chart.x(start[row] * SECONDS)), y = Math.round(latencyY(chart, took[row]));
    const failed = (what[row] & 3) === 1, place = (x * 4096 + y) * 2 + (failed ? 1 : 0);
    if (drawn.has(place)) continue;
    drawn.add(place);
    context.lineWidth = 1.5;
    context.strokeStyle = failed ? ink.bad : ink.unsure;
    context.beginPath();
    if (failed) { context.moveTo(x - 3, y - 3); context.lineTo(x + 3, y + 3); context.moveTo(x + 3, y - 3); context.lineTo(x - 3, y + 3); }
    else context.arc(x, y, 3.5, 0, 7);
    context.stroke();
  }
}

const okLevels = () => levels('ok', Math.ceil(tookMost), row => (C.what[row] & 3) === 0 ? C.took[row] : -1);

function gridLines(chart, context) {
  context.strokeStyle = ink.line;
  context.lineWidth = 1;
  for (const [code] of decades()) {
    const y = Math.round(latencyY(chart, code)) + .5;
    context.beginPath(); context.moveTo(LEFT, y); context.lineTo(LEFT + chart.plot, y); context.stroke();
  }
}
function decades() {
  const lines = [];
  for (let nanos = 1; nanos <= 1e12; nanos *= 10) {
    const code = 1 + Math.log2(nanos / T.scale.shortest) * T.scale.steps;
    if (code >= tookLeast - 1 && code <= tookMost) lines.push([code, span(nanos / 1e9)]);
  }
  return lines;
}
function labelLatency(chart, context) {
  context.textAlign = 'right';
  context.fillStyle = ink.dim;
  for (const [code, name] of decades()) context.fillText(name, LEFT - 6, latencyY(chart, code) + 4);
}

// Median, 99 % and longest of those that were ok, by stretches of a few pixels.
function quantiles(chart, context, from, to) {
  const bins = Math.max(Math.floor(chart.plot / 10), 1), codes = TOOK.length;
  const counts = new Uint32Array(bins * codes), totals = new Uint32Array(bins);
  const scale = bins / (view.to - view.from);
  const { start, took, what } = C;
  if (isMany(from, to)) {
    okLevels().each(bins, (time, of, at) => {
      const bin = (time - view.from) * scale | 0;
      if (bin < 0 || bin >= bins) return;
      for (let code = 0; code < tookMost; code++) { counts[bin * codes + code] += of[at + code]; totals[bin] += of[at + code]; }
    });
  } else for (let at = from; at < to; at++) {
    const row = shown[at];
    if ((what[row] & 3) !== 0) continue;
    const bin = (start[row] * SECONDS - view.from) * scale | 0;
    if (bin < 0 || bin >= bins) continue;
    counts[bin * codes + took[row]]++;
    totals[bin]++;
  }
  const lines = [[.5, [], 2.4], [.99, [5, 3], 1.6], [1, [1, 3], 1.4]];
  for (const [share, dash, wide] of lines) {
    context.setLineDash(dash);
    context.lineWidth = wide;
    context.strokeStyle = ink.ink;
    context.beginPath();
    let open = false;
    for (let bin = 0; bin < bins; bin++) {
      if (totals[bin] < 8) { open = false; continue; }
      const wanted = Math.max(Math.ceil(totals[bin] * share), 1);
      let sum = 0, code = 0;
      for (; code < codes; code++) { sum += counts[bin * codes + code]; if (sum >= wanted) break; }
      const x = LEFT + (bin + .5) * chart.plot / bins, y = latencyY(chart, code);
      if (open) context.lineTo(x, y); else context.moveTo(x, y);
      open = true;
    }
    context.stroke();
  }
  context.setLineDash([]);
}
const findLatency = (chart, x, y) => nearest(chart, x, y, row => [chart.x(startOf(row)), latencyY(chart, C.took[row])]);

// The rate.
function rates(chart) {
  const bins = Math.max(Math.floor(chart.plot / 4), 1), scale = bins / (view.to - view.from);
  const counts = [0, 1, 2].map(() => new Float64Array(bins)), all = new Float64Array(bins);
  const from = placeOf(view.from), to = placeOf(view.to), { start, what, marks } = C;
  if (isMany(from, to)) {
    levels('rate', 3, row => Math.min(what[row] & 3, 2)).each(bins * 8, (time, of, at) => {
      const bin = (time - view.from) * scale | 0;
      if (bin < 0 || bin >= bins) return;
      for (let kind = 0; kind < 3; kind++) { counts[kind][bin] += of[at + kind] * T.one_in; all[bin] += of[at + kind] * T.one_in; }
    });
  } else for (let at = from; at < to; at++) {
    const row = shown[at];
    const bin = (start[row] * SECONDS - view.from) * scale | 0;
    // Of a sample each stands for many; what is marked stands for itself.
    if (bin < 0 || bin >= bins) continue;
    counts[Math.min(what[row] & 3, 2)][bin] += marks[row] & MARKED ? 1 : T.one_in;
    all[bin] += marks[row] & MARKED ? 1 : T.one_in;
  }
  // A few stretches with many more than all others (the last reads come at once) do not set the scale.
  const sorted = all.toSorted(), top = sorted[bins - 1], usual = sorted[Math.floor((bins - 1) * .98)];
  const most = Math.max(top > usual * 2 ? usual * 1.4 : top, 1 / scale) * scale;
  return { bins, counts, scale, all, most, top: top * scale };
}
function paintRate(chart, context) {
  const { bins, counts, scale, all, most, top } = rates(chart);
  chart.most = most;
  const y = value => Math.max(chart.bottom - value / most * (chart.bottom - 24), 16);
  const wide = chart.plot / bins;
  for (let bin = 0; bin < bins; bin++) {
    let below = 0;
    for (const [of, color] of [[1, 'bad'], [2, 'unsure'], [0, 'ok']]) {
      const value = counts[of][bin] * scale;
      if (value === 0) continue;
      context.fillStyle = ink[color];
      context.globalAlpha = of === 0 ? .65 : 1;
      const low = y(below), high = Math.min(y(below + value), of === 0 ? Infinity : low - 2);
      context.fillRect(LEFT + bin * wide, high, Math.max(wide - .5, .8), low - high);
      below += value;
    }
  }
  context.globalAlpha = 1;
  // What stands out of the picture is said.
  if (top <= most * 1.001) return;
  const at = all.indexOf(Math.max(...all)), x = LEFT + (at + .5) * wide;
  context.fillStyle = ink.ink;
  context.textAlign = x > LEFT + chart.plot / 2 ? 'right' : 'left';
  context.fillText(`${grouped(Math.round(top))}/s \u2191`, x + (x > LEFT + chart.plot / 2 ? -6 : 6), 27);
}
function labelRate(chart, context) {
  context.textAlign = 'right';
  context.fillStyle = ink.dim;
  const most = chart.most < 1e6 ? grouped(Math.round(chart.most)) : (chart.most / 1e6).toFixed(1) + ' M';
  context.fillText(most + '/s', LEFT - 6, 24);
  context.fillText('0', LEFT - 6, chart.bottom);
}
function sayRate(chart, x) {
  const { bins, counts, scale } = rates(chart);
  const bin = Math.floor((x - LEFT) / chart.plot * bins);
  if (bin < 0 || bin >= bins) return [];
  const [ok, failed, unknown] = counts.map(of => Math.round(of[bin] * scale));
  return [`${grouped(ok)} ok, ${grouped(failed)} failed, ${grouped(unknown)} unknown a second`];
}
