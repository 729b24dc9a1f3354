const PAGE_ROWS = 100;

// Shows the ranked table, which can be sorted by a click on a column name, filtered, and downloaded as shown.
function showResults(table, answer, fileName) {
  const names = table.names.filter(name => inputs.includes(name) ? 'free' in controlOf(name).dataset : !parts.has(name));
  const rows = answer.predictions.map((each, i) => ({ ...each, ...table.rows[i] }));
  const hasUplift = rows.some(row => 'uplift' in row); // whom to contact, not who converts anyway
  const score = row => hasUplift ? row.uplift : row.probability;
  rows.sort((a, b) => score(b) - score(a)).forEach((row, i) => { row.rank = i + 1; });
  rows.forEach(row => { row.search = [...names.map(name => cellOf(row, name)), ...row.warnings].join(' ').toLowerCase(); });
  const columns = [
    { title: 'Rank', value: row => row.rank, kind: 'number rank' },
    ...(hasUplift ? [{ title: 'Uplift', value: row => row.uplift, show: row => [points(row.uplift)], kind: 'number' }] : []),
    { title: 'Probability', value: row => row.probability, show: probabilityParts, kind: 'number probability' },
    ...(names.length ? names.slice(0, 4).map(name => ({ title: name, value: row => cellOf(row, name) })) : [{ title: 'Line', value: row => row.line }]),
    ...(rows.some(row => row.warnings.length) ? [{ title: 'Warnings', value: row => row.warnings.join(' ') }] : [])];
  const view = { by: columns[0], descending: false, limit: PAGE_ROWS };
  const body = make('tbody');
  const headers = columns.map(column => make('th', { scope: 'col', role: 'columnheader', className: column.kind || '' },
      make('button', { type: 'button', className: 'sort', onclick: () => { view.descending = view.by === column && !view.descending; view.by = column; draw(); } }, column.title)));
  const search = make('input', { type: 'search', id: 'filter', autocomplete: 'off', oninput: () => { view.limit = PAGE_ROWS; draw(); } });
  const subset = make('select', { id: 'subset', onchange: search.oninput },
    ...[['all', 'all rows'], ['yes', 'only rows with a yes'], ['warnings', 'only rows with warnings']].map(([value, text]) => new Option(text, value)));
  const status = make('p', { className: 'small muted', role: 'status', id: 'shown' });
  const more = make('button', { type: 'button', className: 'secondary', onclick: () => { view.limit += PAGE_ROWS; draw(); } }, 'Show ' + PAGE_ROWS + ' more');

  function cell(row, column) {
    const text = String(column.value(row));
    const width = text.length > 60 ? 'wide' : text.length < 30 ? 'brief' : '';
    return make('td', { role: 'cell', className: column.kind || width, 'data-title': column.title }, ...(column.show ? column.show(row) : [text]));
  }
  function probabilityParts(row) {
    return [percent(row.probability), ' ', make('span', { className: row.decision ? 'badge pass' : 'badge' }, row.decision ? 'yes' : 'no')];
  }
  function cellOf(row, name) { return row.cells[table.names.indexOf(name)]; }
  function selectedRows() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const matches = row => words.every(word => row.search.includes(word)) && (subset.value === 'all' || (subset.value === 'yes' ? row.decision : row.warnings.length));
    const order = (a, b) => compare(view.by.value(a), view.by.value(b)) || a.rank - b.rank;
    return rows.filter(matches).sort(view.descending ? (a, b) => order(b, a) : order);
  }
  function draw() {
    const selected = selectedRows();
    headers.forEach((header, i) => header.setAttribute('aria-sort', columns[i] !== view.by ? 'none' : view.descending ? 'descending' : 'ascending'));
    body.replaceChildren(...selected.slice(0, view.limit).map(row => make('tr', { role: 'row' },
      ...columns.map(column => cell(row, column)),
      make('td', { role: 'cell', className: 'why' }, make('button', { type: 'button', className: 'link', 'aria-label': 'Why rank ' + row.rank + '?', onclick: () => explainRow(Object.fromEntries(table.sent.map(name => [name, row.values[table.names.indexOf(name)]])), 'rank ' + row.rank + ' of ' + fileName + ', line ' + row.line) }, 'Why?')))));
    more.hidden = selected.length <= view.limit;
    status.textContent = 'Showing ' + Math.min(view.limit, selected.length).toLocaleString('en') + ' of ' + count(selected.length, 'row') + (selected.length < rows.length ? ' (' + rows.length.toLocaleString('en') + ' in total).' : '.');
  }
  function downloadRows() {
    const header = ['rank', ...(hasUplift ? ['uplift'] : []), 'probability', 'decision', 'warnings', ...table.names];
    const written = number => table.decimal === ',' ? String(number).replace('.', ',') : number; // as the file writes numbers
    download(fileName.replace(/\.\w+$/, '') + '-ranked.csv', [header, ...selectedRows().map(row => [row.rank, ...(hasUplift ? [written(row.uplift)] : []), written(row.probability), row.decision ? 'yes' : 'no', row.warnings.join(' '), ...row.cells])], table.separator);
  }

  const yes = rows.filter(row => row.decision).length;
  $('results').replaceChildren(
    make('h3', {}, count(rows.length, 'row') + (hasUplift ? ', ranked by uplift' : ', ranked')),
    make('p', {}, make('strong', {}, yes.toLocaleString('en') + ' yes, ' + (rows.length - yes).toLocaleString('en') + ' no. '), 'Yes means a probability of ' + percent(answer.threshold) + ' or more.'),
    ...table.notes.map(text => make('p', { className: 'note' }, text)),
    ...answer.warnings.map(text => make('p', { className: 'alert' }, text)),
    make('div', { className: 'tools' },
      make('div', { className: 'grow' }, make('label', { htmlFor: 'filter' }, 'Find rows'), search),
      make('div', {}, make('label', { htmlFor: 'subset' }, 'Show'), subset),
      make('button', { type: 'button', onclick: downloadRows }, 'Download these rows')),
    status,
    make('div', { className: 'scroll', tabIndex: 0, role: 'region', 'aria-label': 'Ranked rows' }, make('table', { className: 'ranked', role: 'table' },
      make('caption', { className: 'visually-hidden' }, 'Ranked rows; choose a column name to sort by it'),
      make('thead', { role: 'rowgroup' }, make('tr', { role: 'row' }, ...headers, make('th', { scope: 'col', role: 'columnheader', className: 'why' }, make('span', { className: 'visually-hidden' }, 'Reasons')))), body)),
    make('p', {}, more));
  draw();
}

function compare(a, b) {
  const numbers = [a, b].map(value => typeof value === 'number' ? value : value.trim() === '' ? NaN : Number(value));
  if (numbers.every(Number.isFinite)) return numbers[0] - numbers[1];
  return String(a).localeCompare(String(b), 'en', { numeric: true });
}
