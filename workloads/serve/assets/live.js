// A run that goes on: what the server tells of it, drawn.
'use strict';
(() => {
  const own = document.currentScript.dataset;
  const $ = id => document.getElementById(id);
  const seconds = [];
  const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const grouped = number => Math.round(number).toLocaleString('en');
  const span = ms => ms <= 0 ? '\u2013' : ms < 10 ? ms.toFixed(1) + ' ms' : ms < 1000 ? ms.toFixed(0) + ' ms' : (ms / 1000).toFixed(1) + ' s';

  // A canvas as large as it is seen, and its pen.
  function pen(canvas) {
    const box = canvas.getBoundingClientRect(), scale = devicePixelRatio || 1;
    canvas.width = Math.round(box.width * scale);
    canvas.height = Math.round(box.height * scale);
    const pen = canvas.getContext('2d');
    pen.scale(scale, scale);
    pen.font = '11px system-ui, "DejaVu Sans", sans-serif';
    return [pen, box.width, box.height];
  }

  // Lines over the seconds so far: each with its values, its colour and its dashes.
  function chart(canvas, lines, top, place, label) {
    const [ink, width, height] = pen(canvas);
    const left = 58, bottom = height - 18, wide = width - left - 8;
    ink.fillStyle = ink.strokeStyle = colour('--dim');
    ink.textAlign = 'right';
    ink.fillText(label(top), left - 6, 14);
    ink.fillText(label(0), left - 6, bottom);
    ink.textAlign = 'left';
    ink.fillText('0 s', left, height - 5);
    ink.textAlign = 'right';
    ink.fillText(seconds.length + ' s', width - 8, height - 5);
    ink.strokeRect(left, bottom, wide, 0);
    const step = Math.max(1, Math.ceil(seconds.length / wide));
    for (const [value, name, dashes] of lines) {
      ink.beginPath();
      ink.strokeStyle = colour(name);
      ink.lineWidth = 1.6;
      ink.setLineDash(dashes);
      for (let at = 0; at < seconds.length; at += step) {
        let most = 0;
        for (let i = at; i < Math.min(at + step, seconds.length); i++) most = Math.max(most, value(seconds[i]));
        const x = left + wide * (at + step / 2) / Math.max(seconds.length, 10);
        ink.lineTo(x, bottom - (bottom - 16) * place(most, top));
      }
      ink.stroke();
    }
    ink.setLineDash([]);
  }

  function draw() {
    let rate = 1, longest = 10;
    for (const second of seconds) {
      rate = Math.max(rate, ...second.ops);
      longest = Math.max(longest, second.ms[1]);
    }
    const even = (value, top) => value / top;
    // From a tenth of a millisecond on.
    const log = (value, top) => Math.log(Math.max(value, 0.1) / 0.1) / Math.log(top / 0.1);
    chart($('rates'), [[s => s.ops[0], '--ok', []], [s => s.ops[1], '--bad', [5, 2]], [s => s.ops[2], '--unsure', [2, 2]]],
      rate, even, top => grouped(top) + '/s');
    chart($('spans'), [[s => s.ms[0], '--ok', []], [s => s.ms[1], '--odd', [5, 2]]], longest, log, top => top ? span(top) : '0.1 ms');
  }

  function more(told) {
    seconds.length = told.from;
    seconds.push(...told.seconds);
    const last = seconds[seconds.length - 1];
    $('how').textContent = told.error ? 'It cannot be read on: ' + told.error : 'It goes on.';
    $('at').textContent = told.at.toFixed(1) + ' s';
    ['ok', 'fail', 'info'].forEach((id, at) => { $(id).textContent = grouped(told.ops[at]); });
    $('force').textContent = told.in_force.join('; ') || 'nothing';
    if (last) {
      $('rate').textContent = grouped(last.ops[0]);
      $('p50').textContent = span(last.ms[0]);
      $('p99').textContent = span(last.ms[1]);
    }
    draw();
  }

  const events = new EventSource(own.events);
  events.addEventListener('more', event => more(JSON.parse(event.data)));
  events.addEventListener('over', event => {
    const told = JSON.parse(event.data);
    more(told);
    events.close();
    if (told.error) return;
    $('how').textContent = 'It is over: ';
    const link = document.createElement('a');
    link.href = own.run;
    link.textContent = 'its page';
    $('how').append(link);
    document.documentElement.dataset.over = '1';
  });
  // The browser tries again by itself; the server then tells all of it.
  events.addEventListener('error', () => { if (events.readyState !== EventSource.CLOSED) $('how').textContent = 'The server does not answer; trying again.'; });
  addEventListener('resize', draw);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
})();
