const inputs = controls.map(control => control.dataset.field);
const LISTED = 200;

async function scoreFile(file) {
  clear();
  tell('Reading ' + file.name + ' …');
  try {
    const table = await readTable(file);
    const uneven = table.rows.filter(row => row.cells.length !== table.names.length).map(row => ({
      line: row.line, field: '', message: 'The line has ' + count(row.cells.length, 'cell') + ', but there are ' + count(table.names.length, 'column') + '. Put a text with a comma in it between quotation marks.' }));
    if (uneven.length) showProblems(table, uneven, file.name, false);
    else await scoreTable(table, file.name);
  } catch (error) {
    stop(error.message);
  }
}

async function scoreTable(table, fileName) {
  tell('Scoring ' + count(table.rows.length, 'row') + ' …');
  const lacking = inputs.some(name => !table.names.includes(name));
  // Where a column is missing all are sent, so that the service can tell which one may have been meant.
  const sent = lacking ? table.names : table.names.filter(name => inputs.includes(name) || name === page.id || name === page.asOf);
  const places = sent.map(name => table.names.indexOf(name));
  try {
    const answer = await ask('predict/batch', 'text/csv', toCsv([sent, ...table.rows.map(row => places.map(i => row.cells[i]))]));
    clear();
    tell('');
    showResults(table, answer, fileName);
    $('results').focus({ preventScroll: true });
    $('results').scrollIntoView({ block: 'start' });
  } catch (error) {
    if (!error.problems?.length) return stop(error.message);
    // Other columns are refused beside one that is missing; by themselves they would just stay with their rows.
    const columns = error.problems.filter(problem => problem.row === null && (!lacking || inputs.includes(problem.field)));
    const problems = columns.map(problem => ({ line: null, field: problem.field, message: aboutColumn(problem, table) }));
    if (!columns.length) problems.push(...error.problems.map(problem => ({ line: table.rows[problem.row].line, field: problem.field, message: advice(problem) })));
    if (!lacking) problems.push(...emptyCells(table, problems));
    showProblems(table, problems.sort((a, b) => a.line - b.line), fileName, error.message.startsWith('More than'));
  }
}

function aboutColumn(problem, table) {
  if (problem.got !== 'nothing') return problem.message;
  return table.names.includes(problem.nearest) ? 'Rename the column ' + problem.nearest + ' to ' + problem.field + ', if it is meant.' : 'Add a column of this name.';
}

// The service names cells that it cannot read before those that are empty and may not be: here all come at once.
function emptyCells(table, known) {
  const named = new Set(known.map(problem => problem.line + ' ' + problem.field));
  const required = controls.filter(control => 'required' in control.dataset).map(control => control.dataset.field);
  return table.rows.flatMap(row => required.filter(name => row.cells[table.names.indexOf(name)] === '' && !named.has(row.line + ' ' + name))
    .map(field => ({ line: row.line, field, message: 'Fill it in: it may not be empty.' })));
}

function showProblems(table, problems, fileName, more) {
  clear();
  const lines = new Set(problems.map(problem => problem.line));
  const columnsWrong = lines.has(null);
  const good = table.rows.filter(row => !lines.has(row.line));
  const places = columnsWrong ? count(problems.length, 'column') : count(problems.length, 'cell') + ' in ' + count(lines.size, 'row');
  stop('Nothing is scored yet: ' + (more ? 'more than ' : '') + places + ' to mend in ' + fileName + '.');
  const shown = problems.slice(0, LISTED);
  const row = problem => make('tr', {},
    ...(columnsWrong ? [] : [make('th', { scope: 'row', className: 'number' }, String(problem.line))]),
    make(columnsWrong ? 'th' : 'td', columnsWrong ? { scope: 'row' } : {}, problem.field || '–'), make('td', { className: 'wide' }, problem.message));
  const actions = [make('button', { type: 'button', className: 'quiet', onclick: () => save('to-mend.csv', [['line', 'column', 'what_to_do'], ...problems.map(each => [each.line, each.field, each.message])]) }, 'Download this list')];
  if (!columnsWrong && good.length) actions.unshift(make('button', { type: 'button', onclick: () => scoreTable({ ...table, rows: good }, fileName) }, 'Score the other ' + count(good.length, 'row')));
  $('problems').replaceChildren(
    make('div', { className: 'scroll', tabIndex: 0, role: 'region', 'aria-label': 'What to mend' }, make('table', {},
      make('caption', {}, (shown.length < problems.length ? 'The first ' + LISTED + '; the download has all. ' : '') + (columnsWrong ? 'Columns to mend in the first line of the file' : 'Lines are counted as in the file; its first line is the names of the columns.')),
      make('thead', {}, make('tr', {}, ...(columnsWrong ? [] : [make('th', { scope: 'col', className: 'number' }, 'Line')]), make('th', { scope: 'col' }, 'Column'), make('th', { scope: 'col' }, 'What to do'))),
      make('tbody', {}, ...shown.map(row)))),
    make('p', { className: 'actions' }, ...actions));
}

const clear = () => { $('problems').replaceChildren(); $('results').replaceChildren(); };
const tell = text => { $('state').className = ''; $('state').textContent = text; };
const stop = text => { $('state').className = 'alert stop'; $('state').textContent = text; };

function take(files) {
  if (files.length) scoreFile(files[0]);
}
$('file').addEventListener('change', event => { take(event.target.files); event.target.value = ''; }); // so that the same file, mended, can come again
for (const kind of ['dragover', 'dragleave', 'drop'])
  $('drop').addEventListener(kind, event => { event.preventDefault(); $('drop').classList.toggle('over', kind === 'dragover'); if (kind === 'drop') take(event.dataTransfer.files); });
for (const kind of ['dragover', 'drop']) window.addEventListener(kind, event => event.preventDefault()); // a miss must not leave the page
$('template').addEventListener('click', () => save('example.csv', [[page.id, ...inputs], ['A-1', ...controls.map(control => control.defaultValue ?? [...control.options].find(option => option.defaultSelected)?.value)]]));
