const inputs = controls.map(control => control.dataset.field);
const MAX_LISTED = 200;
const SEPARATORS = { ',': 'a comma', ';': 'a semicolon', '\t': 'a tab' };

async function scoreFile(file) {
  clearOutput();
  showChosen(file.name);
  showStatus('Reading ' + file.name + ' …');
  try {
    const table = await readTable(file);
    const uneven = table.rows.filter(row => row.cells.length !== table.names.length).map(row => ({
      line: row.line, field: '', message: 'The line has ' + count(row.cells.length, 'cell') + ', but the first line has ' + count(table.names.length, 'column') + '. Put text that contains ' + SEPARATORS[table.separator] + ' in quotation marks.' }));
    if (uneven.length) showProblems(table, uneven, file.name, false);
    else await scoreTable(table, file.name);
    showChosen(file.name + ', ' + count(table.rows.length, 'row'));
  } catch (error) {
    showError(error.message);
  }
}

async function scoreTable(table, fileName, unused = []) {
  showStatus('Scoring ' + count(table.rows.length, 'row') + ' …');
  const columnsMissing = inputs.some(name => !table.names.includes(name));
  // If a column is missing, all columns are sent, so that the service can find the closest match.
  const isUsed = name => columnsMissing ? !unused.includes(name) : inputs.includes(name) || name === page.id || name === page.asOf;
  const names = table.sent = table.names.filter(isUsed);
  const positions = names.map(name => table.names.indexOf(name));
  try {
    const answer = await post('predict/batch', 'text/csv', toCsv([names, ...table.rows.map(row => positions.map(i => row.values[i]))]));
    clearOutput();
    showStatus('');
    showResults(table, answer, fileName);
    $('results').focus({ preventScroll: true });
    $('results').scrollIntoView({ block: 'start' });
  } catch (error) {
    if (!error.problems?.length) return showError(error.message);
    // Unknown columns are a problem only because all columns were sent; they need no fix.
    const unknown = columnsMissing ? error.problems.filter(problem => isUnknownColumn(problem) && names.includes(problem.field)) : [];
    if (unknown.length === error.problems.length) return scoreTable(table, fileName, [...unused, ...unknown.map(problem => problem.field)]);
    const columns = error.problems.filter(problem => problem.row === null && !unknown.includes(problem));
    const problems = columns.map(problem => ({ line: null, field: problem.field, message: columnAdvice(problem, table) }));
    if (!columns.length) problems.push(...error.problems.filter(problem => problem.row !== null).map(problem => ({ line: table.rows[problem.row].line, field: problem.field, message: advice(problem) })));
    if (!columnsMissing) problems.push(...emptyCells(table, problems));
    showProblems(table, problems.sort((a, b) => a.line - b.line), fileName, error.message.startsWith('More than'));
  }
}

const isUnknownColumn = problem => problem.row === null && problem.got === JSON.stringify(problem.field);

function columnAdvice(problem, table) {
  if (problem.got !== 'nothing') return problem.message;
  return table.names.includes(problem.nearest) ? 'Rename the column ' + problem.nearest + ' to ' + problem.field + ' if they are the same.' : 'Add a column with this name.';
}

// The service reports unreadable cells before empty required ones; this adds the empty ones, to show all at once.
function emptyCells(table, problems) {
  const key = (line, field) => line + ' ' + field;
  const reported = new Set(problems.map(problem => key(problem.line, problem.field)));
  const required = controls.filter(control => 'required' in control.dataset).map(control => control.dataset.field);
  return table.rows.flatMap(row => required.filter(name => row.values[table.names.indexOf(name)] === '' && !reported.has(key(row.line, name)))
    .map(field => ({ line: row.line, field, message: REQUIRED })));
}

function showProblems(table, problems, fileName, more) {
  clearOutput();
  const lines = new Set(problems.map(problem => problem.line));
  const inColumns = lines.has(null);
  const validRows = table.rows.filter(row => !lines.has(row.line));
  const total = inColumns ? count(problems.length, 'column') : count(problems.length, 'cell') + ' in ' + count(lines.size, 'row');
  showError('Nothing is scored yet: ' + (more ? 'more than ' : '') + total + ' to fix in ' + fileName + '.');
  const shown = problems.slice(0, MAX_LISTED);
  const row = problem => make('tr', {},
    ...(inColumns ? [] : [make('th', { scope: 'row', className: 'number' }, String(problem.line))]),
    make(inColumns ? 'th' : 'td', inColumns ? { scope: 'row' } : {}, problem.field || '–'), make('td', { className: 'wide' }, problem.message));
  const actions = [make('button', { type: 'button', className: 'secondary', onclick: () => download('problems.csv', [['line', 'column', 'what_to_do'], ...problems.map(each => [each.line, each.field, each.message])], table.separator) }, 'Download this list')];
  if (!inColumns && validRows.length) actions.unshift(make('button', { type: 'button', onclick: () => scoreTable({ ...table, rows: validRows }, fileName) }, 'Score the other ' + (validRows.length === 1 ? 'row' : count(validRows.length, 'row'))));
  $('problems').replaceChildren(
    make('div', { className: 'scroll', tabIndex: 0, role: 'region', 'aria-label': 'What to fix' }, make('table', {},
      make('caption', {}, (shown.length < problems.length ? 'Only the first ' + MAX_LISTED + ' are shown; the download has all. ' : '') + (inColumns ? 'Columns to fix in the first line of the file.' : 'Line numbers are those of the file; line 1 has the column names.')),
      make('thead', {}, make('tr', {}, ...(inColumns ? [] : [make('th', { scope: 'col', className: 'number' }, 'Line')]), make('th', { scope: 'col' }, 'Column'), make('th', { scope: 'col' }, 'What to do'))),
      make('tbody', {}, ...shown.map(row)))),
    make('p', { className: 'actions' }, ...actions));
}

const clearOutput = () => { $('problems').replaceChildren(); $('results').replaceChildren(); };
const showChosen = text => { $('chosen').className = ''; $('chosen').textContent = text; };
const showStatus = text => { $('state').className = ''; $('state').textContent = text; };
const showError = text => { $('state').className = 'alert error'; $('state').textContent = text; };

function acceptFiles(files) {
  if (files.length) scoreFile(files[0]);
}
$('file').addEventListener('change', event => { acceptFiles(event.target.files); event.target.value = ''; }); // so that the same file can be chosen again once it is fixed
for (const type of ['dragover', 'dragleave', 'drop'])
  $('drop').addEventListener(type, event => { event.preventDefault(); $('drop').classList.toggle('over', type === 'dragover'); if (type === 'drop') acceptFiles(event.dataTransfer.files); });
for (const type of ['dragover', 'drop']) window.addEventListener(type, event => event.preventDefault()); // a file dropped next to the box must not replace the page
// A service that reads lists as its run's training table gets an example in the format of that table.
const typicalCell = control => control.defaultValue ?? [...control.options].find(option => option.defaultSelected)?.value ?? '';
$('template').addEventListener('click', () => {
  const id = inputs.includes(page.id) ? [] : [[page.id, 'A-1']];
  const cells = [...id, ...controls.map(control => [control.dataset.field, typicalCell(control)])];
  download('example.csv', [cells.map(([name]) => name), cells.map(([, cell]) => cell)], page.separator);
});
