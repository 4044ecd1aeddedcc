// What the page was given: names and bands as JSON, long lists packed, operations as packed columns.
const $ = id => document.getElementById(id);
const DATA = JSON.parse($('data').textContent);
const T = DATA.table;
const OUTCOMES = ['ok', 'failed: surely not done', 'unknown: maybe done', 'never answered'];
const FATES = ['', 'read', 'late', 'lost', 'unreadable', 'unknown', 'resurfaced'];
const FINAL = 8, MARKED = 16, FATE = 7;

async function inflate(id) {
  const text = $(id).textContent;
  let bytes;
  if (Uint8Array.fromBase64) bytes = Uint8Array.fromBase64(text);
  else {
    const raw = atob(text);
    bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  }
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// What was packed as JSON.
const inflated = async id => JSON.parse(new TextDecoder().decode(await inflate(id)));

// The columns by name. Backwards what planes.rs does.
function unpack(bytes, layouts, rows) {
  const columns = {};
  let at = 0;
  for (const { name, bytes: planes, rises } of layouts) {
    if (planes === 1 && !rises) {
      columns[name] = bytes.subarray(at, at + rows);
    } else {
      const column = new Uint32Array(rows);
      for (let plane = 0; plane < planes; plane++) {
        const from = at + plane * rows, shift = 8 * plane;
        for (let i = 0; i < rows; i++) column[i] |= bytes[from + i] << shift;
      }
      if (rises) for (let i = 1; i < rows; i++) column[i] += column[i - 1];
      columns[name] = column;
    }
    at += planes * rows;
  }
  return columns;
}

let C = null; // the columns
const SECONDS = T.unit / 1e9;
const END = Math.max(T.end / 1e9, 1e-6);
const tookSeconds = code => code === 0 ? Infinity : Math.pow(2, (code - 1) / T.scale.steps) * T.scale.shortest / 1e9;
const startOf = row => C.start[row] * SECONDS;
const endOf = row => C.took[row] === 0 ? END : startOf(row) + TOOK[C.took[row]];
// Of very many operations only those that are wrong have their own name: the line of their end.
const hasName = row => C.ends[row] > 0 || C.took[row] === 0;
const nameOf = row => C.line[row] + C.ends[row];
const titleOf = row => hasName(row) ? '#' + nameOf(row) : 'line ' + (C.line[row] + 1);
const outcomeOf = row => C.what[row] & 3;
let TOOK = null; // seconds by code

function rowOf(name) {
  for (let row = 0; row < T.rows; row++) if (hasName(row) && nameOf(row) === name) return row;
  for (let row = 0; row < T.rows; row++) if (C.line[row] === name) return row;
  return -1;
}

function seconds(value, digits = 4) {
  if (!isFinite(value)) return 'no end';
  return value.toFixed(value < 10 ? digits : value < 1000 ? digits - 1 : Math.min(digits, 3)) + ' s';
}
function span(value) {
  if (!isFinite(value)) return 'never ended';
  if (value < 1e-6) return (value * 1e9).toFixed(0) + ' ns';
  if (value < 1e-3) return (value * 1e6).toFixed(0) + ' us';
  if (value < 1) return (value * 1e3).toFixed(value < .01 ? 1 : 0) + ' ms';
  return value.toFixed(1) + ' s';
}
const grouped = number => number.toLocaleString('en-US');
function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
