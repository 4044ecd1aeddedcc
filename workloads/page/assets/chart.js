// A canvas with time from left to right, the faults behind it, and what all charts have in common.
const LEFT = 72, RIGHT = 10, TOP = 6, BOTTOM = 20;
let ink = {};
function readInk() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ['paper', 'ink', 'dim', 'line', 'lane', 'ok', 'bad', 'unsure', 'good', 'odd', 'band', 'band-edge'])
    ink[name] = style.getPropertyValue('--' + name).trim();
  ink.rgb = Object.fromEntries(['ok', 'bad', 'unsure', 'odd', 'dim'].map(name => [name, rgbOf(ink[name])]));
}
function rgbOf(color) {
  const wide = color.length === 4 ? [...color.slice(1)].map(c => c + c).join('') : color.slice(1);
  return [0, 2, 4].map(at => parseInt(wide.slice(at, at + 2), 16));
}

class Chart {
  constructor(id, height, paint, find) {
    this.canvas = $(id);
    if (!this.canvas) return;
    Object.assign(this, { height, paint, find, visible: true, stale: true });
    this.tip = this.canvas.parentElement.querySelector('.tip');
    this.context = this.canvas.getContext('2d');
    charts.push(this);
    new IntersectionObserver(entries => {
      this.visible = entries[entries.length - 1].isIntersecting;
      if (this.visible && this.stale) redraw();
    }).observe(this.canvas);
    // Asked for in a frame, it would have the whole page laid out before each chart.
    this.width = this.canvas.clientWidth || 600;
    new ResizeObserver(() => { this.width = this.canvas.clientWidth || 600; redraw(); }).observe(this.canvas.parentElement);
    this.listen();
  }
  get plot() { return Math.max(this.width - LEFT - RIGHT, 10); }
  x(time) { return LEFT + (time - view.from) / (view.to - view.from) * this.plot; }
  time(x) { return view.from + (x - LEFT) / this.plot * (view.to - view.from); }

  draw() {
    this.stale = false;
    const height = typeof this.height === 'function' ? this.height() : this.height;
    const ratio = window.devicePixelRatio || 1, width = this.width, context = this.context;
    if (this.canvas.style.height !== height + 'px') this.canvas.style.height = height + 'px';
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== w || this.canvas.height !== h) { this.canvas.width = w; this.canvas.height = h; }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = '11px system-ui, "DejaVu Sans", sans-serif';
    this.bottom = height - BOTTOM;
    this.bands();
    this.axis();
    context.save();
    context.beginPath();
    context.rect(LEFT, 0, this.plot, this.bottom);
    context.clip();
    this.paint(this, context);
    context.restore();
    if (this.labels) this.labels(this, context);
  }

  // The faults that were in force, with their names where there is room.
  bands() {
    const context = this.context;
    let free = -Infinity;
    for (const band of DATA.bands) {
      const from = Math.max(this.x(band.from / 1e9), LEFT), to = Math.min(this.x(band.to / 1e9), LEFT + this.plot);
      if (to < LEFT || from > LEFT + this.plot) continue;
      if (!band.is_proven) {
        context.strokeStyle = ink['band-edge'];
        context.setLineDash([2, 3]);
        context.beginPath(); context.moveTo(from, 0); context.lineTo(from, this.bottom); context.stroke();
        context.setLineDash([]);
        continue;
      }
      context.fillStyle = ink.band;
      context.fillRect(from, 0, Math.max(to - from, 1), this.bottom);
      context.fillStyle = ink['band-edge'];
      context.fillRect(from, 0, Math.max(to - from, 1), 3);
      const name = band.fault + (band.nodes.length ? ' ' + band.nodes.join(' ') : '');
      const room = to - from - 6;
      if (from > free && room > 24) {
        context.fillStyle = ink.dim;
        context.save();
        context.beginPath(); context.rect(from, 0, to - from, 16); context.clip();
        context.textAlign = 'left';
        context.fillText(name, from + 3, 13);
        context.restore();
        free = from + context.measureText(name).width + 6;
      }
    }
  }

  axis() {
    const context = this.context, width = view.to - view.from;
    const wanted = width / Math.max(this.plot / 110, 2);
    const power = Math.pow(10, Math.floor(Math.log10(wanted)));
    const step = [1, 2, 5, 10].find(n => n * power >= wanted) * power;
    const digits = Math.max(0, -Math.floor(Math.log10(step)));
    context.strokeStyle = ink.line;
    context.fillStyle = ink.dim;
    context.textAlign = 'center';
    context.lineWidth = 1;
    for (let time = Math.ceil(view.from / step) * step; time <= view.to; time += step) {
      const x = Math.round(this.x(time)) + .5;
      context.beginPath(); context.moveTo(x, 0); context.lineTo(x, this.bottom + 3); context.stroke();
      context.fillText(time.toFixed(digits) + ' s', Math.min(Math.max(x, LEFT + 8), LEFT + this.plot - 14), this.bottom + 14);
    }
  }

  // A mark above what is wrong: once a pixel, whatever the number of operations.
  flags(yOf, small = false) {
    const context = this.context, drawn = new Set();
    context.fillStyle = ink.bad;
    for (const row of marked) {
      const x = Math.round(this.x(startOf(row)));
      if (x < LEFT - 4 || x > LEFT + this.plot + 4) continue;
      const y = Math.round(yOf(row));
      const place = x * 4096 + y;
      if (drawn.has(place)) continue;
      drawn.add(place);
      if (small) { context.fillRect(x - 1, y - 6, 2, 6); continue; }
      context.beginPath();
      context.moveTo(x - 4, y - 7); context.lineTo(x + 4, y - 7); context.lineTo(x, y);
      context.fill();
    }
  }

  listen() {
    const canvas = this.canvas;
    let held = null, moved = false;
    canvas.addEventListener('pointerdown', event => {
      held = { x: event.offsetX, from: view.from, to: view.to };
      moved = false;
      if (event.pointerType === 'mouse') canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener('pointermove', event => {
      if (held && Math.abs(event.offsetX - held.x) > 3) moved = true;
      if (held && moved) {
        const by = (held.x - event.offsetX) / this.plot * (held.to - held.from);
        look(held.from + by, held.to + by);
        this.hide();
      } else if (!held) this.hover(event.offsetX, event.offsetY);
    });
    const drop = event => {
      if (held && !moved) {
        const row = this.find ? this.find(this, event.offsetX, event.offsetY) : -1;
        if (row >= 0) select(row, false); else select(-1);
      }
      held = null;
    };
    canvas.addEventListener('pointerup', drop);
    canvas.addEventListener('pointercancel', () => { held = null; });
    canvas.addEventListener('pointerleave', () => this.hide());
    // The wheel scrolls the page until the chart was chosen.
    canvas.addEventListener('wheel', event => {
      if (document.activeElement !== canvas && !event.ctrlKey) return;
      event.preventDefault();
      if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) move(event.deltaX / this.plot);
      else zoom(Math.exp(Math.max(Math.min(event.deltaY, 300), -300) / 300), this.time(event.offsetX));
    }, { passive: false });
    canvas.addEventListener('dblclick', event => zoom(.25, this.time(event.offsetX)));
    canvas.addEventListener('keydown', event => {
      const does = {
        ArrowLeft: () => move(-.2), ArrowRight: () => move(.2), PageUp: () => move(-1), PageDown: () => move(1),
        ArrowUp: () => zoom(.7), ArrowDown: () => zoom(1.4), '+': () => zoom(.5), '=': () => zoom(.5), '-': () => zoom(2),
        '0': lookAtAll, Home: lookAtAll, n: () => step(1), p: () => step(-1), Escape: () => select(-1),
      }[event.key];
      if (!does || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      does();
    });
  }

  hover(x, y) {
    const band = x >= LEFT && DATA.bands.find(band =>
      band.is_proven && x >= this.x(band.from / 1e9) && x <= this.x(band.to / 1e9));
    const row = this.find ? this.find(this, x, y) : -1;
    const words = [];
    if (row >= 0) words.push(sentence(row));
    else if (x >= LEFT) words.push(seconds(this.time(x)));
    if (this.say) words.push(...this.say(this, x, y));
    if (band) words.push(`${band.fault}${band.shape ? ' (' + band.shape + ')' : ''} ${band.nodes.join(', ')} in force ` +
      `from ${seconds(band.from / 1e9)} to ${seconds(band.to / 1e9)}`);
    if (x < LEFT || words.length === 0) return this.hide();
    this.tip.replaceChildren(...words.map(text => element('div', text)));
    this.tip.hidden = false;
    const room = this.width - this.tip.offsetWidth - 4;
    this.tip.style.left = Math.max(Math.min(x + 14, room), 0) + 'px';
    this.tip.style.top = (y > this.bottom / 2 ? Math.max(y - this.tip.offsetHeight - 10, 0) : y + 14) + 'px';
  }
  hide() { this.tip.hidden = true; }
}

// Of rows that stand at (x, y), the nearest to a place, within so many pixels.
function nearest(chart, x, y, place, most = 9) {
  let best = -1, least = most * most;
  const reach = (view.to - view.from) * most / chart.plot;
  const to = placeOf(chart.time(x) + reach);
  for (let at = placeOf(chart.time(x) - reach); at < to; at++) {
    const [px, py] = place(shown[at]);
    let far = (px - x) ** 2 + (py - y) ** 2;
    if (C.marks[shown[at]] & MARKED) far *= .5;
    if (far < least) { least = far; best = shown[at]; }
  }
  return best;
}

// A grid of counts in one colour: the more, the denser.
const scratch = document.createElement('canvas');
function paintGrid(context, counts, width, height, x, y, w, h, rgb, floor = 70) {
  let most = 0;
  for (let i = 0; i < counts.length; i++) if (counts[i] > most) most = counts[i];
  if (most === 0) return;
  const image = new ImageData(width, height), data = image.data;
  const scale = (255 - floor) / Math.log(1 + most);
  for (let i = 0; i < counts.length; i++) {
    if (counts[i] === 0) continue;
    const at = i * 4;
    data[at] = rgb[0]; data[at + 1] = rgb[1]; data[at + 2] = rgb[2];
    data[at + 3] = floor + Math.log(1 + counts[i]) * scale;
  }
  scratch.width = width; scratch.height = height;
  scratch.getContext('2d').putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(scratch, x, y, w, h);
}
