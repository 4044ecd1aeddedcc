// Puts it together.
function theme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = dark ? 'light' : 'dark';
  readInk();
  redraw();
}

async function copy() {
  const text = $('again').textContent;
  try { await navigator.clipboard.writeText(text); } catch {
    // A file may not be let near the clipboard: then it is chosen, to be copied by hand.
    const range = document.createRange();
    range.selectNodeContents($('again'));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    let done = false;
    try { done = document.execCommand('copy'); } catch { done = false; }
    $('copy').textContent = done ? 'Copied' : 'Selected: press Ctrl+C';
    return;
  }
  $('copy').textContent = 'Copied';
}

function options(id, names) {
  const select = $(id);
  if (select) names.forEach((name, at) => { if (at > 0) select.append(element('option', name, { value: at })); });
}

function filters() {
  options('filter-f', T.fs);
  options('filter-node', T.nodes);
  for (const key of T.keys.slice(1, 400)) $('keys').append(element('option', undefined, { value: key }));
  for (const name of ['f', 'outcome', 'node']) {
    const input = $('filter-' + name);
    if (input) input.addEventListener('change', () => { view[name] = input.value; refilter(); });
  }
  $('filter-key').addEventListener('input', event => { view.key = event.target.value; refilter(); });
  $('reset').addEventListener('click', () => {
    for (const name of ['key', 'f', 'outcome', 'node']) { view[name] = ''; const input = $('filter-' + name); if (input) input.value = ''; }
    view.selected = -1;
    detail(-1);
    refilter();
    lookAtAll();
  });
  for (const input of document.querySelectorAll('input[name=lanes]'))
    input.addEventListener('change', () => { view.lanes = input.value; redraw(); });
}

async function findings() {
  const box = $('all-findings');
  if (!box) return;
  const rows = await inflated('findings');
  const table = element('table'), body = element('tbody'), more = element('button', 'Show more', { type: 'button' });
  const head = element('tr');
  for (const name of ['at', 'what', 'key', 'operations']) head.append(element('th', name, { scope: 'col' }));
  const thead = element('thead');
  thead.append(head);
  table.append(thead, body);
  const add = count => {
    for (const row of rows.splice(0, count)) {
      const line = element('tr'), ops = element('td');
      row.ops.slice(0, 8).forEach(op => ops.append(element('button', '#' + op, { type: 'button', class: 'ref', 'data-op': op }), ' '));
      if (row.ops.length > 8) ops.append(`and ${row.ops.length - 8} more`);
      line.append(element('td', seconds(row.at / 1e9)), element('td', row.what), element('td', row.key), ops);
      body.append(line);
    }
    more.hidden = rows.length === 0;
    more.textContent = `Show the next ${Math.min(rows.length, 500)} of ${grouped(rows.length)} more`;
  };
  more.addEventListener('click', () => add(500));
  box.addEventListener('toggle', () => { if (body.rows.length === 0) add(100); });
  $('findings-table').append(table, more);
}

async function start() {
  readInk();
  $('theme').addEventListener('click', theme);
  $('copy')?.addEventListener('click', copy);
  document.addEventListener('keydown', event => {
    if (event.key === 't' && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && !event.ctrlKey && !event.metaKey) theme();
    if (event.key === 'Escape') select(-1);
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { readInk(); redraw(); });
  T.keys = await inflated('key-names');
  C = unpack(await inflate('columns'), T.layouts, T.rows);
  let most = 1;
  for (let row = 0; row < T.rows; row++) most = Math.max(most, C.took[row], C.late[row]);
  TOOK = Float64Array.from({ length: most + T.scale.steps + 2 }, (_, code) => tookSeconds(code));
  longest = 0;
  for (let row = 0; row < T.rows; row++) if (C.took[row]) longest = Math.max(longest, TOOK[C.took[row]]);
  prepareLatency();
  prepareTimeline();
  const fates = new Chart('fate-chart', prepareFates(), paintFates, findFate);
  fates.labels = labelFates;
  const latency = new Chart('latency-chart', 300, paintLatency, findLatency);
  latency.labels = labelLatency;
  const rate = new Chart('rate-chart', 120, paintRate);
  rate.labels = labelRate;
  rate.say = sayRate;
  const timeline = new Chart('timeline-chart', timelineHeight, paintTimeline, findTimeline);
  timeline.labels = labelTimeline;
  filters();
  refilter();
  await findings();
  document.addEventListener('click', event => {
    const op = event.target.closest?.('[data-op]');
    if (!op) return;
    const row = rowOf(+op.dataset.op);
    if (row >= 0) select(row);
  });
  addEventListener('beforeprint', () => charts.forEach(chart => chart.draw()));
  document.documentElement.dataset.ready = performance.now().toFixed(0);
}
start();
