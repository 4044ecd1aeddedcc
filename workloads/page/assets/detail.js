// One operation in words.
function sentence(row) {
  const f = T.fs[C.what[row] >> 2], key = C.key[row] ? ` ${T.keys[C.key[row]]}` : '';
  const node = C.node[row] ? ` through ${T.nodes[C.node[row]]}` : '';
  const fate = C.marks[row] & FATE;
  return `${titleOf(row)} ${f}${key} by process ${T.processes[C.process[row]]}${node}, at ${seconds(startOf(row), 5)}, ` +
    `${span(TOOK[C.took[row]])}: ${OUTCOMES[outcomeOf(row)].split(':')[0]}` + (fate ? `, ${FATES[fate]}` : '');
}

function detail(row) {
  const box = $('detail');
  box.hidden = row < 0;
  if (row < 0) return;
  const close = element('button', 'Close', { type: 'button' });
  close.addEventListener('click', () => select(-1));
  const list = element('dl');
  const say = (name, what) => { if (what) list.append(element('dt', name), element('dd', what)); };
  const name = nameOf(row), fate = C.marks[row] & FATE, late = C.late[row];
  say('what', T.fs[C.what[row] >> 2] + (C.key[row] ? ' of ' + T.keys[C.key[row]] : ''));
  say('process', T.processes[C.process[row]]);
  say('through', C.node[row] ? T.nodes[C.node[row]] : '');
  say('began', seconds(startOf(row), 6) + ' after the start');
  say('took', (C.took[row] ? 'about ' : '') + span(TOOK[C.took[row]]));
  say('outcome', OUTCOMES[outcomeOf(row)]);
  say('error', C.error[row] ? T.errors[C.error[row]] : '');
  say('fate', fate ? FATES[fate] + (late ? `: missing from a read up to ${span(TOOK[late])} later` : '') : '');
  say('final', C.marks[row] & FINAL ? 'a read made when all was healed and quiet' : '');
  say('wrong', C.marks[row] & MARKED ? 'a check names it' : '');
  say('history', `line ${C.line[row] + 1}` + (C.ends[row] ? ` and ${name + 1}` : C.took[row] ? ' (where it began)' : ', never completed'));
  const buttons = element('p', undefined, { class: 'note' });
  const button = (text, does) => {
    const made = element('button', text, { type: 'button' });
    made.addEventListener('click', does);
    buttons.append(made, ' ');
  };
  if (C.key[row]) button('Only this key', () => { $('filter-key').value = view.key = T.keys[C.key[row]]; refilter(); });
  button('Show in the timeline', () => { select(row); $('timeline').scrollIntoView(); });
  box.replaceChildren(close, element('b', `Operation ${titleOf(row)}`), list, buttons);
}
