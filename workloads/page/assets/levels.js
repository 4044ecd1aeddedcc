// Of more operations than are counted in a frame: how many there were by stretch of time and kind of cell,
// counted once, in stretches of several lengths. A frame adds up those that are about a pixel wide.
const FINEST = 15, COARSEST = 10, COUNTED = 60000;

class Levels {
  constructor(rows, cells, cellOf) {
    this.cells = cells;
    let bins = 1 << FINEST, counts = new Uint16Array(bins * cells);
    const scale = bins * SECONDS / END, start = C.start;
    for (const row of rows) {
      const cell = cellOf(row);
      if (cell < 0) continue;
      const at = Math.min(start[row] * scale | 0, bins - 1) * cells + cell;
      if (counts[at] < 65535) counts[at]++;
    }
    this.levels = [];
    for (let level = FINEST; level >= COARSEST; level--) {
      this.levels[level] = counts;
      bins >>= 1;
      const coarser = new Uint16Array(bins * cells);
      for (let bin = 0; bin < bins; bin++)
        for (let cell = 0, to = bin * cells, from = 2 * to; cell < cells; cell++)
          coarser[to + cell] = Math.min(counts[from + cell] + counts[from + cells + cell], 65535);
      counts = coarser;
    }
  }

  // Every stretch that is looked at: when it is, and where its counts begin.
  each(pixels, take) {
    const share = (view.to - view.from) / END;
    let level = FINEST;
    while (level > COARSEST && share * (1 << level) > pixels * 2) level--;
    const bins = 1 << level, wide = END / bins, counts = this.levels[level];
    const from = Math.max(Math.floor(view.from / wide), 0), to = Math.min(Math.ceil(view.to / wide), bins);
    for (let bin = from; bin < to; bin++) take((bin + .5) * wide, counts, bin * this.cells);
  }
}

// The levels of a name for what passes the filters now; made when first asked for.
let levelsMade = {};
function levels(name, cells, cellOf) {
  return levelsMade[name] ??= new Levels(shown, cells, cellOf);
}
// Where the shortest stretches are longer than a few pixels, operations are counted one by one.
const isMany = (from, to) => to - from > COUNTED && (view.to - view.from) / END * (1 << FINEST) > 3000;
