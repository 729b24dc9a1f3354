// Numbers in lists: 1.234,5 in one file is 1,234.5 in another. One decimal mark holds for a whole file.
const GROUPS = { ',': /^[+-]?[1-9]\d{0,2}(,\d{3})+$/, '.': /^[+-]?[1-9]\d{0,2}(\.\d{3})+$/ };
const DECIMALS = { ',': /^[+-]?(\d+|[1-9]\d{0,2}(\.\d{3})+)?,\d+(e[+-]?\d+)?$/i, '.': /^[+-]?(\d+|[1-9]\d{0,2}(,\d{3})+)?\.\d+(e[+-]?\d+)?$/i };
const otherMark = mark => mark === ',' ? '.' : ',';

// Returns the decimal mark that a cell shows for certain; three digits after a mark may also be thousands.
function shownMark(cell) {
  for (const mark of [',', '.']) {
    if (!cell.includes(mark)) continue;
    if (GROUPS[mark].test(cell)) { if (cell.split(mark).length > 2) return otherMark(mark); } else if (DECIMALS[mark].test(cell)) return mark;
  }
  return null;
}

// Returns a file's decimal mark; null if its cells disagree. Where no cell shows it, a file with semicolons has a comma.
function decimalMark(cells, separator) {
  const shown = new Set(cells.map(shownMark));
  shown.delete(null);
  if (shown.size > 1) return null;
  return shown.size ? [...shown][0] : separator === ';' ? ',' : '.';
}

// Returns a number with a decimal point and without thousands separators, as the service reads it; other text as it is.
function plainNumber(text, mark) {
  const separator = otherMark(mark);
  if (!GROUPS[separator].test(text) && !DECIMALS[mark].test(text)) return text;
  return text.replaceAll(separator, '').replace(mark, '.');
}

// Adds to each row its values, which are what is sent, and a note if the file writes numbers in another way. A service that
// reads lists as its run's training table gets the cells as they are.
function readNumbers(table) {
  const columns = controls.filter(control => control.dataset.kind === 'number').map(control => table.names.indexOf(control.dataset.field)).filter(i => i >= 0);
  for (const row of table.rows) row.values = [...row.cells];
  const cells = table.rows.flatMap(row => columns.filter(i => i < row.cells.length).map(i => ({ row, i, text: row.cells[i].trim() })));
  table.decimal = decimalMark(cells.map(cell => cell.text), table.separator);
  if ('raw' in page) return table;
  let example;
  for (const { row, i, text } of cells) {
    row.values[i] = table.decimal === null ? text : plainNumber(text, table.decimal);
    if (row.values[i] !== text) example ??= text + ' is ' + row.values[i];
  }
  if (example) table.notes.push('Numbers in this file are read with a decimal ' + (table.decimal === ',' ? 'comma' : 'point') + ': ' + example + '.');
  return table;
}
