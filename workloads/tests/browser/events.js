// Ten thousand random events, from a generator of its own, so that what fails can be done again.
(async () => {
  let seed = 7;
  const random = n => { seed = (seed * 1103515245 + 12345) % 2147483648; return seed % n; };
  const one = of => of[random(of.length)];
  const charts = [...document.querySelectorAll('canvas')];
  const keys = ['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown', '+', '-', '0', 'n', 'p', 'Escape', 'PageUp', 't'];
  const others = [...document.querySelectorAll('button:not(#copy), summary, input[type=radio], svg [data-op]')];
  const selects = [...document.querySelectorAll('select')];
  const does = [
    (chart, at) => chart.dispatchEvent(new PointerEvent('pointermove', at)),
    (chart, at) => chart.dispatchEvent(new PointerEvent('pointermove', at)),
    (chart, at) => chart.dispatchEvent(new PointerEvent('pointerdown', at)),
    (chart, at) => chart.dispatchEvent(new PointerEvent('pointerup', at)),
    (chart, at) => { chart.focus(); chart.dispatchEvent(new WheelEvent('wheel', { ...at, deltaY: random(600) - 300 })); },
    chart => chart.dispatchEvent(new KeyboardEvent('keydown', { key: one(keys), bubbles: true, cancelable: true })),
    () => one(others).dispatchEvent(new MouseEvent('click', { bubbles: true })),
    () => { const it = one(selects); it.selectedIndex = random(it.options.length); it.dispatchEvent(new Event('change')); },
  ];
  for (let i = 0; i < 10000; i++) {
    const chart = one(charts), box = chart.getBoundingClientRect();
    const [x, y] = [box.x + random(box.width | 0), box.y + random(box.height | 0)];
    one(does)(chart, { clientX: x, clientY: y, bubbles: true, cancelable: true, pointerType: 'touch' });
    if (i % 100 === 0) await new Promise(done => requestAnimationFrame(done));
  }
})()
